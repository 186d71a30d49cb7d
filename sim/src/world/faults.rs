//! What goes wrong in a world, how, and how it is put right again.

use super::{CRASHED_FOR, LEAVES_WITHIN, Stage, calm};
use crate::event::{Event, Node};
use crate::plan::{Fault, FaultKind};
use baton_core::log::Topic;
use madsim::net::NetSim;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the log looks for what is too old, while that matters.
const RETENTION_LOOKS_EVERY: Duration = Duration::from_millis(500);

impl Stage {
    /// Brings a fault when its time has come, and takes it away.
    pub(super) async fn fault(self: Arc<Self>, fault: Fault) {
        sleep(fault.at).await;
        let what = fault.kind.to_string();
        self.journal.note(Node::World, Event::Fault(what.clone()));
        let lasts = fault.lasts;
        match fault.kind {
            FaultKind::Kill(_)
            | FaultKind::Crash(_)
            | FaultKind::Freeze(_)
            | FaultKind::FreezeMachine(_)
            | FaultKind::Clock(..)
            | FaultKind::Deploy(_)
            | FaultKind::DeployCutOff(_) => self.to_a_node(fault.kind, lasts).await,
            FaultKind::CutOneWay(..)
            | FaultKind::Cut(..)
            | FaultKind::Isolate(_)
            | FaultKind::Loss(_)
            | FaultKind::Latency(_)
            | FaultKind::Overtaking(_) => self.to_the_network(fault.kind, lasts).await,
            FaultKind::SlowDisk(..)
            | FaultKind::FullDisk(_)
            | FaultKind::Elections
            | FaultKind::Rebalances
            | FaultKind::Gap
            | FaultKind::Truncate(_)
            | FaultKind::Outrun(..) => self.to_the_log(fault.kind, lasts).await,
        }
        self.journal.note(Node::World, Event::Fault(format!("{what} ends")));
    }

    /// An agent has crashed its worker.
    pub(super) async fn crash(self: Arc<Self>, node: Node) {
        if !self.places[&node].is_down() {
            self.kill(node);
            sleep(CRASHED_FOR).await;
            self.places[&node].start();
        }
    }

    fn kill(&self, node: Node) {
        self.places[&node].kill();
        if let Some(machine) = self.machines.get(&node) {
            machine.worker_died();
        }
        if let Node::Broker(broker) = node {
            self.cluster.broker_down(broker, false);
        }
    }

    async fn to_a_node(&self, kind: FaultKind, lasts: Duration) {
        match kind {
            FaultKind::Kill(node) => {
                self.kill(node);
                sleep(lasts).await;
                self.places[&node].start();
            }
            FaultKind::Crash(broker) => {
                self.places[&Node::Broker(broker)].kill();
                self.cluster.broker_down(broker, true);
                sleep(lasts).await;
                self.places[&Node::Broker(broker)].start();
            }
            FaultKind::Freeze(node) => {
                self.places[&node].freeze();
                self.cut_off(node, true);
                sleep(lasts).await;
                self.cut_off(node, false);
                self.places[&node].thaw();
            }
            FaultKind::FreezeMachine(number) => {
                let (place, machine) = (&self.places[&Node::Worker(number)], &self.machines[&Node::Worker(number)]);
                place.freeze();
                machine.freeze();
                sleep(lasts).await;
                machine.thaw();
                place.thaw();
            }
            FaultKind::Clock(node, seconds) => {
                self.set_clock_off(node, seconds);
                sleep(lasts).await;
                self.set_clock_off(node, 0);
            }
            FaultKind::Deploy(node) => self.deploy(node, lasts).await,
            FaultKind::DeployCutOff(node) => {
                NetSim::current().clog_node(self.id(node));
                self.deploy(node, lasts).await;
                NetSim::current().unclog_node(self.id(node));
            }
            other => unreachable!("{other} is no fault of a node"),
        }
    }

    async fn to_the_network(&self, kind: FaultKind, lasts: Duration) {
        let net = NetSim::current();
        match kind {
            FaultKind::CutOneWay(from, to) => {
                let (from, to) = (self.id(from), self.id(to));
                net.clog_link(from, to);
                sleep(lasts).await;
                net.unclog_link(from, to);
            }
            FaultKind::Cut(a, b) => {
                let (a, b) = (self.id(a), self.id(b));
                net.clog_link(a, b);
                net.clog_link(b, a);
                sleep(lasts).await;
                net.unclog_link(a, b);
                net.unclog_link(b, a);
            }
            FaultKind::Isolate(node) => {
                net.clog_node(self.id(node));
                self.cut_off(node, true);
                sleep(lasts).await;
                self.cut_off(node, false);
                net.unclog_node(self.id(node));
            }
            FaultKind::Loss(rate) => {
                net.update_config(|net| net.packet_loss_rate = rate);
                sleep(lasts).await;
                calm(&self.plan);
            }
            FaultKind::Latency(longest) => {
                net.update_config(|net| net.send_latency.end = longest);
                sleep(lasts).await;
                calm(&self.plan);
            }
            FaultKind::Overtaking(rate) => {
                self.cluster.set_late(rate);
                sleep(lasts).await;
                self.cluster.set_late(0.0);
            }
            other => unreachable!("{other} is no fault of the network"),
        }
    }

    async fn to_the_log(&self, kind: FaultKind, lasts: Duration) {
        let cluster = &self.cluster;
        match kind {
            FaultKind::SlowDisk(broker, time) => {
                cluster.set_disk_delay(broker, time);
                sleep(lasts).await;
                cluster.set_disk_delay(broker, Duration::ZERO);
            }
            FaultKind::FullDisk(broker) => {
                cluster.set_disk_full(broker, true);
                sleep(lasts).await;
                cluster.set_disk_full(broker, false);
            }
            FaultKind::Elections => {
                cluster.elect();
                sleep(lasts).await;
                cluster.elect();
            }
            FaultKind::Rebalances => {
                cluster.rebalance();
                sleep(lasts / 2).await;
                cluster.rebalance();
                sleep(lasts / 2).await;
                cluster.rebalance();
            }
            FaultKind::Gap => cluster.abort_something(Topic::Tasks),
            FaultKind::Truncate(percent) => cluster.truncate(percent),
            FaultKind::Outrun(api, worker) => {
                NetSim::current().clog_node(self.id(api));
                sleep(lasts / 4).await;
                self.kill(worker);
                sleep(CRASHED_FOR).await;
                self.places[&worker].start();
                let until = Instant::now() + (lasts * 3 / 4).saturating_sub(CRASHED_FOR);
                while Instant::now() < until {
                    sleep(RETENTION_LOOKS_EVERY).await;
                    cluster.truncate_to_attempt();
                }
                NetSim::current().unclog_node(self.id(api));
            }
            other => unreachable!("{other} is no fault of the log"),
        }
    }

    fn set_clock_off(&self, node: Node, seconds: i64) {
        match node {
            Node::Broker(broker) => self.cluster.set_clock_off(broker, seconds),
            node => self.places[&node].set_clock_off(seconds),
        }
    }

    /// The other brokers don't hear of it, either.
    fn cut_off(&self, node: Node, cut_off: bool) {
        if let Node::Broker(broker) = node {
            self.cluster.cut_off(broker, cut_off);
        }
    }

    async fn deploy(&self, node: Node, takes: Duration) {
        let place = &self.places[&node];
        if matches!(node, Node::Worker(_)) {
            place.leave(LEAVES_WITHIN).await;
        }
        place.upgrade();
        self.kill(node);
        sleep(takes.min(Duration::from_secs(2))).await;
        place.start();
    }

    fn id(&self, node: Node) -> madsim::task::NodeId {
        self.places[&node].handle().id()
    }
}
