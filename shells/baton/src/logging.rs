//! Logs: on stderr, for people on a terminal, as JSON lines otherwise.

use crate::cli::LogFormat;
use crate::report::Failure;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging.
pub fn start(levels: &str, format: LogFormat) -> Result<(), Failure> {
    let bad =
        |error| Failure::usage(format!("--log-level {levels:?}: {error}; write it as info, or baton_http=debug,info"));
    let filter = EnvFilter::builder().parse(levels).map_err(bad)?;
    let terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    if json {
        logs.json().flatten_event(true).with_current_span(true).with_span_list(false).init();
    } else {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        logs.compact().with_ansi(colour).with_target(false).init();
    }
    Ok(())
}
