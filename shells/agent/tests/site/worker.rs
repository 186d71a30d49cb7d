//! A worker in a process of its own, that may be killed or frozen; and who keeps its runs.

use super::{FIXTURE, PATIENCE, living, misbehave, until};
use baton_agent::Isolation;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use tempfile::TempDir;

/// A worker in a process of its own.
pub struct Worker {
    pub dir: TempDir,
    pub child: Child,
    pub said: Receiver<String>,
}

impl Worker {
    pub fn start(isolation: Isolation) -> Self {
        let dir = TempDir::new().unwrap();
        let kind = format!("{isolation:?}").to_lowercase();
        let mut child = Command::new(FIXTURE)
            .args(["worker", &kind])
            .env("RUNS_DIR", dir.path().join("runs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (say, said) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { dir, child, said }
    }

    /// It may be dead.
    pub fn tell(&mut self, what: &str) {
        let _ = writeln!(self.child.stdin.as_mut().unwrap(), "{what}");
    }

    pub fn hold(&mut self, millis: u64) {
        self.tell(&format!("hold {millis}"));
        let held = self.said.recv_timeout(PATIENCE).unwrap();
        assert!(held.starts_with("held "), "{held}");
    }

    /// The processes of this run are found by their command lines, which name the directory.
    pub fn spawn(&mut self, mode: &str) {
        let command = misbehave(&format!("{mode} --text {}/mark", self.dir.path().display()));
        self.tell(&format!("spawn {command}"));
    }

    pub fn hear(&self, expected: &str) {
        assert_eq!(self.said.recv_timeout(PATIENCE).as_deref(), Ok(expected));
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    pub async fn until_nothing_left(&self) {
        let runs = self.dir.path().join("runs");
        let dir = self.dir.path();
        until("nothing left", || living(dir).is_empty() && is_empty(&runs) && keepers(dir).is_empty()).await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// Whether all that was its is closed, reaped or not.
pub fn is_dead(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

/// The keeper of the runs in this directory, and the guardians, by whether their name is that of a guardian.
pub fn kept_by(dir: &Path) -> Vec<(u32, bool)> {
    let mark = format!("BATON_KEEPER={}", dir.display());
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let ours =
        |pid: &u32| fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| String::from_utf8_lossy(&e).contains(&mark));
    let is_guardian = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c == "baton-guardian\n");
    pids.filter(ours).map(|pid| (pid, is_guardian(pid))).collect()
}

pub fn keepers(dir: &Path) -> Vec<u32> {
    kept_by(dir).into_iter().filter(|(_, is_guardian)| !is_guardian).map(|(pid, _)| pid).collect()
}

pub fn guardians(dir: &Path) -> Vec<u32> {
    kept_by(dir).into_iter().filter(|(_, is_guardian)| *is_guardian).map(|(pid, _)| pid).collect()
}
