//! The client against servers that answer oddly. The answers of a real one are tested end to end, not here.
#![allow(clippy::unwrap_used)]

mod answers;
mod server;
mod streams;

use server::Server;
use std::process::{Command, Output, Stdio};

/// Runs a command of the client against a server, away from any configuration.
fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
    command.args(arguments).env_clear().env("BATON_SERVER", &server.url).current_dir(std::env::temp_dir());
    command.stdin(Stdio::null());
    command
}

fn baton(server: &Server, arguments: &[&str]) -> Output {
    command(server, arguments).output().unwrap()
}

/// Exit code, stdout and stderr, with the server's address as it is in each run.
fn picture(server: &Server, output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&server.url, "http://SERVER");
    let code = output.status.code().map_or("a signal".into(), |code| code.to_string());
    format!("exit {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
}
