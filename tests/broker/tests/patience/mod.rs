//! Waiting for what must happen.

use std::time::{Duration, Instant};

/// After this long what should have happened won't happen any more.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
