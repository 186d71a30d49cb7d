//! Groups of options that several commands share. What an option means stands here once, however many commands have it.
// What documents an option is its help, and a terminal shows it as it stands.
#![allow(rustdoc::bare_urls)]

use crate::values::{
    Origin, Secretive, Words, address, brokers, count, duration, line_size, name, origin, pattern, retention, size,
    words,
};
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which tasks there may be.
#[derive(Debug, Args)]
#[command(next_help_heading = "Agent")]
pub struct Types {
    /// More task types, or others in place of those of the box: a TOML file
    #[arg(long, value_name = "FILE", env = "BATON_TYPES", hide_env = true)]
    pub types: Option<PathBuf>,
}

/// What is run, and with what.
#[derive(Debug, Args)]
#[command(next_help_heading = "Agent")]
pub struct Agent {
    /// The agent: a program and its first arguments, split as a shell does (no shell is run)
    #[arg(long, value_name = "COMMAND", env = "BATON_AGENT", hide_env = true, default_value = "python agent.py", value_parser = words)]
    pub agent: Words,
    /// The projects' configs: a JSON or TOML file, project name to {`db_conn`, `paths`, `env`}
    #[arg(long, value_name = "FILE", env = "BATON_PROJECTS", hide_env = true)]
    pub projects: Option<PathBuf>,
    /// The projects' configs: an API that answers GET URL/projects/PROJECT
    #[arg(long, value_name = "URL", env = "BATON_PROJECTS_URL", hide_env = true)]
    pub projects_url: Option<String>,
}

/// How a log is made and kept, whichever it is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct Log {
    /// How many partitions each topic has; can't be changed later
    #[arg(long, value_name = "N", env = "BATON_PARTITIONS", hide_env = true, default_value = "8", value_parser = count::<1024>)]
    pub partitions: u32,
    /// How long tasks and their updates are kept, at least 24h
    #[arg(long, value_name = "TIME", env = "BATON_RETENTION", hide_env = true, default_value = "7d", value_parser = retention)]
    pub retention: Duration,
}

/// Where Kafka is, and how it is spoken to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Kafka")]
pub struct Kafka {
    /// The brokers to begin with
    #[arg(long, value_name = "HOST:PORT,...", env = "BATON_KAFKA", hide_env = true, value_parser = brokers)]
    pub kafka: String,
    /// Any setting of librdkafka, such as security.protocol=sasl_ssl; may be repeated. It wins over BATON_KAFKA_* variables,
    /// and those over --kafka-config-file. Secrets are better given there: all users of a machine can see its command lines
    #[arg(long, value_name = "KEY=VALUE")]
    pub kafka_config: Vec<Secretive>,
    /// Settings of librdkafka from this file, a line each: key=value
    #[arg(long, value_name = "FILE", env = "BATON_KAFKA_CONFIG_FILE", hide_env = true)]
    pub kafka_config_file: Option<PathBuf>,
    /// Log in with the token in this file, a JWT that is read again before it expires: SASL's OAUTHBEARER, by TLS unless
    /// security.protocol says otherwise
    #[arg(long, value_name = "FILE", env = "BATON_KAFKA_TOKEN_FILE", hide_env = true)]
    pub kafka_token_file: Option<PathBuf>,
    /// Put before the name of every topic, of the group and of the transactional ids: so that one Kafka serves many Batons
    #[arg(long, value_name = "P", env = "BATON_TOPIC_PREFIX", hide_env = true, value_parser = name)]
    pub topic_prefix: Option<String>,
    /// On how many brokers each record is kept, where topics are made [default: 3, or as many as there are brokers]
    #[arg(long, value_name = "N", env = "BATON_REPLICATION", hide_env = true, value_parser = count::<32>)]
    pub replication: Option<u32>,
}

/// Where a service listens, and whom it lets in.
#[derive(Debug, Args)]
#[command(next_help_heading = "API")]
pub struct Access {
    /// Where to listen; port 0 takes a free one, and the start message says which
    #[arg(long, value_name = "ADDR", env = "BATON_LISTEN", hide_env = true, default_value = "127.0.0.1:8000", value_parser = address)]
    pub listen: SocketAddr,
    /// Let --listen be an address that other machines can reach. There are no tokens yet: whoever reaches it can run
    /// agents, and read what they print. For containers and private networks, behind a proxy that checks who calls
    #[arg(long, env = "BATON_TRUST_NETWORK", hide_env = true, value_parser = BoolishValueParser::new())]
    pub trust_network: bool,
    /// Web pages of this origin may call, beside the server's own: https://tools.example; may be repeated
    #[arg(long, value_name = "ORIGIN", env = "BATON_ALLOWED_ORIGIN", hide_env = true, value_delimiter = ',', value_parser = origin)]
    pub allowed_origin: Vec<Origin>,
    /// The Host that a proxy on this machine sends, where --listen is on this machine only; may be repeated
    #[arg(long, value_name = "HOST", env = "BATON_ALLOWED_HOST", hide_env = true, value_delimiter = ',')]
    pub allowed_host: Vec<String>,
}

/// What the API keeps, and how much of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "API")]
pub struct Api {
    /// How long the history of a task stays after its end
    #[arg(long, value_name = "TIME", env = "BATON_HISTORY", hide_env = true, default_value = "1h", value_parser = duration)]
    pub history: Duration,
    /// How much memory tasks and histories take; older history is read back from the log, and a task that does not fit gets 429
    #[arg(long, value_name = "SIZE", env = "BATON_HISTORY_MEMORY", hide_env = true, default_value = "256MiB", value_parser = size)]
    pub history_memory: usize,
    /// How many tasks may wait before a POST gets 429
    #[arg(long, value_name = "N", env = "BATON_MAX_QUEUED", hide_env = true, default_value = "100000", value_parser = count::<100_000_000>)]
    pub max_queued: u32,
    /// How many watchers there may be at once before one more gets 503
    #[arg(long, value_name = "N", env = "BATON_MAX_WATCHERS", hide_env = true, default_value = "10000", value_parser = count::<1_000_000>)]
    pub max_watchers: u32,
}

/// How a worker works.
#[derive(Debug, Args)]
#[command(next_help_heading = "Worker")]
pub struct Work {
    /// How many tasks run at a time
    #[arg(long, value_name = "N", env = "BATON_SLOTS", hide_env = true, default_value = "1", value_parser = count::<1000>)]
    pub slots: u32,
    /// How many attempts a task has; a worker's death costs one, a failure is not tried again
    #[arg(long, value_name = "N", env = "BATON_MAX_ATTEMPTS", hide_env = true, default_value = "3", value_parser = count::<100>)]
    pub max_attempts: u32,
    /// How long an agent has between SIGTERM and SIGKILL
    #[arg(long, value_name = "TIME", env = "BATON_GRACE", hide_env = true, default_value = "10s", value_parser = duration)]
    pub grace: Duration,
    /// How long running tasks may go on once Baton is told to end; then they are handed back
    #[arg(long, value_name = "TIME", env = "BATON_DRAIN_TIMEOUT", hide_env = true, default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// The longest line, from 16B to 1MiB; more of it is cut, visibly
    #[arg(long, value_name = "SIZE", env = "BATON_MAX_LINE", hide_env = true, default_value = "64KiB", value_parser = line_size)]
    pub max_line: usize,
    /// Take what this regular expression matches out of what agents print, line by line, beside the tokens that are known by
    /// their looks; may be repeated
    #[arg(long, value_name = "REGEX", env = "BATON_REDACT_PATTERN", hide_env = true, value_delimiter = '\n', value_parser = pattern)]
    pub redact_pattern: Vec<String>,
    /// What keeps the processes of a run together, so that none is left: namespace or cgroup (or no start), process (without
    /// either), or auto, the best that the system has
    #[arg(
        long,
        value_name = "HOW",
        env = "BATON_ISOLATION",
        hide_env = true,
        default_value = "auto",
        hide_possible_values = true
    )]
    pub isolation: Isolation,
}

/// What is to keep the processes of a run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    /// The best of what the system lets have.
    Auto,
    /// A PID namespace for each run.
    Namespace,
    /// A cgroup for each run.
    Cgroup,
    /// Neither.
    Process,
}

impl From<Isolation> for baton_agent::Isolation {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Auto => Self::Auto,
            Isolation::Namespace => Self::Namespace,
            Isolation::Cgroup => Self::Cgroup,
            Isolation::Process => Self::Process,
        }
    }
}
