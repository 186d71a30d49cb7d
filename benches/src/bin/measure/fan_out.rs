//! One line to many watchers: from the agent's write to each of them, and to the last. Beside it, a process that reads the
//! same agent's pipe and writes the same frames to as many sockets, one after the other.

use crate::Result;
use crate::agent::monotonic_nanos;
use crate::bare::{self, Bare};
use crate::clients::{Frame, WITHIN, WebSocket};
use crate::server::{Baton, kafka, target};
use crate::stats::{Row, Samples, milliseconds};
use rustix::event::epoll;
use serde_json::json;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// One watcher shows what each line costs before it is fanned out.
const WATCHERS: [usize; 3] = [1, 100, 1000];
const TICKS: usize = 100;
const EVERY_MS: u64 = 50;
/// How much slower than the bare loop Baton may be.
const OVER_BARE: f64 = 1.2;
/// At this many watchers: with fewer, the way through the log is most of it.
const GOAL_AT: usize = 1000;
/// What Kafka may add to that, where it is in between.
const KAFKAS_OWN_MS: f64 = 5.0;
/// On Kafka there is a goal for fewer, that has its way in it.
const GOAL_ON_KAFKA_AT: usize = 100;
const P50_ON_KAFKA: Duration = Duration::from_millis(5);
const P99_ON_KAFKA: Duration = Duration::from_millis(15);

pub fn fan_out() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for count in WATCHERS {
        let baton = Baton::start(&[])?;
        let gate = baton.file("gate");
        let bare_gate = baton.file("bare-gate");
        let bare_words = [
            bare::FAN_OUT,
            &count.to_string(),
            "ticks",
            &bare_gate.to_string_lossy(),
            &TICKS.to_string(),
            &EVERY_MS.to_string(),
        ];
        let bare = Bare::start(&bare_words)?;
        let bare = delays(watchers(bare.address, "bare", count)?, &bare_gate)?;
        let params = json!({
            "gate": gate.to_string_lossy(), "count": TICKS.to_string(), "every_ms": EVERY_MS.to_string(),
        });
        let id = baton.submit("ticks", &params)?;
        let mine = delays(watchers(baton.address, &id, count)?, &gate)?;
        for (name, mine, bare) in [("each of", &mine.0, &bare.0), ("the last of", &mine.1, &bare.1)] {
            let shown = |s: &Samples| (milliseconds(s.median()), milliseconds(s.p99()));
            let ((p50, p99), (bare50, bare99)) = (shown(mine), shown(bare));
            let beside =
                format!("p99 {p99:.2} ms; a bare loop p50 {bare50:.2}, p99 {bare99:.2} ms; ratio {:.2}", p50 / bare50);
            let what = match count {
                1 => format!("a line to its only watcher, p50 of {TICKS} lines"),
                _ => format!("a line to {name} {count} watchers, p50 of {TICKS} lines"),
            };
            let row = if count == GOAL_AT {
                Row::at_most(what, p50, bare50 * OVER_BARE + target(0.0, KAFKAS_OWN_MS), "ms")
            } else if count == GOAL_ON_KAFKA_AT && name == "each of" && kafka().is_some() {
                rows.push(Row::below(what.replace("p50", "p99"), mine.p99(), P99_ON_KAFKA));
                Row::below(what, mine.median(), P50_ON_KAFKA)
            } else {
                Row::new(what, format!("{p50:.2} ms"))
            };
            rows.push(row.beside(beside));
            if count == 1 {
                break;
            }
        }
    }
    Ok(rows)
}

/// That many watchers of a task that has begun.
pub fn watchers(address: SocketAddr, id: &str, count: usize) -> Result<Vec<WebSocket>> {
    let mut watchers = (0..count).map(|_| WebSocket::watch(address, id)).collect::<Result<Vec<_>>>()?;
    for watcher in &mut watchers {
        watcher.wait_for("Starting...")?;
    }
    Ok(watchers)
}

/// Opens the gate, and reads all ticks at all watchers: how late each was, and how late the last of each tick.
fn delays(mut watchers: Vec<WebSocket>, gate: &Path) -> Result<(Samples, Samples)> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (n, watcher) in watchers.iter().enumerate() {
        epoll::add(&epoll, &watcher.stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
    }
    let mut seen = vec![0; watchers.len()];
    let (mut all, mut last) = (Vec::new(), vec![Duration::ZERO; TICKS]);
    let mut events = Vec::with_capacity(watchers.len());
    File::create(gate)?;
    let within = rustix::event::Timespec::try_from(WITHIN)?;
    while all.len() < TICKS * watchers.len() {
        if epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&within))? == 0 {
            return Err("a line is missing".into());
        }
        for event in events.drain(..) {
            let n = usize::try_from(event.data.u64())?;
            let watcher = &mut watchers[n];
            watcher.fill()?;
            let now = monotonic_nanos();
            while watcher.has_frame() {
                let Frame::Text(text) = watcher.take() else { continue };
                let Some(sent) = std::str::from_utf8(text).ok().and_then(|t| t.trim().parse::<u64>().ok()) else {
                    continue;
                };
                let late = Duration::from_nanos(now.saturating_sub(sent));
                all.push(late);
                last[seen[n]] = last[seen[n]].max(late);
                seen[n] += 1;
            }
            if seen[n] == TICKS {
                // What comes now is the end, of no interest here.
                epoll::delete(&epoll, &watcher.stream)?;
            }
        }
    }
    Ok((Samples::new(all), Samples::new(last)))
}
