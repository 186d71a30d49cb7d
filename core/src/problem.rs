//! What a client is told when it can't have what it asked for: problem details, as RFC 9457 has them.

use crate::time::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error for a client, with the HTTP status that it goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct Problem {
    /// A name for this sort of problem, stable for programs: `/problems/…`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do.
    pub detail: String,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// When to try again.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// A field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The path of the field: `params.file_path`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FieldError {
    /// A field, and what is wrong with it.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl Problem {
    fn new(status: u16, slug: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{slug}"),
            title: title.into(),
            status,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// 400: the body can't be read.
    pub fn not_json(detail: impl Into<String>) -> Self {
        Self::new(400, "not-json", "The body is not valid JSON", detail)
    }

    /// 400: a header or the request itself can't be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(400, "bad-request", "The request can't be understood", detail)
    }

    /// 404: no such path.
    pub fn no_such_path(path: &str) -> Self {
        Self::new(404, "no-such-path", "There is nothing at this path", format!("there is nothing at {path}"))
    }

    /// 503: what the log holds is not known yet.
    pub fn still_reading() -> Self {
        Self::unavailable("the API is still reading the log", Duration::from_secs(1))
    }

    /// 404: no such task.
    pub fn no_such_task(id: &str) -> Self {
        let detail =
            format!("there is no task {id:?}: it was never submitted here, or it ended longer ago than tasks are kept");
        Self::new(404, "no-such-task", "There is no such task", detail)
    }

    /// 404: no such project.
    pub fn no_such_project(detail: impl Into<String>) -> Self {
        Self::new(404, "no-such-project", "There is no such project", detail)
    }

    /// 404: no such dead letter.
    pub fn no_such_letter(id: &str) -> Self {
        let detail = format!(
            "there is no dead letter {id:?}: its task has not failed, or it was purged, or its retention is over, or so many failed since that it is no longer listed"
        );
        Self::new(404, "no-such-dead-letter", "There is no such dead letter", detail)
    }

    /// 405: not by this method.
    pub fn method_not_allowed(method: &str, path: &str, allowed: &str) -> Self {
        let detail = format!("{path} takes {allowed}, not {method}");
        Self::new(405, "method-not-allowed", "The path does not take this method", detail)
    }

    /// 409: the idempotency key stands for something else.
    pub fn key_reused() -> Self {
        let detail = "this Idempotency-Key was sent before with a different body; send a new key for a new task";
        Self::new(409, "idempotency-key-reused", "The idempotency key was used for another task", detail)
    }

    /// 409: too late to stop.
    pub fn already_ended(id: &str, status: &str) -> Self {
        let detail = format!("the task {id} has ended already: {status}");
        Self::new(409, "already-ended", "The task has ended", detail)
    }

    /// 409: there is no task in the dead letter.
    pub fn not_redrivable() -> Self {
        let detail =
            "its record could not be read as a task, so there is nothing to run again; what it held is in `unreadable`";
        Self::new(409, "not-redrivable", "The dead letter holds no task", detail)
    }

    /// 409: the id still stands for the task that failed.
    pub fn id_in_use(id: &str, forgotten_at: Timestamp) -> Self {
        let detail = format!(
            "the id {id} still stands for the task that failed: who watches it would be told of the old end, and a worker may take the new task for one it has seen. All have forgotten it after {forgotten_at}; until then it can be redriven under a new id"
        );
        Self::new(409, "id-in-use", "The task's id can't be used again yet", detail)
    }

    /// 413: too large.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "too-large", "The body is too large", format!("a body may have at most {limit} bytes"))
    }

    /// 422: understood, and wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|e| format!("{}: {}", e.field, e.reason)).collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(422, "invalid", "The request is not valid", detail) }
    }

    /// 422 for one field.
    pub fn invalid_field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, reason)])
    }

    /// 429: come back later.
    pub fn too_many(detail: impl Into<String>, retry_after: Duration) -> Self {
        let problem = Self::new(429, "too-many", "There is too much waiting", detail);
        Self { retry_after: Some(retry_after), ..problem }
    }

    /// 500: the project's config is of no use.
    pub fn unusable_project(detail: impl Into<String>) -> Self {
        Self::new(500, "unusable-project", "The project's config can't be used", detail)
    }

    /// 503: come back later.
    pub fn unavailable(detail: impl Into<String>, retry_after: Duration) -> Self {
        let problem = Self::new(503, "unavailable", "The service can't do this now", detail);
        Self { retry_after: Some(retry_after), ..problem }
    }

    /// The problem as a body.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a problem has string keys")
    }
}
