//! What happens in a simulated world, as its oracle sees it, its trace tells it and its picture shows it.

use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Epoch, Offset, Partition, Topic};
use baton_core::process::ExitStatus;
use baton_core::time::Timestamp;
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// Where something happens. A worker and its machine are two: the machine's processes live on when the worker is killed or paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The world itself: faults, phases.
    World,
    /// An API replica.
    Api(u8),
    /// A worker.
    Worker(u8),
    /// The machine of the worker of the same number: its keeper and its agents' processes.
    Machine(u8),
    /// A broker.
    Broker(u8),
    /// Those who submit, stop and watch.
    Client(u8),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.write_str("world"),
            Self::Api(n) => write!(f, "api-{n}"),
            Self::Worker(n) => write!(f, "worker-{n}"),
            Self::Machine(n) => write!(f, "machine-{n}"),
            Self::Broker(n) => write!(f, "broker-{n}"),
            Self::Client(n) => write!(f, "client-{n}"),
        }
    }
}

/// A task's id as people tell tasks apart: its first characters.
pub struct Short<'a>(pub &'a TaskId);

/// How many characters of an id are told; one that is hardly longer is told whole.
const TOLD: usize = 8;

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0.as_str();
        if id.len() > TOLD + 4 { write!(f, "{}…", &id[..TOLD]) } else { f.write_str(id) }
    }
}

/// A record on the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Logged {
    /// Where it is.
    pub topic: Topic,
    /// Where it is.
    pub partition: Partition,
    /// Where it is.
    pub offset: Offset,
    /// When its leader wrote it, by that broker's clock.
    pub at: Timestamp,
    /// As it was written.
    pub key: Bytes,
    /// As it was written.
    pub value: Bytes,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    // Clients.
    /// A POST goes out. A client that tries again keeps its number; the body and the key are the same then.
    Submitting {
        /// Tells POSTs apart.
        request: u32,
        /// Its `Idempotency-Key`.
        key: Option<String>,
    },
    /// The client has its answer: the task, or the status of a problem. None comes if the client gives up.
    Submitted {
        /// As in [`Self::Submitting`].
        request: u32,
        /// The task's id of a 202, or another status.
        answer: Result<TaskId, u16>,
    },
    /// A STOP goes out.
    Stopping(TaskId),
    /// The client has its answer to a STOP: 202 is acknowledged.
    StopAnswered(TaskId, u16),
    /// A replica said that there is no such task: 404, or a watcher's 4404.
    Denied {
        /// Which.
        task: TaskId,
        /// Who.
        api: u8,
        /// When it was asked: what says so may have been killed since, and its word be late.
        asked: Duration,
    },
    /// A watcher connects.
    Watching {
        /// Tells connections apart; one that comes back has a new number.
        watcher: u32,
        /// Which.
        task: TaskId,
        /// What it has read before.
        after: UpdateId,
        /// Which API replica it asks.
        api: u8,
    },
    /// A watcher read a frame.
    Frame {
        /// As in [`Self::Watching`].
        watcher: u32,
        /// The frame's id.
        id: UpdateId,
        /// The frame's kind, as in its JSON.
        kind: String,
        /// The frame's text.
        update: String,
    },
    /// A watcher's connection ended: with 1000 after the terminal update, 4404 where the task is unknown, 1006 where the
    /// connection broke, or the client left (1001).
    Unwatched {
        /// As in [`Self::Watching`].
        watcher: u32,
        /// The close code.
        code: u16,
    },

    // The log.
    /// A record can no longer be lost, and will be seen by all readers of committed records. Not in order.
    Durable(Logged),
    /// Readers of committed records can read this record now. In the order of each partition; each exactly once.
    Visible(Logged),
    /// The oldest records of a partition are gone: it now begins here.
    Truncated(Topic, Partition, Offset),
    /// A group's offset and ledger are durable.
    Ledger {
        /// The partition of `tasks`.
        partition: Partition,
        /// The watermark.
        offset: Offset,
        /// The ledger.
        metadata: String,
    },
    /// A node heard of a STOP from the log (workers only).
    Heard {
        /// Whose it is.
        task: TaskId,
        /// It leaves no grace.
        force: bool,
    },
    /// A worker has a partition.
    Claimed(Partition, Epoch),
    /// A worker lost a partition, or gave it up.
    Unclaimed(Partition),

    // Machines.
    /// A process lives.
    Spawned(TaskId, u32),
    /// The temporary files of an attempt are there: its own directory, with its project's config.
    FilesMade(TaskId, u32),
    /// They are gone.
    FilesRemoved(TaskId, u32),
    /// A machine stands still, its keeper and its processes.
    Frozen,
    /// A machine goes on.
    Thawed,
    /// A process is gone. `by_itself` if nobody had signalled it.
    Gone {
        /// Whose it was.
        task: TaskId,
        /// Which attempt's.
        attempt: u32,
        /// What the kernel says.
        status: ExitStatus,
        /// Nobody had signalled it.
        by_itself: bool,
    },
    /// How much a node holds of what is bounded, in bytes.
    Memory {
        /// What it is, for people.
        of: &'static str,
        /// How much.
        bytes: usize,
        /// How much it may be.
        limit: usize,
    },

    // The world.
    /// A node came to life (again).
    Started,
    /// A node was killed: no destructor ran.
    Killed,
    /// A fault begins, in words; the end of `X` is `X ends`.
    Fault(String),
    /// From here on no new fault comes, and the healthy part of the cluster must get everything done.
    Healed,
    /// A broker became the leader of a partition.
    Leader(Topic, Partition),
    /// Something that only the trace tells.
    Note(String),
}

/// An event, where and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Since the world began.
    pub at: Duration,
    /// Where.
    pub node: Node,
    /// What.
    pub event: Event,
}
