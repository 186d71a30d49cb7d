//! A served API whose clock stands still and whose ids count up, and clients that show every byte.

use baton_core::hub::HubConfig;
use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Batch, Delivered, Offset, Partition, Topic, Values, ValuesBuilder};
use baton_core::record::{Kind, ProgressRecord};
use baton_core::time::Timestamp;
use baton_core::types::TaskTypes;
use baton_http::{Options, Shutdown, router, serve};
use baton_runtime::api::Api;
use baton_runtime::memory::{MemoryLog, MemoryMember, MemoryTail};
use baton_runtime::ports::{Durability, Log, LogError, TailFrom, World};
use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

/// Long enough for every condition of a test on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// What every clock says.
pub fn now() -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000)
}

/// Waits, but not for ever.
pub async fn soon<F: Future>(future: F) -> F::Output {
    timeout(SOON, future).await.expect("it should have come soon")
}

#[derive(Clone, Default)]
pub struct StillWorld(Arc<AtomicU8>);

impl World for StillWorld {
    fn wall(&self) -> Timestamp {
        now()
    }

    fn random(&self) -> [u8; 16] {
        [self.0.fetch_add(1, Ordering::Relaxed); 16]
    }
}

/// A log that can be made to refuse appends.
#[derive(Clone)]
pub struct Refusing {
    pub log: MemoryLog,
    pub refuses: Arc<AtomicBool>,
}

impl Log for Refusing {
    type Tail = MemoryTail;
    type Member = MemoryMember;

    async fn append(&self, batches: Vec<Batch>, durability: Durability) -> Result<Vec<(Partition, Offset)>, LogError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(LogError::Unavailable("the disk is full".into()));
        }
        self.log.append(batches, durability).await
    }

    async fn tail(&self, topic: Topic, from: TailFrom) -> Result<MemoryTail, LogError> {
        self.log.tail(topic, from).await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Delivered>, LogError> {
        self.log.read(topic, partition, from, to, max_bytes).await
    }

    async fn join(&self, group: &str, member: &str, lookback: Duration) -> Result<MemoryMember, LogError> {
        self.log.join(group, member, lookback).await
    }
}

pub struct Served {
    pub address: SocketAddr,
    pub api: Api<Refusing, StillWorld>,
    pub log: Refusing,
    pub shutdown: Shutdown,
    pub server: JoinHandle<std::io::Result<()>>,
}

pub async fn served() -> Served {
    served_with(|_| {}).await
}

pub async fn served_with(set: impl FnOnce(&mut Options)) -> Served {
    let served = served_unready(set).await;
    let api = served.api.clone();
    tokio::spawn(async move { api.run().await });
    soon(async {
        while !served.api.ready() {
            yield_now().await;
        }
    })
    .await;
    served
}

/// Serves before it has read its log.
pub async fn served_unready(set: impl FnOnce(&mut Options)) -> Served {
    let log = Refusing { log: MemoryLog::new(4, now), refuses: Arc::default() };
    let api = Api::new(log.clone(), StillWorld::default(), TaskTypes::default(), HubConfig::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut options = Options::for_listener(&listener).unwrap();
    set(&mut options);
    let shutdown = Shutdown::default();
    let more = axum::Router::new().route("/projects/{project}", axum::routing::get(async || "config"));
    let router = router(api.clone(), &options, &shutdown, more);
    let ending = shutdown.clone();
    let server = tokio::spawn(async move { serve(listener, router, &options, &ending).await });
    Served { address, api, log, shutdown, server }
}

pub const POST: &str = r#"{"project": "default", "type": "seed-db", "params": {"reset": true}}"#;

impl Served {
    pub async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends a request as it is, but for `HOST` and line ends, and reads the answer to the connection's end.
    pub async fn ask(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(self.head(request, "Connection: close\n").as_bytes()).await.unwrap();
        read_answer(stream).await
    }

    /// A request from its line, further header lines and, after an empty line, a body.
    pub fn head(&self, request: &str, more: &str) -> String {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut text = format!("{line} HTTP/1.1\n{more}");
        if !headers.to_ascii_lowercase().contains("host:") {
            writeln!(text, "Host: {}", self.address).unwrap();
        }
        if !body.is_empty() && !headers.to_ascii_lowercase().contains("transfer-encoding") {
            writeln!(text, "Content-Length: {}", body.len()).unwrap();
        }
        for header in headers.lines() {
            writeln!(text, "{}", header.trim()).unwrap();
        }
        text.push('\n');
        text.replace('\n', "\r\n") + body
    }

    /// Submits a task.
    pub async fn task(&self) -> TaskId {
        self.api.submit(POST.as_bytes(), None, None).await.unwrap()
    }

    /// Appends updates of one attempt, the first of them with this number, in one batch.
    pub async fn update(&self, id: &TaskId, attempt: u32, first: u64, updates: &[(Kind, &str)]) {
        let mut values = ValuesBuilder::default();
        for (seq, (kind, text)) in (first..).zip(updates) {
            let record = ProgressRecord::new(id, UpdateId { attempt, seq }, *kind, now(), *text);
            values.push_with(|buffer| record.write_to(buffer));
        }
        self.append(Topic::Progress, id, values.take()).await;
    }

    pub async fn append(&self, topic: Topic, id: &TaskId, values: Values) {
        let batch = Batch { topic, key: id.clone(), values };
        self.log.log.append(vec![batch], Durability::Written).await.unwrap();
    }

    /// A finished task: `Starting...`, two lines, `DONE`.
    pub async fn finished(&self) -> TaskId {
        let id = self.task().await;
        self.update(
            &id,
            1,
            1,
            &[(Kind::Started, "Starting..."), (Kind::Line, "one"), (Kind::Line, "two"), (Kind::Done, "DONE")],
        )
        .await;
        self.reaches(&id, "done").await;
        id
    }

    /// Waits until the task has this status.
    pub async fn reaches(&self, id: &TaskId, status: &str) {
        soon(async {
            while self.api.view(id).map(|view| view.status.name()) != Ok(status) {
                yield_now().await;
            }
        })
        .await;
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl std::fmt::Display for Answer {
    /// As it came, but for what is the same in all answers or differs each time.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const COMMON: [&str; 8] = [
            "date",
            "etag",
            "connection",
            "x-content-type-options",
            "referrer-policy",
            "x-frame-options",
            "cache-control",
            "content-length",
        ];
        writeln!(f, "{}", self.status)?;
        for (name, value) in self.headers.iter().filter(|(name, _)| !COMMON.contains(&name.as_str())) {
            writeln!(f, "{name}: {value}")?;
        }
        writeln!(f, "{}", self.body)
    }
}

pub async fn read_answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    soon(stream.read_to_end(&mut bytes)).await.unwrap();
    parse_answer(&bytes)
}

pub fn parse_answer(bytes: &[u8]) -> Answer {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    headers.sort();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

/// The body of chunks; says so if it was broken off.
fn unchunk(mut text: &str) -> String {
    let mut body = String::new();
    loop {
        let Some((size, rest)) = text.split_once("\r\n") else { return body + "[broken off]" };
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.push_str(&rest[..size]);
        text = &rest[size + 2..];
    }
}

/// A WebSocket by hand.
pub struct Socket {
    pub stream: TcpStream,
    pub answer: Answer,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Ping,
    Pong(Vec<u8>),
    Close(u16, String),
    End,
}

impl Served {
    /// Opens a WebSocket; `more` are header lines.
    pub async fn watch(&self, path: &str, more: &str) -> Socket {
        let mut stream = self.connect().await;
        let upgrade = "Connection: keep-alive, Upgrade\nUpgrade: WebSocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
        stream.write_all(self.head(&format!("GET {path}\n{more}"), upgrade).as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(stream.read_u8()).await.unwrap());
        }
        Socket { stream, answer: parse_answer(&head) }
    }
}

impl Socket {
    pub async fn frame(&mut self) -> Frame {
        soon(self.read_frame()).await.unwrap_or(Frame::End)
    }

    async fn read_frame(&mut self) -> std::io::Result<Frame> {
        let first = self.stream.read_u8().await?;
        let length = match self.stream.read_u8().await? {
            126 => self.stream.read_u16().await?.into(),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await?;
        Ok(match first {
            0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
            0x89 => Frame::Ping,
            0x8a => Frame::Pong(payload),
            0x88 if payload.is_empty() => Frame::Close(0, String::new()),
            0x88 => Frame::Close(
                u16::from_be_bytes([payload[0], payload[1]]),
                String::from_utf8(payload[2..].to_vec()).unwrap(),
            ),
            other => panic!("a server does not send {other:x}"),
        })
    }

    /// The texts up to the close, and its code.
    pub async fn rest(&mut self) -> (Vec<String>, u16) {
        let mut texts = Vec::new();
        loop {
            match self.frame().await {
                Frame::Text(text) => texts.push(text),
                Frame::Ping | Frame::Pong(_) => {}
                Frame::Close(code, _) => return (texts, code),
                Frame::End => return (texts, 1006),
            }
        }
    }

    pub async fn text(&mut self) -> String {
        match self.frame().await {
            Frame::Text(text) => text,
            other => panic!("not a text: {other:?}"),
        }
    }

    pub async fn send(&mut self, first: u8, payload: &[u8]) {
        self.stream.write_all(&masked(first, payload)).await.unwrap();
    }

    /// Answers a close, and sees that the server then drops the connection.
    pub async fn part(mut self) {
        self.send(0x88, &1000_u16.to_be_bytes()).await;
        assert_eq!(self.frame().await, Frame::End);
    }
}

/// A client's frame.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 0x7e);
            frame.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
