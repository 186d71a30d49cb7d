//! Guarantees 2 and 3: a task ends when it has been executed, and it ends once.
//!
//! That the ledger moves in the same transaction can't be seen from outside; what comes of it if it does not, can: ends that are missing or
//! there twice, and attempts after the end.

use super::{Case, Court};
use crate::plan::{Agent, agent_of};
use crate::sign::What;
use crate::story::Update;
use baton_core::record::Kind;

impl<'a> Court<'a> {
    pub(super) fn ends(&mut self) {
        self.each(|court, id, case| {
            let ends: Vec<&Update> = case.ends().collect();
            court.owe(3, id, ends.len() < 2, || {
                let ends: Vec<String> = ends.iter().map(|end| format!("{:?} at {}", end.text, end.place)).collect();
                format!("it has {} terminal updates: {}", ends.len(), ends.join(", "))
            });
            if let Some(end) = case.end() {
                court.end(id, case, end);
            }
            court.committed(id, case);
        });
    }

    /// What is committed has passed all that has ended, and nothing else.
    fn committed(&mut self, id: &str, case: &Case<'a>) {
        let Some((partition, offset)) = case.place else { return };
        let committed = self.story.log.committed.get(&partition).map_or(0, |committed| committed.offset);
        let ended = case.end().is_some();
        self.owe(2, id, ended || offset >= committed, || {
            format!("its record is tasks[{partition}]@{offset}, {committed} is committed, and it has not ended")
        });
        let tasks = self.story.log.tasks.iter();
        let mut before = tasks.filter(|task| task.partition == partition && task.offset <= offset);
        let all_ended = before.all(|task| self.ended.contains(task.record.task_id.as_str()));
        self.owe(2, id, !all_ended || offset < committed, || {
            format!("it and all before it have ended, its record is tasks[{partition}]@{offset}, and {committed} is committed")
        });
    }

    fn end(&mut self, id: &str, case: &Case<'a>, end: &Update) {
        let fits = match end.kind {
            Kind::Done => end.text == "DONE",
            Kind::Stopped => end.text == "STOPPED",
            _ => end.text.starts_with("FAILED: "),
        };
        self.owe(3, id, fits, || format!("it ended as {} with the text {:?}", end.kind.name(), end.text));
        let begun_after = case
            .updates
            .iter()
            .skip_while(|update| !update.kind.is_terminal())
            .any(|update| update.kind == Kind::Started);
        self.owe(2, id, !begun_after, || "an attempt of it was begun after its end".into());
        let code = case.signs.iter().rev().find_map(|sign| match sign.what {
            What::End(code) if Some(sign.attempt) == end.attempt => Some(code),
            _ => None,
        });
        if end.kind == Kind::Done {
            self.owe(2, id, code == Some(0), || {
                format!(
                    "attempt {:?} of it is DONE, and its process has ended with {code:?} as far as it said",
                    end.attempt
                )
            });
        }
        let agent = case.record.and_then(agent_of);
        if let (Kind::Failed, Some(code), Some(Agent::Fails { code: due })) = (end.kind, code, agent) {
            let due_text = format!("exit code {due}");
            let is_so = u64::try_from(code) == Ok(due) && end.text.contains(&due_text);
            self.owe(2, id, is_so, || format!("its process ended with {code}, and it failed so: {:?}", end.text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tale::Tale;
    use baton_core::record::Kind;

    #[test]
    fn a_second_end_is_found() {
        let mut tale = Tale::clean();
        let end = tale.end("counted").clone();
        tale.story.log.updates.push(end);
        tale.finds(3, "it has 2 terminal updates");
    }

    #[test]
    fn a_commit_that_passed_what_has_not_ended_is_found() {
        let mut tale = Tale::clean();
        tale.story.log.updates.retain(|update| update.task != "redone" || !update.kind.is_terminal());
        tale.finds(2, "4 is committed, and it has not ended");
        tale.story.log.committed.get_mut(&0).unwrap().offset = 3;
        tale.finds_nothing_of(2);
    }

    #[test]
    fn a_commit_that_stays_behind_is_found() {
        let mut tale = Tale::clean();
        tale.story.log.committed.get_mut(&0).unwrap().offset = 3;
        tale.finds(2, "all before it have ended");
    }

    #[test]
    fn an_end_says_what_it_is() {
        let mut tale = Tale::clean();
        tale.end("counted").text = "STOPPED".into();
        tale.finds(3, "it ended as done with the text \"STOPPED\"");
    }

    #[test]
    fn an_attempt_after_the_end_is_found() {
        let mut tale = Tale::clean();
        tale.update("counted", 2, 1, Kind::Started, "Starting... (attempt 2)");
        tale.finds(2, "begun after its end");
    }

    #[test]
    fn done_is_what_a_process_has_done() {
        let mut tale = Tale::clean();
        tale.story.signs.get_mut("counted").unwrap().pop();
        tale.finds(2, "its process has ended with None");
    }

    #[test]
    fn a_failure_is_that_of_its_process() {
        let mut tale = Tale::clean();
        tale.end("failed").text = "FAILED: exit code 4".into();
        tale.finds(2, "and it failed so");
    }
}
