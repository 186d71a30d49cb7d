//! Watchers: by WebSocket in both formats, and by server-sent events.

use crate::{Baton, PATIENCE};
use baton_core::id::UpdateId;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A WebSocket that watches a task.
pub struct Frames {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The code that the server closed with.
    pub closed: Option<u16>,
}

impl Frames {
    /// Connects; `query` such as `?format=json`.
    pub async fn open(baton: &Baton, id: &str, query: &str) -> Self {
        Self::try_open(&baton.url, id, query).await.expect("it serves watchers")
    }

    /// The same where the server may be away.
    pub async fn try_open(url: &str, id: &str, query: &str) -> Option<Self> {
        let url = format!("{}/tasks/{id}/watch{query}", url.replace("http://", "ws://"));
        let (socket, _) = connect_async(url).await.ok()?;
        Some(Self { socket, closed: None })
    }

    /// Connects with the subprotocol whose frames are JSON.
    pub async fn open_v1(baton: &Baton, id: &str) -> Self {
        let url = format!("{}/tasks/{id}/watch", baton.url.replace("http://", "ws://"));
        let request = ClientRequestBuilder::new(url.parse().unwrap()).with_sub_protocol("baton.v1");
        let (socket, answer) = connect_async(request).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "baton.v1");
        Self { socket, closed: None }
    }

    /// The next text frame; `None` once it is closed.
    pub async fn next(&mut self) -> Option<String> {
        timeout(PATIENCE, self.next_whenever()).await.expect("a frame in time")
    }

    /// The same, however long it takes.
    pub async fn next_whenever(&mut self) -> Option<String> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(frame)) => self.closed = frame.map(|frame| CloseCode::into(frame.code)),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits for a frame with this text.
    pub async fn until(&mut self, text: &str) {
        while self.next().await.expect("it comes before the end") != text {}
    }

    /// All frames to the end.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// All frames to the end, of a watcher that reads JSON.
    pub async fn rest_json(&mut self) -> Vec<Value> {
        self.rest().await.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// Sends a text.
    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends bytes.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }
}

/// All that a new watcher reads, as the plan's plain frames, and the code of the close.
pub async fn frames(baton: &Baton, id: &str) -> (Vec<String>, Option<u16>) {
    let mut frames = Frames::open(baton, id, "").await;
    (frames.rest().await, frames.closed)
}

/// The same as JSON frames, from after `after` on, which may be empty.
pub async fn json_frames(baton: &Baton, id: &str, after: &str) -> Vec<Value> {
    let query = if after.is_empty() { "?format=json".into() } else { format!("?format=json&after={after}") };
    Frames::open(baton, id, &query).await.rest_json().await
}

/// The same by server-sent events.
pub async fn events(baton: &Baton, id: &str, after: &str) -> Vec<Value> {
    let request = baton.get(&format!("/tasks/{id}/events"));
    let request = if after.is_empty() { request } else { request.header("Last-Event-ID", after) };
    let text = request.send().await.unwrap().text().await.unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// All that a watcher reads that comes back whenever it is cut off, by turns by WebSocket and by server-sent events.
pub async fn follow(url: &str, id: &str) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    for turn in 0.. {
        assert!(Instant::now() < deadline, "it follows in vain: {:?}", seen.last());
        let after = seen.last().map_or("0-0", |frame| frame["id"].as_str().unwrap()).to_owned();
        if turn % 2 == 0 {
            let socket = Frames::try_open(url, id, &format!("?format=json&after={after}")).await;
            if let Some(mut socket) = socket {
                seen.extend(socket.rest_json().await);
            }
        } else if let Ok(mut answer) = reqwest::get(format!("{url}/tasks/{id}/events?after={after}")).await
            && answer.status() == 200
        {
            let mut text = Vec::new();
            while let Ok(Some(chunk)) = answer.chunk().await {
                text.extend_from_slice(&chunk);
            }
            // What was cut in the middle of an event does not count.
            let whole = text.len() - text.rsplit(|byte| *byte == b'\n').next().unwrap().len();
            let data = text[..whole].split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: "));
            seen.extend(data.map(|data| serde_json::from_slice::<Value>(data).unwrap()));
        }
        if seen.last().is_some_and(|frame| matches!(frame["kind"].as_str(), Some("done" | "stopped" | "failed"))) {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    seen
}

/// The texts of JSON frames.
pub fn texts(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["update"].as_str().unwrap()).collect()
}

/// Asserts that these JSON frames are all updates of a task that has ended: none is missing, none is there twice, each
/// attempt opens as it should, and the only end stands at the end.
pub fn assert_whole(frames: &[Value]) {
    let mut last = (0, 0);
    for (index, frame) in frames.iter().enumerate() {
        let (attempt, seq) = (frame["attempt"].as_u64().unwrap(), frame["seq"].as_u64().unwrap());
        let (kind, text) = (frame["kind"].as_str().unwrap(), frame["update"].as_str().unwrap());
        assert_eq!(frame["id"], format!("{attempt}-{seq}"));
        let ends = matches!(kind, "done" | "stopped" | "failed");
        assert_eq!(ends, index + 1 == frames.len(), "an end stands at the end alone: {frames:#?}");
        if attempt > last.0 {
            let opening = if attempt == 1 { "Starting...".into() } else { format!("Starting... (attempt {attempt})") };
            assert_eq!((attempt, seq, kind, text), (last.0 + 1, 1, "started", opening.as_str()), "{frames:#?}");
        } else {
            // An end that was written without the dead worker's count has the last number there is.
            let next = if ends && seq == UpdateId::LAST_SEQ { seq } else { last.1 + 1 };
            assert_eq!((attempt, seq), (last.0, next), "{frames:#?}");
            assert_ne!(kind, "started", "{frames:#?}");
        }
        last = (attempt, seq);
    }
    assert!(!frames.is_empty());
}
