//! What is read of agents' lines: a transcript of each shape, and a picture of what is known after each of its lines.
#![allow(clippy::unwrap_used)]

use baton_core::agent_report::{Cost, Listener, MAX_RESULT, MAX_STATUS, Spent, Tokens};
use baton_core::redact::Secrets;
use proptest::prelude::*;
use std::fmt::Write as _;

fn check(name: &str, transcript: &str) {
    let mut listener = Listener::new(Spent::default());
    listener.redact(Secrets::new(["hunter2000"]));
    let mut picture = String::new();
    for line in transcript.lines() {
        let wrong = listener.hear(line);
        writeln!(picture, "{}", line.chars().take(120).collect::<String>()).unwrap();
        if let Some(news) = listener.news() {
            writeln!(picture, "  > {}", serde_json::to_string(&news).unwrap()).unwrap();
        }
        if let Some(wrong) = wrong {
            writeln!(picture, "  ! {wrong}").unwrap();
        }
    }
    writeln!(picture, "In the end: {}", serde_json::to_string(listener.report()).unwrap()).unwrap();
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(name, picture);
    });
}

#[test]
fn claude_code_is_understood() {
    check("claude", include_str!("agents/claude.jsonl"));
    check("claude_failed", include_str!("agents/claude_failed.jsonl"));
}

#[test]
fn codex_is_understood() {
    check("codex", include_str!("agents/codex.jsonl"));
}

#[test]
fn batons_own_shape_is_understood_member_by_member() {
    check("baton", include_str!("agents/baton.jsonl"));
}

#[test]
fn what_earlier_attempts_spent_is_added_and_nothing_else_stays() {
    let spent = Spent { cost: Cost::of_usd(0.5), tokens: Some(Tokens { input: 100, output: 10 }) };
    let mut listener = Listener::new(spent);
    assert_eq!(listener.news(), None, "nothing was said yet");
    listener.hear(r#"{"baton": {"cost_usd": 0.25, "tokens": {"output": 1}, "progress": 0.1}}"#);
    let expected = r#"{"progress":0.1,"cost_usd":0.75,"tokens":{"input":100,"output":11}}"#;
    assert_eq!(serde_json::to_string(&listener.news()).unwrap(), expected);
    let again = Listener::new(listener.report().spent());
    assert_eq!(
        serde_json::to_string(again.report()).unwrap(),
        r#"{"cost_usd":0.75,"tokens":{"input":100,"output":11}}"#
    );
}

#[test]
fn what_is_said_is_bounded() {
    let mut listener = Listener::default();
    let say = |listener: &mut Listener, member: &str, text: &str| {
        listener.hear(&format!(r#"{{"baton": {{"{member}": "{text}"}}}}"#))
    };
    assert_eq!(say(&mut listener, "status", &"é ".repeat(50_000)), None);
    assert_eq!(listener.report().status.as_ref().unwrap().chars().count(), MAX_STATUS + 1);
    assert_eq!(say(&mut listener, "result", &"x".repeat(MAX_RESULT - 2)), None);
    let wrong = say(&mut listener, "result", &"x".repeat(MAX_RESULT)).unwrap();
    assert!(wrong.contains("result has 65538 bytes, and may have 65536"), "{wrong}");
    assert!(listener.report().result.is_some(), "what was taken before stays");
    let mut listener = Listener::default();
    let wrong = say(&mut listener, &"x".repeat(60_000), "").unwrap();
    assert!(wrong.len() < 300, "{wrong}");
}

/// Messages of agents that work side by side mix, and each is told several times.
#[test]
fn a_message_counts_once_however_often_it_is_told() {
    let mut listener = Listener::default();
    for round in 1..=3 {
        for message in 0..40 {
            listener.hear(&format!(
                r#"{{"type":"assistant","message":{{"id":"msg_{message}","content":[],"usage":{{"input_tokens":100,"output_tokens":{round}}}}}}}"#
            ));
        }
    }
    assert_eq!(listener.report().tokens, Some(Tokens { input: 4000, output: 120 }));
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(text in r#"\{"(baton|type)": (\{"[a-z_]{0,8}": [^\n]{0,9}\}|"(assistant|result|item.completed)", [^\n]{0,30}|5)\}"#) {
        Listener::default().hear(&text);
    }
}
