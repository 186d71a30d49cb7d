//! The command line of `baton dlq`: the dead letters, which are the tasks that failed for good.

use super::Client;
use crate::values::{duration, limit};
use clap::{Args, Subcommand};
use std::time::Duration;

/// `baton dlq`.
#[derive(Debug, Args)]
#[command(after_help = "\
A dead letter is a task that failed for good, with the reason, the attempts and its last lines; or a record of the \
topic that was no task at all. It stays until it is purged, or the topic's retention is over. The server lists the \
newest 10,000.

  baton dlq ls --project default --reason timeout
  baton dlq redrive 7f0c1a52-2b1e-4c0e-9d43-0d8a4f1f2c11
  baton dlq redrive --all --type agent
  baton dlq purge --all --older-than 30d")]
pub struct Dlq {
    /// What to do with them.
    #[command(subcommand)]
    pub action: DlqAction,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DlqAction {
    /// List dead letters, the newest first
    Ls(DlqLs),
    /// Show all that a dead letter holds, and what became of it
    Show(DlqShow),
    /// Run the task of a dead letter again, as a new task
    Redrive(DlqRedrive),
    /// Remove dead letters for good
    Purge(DlqPurge),
}

/// Which dead letters.
#[derive(Clone, Debug, Args)]
pub struct Filters {
    /// Only of this project; may be repeated
    #[arg(short, long, value_name = "PROJECT")]
    pub project: Vec<String>,
    /// Only of this type; may be repeated
    #[arg(short, long = "type", value_name = "TYPE")]
    pub kind: Vec<String>,
    /// Only those whose reason has this in it, in capitals or not
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only those that failed longer ago than this: 12h, 30d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub older_than: Option<Duration>,
}

/// Some dead letters by their ids, or all that the filters let through.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// The dead letters' ids
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// All that the filters let through; without a filter, all
    #[arg(short, long)]
    pub all: bool,
    #[command(flatten)]
    pub filters: Filters,
}

/// `baton dlq ls`.
#[derive(Debug, Args)]
pub struct DlqLs {
    #[command(flatten)]
    pub filters: Filters,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value = "20", value_parser = limit)]
    pub limit: usize,
    /// All of them
    #[arg(short, long, conflicts_with = "limit")]
    pub all: bool,
    #[command(flatten)]
    pub client: Client,
}

/// `baton dlq show`.
#[derive(Debug, Args)]
pub struct DlqShow {
    /// The dead letter's id: its task's, as a rule
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub client: Client,
}

/// `baton dlq redrive`.
#[derive(Debug, Args)]
#[command(after_help = "\
The new task gets an id of its own, made of the dead letter: redriving it again gives the same task. It shows what \
it was redriven from, and the dead letter shows what it became. The dead letter stays until it is purged.

It prints a line each: the dead letter's id, and the new task's. If one of them is refused the others are redriven \
all the same, and the exit code is 1. A dead letter of a record that was no task holds nothing to run: --all leaves \
it out.")]
pub struct DlqRedrive {
    #[command(flatten)]
    pub which: Which,
    /// Under the id that the task had. Refused until all have forgotten that id: when the retention is over
    #[arg(long)]
    pub same_id: bool,
    #[command(flatten)]
    pub client: Client,
}

/// `baton dlq purge`.
#[derive(Debug, Args)]
#[command(after_help = "\
A purged dead letter can't be shown or redriven any more. Its record itself goes with the topic's retention. If one \
of them is refused the others are purged all the same, and the exit code is 1.")]
pub struct DlqPurge {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub client: Client,
}
