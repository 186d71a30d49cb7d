//! The account of an ending, as it stands in records, frames and answers: who or what ended an attempt, how long it took, and
//! what it used. And the tally of a task's attempts. What nobody could measure is absent, not zero.

use crate::ledger::Tries;
use crate::policy::Cause;
use crate::process::Usage;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How an attempt ended; of a task that ended without one, how that did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who or what ended it.
    pub cause: Cause,
    /// Whose STOP it was, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How long it waited for a slot, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_ms: Option<u64>,
    /// How long its process lived, in milliseconds. Absent if there was none; so is all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_ms: Option<u64>,
    /// How much of that was after it had been told to end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_ms: Option<u64>,
    /// Time of processors, of all its processes, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// The most memory that was resident at once, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// How many lines it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// How many bytes it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Account {
    /// One of which nothing is known but why.
    pub const fn of(cause: Cause) -> Self {
        Self {
            cause,
            by: None,
            queued_ms: None,
            running_ms: None,
            draining_ms: None,
            cpu_ms: None,
            peak_memory: None,
            lines: None,
            bytes: None,
        }
    }

    /// The same with what the process used.
    #[must_use]
    pub fn with_usage(self, usage: Option<Usage>) -> Self {
        Self { cpu_ms: usage.map(|usage| millis(usage.cpu)), peak_memory: usage.map(|usage| usage.peak_memory), ..self }
    }
}

/// A duration in records: whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The attempts at a task so far, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Attempts that were begun.
    pub begun: u32,
    /// Of those, how many failed.
    #[serde(default)]
    pub failed: u32,
    /// How many were lost with their workers or keepers.
    #[serde(default)]
    pub lost: u32,
    /// How many were handed back by workers that were told to go. These don't count against the task.
    #[serde(default)]
    pub handed_back: u32,
}

impl Tally {
    /// What the ledger says; one of the attempts may still run, or has just ended.
    pub const fn of(tries: Tries, live: bool) -> Self {
        let lost = tries.unaccounted().saturating_sub(live as u32);
        Self { begun: tries.begun, failed: tries.failed, lost, handed_back: tries.returned }
    }
}

/// How an earlier attempt ended, for a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// Its number, from 1.
    pub attempt: u32,
    /// Why it failed, in words.
    pub reason: String,
    /// The last lines of its output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

impl AttemptEnd {
    /// About how many bytes of memory it takes.
    pub fn weight(&self) -> usize {
        size_of::<Self>()
            + self.reason.len()
            + self.last_lines.iter().map(|line| size_of_val(line) + line.len()).sum::<usize>()
    }
}
