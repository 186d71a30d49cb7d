//! What a task was asked, as far as the hub keeps it: everything while there is memory, and for as long as the task is known
//! enough to list it, and to tell a POST that was sent again from another with the same key.

use crate::record::{RedrivenFrom, Submission, TaskRecord};
use crate::types::TaskTypes;
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
    /// What stays of the params: the line by which people know the task in a list.
    pub summary: Option<Box<str>>,
    submission: Submission,
}

impl Asked {
    /// All that the record asks, but for what these types hold to be secret of it.
    pub fn new(mut record: TaskRecord, types: &TaskTypes) -> Self {
        let submission = record.submission();
        types.hide_secrets(&record.kind, record.command.as_deref(), &mut record.params);
        let params = serde_json::to_string(&record.params).expect("a map has string keys");
        let summary = summary_of(&record.params);
        let (project, kind, command) = (record.project, record.kind, record.command);
        let redriven_from = record.redriven_from.map(Box::new);
        Self { project, kind, command, params: Some(params.into()), summary, redriven_from, submission }
    }

    /// The texts by which it is found.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let own = [self.project.as_str(), &self.kind].into_iter();
        own.chain(self.command.as_deref()).chain(self.params.as_deref().or(self.summary.as_deref()))
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
        let texts =
            [self.params.as_deref(), self.summary.as_deref()].into_iter().flatten().map(str::len).sum::<usize>();
        let from = self.redriven_from.as_deref();
        let from = from.map_or(0, |from| size_of_val(from) + from.task_id.as_str().len() + from.reason.len());
        self.project.len() + self.kind.len() + command + from + texts
    }
}

/// The longest summary, in characters: a line in a list.
const MAX_SUMMARY: usize = 200;

/// The longest text among the params, as that is what someone has written; else all of them by name.
fn summary_of(params: &Map<String, Value>) -> Option<Box<str>> {
    let words = params.values().filter_map(Value::as_str).filter(|text| !text.trim().is_empty());
    let text = if let Some(words) = words.max_by_key(|text| text.len()) {
        words.chars().take(4 * MAX_SUMMARY).collect()
    } else {
        let simple = params.iter().filter(|(_, value)| !value.is_null() && !value.is_object() && !value.is_array());
        simple.take(20).map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", ")
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = line.char_indices().nth(MAX_SUMMARY).map(|(end, _)| format!("{}…", &line[..end]));
    Some(cut.unwrap_or(line)).filter(|line| !line.is_empty()).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_what_someone_wrote() {
        for (params, summary) in [
            (r#"{"input": "Analyze\n  all", "mode": "x", "n": 3}"#, Some("Analyze all")),
            (r#"{"reset": true, "n": 3, "not": null, "deep": {"a": "b"}}"#, Some("reset: true, n: 3")),
            (r#"{"input": "  "}"#, Some("input: \" \"")),
            ("{}", None),
        ] {
            let params = serde_json::from_str(params).unwrap();
            assert_eq!(summary_of(&params).as_deref(), summary, "{params:?}");
        }
        let long = serde_json::from_str(&format!(r#"{{"input": "{}"}}"#, "é".repeat(5000))).unwrap();
        assert_eq!(summary_of(&long).unwrap().chars().count(), MAX_SUMMARY + 1);
    }
}
