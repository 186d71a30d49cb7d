//! Guarantees 3, 4 and 5 as watchers see them: every update once, in order, from where they began to the one end.

use super::history::{Said, Update};
use super::{Oracle, Verdict, Violation};
use crate::event::{Node, Short};
use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Offset, Partition, Topic};
use baton_core::record::Kind;
use std::time::Duration;

/// How long a task may be unknown to a replica where nothing is wrong: longer than a reader waits for an answer that was lost.
const KNOWN_WITHIN: Duration = Duration::from_secs(13);
/// The server has given everything.
const NORMAL: u16 = 1000;
/// There is no such task.
const UNKNOWN: u16 = 4404;

/// One connection.
#[derive(Debug)]
pub(super) struct Watcher {
    task: TaskId,
    api: u8,
    /// What it has read.
    at: UpdateId,
    ended: bool,
    closed: bool,
}

impl Oracle {
    /// Readers see an update now: it takes its place in the history that all watchers are owed.
    pub(super) fn on_visible_update(&mut self, said: &Said, partition: Partition, offset: Offset) -> Verdict {
        let (id, now) = (&said.task, self.now.at);
        let Some(missing) = self.task(id).history.add(said, partition, offset, now) else { return Ok(()) };
        let what = format!(
            "update {missing} of task {} is not on the log, where {}-{} follows",
            Short(id),
            said.attempt.unwrap_or_default(),
            said.seq.unwrap_or_default()
        );
        Err(Violation::of(4, what).on(id))
    }

    pub(super) fn on_watching(&mut self, watcher: u32, task: &TaskId, after: UpdateId, api: u8) {
        let new = Watcher { task: task.clone(), api, at: after, ended: false, closed: false };
        assert!(self.watchers.insert(watcher, new).is_none(), "watcher {watcher} has a new number when it comes back");
    }

    pub(super) fn on_frame(&mut self, number: u32, id: UpdateId, kind: &str, text: &str) -> Verdict {
        let watcher = self.watchers.get(&number).filter(|watcher| !watcher.closed);
        let Some(watcher) = watcher else { panic!("watcher {number} reads a frame and is not connected") };
        let task = watcher.task.clone();
        let seen = format!(
            "watcher {number} of task {} on {} read {id} ({kind}, {text:?})",
            Short(&task),
            Node::Api(watcher.api)
        );
        let (at, ended) = (watcher.at, watcher.ended);
        let wrong = |guarantee, what: String| Err(Violation::of(guarantee, format!("{seen}, {what}")).on(&task));
        if ended {
            return wrong(3, "after the terminal update".to_owned());
        }
        if id.attempt < at.attempt {
            return wrong(5, format!("of an older attempt, after {at}"));
        }
        if id <= at {
            return wrong(4, format!("after {at}: a duplicate, or out of order"));
        }
        let ends = if kind == Kind::Truncated.name() {
            if let Err(what) = self.is_lost(&task, at, id) {
                return wrong(4, what);
            }
            false
        } else {
            if let Err((guarantee, what)) = self.is_next(&task, at, (id, kind, text)) {
                return wrong(guarantee, what);
            }
            self.tasks[&task].history.end().is_some_and(|end| end.text == text && end.kind.name() == kind)
        };
        if let Some(watcher) = self.watchers.get_mut(&number) {
            watcher.at = id;
            watcher.ended = ends;
        }
        Ok(())
    }

    /// Whether a frame is the update that comes next after `at`. The error is the guarantee and a clause.
    fn is_next(&self, task: &TaskId, at: UpdateId, frame: (UpdateId, &str, &str)) -> Result<(), (u8, String)> {
        let (id, kind, text) = frame;
        let Some(task) = self.tasks.get(task) else {
            return Err((4, "and there is no update of it that readers can see".to_owned()));
        };
        let is = |update: &Update| update.kind.name() == kind && update.text == text;
        let terminal = [Kind::Done, Kind::Stopped, Kind::Failed].iter().any(|end| end.name() == kind);
        if terminal && !task.end.as_ref().is_some_and(|end| end.kind.name() == kind && end.text == text) {
            let end = task.end.as_ref().map_or("none".to_owned(), |end| format!("{:?}", end.text));
            return Err((3, format!("and the task's durable end is {end}")));
        }
        // Numbers that were given by counting can't be the same for who could not count from the first.
        if task.history.depends_on_all && self.something_is_gone(task) {
            return Ok(());
        }
        match task.history.next_after(at) {
            None => Err((4, format!("and there is nothing after {at} that readers can see"))),
            Some(next) if next.id == id && is(next) => Ok(()),
            Some(next) => {
                let (kind, text) = (next.kind.name(), &next.text);
                Err((4, format!("and what comes after {at} is {} ({kind}, {text:?})", next.id)))
            }
        }
    }

    /// Whether the API may say that the updates after `at` and up to `through` are gone. The error is a clause.
    fn is_lost(&self, task: &TaskId, at: UpdateId, through: UpdateId) -> Result<(), String> {
        let Some(task) = self.tasks.get(task) else { return Err("and nothing was ever there".to_owned()) };
        let hidden = task.history.between(at, through);
        if task.history.depends_on_all && self.something_is_gone(task) {
            return Ok(());
        }
        let old = |at: Duration, kept: Duration| self.now.at + self.config.skew >= at + kept;
        let expired = task.history.end().is_some_and(|end| old(end.at, self.config.history));
        let begin = self.begin_of(task);
        let kept = hidden.iter().find(|u| u.offset >= begin && !expired && !old(u.at, self.config.retention));
        match (hidden.is_empty(), kept) {
            // Who had to skip something, let it go, or has not the first, can't know whether the watcher lacks anything.
            (true, _) if begin > 0 || expired || self.something_is_gone(task) => Ok(()),
            (true, _) => Err(format!("and no update stands between that and {at}")),
            (false, None) => Ok(()),
            (false, Some(kept)) => Err(format!("and {} ({:?}) is still on the log", kept.id, kept.text)),
        }
    }

    fn begin_of(&self, task: &super::Task) -> Offset {
        self.begins.get(&(Topic::Progress, task.history.partition)).copied().unwrap_or(0)
    }

    fn something_is_gone(&self, task: &super::Task) -> bool {
        let first = task.history.next_after(UpdateId::default());
        first.is_some_and(|first| {
            first.offset < self.begin_of(task) || self.now.at + self.config.skew >= first.at + self.config.retention
        })
    }

    /// A replica reads all of the log before it denies anything: what readers saw before it began, it knows. It is the life
    /// of the replica that was asked which must know: its word may be on the way for longer than it lives.
    pub(super) fn on_denied(&self, id: &TaskId, api: u8, asked: Duration) -> Verdict {
        let lives = self.apis.get(&api).map_or(&[][..], Vec::as_slice);
        let began = lives.iter().rfind(|began| **began <= asked).copied().unwrap_or_default();
        let task = self.tasks.get(id).filter(|task| task.visible_since.is_some_and(|since| since < began));
        let old = |since: Duration| self.now.at + self.config.skew >= since + self.config.retention;
        let Some(since) = task.and_then(|task| task.visible_since).filter(|since| !old(*since)) else { return Ok(()) };
        let what = format!(
            "{} said that there is no task {}, which was on tasks since {since:?}, before that replica began at {began:?}",
            Node::Api(api),
            Short(id)
        );
        Err(Violation::of(4, what).on(id))
    }

    pub(super) fn on_unwatched(&mut self, number: u32, code: u16) -> Verdict {
        let watcher = self.watchers.get_mut(&number).filter(|watcher| !watcher.closed);
        let Some(watcher) = watcher else { panic!("watcher {number} is closed and was not connected") };
        watcher.closed = true;
        let (id, at, ended) = (watcher.task.clone(), watcher.at, watcher.ended);
        let seen =
            format!("watcher {number} of task {} on {} was closed with {code}", Short(&id), Node::Api(watcher.api));
        let wrong = |what: String| Err(Violation::of(4, format!("{seen}, {what}")).on(&id));
        let task = self.tasks.get(&id);
        match code {
            NORMAL if !ended => {
                // It may have come back after it had read the end.
                let end = task.and_then(|task| task.history.end());
                match end {
                    Some(end) if end.id <= at => Ok(()),
                    _ => wrong(format!("as if it had read to the end, and it had read to {at}")),
                }
            }
            UNKNOWN => {
                let since = task.and_then(|task| task.visible_since);
                let known_for = since.map_or(Duration::ZERO, |since| self.now.at.saturating_sub(since));
                let old = known_for + self.config.skew >= self.config.retention;
                let calm = self.calm_for().is_some_and(|calm| calm > KNOWN_WITHIN);
                if known_for > KNOWN_WITHIN && calm && !old {
                    return wrong(format!("as if there was no such task, which has been on tasks for {known_for:?}"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// At the end: whoever still watches has read the terminal update.
    pub(super) fn all_watched_to_the_end(&self) -> Verdict {
        let open = self.watchers.iter().find(|(_, watcher)| !watcher.closed && !watcher.ended);
        let Some((number, watcher)) = open else { return Ok(()) };
        let what = format!(
            "at the end of the world watcher {number} of task {} on {} still waits: it has read to {}",
            Short(&watcher.task),
            Node::Api(watcher.api),
            watcher.at
        );
        Err(Violation::of(4, what).on(&watcher.task))
    }
}
