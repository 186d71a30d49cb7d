//! The command line of `baton doctor`: what it is to look at.

use super::{Agent, Isolation, Kafka, Types};
use crate::values::{Secretive, brokers, name};
use clap::Args;
use std::path::PathBuf;

/// `baton doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
It takes the options of `baton dev`, or with --kafka those of `baton worker`, and looks at what they name: whether runs can be kept \
together and limited, the agent and the projects, the types, the directory and its disk, the log. It starts one trial run of its \
own, and changes nothing.

Exit codes: 0 if all is well or only less good than it could be, 1 if something is missing.

  baton doctor --agent 'python3 agent.py' --projects projects.json
  baton doctor --kafka broker-1:9092 --runs /var/lib/baton/worker-1 --types types.toml --json")]
pub struct Doctor {
    #[command(flatten)]
    pub agent: Agent,
    #[command(flatten)]
    pub types: Types,
    /// What is to keep the processes of a run together: auto, namespace, cgroup or process
    #[arg(
        long,
        value_name = "HOW",
        env = "BATON_ISOLATION",
        hide_env = true,
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Worker"
    )]
    pub isolation: Isolation,
    /// Where `baton dev` has its log and the attempts' own files
    #[arg(
        long,
        value_name = "DIR",
        env = "BATON_DATA",
        hide_env = true,
        default_value = ".baton",
        help_heading = "Log"
    )]
    pub data: PathBuf,
    /// Where a worker on Kafka has the attempts' own files
    #[arg(
        long,
        value_name = "DIR",
        env = "BATON_RUNS",
        hide_env = true,
        default_value = ".baton-runs",
        help_heading = "Worker"
    )]
    pub runs: PathBuf,
    /// The brokers, if the log is on Kafka
    #[arg(long, value_name = "HOST:PORT,...", env = "BATON_KAFKA", hide_env = true, value_parser = brokers, help_heading = "Kafka")]
    pub kafka: Option<String>,
    /// Any setting of librdkafka; may be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Kafka")]
    pub kafka_config: Vec<Secretive>,
    /// Settings of librdkafka from this file, a line each: key=value
    #[arg(long, value_name = "FILE", env = "BATON_KAFKA_CONFIG_FILE", hide_env = true, help_heading = "Kafka")]
    pub kafka_config_file: Option<PathBuf>,
    /// The file with the token to log in with
    #[arg(long, value_name = "FILE", env = "BATON_KAFKA_TOKEN_FILE", hide_env = true, help_heading = "Kafka")]
    pub kafka_token_file: Option<PathBuf>,
    /// What stands before the name of every topic
    #[arg(long, value_name = "P", env = "BATON_TOPIC_PREFIX", hide_env = true, value_parser = name, help_heading = "Kafka")]
    pub topic_prefix: Option<String>,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

impl Doctor {
    /// What says where Kafka is, if the log is there.
    pub fn log_on_kafka(&self) -> Option<Kafka> {
        Some(Kafka {
            kafka: self.kafka.clone()?,
            kafka_config: self.kafka_config.clone(),
            kafka_config_file: self.kafka_config_file.clone(),
            kafka_token_file: self.kafka_token_file.clone(),
            topic_prefix: self.topic_prefix.clone(),
            replication: None,
        })
    }
}
