//! Task types: the table that says which parameters a command takes and how each becomes arguments.
//!
//! Types are data. A value never becomes an option: that is this file's one promise, whatever the value.

use crate::agent_report::Cost;
use crate::launch::Launch;
use crate::limits::Limits;
use crate::output::OutputSettings;
use crate::place::place_of;
use crate::policy::{self, Exits, Policy, Retries, Timeouts};
use crate::problem::FieldError;
use crate::process::ArgumentFile;
use crate::record::TaskRecord;
use crate::redact::REDACTED;
use crate::schema::{Pattern, Rules};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The longest single argument that Linux takes, its closing NUL not counted (`MAX_ARG_STRLEN`).
pub const MAX_ARGUMENT: usize = 131_071;

/// All task types that are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskTypes {
    types: BTreeMap<String, TaskType>,
}

/// One task type: one command, or several by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskType {
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The program and its first arguments, instead of the worker's own agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Vec<String>>,
    /// Its name is no argument: its program has no subcommand of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
    /// The parameters of a type without commands.
    #[serde(default)]
    pub params: Vec<Param>,
    /// The commands of a type that has some.
    #[serde(default)]
    pub commands: BTreeMap<String, Command>,
    /// Where, as whom and with what its processes are started.
    #[serde(default, skip_serializing_if = "Launch::is_default")]
    pub process: Launch,
    /// What its processes may take.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
    /// What becomes of its output.
    #[serde(default, skip_serializing_if = "OutputSettings::is_default")]
    pub output: OutputSettings,
    /// What a task may cost, all attempts together, as far as its agent tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<Cost>,
    /// How many of its tasks run at a time on a worker; the others wait, and hold nothing up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
    /// The same for those of one project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running_per_project: Option<u32>,
    /// How long its tasks may take.
    #[serde(default, skip_serializing_if = "Timeouts::is_default")]
    pub timeouts: Timeouts,
    /// How often they are attempted.
    #[serde(default, skip_serializing_if = "Retries::is_default")]
    pub retries: Retries,
    /// What the ends of their processes mean.
    #[serde(default, skip_serializing_if = "Exits::is_default")]
    pub exits: Exits,
}

/// What a task's process is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, then its arguments.
    pub argv: Vec<String>,
    /// What it reads on standard input.
    pub stdin: Option<String>,
    /// The files whose paths are among its arguments.
    pub files: Vec<ArgumentFile>,
}

/// One command of a task type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// Its parameters; arguments are built in this order.
    #[serde(default)]
    pub params: Vec<Param>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Its name in `params`. As an option it is written `--name`, with `-` for `_`.
    pub name: String,
    /// How it becomes arguments.
    #[serde(rename = "as")]
    pub shape: Shape,
    /// What values it takes. A flag takes booleans.
    #[serde(rename = "type", default)]
    pub value: ValueType,
    /// Whether a task must have it.
    #[serde(default)]
    pub required: bool,
    /// What it is where a task does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// It takes a list, and each value of it becomes an argument.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
    /// The only values that it takes.
    #[serde(rename = "enum", default, skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Value>>,
    /// The least number that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The greatest number that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// What its text must have somewhere in it; `^` and `$` bind it to the ends. Its classes are those of ASCII.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Its value is taken out of what the agent prints.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    /// A value that it takes, to show to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Value>,
}

/// How a parameter becomes arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// `--name` if true, nothing if false.
    Flag,
    /// `--name value`.
    Option,
    /// `value`.
    Positional,
    /// `--name PATH`: the agent reads it from a file.
    File,
    /// No argument: the agent reads it on its standard input.
    Stdin,
}

/// What values a parameter takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// Text without NUL.
    #[default]
    String,
    /// A whole number of 64 bits.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl Default for TaskTypes {
    /// The three types of the box.
    fn default() -> Self {
        Self::from_toml(include_str!("types.toml")).expect("the table of the box is checked by a test")
    }
}

impl TaskTypes {
    /// Reads a table. The error says where, by line and column, or by the path of what is wrong.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let table: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        for (name, kind) in &table.types {
            kind.check(&format!("types.{name}")).map_err(|wrong| with_place(text, wrong))?;
        }
        Ok(table)
    }

    /// This table, and `other`'s types in place of those of the same name.
    #[must_use]
    pub fn extended_by(mut self, other: Self) -> Self {
        self.types.extend(other.types);
        self
    }

    /// The types by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TaskType)> {
        self.types.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// The type of this name.
    pub fn get(&self, name: &str) -> Option<&TaskType> {
        self.types.get(name)
    }

    /// What holds for a task: its own word, else its type's, else `defaults`.
    pub fn policy(&self, defaults: Policy, task: &TaskRecord) -> Policy {
        let of_type = match self.types.get(&task.kind) {
            Some(kind) => defaults.of_type(&kind.timeouts, &kind.retries, &kind.exits, kind.max_cost_usd),
            None => defaults,
        };
        of_type.of_task(task)
    }

    /// What is wrong with the task, field by field.
    pub fn check(&self, task: &TaskRecord) -> Result<(), Vec<FieldError>> {
        self.argv(&[], task).map(drop)
    }

    /// The values of a task's parameters that are declared secret.
    pub fn secrets(&self, task: &TaskRecord) -> Vec<String> {
        let params = self.get(&task.kind).and_then(|kind| kind.params_of(task.command.as_deref()).ok());
        let secret = params.into_iter().flatten().filter(|param| param.secret);
        let values = secret.filter_map(|param| task.params.get(&param.name).or(param.default.as_ref()));
        let texts = values.flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice));
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Puts `***` in the place of what is secret of such a task's parameters.
    pub fn hide_secrets(&self, kind: &str, command: Option<&str>, given: &mut Map<String, Value>) {
        let params = self.get(kind).and_then(|kind| kind.params_of(command).ok());
        for param in params.into_iter().flatten().filter(|param| param.secret) {
            if let Some(value) = given.get_mut(&param.name).filter(|value| !value.is_null()) {
                *value = REDACTED.into();
            }
        }
    }

    /// The arguments of [`Self::command_line`]; of a file its name.
    pub fn argv(&self, agent: &[String], task: &TaskRecord) -> Result<Vec<String>, Vec<FieldError>> {
        self.command_line(agent, task).map(|line| line.argv)
    }

    /// The command line of a task: the agent's own words, the type, the command, then what its parameters make.
    ///
    /// Positionals come first. If one of them begins with `-`, all of them come last, after `--`; an option's value that
    /// begins with `-` is joined to its name by `=`.
    pub fn command_line(&self, agent: &[String], task: &TaskRecord) -> Result<CommandLine, Vec<FieldError>> {
        let kind = self.types.get(&task.kind).ok_or_else(|| {
            vec![FieldError::new("type", format!("is not a task type; there are: {}", list(self.types.keys())))]
        })?;
        let params = kind.params_of(task.command.as_deref()).map_err(|e| vec![e])?;
        let values = Values::check(params, &task.params)?;

        let argv = kind.agent.as_deref().unwrap_or(agent).to_vec();
        let mut line = CommandLine { argv, ..CommandLine::default() };
        line.argv.extend((!kind.bare).then(|| task.kind.clone()));
        line.argv.extend(task.command.clone());
        values.append_to(&mut line);
        Ok(line)
    }
}

impl TaskType {
    fn check(&self, path: &str) -> Result<(), String> {
        if !self.params.is_empty() && !self.commands.is_empty() {
            return Err(format!("{path}: has both params and commands; give each command its params"));
        }
        if self.agent.as_ref().is_some_and(Vec::is_empty) {
            return Err(format!("{path}.agent: must name a program"));
        }
        if self.max_cost_usd.is_some_and(|cost| cost == Cost::default()) {
            return Err(format!("{path}.max_cost_usd: must be more than nothing"));
        }
        for (name, most) in
            [("max_running", self.max_running), ("max_running_per_project", self.max_running_per_project)]
        {
            if most == Some(0) {
                return Err(format!("{path}.{name}: must be at least 1, or none would ever run"));
            }
        }
        check_name(path, path.trim_start_matches("types."))?;
        check_params(&self.params, path)?;
        self.process.check(&format!("{path}.process"))?;
        self.limits.check(&format!("{path}.limits"))?;
        self.output.check(&format!("{path}.output"))?;
        policy::check(path, &self.timeouts, &self.retries, &self.exits)?;
        for (name, command) in &self.commands {
            let path = format!("{path}.commands.{name}");
            check_name(&path, name)?;
            check_params(&command.params, &path)?;
        }
        Ok(())
    }

    fn params_of(&self, command: Option<&str>) -> Result<&[Param], FieldError> {
        let some =
            |what: &str| FieldError::new("command", format!("{what}; there are: {}", list(self.commands.keys())));
        match (command, self.commands.is_empty()) {
            (None, true) => Ok(&self.params),
            (None, false) => Err(some("is missing")),
            (Some(_), true) => Err(FieldError::new("command", "must be left out: this type has no commands")),
            (Some(name), false) => self
                .commands
                .get(name)
                .map(|c| c.params.as_slice())
                .ok_or_else(|| some("is not a command of this type")),
        }
    }
}

/// Types, commands and parameters become arguments: none may look like an option.
fn check_name(path: &str, name: &str) -> Result<(), String> {
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good {
        Ok(())
    } else {
        Err(format!("{path}: {name:?} must be letters, digits, . _ -, and begin with a letter or a digit"))
    }
}

fn check_params(params: &[Param], path: &str) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for (index, param) in params.iter().enumerate() {
        let path = format!("{path}.params[{index}]");
        check_name(&path, &param.name)?;
        if let Some(first) = seen.insert(param.option(), index) {
            return Err(format!("{path}: {:?} makes the same option as params[{first}]", param.name));
        }
        if param.shape == Shape::Flag && !matches!(param.value, ValueType::String | ValueType::Boolean) {
            return Err(format!("{path}: a flag takes no {:?}", param.value));
        }
        param.check(&path)?;
        let others = |shape| params[..index].iter().filter(move |other| other.shape == shape);
        if param.shape == Shape::Stdin && others(Shape::Stdin).next().is_some() {
            return Err(format!("{path}: there is one standard input, and another param has it"));
        }
        if param.shape == Shape::Positional && others(Shape::Positional).any(|other| other.repeated) {
            return Err(format!("{path}: a positional can't come after one that is repeated"));
        }
        let gap = index > 0
            && param.shape == Shape::Positional
            && param.required
            && params[..index].iter().any(|p| p.shape == Shape::Positional && !p.required);
        if gap {
            return Err(format!("{path}: a required positional can't come after an optional one"));
        }
    }
    Ok(())
}

/// Says where in the file it stands, what is wrong with what its path names.
fn with_place(text: &str, wrong: String) -> String {
    let path = wrong.split(": ").next().unwrap_or_default();
    match place_of(text, path) {
        Some((line, column)) => format!("line {line}, column {column}: {wrong}"),
        None => wrong,
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl Param {
    fn option(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    fn rules(&self) -> Rules<'_> {
        let Self { one_of, minimum, maximum, pattern, .. } = self;
        Rules { one_of: one_of.as_deref(), minimum: *minimum, maximum: *maximum, pattern: pattern.as_ref() }
    }

    /// What is wrong with the parameter itself, with its path.
    fn check(&self, path: &str) -> Result<(), String> {
        let value = if self.shape == Shape::Flag { ValueType::Boolean } else { self.value };
        self.rules().check(value).map_err(|(rule, why)| format!("{path}.{rule}: {why}"))?;
        if self.repeated && !matches!(self.shape, Shape::Option | Shape::Positional) {
            return Err(format!("{path}.repeated: is for options and positionals"));
        }
        if self.required && self.default.is_some() {
            return Err(format!("{path}.default: is never used, as the param is required"));
        }
        let given = [("example", &self.example), ("default", &self.default)];
        for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            self.read_all(value).map_err(|why| format!("{path}.{name}: {why}"))?;
        }
        for value in self.one_of.iter().flatten() {
            self.read(value).map_err(|why| format!("{path}.enum: {value} {why}"))?;
        }
        Ok(())
    }

    /// The value as arguments: none for a flag that is off, several where it is repeated.
    fn read_all(&self, value: &Value) -> Result<Vec<String>, String> {
        if !self.repeated {
            return self.read(value).map(|text| text.into_iter().collect());
        }
        let Value::Array(values) = value else { return Err("must be a list".into()) };
        let each = values
            .iter()
            .enumerate()
            .map(|(at, value)| self.read(value).map_err(|why| format!("has a value, number {}, that {why}", at + 1)));
        each.filter_map(Result::transpose).collect()
    }

    /// The value as an argument; `None` for a flag that is off.
    fn read(&self, value: &Value) -> Result<Option<String>, String> {
        let wanted = if self.shape == Shape::Flag { ValueType::Boolean } else { self.value };
        let text = match (wanted, value) {
            (ValueType::String, Value::String(text)) => text.clone(),
            (ValueType::Integer, Value::Number(n)) if n.is_i64() || n.is_u64() => n.to_string(),
            (ValueType::Number, Value::Number(n)) => n.to_string(),
            (ValueType::Boolean, Value::Bool(on)) => {
                if self.shape == Shape::Flag && !on {
                    return Ok(None);
                }
                on.to_string()
            }
            (ValueType::String, _) => return Err("must be a string".into()),
            (ValueType::Integer, _) => return Err("must be a whole number".into()),
            (ValueType::Number, _) => return Err("must be a number".into()),
            (ValueType::Boolean, _) => return Err("must be true or false".into()),
        };
        self.rules().judge(value)?;
        if matches!(self.shape, Shape::Stdin | Shape::File) {
            return Ok(Some(text));
        }
        if text.contains('\0') {
            return Err("must not hold a NUL".into());
        }
        let longest = MAX_ARGUMENT - self.option().len() - 1;
        if text.len() > longest {
            return Err(format!("has {} bytes; an argument can have at most {longest}", text.len()));
        }
        Ok(Some(text))
    }
}

/// The values of a command's parameters, each checked.
struct Values<'a>(Vec<(&'a Param, String)>);

impl<'a> Values<'a> {
    fn check(params: &'a [Param], given: &Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut values = Vec::new();
        let mut errors = Vec::new();
        for param in params {
            let field = format!("params.{}", param.name);
            match given.get(&param.name).filter(|value| !value.is_null()).or(param.default.as_ref()) {
                None if param.required => errors.push(FieldError::new(field, "is missing")),
                None => {}
                Some(value) => match param.read_all(value) {
                    Ok(texts) => values.extend(texts.into_iter().map(|text| (param, text))),
                    Err(reason) => errors.push(FieldError::new(field, reason)),
                },
            }
        }
        for (name, value) in given {
            if !value.is_null() && !params.iter().any(|p| p.name == *name) {
                let known = list(params.iter().map(|p| &p.name));
                let known = if known.is_empty() { "there are none".into() } else { format!("there are: {known}") };
                errors.push(FieldError::new(
                    format!("params.{name}"),
                    format!("is not a parameter of this command; {known}"),
                ));
            }
        }
        if let Some(gap) = optional_gap(params, &values) {
            errors.push(gap);
        }
        if errors.is_empty() { Ok(Self(values)) } else { Err(errors) }
    }

    fn append_to(self, line: &mut CommandLine) {
        let CommandLine { argv, stdin, files } = line;
        let (positionals, options): (Vec<_>, Vec<_>) =
            self.0.into_iter().partition(|(p, _)| p.shape == Shape::Positional);
        let guarded = positionals.iter().any(|(_, value)| value.starts_with('-'));
        let mut positionals: Vec<String> = positionals.into_iter().map(|(_, value)| value).collect();
        if !guarded {
            argv.append(&mut positionals);
        }
        for (param, value) in options {
            match param.shape {
                Shape::Stdin => *stdin = Some(value),
                Shape::File => {
                    // Its path begins with a `/`, and never with a `-`.
                    let name = format!("param-{}", param.name);
                    argv.extend([param.option(), name.clone()]);
                    files.push(ArgumentFile { name, argument: argv.len() - 1, text: value });
                }
                Shape::Flag => argv.push(param.option()),
                _ if value.starts_with('-') => argv.push(format!("{}={value}", param.option())),
                _ => argv.extend([param.option(), value]),
            }
        }
        if guarded {
            argv.push("--".into());
            argv.append(&mut positionals);
        }
    }
}

/// A positional that is given after one that is not would take its place.
fn optional_gap(params: &[Param], values: &[(&Param, String)]) -> Option<FieldError> {
    let given = |param: &&Param| values.iter().any(|(p, _)| p.name == param.name);
    let mut positionals = params.iter().filter(|p| p.shape == Shape::Positional).skip_while(given);
    let missing = positionals.next()?;
    let after = positionals.find(given)?;
    Some(FieldError::new(format!("params.{}", missing.name), format!("is missing, while {} is given", after.name)))
}
