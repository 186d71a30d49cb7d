//! What types and tasks say of ends (guarantee 8): an attempt that is worth another gets one, not before its time and not beyond
//! the last; a timeout ends what has taken that long, and nothing else. Stated again for the one type that says anything.
//!
//! Waits and timeouts are read off the clocks of workers, which may be wrong by as much as the world lets them be.

use super::history::Said;
use super::log::Booked;
use super::processes::Gone;
use super::stops::KILLED_WITHIN;
use super::{Oracle, Task, Verdict, Violation};
use crate::event::Short;
use crate::policies::MOODY;
use baton_core::id::TaskId;
use baton_core::process::ExitStatus;
use baton_core::record::{Kind, TaskRecord};
use baton_core::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest wait of all.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What a task and its type say.
#[derive(Debug, Default)]
pub(super) struct Limits {
    moody: bool,
    queued: Option<Duration>,
    silence: Option<Duration>,
    total: Option<Duration>,
}

impl Limits {
    pub fn of(task: &TaskRecord) -> Self {
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        Self {
            moody: task.kind == MOODY,
            queued: seconds(task.queue_timeout_s),
            silence: seconds(task.silence_timeout_s),
            total: seconds(task.total_timeout_s),
        }
    }

    /// Whether a process that ended so by itself has done its task.
    pub fn is_done(&self, status: ExitStatus) -> bool {
        status == ExitStatus::Code(0) || (self.moody && status == ExitStatus::Code(4))
    }

    /// Whether a process that ended so by itself is worth another attempt.
    fn is_worth_another(&self, status: ExitStatus) -> bool {
        self.moody && matches!(status, ExitStatus::Code(3) | ExitStatus::Signal(11))
    }
}

/// What is known of a task's times.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Since when its record is on the log, by the clock of a broker. It may be durable much later.
    logged_at: Option<Timestamp>,
    /// When its first attempt was begun, durably; and by its worker's clock.
    first_begun: Option<Duration>,
    first_at: Option<Timestamp>,
    /// The last attempt, and when it was begun by its worker's clock.
    last_begun: Option<(u32, Timestamp)>,
    /// Attempts after which another was promised.
    pub failed: u32,
    /// The last of those, since when it is over at the earliest, and how long the wait is.
    wait: Option<(u32, Duration, Duration)>,
    /// By attempt: when it wrote its last line, by its worker's clock, and for how long it had been silent as its grace began.
    last_line: BTreeMap<u32, Timestamp>,
    silent_for: BTreeMap<u32, Duration>,
}

impl Oracle {
    pub(super) fn note_limits(&mut self, id: &TaskId, record: &TaskRecord, logged_at: Timestamp) {
        let task = self.task(id);
        task.limits = Limits::of(record);
        task.times.logged_at = Some(logged_at);
    }

    /// Notes when an attempt spoke, and for how long it had not.
    pub(super) fn note_times(&mut self, said: &Said) {
        let Some((attempt, at)) = said.attempt.zip(said.at) else { return };
        let times = &mut self.task(&said.task).times;
        match said.kind {
            Kind::Started => {
                times.first_at.get_or_insert(at);
                times.last_begun = Some((attempt, at));
            }
            Kind::Line => {
                times.last_line.insert(attempt, at);
            }
            Kind::Stopping => {
                if let Some(last) = times.last_line.get(&attempt) {
                    let silent_for = at.since(*last);
                    times.silent_for.insert(attempt, silent_for);
                }
            }
            _ => {}
        }
    }

    fn wrong_policy(id: &TaskId, what: &str) -> Verdict {
        Err(Violation::of(8, format!("task {} {what}", Short(id))).on(id))
    }

    /// Another attempt is promised.
    pub(super) fn on_retrying(&mut self, said: &Said) -> Verdict {
        let id = &said.task;
        let max = self.max_attempts_of(id);
        let task = self.task(id);
        let attempt = said.attempt.unwrap_or(0);
        let wrong =
            |what: String| Self::wrong_policy(id, &format!("is promised another attempt after {attempt}, and {what}"));
        if attempt != task.begun {
            let begun = task.begun;
            return wrong(format!("{begun} were begun"));
        }
        if task.counted() >= max {
            return wrong(format!("{max} may be begun"));
        }
        let gone = task.processes.get(&attempt).and_then(|process| process.gone);
        // A process that ends as it is told to ends by itself, and its timeout is the reason all the same.
        let is_reason = |gone: &Gone| gone.by_itself && !said.text.contains("timed out: no output");
        if let Some(gone) = gone.filter(is_reason).filter(|gone| !task.limits.is_worth_another(gone.status)) {
            return wrong(format!("its process ended with {}", gone.status));
        }
        if !task.limits.moody {
            return wrong("its type knows of no retries".to_owned());
        }
        let Some(wait) = said.next_at.zip(said.at).map(|(next, at)| next.since(at)) else {
            return wrong("not told when".to_owned());
        };
        if wait > LONGEST_WAIT {
            return wrong(format!("in {wait:?}, when {LONGEST_WAIT:?} is the longest wait"));
        }
        task.times.failed += 1;
        task.times.wait = Some((attempt, gone.map_or(Duration::ZERO, |gone| gone.when.at), wait));
        self.expect_booked(id, Booked::Failed(self.tasks[id].times.failed));
        Ok(())
    }

    /// An attempt is begun: not before the wait is over, and not when all together have had their time.
    pub(super) fn begins_in_time(&mut self, id: &TaskId, attempt: u32) -> Verdict {
        let (now, skew) = (self.now.at, self.config.skew);
        let task = self.task(id);
        task.times.first_begun.get_or_insert(now);
        if let Some((_, over, wait)) = task.times.wait.filter(|(before, ..)| before + 1 == attempt)
            && now + skew < over + wait
        {
            let what = format!("began its attempt {attempt}, whose wait of {wait:?} had begun after {over:?}");
            return Self::wrong_policy(id, &what);
        }
        // That is durable as late as the log likes.
        let at = task.times.last_begun.filter(|(last, _)| *last == attempt).map(|(_, at)| at);
        let begun_after = task.times.first_at.zip(at).map(|(first, at)| at.since(first));
        match task.limits.total.zip(begun_after).filter(|(total, after)| *after > *total + skew) {
            Some((total, after)) => {
                let what = format!("began its attempt {attempt} {after:?} after its first, and all may take {total:?}");
                Self::wrong_policy(id, &what)
            }
            None => Ok(()),
        }
    }

    /// By when a process must be gone, as all attempts together have had their time then.
    pub(super) fn total_is_due(&mut self, id: &TaskId, attempt: u32) {
        let Task { limits, times, .. } = &self.tasks[id];
        if let Some((total, first)) = limits.total.zip(times.first_begun) {
            let span = self.config.grace + KILLED_WITHIN;
            self.due.insert((first + total + self.config.skew + span, id.clone(), attempt, span));
        }
    }

    /// A task has ended as its limits and its type have it.
    pub(super) fn ended_by_policy(&mut self, said: &Said) -> Verdict {
        let (skew, max) = (self.config.skew, self.max_attempts_of(&said.task));
        let (id, task) = (&said.task, &self.tasks[&said.task]);
        let Some(end) = task.end.as_ref().filter(|end| end.kind == Kind::Failed) else { return Ok(()) };
        let wrong = |what: &str| Self::wrong_policy(id, &format!("ended {:?}, and {what}", end.text));
        let waited_for = task.times.logged_at.zip(said.at).map(|(logged, at)| at.since(logged));
        let begun_for = task.times.first_at.zip(said.at).map(|(first, at)| at.since(first));
        let has_taken = |time: Option<Duration>, limit: Option<Duration>| {
            time.zip(limit).is_some_and(|(time, limit)| time + skew >= limit)
        };
        let timed_out = |how: &str| end.text.starts_with(&format!("FAILED: timed out: {how}"));
        if timed_out("not begun") && (task.begun > 0 || !has_taken(waited_for, task.limits.queued)) {
            return wrong(&format!("{} attempts were begun, it has waited for {waited_for:?}", task.begun));
        }
        if timed_out("all attempts") && !has_taken(begun_for, task.limits.total) {
            return wrong(&format!("its first attempt began {begun_for:?} before"));
        }
        // By one clock, if none is set meanwhile.
        let silent_for = task.times.silent_for.get(&end.attempt).filter(|_| skew <= Duration::from_secs(1));
        if timed_out("no output")
            && silent_for.is_some_and(|time| task.limits.silence.is_none_or(|limit| *time < limit))
        {
            return wrong(&format!("it had been silent for {silent_for:?}"));
        }
        if task.stop.is_some() || task.limits.total.is_some() || task.counted() >= max {
            return Ok(());
        }
        let gone = task.processes.get(&end.attempt).and_then(|process| process.gone);
        let by_itself = |gone: &Gone| gone.by_itself && end.text.contains(&gone.status.to_string());
        match gone.filter(by_itself) {
            Some(gone) if task.limits.is_done(gone.status) => wrong("its type takes that for done"),
            Some(gone) if task.limits.is_worth_another(gone.status) => wrong("its type has another attempt for that"),
            _ if task.limits.moody && timed_out("no output") => wrong("its type has another attempt for that"),
            _ => Ok(()),
        }
    }

    pub(super) fn max_attempts_of(&self, id: &TaskId) -> u32 {
        self.tasks.get(id).and_then(|task| task.max_attempts).unwrap_or(self.config.max_attempts)
    }
}
