//! Plays many seeds on all cores, and sums up what they met.

use crate::oracle::Violation;
use crate::plan::{FaultKind, Plan};
use crate::seed::{self, Outcome};
use baton_probe::{Mark, Mutant};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// How.
    pub violation: Violation,
}

/// What many seeds met.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many were played.
    pub seeds: usize,
    /// Those that failed.
    pub failures: Vec<Failure>,
    /// How many met each kind of fault.
    pub faults: BTreeMap<&'static str, usize>,
    /// How many hit each mark.
    pub marks: BTreeMap<Mark, usize>,
    /// How many tasks there were in all.
    pub tasks: usize,
    /// How many events.
    pub events: usize,
    /// How many messages went over the simulated network.
    pub messages: u64,
    /// How long it was in the simulation's time, in seconds.
    pub simulated: f64,
}

impl Summary {
    fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        self.seeds += 1;
        self.tasks += plan.tasks.len();
        self.events += outcome.story.entries().len();
        self.messages += outcome.messages;
        self.simulated += outcome.lasted.as_secs_f64();
        let kinds: BTreeSet<_> = plan.faults.iter().map(|fault| fault.kind.name()).collect();
        for kind in kinds {
            *self.faults.entry(kind).or_default() += 1;
        }
        for mark in &outcome.marks {
            *self.marks.entry(*mark).or_default() += 1;
        }
        if let Some(violation) = &outcome.violation {
            self.failures.push(Failure { seed: plan.seed, violation: violation.clone() });
        }
    }

    /// The marks that no seed hit.
    pub fn missed(&self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|mark| !self.marks.contains_key(mark)).collect()
    }

    /// The kinds of faults that no seed met.
    pub fn unmet(&self) -> Vec<&'static str> {
        FaultKind::NAMES.into_iter().filter(|name| !self.faults.contains_key(name)).collect()
    }
}

/// When a campaign stops before its last seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never.
    TheEnd,
    /// At the first seed that fails.
    Failure,
}

/// Plays the seeds on `jobs` cores; `played` is told of each.
pub fn run(
    seeds: &[u64],
    jobs: usize,
    mutant: Option<Mutant>,
    until: Until,
    played: impl Fn(&Outcome) + Sync,
) -> Summary {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            let plan = Plan::draw(*seed);
            let outcome = seed::play(&plan, mutant);
            played(&outcome);
            if until == Until::Failure && outcome.violation.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
            summary.lock().unwrap_or_else(PoisonError::into_inner).add(&plan, &outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(work);
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.failures.sort_by_key(|failure| seeds.iter().position(|seed| *seed == failure.seed));
    summary
}
