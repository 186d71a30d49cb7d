//! SIGTERM and SIGINT, which mean the same: the first says that the process is to end in good order, a second that it is to
//! end at once.

use crate::report::Failure;
use baton_runtime::worker::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, and what they have said so far.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    said: Shutdown,
}

impl Signals {
    /// From now on they no longer end the process by themselves.
    pub fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::unreachable(format!("could not listen for signals: {error}")));
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, said: Shutdown::No })
    }

    /// How the process is to end, when the next signal has said so.
    pub async fn next(&mut self) -> Shutdown {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        self.said = if self.said == Shutdown::No { Shutdown::Drain } else { Shutdown::Now };
        self.said
    }
}
