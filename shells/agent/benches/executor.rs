//! What it costs to run somebody else's program so that nothing of it is left: each figure beside its target. Run it on a machine
//! that has nothing else to do. Names as arguments pick some.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss)]

use baton_agent::{Isolation, Options, Subprocess, Subprocesses};
use baton_core::launch::Launch;
use baton_core::limits::Limits;
use baton_core::output::{OutputSettings, Reader};
use baton_core::patterns::Patterns;
use baton_core::process::{Signal, Spawn};
use baton_core::redact::Secrets;
use baton_core::time::Instant as CoreInstant;
use baton_runtime::ports::{Agents as _, Process as _, ProcessEvent};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FIXTURE: &str = env!("CARGO_BIN_EXE_baton-agent-fixture");
const SPAWNS: usize = 300;
const AT_A_TIME: usize = 8;
const TREES: usize = 40;
const KILLS: usize = 1000;
const TASKS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if is_wanted("spawn") {
            spawns().await;
        }
        if is_wanted("kill") {
            kills().await;
        }
    });
    if is_wanted("survivors") {
        survivors();
    }
    if is_wanted("memory") {
        memory();
    }
    if is_wanted("firehose") {
        firehose();
    }
}

fn say(what: &str, figure: &str, target: &str) {
    println!("{what:68} {figure:>16}   {target}");
}

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = ((times.len() - 1) as f64 * share).round() as usize;
    times[at]
}

fn order(number: usize, command: &str) -> Spawn {
    Spawn {
        task_id: number.to_string().parse().unwrap(),
        attempt: 1,
        argv: command.split(' ').map(str::to_owned).collect(),
        env: Vec::new(),
        project_file: "{}".into(),
        launch: Launch::default(),
        limits: Limits::default(),
        stdin: None,
        files: Vec::new(),
        deadline: None,
        traceparent: None,
    }
}

fn misbehave(arguments: &str) -> String {
    format!("python3 {}/../../tests/fixtures/misbehave.py {arguments}", env!("CARGO_MANIFEST_DIR"))
}

fn open(dir: &Path, isolation: Isolation) -> Option<Subprocesses> {
    let options = Options { runs_dir: dir.join("runs"), keeper: (FIXTURE.into(), vec!["keeper".into()]), isolation };
    Subprocesses::open(&options).ok()
}

async fn to_the_end(process: &mut Subprocess) {
    while matches!(process.next().await, ProcessEvent::Output(..)) {}
}

async fn spawns() {
    let mut bare: Vec<Duration> = (0..SPAWNS)
        .map(|_| {
            let began = Instant::now();
            let command = Command::new("true").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            command.unwrap().wait().unwrap();
            began.elapsed()
        })
        .collect();
    let bare = percentile(&mut bare, 0.5);
    say("posix_spawn of `true` to its end, p50", &format!("{bare:.2?}"), "");
    for isolation in [Isolation::Auto, Isolation::Cgroup, Isolation::Process] {
        let dir = TempDir::new().unwrap();
        let Some(agents) = open(dir.path(), isolation) else { continue };
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for number in 0..SPAWNS {
            let began = Instant::now();
            let mut process = agents.spawn(order(number, "true")).await.unwrap();
            starts.push(began.elapsed());
            to_the_end(&mut process).await;
            ends.push(began.elapsed());
        }
        let name = format!("{isolation:?}").to_lowercase();
        say(&format!("{name}: spawn to start, p50"), &format!("{:.2?}", percentile(&mut starts, 0.5)), "");
        let over = percentile(&mut ends, 0.5).saturating_sub(bare);
        say(&format!("{name}: overhead over posix_spawn to the end, p50"), &format!("{over:.2?}"), "under 2 ms");
        let began = Instant::now();
        let lanes = (0..AT_A_TIME).map(|lane| {
            let agents = agents.clone();
            tokio::spawn(async move {
                for number in 0..SPAWNS / AT_A_TIME {
                    let number = 1000 + lane * SPAWNS + number;
                    to_the_end(&mut agents.spawn(order(number, "true")).await.unwrap()).await;
                }
            })
        });
        for lane in lanes.collect::<Vec<_>>() {
            lane.await.unwrap();
        }
        let rate = (SPAWNS / AT_A_TIME * AT_A_TIME) as f64 / began.elapsed().as_secs_f64();
        say(&format!("{name}: runs a second, {AT_A_TIME} at a time"), &format!("{rate:.0}"), "");
    }
}

async fn kills() {
    for isolation in [Isolation::Auto, Isolation::Cgroup, Isolation::Process] {
        let dir = TempDir::new().unwrap();
        let Some(agents) = open(dir.path(), isolation) else { continue };
        let mut times = Vec::new();
        for number in 0..TREES {
            let mut process = agents.spawn(order(number, &misbehave("tree --lines 200"))).await.unwrap();
            let _ = process.next().await;
            let began = Instant::now();
            process.signal(Signal::Kill);
            to_the_end(&mut process).await;
            times.push(began.elapsed());
        }
        let name = format!("{isolation:?}").to_lowercase();
        say(
            &format!("{name}: SIGKILL to gone, a tree of 200, p99 of {TREES}"),
            &format!("{:.1?}", percentile(&mut times, 0.99)),
            "under 100 ms",
        );
    }
}

/// A worker in a process of its own.
struct Worker {
    child: Child,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Worker {
    fn start(dir: &Path, isolation: &str) -> Self {
        let mut child = Command::new(FIXTURE)
            .args(["worker", isolation])
            .env("RUNS_DIR", dir.join("runs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said }
    }

    fn run(&mut self, command: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "spawn {command}").unwrap();
    }

    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whatever of this directory lives: by mark, or by command line.
fn living(dir: &Path) -> usize {
    let dir = dir.display().to_string();
    let of_ours = |process: &Path| {
        ["environ", "cmdline"]
            .iter()
            .any(|file| fs::read(process.join(file)).is_ok_and(|read| String::from_utf8_lossy(&read).contains(&dir)))
    };
    fs::read_dir("/proc").unwrap().flatten().filter(|entry| of_ours(&entry.path())).count()
}

fn survivors() {
    const MODES: [&str; 5] = ["stubborn", "detached --stay", "daemon --stay", "wiped --stay", "tree --lines 20"];
    for isolation in ["namespace", "cgroup", "process"] {
        let (mut left, mut slowest, mut kills) = (0, Duration::ZERO, 0);
        for round in 0..KILLS {
            let dir = TempDir::new().unwrap();
            let mut worker = Worker::start(dir.path(), isolation);
            let mark = dir.path().join("mark");
            for mode in &MODES[..=round % MODES.len()] {
                worker.run(&misbehave(&format!("{mode} --text {}", mark.display())));
            }
            // At another moment each time: before anything lives, between, and when all does.
            for _ in 0..round % (MODES.len() + 1) {
                if round % MODES.len() == MODES.len() - 1 {
                    worker.said.next();
                }
            }
            let began = Instant::now();
            drop(worker);
            let is_left = || living(dir.path()) + fs::read_dir(dir.path().join("runs")).map_or(0, Iterator::count);
            while is_left() > 0 && began.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
            (left, kills) = (left + is_left(), kills + 1);
            slowest = slowest.max(began.elapsed());
        }
        say(
            &format!("{isolation}: processes and files left by {kills} SIGKILLs of the worker"),
            &format!("{left}"),
            &format!("0; all gone within {slowest:.0?}"),
        );
    }
}

fn memory() {
    let dir = TempDir::new().unwrap();
    let mut worker = Worker::start(dir.path(), "namespace");
    worker.run("echo once");
    for _ in 0..2 {
        worker.said.next();
    }
    let before = worker.memory();
    for _ in 0..TASKS {
        worker.run(&misbehave("silent"));
    }
    for _ in 0..TASKS {
        worker.said.next();
    }
    let each = worker.memory().saturating_sub(before) / TASKS as u64 / 1024;
    say(&format!("memory of the worker for each of {TASKS} running tasks"), &format!("{each} KiB"), "under 200 KB");
}

fn firehose() {
    let line =
        "line 4321 of 100000: the quick brown fox jumps over the lazy dog and goes on and on until it is 100 bytes\n";
    let chunk = line.repeat(64 * 1024 / line.len());
    let values =
        ["sk-proj-0123456789abcdefghij", "correct horse battery staple", "ghp_0123456789abcdefghij", "hunter2-hunter2"];
    let mut rates = Vec::new();
    for secrets in [Secrets::default(), Secrets::new(values).and(Patterns::default())] {
        let mut reader = Reader::new(64 * 1024, &OutputSettings::default());
        reader.redact(secrets);
        let (mut lines, began) = (0_u64, Instant::now());
        while began.elapsed() < Duration::from_secs(2) {
            reader.feed(chunk.as_bytes(), CoreInstant::from_start(began.elapsed()), |_| lines += 1);
        }
        rates.push(lines as f64 / began.elapsed().as_secs_f64());
    }
    say("lines a second cut, one core", &format!("{:.0}", rates[0]), "");
    say("the same with four secrets and all patterns taken out", &format!("{:.0}", rates[1]), "");
    let (plain, redacted) = (1e9 / rates[0], 1e9 / rates[1]);
    let of_way = (redacted - plain) / (1e9 / 400_000.0) * 100.0;
    say(
        "what that adds to a line at 400,000 lines/s",
        &format!("{:.0} ns, {of_way:.1} %", redacted - plain),
        "under 10 %",
    );
}
