//! Simulated agents: processes that are scripts, and a table of those that live, as a kernel has one.

use baton_core::id::TaskId;
use baton_core::process::{Exit, ExitStatus, Signal, Spawn, Stream};
use baton_runtime::ports::{Agents, Process, ProcessEvent};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What a simulated agent does next.
#[derive(Clone, Debug)]
pub enum Act {
    /// Writes to standard output.
    Print(&'static str),
    /// Writes to standard error.
    Complain(&'static str),
    /// Does nothing for a while.
    Wait(Duration),
    /// Takes no notice of SIGTERM from here on.
    IgnoreTerm,
    /// Exits with this code.
    Exit(i32),
}

/// Does nothing for longer than any simulation lasts.
pub const SILENCE: Act = Act::Wait(Duration::from_hours(24 * 365));

type Script = dyn Fn(&Spawn) -> Vec<Act> + Send + Sync;

/// What the agents of one machine do, and which of them live.
#[derive(Clone)]
pub struct SimAgents {
    script: Arc<Script>,
    table: Table,
}

/// The processes that live: each by its task and attempt.
#[derive(Clone, Default)]
pub struct Table(Arc<Mutex<BTreeSet<(TaskId, u32)>>>);

impl Table {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<(TaskId, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many processes live.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none lives.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

impl SimAgents {
    /// Agents that do what `script` says for each spawn.
    pub fn new(script: impl Fn(&Spawn) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), table: Table::default() }
    }

    /// The processes that live.
    pub const fn table(&self) -> &Table {
        &self.table
    }
}

impl Agents for SimAgents {
    type Process = SimProcess;

    async fn spawn(&self, spawn: Spawn) -> Result<SimProcess, String> {
        let me = (spawn.task_id.clone(), spawn.attempt);
        let acts = (self.script)(&spawn).into();
        assert!(self.table.lock().insert(me.clone()), "{me:?} was spawned twice");
        let table = self.table.clone();
        Ok(SimProcess { acts, busy_until: Instant::now(), stubborn: false, signal: None, me, table })
    }

    fn hold_until(&self, _: Instant) {}
}

/// A simulated process.
pub struct SimProcess {
    acts: VecDeque<Act>,
    busy_until: Instant,
    stubborn: bool,
    signal: Option<Signal>,
    me: (TaskId, u32),
    table: Table,
}

impl SimProcess {
    fn exit(&self, status: ExitStatus) -> ProcessEvent {
        self.table.lock().remove(&self.me);
        ProcessEvent::Exited(Exit { status, survivors_killed: false })
    }
}

impl Process for SimProcess {
    async fn next(&mut self) -> ProcessEvent {
        loop {
            match self.signal {
                Some(Signal::Kill) => return self.exit(ExitStatus::Signal(9)),
                Some(Signal::Terminate) if !self.stubborn => return self.exit(ExitStatus::Signal(15)),
                _ => {}
            }
            sleep_until(self.busy_until).await;
            match self.acts.pop_front() {
                Some(Act::Print(text)) => return ProcessEvent::Output(Stream::Stdout, text.as_bytes().into()),
                Some(Act::Complain(text)) => return ProcessEvent::Output(Stream::Stderr, text.as_bytes().into()),
                Some(Act::Wait(time)) => self.busy_until += time,
                Some(Act::IgnoreTerm) => self.stubborn = true,
                Some(Act::Exit(code)) => return self.exit(ExitStatus::Code(code)),
                None => return self.exit(ExitStatus::Code(0)),
            }
        }
    }

    fn signal(&mut self, signal: Signal) {
        // SIGKILL is never taken back by a SIGTERM that comes after it.
        if self.signal != Some(Signal::Kill) {
            self.signal = Some(signal);
        }
    }
}

impl Drop for SimProcess {
    fn drop(&mut self) {
        self.table.lock().remove(&self.me);
    }
}
