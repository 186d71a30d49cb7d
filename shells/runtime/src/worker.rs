//! The worker's loop: feeds the worker machine from the group, the STOPs and its runs, and carries out what it asks for.
//! It decides nothing about tasks.

use crate::patience::{Patience, until_there};
use crate::ports::{
    Agents, GroupEvent, Log, LogError, Member, Projects, Step, StepError, Steps, Tail, TailEvent, TailFrom, World,
};
use crate::presence::Voice;
use crate::run::{self, Ports};
use crate::world::Clock;
use baton_core::log::{Epoch, Partition, Topic};
use baton_core::presence::Identity;
use baton_core::run::{Ending, Input as RunInput, RunSpec};
use baton_core::worker::{Effect, Input, RunId, Unstepped, Worker, WorkerConfig};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;

/// How many answers of runs and steps may wait for the loop; those who bring more wait themselves.
const ANSWERS: usize = 64;
/// How many inputs may wait for a run. The worker tells a run a handful of things in its life.
const TOLD: usize = 16;

/// Whether the process is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// No.
    #[default]
    No,
    /// When the running tasks have ended, or the drain timeout has passed.
    Drain,
    /// At once: running tasks are handed back.
    Now,
}

/// Who a worker is, and what it remembers.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The group that shares the tasks.
    pub group: String,
    /// The worker's name in it.
    pub name: String,
    /// How long a task's id is remembered, so that a POST sent twice runs once.
    pub lookback: Duration,
    /// How long STOPs are kept on the log.
    pub retention: Duration,
    /// Who it says that it is, to those who look at the cluster; if it is to say so.
    pub identity: Option<Identity>,
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            group: "baton-workers".into(),
            name: "worker".into(),
            lookback: Duration::from_hours(24),
            retention: Duration::from_hours(7 * 24),
            identity: None,
        }
    }
}

/// What comes back from what was set going.
enum Answer {
    Ended(RunId, Ending),
    Stepped(Partition, Epoch, Result<(), StepError>),
}

/// Works until it is told to go, or the log has failed for good.
pub async fn run<L: Log, A: Agents, P: Projects, W: World>(
    log: L,
    agents: A,
    projects: P,
    world: W,
    membership: Membership,
    config: WorkerConfig,
    mut shutdown: watch::Receiver<Shutdown>,
) -> Result<(), LogError> {
    let from = TailFrom::Time(world.wall().minus(membership.retention));
    let Membership { group, name, lookback, .. } = &membership;
    let begin = async {
        let control = until_there(|| log.tail(Topic::Control, from)).await?;
        Ok::<_, LogError>((control, until_there(|| log.join(group, name, *lookback)).await?))
    };
    let (mut control, mut member) = tokio::select! {
        biased;
        // Nothing is held yet.
        _ = shutdown.wait_for(|told| *told > Shutdown::No) => return Ok(()),
        joined = begin => joined?,
    };
    let (answers, mut answered) = mpsc::channel(ANSWERS);
    let clock = Clock::new(world);
    let steps = member.steps();
    let mut voice = membership.identity.map(|identity| Voice::new(log.clone(), identity));
    let ports = Ports { log, agents, projects, clock: clock.clone() };
    let mut hands = Hands { ports, steps, answers, runs: BTreeMap::new(), unreadable: 0 };
    let mut worker = Worker::new(config);
    let mut told_to = Shutdown::No;
    let (mut with_control, mut with_member) = (Patience::default(), Patience::default());
    loop {
        while let Some(effect) = worker.poll() {
            match effect {
                Effect::CatchUp => control.catch_up(),
                Effect::Leave => {
                    drop(member);
                    if let Some(voice) = voice {
                        voice.farewell(&clock).await;
                    }
                    return Ok(());
                }
                effect => hands.carry_out(effect, &mut member).await,
            }
        }
        let input = tokio::select! {
            biased;
            changed = shutdown.changed(), if told_to < Shutdown::Now => {
                // Whoever could have told is gone: that is as good as being told.
                told_to = changed.map_or(Shutdown::Now, |()| *shutdown.borrow_and_update());
                match told_to {
                    Shutdown::No => continue,
                    Shutdown::Drain => Input::Drain,
                    Shutdown::Now => Input::Halt,
                }
            }
            () = clock.until(worker.deadline()) => Input::Timeout,
            event = with_control.then(control.next()) => match event {
                Ok(TailEvent::Records(records)) => {
                    for records in records {
                        worker.handle(Input::Records(records), clock.now());
                    }
                    continue;
                }
                Ok(TailEvent::CaughtUp) => Input::StopsCaughtUp,
                Ok(TailEvent::Skipped(partition)) => {
                    tracing::error!(partition, "STOPs were gone before they could be read: their retention is too short");
                    continue;
                }
                Err(error) => {
                    with_control.note(error, Topic::Control.name())?;
                    continue;
                }
            },
            answer = answered.recv() => match answer {
                Some(Answer::Ended(run, ending)) => {
                    hands.runs.remove(&run);
                    Input::Ended(run, ending)
                }
                Some(Answer::Stepped(partition, epoch, answer)) => stepped(partition, epoch, answer)?,
                None => unreachable!("the loop holds a sender"),
            },
            event = with_member.then(member.next()) => match event {
                Ok(event) => heard(event, &hands.ports.agents, &clock),
                Err(error) => {
                    with_member.note(error, Topic::Tasks.name())?;
                    continue;
                }
            },
            () = turn_of(voice.as_ref(), &clock) => {
                if let Some(voice) = &mut voice {
                    voice.speak(worker.doing(), &clock);
                }
                continue;
            }
        };
        worker.handle(input, clock.now());
    }
}

async fn turn_of<W: World>(voice: Option<&Voice>, clock: &Clock<W>) {
    match voice {
        Some(voice) => voice.turn(clock).await,
        None => std::future::pending().await,
    }
}

fn heard<A: Agents, W: World>(event: GroupEvent, agents: &A, clock: &Clock<W>) -> Input {
    match event {
        GroupEvent::Claimed { partition, epoch, committed } => {
            tracing::debug!(partition, epoch, offset = committed.offset, "claimed");
            Input::Claimed { partition, epoch, offset: committed.offset, metadata: committed.metadata }
        }
        GroupEvent::Revoke { partition } => Input::Revoked(partition),
        GroupEvent::Lost { partition } => {
            tracing::warn!(partition, "the claim is lost");
            Input::Lost(partition)
        }
        GroupEvent::Records(records) => Input::Records(records),
        GroupEvent::Renewed { until } => Input::Renewed(clock.of(agents.hold_until(until))),
    }
}

fn stepped(partition: Partition, epoch: Epoch, answer: Result<(), StepError>) -> Result<Input, LogError> {
    let answer = match answer {
        Ok(()) => Ok(()),
        Err(StepError::Fenced) => {
            tracing::warn!(partition, epoch, "fenced: the claim was no longer current");
            Err(Unstepped::Fenced)
        }
        Err(StepError::Log(LogError::Unavailable(why))) => {
            tracing::warn!(partition, why, "could not take an atomic step; trying again");
            Err(Unstepped::ForNow)
        }
        Err(StepError::Log(fatal @ LogError::Fatal(_))) => return Err(fatal),
    };
    Ok(Input::Stepped(partition, epoch, answer))
}

/// Carries out effects.
struct Hands<L, S, A, P, W> {
    ports: Ports<L, A, P, W>,
    steps: S,
    answers: mpsc::Sender<Answer>,
    runs: BTreeMap<RunId, mpsc::Sender<RunInput>>,
    /// How many records could not be read since the start.
    unreadable: u64,
}

impl<L: Log, S: Steps, A: Agents, P: Projects, W: World> Hands<L, S, A, P, W> {
    async fn carry_out(&mut self, effect: Effect, member: &mut impl Member) {
        match effect {
            Effect::Step(step) => self.step(step),
            Effect::Start(run, spec) => self.start(run, *spec),
            Effect::Tell(run, input) => {
                if let Some(told) = self.runs.get(&run) {
                    // A run that is over hears nothing more, and needs nothing more.
                    let _ = told.send(input).await;
                }
            }
            Effect::Pause(partition) => member.pause(partition),
            Effect::Resume(partition) => member.resume(partition),
            Effect::Release(partition) => member.release(partition),
            Effect::Unreadable { topic, partition, offset, why } => {
                self.unreadable += 1;
                let so_far = self.unreadable;
                tracing::warn!(%topic, partition, offset, why, so_far, "skipped a record that can't be read");
            }
            Effect::Unusable(partition, why) => {
                tracing::error!(partition, why, "the ledger can't be read; the partition's tasks wait until it can");
            }
            Effect::Report(report) => tracing::info!(
                task = %report.task_id,
                attempt = report.attempt,
                project = report.project,
                r#type = report.task_type,
                partition = report.partition,
                outcome = report.kind.name(),
                exit = report.exit.map(tracing::field::display),
                cause = ?report.cause,
                "ended"
            ),
            Effect::CatchUp | Effect::Leave => {} // the loop's own
        }
    }

    fn step(&self, step: Step) {
        let (steps, answers) = (self.steps.clone(), self.answers.clone());
        tokio::spawn(async move {
            let (partition, epoch) = (step.partition, step.epoch);
            let answer = steps.step(step).await;
            // The loop is gone only when nobody waits for the answer.
            let _ = answers.send(Answer::Stepped(partition, epoch, answer)).await;
        });
    }

    fn start(&mut self, id: RunId, spec: RunSpec) {
        let span = tracing::info_span!(
            "run",
            task = %spec.task_id,
            attempt = spec.attempt,
            project = %spec.project,
            r#type = spec.kind,
            partition = spec.partition,
        );
        span.in_scope(|| tracing::info!("started"));
        let (told, inputs) = mpsc::channel(TOLD);
        let ports = Ports { agents: self.ports.agents.for_run(), ..self.ports.clone() };
        let answers = self.answers.clone();
        self.runs.insert(id, told);
        let running = tokio::spawn(run::run(ports, spec, inputs).instrument(span));
        tokio::spawn(async move {
            // A panic is a fault of ours, and must not keep the slot: the task is told, and its process was dropped.
            let ending = running.await.unwrap_or_else(|_| Ending::broken());
            let _ = answers.send(Answer::Ended(id, ending)).await;
        });
    }
}
