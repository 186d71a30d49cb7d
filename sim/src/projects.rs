//! A simulated project API: one config for every project, or a script of failures first.

use baton_core::id::ProjectName;
use baton_core::project::Project;
use baton_runtime::ports::{ProjectError, Projects};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// A project API that fails as told, and then answers.
#[derive(Clone, Default)]
pub struct SimProjects {
    failures: Arc<Mutex<VecDeque<ProjectError>>>,
}

impl SimProjects {
    /// An API that gives these answers first.
    pub fn failing(failures: impl IntoIterator<Item = ProjectError>) -> Self {
        Self { failures: Arc::new(Mutex::new(failures.into_iter().collect())) }
    }
}

impl Projects for SimProjects {
    async fn fetch(&self, _: &ProjectName) -> Result<Project, ProjectError> {
        let failure = self.failures.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match failure {
            Some(failure) => Err(failure),
            None => Project::from_json(b"{}").map_err(|bad| ProjectError::Unusable(bad.to_string())),
        }
    }
}
