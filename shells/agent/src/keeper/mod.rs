//! The keeper: a small process between a worker and the runs of it. It makes a guardian for each run, and ends them all when
//! its lease runs out or its worker is gone; then it goes, too. It knows nothing of tasks, and writes to no log.

mod cgroup;
mod guardian;
mod kernel;
mod lease;
mod link;
mod namespace;
mod outfit;
mod protocol;
mod start;
mod sweep;

pub(crate) use cgroup::{Bounds, end_all as end_all_cgroups};
pub use link::Unkept;
pub(crate) use link::{Link, MARK, Start};
pub(crate) use outfit::{Limit, LimitKind, Outfit, User};
pub use protocol::{Cgroups, Keeping, Means};
pub(crate) use protocol::{Channel, FromGuardian, Order, Status, ToGuardian, Used, Wait};

use crate::private::remove;
use cgroup::{Cgroup, Cgroups as Groups};
use guardian::Post;
use kernel::LastResort;
use lease::Lease;
use namespace::Namespaces;
use protocol::{FromKeeper, Moment, ToKeeper};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitStatus, getpid, kill_process, set_child_subreaper, setsid};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long guardians have to end their runs and clear them away, before they are killed themselves.
const GUARDIANS_HAVE: Duration = Duration::from_millis(150);
/// How often guardians are killed again, and what they left, until nothing is there.
const KILL_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// The whole life of a keeper. Its worker has started it with a socket for its standard input.
pub fn run() -> ExitCode {
    let ended = Keeper::begin().and_then(|keeper| keeper.map_or(Ok(()), Keeper::keep));
    if let Err(error) = &ended {
        eprintln!("the keeper of a worker's processes ended: {error}");
    }
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What `CLOCK_BOOTTIME` says.
fn now() -> Moment {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

struct Keeper {
    worker: Channel,
    runs_dir: PathBuf,
    namespaces: Option<Namespaces>,
    cgroups: Option<Groups>,
    lease: Lease,
    /// Guardians hold the reading end; all of one term end when the writing end is dropped.
    leash: Leash,
    guardians: HashMap<Pid, Guarded>,
    /// When those of terms that have ended are killed, if they have not ended by themselves.
    kill_at: Option<Moment>,
    last_resort: LastResort,
    /// The worker is gone.
    alone: bool,
    timer: OwnedFd,
    children: OwnedFd,
}

struct Guarded {
    term: u64,
    dir: PathBuf,
    cgroup: Option<Cgroup>,
}

struct Leash {
    reader: OwnedFd,
    _writer: OwnedFd,
}

impl Leash {
    fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { reader: reader.into(), _writer: writer.into() })
    }
}

impl Keeper {
    /// `None` if its worker is gone already.
    fn begin() -> io::Result<Option<Self>> {
        // The terminal's signals are for the worker alone.
        let _ = setsid();
        set_child_subreaper(Some(getpid()))?;
        let worker = Channel::from(io::stdin().as_fd().try_clone_to_owned()?);
        let nothing = File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(&nothing)?;
        let children = kernel::signals_of_children()?;
        let Some((first, _)) = worker.receive(Wait::Yes)? else { return Ok(None) };
        let ToKeeper::Begin { term, namespaces, cgroups, runs_dir } = first else {
            return Err(io::Error::other("its worker began with something else than the beginning"));
        };
        let runs_dir = PathBuf::from(runs_dir);
        let off = "they are switched off".to_owned();
        let found = if namespaces { Namespaces::find() } else { Err(off.clone()) };
        let namespaces = found.as_ref().ok().copied();
        let cgroups = if cgroups { Groups::find(&runs_dir) } else { Err(off) };
        let means = means(found, &cgroups);
        let cgroups = cgroups.ok();
        if worker.send(&FromKeeper::Ready { means }, &[], Wait::Yes).is_err() {
            return Ok(None);
        }
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let keeper = Self {
            worker,
            runs_dir,
            namespaces,
            cgroups,
            lease: Lease::new(term),
            leash: Leash::new()?,
            guardians: HashMap::new(),
            kill_at: None,
            last_resort: LastResort::new()?,
            alone: false,
            timer: timerfd_create(TimerfdClockId::Boottime, flags)?,
            children,
        };
        Ok(Some(keeper))
    }

    fn keep(mut self) -> io::Result<()> {
        while !(self.alone && self.guardians.is_empty()) {
            self.set_timer()?;
            let watched = [&self.timer, &self.children].map(|fd| PollFd::new(fd, PollFlags::IN));
            let mut watched = watched.to_vec();
            if !self.alone {
                watched.push(PollFd::new(&self.worker, PollFlags::IN));
            }
            match poll(&mut watched, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let heard = watched.get(2).is_some_and(|worker| !worker.revents().is_empty());
            let _ = rustix::io::read(&self.timer, &mut [0; 8]);
            sweep::forget(self.children.as_fd());
            if self.lease.lapse(now()) {
                self.lapsed()?;
            }
            self.bury();
            self.kill_old();
            if heard {
                self.hear()?;
            }
        }
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove();
        }
        Ok(())
    }

    fn set_timer(&self) -> io::Result<()> {
        let next = [self.lease.end_at(), self.kill_at].into_iter().flatten().min();
        // A time that has passed already still wakes; nothing at all would unset the timer.
        let at = next.map(|at| at.max(Duration::from_nanos(1)));
        let it_value = at.and_then(|at| Timespec::try_from(at).ok()).unwrap_or_default();
        let spec = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(())
    }

    fn hear(&mut self) -> io::Result<()> {
        match self.worker.receive::<ToKeeper>(Wait::No) {
            Ok(Some((ToKeeper::Hold { end_at, gone_by }, _))) => self.hold(end_at, gone_by),
            Ok(Some((ToKeeper::Run { term, dir }, descriptors))) => {
                self.run(term, dir.into(), descriptors);
                Ok(())
            }
            Ok(Some((ToKeeper::Begin { .. }, _))) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Ok(None) | Err(_) => {
                self.alone = true;
                self.let_go()
            }
        }
    }

    fn hold(&mut self, end_at: Moment, gone_by: Moment) -> io::Result<()> {
        let lapsed = self.lease.hold(end_at, gone_by, now());
        self.set_last_resort();
        if lapsed { self.lapsed() } else { Ok(()) }
    }

    fn run(&mut self, term: u64, dir: PathBuf, descriptors: Vec<OwnedFd>) {
        let Ok([channel, order, stdout, stderr]) = <[OwnedFd; 4]>::try_from(descriptors) else { return };
        let channel = Channel::from(channel);
        if !self.lease.may_begin(term, now()) {
            // The end of the channel says so.
            return;
        }
        let leash = match self.leash.reader.try_clone() {
            Ok(leash) => leash,
            Err(error) => return refuse(&channel, &error),
        };
        let flags = self.namespaces.map_or(0, Namespaces::flags);
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let cgroup = self.cgroups.as_ref().map(|cgroups| cgroups.of(&name));
        // SAFETY: the keeper has one thread, and the child ends here.
        #[allow(unsafe_code)]
        match unsafe { kernel::clone(flags, None) } {
            Ok(Some(guardian)) => {
                self.guardians.insert(guardian, Guarded { term, dir, cgroup });
            }
            Ok(None) => {
                let post = Post { channel, order: order.into(), stdout, stderr, leash, cgroup };
                let namespaces = self.namespaces;
                let lived = std::panic::catch_unwind(|| guardian::live(post, namespaces));
                kernel::exit(i32::from(!matches!(lived, Ok(Ok(())))));
            }
            Err(error) => refuse(&channel, &error),
        }
    }

    /// Ends everything of the term that has just ended.
    fn lapsed(&mut self) -> io::Result<()> {
        self.let_go()?;
        // Only now, as the worker makes directories for the next term once it has heard of it. One that does not listen is
        // frozen, or gone.
        let lapsed = FromKeeper::Lapsed { term: self.lease.term(), renewed: self.lease.end_at().is_some() };
        let _ = self.worker.send(&lapsed, &[], Wait::No);
        Ok(())
    }

    /// All guardians end what they guard, and themselves; what nobody guards is removed.
    fn let_go(&mut self) -> io::Result<()> {
        self.leash = Leash::new()?;
        for guardian in self.guardians.keys() {
            // Somebody may have stopped it.
            let _ = kill_process(*guardian, Signal::CONT);
        }
        self.kill_at = self.kill_at.or_else(|| Some(now() + GUARDIANS_HAVE));
        self.remove_unguarded();
        Ok(())
    }

    /// Removes the directories of runs that have no guardian: their worker was frozen, or killed, before it asked for one.
    fn remove_unguarded(&self) {
        let guarded: HashSet<&Path> = self.guardians.values().map(|guarded| guarded.dir.as_path()).collect();
        for entry in fs::read_dir(&self.runs_dir).into_iter().flatten().flatten() {
            if !guarded.contains(entry.path().as_path()) {
                remove(&entry.path());
            }
        }
    }

    fn is_old(&self, guarded: &Guarded) -> bool {
        self.alone || guarded.term != self.lease.term()
    }

    /// Kills guardians that have had their time, and whatever they left to this process.
    fn kill_old(&mut self) {
        if self.kill_at.is_none_or(|at| now() < at) {
            return;
        }
        for (pid, _) in self.guardians.iter().filter(|(_, guarded)| self.is_old(guarded)) {
            let _ = kill_process(*pid, Signal::KILL);
        }
        self.kill_orphans();
        self.kill_at = Some(now() + KILL_AGAIN_AFTER);
    }

    /// What descends from this process, and from no guardian: its guardian was killed, and it is this process's now.
    fn kill_orphans(&self) {
        let guardians: HashSet<Pid> = self.guardians.keys().copied().collect();
        for orphan in sweep::descendants(getpid(), &guardians) {
            let _ = kill_process(orphan, Signal::KILL);
        }
    }

    /// Reaps who has died: guardians, and orphans of those that were killed.
    fn bury(&mut self) {
        while let Ok(Some((pid, status))) = sweep::next_dead() {
            let Some(guarded) = self.guardians.remove(&pid) else { continue };
            if !is_success(status) {
                let _ = self.worker.send(&FromKeeper::Remark(broken(&guarded.dir, status)), &[], Wait::No);
                if let Some(cgroup) = &guarded.cgroup {
                    cgroup.kill();
                }
                self.kill_orphans();
                if let Some(cgroup) = &guarded.cgroup {
                    cgroup.remove();
                }
                remove(&guarded.dir);
                // There may be more of them than one look could see.
                self.kill_at = self.kill_at.or_else(|| Some(now() + KILL_AGAIN_AFTER));
            }
        }
        if self.kill_at.is_some() && !self.has_old() {
            self.kill_at = None;
            self.set_last_resort();
        }
    }

    /// Whether anything of a term that has ended is still there, or anything that has no guardian any more.
    fn has_old(&self) -> bool {
        let guardians: HashSet<Pid> = self.guardians.keys().copied().collect();
        self.guardians.values().any(|guarded| self.is_old(guarded))
            || !sweep::descendants(getpid(), &guardians).is_empty()
    }

    /// The kernel is to kill this process, and so everything, if it does not end the term by itself. While anything of
    /// an earlier term is there, that one's time holds.
    fn set_last_resort(&self) {
        if self.kill_at.is_none()
            && let Err(error) = self.last_resort.set(self.lease.last_resort())
        {
            let remark = format!("the kernel's timer for the end of the lease could not be set: {error}");
            let _ = self.worker.send(&FromKeeper::Remark(remark), &[], Wait::No);
        }
    }
}

fn means(namespaces: Result<Namespaces, String>, cgroups: &Result<Groups, String>) -> Means {
    let keeping = match (namespaces, cgroups) {
        (Ok(namespaces), _) => namespaces.keeping(),
        (Err(because), Ok(_)) => Keeping::Cgroup { because },
        (Err(because), Err(_)) => Keeping::Descendants { because },
    };
    let absent = |because: &String| Cgroups::Absent { because: because.clone() };
    Means { keeping, cgroups: cgroups.as_ref().map_or_else(absent, Groups::found) }
}

fn refuse(channel: &Channel, error: &io::Error) {
    let why = format!("could not make the run's first process: {error}");
    let _ = channel.send(&FromGuardian::Refused(why), &[], Wait::No);
}

fn is_success(status: WaitStatus) -> bool {
    status.exit_status() == Some(0)
}

fn broken(dir: &Path, status: WaitStatus) -> String {
    let run = dir.file_name().unwrap_or_default().to_string_lossy();
    match status.terminating_signal() {
        Some(signal) => format!("the guardian of the run {run} was killed by signal {signal}: the run is lost"),
        None => format!("the guardian of the run {run} broke, as stderr says: the run is lost"),
    }
}
