//! The harness: a real `baton dev` in a directory of its own, or services on a real Kafka, and clients that see what any client
//! would.
//!
//! A test waits for what must happen; [`PATIENCE`] only ends one that has failed.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a harness fails by panicking")]

mod chance;
mod foreign;
mod on_kafka;
mod projects;
mod server;
mod watcher;

pub use chance::Chance;
pub use foreign::{ForeignProducer, Place, read_all};
pub use on_kafka::{OnKafka, PARTITIONS};
pub use projects::{Answer, ProjectsApi};
pub use server::{Baton, Finished, Service, Setup, baton, binary, command, fixture, free_port, root};
pub use watcher::{Frames, assert_whole, events, follow, frames, json_frames, texts};

use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// After this long what should have happened won't happen any more.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` gives something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The same where nothing can be awaited.
pub fn until_now(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !look() {
        assert!(std::time::Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether this process lives, and is no zombie.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
