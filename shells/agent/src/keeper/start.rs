//! How a guardian starts the agent: in which cgroup, what the child does before it becomes the agent, and what is said when that does
//! not work. It forks itself, as the standard library can't make a process in a cgroup; the rest of it does as usual.

use super::kernel;
use super::outfit::{Outfit, Step};
use super::protocol::Order;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{
    Pid, WaitOptions, getpid, getppid, ioctl_tiocsctty, set_parent_process_death_signal, setsid, waitpid,
};
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
    /// The run's cgroup, where it has one.
    pub cgroup: Option<File>,
    /// Everything of the run ends with its guardian.
    pub in_namespace: bool,
}

/// Starts the agent. The error is a sentence for the task's owner.
#[allow(unsafe_code)]
pub fn start(order: &mut Order, around: Around) -> Result<Pid, String> {
    let Around { stdout, stderr, cgroup, in_namespace } = around;
    let (program, arguments) = order.argv.split_first().ok_or("the command line is empty")?;
    let unmade = |error: io::Error| format!("could not make what {program} is started with: {error}");
    let stdin = order.stdin.take().map(|text| fed(&text).map_err(unmade)).transpose()?;
    let (mut failed, mut fails) = io::pipe().map_err(unmade)?;
    let outfit = Arc::new(std::mem::take(&mut order.outfit));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(order.env.iter().map(|(name, value)| (name, value)));
    command.stdin(stdin.map_or_else(Stdio::null, Stdio::from)).stdout(stdout).stderr(stderr);
    if !order.terminal {
        command.process_group(0);
    }
    let child = Child {
        outfit: outfit.clone(),
        fails: fails.try_clone().map_err(unmade)?,
        terminal: order.terminal,
        parent: (!in_namespace).then(getpid),
    };
    before_exec(&mut command, child);
    // SAFETY: the guardian has one thread, and the child ends here.
    let cloned = unsafe { kernel::clone(0, cgroup.as_ref().map(File::as_fd)) }.map_err(|e| refusal(program, &e))?;
    let Some(agent) = cloned else {
        let error = command.exec();
        let _ = fails.write_all(&error.raw_os_error().unwrap_or_default().to_ne_bytes());
        kernel::exit(127);
    };
    // With them go the other ends of the pipe; the child's own as it becomes the agent.
    drop((command, fails));
    let mut said = Vec::new();
    failed.read_to_end(&mut said).map_err(unmade)?;
    // The step that failed, if it was one of those before the program's own start, and the kernel's number of the error.
    let Some((step, number)) = said.split_last_chunk().map(|(step, number)| (step, i32::from_ne_bytes(*number))) else {
        return Ok(agent);
    };
    let _ = waitpid(Some(agent), WaitOptions::empty());
    let error = io::Error::from_raw_os_error(number);
    let step = step.first().and_then(|step| Step::of(*step));
    Err(step.map_or_else(|| refusal(program, &error), |step| outfit.refusal(step, &error)))
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
    terminal: bool,
    /// Where no namespace ends with it the kernel kills the agent when this one ends.
    parent: Option<Pid>,
}

impl Child {
    fn prepare(&self) -> Result<(), (Step, rustix::io::Errno)> {
        kernel::reset_signals();
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
    // SAFETY: only system calls are made, and nothing is allocated or locked.
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
