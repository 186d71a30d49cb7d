//! The agent's own lines as text: what is there now, or on to the end. A body that can't be finished is broken off, never
//! ended as if it were whole.

use crate::answer::{Refused, with_type};
use crate::events::unreadable;
use crate::query::{LinesQuery, Query};
use crate::routes::{Shell, task_id};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use baton_core::hub::Segment;
use baton_core::id::UpdateId;
use baton_core::problem::Problem;
use baton_runtime::api::{Next, Watcher};
use baton_runtime::ports::{Log, World};
use bytes::Bytes;
use futures_util::stream::unfold;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

pub async fn lines<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let id = task_id(id, &uri)?;
    let query = LinesQuery::read(&Query::decode(query.as_deref())?)?;
    let place = shell.watcher_place()?;
    let mut watcher = shell.api.watch(&id, UpdateId::default()).await?;
    let first = watcher.next_now().await.map_err(|error| unreadable(&error))?;
    if matches!(first, Some(Next::Forgotten)) {
        return Err(Problem::no_such_task(id.as_str()).into());
    }
    let closing = Box::pin(shell.shutdown.closing());
    let mut lines = Lines { watcher, query, ready: VecDeque::new(), ended: false, closing, _place: place };
    match first {
        Some(Next::Segments(segments)) => lines.take(segments),
        _ => lines.ended = !lines.query.follow || first.is_some(),
    }
    let stream = unfold(Some(lines), |lines| async {
        let mut lines = lines?;
        match lines.next().await {
            Ok(text) => text.map(|text| (Ok(text), Some(lines))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(with_type(StatusCode::OK, "text/plain; charset=utf-8", Body::from_stream(stream)))
}

/// One open body.
struct Lines<L, W> {
    watcher: Watcher<L, W>,
    query: LinesQuery,
    ready: VecDeque<(Arc<Segment>, usize)>,
    ended: bool,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: OwnedSemaphorePermit,
}

impl<L: Log, W: World> Lines<L, W> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            while let Some((segment, first)) = self.ready.pop_front() {
                let text = segment.lines(self.query.attempt, first);
                if !text.is_empty() {
                    return Ok(Some(text));
                }
            }
            if self.ended {
                return Ok(None);
            }
            let next = if self.query.follow {
                tokio::select! {
                    biased;
                    () = &mut self.closing => return Err(io::Error::other("the server is shutting down")),
                    next = self.watcher.next() => next.map(Some),
                }
            } else {
                self.watcher.next_now().await
            };
            match next.map_err(io::Error::other)? {
                Some(Next::Segments(segments)) => self.take(segments),
                Some(Next::End) | None => self.ended = true,
                Some(Next::Forgotten) => return Err(io::Error::other("the task's history has gone meanwhile")),
            }
        }
    }

    fn take(&mut self, segments: Vec<(Arc<Segment>, usize)>) {
        self.ended = segments.last().is_some_and(|(segment, _)| segment.ends_task());
        self.ready.extend(segments);
    }
}
