//! How a process speaks of itself on the log, and how a replica hears of all. Nothing waits for it: where the log is away, it
//! is silent until the log is back.

use crate::api::Shared;
use crate::patience::{Patience, until_there};
use crate::ports::{Durability, Log, LogError, Tail, TailFrom, World};
use crate::world::Clock;
use baton_core::hub::FORGOTTEN_AFTER;
use baton_core::log::{Batch, Topic};
use baton_core::presence::{Doing, Herald, Identity, Presence};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long one word may take to be on the log; after it, the next is tried.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// How long a process that goes waits for its last word.
const FAREWELL_WITHIN: Duration = Duration::from_millis(500);

/// Puts the words of one process on the log: the latest, one at a time.
pub(crate) struct Voice {
    herald: Herald,
    latest: watch::Sender<Option<Presence>>,
    telling: JoinHandle<()>,
}

impl Voice {
    pub fn new<L: Log>(log: L, identity: Identity) -> Self {
        let latest = watch::Sender::new(None);
        let telling = tokio::spawn(tell(log, latest.subscribe()));
        Self { herald: Herald::new(identity), latest, telling }
    }

    /// Waits until [`Self::speak`] is to be called.
    pub async fn turn<W: World>(&self, clock: &Clock<W>) {
        clock.until(Some(self.herald.deadline())).await;
    }

    /// Says what it does now, if that is worth a word.
    pub fn speak<W: World>(&mut self, doing: Doing, clock: &Clock<W>) {
        if let Some(word) = self.herald.look(doing, clock.now()) {
            self.latest.send_replace(Some(word));
        }
    }

    /// Says that it goes.
    pub async fn farewell<W: World>(self, clock: &Clock<W>) {
        let Self { herald, latest, telling } = self;
        latest.send_replace(Some(herald.farewell(clock.now().wall)));
        drop(latest);
        // Without its last word it is taken for lost, and that is told apart.
        let _ = timeout(FAREWELL_WITHIN, telling).await;
    }
}

async fn tell<L: Log>(log: L, mut latest: watch::Receiver<Option<Presence>>) {
    while latest.changed().await.is_ok() {
        let Some(word) = latest.borrow_and_update().clone() else { continue };
        let batch = Batch::one(Topic::Presence, word.identity.id.clone(), word.write());
        match timeout(TOLD_WITHIN, log.append(vec![batch], Durability::Written)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "could not say that this process is there"),
            Err(_) => tracing::debug!("could not say in time that this process is there"),
        }
    }
}

impl<L: Log, W: World> Shared<L, W> {
    /// Hears of all processes, for ever.
    pub(crate) async fn follow_presence(&self) -> Result<Infallible, LogError> {
        let from = TailFrom::Time(self.clock.world().wall().minus(FORGOTTEN_AFTER));
        let mut tail = until_there(|| self.log.tail(Topic::Presence, from)).await?;
        let mut patience = Patience::default();
        loop {
            match patience.then(tail.next()).await {
                Ok(event) => self.take_in(Topic::Presence, event),
                Err(error) => patience.note(error, Topic::Presence.name())?,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Says that this replica is there, for ever.
    pub(crate) async fn announce(&self, identity: Identity) -> Infallible {
        let mut voice = Voice::new(self.log.clone(), identity);
        loop {
            voice.turn(&self.clock).await;
            voice.speak(Doing::default(), &self.clock);
        }
    }
}
