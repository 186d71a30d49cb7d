//! Clients that are none of Baton's: a producer in a transaction, and who reads what a group has committed.

use crate::world::{PATIENCE, World, key_in};
use baton_core::log::{Partition, Topic};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;

/// A producer in a transaction.
pub struct Transaction {
    producer: BaseProducer,
    topics: BTreeMap<Topic, String>,
}

impl Transaction {
    /// Begins one, under a transactional id: whoever had it before is fenced.
    pub fn begin(world: &World, id: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &world.options.brokers).set("transactional.id", id);
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        let topics = Topic::ALL.into_iter().map(|topic| (topic, world.topic(topic))).collect();
        Self { producer, topics }
    }

    /// Writes a record, and waits until it is there.
    pub fn write(&self, topic: Topic, partition: Partition, text: &str) {
        let key = key_in(partition);
        let record = BaseRecord::to(&self.topics[&topic]).payload(text).key(key.as_str());
        let partition = i32::try_from(partition).unwrap();
        self.producer.send(record.partition(partition)).map_err(|(error, _)| error).unwrap();
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Commits an offset of the tasks for a group, as `consumer` is in it.
    pub fn commit_offset(&self, world: &World, partition: Partition, offset: i64, metadata: &str) {
        let consumer = group_consumer(world);
        let list = offset_list(world, partition, offset, metadata);
        let group = consumer.group_metadata().unwrap();
        self.producer.send_offsets_to_transaction(&list, &group, PATIENCE).unwrap();
    }

    /// Ends it so that all of it is seen, unless it is fenced.
    pub fn commit(&self) -> KafkaResult<()> {
        self.producer.commit_transaction(PATIENCE)
    }

    /// Ends it so that nothing of it is seen.
    pub fn abort(&self) {
        self.producer.abort_transaction(PATIENCE).unwrap();
    }
}

/// Commits an offset of the tasks while nobody is in the group.
pub fn commit_offset(world: &World, partition: Partition, offset: i64, metadata: &str) {
    let list = offset_list(world, partition, offset, metadata);
    group_consumer(world).commit(&list, CommitMode::Sync).unwrap();
}

/// The metadata of what the group has committed of a partition.
pub fn metadata(world: &World, partition: Partition) -> String {
    let mut list = TopicPartitionList::new();
    list.add_partition(&world.topic(Topic::Tasks), i32::try_from(partition).unwrap());
    let found = group_consumer(world).committed_offsets(list, PATIENCE).unwrap();
    found.elements()[0].metadata().to_owned()
}

/// In the group by its name only: it never joins.
fn group_consumer(world: &World) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &world.options.brokers).set("group.id", world.group());
    config.set("isolation.level", "read_uncommitted").create().unwrap()
}

fn offset_list(world: &World, partition: Partition, offset: i64, metadata: &str) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    let mut entry = list.add_partition(&world.topic(Topic::Tasks), i32::try_from(partition).unwrap());
    entry.set_offset(Offset::Offset(offset)).unwrap();
    entry.set_metadata(metadata);
    list
}
