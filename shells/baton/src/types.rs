//! `baton types`: tables of task types, checked and shown. It knows no server.

use crate::cli::{TypesAction, TypesCommand};
use crate::client::screen;
use crate::report::Failure;
use crate::working::read_types;
use baton_core::types::{Param, Shape, TaskType, TaskTypes};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Checks a table, or shows one.
pub fn run(options: TypesCommand) -> Result<ExitCode, Failure> {
    match options.action {
        TypesAction::Check(check) => {
            let types = read_types(Some(&check.file))?;
            let names: Vec<&str> = types.iter().map(|(name, _)| name).collect();
            screen::say(&format!(
                "{} is a good table; with those of the box: {}",
                check.file.display(),
                names.join(", ")
            ))?;
        }
        TypesAction::Show(show) => {
            let types = read_types(show.types.types.as_deref())?;
            screen::say(&if show.json { json!(types).to_string() } else { table(&types) })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(types: &TaskTypes) -> String {
    let shown: Vec<String> = types.iter().map(|(name, kind)| shown(name, kind)).collect();
    shown.join("\n\n")
}

fn shown(name: &str, kind: &TaskType) -> String {
    let mut text = titled(name, &kind.description);
    if let Some(agent) = &kind.agent {
        let _ = write!(text, "\n  runs     {}", shell_words::join(agent));
    }
    for (what, value) in [("process", json!(kind.process)), ("limits", json!(kind.limits))] {
        if let Some(settings) = value.as_object().filter(|settings| !settings.is_empty()) {
            let settings: Vec<String> =
                settings.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
            let _ = write!(text, "\n  {what:8} {}", settings.join(", "));
        }
    }
    if let Some(cost) = kind.max_cost_usd {
        let _ = write!(text, "\n  costs    {cost} at most");
    }
    for (what, most) in [("", kind.max_running), (" of a project", kind.max_running_per_project)] {
        let _ = most.map(|most| write!(text, "\n  at once  {most}{what} at most, on each worker"));
    }
    params(&mut text, &kind.params);
    for (command, of) in &kind.commands {
        let _ = write!(text, "\n{}", titled(&format!("{name} {command}"), &of.description));
        params(&mut text, &of.params);
    }
    text
}

fn titled(name: &str, description: &str) -> String {
    if description.is_empty() { name.to_owned() } else { format!("{name}: {description}") }
}

fn params(text: &mut String, params: &[Param]) {
    let width = params.iter().map(|param| param.name.len()).max().unwrap_or_default();
    for param in params {
        let shape = match param.shape {
            Shape::Flag => "flag",
            Shape::Option => "option",
            Shape::Positional => "positional",
            Shape::File => "file",
            Shape::Stdin => "stdin",
        };
        let _ = write!(text, "\n  {:width$}  {shape}", param.name);
        if param.shape != Shape::Flag {
            let _ = write!(text, ", {}", plain(&json!(param.value)));
        }
        let marks = [(param.repeated, "repeated"), (param.required, "required"), (param.secret, "secret")];
        for (_, mark) in marks.into_iter().filter(|(is_so, _)| *is_so) {
            let _ = write!(text, ", {mark}");
        }
        if let Some(value) = &param.default {
            let _ = write!(text, ", {value} unless said");
        }
        if let Some(values) = &param.one_of {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            let _ = write!(text, ", one of {}", values.join(" "));
        }
        for (word, bound) in [("at least", param.minimum), ("at most", param.maximum)] {
            let _ = bound.map(|bound| write!(text, ", {word} {bound}"));
        }
        if let Some(pattern) = &param.pattern {
            let _ = write!(text, ", matches {pattern}");
        }
        if !param.description.is_empty() {
            let _ = write!(text, ". {}", param.description);
        }
    }
}

/// Without quotes around texts.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
