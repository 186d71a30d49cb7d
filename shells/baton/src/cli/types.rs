//! The command line of `baton types`: tables of task types, checked and shown.

use super::Types as Table;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `baton types`.
#[derive(Debug, Args)]
#[command(after_help = "\
A table says which params a command takes and how each becomes arguments, and where, as whom and within which limits its \
processes run. README.md tells all of it.

  baton types check types.toml
  baton types show --types types.toml")]
pub struct Types {
    #[command(subcommand)]
    pub action: TypesAction,
}

/// What to do with a table.
#[derive(Debug, Subcommand)]
pub enum TypesAction {
    /// Say whether a file is a good table; if not, what is wrong with it and where
    Check(TypesCheck),
    /// Show the types that Baton would have with these options: those of the box, and those of --types
    Show(TypesShow),
}

/// `baton types check`.
#[derive(Debug, Args)]
pub struct TypesCheck {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `baton types show`.
#[derive(Debug, Args)]
pub struct TypesShow {
    #[command(flatten)]
    pub types: Table,
    /// Print them as JSON, as GET /types does
    #[arg(long)]
    pub json: bool,
}
