//! Questions about offsets: where partitions begin and end, and what stands where at a time. Blocking, each with a time limit.

use crate::config::{ANSWERED_WITHIN, Options};
use crate::errors::{Heard, away};
use baton_core::log::{Offset, Partition};
use baton_core::time::Timestamp;
use baton_runtime::ports::LogError;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where in each partition.
pub type Offsets = BTreeMap<Partition, Offset>;

/// Asks the leaders of partitions, all at once.
pub struct Asker(BaseConsumer<Heard>);

impl Asker {
    /// One that connects when it is first asked.
    pub fn new(options: &Options, heard: Heard) -> Result<Self, KafkaError> {
        options.asker().create_with_context(heard).map(Self)
    }

    /// The client, for questions about the cluster.
    pub fn client(&self) -> &BaseConsumer<Heard> {
        &self.0
    }

    /// The end of each partition: everything that was acknowledged lies before it, an open transaction or not.
    pub fn ends(&self, topic: &str, partitions: &[Partition]) -> Result<Offsets, LogError> {
        // A leader that has just been elected may not know yet how far the others have come; it says so (KIP-207).
        self.ask(topic, partitions, Place::End)
    }

    /// The first offset that is kept of each partition.
    pub fn beginnings(&self, topic: &str, partitions: &[Partition]) -> Result<Offsets, LogError> {
        self.ask(topic, partitions, Place::Beginning)
    }

    /// The first record of each partition that the log took at `time` or later; its end if there is none.
    pub fn since(&self, topic: &str, partitions: &[Partition], time: Timestamp) -> Result<Offsets, LogError> {
        // Asked for first: what comes meanwhile lies behind it, and is read.
        let ends = self.ends(topic, partitions)?;
        let mut found = self.ask(topic, partitions, Place::Offset(time.as_millis()))?;
        for (partition, end) in ends {
            found.entry(partition).or_insert(end);
        }
        Ok(found)
    }

    /// `librdkafka` takes the time from where an offset belongs, and the protocol's marks for the beginning and the end with it.
    fn ask(&self, topic: &str, partitions: &[Partition], place: Place) -> Result<Offsets, LogError> {
        // Its errors wait to be heard, and come in the answer too.
        while self.0.poll(Duration::ZERO).is_some() {}
        let doing = || format!("ask for the offsets of {topic}");
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition_offset(topic, number(*partition), place).map_err(|error| away(&doing(), &error))?;
        }
        let answer = self.0.offsets_for_times(list, ANSWERED_WITHIN).map_err(|error| away(&doing(), &error))?;
        let mut offsets = Offsets::new();
        for entry in answer.elements() {
            entry.error().map_err(|error| away(&doing(), &error))?;
            if let (Ok(partition), Place::Offset(offset)) = (Partition::try_from(entry.partition()), entry.offset()) {
                offsets.insert(partition, Offset::try_from(offset).unwrap_or(0));
            }
        }
        Ok(offsets)
    }
}

/// A partition as librdkafka counts it.
pub fn number(partition: Partition) -> i32 {
    i32::try_from(partition).expect("a topic has far fewer partitions than 2^31")
}
