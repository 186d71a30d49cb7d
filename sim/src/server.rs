//! The API's front door in the simulation: what the HTTP shell does, on madsim's network. One connection carries one request;
//! a watcher's carries frames until its end.

use crate::policies;
use baton_core::hub::{Format, HubConfig};
use baton_core::id::{TaskId, UpdateId};
use baton_core::presence::Identity;
use baton_core::problem::Problem;
use baton_core::run::StopWish;
use baton_runtime::api::{Api, Next};
use baton_runtime::ports::{Log, LogError, World};
use madsim::net::{Endpoint, Sender};
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

/// What a client asks.
#[derive(Debug)]
pub enum Request {
    /// POST a task.
    Submit {
        /// The body.
        body: String,
        /// The `Idempotency-Key`.
        key: Option<String>,
    },
    /// STOP a task, without grace or with it.
    Stop(TaskId, bool),
    /// Watch a task.
    Watch {
        /// Which.
        task: TaskId,
        /// What was read before.
        after: UpdateId,
        /// How long the reader takes for each batch of frames.
        pace: Duration,
    },
    /// How many bytes of history it holds.
    Memory,
}

/// What a client hears.
#[derive(Debug)]
pub enum Reply {
    /// 202.
    Accepted(Option<TaskId>),
    /// A problem's status.
    Refused(u16),
    /// Frames.
    Frames(Vec<Frame>),
    /// So many bytes.
    Holds(usize),
    /// The watcher's end: a close code.
    Closed(u16),
}

/// A frame as a client reads it.
#[derive(Clone, Debug, Deserialize)]
pub struct Frame {
    /// The update's id.
    pub id: String,
    /// The update's kind.
    pub kind: String,
    /// The update's text.
    pub update: String,
}

/// Where the API replica of this number listens.
pub fn address(api: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, api + 1], 8000))
}

/// One API replica, for as long as its process lives.
pub async fn serve<L: Log, W: World>(number: u8, log: L, world: W, config: HubConfig, identity: Option<Identity>) {
    let api = Api::new(log, world, policies::types(), config);
    let running = api.clone();
    tokio::spawn(async move {
        let attended = async {
            match identity {
                Some(identity) => running.attend(identity).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = running.run() => {}
            _ = attended => {}
        }
    });
    let endpoint = Endpoint::bind(address(number)).await.expect("the address is free");
    while let Ok((sender, mut receiver, _)) = endpoint.accept1().await {
        let api = api.clone();
        tokio::spawn(async move {
            let Ok(request) = receiver.recv().await else { return };
            let Ok(request) = request.downcast::<Request>() else { return };
            // The client may go before it has its answer.
            tokio::select! {
                biased;
                _ = receiver.recv() => {}
                () = answer(&api, *request, &sender) => {}
            }
        });
    }
}

async fn answer<L: Log, W: World>(api: &Api<L, W>, request: Request, to: &Sender) {
    let say = async |reply: Reply| _ = to.send(Box::new(reply)).await;
    let refused = |problem: Problem| Reply::Refused(problem.status);
    match request {
        Request::Submit { body, key } => {
            let answer = api.submit(body.as_bytes(), key.as_deref(), None).await;
            say(answer.map_or_else(refused, |id| Reply::Accepted(Some(id)))).await;
        }
        Request::Stop(task, force) => {
            let answer = api.stop(&task, StopWish { force, by: None }).await;
            say(answer.map_or_else(refused, |()| Reply::Accepted(None))).await;
        }
        Request::Memory => say(Reply::Holds(api.history_bytes())).await,
        Request::Watch { task, after, pace } => {
            let code = match api.watch(&task, after).await {
                Err(problem) if problem.status == 404 => 4404,
                Err(_) => 1013,
                Ok(mut watcher) => loop {
                    match watcher.next().await {
                        Ok(Next::Segments(segments)) => {
                            let frames = segments.iter().map(|(segment, first)| segment.frames(Format::Json, *first));
                            say(Reply::Frames(frames.flat_map(|frames| read_frames(&frames)).collect())).await;
                            sleep(pace).await;
                        }
                        Ok(Next::End) => break 1000,
                        Ok(Next::Forgotten) => break 4404,
                        Err(LogError::Unavailable(_) | LogError::Fatal(_)) => break 1013,
                    }
                },
            };
            say(Reply::Closed(code)).await;
        }
    }
}

/// Takes WebSocket text frames apart (RFC 6455, section 5.2), and the JSON in them.
pub fn read_frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        assert_eq!(*first, 0x81, "a whole text frame");
        let (length, rest) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => {
                let long = u64::from_be_bytes(rest[..8].try_into().expect("eight bytes"));
                (usize::try_from(long).expect("it is in memory"), &rest[8..])
            }
            short => (usize::from(*short), rest),
        };
        let (frame, after) = rest.split_at(length);
        frames.push(serde_json::from_slice(frame).expect("a frame is JSON"));
        bytes = after;
    }
    frames
}
