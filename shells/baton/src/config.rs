//! Options from three places: flags, then `BATON_*` variables, then a TOML file. The file's values become the defaults of the
//! flags of the same names, so that each is checked by the same words. Nothing here knows what an option means.

use crate::cli::{Cli, Command, Dev};
use crate::report::Failure;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _};
use std::collections::BTreeMap;
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
    if let (Command::Dev(dev), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
        settle_projects(dev, matches)?;
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
    for (name, value, place) in read_file(file)? {
        let id = name.replace('-', "_");
        let owners: Vec<String> = owners_of(&command, &id);
        if owners.is_empty() {
            let known = options_of(&command).join(", ");
            return Err(Failure::usage(format!("{place}: {name:?} is not an option; there are: {known}")));
        }
        check(&command, &id, &value, &place)?;
        for owner in owners {
            // Clap does not take a default for an answer where an option is required.
            let set = |arg: Arg| arg.required(false).default_value(value.clone());
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
        let before = &text[..name.span().start];
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let place = format!("{shown}, column {column} of line {}", before.matches('\n').count() + 1);
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
fn is_option(arg: &Arg) -> bool {
    arg.get_env().is_some() && arg.get_id() != "config"
}

fn owners_of(command: &clap::Command, id: &str) -> Vec<String> {
    let has = |command: &clap::Command| command.get_arguments().any(|arg| arg.get_id() == id && is_option(arg));
    let own = has(command).then(String::new);
    let of_subcommands = command.get_subcommands().filter(|c| has(c)).map(|c| c.get_name().to_owned());
    own.into_iter().chain(of_subcommands).collect()
}

fn all_arguments(command: &clap::Command) -> impl Iterator<Item = &Arg> {
    command.get_subcommands().chain([command]).flat_map(clap::Command::get_arguments)
}

fn options_of(command: &clap::Command) -> Vec<String> {
    let mut names: Vec<String> = all_arguments(command)
        .filter(|arg| is_option(arg))
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Reads the value as the flag would, so that what is wrong is said with the place in the file.
fn check(command: &clap::Command, id: &str, value: &str, place: &str) -> Result<(), Failure> {
    let Some(arg) = all_arguments(command).find(|arg| arg.get_id() == id && is_option(arg)) else { return Ok(()) };
    let flag = format!("--{}={value}", arg.get_long().unwrap_or(id));
    let alone = arg.clone().required(false).global(false).env(None::<&str>);
    let probe = clap::Command::new("baton").no_binary_name(true).arg(alone);
    match probe.try_get_matches_from([flag]) {
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
    let Some(arg) = all_arguments(command).find(named) else { return error };
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
fn settle_projects(dev: &mut Dev, matches: &ArgMatches) -> Result<(), Failure> {
    if dev.projects.is_none() || dev.projects_url.is_none() {
        return Ok(());
    }
    let rank = |id| match matches.value_source(id) {
        Some(ValueSource::CommandLine) => 2,
        Some(ValueSource::EnvVariable) => 1,
        _ => 0,
    };
    match (rank("projects"), rank("projects_url")) {
        (file, url) if file > url => dev.projects_url = None,
        (file, url) if file < url => dev.projects = None,
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
