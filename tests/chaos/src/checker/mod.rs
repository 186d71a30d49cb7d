//! The checker: the ten guarantees, stated again over what a run has left. Pure: it sees plain values, and has no idea of how
//! they came about. Of Baton's core it uses what reads records and ids, and nothing that decides.
//!
//! What it can't know it does not guess: where two truths are possible it lets both pass, and says so where the rule stands.

mod accepted;
mod attempts;
mod bounds;
mod ends;
mod history;
mod lines;
mod processes;
mod stops;
#[cfg(test)]
mod tale;
mod watchers;

use crate::sign::Sign;
use crate::story::{At, Letter, Story, Update};
use baton_core::record::{Kind, TaskRecord};
use history::History;
use std::collections::{BTreeMap, BTreeSet};

/// Who recovers from a fault takes this long: sessions end, leaders are elected, logs are read. In milliseconds.
const RECOVERY: At = 15_000;
/// Something that takes this long is wrong whatever else was wrong. In milliseconds.
const IN_ANY_CASE: At = 45_000;

/// A guarantee that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its number; 0 if something broke that no guarantee speaks of.
    pub guarantee: u8,
    /// The task that it is about.
    pub task: Option<String>,
    /// What was seen, and what was owed.
    pub what: String,
}

/// What came of checking.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What was broken, by its number.
    pub findings: Vec<Finding>,
    /// How many things each guarantee was checked on; at 0 the surprises.
    pub checked: [u64; 11],
}

/// Checks everything.
pub fn check(story: &Story) -> Verdict {
    let mut court = Court::new(story);
    court.accepted();
    court.ends();
    court.attempts();
    court.lines();
    court.watchers();
    court.stops();
    court.processes();
    court.bounds();
    court.verdict.findings.sort_by_key(|finding| finding.guarantee);
    court.verdict
}

/// All that is known of a task.
#[derive(Debug, Default)]
struct Case<'a> {
    record: Option<&'a TaskRecord>,
    /// Where its record stands.
    place: Option<(i32, i64)>,
    /// In the order of the log.
    updates: Vec<&'a Update>,
    history: History,
    letters: Vec<&'a Letter>,
    signs: &'a [Sign],
    /// A STOP is on the log.
    stop: bool,
}

impl<'a> Case<'a> {
    fn started(&self) -> impl Iterator<Item = &'a Update> {
        self.updates.iter().copied().filter(|update| update.kind == Kind::Started)
    }

    fn ends(&self) -> impl Iterator<Item = &'a Update> {
        self.updates.iter().copied().filter(|update| update.kind.is_terminal())
    }

    fn end(&self) -> Option<&'a Update> {
        self.ends().next()
    }
}

struct Court<'a> {
    story: &'a Story,
    cases: BTreeMap<&'a str, Case<'a>>,
    /// The tasks that have ended.
    ended: BTreeSet<&'a str>,
    verdict: Verdict,
}

impl<'a> Court<'a> {
    fn new(story: &'a Story) -> Self {
        let mut cases: BTreeMap<&str, Case<'_>> = BTreeMap::new();
        for task in &story.log.tasks {
            let case = cases.entry(task.record.task_id.as_str()).or_default();
            case.record.get_or_insert(&task.record);
            case.place.get_or_insert((task.partition, task.offset));
        }
        for update in &story.log.updates {
            cases.entry(&update.task).or_default().updates.push(update);
        }
        for letter in &story.log.letters {
            cases.entry(&letter.task).or_default().letters.push(letter);
        }
        for (task, signs) in &story.signs {
            cases.entry(task).or_default().signs = signs;
        }
        let stopped: BTreeSet<&str> = story.log.stops.iter().map(String::as_str).collect();
        for (id, case) in &mut cases {
            case.stop = stopped.contains(id);
        }
        let ended = cases.iter().filter(|(_, case)| case.end().is_some()).map(|(id, _)| *id).collect();
        let mut court = Self { story, cases, ended, verdict: Verdict::default() };
        court.histories();
        court
    }

    /// Tells each task's history, in which nothing may be missing.
    fn histories(&mut self) {
        let mut gaps = Vec::new();
        for (id, case) in &mut self.cases {
            for update in &case.updates {
                if let Some(missing) = case.history.add(update) {
                    gaps.push(Finding {
                        guarantee: 4,
                        task: Some((*id).to_owned()),
                        what: format!(
                            "update {missing} is not on the log, where {:?} at {} follows",
                            update.text, update.place
                        ),
                    });
                }
            }
        }
        self.verdict.findings.extend(gaps);
    }

    /// One more thing is checked; it is a finding unless it is so.
    fn owe(&mut self, guarantee: u8, task: &str, is_so: bool, what: impl FnOnce() -> String) {
        self.verdict.checked[usize::from(guarantee)] += 1;
        if !is_so {
            let task = (!task.is_empty()).then(|| task.to_owned());
            self.verdict.findings.push(Finding { guarantee, task, what: what() });
        }
    }

    /// Calls `judge` with each task.
    fn each(&mut self, judge: impl Fn(&mut Self, &'a str, &Case<'a>)) {
        let cases = std::mem::take(&mut self.cases);
        for (id, case) in &cases {
            judge(self, id, case);
        }
        self.cases = cases;
    }

    /// Whether nothing was wrong in all of this time, nor had been a while before.
    fn is_calm(&self, from: At, to: At) -> bool {
        !self.story.faults.iter().any(|fault| fault.from <= to && from <= fault.to + RECOVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::tale::Tale;
    use super::*;
    use crate::story::Fault;

    #[test]
    fn a_clean_tale_has_no_finding_and_everything_is_checked() {
        let verdict = check(&Tale::clean().story);
        assert_eq!(verdict.findings, []);
        assert!(verdict.checked.iter().all(|checked| *checked > 0), "{:?}", verdict.checked);
    }

    #[test]
    fn it_is_calm_a_while_after_the_last_fault() {
        let mut tale = Tale::clean();
        tale.story.faults = vec![Fault { from: 1000, to: 2000, what: String::new() }];
        let court = Court::new(&tale.story);
        assert!(court.is_calm(0, 999));
        assert!(!court.is_calm(0, 1000));
        assert!(!court.is_calm(2000 + RECOVERY, 90_000));
        assert!(court.is_calm(2001 + RECOVERY, 90_000));
    }

    #[test]
    fn an_update_that_is_missing_on_the_log_is_found() {
        let mut tale = Tale::clean();
        tale.story.log.updates.remove(2);
        tale.finds(4, "update 1-3 is not on the log");
    }
}
