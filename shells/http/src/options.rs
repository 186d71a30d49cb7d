//! The limits of the HTTP shell, each with its reason. All of them are in this one place; none may be unlimited.

use std::io;
use std::time::Duration;
use tokio::net::TcpListener;

/// The largest body of a request, in bytes.
pub const MAX_BODY: usize = 1 << 20;
/// How much of a body that is too large is read and thrown away, so that its sender gets to read the answer.
pub const MAX_DISCARDED: usize = 8 << 20;
/// How long a body may take to arrive.
pub const BODY_WITHIN: Duration = Duration::from_secs(30);
/// The largest message of a watcher: `STOP` and its JSON need a few bytes.
pub const MAX_MESSAGE: usize = 4096;
/// The largest head of a request, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;
/// Connections beside those of watchers, idle ones included. More wait in the listener's backlog.
pub const SPARE_CONNECTIONS: usize = 1024;
/// When a client should come back that found the server shutting down, or full of watchers.
pub const COME_BACK_AFTER: Duration = Duration::from_secs(5);
/// When a browser reconnects whose event stream was cut.
pub const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// How the server is set. The defaults are right for production.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many watchers there may be at once, of all three sorts (WebSocket, events, followed log). One more gets 503.
    pub max_watchers: usize,
    /// Only this machine can reach the listener. Then a `Host` that is not this machine is refused: some web page has
    /// pointed a name of its own at 127.0.0.1 (DNS rebinding).
    pub loopback_only: bool,
    /// Hosts that are right although they are no loopback address: of a proxy on this machine. Without port.
    pub allowed_hosts: Vec<String>,
    /// The program that the workers run, and its first arguments, where this process knows them. A dry run shows them.
    pub agent: Option<Vec<String>>,
    /// Origins beside the server's own whose pages may call it: `https://tools.example`.
    pub allowed_origins: Vec<String>,
    /// How long a connection may take to send the head of a request, and how long it may idle between requests.
    pub head_within: Duration,
    /// A connection that takes no byte for this long is closed.
    pub stalled_after: Duration,
    /// How often a WebSocket is pinged. One that did not answer twice is closed at the third.
    pub ping_every: Duration,
    /// How often an event stream that has nothing to say shows that it lives.
    pub heartbeat_every: Duration,
    /// How long a WebSocket's closing handshake may take.
    pub handshake_within: Duration,
    /// How long [`serve`](crate::serve) waits for its connections to end once it was told to close.
    pub closed_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_watchers: 10_000,
            loopback_only: true,
            allowed_hosts: Vec::new(),
            agent: None,
            allowed_origins: Vec::new(),
            head_within: Duration::from_secs(30),
            stalled_after: Duration::from_secs(30),
            ping_every: Duration::from_secs(20),
            heartbeat_every: Duration::from_secs(15),
            handshake_within: Duration::from_secs(2),
            closed_within: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// The defaults for this listener: `loopback_only` is as its address says.
    pub fn for_listener(listener: &TcpListener) -> io::Result<Self> {
        let loopback_only = listener.local_addr()?.ip().is_loopback();
        Ok(Self { loopback_only, ..Self::default() })
    }
}
