//! Everybody on stage: the brokers, the replicas of the API, the workers, and the projects' configs. All of them die with this process.

mod actor;
mod lanes;
mod left;
mod watch;

pub use actor::Actor;
pub use lanes::{Lane, end, lanes};
pub use left::leftovers;
pub use watch::Peaks;

use crate::Result;
use crate::plan::{APIS, Agent, SESSION, WORKERS};
use crate::sign::SIGNS;
use baton_broker::{Cluster, Options};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Put before every topic.
pub const PREFIX: &str = "chaos.";
/// More than there are workers, so that each has some.
const PARTITIONS: &str = "6";
/// What is logged: enough to tell why something was found.
const LEVELS: &str = "info,baton_kafka=debug,baton_kafka::membership=trace";
/// How long an agent has after SIGTERM, in milliseconds.
pub const GRACE: u64 = 1000;
/// How many attempts a task has.
pub const MAX_ATTEMPTS: u32 = 3;

/// The processes of one run.
pub struct Cast {
    /// The brokers.
    pub cluster: Cluster,
    /// The replicas of the API.
    pub apis: Vec<Actor>,
    /// Where they listen.
    pub urls: Vec<String>,
    /// The workers.
    pub workers: Vec<Actor>,
    projects: Actor,
    /// Where everything of this run is.
    pub dir: PathBuf,
    /// Nobody is started any more.
    over: Arc<AtomicBool>,
}

impl Cast {
    /// Starts the brokers, and prepares the others. The directory is an empty one.
    pub fn new(dir: &Path) -> Result<Self> {
        let programs = std::env::current_exe()?;
        let programs = programs.parent().ok_or("this program is in no directory")?.to_owned();
        for name in ["baton", "chaos-agent"] {
            if !programs.join(name).is_file() {
                return Err(format!("{} is missing: run this by `just chaos`", programs.join(name).display()).into());
            }
        }
        for name in ["signs", "workers", "logs"] {
            fs::create_dir_all(dir.join(name))?;
        }
        let projects = json!({"chaos": {"env": {SIGNS: dir.join("signs")}}});
        fs::write(dir.join("projects.json"), projects.to_string())?;
        fs::write(dir.join("types.toml"), Agent::types())?;
        let cluster = Cluster::start(&Options::three())?;
        let over = Arc::<AtomicBool>::default();
        let making = Making { programs, dir: dir.to_owned(), bootstrap: cluster.bootstrap(), over: over.clone() };
        // Loopback has addresses for all; the brokers' own is nobody else's.
        let host = cluster.broker(1).address();
        let host = host.rsplit_once(':').ok_or("a broker has an address with a port")?.0.to_owned();
        let addresses: Vec<String> = (0..=APIS).map(|n| format!("{host}:{}", 8000 + n)).collect();
        let (projects_at, api_at) = addresses.split_last().ok_or("there is an address for each")?;
        let apis = (0..APIS).map(|n| making.api(n, &api_at[n])).collect();
        let workers = WORKERS.iter().map(|(name, named)| making.worker(name, *named, projects_at)).collect();
        let projects = making.projects(projects_at);
        let urls = api_at.iter().map(|at| format!("http://{at}")).collect();
        Ok(Self { cluster, apis, urls, workers, projects, dir: dir.to_owned(), over })
    }

    /// Starts everybody.
    pub fn start(&self) -> Result<()> {
        self.projects.start()?;
        self.apis.iter().chain(&self.workers).try_for_each(Actor::start)
    }

    /// Where the agents leave their signs.
    pub fn signs(&self) -> PathBuf {
        self.dir.join("signs")
    }

    /// Puts the brokers' logs beside those of the others.
    pub fn keep_broker_logs(&self) -> Result<()> {
        for broker in self.cluster.brokers() {
            fs::write(self.dir.join("logs").join(format!("broker-{}", broker.node())), broker.log())?;
        }
        Ok(())
    }

    /// Kills all but the brokers, and whatever is left of the runs. Nobody is started after that.
    pub fn kill(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.workers.iter().chain(&self.apis).chain([&self.projects]).for_each(Actor::kill);
        left::kill(&self.dir);
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What it takes to make actors.
struct Making {
    programs: PathBuf,
    dir: PathBuf,
    bootstrap: String,
    over: Arc<AtomicBool>,
}

impl Making {
    fn baton(&self, word: &str) -> Vec<String> {
        vec![self.programs.join("baton").display().to_string(), word.to_owned()]
    }

    fn on_kafka(&self) -> Vec<String> {
        let types = self.dir.join("types.toml").display().to_string();
        let options = [
            "--kafka",
            &self.bootstrap,
            "--topic-prefix",
            PREFIX,
            "--partitions",
            PARTITIONS,
            "--types",
            &types,
            "--log-level",
            LEVELS,
        ];
        options.map(str::to_owned).into()
    }

    fn actor(&self, name: &str, words: Vec<String>, is_api: bool) -> Actor {
        let log = self.dir.join("logs").join(name);
        let dir = self.dir.clone();
        let make = move || {
            let mut command = Command::new(&words[0]);
            for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BATON_")) {
                command.env_remove(name);
            }
            command.args(&words[1..]).current_dir(&dir);
            command
        };
        Actor::new(name, is_api, log, Box::new(make), self.over.clone())
    }

    fn api(&self, number: usize, address: &str) -> Actor {
        let mut words = [self.baton("api"), self.on_kafka()].concat();
        words.extend(["--listen", address, "--history-memory", "32MiB", "--drain-timeout", "1s"].map(str::to_owned));
        self.actor(&format!("api-{number}"), words, true)
    }

    fn worker(&self, name: &str, named: bool, projects: &str) -> Actor {
        let mut words = [self.baton("worker"), self.on_kafka()].concat();
        let agent = self.programs.join("chaos-agent").display().to_string();
        let runs = self.dir.join("workers").join(name).display().to_string();
        let (session, grace) = (format!("{}s", SESSION.as_secs()), format!("{GRACE}ms"));
        let (attempts, projects) = (MAX_ATTEMPTS.to_string(), format!("http://{projects}"));
        let options = [
            ["--agent", &agent],
            ["--runs", &runs],
            ["--projects-url", &projects],
            ["--slots", "4"],
            ["--session-timeout", &session],
            ["--grace", &grace],
            ["--max-attempts", &attempts],
            ["--drain-timeout", "2s"],
        ];
        words.extend(options.as_flattened().iter().map(|&word| word.to_owned()));
        if named {
            words.extend(["--name", name].map(str::to_owned));
        }
        self.actor(name, words, false)
    }

    fn projects(&self, address: &str) -> Actor {
        let file = self.dir.join("projects.json").display().to_string();
        let options = ["--listen", address, "--projects", &file].map(str::to_owned);
        self.actor("projects", [self.baton("projects"), options.into()].concat(), false)
    }
}
