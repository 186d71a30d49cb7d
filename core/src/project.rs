//! A project's config: what its agents are given besides their arguments.

use serde_json::{Map, Value};
use std::fmt;

/// The config of one project, as `GET /projects/{project}` answers it: `{db_conn, paths, env}`, and whatever else is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Project {
    config: Map<String, Value>,
    env: Vec<(String, String)>,
}

impl fmt::Debug for Project {
    /// A config is secret: only the names in it show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.config.keys()).finish()
    }
}

/// Why a config can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProject {
    /// Not JSON, or not an object.
    #[error("the config is not a JSON object: {0}")]
    NotAnObject(String),
    /// A field has the wrong shape.
    #[error("{field}: {reason}")]
    Field {
        /// Which, as a path.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Names that would take over the process, or that Baton sets itself; a prefix ends in `*`.
pub const REFUSED_ENV: &[&str] = &[
    "BATON_*",
    "LD_*",
    "DYLD_*",
    "PATH",
    "HOME",
    "SHELL",
    "IFS",
    "ENV",
    "BASH_ENV",
    "BASH_FUNC_*",
    "GLIBC_TUNABLES",
    "GCONV_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PERL5OPT",
    "PERL5LIB",
    "RUBYOPT",
    "RUBYLIB",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
];

/// Whether a project may set this name in its agents' environment.
pub fn env_name_allowed(name: &str) -> bool {
    !REFUSED_ENV.iter().any(|refused| match refused.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *refused,
    })
}

impl Project {
    /// Reads a config.
    pub fn from_json(body: &[u8]) -> Result<Self, BadProject> {
        let value = serde_json::from_slice(body).map_err(|e| BadProject::NotAnObject(e.to_string()))?;
        Self::from_value(value)
    }

    /// Checks a config.
    pub fn from_value(value: Value) -> Result<Self, BadProject> {
        let config = match value {
            Value::Object(config) => config,
            other => return Err(BadProject::NotAnObject(format!("it is {}", sort_of(&other)))),
        };
        let bad = |field: &str, reason: &str| BadProject::Field { field: field.into(), reason: reason.into() };
        if config.get("db_conn").is_some_and(|v| !v.is_string() && !v.is_null()) {
            return Err(bad("db_conn", "must be a string"));
        }
        if config.get("paths").is_some_and(|v| !v.is_object() && !v.is_null()) {
            return Err(bad("paths", "must be an object of name to path"));
        }
        let env = match config.get("env") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(env)) => env.iter().map(read_env).collect::<Result<_, _>>()?,
            Some(_) => return Err(bad("env", "must be an object of name to value")),
        };
        Ok(Self { config, env })
    }

    /// The whole config, as JSON, for the attempt's private file.
    pub fn to_json(&self) -> String {
        Value::Object(self.config.clone()).to_string()
    }

    /// The environment that the project gives its agents, without what [`env_name_allowed`] refuses.
    pub fn env(&self) -> impl Iterator<Item = &(String, String)> {
        self.env.iter().filter(|(name, _)| env_name_allowed(name))
    }

    /// The values in it that must not be seen: of names that look secret, of names that its `secrets` lists, and passwords within
    /// addresses.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let listed = self.config.get("secrets").and_then(Value::as_array);
        let listed: Vec<&str> = listed.into_iter().flatten().filter_map(Value::as_str).collect();
        let mut found = Vec::new();
        for (name, value) in &self.config {
            gather(name, value, &listed, false, &mut found);
        }
        found.into_iter()
    }

    /// The names that the project set and that its agents don't get.
    pub fn refused_env(&self) -> impl Iterator<Item = &str> {
        self.env.iter().map(|(name, _)| name.as_str()).filter(|name| !env_name_allowed(name))
    }
}

/// Whether a value of this name is likely to be secret: one of its words says so.
pub fn looks_secret(name: &str) -> bool {
    const WORDS: [&str; 15] = [
        "secret",
        "secrets",
        "token",
        "tokens",
        "password",
        "passwd",
        "passphrase",
        "pass",
        "key",
        "apikey",
        "credential",
        "credentials",
        "auth",
        "cookie",
        "dsn",
    ];
    // `apiKey` has two words, as `API_KEY` has.
    let mut words = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for next in name.chars() {
        if before.is_lowercase() && next.is_uppercase() {
            words.push(' ');
        }
        words.extend(next.to_lowercase());
        before = next;
    }
    words.split(|c: char| !c.is_alphanumeric()).any(|word| WORDS.contains(&word))
}

fn gather<'a>(name: &str, value: &'a Value, listed: &[&str], within: bool, found: &mut Vec<&'a str>) {
    let secret = within || looks_secret(name) || listed.contains(&name);
    match value {
        Value::String(text) if secret && name != "secrets" => found.push(text),
        Value::String(text) => found.extend(password_in(text)),
        Value::Object(fields) => {
            for (name, value) in fields {
                gather(name, value, listed, secret, found);
            }
        }
        Value::Array(values) if name != "secrets" => {
            for value in values {
                gather(name, value, listed, secret, found);
            }
        }
        _ => {}
    }
}

/// The password of `scheme://user:password@host`.
fn password_in(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

/// What sort of value it is. Its text may be a secret.
const fn sort_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn read_env((name, value): (&String, &Value)) -> Result<(String, String), BadProject> {
    let bad = |reason: &str| BadProject::Field { field: format!("env.{name}"), reason: reason.into() };
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(bad("is no name for an environment variable"));
    }
    let value = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return Err(bad("must be a string, a number or a boolean")),
    };
    if value.contains('\0') {
        return Err(bad("must not hold a NUL"));
    }
    Ok((name.clone(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_taken_less_what_takes_over_the_process() {
        let project = Project::from_json(
            br#"{"db_conn": "sqlite:///x", "env": {"A": "1", "N": 2, "LD_PRELOAD": "evil.so", "PATH": "/evil", "BATON_ATTEMPT": "9"}}"#,
        )
        .unwrap();
        let env: Vec<_> = project.env().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(env, ["A=1", "N=2"]);
        assert_eq!(project.refused_env().collect::<Vec<_>>(), ["LD_PRELOAD", "PATH", "BATON_ATTEMPT"]);
    }

    #[test]
    fn what_is_secret_is_known_by_its_name_by_the_list_and_by_its_place_in_an_address() {
        let project = Project::from_json(
            br#"{"db_conn": "postgres://me:p%40ss@db/x?y=z", "secrets": ["pin_code", "PLAIN"], "region": "eu-west-1", "pin_code": "123456",
                 "nested": {"apiKey": "k-1", "auth": {"user": "u-2"}, "author": "nobody"},
                 "env": {"OPENAI_API_KEY": "sk-3", "PLAIN": "p-4", "PATHWAY": "x", "N": 5}}"#,
        )
        .unwrap();
        assert_eq!(project.secrets().collect::<Vec<_>>(), ["p%40ss", "123456", "k-1", "u-2", "sk-3", "p-4"]);
        for (name, secret) in
            [("KEY", true), ("MONKEY", false), ("dbPassword", true), ("COMPASS", false), ("X-Auth", true)]
        {
            assert_eq!(looks_secret(name), secret, "{name}");
        }
    }

    #[test]
    fn a_bad_config_says_where() {
        for (body, says) in [
            ("[]", "the config is not a JSON object: it is an array"),
            (r#""postgres://me:secret@db""#, "the config is not a JSON object: it is a string"),
            (r#"{"db_conn": 1}"#, "db_conn: must be a string"),
            (r#"{"env": []}"#, "env: must be an object of name to value"),
            (r#"{"env": {"A": []}}"#, "env.A: must be a string, a number or a boolean"),
            (r#"{"env": {"A=B": "x"}}"#, "env.A=B: is no name for an environment variable"),
        ] {
            assert_eq!(Project::from_json(body.as_bytes()).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn a_config_is_not_shown_in_debug_output() {
        let project = Project::from_json(br#"{"db_conn": "postgres://me:secret@db"}"#).unwrap();
        assert_eq!(format!("{project:?}"), r#"{"db_conn"}"#);
    }
}
