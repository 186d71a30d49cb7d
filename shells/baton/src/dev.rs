//! `baton dev`: API, worker, project config and log in one process, from the lock on the directory to the last watcher.
//! It decides in which order things start and end, and nothing about tasks.

use crate::cli::Dev;
use crate::client::{example, screen};
use crate::report::Failure;
use baton_agent::{ConfiguredProjects, FileProjects, HttpProjects, Options as AgentOptions, Subprocesses};
use baton_core::hub::HubConfig;
use baton_core::types::TaskTypes;
use baton_core::worker::WorkerConfig;
use baton_http::Options as HttpOptions;
use baton_local::{LocalLog, Options as LogOptions};
use baton_runtime::api::Api;
use baton_runtime::ports::{LogError, World as _};
use baton_runtime::worker::{self, Membership, Shutdown};
use baton_runtime::world::SystemWorld;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long watchers have for what the worker wrote last, before their connections are closed.
const LAST_UPDATES: Duration = Duration::from_millis(100);
/// How long the worker has to end its agents when another part has failed for good.
const LAST_RUNS: Duration = Duration::from_secs(5);

/// What runs, and how to end it.
struct Parts {
    address: SocketAddr,
    reading: JoinHandle<LogError>,
    working: JoinHandle<Result<(), LogError>>,
    serving: JoinHandle<std::io::Result<()>>,
    worker: watch::Sender<Shutdown>,
    http: baton_http::Shutdown,
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
    if ended.is_err() && !parts.working.is_finished() {
        parts.worker.send_replace(Shutdown::Now);
        // Whatever is left of it then goes with this process.
        let _ = timeout(LAST_RUNS, &mut parts.working).await;
    }
    sleep(LAST_UPDATES).await;
    parts.http.close();
    if !parts.serving.is_finished() {
        // Bounded by the server itself.
        let _ = parts.serving.await;
    }
    if ended.is_ok() {
        tracing::info!("ended");
    }
    ended.map(|()| ExitCode::SUCCESS)
}

/// From the lock on the directory to the listener, in the order in which a mistake is told soonest.
async fn start(options: &Dev) -> Result<Parts, Failure> {
    let types = read_types(options.types.as_deref())?;
    let projects = open_projects(options)?;
    let log_options =
        LogOptions { partitions: options.partitions, retention: options.retention, ..LogOptions::default() };
    let log = LocalLog::open(&options.data, &log_options).map_err(Failure::unreachable)?;
    let agents =
        Subprocesses::open(&AgentOptions { runs_dir: options.data.join("runs") }).map_err(Failure::unreachable)?;
    let unbound = |error| {
        Failure::unreachable(format!("could not listen on {}: {error}; give another --listen address", options.listen))
    };
    let listener = TcpListener::bind(options.listen).await.map_err(unbound)?;
    let address = listener.local_addr().map_err(unbound)?;

    let hub = HubConfig {
        history: options.history,
        history_memory: options.history_memory,
        retention: options.retention,
        max_queued: options.max_queued as usize,
    };
    let api = Api::new(log.clone(), SystemWorld, types.clone(), hub);
    let reading = tokio::spawn({
        let api = api.clone();
        async move { api.run().await }
    });

    let http = baton_http::Shutdown::default();
    let http_options = HttpOptions {
        max_watchers: options.max_watchers as usize,
        ..HttpOptions::for_listener(&listener).map_err(unbound)?
    };
    let router = baton_http::router(api, &http_options, &http, axum::Router::new());
    let serving = tokio::spawn({
        let http = http.clone();
        async move { baton_http::serve(listener, router, &http_options, &http).await }
    });

    let worker = watch::Sender::new(Shutdown::No);
    let config = worker_config(options, types);
    let membership = Membership { retention: options.retention, ..Membership::default() };
    let working = tokio::spawn(worker::run(log, agents, projects, SystemWorld, membership, config, worker.subscribe()));

    greet(options, address);
    look_for(&options.agent.0);
    Ok(Parts { address, reading, working, serving, worker, http })
}

fn read_types(file: Option<&Path>) -> Result<TaskTypes, Failure> {
    let Some(file) = file else { return Ok(TaskTypes::default()) };
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("could not read --types {shown}: {error}")))?;
    let more = TaskTypes::from_toml(&text).map_err(|error| Failure::usage(format!("{shown}: {}", error.trim_end())))?;
    Ok(TaskTypes::default().extended_by(more))
}

fn open_projects(options: &Dev) -> Result<ConfiguredProjects, Failure> {
    match (&options.projects, &options.projects_url) {
        (Some(file), _) => FileProjects::open(file).map(ConfiguredProjects::File).map_err(Failure::usage),
        (None, Some(url)) => HttpProjects::new(url).map(ConfiguredProjects::Http).map_err(Failure::usage),
        (None, None) => Err(Failure::usage(
            "there are no projects: give --projects FILE (project name to config) or --projects-url URL\n\
             \n  echo '{\"default\": {}}' > projects.json && baton dev --projects projects.json",
        )),
    }
}

fn worker_config(options: &Dev, types: TaskTypes) -> WorkerConfig {
    let random = SystemWorld.random();
    WorkerConfig {
        slots: options.slots as usize,
        agent: options.agent.0.clone(),
        types,
        max_attempts: options.max_attempts,
        grace: options.grace,
        drain_timeout: options.drain_timeout,
        max_line: options.max_line,
        seed: u64::from_le_bytes(random[..8].try_into().expect("eight of sixteen bytes")),
    }
}

/// A few lines for people; a line of the log for machines, with the address that was bound.
fn greet(options: &Dev, address: SocketAddr) {
    let agent = shell_words::join(&options.agent.0);
    let data = options.data.display();
    if !std::io::stderr().is_terminal() {
        tracing::info!(%address, agent, slots = options.slots, %data, "listening");
        return;
    }
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (bold, dim, plain) = if colour { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
    let slots =
        if options.slots == 1 { "one task at a time".into() } else { format!("{} tasks at a time", options.slots) };
    let drain = humantime::format_duration(options.drain_timeout);
    screen::remark(&format!(
        "\n  {bold}Baton {version}{plain}  http://{address}\n\n  \
         {dim}agent{plain}  {agent}, {slots}\n  \
         {dim}data{plain}   {data}\n\n  \
         {dim}Ctrl-C ends it: running tasks may go on for {drain}, a second Ctrl-C hands them back at once{plain}\n",
        version = env!("CARGO_PKG_VERSION"),
    ));
}

/// A missing program fails each task, with a reason; whoever starts Baton should know before. It may still be installed.
fn look_for(agent: &[String]) {
    let Some(program) = agent.first() else { return };
    let is_program = |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let found = if program.contains('/') {
        is_program(Path::new(program))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| is_program(&directory.join(program)))
    };
    if !found {
        tracing::warn!(program, "there is no such program; until there is, tasks will fail (it is given by --agent)");
    }
}

/// SIGTERM and SIGINT mean the same.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::unreachable(format!("could not listen for signals: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Until everything has ended as it was told to, or something has failed for good.
async fn serve(parts: &mut Parts, signals: &mut Signals) -> Result<(), Failure> {
    let mut told = Shutdown::No;
    loop {
        tokio::select! {
            biased;
            () = signals.next() => {
                told = if told == Shutdown::No { Shutdown::Drain } else { Shutdown::Now };
                parts.http.drain();
                parts.worker.send_replace(told);
                if told == Shutdown::Drain {
                    tracing::info!("ending: no new task is taken, running ones go on; the same signal again hands them back at once");
                } else {
                    tracing::info!("ending at once: running tasks are handed back");
                }
            }
            worked = &mut parts.working => return match worked {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Failure::unreachable(format!("the worker ended: {error}"))),
                Err(error) => Err(Failure::unreachable(format!("the worker broke: {error}"))),
            },
            read = &mut parts.reading => return match read {
                Ok(error) => Err(Failure::unreachable(format!("the API can't read the log: {error}"))),
                Err(error) => Err(Failure::unreachable(format!("the API broke: {error}"))),
            },
            served = &mut parts.serving => {
                let why = served.map_or_else(|error| error.to_string(), |ended| ended.err().map_or_else(String::new, |e| e.to_string()));
                return Err(Failure::unreachable(format!("the server ended: {why}")));
            }
        }
    }
}
