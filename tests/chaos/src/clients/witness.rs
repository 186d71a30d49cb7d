//! What clients saw, noted as they saw it.

use crate::story::{Answer, Post, Shown, Stop, Story, Watch};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The notes of all clients.
#[derive(Debug, Default)]
pub struct Witness(Mutex<Story>);

impl Witness {
    /// A POST was answered, or not.
    pub fn post(&self, post: Post) {
        self.notes().posts.push(post);
    }

    /// A STOP was answered, or not.
    pub fn stop(&self, stop: Stop) {
        self.notes().stops.push(stop);
    }

    /// A connection has ended.
    pub fn watch(&self, watch: Watch) {
        self.notes().watches.push(watch);
    }

    /// A task was shown.
    pub fn shown(&self, shown: Shown) {
        self.notes().shown.push(shown);
    }

    /// Whether a STOP of this task was acknowledged.
    pub fn is_stopped(&self, task: &str) -> bool {
        self.notes().stops.iter().any(|stop| stop.task == task && stop.status == Some(202))
    }

    /// The tasks that were accepted, each once.
    pub fn accepted(&self) -> Vec<String> {
        let notes = self.notes();
        let ids = notes.posts.iter().filter_map(|post| match &post.answer {
            Answer::Accepted(id) => Some(id.clone()),
            _ => None,
        });
        ids.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// All of it, as a story in which nothing else stands.
    pub fn take(&self) -> Story {
        std::mem::take(&mut *self.notes())
    }

    fn notes(&self) -> MutexGuard<'_, Story> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
