//! Guarantee 4, from the agent's pipe to the log: an agent numbers its lines, and each stands on the log once, in its order, in its attempt.

use super::{Case, Court};
use crate::plan::{Agent, agent_of};
use baton_core::id::UpdateId;
use baton_core::record::Kind;

impl<'a> Court<'a> {
    pub(super) fn lines(&mut self) {
        self.each(|court, id, case| {
            let attempts: Vec<u32> = case.started().filter_map(|update| update.attempt).collect();
            for attempt in attempts {
                court.lines_of(id, case, attempt);
            }
        });
    }

    fn lines_of(&mut self, id: &str, case: &Case<'a>, attempt: u32) {
        let lines = case.history.after(UpdateId::default()).iter();
        let lines = lines.filter(|entry| entry.kind == Kind::Line && entry.id.attempt == attempt);
        // A complaint has no number.
        let mut last = 0;
        for line in lines.filter(|line| line.text.contains(' ') && line.text.starts_with(id)) {
            let due = format!("{id} {attempt} {} ", last + 1);
            let is_so = line.text.starts_with(&due);
            last += 1;
            self.owe(4, id, is_so, || {
                format!("update {} is {:?}, and line {last} of attempt {attempt} is due", line.id, line.text)
            });
            if !is_so {
                return; // the rest is shifted
            }
        }
        let done = case.end().filter(|end| end.kind == Kind::Done && end.attempt == Some(attempt));
        if let (Some(_), Some(Agent::Count { lines, .. })) = (done, case.record.and_then(agent_of)) {
            self.owe(4, id, last == lines, || {
                format!("its attempt {attempt} is DONE with {last} lines on the log, and wrote {lines}")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tale::Tale;

    #[test]
    fn a_line_that_is_missing_is_found() {
        let mut tale = Tale::clean();
        tale.text("counted", 1, 3).text = "counted 1 3 of 2".into();
        tale.finds(4, "and line 2 of attempt 1 is due");
    }

    #[test]
    fn a_line_of_another_attempt_is_found() {
        let mut tale = Tale::clean();
        tale.text("redone", 2, 2).text = "redone 1 1 of 1".into();
        tale.finds(4, "and line 1 of attempt 2 is due");
    }

    #[test]
    fn lines_that_are_missing_at_the_end_are_found() {
        let mut tale = Tale::clean();
        let count = tale.story.log.updates.iter().position(|u| u.text == "counted 1 2 of 2").unwrap();
        tale.story.log.updates.remove(count);
        tale.end("counted").seq = Some(3);
        tale.finds(4, "DONE with 1 lines on the log, and wrote 2");
    }
}
