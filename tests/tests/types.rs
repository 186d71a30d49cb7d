//! The worked examples of task types, checked and run: Claude Code's CLI and a shell script, with programs of the same interface in their places.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, Setup, root};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// A Baton with the types of this example, and its programs first on PATH.
async fn start(types: &str, env: Value) -> (Baton, TempDir) {
    let programs = TempDir::new().unwrap();
    let examples = root().join("examples");
    for (name, file) in [("claude", "fake_claude.py"), ("backup.sh", "backup.sh"), ("pg_dump", "fake_pg_dump.sh")] {
        symlink(examples.join(file), programs.path().join(name)).unwrap();
    }
    let types = examples.join(types).display().to_string();
    let checked = baton_tests::baton(&["types", "check", &types]);
    assert!(checked.status.success(), "{checked:?}");
    let mut setup = Setup::new(&["--agent", "true", "--types", &types]);
    setup.projects = json!({"default": {"env": env}});
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    setup.env.push(("PATH", path.leak()));
    (Baton::start_with(setup).await, programs)
}

async fn run(baton: &Baton, kind: &str, params: &Value) -> (String, Value) {
    let id = baton.submit_body(json!({"project": "default", "type": kind, "params": params})).await;
    let ended = baton.until_ended(&id).await;
    (id, ended)
}

#[tokio::test]
async fn claude_code_runs_as_its_table_says() {
    let (baton, _programs) = start("claude-code.toml", json!({"ANTHROPIC_API_KEY": "not-a-key"})).await;
    let prompt = "--help\nsk-ant-0123456789abcdef012345 is a key";
    let (id, ended) = run(&baton, "claude-code", &json!({"prompt": prompt, "model": "opus"})).await;
    assert_eq!(ended["status"], "done", "{ended}");
    let said = json!({"status": "Bash: Try it", "cost_usd": 0.05, "tokens": {"input": 2020, "output": 60}, "result": "Done in 5 words."});
    assert_eq!(ended["report"], said);
    let log = baton.client.get(format!("{}/tasks/{id}/log", baton.url)).send().await.unwrap().text().await.unwrap();
    assert!(log.contains("\"model\": \"opus\"") && log.contains("\"permissionMode\": \"acceptEdits\""), "{log}");
    assert!(log.contains(r"--help\n*** is a key"), "what looks like a key is taken out: {log}");

    let (_, ended) = run(&baton, "claude-code", &json!({"prompt": "fail"})).await;
    assert_eq!(
        (&ended["status"], &ended["report"]["status"]),
        (&json!("failed"), &json!("API Error: it was asked to fail"))
    );
    let (_, ended) = run(&baton, "claude-code", &json!({"prompt": "one two three", "max_budget_usd": 0.02})).await;
    assert_eq!((&ended["exit_code"], &ended["report"]["cost_usd"]), (&json!(1), &json!(0.03)));
    let costly =
        json!({"project": "default", "type": "claude-code", "params": {"prompt": "a b c"}, "max_cost_usd": 0.02});
    let id = baton.submit_body(costly).await;
    assert_eq!(baton.until_ended(&id).await["reason"], "cost 0.03 USD, and may cost 0.02 USD at most");
    baton.until_nothing_left().await;
}

#[tokio::test]
async fn a_shell_script_runs_as_its_table_says() {
    let dumps = TempDir::new().unwrap();
    let (baton, _programs) = start("backup.toml", json!({"BACKUP_DIR": dumps.path()})).await;
    let files = || {
        let mut names: Vec<String> =
            dumps.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let params = json!({"database": "shop", "keep": 2, "passwords": "db.example:*:*:me:hunter2000"});
    let mut made = Vec::new();
    for _ in 0..3 {
        let (id, ended) = run(&baton, "backup", &params).await;
        assert_eq!((&ended["status"], &ended["report"]["progress"]), (&json!("done"), &json!(1.0)), "{ended}");
        assert_eq!(ended["params"]["passwords"], "***", "a secret param is never shown");
        assert!(ended["summary"].is_null() || !ended["summary"].as_str().unwrap().contains("hunter2000"));
        let log = baton.client.get(format!("{}/tasks/{id}/log", baton.url)).send().await.unwrap().text().await.unwrap();
        assert!(log.contains("passwords of db.example, mode 600, all of it: ***"), "{log}");
        made.push(ended["report"]["result"]["file"].as_str().unwrap().to_owned());
    }
    made.sort();
    assert_eq!(files().len(), 2);
    assert!(files().iter().all(|file| made.contains(file)), "{made:?}");
    let (_, ended) = run(&baton, "backup", &json!({"database": "shop", "compress": true, "keep": 100})).await;
    assert!(ended["report"]["result"]["file"].as_str().unwrap().ends_with(".sql.gz"), "{ended}");

    let id = baton.submit_body(json!({"project": "default", "type": "backup", "params": {"database": "away"}})).await;
    let waits = baton.until_task(&id, "status", "retrying").await;
    assert!(
        waits["last_update"]
            .as_str()
            .unwrap()
            .ends_with("exit code 75: connection to server failed: Connection refused"),
        "{waits}"
    );
    baton.stop(&id).await;
    baton.until_ended(&id).await;
    baton.until_nothing_left().await;
}
