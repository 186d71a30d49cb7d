//! Looks after the memory of processes, again and again.

use super::Cast;
use crate::story::Peak;
use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, PoisonError};

/// The most that each process took, in all of its lives.
#[derive(Debug, Default)]
pub struct Peaks(Mutex<BTreeMap<String, Peak>>);

impl Peaks {
    /// Looks once. The kernel keeps each life's peak, so that only what came after the last look can be missed.
    pub fn look(&self, cast: &Cast) {
        for actor in cast.apis.iter().chain(&cast.workers) {
            let Some(kib) = actor.pid().and_then(peak_of) else { continue };
            let mut peaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let new = Peak { name: actor.name.clone(), is_api: actor.is_api, kib: 0 };
            let peak = peaks.entry(actor.name.clone()).or_insert(new);
            peak.kib = peak.kib.max(kib);
        }
    }

    /// What was seen.
    pub fn take(&self) -> Vec<Peak> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// The peak of its resident memory, in KiB.
fn peak_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_has_a_peak() {
        assert!(super::peak_of(std::process::id()).unwrap() > 500);
        assert_eq!(super::peak_of(0), None);
    }
}
