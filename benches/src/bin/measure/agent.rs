//! The agents of the measures: this binary once more, as fast as an agent can be. None of them starts a runtime.

use crate::Result;
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// The first word of the command line of an agent.
pub const WORD: &str = "as-agent";

/// The task types that the agents serve. Each type's name is the agent's next word.
pub fn types(binary: &str) -> String {
    let quoted = format!("{binary:?}");
    let kind = |name: &str, params: &[&str]| {
        let params: Vec<_> =
            params.iter().map(|p| format!(r#"{{ name = "{p}", as = "positional", required = true }}"#)).collect();
        format!("[types.{name}]\nagent = [{quoted}, \"{WORD}\"]\nparams = [{}]\n", params.join(", "))
    };
    [
        kind("hello", &[]),
        kind("silent", &[]),
        kind("lines", &["count", "buffer"]),
        kind("ticks", &["gate", "count", "every_ms"]),
    ]
    .concat()
}

pub fn run(words: &[&str]) -> Result<()> {
    match words {
        ["hello"] => say("hello"),
        ["silent"] => {
            say("ready")?;
            loop {
                sleep(Duration::from_hours(1));
            }
        }
        ["lines", count, buffer] => lines(count.parse()?, buffer.parse()?),
        ["ticks", gate, count, every] => ticks(Path::new(gate), count.parse()?, Duration::from_millis(every.parse()?)),
        _ => Err(format!("no such agent: {words:?}").into()),
    }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// `count` numbered lines. With a `buffer` of 0 each is written by itself, as a flushing agent does.
fn lines(count: u64, buffer: usize) -> Result<()> {
    let mut out = BufWriter::with_capacity(buffer.max(128), unbuffered()?);
    for n in 0..count {
        writeln!(out, "{n:07} Processing row {n} of {count}")?;
        if buffer == 0 {
            out.flush()?;
        }
    }
    Ok(out.flush()?)
}

/// Waits for the file `gate`, then says what time it is, again and again, in lines of 100 bytes.
fn ticks(gate: &Path, count: u64, every: Duration) -> Result<()> {
    while !gate.exists() {
        sleep(Duration::from_millis(1));
    }
    for _ in 0..count {
        sleep(every);
        say(&format!("{:<99}", monotonic_nanos()))?;
    }
    Ok(())
}

/// What the clock says that all processes of the machine share.
pub fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Standard output without its own line buffer, which would cut a large write at its last line feed.
fn unbuffered() -> Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}
