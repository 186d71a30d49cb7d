//! The guardian of one run: the parent of the agent, and the one process of Baton's in the run's namespace. It ends the run
//! with everything of it when the agent exits, and at once when its worker or its keeper lets go, or is gone.

use super::cgroup::{Account, Bounds, Cgroup};
use super::namespace::Namespaces;
use super::protocol::{Channel, FromGuardian, Order, Status, ToGuardian, Used, Wait};
use super::start::{Around, start};
use super::{kernel, sweep};
use crate::private::remove;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitStatus, getpgid, getpid, kill_process, kill_process_group,
    pidfd_open, set_child_subreaper, set_parent_process_death_signal, waitid,
};
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

/// What a guardian is given.
pub struct Post {
    /// To its worker.
    pub channel: Channel,
    /// An [`Order`], as JSON.
    pub order: File,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Ends when the keeper lets go, and when it is gone.
    pub leash: OwnedFd,
    /// The run's own, where there are cgroups. It is made, and removed, here.
    pub cgroup: Option<Cgroup>,
}

/// The whole life of a guardian, in a process that the keeper has just cloned.
pub fn live(post: Post, namespaces: Option<Namespaces>) -> io::Result<()> {
    shut(&post);
    // Where the run has a namespace, the kernel then ends everything of it; where it has none, the leash ends first.
    set_parent_process_death_signal(namespaces.map(|_| Signal::KILL))?;
    set_child_subreaper(Some(getpid()))?;
    let _ = rustix::thread::set_name(c"baton-guardian");
    let children = kernel::signals_of_children()?;
    let Post { channel, mut order, stdout, stderr, leash, cgroup } = post;
    let me = pidfd_open(getpid(), PidfdFlags::empty())?;
    channel.send(&FromGuardian::Here, &[me.as_fd()], Wait::No)?;
    drop(me);
    let prepared = namespaces.map_or(Ok(()), Namespaces::enter).and_then(|()| read(&mut order));
    drop(order);
    let mut order = match prepared {
        Ok(order) => order,
        Err(error) => {
            let why = format!("could not prepare the run's processes: {error}");
            return channel.send(&FromGuardian::Refused(why), &[], Wait::No);
        }
    };
    if is_over(&leash) {
        remove(Path::new(&order.dir));
        return Ok(());
    }
    let in_namespace = namespaces.is_some();
    let started = place_in(cgroup.as_ref(), order.bounds)
        .and_then(|cgroup| start(&mut order, Around { stdout, stderr, cgroup, in_namespace }));
    let main = match started {
        Ok(main) => main,
        Err(why) => {
            clear_away(cgroup.as_ref(), Path::new(&order.dir));
            return channel.send(&FromGuardian::Refused(why), &[], Wait::No);
        }
    };
    let _ = channel.send(&FromGuardian::Started { pid: main.as_raw_nonzero().get().unsigned_abs() }, &[], Wait::No);
    let mut run = Run { channel, leash, children, main: Some(main) };
    let ended = run.watch();
    let swept = sweep::sweep(run.children.as_fd(), cgroup.as_ref());
    let account = cgroup.as_ref().map(Cgroup::account).unwrap_or_default();
    clear_away(cgroup.as_ref(), Path::new(&order.dir));
    if let Some(status) = ended {
        let used = used(account);
        let Account { out_of_memory, .. } = account;
        let told = FromGuardian::Ended { status, survivors: swept.survivors, stuck: swept.stuck, used, out_of_memory };
        let _ = run.channel.send(&told, &[], Wait::No);
    }
    Ok(())
}

/// Makes the run's cgroup, and opens it. The error is a sentence for the task's owner.
fn place_in(cgroup: Option<&Cgroup>, bounds: Bounds) -> Result<Option<File>, String> {
    let Some(cgroup) = cgroup else { return Ok(None) };
    let place = cgroup.make(bounds).and_then(|()| cgroup.open());
    place.map(Some).map_err(|error| format!("could not make the run's cgroup: {error}"))
}

fn clear_away(cgroup: Option<&Cgroup>, dir: &Path) {
    if let Some(cgroup) = cgroup {
        cgroup.remove();
    }
    remove(dir);
}

/// What the run has used, by now that all of it was reaped. Without a cgroup the memory is that of its largest process.
fn used(account: Account) -> Used {
    let (cpu, largest) = kernel::used_by_children();
    Used { cpu, peak_memory: account.peak_memory.unwrap_or(largest) }
}

/// Closes all that was the keeper's.
#[allow(unsafe_code)]
fn shut(post: &Post) {
    let Post { channel, order, stdout, stderr, leash, .. } = post;
    let own = [channel.as_raw_fd(), order.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd(), leash.as_raw_fd()];
    // SAFETY: this process never returns to what the keeper was doing, nor drops what was the keeper's.
    unsafe { kernel::close_all_but(3, &own) };
}

/// Whether the keeper has let go already.
fn is_over(leash: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(leash, PollFlags::IN)], Some(&Timespec::default())) != Ok(0)
}

fn read(file: &mut File) -> io::Result<Order> {
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

struct Run {
    channel: Channel,
    leash: OwnedFd,
    children: OwnedFd,
    /// The agent, until it was reaped: before, its number can't be another's.
    main: Option<Pid>,
}

impl Run {
    /// Until the agent has exited, or the run is to end without it: then `None`.
    fn watch(&mut self) -> Option<Status> {
        loop {
            let mut watched = [&self.leash, &self.children].map(|fd| PollFd::new(fd, PollFlags::IN)).to_vec();
            watched.push(PollFd::new(&self.channel, PollFlags::IN));
            match poll(&mut watched, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return None,
                Ok(_) => {}
            }
            let [leash, children, channel] = [0, 1, 2].map(|index| !watched[index].revents().is_empty());
            if leash {
                return None;
            }
            if channel {
                match self.channel.receive(Wait::No) {
                    Ok(Some((signal, _))) => self.signal(signal),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(None) | Err(_) => return None,
                }
            }
            if children {
                sweep::forget(self.children.as_fd());
                if let Some(status) = self.exited() {
                    return Some(status);
                }
            }
        }
    }

    fn signal(&self, signal: ToGuardian) {
        let Some(main) = self.main else { return };
        let signals: &[_] = match signal {
            // Whoever is stopped hears SIGTERM only when it goes on.
            ToGuardian::Terminate => &[Signal::TERM, Signal::CONT],
            ToGuardian::Kill => &[Signal::KILL],
        };
        for signal in signals {
            // Where there is no group any more, the agent has exited.
            let _ = kill_process_group(main, *signal);
        }
        // It may have joined another group.
        if getpgid(Some(main)) != Ok(main) {
            for signal in signals {
                let _ = kill_process(main, *signal);
            }
        }
    }

    /// Whether the agent has exited, and how. Reaps whoever else has died.
    fn exited(&mut self) -> Option<Status> {
        let main = self.main?;
        let is_dead = waitid(WaitId::Pid(main), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
        if is_dead.is_ok_and(|status| status.is_some()) {
            // The group, at one stroke, while its number is pinned.
            let _ = kill_process_group(main, Signal::KILL);
        }
        while let Ok(Some((pid, status))) = sweep::next_dead() {
            if pid == main {
                self.main = None;
                return Some(status_of(status));
            }
        }
        None
    }
}

fn status_of(status: WaitStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status::Code(code),
        (None, Some(signal)) => Status::Signal(signal),
        (None, None) => Status::Signal(Signal::KILL.as_raw()),
    }
}
