//! The command line: what there is to say to `baton`, and the words that explain it.

use crate::values::{Words, count, duration, limit, line_size, loopback, retention, size, words};
use baton_core::id::UpdateId;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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

const WATCHING: &str = "\
Every update goes to stdout, a line each, stderr's lines too (dimmed on a terminal; --json tells them apart by \
`stream`). On a terminal colours pass, and other control characters are made visible; a pipe gets what the agent \
wrote. A connection that breaks is made again, and nothing is missed or shown twice.

Ctrl-C ends the watching, with 130; the task goes on. Otherwise it ends as the task does: with 0 if it is DONE, \
with 1 if it is STOPPED or FAILED.";

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
}

/// `baton dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
TIME is 10s, 5m, 1h30m, 7d; SIZE is in bytes, or 64KiB, 256MiB. Each option but --example may also be a variable \
(--max-line is BATON_MAX_LINE) or stand in baton.toml (max-line = \"1MiB\").

  echo '{\"default\": {}}' > projects.json
  baton dev --agent 'python3 agent.py' --projects projects.json --slots 4

Baton listens on this machine only, as there are no tokens yet: whoever can reach it can run agents.

SIGTERM or Ctrl-C ends it: no new task is taken, and running ones go on for --drain-timeout; what still runs then is \
handed back, to be attempted again at the next start. A second one hands back at once. SIGKILL loses nothing that \
was accepted, but costs the running tasks an attempt.")]
pub struct Dev {
    /// The agent: a program and its first arguments, split as a shell does (no shell is run)
    #[arg(long, value_name = "COMMAND", env = "BATON_AGENT", hide_env = true, default_value = "python agent.py", value_parser = words, help_heading = "Agent")]
    pub agent: Words,
    /// The projects' configs: a JSON or TOML file, project name to {`db_conn`, `paths`, `env`}
    #[arg(long, value_name = "FILE", env = "BATON_PROJECTS", hide_env = true, help_heading = "Agent")]
    pub projects: Option<PathBuf>,
    /// The projects' configs: an API that answers GET URL/projects/PROJECT
    #[arg(long, value_name = "URL", env = "BATON_PROJECTS_URL", hide_env = true, help_heading = "Agent")]
    pub projects_url: Option<String>,
    /// More task types, or others in place of those of the box: a TOML file
    #[arg(long, value_name = "FILE", env = "BATON_TYPES", hide_env = true, help_heading = "Agent")]
    pub types: Option<PathBuf>,

    /// Where the log lives, and the attempts' own files
    #[arg(
        long,
        value_name = "DIR",
        env = "BATON_DATA",
        hide_env = true,
        default_value = ".baton",
        help_heading = "Log"
    )]
    pub data: PathBuf,
    /// How many partitions each topic has; can't be changed later
    #[arg(long, value_name = "N", env = "BATON_PARTITIONS", hide_env = true, default_value = "8", value_parser = count::<1024>, help_heading = "Log")]
    pub partitions: u32,
    /// How long tasks and their updates are kept, at least 24h
    #[arg(long, value_name = "TIME", env = "BATON_RETENTION", hide_env = true, default_value = "7d", value_parser = retention, help_heading = "Log")]
    pub retention: Duration,

    /// Where to listen, on this machine only; port 0 takes a free one, and the start message says which
    #[arg(long, value_name = "ADDR", env = "BATON_LISTEN", hide_env = true, default_value = "127.0.0.1:8000", value_parser = loopback, help_heading = "API")]
    pub listen: SocketAddr,
    /// How long the history of a task stays after its end
    #[arg(long, value_name = "TIME", env = "BATON_HISTORY", hide_env = true, default_value = "1h", value_parser = duration, help_heading = "API")]
    pub history: Duration,
    /// How much memory tasks and histories take; older history is read back from the log, and a task that does not fit gets 429
    #[arg(long, value_name = "SIZE", env = "BATON_HISTORY_MEMORY", hide_env = true, default_value = "256MiB", value_parser = size, help_heading = "API")]
    pub history_memory: usize,
    /// How many tasks may wait before a POST gets 429
    #[arg(
        long,
        value_name = "N",
        env = "BATON_MAX_QUEUED",
        hide_env = true,
        default_value = "100000",
        value_parser = count::<100_000_000>,
        help_heading = "API"
    )]
    pub max_queued: u32,
    /// How many watchers there may be at once before one more gets 503
    #[arg(
        long,
        value_name = "N",
        env = "BATON_MAX_WATCHERS",
        hide_env = true,
        default_value = "10000",
        value_parser = count::<1_000_000>,
        help_heading = "API"
    )]
    pub max_watchers: u32,

    /// How many tasks run at a time
    #[arg(long, value_name = "N", env = "BATON_SLOTS", hide_env = true, default_value = "1", value_parser = count::<1000>, help_heading = "Worker")]
    pub slots: u32,
    /// How many attempts a task has; a worker's death costs one, a failure is not tried again
    #[arg(long, value_name = "N", env = "BATON_MAX_ATTEMPTS", hide_env = true, default_value = "3", value_parser = count::<100>, help_heading = "Worker")]
    pub max_attempts: u32,
    /// How long an agent has between SIGTERM and SIGKILL
    #[arg(long, value_name = "TIME", env = "BATON_GRACE", hide_env = true, default_value = "10s", value_parser = duration, help_heading = "Worker")]
    pub grace: Duration,
    /// How long running tasks may go on once Baton is told to end; then they are handed back
    #[arg(long, value_name = "TIME", env = "BATON_DRAIN_TIMEOUT", hide_env = true, default_value = "30s", value_parser = duration, help_heading = "Worker")]
    pub drain_timeout: Duration,
    /// The longest line, from 16B to 1MiB; more of it is cut, visibly
    #[arg(long, value_name = "SIZE", env = "BATON_MAX_LINE", hide_env = true, default_value = "64KiB", value_parser = line_size, help_heading = "Worker")]
    pub max_line: usize,

    /// Submit the example's import-excel task (once a data directory), show it, and stay up
    #[arg(long, help_heading = "Example")]
    pub example: bool,
}

/// Where the server is, and how to answer.
#[derive(Clone, Debug, Args)]
pub struct Client {
    /// Where Baton listens
    #[arg(long, value_name = "URL", env = "BATON_SERVER", hide_env = true, default_value = "http://127.0.0.1:8000")]
    pub server: String,
    /// Answer in JSON, a line for each task or update
    #[arg(long)]
    pub json: bool,
}

/// `baton submit`.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Params:
  key=value   true and false are booleans, whole numbers are numbers, anything else is text
  key         the same as key=true (not as the first word: that is the command)
  key:=JSON   any JSON: key:='\"42\"' is a text that looks like a number, key:=1.5 a number

  baton submit seed-db reset=true --project default --watch
  baton submit task-context import-excel file_path=/data/report.xlsx main_tab=Sheet1 -p default

It prints the task's id. With --watch the id goes to stderr, and the updates to stdout; with --json too, the first \
line is the server's answer, with the id in it.

{WATCHING}"))]
pub struct Submit {
    /// The task type
    #[arg(value_name = "TYPE")]
    pub kind: String,
    /// The type's command, if it has commands, then the params
    #[arg(value_name = "COMMAND|KEY=VALUE", num_args = 0..)]
    pub rest: Vec<String>,
    /// The project whose config the agent gets
    #[arg(short, long, value_name = "PROJECT", env = "BATON_PROJECT", hide_env = true)]
    pub project: String,
    /// Watch the task, and end as it ends
    #[arg(short, long)]
    pub watch: bool,
    /// One key, one task: running this again gives the same task, for a day at least
    #[arg(long, value_name = "KEY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub idempotency_key: Option<String>,
    /// How long one attempt may run, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout_s: Option<u64>,
    /// How many attempts the task has, instead of the server's --max-attempts
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,
    #[command(flatten)]
    pub client: Client,
}

/// `baton watch`.
#[derive(Debug, Args)]
#[command(after_help = WATCHING)]
pub struct Watch {
    /// The task's id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Only what comes after this update (an id such as 1-17, as --json shows it)
    #[arg(long, value_name = "ID")]
    pub after: Option<UpdateId>,
    #[command(flatten)]
    pub client: Client,
}

/// `baton stop`.
#[derive(Debug, Args)]
#[command(after_help = "\
It returns when the stop is safely on the log: the task will end, and a task that waits is never begun. The agent \
gets SIGTERM, and SIGKILL after the server's --grace. A task that has ended already gives exit code 1.")]
pub struct Stop {
    /// The task's id
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub client: Client,
}

/// `baton ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only of this project; may be repeated
    #[arg(short, long, value_name = "PROJECT")]
    pub project: Vec<String>,
    /// Only of this type; may be repeated
    #[arg(short, long = "type", value_name = "TYPE")]
    pub kind: Vec<String>,
    /// Only in this state: queued, running, retrying, stopping, done, stopped, failed; may be repeated
    #[arg(short, long, value_name = "STATUS")]
    pub status: Vec<String>,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value = "20", value_parser = limit)]
    pub limit: usize,
    /// All of them
    #[arg(short, long, conflicts_with = "limit")]
    pub all: bool,
    #[command(flatten)]
    pub client: Client,
}

/// `baton show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The task's id
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub client: Client,
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
