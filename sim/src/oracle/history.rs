//! The history of a task as every watcher must see it: told anew from the records in the order of the log.

use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Offset, Partition};
use baton_core::record::{Kind, ProgressRecord};
use baton_core::time::Timestamp;
use std::time::Duration;

/// A record of `task-progress`.
#[derive(Debug)]
pub(super) struct Said {
    pub task: TaskId,
    pub attempt: Option<u32>,
    pub seq: Option<u64>,
    pub kind: Kind,
    pub text: String,
    pub at: Option<Timestamp>,
    pub next_at: Option<Timestamp>,
}

impl Said {
    /// Reads a record, if it is one and has the right key.
    pub fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let record = ProgressRecord::read(value).ok()?;
        let task: TaskId = record.task_id.parse().ok()?;
        let right = key.is_empty() || key == task.as_str().as_bytes();
        right.then(|| Self {
            attempt: record.attempt,
            seq: record.seq,
            kind: record.kind.unwrap_or(Kind::Line),
            at: record.at,
            next_at: record.next_at,
            text: record.update.into_owned(),
            task,
        })
    }
}

/// An update that counts.
#[derive(Debug)]
pub(super) struct Update {
    pub id: UpdateId,
    pub kind: Kind,
    pub text: String,
    pub offset: Offset,
    /// When readers could see it.
    pub at: Duration,
}

/// All updates of one task that count, so far. Their ids rise.
#[derive(Debug, Default)]
pub(super) struct History {
    updates: Vec<Update>,
    pub partition: Partition,
    /// Some record did not count, or had no number: a reader that has not seen all before it may see it otherwise.
    pub depends_on_all: bool,
}

impl History {
    /// A record that readers can see. Returns what is missing before it.
    pub fn add(&mut self, said: &Said, partition: Partition, offset: Offset, at: Duration) -> Option<UpdateId> {
        self.partition = partition;
        self.depends_on_all |= said.seq.is_none() || said.attempt.is_none();
        if self.end().is_some() {
            self.depends_on_all = true;
            return None; // nothing comes after the end
        }
        let last = self.last();
        let (id, missing) = match place_after(last, said) {
            Some(id) if id.seq == UpdateId::LAST_SEQ => (id, None),
            Some(id) => (id, missing_between(last, id)),
            // A task has one terminal update: it ends the task whatever numbers others have made up before it.
            None if said.kind.is_terminal() => (UpdateId { seq: last.seq.saturating_add(1), ..last }, None),
            None => {
                self.depends_on_all = true;
                return None;
            }
        };
        self.updates.push(Update { id, kind: said.kind, text: said.text.clone(), offset, at });
        missing
    }

    fn last(&self) -> UpdateId {
        self.updates.last().map(|update| update.id).unwrap_or_default()
    }

    /// The terminal update.
    pub fn end(&self) -> Option<&Update> {
        self.updates.last().filter(|update| update.kind.is_terminal())
    }

    /// The update that a watcher must see next that has read up to `id`.
    pub fn next_after(&self, id: UpdateId) -> Option<&Update> {
        self.updates.get(self.count_through(id))
    }

    /// The updates after the first id, up to the second one.
    pub fn between(&self, after: UpdateId, through: UpdateId) -> &[Update] {
        let (from, to) = (self.count_through(after), self.count_through(through));
        &self.updates[from..to.max(from)]
    }

    fn count_through(&self, id: UpdateId) -> usize {
        self.updates.partition_point(|update| update.id <= id)
    }
}

/// Where a record stands, if that is after `last`. One without numbers is the next, whichever that is; an end the last.
fn place_after(last: UpdateId, said: &Said) -> Option<UpdateId> {
    let attempt = said.attempt.unwrap_or(last.attempt.max(1));
    let next = if attempt == last.attempt { last.seq.saturating_add(1) } else { 1 };
    let unnumbered = if said.kind.is_terminal() { UpdateId::LAST_SEQ } else { next };
    let id = UpdateId { attempt, seq: said.seq.unwrap_or(unnumbered) };
    (id.seq > 0 && id > last).then_some(id)
}

/// The first id that should have come between two: numbers rise by one within an attempt, which begins with 1, and
/// attempts rise by one from 1.
fn missing_between(last: UpdateId, id: UpdateId) -> Option<UpdateId> {
    let next = if id.attempt == last.attempt {
        UpdateId { seq: last.seq.saturating_add(1), ..last }
    } else if id.attempt <= last.attempt.saturating_add(1) {
        UpdateId { seq: 1, ..id }
    } else {
        UpdateId { attempt: last.attempt.saturating_add(1), seq: 1 }
    };
    (id != next).then_some(next)
}
