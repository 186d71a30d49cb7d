//! The records about tasks, on four of the topics: JSON, read leniently (unknown fields are ignored) and written one way.
//!
//! A record that can't be read is a value, [`Unreadable`]: what to do with it is decided where it was read.

use crate::account::{Account, AttemptEnd, Tally};
use crate::agent_report::{AgentReport, Cost};
use crate::id::{TaskId, UpdateId};
use crate::process::{ExitStatus, Stream};
use crate::time::Timestamp;
use crate::trace::TraceParent;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// Why a record could not be read: a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Unreadable {
    /// The record's key is not its task's id.
    pub fn wrong_key() -> Self {
        Self("its key is not its task's id".into())
    }

    /// The record has so many bytes, and none of its kind has.
    pub fn too_long(bytes: usize) -> Self {
        Self(format!("it has {bytes} bytes, more than any record of its kind"))
    }

    /// The record's key can't be an id.
    pub fn bad_key(why: &impl std::fmt::Display) -> Self {
        Self(format!("its key {why}"))
    }

    /// Its task's id can't be one.
    pub fn bad_id(why: &impl std::fmt::Display) -> Self {
        Self(format!("task_id: {why}"))
    }
}

pub(crate) fn read<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, Unreadable> {
    if value.is_empty() {
        return Err(Unreadable("the record is empty".into()));
    }
    serde_json::from_slice(value).map_err(|e| Unreadable(e.to_string()))
}

pub(crate) fn write(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have string keys and no failing serializer")
}

/// What a client asked for: a record of `tasks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its name from then on.
    pub task_id: TaskId,
    /// Whose config the agent gets. Checked by the worker, as foreign producers may write anything.
    pub project: String,
    /// The task type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The command of the type, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The command's parameters.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// When the API took it; absent from a foreign producer's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<Timestamp>,
    /// How long one attempt may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// For how long it may wait for its first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout_s: Option<u64>,
    /// For how long its process may write nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_timeout_s: Option<u64>,
    /// How long all attempts may take together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_timeout_s: Option<u64>,
    /// How long its process has between SIGTERM and SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_s: Option<u64>,
    /// How many attempts may be begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// What all attempts may cost together, as far as the agent tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<Cost>,
    /// What the client sent as `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The trace that it is part of. What is none is left out.
    #[serde(default, deserialize_with = "crate::trace::read", skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// The dead letter that it was made of, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_from: Option<RedrivenFrom>,
}

/// The dead letter that a task was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivenFrom {
    /// Whose it is: of the task that failed.
    pub task_id: TaskId,
    /// Why that task failed, cut to fit.
    pub reason: String,
    /// When it failed.
    pub at: Timestamp,
}

impl TaskRecord {
    /// Reads a record.
    pub fn read(value: &[u8]) -> Result<Self, Unreadable> {
        read(value)
    }

    /// The record as bytes.
    pub fn write(&self) -> Vec<u8> {
        write(self)
    }

    /// What is asked for, whenever, under whatever id, and in whatever order the params stand.
    pub fn submission(&self) -> Submission {
        let mut params = Value::Object(self.params.clone());
        params.sort_all_objects();
        let limits = [
            self.timeout_s,
            self.queue_timeout_s,
            self.silence_timeout_s,
            self.total_timeout_s,
            self.grace_s,
            self.max_attempts.map(u64::from),
            self.max_cost_usd.map(Cost::millionths),
        ];
        let asked = (&self.project, &self.kind, &self.command, &params, limits);
        Submission(Sha256::digest(write(&asked)).into())
    }
}

/// The digest of what a task asks for: two that are equal are the same POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission([u8; 32]);

/// What an update is. This decides what it means, never its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An attempt began.
    Started,
    /// The agent wrote a line.
    Line,
    /// What the agent's line shows so far, that is not over yet: a progress bar, a prompt. The next update of the same stream stands in
    /// its place. In JSON frames only.
    Progress,
    /// An attempt failed, and there will be another.
    Retrying,
    /// A STOP reached the agent, and its grace has begun. In JSON frames only.
    Stopping,
    /// The API says that earlier updates are gone. Never on the log.
    Truncated,
    /// The end: success.
    Done,
    /// The end: stopped by a client.
    Stopped,
    /// The end: failure.
    Failed,
    /// Of a later version of Baton. In JSON frames only.
    #[serde(other)]
    Other,
}

impl Kind {
    /// Whether the update ends its task.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Stopped | Self::Failed)
    }

    /// The name in records and frames.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Line => "line",
            Self::Progress => "progress",
            Self::Retrying => "retrying",
            Self::Stopping => "stopping",
            Self::Truncated => "truncated",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }
}

/// What became of a task, one step of it: a record of `task-progress`. A foreign producer's may hold
/// `task_id` and `update` alone: that is a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressRecord<'a> {
    /// Whose.
    #[serde(borrow)]
    pub task_id: Cow<'a, str>,
    /// What people read.
    #[serde(borrow)]
    pub update: Cow<'a, str>,
    /// The attempt that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Its number within the attempt, from 1. Absent: the next one, whichever that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// When it happened, by the worker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Of a line that the agent wrote to standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    /// Of a line that was too long: how many of its bytes were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
    /// Of a line that says so: how many lines were left out before it, as the attempt had written more than it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// Of a terminal update: what the agent's process exited with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Of a terminal update: the signal that ended the agent's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Of a failure: why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub reason: Option<Cow<'a, str>>,
    /// Of a `stopping`: when SIGKILL follows, by the worker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Of a `retrying`: when the next attempt may begin, by the worker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// Of a `started` after the first: what became of the attempts before it. Of a `retrying` or a terminal update: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<Tally>,
    /// Of a `retrying` or a terminal update: the account of how the attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Box<Account>>,
    /// Of a line that said something new of the agent's work: all that was said by then, but for a result that was told
    /// before. Of a `retrying` or a terminal update: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<AgentReport>>,
}

impl<'a> ProgressRecord<'a> {
    /// An update with nothing but what each has.
    pub fn new(task_id: &'a TaskId, id: UpdateId, kind: Kind, at: Timestamp, update: impl Into<Cow<'a, str>>) -> Self {
        Self {
            task_id: task_id.as_str().into(),
            update: update.into(),
            attempt: Some(id.attempt),
            seq: (id.seq > 0).then_some(id.seq),
            kind: Some(kind),
            at: Some(at),
            stream: None,
            cut: None,
            left_out: None,
            exit_code: None,
            signal: None,
            reason: None,
            deadline: None,
            next_at: None,
            tally: None,
            ending: None,
            report: None,
        }
    }

    /// Reads a record without copying its text where that can be helped.
    pub fn read(value: &'a [u8]) -> Result<Self, Unreadable> {
        read(value)
    }

    /// Appends the record to `buffer`.
    pub fn write_to(&self, buffer: &mut Vec<u8>) {
        serde_json::to_writer(buffer, self).expect("a record has string keys, and memory takes every write");
    }

    /// The record as bytes.
    pub fn write(&self) -> Vec<u8> {
        write(self)
    }

    /// The same with how the agent's process ended.
    #[must_use]
    pub fn with_exit(mut self, status: Option<ExitStatus>) -> Self {
        match status {
            Some(ExitStatus::Code(code)) => self.exit_code = Some(code),
            Some(ExitStatus::Signal(number)) => self.signal = Some(number),
            None => {}
        }
        self
    }
}

/// A client's wish for a task: a record of `task-control`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRecord {
    /// Whose.
    pub task_id: TaskId,
    /// What.
    pub signal: ControlSignal,
    /// At once, without the grace: also where an earlier one has left it that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// When the API took it; absent from a foreign producer's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Who asked, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The wishes that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ControlSignal {
    /// End the task.
    Stop,
}

impl ControlRecord {
    /// Reads a record.
    pub fn read(value: &[u8]) -> Result<Self, Unreadable> {
        read(value)
    }

    /// The record as bytes.
    pub fn write(&self) -> Vec<u8> {
        write(self)
    }
}

/// A task that failed for good: a record of `tasks-dlq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Whose; absent where the task could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The task as it was submitted; absent where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRecord>,
    /// What could not be read, as text, cut to fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Why, in words.
    pub reason: String,
    /// How many attempts were begun.
    pub attempts: u32,
    /// Those attempts by what became of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<Tally>,
    /// The last lines of the last attempt.
    #[serde(default)]
    pub last_lines: Vec<String>,
    /// How attempts before that ended, as far as the last worker saw it: the last ten at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<AttemptEnd>,
    /// When.
    pub at: Timestamp,
}

impl DeadLetter {
    /// Reads a record.
    pub fn read(value: &[u8]) -> Result<Self, Unreadable> {
        read(value)
    }

    /// The record as bytes.
    pub fn write(&self) -> Vec<u8> {
        write(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_plans_own_records_are_read() {
        let task = TaskRecord::read(
            br#"{"task_id": "abc", "project": "default", "type": "seed-db", "params": {"reset": true}, "new": 1}"#,
        )
        .unwrap();
        assert_eq!((task.kind.as_str(), task.command, task.submitted_at), ("seed-db", None, None));
        let update = ProgressRecord::read(br#"{"task_id": "abc", "update": "Step 1 done"}"#).unwrap();
        assert_eq!((update.update.as_ref(), update.kind, update.seq), ("Step 1 done", None, None));
        let stop = ControlRecord::read(br#"{"task_id": "abc", "signal": "STOP"}"#).unwrap();
        assert_eq!((stop.signal, stop.by), (ControlSignal::Stop, None));
    }

    #[test]
    fn what_a_later_version_writes_is_read() {
        let update = ProgressRecord::read(br#"{"task_id":"a","update":"x","kind":"hologram","percent":4}"#).unwrap();
        assert_eq!(update.kind, Some(Kind::Other));
    }

    #[test]
    fn garbage_is_told_from_a_record() {
        for (garbage, says) in [
            (&b""[..], "the record is empty"),
            (b"\xff\xfe", "expected value at line 1 column 1"),
            (b"[]", "invalid length 0, expected struct TaskRecord with 16 elements at line 1 column 2"),
            (b"{}", "missing field `task_id` at line 1 column 2"),
            (
                br#"{"task_id": "../x"}"#,
                "must be 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or a digit at line 1 column 19",
            ),
        ] {
            assert_eq!(TaskRecord::read(garbage).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn an_update_is_written_without_what_it_does_not_have() {
        let id: TaskId = "abc".parse().unwrap();
        let update = ProgressRecord::new(
            &id,
            UpdateId { attempt: 1, seq: 2 },
            Kind::Line,
            Timestamp::from_millis(0),
            "hi\0\u{1b}[1m",
        );
        assert_eq!(
            String::from_utf8(update.write()).unwrap(),
            r#"{"task_id":"abc","update":"hi\u0000\u001b[1m","attempt":1,"seq":2,"kind":"line","at":"1970-01-01T00:00:00.000Z"}"#
        );
    }

    proptest! {
        #[test]
        fn any_line_comes_back_as_it_was(update in any::<String>(), seq in 1u64.., attempt in any::<u32>()) {
            let id: TaskId = "abc".parse().unwrap();
            let record = ProgressRecord::new(&id, UpdateId { attempt, seq }, Kind::Line, Timestamp::from_millis(1), update);
            let bytes = record.write();
            prop_assert_eq!(ProgressRecord::read(&bytes).unwrap(), record);
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in any::<Vec<u8>>()) {
            let _ = (TaskRecord::read(&bytes), ProgressRecord::read(&bytes), ControlRecord::read(&bytes), DeadLetter::read(&bytes));
        }
    }
}
