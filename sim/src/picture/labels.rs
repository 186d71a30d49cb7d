//! What stands beside a mark: a few words, as the whole is told when it is pointed at.

use crate::event::{Event, Logged, Short};
use baton_core::log::Topic;
use baton_core::record::{DeadLetter, ProgressRecord, TaskRecord};

/// How many characters have room in a lane.
const ROOM: usize = 20;

pub fn label(event: &Event) -> String {
    cut(&match event {
        Event::Submitting { request, .. } => format!("POST {request}"),
        Event::Submitted { request, answer: Ok(id) } => format!("{request} → {}", Short(id)),
        Event::Submitted { request, answer: Err(status) } => format!("{request} → {status}"),
        Event::Stopping(id) => format!("STOP {}", Short(id)),
        Event::StopAnswered(id, status) => format!("STOP {} → {status}", Short(id)),
        Event::Watching { watcher, after, api, .. } => format!("w{watcher} on api-{api} after {after}"),
        Event::Frame { watcher, id, update, .. } => format!("w{watcher} {id} {update}"),
        Event::Denied { task, api, .. } => format!("api-{api} knows no {}", Short(task)),
        Event::Unwatched { watcher, code } => format!("w{watcher} closed {code}"),
        Event::Durable(record) | Event::Visible(record) => label_of(record),
        Event::Truncated(topic, partition, offset) => format!("{topic}[{partition}] from {offset}"),
        Event::Ledger { partition, offset, .. } => format!("ledger {partition} at {offset}"),
        Event::Heard { task: id, .. } => format!("hears STOP {}", Short(id)),
        Event::Claimed(partition, epoch) => format!("claims {partition} (epoch {epoch})"),
        Event::Unclaimed(partition) => format!("loses {partition}"),
        Event::Spawned(id, attempt) => format!("{} #{attempt}", Short(id)),
        Event::FilesMade(_, attempt) => format!("files of #{attempt}"),
        Event::FilesRemoved(_, attempt) => format!("files of #{attempt} go"),
        Event::Frozen => "stands still".into(),
        Event::Thawed => "goes on".into(),
        Event::Gone { attempt, status, .. } => format!("#{attempt} {status}"),
        Event::Memory { of, bytes, .. } => format!("{bytes} bytes of {of}"),
        Event::Started => "starts".into(),
        Event::Killed => "killed".into(),
        Event::Fault(what) | Event::Note(what) => what.clone(),
        Event::Healed => "healed".into(),
        Event::Leader(topic, partition) => format!("leads {topic}[{partition}]"),
    })
}

fn label_of(record: &Logged) -> String {
    let unread = || format!("unreadable @{}", record.offset);
    match record.topic {
        Topic::Tasks => TaskRecord::read(&record.value).map_or_else(
            |_| unread(),
            |task| format!("task {} [{}]@{}", Short(&task.task_id), record.partition, record.offset),
        ),
        Topic::Progress => ProgressRecord::read(&record.value).map_or_else(
            |_| unread(),
            |update| format!("{}-{} {}", update.attempt.unwrap_or(0), update.seq.unwrap_or(0), update.update),
        ),
        Topic::Control => "STOP".to_owned(),
        Topic::Presence => "is there".to_owned(),
        Topic::DeadLetters => {
            DeadLetter::read(&record.value).map_or_else(|_| unread(), |letter| format!("† {}", letter.reason))
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(ROOM) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
