//! What a seed draws: who lives in its world, what clients do, and which faults come when. A plan is plain data, so that
//! a failing one can be made smaller.
//!
//! Faults are drawn in swarm style (Groce and others, 2012): each seed turns a random subset of them on, at random rates.

use crate::behaviour::Behaviour;
use crate::event::Node;
use crate::policies;
use crate::projects::Config;
use fastrand::Rng;
use std::fmt;
use std::time::Duration;

/// One world.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The seed of everything that is not in the plan: latencies, scheduling, ids.
    pub seed: u64,
    /// How many workers.
    pub workers: u8,
    /// How many slots each has.
    pub slots: usize,
    /// How many API replicas.
    pub apis: u8,
    /// How many partitions each topic has.
    pub partitions: u32,
    /// The bytes of history that an API replica keeps in memory.
    pub history_memory: usize,
    /// Whether limits are small enough to be met: what is read ahead, the ledger's text, output that waits.
    pub small_limits: bool,
    /// How many tasks may wait before a POST is refused.
    pub max_queued: usize,
    /// How long a machine takes to make a process.
    pub spawning: Duration,
    /// How long a process takes to die: less than the margin of its worker's claims.
    pub dying: Duration,
    /// The chance that a message is lost.
    pub loss: f64,
    /// The longest that a message takes.
    pub latency: Duration,
    /// The chance that a request to a broker comes twice, the second time late.
    pub duplicates: f64,
    /// Whether workers keep their partitions through a restart.
    pub named_workers: bool,
    /// The tasks, by when they are submitted.
    pub tasks: Vec<Task>,
    /// The watchers.
    pub watchers: Vec<Watch>,
    /// The STOPs.
    pub stops: Vec<Stop>,
    /// What is not a task, on the topics.
    pub garbage: Vec<Garbage>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// A task that a client submits.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // each is drawn by itself
pub struct Task {
    /// When.
    pub at: Duration,
    /// At which replica first.
    pub api: u8,
    /// What its agent does.
    pub behaviour: Behaviour,
    /// How its project's config can be had.
    pub config: Config,
    /// Whether it has an `Idempotency-Key`. Such a client tries again until it has an answer.
    pub keyed: bool,
    /// How often its POST is sent at the same time, at several replicas. More than once only with a key.
    pub copies: u8,
    /// Its `timeout_s`.
    pub timeout_s: Option<u64>,
    /// Its `max_attempts`.
    pub max_attempts: Option<u32>,
    /// What else limits it.
    pub limits: Limits,
    /// Put on the log by somebody else, without an API.
    pub foreign: bool,
    /// Of a type that there is not; only somebody else's task can be.
    pub unrunnable: bool,
    /// Its key is used for another task as well, which must be refused.
    pub key_reused: bool,
}

/// What a task says of its time, and what its type says of its ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// It is of the type [`crate::policies::MOODY`].
    pub moody: bool,
    /// Its `queue_timeout_s`.
    pub queue_s: Option<u64>,
    /// Its `silence_timeout_s`.
    pub silence_s: Option<u64>,
    /// Its `total_timeout_s`.
    pub total_s: Option<u64>,
}

/// A watcher.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Of which task of the plan.
    pub task: usize,
    /// How long after the task is known.
    pub after: Duration,
    /// At which replica first.
    pub api: u8,
    /// How long it takes for each batch of frames.
    pub pace: Duration,
    /// Leaves after so many frames, and comes back with its cursor, at another replica.
    pub hops_after: Option<usize>,
    /// Leaves after so many frames for good.
    pub leaves_after: Option<usize>,
}

/// A STOP.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// Of which task of the plan.
    pub task: usize,
    /// How long after the task is known.
    pub after: Duration,
    /// At which replica.
    pub api: u8,
    /// It leaves no grace.
    pub force: bool,
}

/// Something on a topic that is no record of Baton.
#[derive(Clone, Debug, PartialEq)]
pub struct Garbage {
    /// When.
    pub at: Duration,
    /// On which topic, counted from 0.
    pub topic: usize,
    /// What.
    pub value: &'static str,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts, where it does.
    pub lasts: Duration,
    /// What it is.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// SIGKILL, and a restart when it is over.
    Kill(Node),
    /// A broker's machine crashes: what its disk had not synced is lost.
    Crash(u8),
    /// The process is frozen, its machine goes on.
    Freeze(Node),
    /// The machine of this worker stands still: the worker, its keeper and its agents.
    FreezeMachine(u8),
    /// The wall clock of the process is off by so many seconds.
    Clock(Node, i64),
    /// Nothing comes through from the first to the second.
    CutOneWay(Node, Node),
    /// Nothing comes through between the two.
    Cut(Node, Node),
    /// Nothing comes in or out.
    Isolate(Node),
    /// Messages are lost by this chance.
    Loss(f64),
    /// Messages take up to this long.
    Latency(Duration),
    /// Messages between clients of the log and its brokers stay on the way for seconds by this chance, and are overtaken.
    Overtaking(f64),
    /// A broker's disk takes this long for each write.
    SlowDisk(u8, Duration),
    /// A broker's disk is full.
    FullDisk(u8),
    /// Other brokers become leaders.
    Elections,
    /// The group is rebalanced again and again.
    Rebalances,
    /// Told to go, given time to drain, and started again as a later version.
    Deploy(Node),
    /// Told to go while it is cut off.
    DeployCutOff(Node),
    /// Somebody's transaction on `tasks` is aborted: its offsets hold nothing.
    Gap,
    /// So many percent of the tasks' history, the oldest, are gone from the log.
    Truncate(u8),
    /// The first, a replica, is isolated; the second, a worker, is killed; and what stands before each attempt that begins
    /// again is gone from the log before it can be read by the first.
    Outrun(Node, Node),
}

impl FaultKind {
    /// Its name in the summary.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill(Node::Worker(_)) => "kill a worker",
            Self::Kill(Node::Api(_)) => "kill an API",
            Self::Kill(_) => "kill a broker",
            Self::Crash(_) => "crash a broker's machine",
            Self::Freeze(Node::Worker(_)) => "freeze a worker",
            Self::Freeze(Node::Api(_)) => "freeze an API",
            Self::Freeze(_) => "freeze a broker",
            Self::FreezeMachine(_) => "freeze a machine",
            Self::Clock(..) => "clock jump",
            Self::CutOneWay(..) => "cut a link one way",
            Self::Cut(..) => "cut a link",
            Self::Isolate(_) => "isolate a node",
            Self::Loss(_) => "lose messages",
            Self::Latency(_) => "slow network",
            Self::Overtaking(_) => "messages overtaken",
            Self::SlowDisk(..) => "slow disk",
            Self::FullDisk(_) => "full disk",
            Self::Elections => "leader elections",
            Self::Rebalances => "rebalance storm",
            Self::Deploy(_) => "rolling deploy",
            Self::DeployCutOff(_) => "deploy while cut off",
            Self::Gap => "gap in the offsets",
            Self::Truncate(_) | Self::Outrun(..) => "truncate history",
        }
    }

    /// The names of all kinds.
    pub const NAMES: [&'static str; 23] = [
        "kill a worker",
        "kill an API",
        "kill a broker",
        "crash a broker's machine",
        "freeze a worker",
        "freeze an API",
        "freeze a broker",
        "clock jump",
        "cut a link one way",
        "cut a link",
        "isolate a node",
        "lose messages",
        "slow network",
        "slow disk",
        "full disk",
        "leader elections",
        "rebalance storm",
        "rolling deploy",
        "deploy while cut off",
        "gap in the offsets",
        "truncate history",
        "freeze a machine",
        "messages overtaken",
    ];
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(node) => write!(f, "SIGKILL of {node}"),
            Self::Crash(broker) => write!(f, "the machine of {} crashes", Node::Broker(*broker)),
            Self::Freeze(node) => write!(f, "{node} is frozen"),
            Self::FreezeMachine(number) => write!(f, "the machine of {} stands still", Node::Worker(*number)),
            Self::Clock(node, seconds) => write!(f, "the wall clock of {node} is off by {seconds} s"),
            Self::CutOneWay(from, to) => write!(f, "nothing comes through from {from} to {to}"),
            Self::Cut(a, b) => write!(f, "nothing comes through between {a} and {b}"),
            Self::Isolate(node) => write!(f, "{node} is isolated"),
            Self::Loss(rate) => write!(f, "{:.0} % of messages are lost", rate * 100.0),
            Self::Latency(time) => write!(f, "messages take up to {time:?}"),
            Self::Overtaking(rate) => write!(f, "{:.0} % of messages are overtaken", rate * 100.0),
            Self::SlowDisk(broker, time) => write!(f, "each write takes {} {time:?}", Node::Broker(*broker)),
            Self::FullDisk(broker) => write!(f, "the disk of {} is full", Node::Broker(*broker)),
            Self::Elections => f.write_str("new leaders are elected"),
            Self::Rebalances => f.write_str("the group is rebalanced again and again"),
            Self::Deploy(node) => write!(f, "{node} is replaced by a later version"),
            Self::DeployCutOff(node) => write!(f, "{node} is cut off, and told to go"),
            Self::Gap => f.write_str("somebody's transaction on tasks is aborted"),
            Self::Outrun(api, worker) => {
                write!(
                    f,
                    "{api} is isolated, {worker} is killed, and the history before new attempts goes from the log"
                )
            }
            Self::Truncate(percent) => write!(f, "the oldest {percent} % of the history are gone from the log"),
        }
    }
}

/// How long faults come.
pub const FAULTS_END: Duration = Duration::from_secs(30);
/// How many brokers a cluster has.
pub const BROKERS: u8 = 3;

const GARBAGE: [&str; 9] = [
    "not JSON",
    "",
    "{}",
    "[1,2",
    r#"{"task_id":7}"#,
    r#"{"task_id":"-x","project":"default","type":"seed-db"}"#,
    r#"{"task_id":"stray","signal":"GO"}"#,
    r#"{"task_id":"of-another-key","project":"default","type":"seed-db"}"#,
    r#"{"task_id":"stray","update":"a line of a task that nobody submitted"}"#,
];

impl Plan {
    /// Whether the processes say that they are there: in one world of eight, as it is much talk that decides nothing.
    pub const fn attend(&self) -> bool {
        self.seed.is_multiple_of(8)
    }

    /// What this seed draws.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let (workers, apis) = (rng.u8(3..=4), rng.u8(2..=3));
        let mut tasks: Vec<Task> = (0..rng.usize(20..=26)).map(|_| Task::draw(rng, apis)).collect();
        let mut stops: Vec<Stop> = Vec::new();
        for (task, of) in tasks.iter().enumerate() {
            let ends_by_itself = !of.behaviour.is_endless() || of.timeout_s.is_some();
            let wanted = if ends_by_itself { u32::from(rng.u8(0..8) == 0) } else { rng.u32(1..=2) };
            stops.extend((0..wanted).map(|_| Stop {
                task,
                after: millis(rng, 0..=9_000),
                api: rng.u8(0..apis),
                force: false,
            }));
        }
        draw_policies(&mut Rng::with_seed(!seed), &mut tasks, &mut stops, apis);
        let watchers = (0..rng.usize(30..=40)).map(|_| Watch::draw(rng, tasks.len(), apis)).collect();
        let garbage = (0..rng.usize(0..=4))
            .map(|_| Garbage {
                at: millis(rng, 0..=20_000),
                topic: rng.usize(0..3),
                value: GARBAGE[rng.usize(0..GARBAGE.len())],
            })
            .collect();
        Self {
            seed,
            workers,
            slots: [1, 1, 2, 4][rng.usize(0..4)],
            apis,
            partitions: [2, 4, 4, 6][rng.usize(0..4)],
            history_memory: [2_000, 20_000, 256 << 20][rng.usize(0..3)],
            small_limits: rng.bool(),
            max_queued: [5, 100, 100_000][rng.usize(0..3)],
            spawning: Duration::from_millis([3, 3, 40, 400][rng.usize(0..4)]),
            dying: Duration::from_millis([0, 30, 800, 900][rng.usize(0..4)]),
            loss: if rng.u8(0..4) == 0 { rng.f64() * 0.03 } else { 0.0 },
            latency: Duration::from_millis([2, 2, 10, 40][rng.usize(0..4)]),
            duplicates: if rng.u8(0..3) == 0 { rng.f64() * 0.1 } else { 0.0 },
            named_workers: rng.bool(),
            faults: draw_faults(rng, workers, apis),
            tasks,
            watchers,
            stops,
            garbage,
        }
    }
}

impl Plan {
    /// How far wall clocks may be apart.
    pub fn skew(&self) -> Duration {
        let off_by = self.faults.iter().filter_map(|fault| match fault.kind {
            FaultKind::Clock(_, seconds) => Some(Duration::from_secs(seconds.unsigned_abs())),
            _ => None,
        });
        off_by.sum()
    }
}

impl Task {
    fn draw(rng: &mut Rng, apis: u8) -> Self {
        // Most tasks work: the rest is spread over what may go wrong with them. A flood is costly, and therefore rare.
        let behaviour = match rng.u8(0..100) {
            0..=29 => Behaviour::Steady,
            30..=39 => Behaviour::Quick,
            40 => Behaviour::Flood,
            _ => Behaviour::ALL[rng.usize(0..Behaviour::FOR_ANY)],
        };
        let config = if rng.u8(0..6) == 0 { Config::ALL[rng.usize(0..Config::ALL.len())] } else { Config::There };
        let timeout_s = (rng.u8(0..6) == 0).then(|| rng.u64(1..=12));
        // An endless one needs a client that knows its name, and stops it.
        let (keyed, foreign) = (rng.bool() || (behaviour.is_endless() && timeout_s.is_none()), rng.u8(0..12) == 0);
        Self {
            at: millis(rng, 0..=20_000),
            api: rng.u8(0..apis),
            behaviour,
            config,
            keyed,
            copies: if keyed && rng.u8(0..4) == 0 { 2 } else { 1 },
            timeout_s,
            max_attempts: (rng.u8(0..3) == 0).then(|| rng.u32(1..=3)),
            limits: Limits::default(),
            foreign,
            unrunnable: foreign && rng.u8(0..3) == 0,
            key_reused: keyed && rng.u8(0..6) == 0,
        }
    }

    /// The body of its POST.
    pub fn body(&self) -> String {
        let timeout = self.timeout_s.map(|seconds| format!(r#","timeout_s":{seconds}"#)).unwrap_or_default();
        let attempts = self.max_attempts.map(|most| format!(r#","max_attempts":{most}"#)).unwrap_or_default();
        let limits = [
            ("queue_timeout_s", self.limits.queue_s),
            ("silence_timeout_s", self.limits.silence_s),
            ("total_timeout_s", self.limits.total_s),
        ];
        let limits = limits.into_iter().filter_map(|(name, seconds)| Some(format!(r#","{name}":{}"#, seconds?)));
        let more = timeout + &attempts + &limits.collect::<String>();
        let (project, input) = (self.config.project(), self.behaviour.name());
        let kind = match self.unrunnable {
            true => "no-such-type",
            false if self.limits.moody => policies::MOODY,
            false => "agent",
        };
        format!(r#"{{"project":"{project}","type":"{kind}","command":"run","params":{{"input":"{input}"}}{more}}}"#)
    }
}

impl Watch {
    fn draw(rng: &mut Rng, tasks: usize, apis: u8) -> Self {
        Self {
            task: rng.usize(0..tasks),
            after: if rng.bool() { Duration::ZERO } else { millis(rng, 0..=25_000) },
            api: rng.u8(0..apis),
            pace: if rng.u8(0..5) == 0 { millis(rng, 100..=3_000) } else { Duration::ZERO },
            hops_after: (rng.u8(0..4) == 0).then(|| rng.usize(1..=6)),
            leaves_after: (rng.u8(0..8) == 0).then(|| rng.usize(1..=8)),
        }
    }
}

/// Gives half of the tasks limits, or a type that says what ends mean, and stops more of those. Drawn apart, so that the rest
/// of a plan does not depend on it.
fn draw_policies(rng: &mut Rng, tasks: &mut [Task], stops: &mut Vec<Stop>, apis: u8) {
    for (number, task) in tasks.iter_mut().enumerate() {
        let mut seconds = |chance: u8, range: std::ops::RangeInclusive<u64>| {
            let drawn = rng.u64(range);
            (rng.u8(0..chance) == 0).then_some(drawn)
        };
        let (queue_s, silence_s, total_s) = (seconds(8, 1..=12), seconds(5, 1..=4), seconds(8, 3..=25));
        task.limits = Limits { moody: rng.u8(0..3) == 0, queue_s, silence_s, total_s };
        if task.limits.moody && rng.bool() {
            task.behaviour = Behaviour::OF_MOODS[rng.usize(0..Behaviour::OF_MOODS.len())];
        } else if task.limits.silence_s.is_some() && rng.bool() {
            task.behaviour = Behaviour::Pausing;
        }
        let mut stop = |after: Duration, force| stops.push(Stop { task: number, after, api: rng.u8(0..apis), force });
        if task.behaviour == Behaviour::Stubborn {
            // Its first STOP leaves it all of its grace, the second one none of that.
            stop(Duration::from_secs(5), false);
            stop(Duration::from_millis(5_300), true);
        } else if task.limits.moody && number % 4 == 0 {
            stop(millis(&mut Rng::with_seed(number as u64), 500..=6_000), false);
        }
    }
}

fn draw_faults(rng: &mut Rng, workers: u8, apis: u8) -> Vec<Fault> {
    let mut faults = Vec::new();
    for kind in 0..FaultKind::NAMES.len() {
        // Three of ten kinds are on, each with a rate of its own.
        if rng.u8(0..10) >= 3 {
            continue;
        }
        for _ in 0..rng.u8(1..=3) {
            let kind = draw_kind(rng, kind, workers, apis);
            let longest = match kind {
                FaultKind::Kill(_) | FaultKind::Crash(_) | FaultKind::Deploy(_) => 8_000,
                FaultKind::DeployCutOff(_) | FaultKind::Outrun(..) => 15_000,
                FaultKind::Freeze(_) | FaultKind::FreezeMachine(_) | FaultKind::Isolate(_) => 12_000,
                FaultKind::Clock(..) => 20_000,
                _ => 6_000,
            };
            let latest = match kind {
                FaultKind::DeployCutOff(_) | FaultKind::Outrun(..) => 14_000,
                _ => 25_000,
            };
            let at = millis(rng, 500..=latest);
            let lasts = millis(rng, 200..=longest).min(FAULTS_END.saturating_sub(at));
            faults.push(Fault { at, lasts, kind });
        }
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn draw_kind(rng: &mut Rng, kind: usize, workers: u8, apis: u8) -> FaultKind {
    let worker = Node::Worker(rng.u8(0..workers));
    let api = Node::Api(rng.u8(0..apis));
    let broker = rng.u8(0..BROKERS);
    let user = if rng.bool() { worker } else { api };
    let other = Node::Broker(rng.u8(0..BROKERS));
    match kind {
        0 => FaultKind::Kill(worker),
        1 => FaultKind::Kill(api),
        2 => FaultKind::Kill(Node::Broker(broker)),
        3 => FaultKind::Crash(broker),
        4 => FaultKind::Freeze(worker),
        5 => FaultKind::Freeze(api),
        6 => FaultKind::Freeze(Node::Broker(broker)),
        // Ids are remembered for a day of the log's own time: its clocks are off by less.
        7 if rng.u8(0..3) == 0 => FaultKind::Clock(other, rng.i64(-9_000..=9_000)),
        7 => FaultKind::Clock(user, rng.i64(-90_000..=90_000)),
        8 if rng.bool() => FaultKind::CutOneWay(user, other),
        8 => FaultKind::CutOneWay(other, user),
        9 => FaultKind::Cut(user, other),
        10 => FaultKind::Isolate([user, other][rng.usize(0..2)]),
        11 => FaultKind::Loss(0.05 + rng.f64() * 0.3),
        12 => FaultKind::Latency(millis(rng, 50..=800)),
        13 => FaultKind::SlowDisk(broker, millis(rng, 20..=500)),
        14 => FaultKind::FullDisk(broker),
        15 => FaultKind::Elections,
        16 => FaultKind::Rebalances,
        17 => FaultKind::Deploy(user),
        18 => FaultKind::DeployCutOff(worker),
        19 => FaultKind::Gap,
        20 if rng.bool() => FaultKind::Outrun(api, worker),
        20 => FaultKind::Truncate(rng.u8(20..=90)),
        21 => FaultKind::FreezeMachine(rng.u8(0..workers)),
        _ => FaultKind::Overtaking(0.05 + rng.f64() * 0.3),
    }
}

fn millis(rng: &mut Rng, range: std::ops::RangeInclusive<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}
