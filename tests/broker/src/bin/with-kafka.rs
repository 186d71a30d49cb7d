//! `with-kafka COMMAND...` runs a command beside a broker that all its tests share, and ends as the command did.
//!
//! The broker is started before the command, and must never outlive it. One that the environment names already is used instead.

use std::process::{Command, ExitCode};

/// As a shell tells that a signal ended a command.
const BY_SIGNAL: i32 = 128;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: with-kafka COMMAND [ARGUMENT...]");
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    match baton_broker::run_beside(command) {
        Ok(status) => {
            use std::os::unix::process::ExitStatusExt as _;
            let code = status.code().or_else(|| status.signal().map(|signal| BY_SIGNAL + signal));
            code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("with-kafka: {error}");
            ExitCode::FAILURE
        }
    }
}
