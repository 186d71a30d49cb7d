//! What the core asks of a process, and what it hears of one.

use crate::id::TaskId;
use crate::launch::Launch;
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::trace::TraceParent;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A process to be made: one attempt of one task.
#[derive(Clone, PartialEq, Eq)]
pub struct Spawn {
    /// Whose it is.
    pub task_id: TaskId,
    /// From 1.
    pub attempt: u32,
    /// The program, then its arguments. No shell reads them.
    pub argv: Vec<String>,
    /// What the project adds to the environment, checked by [`crate::project`]. May hold secrets.
    pub env: Vec<(String, String)>,
    /// The project's config as JSON, for the attempt's private file. May hold secrets.
    pub project_file: String,
    /// Where, as whom and with what it is started.
    pub launch: Launch,
    /// What it may take.
    pub limits: Limits,
    /// What it reads on standard input; nothing: that is closed. May hold secrets.
    pub stdin: Option<String>,
    /// Files to be made, whose paths are among its arguments.
    pub files: Vec<ArgumentFile>,
    /// When it will be ended, if it may not run for as long as it likes.
    pub deadline: Option<Timestamp>,
    /// The trace that the task is part of.
    pub traceparent: Option<TraceParent>,
}

/// A text that an agent reads from a file of its own, in the attempt's directory: private, and gone with it.
#[derive(Clone, PartialEq, Eq)]
pub struct ArgumentFile {
    /// Its name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Which argument is its path: where that stands in the command line, and its name until the directory is known.
    pub argument: usize,
    /// What is in it. May hold secrets.
    pub text: String,
}

impl fmt::Debug for ArgumentFile {
    /// Leaves out what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.name, self.text.len())
    }
}

impl fmt::Debug for Spawn {
    /// Leaves out what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn")
            .field("task_id", &self.task_id)
            .field("attempt", &self.attempt)
            .field("argv", &self.argv)
            .finish_non_exhaustive()
    }
}

/// Which of its two outputs a process wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM to the group: it may tidy up.
    Terminate,
    /// SIGKILL to all of it, at once.
    Kill,
}

/// How a process ended. By then nothing of it is left: no child, no pipe, no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What the kernel said.
    pub status: ExitStatus,
    /// Something of it still lived, or held its output open, and was killed.
    pub survivors_killed: bool,
    /// What all of it used, where the kernel said so.
    pub usage: Option<Usage>,
    /// The kernel ended something of it because it had no more memory.
    pub out_of_memory: bool,
}

/// What a process used, with everything that it forked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time of processors, of the user's and of the kernel's side.
    pub cpu: Duration,
    /// The most memory that was resident at once, in bytes.
    pub peak_memory: u64,
}

impl Exit {
    /// How it ended, with nothing more known.
    pub const fn of(status: ExitStatus) -> Self {
        Self { status, survivors_killed: false, usage: None, out_of_memory: false }
    }
}

/// What the kernel says of a process that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// It exited by itself; 0 is success.
    Code(i32),
    /// It was ended by the signal of this number.
    Signal(i32),
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "killed by signal {number} ({name})"),
                None => write!(f, "killed by signal {number}"),
            },
        }
    }
}

/// The names of the signals that end processes, by their numbers on Linux (`signal(7)`).
const SIGNALS: [(i32, &str); 18] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (10, "SIGUSR1"),
    (11, "SIGSEGV"),
    (12, "SIGUSR2"),
    (13, "SIGPIPE"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
    (31, "SIGSYS"),
];

/// The name of a signal.
pub(crate) fn signal_name(number: i32) -> Option<&'static str> {
    SIGNALS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The number of a signal.
pub(crate) fn signal_number(name: &str) -> Option<i32> {
    SIGNALS.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}
