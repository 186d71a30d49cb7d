//! Guarantee 6: stop means stopped.
//!
//! A STOP takes hold where a worker hears of it. Three ends are right beside `STOPPED`, and only these: the task had ended
//! before its STOP was durable; its process had ended before the worker that ran it heard; and it failed without a
//! process (no config, nothing to spawn, attempts used up) on a worker that decided so before it heard. When a worker
//! decides is not seen, only when that becomes durable, so that the last is checked where it can be: by the order of the
//! claim and the STOP, and by the clock where nothing is wrong that could hold the commit up.

use super::{Moment, Oracle, Task, Verdict, Violation};
use crate::event::{Node, Short};
use baton_core::id::TaskId;
use baton_core::log::Partition;
use baton_core::record::Kind;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a worker may take from what it has heard, or claimed, to a process that it had asked for before that.
const BEGUN_WITHIN: Duration = Duration::from_millis(100);
/// How long a decision takes to be durable where nothing is wrong. Where messages get lost, one after the other may be.
const COMMITTED_WITHIN: Duration = Duration::from_secs(2);
/// How long a process may outlive its grace where nothing is wrong.
pub(super) const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// How long a process may live on that has no grace, where nothing is wrong.
const FORCED_WITHIN: Duration = Duration::from_millis(2_200);

/// Who claimed what.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// In their order.
    all: BTreeMap<Partition, Vec<(u8, Moment)>>,
    of: BTreeMap<(u8, Partition), Moment>,
}

impl Claims {
    pub fn claim(&mut self, worker: u8, partition: Partition, now: Moment) {
        self.all.entry(partition).or_default().push((worker, now));
        self.of.insert((worker, partition), now);
    }

    /// Who owned a partition at that time.
    fn owner(&self, partition: Partition, then: Moment) -> Option<(u8, Moment)> {
        self.all.get(&partition)?.iter().rfind(|(_, claim)| claim.is_before(then)).copied()
    }
}

impl Oracle {
    /// A new life knows nothing: it hears of all STOPs again.
    pub(super) fn worker_starts(&mut self, worker: u8) {
        for task in self.tasks.values_mut() {
            task.heard.remove(&worker);
        }
    }

    pub(super) fn on_heard(&mut self, worker: u8, id: &TaskId, force: bool) -> Verdict {
        let now = self.now;
        let task = self.task(id);
        if task.stop.is_none() {
            let what = format!("{} heard of a STOP for task {} that is not durable", Node::Worker(worker), Short(id));
            return Err(Violation::of(6, what).on(id));
        }
        task.heard.entry(worker).or_insert(now);
        self.is_due(worker, id);
        if let Some(live) = self.machines.live(id).filter(|live| force && live.machine == worker) {
            self.due.insert((now.at + FORCED_WITHIN, id.clone(), live.attempt, FORCED_WITHIN));
        }
        Ok(())
    }

    /// Notes when a process must be gone, if its worker has heard of a STOP.
    pub(super) fn is_due(&mut self, machine: u8, id: &TaskId) {
        let heard = self.tasks.get(id).is_some_and(|task| task.heard.contains_key(&machine));
        if let Some(live) = self.machines.live(id).filter(|live| heard && live.machine == machine) {
            let span = self.config.grace + KILLED_WITHIN;
            self.due.insert((self.now.at + span, id.clone(), live.attempt, span));
        }
    }

    pub(super) fn on_stop_acknowledged(&mut self, id: &TaskId) -> Verdict {
        let task = self.task(id);
        task.stop_acknowledged = true;
        if task.stop.is_none() {
            let what = format!("a STOP for task {} was answered with 202, and none is durable", Short(id));
            return Err(Violation::of(6, what).on(id));
        }
        self.ended_as_stopped(id)
    }

    /// Whether a process may be born that has been in the making since then. What came meanwhile is too late for it, and signals
    /// it at once; if its worker stood still, long after.
    pub(super) fn may_run(&self, machine: u8, id: &TaskId, since: Duration) -> Verdict {
        let task = &self.tasks[id];
        let Some(stop) = task.stop else { return Ok(()) };
        let worker = Node::Worker(machine);
        let wrong = |what: String| {
            let what = format!("task {} was spawned on {}, {what}", Short(id), Node::Machine(machine));
            Err(Violation::of(6, what).on(id))
        };
        if let Some(heard) = task.heard.get(&machine).filter(|heard| since > heard.at + BEGUN_WITHIN) {
            return wrong(format!("and {worker} had heard of its STOP at {:?}", heard.at));
        }
        let claim = task.partition().and_then(|partition| self.claims.of.get(&(machine, partition)));
        // A process that was being made when its claim was lost is born all the same, and killed at once.
        let made_since = |claim: &&Moment| stop.is_before(**claim) && since > claim.at + BEGUN_WITHIN;
        if let Some(claim) = claim.filter(made_since) {
            return wrong(format!(
                "and {worker} had claimed its partition at {:?}, after its STOP was durable (at {:?}): who takes a task over \
                 catches up with its STOP first",
                claim.at, stop.at
            ));
        }
        Ok(())
    }

    /// A task that was stopped, as its client knows, has ended as it may.
    pub(super) fn ended_as_stopped(&self, id: &TaskId) -> Verdict {
        let task = &self.tasks[id];
        let Some(end) = &task.end else { return Ok(()) };
        let stop = task.stop.filter(|stop| stop.is_before(end.when));
        if end.kind == Kind::Stopped {
            let what = format!("task {} ended STOPPED, and no STOP for it was durable", Short(id));
            return if stop.is_some() { Ok(()) } else { Err(Violation::of(6, what).on(id)) };
        }
        let Some(stop) = stop.filter(|_| task.stop_acknowledged) else { return Ok(()) };
        let Err(why) = self.may_end_otherwise(task, stop) else { return Ok(()) };
        let what = format!(
            "task {} ended {:?} at {:?}, and not STOPPED: its STOP was durable at {:?} and acknowledged, and {why}",
            Short(id),
            end.text,
            end.when.at,
            stop.at
        );
        Err(Violation::of(6, what).on(id))
    }

    /// See the module's words. The error is a clause.
    fn may_end_otherwise(&self, task: &Task, stop: Moment) -> Result<(), String> {
        let Some(end) = &task.end else { return Ok(()) };
        let owner = task.partition().and_then(|partition| self.claims.owner(partition, end.when));
        let process = task.processes.get(&end.attempt);
        // What that owner ran itself. The process of an earlier owner is no reason for how this one ends the task.
        let own =
            process.filter(|p| owner.is_none_or(|(worker, claim)| p.machine == worker && claim.is_before(p.spawned)));
        if let Some(process) = own {
            let Some(gone) = process.gone else { return Ok(()) }; // guarantee 10 speaks of that
            let worker = Node::Worker(process.machine);
            let heard = task.heard.get(&process.machine);
            // A process that timed out was signalled before the STOP: its end is as much its own.
            return match heard.filter(|heard| heard.at + self.config.reaction < gone.when.at) {
                None => Ok(()),
                Some(heard) => {
                    let how = if gone.by_itself { "ended by itself" } else { "was ended" };
                    Err(format!(
                        "{worker} heard of it at {:?}, before the process {how} at {:?}",
                        heard.at, gone.when.at
                    ))
                }
            };
        }
        if end.kind != Kind::Failed {
            return Ok(()); // guarantee 2 speaks of that
        }
        let Some((worker, claim)) = owner else { return Ok(()) };
        let name = Node::Worker(worker);
        if stop.is_before(claim) {
            return Err(format!(
                "{name}, which ended the task without a process, claimed it after that, at {:?}",
                claim.at
            ));
        }
        let calm = self.calm_for().unwrap_or_default();
        let long_ago = |heard: &Moment| {
            let ago = end.when.at.saturating_sub(heard.at);
            ago > COMMITTED_WITHIN && ago < calm && !self.config.loses
        };
        match task.heard.get(&worker).filter(|heard| long_ago(heard)) {
            None => Ok(()),
            Some(heard) => {
                Err(format!("{name}, which ended the task without a process, had heard of it at {:?}", heard.at))
            }
        }
    }

    /// Where nothing is wrong, a stopped process is gone soon after its grace, however silent it is.
    pub(super) fn stopped_in_time(&mut self) -> Verdict {
        while let Some((by, id, attempt, span)) = self.due.pop_first() {
            if by >= self.now.at {
                self.due.insert((by, id, attempt, span));
                break;
            }
            let lives = self.machines.live(&id).is_some_and(|live| live.attempt == attempt);
            if lives && self.calm_for().is_some_and(|calm| calm > span) {
                let what = format!(
                    "the process of task {} was to end at {:?}, as its worker had heard of a STOP or as its time was over, and \
                     still lives {span:?} later",
                    Short(&id),
                    by.saturating_sub(span)
                );
                return Err(Violation::of(6, what).on(&id));
            }
        }
        Ok(())
    }
}
