//! Codex's `exec --json`: a thread of turns, and items that begin, change and end. The tokens of `turn.completed` are those of the thread so far; what
//! it cost is not told. See `exec_events.rs` in its source.

use super::amounts::{Progress, Tokens};
use super::{Said, one_line};
use serde::Deserialize;
use serde_json::Value;

/// What its lines came to so far.
#[derive(Debug, Default)]
pub(super) struct Codex {
    /// A thread has begun: from then on an `error` is Codex's.
    begun: bool,
    /// What it said last.
    answer: Option<String>,
}

#[derive(Deserialize)]
struct OfItem {
    item: Item,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item {
    AgentMessage {
        text: String,
    },
    Reasoning {
        text: String,
    },
    CommandExecution {
        command: String,
    },
    FileChange {
        changes: Vec<Change>,
    },
    McpToolCall {
        server: String,
        tool: String,
    },
    WebSearch {
        query: String,
    },
    TodoList {
        items: Vec<Todo>,
    },
    Error {
        message: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Change {
    path: String,
}

#[derive(Deserialize)]
struct Todo {
    completed: bool,
}

#[derive(Deserialize)]
struct Completed {
    usage: Usage,
}

#[derive(Deserialize)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
}

#[derive(Deserialize)]
struct Failed {
    error: Words,
}

#[derive(Deserialize)]
struct Words {
    message: String,
}

impl Codex {
    /// What a line of this type says.
    pub fn read(&mut self, kind: &str, line: &str) -> Option<Said> {
        match kind {
            "thread.started" => {
                self.begun = true;
                None
            }
            "item.started" | "item.updated" | "item.completed" => {
                let OfItem { item } = serde_json::from_str(line).ok()?;
                Some(self.item(item))
            }
            "turn.completed" => {
                let Completed { usage } = serde_json::from_str(line).ok()?;
                let tokens = Some(Tokens { input: usage.input_tokens, output: usage.output_tokens });
                Some(Said { tokens, result: self.answer.take().map(Value::String), ..Said::default() })
            }
            "turn.failed" => {
                let Failed { error } = serde_json::from_str(line).ok()?;
                Some(Said { status: Some(error.message), ..Said::default() })
            }
            "error" if self.begun => {
                let Words { message } = serde_json::from_str(line).ok()?;
                Some(Said { status: Some(message), ..Said::default() })
            }
            _ => None,
        }
    }

    fn item(&mut self, item: Item) -> Said {
        let mut said = Said::default();
        said.status = match item {
            Item::AgentMessage { text } => {
                self.answer = Some(text.clone());
                Some(text)
            }
            Item::Reasoning { text } | Item::Error { message: text } => Some(text),
            Item::CommandExecution { command } => Some(format!("command: {command}")),
            Item::FileChange { changes } => changes.first().map(|change| format!("file change: {}", change.path)),
            Item::McpToolCall { server, tool } => Some(format!("{}: {}", one_line(&server, 60), one_line(&tool, 60))),
            Item::WebSearch { query } => Some(format!("web search: {query}")),
            Item::TodoList { items } => {
                said.progress = Progress::of_count(items.iter().filter(|todo| todo.completed).count(), items.len());
                None
            }
            Item::Other => None,
        };
        said
    }
}
