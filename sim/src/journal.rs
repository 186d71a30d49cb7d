//! The journal of one simulated world: everything that happens goes through here, to the oracle at once, into the
//! trace's hash, and into memory for whoever wants to read the story.

use crate::event::{Entry, Event, Node};
use crate::oracle::{Oracle, Violation};
use crate::story::{Found, Story};
use std::hash::Hash as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Shared by all nodes of a world. Clones are the same journal.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    start: Instant,
    state: Mutex<State>,
    /// Something was found: whoever drives the world waits for it.
    found: Notify,
}

struct State {
    oracle: Oracle,
    /// Of all entries: what derived hashes feed it is the same in every process of one build.
    hash: crc32fast::Hasher,
    entries: Vec<Entry>,
    found: Option<Found>,
}

impl Journal {
    /// An empty journal whose time begins now. All its entries are kept: a world is short.
    pub fn new(oracle: Oracle) -> Self {
        let state = State { oracle, hash: crc32fast::Hasher::new(), entries: Vec::new(), found: None };
        Self(Arc::new(Shared { start: Instant::now(), state: Mutex::new(state), found: Notify::new() }))
    }

    /// How long ago the world began.
    pub fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.0.start)
    }

    /// It happens now.
    pub fn note(&self, node: Node, event: Event) {
        let at = self.now();
        let mut state = self.state();
        let entry = Entry { at, node, event };
        entry.hash(&mut state.hash);
        if state.found.is_none()
            && let Err(violation) = state.oracle.observe(&entry)
        {
            state.found = Some(Found { violation, by: state.entries.len() });
            self.0.found.notify_one();
        }
        state.entries.push(entry);
    }

    /// Waits until the oracle has found something.
    pub async fn found(&self) {
        self.0.found.notified().await;
    }

    /// Lets the oracle look once more.
    pub fn ask<T>(&self, ask: impl FnOnce(&mut Oracle) -> T) -> T {
        ask(&mut self.state().oracle)
    }

    /// Whether everything that is owed once faults have stopped was given: then the simulation may end.
    pub fn is_settled(&self) -> bool {
        self.state().oracle.is_settled()
    }

    /// The world is over: lets the oracle judge what must have come by now, if it has found nothing before.
    pub fn finish(&self) {
        let mut state = self.state();
        if state.found.is_none()
            && let Err(violation) = state.oracle.finish()
        {
            state.found = Some(Found { violation, by: state.entries.len() });
        }
    }

    /// What was found first.
    pub fn violation(&self) -> Option<Violation> {
        self.state().found.as_ref().map(|found| found.violation.clone())
    }

    /// The same for the same story, in every process.
    pub fn hash(&self) -> u32 {
        self.state().hash.clone().finalize()
    }

    /// What happened, and what was found: takes it out of the journal.
    pub fn into_story(self) -> Story {
        let mut state = self.state();
        Story::new(std::mem::take(&mut state.entries), state.found.take())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
