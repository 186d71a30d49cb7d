//! The port `Agents`: makes subprocesses by way of a keeper, and holds its lease. It decides nothing about tasks.

use crate::keeper::{Channel, Link, Means, Order, Start, Unkept};
use crate::leftovers;
use crate::private::{PrivateDir, remove};
use crate::subprocess::{Launched, Subprocess};
use baton_core::process::Spawn;
use baton_runtime::ports::Agents;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
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
    /// Whether runs get namespaces of their own where the system lets them.
    pub namespaces: bool,
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
}

/// Makes subprocesses.
#[derive(Clone)]
pub struct Subprocesses {
    link: Arc<Link>,
    runs_dir: PathBuf,
}

impl Subprocesses {
    /// Ends what an earlier worker left in the same directory, its processes and its files, and starts afresh.
    pub fn open(options: &Options) -> Result<Self, Unopened> {
        let unopened = |error: io::Error| Unopened::Directory { path: options.runs_dir.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&options.runs_dir).map_err(unopened)?;
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
        let start = Start { program, arguments, runs_dir: runs_dir.clone(), namespaces: options.namespaces };
        let link = Arc::new(Link::start(start)?);
        tell(&link.means());
        Ok(Self { link, runs_dir })
    }

    /// What keeps the processes of a run together.
    pub fn means(&self) -> Means {
        self.link.means()
    }
}

fn tell(means: &Means) {
    match means {
        Means::Namespaces { user: false } => tracing::info!("each run has a PID namespace"),
        Means::Namespaces { user: true } => {
            tracing::info!(
                "each run has a PID namespace within a user namespace: sudo and its like have no effect in it"
            );
        }
        Means::Descendants { because } => tracing::warn!(
            because,
            "runs have no PID namespaces: a run's processes are found by their parents, and one that forks faster than it \
             is found may live on"
        ),
    }
}

/// Blocks: it writes files, and the keeper may be busy.
fn launch(link: &Link, runs_dir: &std::path::Path, spawn: &Spawn, term: u64) -> Result<Launched, String> {
    let dir = PrivateDir::make(runs_dir, spawn)?;
    let order = Order { argv: spawn.argv.clone(), env: dir.environment(spawn), dir: dir.path().into() };
    let unmade = |error: io::Error| format!("could not make what a process is started with: {error}");
    let mut file = File::from(memfd_create("baton-order", MemfdFlags::CLOEXEC).map_err(|e| unmade(e.into()))?);
    file.write_all(&serde_json::to_vec(&order).map_err(|e| unmade(e.into()))?).map_err(unmade)?;
    let (stdout, agents_stdout) = io::pipe().map_err(unmade)?;
    let (stderr, agents_stderr) = io::pipe().map_err(unmade)?;
    let (channel, guardians_channel) = Channel::pair().map_err(unmade)?;
    let descriptors = [guardians_channel.as_fd(), file.as_fd(), agents_stdout.as_fd(), agents_stderr.as_fd()];
    link.run(term, dir.path().into(), &descriptors).map_err(|error| error.to_string())?;
    // From here on its guardian removes it.
    Ok(Launched { channel, stdout: stdout.into(), stderr: stderr.into(), dir: dir.hand_over() })
}

impl Agents for Subprocesses {
    type Process = Subprocess;

    async fn spawn(&self, spawn: Spawn) -> Result<Subprocess, String> {
        // Before anything that may wait: what was begun under a term that has ended must not go on under the next.
        let term = self.link.term();
        let (link, runs_dir) = (self.link.clone(), self.runs_dir.clone());
        let launched = spawn_blocking(move || launch(&link, &runs_dir, &spawn, term)).await;
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
