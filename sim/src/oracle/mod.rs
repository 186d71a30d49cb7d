//! The oracle: checks the ten guarantees, by their numbers, on every event as it happens.
//!
//! It states each rule anew: of the core it uses what reads records and ledgers, and nothing that decides. What it can't
//! know, it does not guess: where two truths are possible it lets both pass, and says so where the rule stands.

mod accepted;
mod attempts;
mod commits;
mod history;
mod log;
mod policies;
mod processes;
mod stops;
mod watchers;

use crate::event::{Entry, Event, Node, Short};
use baton_core::id::TaskId;
use baton_core::log::{Offset, Partition, Topic};
use baton_core::record::Kind;
use history::History;
use log::{Book, Pending};
use processes::{Gone, Machines, Process};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// A guarantee was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in the list of guarantees; 0 if the world itself broke.
    pub guarantee: u8,
    /// What was seen, where, and what was owed: sentences for people.
    pub what: String,
    /// The task that it is about.
    pub task: Option<TaskId>,
    /// The partition of `tasks` that it is about.
    pub partition: Option<Partition>,
}

impl Violation {
    fn of(guarantee: u8, what: impl Into<String>) -> Self {
        Self { guarantee, what: what.into(), task: None, partition: None }
    }

    /// The world ended in a panic.
    pub fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Self::of(0, format!("something panicked: {}", said.unwrap_or_default()))
    }

    fn on(self, task: &TaskId) -> Self {
        Self { task: Some(task.clone()), ..self }
    }

    fn in_partition(self, partition: Partition) -> Self {
        Self { partition: Some(partition), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.guarantee {
            0 => f.write_str(&self.what)?,
            guarantee => write!(f, "guarantee {guarantee} is broken: {}", self.what)?,
        }
        match (&self.task, self.partition) {
            (Some(task), Some(partition)) => write!(f, " (task {task}, partition {partition})"),
            (Some(task), None) => write!(f, " (task {task})"),
            (None, Some(partition)) => write!(f, " (partition {partition})"),
            (None, None) => Ok(()),
        }
    }
}

type Verdict = Result<(), Violation>;

/// What the world is set to, as far as the guarantees depend on it.
#[derive(Clone, Debug)]
pub struct OracleConfig {
    /// How many attempts may be begun, unless the task says otherwise.
    pub max_attempts: u32,
    /// How long a process has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How long an API keeps a history after its task's end: from then on a watcher may be told that updates are gone.
    pub history: Duration,
    /// How long an API knows a task after its last update.
    pub retention: Duration,
    /// How far wall clocks may be apart; `history` and `retention` are measured with them.
    pub skew: Duration,
    /// How long a worker and its machine may take from hearing a STOP to acting on it, as spawning takes time too: a process
    /// that was being made then is born, and signalled at once.
    pub reaction: Duration,
    /// How long a machine that stood still may take to end what was passed by.
    pub burial: Duration,
    /// Whether messages get lost even where nothing is wrong.
    pub loses: bool,
    /// Whether [`Event::Healed`] heals every node. Some rules are for a cluster where nothing is wrong anywhere.
    pub heals_all: bool,
}

impl Default for OracleConfig {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            grace: Duration::from_secs(10),
            history: Duration::from_hours(1),
            retention: Duration::from_hours(7 * 24),
            skew: Duration::from_secs(1),
            reaction: Duration::from_millis(100),
            burial: Duration::from_secs(1),
            loses: false,
            heals_all: false,
        }
    }
}

/// A point in the story. Two things may happen at one time; of two steps one is the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moment {
    step: u64,
    at: Duration,
}

impl Moment {
    const fn is_before(self, other: Self) -> bool {
        self.step < other.step
    }
}

/// What is known of one task.
#[derive(Debug, Default)]
struct Task {
    /// Where its durable records on `tasks` are, in the order in which they became durable. Empty: it is not a task, but
    /// something on another topic speaks of it.
    places: Vec<(Partition, Offset)>,
    /// Since when readers can see the first of them.
    visible_since: Option<Duration>,
    /// Its own limit.
    max_attempts: Option<u32>,
    /// Attempts whose `started` is durable.
    begun: u32,
    /// As the last ledger that names it says.
    returned: u32,
    end: Option<End>,
    /// Its dead letter is durable.
    letter: bool,
    /// Its first STOP is durable.
    stop: Option<Moment>,
    /// A client was told that its STOP is taken.
    stop_acknowledged: bool,
    /// When each worker heard of the STOP first, in its present life.
    heard: BTreeMap<u8, Moment>,
    /// By attempt.
    processes: BTreeMap<u32, Process>,
    limits: policies::Limits,
    times: policies::Times,
    history: History,
}

/// A task's durable terminal update.
#[derive(Debug)]
struct End {
    kind: Kind,
    attempt: u32,
    text: String,
    when: Moment,
}

impl Task {
    /// The partition of `tasks` that it is in.
    fn partition(&self) -> Option<Partition> {
        self.places.first().map(|(partition, _)| *partition)
    }

    /// The attempts that count against it.
    const fn counted(&self) -> u32 {
        self.begun.saturating_sub(self.returned)
    }
}

/// See the module's words.
#[derive(Debug, Default)]
pub struct Oracle {
    config: OracleConfig,
    now: Moment,
    tasks: BTreeMap<TaskId, Task>,
    /// Of `tasks`.
    books: BTreeMap<Partition, Book>,
    /// Durable records that readers can't see yet.
    unseen: BTreeMap<(Topic, Partition, Offset), log::Unseen>,
    /// The offset after the last visible record.
    seen_to: BTreeMap<(Topic, Partition), Offset>,
    /// Where partitions begin that were truncated.
    begins: BTreeMap<(Topic, Partition), Offset>,
    /// What must be followed by a ledger in the same instant.
    pending: Vec<Pending>,
    /// Records of `tasks` that can't be read and have their dead letter.
    buried: BTreeSet<(Partition, Offset)>,
    requests: BTreeMap<u32, Option<String>>,
    /// Who was given each task's id: a key, or a POST without one.
    given: BTreeMap<TaskId, accepted::Owner>,
    by_key: BTreeMap<String, TaskId>,
    watchers: BTreeMap<u32, watchers::Watcher>,
    machines: Machines,
    claims: stops::Claims,
    /// When each life of each API replica began.
    apis: BTreeMap<u8, Vec<Duration>>,
    /// Processes that are to end: by when each must be gone, and for how long before that nothing may be wrong anywhere.
    due: BTreeSet<(Duration, TaskId, u32, Duration)>,
    /// Something was wrong somewhere, and not everything has been put right.
    disturbed: bool,
    /// Since when nothing is wrong.
    calm_since: Duration,
}

impl Oracle {
    /// An oracle for a world that is set so.
    pub fn new(config: OracleConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Takes in what happened, and says if it should not have.
    pub fn observe(&mut self, entry: &Entry) -> Verdict {
        self.now = Moment { step: self.now.step + 1, at: entry.at };
        self.pending_is_booked(entry.at)?;
        self.stopped_in_time()?;
        self.passed_by_is_gone()?;
        match &entry.event {
            Event::Submitted { request, answer: Ok(id) } => self.on_accepted(*request, id),
            Event::StopAnswered(id, 202) => self.on_stop_acknowledged(id),
            Event::Denied { task, api, asked } => self.on_denied(task, *api, *asked),
            Event::Frame { watcher, id, kind, update } => self.on_frame(*watcher, *id, kind, update),
            Event::Unwatched { watcher, code } => self.on_unwatched(*watcher, *code),
            Event::Durable(record) => self.on_durable(record),
            Event::Visible(record) => self.on_visible(record),
            Event::Ledger { partition, offset, metadata } => self.on_ledger(*partition, *offset, metadata),
            Event::Heard { task, force } => self.on_heard(number(entry.node), task, *force),
            Event::Spawned(id, attempt) => self.on_spawned(number(entry.node), id, *attempt),
            Event::Memory { of, bytes, limit } => within_limit(entry.node, of, *bytes, *limit),
            fact => {
                self.learn(entry.node, fact);
                Ok(())
            }
        }
    }

    /// Takes in what can't be wrong, only be the reason why something else is.
    fn learn(&mut self, node: Node, fact: &Event) {
        match fact {
            Event::Submitting { request, key } => self.on_submitting(*request, key.as_ref()),
            Event::Watching { watcher, task, after, api } => self.on_watching(*watcher, task, *after, *api),
            Event::Truncated(topic, partition, begin) => {
                self.begins.insert((*topic, *partition), *begin);
            }
            Event::Claimed(partition, _) => self.claims.claim(number(node), *partition, self.now),
            Event::Gone { task, attempt, status, by_itself } => {
                let gone = Gone { when: self.now, status: *status, by_itself: *by_itself };
                self.on_gone(number(node), task, *attempt, gone);
            }
            Event::FilesMade(id, attempt) => {
                self.machines.files_made(number(node), id, *attempt, self.now.at);
            }
            Event::FilesRemoved(id, attempt) => self.machines.files_removed(id, *attempt),
            Event::Frozen => self.machines.freeze(number(node), None),
            Event::Thawed => self.machines.freeze(number(node), Some(self.now.at + self.config.burial)),
            Event::Started => self.on_started(node),
            Event::Killed | Event::Fault(_) => self.disturbed = true,
            Event::Healed => {
                self.disturbed &= !self.config.heals_all;
                self.calm_since = self.now.at;
            }
            _ => {}
        }
    }

    /// Whether everything that is owed once faults have stopped was given: then the simulation may end.
    pub fn is_settled(&self) -> bool {
        self.owed().is_ok()
    }

    /// The simulation is over: checks what must have come by now.
    pub fn finish(&mut self) -> Verdict {
        self.pending_is_booked(Duration::MAX)?;
        self.owed()
    }

    /// The first thing that is owed and has not come.
    fn owed(&self) -> Verdict {
        self.nothing_is_left()?;
        self.all_is_visible()?;
        self.all_have_ended()?;
        self.all_is_committed()?;
        self.all_watched_to_the_end()
    }

    fn task(&mut self, id: &TaskId) -> &mut Task {
        if !self.tasks.contains_key(id) {
            self.tasks.insert(id.clone(), Task::default());
        }
        self.tasks.get_mut(id).expect("it was just made")
    }

    /// For how long nothing has been wrong anywhere; `None` while something may be.
    fn calm_for(&self) -> Option<Duration> {
        (!self.disturbed).then(|| self.now.at.saturating_sub(self.calm_since))
    }

    fn on_started(&mut self, node: Node) {
        match node {
            Node::Worker(worker) => self.worker_starts(worker),
            // It reads the log from its beginning, and knows nothing until it has.
            Node::Api(api) => {
                self.calm_since = self.now.at;
                self.apis.entry(api).or_default().push(self.now.at);
            }
            _ => {}
        }
    }
}

/// Guarantee 9.
fn within_limit(node: Node, of: &str, bytes: usize, limit: usize) -> Verdict {
    if bytes <= limit {
        return Ok(());
    }
    Err(Violation::of(9, format!("{node} holds {bytes} bytes of {of}, and may hold {limit} at most")))
}

/// The number of a worker or of a machine: those of one number belong together.
fn number(node: Node) -> u8 {
    match node {
        Node::Api(n) | Node::Worker(n) | Node::Machine(n) | Node::Broker(n) | Node::Client(n) => n,
        Node::World => unreachable!("the world itself runs nothing"),
    }
}

fn short(id: &TaskId) -> String {
    Short(id).to_string()
}
