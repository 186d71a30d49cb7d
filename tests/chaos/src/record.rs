//! Reads the topics of tasks back, as any consumer of committed records would. What it can't read it keeps, to be told.

use crate::Result;
use crate::story::{At, Committed, Letter, Log, Submitted, Update};
use baton_core::record::{ControlRecord, DeadLetter, Kind, ProgressRecord, TaskRecord};
use baton_core::time::Timestamp;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The workers' group.
const GROUP: &str = "baton-workers";
/// How long brokers may be silent: they have just been restarted, perhaps.
const PATIENCE: Duration = Duration::from_mins(1);

/// Everything that is committed on the topics of tasks.
pub fn read(bootstrap: &str, prefix: &str) -> Result<Log> {
    let mut log = Log::default();
    let tasks = format!("{prefix}tasks");
    for record in read_topic(bootstrap, &tasks)? {
        match TaskRecord::read(&record.value) {
            Ok(task) => log.tasks.push(Submitted { partition: record.partition, offset: record.offset, record: task }),
            Err(error) => log.unreadable.push(format!("tasks {}: {error}", record.place)),
        }
    }
    for record in read_topic(bootstrap, &format!("{prefix}task-progress"))? {
        match ProgressRecord::read(&record.value) {
            Ok(read) => log.updates.push(update(&read, record.place)),
            Err(error) => log.unreadable.push(format!("task-progress {}: {error}", record.place)),
        }
    }
    for record in read_topic(bootstrap, &format!("{prefix}task-control"))? {
        match ControlRecord::read(&record.value) {
            Ok(stop) => log.stops.push(stop.task_id.to_string()),
            Err(error) => log.unreadable.push(format!("task-control {}: {error}", record.place)),
        }
    }
    for record in read_topic(bootstrap, &format!("{prefix}tasks-dlq"))? {
        match DeadLetter::read(&record.value) {
            Ok(letter) => log.letters.push(Letter {
                task: letter.task_id.map(|id| id.to_string()).unwrap_or_default(),
                reason: letter.reason,
                attempts: letter.attempts,
            }),
            Err(error) => log.unreadable.push(format!("tasks-dlq {}: {error}", record.place)),
        }
    }
    log.committed = read_committed(bootstrap, &format!("{prefix}{GROUP}"), &tasks)?;
    Ok(log)
}

/// What a group has committed of a topic.
fn read_committed(bootstrap: &str, group: &str, topic: &str) -> Result<BTreeMap<i32, Committed>> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", group).create()?;
    let mut asked = TopicPartitionList::new();
    for partition in 0..partitions(&consumer, topic)? {
        asked.add_partition(topic, partition);
    }
    let found = consumer.committed_offsets(asked, PATIENCE)?;
    let committed = found.elements().into_iter().filter_map(|entry| match entry.offset() {
        Offset::Offset(offset) => {
            Some((entry.partition(), Committed { offset, metadata: entry.metadata().to_owned() }))
        }
        _ => None,
    });
    Ok(committed.collect())
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    Ok(metadata.topics().first().map_or(0, |topic| topic.partitions().len()).try_into()?)
}

fn update(read: &ProgressRecord<'_>, place: String) -> Update {
    Update {
        task: read.task_id.to_string(),
        attempt: read.attempt,
        seq: read.seq,
        kind: read.kind.unwrap_or(Kind::Line),
        text: read.update.to_string(),
        at: read.at.map_or(0, millis),
        place,
    }
}

fn millis(at: Timestamp) -> At {
    u64::try_from(at.since(Timestamp::from_millis(0)).as_millis()).unwrap_or(At::MAX)
}

struct Record {
    partition: i32,
    offset: i64,
    place: String,
    value: Vec<u8>,
}

fn read_topic(bootstrap: &str, topic: &str) -> Result<Vec<Record>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "chaos")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let partitions = partitions(&consumer, topic)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    // In the order of partitions, and in each in that of offsets.
    let mut read: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    let (mut ended, mut heard) = (BTreeSet::new(), Instant::now());
    while ended.len() < usize::try_from(partitions)? {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => read.entry(message.partition()).or_default().push(record(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            // Brokers that went away and came back are found again by themselves.
            Some(Err(_)) | None if heard.elapsed() < PATIENCE => continue,
            Some(Err(error)) => return Err(format!("could not read {topic}: {error}").into()),
            None => return Err(format!("could not read {topic}: the brokers are silent").into()),
        }
        heard = Instant::now();
    }
    Ok(read.into_values().flatten().collect())
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    Record {
        partition: message.partition(),
        offset: message.offset(),
        place: format!("{}@{}", message.partition(), message.offset()),
        value: message.payload().unwrap_or_default().to_vec(),
    }
}
