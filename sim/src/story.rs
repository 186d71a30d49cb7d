//! The story of one world, for people: what each entry says in words, and which entries concern what went wrong.

use crate::event::{Entry, Event, Logged, Node, Short};
use crate::oracle::Violation;
use baton_core::id::TaskId;
use baton_core::ledger::Ledger;
use baton_core::log::{Offset, Partition, Topic};
use baton_core::presence::Presence;
use baton_core::record::{ControlRecord, DeadLetter, ProgressRecord, TaskRecord};
use std::collections::BTreeMap;

/// How many entries before a violation are told as its context.
pub const CONTEXT: usize = 15;
/// How much of a text is told.
const QUOTED: usize = 60;

/// All that happened in one world.
#[derive(Clone, Debug)]
pub struct Story {
    entries: Vec<Entry>,
    found: Option<Found>,
    /// Whose each watcher is.
    watchers: BTreeMap<u32, TaskId>,
    /// Which task each POST became.
    requests: BTreeMap<u32, TaskId>,
    /// The partition of `tasks` of each task.
    partitions: BTreeMap<TaskId, Partition>,
}

/// What the oracle found first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What.
    pub violation: Violation,
    /// By which entry; the number of entries if by what had not come at the end.
    pub by: usize,
}

impl Story {
    /// The story that these entries tell.
    pub fn new(entries: Vec<Entry>, found: Option<Found>) -> Self {
        let mut story =
            Self { entries, found, watchers: BTreeMap::new(), requests: BTreeMap::new(), partitions: BTreeMap::new() };
        for entry in &story.entries {
            match &entry.event {
                Event::Watching { watcher, task, .. } => {
                    story.watchers.insert(*watcher, task.clone());
                }
                Event::Submitted { request, answer: Ok(id) } => {
                    story.requests.insert(*request, id.clone());
                }
                Event::Durable(record) if record.topic == Topic::Tasks => {
                    if let Some(id) = owner(record) {
                        story.partitions.entry(id).or_insert(record.partition);
                    }
                }
                _ => {}
            }
        }
        story
    }

    /// What happened, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What the oracle found.
    pub const fn found(&self) -> Option<&Found> {
        self.found.as_ref()
    }

    /// The task that an entry is about.
    pub fn task_of(&self, entry: &Entry) -> Option<TaskId> {
        match &entry.event {
            Event::Submitting { request, .. } | Event::Submitted { request, .. } => self.requests.get(request).cloned(),
            Event::Frame { watcher, .. } | Event::Unwatched { watcher, .. } => self.watchers.get(watcher).cloned(),
            Event::Stopping(id)
            | Event::StopAnswered(id, _)
            | Event::Heard { task: id, .. }
            | Event::Spawned(id, _)
            | Event::FilesMade(id, _)
            | Event::FilesRemoved(id, _) => Some(id.clone()),
            Event::Watching { task, .. } | Event::Gone { task, .. } => Some(task.clone()),
            Event::Durable(record) | Event::Visible(record) => owner(record),
            _ => None,
        }
    }

    /// The entries that led to what was found: the last of those that concern the same task or its partition.
    pub fn context(&self) -> Vec<&Entry> {
        let Some(Found { violation, by }) = &self.found else { return Vec::new() };
        let task = violation.task.as_ref();
        let partition = violation.partition.or_else(|| self.partitions.get(task?).copied());
        let told = &self.entries[..self.entries.len().min(by + 1)];
        let concerns = |entry: &&Entry| {
            // What readers can see was durable before, and says the same.
            let again = matches!(entry.event, Event::Visible(_));
            let of_partition = partition.is_some() && partition_of(&entry.event) == partition;
            !again && (of_partition || task.is_some() && self.task_of(entry).as_ref() == task)
        };
        let mut context: Vec<&Entry> = told.iter().rev().filter(concerns).take(CONTEXT).collect();
        context.reverse();
        // Whatever it concerns, the last straw is told.
        if let Some(last) = self.entries.get(*by).filter(|last| context.last() != Some(last)) {
            context.push(last);
        }
        context
    }
}

/// The partition of `tasks` that an event is about as a whole.
fn partition_of(event: &Event) -> Option<Partition> {
    match event {
        Event::Ledger { partition, .. }
        | Event::Claimed(partition, _)
        | Event::Unclaimed(partition)
        | Event::Leader(Topic::Tasks, partition) => Some(*partition),
        _ => None,
    }
}

/// Whose a record is: as its key says, or as it says itself.
fn owner(record: &Logged) -> Option<TaskId> {
    let key = std::str::from_utf8(&record.key).ok().filter(|key| !key.is_empty());
    if let Some(id) = key.and_then(|key| key.parse().ok()) {
        return Some(id);
    }
    match record.topic {
        Topic::Tasks => TaskRecord::read(&record.value).ok().map(|task| task.task_id),
        Topic::Progress => ProgressRecord::read(&record.value).ok()?.task_id.parse().ok(),
        Topic::Control => ControlRecord::read(&record.value).ok().map(|control| control.task_id),
        Topic::DeadLetters => DeadLetter::read(&record.value).ok()?.task_id,
        Topic::Presence => Presence::read(&record.value).ok().map(|said| said.identity.id),
    }
}

/// What happened, in words.
pub fn words(event: &Event) -> String {
    match event {
        Event::Submitting { request, key: Some(key) } => format!("POST {request} goes out, with the key {key:?}"),
        Event::Submitting { request, key: None } => format!("POST {request} goes out"),
        Event::Submitted { request, answer: Ok(id) } => format!("POST {request} is answered: task {}", Short(id)),
        Event::Submitted { request, answer: Err(status) } => format!("POST {request} is answered: {status}"),
        Event::Stopping(id) => format!("STOP for task {} goes out", Short(id)),
        Event::StopAnswered(id, status) => format!("STOP for task {} is answered: {status}", Short(id)),
        Event::Watching { watcher, task, after, api } => {
            format!("watcher {watcher} of task {} connects to api-{api}, has read to {after}", Short(task))
        }
        Event::Frame { watcher, id, kind, update } => format!("watcher {watcher} reads {id} {kind} {}", quoted(update)),
        Event::Denied { task, api, .. } => format!("{} knows no task {}", Node::Api(*api), Short(task)),
        Event::Unwatched { watcher, code } => format!("watcher {watcher} is closed with {code}"),
        Event::Durable(record) => format!("durable: {}", record_words(record)),
        Event::Visible(record) => format!("visible: {}", record_words(record)),
        Event::Truncated(topic, partition, offset) => format!("{topic}[{partition}] begins at offset {offset} now"),
        Event::Ledger { partition, offset, metadata } => ledger_words(*partition, *offset, metadata),
        Event::Heard { task, force } => {
            let how = if *force { " without grace" } else { "" };
            format!("hears of the STOP{how} for task {}", Short(task))
        }
        Event::Claimed(partition, epoch) => format!("claims partition {partition} (epoch {epoch})"),
        Event::Unclaimed(partition) => format!("has no claim on partition {partition} any more"),
        Event::Spawned(id, attempt) => format!("process of task {}, attempt {attempt}, lives", Short(id)),
        Event::FilesMade(id, attempt) => format!("files of task {}, attempt {attempt}, are made", Short(id)),
        Event::FilesRemoved(id, attempt) => format!("files of task {}, attempt {attempt}, are removed", Short(id)),
        Event::Frozen => "stands still".into(),
        Event::Thawed => "goes on".into(),
        Event::Gone { task, attempt, status, by_itself } => {
            let how = if *by_itself { "by itself" } else { "signalled" };
            format!("process of task {}, attempt {attempt}, is gone: {status}, {how}", Short(task))
        }
        Event::Memory { of, bytes, limit } => format!("holds {bytes} bytes of {of}, {limit} at most"),
        Event::Started => "starts".into(),
        Event::Killed => "is killed".into(),
        Event::Fault(what) => format!("FAULT {what}"),
        Event::Healed => "HEALED: no new fault from here on".into(),
        Event::Leader(topic, partition) => format!("leads {topic}[{partition}]"),
        Event::Note(what) => what.clone(),
    }
}

fn record_words(record: &Logged) -> String {
    let place = format!("{}[{}]@{}", record.topic, record.partition, record.offset);
    let whose = owner(record).map_or_else(|| "nobody".to_owned(), |id| Short(&id).to_string());
    let what = match record.topic {
        Topic::Tasks => TaskRecord::read(&record.value).ok().map(|_| String::new()),
        Topic::Control => ControlRecord::read(&record.value).ok().map(|_| "STOP".to_owned()),
        Topic::DeadLetters => DeadLetter::read(&record.value).ok().map(|letter| quoted(&letter.reason)),
        Topic::Presence => Presence::read(&record.value).ok().map(|_| "is there".to_owned()),
        Topic::Progress => ProgressRecord::read(&record.value).ok().map(|update| {
            let number = |n: Option<String>| n.unwrap_or_else(|| "?".to_owned());
            let (attempt, seq) =
                (number(update.attempt.map(|n| n.to_string())), number(update.seq.map(|n| n.to_string())));
            let kind = update.kind.map_or("line", |kind| kind.name());
            format!("{attempt}-{seq} {kind} {}", quoted(&update.update))
        }),
    };
    let what = what.unwrap_or_else(|| format!("can't be read: {}", quoted(&String::from_utf8_lossy(&record.value))));
    format!("{place} task {whose} {what}").trim_end().to_owned()
}

fn ledger_words(partition: Partition, offset: Offset, metadata: &str) -> String {
    let read = Ledger::read(offset, metadata);
    let told = if read.is_ok() { metadata.split('|').skip(1).take(2).collect::<Vec<_>>() } else { vec![metadata] };
    match told.as_slice() {
        [] | ["", ""] => format!("ledger of partition {partition}: all below {offset} has ended"),
        [ended, tries] => {
            let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { format!("+{text}") };
            let (ended, tries) = (or_none(&ended.replace(',', ",+")), or_none(&tries.replace(',', ",+")));
            format!("ledger of partition {partition}: all below {offset} has ended; above: {ended}; begun: {tries}")
        }
        _ => format!("ledger of partition {partition} at {offset} can't be read: {}", quoted(metadata)),
    }
}

fn quoted(text: &str) -> String {
    let short = &text[..text.floor_char_boundary(QUOTED)];
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{text:?}") }
}
