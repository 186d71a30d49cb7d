//! What a process is given between fork and exec: its limits, its user, its directory. All is looked up before, by the worker; here
//! only calls of the kernel are made, nothing is allocated, and each that fails says which it was.

use super::kernel;
use rustix::fs::{Access, Mode};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, chdir, setpriority_process, setrlimit, umask};
use rustix::thread::{Gid, Uid, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::io;

/// What is done to a process before it becomes the agent.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outfit {
    pub limits: Vec<Limit>,
    pub nice: Option<i32>,
    pub umask: Option<u32>,
    pub user: Option<User>,
    pub directory: Option<CString>,
}

/// A limit of the kernel's for each process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limit {
    pub kind: LimitKind,
    /// Where the process is told of it, and where it ends.
    pub soft: u64,
    pub hard: u64,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitKind {
    Memory,
    CpuTime,
    OpenFiles,
    Processes,
    FileSize,
    CoreDumps,
}

/// Whom a process becomes.
#[derive(Debug, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub id: u32,
    pub group: u32,
    pub groups: Vec<u32>,
    /// A file of the run's own, which the user must be able to read.
    pub reads: CString,
}

/// A step that failed. Its number goes through a pipe, as a child before exec can say little else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Terminal,
    Limit(LimitKind),
    Nice,
    User,
    Files,
    Directory,
    Parent,
}

impl LimitKind {
    const ALL: [Self; 6] =
        [Self::Memory, Self::CpuTime, Self::OpenFiles, Self::Processes, Self::FileSize, Self::CoreDumps];

    /// As the kernel names it.
    pub const fn resource(self) -> Resource {
        match self {
            // What is only reserved does not count, as runtimes reserve far more than they ever use.
            Self::Memory => Resource::Data,
            Self::CpuTime => Resource::Cpu,
            Self::OpenFiles => Resource::Nofile,
            Self::Processes => Resource::Nproc,
            Self::FileSize => Resource::Fsize,
            Self::CoreDumps => Resource::Core,
        }
    }

    /// As the table of types names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::CpuTime => "cpu_time",
            Self::OpenFiles => "open_files",
            Self::Processes => "processes",
            Self::FileSize => "file_size",
            Self::CoreDumps => "core_dumps",
        }
    }
}

impl Step {
    const OTHERS: [Self; 6] = [Self::Terminal, Self::Nice, Self::User, Self::Files, Self::Directory, Self::Parent];

    fn all() -> impl Iterator<Item = Self> {
        Self::OTHERS.into_iter().chain(LimitKind::ALL.map(Self::Limit))
    }

    /// Its number, from 1.
    pub fn number(self) -> u8 {
        let at = Self::all().position(|step| step == self).expect("all steps are in the list");
        u8::try_from(at + 1).expect("there are a few steps")
    }

    /// The step of this number.
    pub fn of(number: u8) -> Option<Self> {
        Self::all().nth(usize::from(number).checked_sub(1)?)
    }
}

impl Outfit {
    /// To be called in the child, last but for what ends it with its parent: that the kernel forgets as the user changes.
    pub fn put_on(&self) -> Result<(), (Step, Errno)> {
        if let Some(mask) = self.umask {
            umask(Mode::from_bits_truncate(mask));
        }
        if let Some(nice) = self.nice {
            setpriority_process(None, nice).map_err(|error| (Step::Nice, error))?;
        }
        for Limit { kind, soft, hard } in &self.limits {
            let limit = Rlimit { current: Some(*soft), maximum: Some(*hard) };
            setrlimit(kind.resource(), limit).map_err(|error| (Step::Limit(*kind), error))?;
        }
        if let Some(user) = &self.user {
            user.become_it()?;
        }
        match &self.directory {
            Some(directory) => chdir(directory).map_err(|error| (Step::Directory, error)),
            None => Ok(()),
        }
    }

    /// A sentence for the task's owner.
    pub fn refusal(&self, step: Step, error: &io::Error) -> String {
        match step {
            Step::Terminal => format!("could not give the process its terminal: {error}"),
            Step::Limit(kind) => {
                let name = kind.name();
                let limit = self.limits.iter().find(|limit| limit.kind == kind).map_or(0, |limit| limit.soft);
                format!(
                    "could not set limits.{name} to {limit}: {error}; this worker's own limit is lower, and it may not raise it"
                )
            }
            Step::Nice => {
                let nice = self.nice.unwrap_or_default();
                format!("could not set process.nice to {nice}: {error}; only root may go below what it has")
            }
            Step::User => {
                format!(
                    "could not run as {:?}: {error}; only a worker that is root can, in no user namespace",
                    self.name()
                )
            }
            Step::Files => format!(
                "the user {:?} can't reach the run's own files: {error}; the worker's directory must be one that it may enter",
                self.name()
            ),
            Step::Directory => {
                let directory = self.directory.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default();
                format!("could not start in {directory}: {error}")
            }
            Step::Parent => "the run was ended before it began".to_owned(),
        }
    }

    fn name(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.name)
    }
}

impl User {
    fn become_it(&self) -> Result<(), (Step, Errno)> {
        let failed = |error| (Step::User, error);
        kernel::set_groups(&self.groups).map_err(failed)?;
        let (group, user) = (Gid::from_raw(self.group), Uid::from_raw(self.id));
        set_thread_res_gid(group, group, group).map_err(failed)?;
        set_thread_res_uid(user, user, user).map_err(failed)?;
        rustix::fs::access(&self.reads, Access::READ_OK).map_err(|error| (Step::Files, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_known_by_its_number() {
        assert!(Step::all().all(|step| Step::of(step.number()) == Some(step)));
        assert_eq!((Step::of(0), Step::of(99)), (None, None));
    }
}
