//! A running cluster and its brokers.

use crate::address::{self, Address};
use crate::certificates::Certificates;
use crate::error::{Error, system};
use crate::install::{Kafka, last_lines};
use crate::options::{Options, User};
use crate::process::{self, Dir};
use crate::{Operation, Resource, properties, wire};
use rustix::process::Signal;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A broker starts in 3 s; this is for one on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(90);
/// A broker that is asked to stop hands over its partitions first; then it is killed.
const GRACE: Duration = Duration::from_secs(20);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of a broker's log in an error.
const TOLD: usize = 30;
/// Any identifier will do, as no cluster knows of another.
const CLUSTER_ID: &str = "baton-tests-0000000000";

/// A cluster of one or three brokers. Dropping it kills them, and removes their data.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Broker>,
    certificates: Option<Certificates>,
    /// Both are this cluster's until its brokers are gone.
    _address: Address,
    _dir: Dir,
}

impl Cluster {
    /// Starts one, and waits until each broker answers and knows all others.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let kafka = Kafka::find()?;
        let dir = Dir::new().map_err(system("make a directory for brokers"))?;
        let address = Address::take();
        let certificates =
            if options.users.is_empty() { None } else { Some(Certificates::make(&kafka, dir.path(), address.ip())?) };
        let mut brokers = Vec::new();
        for node in 1..=options.nodes {
            let broker = Broker::new(node, &kafka, &address, dir.path());
            let text = properties::of(node, options, &address, &broker.path("data"), certificates.as_ref());
            broker.write_properties(&text)?;
            brokers.push(broker);
        }
        let cluster = Self { brokers, certificates, _address: address, _dir: dir };
        cluster.format(&options.users)?;
        cluster.brokers.iter().try_for_each(Broker::launch)?;
        cluster.brokers.iter().try_for_each(|broker| broker.until_it_knows(options.nodes.into()))?;
        Ok(cluster)
    }

    /// Where clients find it: `HOST:PORT`, one for each broker, with commas between them.
    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self.brokers.iter().map(|broker| broker.clients.to_string()).collect();
        all.join(",")
    }

    /// Its brokers; the first has number 1.
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// The broker with this number, from 1.
    pub fn broker(&self, node: u8) -> &Broker {
        &self.brokers[usize::from(node) - 1]
    }

    /// Kills all brokers at once.
    pub fn kill(&self) {
        self.brokers.iter().for_each(Broker::kill);
    }

    /// Starts all brokers again, after killing those that live, and waits until each answers and knows all others. A cluster
    /// of which most brokers are down comes back only so: one alone would wait for the others.
    pub fn restart(&self) -> Result<(), Error> {
        self.kill();
        self.brokers.iter().try_for_each(Broker::launch)?;
        self.brokers.iter().try_for_each(|broker| broker.until_it_knows(self.brokers.len()))
    }

    /// The certificate of the authority that clients must trust, as a PEM file. Only with users.
    pub fn ca(&self) -> &Path {
        &self.certificates.as_ref().expect("a cluster with users has certificates").ca
    }

    /// Another authority's certificate, as a PEM file: a client that trusts only this one must refuse the brokers. Only with users.
    pub fn other_ca(&self) -> &Path {
        &self.certificates.as_ref().expect("a cluster with users has certificates").other_ca
    }

    /// Allows a user to do this, and waits until every broker that lives knows it.
    pub fn allow(&self, user: &str, on: Resource, operations: &[Operation]) -> Result<(), Error> {
        let doing = || format!("allow {user} {operations:?} on {on:?}");
        for &operation in operations {
            let first = self.brokers.iter().find(|broker| broker.lives()).expect("a broker lives");
            let answer = wire::allow(first.internal, user, on, operation).map_err(system(doing()))?;
            answer.map_err(|answer| Error::Refused { doing: doing(), answer })?;
            for broker in self.brokers.iter().filter(|broker| broker.lives()) {
                broker.until("does not know what is allowed", || {
                    wire::is_allowed(broker.internal, user, on, operation).unwrap_or(false)
                })?;
            }
        }
        Ok(())
    }

    /// Makes the brokers' data directories, with the users in them.
    fn format(&self, users: &[User]) -> Result<(), Error> {
        // All at once; and all are waited for, also where one fails.
        let tools: Vec<_> = self.brokers.iter().map(|broker| broker.format(users)).collect();
        let all: Vec<_> = tools.into_iter().map(|tool| tool.and_then(Child::wait_with_output)).collect();
        for said in all {
            let said = said.map_err(system("run Kafka's storage tool"))?;
            if !said.status.success() {
                let output = last_lines(&[said.stdout, said.stderr].concat(), TOLD);
                return Err(Error::Program { program: "Kafka's storage tool", output });
            }
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One broker. It keeps its data and its address through everything that is done to it.
#[derive(Debug)]
pub struct Broker {
    node: u8,
    kafka: Kafka,
    dir: PathBuf,
    clients: SocketAddr,
    internal: SocketAddr,
    child: Mutex<Option<Child>>,
}

impl Broker {
    fn new(node: u8, kafka: &Kafka, address: &Address, dir: &Path) -> Self {
        Self {
            node,
            kafka: kafka.clone(),
            dir: dir.join(node.to_string()),
            clients: address.of(node, address::CLIENTS),
            internal: address.of(node, address::BROKERS),
            child: Mutex::new(None),
        }
    }

    /// Its number, from 1: the `node.id` that clients see.
    pub fn node(&self) -> u8 {
        self.node
    }

    /// Where clients find it: `HOST:PORT`.
    pub fn address(&self) -> String {
        self.clients.to_string()
    }

    /// Its process, if it lives.
    pub fn pid(&self) -> Option<u32> {
        let mut child = self.child();
        let child = child.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Everything that it logged, of all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// Kills it with SIGKILL, and returns when it is gone. Nothing, if it is.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            // Both fail only for a child that has been waited for, and this one has not been.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Freezes it with SIGSTOP: its connections stay, and nothing answers.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// Asks it to stop, as for maintenance, and returns when it is gone; kills it if it does not go. Nothing, if it is gone.
    pub fn stop(&self) -> Result<(), Error> {
        if !self.lives() {
            return Ok(());
        }
        self.resume()?;
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + GRACE;
        while self.lives() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        self.kill();
        Ok(())
    }

    /// Starts it again, after stopping it if it lives, and waits until it answers and is taken for alive by itself.
    pub fn restart(&self) -> Result<(), Error> {
        self.stop()?;
        self.launch()?;
        self.until("is not let into the cluster", || {
            wire::live_brokers(self.internal).is_ok_and(|live| live.contains(&self.node.into()))
        })
    }

    fn lives(&self) -> bool {
        self.pid().is_some()
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let doing = format!("send a signal to broker {}", self.node);
        match self.child().as_ref() {
            Some(child) => process::signal(child, signal).map_err(system(doing)),
            None => Err(system(doing)(std::io::Error::other("it is not running"))),
        }
    }

    fn write_properties(&self, text: &str) -> Result<(), Error> {
        let path = self.path("server.properties");
        let written = fs::create_dir_all(&self.dir).and_then(|()| fs::write(&path, text));
        written.map_err(system(format!("write {}", path.display())))
    }

    /// Starts the tool that makes the data directory.
    fn format(&self, users: &[User]) -> std::io::Result<Child> {
        let mut tool = self.kafka.class("kafka.tools.StorageTool");
        tool.args(["format", "--cluster-id", CLUSTER_ID, "--config"]).arg(self.path("server.properties"));
        for User { name, password, .. } in users {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                tool.arg("--add-scram").arg(format!("{mechanism}=[name={name},password={password}]"));
            }
        }
        tool.stdout(Stdio::piped()).stderr(Stdio::piped());
        process::spawn(tool, Signal::KILL)
    }

    /// Starts its process.
    fn launch(&self) -> Result<(), Error> {
        let launched = self.command().and_then(|command| process::spawn(command, Signal::KILL));
        *self.child() = Some(launched.map_err(system(format!("start broker {}", self.node)))?);
        Ok(())
    }

    fn command(&self) -> std::io::Result<Command> {
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        let mut command = self.kafka.class("kafka.Kafka");
        command.arg(self.path("server.properties")).current_dir(&self.dir);
        // A Ctrl-C is for the tests; they end the brokers.
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        Ok(command)
    }

    fn until_it_knows(&self, count: usize) -> Result<(), Error> {
        self.until("does not find the others", || {
            wire::live_brokers(self.internal).is_ok_and(|live| live.len() == count)
        })
    }

    /// Waits, but not for a broker that has ended.
    fn until(&self, otherwise: &str, is_so: impl Fn() -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        let why = loop {
            if is_so() {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                break format!("ended with {status}");
            }
            if Instant::now() > deadline {
                break format!("{otherwise} after {PATIENCE:?}");
            }
            std::thread::sleep(LOOK);
        };
        Err(Error::Start { node: self.node, why, log: last_lines(self.log().as_bytes(), TOLD) })
    }

    fn ended(&self) -> Option<ExitStatus> {
        self.child().as_mut()?.try_wait().ok().flatten()
    }
}
