//! The command line: what there is to say to `baton`, and the words that explain it.

#![allow(
    clippy::doc_markdown,
    clippy::struct_field_names,
    reason = "help is shown as it is written, and fields have the names of their flags"
)]

mod client;
mod dlq;
mod doctor;
mod groups;
mod services;
mod types;

pub use client::{Client, Ls, Ready, Show, Stop, Submit, Watch};
pub use dlq::{Dlq, DlqAction, DlqLs, DlqPurge, DlqRedrive, DlqShow, Filters, Which};
pub use doctor::Doctor;
pub use groups::{Access, Agent, Api, Isolation, Kafka, Log, Types, Work};
pub use services::{ApiService, Dev, ProjectsService, Topics, TopicsAction, WorkerService};
pub use types::{Types as TypesCommand, TypesAction};

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const ABOUT: &str = "\
Baton runs agent CLIs as durable tasks that anyone may watch live.

A task is a project, a type, perhaps a command, and params. Baton writes it to its log, builds the \
command line, runs the agent, and keeps every line it prints: whoever watches, early or late, sees \
the same. A stop ends the agent and all its children. If Baton is killed, the task is attempted again.";

const EXAMPLES: &str = "\
Examples:
  baton dev --agent 'python3 agent.py' --projects projects.json
  baton submit seed-db reset=true --project default --watch
  baton submit agent run input='Analyze Q1' parallel_workers=3 --project default
  baton watch 7f0c1a52-2b1e-4c0e-9d43-0d8a4f1f2c11
  baton stop 7f0c1a52-2b1e-4c0e-9d43-0d8a4f1f2c11
  baton ls --status running

Options come from flags, from BATON_* variables (--grace is BATON_GRACE), and from a TOML file, in that order. \
The file is baton.toml in the working directory, or --config FILE; its keys are the flags' names (grace = \"30s\").

What a command was asked for goes to stdout, logs and remarks go to stderr.

Exit codes:
  0    done; what was asked for is under way, or shown
  1    the task failed or was stopped, or the request was refused
  2    bad usage
  3    the server or the log could not be reached
  130  interrupted; a watched task goes on";

/// All that can be said to `baton`.
#[derive(Debug, Parser)]
#[command(name = "baton", version, about = ABOUT, after_help = EXAMPLES, styles = STYLES, max_term_width = 100)]
#[command(disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options from this TOML file [default: baton.toml, if it is there]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "BATON_CONFIG",
        hide_env = true,
        help_heading = "Everywhere"
    )]
    pub config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, off, or by module (`baton_agent=trace,info`)
    #[arg(
        long,
        global = true,
        value_name = "LEVELS",
        env = "BATON_LOG_LEVEL",
        hide_env = true,
        default_value = "info",
        help_heading = "Everywhere"
    )]
    pub log_level: String,
    /// How to log: text, json, or auto (text on a terminal, JSON lines otherwise)
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "BATON_LOG_FORMAT",
        hide_env = true,
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Everywhere"
    )]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON lines otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: API, worker, project config and log
    Dev(Box<Dev>),
    /// Run the API on Kafka: one of any number of replicas
    Api(Box<ApiService>),
    /// Run a worker on Kafka: one of a group that shares the tasks
    Worker(Box<WorkerService>),
    /// Serve the projects' configs to workers
    Projects(ProjectsService),
    /// Show the topics on Kafka, or make them
    Topics(Box<Topics>),
    /// Look whether this machine has all that Baton needs, and say what to do about what it lacks
    Doctor(Box<Doctor>),
    /// Check or show tables of task types
    Types(types::Types),
    /// Ask once whether a server is ready
    Ready(Ready),
    /// Submit a task, and perhaps watch it
    Submit(Submit),
    /// Watch a task from its beginning to its end
    Watch(Watch),
    /// Stop a task
    Stop(Stop),
    /// List tasks, the newest first
    Ls(Ls),
    /// Show what is known of a task
    Show(Show),
    /// List, show, redrive and purge the tasks that failed for good
    Dlq(Dlq),
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_table_of_options_is_sound() {
        Cli::command().debug_assert();
    }
}
