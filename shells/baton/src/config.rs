//! Options from three places: flags, then `BATON_*` variables, then a TOML file. The file's values become the defaults of the
//! flags of the same names, so that each is checked by the same words. Nothing here knows what an option means.

use crate::cli::{Agent, Cli, Command};
use crate::report::Failure;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _, FromArgMatches as _};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
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
    let matches = match command.clone().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => with_variable(error, &command, arguments).exit(),
    };
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command).exit())?;
    let agent = match &mut cli.command {
        Command::Dev(dev) => Some(&mut dev.agent),
        Command::Worker(worker) => Some(&mut worker.agent),
        Command::Doctor(doctor) => Some(&mut doctor.agent),
        _ => None,
    };
    if let (Some(agent), Some((_, matches))) = (agent, matches.subcommand()) {
        settle_projects(agent, matches)?;
    }
    Ok(cli)
}

/// The file that holds options, if there is one: it must be known before the rest can be read.
fn config_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut words = arguments.iter().skip(1).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(file) = word.as_bytes().strip_prefix(b"--config=") {
            return Some(OsStr::from_bytes(file).into());
        }
    }
    let named = std::env::var_os("BATON_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()))
}

fn with_file(mut command: clap::Command, file: &Path) -> Result<clap::Command, Failure> {
    for Given { name, values, is_list, place } in read_file(file)? {
        let id = name.replace('-', "_");
        let Some(arg) = all_arguments(&command).into_iter().find(|arg| arg.get_id() == &id && is_option(arg)) else {
            let known = options_of(&command).join(", ");
            return Err(Failure::usage(format!("{place}: {name:?} is not an option; there are: {known}")));
        };
        if is_list && !matches!(arg.get_action(), ArgAction::Append) {
            return Err(Failure::usage(format!("{place}: {name} takes one value, and no list")));
        }
        values.iter().try_for_each(|value| check(arg, value, &place))?;
        command = with_default(command, &id, &values);
    }
    Ok(command)
}

/// An option of the file.
struct Given {
    name: String,
    /// As a flag would have them.
    values: Vec<String>,
    is_list: bool,
    /// Where it stands.
    place: String,
}

fn read_file(file: &Path) -> Result<Vec<Given>, Failure> {
    let shown = file.display();
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("could not read {shown}: {error}")))?;
    let table: BTreeMap<toml::Spanned<String>, toml::Spanned<toml::Value>> =
        toml::from_str(&text).map_err(|error| Failure::usage(format!("{shown}: {}", error.to_string().trim_end())))?;
    let mut options = Vec::new();
    for (name, value) in table {
        let before = &text[..name.span().start];
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let place = format!("{shown}, column {column} of line {}", before.matches('\n').count() + 1);
        let value = value.into_inner();
        let is_list = value.is_array();
        let values = match value {
            toml::Value::Array(values) => values.into_iter().map(as_flag).collect(),
            value => as_flag(value).map(|value| vec![value]),
        };
        let name = name.into_inner();
        let values = values.ok_or_else(|| {
            Failure::usage(format!("{place}: {name} must be a text, a whole number, true or false, or a list of texts"))
        })?;
        options.push(Given { name, values, is_list, place });
    }
    Ok(options)
}

/// The value as a flag would have it.
fn as_flag(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Only options that have an environment variable may stand in the file; `--config` itself may not.
fn is_option(arg: &Arg) -> bool {
    arg.get_env().is_some() && arg.get_id() != "config"
}

/// Makes the values the option's default, wherever the command and its subcommands have it.
fn with_default(mut command: clap::Command, id: &str, values: &[String]) -> clap::Command {
    if command.get_arguments().any(|arg| arg.get_id() == id && is_option(arg)) {
        // Clap does not take a default for an answer where an option is required.
        command = command.mut_arg(id, |arg| arg.required(false).default_values(values.to_vec()));
    }
    let names: Vec<String> = command.get_subcommands().map(|subcommand| subcommand.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, |sub| with_default(sub, id, values)))
}

fn all_arguments(command: &clap::Command) -> Vec<&Arg> {
    let of_subcommands = command.get_subcommands().flat_map(all_arguments);
    of_subcommands.chain(command.get_arguments()).collect()
}

fn options_of(command: &clap::Command) -> Vec<String> {
    let options = all_arguments(command).into_iter().filter(|arg| is_option(arg));
    let names: BTreeSet<String> = options.filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
    names.into_iter().collect()
}

/// Reads the value as the flag would, so that what is wrong is said with the place in the file.
fn check(arg: &Arg, value: &str, place: &str) -> Result<(), Failure> {
    let long = arg.get_long().unwrap_or_else(|| arg.get_id().as_str());
    // A switch takes no value on the command line; in the file it has one.
    let alone = arg.clone().action(ArgAction::Set).required(false).global(false).env(None::<&str>);
    let probe = clap::Command::new("baton").no_binary_name(true).arg(alone);
    match probe.try_get_matches_from([format!("--{long}={value}")]) {
        Ok(_) => Ok(()),
        Err(error) => {
            let said = error.to_string();
            let first = said.lines().next().unwrap_or_default();
            Err(Failure::usage(format!("{place}: {}", first.trim_start_matches("error: "))))
        }
    }
}

/// Says which variable a bad value came from: the error itself names the flag alone.
fn with_variable(mut error: clap::Error, command: &clap::Command, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return error };
    let named = |arg: &&Arg| arg.get_long().is_some_and(|long| shown.split(' ').next() == Some(&format!("--{long}")));
    let Some(arg) = all_arguments(command).into_iter().find(named) else { return error };
    let given = |word: &OsString| {
        let word = word.as_bytes();
        let long = arg.get_long().and_then(|long| word.strip_prefix(b"--")?.strip_prefix(long.as_bytes()));
        let short = arg.get_short().is_some_and(|short| word.starts_with(format!("-{short}").as_bytes()));
        short || long.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
    };
    let Some(name) = arg.get_env().filter(|name| std::env::var_os(name).is_some()) else { return error };
    if !arguments.iter().any(given) {
        let said = format!("it comes from the variable {}", name.display());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![said.into()]));
    }
    error
}

/// The configs come from one place: a flag wins over a variable, and that over the file, whichever of the two it is.
fn settle_projects(agent: &mut Agent, matches: &ArgMatches) -> Result<(), Failure> {
    if agent.projects.is_none() || agent.projects_url.is_none() {
        return Ok(());
    }
    let rank = |id| match matches.value_source(id) {
        Some(ValueSource::CommandLine) => 2,
        Some(ValueSource::EnvVariable) => 1,
        _ => 0,
    };
    match (rank("projects"), rank("projects_url")) {
        (file, url) if file > url => agent.projects_url = None,
        (file, url) if file < url => agent.projects = None,
        (rank, _) => {
            let (one, other) = match rank {
                2 => ("--projects", "--projects-url"),
                1 => ("BATON_PROJECTS", "BATON_PROJECTS_URL"),
                _ => ("projects", "projects-url, in the file of options"),
            };
            return Err(Failure::usage(format!("the projects come from one place: give {one} or {other}, not both")));
        }
    }
    Ok(())
}
