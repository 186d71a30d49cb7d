//! The calls that are answered at once: each with its status, its headers and its body.

use crate::world::{POST, Served, masked, read_answer, served, served_unready, served_with, soon};
use baton_core::record::Kind;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The requests, each with its answer.
pub async fn story(served: &Served, requests: &[&str]) -> String {
    let mut story = String::new();
    for request in requests {
        let answer = served.ask(request).await;
        writeln!(story, "> {}\n{answer}", request.replace('\n', "\n> ")).unwrap();
    }
    story.replace(&served.address.to_string(), "ADDRESS")
}

#[tokio::test]
async fn a_task_from_post_to_delete() {
    let served = served().await;
    let id = "00000000-0000-4000-8000-000000000000";
    let post = format!("POST /tasks\n\n{POST}");
    let mut told = story(&served, &[&post]).await;
    served.reaches(&id.parse().unwrap(), "queued").await;
    served.update(&id.parse().unwrap(), 1, 1, &[(Kind::Started, "Starting..."), (Kind::Line, "Step 1")]).await;
    served.reaches(&id.parse().unwrap(), "running").await;
    let (get, delete) = (format!("GET /tasks/{id}"), format!("DELETE /tasks/{id}"));
    told += &story(&served, &[&get, "GET /tasks?status=running&project=default&limit=1", &delete]).await;
    served.reaches(&id.parse().unwrap(), "stopping").await;
    told += &story(&served, &[&delete]).await;
    served.update(&id.parse().unwrap(), 1, 3, &[(Kind::Stopped, "STOPPED")]).await;
    served.reaches(&id.parse().unwrap(), "stopped").await;
    told += &story(&served, &[&delete, &get]).await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn every_mistake_is_a_problem() {
    let served = served().await;
    let id = served.finished().await;
    let (reused, delete) = (format!("POST /tasks\nIdempotency-Key: k\n\n{POST}"), format!("PUT /tasks/{id}\n\nx"));
    let (watch, events, log) = (
        format!("GET /tasks/{id}/watch"),
        format!("GET /tasks/{id}/events?after=x"),
        format!("GET /tasks/{id}/log?attempt=0&x=1"),
    );
    let resumed = format!("GET /tasks/{id}/events\nLast-Event-ID: nonsense");
    let told = story(
        &served,
        &[
            "GET /nothing/here",
            "PATCH /tasks",
            &delete,
            "POST /healthz",
            "POST /projects/default",
            "GET /tasks/",
            "GET /tasks/unknown",
            "GET /tasks/..%2f",
            "GET /tasks/%ff",
            "GET /tasks/%75nknown",
            "DELETE /tasks/unknown",
            "POST /tasks",
            "POST /tasks\n\n{",
            "POST /tasks\n\n{\"project\": 1, \"type\": \"x\", \"a\": 0}",
            "POST /tasks\nIdempotency-Key: \u{e9}\n\n{}",
            "POST /tasks\nIdempotency-Key: a\nIdempotency-Key: b\n\n{}",
            &reused,
            &reused,
            "POST /tasks\nIdempotency-Key: k\n\n{\"project\": \"other\", \"type\": \"seed-db\"}",
            "GET /tasks?status=lost&limit=0&x=1&cursor=%20",
            "GET /tasks?project=%ff",
            &watch,
            &events,
            &resumed,
            &log,
        ],
    )
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn probes_and_the_index() {
    let served = served_unready(|_| {}).await;
    let mut told = story(&served, &["GET /healthz", "GET /readyz", "GET /"]).await;
    let api = served.api.clone();
    tokio::spawn(async move { api.run().await });
    soon(async { while served.ask("GET /readyz").await.status != 200 {} }).await;
    told += &story(&served, &["GET /readyz"]).await;
    insta::assert_snapshot!(told);

    let page = served.ask("GET /\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
}

#[tokio::test]
async fn what_every_answer_has() {
    let served = served().await;
    for request in [
        "GET /healthz",
        "GET /nothing",
        "GET /tasks",
        "PATCH /tasks",
        "GET /projects/x",
        "GET /tasks\nOrigin: http://evil.example",
    ] {
        let answer = served.ask(request).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{request}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{request}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{request}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let served = served().await;
    let id = served.finished().await;
    for path in ["/healthz", "/tasks", &format!("/tasks/{id}"), "/tasks/unknown", "/"] {
        let (head, get) = (served.ask(&format!("HEAD {path}")).await, served.ask(&format!("GET {path}")).await);
        assert_eq!((head.status, head.header("content-type")), (get.status, get.header("content-type")), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert_eq!((head.body.as_str(), get.body.is_empty()), ("", false), "{path}");
    }
    for path in [format!("/tasks/{id}/events"), format!("/tasks/{id}/log")] {
        let head = served.ask(&format!("HEAD {path}")).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
}

#[tokio::test]
async fn a_keyed_post_is_answered_alike_and_made_once() {
    let served = served().await;
    let post = format!("POST /tasks\nIdempotency-Key: k\nContent-Type: application/x-www-form-urlencoded\n\n{POST}");
    let (first, again) = (served.ask(&post).await, served.ask(&post).await);
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!(served.ask("GET /tasks").await.body.matches("task_id").count(), 1);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_comes() {
    const LIMIT: usize = 1 << 20;
    let served = served().await;
    let fits = format!("POST /tasks\n\n{}", " ".repeat(LIMIT));
    assert_eq!(served.ask(&fits).await.status, 400, "1 MiB of spaces is no JSON, but is read");
    let large = served.ask(&format!("{fits} ")).await;
    assert_eq!(large.status, 413);
    insta::assert_snapshot!(large.body, @r#"{"type":"/problems/too-large","title":"The body is too large","status":413,"detail":"a body may have at most 1048576 bytes"}"#);

    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked = format!("POST /tasks\nTransfer-Encoding: chunked\n\n{}0\r\n\r\n", chunk.repeat(17));
    assert_eq!(served.ask(&chunked).await.status, 413);

    let waits = served.ask("POST /tasks\nExpect: 100-continue\nContent-Length: 1048577").await;
    assert_eq!(waits.status, 413, "refused before a byte is sent");
}

#[tokio::test]
async fn a_body_that_breaks_off_makes_no_task() {
    let served = served().await;
    let mut stream = served.connect().await;
    stream.write_all(served.head("POST /tasks\nContent-Length: 1000\n", "").as_bytes()).await.unwrap();
    stream.write_all(POST.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"));
    assert!(served.ask("GET /tasks").await.body.starts_with(r#"{"tasks":[],"next_cursor":null,"#));
}

#[tokio::test]
async fn other_peoples_pages_are_refused() {
    let served = served().await;
    let post = format!("POST /tasks\nOrigin: http://evil.example\n\n{POST}");
    let told = story(&served, &[&post, "GET /tasks\nHost: evil.example:8000", "GET http://evil.example/tasks"]).await;
    insta::assert_snapshot!(told);
    let own = format!("POST /tasks\nOrigin: http://{}\n\n{POST}", served.address);
    assert_eq!(served.ask(&own).await.status, 202);
    let id = served.finished().await;
    let socket = served.watch(&format!("/tasks/{id}/watch"), "Origin: null\n").await;
    assert_eq!(socket.answer.status, 403);
}

#[tokio::test]
async fn a_request_must_say_whom_it_calls() {
    let served = served().await;
    for (request, status) in [
        ("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
    ] {
        let mut stream = served.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_answer(stream).await.status.to_string(), status, "{request}");
    }
}

#[tokio::test]
async fn a_log_that_refuses_is_said() {
    let served = served().await;
    let id = served.task().await;
    served.reaches(&id, "queued").await;
    served.log.refuses.store(true, Ordering::Relaxed);
    let told = story(&served, &[&format!("POST /tasks\n\n{POST}"), &format!("DELETE /tasks/{id}")]).await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn one_watcher_too_many_is_told_to_come_back() {
    let served = served_with(|options| options.max_watchers = 1).await;
    let id = served.task().await;
    let watch = format!("/tasks/{id}/watch");
    let first = served.watch(&watch, "").await;
    assert_eq!(first.answer.status, 101);
    let second = served.watch(&watch, "").await;
    assert_eq!((second.answer.status, second.answer.header("retry-after")), (503, Some("5")));
    for sort in ["events", "log"] {
        let third = served.ask(&format!("GET /tasks/{id}/{sort}")).await;
        assert_eq!((third.status, third.header("content-type")), (503, Some("application/problem+json")));
    }
    drop(first);
    soon(async { while served.watch(&watch, "").await.answer.status != 101 {} }).await;
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_dropped() {
    let served = served_with(|options| options.head_within = std::time::Duration::from_millis(50)).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: local").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"));
    // Not even if it speaks another protocol.
    let mut stream = served.connect().await;
    stream.write_all(&masked(0x81, b"STOP")).await.unwrap();
    let _ = soon(stream.read_to_end(&mut answer)).await;
}
