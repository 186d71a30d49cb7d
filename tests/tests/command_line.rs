//! The client's commands as a person or a script meets them: what they print, where, and how they exit.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, Frames, Setup, baton as baton_command, command, json_frames, until};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

/// Runs a command against this server; gives its exit code, its output and its errors.
fn run(baton: &Baton, arguments: &[&str]) -> (i32, String, String) {
    let output = baton_command(&[arguments, &["--server", &baton.url]].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn start(baton: &Baton, arguments: &[&str]) -> Child {
    let mut started = command();
    started.args(arguments).args(["--server", &baton.url]).stdout(Stdio::piped()).stderr(Stdio::piped());
    started.spawn().unwrap()
}

#[tokio::test]
async fn a_submit_that_watches_ends_as_its_task_does() {
    let baton = Baton::start(&[]).await;
    let (code, out, id) = run(&baton, &["submit", "lines", "lines=2", "text=x", "-p", "default", "--watch"]);
    assert_eq!((code, out.as_str()), (0, "Starting...\nline 1 of 2: x\nline 2 of 2: x\nDONE"));
    let (code, out, _) = run(&baton, &["submit", "exits", "code=3", "-p", "default", "-w", "--json"]);
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((code, last["kind"].as_str(), last["exit_code"].as_i64()), (1, Some("failed"), Some(3)));
    let (code, out, _) = run(&baton, &["watch", &id]);
    assert_eq!((code, out.lines().count()), (0, 4));
    assert_eq!(run(&baton, &["watch", &id, "--after", "1-3"]).1, "DONE");
    assert_eq!(run(&baton, &["watch", &id, "--after", "1-4"]).0, 0, "there is nothing more, and it was done");
    let watching = start(&baton, &["submit", "silent", "-p", "default", "--watch"]);
    let look =
        async || baton.get_json("/tasks?status=running").await["tasks"][0]["task_id"].as_str().map(str::to_owned);
    let silent = until("the silent task", look).await;
    assert_eq!(run(&baton, &["stop", &silent, "--json"]).1, format!(r#"{{"task_id":"{silent}","status":"stopping"}}"#));
    let output = watching.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("STOPPED\n"));
}

#[tokio::test]
async fn what_is_refused_or_badly_put_is_said_in_words() {
    let baton = Baton::start(&[]).await;
    for (arguments, code, says) in [
        (
            &["submit", "lines", "lines=many", "-p", "default"][..],
            1,
            "baton: The request is not valid (422)\n  params.lines: must be a whole number",
        ),
        (&["submit", "nope", "-p", "default"], 1, "type: is not a task type; there are:"),
        (&["submit", "lines", "a=1", "=b", "-p", "default"], 2, "\"=b\" is no param: write key=value"),
        (&["submit", "lines", "a=1", "a=2", "-p", "default"], 2, "the param \"a\" stands twice"),
        (&["submit", "lines", "a:={", "-p", "default"], 2, "a:= needs JSON"),
        (&["submit", "lines"], 2, "--project <PROJECT>"),
        (&["watch", "no-such-task"], 1, "There is no such task (404)"),
        (&["show", "no-such-task"], 1, "There is no such task (404)"),
        (&["stop", "no-such-task"], 1, "There is no such task (404)"),
        (&["watch", "../tasks"], 1, "There is no such task (404)"),
        (&["ls", "--status", "nope"], 1, "status: \"nope\" is not a status; there are: queued,"),
        (&["frobnicate"], 2, "unrecognized subcommand 'frobnicate'"),
    ] {
        let (found, _, said) = run(&baton, arguments);
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert_eq!(found, code, "{arguments:?}: {said}");
    }
    let unreachable = baton_command(&["ls", "--server", "http://127.0.0.1:1"]);
    assert_eq!(unreachable.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&unreachable.stderr).contains("Is `baton dev` running?"));
    let other = baton_command(&["ls", "--server", "ftp://127.0.0.1:1"]);
    assert_eq!(other.status.code(), Some(2));
}

#[tokio::test]
async fn tasks_are_listed_and_shown_for_people_and_for_programs() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("lines", json!({})).await;
    baton.until_ended(&id).await;
    assert_eq!(run(&baton, &["stop", &id]).0, 1, "it has ended");
    let failed = baton.submit("exits", json!({"code": 4, "text": "why \u{1b}[2J not"})).await;
    baton.until_ended(&failed).await;
    let listed: Vec<Value> =
        run(&baton, &["ls", "--json"]).1.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut shown = [baton.task(&failed).await, baton.task(&id).await];
    for task in &mut shown {
        for left_out in ["params", "attempts"] {
            assert!(task.as_object_mut().unwrap().shift_remove(left_out).is_some(), "a list leaves out {left_out}");
        }
    }
    assert_eq!(listed, shown);
    let (_, table, _) = run(&baton, &["ls"]);
    assert!(table.contains(&id) && table.contains(&failed) && !table.contains('\u{1b}'), "{table}");
    let (_, table, _) = run(&baton, &["ls", "--status", "done", "--type", "lines", "-p", "default"]);
    assert!(table.contains(&id) && !table.contains(&failed), "{table}");
    assert_eq!(run(&baton, &["ls", "-n", "1", "--json"]).1.lines().count(), 1);
    let (code, shown, _) = run(&baton, &["show", &id]);
    assert!(code == 0 && shown.contains("status        done"), "{shown}");
    assert_eq!(serde_json::from_str::<Value>(&run(&baton, &["show", &id, "--json"]).1).unwrap(), baton.task(&id).await);
}

#[tokio::test]
async fn a_key_submits_once_however_often_it_is_run() {
    let baton = Baton::start(&[]).await;
    let submit = |text: &str| {
        run(&baton, &["submit", "lines", &format!("text={text}"), "-p", "default", "--idempotency-key", "nightly"])
    };
    let first = submit("a");
    assert_eq!((first.0, submit("a")), (0, first));
    let (code, _, said) = submit("b");
    assert!(code == 1 && said.contains("(409)"), "{said}");
}

#[tokio::test]
async fn ctrl_c_leaves_the_task_running_and_says_how_to_stop_it() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("silent", json!({})).await;
    let mut child = start(&baton, &["watch", &id]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim() != "ready" {
        line.clear();
        out.read_line(&mut line).unwrap();
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
async fn a_reader_that_goes_away_early_is_no_crash() {
    let baton = Baton::start(&[]).await;
    // More than a pipe holds, so that whoever writes it meets the end of its reader.
    let text = "x".repeat(100_000);
    let id = baton.submit("lines", json!({"text": text})).await;
    baton.until_ended(&id).await;
    for arguments in [
        &["ls", "--json"][..],
        &["ls"],
        &["show", &id],
        &["show", &id, "--json"],
        &["watch", &id],
        &["watch", &id, "--json"],
        &["submit", "lines", "-p", "default"],
        &["submit", "lines", "-p", "default", "--json"],
        &["submit", "lines", "-p", "default", "--watch"],
        &["--help"],
    ] {
        let mut child = if arguments == ["--help"] {
            command().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        } else {
            start(&baton, arguments)
        };
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked") && output.status.code() != Some(101), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn options_come_from_flags_then_from_variables_then_from_the_file() {
    let slots = |baton: &Baton| {
        let logs = baton.logs();
        let line = logs.iter().find(|line| line.contains("\"listening\"")).unwrap();
        serde_json::from_str::<Value>(line).unwrap()["slots"].as_u64().unwrap()
    };
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("options.toml");
    std::fs::write(&file, "slots = 2\nmax-attempts = 7\n").unwrap();
    let file = file.display().to_string();
    for (arguments, env, expected) in [
        (&["--config", &file][..], &[][..], 2),
        (&["--config", &file], &[("BATON_SLOTS", "3")], 3),
        (&["--config", &file, "--slots", "4"], &[("BATON_SLOTS", "3")], 4),
        (&[], &[], 1),
    ] {
        let mut setup = Setup::new(arguments);
        setup.env = env.to_vec();
        assert_eq!(slots(&Baton::start_with(setup).await), expected, "{arguments:?} {env:?}");
    }
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
    let not_toml = file("not.toml", "slots = 2\ngrace = = 3\n");
    let not_ours = baton.dir().join("foreign");
    std::fs::create_dir(&not_ours).unwrap();
    std::fs::write(not_ours.join("log.sqlite"), "SQLite format 4, or so").unwrap();
    let not_ours = not_ours.display().to_string();
    let pid = format!("process {}", baton.pid());
    for (arguments, code, says) in [
        (vec!["--projects", &projects, "--data", &data], 3, pid.as_str()),
        (vec!["--projects", &projects, "--data", &elsewhere, "--listen", address], 3, "give another --listen address"),
        (vec!["--projects", &projects, "--data", &not_ours], 3, "log.sqlite"),
        (vec!["--projects", &projects, "--data", "/proc/nowhere"], 3, "give a directory of your own with --data"),
        (
            vec!["--projects", &projects, "--data", &elsewhere, "--listen", "0.0.0.0:0"],
            2,
            "would let in whoever can reach",
        ),
        (
            vec!["--projects", &projects, "--data", &elsewhere, "--listen", "[::]:0"],
            2,
            "would let in whoever can reach",
        ),
        (vec!["--projects", &projects, "--types", &broken_types], 2, "line 2, column 1"),
        (vec!["--projects", &broken_projects], 2, "line 2 column 2"),
        (vec!["--projects", "/no/such/file.json"], 2, "/no/such/file.json: No such file"),
        (vec!["--config", &broken_config], 2, "line 2: \"slot\" is not an option; there are: agent,"),
        (vec!["--config", &wrong_config], 2, "line 1: invalid value 'soon' for '--grace"),
        (vec!["--config", &not_toml], 2, "line 2, column 9"),
        (vec!["--slots", "0"], 2, "must be a whole number from 1 to 1000"),
        (vec!["--agent", "python3 'agent.py"], 2, "--agent"),
        (vec!["--agent", ""], 2, "--agent"),
        (vec!["--projects-url", "file:///etc/passwd"], 2, "it must begin with http:// or https://"),
        (vec!["--projects", &projects, "--projects-url", "http://x"], 2, "--projects-url, not both"),
        (vec![], 2, "--projects FILE"),
    ] {
        let output = baton_command(&[&["dev"], &arguments[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    // None of them has harmed the one that runs.
    let id = baton.submit("lines", json!({})).await;
    baton.until_ended(&id).await;
}

#[tokio::test]
async fn a_log_keeps_its_partitions() {
    let mut baton = Baton::start(&["--partitions", "3"]).await;
    baton.signal("TERM");
    assert_eq!(baton.finished().await.code, Some(0));
    let (data, projects) = (baton.dir().join("data"), baton.dir().join("projects.json"));
    let mut other = command();
    let output = other.args(["dev", "--partitions", "4", "--data"]).arg(data).arg("--projects").arg(projects).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("give --partitions 3"), "{said}");
    assert_eq!(output.status.code(), Some(3));
}

#[tokio::test]
async fn a_task_is_watched_by_the_command_line_as_it_happens() {
    let baton = Baton::start(&[]).await;
    let id = baton.submit("silent", json!({})).await;
    let mut child = start(&baton, &["watch", &id, "--json"]);
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen: Vec<Value> = Vec::new();
    // A pipe holds no line back: the task still runs.
    while seen.last().is_none_or(|frame| frame["update"] != "ready") {
        seen.push(serde_json::from_str(&out.next().unwrap().unwrap()).unwrap());
    }
    Frames::open(&baton, &id, "").await.send("STOP").await;
    seen.extend(out.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(seen, json_frames(&baton, &id, "").await);
}
