//! Watches a task by server-sent events, through broken connections and restarts of the server: it resumes after the last
//! update that it was given, so that none is missed and none comes twice. It must never take a broken connection for an end.

use super::events::Reader;
use super::http::Server;
use super::screen::{self, Printer};
use crate::report::Failure;
use baton_core::id::UpdateId;
use baton_core::retry::Backoff;
use baton_runtime::ports::World as _;
use baton_runtime::world::SystemWorld;
use reqwest::StatusCode;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a server that was reached once may be away.
const AWAY_FOR: Duration = Duration::from_mins(5);
/// How long to wait before the connection is made again, at first and at most.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A server shows that it lives every 15 s; one that is silent for so long is gone, whatever its socket says.
const SILENT_FOR: Duration = Duration::from_mins(1);

/// How watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The task is done.
    Done,
    /// The task was stopped, or failed.
    Otherwise,
    /// Whoever read the output has gone, as `head` does.
    Unread,
}

/// How one connection ended.
enum Cut {
    Ended(Ended),
    /// Before the task did.
    Broken,
    /// What came makes no sense, and would make none again.
    Nonsense(Failure),
}

/// Prints each update from after `after` on, until the task has ended. `known` says that the server was reached before:
/// then it is waited for if it is away.
pub async fn watch(
    server: &Server,
    id: &str,
    after: Option<UpdateId>,
    known: bool,
    printer: &mut Printer,
) -> Result<Ended, Failure> {
    let [a, b, c, d, ..] = SystemWorld.random();
    let mut backoff = Backoff::new(TRY_AGAIN.0, TRY_AGAIN.1, u32::from_le_bytes([a, b, c, d]).into());
    let mut last = after.map(|id| id.to_string());
    let mut reached = known;
    let mut away: Option<Instant> = None;
    loop {
        let before = last.clone();
        let failure = match connect(server, id, &mut last, printer, away.is_some()).await {
            Ok(Cut::Ended(ended)) => return Ok(ended),
            Ok(Cut::Broken) => None,
            Ok(Cut::Nonsense(failure)) => return Err(failure),
            Err(failure) if !reached => return Err(failure),
            // A server that has not read its log yet after a restart knows no task.
            Err(failure) if !failure.is_unreachable() && server.is_ready().await => return Err(failure),
            Err(failure) => Some(failure),
        };
        if last != before {
            backoff.reset();
        }
        match failure {
            None => {
                reached = true;
                away = None;
            }
            Some(failure) => {
                let since = *away.get_or_insert_with(|| {
                    screen::remark("(the connection is lost; trying again)");
                    Instant::now()
                });
                if since.elapsed() > AWAY_FOR {
                    return Err(failure);
                }
            }
        }
        sleep(backoff.wait()).await;
    }
}

async fn connect(
    server: &Server,
    id: &str,
    last: &mut Option<String>,
    printer: &mut Printer,
    was_away: bool,
) -> Result<Cut, Failure> {
    let mut answer = server.events(id, last.as_deref()).await?;
    match answer.status() {
        StatusCode::OK => {}
        // There is nothing after the terminal update.
        StatusCode::NO_CONTENT => return Ok(Cut::Ended(ended(super::text(&server.show(id).await?, "status")))),
        status => return Err(server.refusal(status, answer).await),
    }
    if !super::http::is_event_stream(&answer) {
        return Err(server.no_baton(answer.status()));
    }
    if was_away {
        screen::remark("(connected again)");
    }
    let mut reader = Reader::default();
    while let Ok(Ok(Some(chunk))) = timeout(SILENT_FOR, answer.chunk()).await {
        if let Err(why) = reader.take(&chunk) {
            return Ok(Cut::Nonsense(server.not_understood(&why)));
        }
        loop {
            let frame = match reader.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(why) => return Ok(Cut::Nonsense(server.not_understood(&why))),
            };
            if !printer.print(&frame)? {
                return Ok(Cut::Ended(Ended::Unread));
            }
            *last = Some(super::text(&frame, "id").to_owned());
            if let kind @ ("done" | "stopped" | "failed") = super::text(&frame, "kind") {
                printer.flush()?;
                return Ok(Cut::Ended(ended(kind)));
            }
        }
        // A chunk's lines go out together; none waits for the next chunk.
        if !printer.flush()? {
            return Ok(Cut::Ended(Ended::Unread));
        }
    }
    Ok(Cut::Broken)
}

fn ended(kind: &str) -> Ended {
    if kind == "done" { Ended::Done } else { Ended::Otherwise }
}
