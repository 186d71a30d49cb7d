//! Measures of many lines: live, replayed, and what they weigh.

use crate::agent;
use crate::clients::{Frame, WebSocket};
use crate::on_kafka::bare_lines;
use crate::server::{Baton, kafka, target};
use crate::stats::{Row, Samples, median, milliseconds};
use crate::{Result, fan_out};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LINES: u64 = 200_000;
const REPLAYED: u64 = 100_000;
const TRIES: usize = 5;
const REPLAYS: usize = 11;
const IDLE: usize = 1000;
const FINISHED: u32 = 4;
/// What Python's standard output holds before it writes to a pipe; and none, as of an agent that flushes each line.
const BUFFERS: [(u64, &str); 2] = [(8192, "8 KiB a write"), (0, "a line a write")];

/// One task's lines to its one watcher, none lost, from the first to DONE; and the agent alone at a pipe.
pub fn lines() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (buffer, name) in BUFFERS {
        let baton = Baton::start(&[])?;
        let (mut rates, mut alone, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..TRIES {
            alone.push(rate(LINES, agents_own_lines(buffer)?));
            if kafka().is_some() {
                bare.push(rate(LINES, bare_lines(LINES)?));
            }
            let params = json!({"count": LINES.to_string(), "buffer": buffer.to_string()});
            let (watcher, mut http, request) = baton.watch_before(&format!("lines-{n}"), "lines", &params)?;
            let mut watcher = watcher.with_large_buffer();
            http.stream.write_all(&request)?;
            rates.push(rate(LINES, read_numbered(&mut watcher, LINES)?));
        }
        let mut beside = format!("the agent alone {:.0}/s", median(alone));
        let rate = median(rates);
        if !bare.is_empty() {
            let bare = median(bare);
            write!(beside, "; a bare producer to a bare consumer {bare:.0}/s, ratio {:.2}", rate / bare)?;
        }
        let what = format!("{LINES} lines of one task, {name}, median of {TRIES}");
        rows.push(Row::at_least(what, rate, target(150_000.0, 120_000.0)).beside(beside));
    }
    Ok(rows)
}

#[allow(clippy::cast_precision_loss)]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Reads a whole task, and checks that each of its lines comes once and in order. From the first line to the end.
fn read_numbered(watcher: &mut WebSocket, count: u64) -> Result<Duration> {
    let (mut begun, mut next) = (Instant::now(), 0);
    loop {
        let Frame::Text(text) = watcher.next()? else { return Err("closed early".into()) };
        match text {
            b"Starting..." => {}
            b"DONE" if next == count => return Ok(begun.elapsed()),
            line => {
                if next == 0 {
                    begun = Instant::now();
                }
                let number = line.iter().take(7).fold(0, |n, digit| n * 10 + u64::from(digit.wrapping_sub(b'0')));
                if number != next {
                    return Err(format!("{:?} came where {next} was due", String::from_utf8_lossy(line)).into());
                }
                next += 1;
            }
        }
    }
}

fn agents_own_lines(buffer: u64) -> Result<Duration> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([agent::WORD, "lines", &LINES.to_string(), &buffer.to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut pipe = child.stdout.take().ok_or("no pipe")?;
    let (mut chunk, mut begun) = (vec![0; 64 * 1024], None);
    while pipe.read(&mut chunk)? > 0 {
        begun.get_or_insert_with(Instant::now);
    }
    let took = begun.ok_or("no lines")?.elapsed();
    child.wait()?;
    Ok(took)
}

/// A finished task to a new watcher, from its connection to its close.
pub fn replay() -> Result<Vec<Row>> {
    let baton = Baton::start(&[])?;
    let params = json!({"count": REPLAYED.to_string(), "buffer": "8192"});
    let id = baton.submit("lines", &params)?;
    baton.ended(&id)?;
    let mut rows = Vec::new();
    for (query, name) in [("", "plain"), ("?format=json", "JSON")] {
        let mut took = Vec::new();
        for _ in 0..REPLAYS {
            let begun = Instant::now();
            let path = format!("/tasks/{id}/watch{query}");
            let mut watcher = WebSocket::connect(baton.address, &path)?.with_large_buffer();
            let mut frames = 0;
            while let Frame::Text(_) | Frame::Other = watcher.next()? {
                frames += 1;
            }
            if frames != REPLAYED + 2 {
                return Err(format!("{frames} frames").into());
            }
            took.push(begun.elapsed());
        }
        let first = format!("the first, which encodes: {:.1} ms", milliseconds(took[0]));
        let what = format!("replay of {REPLAYED} lines, {name}, p50 of {REPLAYS}");
        rows.push(Row::below(what, Samples::new(took).median(), Duration::from_millis(200)).beside(first));
    }
    Ok(rows)
}

/// Resident memory of an idle watcher among many, and of a finished task.
#[allow(clippy::cast_precision_loss)]
pub fn memory() -> Result<Vec<Row>> {
    let baton = Baton::start(&[])?;
    let id = baton.submit("silent", &json!({}))?;
    // The first few make what all share.
    let _few = fan_out::watchers(baton.address, &id, 10)?;
    let before = baton.resident()?;
    let watchers = fan_out::watchers(baton.address, &id, IDLE)?;
    let each = (baton.resident()? - before) / IDLE as f64 / 1024.0;
    drop(watchers);
    let idle = Row::at_most(format!("memory of an idle watcher, {IDLE} of them"), each, 8.0, "KiB");

    let baton = Baton::start(&["--history-memory", "1GiB"])?;
    let run = || -> Result<String> {
        let id = baton.submit("lines", &json!({"count": REPLAYED.to_string(), "buffer": "8192"}))?;
        baton.ended(&id)?;
        Ok(id)
    };
    run()?;
    let before = baton.resident()?;
    let ids = (0..FINISHED).map(|_| run()).collect::<Result<Vec<_>>>()?;
    let kept = (baton.resident()? - before) / f64::from(FINISHED) / 1024.0 / 1024.0;
    for id in &ids {
        let mut watcher = WebSocket::watch(baton.address, id)?.with_large_buffer();
        while let Frame::Text(_) | Frame::Other = watcher.next()? {}
    }
    let read = (baton.resident()? - before) / f64::from(FINISHED) / 1024.0 / 1024.0;
    let what = format!("memory of a finished task of {REPLAYED} lines");
    let finished = Row::new(what, format!("{kept:.1} MiB")).beside(format!("once it was watched {read:.1} MiB"));
    Ok(vec![idle, finished])
}
