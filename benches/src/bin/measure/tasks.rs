//! Measures of single tasks: how soon Baton is there, takes a task, shows its first line, and stops it.

use crate::bare::{self, Bare};
use crate::clients::{Http, WebSocket, post};
use crate::server::{Baton, body, target};
use crate::stats::{Row, Samples, median, milliseconds};
use crate::{Result, agent};
use rustix::event::epoll;
use serde_json::json;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const STARTS: usize = 11;
const DISPATCHES: usize = 100;
const STOPS: usize = 200;
const NO_OPS: usize = 200;
const POSTS: usize = 1000;
const CLIENTS: usize = 32;
const POSTING: Duration = Duration::from_secs(2);
const TRIES: usize = 5;

/// From the spawn on an empty directory to the first 200 of `/readyz`.
pub fn start_up() -> Result<Vec<Row>> {
    let runs = (0..STARTS).map(|_| Ok(Baton::start(&[])?.ready_after)).collect::<Result<_>>()?;
    let runs = Samples::new(runs);
    let what = format!("start-up on an empty directory, p50 of {}", runs.len());
    Ok(vec![Row::below(what, runs.median(), Duration::from_millis(200))])
}

/// From the POST to the agent's first line at a watcher that is there already, and what the agent takes by itself.
pub fn dispatch() -> Result<Vec<Row>> {
    let baton = Baton::start(&[])?;
    let (mut whole, mut own) = (Vec::new(), Vec::new());
    for n in 0..DISPATCHES {
        own.push(agents_own_start()?);
        whole.push(first_line(&baton, &format!("dispatch-{n}"))?);
    }
    let (whole, own) = (Samples::new(whole), Samples::new(own));
    let less = whole.median().saturating_sub(own.median());
    let beside = format!(
        "whole: p50 {:.2}, p99 {:.2} ms; the agent alone {:.2} ms",
        milliseconds(whole.median()),
        milliseconds(whole.p99()),
        milliseconds(own.median())
    );
    let what = format!("POST to first line, less the agent's start, p50 of {}", whole.len());
    Ok(vec![Row::below(what, less, target(Duration::from_millis(5), Duration::from_millis(20))).beside(beside)])
}

fn agents_own_start() -> Result<Duration> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([agent::WORD, "hello"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    let took = begun.elapsed();
    child.wait()?;
    Ok(took)
}

fn first_line(baton: &Baton, key: &str) -> Result<Duration> {
    let (mut watcher, mut http, request) = baton.watch_before(key, "hello", &json!({}))?;
    let begun = Instant::now();
    http.stream.write_all(&request)?;
    watcher.wait_for("hello")?;
    let took = begun.elapsed();
    watcher.wait_for("DONE")?;
    Ok(took)
}

/// POSTs of tasks that stay queued behind one that sleeps, so that only the POST is measured; kept-alive connections.
/// The bare server reads the same body, and answers the same at once, without a log.
pub fn posts() -> Result<Vec<Row>> {
    let baton = Baton::start(&["--max-queued", "100000000"])?;
    baton.submit("silent", &json!({}))?;
    let bare = Bare::start(&[bare::POSTS])?;
    let request = post(&body("hello", &json!({})), None);
    let singly = |address| -> Result<Samples> {
        let mut http = Http::connect(address)?;
        let mut took = Vec::new();
        for _ in 0..POSTS {
            let begun = Instant::now();
            http.stream.write_all(&request)?;
            let (status, _) = http.answer()?;
            took.push(begun.elapsed());
            if status != 202 {
                return Err(format!("POST: {status}").into());
            }
        }
        Ok(Samples::new(took))
    };
    let (mine, other) = (singly(baton.address)?, singly(bare.address)?);
    let beside =
        format!("p99 {:.2} ms; bare axum p50 {:.2} ms", milliseconds(mine.p99()), milliseconds(other.median()));
    let what = format!("POST, one client, p50 of {POSTS} (tasks stay queued)");
    let alone = Row::below(what, mine.median(), Duration::from_millis(2)).beside(beside);

    let (mut rates, mut bare_rates, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TRIES {
        bare_rates.push(at_once(bare.address, &request)?.0);
        let (rate, mut took) = at_once(baton.address, &request)?;
        rates.push(rate);
        latencies.append(&mut took);
    }
    let (rate, bare_rate, latencies) = (median(rates), median(bare_rates), Samples::new(latencies));
    let (p50, p99) = (milliseconds(latencies.median()), milliseconds(latencies.p99()));
    let beside = format!("bare axum {bare_rate:.0}/s, ratio {:.2}; p50 {p50:.2}, p99 {p99:.2} ms", rate / bare_rate);
    let many = Row::at_least(format!("POST, {CLIENTS} clients, median of {TRIES}"), rate, 5000.0).beside(beside);
    Ok(vec![alone, many])
}

/// All clients post as fast as they are answered, from one thread: answers a second, and how long each took.
fn at_once(address: SocketAddr, request: &[u8]) -> Result<(f64, Vec<Duration>)> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let http = Http::connect(address)?;
        epoll::add(&epoll, &http.stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
        clients.push((http, Instant::now()));
    }
    let begun = Instant::now();
    for (http, sent) in &mut clients {
        *sent = Instant::now();
        http.stream.write_all(request)?;
    }
    let (mut took, mut events) = (Vec::new(), Vec::with_capacity(CLIENTS));
    while begun.elapsed() < POSTING {
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let (http, sent) = &mut clients[usize::try_from(event.data.u64())?];
            let (status, _) = http.answer()?;
            if status != 202 {
                return Err(format!("POST: {status}").into());
            }
            took.push(sent.elapsed());
            *sent = Instant::now();
            http.stream.write_all(request)?;
        }
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, took))
}

/// Tasks that do nothing, one after the other in each slot: how many end in a second.
pub fn no_ops() -> Result<Vec<Row>> {
    [1, 4].into_iter().map(no_ops_with).collect()
}

fn no_ops_with(slots: usize) -> Result<Row> {
    let baton = Baton::start_with(&[], &["--slots", &slots.to_string()])?;
    let mut rates = Vec::new();
    for _ in 0..TRIES {
        let ids = (0..NO_OPS).map(|_| baton.submit("hello", &json!({}))).collect::<Result<Vec<_>>>()?;
        let begun = Instant::now();
        let queued = baton.count("queued")?;
        for id in &ids {
            baton.ended(id)?;
        }
        #[allow(clippy::cast_precision_loss)]
        rates.push(queued as f64 / begun.elapsed().as_secs_f64());
    }
    let plural = if slots == 1 { "slot" } else { "slots" };
    Ok(Row::new(
        format!("tasks that do nothing, {slots} {plural}, median of {TRIES}"),
        format!("{:.0}/s", median(rates)),
    ))
}

/// From the STOP to STOPPED at the watcher that sent it, of an agent that says nothing.
pub fn stops() -> Result<Vec<Row>> {
    let baton = Baton::start(&[])?;
    let mut took = Vec::new();
    for _ in 0..STOPS {
        let id = baton.submit("silent", &json!({}))?;
        let mut watcher = WebSocket::watch(baton.address, &id)?;
        watcher.wait_for("ready")?;
        let begun = Instant::now();
        watcher.send_stop()?;
        watcher.wait_for("STOPPED")?;
        took.push(begun.elapsed());
    }
    let took = Samples::new(took);
    let beside = format!("p50 {:.2} ms", milliseconds(took.median()));
    let what = format!("STOP of a silent agent to STOPPED, p99 of {STOPS}");
    Ok(vec![Row::below(what, took.p99(), target(Duration::from_millis(20), Duration::from_millis(50))).beside(beside)])
}
