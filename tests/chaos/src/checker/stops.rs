//! Guarantee 6: stop means stopped.
//!
//! When a STOP reaches a worker can't be seen from outside, only when it was acknowledged. So where nothing was wrong it must have taken hold soon
//! after that, and where something was, after a while that is long enough for everything.

use super::{Case, Court, IN_ANY_CASE};
use crate::sign::What;
use crate::story::{At, Stop};
use baton_core::record::Kind;
use std::collections::BTreeMap;

/// How soon an acknowledged STOP has reached its worker where nothing is wrong, on a machine with much to do. In milliseconds.
const REACHES_WITHIN: At = 3000;
/// How soon after its grace a stopped task has ended where nothing is wrong.
const ENDS_WITHIN: At = 10_000;

impl<'a> Court<'a> {
    pub(super) fn stops(&mut self) {
        let mut acknowledged: BTreeMap<&'a str, &'a Stop> = BTreeMap::new();
        for stop in &self.story.stops {
            match stop.status {
                Some(202) => {
                    let first = acknowledged.entry(&stop.task).or_insert(stop);
                    if stop.at < first.at {
                        *first = stop;
                    }
                }
                Some(409) => {
                    let ended = self.cases.get(stop.task.as_str()).and_then(Case::end);
                    let is_so = ended.is_some_and(|end| end.at <= stop.at);
                    self.owe(6, &stop.task, is_so, || {
                        format!("a STOP of it was refused at {}, as if it had ended, and its end is {ended:?}", stop.at)
                    });
                }
                _ => {}
            }
        }
        self.each(|court, id, case| {
            if case.end().is_some_and(|end| end.kind == Kind::Stopped) {
                court.owe(6, id, case.stop, || "it ended STOPPED, and no STOP of it is on the log".into());
            }
            if let Some(stop) = acknowledged.get(id) {
                court.owe(6, id, case.stop, || "a STOP of it was acknowledged, and none is on the log".into());
                court.took_hold(id, case, stop.at);
            }
        });
    }

    fn took_hold(&mut self, id: &str, case: &Case<'a>, stopped: At) {
        // Too late is what comes after this, and the time before it knows no fault.
        let reached = |court: &Self, by: At| {
            by > stopped + IN_ANY_CASE || (by > stopped + REACHES_WITHIN && court.is_calm(stopped, by))
        };
        for sign in case.signs.iter().filter(|sign| matches!(sign.what, What::Begin | What::Beside)) {
            let late = reached(self, sign.at);
            self.owe(6, id, !late, || {
                format!("attempt {} of it began {} ms after its STOP was acknowledged", sign.attempt, sign.at - stopped)
            });
        }
        let Some(end) = case.end() else { return }; // guarantee 1 speaks of that
        if end.kind != Kind::Stopped {
            let by_itself = case.signs.iter().rev().find(|sign| matches!(sign.what, What::End(_)));
            let decided = by_itself.filter(|sign| Some(sign.attempt) == end.attempt).map_or(end.at, |sign| sign.at);
            let late = reached(self, decided);
            self.owe(6, id, !late, || {
                format!("it ended {:?}, decided {} ms after its STOP was acknowledged", end.text, decided - stopped)
            });
        }
        let due = stopped + self.story.limits.grace + ENDS_WITHIN;
        let late = end.at > due && self.is_calm(stopped, end.at);
        self.owe(6, id, !late, || format!("it ended {} ms after its STOP was acknowledged", end.at - stopped));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tale::Tale;
    use super::*;
    use crate::sign::Sign;
    use crate::story::Fault;

    #[test]
    fn an_acknowledged_stop_is_on_the_log() {
        let mut tale = Tale::clean();
        tale.story.log.stops.clear();
        tale.finds(6, "acknowledged, and none is on the log");
        tale.finds(6, "ended STOPPED, and no STOP");
    }

    #[test]
    fn a_stopped_task_that_is_done_long_after_is_found() {
        let mut tale = Tale::clean();
        let end = tale.end("stopped");
        (end.kind, end.text, end.at) = (Kind::Done, "DONE".into(), 9000);
        let sign = Sign { at: 8000, attempt: 1, process: "p1".into(), what: What::End(0) };
        tale.story.signs.get_mut("stopped").unwrap().push(sign);
        tale.finds(6, "it ended \"DONE\", decided");
    }

    #[test]
    fn a_process_that_was_as_fast_as_its_stop_may_end_by_itself() {
        let mut tale = Tale::clean();
        let end = tale.end("stopped");
        (end.kind, end.text) = (Kind::Done, "DONE".into());
        tale.finds_nothing_of(6);
    }

    #[test]
    fn faults_excuse_a_late_stop_but_not_for_ever() {
        let mut tale = Tale::clean();
        let late = Sign { at: 9000, attempt: 1, process: "p9".into(), what: What::Begin };
        tale.story.signs.get_mut("stopped").unwrap().push(late);
        tale.finds(6, "after its STOP was acknowledged");
        tale.story.faults.push(Fault { from: 2000, to: 80_000, what: "all".into() });
        tale.finds_nothing_of(6);
        tale.story.signs.get_mut("stopped").unwrap().last_mut().unwrap().at = 70_000;
        tale.finds(6, "after its STOP was acknowledged");
    }

    #[test]
    fn a_stop_takes_no_longer_than_its_grace() {
        let mut tale = Tale::clean();
        tale.end("stopped").at = 30_000;
        tale.finds(6, "it ended 2");
    }

    #[test]
    fn what_is_refused_has_ended() {
        let mut tale = Tale::clean();
        let mut refused = tale.story.stops[0].clone();
        (refused.status, refused.at) = (Some(409), 1200);
        tale.story.stops.push(refused);
        tale.finds(6, "as if it had ended");
    }
}
