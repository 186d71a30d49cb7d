//! One watcher's WebSocket after its handshake: one task, one socket, one cursor into the task's history.
//!
//! Reading never waits for writing, so that a STOP is heard from a watcher that lags behind. The next batch is asked for
//! when the socket has taken the last one: a slow watcher holds one batch of shared frames, and nothing of its own.

use super::close::Close;
use super::frames::{Message, PING, Reader, pong};
use super::outbox::Outbox;
use crate::routes::Shell;
use baton_core::hub::Format;
use baton_core::id::{TaskId, UpdateId};
use baton_core::problem::Problem;
use baton_core::run::StopWish;
use baton_runtime::api::Next;
use baton_runtime::ports::{Log, LogError, World};
use bytes::Bytes;
use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// How many pings may go unanswered.
const UNANSWERED_PINGS: u32 = 2;
/// How much is read at once. Lives on the stack: an idle watcher has no buffer.
const CHUNK: usize = 1024;

/// What the watcher wants to see.
pub struct Wish {
    pub id: TaskId,
    pub format: Format,
    pub after: UpdateId,
}

/// Why a watch is over.
enum Over {
    /// The terminal update has been given.
    Ended,
    /// The server closes.
    Close(Close),
    /// The client closed; this frame answers it.
    Closed(Bytes),
    /// There is nobody left to tell.
    Gone,
}

/// One open WebSocket.
pub struct Session<L, W> {
    shell: Shell<L, W>,
    stream: TcpStream,
    reader: Reader,
    /// Nothing can be read any more: the client does not speak the protocol.
    garbled: bool,
    outbox: Outbox,
    /// Answers the last ping; the ones before it need no answer (RFC 6455, section 5.5.3).
    pong: Option<Bytes>,
    /// What is watched; `None` if that can't be.
    task: Option<TaskId>,
    /// A STOP on its way to the log, in a task of its own: it must get there even if the client leaves at once.
    stop: Option<JoinHandle<Result<(), Problem>>>,
    /// Another one, without grace, is to follow it.
    force_next: bool,
    tick: Pin<Box<Sleep>>,
    next_ping: Instant,
    unanswered: u32,
    /// Since when the socket has taken nothing of what is to be written.
    blocked_since: Option<Instant>,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Among the watchers, and among the connections.
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl<L: Log, W: World> Session<L, W> {
    /// A session on a socket from which `read` has been read already.
    pub fn new(
        shell: Shell<L, W>,
        stream: TcpStream,
        read: &[u8],
        places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) -> Self {
        let mut reader = Reader::default();
        reader.push(read);
        let ping_every = shell.options.ping_every;
        let closing = Box::pin(shell.shutdown.closing());
        Self {
            shell,
            stream,
            reader,
            garbled: false,
            outbox: Outbox::default(),
            pong: None,
            task: None,
            stop: None,
            force_next: false,
            tick: Box::pin(sleep(ping_every)),
            next_ping: Instant::now() + ping_every,
            unanswered: 0,
            blocked_since: None,
            closing,
            _places: places,
        }
    }

    /// Serves the watcher to the end.
    pub async fn run(mut self, wish: Result<Wish, Close>) {
        let over = match wish {
            Ok(wish) => match self.follow(wish).await {
                Ok(never) => match never {},
                Err(over) => over,
            },
            Err(close) => Over::Close(close),
        };
        self.end(over).await;
    }

    async fn follow(&mut self, wish: Wish) -> Result<Infallible, Over> {
        let api = self.shell.api.clone();
        self.task = Some(wish.id.clone());
        let known = self.drive(api.watch(&wish.id, wish.after)).await?;
        let mut watcher = known.map_err(|problem| Over::Close(Close::of_problem(&problem, &wish.id)))?;
        loop {
            match self.drive(watcher.next()).await? {
                Ok(Next::Segments(segments)) => {
                    for (segment, first) in &segments {
                        self.outbox.push(segment.frames(wish.format, *first));
                    }
                    if segments.last().is_some_and(|(segment, _)| segment.ends_task()) {
                        return Err(Over::Ended);
                    }
                }
                Ok(Next::End) => return Err(Over::Ended),
                Ok(Next::Forgotten) => {
                    return Err(Over::Close(Close::no_such_task(wish.id.as_str())));
                }
                Err(error @ LogError::Unavailable(_)) => return Err(Over::Close(Close::come_back(&error.to_string()))),
                Err(error @ LogError::Fatal(_)) => return Err(Over::Close(Close::broken(&error.to_string()))),
            }
        }
    }

    /// Waits for `future`, and serves the socket meanwhile. The future is not begun before all is written.
    async fn drive<F: Future>(&mut self, future: F) -> Result<F::Output, Over> {
        let mut future = pin!(future);
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(over) => Poll::Ready(Err(over)),
            Poll::Pending if self.outbox.is_empty() => future.as_mut().poll(cx).map(Ok),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Does all that the socket, the clock and the server ask for. Ready when the watch is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Over::Close(Close::shutting_down()));
        }
        if let Poll::Ready(over) = self.poll_tick(cx) {
            return Poll::Ready(over);
        }
        if let Poll::Ready(over) = self.poll_read(cx) {
            return Poll::Ready(over);
        }
        if let Poll::Ready(over) = self.poll_stop(cx) {
            return Poll::Ready(over);
        }
        self.poll_write(cx).map(|()| Over::Gone)
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let (ping_every, stalled_after) = (self.shell.options.ping_every, self.shell.options.stalled_after);
        loop {
            ready!(self.tick.as_mut().poll(cx));
            let now = Instant::now();
            if self.blocked_since.is_some_and(|since| now - since >= stalled_after) {
                // What is half written can't be closed properly; the client sees that it must come back.
                tracing::debug!(task = ?self.task, "a watcher took no bytes for too long, and is dropped");
                return Poll::Ready(Over::Gone);
            }
            if now >= self.next_ping {
                self.next_ping = now + ping_every;
                // Behind a backlog a ping would measure the backlog.
                if self.outbox.is_empty() {
                    if self.unanswered >= UNANSWERED_PINGS {
                        return Poll::Ready(Over::Close(Close::come_back("the last pings were not answered")));
                    }
                    self.unanswered += 1;
                    self.outbox.push(PING);
                }
            }
            let stalled_at = self.blocked_since.map(|since| since + stalled_after);
            self.tick.as_mut().reset(stalled_at.map_or(self.next_ping, |at| at.min(self.next_ping)));
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            loop {
                match self.reader.next() {
                    Ok(Some(Message::Close(answer))) => return Poll::Ready(Over::Closed(answer)),
                    Ok(Some(message)) => self.hear(message),
                    Ok(None) => break,
                    Err(close) => {
                        self.garbled = true;
                        return Poll::Ready(Over::Close(close));
                    }
                }
            }
            if ready!(self.poll_chunk(cx)).is_err() {
                return Poll::Ready(Over::Gone);
            }
        }
    }

    /// Reads once. The error says that no more will come.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; CHUNK];
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            return match self.stream.try_read(&mut chunk) {
                Ok(0) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    if !self.garbled {
                        self.reader.push(&chunk[..count]);
                    }
                    Poll::Ready(Ok(()))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => Poll::Ready(Err(error)),
            };
        }
    }

    fn hear(&mut self, message: Message) {
        self.unanswered = 0;
        match message {
            Message::Ping(payload) => self.pong = Some(pong(&payload)),
            Message::Text(text) => match read_stop(&text) {
                Some(force) if self.stop.is_none() => self.ask_stop(force),
                // One that is on its way is as good as this one, unless this one wants more.
                Some(force) => self.force_next |= force,
                // Clients of the plan know updates only: there is no frame that could tell them.
                None => tracing::debug!(task = ?self.task, bytes = text.len(), "a watcher said something unknown"),
            },
            Message::Pong | Message::Close(_) => {}
        }
    }

    fn ask_stop(&mut self, force: bool) {
        let Some(id) = &self.task else { return };
        let (api, id) = (self.shell.api.clone(), id.clone());
        self.stop = Some(tokio::spawn(async move {
            // Like its watcher, a STOP waits a little for a task that is not known yet.
            api.watch(&id, UpdateId::default()).await?;
            api.stop(&id, StopWish { force, by: None }).await
        }));
    }

    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let Some(stop) = &mut self.stop else { return Poll::Pending };
        let answer = ready!(Pin::new(stop).poll(cx));
        self.stop = None;
        match answer {
            Ok(Ok(())) if std::mem::take(&mut self.force_next) => {
                self.ask_stop(true);
                self.poll_stop(cx)
            }
            Ok(Ok(())) => Poll::Pending,
            // It has ended meanwhile: its last update is on the way to the client.
            Ok(Err(problem)) if problem.status < 500 => {
                tracing::debug!(task = ?self.task, %problem, "a STOP came too late");
                Poll::Pending
            }
            Ok(Err(problem)) => Poll::Ready(Over::Close(Close::come_back(&format!(
                "the STOP was not taken, send it again: {}",
                problem.detail
            )))),
            Err(_) => Poll::Ready(Over::Close(Close::come_back("the STOP may not have been taken, send it again"))),
        }
    }

    /// Writes what there is. Ready only if the client is gone.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.outbox.is_empty() {
                self.blocked_since = None;
                match self.pong.take() {
                    Some(pong) => self.outbox.push(pong),
                    None => return Poll::Pending,
                }
            }
            match self.stream.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {
                    self.blocked_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
            let stream = &self.stream;
            let write = |pieces: &[io::IoSlice<'_>]| match pieces {
                // A plain send costs the kernel less, and one frame is what a live watcher gets as a rule.
                [one] => stream.try_write(one),
                many => stream.try_write_vectored(many),
            };
            match self.outbox.write(write) {
                Ok(()) => {
                    if self.blocked_since.take().is_some() {
                        // It takes bytes: it lives, however far behind the pings are.
                        self.unanswered = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// Closes as RFC 6455, section 7.1.1 has it: both sides say so, then the server drops the connection.
    async fn end(mut self, over: Over) {
        self.pong = None;
        let mut answered = false;
        match over {
            Over::Gone => return,
            Over::Closed(answer) => {
                answered = true;
                self.outbox.push(answer);
            }
            Over::Close(close) => {
                tracing::debug!(task = ?self.task, code = close.code, reason = close.reason, "closing a watcher");
                self.outbox.push(close.frame());
            }
            Over::Ended => {
                self.outbox.push(Close::ended().frame());
                // The last batch and the close go out together, and a slow reader has all its time for them.
                match self.drive(ready(())).await {
                    Ok(()) | Err(Over::Close(_) | Over::Ended) => {}
                    Err(Over::Closed(_)) => answered = true,
                    Err(Over::Gone) => return,
                }
            }
        }
        let within = self.shell.options.handshake_within;
        let parted = timeout(within, poll_fn(|cx| self.poll_part(cx, &mut answered))).await;
        if parted.is_err() {
            tracing::debug!(task = ?self.task, "a watcher did not answer the close");
        }
    }

    /// Writes the rest, then reads on until the client has closed too: dropped with bytes unread, the connection would be
    /// reset, and the client might lose what it has not read yet.
    fn poll_part(&mut self, cx: &mut Context<'_>, answered: &mut bool) -> Poll<()> {
        self.pong = None;
        if self.poll_write(cx).is_ready() {
            return Poll::Ready(());
        }
        let written = self.outbox.is_empty();
        if written && self.garbled && Pin::new(&mut self.stream).poll_shutdown(cx).is_pending() {
            return Poll::Pending;
        }
        while !*answered {
            match self.reader.next() {
                Ok(Some(Message::Close(_))) => *answered = true,
                Ok(Some(_)) => {}
                Ok(None) => *answered = ready!(self.poll_chunk(cx)).is_err(),
                Err(_) => {
                    self.garbled = true;
                    self.reader = Reader::default();
                }
            }
        }
        if written { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Whether a message is a STOP, and if so, whether without grace.
fn read_stop(text: &str) -> Option<bool> {
    let text = text.trim();
    if text == "STOP" {
        return Some(false);
    }
    let message = serde_json::from_str::<serde_json::Value>(text).ok()?;
    (message["signal"].as_str() == Some("STOP")).then(|| message["force"].as_bool().unwrap_or_default())
}
