//! Appends: records on their way to their partitions, and the acknowledgement of each batch. A batch stays together and in order;
//! it must never be acknowledged before all in-sync replicas have it.

use crate::config::Options;
use crate::errors::{Heard, away, plain};
use baton_core::log::{Batch, Offset, Partition, Topic, partition_of};
use baton_runtime::ports::LogError;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How many bytes may be on their way. Who brings more waits: that is how a slow log holds an agent's pipe up.
const ROOM: usize = 64 * 1024 * 1024;
/// What a record takes beside its value, about.
const OVERHEAD: usize = 160;

/// Where the first record of each batch went.
pub type Places = Vec<(Partition, Offset)>;
type Answer = Result<Places, KafkaError>;

/// The names and the sizes of the topics.
#[derive(Clone, Debug)]
pub struct Topics {
    names: Arc<[String; Topic::ALL.len()]>,
    partitions: [u32; Topic::ALL.len()],
}

impl Topics {
    pub fn new(options: &Options, partitions: [u32; Topic::ALL.len()]) -> Self {
        Self { names: Arc::new(Topic::ALL.map(|topic| options.prefixed(topic.name()))), partitions }
    }

    pub fn name(&self, topic: Topic) -> &str {
        &self.names[topic as usize]
    }

    pub fn partitions(&self, topic: Topic) -> u32 {
        self.partitions[topic as usize]
    }

    /// All partitions of a topic.
    pub fn all(&self, topic: Topic) -> Vec<Partition> {
        (0..self.partitions(topic)).collect()
    }
}

/// A producer, whose records are acknowledged batch by batch.
pub struct Producer {
    client: ThreadedProducer<Acks>,
    topics: Topics,
    /// One a partition, held while a batch is handed over, so that no other comes between its records.
    order: [Vec<Mutex<()>>; Topic::ALL.len()],
}

impl Producer {
    pub fn new(config: &ClientConfig, topics: &Topics, heard: &Heard) -> Result<Self, KafkaError> {
        let client: ThreadedProducer<Acks> = config.create_with_context(Acks(heard.clone()))?;
        heard.log_in(client.client());
        let order = Topic::ALL.map(|topic| (0..topics.partitions(topic)).map(|_| Mutex::default()).collect());
        Ok(Self { client, topics: topics.clone(), order })
    }

    /// For transactions.
    pub fn transactions(&self) -> &ThreadedProducer<Acks> {
        &self.client
    }

    /// Whether it is of no use any more, and why.
    pub fn broken(&self) -> Option<String> {
        self.client.client().fatal_error().map(|(_, why)| why)
    }

    /// Hands the batches over; the answer comes when the last record of them is acknowledged, or one has failed.
    pub fn hand_over(&self, batches: &[Batch], permit: Option<OwnedSemaphorePermit>) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let batches = batches.iter().filter(|batch| !batch.values.is_empty());
        let placed: Vec<_> = batches
            .map(|batch| (batch, partition_of(batch.key.as_str().as_bytes(), self.topics.partitions(batch.topic))))
            .collect();
        let whole = Arc::new(Whole {
            left: AtomicUsize::new(placed.len() + 1),
            failed: OnceLock::new(),
            places: placed.iter().map(|(_, partition)| (*partition, AtomicI64::new(i64::MAX))).collect(),
            answer: Mutex::new(Some(answer)),
            permit: Mutex::new(permit),
        });
        for (index, (batch, partition)) in placed.into_iter().enumerate() {
            self.hand_over_one(batch, partition, index, &whole);
        }
        whole.part_done();
        answered
    }

    fn hand_over_one(&self, batch: &Batch, partition: Partition, index: usize, whole: &Arc<Whole>) {
        let part = Arc::new(Part { index, left: AtomicUsize::new(batch.values.len()), whole: whole.clone() });
        let (topic, key) = (self.topics.name(batch.topic), batch.key.as_str());
        let _in_order = lock(&self.order[batch.topic as usize][partition as usize]);
        for value in batch.values.iter() {
            let record = BaseRecord::with_opaque_to(topic, part.clone())
                .partition(crate::offsets::number(partition))
                .key(key)
                .payload(value);
            if let Err((error, record)) = self.client.send(record) {
                whole.fail(error);
                record.delivery_opaque.one_done();
            }
        }
    }
}

/// The context of a producer: carries acknowledgements to whom they belong.
pub struct Acks(Heard);

impl ClientContext for Acks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.0.token()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Acks {
    type DeliveryOpaque = Arc<Part>;

    fn delivery(&self, result: &DeliveryResult<'_>, part: Arc<Part>) {
        match result {
            Ok(record) => {
                part.whole.places[part.index].1.fetch_min(record.offset(), Ordering::Relaxed);
            }
            Err((error, _)) => part.whole.fail(error.clone()),
        }
        part.one_done();
    }
}

/// An append under way.
struct Whole {
    /// Batches that are not acknowledged yet, and one for the handing over.
    left: AtomicUsize,
    failed: OnceLock<KafkaError>,
    places: Vec<(Partition, AtomicI64)>,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

/// A batch of it.
pub struct Part {
    index: usize,
    /// Records that are not acknowledged yet.
    left: AtomicUsize,
    whole: Arc<Whole>,
}

impl Part {
    fn one_done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.whole.part_done();
        }
    }
}

impl Whole {
    fn fail(&self, error: KafkaError) {
        // The first says why; the others follow from it.
        let _ = self.failed.set(error);
    }

    fn part_done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        lock(&self.permit).take();
        let Some(answer) = lock(&self.answer).take() else { return };
        let place = |(partition, offset): &(Partition, AtomicI64)| {
            (*partition, Offset::try_from(offset.load(Ordering::Relaxed)).unwrap_or(0))
        };
        let result = match self.failed.get() {
            Some(error) => Err(error.clone()),
            None => Ok(self.places.iter().map(place).collect()),
        };
        // Whoever gave up waiting needs no answer.
        let _ = answer.send(result);
    }
}

/// Appends for everybody: an idempotent producer, made anew when it breaks.
pub struct Appender {
    options: Options,
    topics: Topics,
    producer: Mutex<Arc<Producer>>,
    room: Arc<Semaphore>,
}

impl Appender {
    pub fn new(options: &Options, topics: &Topics) -> Result<Self, KafkaError> {
        let producer = Arc::new(Producer::new(&options.producer(), topics, &options.heard())?);
        Ok(Self {
            options: options.clone(),
            topics: topics.clone(),
            producer: Mutex::new(producer),
            room: Arc::new(Semaphore::new(ROOM)),
        })
    }

    pub async fn append(&self, batches: Vec<Batch>) -> Result<Places, LogError> {
        let size: usize = batches.iter().map(|batch| batch.values.bytes() + batch.values.len() * OVERHEAD).sum();
        let permits = u32::try_from(size.clamp(1, ROOM)).expect("the room is far below 4 GiB");
        let permit = self.room.clone().acquire_many_owned(permits).await;
        let permit = permit.map_err(|_| LogError::Fatal("the producer is closed".into()))?;
        let producer = self.producer()?;
        let answer = producer.hand_over(&batches, Some(permit));
        match answer.await {
            Ok(Ok(places)) => Ok(places),
            Ok(Err(error)) => Err(self.refused(&batches, &error, producer.broken())),
            Err(_) => Err(LogError::Unavailable("the producer was made anew".into())),
        }
    }

    /// A producer that broke fails all that it holds, and says once why.
    fn refused(&self, batches: &[Batch], error: &KafkaError, broken: Option<String>) -> LogError {
        let topic = batches.first().map_or("the log", |batch| self.topics.name(batch.topic));
        let doing = format!("append to {topic}");
        if let Some(why) = broken {
            return LogError::Unavailable(format!("could not {doing}: {why}"));
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageTimedOut) => {
                LogError::Unavailable(format!("no broker acknowledged an append to {topic} in time"))
            }
            _ => away(&doing, error),
        }
    }

    /// The producer, or another in place of one that broke: what that had not sent has failed by then.
    fn producer(&self) -> Result<Arc<Producer>, LogError> {
        let mut producer = lock(&self.producer);
        if let Some(why) = producer.broken() {
            tracing::warn!(why, "the producer broke; another takes its place");
            let fresh = Producer::new(&self.options.producer(), &self.topics, &self.options.heard());
            *producer = Arc::new(fresh.map_err(|error| LogError::Unavailable(plain(&error)))?);
        }
        Ok(producer.clone())
    }
}

/// What a panic elsewhere left is as good as before: nothing is half changed under these locks.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
