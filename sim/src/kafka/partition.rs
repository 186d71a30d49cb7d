//! One partition: its records, its replicas, its producers and its open transactions.

use super::wire::{Broker, Error, Producer};
use baton_core::log::{Delivered, Offset, Partition, Topic, Values};
use baton_core::time::Timestamp;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many batches of a producer are remembered, to know them again (KIP-98).
const REMEMBERED: usize = 5;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// There for all.
    Plain,
    /// Of a transaction that is open.
    Open(u64),
    /// Of one that was decided on, and whose marker is not written yet.
    Decided(u64),
    /// Of one that was committed.
    Committed,
    /// Of one that was aborted: nobody reads it.
    Aborted,
    /// A transaction's marker: it takes an offset, and nobody reads it.
    Marker,
}

/// Records of one append.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Of the first.
    pub base: Offset,
    /// When.
    pub at: Timestamp,
    /// The key.
    pub key: Bytes,
    /// The records; none in a marker.
    pub values: Values,
    /// What became of it.
    pub fate: Fate,
}

impl Batch {
    /// The offset after it.
    pub fn end(&self) -> Offset {
        self.base + (self.values.len() as u64).max(1)
    }
}

/// See the module's words.
#[derive(Debug)]
pub struct Log {
    /// Which.
    pub topic: Topic,
    /// Which.
    pub partition: Partition,
    /// Who leads it.
    pub leader: Option<Broker>,
    /// The replicas in sync, the leader among them.
    pub isr: BTreeSet<Broker>,
    /// How far each replica has it: log end offsets.
    pub ends: Vec<Offset>,
    /// All replicas in sync have what is below.
    pub high_watermark: Offset,
    /// The oldest offset that is kept.
    pub start: Offset,
    /// What the leader has.
    pub batches: VecDeque<Batch>,
    /// What readers of committed records were shown so far.
    pub shown: Offset,
    /// What can't be lost any more was told so far.
    pub told: Offset,
    producers: BTreeMap<u64, Sequences>,
}

#[derive(Debug, Default)]
struct Sequences {
    epoch: u64,
    /// First sequence number, number of records, and first offset of the last batches.
    last: VecDeque<(u64, u64, Offset)>,
}

impl Log {
    pub fn new(topic: Topic, partition: Partition, leader: Broker, brokers: u8) -> Self {
        Self {
            topic,
            partition,
            leader: Some(leader),
            isr: (0..brokers).collect(),
            ends: vec![0; usize::from(brokers)],
            high_watermark: 0,
            start: 0,
            batches: VecDeque::new(),
            shown: 0,
            told: 0,
            producers: BTreeMap::new(),
        }
    }

    /// The leader's log end offset.
    pub fn end(&self) -> Offset {
        self.batches.back().map_or(self.start.max(self.high_watermark), Batch::end)
    }

    /// Where a replica may end that ends there now, if it loses some of its last batches: at the end of another one.
    pub fn ends_up_to(&self, end: Offset) -> Vec<Offset> {
        let ends = self.batches.iter().map(Batch::end).take_while(|of| *of <= end);
        std::iter::once(self.start.min(end)).chain(ends).collect()
    }

    /// The batches that reach beyond `offset`.
    pub fn from(&self, offset: Offset) -> impl Iterator<Item = &Batch> {
        self.batches.iter().skip(self.batches.partition_point(|batch| batch.end() <= offset))
    }

    /// Readers of committed records read up to here: the last stable offset.
    pub fn stable(&self) -> Offset {
        // All that was shown is stable.
        let open = self.from(self.shown).find(|batch| matches!(batch.fate, Fate::Open(_) | Fate::Decided(_)));
        open.map_or(self.high_watermark, |batch| batch.base.min(self.high_watermark))
    }

    /// Appends at the leader, unless it is there already; says where, and whether it is new.
    pub fn append(
        &mut self,
        producer: Producer,
        sequence: u64,
        in_transaction: bool,
        at: Timestamp,
        (key, values): (Bytes, Values),
    ) -> Result<(Offset, bool), Error> {
        let base = self.end();
        let count = values.len() as u64;
        let known = self.producers.entry(producer.id).or_default();
        if producer.epoch < known.epoch {
            return Err(Error::ProducerFenced);
        }
        if producer.epoch > known.epoch {
            *known = Sequences { epoch: producer.epoch, last: VecDeque::new() };
        }
        if let Some((_, _, offset)) = known.last.iter().find(|(first, n, _)| (*first, *n) == (sequence, count)) {
            return Ok((*offset, false));
        }
        let expected = known.last.back().map_or(0, |(first, n, _)| first + n);
        if sequence != expected {
            return Err(Error::OutOfOrderSequence);
        }
        known.last.push_back((sequence, count, base));
        if known.last.len() > REMEMBERED {
            known.last.pop_front();
        }
        let fate = if in_transaction { Fate::Open(producer.id) } else { Fate::Plain };
        self.batches.push_back(Batch { base, at, key, values, fate });
        self.wrote();
        Ok((base, true))
    }

    /// Ends a transaction here.
    pub fn mark(&mut self, producer: Producer, commit: bool, at: Timestamp) {
        for batch in &mut self.batches {
            if matches!(batch.fate, Fate::Open(id) | Fate::Decided(id) if id == producer.id) {
                batch.fate = if commit { Fate::Committed } else { Fate::Aborted };
            }
        }
        let base = self.end();
        self.batches.push_back(Batch { base, at, key: Bytes::new(), values: Values::default(), fate: Fate::Marker });
        self.wrote();
    }

    fn wrote(&mut self) {
        let end = self.end();
        if let Some(leader) = self.leader {
            self.ends[usize::from(leader)] = end;
        }
    }

    /// Whether a replica lacks something, or all have what not all readers were shown.
    pub fn lags(&self) -> bool {
        let end = self.end();
        self.isr.len() < self.ends.len() || self.ends.iter().any(|of| *of != end) || self.shown < end
    }

    /// A replica has what the leader has.
    pub fn replicated(&mut self, broker: Broker, min_isr: usize) {
        self.ends[usize::from(broker)] = self.end();
        self.isr.insert(broker);
        self.advance(min_isr);
    }

    /// Raises the high watermark to what all in sync have, if they are enough.
    pub fn advance(&mut self, min_isr: usize) {
        if self.isr.len() >= min_isr
            && let Some(end) = self.isr.iter().map(|broker| self.ends[usize::from(*broker)]).min()
        {
            self.high_watermark = self.high_watermark.max(end);
        }
    }

    /// Makes this broker the leader; what it does not have is gone.
    pub fn elect(&mut self, broker: Broker) {
        self.leader = Some(broker);
        let end = self.ends[usize::from(broker)];
        assert!(end >= self.high_watermark, "an election lost what was acknowledged");
        assert!(self.from(end).next().is_none_or(|batch| batch.base >= end), "a replica ends within a batch");
        while self.batches.back().is_some_and(|batch| batch.base >= end) {
            let gone = self.batches.pop_back().expect("it was just there");
            for sequences in self.producers.values_mut() {
                sequences.last.retain(|(_, _, offset)| *offset != gone.base);
            }
        }
        for other in &mut self.ends {
            *other = (*other).min(end);
        }
        self.isr.insert(broker);
    }

    /// What readers of committed records get from `from` on, up to `to`, and where they go on.
    pub fn read(&self, from: Offset, to: Offset, max_bytes: usize) -> (Vec<Delivered>, Offset) {
        let (mut found, mut bytes, mut next) = (Vec::new(), 0, from.max(self.start));
        let to = to.min(self.stable());
        for batch in self.from(next).take_while(|batch| batch.base < to) {
            if matches!(batch.fate, Fate::Plain | Fate::Committed) {
                if !found.is_empty() && bytes + batch.values.bytes() > max_bytes {
                    return (found, next);
                }
                bytes += batch.values.bytes();
                let delivered = Delivered {
                    topic: self.topic,
                    partition: self.partition,
                    base_offset: batch.base,
                    at: batch.at,
                    key: batch.key.clone(),
                    values: batch.values.clone(),
                };
                found.extend(delivered.from_offset(next).and_then(|delivered| delivered.before_offset(to)));
            }
            next = batch.end().min(to);
        }
        (found, next.max(from.min(to)))
    }

    /// Forgets what is before `offset`.
    pub fn truncate(&mut self, offset: Offset) {
        while self.batches.front().is_some_and(|batch| batch.end() <= offset) {
            let gone = self.batches.pop_front().expect("it was just there");
            self.start = gone.end();
        }
    }
}
