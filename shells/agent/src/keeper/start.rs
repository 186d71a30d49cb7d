//! How a guardian starts the agent: what is looked up before the fork, what the child does before it becomes the agent, and what is
//! said when that does not work. The child allocates nothing.

use super::kernel;
use super::outfit::{Outfit, Step};
use super::protocol::Order;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, getpid, getppid, ioctl_tiocsctty, set_parent_process_death_signal, setsid};
use std::fs::File;
use std::io::{self, PipeWriter, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// What stands around the agent.
pub struct Around {
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// The door of the run's cgroup, where it has one.
    pub cgroup: Option<File>,
    /// Everything of the run ends with its guardian.
    pub in_namespace: bool,
}

/// Starts the agent. The error is a sentence for the task's owner.
pub fn start(order: &mut Order, around: Around) -> Result<Pid, String> {
    let (program, arguments) = order.argv.split_first().ok_or("the command line is empty")?;
    let unmade = |error: io::Error| format!("could not make what {program} is started with: {error}");
    let stdin = order.stdin.take().map(|text| fed(&text).map_err(unmade)).transpose()?;
    let (mut failed, fails) = io::pipe().map_err(unmade)?;
    let outfit = Arc::new(std::mem::take(&mut order.outfit));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(order.env.iter().map(|(name, value)| (name, value)));
    command.stdin(stdin.map_or_else(Stdio::null, Stdio::from)).stdout(around.stdout).stderr(around.stderr);
    if !order.terminal {
        command.process_group(0);
    }
    let child = Child {
        outfit: outfit.clone(),
        fails,
        cgroup: around.cgroup,
        terminal: order.terminal,
        parent: (!around.in_namespace).then(getpid),
    };
    before_exec(&mut command, child);
    let spawned = command.spawn();
    // With it goes the other end of the pipe.
    drop(command);
    let spawned = spawned.map_err(|error| {
        let mut step = [0];
        let step = if failed.read(&mut step).is_ok_and(|read| read == 1) { Step::of(step[0]) } else { None };
        step.map_or_else(|| refusal(program, &error), |step| outfit.refusal(step, &error))
    })?;
    spawned.id().try_into().ok().and_then(Pid::from_raw).ok_or_else(|| "the process has no number".to_owned())
}

/// A file to read the text from: nobody has to write it, and it ends.
fn fed(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("baton-stdin", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// What the child needs between fork and exec.
struct Child {
    outfit: Arc<Outfit>,
    /// Takes the number of the step that failed.
    fails: PipeWriter,
    cgroup: Option<File>,
    terminal: bool,
    /// Where no namespace ends with it the kernel kills the agent when this one ends.
    parent: Option<Pid>,
}

impl Child {
    fn prepare(&self) -> Result<(), (Step, rustix::io::Errno)> {
        kernel::reset_signals();
        if let Some(door) = &self.cgroup {
            rustix::io::write(door, b"0").map_err(|error| (Step::Cgroup, error))?;
        }
        if self.terminal {
            let terminal = |error| (Step::Terminal, error);
            setsid().map_err(terminal)?;
            ioctl_tiocsctty(rustix::stdio::stdout()).map_err(terminal)?;
        }
        self.outfit.put_on()?;
        if self.parent.is_some() {
            set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .map_err(|error| (Step::Parent, error))?;
            // It may have died before the line above.
            if getppid() != self.parent {
                return Err((Step::Parent, rustix::io::Errno::PIPE));
            }
        }
        Ok(())
    }
}

#[allow(unsafe_code)]
fn before_exec(command: &mut Command, child: Child) {
    let in_child = move || {
        child.prepare().map_err(|(step, error)| {
            // Without it the error is told as one of the program's.
            let _ = rustix::io::write(child.fails.as_fd(), &[step.number()]);
            error.into()
        })
    };
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated or locked.
    unsafe { command.pre_exec(in_child) };
}

fn refusal(program: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "could not start {program}: there is no such program on this worker (is it installed, and on PATH?)"
        ),
        io::ErrorKind::PermissionDenied => format!("could not start {program}: it is not an executable file"),
        io::ErrorKind::ArgumentListTooLong => {
            format!("could not start {program}: its arguments are longer than the system takes")
        }
        io::ErrorKind::WouldBlock => {
            format!("could not start {program}: there are as many processes already as there may be (limits.processes)")
        }
        _ => format!("could not start {program}: {error}"),
    }
}
