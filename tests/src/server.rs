//! One `baton dev`, from its start to the proof that nothing of it is left.

use crate::{PATIENCE, until, until_now};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The binary under test.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("BATON_BIN").map(PathBuf::from);
    let path = path.expect("BATON_BIN must name the baton binary: run these tests by `./just e2e`");
    let executable = path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    assert!(executable, "BATON_BIN is {}, and that is no program", path.display());
    path.canonicalize().unwrap()
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> String {
    root().join("tests/fixtures").join(name).display().to_string()
}

/// The binary as a command, without the options that whoever runs the tests may have in the environment.
pub fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BATON_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the binary with these arguments to its end.
pub fn baton(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

/// A port that is free now, and that no outgoing connection is given: a server may come back to it.
pub fn free_port() -> u16 {
    let first = 10_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (first..30_000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("one is free")
}

/// Which of Baton's services a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// All in one process, on the embedded log.
    #[default]
    Dev,
    /// An API on Kafka.
    Api,
    /// A worker on Kafka. It has no address.
    Worker,
}

/// What a server is started with, beside the flags.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which service.
    pub service: Service,
    /// The flags.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub env: Vec<(&'static str, &'static str)>,
    /// The projects' file.
    pub projects: Value,
}

impl Setup {
    /// These flags, and a project with a secret.
    pub fn new(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let projects = json!({"default": {"env": {"TOKEN": "s3cret-of-the-project"}}});
        Self { service: Service::Dev, arguments, env: Vec::new(), projects }
    }
}

/// How a server ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All that it logged.
    pub logs: Vec<String>,
}

/// A running `baton dev`, or a service on Kafka. Dropping it ends it, and proves that nothing of it is left.
pub struct Baton {
    child: Child,
    dir: Arc<TempDir>,
    setup: Setup,
    /// It was killed, so that it could tidy nothing up.
    killed: bool,
    logs: Arc<Mutex<Vec<String>>>,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// For whoever wants to ask something else than the methods here.
    pub client: Client,
}

impl Baton {
    /// Starts one with the misbehaving agent, in a directory of its own, and waits until it is ready.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_with(Setup::new(arguments)).await
    }

    /// The same with more than flags.
    pub async fn start_with(setup: Setup) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        fs::write(dir.path().join("projects.json"), setup.projects.to_string()).unwrap();
        let is_worker = setup.service == Service::Worker;
        let baton = Self::start_in(dir, setup).await;
        if !is_worker {
            baton.until_ready().await;
        }
        baton
    }

    /// Returns as soon as it listens: it may still be reading its log.
    async fn start_in(dir: Arc<TempDir>, setup: Setup) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut child = Self::command_of(dir.path(), &setup).stderr(Stdio::piped()).spawn().unwrap();
        let logs = Arc::<Mutex<Vec<String>>>::default();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let written = logs.clone();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| written.lock().unwrap().push(line));
        });
        let url = match setup.service {
            Service::Worker => String::new(),
            Service::Dev | Service::Api => {
                let child = std::cell::RefCell::new(&mut child);
                until("the address that was bound", async || {
                    if let Some(status) = child.borrow_mut().try_wait().unwrap() {
                        panic!("it ended with {status} and does not listen: {:#?}", logs.lock().unwrap());
                    }
                    address(&logs)
                })
                .await
            }
        };
        let client = Client::builder().timeout(PATIENCE).build().unwrap();
        Self { child, dir, setup, killed: false, logs, url, client }
    }

    fn command_of(dir: &Path, setup: &Setup) -> Command {
        let given = |name: &str| setup.arguments.iter().any(|argument| argument == name);
        let (serves, runs) = (setup.service != Service::Worker, setup.service != Service::Api);
        let mut command = command();
        match setup.service {
            Service::Dev => command.arg("dev").arg("--data").arg(dir.join("data")),
            Service::Api => command.arg("api"),
            Service::Worker => command.arg("worker").arg("--runs").arg(dir.join("data")),
        };
        if serves && !given("--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !given("--agent") {
            command.args(["--types", &fixture("types.toml")]);
            if runs {
                command.args(["--agent", &format!("python3 {}", fixture("misbehave.py"))]);
            }
        }
        if runs && !given("--projects") && !given("--projects-url") {
            command.arg("--projects").arg(dir.join("projects.json"));
        }
        command.args(&setup.arguments).envs(setup.env.iter().copied()).current_dir(dir).stdout(Stdio::null());
        command
    }

    async fn until_ready(&self) {
        until("readiness", async || self.get("/readyz").send().await.ok().filter(|r| r.status() == 200)).await;
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The directory of this test; the data is in `data`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has logged so far.
    pub fn logs(&self) -> Vec<String> {
        self.logs.lock().unwrap().clone()
    }

    /// A GET.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    /// A GET whose answer is JSON.
    pub async fn get_json(&self, path: &str) -> Value {
        self.get(path).send().await.unwrap().json().await.unwrap()
    }

    /// A POST of a task.
    pub fn post(&self, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}/tasks", self.url)).json(body)
    }

    /// Submits a task of a type with params; gives its id.
    pub async fn submit(&self, kind: &str, params: Value) -> String {
        self.submit_body(json!({"project": "default", "type": kind, "params": params})).await
    }

    /// Submits a task; gives its id.
    pub async fn submit_body(&self, body: Value) -> String {
        let answer = self.post(&body).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
        let answer: Value = answer.json().await.unwrap();
        answer["task_id"].as_str().unwrap().to_owned()
    }

    /// The task as the API shows it.
    pub async fn task(&self, id: &str) -> Value {
        self.get_json(&format!("/tasks/{id}")).await
    }

    /// Waits until the task shows this in a field.
    pub async fn until_task(&self, id: &str, field: &str, value: &str) -> Value {
        let look = async || Some(self.task(id).await).filter(|task| task[field].as_str() == Some(value));
        until(&format!("{field} = {value}"), look).await
    }

    /// Waits for the end of the task.
    pub async fn until_ended(&self, id: &str) -> Value {
        until("the end of the task", async || Some(self.task(id).await).filter(|task| task["ended_at"].is_string()))
            .await
    }

    /// Asks for a stop; gives the status of the answer.
    pub async fn stop(&self, id: &str) -> u16 {
        self.client.delete(format!("{}/tasks/{id}", self.url)).send().await.unwrap().status().as_u16()
    }

    /// SIGKILL: no destructor runs.
    pub fn kill(&mut self) {
        self.killed = true;
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Kills it as soon as the silent agent of this attempt speaks: a task that takes its worker with it. No agent can do that
    /// by itself where it can't see its worker.
    pub async fn kill_in_attempt(&mut self, id: &str, attempt: u32) {
        let speaks = |task: &Value| task["attempt"] == attempt && task["last_update"] == "ready";
        until("the agent to speak", async || Some(self.task(id).await).filter(speaks)).await;
        self.kill();
    }

    /// A new process on the same directory, with the same options. The old one must have ended.
    pub async fn restart(self) -> Self {
        let baton = self.restart_unready().await;
        if baton.setup.service != Service::Worker {
            baton.until_ready().await;
        }
        baton
    }

    /// The same, back before it has read its log.
    pub async fn restart_unready(mut self) -> Self {
        assert!(self.child.try_wait().unwrap().is_some(), "it still runs");
        Self::start_in(self.dir.clone(), self.setup.clone()).await
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended by itself.
    pub async fn finished(&mut self) -> Finished {
        let child = std::cell::RefCell::new(&mut self.child);
        let status = until("the end of the process", async || child.borrow_mut().try_wait().unwrap()).await;
        Finished { code: status.code(), logs: self.logs.lock().unwrap().clone() }
    }

    /// The processes that carry the mark of this data directory, and the attempts' directories that are there.
    pub fn leftovers(&self) -> Vec<String> {
        let mark = format!("BATON_RUN={}", self.dir.path().display());
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let marked =
            |path: &PathBuf| fs::read(path.join("environ")).is_ok_and(|e| String::from_utf8_lossy(&e).contains(&mark));
        let runs =
            fs::read_dir(self.dir.path().join("data/runs")).into_iter().flatten().flatten().map(|entry| entry.path());
        processes.filter(marked).chain(runs).map(|path| path.display().to_string()).collect()
    }

    /// Waits for the misbehaving agent of its one run, and gives its process id.
    pub async fn agents_pid(&self) -> u32 {
        let agent = |path: &String| {
            let pid = path.strip_prefix("/proc/")?.parse().ok()?;
            let said = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            said.contains("misbehave.py").then_some(pid)
        };
        until("the agent", async || self.leftovers().iter().find_map(agent)).await
    }

    /// Whether a process of its runs lives that knows itself by this number: it may have a namespace of its own.
    pub fn runs_process(&self, number: u32) -> bool {
        let number = number.to_string();
        self.leftovers().iter().filter(|path| path.starts_with("/proc/")).any(|path| {
            let status = fs::read_to_string(format!("{path}/status")).unwrap_or_default();
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
            field("NSpid:").split_whitespace().next_back() == Some(&number) && !field("State:").starts_with(['Z', 'X'])
        })
    }

    /// Waits for that: a program that has just begun is not marked at once.
    pub async fn until_runs_process(&self, number: u32) {
        until("the process", async || self.runs_process(number).then_some(())).await;
    }

    /// Waits until nothing of any run is left.
    pub async fn until_nothing_left(&self) {
        until("nothing left", async || self.leftovers().is_empty().then_some(())).await;
    }
}

impl Drop for Baton {
    fn drop(&mut self) {
        let restarted = Arc::strong_count(&self.dir) > 1;
        if std::thread::panicking() {
            self.logs.lock().unwrap().iter().for_each(|line| eprintln!("{line}"));
        } else if !restarted && !self.killed {
            self.end();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if restarted {
            return;
        }
        // What a SIGKILL leaves is ended at the next start, and there is none.
        for path in self.leftovers() {
            if let Some(pid) = path.strip_prefix("/proc/") {
                let _ = Command::new("kill").args(["-s", "KILL", pid]).status();
            }
        }
    }
}

impl Baton {
    /// Ends it as two SIGTERMs do: it must tidy up, whatever it is doing.
    fn end(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal("TERM");
            let logs = self.logs.clone();
            let heard = || logs.lock().unwrap().iter().any(|line| line.contains("ending:"));
            let child = std::cell::RefCell::new(&mut self.child);
            let ended = || child.borrow_mut().try_wait().unwrap().is_some();
            until_now("SIGTERM to be heard", || heard() || ended());
            if !ended() {
                let _ = Command::new("kill").args(["-s", "TERM", &child.borrow().id().to_string()]).status();
            }
            until_now("the end after two SIGTERMs", ended);
        }
        let left = self.leftovers();
        assert!(left.is_empty(), "this is left of it: {left:?}");
    }
}

fn address(logs: &Mutex<Vec<String>>) -> Option<String> {
    let logs = logs.lock().unwrap();
    let line = logs.iter().find(|line| line.contains("\"listening\""))?;
    let line: Value = serde_json::from_str(line).ok()?;
    Some(format!("http://{}", line["address"].as_str()?))
}
