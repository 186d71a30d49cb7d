//! The calls of the kernel that `rustix` does not have, each with a safe face where it can have one. Nothing here decides.
#![allow(unsafe_code)]

use super::protocol::Moment;
use rustix::io::Errno;
use rustix::process::Pid;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::time::Duration;

/// For [`clone`]: the child begins in another cgroup.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Makes a child, in new namespaces if the flags say so, and in this cgroup if there is one. `None` is said in the child.
///
/// A child that begins in its cgroup costs nothing more; one that is moved there waits, for ten milliseconds or more, until all
/// processors have heard of it (`cgroup_threadgroup_rwsem`).
///
/// # Safety
/// As for `fork`: the process must have one thread only, and the child must never return into what its parent is doing.
pub unsafe fn clone(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Option<Pid>> {
    // SAFETY: a zeroed `clone_args` is valid; a null stack means that the child goes on with a copy of this one.
    let mut arguments: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    arguments.flags = flags;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd().unsigned_abs().into();
    }
    arguments.exit_signal = libc::SIGCHLD.unsigned_abs().into();
    // SAFETY: the arguments live through the call, and are as long as said; the rest is the caller's promise.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw))
}

/// Ends this process at once: no destructor, no exit handler.
pub fn exit(code: i32) -> ! {
    // SAFETY: it has no precondition.
    unsafe { libc::_exit(code) }
}

/// Blocks every signal that can be blocked, and gives a descriptor that is readable when a child has ended.
pub fn signals_of_children() -> io::Result<OwnedFd> {
    let (mut all, mut children) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both sets are initialised by the calls that come first, and no call can fail with these arguments but the last.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigemptyset(children.as_mut_ptr());
        libc::sigaddset(children.as_mut_ptr(), libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), null_mut());
        let fd = libc::signalfd(-1, children.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Undoes what [`signals_of_children`] has blocked, and what whoever started Baton has had ignored (a shell does so for what it
/// starts in the background), in a child that is about to become another program.
pub fn reset_signals() {
    let mut none = MaybeUninit::uninit();
    // SAFETY: the set is initialised by the second call; all may be called between fork and exec, and to fail, as for SIGKILL, does
    // no harm.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), null_mut());
    }
}

/// Gives this process these groups, beside its own.
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many numbers as it is told that there are.
    let set = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if set == 0 { Ok(()) } else { Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::PERM)) }
}

/// What all children have used that were reaped, with those that they had reaped: time of processors, and the memory of the
/// largest of them at its peak, in bytes.
pub fn used_by_children() -> (Duration, u64) {
    // SAFETY: a zeroed `rusage` is valid, and lives through the call, which can't fail with these arguments.
    let used = unsafe {
        let mut used: libc::rusage = MaybeUninit::zeroed().assume_init();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut used);
        used
    };
    let time = |time: libc::timeval| {
        let micros = Duration::from_micros(time.tv_usec.unsigned_abs());
        Duration::from_secs(time.tv_sec.unsigned_abs()) + micros
    };
    (time(used.ru_utime) + time(used.ru_stime), used.ru_maxrss.unsigned_abs() * 1024)
}

/// Closes every descriptor from `first` on, but these.
///
/// # Safety
/// Nothing may use what is closed, nor drop what owns it.
pub unsafe fn close_all_but(first: RawFd, kept: &[RawFd]) {
    let mut kept: Vec<libc::c_uint> = kept.iter().filter(|fd| **fd >= first).map(|fd| fd.unsigned_abs()).collect();
    kept.sort_unstable();
    let mut from = first.unsigned_abs();
    for fd in kept {
        if from < fd {
            // SAFETY: the caller's promise.
            unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) };
        }
        from = fd + 1;
    }
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_close_range, from, libc::c_uint::MAX, 0) };
}

/// SIGKILL to everything in the PID namespace whose first process this is, at one stroke: nothing forks its way out.
pub fn kill_namespace() {
    assert!(rustix::process::getpid().is_init(), "this would kill everything that there is");
    // SAFETY: it touches no memory.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// A timer of the kernel's that kills this process, even if it is stopped or hangs.
#[derive(Debug)]
pub struct LastResort(libc::timer_t);

impl LastResort {
    /// One that is not set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a zeroed `sigevent` is valid.
        let mut event: libc::sigevent = unsafe { MaybeUninit::zeroed().assume_init() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        let mut timer = null_mut();
        // SAFETY: both live through the call.
        let made = unsafe { libc::timer_create(libc::CLOCK_BOOTTIME, &raw mut event, &raw mut timer) };
        if made == 0 { Ok(Self(timer)) } else { Err(io::Error::last_os_error()) }
    }

    /// Kills at that time, or never.
    pub fn set(&self, at: Option<Moment>) -> io::Result<()> {
        // SAFETY: a zeroed `itimerspec` is valid, and unsets the timer.
        let mut spec: libc::itimerspec = unsafe { MaybeUninit::zeroed().assume_init() };
        if let Some(at) = at {
            spec.it_value.tv_sec = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
            // Nothing at all would unset it.
            spec.it_value.tv_nsec = i64::from(at.subsec_nanos().max(1));
        }
        // SAFETY: the timer was made by `new`, and the specification lives through the call.
        let set = unsafe { libc::timer_settime(self.0, libc::TIMER_ABSTIME, &raw const spec, null_mut()) };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for LastResort {
    fn drop(&mut self) {
        // SAFETY: the timer was made by `new`, and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}
