//! Guarantee 2: commit after execute. What a ledger says is durable, and nothing is durable that its ledger doesn't say.

use super::log::{Booked, Job, Pending};
use super::{Oracle, Verdict, Violation};
use crate::event::Short;
use baton_core::id::TaskId;
use baton_core::ledger::{Ledger, MAX_METADATA};
use baton_core::log::{Offset, Partition};
use baton_core::record::Kind;
use std::time::Duration;

/// How far apart in time the parts of one atomic step may be told.
const TOGETHER: Duration = Duration::from_millis(1);

impl Oracle {
    pub(super) fn on_ledger(&mut self, partition: Partition, offset: Offset, metadata: &str) -> Verdict {
        let wrong = |what: String| Err(Violation::of(2, what).in_partition(partition));
        if metadata.chars().count() > MAX_METADATA {
            let length = metadata.chars().count();
            return wrong(format!("a ledger of {length} characters was committed; {MAX_METADATA} is the most"));
        }
        let ledger = match Ledger::read(offset, metadata) {
            Ok(ledger) => ledger,
            Err(bad) => return wrong(format!("the committed ledger {metadata:?} at offset {offset}: {bad}")),
        };
        let book = self.books.entry(partition).or_default();
        if let Some(before) = book.ledger.as_ref().map(Ledger::watermark).filter(|before| offset < *before) {
            return wrong(format!(
                "the watermark went back from {before} to {offset}: what had ended would be run again"
            ));
        }
        let ended: Vec<(Offset, Job)> =
            book.open.iter().filter(|(at, _)| ledger.has_ended(**at)).map(|(at, job)| (*at, job.clone())).collect();
        for (at, _) in &ended {
            book.open.remove(at);
        }
        for (at, job) in ended {
            self.may_have_ended(partition, at, &job)?;
        }
        self.tries_fit(partition, &ledger)?;
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|p| p.partition != partition || !self.is_booked(p, &ledger));
        self.pending = pending;
        self.books.entry(partition).or_default().ledger = Some(ledger);
        Ok(())
    }

    /// The ledger says that the record at `offset` needs nothing more.
    fn may_have_ended(&self, partition: Partition, offset: Offset, job: &Job) -> Verdict {
        let wrong = |what: &str| {
            let what = format!("the ledger says that the record at offset {offset} of tasks has ended, and {what}");
            Violation::of(2, what).in_partition(partition)
        };
        let Job::Task(id) = job else {
            let buried = self.buried.contains(&(partition, offset));
            return if buried { Ok(()) } else { Err(wrong("it can't be read and has no durable dead letter")) };
        };
        let task = &self.tasks[id];
        let Some(end) = &task.end else {
            // The second record of a task is the same POST once more, and ends with nothing. Of records in two partitions
            // it is not known which was read first.
            let is_second = task.places.iter().any(|(p, o)| *p != partition || *o < offset);
            let what = format!("its task {} has no durable terminal update", Short(id));
            return if is_second { Ok(()) } else { Err(wrong(&what).on(id)) };
        };
        if end.kind == Kind::Failed && !task.letter {
            let used_up = task.counted() >= task.max_attempts.unwrap_or(self.config.max_attempts);
            let what = format!("its task {} ended {:?} without a durable dead letter", Short(id), end.text);
            return Err(Violation { guarantee: if used_up { 8 } else { 2 }, ..wrong(&what).on(id) });
        }
        Ok(())
    }

    fn is_booked(&self, pending: &Pending, ledger: &Ledger) -> bool {
        let task = &self.tasks[&pending.task];
        let of = |wanted: &dyn Fn(Offset) -> bool| {
            task.places.iter().any(|(partition, offset)| *partition == pending.partition && wanted(*offset))
        };
        match pending.what {
            Booked::Begun(attempt) => of(&|o| ledger.has_ended(o) || ledger.tries(o).begun >= attempt),
            Booked::Failed(failed) => of(&|o| ledger.has_ended(o) || ledger.tries(o).failed >= failed),
            Booked::Ended => of(&|o| ledger.has_ended(o)),
            Booked::Buried => {
                of(&|o| ledger.has_ended(o)) && task.end.as_ref().is_some_and(|end| end.kind == Kind::Failed)
            }
        }
    }

    /// What belongs together has come together by `now`.
    pub(super) fn pending_is_booked(&self, now: Duration) -> Verdict {
        let Some(late) = self.pending.iter().find(|p| p.at.saturating_add(TOGETHER) < now) else { return Ok(()) };
        let (guarantee, what) = match late.what {
            Booked::Begun(attempt) => (8, format!("the `started` of attempt {attempt} of task {}", Short(&late.task))),
            Booked::Failed(_) => (8, format!("the promise of another attempt of task {}", Short(&late.task))),
            Booked::Ended => (2, format!("the terminal update of task {}", Short(&late.task))),
            Booked::Buried => (2, format!("the dead letter of task {}", Short(&late.task))),
        };
        let what = format!(
            "{what} became durable at {:?}, and no ledger that says so came with it: they are one atomic step",
            late.at
        );
        Err(Violation::of(guarantee, what).on(&late.task).in_partition(late.partition))
    }

    /// A task is done only when its process has done it.
    pub(super) fn ended_as_it_ran(&self, id: &TaskId) -> Verdict {
        let task = &self.tasks[id];
        let Some(end) = task.end.as_ref().filter(|end| end.kind == Kind::Done) else { return Ok(()) };
        let gone = task.processes.get(&end.attempt).and_then(|process| process.gone.as_ref());
        if gone.is_some_and(|gone| task.limits.is_done(gone.status)) {
            return Ok(());
        }
        let seen = match (task.processes.get(&end.attempt), gone) {
            (None, _) => "never had a process".to_owned(),
            (Some(_), None) => "has a process that still lives".to_owned(),
            (_, Some(gone)) => format!("had a process that ended with {}", gone.status),
        };
        let what = format!("task {} is done by its attempt {}, which {seen}", Short(id), end.attempt);
        Err(Violation::of(2, what).on(id))
    }

    /// At the end: every partition has moved on past all that was in it.
    pub(super) fn all_is_committed(&self) -> Verdict {
        let open = self.books.iter().find_map(|(partition, book)| Some((partition, book.open.first_key_value()?)));
        let Some((partition, (offset, job))) = open else { return Ok(()) };
        let (what, violation) = match job {
            Job::Task(id) => (format!("of task {}", Short(id)), Violation::of(8, "").on(id)),
            Job::Unreadable => ("that can't be read".to_owned(), Violation::of(8, "")),
        };
        let what = format!(
            "at the end of the world the ledger does not say that the record {what} at offset {offset} has ended: its \
             partition does not move on"
        );
        Err(Violation { what, ..violation }.in_partition(*partition))
    }
}
