//! The log as the oracle knows it: what is durable, what is visible, and which tasks each partition still owes.

use super::history::Said;
use super::{End, Oracle, Verdict, Violation};
use crate::event::{Logged, Short};
use baton_core::id::TaskId;
use baton_core::ledger::Ledger;
use baton_core::log::{Offset, Partition, Topic};
use baton_core::record::{ControlRecord, DeadLetter, Kind, TaskRecord};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// A durable record that readers can't see yet.
#[derive(Debug)]
pub(super) struct Unseen {
    key: Bytes,
    value: Bytes,
    what: What,
}

#[derive(Debug)]
enum What {
    Task(TaskId),
    Update(Said),
    Other,
}

impl Unseen {
    /// Whose it is.
    pub fn task(&self) -> Option<&TaskId> {
        match &self.what {
            What::Task(id) => Some(id),
            What::Update(said) => Some(&said.task),
            What::Other => None,
        }
    }
}

/// One partition of `tasks`.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// As it was committed last.
    pub ledger: Option<Ledger>,
    /// Durable records that the ledger does not say have ended.
    pub open: BTreeMap<Offset, Job>,
}

/// A record of `tasks`.
#[derive(Clone, Debug)]
pub(super) enum Job {
    Task(TaskId),
    Unreadable,
}

/// Something that is one atomic step with a ledger.
#[derive(Debug)]
pub(super) struct Pending {
    pub task: TaskId,
    pub partition: Partition,
    pub at: Duration,
    pub what: Booked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Booked {
    Begun(u32),
    /// So many attempts failed that are followed by others.
    Failed(u32),
    Ended,
    Buried,
}

fn is_key_of(key: &[u8], id: &TaskId) -> bool {
    key.is_empty() || key == id.as_str().as_bytes()
}

impl Oracle {
    /// A record can no longer be lost.
    pub(super) fn on_durable(&mut self, record: &Logged) -> Verdict {
        let Logged { topic, partition, offset, key, value, .. } = record;
        let what = match topic {
            Topic::Tasks => self.on_task(record)?,
            Topic::Progress => self.on_update(record)?,
            Topic::Control => {
                self.on_stop(value);
                What::Other
            }
            Topic::DeadLetters => {
                self.on_letter(value);
                What::Other
            }
            Topic::Presence => What::Other,
        };
        let unseen = Unseen { key: key.clone(), value: value.clone(), what };
        let twice = self.unseen.insert((*topic, *partition, *offset), unseen);
        assert!(twice.is_none(), "offset {offset} of {topic}, partition {partition}, became durable twice");
        Ok(())
    }

    fn on_task(&mut self, record: &Logged) -> Result<What, Violation> {
        let (partition, offset) = (record.partition, record.offset);
        let read = TaskRecord::read(&record.value).ok().filter(|task| is_key_of(&record.key, &task.task_id));
        let book = self.books.entry(partition).or_default();
        if let Some(ledger) = book.ledger.as_ref().filter(|ledger| ledger.has_ended(offset)) {
            let what = format!(
                "the record at offset {offset} became durable, and the ledger of its partition (watermark {}) had passed it \
                 before it was there",
                ledger.watermark()
            );
            return Err(Violation::of(2, what).in_partition(partition));
        }
        let Some(task) = read else {
            book.open.insert(offset, Job::Unreadable);
            return Ok(What::Other);
        };
        let id = task.task_id.clone();
        book.open.insert(offset, Job::Task(id.clone()));
        if self.task(&id).places.is_empty() {
            self.note_limits(&id, &task, record.at);
        }
        let known = self.task(&id);
        if known.places.is_empty() {
            known.max_attempts = task.max_attempts;
        }
        known.places.push((partition, offset));
        Ok(What::Task(id))
    }

    fn on_update(&mut self, record: &Logged) -> Result<What, Violation> {
        let Some(said) = Said::read(&record.key, &record.value) else { return Ok(What::Other) };
        self.note_times(&said);
        if said.kind == Kind::Started {
            self.on_begun(&said)?;
        } else if said.kind == Kind::Retrying {
            self.on_retrying(&said)?;
        } else if said.kind.is_terminal() {
            self.on_terminal(&said)?;
        }
        Ok(What::Update(said))
    }

    fn on_stop(&mut self, value: &[u8]) {
        if let Ok(record) = ControlRecord::read(value) {
            let now = self.now;
            self.task(&record.task_id).stop.get_or_insert(now);
        }
    }

    fn on_letter(&mut self, value: &[u8]) {
        let Ok(letter) = DeadLetter::read(value) else { return };
        match letter.task_id {
            Some(id) => {
                self.task(&id).letter = true;
                self.expect_booked(&id, Booked::Buried);
            }
            None => self.buried.extend(place_in(&letter.reason)),
        }
    }

    /// One task has one end (guarantee 3).
    fn on_terminal(&mut self, said: &Said) -> Verdict {
        let (id, now) = (&said.task, self.now);
        let text_fits = match said.kind {
            Kind::Done => said.text == "DONE",
            Kind::Stopped => said.text == "STOPPED",
            _ => said.text == "FAILED" || said.text.starts_with("FAILED: "),
        };
        if !text_fits {
            let what = format!("task {} ended as {} with the text {:?}", Short(id), said.kind.name(), said.text);
            return Err(Violation::of(3, what).on(id));
        }
        let task = self.task(id);
        if let Some(end) = &task.end {
            let what = format!(
                "task {} has a second terminal update, {:?}; it ended {:?} at {:?}",
                Short(id),
                said.text,
                end.text,
                end.when.at
            );
            return Err(Violation::of(3, what).on(id));
        }
        let attempt = said.attempt.unwrap_or(0);
        task.end = Some(End { kind: said.kind, attempt, text: said.text.clone(), when: now });
        self.expect_booked(id, Booked::Ended);
        self.gave_up_in_time(id, &said.text)?;
        self.ended_by_policy(said)?;
        self.nothing_is_left_after_the_end(id)?;
        self.ended_as_it_ran(id)?;
        self.ended_as_stopped(id)
    }

    /// A ledger that knows of it must become durable in this very instant.
    pub(super) fn expect_booked(&mut self, id: &TaskId, what: Booked) {
        if let Some(partition) = self.tasks.get(id).and_then(super::Task::partition) {
            self.pending.push(Pending { task: id.clone(), partition, at: self.now.at, what });
        }
    }

    /// Readers see a record now.
    pub(super) fn on_visible(&mut self, record: &Logged) -> Verdict {
        let Logged { topic, partition, offset, .. } = record;
        let seen_to = self.seen_to.entry((*topic, *partition)).or_default();
        if *offset < *seen_to {
            let what = format!(
                "readers of {topic}, partition {partition}, were given offset {offset} after offset {}",
                *seen_to - 1
            );
            return Err(Violation::of(4, what));
        }
        *seen_to = offset + 1;
        let durable = self.unseen.remove(&(*topic, *partition, *offset));
        let Some(durable) = durable.filter(|d| d.key == record.key && d.value == record.value) else {
            let what = format!(
                "readers of {topic}, partition {partition}, were given a record at offset {offset} that is not the one that \
                 is durable there"
            );
            return Err(Violation::of(1, what));
        };
        match durable.what {
            What::Task(id) => {
                let now = self.now.at;
                self.task(&id).visible_since.get_or_insert(now);
                Ok(())
            }
            What::Update(said) => self.on_visible_update(&said, *partition, *offset),
            What::Other => Ok(()),
        }
    }
}

/// The place that a dead letter of an unreadable record names: its reason opens with `tasks[partition]@offset`.
fn place_in(reason: &str) -> Option<(Partition, Offset)> {
    let (partition, rest) = reason.strip_prefix("tasks[")?.split_once("]@")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((partition.parse().ok()?, rest[..digits].parse().ok()?))
}
