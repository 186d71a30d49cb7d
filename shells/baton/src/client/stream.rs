//! Watches a task by server-sent events, through broken connections and restarts of the server: it resumes after the last
//! update that it was given, so that none is missed and none comes twice.

use super::http::Server;
use crate::report::Failure;
use baton_core::retry::Backoff;
use baton_runtime::ports::World as _;
use baton_runtime::world::SystemWorld;
use reqwest::StatusCode;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a server that was reached once may be away.
const AWAY_FOR: Duration = Duration::from_mins(5);
const TRY_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Done,
    /// Stopped, or failed.
    Otherwise,
}

/// How one connection ended.
enum Cut {
    Ended(Ended),
    /// Before the task did.
    Broken,
}

/// Gives each frame to `show`, until the task has ended.
pub async fn watch(server: &Server, id: &str, after: Option<String>, show: impl Fn(&Value)) -> Result<Ended, Failure> {
    let mut last = after;
    let mut backoff = Backoff::new(TRY_AGAIN.0, TRY_AGAIN.1, u64::from(SystemWorld.random()[0]));
    let mut away_since: Option<Instant> = None;
    let mut reached = false;
    loop {
        let before = last.clone();
        let failure = match connect(server, id, &mut last, &show).await {
            Ok(Cut::Ended(ended)) => return Ok(ended),
            Ok(Cut::Broken) => {
                reached = true;
                None
            }
            Err(failure) if !reached || !failure.is_unreachable() => return Err(failure),
            Err(failure) => Some(failure),
        };
        if last != before || failure.is_none() {
            backoff.reset();
            away_since = None;
        }
        let since = *away_since.get_or_insert_with(|| {
            eprintln!("(the connection is lost; trying again)");
            Instant::now()
        });
        if let Some(failure) = failure.filter(|_| since.elapsed() > AWAY_FOR) {
            return Err(failure);
        }
        sleep(backoff.wait()).await;
    }
}

async fn connect(server: &Server, id: &str, last: &mut Option<String>, show: &impl Fn(&Value)) -> Result<Cut, Failure> {
    let mut answer = server.events(id, last.as_deref()).await?;
    match answer.status() {
        StatusCode::OK => {}
        // There is nothing after the terminal update.
        StatusCode::NO_CONTENT => return Ok(Cut::Ended(ended(super::text(&server.show(id).await?, "status")))),
        status => return Err(server.refusal(status, answer).await),
    }
    let mut buffer = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        buffer.extend_from_slice(&chunk);
        while let Some(end) = find(&buffer, b"\n\n") {
            let event: Vec<u8> = buffer.drain(..end + 2).collect();
            let Some(frame) = frame_of(&event) else { continue };
            *last = Some(super::text(&frame, "id").to_owned());
            show(&frame);
            if let kind @ ("done" | "stopped" | "failed") = super::text(&frame, "kind") {
                return Ok(Cut::Ended(ended(kind)));
            }
        }
    }
    Ok(Cut::Broken)
}

fn ended(kind: &str) -> Ended {
    if kind == "done" { Ended::Done } else { Ended::Otherwise }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The JSON of an event; `None` for a comment.
fn frame_of(event: &[u8]) -> Option<Value> {
    let data = event.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: "))?;
    serde_json::from_slice(data).ok()
}
