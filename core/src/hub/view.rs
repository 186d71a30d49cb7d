//! What `GET /tasks` and `GET /tasks/{id}` say of a task, and how a list is asked for.

use super::needle::Needle;
use super::totals::Overview;
use crate::account::{Account, Tally};
use crate::agent_report::AgentReport;
use crate::id::TaskId;
use crate::problem::{FieldError, Problem};
use crate::record::RedrivenFrom;
use crate::time::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// How many tasks a page of the list has unless asked otherwise, and at most.
pub const PAGE: usize = 50;
/// See [`PAGE`].
pub const MAX_PAGE: usize = 500;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// On the log; no attempt has begun.
    Queued,
    /// An attempt has begun.
    Running,
    /// An attempt failed, and another will come.
    Retrying,
    /// A STOP is on the log.
    Stopping,
    /// It ended well.
    Done,
    /// It was stopped.
    Stopped,
    /// It failed for good.
    Failed,
}

impl Status {
    pub(super) const ALL: [Self; 7] =
        [Self::Queued, Self::Running, Self::Retrying, Self::Stopping, Self::Done, Self::Stopped, Self::Failed];

    /// The name in JSON and in queries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Stopping => "stopping",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether the task has ended.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Stopped | Self::Failed)
    }
}

/// A task as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskView {
    /// Its id.
    pub task_id: TaskId,
    /// Null if only its updates are still on the log.
    pub project: Option<String>,
    /// See `project`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The command of its type.
    pub command: Option<String>,
    /// What it was asked. Absent in a list, as a page of it could be half a gigabyte; and where it is not known any
    /// more: memory is short, and the task has ended, or had not been seen to end when the log was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Map<String, Value>>,
    /// What it was asked, in one line that people recognise; null if it was asked nothing, or that is not known.
    pub summary: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// How many updates it has: their positions go from 0 to one less.
    pub updates: usize,
    /// Its attempts, the last hundred of them. Absent in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptView>>,
    /// The last attempt that began; 0 if none has.
    pub attempt: u32,
    /// The text of the last update; its first 500 characters in a list.
    pub last_update: Option<String>,
    /// When it was submitted.
    pub submitted_at: Option<Timestamp>,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What its agent's process exited with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended its agent's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Not before then its next attempt begins, by its worker's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// What became of its attempts, as far as it was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tally: Option<Tally>,
    /// Who or what ended it, how long its last attempt took, and what that used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<Box<Account>>,
    /// What its agent said of its work. Absent if it said nothing. Its result is not in a list, and may be let go of as params are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<AgentReport>,
    /// The dead letter that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redriven_from: Option<RedrivenFrom>,
}

/// The longest `last_update` in a list, in characters: a page of lines of 64 KiB would be megabytes.
const MAX_LISTED_UPDATE: usize = 500;

impl TaskView {
    /// The same with no more text than a list has room for.
    #[must_use]
    pub(super) fn cut_for_list(mut self) -> Self {
        if let Some(text) = &mut self.last_update
            && let Some((end, _)) = text.char_indices().nth(MAX_LISTED_UPDATE)
        {
            text.truncate(end);
            text.push('…');
        }
        self
    }
}

/// An attempt as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptView {
    /// Its number, from 1.
    pub attempt: u32,
    /// The position of its first update.
    pub position: usize,
    /// When that was.
    pub started_at: Timestamp,
    /// When it ended. Absent while it runs, and where its worker was lost and could not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The text of the update that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// What became of it. Absent while it runs, and where nobody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
    /// What its process exited with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Who or what ended it, how long it took, and what it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<Box<Account>>,
}

impl AttemptView {
    /// One that has begun.
    pub(super) const fn begun(attempt: u32, position: usize, started_at: Timestamp) -> Self {
        Self {
            attempt,
            position,
            started_at,
            ended_at: None,
            end: None,
            outcome: None,
            exit_code: None,
            signal: None,
            ending: None,
        }
    }
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// It did the task.
    Done,
    /// It was stopped.
    Stopped,
    /// It failed.
    Failed,
    /// It was lost with its worker, or with what kept its process.
    Lost,
    /// It was handed back by a worker that was told to go: it does not count.
    HandedBack,
}

/// A page of tasks, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<TaskView>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
    /// What there is beside this page.
    #[serde(flatten)]
    pub overview: Overview,
    /// Changes whenever a page may.
    #[serde(skip)]
    pub version: u64,
}

/// A task's place in the list: by when it was submitted, then by id.
pub type ListKey = (Timestamp, TaskId);

/// Which tasks a client wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Of these projects; of all if empty.
    pub projects: Vec<String>,
    /// Of these types; of all if empty.
    pub kinds: Vec<String>,
    /// In one of these states; in any if empty.
    pub statuses: Vec<Status>,
    /// With this in its id, its command, what it was asked, or its last update.
    pub needle: Option<Needle>,
    /// How many at most; 0 means [`PAGE`].
    pub limit: usize,
    /// Those after this one.
    pub after: Option<ListKey>,
}

impl ListQuery {
    /// Reads the fields of a query string, each a name and a value, both decoded.
    pub fn read<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Problem> {
        let mut query = Self::default();
        let mut errors = Vec::new();
        for (name, value) in fields {
            if let Err(reason) = query.read_field(name, value) {
                errors.push(FieldError::new(name, reason));
            }
        }
        if errors.is_empty() { Ok(query) } else { Err(Problem::invalid(errors)) }
    }

    fn read_field(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "project" => self.projects.push(value.into()),
            "type" => self.kinds.push(value.into()),
            "status" => {
                let status = Status::ALL.into_iter().find(|s| s.name() == value);
                self.statuses.push(status.ok_or_else(|| {
                    format!("{value:?} is not a status; there are: {}", Status::ALL.map(Status::name).join(", "))
                })?);
            }
            "q" => self.needle = Some(Needle::new(value)?),
            "limit" => {
                let limit = value.parse().ok().filter(|n| (1..=MAX_PAGE).contains(n));
                self.limit = limit.ok_or_else(|| format!("must be a whole number from 1 to {MAX_PAGE}"))?;
            }
            "cursor" => {
                self.after = Some(read_cursor(value).ok_or("is not a cursor; send back next_cursor as it came")?);
            }
            // A token in the query is the shell's business.
            "access_token" => {}
            _ => return Err("is not a filter; there are: project, type, status, q, limit, cursor".into()),
        }
        Ok(())
    }

    /// Whether tasks of this project and type are wanted.
    pub fn wants_owner(&self, project: Option<&str>, kind: Option<&str>) -> bool {
        let among =
            |wanted: &[String], is: Option<&str>| wanted.is_empty() || wanted.iter().any(|w| Some(w.as_str()) == is);
        among(&self.projects, project) && among(&self.kinds, kind)
    }

    /// Whether tasks in this state are wanted.
    pub fn wants_status(&self, status: Status) -> bool {
        self.statuses.is_empty() || self.statuses.contains(&status)
    }

    /// Whether a task with one of these texts is wanted.
    pub fn wants_text<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        self.needle.as_ref().is_none_or(|needle| texts.into_iter().any(|text| needle.is_in(text)))
    }
}

/// The cursor that a page ends with.
pub fn write_cursor((at, id): &ListKey) -> String {
    format!("{}.{id}", at.as_millis())
}

/// The place that a cursor names.
pub fn read_cursor(cursor: &str) -> Option<ListKey> {
    let (millis, id) = cursor.split_once('.')?;
    Some((Timestamp::from_millis(millis.parse().ok()?), id.parse().ok()?))
}
