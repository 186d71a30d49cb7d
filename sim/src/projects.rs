//! A simulated project API: what it answers is in the project's name, so that a seed's plan says it all.

use baton_core::id::ProjectName;
use baton_core::project::Project;
use baton_runtime::ports::{ProjectError, Projects};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// How a project's config can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Config {
    /// At once.
    There,
    /// After a while.
    Slow,
    /// Not the first two times.
    Flaky,
    /// Never: the API is down.
    Down,
    /// There is no such project.
    Unknown,
    /// The answer is no config.
    Wrong,
}

impl Config {
    /// All there are.
    pub const ALL: [Self; 6] = [Self::There, Self::Slow, Self::Flaky, Self::Down, Self::Unknown, Self::Wrong];

    /// The name of a project that is like this.
    pub const fn project(self) -> &'static str {
        match self {
            Self::There => "default",
            Self::Slow => "slow",
            Self::Flaky => "flaky",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Wrong => "wrong",
        }
    }
}

/// The project API. Clones are the same.
#[derive(Clone, Default)]
pub struct SimProjects {
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Projects for SimProjects {
    async fn fetch(&self, project: &ProjectName) -> Result<Project, ProjectError> {
        sleep(Duration::from_millis(2)).await;
        let asked = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let count = asked.entry(project.to_string()).or_default();
            *count += 1;
            *count
        };
        let config = Config::ALL.into_iter().find(|config| config.project() == project.as_str());
        match config.unwrap_or(Config::There) {
            Config::Slow => sleep(Duration::from_secs(2)).await,
            Config::Flaky if asked <= 2 => return Err(ProjectError::Unavailable("connection refused".into())),
            Config::Down => return Err(ProjectError::Unavailable("503 Service Unavailable".into())),
            Config::Unknown => return Err(ProjectError::Unknown(format!("there is no project {project}"))),
            Config::Wrong => return Err(ProjectError::Unusable("the config is not an object".into())),
            Config::There | Config::Flaky => {}
        }
        Project::from_json(b"{}").map_err(|bad| ProjectError::Unusable(bad.to_string()))
    }
}
