//! The one binary. It puts the parts together, and holds no decision about tasks.

mod cli;
mod client;
mod config;
mod dev;
mod doctor;
mod identity;
mod kafka;
mod keeper;
mod logging;
mod report;
mod services;
mod serving;
mod signals;
mod types;
mod values;
mod working;

use cli::Command;
use report::Failure;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if keeper::is_asked_for(&arguments) {
        return baton_agent::keeper();
    }
    match start(&arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn start(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let cli = config::read(arguments)?;
    logging::start(&cli.log_level, cli.log_format)?;
    // Both clients of HTTP leave the choice of a provider of TLS to the binary. It can only fail if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unreachable(format!("could not start: {error}")))?;
    let ended = match cli.command {
        Command::Dev(options) => runtime.block_on(dev::run(*options)),
        Command::Api(options) => runtime.block_on(services::api::run(*options)),
        Command::Worker(options) => runtime.block_on(services::worker::run(*options)),
        Command::Projects(options) => runtime.block_on(services::projects::run(options)),
        Command::Topics(options) => runtime.block_on(services::topics::run(*options)),
        Command::Doctor(options) => runtime.block_on(doctor::run(*options)),
        Command::Types(options) => types::run(options),
        Command::Ready(options) => runtime.block_on(client::ready(options)),
        Command::Submit(options) => runtime.block_on(client::submit(options)),
        Command::Watch(options) => runtime.block_on(client::watch(options)),
        Command::Stop(options) => runtime.block_on(client::stop(options)),
        Command::Ls(options) => runtime.block_on(client::ls(options)),
        Command::Show(options) => runtime.block_on(client::show(options)),
        Command::Dlq(options) => runtime.block_on(client::dlq::run(options)),
    };
    // Nothing that still reads a pipe or a socket may hold the end up.
    runtime.shutdown_background();
    ended
}
