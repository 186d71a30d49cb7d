//! The cluster: brokers' disks, the controller's metadata, the coordinators' state. All of it outlives the brokers' processes.

use super::group::Group;
use super::partition::{Fate, Log};
use super::transactions::Transaction;
use super::wire::{Broker, Error, Producer, Request, Response};
use crate::event::{Event, Logged, Node};
use crate::journal::Journal;
use baton_core::log::{Offset, Partition, Topic, Values};
use baton_core::record::{Kind, ProgressRecord};
use baton_core::time::Timestamp;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep};

/// How many brokers there are; each partition has a replica on every one.
pub const BROKERS: u8 = 3;
/// `min.insync.replicas`
const MIN_ISR: usize = 2;
/// How often the controller and the coordinators look at their clocks.
const TICK: Duration = Duration::from_millis(400);
/// A broker that is not heard of for this long is fenced, and its partitions get other leaders.
const BROKER_SESSION: Duration = Duration::from_millis(1200);
/// The longest metadata of an offset.
const MAX_METADATA: usize = 4095;
/// The wall clock of the brokers, as the world begins: 2026-01-01.
const BEGINNING: i64 = 1_767_225_600_000;

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// How many partitions each topic has.
    pub partitions: u32,
    /// The chance that a client sends a request twice.
    pub duplicates: f64,
    /// How long followers lag behind the leader.
    pub lag: Duration,
    /// After how long without a heartbeat a member is expelled.
    pub session: Duration,
    /// How long a transaction may be open.
    pub transaction: Duration,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            partitions: 4,
            duplicates: 0.0,
            lag: Duration::from_millis(1),
            session: Duration::from_secs(6),
            transaction: Duration::from_secs(5),
        }
    }
}

/// Clones are the same cluster.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    config: ClusterConfig,
    journal: Journal,
    begun: Instant,
    state: Mutex<State>,
    /// Something of a topic changed: how far it can be read or is replicated, or who leads.
    topics: [Notify; Topic::ALL.len()],
    /// A group has another generation.
    groups: Notify,
    /// A broker's connections broke: its process died.
    broken: [Notify; BROKERS as usize],
}

#[derive(Default)]
pub(super) struct State {
    brokers: [BrokerState; BROKERS as usize],
    pub logs: Vec<Log>,
    pub groups: BTreeMap<String, Group>,
    pub transactions: BTreeMap<String, Transaction>,
    pub producers: u64,
    epochs: u64,
}

#[derive(Clone, Default)]
struct BrokerState {
    /// Its process is dead.
    down: bool,
    /// How many faults keep it from the others: frozen, isolated.
    cut_off: u32,
    /// Since when it is not heard of.
    silent_since: Option<Instant>,
    /// The others do without it.
    fenced: bool,
    disk_delay: Duration,
    disk_full: bool,
}

impl BrokerState {
    const fn is_there(&self) -> bool {
        !self.down && self.cut_off == 0
    }

    const fn can_lead(&self) -> bool {
        self.is_there() && !self.disk_full
    }
}

impl Cluster {
    /// A cluster of three brokers, none of whose processes runs yet.
    pub fn new(config: ClusterConfig, journal: Journal) -> Self {
        let mut state = State::default();
        for topic in Topic::ALL {
            for partition in 0..config.partitions {
                let leader = Broker::try_from((partition + topic as u32) % u32::from(BROKERS)).expect("below three");
                state.logs.push(Log::new(topic, partition, leader, BROKERS));
            }
        }
        Self(Arc::new(Shared {
            config,
            journal,
            begun: Instant::now(),
            state: Mutex::new(state),
            topics: Default::default(),
            groups: Notify::new(),
            broken: Default::default(),
        }))
    }

    /// What the controller and the coordinators do by their clocks, for ever: for a node of its own.
    pub async fn control(self) {
        loop {
            sleep(TICK).await;
            self.tick();
        }
    }

    /// Forgets everything: the world is over, and what is left of its tasks may hold the cluster.
    pub fn forget(&self) {
        *self.state() = State::default();
    }

    pub(super) fn config(&self) -> &ClusterConfig {
        &self.0.config
    }

    pub(super) fn broken(&self, broker: Broker) -> &Notify {
        &self.0.broken[usize::from(broker)]
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the brokers' clocks say.
    pub(super) fn now(&self) -> Timestamp {
        let since = i64::try_from(self.0.begun.elapsed().as_millis()).expect("a simulation is short");
        Timestamp::from_millis(BEGINNING + since)
    }

    pub(super) fn index(&self, topic: Topic, partition: Partition) -> usize {
        topic as usize * self.0.config.partitions as usize + partition as usize
    }

    pub(super) fn note(&self, node: Node, event: Event) {
        self.0.journal.note(node, event);
    }

    // What the world does to brokers.

    /// A broker's process is dead. If its machine crashed, what its disk had not synced is lost.
    pub fn broker_down(&self, broker: Broker, machine: bool) {
        let mut state = self.state();
        state.brokers[usize::from(broker)].down = true;
        if machine {
            let State { logs, brokers, .. } = &mut *state;
            for log in logs {
                // What acks=all protects from: another that lives has all that was acknowledged.
                let has_all = |other: Broker| other != broker && log.ends[usize::from(other)] >= log.high_watermark;
                if (0..BROKERS).any(|other| has_all(other) && !brokers[usize::from(other)].down) {
                    log.isr.remove(&broker);
                    let end = &mut log.ends[usize::from(broker)];
                    *end = madsim::rand::Rng::gen_range(&mut madsim::rand::thread_rng(), 0..=*end);
                }
            }
        }
        drop(state);
        self.0.broken[usize::from(broker)].notify_waiters();
    }

    /// A broker is frozen or isolated, or no longer.
    pub fn cut_off(&self, broker: Broker, cut_off: bool) {
        let count = &mut self.state().brokers[usize::from(broker)].cut_off;
        *count = if cut_off { *count + 1 } else { *count - 1 };
    }

    /// Each write of this broker takes so long.
    pub fn set_disk_delay(&self, broker: Broker, delay: Duration) {
        self.state().brokers[usize::from(broker)].disk_delay = delay;
    }

    /// This broker's disk takes nothing, or takes it again.
    pub fn set_disk_full(&self, broker: Broker, full: bool) {
        self.state().brokers[usize::from(broker)].disk_full = full;
    }

    /// The next in sync leads each partition.
    pub fn elect(&self) {
        let mut state = self.state();
        for index in 0..state.logs.len() {
            let leader = state.logs[index].leader.unwrap_or_default();
            self.elect_after(&mut state, index, leader);
        }
    }

    /// All groups share out anew.
    pub fn rebalance(&self) {
        self.state().groups.values_mut().for_each(|group| group.rebalance(Instant::now()));
    }

    /// Somebody's transaction wrote to all partitions of the topic, and is aborted: its offsets hold nothing.
    pub fn abort_something(&self, topic: Topic) {
        let mut state = self.state();
        state.producers += 1;
        let somebody = Producer { id: state.producers, epoch: 0 };
        let now = self.now();
        for log in state.logs.iter_mut().filter(|log| log.topic == topic && log.leader.is_some()) {
            let records = (Bytes::from_static(b"aborted"), Values::one(&b"{}"[..]));
            if log.append(somebody, 0, true, now, records).is_ok() {
                log.mark(somebody, false, now);
            }
        }
    }

    /// The older half of each partition of `task-progress` is gone, or what stands before the first end of a task: ends are kept
    /// for at least as long as the tasks themselves.
    pub fn truncate_half(&self) {
        let topic = Topic::Progress;
        let mut state = self.state();
        for log in state.logs.iter_mut().filter(|log| log.topic == topic) {
            let before = log.start;
            let half = log.start + (log.stable() - log.start) / 2;
            let first_end = log.batches.iter().find(|batch| batch.values.iter().any(ends_a_task));
            log.truncate(first_end.map_or(half, |batch| batch.base.min(half)));
            if log.start > before {
                let leader = Node::Broker(log.leader.unwrap_or_default());
                self.note(leader, Event::Truncated(topic, log.partition, log.start));
            }
        }
    }

    // What brokers do.

    pub(super) fn broker_up(&self, broker: Broker) {
        self.state().brokers[usize::from(broker)].down = false;
    }

    /// What the broker's disk takes for a write.
    pub(super) fn disk_delay(&self, broker: Broker) -> Duration {
        self.state().brokers[usize::from(broker)].disk_delay
    }

    /// Waits for a change of a topic.
    pub(super) fn topic_changed(&self, topic: Topic) -> Notified<'_> {
        self.0.topics[topic as usize].notified()
    }

    /// Waits for a change of a group.
    pub(super) fn group_changed(&self) -> Notified<'_> {
        self.0.groups.notified()
    }

    /// Takes a request at a broker. `None`: it must wait for a change, and be asked again.
    pub(super) fn handle(&self, broker: Broker, request: &mut Request) -> Option<Response> {
        let mut state = self.state();
        let answer = self.answer(&mut state, broker, request);
        drop(state);
        // The last one in may complete a generation.
        if matches!(request, Request::Join { .. } | Request::Leave(..)) {
            self.0.groups.notify_waiters();
        }
        answer.unwrap_or_else(|error| Some(Response::Error(error)))
    }

    fn answer(&self, state: &mut State, broker: Broker, request: &mut Request) -> Result<Option<Response>, Error> {
        Ok(Some(match request {
            Request::Metadata => {
                Response::Metadata(state.logs.iter().map(|log| (log.topic, log.partition, log.leader)).collect())
            }
            Request::InitProducer(transaction) => self.init_producer(state, transaction.take())?,
            Request::Produce { producer, transaction, sequence, topic, partition, key, values } => {
                let index = self.index(*topic, *partition);
                let log = lead(state, index, broker)?;
                if log.isr.len() < MIN_ISR {
                    return Err(Error::NotEnoughReplicas);
                }
                if let Some(id) = &transaction {
                    let open = state.transactions.get_mut(id).ok_or(Error::InvalidTransaction)?;
                    open.check(*producer)?;
                    open.open()?;
                    open.partitions.insert(index);
                }
                if state.brokers[usize::from(broker)].disk_full {
                    return Err(Error::Storage);
                }
                let record = (key.clone(), values.clone());
                let now = self.now();
                let (base, fresh) =
                    state.logs[index].append(*producer, *sequence, transaction.is_some(), now, record)?;
                let end = base + values.len() as u64;
                if fresh {
                    self.follow_later(index);
                }
                if state.logs[index].high_watermark < end {
                    return Ok(None);
                }
                Response::Produced(base)
            }
            Request::Fetch { from, max_bytes } => return self.fetch(state, broker, from, *max_bytes),
            Request::ListOffsets { topic, partition, at } => {
                let log = lead(state, self.index(*topic, *partition), broker)?;
                let end = log.stable();
                let first = log.batches.iter().find(|batch| batch.at >= *at).map_or(end, |batch| batch.base);
                Response::Offsets { end, at: first.min(end).max(log.start), start: log.start }
            }
            Request::Join { group, member, number, instance, owned } => {
                self.coordinate(state, broker)?;
                let group = state.groups.entry(group.clone()).or_default();
                group.join((*member, *number), instance.clone(), owned, Instant::now())?;
                return Ok(None);
            }
            Request::Heartbeat(group, membership) => {
                self.coordinate(state, broker)?;
                state.groups.entry(group.clone()).or_default().heartbeat(membership, Instant::now())
            }
            Request::Leave(group, member) => {
                self.coordinate(state, broker)?;
                state.groups.entry(group.clone()).or_default().leave(*member, Instant::now());
                Response::Done
            }
            Request::FetchOffsets(group, partition) => {
                self.coordinate(state, broker)?;
                let key = (group.clone(), *partition);
                if state.transactions.values().any(|open| open.offsets.contains_key(&key)) {
                    return Err(Error::UnstableOffset);
                }
                let group = state.groups.entry(group.clone()).or_default();
                Response::Committed(group.committed.get(partition).cloned().unwrap_or_default())
            }
            Request::CommitOffset { transaction, producer, group, membership, partition, committed } => {
                self.coordinate(state, broker)?;
                if committed.metadata.len() > MAX_METADATA {
                    return Err(Error::MetadataTooLarge);
                }
                let open = state.transactions.get_mut(transaction).ok_or(Error::InvalidTransaction)?;
                open.check(*producer)?;
                state.groups.entry(group.clone()).or_default().check(membership)?;
                open.open()?;
                open.offsets.insert((group.clone(), *partition), committed.clone());
                Response::Done
            }
            Request::EndTransaction { transaction, producer, commit } => {
                self.coordinate(state, broker)?;
                self.end(state, transaction, *producer, *commit)?
            }
        }))
    }

    /// All coordinators live where the first partition of `task-control` is led: one more partition would say no more.
    fn coordinate(&self, state: &mut State, broker: Broker) -> Result<(), Error> {
        let index = self.index(Topic::Control, 0);
        if lead(state, index, broker)?.isr.len() < MIN_ISR { Err(Error::NotEnoughReplicas) } else { Ok(()) }
    }

    fn fetch(
        &self,
        state: &mut State,
        broker: Broker,
        from: &[(Topic, Partition, Offset)],
        max_bytes: usize,
    ) -> Result<Option<Response>, Error> {
        let (mut found, mut next) = (Vec::new(), Vec::new());
        for (topic, partition, offset) in from {
            let log = lead(state, self.index(*topic, *partition), broker)?;
            if *offset < log.start {
                return Ok(Some(Response::OutOfRange(*topic, *partition, log.start)));
            }
            let (records, end) = log.read(*offset, Offset::MAX, max_bytes);
            if end != *offset {
                next.push((*topic, *partition, end));
            }
            found.extend(records);
        }
        Ok((!next.is_empty()).then_some(Response::Fetched(found, next)))
    }

    /// Followers fetch what was appended, a moment later.
    pub(super) fn follow_later(&self, index: usize) {
        let cluster = self.clone();
        tokio::spawn(async move {
            sleep(cluster.0.config.lag).await;
            cluster.follow(index);
        });
    }

    fn follow(&self, index: usize) {
        let mut state = self.state();
        self.replicate(&mut state, index);
    }

    fn replicate(&self, state: &mut State, index: usize) {
        let State { logs, brokers, .. } = state;
        let log = &mut logs[index];
        let Some(leader) = log.leader.filter(|leader| brokers[usize::from(*leader)].is_there()) else { return };
        for broker in (0..BROKERS).filter(|broker| *broker != leader) {
            if brokers[usize::from(broker)].can_lead() {
                log.replicated(broker, MIN_ISR);
            }
        }
        log.advance(MIN_ISR);
        self.tell(log);
    }

    /// Tells the journal what can't be lost any more, and what all readers can see.
    pub(super) fn tell(&self, log: &mut Log) {
        let broker = Node::Broker(log.leader.unwrap_or_default());
        let (told, safe, shown, stable) = (log.told, log.high_watermark, log.shown, log.stable());
        if (told, shown) == (safe, stable) {
            return;
        }
        for batch in log.from(told) {
            if batch.fate == Fate::Plain && batch.base >= told && batch.end() <= safe {
                for logged in records(log.topic, log.partition, batch.base, &batch.key, &batch.values) {
                    self.note(broker, Event::Durable(logged));
                }
            }
        }
        for batch in log.from(shown) {
            let whole = batch.base >= shown && batch.end() <= stable;
            if whole && matches!(batch.fate, Fate::Plain | Fate::Committed) {
                for logged in records(log.topic, log.partition, batch.base, &batch.key, &batch.values) {
                    self.note(broker, Event::Visible(logged));
                }
            }
        }
        (log.told, log.shown) = (told.max(safe), shown.max(stable));
        self.0.topics[log.topic as usize].notify_waiters();
    }

    /// What the controller and the coordinators do by their clocks.
    fn tick(&self) {
        let now = Instant::now();
        let mut state = self.state();
        for broker in 0..BROKERS {
            let of = &mut state.brokers[usize::from(broker)];
            if of.can_lead() {
                (of.silent_since, of.fenced) = (None, false);
            } else {
                let since = *of.silent_since.get_or_insert(now);
                of.fenced = of.down || now.saturating_duration_since(since) >= BROKER_SESSION;
            }
        }
        for index in 0..state.logs.len() {
            let State { logs, brokers, .. } = &mut *state;
            let log = &mut logs[index];
            let fenced = |broker: &Broker| brokers[usize::from(*broker)].fenced;
            // The last one in sync stays: it has everything.
            for broker in (0..BROKERS).filter(fenced) {
                if log.isr.len() > 1 {
                    log.isr.remove(&broker);
                }
            }
            let leader = log.leader;
            if leader.is_none_or(|leader| fenced(&leader)) {
                self.elect_after(&mut state, index, leader.unwrap_or_default());
            }
            if state.logs[index].lags() {
                self.replicate(&mut state, index);
            }
        }
        self.tick_transactions(&mut state, now);
        let (session, partitions) = (self.0.config.session, self.0.config.partitions);
        let mut made = false;
        state.groups.values_mut().for_each(|group| made |= group.tick(session, partitions, now));
        if made {
            self.0.groups.notify_waiters();
        }
    }

    /// Makes the next broker that has everything the leader: one in sync, or one that has all below the high watermark
    /// (KIP-966: eligible leader replicas).
    fn elect_after(&self, state: &mut State, index: usize, leader: Broker) {
        let State { logs, brokers, .. } = state;
        let log = &mut logs[index];
        let able = |broker: &Broker| {
            brokers[usize::from(*broker)].can_lead() && log.ends[usize::from(*broker)] >= log.high_watermark
        };
        let mut others = (1..=BROKERS).map(|step| (leader + step) % BROKERS).filter(able);
        let next = others.clone().find(|broker| log.isr.contains(broker)).or_else(|| others.next());
        match next {
            Some(next) if log.leader != Some(next) => {
                if !log.isr.contains(&next) {
                    log.isr.clear();
                }
                log.elect(next);
                self.0.topics[log.topic as usize].notify_waiters();
                self.note(Node::Broker(next), Event::Leader(log.topic, log.partition));
            }
            None if log.leader.is_some() => {
                log.leader = None;
                self.0.topics[log.topic as usize].notify_waiters();
            }
            _ => {}
        }
    }

    /// What a member that waits for a rebalance is told.
    pub(super) fn joined(&self, group: &str, member: u64) -> Option<Response> {
        let mut state = self.state();
        let State { groups, epochs, .. } = &mut *state;
        let (session, partitions) = (self.0.config.session, self.0.config.partitions);
        let group = groups.get_mut(group)?;
        if group.tick(session, partitions, Instant::now()) {
            self.0.groups.notify_waiters();
        }
        let answer = group.joined(member)?;
        *epochs += 1;
        Some(match answer {
            Ok((membership, assigned, revoked)) => Response::Joined { membership, assigned, revoked, epoch: *epochs },
            Err(error) => Response::Error(error),
        })
    }

    /// Whether this broker still coordinates.
    pub(super) fn coordinates(&self, broker: Broker) -> bool {
        self.coordinate(&mut self.state(), broker).is_ok()
    }

    /// Who coordinates.
    pub(super) const COORDINATOR: (Topic, Partition) = (Topic::Control, 0);
}

fn ends_a_task(value: &[u8]) -> bool {
    ProgressRecord::read(value).is_ok_and(|record| record.kind.is_some_and(Kind::is_terminal))
}

fn lead(state: &mut State, index: usize, broker: Broker) -> Result<&mut Log, Error> {
    let log = &mut state.logs[index];
    if log.leader == Some(broker) { Ok(log) } else { Err(Error::NotLeader) }
}

pub(super) fn records<'a>(
    topic: Topic,
    partition: Partition,
    base: Offset,
    key: &'a Bytes,
    values: &'a Values,
) -> impl Iterator<Item = Logged> + 'a {
    values.iter().zip(base..).map(move |(value, offset)| Logged {
        topic,
        partition,
        offset,
        key: key.clone(),
        value: Bytes::copy_from_slice(value),
    })
}
