//! The log on Kafka: the log port on librdkafka, for any number of API replicas and workers.
//!
//! Lines go through an idempotent producer, steps through transactions; readers see committed records only. Who holds a
//! partition is decided by [`baton_core::tenure`]; this crate only carries it out. It must never say of a record that it is there
//! before all in-sync replicas have it, nor of a step that it did not happen if it may have.

#![allow(clippy::doc_markdown, reason = "Kafka's and librdkafka's names are no code of ours")]

mod append;
mod config;
mod errors;
mod growing;
mod member;
mod membership;
mod offsets;
mod range;
mod raw;
mod reader;
mod steps;
mod tail;
mod token;
pub mod topics;

pub use config::{NewTopics, Options};
pub use errors::OpenError;
pub use member::KafkaMember;
pub use steps::KafkaSteps;
pub use tail::KafkaTail;

use append::{Appender, Topics};
use baton_core::log::{Batch, Delivered, Offset, Partition, Topic};
use baton_runtime::ports::{Durability, Log, LogError, TailFrom};
use offsets::Asker;
use range::{Range, Ranges};
use std::sync::Arc;
use std::time::Duration;
use topics::Cluster;

/// The log on Kafka. Clones are the same log.
#[derive(Clone)]
pub struct KafkaLog(Arc<Inner>);

struct Inner {
    options: Options,
    topics: Topics,
    appender: Appender,
    asker: Asker,
    ranges: Ranges,
}

impl KafkaLog {
    /// Connects, makes the topics that are missing if it may, and checks those that are there.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        let partitions = Cluster::reach(options).await?.prepare(options).await?;
        let topics = Topics::new(options, partitions);
        let of = |error| OpenError::of("make a client of Kafka", &error, &options.heard(), &options.brokers);
        let appender = Appender::new(options, &topics).map_err(of)?;
        let asker = Asker::new(options, options.heard()).map_err(of)?;
        let ranges = Ranges::new(options);
        Ok(Self(Arc::new(Inner { options: options.clone(), topics, appender, asker, ranges })))
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.0.topics
    }

    pub(crate) fn asker(&self) -> &Asker {
        &self.0.asker
    }
}

impl Log for KafkaLog {
    type Tail = KafkaTail;
    type Member = KafkaMember;

    /// Both durabilities are the same: all in-sync replicas have it.
    async fn append(&self, batches: Vec<Batch>, _: Durability) -> Result<Vec<(Partition, Offset)>, LogError> {
        self.0.appender.append(batches).await
    }

    async fn tail(&self, topic: Topic, from: TailFrom) -> Result<KafkaTail, LogError> {
        KafkaTail::start(self.clone(), topic, from).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Delivered>, LogError> {
        let (log, range) = (self.clone(), Range { topic, partition, from, to, max_bytes });
        blocking("read a range", move || log.0.ranges.read(&range, log.asker())).await
    }

    async fn join(&self, group: &str, member: &str, lookback: Duration) -> Result<KafkaMember, LogError> {
        KafkaMember::join(self, group, member, lookback)
    }
}

/// Asks librdkafka something that blocks, on a thread where that does no harm.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    ask: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let asked = tokio::task::spawn_blocking(ask).await;
    asked.unwrap_or_else(|_| Err(LogError::Unavailable(format!("could not {doing}: the thread for it is gone"))))
}
