//! What stands at `/`: for people a page that says what this is, for programs the same as JSON.

use crate::answer::{json, put, with_type};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::json;

const PAGE: &str = include_str!("index.html");

/// The page has no script and loads nothing.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub async fn index(headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let for_people = accepted.flat_map(|value| value.split(',')).any(|range| {
        let media_type = range.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("text/html")
    });
    let mut response = if for_people {
        let mut page = with_type(StatusCode::OK, "text/html; charset=utf-8", PAGE);
        put(&mut page, header::CONTENT_SECURITY_POLICY, POLICY);
        page
    } else {
        json(StatusCode::OK, &calls())
    };
    put(&mut response, header::VARY, "accept");
    response
}

fn calls() -> serde_json::Value {
    json!({
        "service": "baton",
        "calls": [
            "POST /tasks",
            "GET /tasks",
            "GET /tasks/{id}",
            "DELETE /tasks/{id}",
            "GET /tasks/{id}/watch (WebSocket)",
            "GET /tasks/{id}/events (server-sent events)",
            "GET /tasks/{id}/log",
            "GET /dead-letters",
            "GET /dead-letters/{id}",
            "POST /dead-letters/{id}/redrive",
            "DELETE /dead-letters/{id}",
            "GET /healthz",
            "GET /readyz",
        ],
    })
}
