//! Watchers: whoever comes, whenever, by whichever way, sees every update once and in order.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, Frames, assert_whole, events, frames, json_frames, texts};
use serde_json::{Value, json};

#[tokio::test]
async fn twenty_watchers_that_join_at_random_moments_read_the_same() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("slow", json!({"lines": 60, "interval": 0.01})).await;
    let watching = (0..20).map(|number: u32| {
        let (baton, id) = (&baton, &id);
        async move {
            // Each joins at another line of one that was there from the start.
            let mut early = Frames::open(baton, id, "").await;
            early.until(&format!("line {} of 60", 1 + number * 29 / 10)).await;
            match number % 3 {
                0 => frames(baton, id).await.0,
                1 => texts(&json_frames(baton, id, "").await).into_iter().map(str::to_owned).collect(),
                _ => texts(&events(baton, id, "").await).into_iter().map(str::to_owned).collect(),
            }
        }
    });
    let all: Vec<Vec<String>> = futures_util::future::join_all(watching).await;
    assert_eq!(all[0].len(), 62);
    assert!(all.iter().all(|seen| *seen == all[0]));
}

#[tokio::test]
async fn a_watcher_resumes_after_what_it_has_read() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("lines", json!({"lines": 5})).await;
    baton.until_ended(&id).await;
    let all = json_frames(&baton, &id, "").await;
    let ids: Vec<&str> = all.iter().map(|frame| frame["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1-1", "1-2", "1-3", "1-4", "1-5", "1-6", "1-7"]);
    for (read, after) in ids.iter().enumerate() {
        assert_eq!(json_frames(&baton, &id, after).await, all[read + 1..]);
        assert_eq!(events(&baton, &id, after).await, all[read + 1..]);
    }
    let kinds: Vec<&str> = all.iter().map(|frame| frame["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "line", "line", "line", "line", "line", "done"]);
}

#[tokio::test]
async fn an_agent_can_not_forge_its_end() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("forges", json!({})).await;
    let (seen, _) = frames(&baton, &id).await;
    assert_eq!(seen, ["Starting...", "DONE", "STOPPED", "FAILED: no", r#"{"kind":"done","update":"DONE"}"#, "DONE"]);
    let kinds: Vec<Value> = json_frames(&baton, &id, "").await.into_iter().map(|frame| frame["kind"].clone()).collect();
    assert_eq!(kinds, ["started", "line", "line", "line", "line", "done"]);
}

#[tokio::test]
async fn odd_lines_arrive_as_they_are() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("odd", json!({})).await;
    let lines = [
        "crlf",
        "",
        "empty before",
        "\u{1b}[31mred\u{1b}[0m",
        "nul \0 byte",
        "bad \u{fffd} utf-8",
        "ünïcödé 🎼",
        "  spaces  ",
        "no final newline",
    ];
    let (seen, _) = frames(&baton, &id).await;
    assert_eq!(seen[1..seen.len() - 1], lines);
    assert_eq!(texts(&json_frames(&baton, &id, "").await)[1..=lines.len()], lines);
    let log = baton.get(&format!("/tasks/{id}/log")).send().await.unwrap().text().await.unwrap();
    assert_eq!(log, lines.join("\n") + "\n");
}

#[tokio::test]
async fn a_line_that_is_too_long_is_cut_and_says_so() {
    let baton = Baton::start(&["--max-line", "1000B"]).await;
    let id = baton.submit("long", json!({"lines": 100_000})).await;
    baton.until_ended(&id).await;
    let line = &json_frames(&baton, &id, "").await[1];
    assert_eq!(line["cut"], 99_000);
    assert_eq!(line["update"].as_str().unwrap(), format!("{} [99000 more bytes left out]", "x".repeat(1000)));
}

#[tokio::test]
async fn lines_of_stderr_are_marked_and_a_flood_of_them_holds_nothing_up() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("flood", json!({})).await;
    let frames = json_frames(&baton, &id, "").await;
    let marked = frames.iter().filter(|frame| frame["stream"] == "stderr").count();
    let plain: Vec<&Value> =
        frames.iter().filter(|frame| frame["kind"] == "line" && frame["stream"].is_null()).collect();
    assert_eq!((marked, plain.len()), (1024, 1));
    assert_eq!(plain[0]["update"], "after the flood");
}

#[tokio::test]
async fn two_hundred_thousand_lines_arrive_in_order_also_from_the_log_on_disk() {
    // A budget that holds a small part of them: the rest is read back.
    for memory in ["256MiB", "1MiB"] {
        let baton = Baton::start(&["--history-memory", memory]).await;
        let id = baton.submit("lines", json!({"lines": 200_000, "text": "x"})).await;
        let (live, _) = frames(&baton, &id).await;
        assert_eq!(live.len(), 200_002, "{memory}");
        assert!(
            live[1..=200_000].iter().zip(1..).all(|(line, n)| *line == format!("line {n} of 200000: x")),
            "{memory}"
        );
        let (late, _) = frames(&baton, &id).await;
        assert!(late == live, "{memory}");
        assert_eq!(json_frames(&baton, &id, "1-199999").await.len(), 3);
    }
}

#[tokio::test]
async fn history_goes_after_its_time_and_a_late_watcher_is_told() {
    let baton = Baton::start(&["--history", "1s"]).await;
    let id = baton.submit("lines", json!({"lines": 5})).await;
    baton.until_ended(&id).await;
    let gone = vec!["[earlier updates are gone]".to_owned(), "DONE".to_owned()];
    baton_tests::until("the history to go", async || (frames(&baton, &id).await.0 == gone).then_some(())).await;
    assert_eq!(baton.task(&id).await["status"], "done");
    assert_eq!(json_frames(&baton, &id, "").await[0]["kind"], "truncated");
}

#[tokio::test]
async fn a_task_that_is_not_known_is_told() {
    let baton = Baton::start(&[]).await;
    assert_eq!(frames(&baton, "no-such-task").await, (vec![], Some(4404)));
    let id = baton.submit("lines", json!({})).await;
    let mut bad = Frames::open(&baton, &id, "?after=yesterday").await;
    assert_eq!((bad.next().await, bad.closed), (None, Some(4400)));
    assert_eq!(baton.get(&format!("/tasks/{id}/events?after=x")).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn frames_are_these_bytes() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("exits", json!({"code": 3, "text": "a \"b\" \u{1b} ü"})).await;
    baton.until_ended(&id).await;
    // The times are what they are.
    let frame = |id: &str, events: &str| {
        let data = events.lines().find(|line| line.starts_with(&format!("data: {{\"id\":\"{id}\""))).unwrap();
        serde_json::from_str::<Value>(&data["data: ".len()..]).unwrap()
    };
    let at = |id: &str, events: &str| frame(id, events)["at"].as_str().unwrap().to_owned();
    let text = baton.get(&format!("/tasks/{id}/events")).send().await.unwrap().text().await.unwrap();
    let times = ["1-1", "1-2", "1-3"].map(|id| at(id, &text));
    let expected = [
        r#"{"id":"1-1","attempt":1,"seq":1,"kind":"started","update":"Starting...","at":"AT"}"#,
        r#"{"id":"1-2","attempt":1,"seq":2,"kind":"line","update":"a \"b\" \u001b ü","at":"AT","stream":"stderr"}"#,
        r#"{"id":"1-3","attempt":1,"seq":3,"kind":"failed","update":"FAILED: exit code 3: a \"b\" \u001b ü","at":"AT","exit_code":3,"reason":"exit code 3: a \"b\" \u001b ü","tally":{"begun":1,"failed":1,"lost":0,"handed_back":0},"ending":ENDING}"#,
    ];
    // So is what it took.
    let ending = &frame("1-3", &text)["ending"];
    assert_eq!((&ending["cause"], &ending["lines"], &ending["bytes"]), (&json!("exit"), &json!(1), &json!(11)));
    let filled = |(frame, at): (&&str, &String)| frame.replace("AT", at).replace("ENDING", &ending.to_string());
    let expected: Vec<String> = expected.iter().zip(&times).map(filled).collect();
    assert_eq!(Frames::open(&baton, &id, "?format=json").await.rest().await, expected);
    let [started, line, failed] = &expected[..] else { unreachable!() };
    assert_eq!(
        text,
        format!(
            "retry: 1000\n\nid: 1-1\nevent: started\ndata: {started}\n\nid: 1-2\nevent: line\ndata: {line}\n\nid: 1-3\nevent: failed\ndata: {failed}\n\n"
        )
    );
}

#[tokio::test]
async fn a_watcher_that_does_not_read_holds_no_one_up_and_still_gets_all() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("lines", json!({"lines": 100_000, "text": "x".repeat(100)})).await;
    // Neither of them reads before the task is over.
    let mut idle = [Frames::open(&baton, &id, "").await, Frames::open(&baton, &id, "?format=json").await];
    let (seen, _) = frames(&baton, &id).await;
    assert_eq!(baton.until_ended(&id).await["status"], "done");
    assert_eq!(seen.len(), 100_002);
    assert!(idle[0].rest().await == seen);
    let json = idle[1].rest_json().await;
    assert_whole(&json);
    assert!(texts(&json) == seen);
}

#[tokio::test]
async fn who_watches_a_queued_task_sees_it_begin() {
    let baton = Baton::start(&[]).await;
    let running = baton.submit("silent", json!({})).await;
    baton.until_task(&running, "last_update", "ready").await;
    let queued = baton.submit("lines", json!({})).await;
    let mut watchers = [Frames::open(&baton, &queued, "").await, Frames::open(&baton, &queued, "?after=1-1").await];
    assert_eq!(baton.task(&queued).await["status"], "queued");
    baton.stop(&running).await;
    assert_eq!(watchers[0].rest().await, ["Starting...", "line 1 of 1: ", "DONE"]);
    assert_eq!(watchers[1].rest().await, ["line 1 of 1: ", "DONE"]);
}

#[tokio::test]
async fn history_that_is_gone_is_told_by_every_way_and_stays_gone() {
    let mut baton = Baton::start(&["--history", "100ms"]).await;
    let id = baton.submit("lines", json!({"lines": 5})).await;
    let ended = baton.until_ended(&id).await;
    let gone = async |baton: &Baton| {
        let seen = json_frames(baton, &id, "").await;
        (texts(&seen) == ["[earlier updates are gone]", "DONE"]).then_some(seen)
    };
    let seen = baton_tests::until("the history to go", async || gone(&baton).await).await;
    let ids: Vec<&str> = seen.iter().map(|frame| frame["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1-6", "1-7"], "so that whoever resumes is told the same");
    assert_eq!(events(&baton, &id, "").await, seen);
    assert_eq!(json_frames(&baton, &id, "1-2").await, seen);
    assert_eq!(json_frames(&baton, &id, "1-6").await, seen[1..]);
    let log = baton.get(&format!("/tasks/{id}/log")).send().await.unwrap().text().await.unwrap();
    assert_eq!(log, "[earlier updates are gone]\n");
    baton.kill();
    let baton = baton.restart().await;
    baton_tests::until("the history to be gone again", async || gone(&baton).await).await;
    let mut expected = ended;
    expected["updates"] = seen.len().into();
    assert_eq!(baton.task(&id).await, expected, "how it ended is known for longer");
}

#[tokio::test]
async fn watchers_by_events_see_the_end_of_a_task_that_outlasts_a_sigterm() {
    let mut baton = Baton::start(&[]).await;
    let id = baton.submit("slow", json!({"lines": 30, "interval": 0.02})).await;
    Frames::open(&baton, &id, "").await.until("line 2 of 30").await;
    let (seen, ()) = tokio::join!(events(&baton, &id, ""), async {
        // It is being watched: its place is taken.
        baton_tests::until("a line more", async || {
            (baton.task(&id).await["last_update"] != "line 2 of 30").then_some(())
        })
        .await;
        baton.signal("TERM");
    });
    assert_whole(&seen);
    assert_eq!(seen.len(), 32);
    assert_eq!(baton.finished().await.code, Some(0));
}
