//! What happens when, all drawn from a seed: faults, tasks, watchers and STOPs. Pure; what comes of it is no business of this.

use baton_core::record::TaskRecord;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;

/// The workers. Those with a name of their own in the group come back as who they were.
pub const WORKERS: [(&str, bool); 4] = [("anna", true), ("bert", true), ("carl", false), ("dora", false)];
/// The replicas of the API.
pub const APIS: usize = 3;
/// The brokers.
pub const BROKERS: usize = 3;
/// After how long without a word a worker counts as dead: the least that brokers take.
pub const SESSION: Duration = Duration::from_secs(6);
/// Tasks a second, on two cores that run everything.
const TASKS_PER_SECOND: f64 = 1.6;
/// Tasks after everything has healed, when STOPs can be held to the clock.
const CODA: usize = 16;

/// What an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// Numbered lines.
    Count {
        /// How many.
        lines: u64,
        /// From one to the next, in milliseconds.
        pause: u64,
    },
    /// Nothing for a while.
    Silent {
        /// How long.
        millis: u64,
    },
    /// A line now and then until it is stopped.
    Endless,
    /// Nothing until it is stopped, and SIGTERM does not stop it.
    Stubborn,
    /// Exits after a while, and leaves a child behind that takes no notice of SIGTERM.
    Parent {
        /// After how long.
        millis: u64,
    },
    /// A line, a complaint, and an exit code.
    Fails {
        /// Which.
        code: u64,
    },
    /// Takes its worker with it.
    Poison,
}

impl Agent {
    /// Its name among the task types, and its params.
    pub fn asked(self) -> (&'static str, Value) {
        match self {
            Self::Count { lines, pause } => ("count", json!({"lines": lines, "pause": pause})),
            Self::Silent { millis } => ("silent", json!({"millis": millis})),
            Self::Endless => ("endless", json!({})),
            Self::Stubborn => ("stubborn", json!({})),
            Self::Parent { millis } => ("parent", json!({"millis": millis})),
            Self::Fails { code } => ("fails", json!({"code": code})),
            Self::Poison => ("poison", json!({})),
        }
    }

    /// The agent that was asked for so.
    pub fn of(kind: &str, params: &Map<String, Value>) -> Option<Self> {
        let number = |name: &str| params.get(name)?.as_u64();
        Some(match kind {
            "count" => Self::Count { lines: number("lines")?, pause: number("pause")? },
            "silent" => Self::Silent { millis: number("millis")? },
            "endless" => Self::Endless,
            "stubborn" => Self::Stubborn,
            "parent" => Self::Parent { millis: number("millis")? },
            "fails" => Self::Fails { code: number("code")? },
            "poison" => Self::Poison,
            _ => return None,
        })
    }

    /// Whether it goes on until it is stopped.
    pub fn is_endless(self) -> bool {
        matches!(self, Self::Endless | Self::Stubborn)
    }

    /// All types, as a file of task types.
    pub fn types() -> String {
        let kinds = [
            ("count", &["lines", "pause"][..]),
            ("silent", &["millis"]),
            ("endless", &[]),
            ("stubborn", &[]),
            ("parent", &["millis"]),
            ("fails", &["code"]),
            ("poison", &[]),
        ];
        let param =
            |name: &&str| format!(r#"{{ name = "{name}", as = "positional", type = "integer", required = true }}"#);
        let kind = |(name, params): (&str, &[&str])| {
            let params: Vec<_> = params.iter().map(param).collect();
            format!("[types.{name}]\nparams = [{}]\n", params.join(", "))
        };
        kinds.into_iter().map(kind).collect()
    }
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// SIGKILL; up again after this long.
    Kill(Duration),
    /// SIGSTOP; SIGCONT after this long.
    Freeze(Duration),
    /// SIGTERM; up again when it has ended.
    Roll {
        /// A second SIGTERM follows at once.
        twice: bool,
    },
    /// All brokers at once, for this long.
    KillAll(Duration),
}

impl Deed {
    /// The names that `--without` takes.
    pub const KINDS: [&str; 5] = ["kill", "nap", "freeze", "roll", "kill-all"];

    /// Its kind.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Freeze(time) if time < SESSION => "nap",
            Self::Freeze(_) => "freeze",
            Self::Roll { .. } => "roll",
            Self::KillAll(_) => "kill-all",
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(time) => write!(f, "SIGKILL, down for {time:?}"),
            Self::Freeze(time) => write!(f, "SIGSTOP for {time:?}"),
            Self::Roll { twice: false } => f.write_str("SIGTERM, and a new start"),
            Self::Roll { twice: true } => f.write_str("SIGTERM twice, and a new start"),
            Self::KillAll(time) => write!(f, "all brokers down for {time:?}"),
        }
    }
}

/// A fault at a time, on one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Act {
    /// From the beginning.
    pub at: Duration,
    /// Which broker; 0 for a process of its own lane.
    pub whom: usize,
    /// What.
    pub deed: Deed,
}

/// A client of a task that watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watcher {
    /// After the task was accepted.
    pub after: Duration,
    /// Where it begins.
    pub api: usize,
    /// 0 JSON, 1 plain, 2 server-sent events.
    pub format: u8,
    /// After so many frames it goes away without a word, for good.
    pub vanishes: Option<usize>,
    /// How long it needs for each frame.
    pub pause: Duration,
}

/// A wish to stop a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// After the task was accepted.
    pub after: Duration,
    /// Where.
    pub api: usize,
    /// Once more, at the next replica.
    pub twice: bool,
    /// As a watcher's text, to which there is no answer.
    pub by_watcher: bool,
}

/// A task, and all who have to do with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// When it is submitted, from the beginning.
    pub at: Duration,
    /// What its agent does.
    pub agent: Agent,
    /// How many attempts it may have, if not the usual.
    pub max_attempts: Option<u32>,
    /// It has an idempotency key.
    pub keyed: bool,
    /// It is submitted to two replicas at once. Only with a key.
    pub at_two: bool,
    /// Where it is submitted.
    pub api: usize,
    /// Its watchers.
    pub watchers: Vec<Watcher>,
    /// Its STOPs.
    pub stops: Vec<Stop>,
}

impl Task {
    /// The body of its POST.
    pub fn body(&self) -> Value {
        let (kind, params) = self.agent.asked();
        let mut body = json!({"project": "chaos", "type": kind, "params": params});
        if let Some(max) = self.max_attempts {
            body["max_attempts"] = max.into();
        }
        body
    }
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is done to each worker, in its order.
    pub workers: Vec<Vec<Act>>,
    /// What is done to each replica of the API.
    pub apis: Vec<Vec<Act>>,
    /// What is done to the brokers: one after the other, so that never two of them are down but all.
    pub brokers: Vec<Act>,
    /// What is submitted meanwhile.
    pub tasks: Vec<Task>,
    /// What is submitted when all has healed, from then on.
    pub coda: Vec<Task>,
}

impl Plan {
    /// Of this seed, for so long, without these kinds of deeds.
    pub fn new(seed: u64, length: Duration, without: &[String]) -> Self {
        let mut dice = Dice(fastrand::Rng::with_seed(seed));
        let workers = WORKERS.iter().map(|_| dice.lane(length, Who::Worker)).collect();
        let apis = (0..APIS).map(|_| dice.lane(length, Who::Api)).collect();
        let brokers = dice.lane(length, Who::Broker);
        let count = length.as_secs_f64() * TASKS_PER_SECOND;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred")]
        let mut tasks: Vec<Task> = (0..count as usize).map(|_| dice.task(length)).collect();
        tasks.sort_by_key(|task| task.at);
        // Poison takes a worker each time, whatever else is planned for it.
        let poison: Vec<usize> = (0..tasks.len()).filter(|n| tasks[*n].agent == Agent::Poison).collect();
        for spared in poison.into_iter().skip(1) {
            tasks[spared].agent = Agent::Count { lines: 5, pause: 10 };
        }
        let coda = (0..CODA).map(|_| dice.coda()).collect();
        let mut plan = Self { workers, apis, brokers, tasks, coda };
        let left = |act: &Act| !without.iter().any(|kind| *kind == act.deed.kind());
        for lane in plan.workers.iter_mut().chain(&mut plan.apis).chain([&mut plan.brokers]) {
            lane.retain(left);
        }
        plan
    }
}

/// Of whom a lane is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Worker,
    Api,
    Broker,
}

struct Dice(fastrand::Rng);

impl Dice {
    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.0.u64(range))
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.0.u32(0..n) == 0
    }

    /// Acts, one after the other. Each lane prefers some kinds, and may leave others out: so seeds differ in what they are about.
    fn lane(&mut self, length: Duration, who: Who) -> Vec<Act> {
        let mut weights = [0, 0, 0, 0].map(|_: u32| self.0.u32(0..4));
        weights[0] = weights[0].max(1);
        let calmest = if who == Who::Worker { 12_000 } else { 16_000 };
        let mut acts = Vec::new();
        let mut at = self.millis(1000..8000);
        while at < length {
            let whom = if who == Who::Broker { self.0.usize(1..=BROKERS) } else { 0 };
            let deed = self.deed(weights, who);
            acts.push(Act { at, whom, deed });
            let takes = match deed {
                Deed::Kill(time) | Deed::Freeze(time) | Deed::KillAll(time) => time,
                Deed::Roll { .. } => Duration::from_secs(3),
            };
            at += takes + self.millis(2500..calmest);
        }
        if who == Who::Broker && !acts.is_empty() {
            let all = self.0.usize(..acts.len());
            acts[all].deed = Deed::KillAll(Duration::from_secs(10));
        }
        acts
    }

    fn deed(&mut self, weights: [u32; 4], who: Who) -> Deed {
        let mut left = self.0.u32(..weights.iter().sum::<u32>());
        let kind = weights.iter().position(|weight| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        });
        match kind {
            Some(1) => Deed::Freeze(self.millis(300..5000)),
            Some(2) if who == Who::Worker => Deed::Freeze(self.millis(8000..13_000)),
            Some(2) => Deed::Freeze(self.millis(6000..9000)),
            Some(3) => Deed::Roll { twice: self.one_in(2) && who != Who::Broker },
            // Back within its session, or long after it.
            _ if self.one_in(2) => Deed::Kill(self.millis(0..1500)),
            _ => Deed::Kill(self.millis(1500..9000)),
        }
    }

    fn agent(&mut self) -> Agent {
        match self.0.u32(0..20) {
            0..7 => Agent::Count { lines: self.0.u64(1..60), pause: self.0.u64(5..120) },
            7 | 8 => Agent::Count { lines: self.0.u64(1000..4000), pause: 0 },
            9 | 10 => Agent::Silent { millis: self.0.u64(50..5000) },
            11..14 => Agent::Endless,
            14 | 15 => Agent::Stubborn,
            16 | 17 => Agent::Parent { millis: self.0.u64(50..3000) },
            18 => Agent::Fails { code: self.0.u64(1..100) },
            _ => {
                if self.one_in(3) {
                    Agent::Poison
                } else {
                    Agent::Fails { code: 1 }
                }
            }
        }
    }

    fn task(&mut self, length: Duration) -> Task {
        let agent = self.agent();
        let keyed = self.0.bool();
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut stops: Vec<Stop> = Vec::new();
        if agent.is_endless() || self.one_in(4) {
            let latest = if agent.is_endless() && self.one_in(2) { 12_000 } else { 3000 };
            stops.push(self.stop(latest));
        }
        Task {
            at: self.millis(0..millis),
            agent,
            max_attempts: self.one_in(5).then(|| self.0.u32(1..3)),
            keyed,
            at_two: keyed && self.one_in(4),
            api: self.0.usize(..APIS),
            watchers: (0..self.0.usize(0..4)).map(|_| self.watcher()).collect(),
            stops,
        }
    }

    fn coda(&mut self) -> Task {
        let agent = match self.0.u32(0..4) {
            0 => Agent::Endless,
            1 => Agent::Stubborn,
            2 => Agent::Silent { millis: 60_000 },
            _ => Agent::Count { lines: 40, pause: 20 },
        };
        let stops = if matches!(agent, Agent::Count { .. }) {
            Vec::new()
        } else {
            vec![Stop { by_watcher: false, ..self.stop(1500) }]
        };
        let (at, api) = (self.millis(0..2000), self.0.usize(..APIS));
        Task { at, agent, max_attempts: None, keyed: false, at_two: false, api, watchers: vec![self.watcher()], stops }
    }

    fn stop(&mut self, latest: u64) -> Stop {
        Stop {
            // At once, while it is still queued, or any time later.
            after: if self.one_in(4) { Duration::ZERO } else { self.millis(0..latest) },
            api: self.0.usize(..APIS),
            twice: self.one_in(3),
            by_watcher: self.one_in(4),
        }
    }

    fn watcher(&mut self) -> Watcher {
        Watcher {
            after: if self.0.bool() { Duration::ZERO } else { self.millis(0..6000) },
            api: self.0.usize(..APIS),
            format: self.0.u8(0..3),
            vanishes: self.one_in(4).then(|| self.0.usize(0..40)),
            // The longest history takes the slowest half a minute.
            pause: if self.one_in(6) { self.millis(1..7) } else { Duration::ZERO },
        }
    }
}

/// The task of the plan that a record asks for.
pub fn agent_of(task: &TaskRecord) -> Option<Agent> {
    Agent::of(&task.kind, &task.params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::time::Timestamp;
    use baton_core::types::TaskTypes;
    use std::collections::BTreeSet;

    const LENGTH: Duration = Duration::from_secs(90);

    #[test]
    fn a_seed_is_one_plan() {
        assert_eq!(Plan::new(7, LENGTH, &[]), Plan::new(7, LENGTH, &[]));
        assert_ne!(Plan::new(7, LENGTH, &[]), Plan::new(8, LENGTH, &[]));
    }

    #[test]
    fn seeds_do_everything_to_everybody() {
        let (mut deeds, mut agents) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..50 {
            let plan = Plan::new(seed, LENGTH, &[]);
            for (who, lanes) in
                [("worker", &plan.workers), ("api", &plan.apis), ("broker", &vec![plan.brokers.clone()])]
            {
                deeds.extend(lanes.iter().flatten().map(|act| (who, act.deed.kind())));
            }
            agents.extend(plan.tasks.iter().map(|task| task.agent.asked().0));
            let all = plan.brokers.iter().filter(|act| matches!(act.deed, Deed::KillAll(_))).count();
            assert_eq!(all, 1, "all brokers are down once");
            assert!(plan.tasks.iter().filter(|task| task.agent == Agent::Poison).count() < 2);
            assert!(plan.tasks.iter().all(|task| task.keyed || !task.at_two));
            assert!(plan.brokers.iter().all(|act| (1..=BROKERS).contains(&act.whom)));
        }
        assert_eq!(deeds.len(), 4 + 4 + 5, "{deeds:?}");
        assert_eq!(agents.len(), 7, "{agents:?}");
    }

    #[test]
    fn what_is_left_out_is_not_done() {
        let without = ["freeze".to_owned(), "kill-all".to_owned()];
        for seed in 0..20 {
            let plan = Plan::new(seed, LENGTH, &without);
            let lanes = plan.workers.iter().chain(&plan.apis).chain([&plan.brokers]);
            assert!(lanes.flatten().all(|act| act.deed.kind() != "freeze" && act.deed.kind() != "kill-all"));
        }
    }

    #[test]
    fn acts_of_a_lane_follow_one_another() {
        let plan = Plan::new(3, Duration::from_mins(10), &[]);
        for lane in plan.workers.iter().chain(&plan.apis).chain([&plan.brokers]) {
            assert!(lane.is_sorted_by_key(|act| act.at));
        }
    }

    #[test]
    fn agents_are_asked_for_as_the_types_say() {
        let types = TaskTypes::from_toml(&Agent::types()).unwrap();
        for seed in 0..20 {
            for task in Plan::new(seed, LENGTH, &[]).tasks {
                let body = serde_json::to_vec(&task.body()).unwrap();
                let read =
                    baton_core::submit::read_submission(&body, None, &types, [0; 16], Timestamp::default()).unwrap();
                assert_eq!(agent_of(&read), Some(task.agent));
            }
        }
    }
}
