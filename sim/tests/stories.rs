//! The shipped loops in a simulated world: a task from its POST to its end, and what may come between.
#![cfg(madsim)]
#![allow(clippy::unwrap_used)]

use baton_core::hub::HubConfig;
use baton_core::id::TaskId;
use baton_core::worker::WorkerConfig;
use baton_runtime::ports::ProjectError;
use baton_runtime::worker::Shutdown;
use baton_sim::agents::{Act, SILENCE, SimAgents};
use baton_sim::projects::SimProjects;
use baton_sim::site::{SimApi, Site, watch_to_the_end};
use madsim::runtime::{Handle, NodeHandle};
use std::time::Duration;
use tokio::sync::watch;

const BODY: &[u8] = br#"{"project": "default", "type": "seed-db"}"#;

/// A worker on a node of its own, so that it can be killed and started again.
fn worker_node(site: &Site, shutdown: &watch::Sender<Shutdown>) -> NodeHandle {
    let (site, shutdown) = (site.clone(), shutdown.subscribe());
    let work = move || {
        let (site, shutdown) = (site.clone(), shutdown.clone());
        async move { site.work(WorkerConfig::default(), shutdown).await.unwrap() }
    };
    Handle::current().create_node().name("worker").init(work).build()
}

async fn ready(site: &Site) -> SimApi {
    let api = site.api(HubConfig::default());
    while !api.ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    api
}

fn agents(acts: &[Act]) -> SimAgents {
    let acts = acts.to_vec();
    SimAgents::new(move |_| acts.clone())
}

async fn until_watched(api: &SimApi, id: &TaskId, update: &str) {
    while api.view(id).unwrap().last_update.as_deref() != Some(update) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[madsim::test]
async fn a_task_is_run_and_watched_to_its_end() {
    let acts = [Act::Print("Initializing...\nLoaded "), Act::Wait(Duration::from_secs(5)), Act::Print("config\n")];
    let site = Site::new(agents(&acts), SimProjects::default());
    let shutdown = watch::Sender::default();
    let _worker = worker_node(&site, &shutdown);
    let api = ready(&site).await;
    let id = api.submit(BODY, None).await.unwrap();
    let early = watch_to_the_end(&api, &id).await.unwrap();
    assert_eq!(early, ["Starting...", "Initializing...", "Loaded config", "DONE"]);
    assert_eq!(watch_to_the_end(&api, &id).await.unwrap(), early, "a late watcher reads the same");
    assert_eq!(
        watch_to_the_end(&ready(&site).await, &id).await.unwrap(),
        early,
        "so does one of an API that came later"
    );
    assert!(site.agents.table().is_empty());
}

#[madsim::test]
async fn a_silent_agent_is_stopped() {
    let site = Site::new(agents(&[Act::Print("hello\n"), Act::IgnoreTerm, SILENCE]), SimProjects::default());
    let shutdown = watch::Sender::default();
    let _worker = worker_node(&site, &shutdown);
    let api = ready(&site).await;
    let id = api.submit(BODY, None).await.unwrap();
    until_watched(&api, &id, "hello").await;
    api.stop(&id, None).await.unwrap();
    assert_eq!(watch_to_the_end(&api, &id).await.unwrap(), ["Starting...", "hello", "STOPPED"]);
    assert!(site.agents.table().is_empty());
    assert_eq!(api.stop(&id, None).await.unwrap_err().status, 409);
}

#[madsim::test]
async fn a_task_whose_worker_died_is_attempted_again() {
    let site = Site::new(
        agents(&[Act::Print("one\n"), Act::Wait(Duration::from_mins(1)), Act::Print("two\n")]),
        SimProjects::default(),
    );
    let shutdown = watch::Sender::default();
    let worker = worker_node(&site, &shutdown);
    let api = ready(&site).await;
    let id = api.submit(BODY, None).await.unwrap();
    until_watched(&api, &id, "one").await;
    Handle::current().kill(worker.id());
    Handle::current().restart(worker.id());
    let seen = watch_to_the_end(&api, &id).await.unwrap();
    assert_eq!(seen, ["Starting...", "one", "Starting... (attempt 2)", "one", "two", "DONE"]);
}

#[madsim::test]
async fn a_drained_worker_hands_back_what_does_not_end_in_time() {
    let site = Site::new(
        agents(&[Act::Print("one\n"), Act::Wait(Duration::from_hours(1)), Act::Exit(3)]),
        SimProjects::default(),
    );
    let shutdown = watch::Sender::default();
    let worker = worker_node(&site, &shutdown);
    let api = ready(&site).await;
    let id = api.submit(BODY, None).await.unwrap();
    until_watched(&api, &id, "one").await;
    shutdown.send_replace(Shutdown::Drain);
    while !site.agents.table().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shutdown.send_replace(Shutdown::No);
    Handle::current().kill(worker.id());
    Handle::current().restart(worker.id());
    let seen = watch_to_the_end(&api, &id).await.unwrap();
    assert_eq!(seen, ["Starting...", "one", "Starting... (attempt 2)", "one", "FAILED: exit code 3"]);
}

#[madsim::test]
async fn a_project_api_that_is_down_for_a_while_only_delays() {
    let down = || ProjectError::Unavailable("connection refused".into());
    let site = Site::new(agents(&[Act::Complain("hm\n")]), SimProjects::failing([down(), down(), down()]));
    let shutdown = watch::Sender::default();
    let _worker = worker_node(&site, &shutdown);
    let api = ready(&site).await;
    let id = api.submit(BODY, None).await.unwrap();
    assert_eq!(watch_to_the_end(&api, &id).await.unwrap(), ["Starting...", "hm", "DONE"]);
}

#[madsim::test]
async fn two_posts_with_one_key_are_one_task() {
    let site = Site::new(agents(&[]), SimProjects::default());
    let shutdown = watch::Sender::default();
    let _worker = worker_node(&site, &shutdown);
    let (here, there) = (ready(&site).await, ready(&site).await);
    let (first, second) = tokio::join!(here.submit(BODY, Some("k")), there.submit(BODY, Some("k")));
    let id = first.unwrap();
    assert_eq!(second.unwrap(), id);
    assert_eq!(watch_to_the_end(&here, &id).await.unwrap(), ["Starting...", "DONE"]);
    let other = br#"{"project": "other", "type": "seed-db"}"#;
    assert_eq!(there.submit(other, Some("k")).await.unwrap_err().status, 409);
}
