//! The log port on the simulated cluster, as a client library in a worker's or an API's process.

mod appends;
mod fetcher;
mod member;
mod membership;
mod steps;
mod tail;

pub use member::SimMember;
pub use steps::SimSteps;
pub use tail::SimTail;

use super::broker::{Asked, MAX_WAIT, REQUESTS, address};
use super::cluster::{BROKERS, Cluster};
use super::late::{lateness, send_late};
use super::wire::{Broker, Error, Request, Response};
use crate::event::{Event, Node};
use crate::life::Life;
use appends::Appends;
use baton_core::log::{Batch, Delivered, Offset, Partition, Topic, partition_of};
use baton_core::time::Timestamp;
use baton_runtime::ports::{Durability, Log, LogError, TailFrom};
use bytes::Bytes;
use madsim::net::Endpoint;
use madsim::rand::Rng as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a client waits for the answer to a request that should be answered at once.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// How long it waits before it tries again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How long a call of the port is tried before the log is said to be unavailable.
const TRIED_FOR: Duration = Duration::from_millis(2500);
/// How much of one partition is asked for.
const FETCH_BYTES: usize = 64 * 1024;

/// How a client is set up.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// In whose process it is: the `client.id`.
    pub node: Node,
    /// The name of a static member; the transactional id too.
    pub instance: Option<String>,
}

/// The log, as one process uses it. Clones are the same client.
#[derive(Clone)]
pub struct SimKafka(Arc<Client>);

/// What all parts of a client share.
struct Client {
    cluster: Cluster,
    config: ClientConfig,
    life: Life,
    endpoint: Endpoint,
    leaders: Mutex<BTreeMap<(Topic, Partition), Broker>>,
    appends: Appends,
}

impl SimKafka {
    /// A client in the process whose life this is, on the node that it runs on.
    pub async fn connect(cluster: &Cluster, config: ClientConfig, life: Life) -> Self {
        let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("there are ports");
        let (leaders, appends) = (Mutex::default(), Appends::default());
        Self(Arc::new(Client { cluster: cluster.clone(), config, life, endpoint, leaders, appends }))
    }
}

impl Client {
    /// Something that only the trace tells.
    fn note(&self, what: String) {
        self.cluster.note(self.config.node, Event::Note(what));
    }

    fn partitions(&self) -> u32 {
        self.cluster.config().partitions
    }

    fn leaders(&self) -> MutexGuard<'_, BTreeMap<(Topic, Partition), Broker>> {
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request to one broker. `None`: no answer came, or the connection broke.
    async fn ask(&self, broker: Broker, request: Request, within: Duration) -> Option<Response> {
        let reply_to = madsim::rand::thread_rng().gen_range(1..u64::MAX);
        let twice = madsim::rand::thread_rng().gen_bool(self.cluster.config().duplicates);
        let death = self.cluster.broken(broker).notified();
        tokio::pin!(death);
        death.as_mut().enable();
        let asked = Asked { reply_to: (reply_to, None), request: request.clone() };
        let to = (address(broker), REQUESTS);
        match self.cluster.lateness() {
            None => self.endpoint.send_to_raw(to.0, to.1, Box::new(asked)).await.ok()?,
            Some(after) => send_late(&self.endpoint, after, to, asked.into()).await.ok()?,
        }
        if twice {
            let again = Asked { reply_to: (reply_to, None), request };
            send_late(&self.endpoint, lateness(), to, again.into()).await.ok()?;
        }
        tokio::select! {
            biased;
            answer = self.endpoint.recv_from_raw(reply_to) => answer.ok()?.0.downcast::<Response>().ok().map(|it| *it),
            () = death => None,
            () = sleep(within) => None,
        }
    }

    /// Who leads a partition, by what is known, or by asking around; not for long.
    async fn leader(&self, topic: Topic, partition: Partition) -> Option<Broker> {
        if let Some(leader) = self.leaders().get(&(topic, partition)) {
            return Some(*leader);
        }
        self.refresh().await;
        self.leaders().get(&(topic, partition)).copied()
    }

    /// Asks for the metadata, from whoever answers; returns whether somebody did.
    async fn refresh(&self) -> bool {
        let first = madsim::rand::thread_rng().gen_range(0..BROKERS);
        for step in 0..BROKERS {
            let broker = (first + step) % BROKERS;
            if let Some(Response::Metadata(all)) = self.ask(broker, Request::Metadata, ANSWERED_WITHIN).await {
                let known = all.into_iter().filter_map(|(topic, partition, of)| Some(((topic, partition), of?)));
                *self.leaders() = known.collect();
                return true;
            }
        }
        false
    }

    /// One try at the leader of a partition. A leader that is none, or does not answer, is forgotten.
    async fn ask_leader(
        &self,
        topic: Topic,
        partition: Partition,
        request: Request,
        within: Duration,
    ) -> Option<Response> {
        let leader = self.leader(topic, partition).await?;
        let answer = self.ask(leader, request, within).await;
        if matches!(answer, None | Some(Response::Error(Error::NotLeader | Error::NotEnoughReplicas))) {
            self.leaders().remove(&(topic, partition));
        }
        answer
    }

    /// One try at the coordinator of groups and transactions.
    async fn ask_coordinator(&self, request: Request, within: Duration) -> Option<Response> {
        let (topic, partition) = Cluster::COORDINATOR;
        self.ask_leader(topic, partition, request, within).await
    }

    /// Where a partition ends, where it was at a time, and where it begins.
    async fn offsets(
        &self,
        topic: Topic,
        partition: Partition,
        at: Timestamp,
    ) -> Result<(Offset, Offset, Offset), LogError> {
        let begun = Instant::now();
        loop {
            let request = Request::ListOffsets { topic, partition, at };
            match self.ask_leader(topic, partition, request, ANSWERED_WITHIN).await {
                Some(Response::Offsets { end, at, start }) => return Ok((end, at, start)),
                _ if begun.elapsed() > TRIED_FOR => {
                    return Err(LogError::Unavailable(format!("the offsets of {topic}[{partition}] can't be had")));
                }
                _ => sleep(RETRY_AFTER).await,
            }
        }
    }
}

impl Log for SimKafka {
    type Tail = SimTail;
    type Member = SimMember;

    async fn append(&self, batches: Vec<Batch>, _: Durability) -> Result<Vec<(Partition, Offset)>, LogError> {
        let mut asked = Vec::new();
        for batch in batches {
            let key = Bytes::copy_from_slice(batch.key.as_str().as_bytes());
            let partition = partition_of(&key, self.0.partitions());
            // A batch of nothing is nothing.
            let values = Some(batch.values).filter(|values| !values.is_empty());
            asked.push((partition, values.map(|values| Appends::append(&self.0, batch.topic, partition, key, values))));
        }
        let mut placed = Vec::new();
        for (partition, appended) in asked {
            let gone = |_| LogError::Fatal("the client is gone".into());
            let offset = match appended {
                Some(appended) => appended.await.map_err(gone)??,
                None => 0,
            };
            placed.push((partition, offset));
        }
        Ok(placed)
    }

    async fn tail(&self, topic: Topic, from: TailFrom) -> Result<SimTail, LogError> {
        SimTail::new(self.0.clone(), topic, from).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Delivered>, LogError> {
        let begun = Instant::now();
        let mut next = from;
        while next < to {
            let request = Request::Fetch { from: vec![(topic, partition, next)], max_bytes };
            match self.0.ask_leader(topic, partition, request, ANSWERED_WITHIN).await {
                Some(Response::Fetched(records, ends)) => {
                    let cut: Vec<_> = records.into_iter().filter_map(|records| records.before_offset(to)).collect();
                    if !cut.is_empty() {
                        return Ok(cut);
                    }
                    next = ends.first().map_or(to, |(_, _, end)| *end);
                }
                Some(Response::OutOfRange(_, _, start)) => next = start,
                // Nothing came for a while.
                None if self.0.offsets(topic, partition, Timestamp::default()).await?.0 <= next => {
                    return Ok(Vec::new());
                }
                _ if begun.elapsed() > TRIED_FOR => {
                    return Err(LogError::Unavailable(format!("{topic}[{partition}] can't be read")));
                }
                _ => sleep(RETRY_AFTER).await,
            }
        }
        Ok(Vec::new())
    }

    async fn join(&self, group: &str, _: &str, lookback: Duration) -> Result<SimMember, LogError> {
        Ok(SimMember::join(self.0.clone(), group.to_owned(), lookback))
    }
}

/// How long a fetch may take: what it waits at the broker, and the way.
const FETCHED_WITHIN: Duration = MAX_WAIT.saturating_add(ANSWERED_WITHIN);

/// A task that ends with whoever asked for it.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Task {
    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}
