//! A server that answers each connection as it was told to, byte for byte, and keeps what it was asked.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done with one connection, once its request has been read.
#[derive(Clone, Debug)]
pub enum Act {
    /// Writes this, and closes.
    Write(String),
    /// Writes this, and goes on after a moment: a client must not wait for more than it needs.
    Pause,
    /// Leaves the connection open until the client goes.
    Hold,
}

pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// One list of acts for each connection; connections beyond that are refused.
    pub fn new(connections: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let keep = asked.clone();
        std::thread::spawn(move || {
            for acts in connections {
                let Ok((stream, _)) = listener.accept() else { return };
                play(stream, &acts, &keep);
            }
        });
        Self { url, asked }
    }

    /// One answer to each connection.
    pub fn answering(answers: &[&str]) -> Self {
        Self::new(answers.iter().map(|answer| vec![Act::Write((*answer).to_owned())]).collect())
    }

    /// The requests so far: head and body.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn play(mut stream: TcpStream, acts: &[Act], asked: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    asked.lock().unwrap().push(read_request(&mut stream));
    for act in acts {
        match act {
            Act::Write(text) => {
                let _ = stream.write_all(text.as_bytes());
            }
            Act::Pause => std::thread::sleep(Duration::from_millis(50)),
            Act::Hold => {
                let _ = stream.read(&mut [0]);
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => request.extend_from_slice(&chunk[..read]),
            _ => return text,
        }
    }
}

/// A whole answer.
pub fn answer(status: &str, media_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A whole answer in JSON.
pub fn json(status: &str, body: &str) -> String {
    answer(status, "application/json", body)
}

/// The head of a stream of events, which ends as its connection does.
pub fn stream() -> String {
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nretry: 1000\n\n".to_owned()
}

/// One event.
pub fn event(seq: u32, kind: &str, update: &str) -> String {
    let frame = serde_json::json!({"id": format!("1-{seq}"), "attempt": 1, "seq": seq, "kind": kind, "update": update});
    format!("id: 1-{seq}\nevent: {kind}\ndata: {frame}\n\n")
}
