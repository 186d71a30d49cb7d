//! What stands at `/`: for people the page, for programs the calls as JSON.

use crate::answer::{json, put};
use crate::page;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::json;

pub async fn index(headers: HeaderMap) -> Response {
    if page::is_wanted(&headers) {
        return page::page().await;
    }
    let mut response = json(StatusCode::OK, &calls());
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
            "GET /tasks/{id}/updates",
            "GET /tasks/{id}/search",
            "GET /types",
            "GET /dead-letters",
            "GET /dead-letters/{id}",
            "POST /dead-letters/{id}/redrive",
            "DELETE /dead-letters/{id}",
            "GET /healthz",
            "GET /readyz",
        ],
    })
}
