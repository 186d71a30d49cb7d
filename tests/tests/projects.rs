//! The project's config: where it comes from, what becomes of a task without one, and how it reaches the agent.
#![allow(clippy::unwrap_used)]

use baton_tests::{Answer, Baton, ProjectsApi, Setup, frames, json_frames, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn ok(config: &Value) -> Answer {
    Answer::Status(200, config.to_string())
}

#[tokio::test]
async fn a_config_is_fetched_once_an_attempt_and_reaches_the_agent_whole() {
    let config = json!({"db_conn": "sqlite:///x.db", "paths": {"uploads": "/u"}, "env": {"A": "1"}, "more": [1, null]});
    let api = ProjectsApi::start(vec![ok(&config)]).await;
    let baton = Baton::start(&["--projects-url", &api.url]).await;
    for attempt in 1..=2 {
        let id = baton.submit("files", json!({})).await;
        let (seen, _) = frames(&baton, &id).await;
        assert_eq!(serde_json::from_str::<Value>(&seen[2]).unwrap(), config);
        assert_eq!(api.asked().len(), attempt);
    }
    assert!(api.asked().iter().all(|head| head.starts_with("GET /projects/default HTTP/1.1\r\n")), "{:?}", api.asked());
}

#[tokio::test]
async fn an_api_that_is_away_for_a_moment_is_asked_again() {
    let away = [Answer::Status(503, String::new()), Answer::HangUp, Answer::Status(429, String::new())];
    let api = ProjectsApi::start([&away[..], &[ok(&json!({}))]].concat()).await;
    let baton = Baton::start(&["--projects-url", &api.url]).await;
    let id = baton.submit("lines", json!({})).await;
    assert_eq!(frames(&baton, &id).await.0, ["Starting...", "line 1 of 1: ", "DONE"]);
    assert_eq!(api.asked().len(), 4);
}

#[tokio::test]
async fn a_config_that_is_of_no_use_fails_the_task_at_once_and_says_why() {
    for (answer, why) in [
        (Answer::Status(404, String::new()), "the project \"default\" is unknown to"),
        (Answer::Status(403, String::new()), "it answered 403"),
        (Answer::Status(302, String::new()), "it answered 302"),
        (Answer::Status(200, "<html>".into()), "the config is not a JSON object"),
        (ok(&json!(["x"])), "the config is not a JSON object"),
        (ok(&json!({"env": {"A": []}})), "env.A: must be a string, a number or a boolean"),
        (ok(&json!({"db_conn": 7})), "db_conn: must be a string"),
        (ok(&json!({"x": "x".repeat(2 << 20)})), "it is longer than 1048576 bytes"),
    ] {
        let api = ProjectsApi::start(vec![answer]).await;
        // Credentials of the URL are for the API alone.
        let url = api.url.replace("http://", "http://me:pa55word@");
        let baton = Baton::start(&["--projects-url", &url]).await;
        let proof = baton.dir().join("ran");
        let id = baton.submit("touch", json!({"text": proof})).await;
        let ended = baton.until_ended(&id).await;
        let reason = ended["reason"].as_str().unwrap();
        assert!(reason.contains(why), "{why}: {reason}");
        assert_eq!((ended["status"].as_str(), api.asked().len(), proof.exists()), (Some("failed"), 1, false));
        assert!(api.asked()[0].contains("authorization: Basic"));
        assert!(!reason.contains("pa55word") && !baton.logs().join("\n").contains("pa55word"), "{reason}");
    }
}

#[tokio::test]
async fn a_task_that_is_stopped_while_its_config_is_awaited_is_never_started() {
    let api = ProjectsApi::start(vec![Answer::Silence]).await;
    let baton = Baton::start(&["--projects-url", &api.url, "--grace", "10m"]).await;
    let proof = baton.dir().join("ran");
    let id = baton.submit("touch", json!({"text": proof})).await;
    until("the API to be asked", async || (!api.asked().is_empty()).then_some(())).await;
    let asked = Instant::now();
    assert_eq!(baton.stop(&id).await, 202);
    assert_eq!(frames(&baton, &id).await, (vec!["Starting...".into(), "STOPPED".into()], Some(1000)));
    // Far less than the API may take to answer.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(!proof.exists());
}

#[tokio::test]
async fn a_projects_file_is_read_again_when_it_changes_and_a_broken_one_says_where() {
    let baton = Baton::start(&[]).await;
    let file = baton.dir().join("projects.json");
    std::fs::write(&file, "{\"default\": {},\n \"other\" {}}").unwrap();
    let id = baton.submit("lines", json!({})).await;
    let reason = baton.until_ended(&id).await["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("projects.json: expected `:` at line 2 column 10"), "{reason}");
    std::fs::write(&file, "{\"default\": {}, \"late\": {\"env\": {\"TOKEN\": \"t\"}}}").unwrap();
    let id = baton.submit_body(json!({"project": "late", "type": "environment"})).await;
    let (seen, _) = frames(&baton, &id).await;
    assert!(seen.contains(&"TOKEN=t".to_owned()) && seen.last().unwrap() == "DONE", "{seen:?}");
}

#[tokio::test]
async fn an_agent_gets_what_is_meant_for_it_and_nothing_that_takes_it_over() {
    let mut setup = Setup::new(&[]);
    let env = json!({
        "GOOD": "a=b", "NUMBER": 7, "LD_PRELOAD": "/evil.so", "LD_LIBRARY_PATH": "/evil", "PATH": "/evil", "HOME": "/evil",
        "BATON_ATTEMPT": "9", "BATON_RUN": "/evil", "BATON_TASK_ID": "evil", "BATON_PROJECT_FILE": "/evil", "TMPDIR": "/evil",
        "PYTHONPATH": "/evil", "BASH_ENV": "/evil", "IFS": "e"
    });
    setup.projects = json!({"default": {"env": env}});
    setup.env =
        vec![("AWS_SECRET_ACCESS_KEY", "of-the-worker"), ("DATABASE_URL", "of-the-worker"), ("LANG", "C.UTF-8")];
    let baton = Baton::start_with(setup).await;
    let id = baton.submit("environment", json!({})).await;
    let (seen, _) = frames(&baton, &id).await;
    let has = |line: &str| seen.iter().any(|seen| seen == line);
    assert!(has("GOOD=a=b") && has("NUMBER=7") && has("LANG=C.UTF-8"), "{seen:#?}");
    assert!(has(&format!("BATON_TASK_ID={id}")) && has("BATON_ATTEMPT=1"), "{seen:#?}");
    assert!(!seen.iter().any(|line| line.contains("/evil") || line.contains("of-the-worker")), "{seen:#?}");
    let run = std::fs::canonicalize(baton.dir()).unwrap().join("data/runs").join(format!("{id}.1"));
    assert!(has(&format!("TMPDIR={}", run.display())), "{seen:#?}");
    assert!(has(&format!("BATON_PROJECT_FILE={}", run.join("project.json").display())), "{seen:#?}");
}

#[tokio::test]
async fn a_project_of_the_file_is_known_by_its_exact_name() {
    let baton = Baton::start(&[]).await;
    for name in ["Default", "default.", "DEFAULT"] {
        let id = baton.submit_body(json!({"project": name, "type": "lines"})).await;
        assert_eq!(baton.until_ended(&id).await["status"], "failed", "{name}");
    }
    let id = baton.submit_body(json!({"project": "nobody", "type": "lines"})).await;
    let seen = json_frames(&baton, &id, "").await;
    assert!(seen[1]["reason"].as_str().unwrap().ends_with("there are: default"), "{seen:?}");
}
