//! `baton dev`: API, worker, project config and log in one process, from the lock on the directory to the last watcher.
//! It decides in which order things start and end, and nothing about tasks.

use crate::cli::Dev;
use crate::client::{example, screen};
use crate::identity::identity;
use crate::keeper;
use crate::report::Failure;
use crate::serving::{ServedApi, listen_for_api};
use crate::signals::Signals;
use crate::working::{Working, look_for, open_projects, read_types, worker_config};
use baton_agent::Subprocesses;
use baton_core::presence::Role;
use baton_local::{LocalLog, Options as LogOptions};
use baton_runtime::worker::Membership;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::sleep;

/// How long watchers have for what the worker wrote last, before their connections are closed.
const LAST_UPDATES: Duration = Duration::from_millis(100);

/// What runs, and how to end it.
struct Parts {
    address: SocketAddr,
    api: ServedApi,
    worker: Working,
}

/// Runs until it is told to end.
pub async fn run(options: Dev) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new()?;
    let workbook = options.example.then(example::workbook).transpose()?;
    let mut parts = start(&options).await?;
    let showing = workbook.map(|workbook| {
        let shown = example::show(parts.address, workbook);
        tokio::spawn(async move {
            if let Err(failure) = shown.await {
                tracing::error!(%failure, "the example could not be shown");
            }
        })
    });
    let ended = serve(&mut parts, &mut signals).await;
    if let Some(showing) = showing {
        showing.abort();
    }
    if ended.is_err() {
        parts.worker.abandon().await;
    }
    sleep(LAST_UPDATES).await;
    parts.api.close().await;
    if ended.is_ok() {
        tracing::info!("ended");
    }
    ended.map(|()| ExitCode::SUCCESS)
}

/// From the lock on the directory to the listener, in the order in which a mistake is told soonest.
async fn start(options: &Dev) -> Result<Parts, Failure> {
    let types = read_types(options.types.types.as_deref())?;
    let projects = open_projects(&options.agent)?;
    let (partitions, retention) = (options.log.partitions, options.log.retention);
    let log_options = LogOptions { partitions, retention, ..LogOptions::default() };
    let log = LocalLog::open(&options.data, &log_options).map_err(Failure::unreachable)?;
    let listening = listen_for_api(&options.access).await?.with_agent(&options.agent.agent.0);
    let agents = Subprocesses::open(&keeper::options(options.data.join("runs"), options.work.isolation.into()))
        .map_err(Failure::unreachable)?;
    agents.tell(&types);
    let address = listening.address;
    let api = ServedApi::start(log.clone(), listening, types.clone(), retention, &options.api, identity(Role::Api, ""));
    let membership = Membership { retention, identity: Some(identity(Role::Worker, "")), ..Membership::default() };
    let config = worker_config(&options.agent, &options.work, types)?;
    let worker = Working::start(log, agents, projects, membership, config);
    greet(options, address);
    look_for(&options.agent);
    Ok(Parts { address, api, worker })
}

/// A few lines for people; a line of the log for machines, with the address that was bound.
fn greet(options: &Dev, address: SocketAddr) {
    let agent = shell_words::join(&options.agent.agent.0);
    let (slots, data) = (options.work.slots, options.data.display());
    if !std::io::stderr().is_terminal() {
        tracing::info!(%address, agent, slots, %data, "listening");
        return;
    }
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (bold, dim, plain) = if colour { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
    let slots = if slots == 1 { "one task at a time".into() } else { format!("{slots} tasks at a time") };
    let drain = humantime::format_duration(options.work.drain_timeout);
    screen::remark(&format!(
        "\n  {bold}Baton {version}{plain}  http://{address}\n\n  \
         {dim}agent{plain}  {agent}, {slots}\n  \
         {dim}data{plain}   {data}\n\n  \
         {dim}Ctrl-C ends it: running tasks may go on for {drain}, a second Ctrl-C hands them back at once{plain}\n",
        version = env!("CARGO_PKG_VERSION"),
    ));
}

/// Until everything has ended as it was told to, or something has failed for good.
async fn serve(parts: &mut Parts, signals: &mut Signals) -> Result<(), Failure> {
    loop {
        tokio::select! {
            biased;
            how = signals.next() => {
                parts.api.drain();
                parts.worker.tell(how);
            }
            ended = parts.worker.ended() => return ended,
            failure = parts.api.failed() => return Err(failure),
        }
    }
}
