//! One subprocess: its output as it comes, and its exit only when nothing of it is left. Never waits for the end of a
//! pipe alone: a grandchild may hold it for ever.

use crate::keeper::{Channel, FromGuardian, Status, ToGuardian, Used, Wait};
use crate::leftovers;
use crate::private::remove;
use baton_core::process::{Exit, ExitStatus, Signal, Stream, Usage};
use baton_runtime::ports::{Process, ProcessEvent};
use bytes::{Bytes, BytesMut};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

/// How much is read from a pipe at a time: what Linux pipes hold.
const CHUNK: usize = 64 * 1024;
/// The same of a terminal, whose driver gives less at a time.
const TERMINAL_CHUNK: usize = 4096;
/// How long output is waited for once everything of the run is dead, and how much is still taken after that from whoever
/// else holds the pipe.
const DRAIN_FOR: Duration = Duration::from_secs(1);
const DRAIN_BYTES: usize = 1024 * 1024;

/// What is at hand of a run that a keeper was told to begin.
pub struct Launched {
    pub channel: Channel,
    pub output: Output,
    pub dir: PathBuf,
}

/// The reading ends of what a run writes to.
pub enum Output {
    Pipes {
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// Both are one. It must not block.
    Terminal(OwnedFd),
}

/// A live subprocess. Dropping it ends it: its guardian hears that, and clears everything away.
pub struct Subprocess {
    guardian: Guardian,
    pipes: [Pipe; 2],
    /// Whose turn it is to be read first: neither stream may starve the other.
    turn: usize,
    last: Option<Last>,
}

/// The guardian of a run, as its worker sees it.
struct Guardian {
    channel: AsyncFd<Channel>,
    /// A pidfd of it, once it has spoken. Before, nothing of the run lives.
    process: Option<AsyncFd<OwnedFd>>,
    /// The run's directory.
    dir: PathBuf,
}

/// Everything of the run is dead: how it ended, and until when its output is waited for.
struct Last {
    ended: Ended,
    until: Instant,
    late: usize,
}

#[derive(Clone, Copy)]
enum Ended {
    ByItself {
        status: ExitStatus,
        survivors: bool,
        used: Used,
        out_of_memory: bool,
    },
    /// With its guardian, its keeper, or the lease.
    Lost,
}

struct Pipe {
    stream: Stream,
    /// `None` once it has ended.
    source: Option<Source>,
    buffer: BytesMut,
}

/// Where output comes from.
enum Source {
    Pipe(Receiver),
    /// Our side of a pseudo-terminal.
    Terminal(AsyncFd<OwnedFd>),
}

impl Source {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Pipe(receiver) => receiver.readable().await,
            Self::Terminal(terminal) => terminal.readable().await.map(|mut ready| ready.retain_ready()),
        }
    }

    /// How much was read; 0 at the end.
    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Pipe(receiver) => {
                buffer.reserve(CHUNK);
                receiver.try_read_buf(buffer)
            }
            Self::Terminal(terminal) => {
                let mut chunk = [0; TERMINAL_CHUNK];
                let read = terminal.try_io(Interest::READABLE, |terminal| {
                    match rustix::io::retry_on_intr(|| rustix::io::read(terminal, &mut chunk)) {
                        // Nobody has the other side open any more.
                        Err(Errno::IO) => Ok(0),
                        read => Ok(read?),
                    }
                })?;
                buffer.extend_from_slice(&chunk[..read]);
                Ok(read)
            }
        }
    }
}

impl Pipe {
    fn new(stream: Stream, source: Option<Source>) -> Self {
        Self { stream, source, buffer: BytesMut::new() }
    }

    /// Waits for output; `None` when there will be no more. For ever if there was none left before.
    async fn read(&mut self) -> Option<Bytes> {
        loop {
            let Some(source) = &self.source else { return std::future::pending().await };
            let ready = source.readable().await;
            match ready.and_then(|()| self.try_read()) {
                Ok(read) => return read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::warn!(%error, "could not read an agent's output");
                    self.source = None;
                    return None;
                }
            }
        }
    }

    /// What is there now; `Ok(None)` at the end.
    fn try_read(&mut self) -> io::Result<Option<Bytes>> {
        let Some(source) = &self.source else { return Ok(None) };
        if source.try_read(&mut self.buffer)? == 0 {
            self.source = None;
            return Ok(None);
        }
        Ok(Some(self.buffer.split().freeze()))
    }
}

impl Guardian {
    /// Its next word; `None` when it has gone, however often it is asked.
    async fn hear(&mut self) -> Option<FromGuardian> {
        loop {
            let mut ready = match self.channel.readable().await {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!(%error, "could not wait for a run's guardian");
                    return None;
                }
            };
            match ready.get_inner().receive::<FromGuardian>(Wait::No) {
                Ok(Some((word, descriptors))) => {
                    if let Some(process) = descriptors.into_iter().next() {
                        self.process = watched(process)
                            .inspect_err(|error| tracing::error!(%error, "could not watch a run's guardian"))
                            .ok();
                    }
                    return Some(word);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Ok(None) => return None,
                Err(error) => {
                    tracing::error!(%error, "could not understand a run's guardian");
                    return None;
                }
            }
        }
    }

    /// Until everything of the run is dead.
    async fn ended(&mut self) -> Ended {
        while let Some(word) = self.hear().await {
            let FromGuardian::Ended { status, survivors, stuck, used, out_of_memory } = word else { continue };
            if stuck {
                tracing::error!("processes of a run can't be killed: the kernel holds them");
            }
            let status = match status {
                Status::Code(code) => ExitStatus::Code(code),
                Status::Signal(signal) => ExitStatus::Signal(signal),
            };
            return Ended::ByItself { status, survivors, used, out_of_memory };
        }
        if let Some(process) = &self.process {
            let _ = process.readable().await;
        }
        let dir = self.dir.clone();
        let clear_away = move || {
            leftovers::end_run(&dir);
            remove(&dir);
        };
        let _ = spawn_blocking(clear_away).await;
        Ended::Lost
    }
}

impl Subprocess {
    /// Waits until the agent lives. One that was lost before is one that is lost at once. The error is a sentence for the
    /// task's owner.
    pub async fn begin(launched: Launched) -> Result<Self, String> {
        let mut begun = Self::new(launched).map_err(|error| format!("could not watch the process: {error}"))?;
        while let Some(word) = begun.guardian.hear().await {
            match word {
                FromGuardian::Here | FromGuardian::Ended { .. } => {}
                FromGuardian::Started { pid } => {
                    tracing::debug!(pid, "spawned");
                    break;
                }
                FromGuardian::Refused(why) => {
                    remove(&begun.guardian.dir);
                    return Err(why);
                }
            }
        }
        Ok(begun)
    }

    fn new(launched: Launched) -> io::Result<Self> {
        let Launched { channel, output, dir } = launched;
        let pipe = |fd| Receiver::from_owned_fd(fd).map(|pipe| Some(Source::Pipe(pipe)));
        let (stdout, stderr) = match output {
            Output::Pipes { stdout, stderr } => (pipe(stdout)?, pipe(stderr)?),
            Output::Terminal(terminal) => (Some(Source::Terminal(watched(terminal)?)), None),
        };
        let pipes = [Pipe::new(Stream::Stdout, stdout), Pipe::new(Stream::Stderr, stderr)];
        let guardian = Guardian { channel: watched(channel)?, process: None, dir };
        Ok(Self { guardian, pipes, turn: 0, last: None })
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
            let closed = pipes.iter().all(|pipe| pipe.source.is_none());
            if closed || !in_time {
                return match last.ended {
                    Ended::ByItself { status, survivors, used, out_of_memory } => {
                        let Used { cpu, peak_memory } = used;
                        let usage = Some(Usage { cpu, peak_memory });
                        let survivors_killed = survivors || !closed;
                        ProcessEvent::Exited(Exit { status, survivors_killed, usage, out_of_memory })
                    }
                    Ended::Lost => ProcessEvent::Lost,
                };
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
        if self.last.is_none() {
            let Self { guardian, pipes: [stdout, stderr], turn, .. } = self;
            let (first, second) = if *turn == 0 { (stdout, stderr) } else { (stderr, stdout) };
            *turn = 1 - *turn;
            let ended = loop {
                tokio::select! {
                    biased;
                    read = first.read() => if let Some(bytes) = read {
                        return ProcessEvent::Output(first.stream, bytes);
                    },
                    read = second.read() => if let Some(bytes) = read {
                        return ProcessEvent::Output(second.stream, bytes);
                    },
                    ended = guardian.ended() => break ended,
                }
            };
            self.last = Some(Last { ended, until: Instant::now() + DRAIN_FOR, late: 0 });
        }
        self.drain().await
    }

    fn signal(&mut self, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => ToGuardian::Terminate,
            Signal::Kill => ToGuardian::Kill,
        };
        if let Err(error) = self.guardian.channel.get_ref().send(&signal, &[], Wait::No) {
            tracing::debug!(%error, "the run could not be signalled: it is gone");
        }
    }
}

/// Must be called within a runtime.
#[allow(unsafe_code)]
fn watched<T: AsRawFd>(fd: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: channels and descriptors own what they name, which stays open and the same for as long as they live.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}
