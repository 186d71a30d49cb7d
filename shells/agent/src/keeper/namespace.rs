//! A PID namespace for each run, with a `/proc` of its own, so that the kernel itself ends everything of a run with the first
//! process of it. All or nothing: a run that sees the numbers of one namespace in the `/proc` of another would be misled.

use super::kernel;
use super::protocol::Keeping;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, WaitId, WaitIdOptions, getgid, getpid, getuid, waitid};
use std::fs;
use std::io;

/// Where the kernel takes the number from after which it gives the next process of this namespace its own.
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// The namespaces that a run gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// A user namespace too, in which everybody keeps their number: so whoever is not root may make the others.
    user: bool,
}

impl Namespaces {
    /// What can be made here, found out by making it; or why nothing can.
    pub fn find() -> Result<Self, String> {
        let plain = Self { user: false };
        plain.try_out().map(|()| plain).or_else(|without| {
            let with_user = Self { user: true };
            let tried = with_user.try_out().map(|()| with_user);
            tried.map_err(|with| format!("{without}; with a user namespace: {with}"))
        })
    }

    /// As it is told to the worker.
    pub const fn keeping(self) -> Keeping {
        Keeping::Namespaces { user: self.user }
    }

    /// For [`kernel::clone`].
    pub fn flags(self) -> u64 {
        let user = if self.user { libc::CLONE_NEWUSER } else { 0 };
        u64::from((libc::CLONE_NEWPID | libc::CLONE_NEWNS | user).unsigned_abs())
    }

    /// To be called first of all in the new namespaces.
    pub fn enter(self) -> io::Result<()> {
        let outer_number = fs::read_link("/proc/self")?;
        if self.user {
            let (user, group) = (getuid().as_raw(), getgid().as_raw());
            fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        }
        // What the system mounts and unmounts is seen in the run, and never the other way round.
        mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        mount("proc", "/proc", "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)?;
        // Programs that find their own number in a lock file take the lock for their own: so the numbers must not be the same
        // in every run. It can't be written without the kernel's checkpoint support; then they are.
        if let Some(number) = outer_number.to_str() {
            let _ = fs::write(LAST_PID, number);
        }
        Ok(())
    }

    #[allow(unsafe_code)]
    fn try_out(self) -> Result<(), String> {
        let said = |what: &str, error: &io::Error| format!("{what}: {error}");
        // SAFETY: the keeper has one thread, and the child ends here.
        let child = unsafe { kernel::clone(self.flags(), None) }.map_err(|error| said("they can't be made", &error))?;
        let Some(child) = child else {
            let entered =
                self.enter().and_then(|()| if getpid().is_init() { Ok(()) } else { Err(io::Error::other("")) });
            kernel::exit(entered.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EINVAL), |()| 0));
        };
        match exit_code(child) {
            Some(0) => Ok(()),
            Some(number) => Err(said("they can't have a /proc of their own", &io::Error::from_raw_os_error(number))),
            None => Err("they can't have a /proc of their own".into()),
        }
    }
}

fn exit_code(child: Pid) -> Option<i32> {
    waitid(WaitId::Pid(child), WaitIdOptions::EXITED).ok()??.exit_status()
}
