//! The real clock and entropy. In a simulation the same calls are answered by the simulator.

use crate::ports::World;
use baton_core::time::{Instant, Now, Timestamp};
use std::time::SystemTime;
use tokio::time;

/// The world as the standard library sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemWorld;

impl World for SystemWorld {
    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn random(&self) -> [u8; 16] {
        uuid::Uuid::new_v4().into_bytes()
    }
}

/// Turns the runtime's clock into the core's.
#[derive(Clone, Debug)]
pub struct Clock<W> {
    start: time::Instant,
    world: W,
}

impl<W: World> Clock<W> {
    /// A clock that starts now.
    pub fn new(world: W) -> Self {
        Self { start: time::Instant::now(), world }
    }

    /// What both clocks say.
    pub fn now(&self) -> Now {
        let since_start = time::Instant::now().saturating_duration_since(self.start);
        Now { mono: Instant::from_start(since_start), wall: self.world.wall() }
    }

    /// A point on the runtime's clock as the core sees it.
    pub fn of(&self, at: time::Instant) -> Instant {
        Instant::from_start(at.saturating_duration_since(self.start))
    }

    /// The world behind it.
    pub const fn world(&self) -> &W {
        &self.world
    }

    /// Waits until a deadline of the core; for ever if there is none.
    pub async fn until(&self, deadline: Option<Instant>) {
        match deadline.and_then(|at| self.start.checked_add(at.since_start())) {
            Some(at) => time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
