//! What the processes of a task type may take: the table `limits`. The core only reads and checks it; the kernel keeps it.

use crate::quantity::{Size, Time};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Less memory than this no program starts with.
const LEAST_MEMORY: Size = Size(4 << 20);
/// Fewer open files than this no program starts with: its streams, its libraries, one file.
const FEWEST_FILES: u64 = 8;

/// The limits of a task type. What is not limited has whatever the worker has, but for core dumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory: of all processes of a run together where the worker has a cgroup with the memory controller, and of the private,
    /// writable memory of each process elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// CPU time of each process, in whole seconds: then SIGXCPU, and SIGKILL five seconds of CPU later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<Time>,
    /// How many files each process may have open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// How many processes and threads there may be: of the run where the worker has a cgroup with the pids controller, of all that
    /// its user has on the machine elsewhere (root then has no limit).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// How long a file may become that a process writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size: Option<Size>,
    /// Whether a process that crashes may leave a core dump.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub core_dumps: bool,
}

impl Limits {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong, with its path.
    pub(crate) fn check(&self, path: &str) -> Result<(), String> {
        if self.memory.is_some_and(|memory| memory < LEAST_MEMORY) {
            return Err(format!("{path}.memory: must be at least {LEAST_MEMORY}: no program starts with less"));
        }
        if self.cpu_time.is_some_and(|time| time.0 < Duration::from_secs(1) || time.0.subsec_nanos() > 0) {
            return Err(format!("{path}.cpu_time: must be whole seconds, at least one"));
        }
        if self.open_files.is_some_and(|files| files < FEWEST_FILES) {
            return Err(format!("{path}.open_files: must be at least {FEWEST_FILES}: no program starts with fewer"));
        }
        if self.processes == Some(0) {
            return Err(format!("{path}.processes: must be at least 1: the agent itself"));
        }
        Ok(())
    }
}
