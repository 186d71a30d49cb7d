//! One simulated world: its nodes, what happens to them, and its two phases. First faults come; then they stop, everything
//! heals, and within a bound whatever is owed must have come.

mod faults;

use crate::agents::Machine;
use crate::behaviour;
use crate::clients::Clients;
use crate::event::{Event, Node};
use crate::journal::Journal;
use crate::kafka::{self, ClientConfig, Cluster, ClusterConfig, SimKafka};
use crate::life::Life;
use crate::observed::Observed;
use crate::place::{Place, Start};
use crate::plan::{BROKERS, FAULTS_END, Fault, Plan};
use crate::policies;
use crate::projects::SimProjects;
use crate::server;
use baton_core::hub::HubConfig;
use baton_core::id::TaskId;
use baton_core::log::{Batch, Topic};
use baton_core::presence::Role;
use baton_core::worker::WorkerConfig;
use baton_runtime::ports::{Durability, Log as _};
use baton_runtime::worker::{self, Membership};
use madsim::net::NetSim;
use madsim::runtime::{Handle, NodeHandle};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Once everything has healed, whatever is owed comes within this time of the simulation.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(150);
/// How long agents have between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(3);
/// How often the oracle is asked whether all is done.
const ASKED_EVERY: Duration = Duration::from_millis(500);
/// How long a worker that crashed stays down.
const CRASHED_FOR: Duration = Duration::from_millis(1500);
/// How long a deploy waits for a worker to leave; then it kills it, as an orchestrator does.
const LEAVES_WITHIN: Duration = Duration::from_secs(15);
/// What a replica may hold beyond its budget when nobody watches: the last segment, and the ends of histories that expired, of up
/// to 26 tasks, each with its account and its reason, of up to 900 bytes.
const HISTORY_SLACK: usize = 24 * 1024;
/// Where those who use Baton are.
const CLIENT: Node = Node::Client(0);
/// The longest line that workers pass on, in bytes.
const MAX_LINE: usize = 1000;

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Those who use Baton, and what they are still about.
struct Crowd {
    node: NodeHandle,
    clients: Clients,
    acting: Vec<JoinHandle<()>>,
}

/// A world as its faults see it.
struct Stage {
    plan: Plan,
    journal: Journal,
    cluster: Cluster,
    /// Where the cluster's controller is, and where messages are that stay on the network for long.
    controller: NodeHandle,
    network: NodeHandle,
    places: BTreeMap<Node, Place>,
    machines: BTreeMap<Node, Machine>,
}

/// Plays the plan from its beginning to its end. What there is to say is in the journal.
pub async fn play(plan: &Plan, journal: &Journal) {
    let (crash, mut crashed) = mpsc::unbounded_channel();
    let stage = Arc::new(Stage::build(plan.clone(), journal.clone(), &crash));
    let crowd = stage.clients();
    let clients = crowd.node.id();
    let crashing = async {
        while let Some(node) = crashed.recv().await {
            tokio::spawn(stage.clone().crash(node));
        }
    };
    tokio::select! {
        biased;
        () = journal.found() => {}
        () = stage.act(crowd) => {}
        () = crashing => {}
    }
    Handle::current().kill(clients);
    stage.end().await;
}

impl Stage {
    fn build(plan: Plan, journal: Journal, crash: &mpsc::UnboundedSender<Node>) -> Self {
        calm(&plan);
        let config =
            ClusterConfig { partitions: plan.partitions, duplicates: plan.duplicates, ..ClusterConfig::default() };
        let cluster = Cluster::new(config, journal.clone());
        let controller = Handle::current().create_node().name("controller").ip([10, 0, 5, 1].into()).build();
        controller.spawn(cluster.clone().control());
        let network = Handle::current().create_node().name("network").ip(kafka::LATE.ip()).build();
        network.spawn(kafka::deliver_late());
        let (places, machines) = (BTreeMap::new(), BTreeMap::new());
        let mut stage = Self { plan, journal, cluster, controller, network, places, machines };
        for broker in 0..BROKERS {
            let cluster = stage.cluster.clone();
            stage.put(Node::Broker(broker), [10, 0, 0, broker + 1].into(), move |_| {
                let cluster = cluster.clone();
                async move { cluster.serve(broker).await }
            });
        }
        for number in 0..stage.plan.apis {
            let config = HubConfig {
                history_memory: stage.plan.history_memory,
                max_queued: stage.plan.max_queued,
                ..HubConfig::default()
            };
            let attends = stage.plan.attend();
            let api = ApiProcess { number, user: stage.user(Node::Api(number)), config, attends };
            stage.put(Node::Api(number), server::address(number).ip(), move |start| api.clone().run(start));
        }
        let projects = SimProjects::default();
        for number in 0..stage.plan.workers {
            let node = Node::Worker(number);
            let machine = machine(number, &stage.plan, &stage.journal, crash.clone());
            let process = WorkerProcess {
                name: stage.plan.named_workers.then(|| node.to_string()),
                user: stage.user(node),
                machine: machine.clone(),
                projects: projects.clone(),
                slots: stage.plan.slots,
                seed: stage.plan.seed,
                attends: stage.plan.attend(),
            };
            stage.machines.insert(node, machine);
            stage.put(node, [10, 0, 3, number + 1].into(), move |start| process.clone().run(start));
        }
        stage
    }

    fn put<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        node: Node,
        ip: IpAddr,
        process: impl Fn(Start) -> F + Send + Sync + 'static,
    ) {
        self.places.insert(node, Place::new(node, ip, &self.journal, process));
    }

    fn user(&self, node: Node) -> User {
        User { node, cluster: self.cluster.clone(), journal: self.journal.clone() }
    }

    /// Those who submit, stop and watch, on a node of their own.
    fn clients(&self) -> Crowd {
        let node = Handle::current().create_node().name(CLIENT.to_string()).ip([10, 0, 2, 1].into()).build();
        let plan = &self.plan;
        let mut acting = Vec::new();
        let mut act = |what: BoxFuture| acting.push(node.spawn(what));
        let clients = Clients::new(self.journal.clone(), CLIENT, plan.apis, plan.tasks.len());
        for (number, task) in plan.tasks.iter().cloned().enumerate() {
            if task.foreign {
                act(Box::pin(foreign(self.user(CLIENT), clients.clone(), number, task.at, task.body())));
                continue;
            }
            for copy in 0..task.copies {
                let (clients, mut task) = (clients.clone(), task.clone());
                task.api = (task.api + copy) % plan.apis;
                act(Box::pin(async move { clients.submit(number, &task).await }));
            }
            if task.key_reused {
                let clients = clients.clone();
                act(Box::pin(async move { clients.reuse_key(number, &task).await }));
            }
        }
        for watch in &plan.watchers {
            let (clients, watch) = (clients.clone(), watch.clone());
            act(Box::pin(async move { clients.watch(&watch).await }));
        }
        for stop in &plan.stops {
            let (clients, stop) = (clients.clone(), stop.clone());
            act(Box::pin(async move { clients.stop(&stop).await }));
        }
        for garbage in &plan.garbage {
            let (user, topic) = (self.user(CLIENT), [Topic::Tasks, Topic::Progress, Topic::Control][garbage.topic]);
            let (at, value) = (garbage.at, garbage.value);
            act(Box::pin(async move {
                sleep(at).await;
                let key = "garbage".parse().expect("a name");
                user.append(Batch::one(topic, key, value)).await;
            }));
        }
        Crowd { node, clients, acting }
    }

    /// Both phases.
    async fn act(self: &Arc<Self>, crowd: Crowd) {
        let begin = |fault: &Fault| tokio::spawn(self.clone().fault(fault.clone()));
        let faults: Vec<_> = self.plan.faults.iter().map(begin).collect();
        sleep(FAULTS_END).await;
        for fault in faults {
            fault.await.expect("a fault ends");
        }
        calm(&self.plan);
        NetSim::current().update_config(|net| net.packet_loss_rate = 0.0);
        self.journal.note(Node::World, Event::Healed);
        let Crowd { node, clients, acting } = crowd;
        let settled = async {
            for client in acting {
                client.await.expect("clients don't panic");
            }
            while !self.journal.is_settled() {
                sleep(ASKED_EVERY).await;
            }
        };
        let _ = timeout(SETTLED_WITHIN, settled).await;
        let limit = self.plan.history_memory + HISTORY_SLACK;
        node.spawn(async move { clients.weigh(limit).await }).await.expect("clients don't panic");
        self.journal.finish();
    }

    /// Drops what the world is made of: madsim's tasks hold the timers that they wait for, and those hold them.
    async fn end(&self) {
        self.places.values().for_each(Place::end);
        self.machines.values().for_each(Machine::end);
        Handle::current().kill(self.controller.id());
        Handle::current().kill(self.network.id());
        sleep(Duration::from_millis(1)).await;
        self.cluster.forget();
    }
}

/// The network as it is when no fault makes it worse.
fn calm(plan: &Plan) {
    NetSim::current().update_config(|net| {
        net.packet_loss_rate = plan.loss;
        net.send_latency = Duration::from_micros(200)..plan.latency;
    });
}

fn machine(number: u8, plan: &Plan, journal: &Journal, crash: mpsc::UnboundedSender<Node>) -> Machine {
    let name = Node::Machine(number);
    let node = Handle::current().create_node().name(name.to_string()).ip([10, 0, 4, number + 1].into()).build();
    let crash = move || _ = crash.send(Node::Worker(number));
    Machine::new(node, name, journal.clone(), Arc::new(behaviour::script), (plan.spawning, plan.dying), crash)
}

/// Whoever uses the log.
#[derive(Clone)]
struct User {
    node: Node,
    cluster: Cluster,
    journal: Journal,
}

impl User {
    async fn connect(&self, instance: Option<String>, life: Life) -> SimKafka {
        SimKafka::connect(&self.cluster, ClientConfig { node: self.node, instance }, life).await
    }

    async fn log(&self, start: &Start, name: Option<String>) -> Observed<SimKafka> {
        let log = self.connect(name, start.life.clone()).await;
        Observed::new(log, self.node, self.journal.clone(), start.later_version)
    }

    /// Appends what is no record of this Baton.
    async fn append(&self, batch: Batch) {
        let log = self.connect(None, Life::default()).await;
        while log.append(vec![batch.clone()], Durability::Synced).await.is_err() {
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Somebody else's producer: it knows the plan's minimal record, and puts it on the log itself.
async fn foreign(user: User, clients: Clients, number: usize, at: Duration, body: String) {
    sleep(at).await;
    let id: TaskId = format!("foreign-{number}").parse().expect("a name");
    let value = format!(r#"{{"task_id":"{id}",{}"#, &body[1..]);
    user.append(Batch::one(Topic::Tasks, id.clone(), value)).await;
    clients.is_there(number, id);
}

#[derive(Clone)]
struct ApiProcess {
    number: u8,
    user: User,
    config: HubConfig,
    attends: bool,
}

impl ApiProcess {
    async fn run(self, start: Start) {
        let log = self.user.log(&start, None).await;
        let identity = self.attends.then(|| start.identity(Role::Api, &self.user.node.to_string()));
        server::serve(self.number, log, start.world, self.config, identity).await;
    }
}

#[derive(Clone)]
struct WorkerProcess {
    name: Option<String>,
    user: User,
    machine: Machine,
    projects: SimProjects,
    slots: usize,
    seed: u64,
    attends: bool,
}

impl WorkerProcess {
    async fn run(self, start: Start) {
        let node = self.user.node;
        self.machine.sweep().await;
        let config = WorkerConfig {
            slots: self.slots,
            grace: GRACE,
            drain_timeout: Duration::from_secs(5),
            max_line: MAX_LINE,
            seed: self.seed,
            types: policies::types(),
            ..WorkerConfig::default()
        };
        let identity = self.attends.then(|| start.identity(Role::Worker, &node.to_string()));
        let membership = Membership { name: node.to_string(), identity, ..Membership::default() };
        loop {
            let log = self.user.log(&start, self.name.clone()).await;
            let agents = self.machine.agents(start.life.clone());
            let (projects, world, shutdown) = (self.projects.clone(), start.world.clone(), start.shutdown.clone());
            let ended = worker::run(log, agents, projects, world, membership.clone(), config.clone(), shutdown).await;
            let Err(error) = ended else { return };
            // Whoever looks after the process starts it again.
            self.user.journal.note(node, Event::Note(format!("left: {error}")));
            sleep(CRASHED_FOR).await;
        }
    }
}
