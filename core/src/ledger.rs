//! The ledger of one `tasks` partition: which tasks have ended, and how often each of the others was begun.
//!
//! It lives in the committed offset and its metadata, a line of text that fits Kafka's limit. It never says more than
//! what is durable, and never goes on without its map: what can't be read is an error, not an empty ledger.

use crate::log::Offset;
use crate::tenure::MAX_TITLE;
use baton_probe::{Mutant, is, limit};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

/// The longest text of a ledger: what Kafka takes as metadata by default (`offset.metadata.max.bytes` is 4,096; some
/// versions took one less), less the title that stands before it.
pub const MAX_METADATA: usize = 4095 - MAX_TITLE;
/// What one more task can add to the text at most: its attempts, and later its end.
const ENTRY: usize = 64;
const VERSION: &str = "1";

/// How often a task was begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Attempts begun.
    pub begun: u32,
    /// Of those, how many were handed back by a worker that was told to go: they don't count against the task.
    pub returned: u32,
}

impl Tries {
    /// The attempts that count.
    pub const fn counted(self) -> u32 {
        self.begun.saturating_sub(self.returned)
    }
}

/// What a group knows of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Every task below it has ended.
    watermark: Offset,
    /// What ended at or above the watermark, from start to end (exclusive); the ranges neither touch nor overlap.
    ended: BTreeMap<Offset, Offset>,
    tries: BTreeMap<Offset, Tries>,
}

/// A ledger can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLedger {
    /// A later version of Baton wrote it.
    #[error("the ledger has version {0:?}, and this Baton reads version {VERSION}: a newer Baton wrote it")]
    Version(String),
    /// It is not what was written.
    #[error("the ledger is corrupt: {0}")]
    Corrupt(&'static str),
}

impl Ledger {
    /// Reads what was committed. No metadata is a group that never committed.
    pub fn read(watermark: Offset, metadata: &str) -> Result<Self, BadLedger> {
        let mut ledger = Self { watermark, ..Self::default() };
        if metadata.is_empty() {
            return Ok(ledger);
        }
        let (version, rest) = metadata.split_once('|').ok_or(BadLedger::Corrupt("it has no version"))?;
        if version != VERSION {
            return Err(BadLedger::Version(version.into()));
        }
        let (body, sum) = rest.rsplit_once('|').ok_or(BadLedger::Corrupt("it has no checksum"))?;
        if sum != checksum(watermark, body) {
            return Err(BadLedger::Corrupt("its checksum does not fit"));
        }
        let (ended, tries) = body.split_once('|').ok_or(BadLedger::Corrupt("it has too few parts"))?;
        for range in ended.split_terminator(',').filter(|_| !is(Mutant::MapForgotten)) {
            ledger.read_ended(range).ok_or(BadLedger::Corrupt("it has a bad range"))?;
        }
        for entry in tries.split_terminator(',') {
            ledger.read_tries(entry).ok_or(BadLedger::Corrupt("it has bad attempts"))?;
        }
        Ok(ledger)
    }

    fn read_ended(&mut self, range: &str) -> Option<()> {
        let (start, end) = range.split_once('-').unwrap_or((range, range));
        let start = self.watermark.checked_add(start.parse().ok()?)?;
        let end = self.watermark.checked_add(end.parse().ok()?)?.checked_add(1)?;
        let rising = self.ended.last_key_value().is_none_or(|(_, last)| *last < start);
        if start >= end || start == self.watermark || !rising {
            return None;
        }
        self.ended.insert(start, end);
        Some(())
    }

    fn read_tries(&mut self, entry: &str) -> Option<()> {
        let (at, counts) = entry.split_once(':')?;
        let (begun, returned) = counts.split_once('/').unwrap_or((counts, "0"));
        let tries = Tries { begun: begun.parse().ok()?, returned: returned.parse().ok()? };
        let offset = self.watermark.checked_add(at.parse().ok()?)?;
        (tries.begun > 0 && tries.returned <= tries.begun && self.tries.insert(offset, tries).is_none()).then_some(())
    }

    /// The metadata that stands beside the watermark: `version|ended|attempts|checksum`, offsets relative to the watermark.
    pub fn write(&self) -> String {
        let mut body = String::new();
        for (i, (start, end)) in self.ended.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let (first, last) = (start - self.watermark, end - 1 - self.watermark);
            let _ = if first == last { write!(body, "{comma}{first}") } else { write!(body, "{comma}{first}-{last}") };
        }
        body.push('|');
        for (i, (offset, tries)) in self.tries.range(self.watermark..).enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let _ = write!(body, "{comma}{}:{}", offset - self.watermark, tries.begun);
            if tries.returned > 0 {
                let _ = write!(body, "/{}", tries.returned);
            }
        }
        let sum = checksum(self.watermark, &body);
        format!("{VERSION}|{body}|{sum}")
    }

    /// The offset to commit: the first task that has not ended.
    pub const fn watermark(&self) -> Offset {
        self.watermark
    }

    /// Whether the text has room for `more` tasks besides those in it.
    pub fn has_room_for(&self, more: usize) -> bool {
        let most = limit(MAX_METADATA, 200);
        // Each live entry may still grow by a digit, and become a range of its own.
        (self.ended.len() + self.tries.len() * 2 + more * 2).saturating_mul(ENTRY / 2) < most
            || self.write().len() + (self.tries.len() + more) * ENTRY <= most
    }

    /// Whether the task there has ended.
    pub fn has_ended(&self, offset: Offset) -> bool {
        offset < self.watermark || self.ended.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    /// The task there has ended.
    pub fn end(&mut self, offset: Offset) {
        self.end_range(offset..offset + 1);
    }

    /// These offsets hold no task that has yet to end: tasks that did, or nothing, as offsets may have gaps.
    pub fn end_range(&mut self, range: Range<Offset>) {
        let from = if is(Mutant::HighestSeenCommitted) { self.watermark } else { range.start };
        let (mut start, mut end) = (from.max(self.watermark), range.end);
        if start >= end {
            return;
        }
        self.tries.retain(|offset, _| !(start..end).contains(offset));
        // Take in every range that this one touches.
        while let Some((s, e)) =
            self.ended.range(..=end).next_back().map(|(s, e)| (*s, *e)).filter(|(_, e)| *e >= start)
        {
            self.ended.remove(&s);
            (start, end) = (start.min(s), end.max(e));
        }
        if start == self.watermark {
            self.watermark = if is(Mutant::WatermarkStaysBehind) { start + 1 } else { end };
        } else {
            self.ended.insert(start, end);
        }
    }

    /// How often the task there was begun.
    pub fn tries(&self, offset: Offset) -> Tries {
        self.tries.get(&offset).copied().unwrap_or_default()
    }

    /// Another attempt begins; returns its number.
    pub fn begin(&mut self, offset: Offset) -> u32 {
        if is(Mutant::AttemptUncounted) {
            return self.tries(offset).begun + 1;
        }
        let tries = self.tries.entry(offset).or_default();
        tries.begun = tries.begun.saturating_add(1);
        tries.begun
    }

    /// The attempt was handed back, by no fault of the task.
    pub fn hand_back(&mut self, offset: Offset) {
        if let Some(tries) = self.tries.get_mut(&offset) {
            tries.returned = (tries.returned + 1).min(tries.begun);
        }
    }
}

fn checksum(watermark: Offset, body: &str) -> String {
    format!("{:08x}", crc32fast::hash(format!("{watermark}|{body}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_text_is_short_and_readable() {
        let mut ledger = Ledger::read(100, "").unwrap();
        assert_eq!((ledger.begin(100), ledger.begin(100), ledger.begin(104)), (1, 2, 1));
        ledger.hand_back(104);
        for offset in [102, 103, 107] {
            ledger.end(offset);
        }
        assert_eq!(ledger.write(), "1|2-3,7|0:2,4:1/1|869e50a7");
        ledger.end_range(100..102);
        assert_eq!(ledger.watermark(), 104);
        assert!(ledger.write().starts_with("1|3|0:1/1|"), "{}", ledger.write());
    }

    #[test]
    fn what_is_corrupt_is_refused() {
        let mut ledger = Ledger::default();
        ledger.end(3);
        let good = ledger.write();
        assert_eq!(Ledger::read(0, &good), Ok(ledger));
        assert_eq!(Ledger::read(1, &good), Err(BadLedger::Corrupt("its checksum does not fit")));
        assert!(matches!(Ledger::read(0, &good.replace('3', "4")), Err(BadLedger::Corrupt(_))));
        assert_eq!(Ledger::read(0, "2|x"), Err(BadLedger::Version("2".into())));
        // Well summed, and still nonsense.
        for body in ["0|", "5-2|", "3,3|", "3,4|", "a|", "|1", "|1:0", "|1:1/2", "|1:1,1:1", "18446744073709551615|"] {
            let text = format!("1|{body}|{}", checksum(0, body));
            assert!(Ledger::read(0, &text).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_order_of_endings_gives_the_same_ledger(
            start in 0u64..1000,
            offsets in prop::collection::vec(0u64..40, 0..60),
            begun in prop::collection::vec(0u64..40, 0..20),
        ) {
            let mut ledger = Ledger::read(start, "").unwrap();
            let mut ended = BTreeSet::new();
            for offset in &begun {
                ledger.begin(start + offset);
            }
            for offset in &offsets {
                ledger.end(start + offset);
                ended.insert(start + offset);
            }
            let first_open = (start..=start + 40).find(|o| !ended.contains(o)).unwrap();
            prop_assert_eq!(ledger.watermark(), first_open);
            for offset in start..start + 45 {
                prop_assert_eq!(ledger.has_ended(offset), ended.contains(&offset));
                let tries = begun.iter().filter(|o| start + **o == offset).count();
                let expected = if ended.contains(&offset) { 0 } else { tries };
                prop_assert_eq!(ledger.tries(offset).begun as usize, expected);
            }
            prop_assert_eq!(Ledger::read(ledger.watermark(), &ledger.write()), Ok(ledger));
        }

        #[test]
        fn a_ledger_with_room_fits_after_it_was_used(
            ops in prop::collection::vec((0u64..100_000, any::<bool>()), 0..400),
        ) {
            let mut ledger = Ledger::default();
            for (offset, ends) in ops {
                if ledger.has_room_for(1) && !ledger.has_ended(offset) {
                    ledger.begin(offset);
                    if ends {
                        ledger.end(offset);
                    }
                }
                prop_assert!(ledger.write().len() <= MAX_METADATA);
            }
        }

        #[test]
        fn no_text_makes_it_panic(watermark in any::<u64>(), text in ".{0,60}") {
            let _ = Ledger::read(watermark, &text);
            let _ = Ledger::read(watermark, &format!("1|{text}|{}", checksum(watermark, &text)));
        }
    }
}
