//! STOP, in every state of a task and by every way there is.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, Chance, Frames, assert_whole, baton as command, frames, json_frames, until};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_queued_task_that_is_stopped_is_never_started() {
    let baton = Baton::start(&[]).await;
    let running = baton.submit("silent", json!({})).await;
    baton.until_task(&running, "last_update", "ready").await;
    let proof = baton.dir().join("ran");
    let queued = baton.submit("touch", json!({"text": proof})).await;
    assert_eq!(baton.stop(&queued).await, 202);
    // At once, and not when its turn comes: the first task still runs.
    assert_eq!(frames(&baton, &queued).await, (vec!["STOPPED".to_owned()], Some(1000)));
    assert_eq!(baton.task(&running).await["status"], "running");
    assert_eq!(baton.task(&queued).await["attempt"], 0);
    baton.stop(&running).await;
    baton.until_ended(&running).await;
    assert!(!proof.exists());
}

#[tokio::test]
async fn a_task_is_stopped_before_its_process_is_made() {
    // An address where nobody answers: the config is asked for again and again.
    let baton = Baton::start(&["--projects-url", "http://127.0.0.1:1"]).await;
    let id = baton.submit("silent", json!({})).await;
    baton.until_task(&id, "status", "running").await;
    assert_eq!(baton.stop(&id).await, 202);
    assert_eq!(frames(&baton, &id).await.0, ["Starting...", "STOPPED"]);
}

#[tokio::test]
async fn an_agent_that_ignores_sigterm_is_killed_after_its_grace() {
    let baton = Baton::start(&["--grace", "300ms"]).await;
    let id = baton.submit("stubborn", json!({})).await;
    baton.until_task(&id, "last_update", "ready").await;
    assert_eq!(baton.stop(&id).await, 202);
    assert_eq!(baton.task(&id).await["status"], "stopping");
    let ended = baton.until_ended(&id).await;
    assert_eq!((ended["status"].as_str(), ended["signal"].as_i64()), (Some("stopped"), Some(9)));
    baton.until_nothing_left().await;
}

#[tokio::test]
async fn an_agent_that_stopped_itself_is_stopped() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("stopped", json!({})).await;
    baton.until_task(&id, "last_update", "ready").await;
    baton.stop(&id).await;
    assert_eq!(baton.until_ended(&id).await["status"], "stopped");
}

#[tokio::test]
async fn a_stop_after_the_end_is_refused_and_changes_nothing() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("lines", json!({})).await;
    let before = baton.until_ended(&id).await;
    assert_eq!(baton.stop(&id).await, 409);
    assert_eq!(baton.task(&id).await, before);
    assert_eq!(baton.stop("no-such-task").await, 404);
}

#[tokio::test]
async fn every_way_to_say_stop_stops() {
    let baton = Baton::start(&["--slots", "4"]).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(baton.submit("silent", json!({})).await);
    }
    for id in &ids {
        baton.until_task(id, "last_update", "ready").await;
    }
    Frames::open(&baton, &ids[0], "").await.send("STOP").await;
    Frames::open(&baton, &ids[1], "?format=json").await.send(r#"{"signal":"STOP"}"#).await;
    assert_eq!(baton.stop(&ids[2]).await, 202);
    assert_eq!(baton.stop(&ids[2]).await, 202, "twice is as good as once");
    let said = command(&["stop", &ids[3], "--server", &baton.url]);
    assert_eq!(
        (said.status.code(), String::from_utf8_lossy(&said.stdout).trim()),
        (Some(0), format!("{} is stopping", ids[3]).as_str())
    );
    for id in &ids {
        assert_eq!(baton.until_ended(id).await["status"], "stopped");
    }
    baton.until_nothing_left().await;
}

#[tokio::test]
async fn a_stop_survives_a_crash() {
    let mut baton = Baton::start(&["--grace", "60s"]).await;
    let id = baton.submit("stubborn", json!({})).await;
    let queued = baton.submit("silent", json!({})).await;
    baton.until_task(&id, "last_update", "ready").await;
    assert_eq!((baton.stop(&id).await, baton.stop(&queued).await), (202, 202));
    baton.kill();
    let baton = baton.restart().await;
    for id in [&id, &queued] {
        assert_eq!(baton.until_ended(id).await["status"], "stopped");
    }
    assert_eq!(frames(&baton, &id).await.0, ["Starting...", "ready", "STOPPED"]);
    baton.until_nothing_left().await;
}

#[tokio::test]
async fn a_task_that_runs_too_long_fails_and_says_so() {
    let baton = Baton::start(&[]).await;
    let body = json!({"project": "default", "type": "silent", "timeout_s": 1});
    let id = baton.submit_body(body).await;
    let ended = baton.until_ended(&id).await;
    assert_eq!((ended["status"].as_str(), ended["reason"].as_str()), (Some("failed"), Some("timed out after 1s")));
}

#[tokio::test]
async fn sigterm_drains_and_hands_back_what_does_not_end_in_time() {
    let mut baton = Baton::start(&["--drain-timeout", "300ms"]).await;
    let id = baton.submit("silent", json!({})).await;
    baton.until_task(&id, "last_update", "ready").await;
    let mut watcher = Frames::open(&baton, &id, "").await;
    baton.signal("TERM");
    until("503", async || {
        // What is still accepted runs after the restart, perhaps first, and must not hold the slot.
        let answer = baton.post(&json!({"project": "default", "type": "lines"})).send().await.ok()?;
        (answer.status() == 503 && answer.headers().contains_key("retry-after")).then_some(())
    })
    .await;
    assert_eq!(watcher.rest().await, ["Starting...", "ready"]);
    assert_eq!(watcher.closed, Some(1012));
    assert_eq!(baton.finished().await.code, Some(0));
    let baton = baton.restart().await;
    let mut watcher = Frames::open(&baton, &id, "").await;
    watcher.until("Starting... (attempt 2)").await;
    watcher.send("STOP").await;
    watcher.until("STOPPED").await;
}

#[tokio::test]
async fn sigterm_lets_a_running_task_end_and_its_watchers_see_it() {
    let mut baton = Baton::start(&[]).await;
    let id = baton.submit("slow", json!({"lines": 30, "interval": 0.02})).await;
    let waiting = baton.submit("lines", json!({})).await;
    let mut watcher = Frames::open(&baton, &id, "").await;
    watcher.until("line 2 of 30").await;
    baton.signal("TERM");
    assert_eq!(watcher.rest().await.last().map(String::as_str), Some("DONE"));
    assert_eq!(baton.finished().await.code, Some(0));
    let baton = baton.restart().await;
    assert_eq!(baton.until_ended(&waiting).await["status"], "done");
}

#[tokio::test]
async fn a_second_sigterm_does_not_wait() {
    let mut baton = Baton::start(&["--drain-timeout", "60s", "--grace", "60s"]).await;
    let id = baton.submit("stubborn", json!({})).await;
    baton.until_task(&id, "last_update", "ready").await;
    baton.signal("TERM");
    until("the first to be heard", async || baton.logs().iter().any(|line| line.contains("ending:")).then_some(()))
        .await;
    baton.signal("TERM");
    let finished = tokio::time::timeout(Duration::from_secs(10), baton.finished()).await.expect("it ends at once");
    assert_eq!(finished.code, Some(0));
    assert!(baton.leftovers().is_empty(), "{:?}", baton.leftovers());
}

#[tokio::test]
async fn a_stop_takes_children_daemons_and_what_forks_as_fast_as_it_is_killed() {
    let baton = Baton::start(&["--slots", "4", "--grace", "200ms"]).await;
    for kind in ["child", "detached", "daemon"] {
        let id = baton.submit(kind, json!({"stay": true})).await;
        let mut watcher = Frames::open(&baton, &id, "").await;
        watcher.until("Starting...").await;
        let said = watcher.next().await.unwrap();
        let child: u32 = said.strip_prefix("child ").unwrap().parse().unwrap();
        baton.until_runs_process(child).await;
        watcher.send("STOP").await;
        assert_eq!(watcher.rest().await, ["STOPPED"], "{kind}");
        assert!(!baton.runs_process(child), "{kind}");
    }
    let id = baton.submit("brood", json!({"stay": true})).await;
    Frames::open(&baton, &id, "").await.until("ready").await;
    baton.stop(&id).await;
    assert_eq!(baton.until_ended(&id).await["status"], "stopped");
    assert!(baton.leftovers().is_empty(), "{:?}", baton.leftovers());
}

#[tokio::test]
async fn children_that_outlive_their_agent_are_ended_with_it() {
    let baton = Baton::start(&[]).await;
    for kind in ["child", "detached", "daemon"] {
        let id = baton.submit(kind, json!({})).await;
        let (seen, _) = frames(&baton, &id).await;
        let child: u32 = seen[1].strip_prefix("child ").unwrap().parse().unwrap();
        let said = "[processes that the agent left behind, or that held its output open, were ended]";
        assert_eq!(seen[seen.len() - 2..], [said, "DONE"], "{kind}");
        assert!(!baton.runs_process(child), "{kind}");
    }
    assert!(baton.leftovers().is_empty(), "{:?}", baton.leftovers());
}

#[tokio::test]
async fn a_silent_agent_is_stopped_long_before_its_grace_is_over() {
    let baton = Baton::start(&["--grace", "10m"]).await;
    let mut took = Vec::new();
    for _ in 0..10 {
        let id = baton.submit("silent", json!({})).await;
        let mut watcher = Frames::open_v1(&baton, &id).await;
        while !watcher.next().await.unwrap().contains("\"ready\"") {}
        let asked = Instant::now();
        watcher.send(r#"{"signal":"STOP"}"#).await;
        let end = watcher.rest_json().await;
        took.push(asked.elapsed());
        let last = end.last().unwrap();
        assert_eq!((&last["kind"], &last["signal"]), (&json!("stopped"), &json!(15)), "{end:?}");
    }
    took.sort();
    assert!(took[5] < Duration::from_millis(200), "{took:?}");
}

#[tokio::test]
async fn watchers_of_json_are_told_when_the_grace_begins() {
    let baton = Baton::start(&["--grace", "300ms"]).await;
    let id = baton.submit("stubborn", json!({})).await;
    baton.until_task(&id, "last_update", "ready").await;
    baton.stop(&id).await;
    baton.until_ended(&id).await;
    let kinds: Vec<_> = json_frames(&baton, &id, "").await.into_iter().map(|frame| frame["kind"].clone()).collect();
    assert_eq!(kinds, ["started", "line", "stopping", "stopped"]);
    assert_eq!(frames(&baton, &id).await.0, ["Starting...", "ready", "STOPPED"]);
}

#[tokio::test]
async fn a_stop_that_meets_the_end_of_its_task_makes_one_end_of_both() {
    let mut chance = Chance::new();
    let baton = Baton::start(&["--slots", "2", "--grace", "10m"]).await;
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let id = baton.submit("exits", json!({"code": chance.below(2)})).await;
        // About as long as the agent lives.
        tokio::time::sleep(chance.time(Duration::from_millis(90))).await;
        let answer = baton.stop(&id).await;
        let ended = baton.until_ended(&id).await;
        let seen = json_frames(&baton, &id, "").await;
        if ended["attempt"] != 0 {
            assert_whole(&seen);
        }
        let status = ended["status"].as_str().unwrap().to_owned();
        assert!(answer == 202 || (answer == 409 && status != "stopped"), "{answer} {ended}");
        assert_eq!(seen.last().unwrap()["kind"], status.as_str());
        statuses.push(status);
    }
    assert!(statuses.iter().any(|status| status == "stopped"), "{statuses:?}");
}

#[tokio::test]
async fn two_hundred_queued_tasks_are_stopped_while_one_runs() {
    let baton = Baton::start(&[]).await;
    let proof = baton.dir().join("ran");
    let running = baton.submit("silent", json!({})).await;
    baton.until_task(&running, "last_update", "ready").await;
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(baton.submit("touch", json!({"text": proof})).await);
    }
    let watching = ids.iter().map(|id| frames(&baton, id));
    let stopping = futures_util::future::join_all(ids.iter().map(|id| baton.stop(id)));
    let (seen, answers) = tokio::join!(futures_util::future::join_all(watching), stopping);
    assert!(answers.iter().all(|answer| *answer == 202));
    assert!(seen.iter().all(|seen| *seen == (vec!["STOPPED".to_owned()], Some(1000))));
    assert_eq!(baton.task(&running).await["status"], "running");
    assert!(!proof.exists());
}

#[tokio::test]
async fn a_stop_reaches_a_task_that_is_attempted_again() {
    let mut baton = Baton::start(&["--grace", "10m"]).await;
    let id = baton.submit("silent", json!({})).await;
    baton.until_task(&id, "last_update", "ready").await;
    baton.kill();
    let baton = baton.restart().await;
    let mut watcher = Frames::open(&baton, &id, "").await;
    watcher.until("Starting... (attempt 2)").await;
    watcher.until("ready").await;
    watcher.send("STOP").await;
    assert_eq!(watcher.rest().await, ["STOPPED"]);
    assert_eq!(baton.task(&id).await["attempt"], 2);
}

#[tokio::test]
async fn a_stop_is_taken_while_baton_is_ending() {
    let mut baton = Baton::start(&["--drain-timeout", "10m", "--grace", "10m"]).await;
    let id = baton.submit("silent", json!({})).await;
    let queued = baton.submit("silent", json!({})).await;
    let mut watcher = Frames::open(&baton, &id, "").await;
    watcher.until("ready").await;
    baton.signal("TERM");
    until("the signal to be heard", async || baton.logs().iter().any(|line| line.contains("ending:")).then_some(()))
        .await;
    assert_eq!(baton.stop(&queued).await, 202);
    watcher.send("STOP").await;
    assert_eq!((watcher.rest().await, watcher.closed), (vec!["STOPPED".to_owned()], Some(1000)));
    assert_eq!(baton.finished().await.code, Some(0));
    let baton = baton.restart().await;
    assert_eq!(baton.until_ended(&queued).await["status"], "stopped");
    assert_eq!(baton.task(&queued).await["attempt"], 0);
}
