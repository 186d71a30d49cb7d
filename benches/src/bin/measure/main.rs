//! The end-to-end measure: the real binary, real agents and real sockets, on loopback. Prints each figure with its target,
//! and beside it what the machine does without Baton, taken in the same run.
//!
//! `measure [NAME...]` runs the measures whose names begin so; all of them without a name. `BATON_BIN` names the binary,
//! `target/release/baton` unless it does. Where `BATON_TEST_KAFKA` names a Kafka, everything is measured on that, and what only
//! Kafka has beside it. It ends every process that it has begun.

mod agent;
mod bare;
mod clients;
mod fan_out;
mod on_kafka;
mod server;
mod stats;
mod tasks;
mod volume;

use stats::Row;
use std::process::ExitCode;

/// What goes wrong ends the measure, and is shown as it is.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

type Measure = fn() -> Result<Vec<Row>>;

const MEASURES: [(&str, Measure); 11] = [
    ("start", tasks::start_up),
    ("dispatch", tasks::dispatch),
    ("post", tasks::posts),
    ("stop", tasks::stops),
    ("no-op", tasks::no_ops),
    ("lines", volume::lines),
    ("replay", volume::replay),
    ("fan-out", fan_out::fan_out),
    ("memory", volume::memory),
    ("retained", on_kafka::retained),
    ("redelivery", on_kafka::redelivery),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = match words.as_slice() {
        [agent::WORD, rest @ ..] => agent::run(rest),
        [bare::POSTS] => bare::serve_posts(),
        [bare::FAN_OUT, watchers, agent @ ..] => bare::serve_fan_out(watchers, agent),
        names => measure(names),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(names: &[&str]) -> Result<()> {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| name.starts_with(n));
    println!("{}", Row::head());
    for (name, measure) in MEASURES.into_iter().filter(|(name, _)| wanted(name)) {
        for row in measure().map_err(|error| format!("{name}: {error}"))? {
            println!("{row}");
        }
    }
    Ok(())
}
