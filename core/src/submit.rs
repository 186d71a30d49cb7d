//! What a POST becomes: a task record, or the reasons why not.

use crate::agent_report::{Cost, MAX_COST_USD};
use crate::id::{ProjectName, TaskId};
use crate::json::read_strictly;
use crate::policy::{MAX_ATTEMPTS, MAX_GRACE, MAX_TIMEOUT};
use crate::problem::{FieldError, Problem};
use crate::record::TaskRecord;
use crate::time::Timestamp;
use crate::types::TaskTypes;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The longest `Idempotency-Key`, in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

const FIELDS: [&str; 11] = [
    "project",
    "type",
    "command",
    "params",
    "timeout_s",
    "queue_timeout_s",
    "silence_timeout_s",
    "total_timeout_s",
    "grace_s",
    "max_attempts",
    "max_cost_usd",
];

/// Reads a submitted body. `random` names the task if no key does.
pub fn read_submission(
    body: &[u8],
    key: Option<&str>,
    types: &TaskTypes,
    random: [u8; 16],
    at: Timestamp,
) -> Result<TaskRecord, Problem> {
    let task_id = match key {
        Some(key) => keyed_id(key)?,
        None => TaskId::from_random(random),
    };
    let value = read_strictly(body).map_err(|e| Problem::not_json(e.to_string()))?;
    let Value::Object(mut fields) = value else {
        return Err(Problem::invalid_field(
            "body",
            "must be an object: {\"project\", \"type\", \"command\"?, \"params\"}",
        ));
    };
    let mut read = Fields { fields: &mut fields, errors: Vec::new() };
    let record = TaskRecord {
        task_id,
        project: read.project(),
        kind: read.text("type").unwrap_or_default(),
        command: read.optional_text("command"),
        params: read.params(),
        submitted_at: Some(at),
        timeout_s: read.seconds("timeout_s", MAX_TIMEOUT),
        queue_timeout_s: read.seconds("queue_timeout_s", MAX_TIMEOUT),
        silence_timeout_s: read.seconds("silence_timeout_s", MAX_TIMEOUT),
        total_timeout_s: read.seconds("total_timeout_s", MAX_TIMEOUT),
        grace_s: read.seconds("grace_s", MAX_GRACE),
        max_attempts: read.whole("max_attempts", MAX_ATTEMPTS.into()).and_then(|n| u32::try_from(n).ok()),
        max_cost_usd: read.cost("max_cost_usd"),
        idempotency_key: key.map(str::to_owned),
        traceparent: None,
        redriven_from: None,
    };
    let mut errors = read.errors;
    for name in fields.keys() {
        errors.push(FieldError::new(name, format!("is not a field of a task; there are: {}", FIELDS.join(", "))));
    }
    if !errors.iter().any(|e| ["type", "command", "params"].contains(&e.field.as_str())) {
        errors.extend(types.check(&record).err().into_iter().flatten());
    }
    if errors.is_empty() { Ok(record) } else { Err(Problem::invalid(errors)) }
}

/// The id that a key stands for, the same on every replica.
fn keyed_id(key: &str) -> Result<TaskId, Problem> {
    if key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY || !key.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Err(Problem::bad_request(format!(
            "Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters"
        )));
    }
    let hash = Sha256::digest([b"baton idempotency key\0", key.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Ok(TaskId::from_random(bytes))
}

/// Takes known fields out of an object, and notes what is wrong with them.
struct Fields<'a> {
    fields: &'a mut Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields<'_> {
    /// The field, unless it is absent or null.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.shift_remove(name).filter(|value| !value.is_null())
    }

    fn wrong<T>(&mut self, name: &str, reason: impl Into<String>) -> Option<T> {
        self.errors.push(FieldError::new(name, reason));
        None
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            None => self.wrong(name, "is missing"),
            Some(Value::String(text)) => Some(text),
            Some(_) => self.wrong(name, "must be a string"),
        }
    }

    fn optional_text(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            None => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => self.wrong(name, "must be a string"),
        }
    }

    fn project(&mut self) -> String {
        let project = self.text("project").unwrap_or_default();
        let said = self.errors.iter().any(|e| e.field == "project");
        if let (false, Err(bad)) = (said, project.parse::<ProjectName>()) {
            self.errors.push(FieldError::new("project", bad.to_string()));
        }
        project
    }

    fn params(&mut self) -> Map<String, Value> {
        match self.take("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => self.wrong("params", "must be an object").unwrap_or_default(),
        }
    }

    fn seconds(&mut self, name: &str, most: Duration) -> Option<u64> {
        self.whole(name, most.as_secs())
    }

    fn cost(&mut self, name: &str) -> Option<Cost> {
        let value = self.take(name)?;
        match value.as_f64().filter(|dollars| *dollars <= MAX_COST_USD.into()).and_then(Cost::of_usd) {
            Some(cost) if cost > Cost::default() => Some(cost),
            _ => self.wrong(name, format!("must be a number of US dollars, more than 0 and at most {MAX_COST_USD}")),
        }
    }

    fn whole(&mut self, name: &str, most: u64) -> Option<u64> {
        let value = self.take(name)?;
        match value.as_u64() {
            Some(n) if (1..=most).contains(&n) => Some(n),
            _ => self.wrong(name, format!("must be a whole number from 1 to {most}")),
        }
    }
}
