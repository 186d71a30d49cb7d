//! The server's end: first no new tasks, then no watchers.

use crate::world::{Frame, POST, served, served_with, soon};
use baton_core::record::Kind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_draining_server_takes_no_task_and_serves_its_watchers() {
    let served = served().await;
    let id = served.task().await;
    let mut socket = served.watch(&format!("/tasks/{id}/watch"), "").await;
    served.shutdown.drain();
    let post = served.ask(&format!("POST /tasks\n\n{POST}")).await;
    assert_eq!(
        (post.status, post.header("retry-after"), post.header("content-type")),
        (503, Some("5"), Some("application/problem+json"))
    );
    assert_eq!(served.ask("GET /readyz").await.status, 503);
    assert_eq!(served.ask("GET /healthz").await.status, 200);
    assert_eq!(served.ask(&format!("DELETE /tasks/{id}")).await.status, 202);
    served.update(&id, 1, 1, &[(Kind::Started, "Starting...")]).await;
    assert_eq!(socket.text().await, "Starting...");
    let mut second = served.watch(&format!("/tasks/{id}/watch"), "").await;
    assert_eq!(second.text().await, "Starting...");
}

#[tokio::test]
async fn a_closing_server_tells_its_watchers_to_come_back_and_ends() {
    let served = served().await;
    let id = served.task().await;
    let mut socket = served.watch(&format!("/tasks/{id}/watch"), "").await;
    let mut events = served.connect().await;
    events.write_all(served.head(&format!("GET /tasks/{id}/events"), "").as_bytes()).await.unwrap();
    let mut idle = served.connect().await;
    idle.write_all(served.head("GET /healthz", "").as_bytes()).await.unwrap();
    idle.read_u8().await.unwrap();
    served.update(&id, 1, 1, &[(Kind::Started, "Starting...")]).await;
    assert_eq!(socket.text().await, "Starting...");
    let mut read = Vec::new();
    while !read.ends_with(b"\"}\n\n\r\n") {
        read.push(soon(events.read_u8()).await.unwrap());
    }

    served.shutdown.close();
    assert_eq!(socket.frame().await, Frame::Close(1012, "the server is shutting down; come back".into()));
    socket.part().await;
    read.clear();
    soon(events.read_to_end(&mut read)).await.unwrap();
    assert_eq!(read, b"0\r\n\r\n", "the stream ends properly, and its EventSource comes back");
    soon(idle.read_to_end(&mut read)).await.unwrap();
    soon(served.server).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn a_watcher_that_does_not_answer_holds_the_end_up_no_longer_than_agreed() {
    let served = served_with(|options| options.handshake_within = Duration::from_millis(50)).await;
    let id = served.task().await;
    let mut socket = served.watch(&format!("/tasks/{id}/watch"), "").await;
    served.update(&id, 1, 1, &[(Kind::Started, "Starting...")]).await;
    assert_eq!(socket.text().await, "Starting...");
    served.shutdown.close();
    soon(served.server).await.unwrap().unwrap();
    assert!(matches!(socket.frame().await, Frame::Close(1012, _)));
    assert_eq!(socket.frame().await, Frame::End);
}
