//! Dead letters: what failed for good is found, run again once, and purged; from the command line, and over restarts.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, baton as baton_command, until};
use serde_json::{Value, json};

/// Runs `baton dlq` against this server; gives its exit code, its output and its errors.
fn dlq(baton: &Baton, arguments: &[&str]) -> (i32, String, String) {
    let output = baton_command(&[&["dlq"], arguments, &["--server", &baton.url]].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Submits a task that fails, and waits until its dead letter is listed.
async fn failed(baton: &Baton, text: &str) -> String {
    let id = baton.submit("exits", json!({"code": 3, "text": text})).await;
    assert_eq!(baton.until_ended(&id).await["status"], "failed");
    until("the dead letter", async || (dlq(baton, &["show", &id]).0 == 0).then_some(())).await;
    id
}

#[tokio::test]
async fn a_failed_task_is_shown_redriven_and_purged() {
    let baton = Baton::start(&[]).await;
    assert_eq!(dlq(&baton, &["ls"]), (0, String::new(), "There are no dead letters".into()));
    let id = failed(&baton, "no such table").await;

    let (code, table, _) = dlq(&baton, &["ls", "--reason", "NO SUCH", "--type", "exits"]);
    assert!(code == 0 && table.contains(&id) && table.contains("exit code 3: no such table"), "{table}");
    let (code, page, _) = dlq(&baton, &["show", &id]);
    assert!(code == 0 && page.contains("reason        exit code 3: no such table"), "{page}");
    let shown = &json_lines(&dlq(&baton, &["show", &id, "--json"]).1)[0];
    assert_eq!((&shown["task"]["params"]["code"], &shown["attempts"]), (&json!(3), &json!(1)));
    assert_eq!(shown["last_lines"], json!(["no such table"]));

    let (code, said, _) = dlq(&baton, &["redrive", &id]);
    let new = said.strip_prefix(&format!("{id}  ")).unwrap().to_owned();
    assert_eq!(code, 0);
    let task = baton.until_ended(&new).await;
    assert_eq!(task["redriven_from"]["task_id"], id);
    assert_eq!(task["redriven_from"]["reason"], "exit code 3: no such table");
    let again = &json_lines(&dlq(&baton, &["redrive", &id, "--json"]).1)[0];
    assert_eq!((&again["task_id"], &again["status"]), (&json!(new), &json!("failed")), "one letter, one task");
    assert_eq!(json_lines(&dlq(&baton, &["show", &id, "--json"]).1)[0]["redriven_as"], new);
    until("the second dead letter", async || (dlq(&baton, &["show", &new]).0 == 0).then_some(())).await;
    let second = &json_lines(&dlq(&baton, &["show", &new, "--json"]).1)[0];
    assert_eq!(second["history"][0]["task_id"], id, "it keeps why it was redriven");
    let (code, _, said) = dlq(&baton, &["redrive", &new, "--same-id"]);
    assert!(code == 1 && said.contains(&format!("{new}: The task's id can't be used again yet (409)")), "{said}");

    assert_eq!(dlq(&baton, &["purge", &id]).1, format!("{id} is purged"));
    let (code, _, said) = dlq(&baton, &["purge", &id]);
    assert!(code == 1 && said.contains("There is no such dead letter (404)"), "{said}");
}

#[tokio::test]
async fn what_was_purged_or_redriven_stays_so_when_baton_is_killed() {
    let mut baton = Baton::start(&[]).await;
    let (purged, kept) = (failed(&baton, "a").await, failed(&baton, "b").await);
    let (_, said, _) = dlq(&baton, &["redrive", &kept]);
    assert_eq!(dlq(&baton, &["purge", &purged]).0, 0);
    baton.kill();
    let baton = baton.restart().await;
    until("the dead letters", async || (dlq(&baton, &["ls"]).0 == 0).then_some(())).await;
    assert!(dlq(&baton, &["show", &purged]).2.contains("(404)"));
    assert_eq!(dlq(&baton, &["redrive", &kept]).1, said, "the same task");
}

#[tokio::test]
async fn many_are_redriven_and_purged_at_once_by_what_is_in_them() {
    let baton = Baton::start(&[]).await;
    let ids = [failed(&baton, "disk full").await, failed(&baton, "timeout").await, failed(&baton, "disk full").await];
    let listed = json_lines(&dlq(&baton, &["ls", "--json", "-n", "2"]).1);
    assert_eq!(listed.iter().map(|letter| letter["id"].as_str().unwrap()).collect::<Vec<_>>(), [&ids[2], &ids[1]]);
    let (code, said, _) = dlq(&baton, &["redrive", "--all", "--reason", "disk"]);
    let redriven: Vec<&str> = said.lines().map(|line| line.split_once("  ").unwrap().0).collect();
    assert_eq!((code, redriven), (0, vec![ids[2].as_str(), ids[0].as_str()]));
    let (code, said, remark) = dlq(&baton, &["purge", "--all", "--older-than", "1h"]);
    assert_eq!((code, said.as_str(), remark.as_str()), (0, "", "No dead letter is like that"));
    let (code, said, _) = dlq(&baton, &["purge", &ids[0], "no-such-letter", &ids[1]]);
    assert_eq!((code, said), (1, format!("{} is purged\n{} is purged", ids[0], ids[1])), "the others are purged");
    for arguments in
        [&["purge"][..], &["redrive", "x", "--all"], &["purge", "x", "--reason", "y"], &["ls", "--older-than", "x"]]
    {
        assert_eq!(dlq(&baton, arguments).0, 2, "{arguments:?}");
    }
}
