//! The ledger of one `tasks` partition: which tasks have ended, how often each of the others was begun, and until when
//! it waits for its next attempt.
//!
//! It lives in the committed offset and its metadata, a line of text that fits Kafka's limit. It never says more than
//! what is durable, and never goes on without its map: what can't be read is an error, not an empty ledger.

use crate::agent_report::Cost;
use crate::log::Offset;
use crate::tenure::MAX_TITLE;
use crate::time::Timestamp;
use baton_probe::{Mutant, is, limit};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

/// The longest text of a ledger: what Kafka takes as metadata by default (`offset.metadata.max.bytes` is 4,096; some
/// versions took one less), less the title that stands before it.
pub const MAX_METADATA: usize = 4095 - MAX_TITLE;
/// What one task that runs can add to the text at most: its attempts, its wait, and later its end.
const ENTRY: usize = 90;
/// Without retries a ledger is written as it was before there were any, so that an earlier Baton reads it too.
const WITHOUT_RETRIES: &str = "1";
/// And without costs as before there were those.
const WITHOUT_COSTS: &str = "2";
const VERSION: &str = "3";
/// In this base times and costs are written: milliseconds of this century have eight digits, and so have millionths of the most
/// dollars.
const BASE: u32 = 36;

/// How often a task was begun, and what it waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Attempts begun.
    pub begun: u32,
    /// Of those, how many were handed back by a worker that was told to go: they don't count against the task.
    pub returned: u32,
    /// Of those, how many failed, and were worth another attempt.
    pub failed: u32,
    /// Not before then the next attempt may begin. `None` while one runs, or was lost.
    pub next_at: Option<Timestamp>,
    /// When the first attempt began, where all of them together have a timeout.
    pub since: Option<Timestamp>,
    /// What the attempts cost that are over, as far as their agents told. Of one that was lost nobody could note it.
    pub cost: Cost,
}

impl Tries {
    /// The attempts that count.
    pub const fn counted(self) -> u32 {
        self.begun.saturating_sub(self.returned)
    }

    /// The attempts that neither failed nor were handed back: lost, but for one that may run.
    pub const fn unaccounted(self) -> u32 {
        self.counted().saturating_sub(self.failed)
    }

    const fn has_retries(self) -> bool {
        self.failed > 0 || self.next_at.is_some() || self.since.is_some()
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
    #[error("the ledger has version {0:?}, and this Baton reads up to version {VERSION}: a newer Baton wrote it")]
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
        if ![VERSION, WITHOUT_COSTS, WITHOUT_RETRIES].contains(&version) {
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
        let (at, mut rest) = entry.split_once(':')?;
        // From the last mark to the first, as each is there only if it says something.
        let mut take = |mark| {
            let (before, after) = rest.split_once(mark)?;
            rest = before;
            Some(after)
        };
        let cost = take('$').map(|text| u64::from_str_radix(text, BASE));
        let (since, next_at) = (take('^').map(read_time), take('@').map(read_time));
        let (failed, returned) = (take('!').map(str::parse), take('/').map(str::parse));
        let tries = Tries {
            begun: rest.parse().ok()?,
            returned: returned.unwrap_or(Ok(0)).ok()?,
            failed: failed.unwrap_or(Ok(0)).ok()?,
            next_at: next_at.map_or(Some(None), |time| time.map(Some))?,
            since: since.map_or(Some(None), |time| time.map(Some))?,
            cost: Cost::of_millionths(cost.unwrap_or(Ok(0)).ok()?),
        };
        let offset = self.watermark.checked_add(at.parse().ok()?)?;
        let adds_up = tries.begun > 0 && tries.returned.checked_add(tries.failed)? <= tries.begun;
        (adds_up && self.tries.insert(offset, tries).is_none()).then_some(())
    }

    /// The metadata that stands beside the watermark: `version|ended|attempts|checksum`, offsets relative to the watermark.
    /// Attempts are `offset:begun/returned!failed@next^since$cost`; what is nothing is left out.
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
            if tries.failed > 0 {
                let _ = write!(body, "!{}", tries.failed);
            }
            for (mark, time) in [('@', tries.next_at), ('^', tries.since)] {
                if let Some(time) = time {
                    body.push(mark);
                    write_number(u64::try_from(time.as_millis()).unwrap_or_default(), &mut body);
                }
            }
            if tries.cost > Cost::default() {
                body.push('$');
                write_number(tries.cost.millionths(), &mut body);
            }
        }
        let sum = checksum(self.watermark, &body);
        let version = if self.tries.values().any(|tries| tries.cost > Cost::default()) {
            VERSION
        } else if self.tries.values().any(|tries| tries.has_retries()) {
            WITHOUT_COSTS
        } else {
            WITHOUT_RETRIES
        };
        format!("{version}|{body}|{sum}")
    }

    /// The offset to commit: the first task that has not ended.
    pub const fn watermark(&self) -> Offset {
        self.watermark
    }

    /// Whether the text has room for `running` tasks at once, whatever becomes of them, besides what is in it. What waits
    /// for its next attempt can only become shorter.
    pub fn has_room_for(&self, running: usize) -> bool {
        let most = limit(MAX_METADATA, 200);
        // To write it is dear: where a rough bound will do, it is not written.
        (self.ended.len() + self.tries.len() + running).saturating_mul(ENTRY) < most
            || self.write().len() + running * ENTRY <= most
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

    /// Another attempt begins; returns its number. `since` is when the first one does, if that is to be known.
    pub fn begin(&mut self, offset: Offset, since: Option<Timestamp>) -> u32 {
        if is(Mutant::AttemptUncounted) {
            return self.tries(offset).begun + 1;
        }
        let tries = self.tries.entry(offset).or_default();
        tries.begun = tries.begun.saturating_add(1);
        tries.next_at = None;
        tries.since = if is(Mutant::TotalRestarts) { since } else { tries.since.or(since) };
        tries.begun
    }

    /// The attempt failed, and there will be another, not before `next_at`.
    pub fn retry(&mut self, offset: Offset, next_at: Timestamp) {
        if let Some(tries) = self.tries.get_mut(&offset) {
            tries.failed = (tries.failed + 1).min(tries.counted());
            tries.next_at = Some(next_at);
        }
    }

    /// The attempts by now cost that much together.
    pub fn spend(&mut self, offset: Offset, cost: Cost) {
        if let Some(tries) = self.tries.get_mut(&offset) {
            tries.cost = tries.cost.max(cost);
        }
    }

    /// The attempt was handed back, by no fault of the task.
    pub fn hand_back(&mut self, offset: Offset) {
        if let Some(tries) = self.tries.get_mut(&offset) {
            tries.returned = (tries.returned + 1).min(tries.begun - tries.failed);
        }
    }
}

fn write_number(mut rest: u64, body: &mut String) {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(rest % u64::from(BASE)).expect("it is less than the base");
        digits.push(char::from_digit(digit, BASE).expect("it is less than the base"));
        rest /= u64::from(BASE);
        if rest == 0 {
            break;
        }
    }
    body.extend(digits.iter().rev());
}

fn read_time(text: &str) -> Option<Timestamp> {
    i64::from_str_radix(text, BASE).ok().filter(|millis| *millis >= 0).map(Timestamp::from_millis)
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
        assert_eq!((ledger.begin(100, None), ledger.begin(100, None), ledger.begin(104, None)), (1, 2, 1));
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
    fn a_wait_and_what_failed_are_in_the_text() {
        let mut ledger = Ledger::read(100, "").unwrap();
        let at = |seconds: i64| Timestamp::from_millis(1_790_000_000_000 + seconds * 1000);
        ledger.begin(100, Some(at(0)));
        ledger.retry(100, at(7));
        ledger.begin(103, None);
        ledger.retry(103, at(9));
        ledger.begin(103, None);
        ledger.hand_back(103);
        ledger.begin(103, None);
        assert_eq!(ledger.write(), "2||0:1!1@mubbscwo^mubbs7i8,3:3/1!1|09763f85");
        let again = Ledger::read(100, &ledger.write()).unwrap();
        assert_eq!(again, ledger);
        let expected =
            Tries { begun: 1, returned: 0, failed: 1, next_at: Some(at(7)), since: Some(at(0)), ..Tries::default() };
        assert_eq!(again.tries(100), expected);
        assert_eq!((again.tries(103).counted(), again.tries(103).unaccounted()), (2, 1));
        // The next attempt begins: it waits no longer, and the first one's beginning stays.
        ledger.begin(100, Some(at(8)));
        assert_eq!(ledger.tries(100), Tries { begun: 2, next_at: None, ..expected });
    }

    #[test]
    fn what_attempts_cost_is_in_the_text() {
        let cost = |dollars| Cost::of_usd(dollars).unwrap();
        let mut ledger = Ledger::default();
        ledger.begin(0, None);
        ledger.spend(0, cost(1.25));
        ledger.hand_back(0);
        assert_eq!(ledger.write(), "3||0:1/1$qsi8|9c655142");
        ledger.begin(0, None);
        ledger.spend(0, cost(1.0));
        ledger.retry(0, Timestamp::from_millis(0));
        let again = Ledger::read(0, &ledger.write()).unwrap();
        assert_eq!((again.tries(0).cost, again.tries(0).failed), (cost(1.25), 1), "what was spent does not come back");
        ledger.end(0);
        assert!(ledger.write().starts_with("1|"));
    }

    #[test]
    fn two_hundred_tasks_may_wait_for_their_next_attempts() {
        let mut ledger = Ledger::default();
        let mut waiting = 0;
        while ledger.has_room_for(1) {
            ledger.begin(waiting * 10 + 1, None);
            ledger.retry(waiting * 10 + 1, Timestamp::from_millis(1_790_000_000_000));
            waiting += 1;
        }
        assert!(waiting >= 200, "{waiting}");
        assert!(ledger.write().len() <= MAX_METADATA);
    }

    #[test]
    fn what_is_corrupt_is_refused() {
        let mut ledger = Ledger::default();
        ledger.end(3);
        let good = ledger.write();
        assert_eq!(Ledger::read(0, &good), Ok(ledger));
        assert_eq!(Ledger::read(1, &good), Err(BadLedger::Corrupt("its checksum does not fit")));
        assert!(matches!(Ledger::read(0, &good.replace('3', "4")), Err(BadLedger::Corrupt(_))));
        assert_eq!(Ledger::read(0, "4|x"), Err(BadLedger::Version("4".into())));
        // Well summed, and still nonsense.
        for body in [
            "0|",
            "5-2|",
            "3,3|",
            "3,4|",
            "a|",
            "|1",
            "|1:0",
            "|1:1/2",
            "|1:1,1:1",
            "|1:1/1!1",
            "|1:1@",
            "|1:1^-1",
            "|1:1^a@b",
            "|1:1!",
            "|1:1$",
            "|1:1$-1",
            "|1:1$1^a",
            "18446744073709551615|",
        ] {
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
                ledger.begin(start + offset, None);
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
            ops in prop::collection::vec((0u64..100_000, 0..4u8), 0..400),
        ) {
            let mut ledger = Ledger::default();
            let mut running = BTreeSet::new();
            let at = Timestamp::from_millis(1_790_000_000_000);
            for (offset, op) in ops {
                if ledger.has_room_for(running.len() + 1) && !ledger.has_ended(offset) && !running.contains(&offset) {
                    ledger.begin(offset, Some(at));
                    running.insert(offset);
                }
                // What runs ends, fails, is handed back or goes on.
                if let Some(offset) = running.first().copied().filter(|_| op > 0) {
                    running.remove(&offset);
                    ledger.spend(offset, Cost::of_usd(1e9).unwrap());
                    match op {
                        1 => ledger.end(offset),
                        2 => ledger.retry(offset, at),
                        _ => ledger.hand_back(offset),
                    }
                }
            }
            let text = ledger.write();
            prop_assert!(text.len() <= MAX_METADATA);
            prop_assert_eq!(Ledger::read(ledger.watermark(), &text), Ok(ledger));
        }

        #[test]
        fn no_text_makes_it_panic(watermark in any::<u64>(), text in ".{0,60}") {
            let _ = Ledger::read(watermark, &text);
            let _ = Ledger::read(watermark, &format!("2|{text}|{}", checksum(watermark, &text)));
        }
    }
}
