//! What a worker, its keeper and the guardians of runs say to each other: packets of JSON on Unix sockets, some with file
//! descriptors. An agent's output never comes this way.

use super::cgroup::Bounds;
use super::outfit::Outfit;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// The longest packet, in bytes. What has no bound, the command line and the environment, is in a file of its own.
const MAX_PACKET: usize = 16 * 1024;
/// The most descriptors that come with a packet.
const MAX_DESCRIPTORS: usize = 4;

/// A time of `CLOCK_BOOTTIME`, which all processes share, and which goes on while the machine sleeps.
pub type Moment = Duration;

/// From a worker to its keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToKeeper {
    /// The first word.
    Begin {
        /// The number of the first term of the lease.
        term: u64,
        /// Whether runs may have namespaces of their own.
        namespaces: bool,
        /// Whether runs may have cgroups of their own.
        cgroups: bool,
        /// Where the runs have their directories.
        runs_dir: OsString,
    },
    /// The processes may live until `end_at`, and must be gone by `gone_by`.
    Hold {
        /// When they are ended, unless this is said again.
        end_at: Moment,
        /// When another worker may begin.
        gone_by: Moment,
    },
    /// Begin a run, if this term still lasts. With it come the guardian's [`Channel`], an [`Order`] in a file, and the write
    /// ends of the agent's standard output and error.
    Run {
        /// The term of the lease that was the current one when the run was asked for.
        term: u64,
        /// The directory that goes with the run.
        dir: OsString,
    },
}

/// From a keeper to its worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromKeeper {
    /// The answer to [`ToKeeper::Begin`].
    Ready {
        /// What keeps a run together.
        means: Means,
    },
    /// The lease ran out, and everything of its term is being ended.
    Lapsed {
        /// The number of the next term.
        term: u64,
        /// The worker has begun it already, by saying that it holds.
        renewed: bool,
    },
    /// Something for the worker's log.
    Remark(String),
}

/// What the kernel gives for runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    /// What keeps the processes of a run together.
    pub keeping: Keeping,
    /// Whether they can be limited together.
    pub cgroups: Cgroups,
}

/// Whether each run has a cgroup of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cgroups {
    /// It has, with these controllers.
    There {
        /// Memory is limited for all of a run together, and a kill for memory is told apart.
        memory: bool,
        /// Processes are limited for all of a run together.
        pids: bool,
    },
    /// It has none.
    Absent {
        /// Why.
        because: String,
    },
}

/// What the kernel gives for keeping the processes of a run together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keeping {
    /// Each run has a PID namespace and a `/proc` of its own: when its first process is gone, so is everything.
    Namespaces {
        /// It takes a user namespace to make them: set-user-id programs then have no effect in a run.
        user: bool,
    },
    /// Each run has a cgroup, which is killed at one stroke, and a child subreaper.
    Cgroup {
        /// Why there are no namespaces.
        because: String,
    },
    /// Each run has a child subreaper, which ends whatever descends from it.
    Descendants {
        /// Why there are no namespaces.
        because: String,
    },
}

/// From a worker to the guardian of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum ToGuardian {
    /// SIGTERM to the agent's group.
    Terminate,
    /// SIGKILL to everything.
    Kill,
}

/// From the guardian of a run to its worker. If its socket ends without [`FromGuardian::Refused`] or
/// [`FromGuardian::Ended`], the run is lost.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromGuardian {
    /// It lives, and nothing of the run does yet. With it comes a pidfd of the guardian.
    Here,
    /// The agent lives.
    Started {
        /// Its process id, as its own namespace counts.
        pid: u32,
    },
    /// There will be no agent: a sentence for the task's owner.
    Refused(String),
    /// The agent has exited, and everything of it is gone.
    Ended {
        /// How it ended.
        status: Status,
        /// Others of the run still lived, and were killed.
        survivors: bool,
        /// Some can't be killed: the kernel holds them.
        stuck: bool,
        /// What all of it has used.
        used: Used,
        /// The kernel killed something of it for memory.
        out_of_memory: bool,
    },
}

/// What a run has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Time of processors.
    pub cpu: Duration,
    /// The most memory at a time, in bytes.
    pub peak_memory: u64,
}

/// How a process ended, as `waitid` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What an agent is made of.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The program, then its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The run's own directory, which goes with it.
    pub dir: OsString,
    /// What it reads on standard input; nothing: that is closed.
    pub stdin: Option<String>,
    /// Its standard output is a terminal, which is to control it.
    pub terminal: bool,
    /// What is done to it before it begins.
    pub outfit: Outfit,
    /// What its cgroup is limited to, where it has one.
    pub bounds: Bounds,
}

/// One end of a socket of packets: they come whole and in order, or not at all.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// Whether to wait for room, or for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Yes,
    No,
}

impl Channel {
    /// Both ends of a new one.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a packet, with copies of these descriptors.
    pub fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>], wait: Wait) -> io::Result<()> {
        let packet = serde_json::to_vec(message)?;
        if packet.len() > MAX_PACKET {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the packet is too long"));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one packet"));
        }
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::DONTWAIT, wait == Wait::No);
        retry(|| sendmsg(&self.0, &[IoSlice::new(&packet)], &mut control, flags))?;
        Ok(())
    }

    /// The next packet, with its descriptors; `None` when the other end is gone.
    pub fn receive<M: DeserializeOwned>(&self, wait: Wait) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut packet = vec![0; MAX_PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        flags.set(RecvFlags::DONTWAIT, wait == Wait::No);
        let received = match retry(|| recvmsg(&self.0, &mut [IoSliceMut::new(&mut packet)], &mut control, flags)) {
            // The other end went before it had read everything.
            Err(Errno::CONNRESET) => return Ok(None),
            received => received?,
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let message = serde_json::from_slice(&packet[..received.bytes])?;
        Ok(Some((message, descriptors)))
    }
}

impl From<OwnedFd> for Channel {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn retry<T>(call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    rustix::io::retry_on_intr(call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn packets_come_whole_in_order_and_with_their_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        one.send(&ToGuardian::Terminate, &[], Wait::Yes).unwrap();
        one.send(&ToGuardian::Kill, &[writer.as_fd()], Wait::Yes).unwrap();
        drop((one, writer));
        let (first, none) = other.receive::<ToGuardian>(Wait::Yes).unwrap().unwrap();
        let (second, descriptors) = other.receive::<ToGuardian>(Wait::Yes).unwrap().unwrap();
        assert!(matches!((first, second), (ToGuardian::Terminate, ToGuardian::Kill)));
        assert_eq!((none.len(), descriptors.len()), (0, 1));
        assert!(other.receive::<ToGuardian>(Wait::Yes).unwrap().is_none());
        drop(descriptors);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn who_does_not_want_to_wait_is_told_that_there_is_nothing() {
        let (one, other) = Channel::pair().unwrap();
        assert_eq!(other.receive::<ToGuardian>(Wait::No).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        while one.send(&ToGuardian::Kill, &[], Wait::No).is_ok() {}
        assert_eq!(one.send(&ToGuardian::Kill, &[], Wait::No).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
