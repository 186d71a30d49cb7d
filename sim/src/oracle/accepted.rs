//! Guarantee 1: accepted means kept. What was promised to submitters, and that each task comes to an end.

use super::{Oracle, Verdict, Violation, short};
use crate::event::Short;
use baton_core::id::TaskId;
use std::fmt;

/// Who was given a task's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Key(String),
    Request(u32),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "the key {key:?}"),
            Self::Request(number) => write!(f, "the POST number {number} without a key"),
        }
    }
}

impl Oracle {
    pub(super) fn on_submitting(&mut self, request: u32, key: Option<&String>) {
        let before = self.requests.insert(request, key.cloned());
        assert!(before.is_none_or(|before| before.as_ref() == key), "a client keeps the key of POST number {request}");
    }

    /// A client was told that its task is taken: then its record can't be lost any more, and nobody else's answer is that id.
    pub(super) fn on_accepted(&mut self, request: u32, id: &TaskId) -> Verdict {
        let Some(key) = self.requests.get(&request).cloned() else {
            panic!("POST number {request} was answered before it was sent");
        };
        if self.tasks.get(id).is_none_or(|task| task.places.is_empty()) {
            let what = format!(
                "POST number {request} was answered with task {}, and no readable record of that task is durable on tasks",
                short(id)
            );
            return Err(Violation::of(1, what).on(id));
        }
        let owner = key.clone().map_or(Owner::Request(request), Owner::Key);
        if let Some(other) = self.given.get(id).filter(|other| **other != owner) {
            let what = format!("task {} was given to {owner}, and before to {other}: these are two tasks", short(id));
            return Err(Violation::of(1, what).on(id));
        }
        self.given.insert(id.clone(), owner);
        let Some(key) = key else { return Ok(()) };
        match self.by_key.get(&key) {
            Some(first) if first != id => {
                let what = format!(
                    "the key {key:?} was answered with task {}, and before with task {}: one key is one task",
                    Short(id),
                    Short(first)
                );
                Err(Violation::of(1, what).on(id))
            }
            Some(_) => Ok(()),
            None => {
                self.by_key.insert(key, id.clone());
                Ok(())
            }
        }
    }

    /// At the end: every task has ended.
    pub(super) fn all_have_ended(&self) -> Verdict {
        let open = self.tasks.iter().find(|(_, task)| !task.places.is_empty() && task.end.is_none());
        let Some((id, task)) = open else { return Ok(()) };
        let (partition, offset) = task.places[0];
        let what = format!(
            "task {} is durable on tasks (partition {partition}, offset {offset}), {} of its attempts were begun, and at \
             the end of the world it has no terminal update",
            short(id),
            task.begun
        );
        Err(Violation::of(1, what).on(id).in_partition(partition))
    }

    /// At the end: readers see all that is durable.
    pub(super) fn all_is_visible(&self) -> Verdict {
        let Some(((topic, partition, offset), unseen)) = self.unseen.first_key_value() else { return Ok(()) };
        let what = format!(
            "the record at offset {offset} of {topic}, partition {partition}, is durable, and no reader of committed records \
             ever saw it"
        );
        let violation = Violation::of(1, what);
        Err(match unseen.task() {
            Some(id) => violation.on(id),
            None => violation,
        })
    }
}
