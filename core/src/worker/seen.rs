//! Whom a worker has heard of: the tasks that it read, so that a POST that was sent twice runs once; and the tasks that were
//! stopped, its own and all others, as whoever takes a task over must know. Both forget after a day, when an
//! idempotency key may stand for a new task.

use crate::id::TaskId;
use crate::run::StopWish;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How long ids are remembered: for as long as an idempotency key holds at least.
const REMEMBERED: Duration = Duration::from_hours(24);
/// How many STOPs are remembered; beyond that the oldest are let go. A task that is still waiting after a million
/// later STOPs would be run.
const MAX_STOPS: usize = 1_000_000;

/// The tasks that were read of late, in one partition.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: BTreeSet<TaskId>,
    order: VecDeque<(Timestamp, TaskId)>,
}

impl Seen {
    /// Notes a task that the log took at `at`, and says whether it is the first of its id within a day.
    pub fn first(&mut self, id: &TaskId, at: Timestamp) -> bool {
        while let Some((_, old)) = self.order.pop_front_if(|(then, _)| at.since(*then) >= REMEMBERED) {
            self.known.remove(&old);
        }
        let first = self.known.insert(id.clone());
        if first {
            self.order.push_back((at, id.clone()));
        }
        first
    }
}

/// The STOPs that were read, by when the log took them.
#[derive(Debug, Default)]
pub(super) struct Stops {
    known: BTreeMap<TaskId, Heard>,
    order: VecDeque<TaskId>,
}

/// The last STOP of a task.
#[derive(Debug)]
struct Heard {
    at: Timestamp,
    force: bool,
    by: Option<Box<str>>,
}

impl Stops {
    pub fn insert(&mut self, id: TaskId, at: Timestamp, wish: &StopWish) {
        if self.known.get(&id).is_some_and(|before| before.force && !wish.force) {
            return; // it asks for less
        }
        let heard = Heard { at, force: wish.force, by: wish.by.as_deref().map(Into::into) };
        if self.known.insert(id.clone(), heard).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_STOPS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// The STOP of a task that the log took at `at`, if there was one. A STOP of long before it was another's of that id.
    pub fn of(&self, id: &TaskId, at: Timestamp) -> Option<StopWish> {
        let heard = self.known.get(id).filter(|heard| at.since(heard.at) < REMEMBERED)?;
        Some(StopWish { force: heard.force, by: heard.by.as_deref().map(str::to_owned) })
    }
}
