//! One run of one task: an attempt, from its claim to the outcome that its worker commits.
//!
//! Feed it with [`Run::handle`], then drain [`Run::poll`]; call it again at [`Run::deadline`]. A late or repeated input
//! changes nothing. It never touches the ledger: what it hands over is an [`Ending`], and the worker decides the rest.

use crate::account::{Account, millis};
use crate::agent_report::{AgentReport, Listener, Spent};
use crate::id::{ProjectName, TaskId, UpdateId};
use crate::launch::Launch;
use crate::limits::Limits;
use crate::lines::Line;
use crate::log::{Partition, Values, ValuesBuilder};
use crate::output::{Budget, OutputSettings, Reader, Verdict};
use crate::patterns::Patterns;
use crate::policy::{self, Cause, Policy};
use crate::process::{ArgumentFile, Exit, ExitStatus, Signal, Spawn, Stream};
use crate::project::Project;
use crate::record::{Kind, ProgressRecord};
use crate::redact::Secrets;
use crate::retry::Backoff;
use crate::time::{Instant, Now};
use crate::trace::TraceParent;
use baton_probe::{Mark, Mutant, hit, hit_if, is, limit};
use std::collections::VecDeque;
use std::time::Duration;

/// How many bytes of records wait for the log before the agent's pipe is left full.
pub const MAX_PENDING: usize = 512 * 1024;
/// How often a project's config is asked for before the task fails.
pub const PROJECT_TRIES: u32 = 6;
const PROJECT_WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
const APPEND_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How many of the last lines a dead letter keeps, and how much of each.
const LAST_LINES: usize = 20;
const LAST_LINE_BYTES: usize = 1024;
/// What is said when the agent has ended and others of its run had not.
const LEFT_BEHIND: &str = "[processes that the agent left behind, or that held its output open, were ended]";
/// How much of the last line on standard error a failure's reason quotes.
const QUOTED_BYTES: usize = 500;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// Whose.
    pub task_id: TaskId,
    /// Its task type, for those who read the logs.
    pub kind: String,
    /// The partition of `tasks` that it came from.
    pub partition: Partition,
    /// From 1.
    pub attempt: u32,
    /// Whose config the agent gets.
    pub project: ProjectName,
    /// The command line.
    pub argv: Vec<String>,
    /// Where, as whom and with what the process is started.
    pub launch: Launch,
    /// What it may take.
    pub limits: Limits,
    /// What becomes of its output.
    pub output: OutputSettings,
    /// Values that are taken out of it, beside those of the project's config. Secret.
    pub secrets: Vec<String>,
    /// What looks like a secret.
    pub patterns: Patterns,
    /// What it reads on standard input; nothing: that is closed.
    pub stdin: Option<String>,
    /// The files whose paths are among its arguments.
    pub files: Vec<ArgumentFile>,
    /// How long it may take, and what its end means.
    pub policy: Policy,
    /// What the attempts before it spent, as far as that is known.
    pub spent: Spent,
    /// What is left of the time that all attempts may take together.
    pub total_left: Option<Duration>,
    /// How long it waited for its slot.
    pub queued: Duration,
    /// The longest line, in bytes.
    pub max_line: usize,
    /// The trace that the task is part of.
    pub traceparent: Option<TraceParent>,
    /// For the jitter of its waits.
    pub seed: u64,
}

/// What a run is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The attempt is durably counted, and its `Starting...` is on the log.
    Counted,
    /// The answer to [`Effect::Fetch`].
    Fetched(Result<Project, Unfetched>),
    /// The answer to [`Effect::Spawn`]: the process lives, or why there is none.
    Spawned(Result<(), String>),
    /// The process wrote.
    Output(Stream, bytes::Bytes),
    /// The process is gone, and everything of it.
    Exited(Exit),
    /// The same, but it was ended by what keeps it, or with it: how it would have ended nobody knows.
    Lost,
    /// The answer to [`Effect::Append`]: the records are on the log, or why not.
    Appended(Result<(), String>),
    /// A client wants the task stopped.
    Stop(StopWish),
    /// The worker is told to go: end it so that another worker may begin again; at once, or with its grace.
    HandBack {
        /// Without grace.
        at_once: bool,
    },
    /// The claim is lost: end the process at once, and write nothing more.
    Abandon,
    /// The [`Run::deadline`] has come.
    Timeout,
}

/// How a client wants a task stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopWish {
    /// Without grace.
    pub force: bool,
    /// Who asked, where that is known.
    pub by: Option<String>,
}

/// Why there is no config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfetched {
    /// It is of no use to try again: a sentence.
    ForGood(String),
    /// It may work later: a sentence.
    ForNow(String),
}

/// What a run asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Get the project's config.
    Fetch(ProjectName),
    /// Make the process.
    Spawn(Box<Spawn>),
    /// Signal the process.
    Signal(Signal),
    /// Append these records of `task-progress`. One append is asked for at a time.
    Append(Values),
    /// The run is over. Nothing comes after.
    End(Ending),
}

/// How a run is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The task has ended; its lines are on the log.
    Outcome(Box<Outcome>),
    /// The attempt was broken off for another worker to begin anew; its lines are on the log. All attempts spent so much.
    HandedBack(Spent),
    /// The process was lost, and nobody had asked for its end: the attempt counts, and the task is begun anew. Its lines are
    /// on the log. All attempts spent so much.
    Lost(Spent),
    /// The claim was lost. Nothing may be written.
    Abandoned,
}

impl Ending {
    /// The run broke by a fault of Baton's own: what it wrote last can't be known.
    pub fn broken() -> Self {
        let reason = "Baton itself failed at this task: its log says how".to_owned();
        Self::Outcome(Box::new(Outcome { seq: 0, ..Outcome::failed(reason, Account::of(Cause::Fault)) }))
    }
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// [`Kind::Done`], [`Kind::Stopped`] or [`Kind::Failed`].
    pub kind: Kind,
    /// The number of the terminal update within its attempt; 0 if that can't be known.
    pub seq: u64,
    /// Of a failure: why.
    pub reason: Option<String>,
    /// Of a failure: whether it is worth another attempt.
    pub worth_retry: bool,
    /// What the kernel said of the process, if there was one.
    pub exit: Option<ExitStatus>,
    /// Who or what ended it, how long it took, and what it used.
    pub account: Account,
    /// The last lines of the attempt, for a dead letter.
    pub last_lines: Vec<String>,
    /// What the agent said of its work, if it said anything.
    pub report: Option<Box<AgentReport>>,
}

impl Outcome {
    /// A failure for good, of which no more is known.
    pub fn failed(reason: String, account: Account) -> Self {
        let (reason, last_lines) = (Some(reason), Vec::new());
        Self { kind: Kind::Failed, seq: 1, reason, worth_retry: false, exit: None, account, last_lines, report: None }
    }
}

/// Why a process is being ended; the stronger comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    HandBack,
    /// It took longer, cost more, or wrote more than it may.
    Exceeded(Cause),
    Stop,
    Abandon,
}

#[derive(Debug)]
enum State {
    /// The attempt is being counted, and the config fetched; nothing has been spawned.
    Preparing {
        counted: bool,
        project: Option<Project>,
        fetch_again_at: Option<Instant>,
    },
    /// The process is being made; what came meanwhile waits for it.
    Spawning {
        ended_by: Option<(Told, bool)>,
    },
    /// The process lives. Every output sets `silent_at` anew.
    Running {
        times_out_at: Option<Instant>,
        silent_at: Option<Instant>,
    },
    /// The group got SIGTERM; at `kill_at` it gets SIGKILL. `None`: it got that.
    Stopping {
        told: Told,
        kill_at: Option<Instant>,
    },
    /// There is no process, or no longer; its lines are on their way to the log.
    Flushing {
        ending: Ending,
    },
    Over,
}

/// One run of one task. See the module's words.
#[derive(Debug)]
pub struct Run {
    spec: RunSpec,
    state: State,
    effects: VecDeque<Effect>,
    fetches: u32,
    fetch_backoff: Backoff,
    /// When all attempts together have had their time.
    total_at: Option<Instant>,
    /// When the process came to life, and when it was first told to end.
    spawned_at: Option<Instant>,
    told_at: Option<Instant>,
    stop: Option<StopWish>,
    output: Output,
}

impl Run {
    /// A run that asks for its project's config first.
    pub fn new(spec: RunSpec, now: Now) -> Self {
        let effects = VecDeque::from([Effect::Fetch(spec.project.clone())]);
        let fetch_backoff = Backoff::new(PROJECT_WAIT.0, PROJECT_WAIT.1, spec.seed);
        let state = State::Preparing { counted: is(Mutant::SpawnedUncounted), project: None, fetch_again_at: None };
        let output = Output::new(&spec);
        Self {
            total_at: spec.total_left.map(|left| now.mono + left),
            spec,
            state,
            effects,
            fetches: 1,
            fetch_backoff,
            spawned_at: None,
            told_at: None,
            stop: None,
            output,
        }
    }

    /// Takes an input in.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Counted => self.on_counted(now),
            Input::Fetched(answer) => self.on_fetched(answer, now),
            Input::Spawned(answer) => self.on_spawned(answer, now),
            Input::Output(stream, bytes) => self.on_output(stream, &bytes, now),
            Input::Exited(exit) => self.on_gone(Some(&exit), now),
            Input::Lost => self.on_gone(None, now),
            Input::Appended(answer) => self.output.appended(&answer, now),
            Input::Stop(wish) => self.on_stop(wish, now),
            Input::HandBack { at_once } => self.end(Told::HandBack, at_once, now),
            Input::Abandon => self.end(Told::Abandon, true, now),
            Input::Timeout => self.on_timeout(now),
        }
        self.flush();
    }

    /// The next effect.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Self::handle`] with [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Instant> {
        let own = match &self.state {
            State::Preparing { fetch_again_at, .. } => [*fetch_again_at, self.total_at],
            State::Running { times_out_at, silent_at } => [earlier(*times_out_at, *silent_at), self.total_at],
            State::Stopping { kill_at, .. } => [*kill_at, None],
            State::Spawning { .. } | State::Flushing { .. } | State::Over => [None, None],
        };
        own.into_iter().chain([self.output.append_again_at, self.output.shows_at()]).flatten().min()
    }

    /// Whether there is room for output; if not, the process's pipes are left full.
    pub fn wants_output(&self) -> bool {
        let has_room = self.output.lines.bytes() < limit(MAX_PENDING, 16 * 1024);
        hit_if(!has_room, Mark::PipeHeld);
        has_room
    }

    fn on_counted(&mut self, now: Now) {
        if let State::Preparing { counted, .. } = &mut self.state {
            *counted = true;
            self.spawn_if_ready(now);
        }
    }

    fn on_fetched(&mut self, answer: Result<Project, Unfetched>, now: Now) {
        let State::Preparing { project, fetch_again_at, .. } = &mut self.state else { return };
        match answer {
            Ok(config) => {
                hit_if(self.fetches > 1, Mark::ConfigAfterFailures);
                *project = Some(config);
                self.spawn_if_ready(now);
            }
            Err(Unfetched::ForNow(_)) if self.fetches < PROJECT_TRIES => {
                *fetch_again_at = Some(now.mono + self.fetch_backoff.wait());
            }
            Err(Unfetched::ForNow(why)) => {
                hit(Mark::ConfigGivenUp);
                self.fail(Cause::Config, format!("{why} ({PROJECT_TRIES} tries)"), None, now);
            }
            Err(Unfetched::ForGood(why)) => {
                hit(Mark::ConfigFailed);
                self.fail(Cause::Config, why, None, now);
            }
        }
    }

    fn spawn_if_ready(&mut self, now: Now) {
        let State::Preparing { counted: true, project: Some(project), .. } = &self.state else { return };
        if self.spec.output.redact {
            let values = project.secrets().chain(self.spec.secrets.iter().map(String::as_str));
            self.output.redact(&Secrets::new(values).and(self.spec.patterns.clone()));
        }
        let ends_after = [self.spec.policy.run, self.total_at.map(|at| at.since(now.mono))].into_iter().flatten().min();
        self.effects.push_back(Effect::Spawn(Box::new(Spawn {
            task_id: self.spec.task_id.clone(),
            attempt: self.spec.attempt,
            argv: self.spec.argv.clone(),
            env: project.env().cloned().collect(),
            project_file: project.to_json(),
            launch: self.spec.launch.clone(),
            limits: self.spec.limits,
            stdin: self.spec.stdin.clone(),
            files: self.spec.files.clone(),
            deadline: ends_after.map(|time| now.wall.plus(time)),
            traceparent: self.spec.traceparent.clone(),
        })));
        self.state = State::Spawning { ended_by: None };
    }

    fn on_spawned(&mut self, answer: Result<(), String>, now: Now) {
        let State::Spawning { ended_by } = self.state else { return };
        hit_if(answer.is_err(), Mark::SpawnFailed);
        self.spawned_at = answer.is_ok().then_some(now.mono);
        match (answer, ended_by) {
            (Ok(()), None) => {
                let Policy { run, silence, .. } = &self.spec.policy;
                let after = |time: &Option<Duration>| time.map(|time| now.mono + time);
                self.state = State::Running { times_out_at: after(run), silent_at: after(silence) };
            }
            (Ok(()), Some((told, at_once))) => self.signal(told, at_once, now),
            (Err(_), Some((told, _))) => self.over_by(told, None, now),
            (Err(why), None) => self.fail(Cause::Spawn, why, None, now),
        }
    }

    fn on_output(&mut self, stream: Stream, bytes: &[u8], now: Now) {
        match &mut self.state {
            State::Running { silent_at, .. } => {
                if !is(Mutant::SilenceNotBroken) {
                    *silent_at = self.spec.policy.silence.map(|silence| now.mono + silence);
                }
                self.output.take(stream, bytes, now);
                if let Some(cause) = self.exceeded() {
                    self.signal(Told::Exceeded(cause), false, now);
                }
            }
            State::Stopping { told, .. } if *told != Told::Abandon => self.output.take(stream, bytes, now),
            _ => {}
        }
    }

    /// The process is gone: how it ended, or nothing if it was lost.
    fn on_gone(&mut self, exit: Option<&Exit>, now: Now) {
        let told = match self.state {
            State::Running { .. } => None,
            State::Stopping { told, .. } => Some(told),
            _ => return,
        };
        if told != Some(Told::Abandon) {
            self.output.finish(now);
        }
        // As it would have been had its last line come a moment earlier.
        let told = told.or_else(|| self.exceeded().map(Told::Exceeded));
        match (told, exit) {
            (Some(told), exit) => self.over_by(told, exit, now),
            (None, None) => {
                hit(Mark::ProcessLost);
                self.state = State::Flushing { ending: Ending::Lost(self.output.listener.report().spent()) };
            }
            (None, Some(exit)) => {
                if exit.survivors_killed {
                    self.output.note(Kind::Line, now, |record| record.update = LEFT_BEHIND.into());
                }
                self.over_by_itself(exit, now);
            }
        }
    }

    /// Whether all attempts cost more than the task may, as the agent tells it, or this one wrote more.
    fn exceeded(&self) -> Option<Cause> {
        let cost = self.output.listener.report().cost_usd;
        if cost.is_some_and(|cost| self.spec.policy.is_beyond_budget(cost)) {
            return Some(Cause::CostLimit);
        }
        self.output.budget.failure().map(|_| Cause::OutputLimit)
    }

    /// The process ended, and not by Baton's doing: what that means, its type says.
    fn over_by_itself(&mut self, exit: &Exit, now: Now) {
        let cause = match exit.status {
            _ if exit.out_of_memory => Cause::OutOfMemory,
            ExitStatus::Code(_) => Cause::Exit,
            ExitStatus::Signal(_) => Cause::Signal,
        };
        let verdict = self.spec.policy.exits.judge(cause, Some(exit.status));
        if verdict == policy::Verdict::Done && !is(Mutant::ExitsIgnored)
            || exit.status == ExitStatus::Code(0) && is(Mutant::ExitsIgnored)
        {
            return self.over(Kind::Done, None, Some(exit), cause, now);
        }
        let how = if cause == Cause::OutOfMemory {
            format!("killed for memory ({})", exit.status)
        } else {
            exit.status.to_string()
        };
        let quoted = if self.output.last_error.is_empty() { "" } else { ": " };
        self.fail(cause, format!("{how}{quoted}{}", self.output.last_error), Some(exit), now);
    }

    fn on_stop(&mut self, wish: StopWish, now: Now) {
        let force = wish.force;
        if self.stop.as_ref().is_none_or(|before| force && !before.force) {
            self.stop = Some(wish);
        }
        self.end(Told::Stop, force, now);
    }

    /// Ends the run for this reason, if no stronger one ends it already.
    fn end(&mut self, told: Told, at_once: bool, now: Now) {
        match &mut self.state {
            State::Preparing { .. } | State::Spawning { .. }
                if told == Told::Stop && is(Mutant::StopLostBeforeProcess) => {}
            State::Preparing { .. } => {
                hit_if(told == Told::Stop, Mark::StopBeforeSpawn);
                self.over_by(told, None, now);
            }
            State::Spawning { ended_by } => {
                hit_if(told == Told::Stop, Mark::StopWhileSpawning);
                let earlier = ended_by.unwrap_or((told, false));
                *ended_by = Some((told.max(earlier.0), at_once || earlier.1));
            }
            State::Running { .. } => self.signal(told, at_once, now),
            State::Stopping { told: earlier, kill_at } => {
                hit_if(told > *earlier, Mark::EndedTwice);
                *earlier = told.max(*earlier);
                let kills = at_once && !(told == Told::Stop && is(Mutant::ForceWaits));
                if kills && kill_at.take().is_some() {
                    hit_if(told == Told::Stop, Mark::ForcedWithinGrace);
                    self.effects.push_back(Effect::Signal(Signal::Kill));
                }
            }
            State::Flushing { ending } if told == Told::Abandon => {
                hit(Mark::AbandonedWhileFlushing);
                *ending = Ending::Abandoned;
            }
            State::Flushing { .. } if told == Told::Stop => hit(Mark::StopAfterExit),
            State::Flushing { .. } | State::Over => {}
        }
        if told == Told::Abandon {
            self.output.discard();
        }
    }

    fn signal(&mut self, told: Told, at_once: bool, now: Now) {
        let (signal, grace) = (if at_once { Signal::Kill } else { Signal::Terminate }, self.spec.policy.grace);
        self.effects.push_back(Effect::Signal(signal));
        self.told_at = Some(now.mono);
        self.state = State::Stopping { told, kill_at: (!at_once).then(|| now.mono + grace) };
        if !at_once && is(Mutant::SigtermTakenForExit) {
            return self.over_by(told, None, now);
        }
        if !at_once && matches!(told, Told::Stop | Told::Exceeded(_)) {
            self.output.note_stopping(grace, now);
        }
    }

    fn on_timeout(&mut self, now: Now) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.mono);
        let total_is_up = due(self.total_at);
        match &mut self.state {
            State::Preparing { .. } if total_is_up => self.over_by(Told::Exceeded(Cause::TotalTimeout), None, now),
            State::Preparing { fetch_again_at, .. } if due(*fetch_again_at) => {
                *fetch_again_at = None;
                self.fetches += 1;
                self.effects.push_back(Effect::Fetch(self.spec.project.clone()));
            }
            State::Running { .. } if total_is_up => {
                hit(Mark::TotalTimedOut);
                self.signal(Told::Exceeded(Cause::TotalTimeout), false, now);
            }
            State::Running { times_out_at, .. } if due(*times_out_at) => {
                hit(Mark::TimedOut);
                self.signal(Told::Exceeded(Cause::RunTimeout), false, now);
            }
            State::Running { silent_at, .. } if due(*silent_at) => {
                if self.output.lines.bytes() < limit(MAX_PENDING, 16 * 1024) {
                    hit(Mark::SilenceTimedOut);
                    self.signal(Told::Exceeded(Cause::SilenceTimeout), false, now);
                } else {
                    // Nobody reads its pipe: it may have written, or want to.
                    *silent_at = self.spec.policy.silence.map(|silence| now.mono + silence);
                }
            }
            State::Stopping { kill_at, .. } if due(*kill_at) => {
                *kill_at = None;
                if is(Mutant::SigkillNeverFollows) {
                    return;
                }
                hit(Mark::KillFollowed);
                self.effects.push_back(Effect::Signal(Signal::Kill));
            }
            _ => {}
        }
        if due(self.output.append_again_at) {
            self.output.append_again();
        }
        self.output.show_unfinished(now);
    }

    fn over_by(&mut self, told: Told, exit: Option<&Exit>, now: Now) {
        match told {
            Told::Stop => {
                let force = self.stop.as_ref().is_some_and(|wish| wish.force);
                let cause = if force { Cause::ForceStop } else { Cause::Stop };
                self.over(Kind::Stopped, None, exit, cause, now);
            }
            Told::Exceeded(cause) => {
                let reason = match cause {
                    Cause::CostLimit => {
                        let cost = self.output.listener.report().cost_usd.unwrap_or_default();
                        self.spec.policy.beyond_budget(cost)
                    }
                    Cause::OutputLimit => self.output.budget.failure().unwrap_or_default(),
                    _ => self.spec.policy.timed_out(cause),
                };
                self.fail(cause, reason, exit, now);
            }
            Told::HandBack => {
                self.state = State::Flushing { ending: Ending::HandedBack(self.output.listener.report().spent()) };
            }
            Told::Abandon => self.state = State::Flushing { ending: Ending::Abandoned },
        }
    }

    fn fail(&mut self, cause: Cause, reason: String, exit: Option<&Exit>, now: Now) {
        self.over(Kind::Failed, Some(reason), exit, cause, now);
    }

    fn over(&mut self, kind: Kind, reason: Option<String>, exit: Option<&Exit>, cause: Cause, now: Now) {
        let last_lines = self.output.last_lines.drain(..).collect();
        let status = exit.map(|exit| exit.status);
        let verdict = self.spec.policy.exits.judge(cause, status);
        let outcome = Outcome {
            kind,
            seq: self.output.next_seq,
            reason,
            worth_retry: kind == Kind::Failed && verdict == policy::Verdict::Retry && !is(Mutant::ExitsIgnored),
            exit: status,
            account: self.account(cause, exit, now),
            last_lines,
            report: Some(self.output.listener.report()).filter(|said| !said.is_empty()).cloned().map(Box::new),
        };
        self.state = State::Flushing { ending: Ending::Outcome(Box::new(outcome)) };
    }

    fn account(&self, cause: Cause, exit: Option<&Exit>, now: Now) -> Account {
        let is_stop = matches!(cause, Cause::Stop | Cause::ForceStop);
        let lived = self.spawned_at.map(|at| millis(now.mono.since(at)));
        Account {
            by: self.stop.as_ref().filter(|_| is_stop).and_then(|wish| wish.by.clone()),
            queued_ms: Some(millis(self.spec.queued)),
            running_ms: lived,
            draining_ms: lived.map(|_| self.told_at.map_or(0, |at| millis(now.mono.since(at)))),
            lines: lived.map(|_| self.output.count),
            bytes: lived.map(|_| self.output.bytes),
            ..Account::of(cause).with_usage(exit.and_then(|exit| exit.usage))
        }
    }

    /// Sends what the log has room for, and ends the run when there is nothing left to send.
    fn flush(&mut self) {
        if let Some(values) = self.output.next_append() {
            self.effects.push_back(Effect::Append(values));
        }
        if matches!(self.state, State::Flushing { .. })
            && (self.output.is_flushed() || is(Mutant::EndedUnflushed))
            && let State::Flushing { ending } = std::mem::replace(&mut self.state, State::Over)
        {
            self.effects.push_back(Effect::End(ending));
        }
    }
}

/// What the process wrote, on its way to the log: lines, then records, one append at a time.
#[derive(Debug)]
struct Output {
    task_id: TaskId,
    attempt: u32,
    next_seq: u64,
    stdout: Reader,
    stderr: Reader,
    budget: Budget,
    /// Whether lines are read for what the agent says of its work.
    listens: bool,
    listener: Listener,
    lines: ValuesBuilder,
    /// What was asked to be appended, until the log has it.
    in_flight: Option<Values>,
    /// The log did not take `in_flight`: when to ask again.
    append_again_at: Option<Instant>,
    /// `in_flight` is to be asked for again now.
    again: bool,
    backoff: Backoff,
    last_lines: VecDeque<String>,
    last_error: String,
    /// How many lines and bytes the process wrote.
    count: u64,
    bytes: u64,
}

impl Output {
    fn new(spec: &RunSpec) -> Self {
        Self {
            task_id: spec.task_id.clone(),
            attempt: spec.attempt,
            next_seq: 2, // 1 is `Starting...`, which the worker writes as it counts the attempt
            stdout: Reader::new(spec.max_line, &spec.output),
            stderr: Reader::new(spec.max_line, &spec.output),
            budget: Budget::new(&spec.output),
            listens: spec.output.reports,
            listener: Listener::new(spec.spent),
            lines: ValuesBuilder::default(),
            in_flight: None,
            append_again_at: None,
            again: false,
            backoff: Backoff::new(APPEND_WAIT.0, APPEND_WAIT.1, spec.seed),
            last_lines: VecDeque::with_capacity(LAST_LINES),
            last_error: String::new(),
            count: 0,
            bytes: 0,
        }
    }

    fn take(&mut self, stream: Stream, bytes: &[u8], now: Now) {
        self.bytes += bytes.len() as u64;
        self.with_reader(stream, |reader, each| reader.feed(bytes, now.mono, each), now);
    }

    fn finish(&mut self, now: Now) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.with_reader(stream, |reader, each| reader.finish(each), now);
        }
        let left_out = self.budget.left_out();
        if left_out > 0 {
            self.note(Kind::Line, now, |record| left_out_of(record, left_out));
        }
    }

    fn redact(&mut self, secrets: &Secrets) {
        self.stdout.redact(secrets.clone());
        self.stderr.redact(secrets.clone());
        self.listener.redact(secrets.clone());
    }

    /// When to call [`Self::show_unfinished`].
    fn shows_at(&self) -> Option<Instant> {
        [self.stdout.deadline(), self.stderr.deadline()].into_iter().flatten().min()
    }

    /// Says how the lines stand that are not over, where it is time for that.
    fn show_unfinished(&mut self, now: Now) {
        let Self { task_id, attempt, next_seq, lines, stdout, stderr, .. } = self;
        for (stream, reader) in [(None, stdout), (Some(Stream::Stderr), stderr)] {
            let Some(line) = reader.unfinished(now.mono) else { continue };
            let id = UpdateId { attempt: *attempt, seq: *next_seq };
            *next_seq += 1;
            let cut = (line.cut > 0).then_some(line.cut);
            let record =
                ProgressRecord { stream, cut, ..ProgressRecord::new(task_id, id, Kind::Progress, now.wall, line.text) };
            lines.push_with(|buffer| record.write_to(buffer));
        }
    }

    /// The grace has begun.
    fn note_stopping(&mut self, grace: Duration, now: Now) {
        self.note(Kind::Stopping, now, |record| {
            record.update = format!("Stopping: SIGTERM is sent, SIGKILL follows in {grace:?}").into();
            record.deadline = Some(now.wall.plus(grace));
        });
    }

    fn note(&mut self, kind: Kind, now: Now, fill: impl FnOnce(&mut ProgressRecord<'_>)) {
        let id = UpdateId { attempt: self.attempt, seq: self.next_seq };
        self.next_seq += 1;
        let mut record = ProgressRecord::new(&self.task_id, id, kind, now.wall, "");
        fill(&mut record);
        self.lines.push_with(|buffer| record.write_to(buffer));
    }

    fn with_reader(&mut self, stream: Stream, work: impl FnOnce(&mut Reader, &mut dyn FnMut(Line<'_>)), now: Now) {
        let Self { task_id, attempt, next_seq, stdout, stderr, budget, listens, listener, lines, .. } = self;
        let (last_lines, last_error, count) = (&mut self.last_lines, &mut self.last_error, &mut self.count);
        let reader = if stream == Stream::Stdout { stdout } else { stderr };
        work(reader, &mut |line| {
            *count += 1;
            let kind = if line.text == "DONE" && is(Mutant::TextDecides) { Kind::Done } else { Kind::Line };
            if stream == Stream::Stderr && !line.text.trim().is_empty() {
                replace(last_error, line.text.trim_end(), QUOTED_BYTES);
            }
            let mut last =
                if last_lines.len() == LAST_LINES { last_lines.pop_front() } else { None }.unwrap_or_default();
            replace(&mut last, &line.text, LAST_LINE_BYTES);
            last_lines.push_back(last);
            // A line that was cut is no JSON any more.
            let wrong = if *listens && line.cut == 0 { listener.hear(&line.text) } else { None };
            let left_out = match budget.judge(line.text.len(), now.mono) {
                Verdict::LeftOut => return,
                Verdict::Said { left_out } => left_out,
            };
            let mut next = || {
                let id = UpdateId { attempt: *attempt, seq: *next_seq };
                *next_seq += 1;
                id
            };
            if left_out > 0 {
                let mut record = ProgressRecord::new(task_id, next(), Kind::Line, now.wall, "");
                left_out_of(&mut record, left_out);
                lines.push_with(|buffer| record.write_to(buffer));
            }
            let id = next();
            let record = ProgressRecord {
                stream: (stream == Stream::Stderr).then_some(stream),
                cut: (line.cut > 0).then_some(line.cut),
                report: listener.news(),
                ..ProgressRecord::new(task_id, id, kind, now.wall, line.text)
            };
            lines.push_with(|buffer| record.write_to(buffer));
            if let Some(wrong) = wrong {
                let record = ProgressRecord::new(task_id, next(), Kind::Line, now.wall, wrong);
                lines.push_with(|buffer| record.write_to(buffer));
            }
        });
    }

    /// What to append now, if anything.
    fn next_append(&mut self) -> Option<Values> {
        if self.in_flight.is_none() && !self.lines.is_empty() {
            self.in_flight = Some(self.lines.take());
            self.again = true;
        }
        if std::mem::take(&mut self.again) { self.in_flight.clone() } else { None }
    }

    fn appended(&mut self, answer: &Result<(), String>, now: Now) {
        if answer.is_ok() || is(Mutant::AppendNotRetried) {
            self.in_flight = None;
            self.append_again_at = None;
            self.backoff.reset();
        } else if self.in_flight.is_some() {
            self.append_again_at = Some(now.mono + self.backoff.wait());
        }
    }

    fn append_again(&mut self) {
        hit(Mark::AppendAgain);
        self.append_again_at = None;
        self.again = self.in_flight.is_some();
    }

    fn discard(&mut self) {
        self.stdout.discard();
        self.stderr.discard();
        self.lines.take();
        self.in_flight = None;
        self.append_again_at = None;
        self.again = false;
    }

    fn is_flushed(&self) -> bool {
        self.in_flight.is_none() && self.lines.is_empty()
    }
}

/// Makes the update one that says that so many lines are missing.
fn left_out_of(record: &mut ProgressRecord<'_>, count: u64) {
    let lines = if count == 1 { "line" } else { "lines" };
    record.update = format!("[{count} {lines} left out: the task writes more than its type lets it]").into();
    record.left_out = Some(count);
}

/// The earlier of two points that may never come.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}

/// Puts the beginning of `text` in place of what `place` holds, without new memory where that can be helped.
fn replace(place: &mut String, text: &str, max: usize) {
    place.clear();
    place.push_str(&text[..text.floor_char_boundary(max)]);
}
