//! The calls: what each takes, and what it says to what it does not take.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, Frames, json_frames, texts, until};
use serde_json::{Value, json};

async fn refused(baton: &Baton, body: &str) -> (u16, Value) {
    let answer = baton.client.post(format!("{}/tasks", baton.url)).body(body.to_owned()).send().await.unwrap();
    let (status, media) = (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap().to_owned());
    assert_eq!(media, "application/problem+json", "{body}");
    (status, answer.json().await.unwrap())
}

#[tokio::test]
async fn a_bad_task_is_refused_with_the_field_and_the_reason() {
    let baton = Baton::start(&[]).await;
    let deep = format!(r#"{{"project":"p","type":"t","params":{{"x":{}1{}}}}}"#, "[".repeat(20), "]".repeat(20));
    for (body, status, field) in [
        ("", 400, None),
        ("{", 400, None),
        (r#"{"project":"p","project":"q"}"#, 400, None),
        (&deep, 400, None),
        ("[]", 422, Some("body")),
        ("{}", 422, Some("project")),
        (r#"{"project":"../x","type":"silent"}"#, 422, Some("project")),
        (r#"{"project":"p","type":"nope"}"#, 422, Some("type")),
        (r#"{"project":"p","type":"lines","params":{"lines":"many"}}"#, 422, Some("params.lines")),
        (r#"{"project":"p","type":"lines","params":{"lnes":3}}"#, 422, Some("params.lnes")),
        (r#"{"project":"p","type":"silent","timeout_s":-1}"#, 422, Some("timeout_s")),
        (r#"{"project":"p","type":"silent","timeout_s":1.5}"#, 422, Some("timeout_s")),
        (r#"{"project":"p","type":"silent","max_attempts":0}"#, 422, Some("max_attempts")),
        (r#"{"project":"p","type":"silent","task_id":"mine"}"#, 422, Some("task_id")),
        (r#"{"project":"p","type":"silent","command":"run"}"#, 422, Some("command")),
        (r#"{"project":"p","type":"agent"}"#, 422, Some("command")),
        (r#"{"project":"p","type":"agent","command":"run"}"#, 422, Some("params.input")),
        (r#"{"project":"p","type":"agent","command":"run","params":{"input":null}}"#, 422, Some("params.input")),
        (r#"{"project":"p","type":"lines","params":{"text":"a\u0000b"}}"#, 422, Some("params.text")),
        (r#"{"project":"p","type":"lines","params":[]}"#, 422, Some("params")),
        (r#"{"project":7,"type":"silent"}"#, 422, Some("project")),
        (r#"{"project":"","type":"silent"}"#, 422, Some("project")),
        (r#"{"project":"p","type":"lines","params":{"lines":1,"lines":2}}"#, 400, None),
        (r#"{"project":"p","type":"silent"} {}"#, 400, None),
    ] {
        let (found, problem) = refused(&baton, body).await;
        assert_eq!(found, status, "{body}: {problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["errors"][0]["field"].as_str(), field, "{body}: {problem}");
        assert!(field.is_none() || !problem["errors"][0]["reason"].as_str().unwrap().is_empty(), "{body}: {problem}");
        assert!(["type", "title", "detail"].iter().all(|name| problem[name].is_string()), "{body}: {problem}");
    }
    let huge = format!(r#"{{"project":"p","type":"lines","params":{{"text":"{}"}}}}"#, "x".repeat(2 << 20));
    assert_eq!(refused(&baton, &huge).await.0, 413);
    assert_eq!(baton.get_json("/tasks").await["tasks"], json!([]));
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_problems_too() {
    let baton = Baton::start(&[]).await;
    for (method, path, status) in
        [("GET", "/nope", 404), ("GET", "/tasks/nope", 404), ("PUT", "/tasks", 405), ("POST", "/healthz", 405)]
    {
        let request = baton.client.request(method.parse().unwrap(), format!("{}{path}", baton.url));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.headers().contains_key("allow"), status == 405);
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["status"], status);
    }
}

#[tokio::test]
async fn a_key_makes_one_task_of_many_posts_also_after_a_crash() {
    let mut baton = Baton::start(&[]).await;
    let body = json!({"project": "default", "type": "lines", "params": {"lines": 1}});
    let post = async |baton: &Baton, body: &Value| {
        let answer = baton.post(body).header("Idempotency-Key", "import-42").send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap())
    };
    let answers = futures_util::future::join_all((0..16).map(|_| post(&baton, &body))).await;
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 202), "{answers:?}");
    let other = json!({"project": "default", "type": "silent"});
    assert_eq!(post(&baton, &other).await.0, 409);
    let id = answers[0].1["task_id"].as_str().unwrap();
    baton.until_ended(id).await;
    baton.kill();
    let baton = baton.restart().await;
    assert_eq!(post(&baton, &body).await, answers[0]);
    assert_eq!(post(&baton, &other).await.0, 409);
    assert_eq!(baton.get_json("/tasks").await["tasks"].as_array().unwrap().len(), 1);
    let log = baton.get(&format!("/tasks/{id}/log")).send().await.unwrap().text().await.unwrap();
    assert_eq!(log, "line 1 of 1: \n", "it ran once");
}

#[tokio::test]
async fn a_key_that_is_sent_with_two_bodies_at_once_makes_one_task() {
    let baton = Baton::start(&[]).await;
    for round in 0..10 {
        let post = async |number: usize| {
            let body = json!({"project": "default", "type": "lines", "params": {"text": format!("{}", number % 2)}});
            let answer = baton.post(&body).header("Idempotency-Key", format!("key {round}")).send().await.unwrap();
            (number % 2, answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        };
        let answers = futures_util::future::join_all((0..8).map(post)).await;
        let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, status, _)| *status == 202);
        assert!(refused.iter().all(|(_, status, _)| *status == 409), "{refused:?}");
        assert_eq!(taken.len(), 4, "those of one body: {taken:?}");
        assert!(taken.iter().all(|answer| *answer == taken[0]), "{taken:?}");
        let id = taken[0].2["task_id"].as_str().unwrap();
        baton.until_ended(id).await;
        let expected = format!("line 1 of 1: {}", taken[0].0);
        assert_eq!(texts(&json_frames(&baton, id, "").await), ["Starting...", &expected, "DONE"]);
    }
    assert_eq!(baton.get_json("/tasks").await["tasks"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn the_list_is_filtered_and_paged_while_tasks_arrive() {
    let baton = Baton::start(&[]).await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(baton.submit("lines", json!({})).await);
    }
    for id in &ids {
        baton.until_ended(id).await;
    }
    let mut found = Vec::new();
    let mut path = "/tasks?limit=3&type=lines&status=done&status=failed".to_owned();
    loop {
        let page = baton.get_json(&path).await;
        found.extend(page["tasks"].as_array().unwrap().iter().map(|task| task["task_id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/tasks?limit=3&type=lines&status=done&status=failed&cursor={cursor}");
        baton.submit("silent", json!({})).await;
    }
    // Those of one millisecond may stand either way; each stands once.
    found.sort();
    ids.sort();
    assert_eq!(found, ids);
    let none = baton.get_json("/tasks?project=other").await;
    assert_eq!((&none["tasks"], &none["next_cursor"]), (&json!([]), &Value::Null));
    assert!(none["totals"].as_object().unwrap().values().all(|total| *total == 0), "{none}");
    for bad in ["limit=0", "limit=501", "status=nope", "cursor=nope", "colour=red"] {
        let answer = baton.get(&format!("/tasks?{bad}")).send().await.unwrap();
        assert_eq!(answer.status(), 422, "{bad}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_can_not_run_commands() {
    let baton = Baton::start(&[]).await;
    let body = json!({"project": "default", "type": "lines"});
    let foreign = baton.post(&body).header("Origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    let rebound = baton.post(&body).header("Host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), 403);
    assert_eq!(baton.get_json("/tasks").await["tasks"], json!([]));
}

#[tokio::test]
async fn a_task_is_shown_with_the_fields_of_the_contract() {
    let baton = Baton::start(&[]).await;
    let body = json!({"project": "default", "type": "lines", "params": {"lines": 1, "text": null}, "timeout_s": 9});
    let answer = baton.post(&body).send().await.unwrap();
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let answer: Value = answer.json().await.unwrap();
    let id = answer["task_id"].as_str().unwrap();
    assert_eq!(answer, json!({"task_id": id, "status": "queued"}));
    assert_eq!(location, format!("/tasks/{id}"));
    let groups: Vec<usize> = id.split('-').map(str::len).collect();
    assert!(groups == [8, 4, 4, 4, 12] && id.as_bytes()[14] == b'4', "{id} is no uuid4");
    baton.until_ended(id).await;
    let task = baton.task(id).await;
    let names: Vec<&str> = task.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "task_id",
            "project",
            "type",
            "command",
            "params",
            "summary",
            "status",
            "updates",
            "attempts",
            "attempt",
            "last_update",
            "submitted_at",
            "started_at",
            "ended_at",
            "exit_code",
            "tally",
            "ending",
        ]
    );
    assert_eq!((&task["project"], &task["type"], &task["command"]), (&json!("default"), &json!("lines"), &Value::Null));
    assert_eq!((&task["attempt"], &task["last_update"]), (&json!(1), &json!("DONE")));
    let times = ["submitted_at", "started_at", "ended_at"].map(|name| task[name].as_str().unwrap());
    assert!(times.is_sorted() && times.iter().all(|time| time.ends_with('Z')), "{times:?}");
}

#[tokio::test]
async fn the_log_is_the_agents_lines_of_all_attempts_or_of_one() {
    let mut baton = Baton::start(&[]).await;
    let text = async |baton: &Baton, path: &str| {
        let answer = baton.get(path).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
        answer.text().await.unwrap()
    };
    let id = baton.submit("slow", json!({"lines": 40, "interval": 0.02})).await;
    Frames::open(&baton, &id, "").await.until("line 3 of 40").await;
    let so_far = text(&baton, &format!("/tasks/{id}/log")).await;
    assert!(so_far.starts_with("line 1 of 40\nline 2 of 40\nline 3 of 40\n") && so_far.len() < 500, "{so_far}");
    baton.kill();
    let baton = baton.restart().await;
    let followed = text(&baton, &format!("/tasks/{id}/log?follow=true")).await;
    let all = text(&baton, &format!("/tasks/{id}/log")).await;
    let [first, second] = [1, 2].map(|attempt| format!("/tasks/{id}/log?attempt={attempt}"));
    let (first, second) = (text(&baton, &first).await, text(&baton, &second).await);
    assert!(first.starts_with(&so_far), "{first}");
    assert_eq!(second.lines().count(), 40);
    assert_eq!((first + &second, &followed), (all.clone(), &all));
    assert_eq!(text(&baton, &format!("/tasks/{id}/log?attempt=3")).await, "");
    for (path, status) in [("log?attempt=0", 400), ("log?attempt=x", 400), ("log?colour=red", 400), ("logs", 404)] {
        assert_eq!(baton.get(&format!("/tasks/{id}/{path}")).send().await.unwrap().status(), status, "{path}");
    }
    assert_eq!(baton.get("/tasks/no-such-task/log").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn probes_say_what_they_know() {
    let baton = Baton::start(&[]).await;
    assert_eq!(baton.get_json("/healthz").await, json!({"status": "ok"}));
    assert_eq!(baton.get_json("/readyz").await, json!({"status": "ready"}));
    let id = baton.submit("silent", json!({})).await;
    baton.until_task(&id, "last_update", "ready").await;
    baton.signal("TERM");
    let draining =
        until("503", async || baton.get("/readyz").send().await.ok().filter(|answer| answer.status() == 503));
    assert!(draining.await.headers().contains_key("retry-after"));
    assert_eq!(baton.get_json("/healthz").await, json!({"status": "ok"}));
    assert_eq!(baton.task(&id).await["status"], "running", "it is still told how the task does");
}

#[tokio::test]
async fn a_key_that_can_be_none_is_refused() {
    let baton = Baton::start(&[]).await;
    let body = json!({"project": "default", "type": "lines"});
    for key in ["", &"k".repeat(256), "caf\u{e9}"] {
        let header = reqwest::header::HeaderValue::from_bytes(key.as_bytes()).unwrap();
        let answer = baton.post(&body).header("Idempotency-Key", header).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{key}");
    }
    let twice = baton.post(&body).header("Idempotency-Key", "a").header("Idempotency-Key", "b").send().await.unwrap();
    assert_eq!(twice.status(), 400);
    let longest = baton.post(&body).header("Idempotency-Key", "k".repeat(255)).send().await.unwrap();
    assert_eq!(longest.status(), 202);
    assert_eq!(baton.get_json("/tasks").await["tasks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn whoever_comes_when_it_is_full_is_told_when_to_come_back() {
    let baton = Baton::start(&["--max-queued", "2", "--max-watchers", "2"]).await;
    let running = baton.submit("silent", json!({})).await;
    baton.until_task(&running, "last_update", "ready").await;
    let queued = baton.submit("silent", json!({})).await;
    baton.submit("silent", json!({})).await;
    let answer = baton.post(&json!({"project": "default", "type": "silent"})).send().await.unwrap();
    assert!(answer.status() == 429 && answer.headers().contains_key("retry-after"));
    baton.stop(&queued).await;
    baton.until_ended(&queued).await;
    baton.submit("silent", json!({})).await;

    let watchers = [Frames::open(&baton, &running, "").await, Frames::open(&baton, &running, "").await];
    let third = baton.get(&format!("/tasks/{running}/events")).send().await.unwrap();
    assert!(third.status() == 503 && third.headers().contains_key("retry-after"));
    assert_eq!(baton.task(&running).await["status"], "running", "whoever asks briefly is no watcher");
    drop(watchers);
    let log = format!("/tasks/{running}/log");
    until("a place", async || baton.get(&log).send().await.ok().filter(|answer| answer.status() == 200)).await;
}

#[tokio::test]
async fn a_watch_begins_with_a_handshake_or_a_plain_refusal() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("lines", json!({})).await;
    baton.until_ended(&id).await;
    let plain = baton.get(&format!("/tasks/{id}/watch")).send().await.unwrap();
    assert_eq!((plain.status().as_u16(), plain.headers()["upgrade"].to_str().unwrap()), (426, "websocket"));
    let upgrade = |origin: &'static str| {
        let request = baton.get(&format!("/tasks/{id}/watch")).header("Upgrade", "websocket");
        let request = request.header("Connection", "Upgrade").header("Sec-WebSocket-Version", "13");
        request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").header("Origin", origin).send()
    };
    assert_eq!(upgrade("https://evil.example").await.unwrap().status(), 403);
    assert_eq!(upgrade("null").await.unwrap().status(), 403);
    let own: &'static str = baton.url.clone().leak();
    let answer = upgrade(own).await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(Frames::open_v1(&baton, &id).await.rest_json().await, json_frames(&baton, &id, "").await);
    // An EventSource that has read all is told not to come again.
    let over = baton.get(&format!("/tasks/{id}/events")).header("Last-Event-ID", "1-3").send().await.unwrap();
    assert_eq!(over.status(), 204);
}

#[tokio::test]
async fn a_watcher_that_says_what_it_should_not_harms_only_itself() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("silent", json!({})).await;
    let mut other = Frames::open(&baton, &id, "").await;
    other.until("ready").await;
    for (bytes, code) in [(vec![0xff; 3], 1003), (vec![b'x'; 100_000], 1003)] {
        let mut watcher = Frames::open(&baton, &id, "").await;
        watcher.send_bytes(bytes).await;
        watcher.rest().await;
        assert_eq!(watcher.closed, Some(code));
    }
    let mut long = Frames::open(&baton, &id, "").await;
    long.send(&"x".repeat(100_000)).await;
    long.rest().await;
    assert_eq!(long.closed, Some(1009));
    for words in ["stop", "STOPPED", "{\"signal\":\"KILL\"}", "[\"STOP\"]", "{", ""] {
        other.send(words).await;
    }
    assert_eq!(baton.task(&id).await["status"], "running");
    other.send(" STOP\n").await;
    assert_eq!((other.rest().await, other.closed), (vec!["STOPPED".to_owned()], Some(1000)));
}
