//! The server's end in two steps: first it takes no new tasks and goes on serving watchers, then it closes everything.
//! It never goes back a step.

use std::future::Future;
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Closing,
}

/// Tells the server to end. Clones tell the same server.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<Phase>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Shutdown {
    /// From now on a POST gets 503, and `/readyz` says that the server is going; watchers are served as before.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// From now on nothing is accepted, every WebSocket is closed with 1012, and event streams end.
    pub fn close(&self) {
        self.advance(Phase::Closing);
    }

    fn advance(&self, to: Phase) {
        self.0.send_if_modified(|phase| {
            let changes = *phase < to;
            *phase = to.max(*phase);
            changes
        });
    }

    /// Whether no new task is taken.
    pub(crate) fn is_draining(&self) -> bool {
        *self.0.borrow() >= Phase::Draining
    }

    /// Whether no new watcher is taken.
    pub(crate) fn is_closing(&self) -> bool {
        *self.0.borrow() == Phase::Closing
    }

    /// Waits for [`Self::close`].
    pub(crate) fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut phase = self.0.subscribe();
        // An error means that everyone who could tell is gone, the server itself included.
        async move { drop(phase.wait_for(|phase| *phase == Phase::Closing).await) }
    }
}
