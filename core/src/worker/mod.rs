//! The worker: claims partitions of `tasks`, gives their tasks slots, and commits what became of them.
//!
//! Feed it with [`Worker::handle`], then drain [`Worker::poll`]; call it again at [`Worker::deadline`]. A late or repeated
//! input changes nothing. The committed watermark never passes a task whose terminal update is not in the same
//! step or an earlier one: there is no other way from here to the ledger.

mod claim;
mod ends;
mod lanes;
mod records;
mod seen;
mod shown;
mod starts;

pub use claim::{READ_AHEAD_BYTES, READ_AHEAD_TASKS};
pub use records::Report;

use crate::account::AttemptEnd;
use crate::id::TaskId;
use crate::ledger::Ledger;
use crate::log::{Delivered, Epoch, Offset, Partition, Step, Topic};
use crate::patterns::Patterns;
use crate::policy::Policy;
use crate::record::{ControlRecord, TaskRecord, Unreadable};
use crate::retry::Backoff;
use crate::run::{Ending, Input as RunInput, RunSpec, StopWish};
use crate::time::{Instant, Now, Timestamp};
use crate::types::TaskTypes;
use baton_probe::{Mark, Mutant, hit, hit_if, is};
use claim::{Claim, Phase, Then, Waiting, What};
use lanes::Traffic;
use records::MAX_UNREADABLE;
use seen::Stops;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// How many tasks run at a time.
    pub slots: usize,
    /// The agent's program and its first arguments.
    pub agent: Vec<String>,
    /// The task types that are known.
    pub types: TaskTypes,
    /// How many attempts may be begun, unless the task says otherwise.
    pub max_attempts: u32,
    /// How long a process has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How long runs may go on once the worker is told to go.
    pub drain_timeout: Duration,
    /// What looks like a secret, and is taken out of what agents write.
    pub patterns: Patterns,
    /// The longest line, in bytes.
    pub max_line: usize,
    /// For jitter.
    pub seed: u64,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            slots: 1,
            agent: vec!["python".into(), "agent.py".into()],
            types: TaskTypes::default(),
            max_attempts: 3,
            grace: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            patterns: Patterns::default(),
            max_line: 64 * 1024,
            seed: 0,
        }
    }
}

/// How long handing back may take once the processes had their grace: a few steps, unless the log is away.
const HANDED_BACK_WITHIN: Duration = Duration::from_secs(5);

/// Names a run within its worker.
pub type RunId = u64;

/// What a worker is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A partition is this worker's.
    Claimed {
        /// Which.
        partition: Partition,
        /// Fences all steps of earlier claims.
        epoch: Epoch,
        /// What the last owner committed.
        offset: Offset,
        /// The ledger that stands with it.
        metadata: String,
    },
    /// The partition is to go to another worker, when nothing of it runs here any more.
    Revoked(Partition),
    /// The partition is gone.
    Lost(Partition),
    /// All claims hold until then.
    Renewed(Instant),
    /// Records of `tasks` or `task-control`.
    Records(Delivered),
    /// All STOPs are known that were on the log as [`Effect::CatchUp`] was last asked for.
    StopsCaughtUp,
    /// A run is over.
    Ended(RunId, Ending),
    /// The answer to [`Effect::Step`].
    Stepped(Partition, Epoch, Result<(), Unstepped>),
    /// Take no new task; hand back what still runs after the drain timeout.
    Drain,
    /// Hand back everything at once.
    Halt,
    /// The [`Worker::deadline`] has come.
    Timeout,
}

/// Why a step did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstepped {
    /// The claim is gone.
    Fenced,
    /// It may work later.
    ForNow,
}

/// What a worker asks for.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Take the atomic step, and say how it went.
    Step(Step),
    /// Begin a run.
    Start(RunId, Box<RunSpec>),
    /// Tell a run something.
    Tell(RunId, RunInput),
    /// Say [`Input::StopsCaughtUp`] once all STOPs were given that are on the log now.
    CatchUp,
    /// Give no records of the partition for now.
    Pause(Partition),
    /// Give records of the partition again.
    Resume(Partition),
    /// Give the claim up.
    Release(Partition),
    /// A record can't be read, and was skipped or dead-lettered.
    Unreadable {
        /// Where it is.
        topic: Topic,
        /// Where it is.
        partition: Partition,
        /// Where it is.
        offset: Offset,
        /// Why.
        why: String,
    },
    /// The ledger of a partition can't be read; its tasks wait until that is put right.
    Unusable(Partition, String),
    /// A task has ended, durably.
    Report(Report),
    /// Nothing runs, and everything is committed or given up: the worker may go.
    Leave,
}

/// A worker. See the module's words.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    claims: BTreeMap<Partition, Claim>,
    runs: BTreeMap<RunId, Running>,
    next_run: RunId,
    /// Where each task is that waits or runs here.
    places: BTreeMap<TaskId, (Partition, Offset)>,
    /// Until when all claims hold, where they end by time.
    held_until: Option<Instant>,
    /// That time has come, and nothing was said since: what keeps processes would end at once what begins.
    lapsed: bool,
    /// Partitions that were given up when that time had come: they are released when nothing of them runs any more.
    letting_go: BTreeSet<Partition>,
    stops: Stops,
    going: Going,
    step_backoff: Backoff,
    effects: VecDeque<Effect>,
}

#[derive(Debug)]
struct Running {
    partition: Partition,
    offset: Offset,
    attempt: u32,
    /// When the log took the record, and how many bytes it has.
    at: Timestamp,
    bytes: usize,
    record: Arc<TaskRecord>,
    policy: Policy,
    /// How the attempts before this one ended, as far as this worker saw.
    earlier: Vec<AttemptEnd>,
    /// The run is over; its slot is free once that is durable.
    over: bool,
}

/// Whether the worker is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    No,
    /// Until then running tasks may go on; then they are handed back.
    Draining(Instant),
    /// What runs is being handed back. What is not by then, as the log can't be written, is given up: the attempt counts.
    HandingBack(Instant),
    /// What runs is being killed. As the worker goes its claims are anyone's: not before all of it is dead.
    GivingUp,
    Gone,
}

impl Worker {
    /// A worker that has claimed nothing.
    pub fn new(config: WorkerConfig) -> Self {
        let step_backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2), config.seed);
        Self {
            config,
            claims: BTreeMap::new(),
            runs: BTreeMap::new(),
            next_run: 1,
            places: BTreeMap::new(),
            held_until: None,
            lapsed: false,
            letting_go: BTreeSet::new(),
            stops: Stops::default(),
            going: Going::No,
            step_backoff,
            effects: VecDeque::new(),
        }
    }

    /// Takes an input in.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Claimed { partition, epoch, offset, metadata } => {
                self.on_claimed(partition, epoch, offset, &metadata);
            }
            Input::Revoked(partition) => self.on_revoked(partition),
            Input::Lost(partition) => {
                self.on_lost(partition);
                self.letting_go.remove(&partition);
            }
            Input::Renewed(until) => (self.held_until, self.lapsed) = (Some(until), false),
            Input::Records(records) if records.topic == Topic::Control => self.on_control(&records),
            Input::Records(records) => self.on_tasks(&records, now),
            Input::StopsCaughtUp => self.claims.values_mut().for_each(Claim::caught_up),
            Input::Ended(run, ending) => self.on_ended(run, ending, now),
            Input::Stepped(partition, epoch, answer) => self.on_stepped(partition, epoch, answer, now),
            Input::Drain if self.going == Going::No => {
                self.going = Going::Draining(now.mono + self.config.drain_timeout);
            }
            Input::Drain => {}
            Input::Halt => self.hand_back(true, now),
            Input::Timeout => self.on_timeout(now),
        }
        self.settle(now);
    }

    /// The next effect.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Self::handle`] with [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Instant> {
        let steps = self.claims.values().filter_map(|claim| claim.step_again_at).min();
        let waits = self.claims.values().filter_map(Claim::timer).min();
        let going = match self.going {
            Going::Draining(at) | Going::HandingBack(at) => Some(at),
            Going::No | Going::GivingUp | Going::Gone => None,
        };
        let held = self.held_until.filter(|_| !self.claims.is_empty());
        [steps, waits, going, held].into_iter().flatten().min()
    }

    fn on_claimed(&mut self, partition: Partition, epoch: Epoch, offset: Offset, metadata: &str) {
        self.on_lost(partition);
        self.letting_go.remove(&partition);
        match Ledger::read(offset, metadata) {
            Ok(ledger) => {
                self.claims.insert(partition, Claim::new(partition, epoch, ledger));
                // A STOP that the last owner heard may not have come here yet.
                self.effects.push_back(Effect::CatchUp);
            }
            Err(bad) => self.effects.push_back(Effect::Unusable(partition, bad.to_string())),
        }
    }

    /// What runs goes on to its end, and nothing more begins; the claim is released when nothing of it runs any more.
    fn on_revoked(&mut self, partition: Partition) {
        let Some(claim) = self.claims.get_mut(&partition).filter(|_| !is(Mutant::RevokedKeepsRunning)) else {
            self.letting_go.insert(partition);
            return;
        };
        claim.phase = Phase::Revoked;
        hit_if(!claim.running.is_empty(), Mark::ClaimRevokedWhileRunning);
    }

    fn on_lost(&mut self, partition: Partition) {
        let Some(claim) = self.claims.remove(&partition) else { return };
        self.places.retain(|_, (place, _)| *place != partition);
        for run in claim.running.values() {
            if self.runs.get(run).is_some_and(|running| running.over) {
                self.runs.remove(run);
            } else if !is(Mutant::LostKeepsRunning) && !is(Mutant::StaleTerminal) {
                hit(Mark::ClaimLostWhileRunning);
                self.effects.push_back(Effect::Tell(*run, RunInput::Abandon));
            }
        }
    }

    fn on_control(&mut self, records: &Delivered) {
        for (index, value) in records.values.iter().enumerate() {
            match ControlRecord::read(value) {
                Ok(record) => {
                    let wish = StopWish { force: record.force, by: record.by };
                    self.on_stop(&record.task_id, records.at, &wish);
                }
                Err(why) => {
                    let offset = records.base_offset + index as u64;
                    self.unreadable(records, offset, why.to_string());
                }
            }
        }
    }

    fn on_stop(&mut self, id: &TaskId, at: Timestamp, wish: &StopWish) {
        self.stops.insert(id.clone(), at, wish);
        let Some((partition, offset)) = self.places.get(id) else { return };
        let Some(claim) = self.claims.get_mut(partition) else { return };
        if let Some(run) = claim.running.get(offset) {
            hit(Mark::StopOfRunning);
            self.effects.push_back(Effect::Tell(*run, RunInput::Stop(wish.clone())));
        } else if let Some(waiting) = claim.waiting.get(offset)
            && let What::Task(record) | What::Expired(record, _) = &waiting.what
            && !is(Mutant::QueuedStopForgotten)
            && !(waiting.due.is_some() && is(Mutant::RetryAfterStop))
        {
            hit(if waiting.due.is_some() { Mark::StopWhileWaiting } else { Mark::StopOfQueued });
            let what = What::Stopped(record.clone(), wish.clone());
            claim.end_waiting(*offset, what);
        }
    }

    fn unreadable(&mut self, records: &Delivered, offset: Offset, why: String) {
        let (topic, partition) = (records.topic, records.partition);
        self.effects.push_back(Effect::Unreadable { topic, partition, offset, why });
    }

    fn on_tasks(&mut self, records: &Delivered, now: Now) {
        for (index, value) in records.values.iter().enumerate() {
            let offset = records.base_offset + index as u64;
            let Some(claim) = self.claims.get_mut(&records.partition) else { return };
            let open = claim.read(offset);
            let record = read_task(&records.key, value);
            let first = record.as_ref().is_ok_and(|record| {
                let place = self.places.get(&record.task_id);
                let is_open_elsewhere = place.is_some_and(|place| *place != (records.partition, offset));
                let is_noted = open || !is(Mutant::SeenNotRebuilt);
                is_noted && claim.seen.first(&record.task_id, records.at) && !is_open_elsewhere
            });
            if !open {
                hit(if offset < claim.ledger.watermark() { Mark::LookedBack } else { Mark::ReadAfterItsEnd });
                continue;
            }
            let what = match record {
                Ok(_) if !first && !is(Mutant::SecondRecordRuns) => What::Again,
                Ok(record) => {
                    self.places.insert(record.task_id.clone(), (records.partition, offset));
                    let what = self.what_of(Arc::new(record), records.at);
                    hit_if(matches!(what, What::Stopped(..)), Mark::StopHeardFirst);
                    what
                }
                Err(why) => {
                    self.unreadable(records, offset, why.to_string());
                    let text = String::from_utf8_lossy(value);
                    let text = text[..text.floor_char_boundary(MAX_UNREADABLE)].to_owned();
                    What::Unreadable { text, why: why.to_string() }
                }
            };
            self.wait(records.partition, offset, Waiting::new(records.at, value.len(), what), now);
        }
    }

    fn on_stepped(&mut self, partition: Partition, epoch: Epoch, answer: Result<(), Unstepped>, now: Now) {
        let Some(claim) = self.claims.get_mut(&partition).filter(|claim| claim.epoch == epoch) else {
            hit(Mark::StaleAnswer);
            return;
        };
        match answer {
            Ok(()) => {
                self.step_backoff.reset();
                for then in claim.stepped() {
                    match then {
                        Then::Report(report) => self.effects.push_back(Effect::Report(report)),
                        Then::Counted(run) => self.effects.push_back(Effect::Tell(run, RunInput::Counted)),
                        Then::Freed(run) => {
                            if let Some(running) = self.runs.remove(&run) {
                                claim.running.remove(&running.offset);
                                self.places.remove(&running.record.task_id);
                            }
                        }
                    }
                }
            }
            Err(Unstepped::Fenced) => self.on_lost(partition),
            Err(Unstepped::ForNow) => claim.step_again_at = Some(now.mono + self.step_backoff.wait()),
        }
    }

    /// Another worker may have the partitions by now: nothing of them may run here any longer.
    fn let_go(&mut self) {
        hit(Mark::LeaseRanOut);
        (self.held_until, self.lapsed) = (None, true);
        let partitions: Vec<Partition> = self.claims.keys().copied().collect();
        for partition in partitions {
            self.on_lost(partition);
            self.letting_go.insert(partition);
        }
    }

    fn on_timeout(&mut self, now: Now) {
        if self.held_until.is_some_and(|until| until <= now.mono) {
            self.let_go();
        }
        for claim in self.claims.values_mut() {
            claim.pass_time(now);
            if claim.step_again_at.is_some_and(|at| at <= now.mono) {
                self.effects.extend(claim.step_again().map(Effect::Step));
            }
        }
        match self.going {
            Going::Draining(at) if at <= now.mono => self.hand_back(false, now),
            Going::HandingBack(at) if at <= now.mono => self.give_up(),
            _ => {}
        }
    }

    fn hand_back(&mut self, at_once: bool, now: Now) {
        if matches!(self.going, Going::GivingUp | Going::Gone) {
            return;
        }
        let graces = self.runs.values().map(|running| running.policy.grace).max();
        let grace = if at_once { Duration::ZERO } else { graces.unwrap_or_default() };
        self.going = Going::HandingBack(now.mono + grace + HANDED_BACK_WITHIN);
        for run in self.runs.keys() {
            hit(Mark::HandedBackAtDrain);
            self.effects.push_back(Effect::Tell(*run, RunInput::HandBack { at_once }));
        }
    }

    fn give_up(&mut self) {
        self.going = Going::GivingUp;
        for (run, _) in self.runs.iter().filter(|(_, running)| !running.over) {
            self.effects.push_back(Effect::Tell(*run, RunInput::Abandon));
        }
    }

    /// What follows from the state, whatever the input was: ends, starts, steps, pauses, releases.
    fn settle(&mut self, now: Now) {
        self.end_slotless(now);
        while self.going == Going::No && !self.lapsed && self.runs.len() < self.config.slots {
            let Some((_, partition, offset)) = self.oldest() else { break };
            self.start(partition, offset, now);
        }
        let dying = self.dying();
        let mut released = Vec::new();
        for claim in self.claims.values_mut() {
            self.effects.extend(claim.next_step().map(Effect::Step));
            if claim.phase == Phase::Revoked && claim.is_quiet() && !dying.contains(&claim.partition) {
                released.push(claim.partition);
            } else if let Some(pause) = claim.pause_or_resume() {
                let partition = claim.partition;
                self.effects.push_back(if pause { Effect::Pause(partition) } else { Effect::Resume(partition) });
            }
        }
        for partition in released {
            hit(Mark::ReleasedWhenQuiet);
            self.on_lost(partition);
            self.effects.push_back(Effect::Release(partition));
        }
        let gone = self.letting_go.extract_if(.., |partition| !dying.contains(partition));
        self.effects.extend(gone.map(Effect::Release));
        let may_go = match self.going {
            Going::Draining(_) | Going::HandingBack(_) => {
                self.runs.is_empty() && self.claims.values().all(Claim::is_quiet)
            }
            Going::GivingUp => self.runs.values().all(|running| running.over),
            Going::No | Going::Gone => false,
        };
        if may_go {
            self.going = Going::Gone;
            self.effects.push_back(Effect::Leave);
        }
    }

    /// The oldest task that may begin, as far as its type lets it. None of a partition where a run of an earlier claim is still dying: it may
    /// be a run of that very task.
    fn oldest(&self) -> Option<(Timestamp, Partition, Offset)> {
        let dying = self.dying();
        let claims = self.claims.values().filter(|claim| !dying.contains(&claim.partition));
        let types = &self.config.types;
        let traffic = Traffic::of(types, self.runs.values().map(|run| run.record.as_ref()));
        claims.filter_map(|claim| claim.oldest(|lane| traffic.lets(types, lane))).min()
    }

    /// The partitions where a run of an earlier claim still lives.
    fn dying(&self) -> BTreeSet<Partition> {
        let of_claim = |id: &RunId, run: &Running| {
            self.claims.get(&run.partition).is_some_and(|claim| {
                let is_current = claim.running.get(&run.offset) == Some(id);
                hit_if(!is_current, Mark::DyingHeldPartition);
                is_current
            })
        };
        self.runs.iter().filter(|(id, run)| !of_claim(id, run)).map(|(_, run)| run.partition).collect()
    }
}

fn read_task(key: &[u8], value: &[u8]) -> Result<TaskRecord, Unreadable> {
    let record = TaskRecord::read(value)?;
    let right = key.is_empty() || key == record.task_id.as_str().as_bytes();
    if right {
        Ok(record)
    } else {
        hit(Mark::WrongKey);
        Err(Unreadable::wrong_key())
    }
}
