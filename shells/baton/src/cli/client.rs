//! The command line of the client: commands that ask a server over HTTP.

use crate::values::limit;
use baton_core::id::UpdateId;
use clap::{Args, builder::NonEmptyStringValueParser};

const WATCHING: &str = "\
Every update goes to stdout, a line each, stderr's lines too (dimmed on a terminal; --json tells them apart by \
`stream`). On a terminal colours pass, and other control characters are made visible; a pipe gets what the agent \
wrote. A connection that breaks is made again, and nothing is missed or shown twice.

Ctrl-C ends the watching, with 130; the task goes on. Otherwise it ends as the task does: with 0 if it is DONE, \
with 1 if it is STOPPED or FAILED.";

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

/// `baton ready`.
#[derive(Debug, Args)]
#[command(after_help = "\
For health checks where there is no curl: it asks GET /readyz once, of an API, of a worker's --health, or of \
`baton projects`. Exit code 0: it is ready; 3: it is not, or not yet, or could not be reached.

  baton ready --server http://127.0.0.1:8002")]
pub struct Ready {
    /// Where it listens
    #[arg(long, value_name = "URL", env = "BATON_SERVER", hide_env = true, default_value = "http://127.0.0.1:8000")]
    pub server: String,
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
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    pub idempotency_key: Option<String>,
    /// How long one attempt may run, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout_s: Option<u64>,
    /// How long the task may wait for its first attempt, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub queue_timeout_s: Option<u64>,
    /// For how long the agent may write nothing, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub silence_timeout_s: Option<u64>,
    /// How long all attempts may take together, with the waits between them, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub total_timeout_s: Option<u64>,
    /// How long the agent has between SIGTERM and SIGKILL, in seconds, instead of the server's --grace
    #[arg(long, value_name = "SECONDS")]
    pub grace_s: Option<u64>,
    /// How many attempts the task has, instead of the server's --max-attempts
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,
    /// What all attempts may cost together, in US dollars, as far as the agent tells
    #[arg(long, value_name = "DOLLARS")]
    pub max_cost_usd: Option<f64>,
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
gets SIGTERM, and SIGKILL when its grace is over; with --force SIGKILL at once, also after a stop without it. A task \
that has ended already gives exit code 1.")]
pub struct Stop {
    /// The task's id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Leave the agent no grace
    #[arg(short, long)]
    pub force: bool,
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
