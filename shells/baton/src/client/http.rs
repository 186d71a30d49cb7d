//! The server as the client sees it: its calls, and its answers and refusals in words.

use crate::cli::Client;
use crate::report::Failure;
use baton_core::hub::MAX_PAGE;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// How long a connection may take to come about, and an answer that is no stream to come.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// What `--server` is unless it is given.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8000";

/// A server.
pub struct Server {
    base: Url,
    given: String,
    client: reqwest::Client,
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
        let client =
            reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).redirect(reqwest::redirect::Policy::none());
        let client = client.build().map_err(|error| Failure::unreachable(format!("could not start: {error}")))?;
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
            request = request.header("Idempotency-Key", key);
        }
        self.answer(request).await
    }

    /// `GET /tasks/ID`.
    pub async fn show(&self, id: &str) -> Result<Value, Failure> {
        self.answer(self.request(Method::GET, &["tasks", id])).await
    }

    /// `DELETE /tasks/ID`.
    pub async fn stop(&self, id: &str) -> Result<Value, Failure> {
        self.answer(self.request(Method::DELETE, &["tasks", id])).await
    }

    /// `GET /tasks`, page by page.
    pub async fn list(&self, query: Vec<(&str, String)>, limit: usize) -> Result<Vec<Value>, Failure> {
        let mut tasks = Vec::new();
        let mut cursor: Option<String> = None;
        while tasks.len() < limit {
            let page = (limit - tasks.len()).min(MAX_PAGE).to_string();
            let request = self.request(Method::GET, &["tasks"]).query(&query).query(&[("limit", page)]);
            let request = if let Some(cursor) = &cursor { request.query(&[("cursor", cursor)]) } else { request };
            let answer = self.answer(request).await?;
            tasks.extend(answer["tasks"].as_array().into_iter().flatten().cloned());
            cursor = answer["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        Ok(tasks)
    }

    /// Whether the server has read its log.
    pub async fn is_ready(&self) -> bool {
        let asked = self.request(Method::GET, &["readyz"]).timeout(CONNECT_WITHIN).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
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
            if let (Some(name), "must be a string") = (field.strip_prefix("params."), reason) {
                let _ = write!(message, "; as text: {name}:='\"…\"'");
            }
        }
        if errors.is_empty() {
            let _ = write!(message, "\n  {detail}");
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            Failure::unreachable(message)
        } else {
            Failure::refused(message)
        }
    }

    fn no_baton(&self, status: StatusCode) -> Failure {
        Failure::unreachable(format!("{} answered {status}, and not as Baton does; is --server right?", self.given))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::unreachable(format!("{} did not answer in time", self.given));
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Failure::unreachable(format!(
            "could not reach {}: {cause}\nIs `baton dev` running? Another address is given by --server",
            self.given
        ))
    }
}
