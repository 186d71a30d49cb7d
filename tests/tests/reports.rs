//! What agents say of their work, from their lines to everybody who looks.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, assert_whole, frames, json_frames};
use serde_json::{Value, json};

/// A transcript of the core's own tests.
fn transcript(name: &str) -> String {
    baton_tests::root().join("core/tests/agents").join(name).display().to_string()
}

async fn reported(baton: &Baton, name: &str) -> (String, Value) {
    let id = baton.submit("reporter", json!({"text": transcript(name)})).await;
    let ended = baton.until_ended(&id).await;
    assert_eq!(ended["status"], "done", "{ended}");
    (id, ended["report"].clone())
}

#[tokio::test]
async fn each_shape_is_read_shown_and_kept() {
    let mut baton = Baton::start(&["--max-line", "1MiB"]).await;
    let (claude, of_claude) = reported(&baton, "claude.jsonl").await;
    assert_eq!(
        of_claude,
        json!({"progress": 0.3333, "status": "Read: /srv/shop/cart.ts", "cost_usd": 0.254_648,
            "tokens": {"input": 42810, "output": 260}, "result": "Fixed: the cart rounded twice."})
    );
    let (_, of_codex) = reported(&baton, "codex.jsonl").await;
    assert_eq!(of_codex["tokens"], json!({"input": 24763, "output": 122}));
    let (own, of_own) = reported(&baton, "baton.jsonl").await;
    assert_eq!(of_own["progress"], 1.0);

    // Plain frames are the lines as they are; in JSON each that says something new has all that was said by then.
    let lines = std::fs::read_to_string(transcript("claude.jsonl")).unwrap();
    let (seen, _) = frames(&baton, &claude).await;
    assert_eq!(seen[1..seen.len() - 1], lines.lines().collect::<Vec<_>>());
    let seen = json_frames(&baton, &claude, "").await;
    assert_whole(&seen);
    assert_eq!(seen[2]["report"]["tokens"], json!({"input": 21004, "output": 8}));
    assert!(seen[1].get("report").is_none() && seen[4].get("report").is_none(), "{seen:?}");
    assert_eq!(seen.last().unwrap()["report"], of_claude);
    let noted = frames(&baton, &own).await.0.into_iter().filter(|text| text.starts_with("[not taken")).count();
    assert_eq!(noted, 1);

    let listed = baton.get_json("/tasks").await["tasks"].as_array().unwrap().last().unwrap()["report"].clone();
    assert_eq!((&listed["cost_usd"], listed.get("result")), (&of_claude["cost_usd"], None));
    let shown = baton_tests::baton(&["show", &claude, "--server", &baton.url]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for words in ["33 %", "0.254648 USD", "42810 in, 260 out", "Fixed: the cart rounded twice."] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    baton.kill();
    let baton = baton.restart().await;
    assert_eq!(baton.task(&claude).await["report"], of_claude, "another API reads the same from the log");
    assert_eq!(json_frames(&baton, &claude, "").await, seen);
}

#[tokio::test]
async fn a_budget_ends_its_task_and_counts_all_attempts() {
    let baton = Baton::start(&[]).await;
    let dir = baton.dir().display().to_string();
    let cost = |name: &str, cost: f64| {
        let path = format!("{dir}/{name}.jsonl");
        std::fs::write(&path, format!("{{\"baton\": {{\"cost_usd\": {cost}, \"progress\": 0.5}}}}\n")).unwrap();
        path
    };
    let body = |text: &str, lines: u32| json!({"project": "default", "type": "reporter", "params": {"text": text, "lines": lines}, "max_cost_usd": 0.5});
    let spends = baton.submit_body(body(&cost("spend", 0.75), 0)).await;
    let ended = baton.until_ended(&spends).await;
    assert_eq!(ended["reason"], "cost 0.75 USD, and may cost 0.5 USD at most");
    assert_eq!((&ended["ending"]["cause"], &ended["signal"]), (&json!("cost-limit"), &json!(15)));
    assert_eq!(ended["report"], json!({"progress": 0.5, "cost_usd": 0.75}));

    // Each attempt costs 0.2: two of them fail and are worth another, and the third goes beyond.
    let again = baton.submit_body(body(&cost("again", 0.2), 3)).await;
    let ended = baton.until_ended(&again).await;
    assert_eq!(ended["reason"], "cost 0.6 USD, and may cost 0.5 USD at most");
    assert_eq!((&ended["attempt"], &ended["report"]["cost_usd"]), (&json!(3), &json!(0.6)));
    let costs: Vec<Value> = json_frames(&baton, &again, "")
        .await
        .into_iter()
        .filter(|frame| frame["kind"] == "retrying")
        .map(|frame| frame["report"]["cost_usd"].clone())
        .collect();
    assert_eq!(costs, [json!(0.2), json!(0.4)]);

    let bad = baton
        .client
        .post(format!("{}/tasks", baton.url))
        .json(&json!({"project": "default", "type": "silent", "max_cost_usd": 0}));
    let bad: Value = bad.send().await.unwrap().json().await.unwrap();
    assert_eq!(
        bad["errors"][0],
        json!({"field": "max_cost_usd", "reason": "must be a number of US dollars, more than 0 and at most 1000000"})
    );
    baton.until_nothing_left().await;
}
