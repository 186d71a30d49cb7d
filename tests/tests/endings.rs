//! How tasks end, and that each accepted one does, whatever happens to Baton.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, frames};
use serde_json::{Value, json};

#[tokio::test]
async fn every_ending_says_why() {
    let baton = Baton::start(&[]).await;
    for (kind, params, reason) in [
        ("exits", json!({"code": 3, "text": "no such table: users"}), "exit code 3: no such table: users"),
        ("exits", json!({"code": 1}), "exit code 1"),
        ("dies", json!({"code": 11}), "killed by signal 11 (SIGSEGV)"),
        (
            "missing",
            json!({}),
            "could not start no-such-agent: there is no such program on this worker (is it installed, and on PATH?)",
        ),
    ] {
        let id = baton.submit(kind, params).await;
        let ended = baton.until_ended(&id).await;
        assert_eq!((ended["status"].as_str(), ended["reason"].as_str()), (Some("failed"), Some(reason)));
        assert_eq!(frames(&baton, &id).await.0.last().unwrap(), &format!("FAILED: {reason}"));
    }
    let id = baton.submit_body(json!({"project": "nobody", "type": "silent"})).await;
    let reason = baton.until_ended(&id).await["reason"].clone();
    assert!(reason.as_str().unwrap().starts_with("the project \"nobody\" is not in "), "{reason}");
    baton.until_nothing_left().await;
}

#[tokio::test]
async fn a_task_whose_worker_dies_each_time_is_given_up() {
    let mut baton = Baton::start(&["--max-attempts", "2"]).await;
    let id = baton.submit("silent", json!({})).await;
    for attempt in 1..=2 {
        baton.kill_in_attempt(&id, attempt).await;
        baton = baton.restart().await;
    }
    let ended = baton.until_ended(&id).await;
    assert_eq!(ended["reason"], "gave up after 2 attempts: each time its worker died");
    assert_eq!(frames(&baton, &id).await.0.iter().filter(|text| text.starts_with("Starting...")).count(), 2);
    // Its partition moves on.
    let next = baton.submit("lines", json!({})).await;
    assert_eq!(baton.until_ended(&next).await["status"], "done");
}

#[tokio::test]
async fn one_task_runs_at_a_time_and_three_in_three_slots() {
    for (slots, expected) in [("1", 1), ("3", 3)] {
        let baton = Baton::start(&["--slots", slots]).await;
        let proof = baton.dir().join("proof");
        let mut ids = Vec::new();
        for _ in 0..6 {
            ids.push(baton.submit("touch", json!({"text": proof, "interval": 0.3})).await);
        }
        for id in &ids {
            assert_eq!(baton.until_ended(id).await["status"], "done");
        }
        let (mut live, mut most) = (0, 0);
        for line in std::fs::read_to_string(&proof).unwrap().lines() {
            live = if line.starts_with("begin") { live + 1 } else { live - 1 };
            most = most.max(live);
        }
        assert_eq!(most, expected, "{slots} slots");
    }
}

#[tokio::test]
async fn an_attempts_files_are_private_and_go_with_it() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("files", json!({})).await;
    let (seen, _) = frames(&baton, &id).await;
    assert!(seen[1].starts_with("600 700 "), "{}", seen[1]);
    assert!(seen[2].contains("***"), "the secret is there, and nobody who watches sees it: {}", seen[2]);
    assert!(baton.leftovers().is_empty(), "{:?}", baton.leftovers());
    assert!(!baton.dir().join("data/runs").join(format!("{id}.1")).exists());
}

#[tokio::test]
async fn the_logs_are_json_and_hold_no_output_and_no_secret() {
    let mut baton = Baton::start(&["--log-level", "debug"]).await;
    let id = baton.submit("environment", json!({})).await;
    let (seen, _) = frames(&baton, &id).await;
    assert!(seen.contains(&"TOKEN=***".to_owned()), "{seen:?}");
    let failed = baton.submit("exits", json!({"code": 1, "text": "words-of-the-agent"})).await;
    baton.until_ended(&failed).await;
    baton.signal("TERM");
    let logs = baton.finished().await.logs;
    for line in &logs {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["timestamp"].is_string() && line["level"].is_string());
    }
    let of_task = |text: &str| logs.iter().any(|line| line.contains(&format!("\"{text}\"")) && line.contains(&id));
    assert!(of_task("accepted") && of_task("started") && of_task("ended"), "{logs:#?}");
    assert!(!logs.iter().any(|line| line.contains("s3cret") || line.contains("words-of-the-agent")));
}
