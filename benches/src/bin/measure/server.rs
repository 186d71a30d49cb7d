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

/// How long a task may take, and the end of a process.
const WITHIN: Duration = Duration::from_secs(20);
/// How long a server may take to be ready: it may have much to read.
const READY_WITHIN: Duration = Duration::from_mins(2);

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

impl Owned {
    /// SIGKILL: it can tell nobody.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
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
    worker: Option<Owned>,
    services: Services,
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
        let services = Services::new()?;
        let begun = Instant::now();
        let (worker, mut serving) = if let Some(kafka) = kafka() {
            (Some(Owned(services.worker(&kafka, FIRST, of_worker)?.spawn()?)), services.api(&kafka, FIRST, flags)?)
        } else {
            (None, services.dev(flags, of_worker)?)
        };
        let process = Owned(serving.spawn()?);
        let (address, ready_after) = services.until_ready(FIRST, begun)?;
        let baton = Self { process, worker, services, address, ready_after };
        if kafka().is_some() {
            // It has joined its group once it has run something.
            let id = baton.submit("hello", &serde_json::json!({}))?;
            baton.ended(&id)?;
        }
        Ok(baton)
    }

    /// Another replica of the API on the same Kafka, and how long it took until it was ready.
    pub fn replica(&self) -> Result<(Owned, Duration)> {
        let name = "replica";
        let mut replica = self.services.api(&kafka().ok_or("only on Kafka")?, name, &[])?;
        let begun = Instant::now();
        let replica = Owned(replica.spawn()?);
        Ok((replica, self.services.until_ready(name, begun)?.1))
    }

    /// A worker beside the first, that has partitions; or, under its name, in place of one that is dead.
    pub fn another_worker(&self, name: &str, flags: &[&str]) -> Result<Owned> {
        Ok(Owned(self.services.worker(&kafka().ok_or("only on Kafka")?, name, flags)?.spawn()?))
    }

    /// Waits until a worker has a partition: its log says so.
    pub fn until_it_works(&self, name: &str) -> Result<()> {
        let begun = Instant::now();
        while !fs::read_to_string(self.file(&format!("worker-{name}")))?.contains("\"claimed\"") {
            if begun.elapsed() > WITHIN {
                return Err(format!("the worker {name} gets no partition").into());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Whether something runs at the worker of this name.
    pub fn runs_at(&self, name: &str) -> Result<bool> {
        Ok(fs::read_dir(self.file(&format!("runs-{name}")).join("runs"))?.next().is_some())
    }

    /// The first worker, to be killed or to be put in the place of one that was. Only on Kafka.
    pub fn first_worker(&mut self) -> Result<&mut Owned> {
        self.worker.as_mut().ok_or_else(|| "only on Kafka".into())
    }

    /// A file of the measure's own, gone with the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.services.dir.path().join(name)
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

/// The name of the worker and of the API that each Baton on Kafka has.
pub const FIRST: &str = "first";

/// The services of one Baton: their files, and how they are started.
struct Services {
    dir: TempDir,
    prefix: String,
}

impl Services {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let own = std::env::current_exe()?;
        fs::write(dir.path().join("types.toml"), agent::types(&own.to_string_lossy()))?;
        fs::write(dir.path().join("projects.json"), r#"{"default": {}}"#)?;
        let prefix = format!("measure-{}.", dir.path().file_name().unwrap_or_default().to_string_lossy());
        Ok(Self { dir, prefix })
    }

    fn command(&self, word: &str, log: &str) -> Result<Command> {
        let mut command = Command::new(binary()?);
        command.arg(word).arg("--types").arg(self.dir.path().join("types.toml"));
        // Anew each time: what an earlier process of that name said is not to be taken for this one's.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(self.dir.path().join(log))?);
        Ok(command)
    }

    fn for_agents(&self, command: &mut Command, flags: &[&str]) {
        let projects = self.dir.path().join("projects.json");
        command.args(["--agent", "true", "--grace", "1s", "--projects"]).arg(projects).args(flags);
    }

    fn dev(&self, flags: &[&str], of_worker: &[&str]) -> Result<Command> {
        let mut dev = self.command("dev", FIRST)?;
        dev.args(["--listen", "127.0.0.1:0", "--data"]).arg(self.dir.path().join("data")).args(flags);
        self.for_agents(&mut dev, of_worker);
        Ok(dev)
    }

    fn api(&self, kafka: &str, name: &str, flags: &[&str]) -> Result<Command> {
        let mut api = self.command("api", name)?;
        let on_kafka = ["--kafka", kafka, "--topic-prefix", &self.prefix];
        api.args(on_kafka).args(["--listen", "127.0.0.1:0"]).args(flags);
        Ok(api)
    }

    fn worker(&self, kafka: &str, name: &str, flags: &[&str]) -> Result<Command> {
        let mut worker = self.command("worker", &format!("worker-{name}"))?;
        let on_kafka = ["--kafka", kafka, "--topic-prefix", &self.prefix];
        worker.args(on_kafka).arg("--runs").arg(self.dir.path().join(format!("runs-{name}")));
        worker.args(["--log-level", "info,baton_runtime=debug"]);
        self.for_agents(&mut worker, flags);
        Ok(worker)
    }

    /// Waits for a server to be ready: where it listens, and how long that took.
    fn until_ready(&self, log: &str, begun: Instant) -> Result<(SocketAddr, Duration)> {
        let address = bound(&self.dir.path().join(log), begun)?;
        while !is_ready(address) {
            if begun.elapsed() > READY_WITHIN {
                return Err("baton is not ready".into());
            }
            sleep(Duration::from_micros(500));
        }
        Ok((address, begun.elapsed()))
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
