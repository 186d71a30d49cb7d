//! Kills a process at a step that it takes: before or after its first system call from now on, its second, and so on. It watches
//! with ptrace(2), from a process of its own: a tracer that is the parent takes each step for a death.
#![allow(unsafe_code)]

use std::fs;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::ptr::null_mut;

/// Lets the stalker watch where the system would let none but an ancestor (Yama).
pub fn may_stalk_me() {
    // SAFETY: it takes a number. Where there is no Yama it fails, and is not needed.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
}

/// Says `ready`; then `killed`, at once when it has, or `missed` when the victim, or who should have made it, has ended before. The
/// victim is the process, whichever thread takes the step, or the first child that it makes. An odd step is before a call, the even
/// one that follows is after it.
pub fn stalk(process: &str, victim: &str, step: &str) -> ExitCode {
    let mut stalker = Stalker {
        process: process.parse().expect("a process has a number"),
        of_child: victim == "child",
        child: None,
        left: step.parse().expect("a step is a number"),
    };
    stalker.begin().expect("a process may be watched (ptrace)");
    say("ready");
    say(if stalker.kills() { "killed" } else { "missed" });
    ExitCode::SUCCESS
}

fn say(word: &str) {
    println!("{word}");
    io::stdout().flush().expect("somebody listens");
}

struct Stalker {
    process: i32,
    of_child: bool,
    child: Option<i32>,
    /// How many steps are left.
    left: u32,
}

impl Stalker {
    /// When this returns every thread of the process is watched.
    fn begin(&self) -> io::Result<()> {
        let new = if self.of_child {
            libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE
        } else {
            libc::PTRACE_O_TRACECLONE
        };
        for thread in fs::read_dir(format!("/proc/{}/task", self.process))? {
            let thread = thread?.file_name().to_str().and_then(|name| name.parse().ok());
            let thread = thread.ok_or_else(|| io::Error::other("a thread has no number"))?;
            ask(libc::PTRACE_SEIZE, thread, libc::PTRACE_O_TRACESYSGOOD | new)?;
            ask(libc::PTRACE_INTERRUPT, thread, 0)?;
        }
        Ok(())
    }

    /// Whether it has killed; if not, there is nobody to be killed any more.
    fn kills(&mut self) -> bool {
        loop {
            let mut status = 0;
            // SAFETY: the status is written to a number of ours.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
            if pid < 0 {
                return false;
            }
            if !libc::WIFSTOPPED(status) {
                if pid == self.process || self.child == Some(pid) {
                    return false;
                }
                continue;
            }
            let signal = libc::WSTOPSIG(status);
            if signal == libc::SIGTRAP | 0x80 {
                self.left -= 1;
                if self.left == 0 {
                    // SAFETY: it takes numbers; the process can't be another, as it is watched.
                    return unsafe { libc::kill(self.child.unwrap_or(self.process), libc::SIGKILL) } == 0;
                }
                self.go_on(pid, 0);
            } else if status >> 16 == 0 {
                self.go_on(pid, signal);
            } else {
                // An event, and no signal.
                if pid != self.process && self.of_child && self.child.is_none() {
                    self.child = Some(pid);
                    // What that one makes is nobody's business.
                    let _ = ask(libc::PTRACE_SETOPTIONS, pid, libc::PTRACE_O_TRACESYSGOOD);
                }
                self.go_on(pid, 0);
            }
        }
    }

    /// One that was killed by somebody else meanwhile does not.
    fn go_on(&self, pid: i32, signal: i32) {
        let on = if !self.of_child || self.child == Some(pid) {
            libc::PTRACE_SYSCALL
        } else if pid == self.process {
            libc::PTRACE_CONT
        } else {
            // A later child.
            libc::PTRACE_DETACH
        };
        let _ = ask(on, pid, signal);
    }
}

fn ask(what: libc::c_uint, pid: i32, data: i32) -> io::Result<()> {
    let data = null_mut::<libc::c_void>().wrapping_byte_add(usize::try_from(data).unwrap_or_default());
    // SAFETY: none of the requests made here reads or writes memory of this process.
    match unsafe { libc::ptrace(what, pid, null_mut::<libc::c_void>(), data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
