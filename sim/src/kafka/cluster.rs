//! The cluster: brokers' disks, the controller's metadata, the coordinators' state. All of it outlives the brokers' processes.

use super::controller::BrokerState;
use super::group::Group;
use super::partition::Log;
use super::transactions::Transaction;
use super::wire::Broker;
use crate::event::{Event, Node};
use crate::journal::Journal;
use baton_core::log::{Partition, Topic};
use baton_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep};

/// How many brokers there are; each partition has a replica on every one.
pub const BROKERS: u8 = 3;
/// How often the controller and the coordinators look at their clocks.
const TICK: Duration = Duration::from_millis(400);
/// The wall clock of the brokers, as the world begins: 2026-01-01.
const BEGINNING: i64 = 1_767_225_600_000;

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// How many partitions each topic has.
    pub partitions: u32,
    /// The chance that a request comes twice, the second time late.
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
    pub brokers: [BrokerState; BROKERS as usize],
    pub logs: Vec<Log>,
    pub groups: BTreeMap<String, Group>,
    pub transactions: BTreeMap<String, Transaction>,
    pub producers: u64,
    /// The chance that a message is late.
    pub late: f64,
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

    /// Messages are late by this chance.
    pub fn set_late(&self, rate: f64) {
        self.state().late = rate;
    }

    /// What clocks say that are right.
    pub(super) fn now(&self) -> Timestamp {
        let since = i64::try_from(self.0.begun.elapsed().as_millis()).expect("a simulation is short");
        Timestamp::from_millis(BEGINNING + since)
    }

    pub(super) fn index(&self, topic: Topic, partition: Partition) -> usize {
        topic as usize * self.0.config.partitions as usize + partition as usize
    }

    /// A topic changed: wakes who waits for that.
    pub(super) fn topic_changes(&self, topic: Topic) {
        self.0.topics[topic as usize].notify_waiters();
    }

    /// A group changed: wakes who waits for that.
    pub(super) fn group_changes(&self) {
        self.0.groups.notify_waiters();
    }

    pub(super) fn note(&self, node: Node, event: Event) {
        self.0.journal.note(node, event);
    }

    /// Waits for a change of a topic.
    pub(super) fn topic_changed(&self, topic: Topic) -> Notified<'_> {
        self.0.topics[topic as usize].notified()
    }

    /// Waits for a change of a group.
    pub(super) fn group_changed(&self) -> Notified<'_> {
        self.0.groups.notified()
    }
}
