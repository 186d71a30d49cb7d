//! The STOPs that a worker has heard of, of its own tasks and of all others: whoever takes a task over must know.

use crate::id::TaskId;
use std::collections::{BTreeSet, VecDeque};

/// How many STOPs are remembered; beyond that the oldest are let go. A task that is still waiting after a million
/// later STOPs would be run.
const MAX_STOPS: usize = 1_000_000;

/// A set of stopped tasks, bounded by age of arrival.
#[derive(Debug, Default)]
pub(super) struct Stops {
    known: BTreeSet<TaskId>,
    order: VecDeque<TaskId>,
    caught_up: bool,
}

impl Stops {
    pub fn insert(&mut self, id: TaskId) {
        if self.known.insert(id.clone()) {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_STOPS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub fn contains(&self, id: &TaskId) -> bool {
        self.known.contains(id)
    }

    /// All that were on the log at the start have been inserted.
    pub const fn caught_up(&mut self) {
        self.caught_up = true;
    }

    /// Whether it is safe to run a task that is not in here.
    pub const fn are_known(&self) -> bool {
        self.caught_up
    }
}
