//! The controller: which brokers are there, and who leads what; and what the world does to brokers.

use super::cluster::{BROKERS, Cluster, State};
use super::wire::Broker;
use crate::event::{Event, Node};
use madsim::rand::{Rng as _, thread_rng};
use std::time::Duration;
use tokio::time::Instant;

/// A broker that is not heard of for this long is fenced, and its partitions get other leaders.
const BROKER_SESSION: Duration = Duration::from_millis(1200);

#[derive(Clone, Default)]
pub(super) struct BrokerState {
    /// Its process is dead.
    down: bool,
    /// How many faults keep it from the others: frozen, isolated.
    cut_off: u32,
    /// Since when it is not heard of.
    silent_since: Option<Instant>,
    /// The others do without it.
    fenced: bool,
    disk_delay: Duration,
    pub disk_full: bool,
    /// How far its wall clock is off, in milliseconds.
    pub clock_off: i64,
}

impl BrokerState {
    pub const fn is_there(&self) -> bool {
        !self.down && self.cut_off == 0
    }

    pub const fn can_lead(&self) -> bool {
        self.is_there() && !self.disk_full
    }
}

impl Cluster {
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
                    // A log is cut between batches, never within one.
                    let synced = log.ends_up_to(log.ends[usize::from(broker)]);
                    log.ends[usize::from(broker)] = synced[thread_rng().gen_range(0..synced.len())];
                }
            }
        }
        drop(state);
        self.broken(broker).notify_waiters();
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

    /// This broker's wall clock is off by so many seconds.
    pub fn set_clock_off(&self, broker: Broker, seconds: i64) {
        self.state().brokers[usize::from(broker)].clock_off = seconds * 1000;
    }

    /// This broker's disk takes nothing, or takes it again.
    pub fn set_disk_full(&self, broker: Broker, full: bool) {
        self.state().brokers[usize::from(broker)].disk_full = full;
    }

    pub(super) fn broker_up(&self, broker: Broker) {
        self.state().brokers[usize::from(broker)].down = false;
    }

    /// What the broker's disk takes for a write.
    pub(super) fn disk_delay(&self, broker: Broker) -> Duration {
        self.state().brokers[usize::from(broker)].disk_delay
    }

    /// The next in sync leads each partition.
    pub fn elect(&self) {
        let mut state = self.state();
        for index in 0..state.logs.len() {
            let leader = state.logs[index].leader.unwrap_or_default();
            self.elect_after(&mut state, index, leader);
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
                self.topic_changes(log.topic);
                self.note(Node::Broker(next), Event::Leader(log.topic, log.partition));
            }
            None if log.leader.is_some() => {
                log.leader = None;
                self.topic_changes(log.topic);
            }
            _ => {}
        }
    }

    /// What the controller and the coordinators do by their clocks.
    pub(super) fn tick(&self) {
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
        let (session, partitions) = (self.config().session, self.config().partitions);
        let mut made = false;
        state.groups.values_mut().for_each(|group| made |= group.tick(session, partitions, now));
        self.tell_of_groups(&mut state);
        if made {
            self.group_changes();
        }
    }
}
