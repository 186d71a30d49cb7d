//! What agents say of their work in lines that are JSON: how far they are, what they do, what it cost, what came of it. Each shape that is known
//! has a parser; what they read is merged here. A line is read after secrets were taken out of it, and never changed; nothing that an
//! agent says can fail its task, but for a cost beyond its budget, which is judged elsewhere.

mod amounts;
mod baton;
mod claude;
mod codex;

pub use amounts::{Cost, MAX_COST_USD, MAX_TOKENS, Progress, Tokens};

use crate::redact::Secrets;
use claude::Claude;
use codex::Codex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;

/// The longest status, in characters: a line in a list.
pub const MAX_STATUS: usize = 200;
/// The longest result, in bytes of its JSON: what a whole line has room for unless lines are longer than usual. It stays in the
/// API's memory for as long as there is room.
pub const MAX_RESULT: usize = 64 * 1024;
/// How much of what is wrong with a line is said.
const COMPLAINTS: usize = 3;

/// What an agent has said of its work, as it stands in records, frames and answers. What nobody said is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentReport {
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What it does, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What all attempts cost, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Cost>,
    /// The tokens of all attempts, as far as they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
}

impl AgentReport {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What stays of it when a new attempt begins.
    #[must_use]
    pub fn anew(self) -> Self {
        Self { cost_usd: self.cost_usd, tokens: self.tokens, ..Self::default() }
    }

    /// All but its result.
    #[must_use]
    pub fn without_result(&self) -> Self {
        let Self { progress, cost_usd, tokens, .. } = *self;
        Self { progress, status: self.status.clone(), cost_usd, tokens, result: None }
    }

    /// What was spent.
    pub const fn spent(&self) -> Spent {
        Spent { cost: self.cost_usd, tokens: self.tokens }
    }

    /// The bytes that it holds beside its own size.
    pub fn weight(&self) -> usize {
        self.status.as_deref().map_or(0, str::len) + self.result.as_ref().map_or(0, |result| result.0.len())
    }
}

/// What the attempts at a task spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Money, if that was said.
    pub cost: Option<Cost>,
    /// Tokens, if they were.
    pub tokens: Option<Tokens>,
}

impl Spent {
    /// What is said of a task's work if this is all that is known; nothing if nothing is.
    pub fn report(self) -> Option<Box<AgentReport>> {
        let report = AgentReport { cost_usd: self.cost, tokens: self.tokens, ..AgentReport::default() };
        (!report.is_empty()).then(|| Box::new(report))
    }
}

/// A JSON value, as its text: values of hostile JSON take thirty times the memory of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// The value.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).expect("it was written from a value")
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Value::deserialize(deserializer)?.to_string().into()))
    }
}

/// What one line says. Cost and tokens are those of the attempt so far.
#[derive(Debug, Default)]
struct Said {
    progress: Option<Progress>,
    status: Option<String>,
    cost: Option<Cost>,
    tokens: Option<Tokens>,
    result: Option<Value>,
    /// What could not be taken, and why.
    wrong: Vec<String>,
}

/// Reads the lines of one attempt.
#[derive(Debug, Default)]
pub struct Listener {
    claude: Claude,
    codex: Codex,
    secrets: Secrets,
    /// What the attempts before it spent.
    before: Spent,
    /// What this attempt spent.
    own: Spent,
    report: AgentReport,
    /// It says something else than when it was last told.
    changed: bool,
    /// Its result was told.
    result_told: bool,
    /// What was wrong was said: once is enough.
    complained: bool,
}

/// Enough of a line to know its shape.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    baton: Option<Value>,
}

impl Listener {
    /// For an attempt after others that spent so much.
    pub fn new(before: Spent) -> Self {
        let report = before.report().map(|report| *report).unwrap_or_default();
        Self { before, report, ..Self::default() }
    }

    /// These are taken out of what is read: in a line that spells a letter by its number they are not to be seen.
    pub fn redact(&mut self, secrets: Secrets) {
        self.secrets = secrets;
    }

    /// Reads a line. Gives a sentence for the task's log if it says something wrong, and it is the first to do so.
    pub fn hear(&mut self, line: &str) -> Option<String> {
        if !line.starts_with('{') {
            return None;
        }
        let head: Head<'_> = serde_json::from_str(line).ok()?;
        let said = match (head.baton, head.kind.as_deref().unwrap_or_default()) {
            (Some(report), _) => Some(baton::read(report)),
            (None, "assistant") => self.claude.assistant(line),
            (None, "result") => self.claude.result(line),
            (None, kind) => self.codex.read(kind, line),
        };
        self.take(said?)
    }

    /// What is to be told with the next update, if it says anything new. A result is told once.
    pub fn news(&mut self) -> Option<Box<AgentReport>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let is_told = std::mem::replace(&mut self.result_told, true);
        let result = self.report.result.as_ref().filter(|_| !is_told).cloned();
        Some(Box::new(AgentReport { result, ..self.report.without_result() }))
    }

    /// All that was said.
    pub const fn report(&self) -> &AgentReport {
        &self.report
    }

    fn take(&mut self, said: Said) -> Option<String> {
        let Said { progress, status, cost, tokens, result, mut wrong } = said;
        let report = &mut self.report;
        let mut changed = replace(&mut report.progress, progress);
        let status = status.map(|text| one_line(&self.secrets.taken_out_of(&text), MAX_STATUS));
        changed |= replace(&mut report.status, status.filter(|status| !status.is_empty()));
        if cost.is_some() {
            // What was spent does not come back, whatever is said later.
            self.own.cost = self.own.cost.max(cost);
            let all = self.own.cost.map(|own| own.plus(self.before.cost.unwrap_or_default()));
            changed |= replace(&mut report.cost_usd, all);
        }
        if let Some(tokens) = tokens {
            let own = self.own.tokens.unwrap_or_default().at_least(tokens);
            self.own.tokens = Some(own);
            changed |= replace(&mut report.tokens, Some(own.plus(self.before.tokens.unwrap_or_default())));
        }
        match result.map(|result| bounded(&result, &self.secrets)) {
            Some(Ok(result)) => {
                let is_new = replace(&mut report.result, Some(result));
                changed |= is_new;
                self.result_told &= !is_new;
            }
            Some(Err(why)) => wrong.push(why),
            None => {}
        }
        self.changed |= changed;
        if wrong.is_empty() || std::mem::replace(&mut self.complained, true) {
            return None;
        }
        wrong.truncate(COMPLAINTS);
        let wrong = self.secrets.taken_out_of(&wrong.join("; ")).into_owned();
        Some(format!("[not taken of the agent's report: {wrong}; no more is said of this]"))
    }
}

/// Puts a value that was said in its place, and says whether it is another.
fn replace<T: PartialEq>(place: &mut Option<T>, said: Option<T>) -> bool {
    let is_new = said.is_some() && *place != said;
    if is_new {
        *place = said;
    }
    is_new
}

/// The result as it is kept, or why it is not.
fn bounded(result: &Value, secrets: &Secrets) -> Result<Json, String> {
    let text = result.to_string();
    let shown = secrets.taken_out_of(&text);
    if shown.len() > MAX_RESULT {
        return Err(format!("result has {} bytes, and may have {MAX_RESULT}", shown.len()));
    }
    if shown != text.as_str() && serde_json::from_str::<Value>(&shown).is_err() {
        return Err("result is no JSON once secrets are taken out of it".into());
    }
    Ok(Json(shown.into_owned().into()))
}

/// The text in one line of at most so many characters.
fn one_line(text: &str, most: usize) -> String {
    let mut chars = text.split_whitespace().flat_map(|word| std::iter::once(' ').chain(word.chars())).skip(1);
    let mut line: String = chars.by_ref().take(most).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}
