//! `baton projects`: serves the projects' configs from a file. It needs no Kafka, and writes nothing.

use crate::cli::ProjectsService;
use crate::report::Failure;
use crate::serving::{Server, listen};
use crate::signals::Signals;
use baton_agent::{ConfiguredProjects, FileProjects};
use std::process::ExitCode;

/// Runs until it is told to end.
pub async fn run(options: ProjectsService) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new()?;
    let projects = FileProjects::open(&options.projects).map(ConfiguredProjects::File).map_err(Failure::usage)?;
    let listening = listen("--listen", options.listen, options.trust_network).await?;
    tracing::info!(address = %listening.address, projects = %options.projects.display(), "listening");
    let mut server = Server::start(listening, baton_http::projects(projects));
    let ended = tokio::select! {
        biased;
        _ = signals.next() => Ok(()),
        failure = server.failed() => Err(failure),
    };
    server.close().await;
    if ended.is_ok() {
        tracing::info!("ended");
    }
    ended.map(|()| ExitCode::SUCCESS)
}
