//! How tasks come to wait, and to run: what was read or is to be begun anew waits for its time and for a slot; who gets one
//! becomes a run, or ends if it can't. Nothing here ends what runs.

use super::claim::{Then, Waiting, What};
use super::ends::{end_without_run, gave_up};
use super::lanes::Lane;
use super::records::{Terminal, started};
use super::{Effect, Running, Worker, WorkerConfig};
use crate::account::{Account, Tally};
use crate::id::ProjectName;
use crate::ledger::Tries;
use crate::log::{Offset, Partition};
use crate::policy::{Cause, Policy};
use crate::problem::FieldError;
use crate::record::{Kind, TaskRecord};
use crate::run::{Outcome, RunSpec};
use crate::time::{Now, Timestamp};
use crate::types::CommandLine;
use baton_probe::{Mark, Mutant, hit, hit_if, is};
use std::sync::Arc;
use std::time::Duration;

impl WorkerConfig {
    /// What holds for a task here.
    pub(super) fn policy(&self, record: &TaskRecord) -> Policy {
        self.types.policy(Policy::new(self.grace, self.max_attempts), record)
    }
}

impl Worker {
    /// A task that waits, or was stopped before its turn came.
    pub(super) fn what_of(&self, record: Arc<TaskRecord>, at: Timestamp) -> What {
        match self.stops.of(&record.task_id, at).filter(|_| !is(Mutant::StopsElsewhereForgotten)) {
            Some(wish) => What::Stopped(record, wish),
            None => What::Task(record),
        }
    }

    /// Notes what waits, and for how long it may, or must.
    pub(super) fn wait(&mut self, partition: Partition, offset: Offset, mut waiting: Waiting, now: Now) {
        let Some(claim) = self.claims.get_mut(&partition) else { return };
        if let What::Task(record) = &waiting.what {
            let (policy, tries) = (self.config.policy(record), claim.ledger.tries(offset));
            waiting.lane = Lane::of(&self.config.types, record);
            if tries.begun > 0 {
                waiting.wants_since = now.wall;
            }
            if let Some(next_at) = tries.next_at.filter(|_| !is(Mutant::WaitForgotten) || !waiting.earlier.is_empty()) {
                hit_if(waiting.earlier.is_empty(), Mark::WaitTakenOver);
                // The clock by which it was planned may be another one, and wrong: but no wait is longer than the longest.
                let left = next_at.since(now.wall).min(policy.waits.1);
                waiting.due = Some(now.mono + left);
            }
            let at = waiting.at;
            waiting.expires = expires(&policy, tries, at).map(|(at, cause)| (now.mono + at.since(now.wall), cause));
        }
        claim.wait(offset, waiting);
        claim.pass_time(now);
    }

    /// Gives a slot to what waits there: a run, or its end if it can't be run.
    pub(super) fn start(&mut self, partition: Partition, offset: Offset, now: Now) {
        let Some(claim) = self.claims.get_mut(&partition) else { return };
        let Some(waiting) = claim.take(offset) else { return };
        let Waiting { at, bytes, wants_since, earlier, tokens, what: What::Task(record), .. } = waiting else { return };
        let (tries, policy) = (claim.ledger.tries(offset), self.config.policy(&record));
        let spent = claim.spent(offset, tokens);
        let too_much = spent.cost.filter(|cost| policy.is_beyond_budget(*cost));
        let prepared = if let Some(cost) = too_much {
            // It was handed back, or lost, while it was being ended for that.
            Err((Cause::CostLimit, policy.beyond_budget(cost)))
        } else if tries.counted().saturating_sub(is(Mutant::OneAttemptMore).into()) >= policy.max_attempts {
            hit(Mark::PoisonGaveUp);
            Err((Cause::Lost, gave_up(Tally::of(tries, false), None)))
        } else {
            prepare(&self.config, &record).map_err(|why| (Cause::Invalid, why)).inspect_err(|_| hit(Mark::Unrunnable))
        };
        let (project, CommandLine { argv, stdin, files }) = match prepared {
            Ok(prepared) => prepared,
            Err((cause, reason)) => {
                let outcome = Outcome {
                    report: spent.report(),
                    ..Outcome::without_run(Kind::Failed, Some(reason), tries.begun, Account::of(cause))
                };
                end_without_run(claim, offset, &Terminal::of(&record, claim, offset, earlier, outcome), now);
                self.places.remove(&record.task_id);
                return;
            }
        };
        let attempt = claim.ledger.begin(offset, policy.total.map(|_| now.wall));
        hit_if(attempt > 1, Mark::BegunAgain);
        if is(Mutant::CommitAtStart) {
            claim.ledger.end(offset);
        }
        let run = self.next_run;
        self.next_run += 1;
        claim.running.insert(offset, run);
        let since = claim.ledger.tries(offset).since;
        let is_told = attempt == 1 || !is(Mutant::SecondStartUntold);
        let before = Tally::of(claim.ledger.tries(offset), true);
        claim.add(is_told.then(|| started(&record.task_id, attempt, before, now.wall)), [Then::Counted(run)]);
        if is(Mutant::RetryTwice) && tries.failed > 0 {
            claim.wait(offset, Waiting::new(at, bytes, What::Task(record.clone())));
        }
        let kind = self.config.types.get(&record.kind);
        let spec = RunSpec {
            task_id: record.task_id.clone(),
            kind: record.kind.clone(),
            partition,
            attempt,
            project,
            argv,
            launch: kind.map(|kind| kind.process.clone()).unwrap_or_default(),
            limits: kind.map(|kind| kind.limits).unwrap_or_default(),
            output: kind.map(|kind| kind.output).unwrap_or_default(),
            secrets: self.config.types.secrets(&record),
            patterns: self.config.patterns.clone(),
            stdin,
            files,
            spent,
            total_left: left_of(policy.total, since, now.wall),
            queued: now.wall.since(wants_since),
            policy: policy.clone(),
            max_line: self.config.max_line,
            traceparent: record.traceparent.clone(),
            seed: self.config.seed ^ run,
        };
        let running = Running { partition, offset, attempt, at, bytes, record, policy, earlier, over: false };
        self.runs.insert(run, running);
        self.effects.push_back(Effect::Start(run, Box::new(spec)));
    }
}

/// When a task that waits has waited for too long, and why.
fn expires(policy: &Policy, tries: Tries, at: Timestamp) -> Option<(Timestamp, Cause)> {
    let queued = policy.queued.filter(|_| tries.begun == 0 || is(Mutant::QueueTimeoutOfBegun));
    let queued = queued.map(|queued| (at.plus(queued), Cause::QueueTimeout));
    let total = policy.total.zip(tries.since).map(|(total, since)| (since.plus(total), Cause::TotalTimeout));
    [queued, total].into_iter().flatten().min()
}

/// What is left of the time that all attempts together may take.
fn left_of(total: Option<Duration>, since: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let (total, since) = total.zip(since)?;
    // A clock that was set back makes it no longer.
    Some(since.plus(total).since(now).min(total))
}

/// What a run needs, or why the task can't be run: a foreign producer's was not checked by any API.
fn prepare(config: &WorkerConfig, record: &TaskRecord) -> Result<(ProjectName, CommandLine), String> {
    let project = record.project.parse().map_err(|bad| format!("project: {bad}"))?;
    let command_line = config.types.command_line(&config.agent, record).map_err(|errors| {
        let said = |e: &FieldError| format!("{}: {}", e.field, e.reason);
        errors.iter().map(said).collect::<Vec<_>>().join("; ")
    })?;
    Ok((project, command_line))
}
