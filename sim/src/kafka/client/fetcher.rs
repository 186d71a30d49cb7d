//! Fetches partitions from their leaders: one long poll at each broker. What comes is never given twice.

use super::super::cluster::BROKERS;
use super::super::wire::{Broker, Request, Response};
use super::{Client, FETCH_BYTES, FETCHED_WITHIN, RETRY_AFTER, Task};
use baton_core::log::{Delivered, Offset, Partition, Topic};
use baton_runtime::ports::LogError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

/// How many answers may wait to be taken.
const ANSWERS: usize = 4;
/// How long a broker's poller that has nothing to do waits before it looks at the leaders again.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// Tells what is read for one purpose from what was read for an earlier one: another place, another claim.
pub(super) type Version = u64;

/// Where partitions are read from next, shared with the pollers.
#[derive(Clone)]
pub(super) struct Positions {
    topic: Topic,
    at: Arc<Mutex<BTreeMap<Partition, (Version, Offset)>>>,
    changed: Arc<Notify>,
}

impl Positions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, (Version, Offset)>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a partition from here on, under this version.
    pub fn seek(&self, partition: Partition, version: Version, offset: Offset) {
        self.lock().insert(partition, (version, offset));
        self.changed.notify_waiters();
    }

    /// Reads a partition no longer.
    pub fn remove(&self, partition: Partition) {
        self.lock().remove(&partition);
        self.changed.notify_waiters();
    }

    /// Whether some partition is read of which no leader is known.
    fn has_orphans(&self, client: &Client) -> bool {
        let leaders = client.leaders();
        self.lock().keys().any(|partition| !leaders.contains_key(&(self.topic, *partition)))
    }

    fn advance(&self, partition: Partition, version: Option<&Version>, offset: Offset) {
        if let Some((_, at)) = self.lock().get_mut(&partition).filter(|(now, _)| version == Some(now)) {
            *at = (*at).max(offset);
        }
    }
}

/// What a poller got: records, and how far each partition was read.
pub(super) struct Fetched {
    /// Under which version each partition was asked for.
    pub asked: BTreeMap<Partition, Version>,
    /// This one's oldest records were gone.
    pub skipped: Option<Partition>,
    pub records: Vec<Delivered>,
    pub ends: Vec<(Topic, Partition, Offset)>,
}

/// What a poller says: what it got, or that no broker answers.
pub(super) type Answer = Result<Fetched, LogError>;

/// See the module's words.
pub(super) struct Fetcher {
    pub positions: Positions,
    pub fetched: mpsc::Receiver<Answer>,
    _pollers: Vec<Task>,
}

impl Fetcher {
    pub fn new(client: &Arc<Client>, topic: Topic, from: BTreeMap<Partition, Offset>) -> Self {
        let from = from.into_iter().map(|(partition, at)| (partition, (0, at))).collect();
        let positions = Positions { topic, at: Arc::new(Mutex::new(from)), changed: Arc::default() };
        let (sender, fetched) = mpsc::channel(ANSWERS);
        let pollers = (0..BROKERS)
            .map(|broker| Task::spawn(poll(client.clone(), broker, positions.clone(), sender.clone())))
            .collect();
        Self { positions, fetched, _pollers: pollers }
    }
}

async fn poll(client: Arc<Client>, broker: Broker, positions: Positions, sender: mpsc::Sender<Answer>) {
    let topic = positions.topic;
    if client.leaders().is_empty() {
        client.refresh().await;
    }
    loop {
        let changed = positions.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if positions.has_orphans(&client) {
            // Whatever it reads meanwhile, a consumer that knows no leader of a partition asks for the metadata again.
            client.refresh().await;
        }
        let led = |partition: &Partition| client.leaders().get(&(topic, *partition)) == Some(&broker);
        let read = positions.lock().clone();
        let read: Vec<_> = read.into_iter().filter(|(partition, _)| led(partition)).collect();
        let asked: BTreeMap<_, _> = read.iter().map(|(partition, (version, _))| (*partition, *version)).collect();
        let from: Vec<_> = read.into_iter().map(|(partition, (_, at))| (topic, partition, at)).collect();
        if from.is_empty() {
            let again_after = if positions.has_orphans(&client) { RETRY_AFTER } else { LOOK_AGAIN };
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep(again_after) => {}
            }
            continue;
        }
        let request = Request::Fetch { from, max_bytes: FETCH_BYTES };
        let answer = tokio::select! {
            biased;
            // Other partitions are to be read: this poll does not know of them.
            () = changed => continue,
            answer = client.ask(broker, request, FETCHED_WITHIN) => answer,
        };
        let fetched = match answer {
            Some(Response::Fetched(records, ends)) => Fetched { asked, skipped: None, records, ends },
            Some(Response::OutOfRange(topic, partition, start)) => {
                let ends = vec![(topic, partition, start)];
                Fetched { asked, skipped: Some(partition), records: Vec::new(), ends }
            }
            Some(Response::Done) => continue,
            _ => {
                sleep(RETRY_AFTER).await;
                if !client.refresh().await {
                    // One that nobody takes is enough.
                    let _ = sender.try_send(Err(LogError::Unavailable("no broker answers".into())));
                }
                continue;
            }
        };
        // Once it has moved on, another leader's poller reads what comes next: that must not be given before this.
        let Ok(room) = sender.reserve().await else { return };
        for (_, partition, end) in &fetched.ends {
            positions.advance(*partition, fetched.asked.get(partition), *end);
        }
        room.send(Ok(fetched));
    }
}
