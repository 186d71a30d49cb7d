//! Guarantees 5 and 8: attempts are visible, one after the other, counted before they run, and not too many.

use super::history::Said;
use super::log::{Booked, Job};
use super::{Oracle, Verdict, Violation};
use crate::event::Short;
use baton_core::id::TaskId;
use baton_core::ledger::{Ledger, Tries};
use baton_core::log::{Offset, Partition};

impl Oracle {
    /// A `started` is durable.
    pub(super) fn on_begun(&mut self, said: &Said) -> Verdict {
        let id = &said.task;
        let wrong = |what: String| Err(Violation::of(5, what).on(id));
        let attempt = said.attempt.unwrap_or(0);
        let task = self.task(id);
        if attempt != task.begun + 1 {
            let what = format!("attempt {attempt} of task {} began after attempt {}", Short(id), task.begun);
            return wrong(what);
        }
        let text = if attempt == 1 { "Starting...".to_owned() } else { format!("Starting... (attempt {attempt})") };
        if said.text != text {
            return wrong(format!("attempt {attempt} of task {} opened with {:?}, not {text:?}", Short(id), said.text));
        }
        task.begun = attempt;
        self.expect_booked(id, Booked::Begun(attempt));
        self.begins_in_time(id, attempt)
    }

    /// For every task that is not over, a new ledger counts the attempts whose `started` is durable: those, and no others.
    pub(super) fn tries_fit(&mut self, partition: Partition, ledger: &Ledger) -> Verdict {
        let Some(book) = self.books.get(&partition) else { return Ok(()) };
        let open: Vec<(Offset, TaskId)> = book
            .open
            .iter()
            .filter_map(|(offset, job)| match job {
                Job::Task(id) => Some((*offset, id.clone())),
                Job::Unreadable => None,
            })
            .collect();
        for (offset, id) in open {
            let tries = ledger.tries(offset);
            let task = self.task(&id);
            // A second record is never begun.
            if task.places.first() != Some(&(partition, offset)) {
                continue;
            }
            let wrong = |guarantee, what| {
                let what = format!(
                    "the ledger counts {} begun attempts of task {} ({} of them handed back), and {what}",
                    tries.begun,
                    Short(&id),
                    tries.returned
                );
                Err(Violation::of(guarantee, what).on(&id).in_partition(partition))
            };
            if tries.begun > task.begun {
                return wrong(5, format!("{} `started` updates are durable: attempts must be visible", task.begun));
            }
            if tries.begun < task.begun {
                return wrong(8, format!("{} `started` updates are durable: attempts are forgotten", task.begun));
            }
            if tries.failed != task.times.failed {
                let what = format!("{} of them failed, where {} are known to", tries.failed, task.times.failed);
                return wrong(8, what);
            }
            if tries.returned < task.returned {
                return wrong(8, format!("{} were handed back before", task.returned));
            }
            task.returned = tries.returned;
        }
        Ok(())
    }

    /// What must be durable before a process lives.
    pub(super) fn is_counted(&self, id: &TaskId, attempt: u32) -> Verdict {
        let Some(task) = self.tasks.get(id).filter(|task| !task.places.is_empty()) else {
            let what = format!("attempt {attempt} of task {} was spawned, and no such task is durable", Short(id));
            return Err(Violation::of(1, what).on(id));
        };
        let spawned = format!("attempt {attempt} of task {} was spawned", Short(id));
        if attempt > task.begun || attempt == 0 {
            let what = format!("{spawned}, and its `started` is not durable: watchers were not told of it");
            return Err(Violation::of(5, what).on(id));
        }
        let Tries { begun, returned, .. } = self.tries_of(task.places[0]);
        if begun < attempt {
            let what = format!("{spawned}, and the durable ledger counts {begun} begun attempts");
            return Err(Violation::of(8, what).on(id).in_partition(task.places[0].0));
        }
        let max = task.max_attempts.unwrap_or(self.config.max_attempts);
        if attempt.saturating_sub(returned) > max {
            let what = format!("{spawned}, {returned} attempts before it were handed back, and {max} may be begun");
            return Err(Violation::of(8, what).on(id).in_partition(task.places[0].0));
        }
        Ok(())
    }

    /// A task is given up when its attempts are used up, and not before: those that were handed back don't count.
    pub(super) fn gave_up_in_time(&self, id: &TaskId, text: &str) -> Verdict {
        let task = &self.tasks[id];
        let max = task.max_attempts.unwrap_or(self.config.max_attempts);
        if !text.starts_with("FAILED: gave up after") || task.counted() >= max {
            return Ok(());
        }
        let what = format!(
            "task {} was given up after {} attempts, {} of them handed back, and {max} may be begun",
            Short(id),
            task.begun,
            task.returned
        );
        Err(Violation::of(8, what).on(id))
    }

    fn tries_of(&self, (partition, offset): (Partition, Offset)) -> Tries {
        let ledger = self.books.get(&partition).and_then(|book| book.ledger.as_ref());
        ledger.map(|ledger| ledger.tries(offset)).unwrap_or_default()
    }
}
