//! Options from three places: flags, then `BATON_*` variables, then a TOML file. The file's values become the defaults of the
//! flags of the same names, so that each is checked by the same words.

use crate::cli::Cli;
use crate::report::Failure;
use clap::{CommandFactory as _, FromArgMatches as _};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file that is read without being asked for.
const DEFAULT_FILE: &str = "baton.toml";

/// Reads the command line, with what the file and the environment add. Ends the process for `--help` and bad usage,
/// as command lines do.
pub fn read(arguments: &[OsString]) -> Result<Cli, Failure> {
    let mut command = Cli::command();
    if let Some(file) = config_file(arguments) {
        command = with_file(command, &file)?;
    }
    let matches = command.clone().try_get_matches_from(arguments).unwrap_or_else(|error| error.exit());
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command).exit())
}

/// The file that holds options, if there is one: it must be known before the rest can be read.
fn config_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(file) = word.strip_prefix("--config=") {
            return Some(file.into());
        }
    }
    let named = std::env::var_os("BATON_CONFIG").map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()))
}

fn with_file(mut command: clap::Command, file: &Path) -> Result<clap::Command, Failure> {
    for (name, value, place) in read_file(file)? {
        let id = name.replace('-', "_");
        let owners: Vec<String> = owners_of(&command, &id);
        if owners.is_empty() {
            let known = options_of(&command).join(", ");
            return Err(Failure::usage(format!("{place}: {name:?} is not an option; there are: {known}")));
        }
        check(&command, &id, &name, &value, &place)?;
        for owner in owners {
            let set = |arg: clap::Arg| arg.default_value(value.clone());
            command = if owner.is_empty() {
                command.mut_arg(&id, set)
            } else {
                command.mut_subcommand(owner, |subcommand| subcommand.mut_arg(&id, set))
            };
        }
    }
    Ok(command)
}

/// The options of the file: name, value as a flag would have it, and where it stands.
fn read_file(file: &Path) -> Result<Vec<(String, String, String)>, Failure> {
    let shown = file.display();
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("could not read {shown}: {error}")))?;
    let table: BTreeMap<toml::Spanned<String>, toml::Spanned<toml::Value>> =
        toml::from_str(&text).map_err(|error| Failure::usage(format!("{shown}: {}", error.to_string().trim_end())))?;
    let mut options = Vec::new();
    for (name, value) in table {
        let line = text[..name.span().start].matches('\n').count() + 1;
        let place = format!("{shown}, line {line}");
        let value = match value.into_inner() {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            _ => return Err(Failure::usage(format!("{place}: {} must be a text or a whole number", name.get_ref()))),
        };
        options.push((name.into_inner(), value, place));
    }
    Ok(options)
}

/// Only options that have an environment variable may stand in the file; `--config` itself may not.
fn is_option(arg: &clap::Arg) -> bool {
    arg.get_env().is_some() && arg.get_id() != "config"
}

fn owners_of(command: &clap::Command, id: &str) -> Vec<String> {
    let has = |command: &clap::Command| command.get_arguments().any(|arg| arg.get_id() == id && is_option(arg));
    let own = has(command).then(String::new);
    let of_subcommands = command.get_subcommands().filter(|c| has(c)).map(|c| c.get_name().to_owned());
    own.into_iter().chain(of_subcommands).collect()
}

fn options_of(command: &clap::Command) -> Vec<String> {
    let all = command.get_subcommands().chain([command]).flat_map(clap::Command::get_arguments);
    let mut names: Vec<String> =
        all.filter(|arg| is_option(arg)).filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

/// Reads the value as the flag would, so that what is wrong is said with the place in the file.
fn check(command: &clap::Command, id: &str, name: &str, value: &str, place: &str) -> Result<(), Failure> {
    let all = command.get_subcommands().chain([command]).flat_map(clap::Command::get_arguments);
    let Some(arg) = all.into_iter().find(|arg| arg.get_id() == id) else { return Ok(()) };
    let probe = clap::Command::new("baton").no_binary_name(true).arg(arg.clone().required(false).global(false));
    let unconflicted = probe.mut_arg(id, |arg| arg.env(None::<&str>).conflicts_with_all(Vec::<&'static str>::new()));
    let flag = format!("--{}={value}", name.replace('_', "-"));
    match unconflicted.try_get_matches_from([flag]) {
        Ok(_) => Ok(()),
        Err(error) => {
            let said = error.to_string();
            let first = said.lines().next().unwrap_or_default();
            Err(Failure::usage(format!("{place}: {}", first.trim_start_matches("error: "))))
        }
    }
}
