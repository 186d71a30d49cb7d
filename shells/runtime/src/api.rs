//! The API's loop: feeds the hub from the log's tails, and answers submitters, stoppers and watchers.
//!
//! No lock is held over I/O, and no queue is kept for a watcher: it is woken, and reads the hub.

mod letters;

use crate::patience::{Patience, until_there};
use crate::ports::{Durability, Log, LogError, Tail, TailEvent, TailFrom, World};
use crate::world::Clock;
use baton_core::hub::{
    Admission, ClusterView, Effect, Hub, HubConfig, Input, ListQuery, Page, Read, Recall, Segment, StopAdmission,
    Stretch, TaskView,
};
use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Batch, Delivered, Topic, Values};
use baton_core::presence::Identity;
use baton_core::problem::Problem;
use baton_core::record::{ControlRecord, ControlSignal, TaskRecord};
use baton_core::run::StopWish;
use baton_core::submit::read_submission;
use baton_core::time::Timestamp;
use baton_core::trace::TraceParent;
use baton_core::types::TaskTypes;
use baton_probe::{Mark, Mutant, hit, is};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a POST or a STOP waits for the log's acknowledgement before it is told to try again.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);
/// How long a watcher of an unknown task waits for it: it may have been accepted elsewhere a moment ago.
const KNOWN_WITHIN: Duration = Duration::from_secs(3);
/// About how many bytes of text a watcher is given at a time.
const READ_BYTES: usize = 256 * 1024;
/// The status of [`Problem::key_reused`].
const KEY_REUSED: u16 = 409;
/// When a client that found the log unavailable should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The API of one process. Clones share it.
pub struct Api<L, W> {
    pub(crate) shared: Arc<Shared<L, W>>,
}

impl<L, W> Clone for Api<L, W> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

pub(crate) struct Shared<L, W> {
    pub(crate) log: L,
    pub(crate) clock: Clock<W>,
    types: TaskTypes,
    retention: Duration,
    hub: Mutex<Hub>,
    waiting: Mutex<HashMap<TaskId, Weak<Notify>>>,
    /// How many records could not be read since the start.
    unreadable: AtomicU64,
}

/// What a watcher gets next.
pub enum Next {
    /// Updates: of each segment those from the given number on.
    Segments(Vec<(Arc<Segment>, usize)>),
    /// The terminal update was given before: there is no more.
    End,
    /// The task is no longer known: its retention is over.
    Forgotten,
}

impl<L: Log, W: World> Api<L, W> {
    /// An API that knows nothing until [`Self::run`] has read the log.
    pub fn new(log: L, world: W, types: TaskTypes, mut config: HubConfig) -> Self {
        let retention = config.retention;
        config.types = types.clone();
        let hub = Mutex::new(Hub::new(config));
        let (waiting, unreadable) = (Mutex::default(), AtomicU64::default());
        Self { shared: Arc::new(Shared { log, clock: Clock::new(world), types, retention, hub, waiting, unreadable }) }
    }

    /// Reads the log for ever. Returns only when the log has failed for good.
    pub async fn run(&self) -> LogError {
        let ended = tokio::select! {
            biased;
            ended = self.follow() => ended,
            ended = self.shared.follow_letters() => ended,
        };
        match ended {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Takes part in the cluster, for ever: says that this replica is there, and hears of all others. Returns only when the log
    /// has failed for good.
    pub async fn attend(&self, identity: Identity) -> LogError {
        let ended = tokio::select! {
            biased;
            never = self.shared.announce(identity) => match never {},
            ended = self.shared.follow_presence() => ended,
        };
        match ended {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn follow(&self) -> Result<std::convert::Infallible, LogError> {
        let shared = &self.shared;
        let from = TailFrom::Time(shared.clock.world().wall().minus(shared.retention));
        let mut tasks = until_there(|| shared.log.tail(Topic::Tasks, from)).await?;
        let mut control = until_there(|| shared.log.tail(Topic::Control, from)).await?;
        let mut progress = until_there(|| shared.log.tail(Topic::Progress, from)).await?;
        let mut patience = [Patience::default(), Patience::default(), Patience::default()];
        loop {
            let deadline = shared.hub().deadline();
            let [with_control, with_tasks, with_progress] = &mut patience;
            let (topic, event) = tokio::select! {
                biased;
                () = shared.clock.until(deadline) => {
                    shared.handle(Input::Timeout);
                    continue;
                }
                event = with_control.then(control.next()) => (Topic::Control, event),
                event = with_tasks.then(tasks.next()) => (Topic::Tasks, event),
                event = with_progress.then(progress.next()) => (Topic::Progress, event),
            };
            match event {
                Ok(event) => shared.take_in(topic, event),
                Err(error) => {
                    let with = match topic {
                        Topic::Control => with_control,
                        Topic::Tasks => with_tasks,
                        Topic::Progress | Topic::DeadLetters | Topic::Presence => with_progress,
                    };
                    with.note(error, topic.name())?;
                }
            }
            // A flood on the log must not keep the watchers from running.
            tokio::task::yield_now().await;
        }
    }

    /// Whether everything that was on the log at the start is known.
    pub fn ready(&self) -> bool {
        self.shared.hub().ready()
    }

    /// How many bytes of history are in memory.
    pub fn history_bytes(&self) -> usize {
        self.shared.hub().gauge().bytes()
    }

    /// The task types that are known.
    pub fn types(&self) -> &TaskTypes {
        &self.shared.types
    }

    /// Takes a task that a client sent: its record is on the log, synced, when this returns.
    pub async fn submit(
        &self,
        body: &[u8],
        key: Option<&str>,
        traceparent: Option<TraceParent>,
    ) -> Result<TaskId, Problem> {
        let shared = &self.shared;
        let world = shared.clock.world();
        let record = read_submission(body, key, &shared.types, world.random(), world.wall())?;
        let record = TaskRecord { traceparent, ..record };
        let id = record.task_id.clone();
        // Heard of before the hub is asked, so that what it learns meanwhile is not missed.
        let notify = key.map(|_| shared.notify(&id));
        if shared.hub().admit(&record)? == Admission::Known {
            hit(Mark::SecondPost);
            return Ok(id);
        }
        let appended = self.append(Topic::Tasks, id.clone(), record.write()).await?;
        tracing::info!(task = %id, project = record.project, r#type = record.kind, "accepted");
        match notify {
            Some(notify) => self.settle(&record, &notify).await?,
            None => shared.handle(Input::Records(appended)),
        }
        Ok(id)
    }

    /// A keyed POST may have met another with the same key: the first on the log is the task.
    async fn settle(&self, record: &TaskRecord, notify: &Notify) -> Result<(), Problem> {
        let settled = async {
            loop {
                let notified = notify.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                match self.shared.hub().admit(record) {
                    Ok(Admission::Known) => return Ok(()),
                    Err(problem) if problem.status == KEY_REUSED => return Err(problem),
                    // It is on the log, whatever a new task would be told.
                    Ok(Admission::Append) | Err(_) => hit(Mark::KeySettled),
                }
                notified.await;
            }
        };
        let late = |_| Problem::unavailable("the task is on the log, and has not come back from it yet", RETRY_AFTER);
        timeout(ACKNOWLEDGED_WITHIN, settled).await.map_err(late)?
    }

    /// Asks for a task's end: the STOP is on the log, synced, when this returns.
    pub async fn stop(&self, id: &TaskId, wish: StopWish) -> Result<(), Problem> {
        let admission = self.shared.hub().admit_stop(id, wish.force)?;
        if admission == StopAdmission::Append {
            let at = Some(self.shared.clock.world().wall());
            let StopWish { force, by } = wish;
            let record = ControlRecord { task_id: id.clone(), signal: ControlSignal::Stop, force, at, by };
            let appended = self.append(Topic::Control, id.clone(), record.write()).await?;
            self.shared.handle(Input::Records(appended));
            tracing::info!(task = %id, force, "STOP accepted");
        }
        Ok(())
    }

    /// Appends a record, and gives it as the tail will: whoever was told that it is there must find it at once.
    async fn append(&self, topic: Topic, key: TaskId, value: Vec<u8>) -> Result<Delivered, Problem> {
        let values = Values::one(value);
        let batch = Batch { topic, key: key.clone(), values: values.clone() };
        let appended = self.shared.log.append(vec![batch], Durability::Synced);
        let delivered = |(partition, base_offset)| {
            let at = self.shared.clock.world().wall();
            let key = Bytes::copy_from_slice(key.as_str().as_bytes());
            Delivered { topic, partition, base_offset, at, key, values: values.clone() }
        };
        let why = match timeout(ACKNOWLEDGED_WITHIN, appended).await {
            Ok(Ok(places)) => return Ok(delivered(places.first().copied().unwrap_or_default())),
            Ok(Err(_)) if topic == Topic::Tasks && is(Mutant::PostAckedAnyway) => return Ok(delivered((0, 0))),
            Ok(Err(_)) if topic == Topic::Control && is(Mutant::StopAckedAnyway) => return Ok(delivered((0, 0))),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the log did not acknowledge within {ACKNOWLEDGED_WITHIN:?}"),
        };
        hit(Mark::AppendRefused);
        tracing::error!(task = %key, %topic, why, "could not append");
        Err(Problem::unavailable(why, RETRY_AFTER))
    }

    /// The task as clients see it.
    pub fn view(&self, id: &TaskId) -> Result<TaskView, Problem> {
        let hub = self.shared.hub();
        hub.view(id).ok_or_else(|| hub.unknown(id))
    }

    /// The task that this body would be, and is not: nothing is kept of it.
    pub fn check(&self, body: &[u8]) -> Result<TaskRecord, Problem> {
        read_submission(body, None, &self.shared.types, [0; 16], self.shared.clock.world().wall())
    }

    /// What the clock says.
    pub fn wall(&self) -> Timestamp {
        self.shared.clock.world().wall()
    }

    /// A number that changes whenever a list may.
    pub fn version(&self) -> u64 {
        self.shared.hub().version()
    }

    /// The cluster, as far as it was heard of.
    pub fn cluster(&self) -> ClusterView {
        self.shared.hub().cluster(self.wall())
    }

    /// The tasks that are asked for. Before the log was read a list would be short without a word.
    pub fn list(&self, query: &ListQuery) -> Result<Page, Problem> {
        let hub = self.shared.hub();
        if hub.ready() { Ok(hub.list(query)) } else { Err(Problem::still_reading()) }
    }

    /// A watcher of the task that has read up to `after`; [`UpdateId::default`] for one that has read nothing.
    /// Waits a little for a task that is not known.
    pub async fn watch(&self, id: &TaskId, after: UpdateId) -> Result<Watcher<L, W>, Problem> {
        let notify = self.shared.notify(id);
        let known = async {
            loop {
                let notified = notify.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if !matches!(self.shared.hub().read(id, after), Read::Unknown) {
                    return;
                }
                hit(Mark::WatchedBeforeKnown);
                notified.await;
            }
        };
        timeout(KNOWN_WITHIN, known).await.map_err(|_| self.shared.hub().unknown(id))?;
        Ok(Watcher { api: self.clone(), id: id.clone(), after, notify })
    }
}

/// A cursor into one task's history.
pub struct Watcher<L, W> {
    api: Api<L, W>,
    id: TaskId,
    after: UpdateId,
    notify: Arc<Notify>,
}

impl<L: Log, W: World> Watcher<L, W> {
    /// The id of the last update that was given.
    pub const fn after(&self) -> UpdateId {
        self.after
    }

    /// The updates that come next; waits for them.
    pub async fn next(&mut self) -> Result<Next, LogError> {
        let notify = self.notify.clone();
        loop {
            let notified = notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(next) = self.next_now().await? {
                return Ok(next);
            }
            if is(Mutant::ReplayThenSubscribe) {
                tokio::time::sleep(Duration::from_millis(1)).await; // while what was there is on its way to the client
                notified.set(notify.notified());
            }
            notified.await;
        }
    }

    /// The updates that are there; `None` if more will come later.
    pub async fn next_now(&mut self) -> Result<Option<Next>, LogError> {
        let (segments, last) = self.collect();
        if let Some(segment) = segments.last().and_then(|(segment, _)| segment.last_id()) {
            self.after = segment;
            return Ok(Some(Next::Segments(segments)));
        }
        Ok(match last {
            Read::Stretch(Stretch::OnTheLog(recall)) => Some(self.recall(&recall).await?),
            Read::Stretch(Stretch::Here(..)) => unreachable!("it would have been collected"),
            Read::Wait => None,
            Read::End => Some(Next::End),
            Read::Unknown => Some(Next::Forgotten),
        })
    }

    /// What is in memory, up to about [`READ_BYTES`], and what comes after it.
    fn collect(&self) -> (Vec<(Arc<Segment>, usize)>, Read) {
        let hub = self.api.shared.hub();
        let (mut after, mut bytes, mut segments) = (self.after, 0, Vec::new());
        loop {
            match hub.read(&self.id, after) {
                Read::Stretch(Stretch::Here(segment, first)) if bytes < READ_BYTES => {
                    if is(Mutant::SlowWatcherSkips) {
                        segments.clear();
                    }
                    bytes += segment.text_bytes();
                    after = segment.last_id().unwrap_or(after);
                    segments.push((segment, first));
                }
                other => return (segments, other),
            }
        }
    }

    /// Reads back what left memory.
    async fn recall(&mut self, recall: &Recall) -> Result<Next, LogError> {
        let segment = self.api.shared.recall(&self.id, recall).await?;
        let first = segment.count_through(self.after);
        self.after = recall.last_id;
        Ok(Next::Segments(vec![(Arc::new(segment), first)]))
    }
}

impl<L: Log, W: World> Shared<L, W> {
    /// Reads back a segment that left memory.
    pub(crate) async fn recall(&self, id: &TaskId, recall: &Recall) -> Result<Segment, LogError> {
        let origin = &recall.origin;
        let mut deliveries = Vec::new();
        let (mut from, to) = (origin.from, origin.to - u64::from(is(Mutant::RebuiltShort)));
        while from < to {
            let page = self.log.read(Topic::Progress, origin.partition, from, to, READ_BYTES).await?;
            let Some(end) = page.last().map(Delivered::end_offset) else { break };
            from = end;
            deliveries.extend(page.into_iter().filter(|d| d.key.is_empty() || d.key == id.as_str().as_bytes()));
        }
        let gauge = self.hub().gauge().clone();
        Ok(Hub::rebuild(id, recall, &deliveries, &gauge))
    }
}

impl<L, W: World> Shared<L, W> {
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, id: &TaskId) -> Arc<Notify> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = waiting.get(id).and_then(Weak::upgrade).filter(|_| !is(Mutant::WakeStolen)) {
            return notify;
        }
        // Swept when it has doubled, so that what nobody waits for any more does not pile up.
        if waiting.len() == waiting.capacity() {
            waiting.retain(|_, notify| notify.strong_count() > 0);
        }
        let notify = Arc::new(Notify::new());
        waiting.insert(id.clone(), Arc::downgrade(&notify));
        notify
    }

    fn handle(&self, input: Input) {
        let now = self.clock.now();
        let mut hub = self.hub();
        hub.handle(input, now);
        let effects: Vec<Effect> = std::iter::from_fn(|| hub.poll()).collect();
        drop(hub);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    /// What a tail gave.
    pub(crate) fn take_in(&self, topic: Topic, event: TailEvent) {
        match event {
            TailEvent::Records(records) => records.into_iter().for_each(|r| self.handle(Input::Records(r))),
            TailEvent::Skipped(partition) => {
                tracing::warn!(%topic, partition, "records were gone before they could be read: their retention is too short");
                self.handle(Input::Skipped(topic, partition));
            }
            TailEvent::CaughtUp => {
                self.handle(Input::CaughtUp(topic));
                tracing::debug!(%topic, "caught up");
            }
        }
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Wake(id) => {
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(notify) = waiting.get(&id).and_then(Weak::upgrade) {
                    notify.notify_waiters();
                }
            }
            Effect::LettersUnlisted => {
                tracing::warn!(
                    topic = %Topic::DeadLetters,
                    "there are more dead letters than are listed; purge some, or look for the oldest on the topic itself"
                );
            }
            Effect::Unreadable { topic, partition, offset, why } => {
                let so_far = self.unreadable.fetch_add(1, Ordering::Relaxed) + 1;
                tracing::warn!(%topic, partition, offset, %why, so_far, "skipped a record that can't be read");
            }
        }
    }
}
