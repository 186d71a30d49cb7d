//! Where messages are that stay on the way for seconds: on a path that is slow, in the queue of a broker that is busy, in a
//! connection that its client has given up. Others overtake them; and whoever sent them may be dead when they come.

use super::broker::Asked;
use super::cluster::Cluster;
use super::wire::Response;
use madsim::net::Endpoint;
use madsim::rand::{Rng as _, thread_rng};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Where they are meanwhile.
pub const LATE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 6, 1)), 9092);
const TAG: u64 = 0;
/// How late messages are at most: later than a client waits, and than it tries.
const LATE_BY: Duration = Duration::from_secs(4);

/// A message that is late.
struct Late {
    after: Duration,
    to: (SocketAddr, u64),
    what: Message,
}

/// What may be late.
#[allow(clippy::large_enum_variant)] // few are
pub(super) enum Message {
    Asked(Asked),
    Answer(Response),
}

impl From<Asked> for Message {
    fn from(asked: Asked) -> Self {
        Self::Asked(asked)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Self::Answer(response)
    }
}

impl Cluster {
    /// How late the next message is, if it is.
    pub(super) fn lateness(&self) -> Option<Duration> {
        let rate = self.state().late;
        (rate > 0.0 && thread_rng().gen_bool(rate)).then(lateness)
    }
}

/// How late a late message is.
pub(super) fn lateness() -> Duration {
    thread_rng().gen_range(Duration::ZERO..LATE_BY)
}

/// Sends a message that will be late.
pub(super) async fn send_late(
    endpoint: &Endpoint,
    after: Duration,
    to: (SocketAddr, u64),
    what: Message,
) -> io::Result<()> {
    endpoint.send_to_raw(LATE, TAG, Box::new(Late { after, to, what })).await
}

/// Delivers what is late, for ever: for a node of its own, at [`LATE`].
pub async fn deliver_late() {
    let endpoint = Arc::new(Endpoint::bind(LATE).await.expect("the address is free"));
    while let Ok((late, from)) = endpoint.recv_from_raw(TAG).await {
        let Ok(late) = late.downcast::<Late>() else { continue };
        let endpoint = endpoint.clone();
        tokio::spawn(async move {
            let Late { after, to: (to, tag), what } = *late;
            sleep(after).await;
            let _ = match what {
                Message::Asked(mut asked) => {
                    asked.reply_to.1 = Some(from);
                    endpoint.send_to_raw(to, tag, Box::new(asked)).await
                }
                Message::Answer(response) => endpoint.send_to_raw(to, tag, Box::new(response)).await,
            };
        });
    }
}
