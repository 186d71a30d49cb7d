//! The log on Kafka: the log port on librdkafka.

pub mod topics;

use baton_core::log::{Batch, Delivered, Offset, Partition, Topic};
use baton_runtime::memory::{MemoryLog, MemoryMember, MemoryTail};
use baton_runtime::ports::{Durability, Log, LogError, TailFrom};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where Kafka is, and how it is spoken to.
#[derive(Clone)]
pub struct Options {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Put before every topic, the group and the transactional ids.
    pub topic_prefix: String,
    /// Settings of librdkafka. They win over ours.
    pub config: BTreeMap<String, String>,
    /// After how long without a word a member of a group counts as dead.
    pub session_timeout: Duration,
    /// How missing topics are made; `None`: not at all.
    pub create: Option<NewTopics>,
}

/// How topics are made, and what is expected of those that are there.
#[derive(Clone, Copy, Debug)]
pub struct NewTopics {
    /// Of each topic.
    pub partitions: u32,
    /// `None`: 3, or as many as there are brokers.
    pub replication: Option<u16>,
    /// How long records are kept.
    pub retention: Duration,
}

/// The log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No broker answers.
    #[error("no broker answers at {0}")]
    Unreachable(String),
}

/// The log.
#[derive(Clone)]
pub struct KafkaLog(MemoryLog);

impl KafkaLog {
    /// Opens the log.
    #[allow(clippy::unused_async)]
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        Err(OpenError::Unreachable(options.brokers.clone()))
    }
}

impl Log for KafkaLog {
    type Tail = MemoryTail;
    type Member = MemoryMember;

    async fn append(&self, batches: Vec<Batch>, durability: Durability) -> Result<Vec<(Partition, Offset)>, LogError> {
        self.0.append(batches, durability).await
    }

    async fn tail(&self, topic: Topic, from: TailFrom) -> Result<MemoryTail, LogError> {
        self.0.tail(topic, from).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Delivered>, LogError> {
        self.0.read(topic, partition, from, to, max_bytes).await
    }

    async fn join(&self, group: &str, member: &str, lookback: Duration) -> Result<MemoryMember, LogError> {
        self.0.join(group, member, lookback).await
    }
}
