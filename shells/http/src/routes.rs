//! The table of calls, and the short ones among them. Each reads what was asked, calls the API, and writes what it said.

use crate::answer::{self, Refused, json, put, with_type};
use crate::options::{COME_BACK_AFTER, Options};
use crate::query::{Query, SearchQuery, WindowQuery, read_switch};
use crate::shutdown::Shutdown;
use crate::{body, events, guard, index, letters, lines, page, watch};
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use baton_core::hub::ListQuery;
use baton_core::id::TaskId;
use baton_core::problem::Problem;
use baton_core::run::StopWish;
use baton_core::time::Timestamp;
use baton_core::trace::TraceParent;
use baton_runtime::api::Api;
use baton_runtime::ports::{Log, World};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What every handler has at hand.
pub(crate) struct Shell<L, W> {
    pub api: Api<L, W>,
    pub options: Arc<Options>,
    pub shutdown: Shutdown,
    /// Tells the lists of this process from those of the one before it.
    started: Timestamp,
    watchers: Arc<Semaphore>,
}

impl<L, W> Clone for Shell<L, W> {
    fn clone(&self) -> Self {
        Self {
            api: self.api.clone(),
            options: self.options.clone(),
            shutdown: self.shutdown.clone(),
            started: self.started,
            watchers: self.watchers.clone(),
        }
    }
}

impl<L, W> Shell<L, W> {
    /// A place for one more watcher, held as long as the permit is.
    pub fn watcher_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        if self.shutdown.is_closing() {
            return Err(Problem::unavailable("the server is shutting down", COME_BACK_AFTER));
        }
        self.watchers.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("there are {} watchers, as many as may be", self.options.max_watchers);
            Problem::unavailable(detail, COME_BACK_AFTER)
        })
    }
}

/// The whole API. `more` are routes of someone else's, which get the same guard, problems and logs;
/// [`crate::serve`] serves it, with the same options and shutdown.
pub fn router<L: Log, W: World>(api: Api<L, W>, options: &Options, shutdown: &Shutdown, more: Router) -> Router {
    let options = Arc::new(options.clone());
    let watchers = Arc::new(Semaphore::new(options.max_watchers.min(Semaphore::MAX_PERMITS)));
    let started = api.wall();
    let shell = Shell { api, options: options.clone(), shutdown: shutdown.clone(), started, watchers };
    let calls = Router::new()
        .route("/", get(index::index))
        .route("/tasks", post(submit).get(list))
        .route("/tasks/{id}", get(show).delete(stop))
        .route("/tasks/{id}/watch", get(watch::watch))
        .route("/tasks/{id}/events", get(events::events))
        .route("/tasks/{id}/log", get(lines::lines))
        .route("/tasks/{id}/updates", get(updates))
        .route("/tasks/{id}/search", get(search))
        .route("/types", get(types))
        .route("/cluster", get(cluster))
        .route("/new", get(page::page))
        .route("/assets/{file}", get(page::asset))
        .route("/dead-letters", get(letters::list))
        .route("/dead-letters/{id}", get(letters::show).delete(letters::purge))
        .route("/dead-letters/{id}/redrive", post(letters::redrive))
        .route("/readyz", get(readyz))
        .with_state(shell)
        .merge(more);
    guarded(calls, options)
}

/// The calls of a service that is not the API, with `/healthz` and `/readyz`, and the API's guard, problems and logs around
/// them; [`crate::serve`] serves it, with the same options and shutdown.
pub fn plain_router(calls: Router, options: &Options, shutdown: &Shutdown) -> Router {
    let ready = |State(shutdown): State<Shutdown>| async move { ready_unless(&shutdown) };
    let readyz = Router::new().route("/readyz", get(ready)).with_state(shutdown.clone());
    guarded(calls.merge(readyz), Arc::new(options.clone()))
}

fn guarded(calls: Router, options: Arc<Options>) -> Router {
    let calls = calls.route("/healthz", get(healthz)).fallback(any(no_such_path));
    // Around the whole, not around each call: what a path allows is known only out here.
    Router::new()
        .fallback_service(calls)
        .layer(from_fn_with_state(options, guard::guard))
        .layer(from_fn(answer::finish))
}

/// The task that the path names.
pub(crate) fn task_id(path: Result<Path<String>, PathRejection>, uri: &Uri) -> Result<TaskId, Problem> {
    let Path(id) = path.map_err(|_| Problem::no_such_task(named_task(uri)))?;
    id.parse().map_err(|_| Problem::no_such_task(&id))
}

/// The second segment of the path, as it came.
pub(crate) fn named_task(uri: &Uri) -> &str {
    uri.path().split('/').nth(2).unwrap_or_default()
}

async fn submit<L: Log, W: World>(State(shell): State<Shell<L, W>>, request: Request) -> Result<Response, Refused> {
    if shell.shutdown.is_draining() {
        return Err(Problem::unavailable("the server is shutting down, and takes no new tasks", COME_BACK_AFTER).into());
    }
    let (head, body) = request.into_parts();
    let dry_run = read_switch(&Query::decode(head.uri.query())?, "dry_run")?;
    let key = idempotency_key(&head.headers)?;
    let body = body::read_body(&head.headers, body).await?;
    if dry_run {
        return would_run(&shell, &body);
    }
    let id = shell.api.submit(&body, key, traceparent(&head.headers)).await?;
    let mut response = json(StatusCode::ACCEPTED, &json!({"task_id": id, "status": "queued"}));
    put(&mut response, header::LOCATION, &format!("/tasks/{id}"));
    Ok(response)
}

/// What the task would run, if it were submitted: the program where it is known, and its arguments.
fn would_run<L: Log, W: World>(shell: &Shell<L, W>, body: &[u8]) -> Result<Response, Refused> {
    let task = shell.api.check(body)?;
    let types = shell.api.types();
    let of_type = types.get(&task.kind).and_then(|kind| kind.agent.as_ref());
    let argv = types.argv(&[], &task).map_err(Problem::invalid)?;
    let arguments = &argv[of_type.map_or(0, Vec::len)..];
    let agent = of_type.or(shell.options.agent.as_ref());
    Ok(json(StatusCode::OK, &json!({"agent": agent, "arguments": arguments})))
}

/// One that can't be read is as good as none (W3C Trace Context, section 3.2.2.5).
fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(HeaderName::from_static("traceparent"))?.to_str().ok()?.parse().ok()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    const NAME: HeaderName = HeaderName::from_static("idempotency-key");
    let mut keys = headers.get_all(NAME).iter();
    let (first, second) = (keys.next(), keys.next());
    if second.is_some() {
        return Err(Problem::bad_request("Idempotency-Key stands more than once; send one"));
    }
    let wrong = |_| Problem::bad_request("Idempotency-Key must be printable ASCII characters");
    first.map(|key| key.to_str().map_err(wrong)).transpose()
}

async fn show<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if page::is_wanted(&headers) {
        return Ok(page::page().await);
    }
    let view = shell.api.view(&task_id(id, &uri)?)?;
    Ok(with_type(StatusCode::OK, "application/json", serde_json::to_vec(&view).expect("a view has string keys")))
}

async fn list<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if page::is_wanted(&headers) {
        return Ok(page::page().await);
    }
    let query = ListQuery::read(Query::decode(query.as_deref())?.fields())?;
    let tag = |version: u64| format!("W/\"{:x}-{version:x}\"", shell.started.as_millis());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    if known == Some(&tag(shell.api.version())) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let page = shell.api.list(&query)?;
    let body = serde_json::to_vec(&page).expect("a page has string keys");
    let mut response = with_type(StatusCode::OK, "application/json", body);
    put(&mut response, header::ETAG, &tag(page.version));
    put(&mut response, header::VARY, "accept");
    Ok(response)
}

async fn updates<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Refused> {
    let id = task_id(id, &uri)?;
    let query = WindowQuery::read(&Query::decode(uri.query())?)?;
    let window = shell.api.window(&id, query.from, query.limit).await?;
    let mut body = format!("{{\"total\":{},\"from\":{},\"updates\":[", window.total, window.from).into_bytes();
    body.extend_from_slice(&window.json);
    body.extend_from_slice(b"]}");
    Ok(with_type(StatusCode::OK, "application/json", body))
}

async fn search<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Refused> {
    let id = task_id(id, &uri)?;
    let query = SearchQuery::read(&Query::decode(uri.query())?)?;
    let found = shell.api.search(&id, &query.needle, query.from).await?;
    Ok(json(StatusCode::OK, &json!({"total": found.total, "positions": found.positions, "next": found.next})))
}

async fn types<L: Log, W: World>(State(shell): State<Shell<L, W>>) -> Response {
    let types = serde_json::to_vec(shell.api.types()).expect("a table has string keys");
    with_type(StatusCode::OK, "application/json", types)
}

async fn cluster<L: Log, W: World>(State(shell): State<Shell<L, W>>, headers: HeaderMap) -> Response {
    if page::is_wanted(&headers) {
        return page::page().await;
    }
    let cluster = serde_json::to_vec(&shell.api.cluster()).expect("a view has string keys");
    let mut response = with_type(StatusCode::OK, "application/json", cluster);
    put(&mut response, header::VARY, "accept");
    response
}

async fn stop<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Refused> {
    let id = task_id(id, &uri)?;
    let force = read_switch(&Query::decode(uri.query())?, "force")?;
    shell.api.stop(&id, StopWish { force, by: None }).await?;
    Ok(json(StatusCode::ACCEPTED, &json!({"task_id": id, "status": "stopping"})))
}

async fn healthz() -> Response {
    json(StatusCode::OK, &json!({"status": "ok"}))
}

async fn readyz<L: Log, W: World>(State(shell): State<Shell<L, W>>) -> Result<Response, Refused> {
    if !shell.api.ready() && !shell.shutdown.is_draining() {
        return Err(Problem::still_reading().into());
    }
    ready_unless(&shell.shutdown)
}

fn ready_unless(shutdown: &Shutdown) -> Result<Response, Refused> {
    if shutdown.is_draining() {
        return Err(Problem::unavailable("the server is shutting down", COME_BACK_AFTER).into());
    }
    Ok(json(StatusCode::OK, &json!({"status": "ready"})))
}

async fn no_such_path(uri: Uri) -> Refused {
    Problem::no_such_path(uri.path()).into()
}
