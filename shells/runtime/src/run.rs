//! The loop of one run: carries out what the run asks for, and tells it what came of it. It decides nothing.

use crate::ports::{Agents, Durability, Log, LogError, Process, ProcessEvent, ProjectError, Projects, World};
use crate::world::Clock;
use baton_core::id::TaskId;
use baton_core::log::{Batch, Topic, Values};
use baton_core::run::{Effect, Ending, Input, Run, RunSpec, Unfetched};
use baton_probe::{Mutant, is};
use std::future::Future;
use std::pin::Pin;
use tokio::sync::mpsc;

/// What a run needs of the world.
#[derive(Clone)]
pub(crate) struct Ports<L, A, P, W> {
    pub log: L,
    pub agents: A,
    pub projects: P,
    pub clock: Clock<W>,
}

type Pending<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Waits for what is under way; for ever if nothing is.
async fn done<T>(pending: &mut Pending<T>) -> T {
    match pending {
        Some(future) => {
            let value = future.as_mut().await;
            *pending = None;
            value
        }
        None => std::future::pending().await,
    }
}

/// Runs one run to its end. `inputs` are what the worker tells it.
pub(crate) async fn run<L: Log, A: Agents, P: Projects, W: World>(
    ports: Ports<L, A, P, W>,
    spec: RunSpec,
    mut inputs: mpsc::Receiver<Input>,
) -> Ending {
    let task_id = spec.task_id.clone();
    let mut run = Run::new(spec, ports.clock.now());
    let mut fetching: Pending<Result<_, ProjectError>> = None;
    let mut spawning: Pending<Result<A::Process, String>> = None;
    let mut appending: Pending<Result<(), LogError>> = None;
    let mut process: Option<A::Process> = None;
    let mut orphaned = false;
    loop {
        while let Some(effect) = run.poll() {
            tracing::trace!(?effect);
            match effect {
                Effect::Fetch(project) => {
                    let projects = ports.projects.clone();
                    fetching = Some(Box::pin(async move { projects.fetch(&project).await }));
                }
                Effect::Spawn(spawn) => {
                    let agents = ports.agents.clone();
                    spawning = Some(Box::pin(async move { agents.spawn(*spawn).await }));
                }
                Effect::Signal(signal) => {
                    if let Some(process) = &mut process {
                        process.signal(signal);
                    }
                }
                Effect::Append(values) => {
                    appending = Some(Box::pin(append(ports.log.clone(), task_id.clone(), values)));
                }
                Effect::End(ending) => {
                    if is(Mutant::SigtermTakenForExit) {
                        std::mem::forget(process.take());
                    }
                    return ending;
                }
            }
        }
        let input = tokio::select! {
            biased;
            input = inputs.recv(), if !orphaned => input.unwrap_or_else(|| {
                orphaned = true;
                Input::Abandon
            }),
            () = ports.clock.until(run.deadline()) => Input::Timeout,
            answer = done(&mut appending) => {
                if let Err(error) = &answer {
                    tracing::warn!(%error, "could not append lines; trying again");
                }
                Input::Appended(answer.map_err(|error| error.to_string()))
            }
            answer = done(&mut fetching) => {
                if let Err(error) = &answer {
                    tracing::warn!(%error, "could not fetch the project's config");
                }
                Input::Fetched(answer.map_err(unfetched))
            }
            answer = done(&mut spawning) => match answer {
                Ok(spawned) => {
                    process = Some(spawned);
                    Input::Spawned(Ok(()))
                }
                Err(why) => Input::Spawned(Err(why)),
            },
            input = next_event(&mut process), if run.wants_output() => input,
        };
        if is(Mutant::StopAwaitsLine) && matches!(input, Input::Stop(_)) && process.is_some() {
            run.handle(next_event(&mut process).await, ports.clock.now());
        }
        run.handle(input, ports.clock.now());
    }
}

async fn next_event<P: Process>(process: &mut Option<P>) -> Input {
    let Some(living) = process else { return std::future::pending().await };
    match living.next().await {
        ProcessEvent::Output(stream, bytes) => Input::Output(stream, bytes),
        ProcessEvent::Exited(exit) => {
            *process = None;
            tracing::debug!(status = %exit.status, survivors_killed = exit.survivors_killed, "exited");
            Input::Exited(exit)
        }
        ProcessEvent::Lost => {
            *process = None;
            tracing::warn!("the process was lost, with its keeper or with the claims: the attempt counts");
            Input::Lost
        }
    }
}

async fn append<L: Log>(log: L, key: TaskId, values: Values) -> Result<(), LogError> {
    let batch = Batch { topic: Topic::Progress, key, values };
    log.append(vec![batch], Durability::Written).await.map(drop)
}

fn unfetched(error: ProjectError) -> Unfetched {
    match error {
        ProjectError::Unknown(why) | ProjectError::Unusable(why) => Unfetched::ForGood(why),
        ProjectError::Unavailable(why) => Unfetched::ForNow(why),
    }
}
