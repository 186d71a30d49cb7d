//! The log port in memory, for simulations and tests: a process that "restarts" goes on with a clone of it.
//!
//! It must never start a thread or a task, do I/O or read a clock of its own: under madsim that would break the
//! determinism. It keeps everything for ever.

use crate::ports::{
    Committed, Durability, GroupEvent, Log, LogError, Member, Step, StepError, Steps, Tail, TailEvent, TailFrom, World,
};
use baton_core::groups::{Effect, Group, Input, MemberId};
use baton_core::log::{Batch, Delivered, Offset, Partition, Topic, partition_of};
use baton_core::time::Timestamp;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The most batches that a tail gives at once.
const TAIL_BATCHES: usize = 256;

/// A log in memory. Clones are the same log.
#[derive(Clone)]
pub struct MemoryLog(Arc<Shared>);

struct Shared {
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    state: Mutex<State>,
    /// Told of every change, for whoever waits for one.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    partitions: u32,
    topics: [Records; Topic::ALL.len()],
    /// Of the last record; time in the log never goes back.
    last_at: Timestamp,
    groups: BTreeMap<String, Seats>,
    members: MemberId,
}

/// One topic.
#[derive(Default)]
struct Records {
    batches: Vec<Delivered>,
    next_offsets: BTreeMap<Partition, Offset>,
}

/// One group: who sits in it, and what it committed.
struct Seats {
    group: Group,
    committed: BTreeMap<Partition, Committed>,
    inboxes: BTreeMap<MemberId, VecDeque<GroupEvent>>,
}

impl MemoryLog {
    /// An empty log of `partitions` partitions a topic, whose records are taken at what `clock` says.
    pub fn new(partitions: u32, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let state = State { partitions: partitions.max(1), ..State::default() };
        Self(Arc::new(Shared { clock: Box::new(clock), state: Mutex::new(state), changes: watch::Sender::new(()) }))
    }

    /// An empty log in `world`, by whose clock its records are taken.
    pub fn in_world(partitions: u32, world: impl World) -> Self {
        Self::new(partitions, move || world.wall())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends, and says where.
    fn append(&self, state: &mut State, batches: Vec<Batch>) -> Vec<(Partition, Offset)> {
        state.last_at = state.last_at.max((self.clock)());
        batches.into_iter().map(|batch| state.append(batch)).collect()
    }

    fn tell(&self) {
        self.changes.send_replace(());
    }
}

impl State {
    fn append(&mut self, batch: Batch) -> (Partition, Offset) {
        let partition = partition_of(batch.key.as_str().as_bytes(), self.partitions);
        let records = &mut self.topics[batch.topic as usize];
        let next = records.next_offsets.entry(partition).or_default();
        let base_offset = *next;
        if batch.values.is_empty() {
            return (partition, base_offset);
        }
        *next += batch.values.len() as u64;
        records.batches.push(Delivered {
            topic: batch.topic,
            partition,
            base_offset,
            at: self.last_at,
            key: Bytes::copy_from_slice(batch.key.as_str().as_bytes()),
            values: batch.values,
        });
        (partition, base_offset)
    }

    fn records(&self, topic: Topic) -> &[Delivered] {
        &self.topics[topic as usize].batches
    }

    fn seats(&mut self, group: &str) -> &mut Seats {
        let partitions = self.partitions as usize;
        self.groups.entry(group.to_owned()).or_insert_with(|| Seats {
            group: Group::new(vec![0; partitions]),
            committed: BTreeMap::new(),
            inboxes: BTreeMap::new(),
        })
    }
}

impl Seats {
    /// Lets the group act on `input`, and tells its members what comes of it.
    fn handle(&mut self, input: Input) {
        self.group.handle(input);
        while let Some(effect) = self.group.poll() {
            let (member, event) = match effect {
                // Memory is as durable as this log gets.
                Effect::Persist { partition, epoch } => {
                    self.group.handle(Input::Persisted { partition, epoch });
                    continue;
                }
                Effect::Claimed { member, partition, epoch } => {
                    let committed = self.committed.get(&partition).cloned().unwrap_or_default();
                    (member, GroupEvent::Claimed { partition, epoch, committed })
                }
                Effect::Revoke { member, partition } => (member, GroupEvent::Revoke { partition }),
            };
            if let Some(inbox) = self.inboxes.get_mut(&member) {
                inbox.push_back(event);
            }
        }
    }
}

impl Log for MemoryLog {
    type Tail = MemoryTail;
    type Member = MemoryMember;

    async fn append(&self, batches: Vec<Batch>, _durability: Durability) -> Result<Vec<(Partition, Offset)>, LogError> {
        let placed = self.0.append(&mut self.0.state(), batches);
        self.0.tell();
        Ok(placed)
    }

    async fn tail(&self, topic: Topic, from: TailFrom) -> Result<MemoryTail, LogError> {
        let state = self.0.state();
        let records = state.records(topic);
        let next = match from {
            TailFrom::Earliest => 0,
            TailFrom::Time(time) => records.partition_point(|batch| batch.at < time),
        };
        let changes = self.0.changes.subscribe();
        Ok(MemoryTail { log: Arc::clone(&self.0), changes, topic, next, catches_up_at: Some(records.len()) })
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Delivered>, LogError> {
        let mut bytes = 0;
        let state = self.0.state();
        let found = state.records(topic).iter().filter(|batch| batch.partition == partition);
        Ok(found
            .filter(|batch| batch.end_offset() > from && batch.base_offset < to)
            .filter_map(|batch| batch.clone().from_offset(from)?.before_offset(to))
            .take_while(|batch| {
                let first = bytes == 0;
                bytes += batch.values.bytes().max(1);
                first || bytes <= max_bytes
            })
            .collect())
    }

    async fn join(&self, group: &str, _member: &str, lookback: Duration) -> Result<MemoryMember, LogError> {
        let mut state = self.0.state();
        state.members += 1;
        let id = state.members;
        let seats = state.seats(group);
        seats.inboxes.insert(id, VecDeque::new());
        seats.handle(Input::Join(id));
        self.0.tell();
        let changes = self.0.changes.subscribe();
        let (group, log) = (Arc::from(group), Arc::clone(&self.0));
        Ok(MemoryMember { log, changes, group, id, lookback, claims: BTreeMap::new(), last_served: 0 })
    }
}

/// A tail of a [`MemoryLog`].
pub struct MemoryTail {
    log: Arc<Shared>,
    changes: watch::Receiver<()>,
    topic: Topic,
    /// The batch to give next.
    next: usize,
    /// How many batches there were as the tail began, until that was said.
    catches_up_at: Option<usize>,
}

impl MemoryTail {
    fn poll(&mut self) -> Option<TailEvent> {
        if self.catches_up_at.is_some_and(|end| self.next >= end) {
            self.catches_up_at = None;
            return Some(TailEvent::CaughtUp);
        }
        let state = self.log.state();
        let batches: Vec<_> = state.records(self.topic).iter().skip(self.next).take(TAIL_BATCHES).cloned().collect();
        self.next += batches.len();
        (!batches.is_empty()).then_some(TailEvent::Records(batches))
    }
}

impl Tail for MemoryTail {
    async fn next(&mut self) -> Result<TailEvent, LogError> {
        loop {
            self.changes.borrow_and_update();
            if let Some(event) = self.poll() {
                return Ok(event);
            }
            self.changes.changed().await.expect("the log that this tail holds holds the sender");
        }
    }

    fn catch_up(&mut self) {
        self.catches_up_at = Some(self.log.state().records(self.topic).len());
    }
}

/// A member of a group of a [`MemoryLog`].
pub struct MemoryMember {
    log: Arc<Shared>,
    changes: watch::Receiver<()>,
    group: Arc<str>,
    id: MemberId,
    lookback: Duration,
    claims: BTreeMap<Partition, Claim>,
    last_served: Partition,
}

/// How far a claim has been read.
struct Claim {
    /// All batches before this one were looked at.
    batch: usize,
    /// All records before this one were given.
    offset: Offset,
    paused: bool,
}

impl MemoryMember {
    fn poll(&mut self) -> Option<GroupEvent> {
        let log = Arc::clone(&self.log);
        let mut state = log.state();
        let event = state.seats(&self.group).inboxes.get_mut(&self.id).and_then(VecDeque::pop_front);
        match &event {
            Some(GroupEvent::Claimed { partition, committed, .. }) => {
                let offset = self.start_of(&state, *partition, committed, (log.clock)());
                self.claims.insert(*partition, Claim { batch: 0, offset, paused: false });
            }
            Some(GroupEvent::Revoke { partition }) => _ = self.claims.remove(partition),
            _ => {}
        }
        event.or_else(|| self.next_records(&state))
    }

    fn start_of(&self, state: &State, partition: Partition, committed: &Committed, now: Timestamp) -> Offset {
        let oldest = state.last_at.max(now).minus(self.lookback);
        let mut tasks = state.records(Topic::Tasks).iter();
        let young = tasks.find(|batch| batch.partition == partition && batch.at > oldest);
        young.map_or(committed.offset, |batch| batch.base_offset.min(committed.offset))
    }

    /// The claims take turns.
    fn next_records(&mut self, state: &State) -> Option<GroupEvent> {
        let (before, after): (Vec<Partition>, Vec<_>) = self.claims.keys().partition(|p| **p <= self.last_served);
        for partition in after.into_iter().chain(before) {
            let claim = self.claims.get_mut(&partition).expect("the key of a claim that is there");
            if claim.paused {
                continue;
            }
            while let Some(batch) = state.records(Topic::Tasks).get(claim.batch) {
                claim.batch += 1;
                if batch.partition != partition {
                    continue;
                }
                if let Some(delivered) = batch.clone().from_offset(claim.offset) {
                    claim.offset = delivered.end_offset();
                    self.last_served = partition;
                    return Some(GroupEvent::Records(delivered));
                }
            }
        }
        None
    }

    fn handle(&self, input: Input) {
        self.log.state().seats(&self.group).handle(input);
        self.log.tell();
    }
}

impl Member for MemoryMember {
    type Steps = MemorySteps;

    async fn next(&mut self) -> Result<GroupEvent, LogError> {
        loop {
            self.changes.borrow_and_update();
            if let Some(event) = self.poll() {
                return Ok(event);
            }
            self.changes.changed().await.expect("the log that this member holds holds the sender");
        }
    }

    fn pause(&mut self, partition: Partition) {
        if let Some(claim) = self.claims.get_mut(&partition) {
            claim.paused = true;
        }
    }

    fn resume(&mut self, partition: Partition) {
        if let Some(claim) = self.claims.get_mut(&partition) {
            claim.paused = false;
        }
    }

    fn release(&mut self, partition: Partition) {
        self.claims.remove(&partition);
        self.handle(Input::Release { member: self.id, partition });
    }

    fn steps(&self) -> MemorySteps {
        MemorySteps { log: Arc::clone(&self.log), group: Arc::clone(&self.group) }
    }
}

impl Drop for MemoryMember {
    fn drop(&mut self) {
        self.log.state().seats(&self.group).inboxes.remove(&self.id);
        self.handle(Input::Leave(self.id));
    }
}

/// Takes steps on a [`MemoryLog`].
#[derive(Clone)]
pub struct MemorySteps {
    log: Arc<Shared>,
    group: Arc<str>,
}

impl Steps for MemorySteps {
    async fn step(&self, step: Step) -> Result<(), StepError> {
        let mut state = self.log.state();
        let seats = state.seats(&self.group);
        if !seats.group.is_current(step.partition, step.epoch) {
            return Err(StepError::Fenced);
        }
        seats.committed.insert(step.partition, step.committed);
        self.log.append(&mut state, step.batches);
        drop(state);
        self.log.tell();
        Ok(())
    }
}
