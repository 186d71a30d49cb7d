//! Answers that are no stream: what is shown of them, and the exit code.

use crate::server::{Act, Server, answer, json};
use crate::{baton, command, picture};
use std::process::Stdio;

const PROBLEM: &str = "application/problem+json";

fn check(name: &str, arguments: &[&str], answers: &[&str]) {
    let server = Server::answering(answers);
    let output = baton(&server, arguments);
    insta::assert_snapshot!(name, picture(&server, &output));
}

#[test]
fn a_refusal_is_shown_field_by_field() {
    let body = r#"{"type":"/problems/invalid","title":"The request is not valid","status":422,"detail":"…",
        "errors":[{"field":"params.file_path","reason":"must be a string"},{"field":"project","reason":"is missing"}]}"#;
    check("refused", &["submit", "x", "run", "file_path=7", "-p", "p"], &[&answer("422 Invalid", PROBLEM, body)]);
    let body = r#"{"type":"/problems/invalid","title":"The request is not valid","status":422,"detail":"…",
        "errors":[{"field":"command","reason":"must be left out: this type has no commands"}]}"#;
    check("no_commands", &["submit", "seed-db", "reset", "-p", "p"], &[&answer("422 Invalid", PROBLEM, body)]);
    let body = r#"{"type":"/problems/already-ended","title":"The task has ended","status":409,"detail":"the task abc has ended already: DONE"}"#;
    check("ended", &["stop", "abc"], &[&answer("409 Conflict", PROBLEM, body)]);
}

#[test]
fn what_is_no_baton_is_said() {
    check("error_page", &["ls"], &[&answer("500 Internal Server Error", "text/html", "<h1>Oops</h1>")]);
    check("not_json", &["show", "abc"], &[&answer("200 OK", "text/html", "<h1>Welcome</h1>")]);
    check("other_json", &["ls"], &[&json("200 OK", "[]")]);
    check("redirect", &["ls"], &[&answer("302 Found", "text/plain", "")]);
    check("login_page", &["watch", "abc"], &[&answer("200 OK", "text/html", "<h1>Log in</h1>")]);
    check("cut_short", &["ls"], &["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"tasks\""]);
}

#[test]
fn a_server_that_can_not_do_it_now_is_told_from_a_refusal() {
    let body = r#"{"type":"/problems/unavailable","title":"The service can't do this now","status":503,"detail":"the server is shutting down, and takes no new tasks"}"#;
    check("unavailable", &["submit", "x", "-p", "p"], &[&answer("503 Unavailable", PROBLEM, body)]);
    let server = Server::new(vec![]);
    let gone = server.url.clone();
    drop(server);
    let output = baton(&Server::new(vec![]), &["ls", "--server", &gone]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with(&format!("baton: could not reach {gone}: ")), "{said}");
    assert!(said.contains("Is `baton dev` running?"), "{said}");
}

#[test]
fn a_submission_says_what_was_typed() {
    let server = Server::answering(&[&json("202 Accepted", r#"{"task_id":"abc","status":"queued"}"#)]);
    let arguments = [
        "submit",
        "agent",
        "run",
        "input=Analyze Q1",
        "n=3",
        "dry",
        "on=false",
        "zip=007",
        "list:=[1,\"2\"]",
        "-p",
        "default",
        "--timeout-s",
        "60",
        "--max-attempts",
        "2",
        "--idempotency-key",
        "k 1",
    ];
    let output = baton(&server, &arguments);
    assert_eq!(picture(&server, &output), "exit 0\n--- stdout\nabc\n--- stderr\n");
    let asked = server.asked().concat();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /tasks HTTP/1.1\r\n") && head.contains("\r\nidempotency-key: k 1"), "{head}");
    assert_eq!(
        body,
        r#"{"project":"default","type":"agent","command":"run","params":{"input":"Analyze Q1","n":3,"dry":true,"on":false,"zip":"007","list":[1,"2"]},"timeout_s":60,"max_attempts":2}"#
    );
}

#[test]
fn a_list_is_read_page_by_page() {
    let page = |id: &str, cursor: &str| {
        json("200 OK", &format!(r#"{{"tasks":[{{"task_id":"{id}","status":"done"}}],"next_cursor":{cursor}}}"#))
    };
    let all = Server::answering(&[&page("a", "\"c1\""), &page("b", "null")]);
    let output = baton(&all, &["ls", "--all", "--json", "-p", "x", "-p", "y"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    let asked: Vec<String> = all.asked().iter().map(|a| a.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        asked,
        [
            "GET /tasks?project=x&project=y&limit=500 HTTP/1.1",
            "GET /tasks?project=x&project=y&limit=500&cursor=c1 HTTP/1.1"
        ]
    );
    check("more", &["ls", "-n", "1"], &[&page("a", "\"c1\"")]);
    check("none", &["ls"], &[&json("200 OK", r#"{"tasks":[],"next_cursor":null}"#)]);
    check("none_like_that", &["ls", "-s", "failed"], &[&json("200 OK", r#"{"tasks":[],"next_cursor":null}"#)]);
}

#[test]
fn this_machine_needs_no_proxy_and_no_certificates() {
    let server = Server::answering(&[&json("200 OK", r#"{"tasks":[],"next_cursor":null}"#)]);
    let mut listing = command(&server, &["ls"]);
    listing
        .env("http_proxy", "http://127.0.0.1:1")
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent");
    assert_eq!(listing.output().unwrap().status.code(), Some(0));
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let tasks: Vec<String> = (0..5000).map(|n| format!(r#"{{"task_id":"t{n}","status":"done"}}"#)).collect();
    let body = format!(r#"{{"tasks":[{}],"next_cursor":null}}"#, tasks.join(","));
    let server = Server::new(vec![vec![Act::Write(json("200 OK", &body))]]);
    let mut child = command(&server, &["ls", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
