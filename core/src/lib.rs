//! The pure part of Baton: state machines that know nothing of I/O, clocks, threads or randomness.

#![forbid(unsafe_code, clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]

pub mod account;
pub mod agent_report;
pub mod groups;
pub mod hub;
pub mod id;
pub mod json;
pub mod launch;
pub mod ledger;
pub mod limits;
pub mod lines;
pub mod log;
pub mod output;
pub mod patterns;
mod place;
pub mod policy;
pub mod presence;
pub mod problem;
pub mod process;
pub mod project;
pub mod quantity;
pub mod record;
pub mod redact;
pub mod redrive;
pub mod retry;
pub mod run;
pub mod schema;
pub mod submit;
pub mod tenure;
pub mod time;
pub mod trace;
pub mod types;
pub mod worker;
