//! The example agent, for real: its three jobs through Baton, and its parser against the command lines that are built.
#![allow(clippy::unwrap_used)]

use baton_core::record::TaskRecord;
use baton_core::types::TaskTypes;
use baton_tests::{Baton, Chance, Frames, Setup, assert_whole, command, frames, json_frames, root};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn python(code: &str, input: &str) -> String {
    let mut child = Command::new("python3")
        .args(["-c", code])
        .current_dir(root().join("examples"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    // Beside the reading, or both sides wait for each other.
    std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// A Baton with the example agent, and a database of its own.
struct Example {
    baton: Baton,
    database: String,
    _directory: TempDir,
}

impl Example {
    async fn start(pace_ms: u32, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let database = directory.path().join("example.db").display().to_string();
        let agent = format!("python3 {}", root().join("examples/agent.py").display());
        let mut setup = Setup::new(&[&["--agent", &agent], arguments].concat());
        let uploads = root().join("examples");
        let env = json!({"AGENT_PACE_MS": pace_ms});
        setup.projects =
            json!({"default": {"db_conn": format!("sqlite:///{database}"), "paths": {"uploads": uploads}, "env": env}});
        Self { baton: Baton::start_with(setup).await, database, _directory: directory }
    }

    async fn submit(&self, mut body: Value) -> String {
        body["project"] = json!("default");
        self.baton.submit_body(body).await
    }

    /// The rows that a query of the database gives.
    fn query(&self, query: &str) -> Value {
        let code = "import json, sqlite3, sys\n\
                    path, query = json.load(sys.stdin)\n\
                    print(json.dumps(sqlite3.connect(path).execute(query).fetchall()))";
        serde_json::from_str(&python(code, &json!([self.database, query]).to_string())).unwrap()
    }
}

fn import() -> Value {
    json!({"type": "task-context", "command": "import-excel",
        "params": {"file_path": "report.xlsx", "main_tab": "MB Attributes", "custom_structure": true}})
}

fn analysis(workers: u32) -> Value {
    json!({"type": "agent", "command": "run",
        "params": {"input": "Analyze all MB attributes for Q1", "parallel_workers": workers}})
}

#[tokio::test]
async fn the_three_jobs_of_the_plan_are_done() {
    let example = Example::start(0, &[]).await;
    for (body, line) in [
        (json!({"type": "seed-db", "params": {"reset": true}}), "Emptied the database"),
        (import(), "Processing row 40/40"),
        (analysis(3), "Worker 3 finished"),
    ] {
        let id = example.submit(body).await;
        let (seen, _) = frames(&example.baton, &id).await;
        assert_eq!(seen.last().map(String::as_str), Some("DONE"), "{seen:?}");
        assert!(seen.iter().any(|text| text == line), "{line} in {seen:?}");
    }
    let counted = example.query("SELECT origin, tab, count(*) FROM attribute GROUP BY origin ORDER BY origin");
    assert_eq!(counted, json!([["report.xlsx", "MB Attributes", 40], ["seed", "MB Attributes", 8]]));
    let numbers = example
        .query("SELECT min(number), max(number), count(DISTINCT content) FROM attribute WHERE origin = 'report.xlsx'");
    assert_eq!(numbers, json!([[1, 40, 40]]));
    let analyses = example.query("SELECT input, workers, result LIKE 'Q1: % values, mean %' FROM analysis");
    assert_eq!(analyses, json!([["Analyze all MB attributes for Q1", 3, 1]]));
    assert_eq!(example.query("SELECT count(*), sum(attempt) FROM finished"), json!([[3, 3]]));
}

#[tokio::test]
async fn an_import_that_is_killed_half_way_is_done_once_by_the_next_attempt() {
    let mut example = Example::start(100, &[]).await;
    let id = example.submit(import()).await;
    Frames::open(&example.baton, &id, "").await.until("Processing row 20/40").await;
    assert_eq!(example.query("SELECT count(*) FROM attribute"), json!([[0]]));
    example.baton.kill();
    example.baton = example.baton.restart().await;
    assert_eq!(example.baton.until_ended(&id).await["status"], "done");
    assert_whole(&json_frames(&example.baton, &id, "").await);
    assert_eq!(example.query("SELECT count(*) FROM attribute"), json!([[40]]));
    assert_eq!(example.query("SELECT task_id, attempt FROM finished"), json!([[id, 2]]));
}

#[tokio::test]
async fn an_analysis_that_is_stopped_changes_nothing_and_its_workers_are_gone() {
    let example = Example::start(0, &[]).await;
    let seeded = example.submit(json!({"type": "seed-db"})).await;
    assert_eq!(example.baton.until_ended(&seeded).await["status"], "done");
    let slow = Example::start(2000, &["--grace", "10m"]).await;
    std::fs::copy(&example.database, &slow.database).unwrap();
    let id = slow.submit(analysis(3)).await;
    let mut watcher = Frames::open(&slow.baton, &id, "").await;
    while !watcher.next().await.unwrap().contains(": analyzed ") {}
    let processes = |left: Vec<String>| left.iter().filter(|path| path.starts_with("/proc/")).count();
    assert!(processes(slow.baton.leftovers()) >= 4, "the agent and its three workers");
    watcher.send("STOP").await;
    assert_eq!(watcher.rest().await.last().map(String::as_str), Some("STOPPED"));
    assert!(slow.baton.leftovers().is_empty(), "{:?}", slow.baton.leftovers());
    assert_eq!(slow.query("SELECT (SELECT count(*) FROM analysis), (SELECT count(*) FROM attribute)"), json!([[0, 8]]));
}

#[tokio::test]
async fn what_the_agent_can_not_do_is_the_reason_of_the_failure() {
    let example = Example::start(0, &[]).await;
    for (body, why) in [
        (
            json!({"type": "task-context", "command": "import-excel", "params": {"file_path": "--help"}}),
            "exit code 1: error: no such file: \"--help\"",
        ),
        (
            json!({"type": "task-context", "command": "import-excel", "params": {"file_path": "report.xlsx", "main_tab": "No\nsuch"}}),
            "has no tab \"No\\nsuch\"; it has \"MB Attributes\"",
        ),
        (analysis(0), "argument --parallel-workers: must be from 1 to 64, not 0"),
    ] {
        let id = example.submit(body).await;
        let reason = example.baton.until_ended(&id).await["reason"].as_str().unwrap_or_default().to_owned();
        assert!(reason.contains(why), "{reason}");
    }
}

#[test]
fn the_first_five_minutes_show_one_task_and_what_to_try_next() {
    let directory = TempDir::new().unwrap();
    std::os::unix::fs::symlink(root().join("examples"), directory.path().join("examples")).unwrap();
    let projects = json!({"default": {"db_conn": "sqlite:///example.db"}});
    std::fs::write(directory.path().join("projects.json"), projects.to_string()).unwrap();
    let show = || {
        let mut dev = command();
        dev.args(["dev", "--agent", "python3 examples/agent.py", "--projects", "projects.json", "--data", "data"]);
        dev.args(["--listen", "127.0.0.1:0", "--example"]).current_dir(directory.path());
        let mut child = dev.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut shown: Vec<String> = Vec::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        while shown.iter().filter(|line| line.starts_with("  ")).count() < 3 {
            shown.push(lines.next().expect("it stays up until it has said all"));
        }
        Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        shown
    };
    let first = show();
    assert!(first.contains(&"Processing row 40/40".to_owned()) && first.contains(&"DONE".to_owned()), "{first:#?}");
    let next: Vec<&String> = first.iter().filter(|line| line.starts_with("  ")).collect();
    assert!(next[0].contains("submit agent run") && next[1].contains("submit seed-db") && next[2].contains("ls"));
    // The same directory: the same task, shown again and not run again.
    let second = show();
    let lines = |shown: &[String]| shown.iter().filter(|line| !line.contains("--server")).cloned().collect::<Vec<_>>();
    assert_eq!(lines(&first), lines(&second));
}

/// Values that a careless builder of command lines would get wrong.
fn hostile() -> Vec<String> {
    let mut values: Vec<String> = [
        "",
        " ",
        "-",
        "--",
        "---",
        "-x",
        "-1",
        "-1.5",
        "--help",
        "-h",
        "--input",
        "--input=x",
        "--parallel-workers",
        "=",
        "=x",
        "a=b",
        "a b",
        "'",
        "\"",
        "\\",
        "$(reboot)",
        "`reboot`",
        "; reboot",
        "a\nb",
        "\t",
        "\u{1b}[2J",
        "ünïcödé 🎼",
        "\u{202e}",
        "@file",
        "%s",
        "{}",
        "run",
        "import-excel",
        "agent",
        "null",
        "true",
        "0",
        "\r\n",
        "*",
        "~",
        "/etc/passwd",
        "../../x",
        "-- --help",
        "--=",
        "-=",
        "--a-b=c",
    ]
    .map(str::to_owned)
    .to_vec();
    values.push("x".repeat(100_000));
    // And whatever chance makes of their pieces.
    let mut chance = Chance::new();
    let pieces = [
        "-",
        "--",
        "=",
        " ",
        "\n",
        "\t",
        "\"",
        "'",
        "\\",
        "$",
        "@",
        "+",
        "input",
        "parallel-workers",
        "main-tab",
        "help",
        "h",
        "x",
        "1",
        ".5",
        "é",
        "🎼",
        "\u{1}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{fffd}",
        "/",
        "*",
    ];
    for _ in 0..600 {
        let length = 1 + chance.below(6);
        values.push((0..length).map(|_| *chance.one_of(&pieces)).collect());
    }
    values
}

#[test]
fn the_agents_own_parser_gives_every_value_back() {
    let types = TaskTypes::default();
    let mut sent: Vec<Value> = Vec::new();
    for value in hostile() {
        for number in [-3, 0, 7] {
            sent.push(
                json!({"type": "agent", "command": "run", "params": {"input": value, "parallel_workers": number}}),
            );
        }
        for flag in [true, false] {
            sent.push(json!({"type": "task-context", "command": "import-excel",
                "params": {"file_path": value, "main_tab": value, "custom_structure": flag}}));
            sent.push(json!({"type": "seed-db", "params": {"reset": flag}}));
        }
    }
    let lines: Vec<String> = sent
        .iter()
        .map(|body| {
            let mut body = body.clone();
            body["task_id"] = json!("a");
            body["project"] = json!("p");
            let record = TaskRecord::read(body.to_string().as_bytes()).unwrap();
            json!(types.argv(&[], &record).unwrap()).to_string()
        })
        .collect();
    let parsed = python(
        "import json, sys, agent\n\
         parser = agent.build_parser()\n\
         for line in sys.stdin:\n\
         \x20   print(json.dumps(vars(parser.parse_args(json.loads(line))), default=str))",
        &(lines.join("\n") + "\n"),
    );
    let parsed: Vec<Value> = parsed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed.len(), sent.len());
    for (sent, parsed) in sent.iter().zip(&parsed) {
        for (name, value) in sent["params"].as_object().unwrap() {
            assert_eq!(parsed[name], *value, "{name} of {sent}");
        }
    }
}
