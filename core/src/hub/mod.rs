//! The hub: what the API knows of all tasks, and the history that their watchers read.
//!
//! Feed it with [`Hub::handle`], then drain [`Hub::poll`]; call it again at [`Hub::deadline`]. What the log holds goes in;
//! which watchers to wake comes out; everything else is a look. Replay and live are the same look,
//! so there is no moment between them. A late or repeated input changes nothing.

mod asked;
mod cluster;
mod history;
mod letters;
mod memory;
mod needle;
mod pulse;
mod segment;
mod task;
mod totals;
mod view;

pub use cluster::{ClusterView, FORGOTTEN_AFTER, LOST_AFTER, MemberView, PartitionView};
pub use history::{Place, Recall, Stretch};
pub use letters::{LetterShown, LetterView, LettersPage, LettersQuery, MAX_LETTERS, Redrive, letter_at};
pub use needle::{MAX_NEEDLE, Needle};
pub use pulse::{Counts, PulseView, STEP, STEPS, StepView};
pub use segment::{Filter, Format, Gauge, Origin, Segment};
pub use totals::Overview;
pub use view::{AttemptOutcome, AttemptView, ListKey, ListQuery, MAX_PAGE, PAGE, Page, Status, TaskView};

use crate::account::Tally;
use crate::agent_report::AgentReport;
use crate::id::{TaskId, UpdateId};
use crate::log::{Delivered, Offset, Partition, Topic};
use crate::problem::Problem;
use crate::record::{ControlRecord, Kind, ProgressRecord, TaskRecord, Unreadable};
use crate::redrive::LetterPlace;
use crate::time::{Instant, Now, Timestamp};
use crate::types::TaskTypes;
use asked::Asked;
use baton_probe::{Mark, Mutant, hit, hit_if, is};
use cluster::Cluster;
use history::History;
use letters::Letters;
use pulse::Pulse;
use segment::{SegmentBuilder, read_for};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use task::Task;
use totals::Totals;

/// The limits of a [`Hub`].
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// How long the history of a task stays after its end.
    pub history: Duration,
    /// How many bytes of histories, and of what is known of tasks and dead letters, stay in memory. Of histories the rest is read back from the
    /// log. Where half of it (or 1 MiB, if that is more) is not enough for tasks, those that have ended give up their
    /// params, and after a day themselves, the oldest first; and where that is not enough, a POST is refused.
    pub history_memory: usize,
    /// How long a task is known after its last update. At least as long as an idempotency key holds.
    pub retention: Duration,
    /// How many tasks may wait before a POST is refused.
    pub max_queued: usize,
    /// By them it is known which params are secret: those are never shown.
    pub types: TaskTypes,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            history: Duration::from_hours(1),
            history_memory: 256 << 20,
            retention: Duration::from_hours(7 * 24),
            max_queued: 100_000,
            types: TaskTypes::default(),
        }
    }
}

/// What a hub is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Records of any topic.
    Records(Delivered),
    /// The tail of this topic has given all that was there as it began.
    CaughtUp(Topic),
    /// Records were gone from the log before the tail could give them.
    Skipped(Topic, Partition),
    /// A dead letter was not found where it should be: its retention is over.
    LetterGone(TaskId, LetterPlace),
    /// The [`Hub::deadline`] has come.
    Timeout,
}

/// What a hub asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Something changed for those who watch this task, or wait for it.
    Wake(TaskId),
    /// There are more dead letters than are listed. Comes once.
    LettersUnlisted,
    /// A record could not be read, and was skipped.
    Unreadable {
        /// Where it is.
        topic: Topic,
        /// Where it is.
        partition: Partition,
        /// Where it is.
        offset: Offset,
        /// Why.
        why: Unreadable,
    },
}

/// What becomes of a submission.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    /// Append the record.
    Append,
    /// The task is there already, from an earlier POST with the same key and body.
    Known,
}

/// What becomes of a STOP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAdmission {
    /// Append the record.
    Append,
    /// A STOP is on the log already.
    Known,
}

/// What a watcher reads next.
#[derive(Clone, Debug)]
pub enum Read {
    /// No such task is known.
    Unknown,
    /// Updates.
    Stretch(Stretch),
    /// Nothing yet: wait for [`Effect::Wake`].
    Wait,
    /// The watcher has read the terminal update.
    End,
}

/// What the API knows of all tasks. See the module's words.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    tasks: BTreeMap<TaskId, Task>,
    by_submission: BTreeSet<ListKey>,
    timers: BTreeSet<(Instant, TaskId)>,
    /// Segments in the order they came, by their last update: the first to leave memory.
    resident: VecDeque<(TaskId, UpdateId)>,
    sweep_at: usize,
    /// Those whose params or results are in memory: the ended ones first, by their end, then the open ones, by their submission.
    with_params: BTreeSet<(bool, Timestamp, TaskId)>,
    /// Those that have ended, by their end.
    ended: BTreeSet<ListKey>,
    /// What is known of tasks beside the text of their histories, in bytes.
    tasks_bytes: usize,
    gauge: Gauge,
    queued: usize,
    totals: Totals,
    version: u64,
    /// What must be read before it is [`Hub::ready`]. Dead letters need not be: who asks for them is told to wait.
    behind: BTreeSet<Topic>,
    letters: Letters,
    cluster: Cluster,
    pulse: Pulse,
    effects: VecDeque<Effect>,
}

impl Hub {
    /// A hub that knows nothing, and is not ready until all topics but the dead letters' are caught up.
    pub fn new(config: HubConfig) -> Self {
        Self {
            config,
            tasks: BTreeMap::new(),
            by_submission: BTreeSet::new(),
            timers: BTreeSet::new(),
            resident: VecDeque::new(),
            sweep_at: 1024,
            with_params: BTreeSet::new(),
            ended: BTreeSet::new(),
            tasks_bytes: 0,
            gauge: Gauge::default(),
            queued: 0,
            totals: Totals::default(),
            version: 0,
            behind: BTreeSet::from([Topic::Tasks, Topic::Progress, Topic::Control]),
            letters: Letters::default(),
            cluster: Cluster::default(),
            pulse: Pulse::default(),
            effects: VecDeque::new(),
        }
    }

    /// Takes an input in.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.version += 1;
        match input {
            Input::Records(records) => match records.topic {
                Topic::Tasks => self.on_tasks(&records, now),
                Topic::Progress => self.on_progress(&records, now),
                Topic::Control => self.on_control(&records, now),
                Topic::DeadLetters => self.on_letters(&records),
                Topic::Presence => self.on_presence(&records),
            },
            Input::Skipped(Topic::Progress, partition) if !is(Mutant::SkipUntold) => {
                self.tasks.values_mut().for_each(|task| task.history.skip(partition));
            }
            // What processes said is news: whoever missed some hears of it soon.
            Input::Skipped(..) | Input::CaughtUp(Topic::Presence) => {}
            Input::LetterGone(id, place) => self.on_letter_gone(&id, place),
            Input::CaughtUp(Topic::DeadLetters) => self.letters.caught_up(),
            Input::CaughtUp(topic) => {
                self.behind.remove(&topic);
            }
            Input::Timeout => self.on_timeout(now),
        }
        self.hold_memory(now);
    }

    /// The next effect.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Self::handle`] with [`Input::Timeout`]: a history or a task is due to go.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether everything that was on the log at the start is known.
    pub fn ready(&self) -> bool {
        self.behind.is_empty() || is(Mutant::ReadyTooSoon)
    }

    /// The gauge that counts history in memory; rebuilt segments weigh on it too.
    pub const fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// How many bytes are held for histories, tasks and the index of dead letters.
    pub fn bytes(&self) -> usize {
        self.gauge.bytes() + self.tasks_bytes + self.letters.bytes()
    }

    /// What becomes of a task that a client submits.
    pub fn admit(&self, record: &TaskRecord) -> Result<Admission, Problem> {
        let known = self.tasks.get(&record.task_id);
        if let Some(asked) = known.and_then(|task| task.asked.as_ref()) {
            if asked.is_asked_by(record) {
                return Ok(Admission::Known);
            }
            hit(Mark::KeyReused);
            return Err(Problem::key_reused());
        }
        if !self.ready() {
            hit(Mark::RefusedBeforeReady);
            return Err(Problem::still_reading());
        }
        if known.is_some_and(|task| task.history.filter().last().is_some()) {
            // A task that has begun was on the log: its record is on its way here from another replica, or too old to be
            // read. A second one would never run, as the key's task has; and no one can say if it asks the same.
            let detail = "this key's task is known, but not what it was asked; try again, or send a new key";
            return Err(Problem::unavailable(detail, Duration::from_secs(1)));
        }
        if self.queued >= self.config.max_queued {
            hit(Mark::RefusedAsFull);
            let detail = format!("{} tasks are waiting, as many as may", self.queued);
            return Err(Problem::too_many(detail, Duration::from_secs(5)));
        }
        if self.tasks_bytes > self.most_for_tasks() {
            let detail =
                format!("the tasks that wait or run take {} bytes of memory, as many as may", self.tasks_bytes);
            return Err(Problem::too_many(detail, Duration::from_secs(5)));
        }
        Ok(Admission::Append)
    }

    /// What a client is told that asks for a task that is not known.
    pub fn unknown(&self, id: &TaskId) -> Problem {
        if self.ready() { Problem::no_such_task(id.as_str()) } else { Problem::still_reading() }
    }

    /// What becomes of a STOP for this task.
    pub fn admit_stop(&self, id: &TaskId, force: bool) -> Result<StopAdmission, Problem> {
        let task = self.tasks.get(id).ok_or_else(|| self.unknown(id))?;
        match &task.ended {
            Some(end) => Err(Problem::already_ended(id.as_str(), &end.update)),
            None if task.stop_asked && (task.stop_forced || !force) => {
                hit(Mark::SecondStop);
                Ok(StopAdmission::Known)
            }
            None => Ok(StopAdmission::Append),
        }
    }

    /// What a watcher reads who has read up to `after`; [`UpdateId::default`] is before the first.
    pub fn read(&self, id: &TaskId, after: UpdateId) -> Read {
        let Some(task) = self.known(id) else { return Read::Unknown };
        match task.history.read_after(after) {
            Some(stretch) => Read::Stretch(stretch),
            None if task.ended.is_some() => Read::End,
            None => Read::Wait,
        }
    }

    /// Makes again what left memory. `deliveries` are what the log still has of the range.
    pub fn rebuild(id: &TaskId, recall: &Recall, deliveries: &[Delivered], gauge: &Gauge) -> Segment {
        hit(Mark::HistoryReadBack);
        let mut before = recall.origin.before;
        if deliveries.first().is_none_or(|first| first.base_offset > recall.origin.from) {
            before.skip(); // its beginning is gone: how long the attempt was can't be known any more
        }
        let mut builder = SegmentBuilder::new(before);
        let mut taken = 0;
        for delivery in deliveries {
            for value in delivery.values.iter() {
                let record = read_for(id, &delivery.key, value);
                taken += usize::from(record.is_ok_and(|record| builder.push(&record, delivery.at)));
            }
        }
        if taken == 0 && recall.count > 0 {
            hit(Mark::HistoryGone);
            builder.push_truncated(recall.last_id, deliveries.last().map_or_else(Timestamp::default, |d| d.at));
        }
        builder.build(gauge)
    }

    /// The task as clients see it.
    pub fn view(&self, id: &TaskId) -> Option<TaskView> {
        let task = self.known(id)?;
        let params = task.asked.as_ref().and_then(Asked::params);
        let report = Some(&task.report).filter(|report| !report.is_empty()).cloned();
        Some(TaskView { params, report, attempts: Some(task.attempts.clone()), ..task.view(id) })
    }

    /// How many updates the task has, and where the one at this position is, if there is one; `None` if the task is not known.
    pub fn place_at(&self, id: &TaskId, position: usize) -> Option<(usize, Option<Place>)> {
        let history = &self.known(id)?.history;
        Some((history.len(), history.place_at(position)))
    }

    /// A number that changes whenever a list may.
    pub const fn version(&self) -> u64 {
        self.version
    }

    fn known(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.get(id).filter(|task| !(task.is_waiting() && is(Mutant::QueuedUnknown)))
    }

    /// The tasks that are asked for, the newest first, without their params.
    pub fn list(&self, query: &ListQuery) -> Page {
        let limit = if query.limit == 0 { PAGE } else { query.limit };
        let from_here = match &query.after {
            Some(after) => self.by_submission.range(..after.clone()),
            None => self.by_submission.range(..),
        };
        let mut wanted = from_here.rev().filter(|(_, id)| {
            let task = &self.tasks[id];
            let asked = task.asked.as_ref();
            query.wants_status(task.status())
                && query.wants_owner(asked.map(|a| a.project.as_str()), asked.map(|a| a.kind.as_str()))
                && query.wants_text(
                    [id.as_str()].into_iter().chain(asked.into_iter().flat_map(Asked::texts)).chain(task.last_text()),
                )
        });
        let keys: Vec<_> = wanted.by_ref().take(limit).collect();
        let more = wanted.next().is_some();
        Page {
            next_cursor: keys.last().filter(|_| more).map(|key| view::write_cursor(key)),
            tasks: keys.iter().map(|(_, id)| self.tasks[id].view(id).cut_for_list()).collect(),
            overview: self.totals.overview(query),
            version: self.version,
        }
    }

    fn on_tasks(&mut self, records: &Delivered, now: Now) {
        self.cluster.extend(records);
        for (index, value) in records.values.iter().enumerate() {
            let record = TaskRecord::read(value).and_then(|record| {
                let key: &[u8] = &records.key;
                let right = key.is_empty() || key == record.task_id.as_str().as_bytes();
                if right { Ok(record) } else { Err(Unreadable::wrong_key()) }
            });
            match record {
                Ok(record) => self.on_task(record, records.at, now),
                Err(why) => self.unreadable(records, index, why),
            }
        }
    }

    fn on_task(&mut self, record: TaskRecord, logged_at: Timestamp, now: Now) {
        let id = record.task_id.clone();
        let listed = (record.submitted_at.unwrap_or(logged_at), id.clone());
        if self.task(&id, logged_at, now).asked.is_some() {
            return; // the first record of an id is the task; a second is the same POST once more
        }
        let asked = Asked::new(record, &self.config.types);
        let task = self.task(&id, logged_at, now);
        task.asked = Some(asked);
        hit_if(!task.is_waiting(), Mark::UpdateBeforeTask);
        let old_place = task.place_by_params();
        let old = std::mem::replace(&mut task.listed, listed.clone());
        let (waiting, place) = (task.is_waiting(), task.place_by_params());
        self.with_params.remove(&old_place);
        self.by_submission.remove(&old);
        self.by_submission.insert(listed);
        self.with_params.insert(place);
        self.queued += usize::from(waiting);
        self.pulse.add(&Counts::TASK, logged_at);
        self.count(&id);
        self.weigh(&id);
        self.effects.push_back(Effect::Wake(id));
    }

    /// The task, made if this is the first that is heard of it.
    fn task(&mut self, id: &TaskId, at: Timestamp, now: Now) -> &mut Task {
        if !self.tasks.contains_key(id) {
            let listed = (at, id.clone());
            let timer = now.mono + self.config.retention;
            self.by_submission.insert(listed.clone());
            self.timers.insert((timer, id.clone()));
            let task = Task {
                asked: None,
                weight: 0,
                listed,
                started_at: None,
                ended: None,
                stop_asked: false,
                stop_forced: false,
                retrying: false,
                next_at: None,
                tally: Tally::default(),
                report: AgentReport::default(),
                active_at: at,
                timer: Some(timer),
                counted: None,
                attempts: Vec::new(),
                history: History::default(),
            };
            self.tasks.insert(id.clone(), task);
            self.count(id);
            self.weigh(id);
        }
        self.tasks.get_mut(id).expect("it was just made")
    }

    fn on_control(&mut self, records: &Delivered, now: Now) {
        for (index, value) in records.values.iter().enumerate() {
            match ControlRecord::read(value) {
                Ok(record) => {
                    let task = self.task(&record.task_id, records.at, now);
                    task.stop_asked = true;
                    task.stop_forced |= record.force;
                    self.count(&record.task_id);
                    self.effects.push_back(Effect::Wake(record.task_id));
                }
                Err(why) => self.unreadable(records, index, why),
            }
        }
    }

    fn unreadable(&mut self, records: &Delivered, index: usize, why: Unreadable) {
        let (topic, partition, offset) = (records.topic, records.partition, records.base_offset + index as u64);
        self.effects.push_back(Effect::Unreadable { topic, partition, offset, why });
    }

    /// The updates of one delivery: of one task, as a rule, as one segment.
    fn on_progress(&mut self, records: &Delivered, now: Now) {
        let mut index = 0;
        let values: Vec<&[u8]> = records.values.iter().collect();
        while index < values.len() {
            match owner_of(&records.key, values[index]) {
                Ok(id) => index += self.on_updates(&id, records, &values[index..], index, now),
                Err(why) => {
                    self.unreadable(records, index, why);
                    index += 1;
                }
            }
        }
    }

    /// The updates at the head of `values` that are this task's; returns how many. At least one is.
    fn on_updates(&mut self, id: &TaskId, records: &Delivered, values: &[&[u8]], first: usize, now: Now) -> usize {
        let gauge = self.gauge.clone();
        let task = self.task(id, records.at, now);
        let (waiting, before) = (task.is_waiting() && task.asked.is_some(), task.history.filter());
        let open_place = task.ended.is_none().then(|| task.place_by_params());
        let mut builder = SegmentBuilder::new(before);
        let (mut read, mut counts) = (0, Counts::default());
        for value in values {
            let Ok(record) = read_for(id, &records.key, value) else { break };
            read += 1;
            if builder.push(&record, records.at) {
                let position = task.history.len() + builder.len() - 1;
                task.note(&record, builder.filter().last().unwrap_or_default(), position, records.at);
                counts.note(record.kind.unwrap_or(Kind::Line));
            }
        }
        let filter = builder.filter();
        let segment = builder.build(&gauge);
        task.active_at = task.active_at.max(records.at);
        if let Some(last_id) = segment.last_id() {
            let from = records.base_offset + first as u64;
            let origin = Origin { partition: records.partition, from, to: from + read as u64, before };
            task.history.push(segment, origin, filter);
            let left_queue = waiting && !task.is_waiting();
            let waited = task.started_at.filter(|_| left_queue).map(|at| at.since(task.listed.0));
            let ended_at = task.ended.as_ref().map(|end| end.at);
            let has_result = task.report.result.is_some();
            let ended_place = open_place.filter(|_| ended_at.is_some()).map(|before| (before, task.place_by_params()));
            self.queued -= usize::from(left_queue);
            self.pulse.add(&counts, records.at);
            if let Some(waited) = waited {
                self.pulse.waited(waited, records.at);
            }
            self.count(id);
            self.resident.push_back((id.clone(), last_id));
            self.sweep();
            self.weigh(id);
            self.effects.push_back(Effect::Wake(id.clone()));
            if let Some((open, ended)) = ended_place {
                self.ended.insert((ended.1, id.clone()));
                if self.with_params.remove(&open) {
                    self.with_params.insert(ended);
                }
            }
            if has_result && let Some(task) = self.tasks.get(id) {
                self.with_params.insert(task.place_by_params());
            }
            if let Some(at) = ended_at {
                let age = now.wall.since(at);
                self.set_timer(id, now.mono + self.config.history.saturating_sub(age));
            }
        }
        read
    }

    /// Counts the task as it stands now.
    fn count(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let now = (task.asked.is_some(), task.status());
        if let Some((with_owner, status)) = task.counted.filter(|before| *before != now) {
            self.totals.remove(&task.owner(with_owner), status);
            task.counted = None;
        }
        if task.counted.is_none() {
            task.counted = Some(now);
            self.totals.add(task.owner(now.0), now.1);
        }
    }

    /// Entries whose segments were joined into later ones, or went with their tasks, go as well.
    fn sweep(&mut self) {
        if self.resident.len() >= self.sweep_at {
            let tasks = &self.tasks;
            self.resident.retain(|(id, last)| tasks.get(id).is_some_and(|task| task.history.is_resident(*last)));
            self.sweep_at = (self.resident.len() * 2).max(1024);
        }
    }

    fn set_timer(&mut self, id: &TaskId, at: Instant) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if let Some(old) = task.timer.replace(at) {
            self.timers.remove(&(old, id.clone()));
        }
        self.timers.insert((at, id.clone()));
    }

    fn on_timeout(&mut self, now: Now) {
        while let Some((at, id)) = self.timers.first().cloned().filter(|(at, _)| *at <= now.mono) {
            self.timers.remove(&(at, id.clone()));
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            task.timer = None;
            let quiet = now.wall.since(task.active_at);
            let kept_for = self.config.retention.saturating_sub(quiet);
            if task.ended.as_ref().is_some_and(|end| !end.expired && now.wall.since(end.at) >= self.config.history) {
                self.expire(&id);
                self.set_timer(&id, now.mono + kept_for);
            } else if kept_for.is_zero() {
                self.forget(&id);
            } else {
                // The wall clock was set back, or the task was heard of again.
                let ended = task.ended.as_ref().filter(|end| !end.expired);
                let due = ended.map_or(kept_for, |end| self.config.history.saturating_sub(now.wall.since(end.at)));
                self.set_timer(&id, now.mono + due);
            }
        }
    }

    /// The history goes; what is left says so, and how the task ended.
    fn expire(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some((end, last)) = task.ended.as_mut().zip(task.history.filter().last()) else { return };
        hit(Mark::HistoryExpired);
        end.expired = true;
        let mut builder = SegmentBuilder::default();
        let kind = match end.status {
            Status::Done => Kind::Done,
            Status::Stopped => Kind::Stopped,
            _ => Kind::Failed,
        };
        let terminal = ProgressRecord {
            exit_code: end.exit_code,
            signal: end.signal,
            reason: end.reason.as_deref().map(Into::into),
            tally: (last.attempt > 0).then_some(task.tally),
            ending: end.ending.clone(),
            // Its result may be long, and this stays: it is with the task, for as long as there is room.
            report: Some(task.report.without_result()).filter(|report| !report.is_empty()).map(Box::new),
            ..ProgressRecord::new(id, last, kind, end.at, end.update.as_str())
        };
        builder.push(&terminal, end.at);
        task.history.replace(builder.build(&self.gauge));
        self.weigh(id);
        self.effects.push_back(Effect::Wake(id.clone()));
    }

    fn forget(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.remove(id) else { return };
        self.by_submission.remove(&task.listed);
        self.with_params.remove(&task.place_by_params());
        if let Some(end) = &task.ended {
            self.ended.remove(&(end.at, id.clone()));
        }
        if let Some(at) = task.timer {
            self.timers.remove(&(at, id.clone()));
        }
        if let Some((with_owner, status)) = task.counted {
            self.totals.remove(&task.owner(with_owner), status);
        }
        self.tasks_bytes -= task.weight;
        self.queued -= usize::from(task.is_waiting() && task.asked.is_some());
        self.effects.push_back(Effect::Wake(id.clone()));
    }
}

/// The task that an update is of.
fn owner_of(key: &[u8], value: &[u8]) -> Result<TaskId, Unreadable> {
    let record = ProgressRecord::read(value)?;
    let id: TaskId = record.task_id.parse().map_err(|bad: crate::id::BadName| Unreadable::bad_id(&bad))?;
    if key.is_empty() || key == id.as_str().as_bytes() { Ok(id) } else { Err(Unreadable::wrong_key()) }
}
