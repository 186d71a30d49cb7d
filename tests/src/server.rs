//! One `baton dev`, from its start to the proof that nothing of it is left.

use crate::{PATIENCE, until};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The binary under test.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("BATON_BIN").map(PathBuf::from);
    let path = path.expect("BATON_BIN must name the baton binary: run these tests by `./just e2e`");
    assert!(path.is_file(), "BATON_BIN is {}, and there is no such file", path.display());
    path
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> String {
    root().join("tests/fixtures").join(name).display().to_string()
}

/// Runs the binary with these arguments to its end.
pub fn baton(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// How a server ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All that it logged.
    pub logs: Vec<String>,
}

/// A running `baton dev`. Dropping it kills it, and proves that nothing of it is left.
pub struct Baton {
    child: Child,
    dir: Arc<TempDir>,
    arguments: Vec<String>,
    logs: Arc<Mutex<Vec<String>>>,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// For whoever wants to ask something else than the methods here.
    pub client: Client,
}

impl Baton {
    /// Starts one with the misbehaving agent, in a directory of its own, and waits until it is ready.
    pub async fn start(arguments: &[&str]) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        fs::write(dir.path().join("projects.json"), r#"{"default": {"env": {"TOKEN": "s3cret-of-the-project"}}}"#)
            .unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self::start_in(dir, arguments).await
    }

    async fn start_in(dir: Arc<TempDir>, arguments: Vec<String>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let given = |name: &str| arguments.iter().any(|argument| argument == name);
        let mut command = Command::new(binary());
        command.arg("dev").args(["--listen", "127.0.0.1:0", "--data"]).arg(dir.path().join("data"));
        if !given("--agent") {
            command.args(["--agent", &format!("python3 {}", fixture("misbehave.py"))]);
            command.args(["--types", &fixture("types.toml")]);
        }
        if !given("--projects") && !given("--projects-url") {
            command.arg("--projects").arg(dir.path().join("projects.json"));
        }
        command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let logs = Arc::<Mutex<Vec<String>>>::default();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let written = logs.clone();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| written.lock().unwrap().push(line));
        });
        let url = until("the address that was bound", async || address(&logs)).await;
        let client = Client::builder().timeout(PATIENCE).build().unwrap();
        let baton = Self { child, dir, arguments, logs, url, client };
        until("readiness", async || baton.get("/readyz").send().await.ok().filter(|r| r.status() == 200)).await;
        baton
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
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A new process on the same directory, with the same options. The old one must have ended.
    pub async fn restart(mut self) -> Self {
        assert!(self.child.try_wait().unwrap().is_some(), "it still runs");
        Self::start_in(self.dir.clone(), std::mem::take(&mut self.arguments)).await
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

    /// Waits until nothing of any run is left.
    pub async fn until_nothing_left(&self) {
        until("nothing left", async || self.leftovers().is_empty().then_some(())).await;
    }
}

impl Drop for Baton {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if Arc::strong_count(&self.dir) > 1 {
            return; // it was restarted
        }
        // What a SIGKILL leaves is ended at the next start.
        for path in self.leftovers() {
            if let Some(pid) = path.strip_prefix("/proc/") {
                let _ = Command::new("kill").args(["-s", "KILL", pid]).status();
            }
        }
        if std::thread::panicking() {
            for line in self.logs.lock().unwrap().iter() {
                eprintln!("{line}");
            }
        }
    }
}

fn address(logs: &Mutex<Vec<String>>) -> Option<String> {
    let logs = logs.lock().unwrap();
    let line = logs.iter().find(|line| line.contains("\"listening\""))?;
    let line: Value = serde_json::from_str(line).ok()?;
    Some(format!("http://{}", line["address"].as_str()?))
}
