//! What a run of chaos has left to be judged: plain values, of which none is taken from Baton's own idea of what happened.

use crate::sign::Sign;
use baton_core::id::UpdateId;
use baton_core::record::{Kind, TaskRecord};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, by the one clock of the machine.
pub type At = u64;

/// What time it is.
pub fn now() -> At {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("it is before the year 500,000,000")
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// What the settings allow.
    pub limits: Limits,
    /// The committed records of the four topics.
    pub log: Log,
    /// Each POST.
    pub posts: Vec<Post>,
    /// Each wish to stop.
    pub stops: Vec<Stop>,
    /// Each connection of a watcher.
    pub watches: Vec<Watch>,
    /// What each replica says of each task in the end.
    pub shown: Vec<Shown>,
    /// The signs of each task's processes, in their order.
    pub signs: BTreeMap<String, Vec<Sign>>,
    /// When something was wrong on purpose.
    pub faults: Vec<Fault>,
    /// When workers were told to go: each time they hand back what runs.
    pub farewells: Vec<At>,
    /// What each process took at most.
    pub peaks: Vec<Peak>,
    /// Processes and files of runs that are there in the end.
    pub left: Vec<String>,
    /// What went wrong with processes that nobody had harmed.
    pub surprises: Vec<String>,
}

/// What the settings allow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many attempts may be begun, unless the task says otherwise.
    pub max_attempts: u32,
    /// From SIGTERM to SIGKILL, in milliseconds.
    pub grace: At,
    /// How much an API may take, in KiB.
    pub api_memory: u64,
    /// How much a worker may take, in KiB.
    pub worker_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // An API has 32 MiB for its histories; beyond that, three times what each takes where nothing piles up.
        Self { max_attempts: 3, grace: 1000, api_memory: 128 * 1024, worker_memory: 96 * 1024 }
    }
}

/// The committed records, each topic in the order of its partitions and offsets.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Of `tasks`.
    pub tasks: Vec<Submitted>,
    /// Of `task-progress`.
    pub updates: Vec<Update>,
    /// Of `task-control`: the tasks that are to stop.
    pub stops: Vec<String>,
    /// Of `tasks-dlq`.
    pub letters: Vec<Letter>,
    /// What could not be read: nobody here writes such.
    pub unreadable: Vec<String>,
    /// What the workers have committed of each partition of `tasks`.
    pub committed: BTreeMap<i32, Committed>,
}

/// A record of `tasks`.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// Where it stands.
    pub partition: i32,
    /// Where in that.
    pub offset: i64,
    /// What it says.
    pub record: TaskRecord,
}

/// What workers have committed of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Everything before this has ended.
    pub offset: i64,
    /// Title and ledger.
    pub metadata: String,
}

/// A record of `task-progress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Whose.
    pub task: String,
    /// Of which attempt.
    pub attempt: Option<u32>,
    /// Its number within the attempt.
    pub seq: Option<u64>,
    /// What it means.
    pub kind: Kind,
    /// What people read.
    pub text: String,
    /// When it was made, by the worker.
    pub at: At,
    /// `partition@offset`.
    pub place: String,
}

/// A record of `tasks-dlq`.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Whose; empty if that could not be read.
    pub task: String,
    /// Why.
    pub reason: String,
    /// How many attempts were begun.
    pub attempts: u32,
}

/// A POST, and what came of it.
#[derive(Clone, Debug)]
pub struct Post {
    /// The task of the plan.
    pub number: usize,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The replica.
    pub api: usize,
    /// When the answer, or the end of patience, came.
    pub at: At,
    /// The answer.
    pub answer: Answer,
}

/// The answer to a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx, with the id.
    Accepted(String),
    /// Any other status.
    Refused(u16),
    /// None.
    Lost(String),
}

/// A wish to stop a task.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Which.
    pub task: String,
    /// The replica.
    pub api: usize,
    /// When it was sent.
    pub sent: At,
    /// When the answer, or the end of patience, came.
    pub at: At,
    /// The status of the answer; `None` if there was none, as a watcher's STOP has none.
    pub status: Option<u16>,
}

/// How a watcher reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON frames of a WebSocket.
    Json,
    /// Plain frames of a WebSocket.
    Plain,
    /// Server-sent events.
    Events,
}

/// One connection of a watcher.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Who watches; a watcher that comes back keeps its number.
    pub watcher: usize,
    /// What.
    pub task: String,
    /// Where.
    pub api: usize,
    /// How.
    pub format: Format,
    /// After which update it wanted to begin.
    pub after: UpdateId,
    /// When it connected.
    pub opened: At,
    /// What it read.
    pub frames: Vec<Frame>,
    /// How it ended.
    pub closed: Closed,
    /// It means to see the end, and comes back until it has.
    pub stays: bool,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its id; plain frames have none.
    pub id: Option<UpdateId>,
    /// Its kind; plain frames have none.
    pub kind: Option<String>,
    /// What people read.
    pub text: String,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The server said that it has given everything: 1000, or 204, or the end of the events.
    Ended,
    /// The server closed with another code, or refused with a status.
    Code(u16),
    /// It broke, or never came to be.
    Broken(String),
    /// The watcher went away.
    Left,
}

/// A task as `GET /tasks/{id}` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub task: String,
    /// The replica.
    pub api: usize,
    /// Where it stands; what went wrong, if it was not shown.
    pub status: String,
    /// The last attempt.
    pub attempt: u64,
}

/// Something was wrong on purpose.
#[derive(Clone, Debug)]
pub struct Fault {
    /// From when.
    pub from: At,
    /// Until when.
    pub to: At,
    /// What.
    pub what: String,
}

/// What a process took at most.
#[derive(Clone, Debug)]
pub struct Peak {
    /// Which.
    pub name: String,
    /// It is an API.
    pub is_api: bool,
    /// Resident memory, in KiB.
    pub kib: u64,
}
