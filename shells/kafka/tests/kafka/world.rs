//! A log of a test's own on a broker that others share, or on a cluster of its own; and what tests do with a log.
//!
//! A test waits for what must happen; [`PATIENCE`] only ends one that has failed.

use baton_broker::{Shared, shared, topic_prefix};
use baton_core::id::TaskId;
use baton_core::log::{Batch, Committed, Delivered, Epoch, Offset, Partition, Topic, Values, partition_of};
use baton_kafka::{KafkaLog, KafkaMember, KafkaTail, NewTopics, Options};
use baton_runtime::ports::{Durability, GroupEvent, Log as _, Member as _, Step, Tail as _, TailEvent, TailFrom};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;

/// Of each topic. The process in `examples/member.rs` counts on it.
pub const PARTITIONS: u32 = 4;
/// After this long what should have happened won't happen any more.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// The group of all these tests.
pub const GROUP: &str = "workers";

/// A log of a test's own.
pub struct World {
    pub log: KafkaLog,
    pub options: Options,
    /// It ends with the test, if it is nobody else's.
    _kafka: Option<Shared>,
}

impl World {
    /// On the broker that others share.
    pub async fn shared() -> Self {
        let kafka = off_the_loop(|| shared().unwrap()).await;
        let world = Self::at(kafka.bootstrap().to_owned()).await;
        Self { _kafka: Some(kafka), ..world }
    }

    /// On these brokers, which the test may harm.
    pub async fn at(brokers: String) -> Self {
        show_logs();
        let new = NewTopics { partitions: PARTITIONS, ..NewTopics::default() };
        let options = Options { brokers, topic_prefix: topic_prefix(), create: Some(new), ..Options::default() };
        let log = KafkaLog::open(&options).await.unwrap();
        Self { log, options, _kafka: None }
    }

    /// The full name of a topic.
    pub fn topic(&self, topic: Topic) -> String {
        format!("{}{topic}", self.options.topic_prefix)
    }

    /// The full name of the group.
    pub fn group(&self) -> String {
        format!("{}{GROUP}", self.options.topic_prefix)
    }

    /// A new member of the group, without a name.
    pub async fn join(&self) -> KafkaMember {
        soon("join", self.log.join(GROUP, "", Duration::ZERO)).await.unwrap()
    }

    /// A tail that has given all that there was.
    pub async fn tail(&self, topic: Topic) -> (KafkaTail, Vec<Delivered>) {
        let mut tail = soon("tail", self.log.tail(topic, TailFrom::Earliest)).await.unwrap();
        let there = until_caught_up(&mut tail).await;
        (tail, there)
    }

    /// All records of a topic, as texts.
    pub async fn all(&self, topic: Topic) -> Vec<String> {
        texts(&self.tail(topic).await.1)
    }

    /// Appends a record, and says where it went.
    pub async fn append(&self, topic: Topic, partition: Partition, text: &str) -> Offset {
        let batch = Batch::one(topic, key_in(partition), text.to_owned());
        let places = soon("append", self.log.append(vec![batch], Durability::Synced)).await.unwrap();
        assert_eq!((places.len(), places[0].0), (1, partition));
        places[0].1
    }
}

/// The logs are shown if the test fails.
pub fn show_logs() {
    let ours = EnvFilter::new("rdkafka=info,baton_kafka=trace");
    // Another world of the same test may have begun it already.
    let _ = tracing_subscriber::fmt().with_env_filter(ours).with_ansi(false).with_writer(std::io::stderr).try_init();
}

/// What `future` gives, or a failed test.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing came of it in {PATIENCE:?}"))
}

/// What blocks, where it holds up nothing.
pub async fn off_the_loop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// A key that lands in `partition`.
pub fn key_in(partition: Partition) -> TaskId {
    let mut keys = (0..).map(|number| format!("task-{number}"));
    keys.find(|key| partition_of(key.as_bytes(), PARTITIONS) == partition).unwrap().parse().unwrap()
}

/// A step that appends `text`, and commits it.
pub fn step_of(partition: Partition, epoch: Epoch, offset: Offset, text: &str) -> Step {
    Step {
        partition,
        epoch,
        batches: vec![Batch { topic: Topic::Progress, key: key_in(partition), values: Values::one(text.to_owned()) }],
        committed: Committed { offset, metadata: text.to_owned() },
    }
}

/// Every value of some batches as text, in order.
pub fn texts(batches: &[Delivered]) -> Vec<String> {
    batches.iter().flat_map(|batch| batch.values.iter().map(|value| String::from_utf8_lossy(value).into())).collect()
}

/// What a tail gives up to its next `CaughtUp`.
pub async fn until_caught_up(tail: &mut KafkaTail) -> Vec<Delivered> {
    let mut all = Vec::new();
    loop {
        match soon("catching up", tail.next()).await.unwrap() {
            TailEvent::Records(batches) => all.extend(batches),
            TailEvent::CaughtUp => return all,
            TailEvent::Skipped(partition) => panic!("{partition} was skipped, and nothing of it is gone"),
        }
    }
}

/// The next `count` records of a tail that says nothing else.
pub async fn next_texts(tail: &mut KafkaTail, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        match soon("the next records", tail.next()).await.unwrap() {
            TailEvent::Records(batches) => all.extend(texts(&batches)),
            other => panic!("{other:?} instead of records"),
        }
    }
    all
}

/// The next event of a member, beside that its claims hold for longer.
pub async fn next_event(member: &mut KafkaMember) -> GroupEvent {
    loop {
        let event = soon("the next event of a member", member.next()).await.unwrap();
        if !matches!(event, GroupEvent::Renewed { .. }) {
            return event;
        }
    }
}

/// The next `count` claims of a member that hears of nothing else.
pub async fn claims(member: &mut KafkaMember, count: usize) -> BTreeMap<Partition, (Epoch, Committed)> {
    let mut claims = BTreeMap::new();
    while claims.len() < count {
        match next_event(member).await {
            GroupEvent::Claimed { partition, epoch, committed } => {
                assert!(claims.insert(partition, (epoch, committed)).is_none(), "claimed {partition} twice");
            }
            other => panic!("{other:?} instead of a claim"),
        }
    }
    claims
}
