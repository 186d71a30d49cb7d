//! What types and tasks say of their ends: timeouts, retries, exits, and stops that leave no grace.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, Frames, frames, json_frames, texts, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn body(kind: &str, params: &Value, more: &Value) -> Value {
    let mut body = json!({"project": "default", "type": kind, "params": params});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn each_timeout_has_a_reason_of_its_own() {
    let baton = Baton::start(&["--slots", "4"]).await;
    for (kind, params, limit, reason, cause) in [
        ("silent", json!({}), json!({"timeout_s": 1}), "timed out after 1s", "run-timeout"),
        ("silent", json!({}), json!({"silence_timeout_s": 1}), "timed out: no output for 1s", "silence-timeout"),
        (
            "silent",
            json!({}),
            json!({"total_timeout_s": 1}),
            "timed out: all attempts together took 1s",
            "total-timeout",
        ),
    ] {
        let id = baton.submit_body(body(kind, &params, &limit)).await;
        let ended = baton.until_ended(&id).await;
        assert_eq!((&ended["status"], &ended["reason"]), (&json!("failed"), &json!(reason)));
        assert_eq!((&ended["ending"]["cause"], &ended["signal"]), (&json!(cause), &json!(15)));
    }
    // Output begins the silence anew, from whichever stream.
    let id =
        baton.submit_body(body("slow", &json!({"lines": 4, "interval": 0.6}), &json!({"silence_timeout_s": 1}))).await;
    assert_eq!(baton.until_ended(&id).await["status"], "done");
    baton.until_nothing_left().await;
}

#[tokio::test]
async fn a_task_that_is_not_begun_in_time_is_never_spawned() {
    let baton = Baton::start(&[]).await;
    let running = baton.submit("silent", json!({})).await;
    baton.until_task(&running, "last_update", "ready").await;
    let proof = baton.dir().join("proof");
    let late = body("touch", &json!({"text": proof}), &json!({"queue_timeout_s": 1}));
    let late = baton.submit_body(late).await;
    let ended = baton.until_ended(&late).await;
    assert_eq!((&ended["reason"], &ended["attempt"]), (&json!("timed out: not begun within 1s"), &json!(0)));
    assert_eq!(frames(&baton, &late).await.0, ["FAILED: timed out: not begun within 1s"]);
    baton.stop(&running).await;
    baton.until_ended(&running).await;
    assert!(!proof.exists());
}

#[tokio::test]
async fn a_stop_by_force_leaves_no_grace() {
    let baton = Baton::start(&["--grace", "60s", "--slots", "3"]).await;
    let begun = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = baton.submit("stubborn", json!({})).await;
        baton.until_task(&id, "last_update", "ready").await;
        assert_eq!(baton.stop(&id).await, 202);
        ids.push(id);
    }
    let mut watcher = Frames::open(&baton, &ids[0], "?format=json").await;
    watcher.send(r#"{"signal": "STOP", "force": true}"#).await;
    let forced = baton.client.delete(format!("{}/tasks/{}?force=true", baton.url, ids[1]));
    assert_eq!(forced.send().await.unwrap().status(), 202);
    let by_hand = baton_tests::command().args(["stop", "--force", &ids[2], "--server", &baton.url]).status().unwrap();
    assert!(by_hand.success());
    for id in &ids {
        let ended = baton.until_ended(id).await;
        assert_eq!((&ended["status"], &ended["signal"]), (&json!("stopped"), &json!(9)));
        assert_eq!(ended["ending"]["cause"], "force-stop");
        assert!(ended["ending"]["draining_ms"].is_u64(), "{ended}");
    }
    assert!(begun.elapsed() < Duration::from_secs(50), "no grace was waited for");
    let bad = baton.client.delete(format!("{}/tasks/{}?force=maybe", baton.url, ids[1])).send().await.unwrap();
    assert_eq!(bad.status(), 400);
    baton.until_nothing_left().await;
}

#[tokio::test]
async fn a_task_has_a_grace_of_its_own() {
    let baton = Baton::start(&["--grace", "1h"]).await;
    let id = baton.submit_body(body("stubborn", &json!({}), &json!({"grace_s": 1}))).await;
    baton.until_task(&id, "last_update", "ready").await;
    baton.stop(&id).await;
    let ended = baton.until_ended(&id).await;
    assert_eq!(
        (&ended["status"], &ended["signal"], &ended["ending"]["cause"]),
        (&json!("stopped"), &json!(9), &json!("stop"))
    );
}

#[tokio::test]
async fn an_attempt_that_is_worth_another_is_followed_by_one() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("moody", json!({"lines": 2, "code": 75})).await;
    let ended = baton.until_ended(&id).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("done"), &json!(3)));
    assert_eq!(ended["tally"], json!({"begun": 3, "failed": 2, "lost": 0, "handed_back": 0}));
    let outcomes: Vec<&Value> = ended["attempts"].as_array().unwrap().iter().map(|of| &of["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "failed", "done"]);
    assert_eq!(ended["attempts"][0]["exit_code"], 75);
    let seen = json_frames(&baton, &id, "").await;
    baton_tests::assert_whole(&seen);
    let kinds: Vec<&str> = seen.iter().map(|frame| frame["kind"].as_str().unwrap()).collect();
    let attempt = ["started", "line", "line", "retrying"];
    assert_eq!(kinds, [attempt.as_slice(), &attempt, &["started", "line", "done"]].concat());
    for (index, frame) in seen.iter().enumerate().filter(|(_, frame)| frame["kind"] == "retrying") {
        assert!(
            frame["update"].as_str().unwrap().ends_with(&format!("exit code 75: not in the mood {}", frame["attempt"]))
        );
        assert!(frame["next_at"].as_str().unwrap() <= seen[index + 1]["at"].as_str().unwrap(), "{seen:?}");
    }
}

#[tokio::test]
async fn a_type_says_which_exits_are_done_and_which_failed_for_good() {
    let baton = Baton::start(&[]).await;
    for (code, status, attempts) in [(4, "done", 1), (2, "failed", 1), (3, "failed", 1), (75, "failed", 3)] {
        let id = baton.submit("moody", json!({"lines": 9, "code": code})).await;
        let ended = baton.until_ended(&id).await;
        assert_eq!((&ended["status"], &ended["attempt"]), (&json!(status), &json!(attempts)), "{code}");
        if attempts == 3 {
            assert_eq!(ended["reason"], "gave up after 3 attempts: exit code 75: not in the mood 3");
            let letter = async || Some(baton.get_json(&format!("/dead-letters/{id}")).await).filter(|l| l["id"] == id);
            let letter = until("the dead letter", letter).await;
            assert_eq!((&letter["attempts"], &letter["last_lines"][1]), (&json!(3), &json!("not in the mood 3")));
            let earlier = json!([
                {"attempt": 1, "reason": "exit code 75: not in the mood 1", "last_lines": ["attempt 1", "not in the mood 1"]},
                {"attempt": 2, "reason": "exit code 75: not in the mood 2", "last_lines": ["attempt 2", "not in the mood 2"]},
            ]);
            // Two streams: which line comes first is the kernel's business.
            assert_eq!(letter["earlier"][0]["reason"], earlier[0]["reason"]);
            assert_eq!(letter["earlier"].as_array().unwrap().len(), 2);
            assert_eq!(letter["tally"]["failed"], 3);
        }
    }
}

#[tokio::test]
async fn a_wait_holds_nothing_up_outlives_a_crash_and_ends_by_a_stop() {
    let mut baton = Baton::start(&[]).await;
    let id = baton.submit("patient", json!({"lines": 1, "code": 1})).await;
    let waiting = baton.until_task(&id, "status", "retrying").await;
    assert!(waiting["next_attempt_at"].is_string(), "{waiting}");
    // The only slot is free.
    let next = baton.submit("lines", json!({})).await;
    assert_eq!(baton.until_ended(&next).await["status"], "done");
    baton.kill();
    let baton = baton.restart().await;
    let next = baton.submit("lines", json!({})).await;
    assert_eq!(baton.until_ended(&next).await["status"], "done");
    let still = baton.task(&id).await;
    assert_eq!((&still["status"], &still["next_attempt_at"]), (&json!("retrying"), &waiting["next_attempt_at"]));
    assert_eq!(baton.stop(&id).await, 202);
    assert_eq!(baton.until_ended(&id).await["status"], "stopped");
    let seen = json_frames(&baton, &id, "").await;
    let texts = texts(&seen);
    assert_eq!((texts[0], texts.last().unwrap()), ("Starting...", &"STOPPED"));
    assert_eq!(texts.iter().filter(|text| text.starts_with("Starting...")).count(), 1);
}

#[tokio::test]
async fn a_type_of_which_one_may_run_has_one_running_and_holds_nobody_up() {
    let baton = Baton::start(&["--slots", "4", "--partitions", "1"]).await;
    let proof = baton.dir().join("proof");
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(baton.submit("alone", json!({"text": proof, "interval": 0.5})).await);
    }
    let other = baton.submit("lines", json!({})).await;
    assert_eq!(baton.until_ended(&other).await["status"], "done");
    assert_eq!(baton.task(&ids[2]).await["status"], "queued", "it came before, and waits for its own kind alone");
    for id in &ids {
        assert_eq!(baton.until_ended(id).await["status"], "done");
    }
    let lines = std::fs::read_to_string(&proof).unwrap();
    let words: Vec<&str> = lines.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(words, ["begin", "end"].repeat(3));
}

#[tokio::test]
async fn an_ending_says_how_long_it_took_and_what_it_wrote() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("slow", json!({"lines": 3, "interval": 0.1})).await;
    let ending = baton.until_ended(&id).await["ending"].clone();
    assert_eq!((&ending["cause"], &ending["lines"], &ending["bytes"]), (&json!("exit"), &json!(3), &json!(36)));
    assert!(ending["running_ms"].as_u64().unwrap() >= 300 && ending["queued_ms"].is_u64(), "{ending}");
    let last = json_frames(&baton, &id, "").await.pop().unwrap();
    assert_eq!(last["ending"], ending);
    let shown = baton_tests::baton(&["show", &id, "--server", &baton.url]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("ending") && shown.contains("3 lines"), "{shown}");
}
