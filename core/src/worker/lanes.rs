//! Which tasks count together where a type says how many of them may run at a time. Who has to wait for that holds up nobody else: each lane has an
//! order of its own. Nothing here knows of a partition.

use crate::record::TaskRecord;
use crate::types::TaskTypes;
use std::collections::BTreeMap;

/// Tasks that are let run together or wait together: of a type, or of a project within it, or all that nothing is said of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    kind: Option<String>,
    project: Option<String>,
}

impl Lane {
    /// The lane of a task.
    pub fn of(types: &TaskTypes, record: &TaskRecord) -> Self {
        let Some(kind) = types.get(&record.kind) else { return Self::default() };
        if kind.max_running.is_none() && kind.max_running_per_project.is_none() {
            return Self::default();
        }
        let project = kind.max_running_per_project.map(|_| record.project.clone());
        Self { kind: Some(record.kind.clone()), project }
    }
}

/// How many run of each lane, and of each type that has lanes.
#[derive(Debug, Default)]
pub(super) struct Traffic(BTreeMap<Lane, usize>);

impl Traffic {
    /// Of these tasks.
    pub fn of<'a>(types: &TaskTypes, running: impl Iterator<Item = &'a TaskRecord>) -> Self {
        let mut counts = BTreeMap::new();
        for lane in running.map(|record| Lane::of(types, record)).filter(|lane| *lane != Lane::default()) {
            if lane.project.is_some() {
                *counts.entry(Lane { project: None, ..lane.clone() }).or_default() += 1;
            }
            *counts.entry(lane).or_default() += 1;
        }
        Self(counts)
    }

    /// Whether one more of the lane may run.
    pub fn lets(&self, types: &TaskTypes, lane: &Lane) -> bool {
        let Some(kind) = lane.kind.as_deref().and_then(|kind| types.get(kind)) else { return true };
        let count = |lane: &Lane| self.0.get(lane).copied().unwrap_or_default();
        let is_below = |most: Option<u32>, count: usize| most.is_none_or(|most| count < most as usize);
        is_below(kind.max_running, count(&Lane { project: None, ..lane.clone() }))
            && is_below(kind.max_running_per_project, count(lane))
    }
}
