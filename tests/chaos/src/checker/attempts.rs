//! Guarantees 5 and 8: attempts are visible, one after the other, begun before they run, and not too many.
//!
//! How many attempts were handed back can't be seen from outside. So a task may have as many more as workers were told to go.

use super::{Case, Court};
use crate::sign::What;
use baton_core::record::Kind;

/// Updates and signs of one moment may be told in either order. In milliseconds.
const SAME_MOMENT: u64 = 5;

impl<'a> Court<'a> {
    pub(super) fn attempts(&mut self) {
        self.each(|court, id, case| {
            court.opened(id, case);
            court.not_too_many(id, case);
            court.letters(id, case);
        });
    }

    /// Each attempt opens with its `Starting...`, in order, and before its process lives.
    fn opened(&mut self, id: &str, case: &Case<'a>) {
        for (due, update) in (1..).zip(case.started()) {
            let text = if due == 1 { "Starting...".to_owned() } else { format!("Starting... (attempt {due})") };
            let is_so = update.attempt == Some(due) && update.text == text && update.seq == Some(1);
            self.owe(5, id, is_so, || {
                format!(
                    "{:?} of attempt {:?} stands where {text:?} of attempt {due} should",
                    update.text, update.attempt
                )
            });
        }
        for sign in case.signs.iter().filter(|sign| matches!(sign.what, What::Begin | What::Beside)) {
            let started = case.started().find(|update| update.attempt == Some(sign.attempt));
            self.owe(5, id, started.is_some(), || {
                format!("a process of attempt {} lived, and no Starting... of it is on the log", sign.attempt)
            });
            let counted = started.is_none_or(|started| started.at <= sign.at + SAME_MOMENT);
            self.owe(8, id, counted, || {
                format!("the process of attempt {} began before its Starting..., which counts it", sign.attempt)
            });
        }
    }

    fn not_too_many(&mut self, id: &str, case: &Case<'a>) {
        let max = case.record.and_then(|record| record.max_attempts).unwrap_or(self.story.limits.max_attempts);
        let begun = u32::try_from(case.started().count()).unwrap_or(u32::MAX);
        let (first, last) =
            (case.started().next().map_or(0, |update| update.at), case.end().map_or(u64::MAX, |end| end.at));
        let farewells = self.story.farewells.iter().filter(|at| (first..=last).contains(*at)).count();
        let handed_back = u32::try_from(farewells).unwrap_or(u32::MAX);
        self.owe(8, id, begun <= max.saturating_add(handed_back), || {
            format!("{begun} attempts of it were begun, {max} may be, and at most {handed_back} were handed back")
        });
        let Some(end) = case.end().filter(|end| end.text.starts_with("FAILED: gave up after ")) else { return };
        self.owe(8, id, begun >= max && end.text.contains(&format!(" {max} attempts")), || {
            format!("{begun} attempts of it were begun, {max} may be, and it ended {:?}", end.text)
        });
    }

    /// What has failed is a dead letter, and nothing else is.
    fn letters(&mut self, id: &str, case: &Case<'a>) {
        let failed = case.end().filter(|end| end.kind == Kind::Failed);
        let letters = case.letters.len();
        let due = usize::from(failed.is_some());
        self.owe(8, id, letters == due, || format!("it has {letters} dead letters, and {due} are due"));
        let begun = case.started().count();
        if let (Some(end), Some(letter)) = (failed, case.letters.first()) {
            let is_so =
                end.text == format!("FAILED: {}", letter.reason) && usize::try_from(letter.attempts) == Ok(begun);
            self.owe(8, id, is_so, || {
                format!(
                    "its dead letter says {:?} after {} attempts; {begun} were begun, and it ended {:?}",
                    letter.reason, letter.attempts, end.text
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tale::Tale;
    use crate::sign::{Sign, What};
    use crate::story::Letter;
    use baton_core::record::Kind;

    #[test]
    fn a_process_without_its_starting_is_found() {
        let mut tale = Tale::clean();
        let sign = Sign { at: 1800, attempt: 2, process: "p2".into(), what: What::Begin };
        tale.story.signs.get_mut("stopped").unwrap().push(sign);
        tale.finds(5, "a process of attempt 2 lived");
    }

    #[test]
    fn a_second_attempt_says_so() {
        let mut tale = Tale::clean();
        tale.text("redone", 2, 1).text = "Starting...".into();
        tale.finds(5, "should");
    }

    #[test]
    fn a_process_before_its_starting_is_found() {
        let mut tale = Tale::clean();
        tale.story.signs.get_mut("counted").unwrap()[0].at = 900;
        tale.finds(8, "began before its Starting...");
    }

    #[test]
    fn attempts_are_limited_but_for_those_handed_back() {
        let mut tale = Tale::clean();
        tale.story.limits.max_attempts = 1;
        tale.finds(8, "2 attempts of it were begun, 1 may be");
        tale.story.farewells.push(1500);
        tale.finds_nothing_of(8);
    }

    #[test]
    fn giving_up_takes_as_many_attempts_as_there_may_be() {
        let mut tale = Tale::clean();
        tale.end("failed").text = "FAILED: gave up after 3 attempts: each time its worker died".into();
        tale.story.log.letters[0].reason = "gave up after 3 attempts: each time its worker died".into();
        tale.finds(8, "1 attempts of it were begun, 3 may be");
    }

    #[test]
    fn a_failure_has_one_dead_letter_that_fits_and_others_have_none() {
        let mut tale = Tale::clean();
        tale.story.log.letters.clear();
        tale.finds(8, "0 dead letters, and 1 are due");
        let mut tale = Tale::clean();
        tale.story.log.letters[0].attempts = 2;
        tale.finds(8, "after 2 attempts; 1 were begun");
        let mut tale = Tale::clean();
        tale.story.log.letters.push(Letter { task: "counted".into(), reason: "no".into(), attempts: 1 });
        tale.finds(8, "1 dead letters, and 0 are due");
    }

    #[test]
    fn attempts_are_begun_once() {
        let mut tale = Tale::clean();
        tale.update("redone", 2, 1, Kind::Started, "Starting... (attempt 2)");
        tale.finds(5, "should");
    }
}
