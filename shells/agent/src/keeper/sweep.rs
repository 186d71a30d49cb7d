//! The end of everything that descends from this process: of the guardian of a run, or of the keeper. Only what the kernel
//! says counts: nothing is left when there is no child to wait for any more, as all orphans become this process's children.

use super::cgroup::Cgroup;
use super::kernel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// How long is waited for the kernel to take away what was killed. What it holds for longer hangs in a call of its own, as
/// on a file system that is gone.
const SWEEP_FOR: Duration = Duration::from_secs(5);
/// How long until the next look, where there is no namespace and something may have forked its way out of the last one.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// What a sweep met.
#[derive(Clone, Copy, Debug, Default)]
pub struct Swept {
    /// Something lived.
    pub survivors: bool,
    /// Something still does.
    pub stuck: bool,
}

/// Kills and reaps everything that descends from this process, and what is in the run's cgroup, where it has one. `children` is
/// [`kernel::signals_of_children`].
pub fn sweep(children: BorrowedFd<'_>, cgroup: Option<&Cgroup>) -> Swept {
    let until = Instant::now() + SWEEP_FOR;
    let mut swept = Swept::default();
    loop {
        match reap() {
            Reaped::All => return swept,
            Reaped::SomeLive if Instant::now() >= until => return Swept { stuck: true, ..swept },
            Reaped::SomeLive => swept.survivors = true,
        }
        if getpid().is_init() {
            kernel::kill_namespace();
            wait_for(children, SWEEP_FOR);
        } else {
            if let Some(cgroup) = cgroup {
                cgroup.kill();
            }
            // Root may leave a cgroup, and a descendant of this process it stays.
            for pid in descendants(getpid(), &HashSet::new()) {
                let _ = kill_process(pid, Signal::KILL);
            }
            wait_for(children, LOOK_AGAIN_AFTER);
        }
    }
}

enum Reaped {
    All,
    SomeLive,
}

fn reap() -> Reaped {
    loop {
        match next_dead() {
            Ok(Some(_)) => {}
            Ok(None) => return Reaped::SomeLive,
            Err(_) => return Reaped::All,
        }
    }
}

/// Reaps a child that is dead. `Ok(None)`: there are only living ones; an error: there are none.
pub fn next_dead() -> Result<Option<(Pid, WaitStatus)>, Errno> {
    rustix::io::retry_on_intr(|| wait(WaitOptions::NOHANG))
}

/// Until a child may have ended, at most so long. It may come back too early.
fn wait_for(children: BorrowedFd<'_>, at_most: Duration) {
    let timeout = Timespec::try_from(at_most).ok();
    let _ = poll(&mut [PollFd::new(&children, PollFlags::IN)], timeout.as_ref());
    forget(children);
}

/// Takes what was said of children that have ended: they are looked for all the same.
pub fn forget(children: BorrowedFd<'_>) {
    let mut said = [0; 1024];
    while rustix::io::read(children, &mut said).is_ok_and(|read| read > 0) {}
}

/// Everything that descends from `ancestor` and lives, but these and what descends from them.
pub fn descendants(ancestor: Pid, except: &HashSet<Pid>) -> Vec<Pid> {
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for (pid, parent) in fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((Pid::from_raw(pid)?, parent_of(pid)?))
    }) {
        children.entry(parent).or_default().push(pid);
    }
    let (mut found, mut next) = (Vec::new(), vec![ancestor]);
    while let Some(parent) = next.pop() {
        let of_parent = children.remove(&parent).into_iter().flatten().filter(|pid| !except.contains(pid));
        for pid in of_parent {
            found.push(pid);
            next.push(pid);
        }
    }
    found
}

/// Reads `/proc/PID/stat`: `pid (name) state ppid …`; the name may hold anything, even a closing bracket.
fn parent_of(pid: i32) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Pid::from_raw(stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?)
}
