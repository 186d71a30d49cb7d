//! What a worker writes of its own: the update that opens an attempt, the one that ends a task, and dead letters.

use super::claim::Claim;
use crate::account::{Account, AttemptEnd, Tally, millis};
use crate::id::{TaskId, UpdateId};
use crate::log::{Batch, Offset, Partition, Topic};
use crate::policy::Cause;
use crate::process::ExitStatus;
use crate::quantity::Time;
use crate::record::{DeadLetter, Kind, ProgressRecord, TaskRecord};
use crate::run::Outcome;
use crate::time::Timestamp;
use baton_probe::{Mutant, is};
use std::time::Duration;

/// How much of a record that can't be read is kept in its dead letter, in bytes.
pub(super) const MAX_UNREADABLE: usize = 64 * 1024;

/// A task's end, for those who read the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which.
    pub task_id: TaskId,
    /// Whose config it got.
    pub project: String,
    /// Its type.
    pub task_type: String,
    /// The partition of `tasks` that it came from.
    pub partition: Partition,
    /// The attempt that ended it; 0 if none was begun.
    pub attempt: u32,
    /// How: [`Kind::Done`], [`Kind::Stopped`] or [`Kind::Failed`].
    pub kind: Kind,
    /// What the kernel said of its process, if there was one.
    pub exit: Option<ExitStatus>,
    /// Who or what ended it.
    pub cause: Cause,
}

/// What an attempt opens with; from the second on, with what became of those before it.
pub(super) fn started(task_id: &TaskId, attempt: u32, before: Tally, at: Timestamp) -> Batch {
    let text = if attempt == 1 { "Starting...".to_owned() } else { format!("Starting... (attempt {attempt})") };
    let mut record = ProgressRecord::new(task_id, UpdateId { attempt, seq: 1 }, Kind::Started, at, text);
    record.tally = (attempt > 1).then_some(before);
    Batch::one(Topic::Progress, task_id.clone(), record.write())
}

/// What an attempt ends with that failed and is followed by another.
pub(super) fn retrying(
    task_id: &TaskId,
    attempt: u32,
    outcome: &Outcome,
    tally: Tally,
    next_at: Timestamp,
    at: Timestamp,
) -> Batch {
    let reason = outcome.reason.as_deref().unwrap_or_default();
    let text = format!("Retrying in {}: {reason}", rounded(next_at.since(at)));
    let id = UpdateId { attempt, seq: outcome.seq };
    let record = ProgressRecord {
        reason: Some(reason.into()),
        next_at: Some(next_at),
        tally: Some(tally),
        ending: Some(Box::new(outcome.account.clone())),
        report: outcome.report.clone(),
        ..ProgressRecord::new(task_id, id, Kind::Retrying, at, text).with_exit(outcome.exit)
    };
    Batch::one(Topic::Progress, task_id.clone(), record.write())
}

/// A time as people want to read it: tenths of seconds, or whole ones.
fn rounded(time: Duration) -> String {
    let tenths = Duration::from_millis(100 * millis(time).div_ceil(100));
    if tenths < Duration::from_mins(1) {
        format!("{tenths:?}")
    } else {
        Time(Duration::from_secs(tenths.as_secs())).to_string()
    }
}

/// The dead letter of a record that is no task. Its key is made of where it was.
pub(super) fn unreadable_letter(partition: Partition, offset: Offset, text: &str, why: &str, at: Timestamp) -> Batch {
    let letter = DeadLetter {
        task_id: None,
        task: None,
        unreadable: Some(text.to_owned()),
        reason: format!("{}[{partition}]@{offset} can't be read: {why}", Topic::Tasks),
        attempts: 0,
        tally: None,
        last_lines: Vec::new(),
        earlier: Vec::new(),
        at,
    };
    let key = format!("unreadable-{partition}-{offset}").parse().expect("it is letters, digits and dashes");
    Batch::one(Topic::DeadLetters, key, letter.write())
}

impl Outcome {
    /// How a task ends that has no run. After attempts of which only the log knows the last update, its number
    /// is left to the readers.
    pub(super) fn without_run(kind: Kind, reason: Option<String>, attempts: u32, account: Account) -> Self {
        Self { kind, seq: u64::from(attempts == 0), reason, ..Self::failed(String::new(), account) }
    }
}

/// The end of a task.
pub(super) struct Terminal<'a> {
    pub record: &'a TaskRecord,
    /// The last attempt; 0 if there was none.
    pub attempt: u32,
    pub tally: Tally,
    /// How the attempts before it ended, as far as is known.
    pub earlier: Vec<AttemptEnd>,
    pub outcome: Outcome,
}

impl<'a> Terminal<'a> {
    /// The end, without a run, of what waits there.
    pub fn of(
        record: &'a TaskRecord,
        claim: &Claim,
        offset: Offset,
        earlier: Vec<AttemptEnd>,
        outcome: Outcome,
    ) -> Self {
        let tries = claim.ledger.tries(offset);
        Self { record, attempt: tries.begun, tally: Tally::of(tries, false), earlier, outcome }
    }

    pub fn report(&self, partition: Partition) -> Report {
        Report {
            task_id: self.record.task_id.clone(),
            project: self.record.project.clone(),
            task_type: self.record.kind.clone(),
            partition,
            attempt: self.attempt,
            kind: self.outcome.kind,
            exit: self.outcome.exit,
            cause: self.outcome.account.cause,
        }
    }

    fn update(&self) -> String {
        match (self.outcome.kind, &self.outcome.reason) {
            (Kind::Done, _) => "DONE".into(),
            (Kind::Stopped, _) => "STOPPED".into(),
            (_, Some(reason)) => format!("FAILED: {reason}"),
            (_, None) => "FAILED".into(),
        }
    }

    /// The terminal update, and a dead letter if the task failed.
    pub fn batches(&self, at: Timestamp) -> Vec<Batch> {
        let (id, outcome) = (&self.record.task_id, &self.outcome);
        let place = UpdateId { attempt: self.attempt, seq: outcome.seq };
        let mut update = ProgressRecord::new(id, place, outcome.kind, at, self.update()).with_exit(outcome.exit);
        update.reason = outcome.reason.as_deref().map(Into::into);
        update.tally = (self.attempt > 0).then_some(self.tally);
        update.ending = Some(Box::new(outcome.account.clone()));
        update.report.clone_from(&outcome.report);
        let mut batches = vec![Batch::one(Topic::Progress, id.clone(), update.write())];
        if outcome.kind == Kind::Failed && !is(Mutant::DeadLetterMissing) {
            let letter = DeadLetter {
                task_id: Some(id.clone()),
                task: Some(self.record.clone()),
                unreadable: None,
                reason: outcome.reason.clone().unwrap_or_default(),
                attempts: self.attempt,
                tally: (self.attempt > 0).then_some(self.tally),
                last_lines: outcome.last_lines.clone(),
                earlier: self.earlier.clone(),
                at,
            };
            batches.push(Batch::one(Topic::DeadLetters, id.clone(), letter.write()));
        }
        batches
    }
}
