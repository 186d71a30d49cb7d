//! The five ways in which the plan wants Baton tried, end to end.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, Frames, frames};
use serde_json::json;

#[tokio::test]
async fn single_client_happy_path() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("lines", json!({"lines": 3, "text": "x"})).await;
    let (seen, closed) = frames(&baton, &id).await;
    assert_eq!(seen, ["Starting...", "line 1 of 3: x", "line 2 of 3: x", "line 3 of 3: x", "DONE"]);
    assert_eq!(closed, Some(1000));
    let task = baton.task(&id).await;
    assert_eq!((task["status"].as_str(), task["exit_code"].as_i64()), (Some("done"), Some(0)));
    baton.until_nothing_left().await;
}

#[tokio::test]
async fn a_late_client_gets_the_history_replayed() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("slow", json!({"lines": 40, "interval": 0.02})).await;
    let mut early = Frames::open(&baton, &id, "").await;
    early.until("line 10 of 40").await;
    let (late, _) = frames(&baton, &id).await;
    early.rest().await;
    let (after_the_end, closed) = frames(&baton, &id).await;
    assert_eq!(late.len(), 42);
    assert_eq!((late[1].as_str(), late[41].as_str()), ("line 1 of 40", "DONE"));
    assert_eq!((late, closed), (after_the_end, Some(1000)));
}

#[tokio::test]
async fn two_clients_watching_one_task_see_the_same() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("slow", json!({"lines": 20, "interval": 0.01})).await;
    let (one, two) = tokio::join!(frames(&baton, &id), frames(&baton, &id));
    assert_eq!(one, two);
    assert_eq!(one.0.len(), 22);
}

#[tokio::test]
async fn a_cancel_in_mid_execution_kills_the_process_and_all_see_it() {
    let baton = Baton::start(&["--grace", "1s"]).await;
    let id = baton.submit("daemon", json!({"stay": true})).await;
    let (mut one, mut two) = (Frames::open(&baton, &id, "").await, Frames::open(&baton, &id, "").await);
    one.next().await;
    let said = one.next().await.unwrap();
    let daemon: u32 = said.strip_prefix("child ").unwrap().parse().unwrap();
    baton.until_runs_process(daemon).await;
    one.send("STOP").await;
    assert_eq!(one.rest().await, ["STOPPED"]);
    assert_eq!(two.rest().await, ["Starting...", said.as_str(), "STOPPED"]);
    assert_eq!((one.closed, two.closed), (Some(1000), Some(1000)));
    assert!(!baton.runs_process(daemon));
    baton.until_nothing_left().await;
}

#[tokio::test]
async fn a_worker_that_crashes_in_mid_task_has_it_redelivered() {
    let mut baton = Baton::start(&[]).await;
    let id = baton.submit("daemon", json!({"stay": true})).await;
    let said = baton_tests::until("the daemon", async || {
        let task = baton.task(&id).await;
        task["last_update"].as_str()?.strip_prefix("child ").map(str::to_owned)
    })
    .await;
    let first: u32 = said.parse().unwrap();
    baton.kill();
    let baton = baton.restart().await;
    let mut watcher = Frames::open(&baton, &id, "").await;
    watcher.until("Starting... (attempt 2)").await;
    assert!(!baton.runs_process(first), "the process of the first attempt is gone before the second begins");
    let second = watcher.next().await.unwrap();
    watcher.send("STOP").await;
    assert_eq!(watcher.rest().await, ["STOPPED"]);
    let (seen, _) = frames(&baton, &id).await;
    let first = format!("child {first}");
    assert_eq!(seen, ["Starting...", &first, "Starting... (attempt 2)", &second, "STOPPED"]);
    baton.until_nothing_left().await;
}
