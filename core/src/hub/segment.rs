//! A stretch of a task's history: updates that never change again, and the frames that they make.
//!
//! A frame is encoded at most once for each format, by the first who reads it, and shared by all after that.

use super::needle::Needle;
use crate::account::{Account, Tally};
use crate::agent_report::AgentReport;
use crate::id::{TaskId, UpdateId};
use crate::log::{Offset, Partition};
use crate::process::Stream;
use crate::record::{Kind, ProgressRecord, Unreadable};
use crate::time::Timestamp;
use baton_probe::{Mark, Mutant, hit, is};
use bytes::Bytes;
use serde::{Serialize, Serializer};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// How frames are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// WebSocket text frames of the update's text: the plan's own.
    Plain,
    /// WebSocket text frames of a JSON object.
    Json,
    /// Server-sent events of the same JSON object.
    Events,
}

const FORMATS: usize = 3;

impl Format {
    /// About how many bytes a frame has beside its text: enough that frames are seldom moved while they are encoded.
    const fn overhead(self) -> usize {
        match self {
            Self::Plain => 4,
            Self::Json => 112,
            Self::Events => 144,
        }
    }
}

/// Counts the bytes that all segments hold, their encoded frames included.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    /// The bytes now.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Which updates of a task count: each once, in order, none of a stale attempt, none after the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    last: Option<UpdateId>,
    ended: bool,
    /// Records were gone before they could be read: updates of the last attempt may have been among them.
    skipped: bool,
}

/// What a [`Filter`] says of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It does not count.
    Drop,
    /// It counts, as this. With a gap, updates before it are missing.
    Take { id: UpdateId, gap: bool },
}

impl Filter {
    /// The last update that counted.
    pub const fn last(&self) -> Option<UpdateId> {
        self.last
    }

    /// Records of the task's partition were gone before they could be read.
    pub const fn skip(&mut self) {
        self.skipped = !self.ended;
    }

    /// Whether that was said, and nothing has counted since.
    pub const fn has_skipped(&self) -> bool {
        self.skipped
    }

    fn judge(&mut self, record: &ProgressRecord<'_>) -> Verdict {
        let last = self.last.unwrap_or_default();
        let attempt = record.attempt.unwrap_or(last.attempt.max(1));
        let expected = if attempt == last.attempt { last.seq.saturating_add(1) } else { 1 };
        let terminal = record.kind.is_some_and(Kind::is_terminal);
        let unnumbered = if terminal && !is(Mutant::EndCounted) { UpdateId::LAST_SEQ } else { expected };
        let mut id = UpdateId { attempt, seq: record.seq.unwrap_or(unnumbered) };
        // One id stands above all others, and nothing can come after it: hence not `last + 1`.
        let late = id <= last || id.seq < expected;
        let is_stale = id.attempt < last.attempt;
        if self.ended || (late && !terminal && !(is_stale && is(Mutant::StaleLinesShown))) {
            hit(match (self.ended, is_stale) {
                (true, _) => Mark::DroppedAfterEnd,
                (false, true) => Mark::StaleLineDropped,
                (false, false) => Mark::RepeatedLineDropped,
            });
            return Verdict::Drop;
        }
        if late {
            // There is one terminal update on the log, whatever numbers someone else has made up before it.
            id = UpdateId { seq: last.seq.saturating_add(1), ..last };
            self.last = Some(id);
            self.ended = terminal;
            let gap = std::mem::take(&mut self.skipped);
            return Verdict::Take { id, gap };
        }
        // The number says what is missing within an attempt; how long the one before it was, none does.
        let unknown = std::mem::take(&mut self.skipped) && (attempt > last.attempt || record.seq.is_none());
        let gap = unknown || record.seq.is_some_and(|seq| seq > expected) || attempt > last.attempt.saturating_add(1);
        self.last = Some(id);
        self.ended = terminal;
        Verdict::Take { id, gap }
    }
}

/// One update in a segment; its text ends at `end` of the segment's.
#[derive(Clone, Debug)]
struct Update {
    id: UpdateId,
    at: Timestamp,
    kind: Kind,
    stream: Option<Stream>,
    end: u32,
    rest: Option<Box<Rest>>,
}

/// What few updates have.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rest {
    cut: Option<u64>,
    left_out: Option<u64>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    reason: Option<String>,
    deadline: Option<Timestamp>,
    next_at: Option<Timestamp>,
    tally: Option<Tally>,
    ending: Option<Box<Account>>,
    report: Option<Box<AgentReport>>,
}

impl Rest {
    /// The bytes that it holds, its own size included.
    fn weight(&self) -> usize {
        let ending = self.ending.as_deref().map_or(0, |of| size_of_val(of) + of.by.as_deref().map_or(0, str::len));
        let report = self.report.as_deref().map_or(0, |of| size_of_val(of) + of.weight());
        size_of::<Self>() + self.reason.as_deref().map_or(0, str::len) + ending + report
    }
}

/// The JSON of a frame.
#[derive(Serialize)]
struct Frame<'a> {
    #[serde(serialize_with = "as_text")]
    id: UpdateId,
    attempt: u32,
    seq: u64,
    kind: &'static str,
    update: &'a str,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<Stream>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tally: Option<Tally>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending: Option<&'a Account>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a AgentReport>,
}

/// Where on the log a segment came from, and how to make it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The partition of `task-progress`.
    pub partition: Partition,
    /// The first record's offset.
    pub from: Offset,
    /// The offset after the last record.
    pub to: Offset,
    /// What had counted before it.
    pub before: Filter,
}

/// Updates that never change again.
#[derive(Debug)]
pub struct Segment {
    updates: Vec<Update>,
    text: String,
    /// The bytes of what few updates have.
    rests: usize,
    encoded: [OnceLock<Encoded>; FORMATS],
    gauge: Gauge,
}

#[derive(Debug)]
struct Encoded {
    bytes: Bytes,
    ends: Vec<u32>,
}

impl Encoded {
    fn weight(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<u32>()
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let encoded: usize = self.encoded.iter().filter_map(OnceLock::get).map(Encoded::weight).sum();
        self.gauge.subtract(self.weight() + encoded);
    }
}

impl Segment {
    fn new(updates: Vec<Update>, text: String, gauge: Gauge) -> Self {
        let rests = updates.iter().filter_map(|update| update.rest.as_deref()).map(Rest::weight).sum();
        let segment = Self { updates, text, rests, encoded: Default::default(), gauge };
        segment.gauge.add(segment.weight());
        segment
    }

    fn weight(&self) -> usize {
        self.text.capacity() + self.updates.capacity() * size_of::<Update>() + size_of::<Self>() + self.rests
    }

    /// How many updates it holds.
    pub fn len(&self) -> usize {
        self.updates.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }

    /// The bytes of text in it.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// The id of the last update; `None` if there is none.
    pub fn last_id(&self) -> Option<UpdateId> {
        self.updates.last().map(|u| u.id)
    }

    /// Whether the last update ends the task: nothing comes after it.
    pub fn ends_task(&self) -> bool {
        self.updates.last().is_some_and(|u| u.kind.is_terminal())
    }

    /// The text of the last update.
    pub fn last_text(&self) -> &str {
        self.updates.len().checked_sub(1).map_or("", |last| self.text_of(last))
    }

    /// How many of its updates stand at or before `id`.
    pub fn count_through(&self, id: UpdateId) -> usize {
        match self.updates.partition_point(|u| u.id <= id) {
            count @ 1.. if is(Mutant::CursorAhead) => count + 1,
            count @ 1.. if is(Mutant::CursorBehind) => count - 1,
            count => count,
        }
    }

    /// The frames from update number `first` on.
    pub fn frames(&self, format: Format, first: usize) -> Bytes {
        let encoded = self.encoded[format as usize].get_or_init(|| {
            let encoded = self.encode(format);
            self.gauge.add(encoded.weight());
            encoded
        });
        match first.checked_sub(1).and_then(|before| encoded.ends.get(before)) {
            None => encoded.bytes.clone(),
            Some(start) => encoded.bytes.slice(*start as usize..),
        }
    }

    /// The agent's own lines from update number `first` on, of one attempt or of all, each with its line feed; and where
    /// lines are missing, the word that they are.
    pub fn lines(&self, attempt: Option<u32>, first: usize) -> Bytes {
        let mut lines = Vec::with_capacity(self.text.len() + self.updates.len());
        for (index, update) in self.updates.iter().enumerate().skip(first) {
            if matches!(update.kind, Kind::Line | Kind::Truncated)
                && attempt.is_none_or(|wanted| wanted == update.id.attempt)
            {
                lines.extend_from_slice(self.text_of(index).as_bytes());
                lines.push(b'\n');
            }
        }
        lines.into()
    }

    /// Appends the updates from number `first` on as JSON objects with commas between them, until `count` of them or the
    /// buffer's `most` bytes are reached, and says how many. One at least, if there is one.
    pub fn append_json(&self, first: usize, count: usize, most: usize, buffer: &mut Vec<u8>) -> usize {
        let mut appended = 0;
        for (index, update) in self.updates.iter().enumerate().skip(first).take(count) {
            if !buffer.is_empty() {
                buffer.push(b',');
            }
            update.append_json(self.text_of(index), buffer);
            appended += 1;
            if buffer.len() >= most {
                break;
            }
        }
        appended
    }

    /// The numbers of the updates from number `first` on in whose text the needle is. What a line showed before it was over is
    /// not looked at: the line says it again, or no longer.
    pub fn find<'a>(&'a self, needle: &'a Needle, first: usize) -> impl Iterator<Item = usize> + 'a {
        (first..self.updates.len())
            .filter(|index| self.updates[*index].kind != Kind::Progress && needle.is_in(self.text_of(*index)))
    }

    fn text_of(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.updates[before].end as usize);
        &self.text[start..self.updates[index].end as usize]
    }

    fn encode(&self, format: Format) -> Encoded {
        let mut bytes = Vec::with_capacity(self.text.len() + self.updates.len() * format.overhead());
        let mut ends = Vec::with_capacity(self.updates.len());
        let mut json = Vec::new();
        for (index, update) in self.updates.iter().enumerate() {
            let text = self.text_of(index);
            match format {
                Format::Plain if matches!(update.kind, Kind::Progress | Kind::Stopping | Kind::Other) => {}
                Format::Plain => append_text_frame(&mut bytes, text.as_bytes()),
                Format::Json => {
                    json.clear();
                    update.append_json(text, &mut json);
                    append_text_frame(&mut bytes, &json);
                }
                Format::Events => {
                    write!(bytes, "id: {}\nevent: {}\ndata: ", update.id, update.kind.name())
                        .expect("memory takes every write");
                    update.append_json(text, &mut bytes);
                    bytes.extend_from_slice(b"\n\n");
                }
            }
            ends.push(end_of(bytes.len()));
        }
        bytes.shrink_to_fit();
        Encoded { bytes: bytes.into(), ends }
    }

    /// Both segments as one, if that is small enough to be worth a copy.
    pub fn joined(&self, next: &Self) -> Option<Self> {
        let worth = self.len() <= next.len()
            && self.len() + next.len() <= MAX_JOINED_UPDATES
            && self.text.len() + next.text.len() <= MAX_JOINED_BYTES;
        if !worth {
            return None;
        }
        let text = [self.text.as_str(), &next.text].concat();
        let mut updates = Vec::with_capacity(self.len() + next.len());
        updates.extend_from_slice(&self.updates);
        let shift = end_of(self.text.len());
        updates.extend(next.updates.iter().map(|u| Update { end: u.end + shift, ..u.clone() }));
        Some(Self::new(updates, text, self.gauge.clone()))
    }
}

/// A trickle of lines makes segments of one update; neighbours are joined up to these sizes, so that a long
/// quiet task costs no more than a short loud one.
const MAX_JOINED_UPDATES: usize = 1024;
const MAX_JOINED_BYTES: usize = 64 * 1024;

impl Update {
    fn append_json(&self, text: &str, buffer: &mut Vec<u8>) {
        let none = Rest::default();
        let rest = self.rest.as_deref().unwrap_or(&none);
        let frame = Frame {
            id: self.id,
            attempt: self.id.attempt,
            seq: self.id.seq,
            kind: self.kind.name(),
            update: text,
            at: self.at,
            stream: self.stream.filter(|s| *s == Stream::Stderr),
            cut: rest.cut,
            left_out: rest.left_out,
            exit_code: rest.exit_code,
            signal: rest.signal,
            reason: rest.reason.as_deref(),
            deadline: rest.deadline,
            next_at: rest.next_at,
            tally: rest.tally,
            ending: rest.ending.as_deref(),
            report: rest.report.as_deref(),
        };
        serde_json::to_writer(buffer, &frame).expect("a frame has string keys, and memory takes every write");
    }
}

fn as_text<S: Serializer>(id: &UpdateId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// One unmasked, final text frame (RFC 6455, section 5.2).
fn append_text_frame(buffer: &mut Vec<u8>, payload: &[u8]) {
    buffer.push(0x81);
    match payload.len() {
        short @ 0..=125 => buffer.push(u8::try_from(short).expect("at most 125")),
        medium @ 126..=0xffff => {
            buffer.push(126);
            buffer.extend_from_slice(&u16::try_from(medium).expect("at most 65,535").to_be_bytes());
        }
        long => {
            buffer.push(127);
            buffer.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    buffer.extend_from_slice(payload);
}

fn end_of(length: usize) -> u32 {
    u32::try_from(length).expect("a segment is made of one delivery, far below 4 GiB")
}

/// Makes a segment of one task's updates.
#[derive(Debug, Default)]
pub struct SegmentBuilder {
    filter: Filter,
    updates: Vec<Update>,
    text: String,
}

impl SegmentBuilder {
    /// A builder for what comes after `filter`.
    pub fn new(filter: Filter) -> Self {
        Self { filter, updates: Vec::new(), text: String::new() }
    }

    /// Adds a record if it counts, and says whether it did.
    pub fn push(&mut self, record: &ProgressRecord<'_>, logged_at: Timestamp) -> bool {
        let Verdict::Take { id, gap } = self.filter.judge(record) else { return false };
        let at = record.at.unwrap_or(logged_at);
        if gap && !is(Mutant::GapUntold) {
            hit(Mark::GapTold);
            self.push_truncated(UpdateId { seq: id.seq - 1, ..id }, at);
        }
        let rest = Rest {
            cut: record.cut,
            left_out: record.left_out,
            exit_code: record.exit_code,
            signal: record.signal,
            reason: record.reason.as_deref().map(str::to_owned),
            deadline: record.deadline,
            next_at: record.next_at,
            tally: record.tally,
            ending: record.ending.clone(),
            report: record.report.clone(),
        };
        self.text.push_str(&record.update);
        self.updates.push(Update {
            id,
            at,
            kind: record.kind.unwrap_or(Kind::Line),
            stream: record.stream,
            end: end_of(self.text.len()),
            rest: (rest != Rest::default()).then(|| Box::new(rest)),
        });
        true
    }

    /// Adds the API's own word that updates up to `id` are gone.
    pub fn push_truncated(&mut self, id: UpdateId, at: Timestamp) {
        self.text.push_str("[earlier updates are gone]");
        let end = end_of(self.text.len());
        self.updates.push(Update { id, at, kind: Kind::Truncated, stream: None, end, rest: None });
    }

    /// How many updates it has so far.
    pub fn len(&self) -> usize {
        self.updates.len()
    }

    /// What has counted by now.
    pub const fn filter(&self) -> Filter {
        self.filter
    }

    /// The segment.
    pub fn build(mut self, gauge: &Gauge) -> Segment {
        self.text.shrink_to_fit();
        self.updates.shrink_to_fit();
        Segment::new(self.updates, self.text, gauge.clone())
    }
}

/// Reads an update that must be of this task.
pub fn read_for<'a>(task: &TaskId, key: &[u8], value: &'a [u8]) -> Result<ProgressRecord<'a>, Unreadable> {
    let record = ProgressRecord::read(value)?;
    let right = record.task_id == task.as_str() && (key.is_empty() || key == task.as_str().as_bytes());
    if right { Ok(record) } else { Err(Unreadable::wrong_key()) }
}
