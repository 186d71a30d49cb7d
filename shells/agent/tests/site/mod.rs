//! Where the tests' runs live: a directory of their own, by which everything of them is found. Both kinds of keeping are
//! tried, as far as this system has them.
#![allow(dead_code, clippy::unwrap_used)]

pub mod worker;

use baton_agent::{Isolation, Options, Subprocess, Subprocesses, Unopened};
use baton_core::launch::Launch;
use baton_core::limits::Limits;
use baton_core::process::{Exit, ExitStatus, Spawn, Stream};
use baton_runtime::ports::{Agents as _, Process as _, ProcessEvent};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// After this long what should have happened won't happen any more.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const WELL: ExitStatus = ExitStatus::Code(0);

pub const FIXTURE: &str = env!("CARGO_BIN_EXE_baton-agent-fixture");

pub struct Site {
    pub dir: TempDir,
    pub agents: Subprocesses,
    pub isolation: Isolation,
}

/// What keeps runs together, each way of it; `Auto` is namespaces wherever there are any.
pub const EACH: [Isolation; 3] = [Isolation::Auto, Isolation::Cgroup, Isolation::Process];

/// Those of them that this system has.
pub fn each() -> impl Iterator<Item = Isolation> {
    let is_there = |isolation: &Isolation| {
        let dir = TempDir::new().unwrap();
        match Subprocesses::open(&options(dir.path(), *isolation)) {
            Ok(_) => true,
            Err(Unopened::Means { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    };
    EACH.into_iter().filter(is_there)
}

impl Site {
    pub fn new(isolation: Isolation) -> Self {
        let dir = TempDir::new().unwrap();
        let agents = Subprocesses::open(&options(dir.path(), isolation)).unwrap();
        Self { dir, agents, isolation }
    }

    /// In each way that this system has of keeping runs together.
    pub fn each() -> impl Iterator<Item = Self> {
        each().map(Self::new)
    }

    pub async fn spawn(&self, arguments: &str) -> Subprocess {
        self.agents.spawn(spawn(arguments)).await.unwrap()
    }

    pub fn runs(&self) -> PathBuf {
        self.dir.path().join("runs")
    }

    pub fn assert_nothing_left(&self) {
        let left: Vec<_> = fs::read_dir(self.runs()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        let living = living(self.dir.path());
        assert!(living.is_empty(), "{living:?}");
    }

    pub async fn until_nothing_left(&self) {
        until("nothing left", || {
            living(self.dir.path()).is_empty() && fs::read_dir(self.runs()).unwrap().next().is_none()
        })
        .await;
    }
}

pub fn options(dir: &Path, isolation: Isolation) -> Options {
    Options { runs_dir: dir.join("runs"), keeper: (FIXTURE.into(), vec!["keeper".into()]), isolation }
}

/// The fixture that misbehaves, as a command line.
pub fn misbehave(arguments: &str) -> String {
    format!("python3 {}/../../tests/fixtures/misbehave.py {arguments}", env!("CARGO_MANIFEST_DIR"))
}

pub fn spawn(arguments: &str) -> Spawn {
    Spawn {
        task_id: "abc".parse().unwrap(),
        attempt: 1,
        argv: misbehave(arguments).split_whitespace().map(str::to_owned).collect(),
        env: vec![("GREETING".into(), "hello".into())],
        project_file: "{\"db_conn\":\"x\"}".into(),
        launch: Launch::default(),
        limits: Limits::default(),
        stdin: None,
        files: Vec::new(),
        deadline: None,
        traceparent: None,
    }
}

/// The processes of runs in this directory: their environment is marked with it, or their command line names it.
pub fn living(dir: &Path) -> Vec<String> {
    let mark = format!("BATON_RUN={}", dir.display());
    let argument = dir.display().to_string();
    let of_ours = |process: &PathBuf| {
        let holds = |file: &str, text: &str| {
            fs::read(process.join(file)).is_ok_and(|read| String::from_utf8_lossy(&read).contains(text))
        };
        holds("environ", &mark) || holds("cmdline", &argument)
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes.filter(of_ours).map(|path| path.display().to_string()).collect()
}

pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < patience, "{what}: it did not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[derive(Debug, Default)]
pub struct Heard {
    pub out: String,
    pub err: String,
}

/// Everything up to the exit; `None` if the process was lost.
pub async fn hear_all(process: &mut Subprocess) -> (Heard, Option<Exit>) {
    let mut heard = Heard::default();
    let listening = async {
        loop {
            match process.next().await {
                ProcessEvent::Output(Stream::Stdout, bytes) => heard.out.push_str(&String::from_utf8_lossy(&bytes)),
                ProcessEvent::Output(Stream::Stderr, bytes) => heard.err.push_str(&String::from_utf8_lossy(&bytes)),
                ProcessEvent::Exited(exit) => return Some(exit),
                ProcessEvent::Lost => return None,
            }
        }
    };
    let exit = tokio::time::timeout(PATIENCE, listening).await.expect("it exits");
    (heard, exit)
}

/// Everything up to the exit.
pub async fn hear(process: &mut Subprocess) -> (Heard, Exit) {
    let (heard, exit) = hear_all(process).await;
    (heard, exit.expect("it is not lost"))
}

/// Up to the first line.
pub async fn until_ready(process: &mut Subprocess) -> String {
    let first = tokio::time::timeout(PATIENCE, process.next()).await.expect("it speaks");
    let ProcessEvent::Output(_, bytes) = first else { panic!("{first:?}") };
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
