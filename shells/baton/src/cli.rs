//! The command line: what there is to say to `baton`, and the words that explain it.

use bytesize::ByteSize;
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

A task is a project, a type, perhaps a command, and params. Baton writes it to its log, builds the
command line, runs the agent, and keeps every line it prints: whoever watches, early or late, sees
the same. A stop ends the agent and all its children. If Baton is killed, the task is attempted again.";

const EXAMPLES: &str = "\
Examples:
  baton dev --agent 'python3 agent.py' --projects projects.json
  baton submit seed-db reset=true --project default --watch
  baton submit agent run input='Analyze Q1' parallel_workers=3 --project default
  baton ls --status running
  baton stop 7f0c1a52-2b1e-4c0e-9d43-0d8a4f1f2c11

Options come from flags, from BATON_* variables (--grace is BATON_GRACE), and from a TOML file
(baton.toml here, or --config FILE; its keys are the flags' names), in that order.

Exit codes:
  0    done
  1    the task failed or was stopped, or the request was refused
  2    bad usage
  3    the server or the log could not be reached
  130  interrupted";

/// All that can be said to `baton`.
#[derive(Debug, Parser)]
#[command(name = "baton", version, about = ABOUT, after_help = EXAMPLES, styles = STYLES, max_term_width = 100)]
#[command(disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options from this TOML file [default: baton.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "BATON_CONFIG", hide_env = true)]
    pub config: Option<PathBuf>,
    /// What to log: a level, or levels by module (info, debug, `baton_agent=trace,info`)
    #[arg(
        long,
        global = true,
        value_name = "LEVELS",
        env = "BATON_LOG_LEVEL",
        hide_env = true,
        default_value = "info"
    )]
    pub log_level: String,
    /// How to log
    #[arg(long, global = true, env = "BATON_LOG_FORMAT", hide_env = true, default_value = "auto")]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON lines otherwise
    Auto,
    /// For people
    Text,
    /// For machines
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
pub struct Dev {
    /// The agent: a program and its first arguments, split as a shell does (no shell is run)
    #[arg(long, value_name = "COMMAND", env = "BATON_AGENT", hide_env = true, default_value = "python agent.py", value_parser = words, help_heading = "Agent")]
    pub agent: Words,
    /// The projects' configs: a JSON or TOML file of project name to config (`db_conn`, `paths`, `env`)
    #[arg(
        long,
        value_name = "FILE",
        env = "BATON_PROJECTS",
        hide_env = true,
        conflicts_with = "projects_url",
        help_heading = "Agent"
    )]
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

    /// Where to listen; only this machine can be let in
    #[arg(long, value_name = "ADDR", env = "BATON_LISTEN", hide_env = true, default_value = "127.0.0.1:8000", value_parser = loopback, help_heading = "API")]
    pub listen: SocketAddr,
    /// How long the history of a task stays after its end
    #[arg(long, value_name = "TIME", env = "BATON_HISTORY", hide_env = true, default_value = "1h", value_parser = duration, help_heading = "API")]
    pub history: Duration,
    /// How much history stays in memory; the rest is read back from the log
    #[arg(long, value_name = "SIZE", env = "BATON_HISTORY_MEMORY", hide_env = true, default_value = "256MiB", value_parser = size, help_heading = "API")]
    pub history_memory: usize,
    /// How many tasks may wait before a POST gets 429
    #[arg(
        long,
        value_name = "N",
        env = "BATON_MAX_QUEUED",
        hide_env = true,
        default_value_t = 100_000,
        help_heading = "API"
    )]
    pub max_queued: u32,
    /// How many watchers there may be at once before one more gets 503
    #[arg(
        long,
        value_name = "N",
        env = "BATON_MAX_WATCHERS",
        hide_env = true,
        default_value_t = 10_000,
        help_heading = "API"
    )]
    pub max_watchers: u32,

    /// How many tasks run at a time
    #[arg(long, value_name = "N", env = "BATON_SLOTS", hide_env = true, default_value = "1", value_parser = count::<1000>, help_heading = "Worker")]
    pub slots: u32,
    /// How many attempts may be begun; a worker's death counts, a failure is not tried again
    #[arg(long, value_name = "N", env = "BATON_MAX_ATTEMPTS", hide_env = true, default_value = "3", value_parser = count::<100>, help_heading = "Worker")]
    pub max_attempts: u32,
    /// How long an agent has between SIGTERM and SIGKILL
    #[arg(long, value_name = "TIME", env = "BATON_GRACE", hide_env = true, default_value = "10s", value_parser = duration, help_heading = "Worker")]
    pub grace: Duration,
    /// How long running tasks may go on once Baton is told to end; then they are handed back
    #[arg(long, value_name = "TIME", env = "BATON_DRAIN_TIMEOUT", hide_env = true, default_value = "30s", value_parser = duration, help_heading = "Worker")]
    pub drain_timeout: Duration,
    /// The longest line; more of it is cut, visibly
    #[arg(long, value_name = "SIZE", env = "BATON_MAX_LINE", hide_env = true, default_value = "64KiB", value_parser = line_size, help_heading = "Worker")]
    pub max_line: usize,

    /// Submit the example's import-excel task (once a data directory), show it, and stay up
    #[arg(long)]
    pub example: bool,
}

/// A command split into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

/// Where the server is, and how to answer.
#[derive(Clone, Debug, Args)]
pub struct Client {
    /// Where Baton listens
    #[arg(long, value_name = "URL", env = "BATON_SERVER", hide_env = true, default_value = "http://127.0.0.1:8000")]
    pub server: String,
    /// Answer in JSON, a line each
    #[arg(long)]
    pub json: bool,
}

/// `baton submit`.
#[derive(Debug, Args)]
#[command(after_help = "\
Params:
  key=value   true and false are booleans, whole numbers are numbers, anything else is text
  key:=JSON   any JSON: key:='\"42\"' is a text that looks like a number

  baton submit task-context import-excel file_path=report.xlsx main_tab='MB Attributes' --project default")]
pub struct Submit {
    /// The task type
    #[arg(value_name = "TYPE")]
    pub kind: String,
    /// The command, if the type has commands, then its params
    #[arg(value_name = "[COMMAND] [KEY=VALUE]", num_args = 0..)]
    pub rest: Vec<String>,
    /// The project whose config the agent gets
    #[arg(short, long, value_name = "PROJECT", env = "BATON_PROJECT", hide_env = true)]
    pub project: String,
    /// Watch the task, and end as it ends
    #[arg(short, long)]
    pub watch: bool,
    /// Submit once, however often this is run
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// How long one attempt may run, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout_s: Option<u64>,
    /// How many attempts may be begun
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,
    #[command(flatten)]
    pub client: Client,
}

/// `baton watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// The task's id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Only what comes after this update (an id such as 1-17, as --json shows it)
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
    #[command(flatten)]
    pub client: Client,
}

/// `baton stop`.
#[derive(Debug, Args)]
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
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
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

fn count<const MOST: u32>(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| format!("must be a whole number from 1 to {MOST}"))
}

fn words(text: &str) -> Result<Words, String> {
    let words = shell_words::split(text).map_err(|error| error.to_string())?;
    if words.is_empty() { Err("it must name a program".into()) } else { Ok(Words(words)) }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 10s, 5m, 1h30m"))
}

fn retention(text: &str) -> Result<Duration, String> {
    let retention = duration(text)?;
    // An idempotency key holds for a day.
    if retention < Duration::from_hours(24) { Err("must be at least 24h".into()) } else { Ok(retention) }
}

fn size(text: &str) -> Result<usize, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error}; write it as 64KiB, 256MiB"))?;
    usize::try_from(size.as_u64()).map_err(|_| "is more than this machine can address".into())
}

fn line_size(text: &str) -> Result<usize, String> {
    let size = size(text)?;
    if (16..=1 << 20).contains(&size) { Ok(size) } else { Err("must be from 16B to 1MiB".into()) }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr =
        text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8000".to_owned())?;
    if addr.ip().is_loopback() {
        return Ok(addr);
    }
    Err("would let in whoever can reach this machine, and there is nothing yet that tells them apart; \
         listen on 127.0.0.1 or [::1], and put a proxy that checks who they are in front"
        .into())
}
