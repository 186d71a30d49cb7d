//! Who belongs to a run, and how all of them are ended: children, grandchildren, and daemons that left the group.
//!
//! Baton is a child subreaper, so whoever loses its parent becomes Baton's own child; and every process of a run
//! inherits a mark in its environment. A process that wiped its environment, and left its group, and still has a
//! living parent outside of the run is the one kind that is not found.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The variable that marks every process of a run: it holds the run's own directory.
pub const MARK: &str = "BATON_RUN";

/// How long a sweep goes on killing what makes new processes as fast as it is killed.
const SWEEP_FOR: Duration = Duration::from_secs(5);
/// How long it waits between looks, for the kernel to take the killed ones away.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// The main processes of the runs that live: they are reaped by their runs alone.
#[derive(Debug, Default)]
pub struct Families(Mutex<BTreeMap<u32, PathBuf>>);

impl Families {
    /// Held while a process is made, so that no sweep takes it for an orphan before its mark is in place.
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything of the run whose main process is `main`, which has exited but was not reaped, so that its number
    /// can't be another's yet; then reaps it. Returns whether anything else was still there.
    pub fn end(&self, main: Pid, mark: &Path) -> bool {
        let (mut survivors, until) = (false, Instant::now() + SWEEP_FOR);
        loop {
            let found = self.sweep(main, mark);
            if found == 0 {
                break;
            }
            survivors = true;
            let _ = kill_process_group(main, Signal::KILL);
            if Instant::now() >= until {
                tracing::error!(pid = number(main), found, "processes of a run can't be killed");
                break;
            }
            std::thread::sleep(LOOK_AGAIN_AFTER);
        }
        let _ = waitid(WaitId::Pid(main), WaitIdOptions::EXITED);
        self.lock().remove(&number(main));
        survivors
    }

    /// Kills, once, whatever lives of the run, and reaps what has died of it. Returns how many live.
    fn sweep(&self, main: Pid, mark: &Path) -> usize {
        let known = self.lock();
        let alone = known.values().all(|other| other == mark);
        let (me, group) = (std::process::id(), number(main));
        let mut living = 0;
        for process in processes() {
            if known.contains_key(&process.pid) || process.pid == me {
                continue;
            }
            let child = process.parent == me;
            if process.is_zombie {
                if child {
                    reap(process.pid);
                }
            } else if process.group == group
                || (child && alone)
                || mark_of(process.pid).is_some_and(|found| found == mark)
            {
                kill(process.pid);
                living += 1;
            }
        }
        living
    }
}

/// Ends every process that carries the mark of any run in `runs_dir`: what an earlier Baton left. Returns how many.
pub fn end_leftovers(runs_dir: &Path) -> usize {
    let (mut ended, until) = (0, Instant::now() + SWEEP_FOR);
    let me = std::process::id();
    loop {
        let of_ours =
            |p: &Found| p.pid != me && !p.is_zombie && mark_of(p.pid).is_some_and(|mark| mark.starts_with(runs_dir));
        let left: Vec<Found> = processes().filter(of_ours).collect();
        if left.is_empty() || Instant::now() >= until {
            return ended;
        }
        for process in &left {
            let task =
                mark_of(process.pid).and_then(|mark| mark.file_name().map(|name| name.to_string_lossy().into_owned()));
            tracing::warn!(pid = process.pid, run = task, "ended a process that an earlier worker left");
            kill(process.pid);
        }
        ended += left.len();
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}

struct Found {
    pid: u32,
    parent: u32,
    group: u32,
    is_zombie: bool,
}

fn processes() -> impl Iterator<Item = Found> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| look(entry.file_name().to_str()?.parse().ok()?))
}

/// Reads `/proc/PID/stat`: `pid (name) state ppid pgrp …`; the name may hold anything, even a closing bracket.
fn look(pid: u32) -> Option<Found> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Found { pid, parent, group, is_zombie })
}

fn mark_of(pid: u32) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = [MARK.as_bytes(), b"="].concat();
    let value = environ.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(prefix.as_slice()))?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(value)))
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn reap(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// A process id as `/proc` writes it.
pub fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().cast_unsigned()
}
