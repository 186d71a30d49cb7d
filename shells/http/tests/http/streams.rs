//! Server-sent events and the log as text.

use crate::world::{Served, served, served_with, soon};
use baton_core::id::TaskId;
use baton_core::record::Kind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An open answer, read as far as it has come.
struct Open {
    stream: TcpStream,
    read: String,
}

impl Open {
    async fn get(served: &Served, path: &str) -> Self {
        let mut stream = served.connect().await;
        stream.write_all(served.head(&format!("GET {path}"), "").as_bytes()).await.unwrap();
        Self { stream, read: String::new() }
    }

    /// Reads on until `text` has come.
    async fn until(&mut self, text: &str) -> &str {
        while !self.read.contains(text) {
            let mut bytes = [0; 4096];
            let count = soon(self.stream.read(&mut bytes)).await.unwrap();
            assert!(count > 0, "{text:?} did not come: {}", self.read);
            self.read.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        &self.read
    }
}

#[tokio::test]
async fn events_from_the_first_to_the_end() {
    let served = served().await;
    let id = served.finished().await;
    insta::assert_snapshot!(served.ask(&format!("GET /tasks/{id}/events")).await);
}

#[tokio::test]
async fn events_resume_and_end_for_good() {
    let served = served().await;
    let id = served.finished().await;
    let (by_header, by_query) =
        (format!("GET /tasks/{id}/events?after=1-1\nLast-Event-ID: 1-3"), format!("GET /tasks/{id}/events?after=1-3"));
    let rest = served.ask(&by_header).await.body;
    assert_eq!(rest, served.ask(&by_query).await.body);
    assert_eq!(rest.matches("\nid: ").count(), 1);
    for at_the_end in
        [format!("GET /tasks/{id}/events\nLast-Event-ID: 1-4"), format!("GET /tasks/{id}/events?after=1-4")]
    {
        let answer = served.ask(&at_the_end).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "so that an EventSource does not come back");
    }
    assert_eq!(served.ask("GET /tasks/unknown/events").await.status, 404);
}

#[tokio::test]
async fn live_events_come_one_by_one_with_heartbeats_between() {
    let served = served_with(|options| options.heartbeat_every = Duration::from_millis(20)).await;
    let id = served.task().await;
    let mut events = Open::get(&served, &format!("/tasks/{id}/events")).await;
    events.until("retry: 1000\n\n").await;
    events.until("\r\n:\n\n\r\n").await;
    served.update(&id, 1, 1, &[(Kind::Started, "Starting...")]).await;
    events.until("id: 1-1\nevent: started\ndata: {").await;
    served.update(&id, 1, 2, &[(Kind::Line, "two\nlines")]).await;
    events.until(r#""update":"two\nlines""#).await;
    served.update(&id, 1, 3, &[(Kind::Done, "DONE")]).await;
    assert!(events.until("0\r\n\r\n").await.contains("event: done"));
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_dropped() {
    let served = served_with(|options| {
        options.stalled_after = Duration::from_millis(50);
        options.max_watchers = 1;
    })
    .await;
    let id = served.task().await;
    let line = "x".repeat(1 << 20);
    let lines = vec![(Kind::Line, line.as_str()); 16];
    served.update(&id, 1, 1, &lines).await;
    served.reaches(&id, "running").await;
    for path in ["log?follow=true", "events"] {
        let mut stalled = Open::get(&served, &format!("/tasks/{id}/{path}")).await;
        stalled.until("200 OK").await;
        // Its place comes free while it still holds its end of the connection.
        soon(async { while served.ask(&format!("HEAD /tasks/{id}/log")).await.status != 200 {} }).await;
    }
}

#[tokio::test]
async fn the_log_as_it_is_now() {
    let served = served().await;
    let id = served.task().await;
    let log = format!("GET /tasks/{id}/log");
    served.reaches(&id, "queued").await;
    assert_eq!(served.ask(&log).await.body, "");
    served
        .update(
            &id,
            1,
            1,
            &[(Kind::Started, "Starting..."), (Kind::Line, "a"), (Kind::Line, ""), (Kind::Retrying, "again")],
        )
        .await;
    served.update(&id, 2, 1, &[(Kind::Started, "Starting... (attempt 2)"), (Kind::Line, "b \u{1b}[1mé")]).await;
    soon(async {
        while served.api.view(&id).unwrap().attempt < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = served.ask(&log).await;
    assert_eq!(
        (answer.body.as_str(), answer.header("content-type")),
        ("a\n\nb \u{1b}[1mé\n", Some("text/plain; charset=utf-8"))
    );
    assert_eq!(served.ask(&format!("{log}?attempt=1")).await.body, "a\n\n");
    assert_eq!(served.ask(&format!("{log}?attempt=2")).await.body, "b \u{1b}[1mé\n");
    assert_eq!(served.ask(&format!("{log}?attempt=3")).await.body, "");
}

#[tokio::test]
async fn the_log_is_followed_to_the_end() {
    let served = served().await;
    let id = served.task().await;
    let mut log = Open::get(&served, &format!("/tasks/{id}/log?follow=true")).await;
    served.update(&id, 1, 1, &[(Kind::Started, "Starting..."), (Kind::Line, "one")]).await;
    log.until("one\n").await;
    served.update(&id, 1, 2 + 1, &[(Kind::Line, "two"), (Kind::Done, "DONE")]).await;
    assert!(log.until("0\r\n\r\n").await.contains("two\n"));
    let whole = served.ask(&format!("GET /tasks/{id}/log?follow=true")).await;
    assert_eq!(whole.body, "one\ntwo\n");
}

#[tokio::test]
async fn a_followed_log_that_is_cut_does_not_look_whole() {
    let served = served().await;
    let id: TaskId = served.task().await;
    let mut log = Open::get(&served, &format!("/tasks/{id}/log?follow=true")).await;
    served.update(&id, 1, 1, &[(Kind::Line, "one")]).await;
    log.until("one\n").await;
    served.shutdown.close();
    let mut rest = Vec::new();
    let _ = soon(log.stream.read_to_end(&mut rest)).await;
    assert!(!String::from_utf8(rest).unwrap().contains("0\r\n\r\n"), "no last chunk");
}
