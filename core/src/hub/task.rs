//! What the hub knows of one task, and what each update says of it. It knows nothing of other tasks, and holds no text of the
//! history but the end's.

use super::asked::Asked;
use super::history::History;
use super::totals::Owner;
use super::view::{AttemptOutcome, AttemptView, ListKey, Status, TaskView};
use crate::account::{Account, Tally};
use crate::agent_report::AgentReport;
use crate::id::{TaskId, UpdateId};
use crate::record::{Kind, ProgressRecord};
use crate::time::{Instant, Timestamp};

/// The most attempts of a task that are remembered one by one.
const MAX_ATTEMPTS_SEEN: usize = 100;

#[derive(Debug)]
pub(super) struct Task {
    /// `None` if only updates or a STOP are known.
    pub asked: Option<Asked>,
    /// Its part of [`Hub::tasks_bytes`].
    pub weight: usize,
    pub listed: ListKey,
    pub started_at: Option<Timestamp>,
    pub ended: Option<End>,
    pub stop_asked: bool,
    /// Without grace.
    pub stop_forced: bool,
    /// It waits for its next attempt, not before `next_at` if that is known.
    pub retrying: bool,
    pub next_at: Option<Timestamp>,
    /// What became of its attempts, as it was said last.
    pub tally: Tally,
    /// What its agent said of its work.
    pub report: AgentReport,
    pub active_at: Timestamp,
    pub timer: Option<Instant>,
    /// How it stands in [`Hub::totals`]; the owner is known with what was asked.
    pub counted: Option<(bool, Status)>,
    pub attempts: Vec<AttemptView>,
    pub history: History,
}

/// What stays of a task's end when its history is gone.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub at: Timestamp,
    pub status: Status,
    pub update: String,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub reason: Option<String>,
    pub ending: Option<Box<Account>>,
    pub expired: bool,
}

impl Task {
    pub fn status(&self) -> Status {
        match &self.ended {
            Some(end) => end.status,
            None if self.stop_asked => Status::Stopping,
            None if self.retrying => Status::Retrying,
            None if self.started_at.is_some() => Status::Running,
            None => Status::Queued,
        }
    }

    pub fn is_waiting(&self) -> bool {
        self.ended.is_none() && self.started_at.is_none()
    }

    /// Its place in [`Hub::with_params`].
    pub fn place_by_params(&self) -> (bool, Timestamp, TaskId) {
        let id = self.listed.1.clone();
        self.ended.as_ref().map_or((true, self.listed.0, id.clone()), |end| (false, end.at, id))
    }

    /// What an update that counts says of its task.
    pub fn note(&mut self, record: &ProgressRecord<'_>, id: UpdateId, position: usize, logged_at: Timestamp) {
        let at = record.at.unwrap_or(logged_at);
        let kind = record.kind.unwrap_or(Kind::Line);
        self.note_attempt(record, kind, id.attempt, position, at);
        match kind {
            Kind::Started => (self.retrying, self.next_at) = (false, None),
            Kind::Retrying => (self.retrying, self.next_at) = (true, record.next_at),
            _ => {}
        }
        self.tally = record.tally.unwrap_or(self.tally);
        if let Some(report) = record.report.as_deref() {
            // A result is told once.
            let before = self.report.result.take();
            self.report = report.clone();
            self.report.result = self.report.result.take().or(before);
        }
        let began = !kind.is_terminal() || record.attempt.is_some_and(|attempt| attempt > 0);
        if began {
            self.started_at.get_or_insert(at);
        }
        let status = match kind {
            Kind::Done => Status::Done,
            Kind::Stopped => Status::Stopped,
            Kind::Failed => Status::Failed,
            _ => return,
        };
        self.ended = Some(End {
            at,
            status,
            update: record.update.clone().into_owned(),
            exit_code: record.exit_code,
            signal: record.signal,
            reason: record.reason.as_deref().map(str::to_owned),
            ending: record.ending.clone(),
            expired: false,
        });
    }

    /// What an update says of its attempt.
    fn note_attempt(&mut self, record: &ProgressRecord<'_>, kind: Kind, attempt: u32, position: usize, at: Timestamp) {
        if attempt > self.attempts.last().map_or(0, |last| last.attempt) {
            if let (Some(last), Some(tally)) =
                (self.attempts.last_mut().filter(|last| last.outcome.is_none()), record.tally)
            {
                let handed_back = tally.handed_back > self.tally.handed_back;
                last.outcome = Some(if handed_back { AttemptOutcome::HandedBack } else { AttemptOutcome::Lost });
            }
            self.report = std::mem::take(&mut self.report).anew();
            if self.attempts.len() == MAX_ATTEMPTS_SEEN {
                self.attempts.remove(0);
            }
            self.attempts.push(AttemptView::begun(attempt, position, at));
        }
        let outcome = match kind {
            Kind::Retrying | Kind::Failed => AttemptOutcome::Failed,
            Kind::Done => AttemptOutcome::Done,
            Kind::Stopped => AttemptOutcome::Stopped,
            _ => return,
        };
        if let Some(last) = self.attempts.last_mut().filter(|last| last.ended_at.is_none()) {
            last.ended_at = Some(at);
            last.end = Some(record.update.clone().into_owned());
            last.outcome = Some(outcome);
            last.exit_code = record.exit_code;
            last.signal = record.signal;
            last.ending.clone_from(&record.ending);
        }
    }

    /// Its place in [`Hub::totals`], with or without what was asked.
    pub fn owner(&self, known: bool) -> Owner {
        let asked = self.asked.as_ref().filter(|_| known);
        asked.map(|asked| (asked.project.clone(), asked.kind.clone())).unwrap_or_default()
    }

    pub fn last_text(&self) -> Option<&str> {
        self.ended.as_ref().map(|end| end.update.as_str()).or_else(|| self.history.last_text())
    }

    /// All but its params, its attempts and its result.
    pub fn view(&self, id: &TaskId) -> TaskView {
        let asked = self.asked.as_ref();
        let end = self.ended.as_ref();
        TaskView {
            task_id: id.clone(),
            project: asked.map(|a| a.project.clone()),
            kind: asked.map(|a| a.kind.clone()),
            command: asked.and_then(|a| a.command.clone()),
            params: None,
            summary: asked.and_then(|a| a.summary.as_deref()).map(str::to_owned),
            status: self.status(),
            updates: self.history.len(),
            attempts: None,
            attempt: self.history.filter().last().map_or(0, |last| last.attempt),
            last_update: self.last_text().map(str::to_owned),
            submitted_at: asked.map(|_| self.listed.0),
            started_at: self.started_at,
            ended_at: end.map(|e| e.at),
            exit_code: end.and_then(|e| e.exit_code),
            signal: end.and_then(|e| e.signal),
            reason: end.and_then(|e| e.reason.clone()),
            next_attempt_at: self.next_at.filter(|_| end.is_none()),
            tally: (self.tally != Tally::default()).then_some(self.tally),
            ending: end.and_then(|e| e.ending.clone()),
            report: Some(self.report.without_result()).filter(|report| !report.is_empty()),
            redriven_from: asked.and_then(|a| a.redriven_from.as_deref().cloned()),
        }
    }
}
