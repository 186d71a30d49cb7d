//! Guarantees 7 and 10: one live process a task, and none of a task that has ended, nor of anything at the end.
//!
//! A task's signs stand in the order in which they were given: whoever gives one lives.

use super::{Case, Court};
use crate::sign::What;
use std::collections::BTreeSet;

/// Clocks tell milliseconds: what lies this close together may have been in either order.
const SAME_MOMENT: u64 = 2;

impl<'a> Court<'a> {
    pub(super) fn processes(&mut self) {
        self.each(|court, id, case| {
            court.one_at_a_time(id, case);
            court.none_after_the_end(id, case);
        });
        let left = &self.story.left;
        self.owe(10, "", left.is_empty(), || format!("this is left at the end: {}", left.join("; ")));
    }

    fn one_at_a_time(&mut self, id: &str, case: &Case<'a>) {
        let mut begun: Vec<(&str, u32)> = Vec::new();
        let mut told = BTreeSet::new();
        for sign in case.signs {
            let (process, attempt) = (sign.process.as_str(), sign.attempt);
            let begins = matches!(sign.what, What::Begin | What::Beside);
            if begins {
                let twice = begun.iter().any(|(_, other)| *other == attempt);
                self.owe(7, id, !twice, || format!("attempt {attempt} of it has two processes"));
                let beside = sign.what == What::Beside;
                self.owe(7, id, !beside, || {
                    format!("attempt {attempt} of it began at {} while {:?} still lived", sign.at, begun.last())
                });
                begun.push((process, attempt));
            } else if let Some((_, newest)) = begun.last().filter(|(_, newest)| attempt < *newest)
                && told.insert(process)
            {
                let who = if sign.what == What::Child { "a child of attempt" } else { "attempt" };
                self.owe(7, id, false, || {
                    format!("{who} {attempt} of it lived at {} when attempt {newest} had begun", sign.at)
                });
            }
        }
    }

    fn none_after_the_end(&mut self, id: &str, case: &Case<'a>) {
        let Some(end) = case.end() else { return };
        let last = case.signs.iter().max_by_key(|sign| sign.at);
        let late = last.filter(|sign| sign.at > end.at + SAME_MOMENT);
        self.owe(10, id, late.is_none(), || {
            let who = late.map(ToString::to_string).unwrap_or_default();
            format!("it ended {:?} at {}, and a process of it lived after that: {who}", end.text, end.at)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tale::Tale;
    use crate::sign::{Sign, What};

    fn sign(at: u64, attempt: u32, process: &str, what: What) -> Sign {
        Sign { at, attempt, process: process.into(), what }
    }

    #[test]
    fn a_process_beside_another_is_found() {
        let mut tale = Tale::clean();
        tale.story.signs.get_mut("redone").unwrap().iter_mut().find(|s| s.attempt == 2).unwrap().what = What::Beside;
        tale.finds(7, "still lived");
    }

    #[test]
    fn a_process_that_lives_on_after_the_next_has_begun_is_found() {
        for what in [What::Beat, What::Child, What::End(0)] {
            let mut tale = Tale::clean();
            tale.story.signs.get_mut("redone").unwrap().push(sign(1950, 1, "p1", what));
            tale.finds(7, "when attempt 2 had begun");
        }
    }

    #[test]
    fn a_second_process_of_an_attempt_is_found() {
        let mut tale = Tale::clean();
        tale.story.signs.get_mut("counted").unwrap().insert(1, sign(1200, 1, "p7", What::Begin));
        tale.finds(7, "attempt 1 of it has two processes");
    }

    #[test]
    fn a_process_of_a_task_that_has_ended_is_found() {
        let mut tale = Tale::clean();
        tale.story.signs.get_mut("counted").unwrap().push(sign(2500, 1, "p1", What::Child));
        tale.finds(10, "lived after that");
    }

    #[test]
    fn what_is_left_is_found() {
        let mut tale = Tale::clean();
        tale.story.left.push("file runs/x".into());
        tale.finds(10, "file runs/x");
    }
}
