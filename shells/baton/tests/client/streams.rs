//! Watching through connections that break: nothing is missed, nothing comes twice, and the end is the task's.

use crate::server::{Act, Server, event, json, stream};
use crate::{baton, command, picture};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

fn write(parts: &[String]) -> Act {
    Act::Write(parts.concat())
}

#[test]
fn a_connection_that_breaks_is_resumed_where_it_broke() {
    let half = event(3, "line", "three");
    let server = Server::new(vec![
        vec![write(&[
            stream(),
            event(1, "started", "Starting..."),
            event(2, "line", "two"),
            half[..half.len() / 2].into(),
        ])],
        vec![write(&[stream()])],
        vec![write(&[json("503 Unavailable", "{}")])],
        vec![write(&[stream(), event(3, "line", "three")]), Act::Pause, write(&[event(4, "done", "DONE")]), Act::Hold],
    ]);
    let output = baton(&server, &["watch", "abc"]);
    insta::assert_snapshot!("resumed", picture(&server, &output));
    let resumed: Vec<Option<String>> = server
        .asked()
        .iter()
        .map(|asked| asked.lines().find_map(|line| line.strip_prefix("last-event-id: ").map(str::to_owned)))
        .collect();
    assert_eq!(resumed, [None, Some("1-2".into()), Some("1-2".into()), Some("1-2".into())]);
}

#[test]
fn a_server_that_reads_its_log_again_knows_the_task_soon() {
    let unknown = r#"{"title":"There is no such task","status":404,"detail":"there is no task \"abc\""}"#;
    let server = Server::new(vec![
        vec![write(&[stream(), event(1, "started", "Starting...")])],
        vec![write(&[json("404 Not Found", unknown)])],
        vec![write(&[json("503 Unavailable", "{}")])], // readyz
        vec![write(&[stream(), event(2, "stopped", "STOPPED")])],
    ]);
    let output = baton(&server, &["watch", "abc"]);
    insta::assert_snapshot!("known_soon", picture(&server, &output));
    // One that is not known at all is no reason to wait.
    let server = Server::new(vec![vec![write(&[json("404 Not Found", unknown)])]]);
    insta::assert_snapshot!("unknown", picture(&server, &baton(&server, &["watch", "abc"])));
}

#[test]
fn json_is_a_frame_a_line() {
    let server = Server::new(vec![
        vec![write(&[json("202 Accepted", r#"{"task_id":"abc","status":"queued"}"#)])],
        vec![write(&[stream(), event(1, "line", "\u{1b}[31mred"), event(2, "failed", "FAILED: exit code 3")])],
    ]);
    let output = baton(&server, &["submit", "x", "-p", "p", "--watch", "--json"]);
    insta::assert_snapshot!("json", picture(&server, &output));
}

#[test]
fn a_pipe_gets_what_the_agent_wrote() {
    let server = Server::new(vec![vec![write(&[
        stream(),
        event(1, "line", "\u{1b}[31mred\u{1b}[2J\u{7}"),
        event(2, "line", ""),
        event(3, "truncated", "[4 earlier updates are gone]"),
        event(4, "done", "DONE"),
    ])]]);
    let output = baton(&server, &["watch", "abc", "--after", "1-0"]);
    assert_eq!(
        picture(&server, &output),
        "exit 0\n--- stdout\n\u{1b}[31mred\u{1b}[2J\u{7}\n\n[4 earlier updates are gone]\nDONE\n--- stderr\n"
    );
    assert!(server.asked().concat().contains("last-event-id: 1-0\r\n"));
}

#[test]
fn what_is_after_the_end_is_the_end() {
    let server = Server::new(vec![
        vec![Act::Write("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".into())],
        vec![write(&[json("200 OK", r#"{"task_id":"abc","status":"failed"}"#)])],
    ]);
    assert_eq!(
        picture(&server, &baton(&server, &["watch", "abc", "--after", "1-9"])),
        "exit 1\n--- stdout\n--- stderr\n"
    );
}

#[test]
fn a_stream_that_makes_no_sense_is_not_read_again() {
    let server = Server::new(vec![vec![write(&[stream(), "data: oops\n\n".into()]), Act::Hold]]);
    insta::assert_snapshot!("nonsense", picture(&server, &baton(&server, &["watch", "abc"])));
}

#[test]
fn ctrl_c_leaves_the_task_alone() {
    let server = Server::new(vec![vec![write(&[stream(), event(1, "started", "Starting...")]), Act::Hold]]);
    let mut child = command(&server, &["watch", "abc"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // A line is shown when it comes, not when there are many.
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "Starting...\n");
    let sent = std::process::Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    insta::assert_snapshot!("interrupted", picture(&server, &output));
    assert_eq!(server.asked().len(), 1, "nothing was stopped");
}
