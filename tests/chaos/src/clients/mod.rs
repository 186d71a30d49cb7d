//! The clients: each task of the plan has one that submits it, and some that watch it and stop it. They do what a sensible client does:
//! try again where that is right, at another replica; and they note all that they see, and judge nothing.

mod ask;
mod submit;
mod watch;
mod witness;

pub use witness::Witness;

use crate::plan::{Task, Watcher};
use crate::stage::Stage;
use crate::story::{Closed, Format, Shown};
use baton_core::id::UpdateId;
use reqwest::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// Longer than Baton holds a POST.
const ANSWERED_WITHIN: Duration = Duration::from_secs(12);

/// All that the clients have in common.
pub struct Clients {
    http: Client,
    stage: Arc<Stage>,
    /// What they saw.
    pub witness: Witness,
    watchers: AtomicUsize,
}

impl Clients {
    /// Clients of these replicas.
    pub fn new(stage: Arc<Stage>) -> crate::Result<Arc<Self>> {
        // Fails only where one was installed before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().connect_timeout(Duration::from_secs(3)).build()?;
        Ok(Arc::new(Self { http, stage, witness: Witness::default(), watchers: AtomicUsize::new(0) }))
    }

    /// Plays these tasks; the times in them count from now.
    pub async fn play(self: &Arc<Self>, tasks: Vec<Task>, first: usize) {
        let begun = Instant::now();
        let mut playing = JoinSet::new();
        for (number, task) in tasks.into_iter().enumerate() {
            let clients = self.clone();
            playing.spawn(async move {
                sleep_until(begun + task.at).await;
                clients.play_one(first + number, &task).await;
            });
        }
        while let Some(played) = playing.join_next().await {
            if let Err(error) = played {
                self.stage.surprise(format!("a client broke: {error}"));
            }
        }
    }

    async fn play_one(self: &Arc<Self>, number: usize, task: &Task) {
        for id in self.submit(number, task).await {
            let mut all = JoinSet::new();
            for watcher in task.watchers.clone() {
                let (clients, id) = (self.clone(), id.clone());
                all.spawn(async move {
                    sleep(watcher.after).await;
                    clients.watch(&id, watcher).await;
                });
            }
            for stop in task.stops.clone() {
                let (clients, id) = (self.clone(), id.clone());
                all.spawn(async move {
                    sleep(stop.after).await;
                    clients.stop(&id, stop).await;
                });
            }
            while let Some(ended) = all.join_next().await {
                if let Err(error) = ended {
                    self.stage.surprise(format!("a client broke: {error}"));
                }
            }
        }
    }

    /// Reads all of a task that has ended, at one replica, and what that says of it.
    pub async fn read_again(self: &Arc<Self>, id: &str, api: usize, format: u8) {
        let watcher = Watcher { after: Duration::ZERO, api, format, vanishes: None, pause: Duration::ZERO };
        let watcher = self.open(id, watcher);
        for _ in 0..3 {
            // What breaks here breaks at a replica that nobody harms.
            let closed = self.connect(&watcher, api, UpdateId::default()).await.closed;
            if matches!(closed, Closed::Ended | Closed::Code(_)) {
                break;
            }
        }
        let shown = self.show(id, api).await;
        self.witness.shown(shown);
    }

    async fn show(&self, id: &str, api: usize) -> Shown {
        let (status, attempt) = match self.get(api, &format!("/tasks/{id}")).await {
            Ok((200, body)) => {
                let status = body["status"].as_str().unwrap_or("no status").to_owned();
                (status, body["attempt"].as_u64().unwrap_or(0))
            }
            Ok((status, _)) => (status.to_string(), 0),
            Err(error) => (error, 0),
        };
        Shown { task: id.to_owned(), api, status, attempt }
    }

    fn open(&self, id: &str, watcher: Watcher) -> watch::Watching {
        let format = [Format::Json, Format::Plain, Format::Events][usize::from(watcher.format) % 3];
        let number = self.watchers.fetch_add(1, Ordering::Relaxed);
        watch::Watching { number, task: id.to_owned(), format, plan: watcher }
    }

    fn url(&self, api: usize) -> &str {
        let urls = &self.stage.cast.urls;
        &urls[api % urls.len()]
    }
}
