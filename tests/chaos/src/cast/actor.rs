//! One of Baton's processes, in one life after another. Its log is one file for all of them.

use crate::Result;
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A process that can be killed, frozen and started again.
pub struct Actor {
    /// What it is called in everything that is told of it.
    pub name: String,
    /// It is a replica of the API.
    pub is_api: bool,
    log: PathBuf,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    child: Mutex<Option<Child>>,
    over: Arc<AtomicBool>,
}

impl Actor {
    /// It is not started yet. Nor is it once `over` is set.
    pub fn new(
        name: &str,
        is_api: bool,
        log: PathBuf,
        command: Box<dyn Fn() -> Command + Send + Sync>,
        over: Arc<AtomicBool>,
    ) -> Self {
        Self { name: name.to_owned(), is_api, log, command, child: Mutex::default(), over }
    }

    /// Begins a life. Nothing, if it lives.
    pub fn start(&self) -> Result<()> {
        let mut child = self.child();
        if self.over.load(Ordering::SeqCst) {
            return Err("the play is over".into());
        }
        if child.is_none() {
            let mut command = (self.command)();
            let log = File::options().create(true).append(true).open(&self.log)?;
            // A Ctrl-C is for us, and we end the others.
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
            let spawned = baton_broker::spawn(command, Signal::KILL);
            let spawned = spawned.map_err(|error| format!("could not start {}: {error}", self.name))?;
            *child = Some(spawned);
        }
        Ok(())
    }

    /// Its number, if it lives.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// SIGKILL, and waits until it is gone. Nothing, if it does not live.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            // Both fail only for a child that has been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal. Nothing, if it does not live.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = self.child().as_ref() {
            // It may have ended, and not been waited for.
            let _ = rustix::process::kill_process(Pid::from_child(child), signal);
        }
    }

    /// Whether it lives, and SIGTERM would end it as it ends any process: it has just begun.
    pub fn is_young(&self) -> bool {
        self.pid().is_some_and(|pid| !handles(pid, Signal::TERM))
    }

    /// How it ended, if it has, once: then it does not live.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child();
        let status = child.as_mut()?.try_wait().ok()??;
        *child = None;
        Some(status)
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a process handles a signal itself, by the set of those that it catches.
fn handles(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    caught >> (signal.as_raw() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};

    #[test]
    fn a_process_is_young_until_it_handles_sigterm() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r _; trap : TERM; echo handled; read -r _"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        assert!(!handles(shell.id(), Signal::TERM));
        std::io::Write::write_all(shell.stdin.as_mut().unwrap(), b"\n").unwrap();
        let mut said = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(handles(shell.id(), Signal::TERM));
        assert!(!handles(shell.id(), Signal::HUP));
        shell.kill().unwrap();
        shell.wait().unwrap();
    }
}
