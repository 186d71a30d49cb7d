//! Answers: JSON, problems, and what each answer has in common. No error leaves this shell but as a problem.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use baton_core::problem::{MEDIA_TYPE, Problem};
use serde_json::Value;
use tokio::time::Instant;

/// What a handler can't do.
#[derive(Debug)]
pub struct Refused(pub Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = with_type(status, MEDIA_TYPE, problem.to_json());
        if let Some(after) = problem.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1).to_string();
            put(&mut response, header::RETRY_AFTER, &seconds);
        }
        response
    }
}

/// An answer with a body of this media type.
pub fn with_type(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &Value) -> Response {
    with_type(status, "application/json", value.to_string())
}

/// Sets a header, if its value can be one.
pub fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn problem(status: StatusCode, slug: &str, title: &str, detail: impl Into<String>) -> Problem {
    Problem {
        kind: format!("/problems/{slug}"),
        title: title.into(),
        status: status.as_u16(),
        detail: detail.into(),
        errors: Vec::new(),
        retry_after: None,
    }
}

/// 403: someone else's web page asks.
pub fn forbidden(detail: impl Into<String>) -> Problem {
    problem(StatusCode::FORBIDDEN, "forbidden", "The request comes from the wrong place", detail)
}

/// 408: the body did not come in time.
pub fn too_slow(detail: impl Into<String>) -> Problem {
    problem(StatusCode::REQUEST_TIMEOUT, "too-slow", "The request took too long to arrive", detail)
}

/// 426: the path speaks WebSocket.
pub fn upgrade_required(detail: impl Into<String>) -> Problem {
    problem(StatusCode::UPGRADE_REQUIRED, "upgrade-required", "The path speaks WebSocket", detail)
}

/// What all answers have in common, and the one line that each request leaves in the logs.
pub async fn finish(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = method_not_allowed(method.as_str(), &path, &response);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let (status, elapsed) = (response.status().as_u16(), started.elapsed());
    let task = path.strip_prefix("/tasks/").map(|rest| rest.split('/').next().unwrap_or_default());
    // A probe that is told to wait is no trouble.
    if response.status().is_server_error() && path != "/readyz" {
        tracing::warn!(%method, path, status, ?elapsed, task, "request failed");
    } else {
        tracing::debug!(%method, path, status, ?elapsed, task, "request");
    }
    response
}

/// The router has found out what the path does take.
fn method_not_allowed(method: &str, path: &str, bare: &Response) -> Response {
    let allow = bare.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok()).unwrap_or_default();
    let allow = allow.replace(',', ", ");
    let mut response = Refused(Problem::method_not_allowed(method, path, &allow)).into_response();
    put(&mut response, header::ALLOW, &allow);
    response
}
