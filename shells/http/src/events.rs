//! Server-sent events: the updates of a task as an `EventSource` reads them, from any update on to the end.
//! The events are the hub's ready bytes; nothing is encoded or copied here.

use crate::answer::Refused;
use crate::options::{COME_BACK_AFTER, Options, RECONNECT_AFTER};
use crate::query::{Query, read_after};
use crate::routes::{Shell, task_id};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use baton_core::hub::Format;
use baton_core::id::UpdateId;
use baton_core::problem::Problem;
use baton_runtime::api::{Next, Watcher};
use baton_runtime::ports::{Log, LogError, World};
use bytes::Bytes;
use futures_util::stream::unfold;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

pub async fn events<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let id = task_id(id, &uri)?;
    let after = resume_after(&headers, &Query::decode(query.as_deref())?)?;
    let place = shell.watcher_place()?;
    let mut watcher = shell.api.watch(&id, after).await?;
    let first = match watcher.next_now().await.map_err(|error| unreadable(&error))? {
        // An EventSource reconnects after every end, until it is told that there is no more.
        Some(Next::End) => return Ok(StatusCode::NO_CONTENT.into_response()),
        Some(Next::Forgotten) => return Err(Problem::no_such_task(id.as_str()).into()),
        first => first,
    };
    let closing = Box::pin(shell.shutdown.closing());
    let mut events = Events::new(watcher, closing, place, &shell.options).await;
    if let Some(next) = first {
        events.take(next);
    }
    let stream = unfold(events, |mut events| async {
        let bytes = events.next().await?;
        Some((Ok::<_, Infallible>(bytes), events))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies of the nginx kind would keep events back until they have a bufferful.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// A reconnecting browser asks by header, and with the query that it began with.
fn resume_after(headers: &HeaderMap, query: &Query) -> Result<UpdateId, Problem> {
    let asked = read_after(query)?;
    match headers.get("last-event-id").filter(|id| !id.is_empty()) {
        None => Ok(asked),
        Some(id) => id
            .to_str()
            .ok()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Problem::bad_request(format!("Last-Event-ID {}", baton_core::id::BadUpdateId))),
    }
}

/// 503: the history can't be read now.
pub fn unreadable(error: &LogError) -> Problem {
    Problem::unavailable(error.to_string(), COME_BACK_AFTER)
}

/// One open stream.
struct Events<L, W> {
    watcher: Watcher<L, W>,
    ready: VecDeque<Bytes>,
    ended: bool,
    heartbeat: Interval,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: OwnedSemaphorePermit,
}

impl<L: Log, W: World> Events<L, W> {
    async fn new(
        watcher: Watcher<L, W>,
        closing: Pin<Box<dyn Future<Output = ()> + Send>>,
        place: OwnedSemaphorePermit,
        options: &Options,
    ) -> Self {
        let retry = format!("retry: {}\n\n", RECONNECT_AFTER.as_millis());
        let mut heartbeat = interval(options.heartbeat_every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.tick().await; // the first comes at once
        let ready = VecDeque::from([retry.into()]);
        Self { watcher, ready, ended: false, heartbeat, closing, _place: place }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                () = &mut self.closing => return None,
                next = self.watcher.next() => match next {
                    Ok(next) => self.take(next),
                    Err(error) => {
                        tracing::warn!(%error, "an event stream was cut; its reader will come back");
                        return None;
                    }
                },
                _ = self.heartbeat.tick() => return Some(Bytes::from_static(b":\n\n")),
            }
        }
    }

    fn take(&mut self, next: Next) {
        let Next::Segments(segments) = next else {
            self.ended = true;
            return;
        };
        self.ended = segments.last().is_some_and(|(segment, _)| segment.ends_task());
        let frames = segments.iter().map(|(segment, first)| segment.frames(Format::Events, *first));
        self.ready.extend(frames.filter(|frames| !frames.is_empty()));
    }
}
