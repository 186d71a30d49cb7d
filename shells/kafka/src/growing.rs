//! A batch that grows: consecutive records of one key, as they come one by one.

use baton_core::log::{Delivered, Offset, Partition, Topic, ValuesBuilder};
use baton_core::time::Timestamp;
use bytes::Bytes;

/// A record as Kafka gives it.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub partition: Partition,
    pub offset: Offset,
    pub millis: i64,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    /// `None` for numbers that no broker gives.
    pub fn new(partition: i32, offset: i64, millis: i64, key: &'a [u8], value: &'a [u8]) -> Option<Self> {
        Some(Self { partition: partition.try_into().ok()?, offset: offset.try_into().ok()?, millis, key, value })
    }
}

/// See the module's words.
pub struct Growing {
    topic: Topic,
    partition: Partition,
    base_offset: Offset,
    next: Offset,
    millis: i64,
    key: Bytes,
    values: ValuesBuilder,
}

impl Growing {
    /// Begins with this record.
    pub fn begin(topic: Topic, record: &Record<'_>) -> Self {
        let Record { partition, offset, millis, key, .. } = *record;
        let key = Bytes::copy_from_slice(key);
        let mut growing =
            Self { topic, partition, base_offset: offset, next: offset, millis, key, values: ValuesBuilder::default() };
        growing.push(record);
        growing
    }

    /// Whether the record belongs to the batch: the next one, of the same key, taken by the log at the same time.
    pub fn goes_on_with(&self, record: &Record<'_>) -> bool {
        self.next == record.offset
            && self.partition == record.partition
            && self.millis == record.millis
            && self.key == record.key
    }

    /// Adds a record that belongs to it.
    pub fn push(&mut self, record: &Record<'_>) {
        self.next = record.offset + 1;
        self.values.push_with(|buffer| buffer.extend_from_slice(record.value));
    }

    /// The bytes of its values so far.
    pub fn bytes(&self) -> usize {
        self.values.bytes()
    }

    /// The batch.
    pub fn done(mut self) -> Delivered {
        Delivered {
            topic: self.topic,
            partition: self.partition,
            base_offset: self.base_offset,
            at: Timestamp::from_millis(self.millis),
            key: self.key,
            values: self.values.take(),
        }
    }
}
