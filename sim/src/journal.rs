//! The journal of one simulated world: everything that happens goes through here, to the oracle at once, into the
//! trace's hash, and into memory for whoever wants to read the story.

use crate::event::{Entry, Event, Node};
use crate::oracle::{Oracle, Violation};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    hash: crc32fast::Hasher,
    entries: Vec<Entry>,
    violation: Option<Violation>,
}

impl Journal {
    /// An empty journal whose time begins now. All its entries are kept: a world is short.
    pub fn new(oracle: Oracle) -> Self {
        let state = State { oracle, hash: crc32fast::Hasher::new(), entries: Vec::new(), violation: None };
        Self(Arc::new(Shared { start: Instant::now(), state: Mutex::new(state), found: Notify::new() }))
    }

    /// It happens now.
    pub fn note(&self, node: Node, event: Event) {
        let at = Instant::now().saturating_duration_since(self.0.start);
        let mut state = self.state();
        let entry = Entry { at, node, event };
        state.hash.update(format!("{entry:?}").as_bytes());
        if state.violation.is_none()
            && let Err(violation) = state.oracle.observe(&entry)
        {
            state.violation = Some(violation);
            self.0.found.notify_one();
        }
        state.entries.push(entry);
    }

    /// Waits until the oracle has found something.
    pub async fn found(&self) {
        self.0.found.notified().await;
    }

    /// Lets the oracle look once more, or judge the end.
    pub fn ask<T>(&self, ask: impl FnOnce(&mut Oracle) -> T) -> T {
        ask(&mut self.state().oracle)
    }

    /// The simulation is over: what has not come by now is missing.
    pub fn finish(&self) {
        let mut state = self.state();
        if state.violation.is_none() {
            state.violation = state.oracle.finish().err();
        }
    }

    /// What was found first.
    pub fn violation(&self) -> Option<Violation> {
        self.state().violation.clone()
    }

    /// The same for the same story, in every process.
    pub fn hash(&self) -> u32 {
        self.state().hash.clone().finalize()
    }

    /// The story so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.state().entries.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
