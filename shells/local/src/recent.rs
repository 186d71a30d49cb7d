//! What was written a moment ago, shared with those who follow the log closely, so that they never wait for the
//! file. It must never hold more than its bound, and never a gap: a reader that is too far back is told so.

use baton_core::log::{Delivered, Partition};
use std::collections::VecDeque;

/// Orders all batches of the log, of all topics.
pub type Seq = u64;

/// What comes next of a partition.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Batch(Delivered),
    /// Nothing was written since.
    NotYet,
    /// If anything was, it may be in the file only.
    InFile,
}

/// The latest batches of one topic.
pub struct Recent {
    batches: VecDeque<(Seq, Delivered)>,
    bytes: usize,
    max_bytes: usize,
    /// Every batch of the topic from this one on is here.
    complete_from: Seq,
}

impl Recent {
    /// Knows nothing of what was written before `next`.
    pub fn new(next: Seq, max_bytes: usize) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, max_bytes, complete_from: next }
    }

    /// Adds a batch that was just committed.
    pub fn push(&mut self, seq: Seq, batch: Delivered) {
        self.bytes += weight(&batch);
        self.batches.push_back((seq, batch));
        while self.bytes > self.max_bytes {
            let Some((seq, batch)) = self.batches.pop_front() else { return };
            self.bytes -= weight(&batch);
            self.complete_from = seq + 1;
        }
    }

    /// What comes from `seq` on, up to about `max_bytes`, and where to go on; `None` if some of it is in the file
    /// only.
    pub fn page(&self, seq: Seq, max_bytes: usize) -> Option<(Vec<Delivered>, Seq)> {
        let (mut page, mut bytes, mut next) = (Vec::new(), 0, seq);
        for (seq, batch) in self.from(seq)? {
            bytes += weight(batch);
            if bytes > max_bytes && !page.is_empty() {
                break;
            }
            page.push(batch.clone());
            next = seq + 1;
        }
        Some((page, next))
    }

    /// The first batch of a partition from `seq` on. Moves `seq` behind what was looked at.
    pub fn next_of(&self, partition: Partition, seq: &mut Seq) -> Next {
        let Some(batches) = self.from(*seq) else { return Next::InFile };
        for (found, batch) in batches {
            *seq = found + 1;
            if batch.partition == partition {
                return Next::Batch(batch.clone());
            }
        }
        Next::NotYet
    }

    fn from(&self, seq: Seq) -> Option<impl Iterator<Item = &(Seq, Delivered)>> {
        (seq >= self.complete_from).then(|| {
            let start = self.batches.partition_point(|(found, _)| *found < seq);
            self.batches.range(start..)
        })
    }
}

/// What a batch costs in memory, about.
fn weight(batch: &Delivered) -> usize {
    size_of::<(Seq, Delivered)>() + batch.key.len() + batch.values.bytes() + batch.values.len() * size_of::<u32>()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use baton_core::log::{Topic, Values};
    use baton_core::time::Timestamp;
    use bytes::Bytes;

    fn batch(partition: Partition) -> Delivered {
        Delivered {
            topic: Topic::Tasks,
            partition,
            base_offset: 0,
            at: Timestamp::default(),
            key: Bytes::new(),
            values: Values::one("x".repeat(1_000)),
        }
    }

    #[test]
    fn a_reader_that_is_too_far_back_is_told_so() {
        let mut recent = Recent::new(10, 3_500);
        assert!(recent.page(9, 1 << 20).is_none());
        assert_eq!(recent.page(10, 1 << 20).unwrap().1, 10);
        for seq in [10, 12, 13, 17] {
            recent.push(seq, batch(u32::from(seq == 13)));
        }
        assert!(recent.page(10, 1 << 20).is_none());
        let (page, next) = recent.page(11, 1 << 20).unwrap();
        assert_eq!((page.len(), next), (3, 18));
        assert_eq!(recent.page(12, 1).unwrap().1, 13, "one batch comes, however long");
        let mut seq = 11;
        assert_eq!(recent.next_of(1, &mut seq), Next::Batch(batch(1)));
        assert_eq!(seq, 14);
        assert_eq!(recent.next_of(1, &mut seq), Next::NotYet);
        assert_eq!((seq, recent.next_of(1, &mut 3)), (18, Next::InFile));
    }

    #[test]
    fn a_batch_beyond_the_bound_is_left_to_the_file() {
        let mut recent = Recent::new(0, 500);
        recent.push(0, batch(0));
        assert!(recent.page(0, 1 << 20).is_none());
        assert_eq!(recent.page(1, 1 << 20).unwrap().0.len(), 0);
    }
}
