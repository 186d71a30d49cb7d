//! The loops, over ports that fail or fall silent. Time is tokio's own and stands still while anyone has work: a loop that spins
//! keeps it from going on, and its test ends by the runner's limit. So does one that waits for what never comes.
#![allow(clippy::unwrap_used)]

use baton_core::hub::{HubConfig, LettersQuery};
use baton_core::id::{ProjectName, TaskId};
use baton_core::log::{Batch, Delivered, Offset, Partition, Topic};
use baton_core::problem::Problem;
use baton_core::process::{Exit, ExitStatus, Signal, Spawn};
use baton_core::project::Project;
use baton_core::run::StopWish;
use baton_core::types::TaskTypes;
use baton_core::worker::WorkerConfig;
use baton_runtime::api::Api;
use baton_runtime::memory::{MemoryLog, MemoryMember, MemoryTail};
use baton_runtime::ports::{
    Agents, Durability, Log, LogError, Process, ProcessEvent, ProjectError, Projects, Tail, TailEvent, TailFrom,
};
use baton_runtime::worker::{self, Membership, Shutdown};
use baton_runtime::world::SystemWorld;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const BODY: &[u8] = br#"{"project": "default", "type": "seed-db"}"#;

/// Agents that are counted. The silent ones end when they are told to; all others at once, and well.
#[derive(Clone, Default)]
struct Counted {
    live: Arc<AtomicUsize>,
    spawned: Arc<AtomicUsize>,
    silent: bool,
    /// How long it takes to make one.
    spawning: Duration,
}

struct CountedProcess {
    agents: Counted,
    signalled: Notify,
}

impl Agents for Counted {
    type Process = CountedProcess;

    async fn spawn(&self, _: Spawn) -> Result<CountedProcess, String> {
        sleep(self.spawning).await;
        self.live.fetch_add(1, SeqCst);
        self.spawned.fetch_add(1, SeqCst);
        Ok(CountedProcess { agents: self.clone(), signalled: Notify::new() })
    }

    fn hold_until(&self, until: Instant) -> Instant {
        until
    }
}

impl Process for CountedProcess {
    async fn next(&mut self) -> ProcessEvent {
        if self.agents.silent {
            self.signalled.notified().await;
        }
        ProcessEvent::Exited(Exit::of(ExitStatus::Code(0)))
    }

    fn signal(&mut self, _: Signal) {
        self.signalled.notify_one();
    }
}

impl Drop for CountedProcess {
    fn drop(&mut self) {
        self.agents.live.fetch_sub(1, SeqCst);
    }
}

#[derive(Clone)]
struct EmptyProjects;

impl Projects for EmptyProjects {
    async fn fetch(&self, _: &ProjectName) -> Result<Project, ProjectError> {
        Ok(Project::from_json(b"{}").unwrap())
    }
}

/// A worker of one slot. It goes when the sender does.
fn work<L: Log>(log: L, agents: &Counted) -> (watch::Sender<Shutdown>, JoinHandle<Result<(), LogError>>) {
    let (tell, told) = watch::channel(Shutdown::No);
    let config = WorkerConfig::default();
    let running = worker::run(log, agents.clone(), EmptyProjects, SystemWorld, Membership::default(), config, told);
    (tell, tokio::spawn(running))
}

/// An API, and a look at what becomes of a task.
struct Served(Api<MemoryLog, SystemWorld>);

impl Served {
    async fn of(log: &MemoryLog, types: TaskTypes) -> Self {
        let api = Api::new(log.clone(), SystemWorld, types, HubConfig::default());
        let running = api.clone();
        tokio::spawn(async move { running.run().await });
        until(|| api.ready()).await;
        Self(api)
    }

    async fn submit(&self) -> TaskId {
        self.0.submit(BODY, None, None).await.unwrap()
    }

    async fn until(&self, id: &TaskId, status: &str) {
        until(|| self.0.view(id).is_ok_and(|view| view.status.name() == status)).await;
    }
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_may_have_any_timeout() {
    let log = MemoryLog::in_world(1, SystemWorld);
    let agents = Counted { silent: true, ..Counted::default() };
    let _worker = work(log.clone(), &agents);
    let api = Served::of(&log, TaskTypes::default()).await;
    let id: TaskId = "foreign".parse().unwrap();
    let value = format!(r#"{{"task_id":"{id}","project":"default","type":"seed-db","timeout_s":{}}}"#, u64::MAX);
    let batch = Batch::one(Topic::Tasks, id.clone(), value.into_bytes());
    log.append(vec![batch], Durability::Synced).await.unwrap();
    until(|| agents.live.load(SeqCst) == 1).await;
    api.until(&id, "running").await;
    api.0.stop(&id, StopWish::default()).await.unwrap();
    api.until(&id, "stopped").await;
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_its_worker_is_gone() {
    for spawning in [Duration::ZERO, Duration::from_millis(200)] {
        let log = MemoryLog::in_world(1, SystemWorld);
        let agents = Counted { silent: true, spawning, ..Counted::default() };
        let (_tell, worker) = work(log.clone(), &agents);
        let api = Served::of(&log, TaskTypes::default()).await;
        let id = api.submit().await;
        api.until(&id, "running").await;
        if spawning.is_zero() {
            until(|| agents.live.load(SeqCst) == 1).await;
        }
        worker.abort();
        until(|| agents.spawned.load(SeqCst) == 1 && agents.live.load(SeqCst) == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_keyed_post_is_known_again_when_it_comes_back_from_the_log() {
    let log = MemoryLog::in_world(1, SystemWorld);
    let types = "[types.n]\nparams = [{ name = \"x\", as = \"option\", type = \"number\" }]";
    let api = Served::of(&log, TaskTypes::from_toml(types).unwrap()).await;
    for n in 0..100u64 {
        let digits = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let body = format!(r#"{{"project":"p","type":"n","params":{{"x":0.{digits}}}}}"#);
        let key = format!("k{n}");
        let first = api.0.submit(body.as_bytes(), Some(&key), None).await.unwrap();
        assert_eq!(api.0.submit(body.as_bytes(), Some(&key), None).await.unwrap(), first, "{body}");
    }
}

/// A log one of whose topics can't be read while it is told so.
#[derive(Clone)]
struct Without {
    topic: Topic,
    /// It is not even found.
    absent: bool,
    log: MemoryLog,
    broken: watch::Receiver<bool>,
}

struct MaybeTail {
    tail: MemoryTail,
    /// `None` if it never breaks.
    broken: Option<watch::Receiver<bool>>,
}

impl Tail for MaybeTail {
    async fn next(&mut self) -> Result<TailEvent, LogError> {
        let Some(broken) = &mut self.broken else { return self.tail.next().await };
        tokio::select! {
            biased;
            _ = broken.wait_for(|broken| *broken) => Err(LogError::Unavailable("no broker".into())),
            event = self.tail.next() => event,
        }
    }

    fn catch_up(&mut self) {
        self.tail.catch_up();
    }
}

impl Log for Without {
    type Tail = MaybeTail;
    type Member = MemoryMember;

    async fn append(&self, batches: Vec<Batch>, durability: Durability) -> Result<Vec<(Partition, Offset)>, LogError> {
        self.log.append(batches, durability).await
    }

    async fn tail(&self, topic: Topic, from: TailFrom) -> Result<MaybeTail, LogError> {
        if self.absent && topic == self.topic {
            return Err(LogError::Unavailable("no broker".into()));
        }
        let broken = (topic == self.topic).then(|| self.broken.clone());
        Ok(MaybeTail { tail: self.log.tail(topic, from).await?, broken })
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Delivered>, LogError> {
        self.log.read(topic, partition, from, to, max_bytes).await
    }

    async fn join(&self, group: &str, member: &str, lookback: Duration) -> Result<MemoryMember, LogError> {
        self.log.join(group, member, lookback).await
    }
}

#[tokio::test(start_paused = true)]
async fn stops_that_can_not_be_read_hold_no_task_up() {
    let log = MemoryLog::in_world(1, SystemWorld);
    let (break_it, broken) = watch::channel(false);
    let _worker = work(Without { topic: Topic::Control, absent: false, log: log.clone(), broken }, &Counted::default());
    let api = Served::of(&log, TaskTypes::default()).await;
    let id = api.submit().await;
    api.until(&id, "done").await;
    break_it.send_replace(true);
    // By now the loop has asked a few times in vain.
    sleep(Duration::from_secs(2)).await;
    let since = Instant::now();
    for _ in 0..5 {
        let id = api.submit().await;
        api.until(&id, "done").await;
    }
    assert!(since.elapsed() < Duration::from_millis(200), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_waits_for_its_log_goes_when_it_is_told_to() {
    for how in [Shutdown::Drain, Shutdown::Now] {
        let (_keep, broken) = watch::channel(false);
        let log = Without { topic: Topic::Control, absent: true, log: MemoryLog::in_world(1, SystemWorld), broken };
        let (tell, worker) = work(log, &Counted::default());
        // By now it has asked a few times in vain.
        sleep(Duration::from_secs(2)).await;
        assert!(!worker.is_finished());
        tell.send_replace(how);
        worker.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_can_not_be_read_hold_nobody_up_who_does_not_ask_for_one() {
    let log = MemoryLog::in_world(1, SystemWorld);
    let (mend_it, broken) = watch::channel(true);
    let log = Without { topic: Topic::DeadLetters, absent: false, log, broken };
    let types = TaskTypes::default();
    // What it was asked the agent does not know: a foreign producer's.
    let id: TaskId = "abc".parse().unwrap();
    let value = br#"{"task_id": "abc", "project": "default", "type": "nope"}"#.to_vec();
    log.append(vec![Batch::one(Topic::Tasks, id.clone(), value)], Durability::Synced).await.unwrap();
    let _worker = work(log.clone(), &Counted::default());
    let api = Api::new(log, SystemWorld, types, HubConfig::default());
    let running = api.clone();
    tokio::spawn(async move { running.run().await });
    until(|| api.ready() && api.view(&id).is_ok_and(|view| view.status.name() == "failed")).await;
    let status = |answer: Result<_, Problem>| answer.err().map(|problem| problem.status);
    assert_eq!(status(api.letters(&LettersQuery::default())), Some(503));
    assert_eq!(status(api.letter(&id).await.map(drop).and(api.letters(&LettersQuery::default()))), Some(503));
    mend_it.send_replace(false);
    until(|| api.letters(&LettersQuery::default()).is_ok_and(|page| page.dead_letters.len() == 1)).await;
    assert!(api.letter(&id).await.unwrap().letter.reason.starts_with("type: is not a task type"));
}

#[tokio::test(start_paused = true)]
async fn what_has_been_up_for_more_than_a_year_still_works() {
    let log = MemoryLog::in_world(1, SystemWorld);
    let _worker = work(log.clone(), &Counted::default());
    let api = Served::of(&log, TaskTypes::default()).await;
    sleep(Duration::from_hours(400 * 24)).await;
    let id = api.submit().await;
    api.until(&id, "done").await;
}
