//! Baton's own shape of a report, for agents that are written for it or wrapped: a line `{"baton": {…}}`. Each member is taken for itself; what
//! is wrong with one never spoils another, and is said.

use super::amounts::{Cost, MAX_COST_USD, MAX_TOKENS, Progress, Tokens};
use super::{Said, one_line};
use serde_json::{Map, Value};

const MEMBERS: [&str; 5] = ["progress", "status", "cost_usd", "tokens", "result"];

/// What the object says. What is null is not said.
pub(super) fn read(report: Value) -> Said {
    let mut said = Said::default();
    let Value::Object(members) = report else {
        said.wrong.push("must be an object".into());
        return said;
    };
    for (name, value) in members.into_iter().filter(|(_, value)| !value.is_null()) {
        if let Err(wrong) = read_member(&mut said, &name, value) {
            said.wrong.push(wrong);
        }
    }
    said
}

fn read_member(said: &mut Said, name: &str, value: Value) -> Result<(), String> {
    match name {
        "progress" => {
            let progress = value.as_f64().and_then(Progress::of);
            said.progress = Some(progress.ok_or("progress must be a number from 0 to 1")?);
        }
        "status" => {
            said.status = Some(value.as_str().map(str::to_owned).ok_or("status must be a text")?);
        }
        "cost_usd" => {
            let cost = value.as_f64().and_then(Cost::of_usd);
            said.cost = Some(cost.ok_or_else(|| format!("cost_usd must be a number from 0 to {MAX_COST_USD}"))?);
        }
        "tokens" => {
            let tokens = value.as_object().and_then(read_tokens);
            said.tokens = Some(tokens.ok_or_else(|| {
                format!("tokens must be {{\"input\": N, \"output\": N}}, whole numbers from 0 to {MAX_TOKENS}")
            })?);
        }
        "result" => said.result = Some(value),
        _ => return Err(format!("{:?} is no member of it; there are: {}", one_line(name, 40), MEMBERS.join(", "))),
    }
    Ok(())
}

fn read_tokens(counts: &Map<String, Value>) -> Option<Tokens> {
    let known = counts.keys().all(|name| ["input", "output"].contains(&name.as_str()));
    let count = |name| match counts.get(name) {
        None | Some(Value::Null) => Some(0),
        Some(value) => value.as_u64(),
    };
    known.then_some(Tokens { input: count("input")?, output: count("output")? })
}
