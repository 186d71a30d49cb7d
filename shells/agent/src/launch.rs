//! What a run is started with: its directory, its output's ends, its limits and its user, all made and looked up by the worker, so
//! that its guardian only has to do as it is told.

use crate::accounts::Account;
use crate::keeper::{Bounds, Cgroups, Channel, Limit, LimitKind, Link, Order, Outfit};
use crate::private::PrivateDir;
use crate::subprocess::{Launched, Output};
use crate::terminal;
use baton_core::limits::Limits;
use baton_core::process::Spawn;
use rustix::fs::{MemfdFlags, memfd_create};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// How much CPU time a process has that was told that its time is over, in seconds.
const TIDIES_UP_FOR: u64 = 5;

/// Has the keeper begin a run, in this term; once that has ended the run is lost. Blocks: it writes files, and the keeper may be
/// busy. The error is a sentence for the task's owner.
pub fn launch(link: &Link, runs_dir: &Path, spawn: Spawn, term: u64) -> Result<Launched, String> {
    let dir = PrivateDir::place(runs_dir, &spawn);
    // A worker that was frozen must not make files of what goes on elsewhere by now.
    if link.lasts(term) {
        match begin(link, runs_dir, spawn, term) {
            // The keeper has taken them away.
            Err(_) if !link.lasts(term) => {}
            begun => return begun,
        }
    }
    lost(dir).map_err(|error| unmade(&error))
}

/// What is at hand of a run that never begins: everything of it has an end.
fn lost(dir: PathBuf) -> io::Result<Launched> {
    let ((channel, _), (output, _)) = (Channel::pair()?, pipes()?);
    Ok(Launched { channel, output, dir })
}

fn unmade(error: &io::Error) -> String {
    format!("could not make what a process is started with: {error}")
}

fn begin(link: &Link, runs_dir: &Path, mut spawn: Spawn, term: u64) -> Result<Launched, String> {
    let unmade = |error: io::Error| unmade(&error);
    let account = spawn.launch.user.as_deref().map(Account::find).transpose()?.flatten();
    let dir = PrivateDir::make(runs_dir, &spawn)?;
    let (limits, bounds) = apart(&spawn.limits, &link.means().cgroups);
    let directory = spawn.launch.directory.take().map(CString::new).transpose();
    let mut outfit = Outfit {
        limits,
        nice: spawn.launch.nice.map(i32::from),
        umask: spawn.launch.umask.map(|mask| mask.0.into()),
        user: None,
        directory: directory.map_err(|error| format!("the directory to start in: {error}"))?,
    };
    if let Some(account) = &account {
        let user = account.user(&dir.project_file())?;
        dir.give_to(&user).map_err(unmade)?;
        outfit.user = Some(user);
    }
    let order = Order {
        env: dir.environment(&spawn, account.as_ref()),
        argv: dir.argv(&spawn)?,
        dir: dir.path().into(),
        stdin: spawn.stdin,
        terminal: spawn.launch.pty.is_some(),
        outfit,
        bounds,
    };
    let mut file = File::from(memfd_create("baton-order", MemfdFlags::CLOEXEC).map_err(|e| unmade(e.into()))?);
    file.write_all(&serde_json::to_vec(&order).map_err(|e| unmade(e.into()))?).map_err(unmade)?;
    let (output, [stdout, stderr]) = match spawn.launch.pty {
        None => pipes(),
        Some(size) => terminal::make(size).and_then(|(ours, theirs)| {
            let both = [theirs.try_clone()?, theirs];
            Ok((Output::Terminal(ours), both))
        }),
    }
    .map_err(unmade)?;
    let (channel, guardians_channel) = Channel::pair().map_err(unmade)?;
    let descriptors = [guardians_channel.as_fd(), file.as_fd(), stdout.as_fd(), stderr.as_fd()];
    link.run(term, dir.path().into(), &descriptors).map_err(|error| error.to_string())?;
    // From here on its guardian removes it.
    Ok(Launched { channel, output, dir: dir.hand_over() })
}

/// The reading ends, and the agent's.
fn pipes() -> io::Result<(Output, [OwnedFd; 2])> {
    let (stdout, agents_stdout) = io::pipe()?;
    let (stderr, agents_stderr) = io::pipe()?;
    let output = Output::Pipes { stdout: stdout.into(), stderr: stderr.into() };
    Ok((output, [agents_stdout.into(), agents_stderr.into()]))
}

/// What is limited for each process, and what for all of a run together, as far as there are controllers for that.
pub fn apart(limits: &Limits, cgroups: &Cgroups) -> (Vec<Limit>, Bounds) {
    let (memory, pids) = match cgroups {
        Cgroups::There { memory, pids } => (*memory, *pids),
        Cgroups::Absent { .. } => (false, false),
    };
    let size = limits.memory.map(|size| size.0);
    let bounds = Bounds { memory: size.filter(|_| memory), processes: limits.processes.filter(|_| pids) };
    let each = |kind, most: Option<u64>| most.map(|most| Limit { kind, soft: most, hard: most });
    let cpu = limits.cpu_time.map(|time| time.0.as_secs());
    let limits = [
        each(LimitKind::Memory, size.filter(|_| !memory)),
        cpu.map(|cpu| Limit { kind: LimitKind::CpuTime, soft: cpu, hard: cpu + TIDIES_UP_FOR }),
        each(LimitKind::OpenFiles, limits.open_files),
        each(LimitKind::Processes, limits.processes.filter(|_| !pids)),
        each(LimitKind::FileSize, limits.file_size.map(|size| size.0)),
        each(LimitKind::CoreDumps, (!limits.core_dumps).then_some(0)),
    ];
    (limits.into_iter().flatten().collect(), bounds)
}
