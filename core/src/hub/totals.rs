//! How many tasks are in which state, by project and type: counted as they change, so that no list has to count them all.

use super::view::{ListQuery, Status};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The most projects that a list names: as many as someone may want to choose from.
const MAX_NAMED: usize = 100;

/// Whose tasks, and of which type; empty where only their updates are known.
pub type Owner = (String, String);

/// The counts.
#[derive(Debug, Default)]
pub struct Totals(BTreeMap<Owner, [usize; Status::ALL.len()]>);

/// What a list says of all tasks, beside those on its page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Overview {
    /// How many tasks of the wanted projects and types there are, by status.
    pub totals: Map<String, Value>,
    /// The projects that have tasks: the first hundred by name.
    pub projects: Vec<String>,
}

impl Totals {
    /// One more task.
    pub fn add(&mut self, owner: Owner, status: Status) {
        self.0.entry(owner).or_default()[status as usize] += 1;
    }

    /// One less.
    pub fn remove(&mut self, owner: &Owner, status: Status) {
        let Some(counts) = self.0.get_mut(owner) else { return };
        counts[status as usize] -= 1;
        if counts.iter().all(|count| *count == 0) {
            self.0.remove(owner);
        }
    }

    /// What a list says of all tasks, whatever state it wants.
    pub fn overview(&self, query: &ListQuery) -> Overview {
        let mut sums = [0; Status::ALL.len()];
        for ((project, kind), counts) in &self.0 {
            if query.wants_owner(Some(project), Some(kind)) {
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        let mut projects: Vec<String> = Vec::new();
        for (project, _) in self.0.keys() {
            if projects.len() < MAX_NAMED && !project.is_empty() && projects.last() != Some(project) {
                projects.push(project.clone());
            }
        }
        let totals = Status::ALL.iter().map(|status| (status.name().into(), sums[*status as usize].into()));
        Overview { totals: totals.collect(), projects }
    }
}
