//! `with-kafka` as a person runs it, and that nothing is left of it, however it ends.
#![allow(clippy::unwrap_used, reason = "a harness fails by panicking")]

mod patience;

use patience::until;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// `with-kafka` with a broker of its own, whatever broker these tests have.
fn with_kafka(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-kafka"));
    command.args(arguments).env("TMPDIR", temporary).env_remove("BATON_TEST_KAFKA").stdin(Stdio::null());
    command
}

/// A command that tells its broker's address and stays.
fn staying(temporary: &Path) -> (Child, BufReader<ChildStdout>, String) {
    let script = "trap 'echo told to go; exit 7' TERM; echo $BATON_TEST_KAFKA; while :; do sleep 0.05; done";
    let mut child = with_kafka(temporary, &["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut address = String::new();
    output.read_line(&mut address).unwrap();
    let address = address.trim().to_owned();
    TcpStream::connect(&address).expect("the broker listens before the command runs");
    (child, output, address)
}

/// Waits until no process has this directory in its command line, nothing is in it, and nobody listens.
fn until_nothing_is_left(temporary: &Path, address: &str) {
    until("the broker is gone", || processes_of(temporary) == 0);
    until("its files are gone", || fs::read_dir(temporary).unwrap().next().is_none());
    until("nobody listens", || TcpStream::connect(address).is_err());
}

fn processes_of(dir: &Path) -> usize {
    let dir = dir.to_str().unwrap();
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    processes.filter(|line| String::from_utf8_lossy(line).contains(dir)).count()
}

#[test]
fn the_command_has_a_broker_and_its_end_is_told() {
    let temporary = TempDir::new().unwrap();
    // One inside of the other: the inner one finds a broker named, and uses it.
    let script = "echo $BATON_TEST_KAFKA; exec \"$0\" sh -c 'echo $BATON_TEST_KAFKA; exit 3'";
    let itself = env!("CARGO_BIN_EXE_with-kafka");
    let said = with_kafka(temporary.path(), &["sh", "-c", script, itself]).output().unwrap();
    assert_eq!(said.status.code(), Some(3));
    let said = String::from_utf8(said.stdout).unwrap();
    let addresses: Vec<&str> = said.lines().collect();
    assert!(addresses.len() == 2 && addresses[0] == addresses[1], "{said}");
    until_nothing_is_left(temporary.path(), addresses[0]);
}

#[test]
fn a_sigterm_goes_to_the_command() {
    let temporary = TempDir::new().unwrap();
    let (mut child, mut output, address) = staying(temporary.path());
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "told to go\n");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    until_nothing_is_left(temporary.path(), &address);
}

#[test]
fn a_sigkill_leaves_nothing() {
    let temporary = TempDir::new().unwrap();
    let (mut child, mut output, address) = staying(temporary.path());
    assert_ne!(processes_of(temporary.path()), 0);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "told to go\n", "the command goes too");
    until_nothing_is_left(temporary.path(), &address);
}

#[test]
fn a_named_broker_that_is_not_there_is_told() {
    let temporary = TempDir::new().unwrap();
    let nobody = "127.0.0.1:1";
    let said = with_kafka(temporary.path(), &["true"]).env("BATON_TEST_KAFKA", nobody).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("BATON_TEST_KAFKA names 127.0.0.1:1, and no broker answers there"), "{said}");
}

#[test]
fn what_is_missing_is_told_and_how_to_get_it() {
    let temporary = TempDir::new().unwrap();
    let mut command = with_kafka(temporary.path(), &["true"]);
    let said = command.env("PATH", temporary.path()).env_remove("JAVA_HOME").output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(
        said.contains("java can't be run") && said.contains("apt-get install openjdk-17-jre-headless maven"),
        "{said}"
    );
}
