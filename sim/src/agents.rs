//! Simulated machines: a keeper, and agents' processes that are scripts, with their files. They live on a node of their own, so
//! that they go on when their worker is killed or frozen; then the keeper ends and removes them, as the shipped one does.

use crate::event::{Event, Node};
use crate::journal::Journal;
use crate::life::Life;
use baton_core::id::TaskId;
use baton_core::process::{Exit, ExitStatus, Signal, Spawn, Stream};
use baton_runtime::ports::{Agents, Process, ProcessEvent};
use bytes::Bytes;
use madsim::runtime::{Handle, NodeHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// How many chunks of output a pipe holds before whoever writes has to wait.
const PIPE: usize = 4;
/// How long the keeper takes to notice that its worker died, and to end what it left.
const REAPING: Duration = Duration::from_millis(20);

/// What a simulated agent does next.
#[derive(Clone, Debug)]
pub enum Act {
    /// Writes to standard output.
    Print(Bytes),
    /// Writes to standard error.
    Complain(Bytes),
    /// Does nothing for a while.
    Wait(Duration),
    /// Writes a line each time this has passed, for ever.
    Chatter(Duration),
    /// Takes no notice of SIGTERM from here on.
    IgnoreTerm,
    /// From here on a child holds the pipe, and lives on for this long after its parent.
    LeaveChild(Duration),
    /// Crashes its worker, and not for the first time: poison.
    CrashWorker,
    /// Exits with this code.
    Exit(i32),
    /// Dies by this signal, which nobody else sent.
    Die(i32),
}

/// Does nothing for longer than any simulation lasts.
pub const SILENCE: Act = Act::Wait(Duration::from_hours(24 * 365));

/// What the agents of a world do, by what is spawned.
pub type Script = dyn Fn(&Spawn) -> Result<Vec<Act>, String> + Send + Sync;

/// One machine. Clones are the same.
#[derive(Clone)]
pub struct Machine(Arc<Shared>);

struct Shared {
    node: NodeHandle,
    name: Node,
    journal: Journal,
    script: Arc<Script>,
    /// How long the kernel takes to make a process, and how long one takes to die.
    spawning: Duration,
    dying: Duration,
    /// How a process crashes its worker.
    crash: Box<dyn Fn() + Send + Sync>,
    state: Mutex<State>,
    /// Told of every process that is gone.
    gone: watch::Sender<()>,
    /// How many faults freeze it: they may overlap.
    frozen: AtomicU32,
}

#[derive(Default)]
struct State {
    made: u64,
    processes: BTreeMap<u64, Known>,
    /// The attempts whose files are there.
    files: BTreeSet<(TaskId, u32)>,
    /// Until when the processes may live, and which is the life that says so.
    held_until: Option<Instant>,
    /// The number of the lease's term: what was asked for in an earlier one begins no more.
    term: u64,
}

/// How a process ended, as its worker hears it.
#[derive(Clone, Debug)]
enum Ended {
    ByItself(Exit),
    /// With its keeper, or with the lease.
    Lost,
}

/// A process as its keeper knows it.
struct Known {
    attempt: (TaskId, u32),
    sent: watch::Sender<Option<Signal>>,
    /// What keeps it ends it.
    lost: bool,
}

impl Machine {
    /// A machine whose processes run on `node`, do what `script` says, and can `crash` their worker. The times are those that
    /// it takes to make a process, and to end one.
    pub fn new(
        node: NodeHandle,
        name: Node,
        journal: Journal,
        script: Arc<Script>,
        (spawning, dying): (Duration, Duration),
        crash: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            node,
            name,
            journal,
            script,
            spawning,
            dying,
            crash: Box::new(crash),
            state: Mutex::default(),
            gone: watch::Sender::new(()),
            frozen: AtomicU32::new(0),
        };
        Self(Arc::new(shared))
    }

    /// The agents port of a worker that lives here.
    pub fn agents(&self, life: Life) -> SimAgents {
        SimAgents { machine: self.clone(), life }
    }

    /// The world is over: drops what its processes are made of.
    pub fn end(&self) {
        Handle::current().kill(self.0.node.id());
        self.state().processes.clear();
    }

    /// Everything on it stands still, its keeper too, until [`Self::thaw`] was called as often.
    pub fn freeze(&self) {
        if self.0.frozen.fetch_add(1, Ordering::Relaxed) == 0 {
            self.0.journal.note(self.0.name, Event::Frozen);
            Handle::current().pause(self.0.node.id());
        }
    }

    /// It goes on, if nothing else freezes it.
    pub fn thaw(&self) {
        if self.0.frozen.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.journal.note(self.0.name, Event::Thawed);
            Handle::current().resume(self.0.node.id());
        }
    }

    /// The keeper is killed, and with it all runs. The worker starts another at once, for the claims that it has.
    pub fn keeper_dies(&self) {
        self.0.journal.note(self.0.name, Event::Note("the keeper is killed".into()));
        self.state().term += 1;
        self.clear();
    }

    /// The worker is dead: its keeper ends what it left.
    pub fn worker_died(&self) {
        let machine = self.clone();
        self.0.node.spawn(async move {
            sleep(REAPING).await;
            machine.clear();
        });
    }

    /// What a worker does at its start: nothing that an earlier one left may live.
    pub async fn sweep(&self) {
        let mut gone = self.0.gone.subscribe();
        self.clear();
        while !self.state().processes.is_empty() {
            let _ = gone.changed().await;
        }
    }

    /// Kills all processes; their files go with them, and those of processes that were never made at once.
    fn clear(&self) {
        let mut state = self.state();
        for process in state.processes.values_mut() {
            process.lost = true;
            process.sent.send_replace(Some(Signal::Kill));
        }
        let has_process =
            |attempt: &&(TaskId, u32)| state.processes.values().any(|process| process.attempt == **attempt);
        let orphaned: Vec<_> = state.files.iter().filter(|attempt| !has_process(attempt)).cloned().collect();
        drop(state);
        for attempt in &orphaned {
            self.remove_files(attempt);
        }
    }

    fn make_files(&self, attempt: &(TaskId, u32)) {
        if self.state().files.insert(attempt.clone()) {
            self.0.journal.note(self.0.name, Event::FilesMade(attempt.0.clone(), attempt.1));
        }
    }

    fn remove_files(&self, attempt: &(TaskId, u32)) {
        if self.state().files.remove(attempt) {
            self.0.journal.note(self.0.name, Event::FilesRemoved(attempt.0.clone(), attempt.1));
        }
    }

    /// Processes must be gone by then, whatever becomes of their worker.
    fn hold_until(&self, until: Instant) {
        let first = self.state().held_until.replace(until).is_none();
        if first {
            let machine = self.clone();
            self.0.node.spawn(async move { machine.keep().await });
        }
    }

    /// Whether a process may begin that was asked for in this term.
    fn may_begin(&self, term: u64) -> bool {
        let state = self.state();
        state.term == term && state.held_until.is_some_and(|until| Instant::now() < until)
    }

    async fn keep(&self) {
        loop {
            let Some(until) = self.state().held_until else { return };
            sleep_until(until).await;
            let mut state = self.state();
            if state.held_until == Some(until) {
                state.held_until = None;
                state.term += 1;
                if !state.processes.is_empty() {
                    self.0.journal.note(self.0.name, Event::Note("the keeper's lease ran out".into()));
                }
                drop(state);
                self.clear();
                return;
            }
        }
    }

    fn spawn(&self, files: Files, acts: Vec<Act>, life: Life) -> SimProcess {
        let (signals, signalled) = watch::channel(None);
        let (pipe, output) = mpsc::channel(PIPE);
        let (exit, exited) = watch::channel(None);
        let number = {
            let mut state = self.state();
            state.made += 1;
            let number = state.made;
            let known = Known { attempt: files.attempt.clone(), sent: signals.clone(), lost: false };
            state.processes.insert(number, known);
            number
        };
        let attempt = files.keep();
        self.0.journal.note(self.0.name, Event::Spawned(attempt.0.clone(), attempt.1));
        let body = Body { machine: self.clone(), attempt, signalled, pipe, stubborn: false, child: None };
        self.0.node.spawn(body.live(acts, number, exit));
        SimProcess { signals, output, exited, life }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process as the kernel sees it.
struct Body {
    machine: Machine,
    attempt: (TaskId, u32),
    signalled: watch::Receiver<Option<Signal>>,
    pipe: mpsc::Sender<(Stream, Bytes)>,
    stubborn: bool,
    child: Option<Duration>,
}

impl Body {
    async fn live(mut self, acts: Vec<Act>, number: u64, exit: watch::Sender<Option<Ended>>) {
        let mut signalled = self.signalled.clone();
        let status = self.script(acts).await;
        let by_itself = signalled.borrow_and_update().is_none();
        if let Some(child) = self.child {
            // The keeper gives what holds the pipe a second; SIGKILL to the group ends it sooner.
            let killed = signalled.wait_for(|signal| *signal == Some(Signal::Kill));
            tokio::select! {
                biased;
                _ = killed => {}
                () = sleep(child.min(Duration::from_secs(1))) => {}
            }
        }
        let shared = self.machine.0.clone();
        if !shared.dying.is_zero() {
            sleep(shared.dying).await;
        }
        let (task, attempt) = self.attempt.clone();
        shared.journal.note(shared.name, Event::Gone { task, attempt, status, by_itself });
        let known = self.machine.state().processes.remove(&number);
        self.machine.remove_files(&self.attempt);
        exit.send_replace(Some(match known {
            Some(Known { lost: true, .. }) if !by_itself => Ended::Lost,
            _ => Ended::ByItself(Exit { survivors_killed: self.child.is_some(), ..Exit::of(status) }),
        }));
        shared.gone.send_replace(());
    }

    async fn script(&mut self, acts: Vec<Act>) -> ExitStatus {
        for act in acts {
            let mut signalled = self.signalled.clone();
            let act = tokio::select! {
                biased;
                status = ended_by(&mut signalled, self.stubborn) => return status,
                ended = self.act(act) => ended,
            };
            if let Some(status) = act {
                return status;
            }
        }
        ExitStatus::Code(0)
    }

    async fn act(&mut self, act: Act) -> Option<ExitStatus> {
        match act {
            Act::Print(text) => _ = self.pipe.send((Stream::Stdout, text)).await,
            Act::Complain(text) => _ = self.pipe.send((Stream::Stderr, text)).await,
            Act::Wait(time) => sleep(time).await,
            Act::Chatter(every) => loop {
                sleep(every).await;
                let _ = self.pipe.send((Stream::Stdout, Bytes::from_static(b"still here\n"))).await;
            },
            Act::IgnoreTerm => self.stubborn = true,
            Act::LeaveChild(time) => self.child = Some(time),
            Act::CrashWorker => (self.machine.0.crash)(),
            Act::Exit(code) => return Some(ExitStatus::Code(code)),
            Act::Die(signal) => return Some(ExitStatus::Signal(signal)),
        }
        None
    }
}

/// Waits for a signal that ends the process.
async fn ended_by(signalled: &mut watch::Receiver<Option<Signal>>, stubborn: bool) -> ExitStatus {
    let signal = signalled.wait_for(|signal| match signal {
        Some(Signal::Kill) => true,
        Some(Signal::Terminate) => !stubborn,
        None => false,
    });
    match signal.await.map(|signal| *signal) {
        Ok(Some(Signal::Terminate)) => ExitStatus::Signal(15),
        _ => ExitStatus::Signal(9),
    }
}

/// The files of an attempt whose process is being made: removed, if there will be none.
struct Files {
    machine: Machine,
    attempt: (TaskId, u32),
    life: Life,
    kept: bool,
}

impl Files {
    fn make(machine: &Machine, spawn: &Spawn, life: Life) -> Self {
        let attempt = (spawn.task_id.clone(), spawn.attempt);
        machine.make_files(&attempt);
        Self { machine: machine.clone(), attempt, life, kept: false }
    }

    /// The process lives, and will be buried with its files.
    fn keep(mut self) -> (TaskId, u32) {
        self.kept = true;
        self.attempt.clone()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if !self.kept && self.life.goes_on() {
            self.machine.remove_files(&self.attempt);
        }
    }
}

/// The agents port of one life of a worker.
#[derive(Clone)]
pub struct SimAgents {
    machine: Machine,
    life: Life,
}

impl Agents for SimAgents {
    type Process = SimProcess;

    async fn spawn(&self, spawn: Spawn) -> Result<SimProcess, String> {
        let term = self.machine.state().term;
        let lost = || Ok(SimProcess::lost(self.life.clone()));
        if !self.machine.may_begin(term) {
            return lost();
        }
        let files = Files::make(&self.machine, &spawn, self.life.clone());
        sleep(self.machine.0.spawning).await;
        if !self.machine.may_begin(term) {
            return lost();
        }
        let acts = (self.machine.0.script)(&spawn)?;
        Ok(self.machine.spawn(files, acts, self.life.clone()))
    }

    fn hold_until(&self, until: Instant) -> Instant {
        self.machine.hold_until(until);
        until
    }
}

/// A process as its worker sees it.
pub struct SimProcess {
    signals: watch::Sender<Option<Signal>>,
    output: mpsc::Receiver<(Stream, Bytes)>,
    exited: watch::Receiver<Option<Ended>>,
    life: Life,
}

impl SimProcess {
    /// One that was lost before it lived.
    fn lost(life: Life) -> Self {
        let (_, exited) = watch::channel(Some(Ended::Lost));
        Self { signals: watch::Sender::new(None), output: mpsc::channel(1).1, exited, life }
    }
}

impl Process for SimProcess {
    async fn next(&mut self) -> ProcessEvent {
        // The pipe ends when the process is gone, and then its end is known.
        if let Some((stream, bytes)) = self.output.recv().await {
            return ProcessEvent::Output(stream, bytes);
        }
        match self.exited.wait_for(Option::is_some).await.map(|exit| exit.clone()) {
            Ok(Some(Ended::ByItself(exit))) => ProcessEvent::Exited(exit),
            Ok(Some(Ended::Lost)) => ProcessEvent::Lost,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    fn signal(&mut self, signal: Signal) {
        // SIGKILL is never taken back by a SIGTERM that comes after it.
        self.signals.send_if_modified(|sent| {
            let stronger = *sent != Some(Signal::Kill);
            if stronger {
                *sent = Some(signal);
            }
            stronger
        });
    }
}

impl Drop for SimProcess {
    fn drop(&mut self) {
        if self.life.goes_on() {
            self.signal(Signal::Kill);
        }
    }
}
