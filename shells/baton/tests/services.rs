//! The small services as processes: what they answer, and how they end.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use tempfile::TempDir;

/// A service that listens.
struct Service {
    child: Child,
    logs: BufReader<ChildStderr>,
    address: String,
}

impl Service {
    fn start(directory: &TempDir, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
        command.args(arguments).current_dir(directory.path()).env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut logs = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        logs.read_line(&mut line).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let address = line["address"].as_str().unwrap().to_owned();
        Self { child, logs, address }
    }

    /// The status and the body of an answer.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// What it logged until it ended by a signal, and its exit code.
    fn end(mut self) -> (Option<i32>, String) {
        let told = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        let mut logs = String::new();
        self.logs.read_to_string(&mut logs).unwrap();
        (self.child.wait().unwrap().code(), logs)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn projects_are_served_as_the_file_has_them_now() {
    let directory = TempDir::new().unwrap();
    let file = |text: &str| fs::write(directory.path().join("projects.json"), text).unwrap();
    file(r#"{"default": {"db_conn": "sqlite:///x", "env": {"TOKEN": "s3cret"}}}"#);
    let service = Service::start(&directory, &["projects", "--projects", "projects.json", "--listen", "127.0.0.1:0"]);
    let ready = |address: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
        command.args(["ready", "--server", &format!("http://{address}")]).current_dir(directory.path()).env_clear();
        command.output().unwrap().status.code()
    };
    assert_eq!((service.get("/readyz").0, ready(&service.address)), (200, Some(0)));
    assert_eq!(ready("127.0.0.1:1"), Some(3));
    let (status, body) = service.get("/projects/default");
    assert_eq!((status, body.as_str()), (200, r#"{"db_conn":"sqlite:///x","env":{"TOKEN":"s3cret"}}"#));
    for (path, slug) in [
        ("/projects/other", "no-such-project"),
        ("/projects/..", "no-such-project"),
        ("/projects/%ff", "no-such-project"),
        ("/projects", "no-such-path"),
        ("/tasks", "no-such-path"),
    ] {
        let (status, body) = service.get(path);
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, problem["type"].as_str()), (404, Some(format!("/problems/{slug}").as_str())), "{path}");
    }
    file(r#"{"default": {}, "other": {"paths": {"in": "/data"}}}"#);
    assert_eq!(service.get("/projects/other"), (200, r#"{"paths":{"in":"/data"}}"#.to_owned()));
    file(r#"{"default": {}, "other": "#);
    let (status, body) = service.get("/projects/default");
    assert!(status == 500 && body.contains("/problems/unusable-project"), "{status} {body}");
    let (code, logs) = service.end();
    assert_eq!(code, Some(0), "{logs}");
    assert!(logs.contains("\"ended\"") && !logs.contains("s3cret"), "{logs}");
}

#[test]
fn two_workers_do_not_share_a_directory() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("runs")).unwrap();
    let lock = fs::File::create(directory.path().join("runs/lock")).unwrap();
    lock.lock().unwrap();
    fs::write(directory.path().join("projects.json"), "{}").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
    command.args(["worker", "--kafka", "127.0.0.1:1", "--projects", "projects.json", "--runs", "runs"]);
    let output = command.current_dir(directory.path()).env_clear().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        said,
        "baton: another baton uses runs; each worker of a machine needs a directory of its own, given by --runs\n"
    );
    assert_eq!(output.status.code(), Some(3));
}
