//! How long to wait before trying again: exponential, capped, with full jitter over its upper half.

use std::time::Duration;

/// Waits that grow. The jitter comes from a seed: the core has no randomness of its own.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    cap: Duration,
    state: u64,
}

impl Backoff {
    /// Waits from `first` to `cap`.
    pub const fn new(first: Duration, cap: Duration, seed: u64) -> Self {
        Self { next: first, first, cap, state: seed }
    }

    /// The next wait: between half of it and all of it, so that many who failed together don't come back together.
    pub fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.cap);
        full / 2 + (full / 2).mul_f64(self.fraction())
    }

    /// It worked: the next wait is the first again.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// From 0 to 1, by `SplitMix64` (Steele, Lea and Flood, 2014).
    #[allow(clippy::cast_precision_loss)] // 53 bits are as many as an f64 holds
    fn fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64) / ((1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 7);
        for full in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.wait().as_millis();
            assert!((full / 2..=full).contains(&wait), "{wait} of {full}");
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(100));
    }
}
