//! What is there of the runs' processes and files. It looks for the run's own directory, and finds no other run's.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The variables by which Baton marks the processes of runs, and what keeps those.
const MARKS: [&[u8]; 2] = [b"BATON_RUN=", b"BATON_KEEPER="];
/// Sweeps that are made, for what is born while one is made.
const SWEEPS: usize = 20;

/// The agents' processes that live, and the attempts' files that are there.
pub fn leftovers(dir: &Path) -> Vec<String> {
    let processes = marked(dir).into_iter().map(|(pid, words)| format!("process {pid}: {words}"));
    let workers = fs::read_dir(dir.join("workers")).into_iter().flatten().flatten();
    let runs = workers.flat_map(|worker| fs::read_dir(worker.path().join("runs")).into_iter().flatten().flatten());
    processes.chain(runs.map(|run| format!("file {}", run.path().display()))).collect()
}

/// Kills the agents' processes.
pub fn kill(dir: &Path) {
    for _ in 0..SWEEPS {
        let found = marked(dir);
        if found.is_empty() {
            return;
        }
        for (pid, _) in found {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Every process that lives and has a mark with the directory, as each of a run has, and each keeper.
fn marked(dir: &Path) -> Vec<(u32, String)> {
    let mark = dir.as_os_str().as_bytes();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_marked = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| {
            let value = variable.split(|byte| *byte == b'=').nth(1).unwrap_or_default();
            MARKS.iter().any(|name| variable.starts_with(name)) && value.starts_with(mark)
        })
    };
    let words = |pid: u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (pid, String::from_utf8_lossy(&words).replace('\0', " "))
    };
    pids.filter(is_marked).map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn processes_and_files_of_runs_are_found_and_ended() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(leftovers(dir.path()), Vec::<String>::new());
        let run = dir.path().join("workers/anna/runs/task-1");
        fs::create_dir_all(&run).unwrap();
        let mut child = Command::new("sleep").arg("60").env("BATON_RUN", &run).spawn().unwrap();
        let expected = [format!("process {}: sleep 60 ", child.id()), format!("file {}", run.display())];
        // It has its environment once it is the program.
        while leftovers(dir.path()) != expected {
            assert!(child.try_wait().unwrap().is_none());
        }
        let other = tempfile::tempdir().unwrap();
        kill(other.path());
        assert!(child.try_wait().unwrap().is_none());
        kill(dir.path());
        assert!(!child.wait().unwrap().success());
        assert_eq!(leftovers(dir.path()).len(), 1);
    }
}
