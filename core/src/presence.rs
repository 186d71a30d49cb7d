//! What a process of Baton says of itself on the log, so that every API replica can show the cluster.
//!
//! It is news, not a promise: nothing is decided by it, and whoever is not heard of may live all the same.

use crate::id::TaskId;
use crate::log::{Offset, Partition};
use crate::record::{Unreadable, read, write};
use crate::time::{Instant, Now, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Changes are told at most so often.
pub const AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// Without any change it is told so often: who is not heard of for longer is taken for dead.
pub const AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// The most runs that are told one by one; all are counted.
const MAX_RUNS: usize = 200;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It runs tasks.
    Worker,
    /// It answers clients.
    Api,
    /// Of a later version of Baton.
    #[serde(other)]
    Other,
}

/// Who a process is, from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Tells it from every other process, also from the one before it under the same name. It is the record's key.
    pub id: TaskId,
    /// What it does.
    pub role: Role,
    /// What people call it; empty if nobody has named it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The machine that it is on.
    #[serde(default)]
    pub host: String,
    /// Its version of Baton.
    #[serde(default)]
    pub version: String,
    /// When it began.
    pub started_at: Timestamp,
}

impl Identity {
    /// Of a process that begins at `started_at`; `random` tells it from all others.
    pub fn new(role: Role, name: &str, random: [u8; 16], started_at: Timestamp) -> Self {
        let id = format!("{:032x}", u128::from_be_bytes(random));
        Self {
            id: id.parse().expect("hexadecimal digits are an id"),
            role,
            name: name.to_owned(),
            host: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
        }
    }
}

/// What a process does now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doing {
    /// It takes nothing new, and is about to go.
    #[serde(default)]
    pub draining: bool,
    /// Of a worker: how many tasks may run at a time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slots: usize,
    /// Of a worker: how many do.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub running: usize,
    /// Of a worker: those that do, the oldest first; at most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunShown>,
    /// Of a worker: the partitions of `tasks` that it holds, by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimShown>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it so
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A task that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunShown {
    /// Which.
    pub task_id: TaskId,
    /// Which attempt of it.
    pub attempt: u32,
}

/// A partition of `tasks` that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimShown {
    /// Which.
    pub partition: Partition,
    /// Every task before this offset has ended.
    pub watermark: Offset,
    /// How many tasks of it run.
    pub running: usize,
    /// How many were read, and wait for their turn. There may be more on the log.
    pub waiting: usize,
    /// How many of those wait for the time of their next attempt.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retrying: usize,
    /// It is to go to another worker, once what runs has ended.
    #[serde(default)]
    pub leaving: bool,
}

/// A record of `task-presence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Who.
    #[serde(flatten)]
    pub identity: Identity,
    /// What it does.
    #[serde(flatten)]
    pub doing: Doing,
    /// It has ended: this is its last word.
    #[serde(default)]
    pub gone: bool,
    /// When it said so, by its own clock.
    pub at: Timestamp,
}

impl Presence {
    /// Reads a record.
    pub fn read(value: &[u8]) -> Result<Self, Unreadable> {
        read(value)
    }

    /// The record as bytes.
    pub fn write(&self) -> Vec<u8> {
        write(self)
    }
}

impl Doing {
    /// A worker's.
    pub fn of_worker(draining: bool, slots: usize, mut runs: Vec<RunShown>, claims: Vec<ClaimShown>) -> Self {
        let running = runs.len();
        runs.truncate(MAX_RUNS);
        Self { draining, slots, running, runs, claims }
    }
}

/// Decides when a process speaks of itself: soon after a change, and now and then without one.
#[derive(Debug)]
pub struct Herald {
    identity: Identity,
    told: Option<(Instant, Doing)>,
    look_at: Instant,
}

impl Herald {
    /// One that has said nothing yet.
    pub fn new(identity: Identity) -> Self {
        Self { identity, told: None, look_at: Instant::default() }
    }

    /// Whose it is.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When to call [`Self::look`].
    pub const fn deadline(&self) -> Instant {
        self.look_at
    }

    /// What is to be said, if it is time to say something.
    pub fn look(&mut self, doing: Doing, now: Now) -> Option<Presence> {
        if now.mono < self.look_at {
            return None;
        }
        self.look_at = now.mono + AT_MOST_EVERY;
        let is_known = |(at, told): &(Instant, Doing)| *told == doing && now.mono.since(*at) < AT_LEAST_EVERY;
        if self.told.as_ref().is_some_and(is_known) {
            return None;
        }
        self.told = Some((now.mono, doing.clone()));
        Some(Presence { identity: self.identity.clone(), doing, gone: false, at: now.wall })
    }

    /// The last word.
    pub fn farewell(&self, at: Timestamp) -> Presence {
        Presence { identity: self.identity.clone(), doing: Doing::default(), gone: true, at }
    }
}
