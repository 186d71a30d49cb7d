//! A worker over a log, from its directory to its last run. It decides in which order things start and end, and nothing
//! about tasks.

use crate::cli::{Agent, Work};
use crate::report::Failure;
use baton_agent::{ConfiguredProjects, FileProjects, HttpProjects, Subprocesses};
use baton_core::patterns::Patterns;
use baton_core::types::TaskTypes;
use baton_core::worker::WorkerConfig;
use baton_runtime::ports::{Log, LogError, World as _};
use baton_runtime::worker::{self, Membership, Shutdown};
use baton_runtime::world::SystemWorld;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the worker has to end its agents when another part has failed for good.
const LAST_RUNS: Duration = Duration::from_secs(5);

/// A worker that runs.
pub struct Working {
    running: JoinHandle<Result<(), LogError>>,
    told: watch::Sender<Shutdown>,
}

impl Working {
    /// Joins the group, and begins.
    pub fn start<L: Log>(
        log: L,
        agents: Subprocesses,
        projects: ConfiguredProjects,
        membership: Membership,
        config: WorkerConfig,
    ) -> Self {
        let told = watch::Sender::new(Shutdown::No);
        let running = worker::run(log, agents, projects, SystemWorld, membership, config, told.subscribe());
        Self { running: tokio::spawn(running), told }
    }

    /// Tells it to end.
    pub fn tell(&self, how: Shutdown) {
        self.told.send_replace(how);
        match how {
            Shutdown::No => {}
            Shutdown::Drain => tracing::info!(
                "ending: no new task is taken, running ones go on; the same signal again hands them back at once"
            ),
            Shutdown::Now => tracing::info!("ending at once: running tasks are handed back"),
        }
    }

    /// How it has ended.
    pub async fn ended(&mut self) -> Result<(), Failure> {
        match (&mut self.running).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::unreachable(format!("the worker ended: {error}"))),
            Err(error) => Err(Failure::unreachable(format!("the worker broke: {error}"))),
        }
    }

    /// Ends it as something else has failed. Whatever is left of it then goes with this process.
    pub async fn abandon(&mut self) {
        if !self.running.is_finished() {
            self.told.send_replace(Shutdown::Now);
            let _ = timeout(LAST_RUNS, &mut self.running).await;
        }
    }
}

/// The task types that the options name.
pub fn read_types(file: Option<&Path>) -> Result<TaskTypes, Failure> {
    let Some(file) = file else { return Ok(TaskTypes::default()) };
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("could not read --types {shown}: {error}")))?;
    let more = TaskTypes::from_toml(&text).map_err(|error| Failure::usage(format!("{shown}: {}", error.trim_end())))?;
    Ok(TaskTypes::default().extended_by(more))
}

/// Where the projects' configs come from.
pub fn open_projects(agent: &Agent) -> Result<ConfiguredProjects, Failure> {
    match (&agent.projects, &agent.projects_url) {
        (Some(file), _) => FileProjects::open(file).map(ConfiguredProjects::File).map_err(Failure::usage),
        (None, Some(url)) => HttpProjects::new(url).map(ConfiguredProjects::Http).map_err(Failure::usage),
        (None, None) => Err(Failure::usage(
            "there are no projects: give --projects FILE (project name to config) or --projects-url URL\n\
             \n  echo '{\"default\": {}}' > projects.json    makes one for --projects projects.json",
        )),
    }
}

/// How the worker works.
pub fn worker_config(agent: &Agent, work: &Work, types: TaskTypes) -> Result<WorkerConfig, Failure> {
    let random = SystemWorld.random();
    let patterns = Patterns::with(&work.redact_pattern);
    Ok(WorkerConfig {
        slots: work.slots as usize,
        agent: agent.agent.0.clone(),
        types,
        max_attempts: work.max_attempts,
        grace: work.grace,
        drain_timeout: work.drain_timeout,
        patterns: patterns.map_err(|error| Failure::usage(format!("--redact-pattern: {error}")))?,
        max_line: work.max_line,
        seed: u64::from_le_bytes(random[..8].try_into().expect("eight of sixteen bytes")),
    })
}

/// A missing program fails each task, with a reason; whoever starts Baton should know before. It may still be installed.
pub fn look_for(agent: &Agent) {
    let Some(program) = agent.agent.0.first() else { return };
    if !is_program(program) {
        tracing::warn!(program, "there is no such program; until there is, tasks will fail (it is given by --agent)");
    }
}

/// Whether a process can be made of it: as a path, or by PATH.
pub fn is_program(program: &str) -> bool {
    let can_run = |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return can_run(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| can_run(&directory.join(program)))
}
