//! What a task was asked, as far as the hub keeps it: everything while there is memory, and for as long as the task is known
//! enough to list it, and to tell a POST that was sent again from another with the same key.

use crate::record::{RedrivenFrom, Submission, TaskRecord};
use serde_json::{Map, Value};

/// What stays of a task's record.
#[derive(Debug)]
pub struct Asked {
    /// Whose config the agent gets.
    pub project: String,
    /// The task type.
    pub kind: String,
    /// The command of its type.
    pub command: Option<String>,
    /// As JSON: the values of hostile params take thirty times the memory of their text. `None` once they were let go.
    params: Option<Box<str>>,
    /// The dead letter that it was made of.
    pub redriven_from: Option<Box<RedrivenFrom>>,
    submission: Submission,
}

impl Asked {
    /// All that the record asks.
    pub fn new(record: TaskRecord) -> Self {
        let submission = record.submission();
        let params = serde_json::to_string(&record.params).expect("a map has string keys");
        let (project, kind, command) = (record.project, record.kind, record.command);
        let redriven_from = record.redriven_from.map(Box::new);
        Self { project, kind, command, params: Some(params.into()), redriven_from, submission }
    }

    /// Whether the record asks the same, whatever was let go.
    pub fn is_asked_by(&self, record: &TaskRecord) -> bool {
        self.submission == record.submission()
    }

    /// The params, unless they were let go.
    pub fn params(&self) -> Option<Map<String, Value>> {
        self.params.as_deref().map(|text| serde_json::from_str(text).expect("it was written from a map"))
    }

    /// Lets the params go.
    pub fn let_go_of_params(&mut self) {
        self.params = None;
    }

    /// The bytes that it holds beside its own size.
    pub fn weight(&self) -> usize {
        let command = self.command.as_deref().map_or(0, str::len);
        let from = self.redriven_from.as_deref();
        let from = from.map_or(0, |from| size_of_val(from) + from.task_id.as_str().len() + from.reason.len());
        self.project.len() + self.kind.len() + command + from + self.params.as_deref().map_or(0, str::len)
    }
}
