//! How a task may end: how long it may take, which of its ends are worth another attempt, and how long that one waits.
//!
//! A task type says it as data, and a task may say some of it again for itself. Nothing here knows of a clock or of a ledger.

use crate::agent_report::Cost;
use crate::process::{ExitStatus, signal_name, signal_number};
use crate::quantity::Time;
use crate::record::TaskRecord;
use crate::retry::full_jitter;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// The longest timeout: a year. Clocks and calendars can still reckon with it.
pub const MAX_TIMEOUT: Duration = Duration::from_hours(366 * 24);
/// The longest grace: who drains a worker waits for it.
pub const MAX_GRACE: Duration = Duration::from_hours(1);
/// The longest wait between two attempts: what is stopped meanwhile is remembered for a day.
pub const MAX_WAIT: Duration = Duration::from_hours(24);
/// The most attempts that a task or a type may ask for.
pub const MAX_ATTEMPTS: u32 = 100;

/// How long a task of a type may take. What is absent is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// For how long it may wait for its first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<Time>,
    /// How long the process of one attempt may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Time>,
    /// For how long the process may write nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Time>,
    /// How long all attempts may take together, from the first one's beginning, with the waits between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Time>,
    /// How long the process has between SIGTERM and SIGKILL, instead of the worker's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Time>,
}

impl Timeouts {
    /// Whether a type says nothing of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn check(&self, path: &str) -> Result<(), String> {
        let fields = [
            ("queued", self.queued, MAX_TIMEOUT),
            ("run", self.run, MAX_TIMEOUT),
            ("silence", self.silence, MAX_TIMEOUT),
            ("total", self.total, MAX_TIMEOUT),
            ("grace", self.grace, MAX_GRACE),
        ];
        fields.into_iter().try_for_each(|(name, time, most)| at_most(path, name, time, most))
    }
}

fn at_most(path: &str, name: &str, time: Option<Time>, most: Duration) -> Result<(), String> {
    match time {
        Some(Time(time)) if time.is_zero() => Err(format!("{path}.{name}: must be more than nothing")),
        Some(time) if time.0 > most => {
            Err(format!("{path}.{name}: {time} is longer than the {} that it may be", Time(most)))
        }
        _ => Ok(()),
    }
}

/// How often a task of a type is attempted, and how long it waits after an attempt that failed: a random time between
/// nothing and `first`, twice that after the second failure, and so on up to `cap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// How many attempts may be begun, lost ones included; instead of the worker's own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The longest wait after the first failure.
    pub first: Time,
    /// The longest wait of all.
    pub cap: Time,
}

impl Default for Retries {
    fn default() -> Self {
        Self { max_attempts: None, first: Time(Duration::from_secs(1)), cap: Time(Duration::from_mins(5)) }
    }
}

impl Retries {
    /// Whether a type says nothing of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn check(&self, path: &str) -> Result<(), String> {
        if self.max_attempts.is_some_and(|most| !(1..=MAX_ATTEMPTS).contains(&most)) {
            return Err(format!("{path}.max_attempts: must be a whole number from 1 to {MAX_ATTEMPTS}"));
        }
        at_most(path, "cap", Some(self.cap), MAX_WAIT)?;
        at_most(path, "first", Some(self.first), self.cap.0)
    }
}

/// Who or what ended a task, or an attempt of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The process, by an exit code.
    Exit,
    /// A signal that Baton did not send.
    Signal,
    /// The kernel, as there was no memory left for it.
    OutOfMemory,
    /// A client's STOP.
    Stop,
    /// A client's STOP that left it no grace.
    ForceStop,
    /// It waited for its first attempt for too long.
    QueueTimeout,
    /// The process ran for too long.
    RunTimeout,
    /// The process wrote nothing for too long.
    SilenceTimeout,
    /// All attempts together cost more than they may.
    CostLimit,
    /// The process wrote more than it may.
    OutputLimit,
    /// All attempts together took too long.
    TotalTimeout,
    /// The project's config was not to be had, or of no use.
    Config,
    /// There was no process to be had.
    Spawn,
    /// What was asked can't be run.
    Invalid,
    /// Its attempts were lost with their workers, as often as may be.
    Lost,
    /// A fault of Baton's own.
    Fault,
    /// Of a later version of Baton.
    #[serde(other)]
    Other,
}

impl Cause {
    /// Those that a type may hold to be worth another attempt, beside exit codes and signals.
    const NAMED: [(&'static str, Self); 6] = [
        ("out-of-memory", Self::OutOfMemory),
        ("run-timeout", Self::RunTimeout),
        ("silence-timeout", Self::SilenceTimeout),
        ("output-limit", Self::OutputLimit),
        ("config", Self::Config),
        ("spawn", Self::Spawn),
    ];

    /// Whether the process ended without Baton's doing.
    const fn is_of_process(self) -> bool {
        matches!(self, Self::Exit | Self::Signal | Self::OutOfMemory)
    }
}

/// An end as a type names it: an exit code, a signal, or a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// An exit code.
    Code(u8),
    /// The number of a signal that Baton did not send.
    Signal(i32),
    /// Of some other cause.
    Cause(Cause),
}

impl Named {
    fn is(self, cause: Cause, status: Option<ExitStatus>) -> bool {
        match self {
            Self::Code(code) => cause.is_of_process() && status == Some(ExitStatus::Code(code.into())),
            Self::Signal(number) => cause.is_of_process() && status == Some(ExitStatus::Signal(number)),
            Self::Cause(named) => named == cause,
        }
    }
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Code(code) => serializer.serialize_u8(*code),
            Self::Signal(number) => serializer.serialize_str(signal_name(*number).unwrap_or_default()),
            Self::Cause(cause) => cause.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Code(i64),
            Name(String),
        }
        let wrong = || {
            let named = Cause::NAMED.map(|(name, _)| name).join(", ");
            serde::de::Error::custom(format!(
                "an end is an exit code from 0 to 255, a signal such as \"SIGKILL\", or one of: {named}"
            ))
        };
        match Written::deserialize(deserializer).map_err(|_| wrong())? {
            Written::Code(code) => u8::try_from(code).map(Self::Code).map_err(|_| wrong()),
            Written::Name(name) => {
                let cause =
                    Cause::NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, cause)| Self::Cause(cause));
                cause.or_else(|| signal_number(&name).map(Self::Signal)).ok_or_else(wrong)
            }
        }
    }
}

/// What an end means that no list names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// The task has failed for good.
    #[default]
    Failed,
    /// It is worth another attempt.
    Retry,
}

/// What the ends of a type's processes mean. Exit code 0 is done, unless it is named otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exits {
    /// These are as good as 0: exit codes and signals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<Named>,
    /// After these the task has failed for good.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Named>,
    /// These are worth another attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retry: Vec<Named>,
    /// All other ends of a process.
    pub otherwise: Otherwise,
}

/// What the end of an attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The task is done.
    Done,
    /// It has failed for good.
    Failed,
    /// It is worth another attempt.
    Retry,
}

impl Exits {
    /// Whether a type says nothing of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What it means that an attempt ended so.
    pub fn judge(&self, cause: Cause, status: Option<ExitStatus>) -> Verdict {
        let is_in = |list: &[Named]| list.iter().any(|named| named.is(cause, status));
        if is_in(&self.done) {
            Verdict::Done
        } else if is_in(&self.failed) {
            Verdict::Failed
        } else if is_in(&self.retry) {
            Verdict::Retry
        } else if cause == Cause::Exit && status == Some(ExitStatus::Code(0)) {
            Verdict::Done
        } else if cause.is_of_process() && self.otherwise == Otherwise::Retry {
            Verdict::Retry
        } else {
            Verdict::Failed
        }
    }

    fn check(&self, path: &str) -> Result<(), String> {
        if let Some(index) = self.done.iter().position(|named| matches!(named, Named::Cause(_))) {
            return Err(format!("{path}.done[{index}]: only an exit code or a signal can be as good as 0"));
        }
        let lists = [("done", &self.done), ("failed", &self.failed), ("retry", &self.retry)];
        let all: Vec<(String, Named)> = lists
            .into_iter()
            .flat_map(|(name, list)| list.iter().enumerate().map(move |(at, named)| (format!("{name}[{at}]"), *named)))
            .collect();
        for (at, (place, named)) in all.iter().enumerate() {
            if let Some((first, _)) = all[..at].iter().find(|(_, before)| before == named) {
                return Err(format!("{path}.{place}: is in {first} already"));
            }
        }
        Ok(())
    }
}

/// Checks what a type says, and names what is wrong by its path.
pub(crate) fn check(path: &str, timeouts: &Timeouts, retries: &Retries, exits: &Exits) -> Result<(), String> {
    timeouts.check(&format!("{path}.timeouts"))?;
    retries.check(&format!("{path}.retries"))?;
    exits.check(&format!("{path}.exits"))
}

/// What holds for one task: its own word, else its type's, else the worker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For how long it may wait for its first attempt.
    pub queued: Option<Duration>,
    /// How long one process may run.
    pub run: Option<Duration>,
    /// For how long a process may write nothing.
    pub silence: Option<Duration>,
    /// How long all attempts may take together.
    pub total: Option<Duration>,
    /// How long a process has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// What all attempts may cost together.
    pub max_cost: Option<Cost>,
    /// How many attempts may be begun, less those that were handed back.
    pub max_attempts: u32,
    /// The longest wait after the first failure, and of all.
    pub waits: (Duration, Duration),
    /// What ends mean.
    pub exits: Exits,
}

impl Policy {
    /// What holds where nobody says anything.
    pub fn new(grace: Duration, max_attempts: u32) -> Self {
        let Retries { first, cap, .. } = Retries::default();
        Self {
            queued: None,
            run: None,
            silence: None,
            total: None,
            max_cost: None,
            grace,
            max_attempts,
            waits: (first.0, cap.0),
            exits: Exits::default(),
        }
    }

    /// The same, but for what a type says.
    #[must_use]
    pub fn of_type(self, timeouts: &Timeouts, retries: &Retries, exits: &Exits, max_cost: Option<Cost>) -> Self {
        let time = |time: Option<Time>| time.map(|time| time.0);
        Self {
            queued: time(timeouts.queued).or(self.queued),
            run: time(timeouts.run).or(self.run),
            silence: time(timeouts.silence).or(self.silence),
            total: time(timeouts.total).or(self.total),
            max_cost: max_cost.or(self.max_cost),
            grace: time(timeouts.grace).unwrap_or(self.grace),
            max_attempts: retries.max_attempts.unwrap_or(self.max_attempts),
            waits: (retries.first.0, retries.cap.0),
            exits: exits.clone(),
        }
    }

    /// The same, but for what the task says.
    #[must_use]
    pub fn of_task(self, task: &TaskRecord) -> Self {
        let time = |seconds: Option<u64>| seconds.map(|seconds| Duration::from_secs(seconds).min(MAX_TIMEOUT));
        Self {
            queued: time(task.queue_timeout_s).or(self.queued),
            run: time(task.timeout_s).or(self.run),
            silence: time(task.silence_timeout_s).or(self.silence),
            total: time(task.total_timeout_s).or(self.total),
            max_cost: task.max_cost_usd.or(self.max_cost),
            grace: time(task.grace_s).map_or(self.grace, |grace| grace.min(MAX_GRACE)),
            max_attempts: task.max_attempts.unwrap_or(self.max_attempts),
            ..self
        }
    }

    /// The reason of a failure by a timeout.
    pub fn timed_out(&self, cause: Cause) -> String {
        let after = |time: Option<Duration>| time.map(Time).map_or_else(String::new, |time| time.to_string());
        match cause {
            Cause::QueueTimeout => format!("timed out: not begun within {}", after(self.queued)),
            Cause::SilenceTimeout => format!("timed out: no output for {}", after(self.silence)),
            Cause::TotalTimeout => format!("timed out: all attempts together took {}", after(self.total)),
            _ => format!("timed out after {}", after(self.run)),
        }
    }

    /// Whether that is more than a task may cost.
    pub fn is_beyond_budget(&self, cost: Cost) -> bool {
        self.max_cost.is_some_and(|most| cost > most)
    }

    /// The reason of a failure by its cost.
    pub fn beyond_budget(&self, cost: Cost) -> String {
        format!("cost {cost}, and may cost {} at most", self.max_cost.unwrap_or_default())
    }

    /// How long to wait after so many failures, the first of which is 1.
    pub fn wait(&self, failures: u32, seed: u64) -> Duration {
        full_jitter(self.waits.0, self.waits.1, failures, seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_means_what_the_first_list_says_that_names_it() {
        let exits: Exits = toml::from_str(
            r#"
            done = [0, 3, "SIGPIPE"]
            failed = [2]
            retry = [75, "SIGKILL", "silence-timeout"]
            otherwise = "retry"
            "#,
        )
        .unwrap();
        let code = |code| (Cause::Exit, Some(ExitStatus::Code(code)));
        let died = |signal| (Cause::Signal, Some(ExitStatus::Signal(signal)));
        for ((cause, status), verdict) in [
            (code(0), Verdict::Done),
            (code(3), Verdict::Done),
            (died(13), Verdict::Done),
            (code(2), Verdict::Failed),
            (code(75), Verdict::Retry),
            (code(1), Verdict::Retry),
            (died(9), Verdict::Retry),
            ((Cause::OutOfMemory, Some(ExitStatus::Signal(9))), Verdict::Retry),
            // It was Baton that killed it: the signal says nothing.
            ((Cause::RunTimeout, Some(ExitStatus::Signal(9))), Verdict::Failed),
            ((Cause::RunTimeout, Some(ExitStatus::Code(3))), Verdict::Failed),
            ((Cause::SilenceTimeout, Some(ExitStatus::Signal(15))), Verdict::Retry),
            ((Cause::Config, None), Verdict::Failed),
        ] {
            assert_eq!(exits.judge(cause, status), verdict, "{cause:?} {status:?}");
        }
        let default = Exits::default();
        assert_eq!(default.judge(Cause::Exit, Some(ExitStatus::Code(0))), Verdict::Done);
        assert_eq!(default.judge(Cause::Exit, Some(ExitStatus::Code(1))), Verdict::Failed);
        let zero: Exits = toml::from_str("retry = [0]").unwrap();
        assert_eq!(zero.judge(Cause::Exit, Some(ExitStatus::Code(0))), Verdict::Retry);
    }

    #[test]
    fn a_task_has_the_last_word() {
        let timeouts: Timeouts =
            toml::from_str(r#"run = "1m"\nsilence = "10s"\ngrace = "2s""#.replace("\\n", "\n").as_str()).unwrap();
        let retries: Retries = toml::from_str("max_attempts = 5").unwrap();
        let task = br#"{"task_id": "a", "project": "p", "type": "t", "silence_timeout_s": 3, "grace_s": 100000000}"#;
        let policy = Policy::new(Duration::from_secs(10), 3)
            .of_type(&timeouts, &retries, &Exits::default(), None)
            .of_task(&TaskRecord::read(task).unwrap());
        assert_eq!((policy.run, policy.silence), (Some(Duration::from_mins(1)), Some(Duration::from_secs(3))));
        assert_eq!((policy.total, policy.grace, policy.max_attempts), (None, MAX_GRACE, 5));
    }
}
