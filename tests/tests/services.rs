//! The services on a real Kafka: many APIs, many workers, and what becomes of a task when one of them goes, dies or freezes.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, Frames, OnKafka, assert_whole, frames, json_frames, lives, texts, until};
use serde_json::{Value, json};

#[tokio::test]
async fn what_one_api_took_another_shows_and_stops_and_a_late_one_knows_from_the_beginning() {
    let kafka = OnKafka::new().await;
    let (one, other, _worker) = tokio::join!(kafka.api(), kafka.api(), kafka.worker(&[]));
    let id = one.submit("lines", json!({"lines": 20, "text": "x"})).await;
    let seen = frames(&other, &id).await;
    assert_eq!((seen.0.len(), seen.0.last().map(String::as_str), seen.1), (22, Some("DONE"), Some(1000)));
    assert_eq!(seen, frames(&one, &id).await);

    let silent = one.submit("silent", json!({})).await;
    let mut watcher = Frames::open(&other, &silent, "").await;
    watcher.until("ready").await;
    watcher.send("STOP").await;
    assert_eq!(watcher.rest().await.last().map(String::as_str), Some("STOPPED"));
    one.until_task(&silent, "status", "stopped").await;

    let late = kafka.api().await;
    assert_eq!(seen, frames(&late, &id).await);
    assert_eq!(late.task(&silent).await["status"], "stopped");
}

#[tokio::test]
async fn nobody_is_interrupted_when_workers_join_and_leave() {
    let kafka = OnKafka::new().await;
    let (api, mut first, _second) = tokio::join!(kafka.api(), kafka.worker(&[]), kafka.worker(&[]));
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(api.submit("slow", json!({"lines": 30, "interval": 0.05})).await);
    }
    let running = async || {
        let tasks = api.get_json("/tasks?status=running").await;
        (tasks["tasks"].as_array().unwrap().len() == 2).then_some(())
    };
    until("both workers to run a task", running).await;
    let _third = kafka.worker(&[]).await;
    // Those that ran as it joined, and one more of each partition's at least.
    until("tasks to end beside it", async || {
        let tasks = api.get_json("/tasks?status=done").await;
        (tasks["tasks"].as_array().unwrap().len() >= 4).then_some(())
    })
    .await;
    first.signal("TERM");
    assert_eq!(first.finished().await.code, Some(0));
    for id in &ids {
        let task = api.until_ended(id).await;
        assert_eq!((task["status"].as_str(), task["attempt"].as_u64()), (Some("done"), Some(1)), "{task}");
        let seen = json_frames(&api, id, "").await;
        assert_eq!(seen.len(), 32);
        assert_whole(&seen);
    }
}

/// The worker of a silent task that has begun, and another that has not got it.
async fn begun(kafka: &OnKafka, api: &Baton) -> (String, Baton, Baton) {
    let (one, other) = tokio::join!(kafka.worker(&[]), kafka.worker(&[]));
    let id = api.submit("silent", json!({})).await;
    let speaks = |task: &Value| task["last_update"] == "ready";
    until("the agent to speak", async || Some(api.task(&id).await).filter(speaks)).await;
    if one.leftovers().is_empty() { (id, other, one) } else { (id, one, other) }
}

/// Waits for the second attempt's first line, stops it, and looks at the whole story.
async fn second_attempt_is_the_only_other(api: &Baton, id: &str) {
    let second = |task: &Value| task["attempt"] == 2 && task["last_update"] == "ready";
    until("the second attempt", async || Some(api.task(id).await).filter(second)).await;
    assert_eq!(api.stop(id).await, 202);
    api.until_task(id, "status", "stopped").await;
    let seen = json_frames(api, id, "").await;
    assert_whole(&seen);
    let said = texts(&seen);
    let lines: Vec<&str> = said.into_iter().filter(|text| !text.starts_with("Stopping")).collect();
    assert_eq!(lines, ["Starting...", "ready", "Starting... (attempt 2)", "ready", "STOPPED"]);
}

#[tokio::test]
async fn a_killed_workers_task_is_attempted_again_elsewhere() {
    let kafka = OnKafka::new().await;
    let api = kafka.api().await;
    let (id, mut victim, _heir) = begun(&kafka, &api).await;
    let agent = victim.agents_pid().await;
    victim.kill();
    until("the agent to be dead", async || (!lives(agent)).then_some(())).await;
    second_attempt_is_the_only_other(&api, &id).await;
}

#[tokio::test]
async fn a_frozen_workers_agent_is_dead_before_the_task_is_attempted_elsewhere() {
    let kafka = OnKafka::new().await;
    let api = kafka.api().await;
    let (id, frozen, heir) = begun(&kafka, &api).await;
    let agent = frozen.agents_pid().await;
    frozen.signal("STOP");
    heir.agents_pid().await;
    assert!(!lives(agent), "two processes of one task live");
    frozen.signal("CONT");
    second_attempt_is_the_only_other(&api, &id).await;
}

#[tokio::test]
async fn a_worker_that_is_back_under_its_name_waits_for_no_session_to_end() {
    let kafka = OnKafka::new().await;
    // Longer than this test waits for anything.
    let flags = ["--name", "named", "--session-timeout", "5m"];
    let (api, mut worker) = tokio::join!(kafka.api(), kafka.worker(&flags));
    let id = api.submit("silent", json!({})).await;
    api.until_task(&id, "last_update", "ready").await;
    let agent = worker.agents_pid().await;
    worker.kill();
    let _back = worker.restart().await;
    second_attempt_is_the_only_other(&api, &id).await;
    assert!(!lives(agent));
}
