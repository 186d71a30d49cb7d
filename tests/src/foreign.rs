//! Clients of Kafka that know of Baton what its plan says and nothing else: one that writes, and one that reads.

use crate::{OnKafka, PATIENCE};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// Where a record is.
pub type Place = (i32, i64);

/// A client that writes.
pub struct ForeignProducer(FutureProducer);

impl ForeignProducer {
    /// One with the settings that a client has by itself, but for large records.
    pub fn new(kafka: &OnKafka) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka.bootstrap()).set("message.max.bytes", "2097152");
        Self(config.create().unwrap())
    }

    /// Writes a record, without a key and without a value where there is none, and says where it is.
    pub async fn write(&self, topic: &str, partition: Option<i32>, key: Option<&str>, value: Option<&[u8]>) -> Place {
        let record = FutureRecord { topic, partition, payload: value, key, timestamp: None, headers: None };
        let place = self.0.send(record, PATIENCE).await.unwrap();
        (place.partition, place.offset)
    }

    /// Writes a text somewhere.
    pub async fn say(&self, topic: &str, key: Option<&str>, text: &str) -> Place {
        self.write(topic, None, key, Some(text.as_bytes())).await
    }
}

/// All committed values of a topic, those of each partition in order. What has none is empty.
pub fn read_all(kafka: &OnKafka, topic: &str, partitions: u8) -> Vec<Vec<u8>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap()).set("group.id", kafka.topic("foreign"));
    let consumer: BaseConsumer =
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true").create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition.into(), Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut values, mut ended, deadline) = (Vec::new(), 0, Instant::now() + PATIENCE);
    while ended < partitions {
        assert!(Instant::now() < deadline, "{topic} does not end");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => values.push(record.payload().unwrap_or_default().to_vec()),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(_)) | None => {}
        }
    }
    values
}
