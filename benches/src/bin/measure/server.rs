//! A Baton of its own for each measure: the real binary on a directory that goes with it; or, where `BATON_TEST_KAFKA` names
//! a Kafka, an API and a worker on topics of their own.

use crate::clients::{Http, WebSocket, post};
use crate::{Result, agent};
use baton_core::submit::read_submission;
use baton_core::time::Timestamp;
use baton_core::types::TaskTypes;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long it may take to be ready, and to end.
const WITHIN: Duration = Duration::from_secs(20);

/// A process that is ended with the value.
pub struct Owned(pub Child);

impl Owned {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may have ended.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Owned {
    /// Asks twice, which hands running tasks back and leaves no agent behind; then insists.
    fn drop(&mut self) {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        sleep(Duration::from_millis(20));
        self.signal(Signal::TERM);
        while begun.elapsed() < WITHIN {
            match self.0.try_wait() {
                Ok(None) => sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Baton {
    /// The API, or all of it.
    process: Owned,
    /// On Kafka the worker is a process of its own.
    _worker: Option<Owned>,
    dir: TempDir,
    pub address: SocketAddr,
    /// From the spawn to the first 200 of `/readyz`.
    pub ready_after: Duration,
}

impl Baton {
    /// With flags for whatever serves the API.
    pub fn start(flags: &[&str]) -> Result<Self> {
        Self::start_with(flags, &[])
    }

    /// With flags for whatever serves the API, and for whatever runs the agents.
    pub fn start_with(flags: &[&str], of_worker: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let path = |name: &str| dir.path().join(name);
        let own = std::env::current_exe()?;
        fs::write(path("types.toml"), agent::types(&own.to_string_lossy()))?;
        fs::write(path("projects.json"), r#"{"default": {}}"#)?;
        let command = |word: &str, log: &str| -> Result<Command> {
            let mut command = Command::new(binary()?);
            command.arg(word).arg("--types").arg(path("types.toml"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(path(log))?);
            Ok(command)
        };
        let for_agents = |command: &mut Command| {
            command.args(["--agent", "true", "--grace", "1s", "--projects"]).arg(path("projects.json")).args(of_worker);
        };
        let begun = Instant::now();
        let (process, worker) = if let Some(kafka) = kafka() {
            let prefix = format!("measure-{}.", dir.path().file_name().unwrap_or_default().to_string_lossy());
            let on_kafka = ["--kafka", &kafka, "--topic-prefix", &prefix];
            let mut worker = command("worker", "worker-log")?;
            worker.args(on_kafka).arg("--runs").arg(path("runs"));
            for_agents(&mut worker);
            let worker = Owned(worker.spawn()?);
            let mut api = command("api", "log")?;
            api.args(on_kafka).args(["--listen", "127.0.0.1:0"]).args(flags);
            (Owned(api.spawn()?), Some(worker))
        } else {
            let mut dev = command("dev", "log")?;
            dev.args(["--listen", "127.0.0.1:0", "--data"]).arg(path("data")).args(flags);
            for_agents(&mut dev);
            (Owned(dev.spawn()?), None)
        };
        let address = bound(&path("log"), begun)?;
        let mut ready_after = begun.elapsed();
        while !is_ready(address) {
            if ready_after > WITHIN {
                return Err("baton is not ready".into());
            }
            sleep(Duration::from_micros(500));
            ready_after = begun.elapsed();
        }
        ready_after = begun.elapsed();
        let baton = Self { process, _worker: worker, dir, address, ready_after };
        if kafka().is_some() {
            // It has joined its group once it has run something.
            let id = baton.submit("hello", &serde_json::json!({}))?;
            baton.ended(&id)?;
        }
        Ok(baton)
    }

    /// A file of the measure's own, gone with the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Submits a task, and gives its id.
    pub fn submit(&self, kind: &str, params: &serde_json::Value) -> Result<String> {
        Http::connect(self.address)?.submit(&body(kind, params))
    }

    /// A watcher of a task that is still to be submitted, by the POST given with it: the id of a keyed task follows
    /// from its key.
    pub fn watch_before(
        &self,
        key: &str,
        kind: &str,
        params: &serde_json::Value,
    ) -> Result<(WebSocket, Http, Vec<u8>)> {
        let types = TaskTypes::from_toml(&agent::types("agent"))?;
        let body = body(kind, params);
        let record = read_submission(body.as_bytes(), Some(key), &types, [0; 16], Timestamp::default());
        let id = record.map_err(|problem| problem.title)?.task_id;
        let watcher = WebSocket::watch(self.address, id.as_str())?;
        Ok((watcher, Http::connect(self.address)?, post(&body, Some(key))))
    }

    /// How many tasks are in this state, 500 at most.
    pub fn count(&self, status: &str) -> Result<usize> {
        let (_, page) = Http::connect(self.address)?.get(&format!("/tasks?limit=500&status={status}"))?;
        let page: serde_json::Value = serde_json::from_slice(&page)?;
        Ok(page["tasks"].as_array().map_or(0, Vec::len))
    }

    /// Waits for the task's end, by asking.
    pub fn ended(&self, id: &str) -> Result<()> {
        let mut http = Http::connect(self.address)?;
        let begun = Instant::now();
        loop {
            let (_, view) = http.get(&format!("/tasks/{id}"))?;
            let view: serde_json::Value = serde_json::from_slice(&view)?;
            match view["status"].as_str() {
                Some("done") => return Ok(()),
                Some("queued" | "running") if begun.elapsed() < WITHIN => sleep(Duration::from_millis(10)),
                status => return Err(format!("task {id} is {status:?}").into()),
            }
        }
    }

    /// Resident memory, in bytes.
    pub fn resident(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    }
}

/// The Kafka to measure on, if there is to be one.
pub fn kafka() -> Option<String> {
    std::env::var("BATON_TEST_KAFKA").ok()
}

/// One of two targets: on the embedded log, and on Kafka.
pub fn target<T>(embedded: T, on_kafka: T) -> T {
    if kafka().is_some() { on_kafka } else { embedded }
}

/// The body of a POST.
pub fn body(kind: &str, params: &serde_json::Value) -> String {
    serde_json::json!({"project": "default", "type": kind, "params": params}).to_string()
}

fn binary() -> Result<PathBuf> {
    let named = std::env::var_os("BATON_BIN").map(PathBuf::from);
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("baton"));
    let path = named.map_or_else(beside, Ok)?;
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing: build it, or set BATON_BIN", path.display()).into())
    }
}

/// The address that the log's first line names.
fn bound(log: &Path, begun: Instant) -> Result<SocketAddr> {
    const BEFORE: &str = "\"address\":\"";
    loop {
        let text = fs::read_to_string(log)?;
        let named = text.split_once(BEFORE).and_then(|(_, rest)| rest.split_once('"'));
        if let Some((address, _)) = named {
            return Ok(address.parse()?);
        }
        if begun.elapsed() > WITHIN {
            return Err(format!("baton does not say where it listens: {text}").into());
        }
        sleep(Duration::from_micros(500));
    }
}

fn is_ready(address: SocketAddr) -> bool {
    Http::connect(address).and_then(|mut http| http.get("/readyz")).is_ok_and(|(status, _)| status == 200)
}
