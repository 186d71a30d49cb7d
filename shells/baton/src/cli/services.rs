//! The command line of what runs and stays: everything in one process, the services on Kafka, and the topics they share.

use super::{Access, Agent, Api, Kafka, Log, Types, Work};
use crate::values::{address, duration, name, session};
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How values and variables are written.
const WRITTEN: &str = "\
TIME is 10s, 5m, 1h30m, 7d; SIZE is in bytes, or 64KiB, 256MiB. Each option may also be a variable (--topic-prefix is \
BATON_TOPIC_PREFIX) or stand in baton.toml (topic-prefix = \"staging.\").";

/// Where the settings of librdkafka come from.
const SETTINGS: &str = "\
Any setting of librdkafka may be given, and wins over what Baton would have set. Secrets belong into \
--kafka-config-file, or into variables: the setting sasl.password is BATON_KAFKA_SASL_PASSWORD (a dot is a _, a _ is __). \
The values of settings are never logged or shown.

  export BATON_KAFKA_SECURITY_PROTOCOL=sasl_ssl BATON_KAFKA_SASL_MECHANISM=SCRAM-SHA-512
  export BATON_KAFKA_SASL_USERNAME=baton BATON_KAFKA_SASL_PASSWORD=...
  baton topics --kafka broker-1:9093";

/// `baton dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
TIME is 10s, 5m, 1h30m, 7d; SIZE is in bytes, or 64KiB, 256MiB. Each option but --example may also be a variable \
(--max-line is BATON_MAX_LINE) or stand in baton.toml (max-line = \"1MiB\").

  echo '{\"default\": {}}' > projects.json
  baton dev --agent 'python3 agent.py' --projects projects.json --slots 4

Baton listens on this machine only, unless --trust-network is given: there are no tokens yet, so whoever can reach it \
can run agents.

SIGTERM or Ctrl-C ends it: no new task is taken, and running ones go on for --drain-timeout; what still runs then is \
handed back, to be attempted again at the next start. A second one hands back at once. SIGKILL loses nothing that \
was accepted, but costs the running tasks an attempt.")]
pub struct Dev {
    #[command(flatten)]
    pub agent: Agent,
    #[command(flatten)]
    pub types: Types,
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
    #[command(flatten)]
    pub log: Log,
    #[command(flatten)]
    pub access: Access,
    #[command(flatten)]
    pub api: Api,
    #[command(flatten)]
    pub work: Work,
    /// Submit the example's import-excel task (once a data directory), show it, and stay up
    #[arg(long, help_heading = "Example")]
    pub example: bool,
}

/// `baton api`.
#[derive(Debug, Args)]
#[command(after_help = format!("\
{WRITTEN}

{SETTINGS}

Any number of replicas may run on one Kafka. Each reads the tasks and updates of the retention, and says on /readyz when it \
has. All of them, and all workers, need the same --types, --retention and --topic-prefix.

SIGTERM or Ctrl-C ends it: it takes no new task, /readyz says so, and watchers are served for --drain-timeout; then \
they are closed with 1012, and go on at another replica from where they were. A second one closes at once."))]
pub struct ApiService {
    #[command(flatten)]
    pub kafka: Kafka,
    /// Check the topics, but make none
    #[arg(long, env = "BATON_NO_CREATE_TOPICS", hide_env = true, value_parser = BoolishValueParser::new(), help_heading = "Kafka")]
    pub no_create_topics: bool,
    #[command(flatten)]
    pub log: Log,
    #[command(flatten)]
    pub types: Types,
    #[command(flatten)]
    pub access: Access,
    #[command(flatten)]
    pub api: Api,
    /// How long watchers are still served once Baton is told to end: time for a load balancer to see that it goes
    #[arg(
        long,
        value_name = "TIME",
        env = "BATON_DRAIN_TIMEOUT",
        hide_env = true,
        default_value = "5s",
        value_parser = duration,
        help_heading = "API"
    )]
    pub drain_timeout: Duration,
}

/// `baton worker`.
#[derive(Debug, Args)]
#[command(after_help = format!("\
{WRITTEN}

{SETTINGS}

The workers of a group share the partitions of the topic of tasks: more workers than partitions wait until one of the others \
goes. A worker with a --name takes its own partitions back when it is started again within --session-timeout; one \
without is new each time.

SIGTERM or Ctrl-C ends it: no new task is taken, and running ones go on for --drain-timeout; what still runs then is \
handed back, and attempted elsewhere, without counting against the task. A second one hands back at once. After SIGKILL its \
tasks are attempted elsewhere within --session-timeout and a second; that counts."))]
pub struct WorkerService {
    #[command(flatten)]
    pub kafka: Kafka,
    /// Check the topics, but make none
    #[arg(long, env = "BATON_NO_CREATE_TOPICS", hide_env = true, value_parser = BoolishValueParser::new(), help_heading = "Kafka")]
    pub no_create_topics: bool,
    /// The group of workers that shares the tasks
    #[arg(
        long,
        value_name = "G",
        env = "BATON_GROUP",
        hide_env = true,
        default_value = "baton-workers",
        value_parser = name,
        help_heading = "Kafka"
    )]
    pub group: String,
    /// The worker's name in its group, that no other worker has; it keeps its partitions over a restart
    #[arg(long, value_name = "N", env = "BATON_NAME", hide_env = true, value_parser = name, help_heading = "Kafka")]
    pub name: Option<String>,
    /// After how long without a word from a worker its tasks are attempted elsewhere; the brokers have their own bounds for it
    #[arg(
        long,
        value_name = "TIME",
        env = "BATON_SESSION_TIMEOUT",
        hide_env = true,
        default_value = "6s",
        value_parser = session,
        help_heading = "Kafka"
    )]
    pub session_timeout: Duration,
    #[command(flatten)]
    pub log: Log,
    #[command(flatten)]
    pub agent: Agent,
    #[command(flatten)]
    pub types: Types,
    #[command(flatten)]
    pub work: Work,
    /// Where the attempts' own files are; each worker of a machine needs a directory of its own
    #[arg(
        long,
        value_name = "DIR",
        env = "BATON_RUNS",
        hide_env = true,
        default_value = ".baton-runs",
        help_heading = "Worker"
    )]
    pub runs: PathBuf,
    /// Answer GET /healthz and /readyz here, and nothing else
    #[arg(long, value_name = "ADDR", env = "BATON_HEALTH", hide_env = true, value_parser = address, help_heading = "Worker")]
    pub health: Option<SocketAddr>,
}

/// `baton projects`.
#[derive(Debug, Args)]
#[command(after_help = "\
It answers GET /projects/PROJECT with the config of the project, as the file has it now: a change needs no restart. \
Workers ask here when they are given --projects-url.

  baton projects --projects projects.json --listen 127.0.0.1:8001
  curl 127.0.0.1:8001/projects/default

Configs hold secrets, and whoever reaches the address can read them.")]
pub struct ProjectsService {
    /// The projects' configs: a JSON or TOML file, project name to {`db_conn`, `paths`, `env`}
    #[arg(long, value_name = "FILE", env = "BATON_PROJECTS", hide_env = true)]
    pub projects: PathBuf,
    /// Where to listen; port 0 takes a free one, and the start message says which
    #[arg(long, value_name = "ADDR", env = "BATON_LISTEN", hide_env = true, default_value = "127.0.0.1:8001", value_parser = address)]
    pub listen: SocketAddr,
    /// Let --listen be an address that other machines can reach, and so let them read all configs. For containers and
    /// private networks where only workers can reach it
    #[arg(long, env = "BATON_TRUST_NETWORK", hide_env = true, value_parser = BoolishValueParser::new())]
    pub trust_network: bool,
}

/// `baton topics`.
#[derive(Debug, Args)]
#[command(after_help = format!("{WRITTEN}\n\n{SETTINGS}"))]
pub struct Topics {
    /// show: each topic, and what is wrong with it; create: make those that are missing, then show all
    #[arg(value_name = "ACTION", default_value = "show", hide_possible_values = true)]
    pub action: TopicsAction,
    #[command(flatten)]
    pub kafka: Kafka,
    #[command(flatten)]
    pub log: Log,
}

/// What to do with the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TopicsAction {
    /// Show each topic, and what is wrong with it.
    Show,
    /// Make those that are missing, then show all.
    Create,
}
