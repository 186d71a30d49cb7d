//! The calls about dead letters: listed, shown, redriven, purged. What may be redriven is decided by the core.

use crate::answer::{Refused, json, put, with_type};
use crate::options::COME_BACK_AFTER;
use crate::page;
use crate::query::{Query, RedriveQuery};
use crate::routes::Shell;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use baton_core::hub::LettersQuery;
use baton_core::id::TaskId;
use baton_core::problem::Problem;
use baton_runtime::ports::{Log, World};
use serde_json::json;

/// The letter that the path names.
fn letter_id(path: Result<Path<String>, PathRejection>, uri: &Uri) -> Result<TaskId, Problem> {
    let named = uri.path().split('/').nth(2).unwrap_or_default();
    let Path(id) = path.map_err(|_| Problem::no_such_letter(named))?;
    id.parse().map_err(|_| Problem::no_such_letter(&id))
}

/// `GET /dead-letters`.
pub async fn list<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if page::is_wanted(&headers) {
        return Ok(page::page().await);
    }
    let query = Query::decode(query.as_deref())?;
    let page = shell.api.letters(&LettersQuery::read(query.fields())?)?;
    Ok(with_type(StatusCode::OK, "application/json", serde_json::to_vec(&page).expect("a page has string keys")))
}

/// `GET /dead-letters/{id}`.
pub async fn show<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Refused> {
    let letter = shell.api.letter(&letter_id(id, &uri)?).await?;
    Ok(with_type(StatusCode::OK, "application/json", serde_json::to_vec(&letter).expect("a letter has string keys")))
}

/// `POST /dead-letters/{id}/redrive`.
pub async fn redrive<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    uri: Uri,
) -> Result<Response, Refused> {
    if shell.shutdown.is_draining() {
        return Err(Problem::unavailable("the server is shutting down, and takes no new tasks", COME_BACK_AFTER).into());
    }
    let id = letter_id(id, &uri)?;
    let query = RedriveQuery::read(&Query::decode(query.as_deref())?)?;
    let task_id = shell.api.redrive(&id, query.same_id).await?;
    let status = shell.api.view(&task_id)?.status;
    let answer = json!({"task_id": task_id, "status": status, "redriven_from": id});
    let mut response = json(StatusCode::ACCEPTED, &answer);
    put(&mut response, header::LOCATION, &format!("/tasks/{task_id}"));
    Ok(response)
}

/// `DELETE /dead-letters/{id}`.
pub async fn purge<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Refused> {
    let id = letter_id(id, &uri)?;
    shell.api.purge(&id).await?;
    Ok(json(StatusCode::OK, &json!({"id": id, "status": "purged"})))
}
