//! What an earlier worker left in the same directory, or a guardian that was killed: found by the marks in the environments of
//! processes, and ended. A keeper ends its runs itself; this is for when it could not.

use crate::keeper::{MARK as KEEPER_MARK, end_all_cgroups};
use crate::private::MARK;
use rustix::process::{Pid, Signal, getpid, kill_process};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a sweep goes on killing what makes new processes as fast as it is killed.
const SWEEP_FOR: Duration = Duration::from_secs(5);
/// How long it waits between looks, for the kernel to take the killed ones away.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// Ends every process of any run in `runs_dir`, and the keepers of them. Returns how many.
pub fn end_all(runs_dir: &Path) -> usize {
    let said = |pid: Pid, mark: &Path| {
        let run = mark.file_name().unwrap_or_default().to_string_lossy();
        tracing::warn!(pid = pid.as_raw_nonzero(), %run, "ended a process that an earlier worker left");
    };
    end_all_cgroups(runs_dir);
    // Keepers come last: they reap, and remove what they can.
    end(|mark| mark.starts_with(runs_dir), MARK, said) + end(|mark| mark == runs_dir, KEEPER_MARK, said)
}

/// Ends every process of one run whose guardian is gone.
pub fn end_run(dir: &Path) {
    end(|mark| mark == dir, MARK, |_, _| {});
}

fn end(is_ours: impl Fn(&Path) -> bool, name: &str, said: impl Fn(Pid, &Path)) -> usize {
    let (mut ended, until) = (HashSet::new(), Instant::now() + SWEEP_FOR);
    loop {
        let left: Vec<(Pid, PathBuf)> = marked(name).filter(|(_, mark)| is_ours(mark)).collect();
        if left.is_empty() || Instant::now() >= until {
            return ended.len();
        }
        for (pid, mark) in left {
            let _ = kill_process(pid, Signal::KILL);
            if ended.insert(pid) {
                said(pid, &mark);
            }
        }
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}

/// The processes that carry a mark of this name, but this one. One that is dead and not yet reaped has none.
fn marked(name: &str) -> impl Iterator<Item = (Pid, PathBuf)> {
    let prefix = [name.as_bytes(), b"="].concat();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| *pid != getpid()).filter_map(move |pid| Some((pid, mark_of(pid, &prefix)?)))
}

fn mark_of(pid: Pid, prefix: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let environ = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let value = environ.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(prefix))?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(value)))
}
