//! The shape of the log: topics, partitions, keys and batches. Kafka's words, and no Kafka.

use crate::id::TaskId;
use crate::time::Timestamp;
use bytes::Bytes;
use std::fmt;

/// The topics. What each holds is in [`crate::record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// What clients submitted.
    Tasks,
    /// What became of it, update by update.
    Progress,
    /// STOPs.
    Control,
    /// Tasks that failed for good, and records that could not be read.
    DeadLetters,
    /// What processes say of themselves: [`crate::presence`].
    Presence,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Tasks, Self::Progress, Self::Control, Self::DeadLetters, Self::Presence];

    /// The name on the log, before any prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Progress => "task-progress",
            Self::Control => "task-control",
            Self::DeadLetters => "tasks-dlq",
            Self::Presence => "task-presence",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A partition's number, from 0.
pub type Partition = u32;
/// A record's place in its partition, from 0; offsets grow, and may have gaps.
pub type Offset = u64;

/// The partition of `key` among `partitions`: Kafka's default partitioner (murmur2, seed `0x9747b28c`, the sign
/// bit cleared), so that foreign producers of Java and librdkafka's `murmur2_random` agree with Baton.
pub fn partition_of(key: &[u8], partitions: u32) -> Partition {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    #[allow(clippy::cast_possible_truncation)] // the algorithm hashes the length modulo 2^32
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    for (i, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The values of consecutive records, end to end in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    buffer: Bytes,
    ends: Vec<u32>,
}

impl Values {
    /// One value.
    pub fn one(value: impl Into<Bytes>) -> Self {
        let buffer = value.into();
        let end = u32::try_from(buffer.len()).expect("a value is far below 4 GiB");
        Self { buffer, ends: vec![end] }
    }

    /// Values that lie end to end in `buffer`, each ending where `ends` says. `None` if the ends do not
    /// rise, or do not close the buffer.
    pub fn from_parts(buffer: Bytes, ends: Vec<u32>) -> Option<Self> {
        let rising = ends.windows(2).all(|pair| pair[0] <= pair[1]);
        let closed = ends.last().map_or(0, |end| *end as usize) == buffer.len();
        (rising && closed).then_some(Self { buffer, ends })
    }

    /// The buffer and the end of each value in it.
    pub fn parts(&self) -> (&Bytes, &[u32]) {
        (&self.buffer, &self.ends)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of all values together.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.ends.iter().enumerate().map(|(i, end)| {
            let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
            &self.buffer[start..*end as usize]
        })
    }

    /// The values from number `first` on.
    #[must_use]
    pub fn skip(&self, first: usize) -> Self {
        if first == 0 {
            return self.clone();
        }
        let start = if first > self.ends.len() { self.buffer.len() } else { self.ends[first - 1] as usize };
        let cut = u32::try_from(start).expect("a batch is far below 4 GiB");
        Self { buffer: self.buffer.slice(start..), ends: self.ends.iter().skip(first).map(|end| end - cut).collect() }
    }

    /// The first `count` values, or all if there are no more.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let ends = &self.ends[..count.min(self.ends.len())];
        let end = ends.last().map_or(0, |end| *end as usize);
        Self { buffer: self.buffer.slice(..end), ends: ends.to_vec() }
    }
}

/// Builds [`Values`], one value after the other, in one buffer.
#[derive(Debug, Default)]
pub struct ValuesBuilder {
    buffer: Vec<u8>,
    ends: Vec<u32>,
}

impl ValuesBuilder {
    /// Adds the value that `write` appends to the buffer.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.buffer);
        self.ends.push(u32::try_from(self.buffer.len()).expect("a batch is cut far below 4 GiB"));
    }

    /// The bytes so far.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What was added, leaving the builder empty.
    pub fn take(&mut self) -> Values {
        Values { buffer: Bytes::from(std::mem::take(&mut self.buffer)), ends: std::mem::take(&mut self.ends) }
    }
}

/// Records of one key, on their way to a topic. They stay together and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Where to.
    pub topic: Topic,
    /// The task whose records these are; it decides the partition.
    pub key: TaskId,
    /// At least one.
    pub values: Values,
}

impl Batch {
    /// A batch of one record.
    pub fn one(topic: Topic, key: TaskId, value: impl Into<Bytes>) -> Self {
        Self { topic, key, values: Values::one(value) }
    }
}

/// Records as the log gives them back: of one key, at consecutive offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Where from.
    pub topic: Topic,
    /// Where in the topic.
    pub partition: Partition,
    /// The offset of the first value.
    pub base_offset: Offset,
    /// When the log took them.
    pub at: Timestamp,
    /// As it was written, by whomever. May be empty or garbage.
    pub key: Bytes,
    /// At least one.
    pub values: Values,
}

impl Delivered {
    /// The offset after the last value.
    pub fn end_offset(&self) -> Offset {
        self.base_offset + self.values.len() as u64
    }

    /// What lies at `offset` and after; `None` if that is nothing.
    pub fn from_offset(self, offset: Offset) -> Option<Self> {
        if offset <= self.base_offset {
            return Some(self);
        }
        if offset >= self.end_offset() {
            return None;
        }
        let skipped = usize::try_from(offset - self.base_offset).expect("less than the values in memory");
        Some(Self { base_offset: offset, values: self.values.skip(skipped), ..self })
    }

    /// What lies before `offset`; `None` if that is nothing.
    pub fn before_offset(self, offset: Offset) -> Option<Self> {
        if offset >= self.end_offset() {
            return Some(self);
        }
        if offset <= self.base_offset {
            return None;
        }
        let kept = usize::try_from(offset - self.base_offset).expect("less than the values in memory");
        Some(Self { values: self.values.first(kept), ..self })
    }
}

/// What a group had committed of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The offset to go on from; 0 if nothing was ever committed.
    pub offset: Offset,
    /// The ledger's text; empty if nothing was ever committed.
    pub metadata: String,
}

/// Counts the claims of a partition: each claim has a higher epoch than every one before it.
pub type Epoch = u64;

/// The one atomic step: terminal updates, dead letters, and the ledger. All of it happens, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The claimed partition of [`Topic::Tasks`].
    pub partition: Partition,
    /// The claim's.
    pub epoch: Epoch,
    /// What to append.
    pub batches: Vec<Batch>,
    /// The ledger as it is from then on.
    pub committed: Committed,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Apache Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn keys_land_where_kafka_puts_them() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn values_are_given_back_as_they_were_added() {
        let mut builder = ValuesBuilder::default();
        for value in ["one", "", "three"] {
            builder.push_with(|buffer| buffer.extend_from_slice(value.as_bytes()));
        }
        let values = builder.take();
        assert!(builder.is_empty());
        assert_eq!(values.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        assert_eq!(values.skip(1).iter().collect::<Vec<_>>(), [&b""[..], b"three"]);
        assert_eq!(values.skip(3).len(), 0);
        assert_eq!(values.first(2).iter().collect::<Vec<_>>(), [&b"one"[..], b""]);
        assert_eq!((values.first(0).len(), values.first(9)), (0, values.clone()));
        let (buffer, ends) = values.parts();
        assert_eq!(Values::from_parts(buffer.clone(), ends.to_vec()), Some(values.clone()));
        assert_eq!(Values::from_parts(buffer.clone(), vec![5, 3, 8]), None);
        assert_eq!(Values::from_parts(buffer.clone(), vec![5]), None);
    }
}
