//! Watchers: by WebSocket in both formats, and by server-sent events.

use crate::{Baton, PATIENCE};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
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
        let url = format!("{}/tasks/{id}/watch{query}", baton.url.replace("http://", "ws://"));
        let (socket, _) = connect_async(url).await.unwrap();
        Self { socket, closed: None }
    }

    /// The next text frame; `None` once it is closed.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame in time")? {
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

    /// Sends a text.
    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
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
    let texts = Frames::open(baton, id, &query).await.rest().await;
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
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
