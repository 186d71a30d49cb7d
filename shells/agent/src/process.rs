//! One subprocess: its output as it comes, and its exit only when nothing of it is left. Never waits for the end of a
//! pipe alone: a grandchild may hold it for ever.

use crate::family::{Families, end_leftovers};
use crate::spawner::{Made, Spawner, remove};
use baton_core::process::{Exit, ExitStatus, Signal, Spawn, Stream};
use baton_runtime::ports::{Agents, Process, ProcessEvent};
use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_open, waitid};
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// How much is read from a pipe at a time: what Linux pipes hold.
const CHUNK: usize = 64 * 1024;
/// How long output is waited for once everything of the run that could be found is dead, and how much is still taken
/// after that from whoever else holds the pipe.
const DRAIN_FOR: Duration = Duration::from_secs(1);
const DRAIN_BYTES: usize = 1024 * 1024;

/// What is said of a process of which the kernel says nothing.
const KILLED: i32 = rustix::process::Signal::KILL.as_raw();

/// Where runs live.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the attempts' own directories. It also marks the processes of this worker: no two workers of
    /// a machine may share it.
    pub runs_dir: PathBuf,
}

/// The runs' directory can't be used.
#[derive(Debug, thiserror::Error)]
#[error("could not use {path} for the runs' own files: {error}")]
pub struct Unopened {
    path: PathBuf,
    error: io::Error,
}

/// Makes subprocesses. While it lives, this process is a child subreaper, and takes every child that it does not know
/// for an orphan of a run.
#[derive(Clone)]
pub struct Subprocesses {
    spawner: Spawner,
    families: Arc<Families>,
}

impl Subprocesses {
    /// Ends what an earlier worker left in the same directory, its processes and its files, and starts afresh.
    pub fn open(options: &Options) -> Result<Self, Unopened> {
        let unopened = |error: io::Error| Unopened { path: options.runs_dir.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&options.runs_dir).map_err(unopened)?;
        let runs_dir = options.runs_dir.canonicalize().map_err(unopened)?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|e| unopened(e.into()))?;
        let processes = end_leftovers(&runs_dir);
        let mut directories = 0;
        for entry in runs_dir.read_dir().map_err(unopened)? {
            remove(&entry.map_err(unopened)?.path());
            directories += 1;
        }
        if processes + directories > 0 {
            tracing::warn!(processes, directories, "ended and removed what an earlier worker left");
        }
        let families = Arc::<Families>::default();
        let spawner = Spawner::start(runs_dir, families.clone()).map_err(unopened)?;
        Ok(Self { spawner, families })
    }
}

impl Agents for Subprocesses {
    type Process = Subprocess;

    async fn spawn(&self, spawn: Spawn) -> Result<Subprocess, String> {
        let (task, attempt) = (spawn.task_id.clone(), spawn.attempt);
        let made = self.spawner.make(spawn).await?;
        tracing::debug!(%task, attempt, pid = made.child.id(), "spawned");
        Subprocess::new(made, self.families.clone()).map_err(|error| format!("could not watch the process: {error}"))
    }

    /// Nothing to do: on the log of one process no other worker can begin what this one has.
    fn hold_until(&self, _: Instant) {}
}

/// A live subprocess.
pub struct Subprocess {
    pid: Pid,
    exited: AsyncFd<OwnedFd>,
    pipes: [Pipe; 2],
    /// Whose turn it is to be read first: neither stream may starve the other.
    turn: usize,
    family: Option<Family>,
    /// The end of the rest of the family, under way.
    burial: Option<JoinHandle<(ExitStatus, bool)>>,
    last: Option<Last>,
}

/// What is to be cleared away, once.
struct Family {
    pid: Pid,
    dir: PathBuf,
    families: Arc<Families>,
}

/// The main process has exited: what is known of it, and until when its output is waited for.
struct Last {
    status: ExitStatus,
    survivors: bool,
    until: Instant,
    late: usize,
}

struct Pipe {
    stream: Stream,
    /// `None` once it has ended.
    receiver: Option<Receiver>,
    buffer: BytesMut,
}

impl Pipe {
    fn new(stream: Stream, fd: Option<OwnedFd>) -> io::Result<Self> {
        let receiver = fd.map(Receiver::from_owned_fd).transpose()?;
        Ok(Self { stream, receiver, buffer: BytesMut::new() })
    }

    /// Waits for output; `None` when there will be no more. For ever if there was none left before.
    async fn read(&mut self) -> Option<Bytes> {
        loop {
            let Some(receiver) = &self.receiver else { return std::future::pending().await };
            let ready = receiver.readable().await;
            match ready.and_then(|()| self.try_read()) {
                Ok(read) => return read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::warn!(%error, "could not read an agent's output");
                    self.receiver = None;
                    return None;
                }
            }
        }
    }

    /// What is there now; `Ok(None)` at the end.
    fn try_read(&mut self) -> io::Result<Option<Bytes>> {
        let Some(receiver) = &self.receiver else { return Ok(None) };
        self.buffer.reserve(CHUNK);
        let read = receiver.try_read_buf(&mut self.buffer)?;
        if read == 0 {
            self.receiver = None;
            return Ok(None);
        }
        Ok(Some(self.buffer.split().freeze()))
    }
}

impl Subprocess {
    fn new(made: Made, families: Arc<Families>) -> io::Result<Self> {
        let Made { mut child, dir } = made;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let family = Some(Family { pid, dir, families });
        let exited = watched(pidfd_open(pid, PidfdFlags::NONBLOCK)?)?;
        let stdout = Pipe::new(Stream::Stdout, child.stdout.take().map(Into::into))?;
        let stderr = Pipe::new(Stream::Stderr, child.stderr.take().map(Into::into))?;
        Ok(Self { pid, exited, pipes: [stdout, stderr], turn: 0, family, burial: None, last: None })
    }

    /// The main process is dead, and a zombie still: ends all others of its run, then reaps it.
    async fn bury(&mut self) {
        if let Some(family) = self.family.take() {
            self.burial = Some(tokio::task::spawn_blocking(move || family.end()));
        }
        let Some(burial) = &mut self.burial else { return };
        let (status, survivors) = burial.await.unwrap_or((ExitStatus::Signal(KILLED), true));
        self.burial = None;
        self.last = Some(Last { status, survivors, until: Instant::now() + DRAIN_FOR, late: 0 });
    }

    /// Output that is left in the pipes, until they end or have been waited for long enough; then the exit.
    async fn drain(&mut self) -> ProcessEvent {
        loop {
            let Self { pipes, last, .. } = self;
            let Some(last) = last else { return std::future::pending().await };
            let in_time = Instant::now() < last.until;
            for pipe in pipes.iter_mut() {
                if let Ok(Some(bytes)) = pipe.try_read() {
                    last.late += if in_time { 0 } else { bytes.len() };
                    if last.late < DRAIN_BYTES {
                        return ProcessEvent::Output(pipe.stream, bytes);
                    }
                }
            }
            let ended = pipes.iter().all(|pipe| pipe.receiver.is_none());
            if ended || !in_time {
                let survivors_killed = last.survivors || !ended;
                return ProcessEvent::Exited(Exit { status: last.status, survivors_killed });
            }
            let [first, second] = pipes;
            let read = tokio::select! {
                biased;
                read = first.read() => read.map(|bytes| (first.stream, bytes)),
                read = second.read() => read.map(|bytes| (second.stream, bytes)),
                () = sleep_until(last.until) => None,
            };
            if let Some((stream, bytes)) = read {
                return ProcessEvent::Output(stream, bytes);
            }
        }
    }
}

impl Process for Subprocess {
    async fn next(&mut self) -> ProcessEvent {
        while self.last.is_none() {
            if self.burial.is_some() {
                self.bury().await;
                break;
            }
            let [stdout, stderr] = &mut self.pipes;
            let (first, second) = if self.turn == 0 { (stdout, stderr) } else { (stderr, stdout) };
            self.turn = 1 - self.turn;
            tokio::select! {
                biased;
                read = first.read() => match read {
                    Some(bytes) => return ProcessEvent::Output(first.stream, bytes),
                    None => continue,
                },
                read = second.read() => match read {
                    Some(bytes) => return ProcessEvent::Output(second.stream, bytes),
                    None => continue,
                },
                // It stays ready: whoever dropped this future will find it so again.
                exited = self.exited.readable() => match exited {
                    Ok(mut ready) => ready.retain_ready(),
                    Err(error) => tracing::error!(%error, "could not wait for a process"),
                },
            }
            self.bury().await;
        }
        self.drain().await
    }

    fn signal(&mut self, signal: Signal) {
        // Once it was reaped, its number may be another's.
        if self.family.is_none() {
            return;
        }
        let signals: &[_] = match signal {
            // Whoever is stopped hears SIGTERM only when it goes on.
            Signal::Terminate => &[rustix::process::Signal::TERM, rustix::process::Signal::CONT],
            Signal::Kill => &[rustix::process::Signal::KILL],
        };
        for signal in signals {
            if let Err(error) = kill_process_group(self.pid, *signal) {
                tracing::debug!(%error, "the group could not be signalled: it is gone");
            }
        }
    }
}

impl Drop for Subprocess {
    fn drop(&mut self) {
        let Some(family) = self.family.take() else { return };
        let _ = kill_process_group(self.pid, rustix::process::Signal::KILL);
        // To wait for the dead would hold an async thread up.
        if let Err(error) = std::thread::Builder::new().name("baton-reaper".into()).spawn(move || family.wait_and_end())
        {
            tracing::error!(%error, "could not clear a killed run away");
        }
    }
}

impl Family {
    fn end(&self) -> (ExitStatus, bool) {
        let status = status_of(self.pid);
        let survivors = self.families.end(self.pid, &self.dir);
        remove(&self.dir);
        (status, survivors)
    }

    fn wait_and_end(&self) {
        let _ = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        self.end();
    }
}

#[allow(unsafe_code)]
fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is registered, and stays open and the same for as long as that lives.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}

fn status_of(pid: Pid) -> ExitStatus {
    let waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let status: Option<WaitIdStatus> = waited.ok().flatten();
    let signal = status.as_ref().and_then(WaitIdStatus::terminating_signal);
    match (status.as_ref().and_then(WaitIdStatus::exit_status), signal) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Signal(KILLED),
    }
}
