//! The server as the client sees it: its calls, and its answers and refusals in words.

use crate::cli::Client;
use crate::report::Failure;
use baton_core::hub::MAX_PAGE;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// How long a connection may take to come about, and an answer that is no stream to come.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// What `--server` is unless it is given.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8000";

/// A server.
pub struct Server {
    base: Url,
    given: String,
    client: reqwest::Client,
}

/// A list, as far as it was asked for.
pub struct Listed {
    /// The items, the newest first.
    pub items: Vec<Value>,
    /// Whether there are more than were asked for.
    pub more: bool,
    /// How many the server does not list any more.
    pub unlisted: u64,
}

impl Server {
    /// The server that the options name. Nothing is sent yet.
    pub fn new(options: &Client) -> Result<Self, Failure> {
        let given = options.server.clone();
        let bad = |why: &str| Failure::usage(format!("--server {given}: {why}; write it as {DEFAULT_SERVER}"));
        let base = Url::parse(&given).map_err(|error| bad(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(bad("is no http URL"));
        }
        let mut client =
            reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).redirect(reqwest::redirect::Policy::none());
        if base.scheme() == "http" {
            // Nothing is verified, so that a machine without any certificates will do.
            client = client.tls_certs_only([]);
        }
        if is_this_machine(&base) {
            client = client.no_proxy();
        }
        let client =
            client.build().map_err(|error| Failure::unreachable(format!("could not start: {}", innermost(&error))))?;
        Ok(Self { base, given, client })
    }

    /// What must be added to a command that is meant for this server.
    pub fn shown(&self) -> String {
        if self.given == DEFAULT_SERVER { String::new() } else { format!(" --server {}", self.given) }
    }

    /// `POST /tasks`.
    pub async fn submit(&self, body: &Value, key: Option<&str>) -> Result<Value, Failure> {
        let mut request = self.request(Method::POST, &["tasks"]).json(body);
        if let Some(key) = key {
            let header = HeaderValue::from_str(key).ok().filter(|_| key.is_ascii());
            let key = header.ok_or_else(|| {
                Failure::usage(format!(
                    "--idempotency-key {key:?}: must be of printable ASCII, as it travels in a header"
                ))
            })?;
            request = request.header("Idempotency-Key", key);
        }
        self.answer(request).await
    }

    /// `GET /tasks/ID`.
    pub async fn show(&self, id: &str) -> Result<Value, Failure> {
        self.answer(self.request(Method::GET, &["tasks", id])).await
    }

    /// `DELETE /tasks/ID`.
    pub async fn stop(&self, id: &str, force: bool) -> Result<Value, Failure> {
        let request = self.request(Method::DELETE, &["tasks", id]);
        self.answer(if force { request.query(&[("force", "true")]) } else { request }).await
    }

    /// `GET /dead-letters/ID`.
    pub async fn dead_letter(&self, id: &str) -> Result<Value, Failure> {
        self.answer(self.request(Method::GET, &["dead-letters", id])).await
    }

    /// `POST /dead-letters/ID/redrive`.
    pub async fn redrive(&self, id: &str, same_id: bool) -> Result<Value, Failure> {
        let request = self.request(Method::POST, &["dead-letters", id, "redrive"]);
        self.answer(if same_id { request.query(&[("same_id", "true")]) } else { request }).await
    }

    /// `DELETE /dead-letters/ID`.
    pub async fn purge(&self, id: &str) -> Result<Value, Failure> {
        self.answer(self.request(Method::DELETE, &["dead-letters", id])).await
    }

    /// `GET /PATH`, page by page; the items stand in `field`.
    pub async fn list(
        &self,
        path: &str,
        field: &str,
        query: Vec<(&str, String)>,
        limit: usize,
    ) -> Result<Listed, Failure> {
        let (mut items, mut unlisted) = (Vec::new(), 0);
        let mut cursor: Option<String> = None;
        while items.len() < limit {
            let page = (limit - items.len()).min(MAX_PAGE).to_string();
            let request = self.request(Method::GET, &[path]).query(&query).query(&[("limit", page)]);
            let request = if let Some(cursor) = &cursor { request.query(&[("cursor", cursor)]) } else { request };
            let answer = self.answer(request).await?;
            let page = answer[field].as_array().ok_or_else(|| self.no_baton(StatusCode::OK))?;
            items.extend(page.iter().cloned());
            unlisted = answer["unlisted"].as_u64().unwrap_or_default();
            cursor = answer["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        Ok(Listed { items, more: cursor.is_some(), unlisted })
    }

    /// Whether the server has read its log.
    pub async fn is_ready(&self) -> bool {
        self.ready().await.is_ok()
    }

    /// `GET /readyz`: why the server is not ready, if it is not.
    pub async fn ready(&self) -> Result<(), Failure> {
        self.answer(self.request(Method::GET, &["readyz"])).await.map(drop)
    }

    /// `GET /tasks/ID/events`, from after an update on. The answer may be an error's.
    pub async fn events(&self, id: &str, after: Option<&str>) -> Result<Response, Failure> {
        let request = self.request(Method::GET, &["tasks", id, "events"]);
        let request = if let Some(after) = after { request.header("Last-Event-ID", after) } else { request };
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.client.request(method, url)
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let answer = request.timeout(ANSWER_WITHIN).send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.refusal(status, answer).await);
        }
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|_| self.no_baton(status))
    }

    /// The server's refusal, in its own words, field by field.
    pub async fn refusal(&self, status: StatusCode, answer: Response) -> Failure {
        let body = answer.bytes().await.unwrap_or_default();
        let Ok(problem) = serde_json::from_slice::<Value>(&body) else { return self.no_baton(status) };
        let (title, detail) = (super::text(&problem, "title"), super::text(&problem, "detail"));
        if title.is_empty() {
            return self.no_baton(status);
        }
        let mut message = format!("{title} ({})", status.as_u16());
        let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        for error in errors {
            let (field, reason) = (super::text(error, "field"), super::text(error, "reason"));
            let _ = write!(message, "\n  {field}: {reason}");
            message.push_str(&hint(field, reason));
        }
        if errors.is_empty() {
            let _ = write!(message, "\n  {detail}");
        }
        if status.is_server_error() { Failure::unreachable(message) } else { Failure::refused(message) }
    }

    /// Something else answers there.
    pub fn no_baton(&self, status: StatusCode) -> Failure {
        Failure::unreachable(format!("{} answered {status}, and not as Baton does; is --server right?", self.given))
    }

    /// The server's stream makes no sense.
    pub fn not_understood(&self, why: &str) -> Failure {
        Failure::unreachable(format!("{} could not be understood: {why}", self.given))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::unreachable(format!("{} did not answer in time", self.given));
        }
        let cause = innermost(error);
        Failure::unreachable(format!(
            "could not reach {}: {cause}\nIs `baton dev` running? Another address is given by --server",
            self.given
        ))
    }
}

/// How a value is written that would be taken.
fn hint(field: &str, reason: &str) -> String {
    match (field, reason, field.strip_prefix("params.")) {
        (_, "must be a string", Some(name)) => format!("; as text: {name}:='\"…\"'"),
        ("command", reason, _) if reason.starts_with("must be left out") => "; a param is written key=value".into(),
        _ => String::new(),
    }
}

/// Whether the answer is of the kind that is read as it comes.
pub fn is_event_stream(answer: &Response) -> bool {
    let media_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.starts_with("text/event-stream")
}

/// What is on this machine is never asked for through a proxy.
fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The error that caused all the others: what the system said.
fn innermost(error: &reqwest::Error) -> &dyn std::error::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}
