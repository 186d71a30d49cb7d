//! The calls: what each takes, and what it says to what it does not take.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, baton as command};
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
    ] {
        let (found, problem) = refused(&baton, body).await;
        assert_eq!(found, status, "{body}: {problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["errors"][0]["field"].as_str(), field, "{body}: {problem}");
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
    assert_eq!(baton.get_json("/tasks?project=other").await, json!({"tasks": [], "next_cursor": null}));
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
async fn the_command_line_ends_as_its_task_does() {
    let baton = Baton::start(&[]).await;
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--server", &baton.url]);
        let output = command(&all);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, id) = run(&["submit", "lines", "lines=2", "text=x", "-p", "default", "--watch"]);
    assert_eq!((code, out.as_str()), (0, "Starting...\nline 1 of 2: x\nline 2 of 2: x\nDONE"));
    let (code, out, _) = run(&["submit", "exits", "code=3", "-p", "default", "-w", "--json"]);
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((code, last["kind"].as_str(), last["exit_code"].as_i64()), (1, Some("failed"), Some(3)));
    let (code, _, err) = run(&["submit", "lines", "lines=many", "-p", "default"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "baton: The request is not valid (422)\n  params.lines: must be a whole number")
    );
    assert_eq!(run(&["submit", "lines", "a=1", "b", "-p", "default"]).0, 2);
    let (code, out, _) = run(&["watch", &id]);
    assert_eq!((code, out.lines().count()), (0, 4));
    assert_eq!(run(&["watch", &id, "--after", "1-3"]).1, "DONE");
    assert_eq!(run(&["stop", &id]).0, 1);
    let (_, out, _) = run(&["ls", "--json"]);
    assert_eq!(out.lines().count(), 2);
    assert!(run(&["ls"]).1.contains(&id));
    assert!(run(&["show", &id]).1.contains("status        done"));
    let unreachable = command(&["ls", "--server", "http://127.0.0.1:1"]);
    assert_eq!(unreachable.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&unreachable.stderr).contains("Is `baton dev` running?"));
}

#[tokio::test]
async fn ctrl_c_leaves_the_task_running_and_says_how_to_stop_it() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("silent", json!({})).await;
    let mut watching = std::process::Command::new(baton_tests::binary());
    watching
        .args(["watch", &id, "--server", &baton.url])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = watching.spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim() != "ready" {
        line.clear();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    }
    std::process::Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("baton stop {id} --server {}", baton.url)), "{said}");
    assert_eq!(baton.task(&id).await["status"], "running");
    baton.stop(&id).await;
    baton.until_ended(&id).await;
}

#[tokio::test]
async fn a_start_that_can_not_be_says_why() {
    let baton = Baton::start(&[]).await;
    let file = |name: &str, text: &str| {
        let path = baton.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let projects = file("good.json", "{}");
    let (data, elsewhere) =
        (baton.dir().join("data").display().to_string(), baton.dir().join("other").display().to_string());
    let address = baton.url.trim_start_matches("http://");
    let broken_types = file("types.toml", "[types.x]\nparms = []\n");
    let broken_projects = file("bad.json", "{\"default\": {}\n \"other\": {}}");
    let broken_config = file("baton.toml", "slots = 2\nslot = 3\n");
    let wrong_config = file("wrong.toml", "grace = \"soon\"\n");
    let pid = format!("process {}", baton.pid());
    for (arguments, code, says) in [
        (vec!["--projects", &projects, "--data", &data], 3, pid.as_str()),
        (vec!["--projects", &projects, "--data", &elsewhere, "--listen", address], 3, "give another --listen address"),
        (vec!["--projects", &projects, "--listen", "0.0.0.0:0"], 2, "would let in whoever can reach this machine"),
        (vec!["--projects", &projects, "--types", &broken_types], 2, "line 2, column 1"),
        (vec!["--projects", &broken_projects], 2, "line 2 column 2"),
        (vec!["--projects", "/no/such/file.json"], 2, "/no/such/file.json: No such file"),
        (vec!["--config", &broken_config], 2, "line 2: \"slot\" is not an option; there are: agent,"),
        (vec!["--config", &wrong_config], 2, "line 1: invalid value 'soon' for '--grace"),
        (vec!["--slots", "0"], 2, "must be a whole number from 1 to 1000"),
        (vec![], 2, "--projects FILE"),
    ] {
        let mut all = vec!["dev"];
        all.extend(&arguments);
        let output = command(&all);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    }
}
