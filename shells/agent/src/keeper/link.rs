//! The worker's end of its keeper: starts it, speaks to it, and starts another should it die. It never waits for a keeper that
//! does not listen: that one is stopped, and its lease ends by itself.

use super::protocol::{Channel, FromKeeper, Means, Moment, ToKeeper, Wait};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The variable that marks keepers and guardians: it holds the directory of the runs.
pub const MARK: &str = "BATON_KEEPER";

/// How long a keeper may take to begin: its program is read from the disk, and namespaces are tried out.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);
/// How long until a packet is tried again for which there was no room.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// There is no keeper.
#[derive(Debug, thiserror::Error)]
#[error("could not start the keeper of the runs' processes ({}): {error}", .program.display())]
pub struct Unkept {
    program: PathBuf,
    error: io::Error,
}

/// How a keeper is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program, and what comes after its name.
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub runs_dir: PathBuf,
    /// Whether runs may have namespaces of their own.
    pub namespaces: bool,
    /// Whether runs may have cgroups of their own.
    pub cgroups: bool,
}

/// See the module's words.
#[derive(Debug)]
pub struct Link {
    start: Start,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    keeper: Running,
    means: Means,
    /// The number of the lease's term that lasts, as the keeper says.
    latest: u64,
    /// The term in which the worker last said that it holds: what it began before is of no later one.
    term: u64,
    /// What was last said of the lease.
    held: Option<(Moment, Moment)>,
}

#[derive(Debug)]
struct Running {
    channel: Option<Channel>,
    child: Option<Child>,
}

impl Link {
    /// Starts a keeper.
    pub fn start(start: Start) -> Result<Self, Unkept> {
        let term = 1;
        let (keeper, means) = begin(&start, term)?;
        let state = State { keeper, means, latest: term, term, held: None };
        Ok(Self { start, state: Mutex::new(state) })
    }

    /// What keeps the runs together.
    pub fn means(&self) -> Means {
        self.state().means.clone()
    }

    /// The term in which the worker last said that it holds. What is begun for a claim has to be begun in it: a worker that froze
    /// and woke may not know yet that its claims have gone, while the keeper has said that another term has begun.
    pub fn term(&self) -> u64 {
        let mut state = self.state();
        state.listen();
        state.term
    }

    /// Whether this term still lasts, as far as was heard.
    pub fn lasts(&self, term: u64) -> bool {
        let mut state = self.state();
        state.listen();
        state.latest == term
    }

    /// Has a run begun, if the term still lasts: see [`ToKeeper::Run`]. Blocks while the keeper has no room for it.
    pub fn run(&self, term: u64, dir: OsString, descriptors: &[BorrowedFd<'_>]) -> Result<(), Unkept> {
        let message = ToKeeper::Run { term, dir };
        loop {
            let sent = self.state().send(&message, descriptors, &self.start)?;
            if sent {
                return Ok(());
            }
            std::thread::sleep(TRY_AGAIN_AFTER);
        }
    }

    /// Holds the lease. What there is no room for is not said: the lease then ends earlier.
    pub fn hold(&self, end_at: Moment, gone_by: Moment) {
        let mut state = self.state();
        state.listen();
        state.term = state.latest;
        state.held = Some((end_at, gone_by));
        if let Err(error) = state.send(&ToKeeper::Hold { end_at, gone_by }, &[], &self.start) {
            tracing::error!(%error, "no task can be run");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there was room. A keeper that is gone is replaced first.
    fn send(&mut self, message: &ToKeeper, descriptors: &[BorrowedFd<'_>], start: &Start) -> Result<bool, Unkept> {
        self.listen();
        if self.keeper.channel.is_none() {
            self.start_again(start)?;
        }
        match self.try_send(message, descriptors) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(_) => {
                self.start_again(start)?;
                let error = |error| Unkept { program: start.program.clone(), error };
                self.try_send(message, descriptors).map(|()| true).map_err(error)
            }
            Ok(()) => Ok(true),
        }
    }

    fn try_send(&self, message: &ToKeeper, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.keeper.channel.as_ref().ok_or_else(gone)?.send(message, descriptors, Wait::No)
    }

    /// Takes in what the keeper has said.
    fn listen(&mut self) {
        while let Some(channel) = &self.keeper.channel {
            match channel.receive::<FromKeeper>(Wait::No) {
                Ok(Some((FromKeeper::Lapsed { term, renewed }, _))) => {
                    tracing::warn!("the worker's claims ran out before they were renewed: its runs were ended");
                    self.latest = term;
                    if renewed {
                        self.term = term;
                    }
                }
                Ok(Some((FromKeeper::Remark(remark), _))) => tracing::error!("{remark}"),
                Ok(Some((FromKeeper::Ready { .. }, _))) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(None) | Err(_) => self.keeper.channel = None,
            }
        }
    }

    fn start_again(&mut self, start: &Start) -> Result<(), Unkept> {
        tracing::error!(ended = self.keeper.bury(), "the keeper is gone, and with it all runs; another one is started");
        if self.held.is_some() {
            // What was asked for under the lease that ended with the keeper must not begin.
            self.latest += 1;
        }
        // What was held is said again, and where that has ended meanwhile the keeper refuses.
        self.term = self.latest;
        (self.keeper, self.means) = begin(start, self.latest)?;
        if let Some((end_at, gone_by)) = self.held {
            let _ = self.try_send(&ToKeeper::Hold { end_at, gone_by }, &[]);
        }
        Ok(())
    }
}

fn beginning(start: &Start, term: u64) -> ToKeeper {
    let Start { namespaces, cgroups, runs_dir, .. } = start;
    ToKeeper::Begin { term, namespaces: *namespaces, cgroups: *cgroups, runs_dir: runs_dir.into() }
}

fn begin(start: &Start, term: u64) -> Result<(Running, Means), Unkept> {
    let unkept = |error: io::Error| Unkept { program: start.program.clone(), error };
    let (ours, theirs) = Channel::pair().map_err(unkept)?;
    let child = Command::new(&start.program)
        .args(&start.arguments)
        .env_clear()
        .env(MARK, &start.runs_dir)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .spawn()
        .map_err(unkept)?;
    let mut keeper = Running { channel: None, child: Some(child) };
    let answer = set_socket_timeout(ours.as_fd(), Timeout::Recv, Some(BEGINS_WITHIN))
        .map_err(io::Error::from)
        .and_then(|()| ours.send(&beginning(start, term), &[], Wait::Yes))
        .and_then(|()| ours.receive(Wait::Yes));
    match answer {
        Ok(Some((FromKeeper::Ready { means }, _))) => {
            keeper.channel = Some(ours);
            Ok((keeper, means))
        }
        Ok(_) => {
            drop(ours);
            Err(unkept(io::Error::other(format!("it ended at once: {}", keeper.bury()))))
        }
        Err(error) => Err(unkept(error)),
    }
}

impl Running {
    /// Reaps it, and says how it ended.
    fn bury(&mut self) -> String {
        self.channel = None;
        let Some(mut child) = self.child.take() else { return "long ago".into() };
        let _ = child.kill();
        child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for Running {
    /// The keeper ends what it keeps, and then itself; nobody has to wait for that but whoever reaps it.
    fn drop(&mut self) {
        self.channel = None;
        let Some(mut child) = self.child.take() else { return };
        let reaper = std::thread::Builder::new().name("baton-keeper".into()).spawn(move || child.wait());
        if let Err(error) = reaper {
            tracing::debug!(%error, "the keeper stays a zombie as long as this process lives");
        }
    }
}
