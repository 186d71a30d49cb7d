//! Logs: on stderr, for people on a terminal, as JSON lines otherwise. It decides how lines look and which are written,
//! never what they say.

use crate::cli::LogFormat;
use crate::report::Failure;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging.
pub fn start(levels: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = filter(levels)?;
    let terminal = std::io::stderr().is_terminal();
    // When whoever read the logs is gone, the fallback of a failed write would be a panic.
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
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

/// A level alone is meant for Baton: libraries have their say from warnings on, and more only where it is asked for by module.
fn filter(levels: &str) -> Result<EnvFilter, Failure> {
    let filter = match levels.trim().parse::<LevelFilter>() {
        Ok(level) if level > LevelFilter::WARN => EnvFilter::builder().parse(format!("warn,baton={level}")),
        _ => EnvFilter::builder().parse(levels),
    };
    filter.map_err(|error| {
        Failure::usage(format!("--log-level {levels:?}: {error}; write it as info, or as baton_http=debug,info"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_baton() {
        assert_eq!(filter("debug").unwrap().to_string(), "baton=debug,warn");
        assert_eq!(filter("error").unwrap().to_string(), "error");
        assert_eq!(filter("hyper=trace,info").unwrap().to_string(), "hyper=trace,info");
    }

    #[test]
    fn what_is_no_level_is_said() {
        let said = filter("baton=loud").unwrap_err().to_string();
        assert!(said.starts_with("--log-level \"baton=loud\": "), "{said}");
    }
}
