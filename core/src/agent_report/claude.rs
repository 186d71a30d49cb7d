//! Claude Code's `--output-format stream-json`: `assistant` lines with the text, the tools that it uses and the tokens of a message; and the `result`
//! with the cost, the tokens and the answer. Of everything else nothing is taken. See the CLI's reference and "Track cost and usage" of the Agent SDK.

use super::amounts::{Cost, Progress, Tokens};
use super::{Said, one_line};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// How many messages are remembered, so that each counts once: those of agents that work side by side mix, but not of more than so many.
const MESSAGES: usize = 64;
/// By which member of its input a tool's use is told; the first that is there.
const TELLING: [&str; 8] = ["description", "command", "file_path", "path", "pattern", "url", "query", "prompt"];

/// What its lines came to so far.
#[derive(Debug, Default)]
pub(super) struct Claude {
    /// Of all messages, or what the last result said.
    tokens: Tokens,
    /// One message is told in several lines, each with the message's id and the tokens of all of it, or of what there is so far.
    messages: VecDeque<(String, Tokens)>,
}

#[derive(Deserialize)]
struct Assistant {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    id: String,
    content: Vec<Content>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content {
    Text {
        text: String,
    },
    ToolUse {
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Other,
}

/// Of a message or of a result, and under other names of a model.
#[derive(Deserialize)]
struct Usage {
    #[serde(rename = "input_tokens", alias = "inputTokens")]
    input: Option<u64>,
    #[serde(rename = "cache_creation_input_tokens", alias = "cacheCreationInputTokens")]
    cache_written: Option<u64>,
    #[serde(rename = "cache_read_input_tokens", alias = "cacheReadInputTokens")]
    cache_read: Option<u64>,
    #[serde(rename = "output_tokens", alias = "outputTokens")]
    output: Option<u64>,
}

impl Usage {
    fn tokens(&self) -> Tokens {
        let input = [self.input, self.cache_written, self.cache_read].into_iter().flatten();
        Tokens { input: input.fold(0, u64::saturating_add), output: self.output.unwrap_or_default() }
    }
}

#[derive(Deserialize)]
struct Finished {
    is_error: bool,
    subtype: String,
    total_cost_usd: Option<f64>,
    usage: Option<Usage>,
    #[serde(default, rename = "modelUsage")]
    by_model: Option<BTreeMap<String, Usage>>,
    result: Option<Value>,
    structured_output: Option<Value>,
    #[serde(default)]
    errors: Vec<Value>,
}

impl Claude {
    /// What a line of type `assistant` says.
    pub fn assistant(&mut self, line: &str) -> Option<Said> {
        let Assistant { message } = serde_json::from_str(line).ok()?;
        let mut said = Said::default();
        if let Some(usage) = &message.usage {
            self.count(message.id, usage.tokens());
            said.tokens = Some(self.tokens);
        }
        for content in &message.content {
            match content {
                Content::Text { text } => said.status = Some(text.clone()),
                Content::ToolUse { name, input } if name == "TodoWrite" => {
                    let todos = input.get("todos").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                    let are =
                        |status| todos.iter().filter(move |todo| todo.get("status").is_some_and(|is| is == status));
                    let now = are("in_progress").find_map(|todo| todo.get("activeForm")?.as_str());
                    said.status = now.map(str::to_owned).or(said.status);
                    said.progress = Progress::of_count(are("completed").count(), todos.len()).or(said.progress);
                }
                Content::ToolUse { name, input } => said.status = Some(told_by(name, input)),
                Content::Other => {}
            }
        }
        Some(said)
    }

    /// What a line of type `result` says: in one process, all of it so far.
    pub fn result(&mut self, line: &str) -> Option<Said> {
        let finished: Finished = serde_json::from_str(line).ok()?;
        let by_model = finished.by_model.filter(|models| !models.is_empty());
        let all = by_model.map(|models| models.values().map(Usage::tokens).fold(Tokens::default(), Tokens::plus));
        if let Some(all) = all.or_else(|| finished.usage.as_ref().map(Usage::tokens)) {
            self.tokens = all;
            self.messages.clear();
        }
        let mut said =
            Said { cost: finished.total_cost_usd.and_then(Cost::of_usd), tokens: Some(self.tokens), ..Said::default() };
        let answer = finished.structured_output.filter(|value| !value.is_null()).or(finished.result);
        if finished.is_error || finished.subtype != "success" {
            let words = finished.errors.first().and_then(Value::as_str).or(answer.as_ref().and_then(Value::as_str));
            said.status = Some(words.unwrap_or(&finished.subtype).to_owned());
        } else {
            said.result = answer;
        }
        Some(said)
    }

    /// Counts a message's tokens once, however often they are told.
    fn count(&mut self, id: String, tokens: Tokens) {
        let known = self.messages.iter_mut().find(|(known, _)| *known == id && !id.is_empty());
        if let Some((_, counted)) = known {
            let all = counted.at_least(tokens);
            self.tokens = self.tokens.plus(all.less(*counted));
            *counted = all;
            return;
        }
        self.tokens = self.tokens.plus(tokens);
        if self.messages.len() == MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back((id, tokens));
    }
}

/// A tool's use in words: `Bash: npm test`.
fn told_by(name: &str, input: &Value) -> String {
    let telling = TELLING.iter().find_map(|member| input.get(member)?.as_str());
    let name = one_line(name, 60);
    telling.map_or(name.clone(), |telling| format!("{name}: {telling}"))
}
