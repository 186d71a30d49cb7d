//! One of Baton's processes, in one life after another. Its log is one file for all of them.

use crate::Result;
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a process may take until it handles signals: until then SIGTERM ends it as it ends any.
const YOUTH: Duration = Duration::from_secs(2);

/// A process that can be killed, frozen and started again.
pub struct Actor {
    /// What it is called in everything that is told of it.
    pub name: String,
    /// It is a replica of the API.
    pub is_api: bool,
    log: PathBuf,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    /// And since when it lives.
    child: Mutex<Option<(Child, Instant)>>,
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
            *child = Some((spawned, Instant::now()));
        }
        Ok(())
    }

    /// Its number, if it lives.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(|(child, _)| child.id())
    }

    /// SIGKILL, and waits until it is gone. Nothing, if it does not live.
    pub fn kill(&self) {
        if let Some((mut child, _)) = self.child().take() {
            // Both fail only for a child that has been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal. Nothing, if it does not live.
    pub fn signal(&self, signal: Signal) {
        if let Some((child, _)) = self.child().as_ref() {
            // It may have ended, and not been waited for.
            let _ = rustix::process::kill_process(Pid::from_child(child), signal);
        }
    }

    /// Whether it lives, and has lived for so short that it may not have heard of signals yet.
    pub fn is_young(&self) -> bool {
        self.child().as_ref().is_some_and(|(_, since)| since.elapsed() < YOUTH)
    }

    /// How it ended, if it has, once: then it does not live.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child();
        let status = child.as_mut()?.0.try_wait().ok()??;
        *child = None;
        Some(status)
    }

    fn child(&self) -> MutexGuard<'_, Option<(Child, Instant)>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
