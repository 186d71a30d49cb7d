//! The example agent, for real: its three jobs through Baton, and its parser against the command lines that are built.
#![allow(clippy::unwrap_used)]

use baton_core::record::TaskRecord;
use baton_core::types::TaskTypes;
use baton_tests::{Baton, frames, root};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};

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

#[tokio::test]
async fn the_three_jobs_of_the_plan_are_done() {
    let directory = tempfile::TempDir::new().unwrap();
    let database = directory.path().join("example.db").display().to_string();
    let projects = directory.path().join("projects.json");
    let config = json!({"default": {"db_conn": format!("sqlite:///{database}"), "paths": {}, "env": {}}});
    std::fs::write(&projects, config.to_string()).unwrap();
    let agent = format!("python3 {}", root().join("examples/agent.py").display());
    let baton = Baton::start(&["--agent", &agent, "--projects", &projects.display().to_string()]).await;
    let workbook = root().join("examples/report.xlsx").display().to_string();
    for (body, line) in [
        (json!({"type": "seed-db", "params": {"reset": true}}), "Emptied the database"),
        (
            json!({"type": "task-context", "command": "import-excel",
                "params": {"file_path": workbook, "main_tab": "MB Attributes", "custom_structure": true}}),
            "Processing row 40/40",
        ),
        (
            json!({"type": "agent", "command": "run", "params": {"input": "Analyze all MB attributes for Q1", "parallel_workers": 3}}),
            "Worker 3 finished",
        ),
    ] {
        let mut body = body;
        body["project"] = json!("default");
        let id = baton.submit_body(body).await;
        let (seen, _) = frames(&baton, &id).await;
        assert_eq!(seen.last().map(String::as_str), Some("DONE"), "{seen:?}");
        assert!(seen.iter().any(|text| text == line), "{line} in {seen:?}");
    }
    let tables = python(
        "import sqlite3, sys\n\
         db = sqlite3.connect(sys.stdin.read())\n\
         names = [n for (n,) in db.execute(\"select name from sqlite_master where type = 'table' and name not like 'sqlite%'\")]\n\
         print(max(db.execute(f'select count(*) from \"{n}\"').fetchone()[0] for n in names))",
        &database,
    );
    assert_eq!(tables.trim(), "48", "eight of the seed, forty of the workbook");
    baton.until_nothing_left().await;
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
