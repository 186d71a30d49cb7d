//! How the process ends when something went wrong: one report on stderr, and an exit code that tells the sorts apart.
//! It never shows a backtrace, nor what only a programmer can read.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    message: String,
    code: u8,
}

/// The task failed or was stopped, or the request was refused.
pub const FAILED: u8 = 1;
/// Bad usage.
pub const USAGE: u8 = 2;
/// The server or the log could not be reached.
pub const UNREACHABLE: u8 = 3;
/// Interrupted: 128 and the number of SIGINT.
pub const INTERRUPTED: u8 = 130;

impl Failure {
    /// The request was refused.
    pub fn refused(message: impl Display) -> Self {
        Self { message: message.to_string(), code: FAILED }
    }

    /// What was asked can't be.
    pub fn usage(message: impl Display) -> Self {
        Self { message: message.to_string(), code: USAGE }
    }

    /// The server or the log could not be reached.
    pub fn unreachable(message: impl Display) -> Self {
        Self { message: message.to_string(), code: UNREACHABLE }
    }

    /// Whether trying again later may help.
    pub const fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    /// Says what went wrong, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // There is nothing left to be done about a standard error that takes nothing.
        let _ = writeln!(std::io::stderr(), "baton: {}", self.message);
        ExitCode::from(self.code)
    }
}
