//! How long to wait before trying again: exponential, capped, with jitter.

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

    fn fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(GOLDEN);
        fraction(self.state)
    }
}

/// The wait after so many failures, the first of which is 1: anything from nothing to `first`, doubled with each failure, up
/// to `cap`. Full jitter: who fails with many others comes back at a time of its own.
pub fn full_jitter(first: Duration, cap: Duration, failures: u32, seed: u64) -> Duration {
    let doubled = 1u32.checked_shl(failures.saturating_sub(1)).and_then(|times| first.checked_mul(times));
    let longest = doubled.unwrap_or(cap).min(cap);
    longest.mul_f64(fraction(seed.wrapping_add(u64::from(failures).wrapping_mul(GOLDEN))))
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// From 0 to 1, by `SplitMix64` (Steele, Lea and Flood, 2014).
#[allow(clippy::cast_precision_loss)] // 53 bits are as many as an f64 holds
fn fraction(state: u64) -> f64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (((z ^ (z >> 31)) >> 11) as f64) / ((1u64 << 53) as f64)
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

    #[test]
    fn full_jitter_is_spread_over_all_of_a_doubling_wait() {
        let (first, cap) = (Duration::from_secs(1), Duration::from_secs(10));
        for (failures, longest) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (40, 10)] {
            let waits: Vec<_> = (0..1000).map(|seed| full_jitter(first, cap, failures, seed * 7919)).collect();
            let longest = Duration::from_secs(longest);
            assert!(waits.iter().all(|wait| *wait <= longest));
            for part in [longest / 10, longest * 9 / 10] {
                let below = waits.iter().filter(|wait| **wait < part).count();
                assert!((50..=950).contains(&below), "{below} of 1000 below {part:?}");
            }
        }
    }
}
