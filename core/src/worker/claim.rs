//! One claim: a partition of `tasks` that this worker owns for now, its ledger, what waits in it, and the steps that
//! move the ledger. Steps of one claim are taken one after the other; what comes meanwhile goes with the next.

use super::lanes::Lane;
use super::seen::Seen;
use super::{Report, RunId};
use crate::account::AttemptEnd;
use crate::agent_report::{Cost, Spent, Tokens};
use crate::ledger::Ledger;
use crate::log::{Batch, Committed, Epoch, Offset, Partition, Step};
use crate::policy::Cause;
use crate::record::TaskRecord;
use crate::run::StopWish;
use crate::time::{Instant, Now, Timestamp};
use baton_probe::{Mark, Mutant, hit, hit_if, is, limit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many tasks, and how many bytes of them, a claim reads ahead, so that a STOP finds them before their turn comes.
pub const READ_AHEAD_TASKS: usize = 10_000;
/// See [`READ_AHEAD_TASKS`].
pub const READ_AHEAD_BYTES: usize = 16 * 1024 * 1024;

/// A record of `tasks` that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// When the log took it, and how many bytes it has.
    pub at: Timestamp,
    pub bytes: usize,
    pub what: What,
    /// Since when it wants a slot.
    pub wants_since: Timestamp,
    /// Not before then it may begin: it waits for its next attempt.
    pub due: Option<Instant>,
    /// Then it has waited for too long, and why that is so.
    pub expires: Option<(Instant, Cause)>,
    /// What it counts with where not all may run at a time.
    pub lane: Lane,
    /// How its attempts ended, as far as this worker saw.
    pub earlier: Vec<AttemptEnd>,
    /// The tokens that those took. What they cost is in the ledger.
    pub tokens: Option<Tokens>,
}

impl Waiting {
    /// One that waits for nothing but a slot.
    pub fn new(at: Timestamp, bytes: usize, what: What) -> Self {
        let (lane, earlier) = (Lane::default(), Vec::new());
        Self { at, bytes, what, wants_since: at, due: None, expires: None, lane, earlier, tokens: None }
    }

    /// Whether it may begin as soon as there is a slot, and its lane lets it.
    fn is_ready(&self) -> bool {
        self.what.wants_slot() && (self.due.is_none() || is(Mutant::WaitSkipped))
    }

    fn weight(&self) -> usize {
        self.bytes + self.earlier.iter().map(AttemptEnd::weight).sum::<usize>()
    }

    /// When something is to be done about it.
    fn timer(&self) -> Option<Instant> {
        let expires = self.expires.filter(|_| self.what.wants_slot()).map(|(at, _)| at);
        [self.due, expires].into_iter().flatten().min()
    }
}

/// What a record of `tasks` turned out to be.
#[derive(Debug)]
pub(super) enum What {
    /// A task that waits for a slot.
    Task(Arc<TaskRecord>),
    /// A task that was stopped before its turn came.
    Stopped(Arc<TaskRecord>, StopWish),
    /// A task that has waited for too long, and why that is so.
    Expired(Arc<TaskRecord>, Cause),
    /// The second record of a task: a POST that was sent twice.
    Again,
    /// Not a task.
    Unreadable { text: String, why: String },
}

impl What {
    /// Whether it wants a slot; all others end as soon as the ledger has room.
    pub const fn wants_slot(&self) -> bool {
        matches!(self, Self::Task(_))
    }
}

/// What follows when a step is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// A task has ended.
    Report(Report),
    /// The run's attempt is counted.
    Counted(RunId),
    /// The run is over, and its slot is free.
    Freed(RunId),
}

/// Where a claim stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not all STOPs are known that were on the log as it began: nothing may run or end yet.
    CatchingUp,
    /// Tasks run and end.
    Open,
    /// Another member is to have it: what runs goes on to its end, and nothing begins.
    Revoked,
}

/// See the module's words.
#[derive(Debug)]
pub(super) struct Claim {
    pub partition: Partition,
    pub epoch: Epoch,
    pub ledger: Ledger,
    pub waiting: BTreeMap<Offset, Waiting>,
    /// Which of `waiting` are ready to begin, by their lanes.
    ready: BTreeMap<Lane, BTreeSet<Offset>>,
    /// Which of `waiting` want no slot.
    pub slotless: BTreeSet<Offset>,
    pub waiting_bytes: usize,
    /// When something is to be done about what waits.
    timers: BTreeSet<(Instant, Offset)>,
    pub running: BTreeMap<Offset, RunId>,
    /// Every task read so far, so that a second record is known for what it is.
    pub seen: Seen,
    pub paused: bool,
    pub phase: Phase,
    /// Offsets that hold nothing, above the watermark: known again from reading, so the ledger need not hold them.
    holes: BTreeMap<Offset, Offset>,
    /// The offset that is read next.
    next: Offset,
    batches: Vec<Batch>,
    thens: Vec<Then>,
    changed: bool,
    in_flight: Option<(Step, Vec<Then>)>,
    /// The log did not take the step in flight: when to ask again.
    pub step_again_at: Option<Instant>,
}

impl Claim {
    pub fn new(partition: Partition, epoch: Epoch, ledger: Ledger) -> Self {
        Self {
            partition,
            epoch,
            next: ledger.watermark(),
            ledger,
            waiting: BTreeMap::new(),
            ready: BTreeMap::new(),
            slotless: BTreeSet::new(),
            waiting_bytes: 0,
            timers: BTreeSet::new(),
            running: BTreeMap::new(),
            seen: Seen::default(),
            holes: BTreeMap::new(),
            paused: false,
            phase: Phase::CatchingUp,
            batches: Vec::new(),
            thens: Vec::new(),
            changed: false,
            in_flight: None,
            step_again_at: None,
        }
    }

    /// A record was read at `offset`. Returns whether it is still to be dealt with.
    pub fn read(&mut self, offset: Offset) -> bool {
        if offset > self.next {
            if is(Mutant::GapStops) {
                return false;
            }
            hit(Mark::GapPassed);
            // Offsets have gaps where the log keeps its own marks: nothing to wait for.
            self.holes.insert(self.next, offset);
            self.pass_holes();
        }
        let again = offset < self.next && offset >= self.ledger.watermark();
        self.next = self.next.max(offset + 1);
        !again && !self.ledger.has_ended(offset)
    }

    /// Takes into the ledger the holes that touch what has ended: those make its text no longer.
    fn pass_holes(&mut self) {
        let ledger = &mut self.ledger;
        self.holes.retain(|start, end| {
            let touches = *start <= ledger.watermark() || ledger.has_ended(start - 1);
            if touches {
                ledger.end_range(*start..*end);
            }
            !touches
        });
    }

    /// All STOPs are known that were on the log as it began.
    pub fn caught_up(&mut self) {
        if self.phase == Phase::CatchingUp {
            hit_if(!self.waiting.is_empty(), Mark::HeldForStops);
            self.phase = Phase::Open;
        }
    }

    pub fn wait(&mut self, offset: Offset, waiting: Waiting) {
        self.waiting_bytes += waiting.weight();
        if !waiting.what.wants_slot() {
            self.slotless.insert(offset);
        }
        if waiting.is_ready() {
            self.ready.entry(waiting.lane.clone()).or_default().insert(offset);
        }
        self.timers.extend(waiting.timer().map(|at| (at, offset)));
        self.waiting.insert(offset, waiting);
    }

    pub fn take(&mut self, offset: Offset) -> Option<Waiting> {
        let waiting = self.waiting.remove(&offset)?;
        self.waiting_bytes -= waiting.weight();
        self.slotless.remove(&offset);
        if let Some(lane) = self.ready.get_mut(&waiting.lane)
            && lane.remove(&offset)
            && lane.is_empty()
        {
            self.ready.remove(&waiting.lane);
        }
        if let Some(at) = waiting.timer() {
            self.timers.remove(&(at, offset));
        }
        Some(waiting)
    }

    /// What the attempts before spent on what waits there, as far as it is known.
    pub fn spent(&self, offset: Offset, tokens: Option<Tokens>) -> Spent {
        let cost = self.ledger.tries(offset).cost;
        Spent { cost: Some(cost).filter(|cost| *cost > Cost::default()), tokens }
    }

    /// What waits there is this from now on, and ends without a slot.
    pub fn end_waiting(&mut self, offset: Offset, what: What) {
        if let Some(waiting) = self.take(offset) {
            self.wait(offset, Waiting { what, due: None, ..waiting });
        }
    }

    /// When something is to be done about what waits: [`Self::pass_time`].
    pub fn timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What has waited for long enough may begin; what has waited for too long is to end.
    pub fn pass_time(&mut self, now: Now) {
        while let Some((_, offset)) = self.timers.first().copied().filter(|(at, _)| *at <= now.mono) {
            let Some(mut waiting) = self.take(offset) else { break };
            if waiting.due.is_some_and(|due| due <= now.mono) {
                hit(Mark::RetryDue);
                waiting.due = None;
                waiting.wants_since = now.wall;
            }
            if let (Some((_, cause)), What::Task(record)) =
                (waiting.expires.filter(|(at, _)| *at <= now.mono), &waiting.what)
            {
                let is_queued = cause == Cause::QueueTimeout;
                hit(if is_queued { Mark::QueueTimedOut } else { Mark::TotalTimedOutWaiting });
                waiting.what = What::Expired(record.clone(), cause);
            }
            self.wait(offset, waiting);
        }
    }

    /// The oldest task here that may begin, of those whose lanes let them, if the ledger has room for it.
    pub fn oldest(&self, lets: impl Fn(&Lane) -> bool) -> Option<(Timestamp, Partition, Offset)> {
        let of_lanes = self.ready.iter().filter(|(lane, _)| lets(lane)).filter_map(|(_, offsets)| offsets.first());
        let offset = of_lanes.min().copied()?;
        (self.may_begin() && self.has_room(offset)).then(|| (self.waiting[&offset].at, self.partition, offset))
    }

    /// Whether anything that waits here may end without a slot: also for as long as a run keeps the claim from another.
    pub fn may_end(&self) -> bool {
        self.may_begin() || (self.phase == Phase::Revoked && !self.running.is_empty())
    }

    /// Whether anything that waits here may begin.
    pub fn may_begin(&self) -> bool {
        matches!(self.phase, Phase::Open) || (self.phase == Phase::CatchingUp && is(Mutant::StopsNotAwaited))
    }

    /// Whether what waits at `offset` may begin or end: it is the oldest here, or the ledger's text has room.
    pub fn has_room(&self, offset: Offset) -> bool {
        let has_room = offset == self.ledger.watermark() || self.ledger.has_room_for(self.running.len() + 1);
        hit_if(!has_room, Mark::LedgerFull);
        has_room
    }

    /// Whether what waits at `offset` may end: what was begun is in the ledger's text, and makes it no longer by its end.
    pub fn may_end_at(&self, offset: Offset) -> bool {
        self.ledger.tries(offset).begun > 0 || self.has_room(offset)
    }

    /// Goes with the next step.
    pub fn add(&mut self, batches: impl IntoIterator<Item = Batch>, thens: impl IntoIterator<Item = Then>) {
        self.batches.extend(batches);
        self.thens.extend(thens);
        self.changed = true;
    }

    /// The next step, if there is something to commit and none is in flight.
    pub fn next_step(&mut self) -> Option<Step> {
        if self.in_flight.is_some() || !std::mem::take(&mut self.changed) {
            return None;
        }
        self.pass_holes();
        let ends_first =
            is(Mutant::CommitBeforeTerminal) && self.thens.iter().any(|then| matches!(then, Then::Report(_)));
        let batches = if ends_first { Vec::new() } else { std::mem::take(&mut self.batches) };
        self.changed = ends_first;
        let step = Step {
            partition: self.partition,
            epoch: self.epoch,
            batches,
            committed: Committed { offset: self.ledger.watermark(), metadata: self.ledger.write() },
        };
        self.in_flight = Some((step.clone(), std::mem::take(&mut self.thens)));
        Some(step)
    }

    /// The step in flight is durable: what follows.
    pub fn stepped(&mut self) -> Vec<Then> {
        self.step_again_at = None;
        self.in_flight.take().map(|(_, thens)| thens).unwrap_or_default()
    }

    /// The step in flight, to be asked for again.
    pub fn step_again(&mut self) -> Option<Step> {
        self.step_again_at = None;
        let (step, _) = self.in_flight.as_mut()?;
        hit(Mark::StepAskedAgain);
        if is(Mutant::StepLosesRecords) {
            step.batches.clear();
        }
        let step = step.clone();
        if is(Mutant::StepTwice) {
            self.add(step.batches.clone(), []);
        }
        Some(step)
    }

    /// Whether nothing runs, and nothing is left to commit.
    pub fn is_quiet(&self) -> bool {
        self.running.is_empty() && self.in_flight.is_none() && !self.changed
    }

    /// Whether to stop reading, or to go on: `None` to leave it as it is.
    pub fn pause_or_resume(&mut self) -> Option<bool> {
        let (tasks, bytes) = (self.waiting.len(), self.waiting_bytes);
        let most = limit(READ_AHEAD_TASKS, 4);
        let full = tasks >= most || bytes >= READ_AHEAD_BYTES;
        let roomy = tasks <= most / 2 && bytes <= READ_AHEAD_BYTES / 2;
        let pause = if self.paused { !roomy } else { full };
        (pause != self.paused).then(|| {
            hit_if(pause, Mark::ReadingPaused);
            self.paused = pause;
            pause
        })
    }
}
