//! The port `Agents`: makes subprocesses by way of a keeper, and holds its lease. It decides nothing about tasks.

use crate::keeper::{Cgroups, Keeping, Link, Means, Start, Unkept};
use crate::launch::launch;
use crate::leftovers;
use crate::means::Remark;
use crate::private::remove;
use crate::subprocess::Subprocess;
use baton_core::process::Spawn;
use baton_core::types::TaskTypes;
use baton_runtime::ports::Agents;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// How long before another worker may begin the keeper ends everything: what ending may take on a machine that is busy.
/// At most a quarter of the time that is left.
const ENDING_TAKES: Duration = Duration::from_secs(1);

/// Where runs live, and by whom they are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the attempts' own directories. It also marks the processes of this worker: no two workers of
    /// a machine may share it.
    pub runs_dir: PathBuf,
    /// A program that does nothing but [`crate::keeper`], and its arguments.
    pub keeper: (PathBuf, Vec<OsString>),
    /// What keeps the processes of a run together.
    pub isolation: Isolation,
}

/// What is to keep the processes of a run together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The best of what the system lets have.
    #[default]
    Auto,
    /// A PID namespace for each run, or no start.
    Namespace,
    /// A cgroup for each run, or no start; no namespaces.
    Cgroup,
    /// Neither: the processes of a run are found by their parents.
    Process,
}

/// No subprocesses can be made.
#[derive(Debug, thiserror::Error)]
pub enum Unopened {
    /// The runs' directory can't be used.
    #[error("could not use {path} for the runs' own files: {error}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no keeper.
    #[error(transparent)]
    Keeper(#[from] Unkept),
    /// What was asked for is not to be had.
    #[error("runs were to have {wanted} of their own, and can't: {because}")]
    Means {
        /// What was asked for.
        wanted: &'static str,
        /// Why there is none.
        because: String,
    },
}

/// Makes subprocesses.
#[derive(Clone)]
pub struct Subprocesses {
    link: Arc<Link>,
    runs_dir: PathBuf,
    /// The term of the lease in which the run was begun that this handle is for.
    term: Option<u64>,
}

impl Subprocesses {
    /// Ends what an earlier worker left in the same directory, its processes and its files, and starts afresh.
    pub fn open(options: &Options) -> Result<Self, Unopened> {
        let unopened = |error: io::Error| Unopened::Directory { path: options.runs_dir.clone(), error };
        DirBuilder::new().recursive(true).mode(0o711).create(&options.runs_dir).map_err(unopened)?;
        let runs_dir = options.runs_dir.canonicalize().map_err(unopened)?;
        let processes = leftovers::end_all(&runs_dir);
        let mut directories = 0;
        for entry in runs_dir.read_dir().map_err(unopened)? {
            remove(&entry.map_err(unopened)?.path());
            directories += 1;
        }
        if processes + directories > 0 {
            tracing::warn!(processes, directories, "ended and removed what an earlier worker left");
        }
        let (program, arguments) = options.keeper.clone();
        let namespaces = matches!(options.isolation, Isolation::Auto | Isolation::Namespace);
        let cgroups = options.isolation != Isolation::Process;
        let start = Start { program, arguments, runs_dir: runs_dir.clone(), namespaces, cgroups };
        let link = Arc::new(Link::start(start)?);
        let means = link.means();
        check(options.isolation, &means)?;
        Ok(Self { link, runs_dir, term: None })
    }

    /// What the kernel gives for runs.
    pub fn means(&self) -> Means {
        self.link.means()
    }

    /// Says in the log which means are used, and what the types ask for in vain.
    pub fn tell(&self, types: &TaskTypes) {
        let means = self.means();
        for Remark { says, advice } in [means.isolation(), means.limits()] {
            match advice {
                None => tracing::info!("{says}"),
                Some(advice) => tracing::warn!(advice, "{says}"),
            }
        }
        for lacking in means.lacking(types) {
            tracing::warn!("{lacking}");
        }
    }
}

fn check(isolation: Isolation, means: &Means) -> Result<(), Unopened> {
    let wanted = match isolation {
        Isolation::Auto | Isolation::Process => return Ok(()),
        Isolation::Namespace => "PID namespaces",
        Isolation::Cgroup => "cgroups",
    };
    match (&means.keeping, &means.cgroups) {
        (Keeping::Cgroup { because } | Keeping::Descendants { because }, _) if isolation == Isolation::Namespace => {
            Err(Unopened::Means { wanted, because: because.clone() })
        }
        (_, Cgroups::Absent { because }) if isolation == Isolation::Cgroup => {
            Err(Unopened::Means { wanted, because: because.clone() })
        }
        _ => Ok(()),
    }
}

impl Agents for Subprocesses {
    type Process = Subprocess;

    fn for_run(&self) -> Self {
        Self { term: Some(self.link.term()), ..self.clone() }
    }

    async fn spawn(&self, spawn: Spawn) -> Result<Subprocess, String> {
        // What was begun under a term that has ended must not go on under the next.
        let term = self.term.unwrap_or_else(|| self.link.term());
        let (link, runs_dir) = (self.link.clone(), self.runs_dir.clone());
        let launched = spawn_blocking(move || launch(&link, &runs_dir, spawn, term)).await;
        Subprocess::begin(launched.map_err(|error| format!("could not start a process: {error}"))??).await
    }

    fn hold_until(&self, until: Instant) -> Instant {
        // In this order: whoever freezes in between holds for too short a time, and not for too long.
        let boot = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
        let now = Instant::now();
        let left = until.saturating_duration_since(now);
        let ending = ENDING_TAKES.min(left / 4);
        let lives = left.saturating_sub(ending);
        self.link.hold(boot + lives, boot + left);
        // The worker is first, so that nothing is ended of which it does not know why.
        now + lives.saturating_sub(ending / 4)
    }
}
