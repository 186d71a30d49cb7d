//! What an agent is given, how many run at a time and in which order, and that none can harm the others.
#![allow(clippy::unwrap_used)]

use baton_core::time::Timestamp;
use baton_tests::{Baton, Frames, assert_whole, frames, json_frames};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn an_agent_has_an_empty_input_a_group_of_its_own_and_nothing_of_batons_open() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("curious", json!({})).await;
    let (seen, _) = frames(&baton, &id).await;
    assert_eq!(seen, ["Starting...", "stdin b''", "open []", "group True blocked []", "DONE"]);
}

#[tokio::test]
async fn an_agent_knows_when_it_will_be_ended_and_whose_trace_it_is_part_of() {
    let baton = Baton::start(&[]).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = json!({"project": "default", "type": "environment", "timeout_s": 3600});
    for (sent, passed_on) in [(trace, true), ("00-none-1", false)] {
        let answer = baton.post(&body).header("traceparent", sent).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let answer: serde_json::Value = answer.json().await.unwrap();
        let id = answer["task_id"].as_str().unwrap();
        let (seen, _) = frames(&baton, id).await;
        let value = |name: &str| seen.iter().find_map(|line| line.strip_prefix(&format!("{name}=")));
        assert_eq!(value("TRACEPARENT"), passed_on.then_some(trace), "{seen:?}");
        let time = |text: serde_json::Value| serde_json::from_value::<Timestamp>(text).unwrap();
        let started = time(baton.task(id).await["started_at"].take());
        let deadline = time(json!(value("BATON_DEADLINE").expect("there is a timeout")));
        let left = deadline.since(started).as_secs();
        assert!((3595..=3610).contains(&left), "{left} s after {started}");
    }
}

#[tokio::test]
async fn an_agent_that_closes_its_outputs_runs_until_it_exits() {
    let baton = Baton::start(&["--grace", "10m"]).await;
    let id = baton.submit("mute", json!({"interval": 0.5})).await;
    let began = Instant::now();
    assert_eq!(frames(&baton, &id).await.0, ["Starting...", "ready", "DONE"]);
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
    let id = baton.submit("mute", json!({"interval": 50})).await;
    Frames::open(&baton, &id, "").await.until("ready").await;
    baton.stop(&id).await;
    assert_eq!(frames(&baton, &id).await.0, ["Starting...", "ready", "STOPPED"]);
}

#[tokio::test]
async fn an_agent_that_talks_on_and_on_is_stopped_all_the_same() {
    let baton = Baton::start(&["--grace", "200ms"]).await;
    let id = baton.submit("chatty", json!({})).await;
    let mut watcher = Frames::open(&baton, &id, "?format=json").await;
    watcher.next().await.unwrap();
    watcher.next().await.unwrap();
    let asked = Instant::now();
    assert_eq!(baton.stop(&id).await, 202);
    let ended = baton.until_ended(&id).await;
    assert_eq!((&ended["status"], &ended["signal"]), (&json!("stopped"), &json!(9)));
    // The grace, and what was in the pipe.
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_whole(&json_frames(&baton, &id, "").await);
}

#[tokio::test]
async fn a_task_that_runs_too_long_and_does_not_listen_is_killed_and_fails() {
    let baton = Baton::start(&["--grace", "200ms"]).await;
    let body = json!({"project": "default", "type": "stubborn", "timeout_s": 1});
    let id = baton.submit_body(body).await;
    let ended = baton.until_ended(&id).await;
    assert_eq!((&ended["reason"], &ended["signal"]), (&json!("timed out after 1s"), &json!(9)));
    assert_eq!(frames(&baton, &id).await.0, ["Starting...", "ready", "FAILED: timed out after 1s"]);
}

#[tokio::test]
async fn a_program_that_is_none_fails_its_task_and_no_other() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("directory", json!({})).await;
    assert_eq!(baton.until_ended(&id).await["reason"], "could not start /: it is not an executable file");
    let baton = Baton::start(&["--agent", "/no/such/agent"]).await;
    for _ in 0..3 {
        let id = baton.submit("seed-db", json!({})).await;
        let reason = baton.until_ended(&id).await["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with("could not start /no/such/agent: there is no such program"), "{reason}");
    }
}

#[tokio::test]
async fn slots_fill_from_one_partition_too() {
    let baton = Baton::start(&["--partitions", "1", "--slots", "3", "--grace", "10m"]).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(baton.submit("silent", json!({})).await);
    }
    for id in &ids[..3] {
        baton.until_task(id, "last_update", "ready").await;
    }
    assert_eq!(baton.task(&ids[3]).await["status"], "queued");
    // The last one to begin ends first: the others hold its place on the log open.
    baton.stop(&ids[2]).await;
    baton.until_task(&ids[3], "last_update", "ready").await;
    for id in &ids {
        baton.stop(id).await;
        baton.until_ended(id).await;
    }
}

#[tokio::test]
async fn tasks_begin_in_the_order_in_which_they_were_submitted() {
    let baton = Baton::start(&[]).await;
    let first = baton.submit("silent", json!({})).await;
    baton.until_task(&first, "last_update", "ready").await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(baton.submit("lines", json!({})).await);
        // The order is by the millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    baton.stop(&first).await;
    let mut begun = Vec::new();
    for id in &ids {
        begun.push(baton.until_ended(id).await["started_at"].as_str().unwrap().to_owned());
    }
    assert!(begun.is_sorted(), "{begun:?}");
}

#[tokio::test]
async fn a_stop_of_one_run_leaves_those_beside_it_alone() {
    let baton = Baton::start(&["--slots", "3", "--grace", "10m"]).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let id = baton.submit("detached", json!({"stay": true})).await;
        let mut watcher = Frames::open(&baton, &id, "").await;
        watcher.until("Starting...").await;
        let said = watcher.next().await.unwrap();
        let child = said.strip_prefix("child ").unwrap().parse().unwrap();
        baton.until_runs_process(child).await;
        runs.push((id, watcher, child));
    }
    for stopped in 0..3 {
        let (_, watcher, _) = &mut runs[stopped];
        watcher.send("STOP").await;
        assert_eq!(watcher.rest().await, ["STOPPED"]);
        let living: Vec<bool> = runs.iter().map(|(_, _, child)| baton.runs_process(*child)).collect();
        assert_eq!(living, [0, 1, 2].map(|number| number > stopped));
    }
}
