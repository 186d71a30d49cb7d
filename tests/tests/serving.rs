//! `baton dev` as whoever runs it meets it: its signals, its logs, and what it takes of the machine.
#![allow(clippy::unwrap_used)]

use baton_tests::{Answer, Baton, Frames, ProjectsApi, Setup, command, events, fixture, frames, free_port, until};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[tokio::test]
async fn an_idle_server_ends_at_once_by_either_signal_whoever_watches() {
    for signal in ["TERM", "INT"] {
        let mut baton = Baton::start(&["--drain-timeout", "10m"]).await;
        let ended = baton.submit("lines", json!({})).await;
        baton.until_ended(&ended).await;
        let kept_alive = baton.get("/healthz").send().await.unwrap();
        let told = Instant::now();
        baton.signal(signal);
        assert_eq!(baton.finished().await.code, Some(0), "{signal}");
        assert!(told.elapsed() < Duration::from_secs(3), "{signal}: {:?}", told.elapsed());
        drop(kept_alive);
    }
}

#[tokio::test]
async fn watchers_of_what_is_still_queued_are_sent_away_to_come_back() {
    let mut baton = Baton::start(&["--drain-timeout", "100ms"]).await;
    let running = baton.submit("silent", json!({})).await;
    let queued = baton.submit("lines", json!({})).await;
    baton.until_task(&running, "last_update", "ready").await;
    let mut watcher = Frames::open(&baton, &queued, "").await;
    let by_events = events(&baton, &queued, "");
    let (seen, ()) = tokio::join!(by_events, async {
        baton.signal("TERM");
        assert_eq!((watcher.rest().await, watcher.closed), (vec![], Some(1012)));
    });
    assert_eq!(seen, [] as [Value; 0]);
    assert_eq!(baton.finished().await.code, Some(0));
    let baton = baton.restart().await;
    Frames::open(&baton, &running, "").await.send("STOP").await;
    assert_eq!(frames(&baton, &queued).await.0, ["Starting...", "line 1 of 1: ", "DONE"]);
}

#[tokio::test]
async fn logs_that_no_one_reads_hold_nothing_up() {
    let directory = tempfile::TempDir::new().unwrap();
    let port = free_port();
    // Beside one of which the logs are read.
    let other = Baton::start(&[]).await;
    let mut server = command();
    server.args(["dev", "--agent", &format!("python3 {}", fixture("misbehave.py")), "--types", &fixture("types.toml")]);
    server.args(["--listen", &format!("127.0.0.1:{port}"), "--log-level", "trace"]);
    std::fs::write(directory.path().join("projects.json"), r#"{"default": {}}"#).unwrap();
    server.args(["--projects", "projects.json", "--data", "data"]).current_dir(directory.path());
    let mut child = server.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let (client, url) = (other.client.clone(), format!("http://127.0.0.1:{port}"));
    let ready = async || client.get(format!("{url}/readyz")).send().await.ok().filter(|answer| answer.status() == 200);
    until("readiness", ready).await;
    for _ in 0..5 {
        let body = json!({"project": "default", "type": "lines"});
        let answer: Value = client.post(format!("{url}/tasks")).json(&body).send().await.unwrap().json().await.unwrap();
        let path = format!("{url}/tasks/{}", answer["task_id"].as_str().unwrap());
        until("the end", async || {
            let task: Value = client.get(&path).send().await.unwrap().json().await.unwrap();
            (task["status"] == "done").then_some(())
        })
        .await;
    }
    std::process::Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn no_level_of_the_logs_holds_a_secret_of_the_projects_config() {
    let config =
        json!({"db_conn": "postgres://me:s3cret-1@db", "paths": {"s3cret-2": "s3cret-3"}, "env": {"KEY": "s3cret-4"}});
    let api = ProjectsApi::start(vec![Answer::Status(503, "s3cret-5".into()), Answer::Status(200, config.to_string())]);
    let url = api.await;
    let url = (url.url.replace("http://", "http://me:s3cret-6@") + "/s3cret-free?token=s3cret-7", url);
    let mut setup = Setup::new(&["--projects-url", &url.0, "--log-level", "trace"]);
    setup.env = vec![("AWS_SECRET_ACCESS_KEY", "s3cret-8")];
    let mut baton = Baton::start_with(setup).await;
    let id = baton.submit("exits", json!({"code": 1, "text": "agent-words"})).await;
    assert_eq!(baton.until_ended(&id).await["status"], "failed");
    baton.signal("TERM");
    let logs = baton.finished().await.logs;
    let told = logs.iter().find(|line| line.contains("s3cret-") && !line.contains("s3cret-free"));
    assert_eq!(told, None);
    for line in &logs {
        let line: Value = serde_json::from_str(line).unwrap();
        let quiet = matches!(line["level"].as_str(), Some("TRACE" | "DEBUG"));
        assert!(quiet || !line.to_string().contains("agent-words"), "{line}");
    }
}

#[tokio::test]
async fn each_line_of_the_logs_about_a_task_names_it() {
    let mut baton = Baton::start(&[]).await;
    let id = baton.submit("silent", json!({})).await;
    baton.until_task(&id, "last_update", "ready").await;
    baton.stop(&id).await;
    baton.until_ended(&id).await;
    baton.signal("TERM");
    let logs = baton.finished().await.logs;
    let lines: Vec<Value> = logs.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find =
        |message: &str| lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("{message}"));
    // Some say it themselves, some by the run that they are part of.
    let of =
        |line: &Value, name: &str| if line[name].is_null() { line["span"][name].clone() } else { line[name].clone() };
    for message in ["accepted", "started", "STOP accepted", "ended"] {
        assert_eq!(of(find(message), "task"), json!(id), "{message}");
    }
    for message in ["started", "ended"] {
        let line = find(message);
        assert_eq!(of(line, "attempt"), 1, "{line}");
        assert_eq!((of(line, "project"), of(line, "type")), (json!("default"), json!("silent")), "{line}");
        assert!(of(line, "partition").is_u64(), "{line}");
    }
}

#[tokio::test]
async fn large_params_of_tasks_that_have_ended_do_not_fill_the_memory() {
    let baton = Baton::start(&["--history-memory", "1MiB"]).await;
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", baton.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    let text = "x".repeat(100_000);
    let running = baton.submit("silent", json!({})).await;
    baton.until_task(&running, "last_update", "ready").await;
    let mut sizes = Vec::new();
    for _ in 0..4 {
        for _ in 0..150 {
            let id = baton.submit("lines", json!({"text": text})).await;
            assert_eq!(baton.stop(&id).await, 202);
        }
        sizes.push(resident());
    }
    // Three rounds more are 45 MB of params.
    assert!(sizes[3] < sizes[0] + 20, "MiB in memory: {sizes:?}");
}
