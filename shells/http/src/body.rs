//! Reads the body of a request: bounded in size and in time, whatever its headers claim.

use crate::answer::too_slow;
use crate::options::{BODY_WITHIN, MAX_BODY, MAX_DISCARDED};
use axum::body::Body;
use axum::http::{HeaderMap, header};
use baton_core::problem::Problem;
use futures_util::StreamExt;
use tokio::time::timeout;

/// The whole body.
pub async fn read_body(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    let claimed = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // Whoever waits for a 100 has sent nothing yet, and is told at once.
    if claimed.is_some_and(|length| length > MAX_BODY) && headers.contains_key(header::EXPECT) {
        return Err(Problem::too_large(MAX_BODY));
    }
    let room = claimed.unwrap_or(0).min(MAX_BODY);
    let late =
        |_| too_slow(format!("the body did not arrive within {BODY_WITHIN:?}; send it at once, or make it smaller"));
    timeout(BODY_WITHIN, collect(body, room)).await.map_err(late)?
}

async fn collect(body: Body, room: usize) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::with_capacity(room);
    let mut total = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| Problem::bad_request(format!("the body could not be read to its end: {e}")))?;
        total += chunk.len();
        if total <= MAX_BODY {
            whole.extend_from_slice(&chunk);
        } else {
            // Answered before it has sent all, a client would see its connection reset, not the answer.
            whole = Vec::new();
            if total > MAX_DISCARDED {
                break;
            }
        }
    }
    if total > MAX_BODY { Err(Problem::too_large(MAX_BODY)) } else { Ok(whole) }
}
