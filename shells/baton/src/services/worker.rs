//! `baton worker`: one of a group of workers on Kafka. It ends when its runs have ended, or were handed back.

use crate::cli::WorkerService;
use crate::identity::identity;
use crate::kafka;
use crate::keeper;
use crate::report::Failure;
use crate::serving::{Server, listen};
use crate::signals::Signals;
use crate::working::{Working, look_for, open_projects, read_types, worker_config};
use axum::Router;
use baton_agent::Subprocesses;
use baton_core::presence::Role;
use baton_runtime::worker::Membership;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::process::ExitCode;

/// Runs until it is told to end.
pub async fn run(options: WorkerService) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new()?;
    let types = read_types(options.types.types.as_deref())?;
    let projects = open_projects(&options.agent)?;
    let kafka = kafka::options(&options.kafka, &options.log, !options.no_create_topics, options.session_timeout)?;
    let _lock = lock(&options.runs)?;
    let listening = match options.health {
        Some(at) => Some(listen("--health", at, true).await?),
        None => None,
    };
    let agents = Subprocesses::open(&keeper::options(options.runs.join("runs"), options.work.isolation.into()))
        .map_err(Failure::unreachable)?;
    agents.tell(&types);
    let health = listening.as_ref().map(|listening| tracing::field::display(listening.address));
    let Some(log) = kafka::open(&kafka, &mut signals).await? else { return Ok(ExitCode::SUCCESS) };
    tracing::info!(
        health,
        kafka = kafka.brokers,
        prefix = kafka.topic_prefix,
        group = options.group,
        name = options.name,
        slots = options.work.slots,
        agent = shell_words::join(&options.agent.agent.0),
        "working"
    );
    look_for(&options.agent);
    let name = options.name.unwrap_or_default();
    let membership = Membership {
        group: options.group,
        identity: Some(identity(Role::Worker, &name)),
        name,
        retention: options.log.retention,
        ..Membership::default()
    };
    let config = worker_config(&options.agent, &options.work, types)?;
    let mut worker = Working::start(log, agents, projects, membership, config);
    let mut server = listening.map(|listening| Server::start(listening, Router::new()));
    let ended = work(&mut worker, server.as_mut(), &mut signals).await;
    if ended.is_err() {
        worker.abandon().await;
    }
    if let Some(server) = server {
        server.close().await;
    }
    if ended.is_ok() {
        tracing::info!("ended");
    }
    ended.map(|()| ExitCode::SUCCESS)
}

async fn work(worker: &mut Working, mut server: Option<&mut Server>, signals: &mut Signals) -> Result<(), Failure> {
    loop {
        let failed = async {
            match &mut server {
                Some(server) => server.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            how = signals.next() => {
                if let Some(server) = &server {
                    server.drain();
                }
                worker.tell(how);
            }
            ended = worker.ended() => return ended,
            failure = failed => return Err(failure),
        }
    }
}

/// Takes the directory for this process: a worker ends the processes that it finds marked with its directory, as
/// left by a dead one.
fn lock(directory: &Path) -> Result<File, Failure> {
    let shown = directory.display();
    let unusable =
        |error| Failure::unreachable(format!("could not use --runs {shown} for the runs' own files: {error}"));
    std::fs::create_dir_all(directory).map_err(unusable)?;
    let mut open = OpenOptions::new();
    let file = open.write(true).create(true).truncate(false).open(directory.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
        Err(TryLockError::WouldBlock) => Err(Failure::unreachable(format!(
            "another baton uses {shown}; each worker of a machine needs a directory of its own, given by --runs"
        ))),
    }
}
