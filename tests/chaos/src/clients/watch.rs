//! Watching: by WebSocket in both formats, and by server-sent events; coming back after the last update that was read.

use super::{ANSWERED_WITHIN, Clients, Witness};
use crate::plan::Watcher;
use crate::story::{Closed, Format, Frame, Watch, now};
use baton_core::id::UpdateId;
use baton_core::record::Kind;
use futures_util::StreamExt as _;
use reqwest::Response;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// A server says something every 20 s, if only that it is there: then this one is not.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// How soon a watcher that was cut off is back.
const BACK_AFTER: Duration = Duration::from_millis(200);

/// Someone who watches a task.
pub struct Watching {
    /// The number of the watcher.
    pub number: usize,
    /// What.
    pub task: String,
    /// How.
    pub format: Format,
    /// As it is planned.
    pub plan: Watcher,
}

impl Watching {
    /// A connection that has not been made.
    fn watch(&self, api: usize, after: UpdateId) -> Watch {
        Watch {
            watcher: self.number,
            task: self.task.clone(),
            api,
            format: self.format,
            after,
            opened: now(),
            frames: Vec::new(),
            closed: Closed::Broken("still open when the play was over".into()),
            stays: self.plan.vanishes.is_none(),
        }
    }

    /// Takes a frame; false if the watcher goes away now.
    async fn take(&self, watch: &mut Watch, frame: Frame) -> bool {
        watch.frames.push(frame);
        if !self.plan.pause.is_zero() {
            sleep(self.plan.pause).await;
        }
        self.plan.vanishes.is_none_or(|frames| watch.frames.len() <= frames)
    }
}

/// A connection that is noted however it ends, also if it never does.
struct Open<'a> {
    watch: Watch,
    witness: &'a Witness,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.witness.watch(self.watch.clone());
    }
}

impl Clients {
    /// Watches to the end, at one replica after the other; or goes away early, as planned.
    pub async fn watch(&self, id: &str, plan: Watcher) {
        let watcher = self.open(id, plan);
        let mut after = UpdateId::default();
        for api in plan.api.. {
            let watch = self.connect(&watcher, api, after).await;
            if let Some(last) = watch.frames.iter().rev().find_map(|frame| frame.id) {
                after = last;
            }
            let ended = watch.closed == Closed::Ended || watch.frames.last().is_some_and(is_end);
            if ended || watch.closed == Closed::Left || self.stage.is_over() {
                return;
            }
            sleep(BACK_AFTER).await;
        }
    }

    /// One connection to its end, which is noted.
    pub async fn connect(&self, watcher: &Watching, api: usize, after: UpdateId) -> Watch {
        let api = api % self.stage.cast.urls.len();
        let mut open = Open { watch: watcher.watch(api, after), witness: &self.witness };
        open.watch.closed = match watcher.format {
            Format::Json | Format::Plain => self.by_socket(watcher, &mut open.watch).await,
            Format::Events => self.by_events(watcher, &mut open.watch).await,
        };
        open.watch.clone()
    }

    async fn by_socket(&self, watcher: &Watching, watch: &mut Watch) -> Closed {
        let json = watch.format == Format::Json;
        // A new watcher asks for everything, and one that comes back for the rest.
        let query = match (json, watch.after == UpdateId::default()) {
            (true, true) => "?format=json".to_owned(),
            (true, false) => format!("?format=json&after={}", watch.after),
            (false, _) => String::new(),
        };
        let url = format!("{}/tasks/{}/watch{query}", self.url(watch.api).replace("http://", "ws://"), watch.task);
        let mut socket = match timeout(ANSWERED_WITHIN, connect_async(url)).await {
            Ok(Ok((socket, _))) => socket,
            Ok(Err(tokio_tungstenite::tungstenite::Error::Http(answer))) => {
                return Closed::Code(answer.status().as_u16());
            }
            Ok(Err(error)) => return Closed::Broken(error.to_string()),
            Err(_) => return Closed::Broken("no handshake".into()),
        };
        loop {
            let frame = match timeout(SILENT_FOR, socket.next()).await {
                Err(_) => return Closed::Broken("silence".into()),
                Ok(None) => return Closed::Broken("no close".into()),
                Ok(Some(Err(error))) => return Closed::Broken(error.to_string()),
                Ok(Some(Ok(Message::Close(frame)))) => {
                    return match frame.map(|frame| CloseCode::into(frame.code)) {
                        Some(1000) => Closed::Ended,
                        Some(code) => Closed::Code(code),
                        None => Closed::Broken("closed without a code".into()),
                    };
                }
                Ok(Some(Ok(Message::Text(text)))) if json => match read_frame(&text) {
                    Some(frame) => frame,
                    None => return Closed::Broken(format!("no frame of ours: {text}")),
                },
                Ok(Some(Ok(Message::Text(text)))) => Frame { id: None, kind: None, text: text.to_string() },
                Ok(Some(Ok(_))) => continue,
            };
            if !watcher.take(watch, frame).await {
                return Closed::Left;
            }
        }
    }

    async fn by_events(&self, watcher: &Watching, watch: &mut Watch) -> Closed {
        let mut request = self.http.get(format!("{}/tasks/{}/events", self.url(watch.api), watch.task));
        if watch.after != UpdateId::default() {
            request = request.header("Last-Event-ID", watch.after.to_string());
        }
        match timeout(ANSWERED_WITHIN, request.send()).await {
            Ok(Ok(answer)) if answer.status() == 204 => Closed::Ended,
            Ok(Ok(answer)) if answer.status() == 200 => read_events(watcher, watch, answer).await,
            Ok(Ok(answer)) => Closed::Code(answer.status().as_u16()),
            Ok(Err(error)) => Closed::Broken(error.to_string()),
            Err(_) => Closed::Broken("no answer".into()),
        }
    }
}

async fn read_events(watcher: &Watching, watch: &mut Watch, mut answer: Response) -> Closed {
    let mut text: Vec<u8> = Vec::new();
    loop {
        let chunk = match timeout(SILENT_FOR, answer.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            // Its end is no promise: who has not read the end of the task comes back.
            Ok(Ok(None)) if watch.frames.last().is_some_and(is_end) => return Closed::Ended,
            Ok(Ok(None)) => return Closed::Broken("the events ended".into()),
            Ok(Err(error)) => return Closed::Broken(error.to_string()),
            Err(_) => return Closed::Broken("silence".into()),
        };
        text.extend_from_slice(&chunk);
        // An event that is cut does not count.
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
            let Some(frame) = read_frame(data) else { return Closed::Broken(format!("no frame of ours: {data}")) };
            if !watcher.take(watch, frame).await {
                return Closed::Left;
            }
        }
    }
}

fn read_frame(text: &str) -> Option<Frame> {
    let frame: Value = serde_json::from_str(text).ok()?;
    let field = |name: &str| Some(frame[name].as_str()?.to_owned());
    Some(Frame { id: Some(frame["id"].as_str()?.parse().ok()?), kind: Some(field("kind")?), text: field("update")? })
}

fn is_end(frame: &Frame) -> bool {
    [Kind::Done, Kind::Stopped, Kind::Failed].iter().any(|end| frame.kind.as_deref() == Some(end.name()))
}
