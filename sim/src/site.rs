//! A site: one log, and on it the APIs and workers that a test asks for, each made of the shipped loops.

use crate::agents::SimAgents;
use crate::projects::SimProjects;
use baton_core::hub::{Format, HubConfig};
use baton_core::id::{TaskId, UpdateId};
use baton_core::problem::Problem;
use baton_core::types::TaskTypes;
use baton_core::worker::WorkerConfig;
use baton_runtime::api::{Api, Next, Watcher};
use baton_runtime::memory::MemoryLog;
use baton_runtime::ports::LogError;
use baton_runtime::worker::{self, Membership, Shutdown};
use baton_runtime::world::SystemWorld;
use tokio::sync::watch;

/// An API on a log in memory.
pub type SimApi = Api<MemoryLog, SystemWorld>;
/// A watcher of a [`SimApi`].
pub type SimWatcher = Watcher<MemoryLog, SystemWorld>;

/// One log, and what runs on it.
#[derive(Clone)]
pub struct Site {
    /// The log that all share.
    pub log: MemoryLog,
    /// What agents do.
    pub agents: SimAgents,
    /// What the project API answers.
    pub projects: SimProjects,
}

impl Site {
    /// An empty log of four partitions.
    pub fn new(agents: SimAgents, projects: SimProjects) -> Self {
        Self { log: MemoryLog::in_world(4, SystemWorld), agents, projects }
    }

    /// Starts an API; its loop runs until the node that it was started on dies.
    pub fn api(&self, config: HubConfig) -> SimApi {
        let api = Api::new(self.log.clone(), SystemWorld, TaskTypes::default(), config);
        let running = api.clone();
        tokio::spawn(async move { running.run().await });
        api
    }

    /// Runs a worker until it is told to go.
    pub async fn work(&self, config: WorkerConfig, shutdown: watch::Receiver<Shutdown>) -> Result<(), LogError> {
        let (log, agents, projects) = (self.log.clone(), self.agents.clone(), self.projects.clone());
        worker::run(log, agents, projects, SystemWorld, Membership::default(), config, shutdown).await
    }
}

/// All that a new watcher of the task reads, to the end, as the texts of plain frames.
pub async fn watch_to_the_end(api: &SimApi, id: &TaskId) -> Result<Vec<String>, Problem> {
    let mut watcher = api.watch(id, UpdateId::default()).await?;
    let mut texts = Vec::new();
    while let Ok(Next::Segments(segments)) = watcher.next().await {
        texts.extend(segments.iter().flat_map(|(segment, first)| texts_of(&segment.frames(Format::Plain, *first))));
    }
    Ok(texts)
}

/// The texts of ready frames, none of which is longer than 125 bytes: simulated agents are terse.
pub fn texts_of(mut frames: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [0x81, length @ 0..=125, rest @ ..] = frames {
        let (text, after) = rest.split_at(usize::from(*length));
        texts.push(String::from_utf8_lossy(text).into_owned());
        frames = after;
    }
    assert!(frames.is_empty(), "a frame of more than 125 bytes");
    texts
}
