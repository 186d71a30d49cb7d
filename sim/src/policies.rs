//! A task type that says what its ends mean: as Baton reads it, and once more for the oracle.

use baton_core::types::TaskTypes;

/// The name of the type.
pub const MOODY: &str = "moody";

const TYPES: &str = r#"
[types.moody]
retries = { first = "3s", cap = "5s" }
exits = { done = [4], retry = [3, "SIGSEGV", "silence-timeout", "spawn"] }

[types.moody.commands.run]
params = [{ name = "input", as = "option", required = true }]
"#;

/// The types of all workers and replicas.
pub fn types() -> TaskTypes {
    TaskTypes::default().extended_by(TaskTypes::from_toml(TYPES).expect("it is a good table"))
}
