//! The WebSocket: what a watcher sees, byte for byte, and what it may say.

use crate::world::{Frame, Served, masked, now, served, served_with, soon};
use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Topic, ValuesBuilder};
use baton_core::record::{Kind, ProgressRecord, TaskRecord};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;

const STORY: [&str; 4] = ["Starting...", "one", "two", "DONE"];

fn path(id: &TaskId, query: &str) -> String {
    format!("/tasks/{id}/watch{query}")
}

async fn bytes_after_the_head(served: &Served, path: &str, more: &str) -> Vec<u8> {
    let mut socket = served.watch(path, more).await;
    assert_eq!(socket.answer.status, 101);
    let mut bytes = vec![0; 16 * 1024];
    let mut count = 0;
    // Up to the close, which is answered, so that the server ends the connection.
    while !bytes[..count].windows(4).any(|w| w[..2] == [0x88, 2]) {
        count += soon(socket.stream.read(&mut bytes[count..])).await.unwrap();
    }
    socket.send(0x88, &[]).await;
    assert_eq!(soon(socket.stream.read(&mut bytes[count..])).await.unwrap(), 0, "nothing comes after the close");
    bytes.truncate(count);
    bytes
}

#[tokio::test]
async fn plain_frames_byte_for_byte() {
    let served = served().await;
    let id = served.finished().await;
    let bytes = bytes_after_the_head(&served, &path(&id, ""), "").await;
    assert_eq!(bytes, b"\x81\x0bStarting...\x81\x03one\x81\x03two\x81\x04DONE\x88\x02\x03\xe8");
}

#[tokio::test]
async fn json_frames_byte_for_byte() {
    let served = served().await;
    let id = served.finished().await;
    let by_query = bytes_after_the_head(&served, &path(&id, "?format=json&after=1-2"), "").await;
    let by_protocol =
        bytes_after_the_head(&served, &path(&id, "?after=1-2"), "Sec-WebSocket-Protocol: other, baton.v1\n").await;
    assert_eq!(by_query, by_protocol);
    let line = r#"{"id":"1-3","attempt":1,"seq":3,"kind":"line","update":"two","at":"2025-10-09T08:53:20.000Z"}"#;
    let done = r#"{"id":"1-4","attempt":1,"seq":4,"kind":"done","update":"DONE","at":"2025-10-09T08:53:20.000Z"}"#;
    let mut expected = Vec::new();
    for frame in [line, done] {
        expected.extend_from_slice(&[0x81, u8::try_from(frame.len()).unwrap()]);
        expected.extend_from_slice(frame.as_bytes());
    }
    expected.extend_from_slice(b"\x88\x02\x03\xe8");
    assert_eq!(by_query, expected);
}

#[tokio::test]
async fn the_opening_handshake_is_the_standards_own() {
    let served = served().await;
    let id = served.task().await;
    let socket = served.watch(&path(&id, ""), "").await;
    assert_eq!(socket.answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(socket.answer.header("sec-websocket-protocol"), None, "none was offered");
    let socket = served.watch(&path(&id, ""), "Sec-WebSocket-Protocol: baton.v1\n").await;
    assert_eq!(socket.answer.header("sec-websocket-protocol"), Some("baton.v1"));
    let old = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 8\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let answer = served.ask(&format!("GET {}\n{old}", path(&id, ""))).await;
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, Some("13")));
}

#[tokio::test]
async fn a_library_client_is_content() {
    use tokio_tungstenite::tungstenite::Message;
    let served = served().await;
    let id = served.finished().await;
    let request = format!("ws://{}{}", served.address, path(&id, ""));
    let (mut socket, _) = tokio_tungstenite::client_async(request, served.connect().await).await.unwrap();
    let mut texts = Vec::new();
    let code = loop {
        match soon(futures_util::StreamExt::next(&mut socket)).await.unwrap().unwrap() {
            Message::Text(text) => texts.push(text.to_string()),
            Message::Close(close) => break close.unwrap().code.into(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((texts, code), (STORY.map(str::to_owned).to_vec(), 1000_u16));
    assert!(soon(futures_util::StreamExt::next(&mut socket)).await.is_none(), "and the connection ends cleanly");
}

#[tokio::test]
async fn early_and_late_watchers_see_the_same() {
    let served = served().await;
    let id = served.task().await;
    let mut early = served.watch(&path(&id, ""), "").await;
    served.update(&id, 1, 1, &[(Kind::Started, "Starting...")]).await;
    assert_eq!(early.text().await, "Starting...");
    let mut midway = served.watch(&path(&id, ""), "").await;
    assert_eq!(midway.text().await, "Starting...");
    served.update(&id, 1, 2, &[(Kind::Line, "one")]).await;
    assert_eq!((early.text().await, midway.text().await), ("one".into(), "one".into()));
    served.update(&id, 1, 3, &[(Kind::Line, "two"), (Kind::Done, "DONE")]).await;
    for socket in [&mut early, &mut midway] {
        assert_eq!(socket.rest().await, (vec!["two".into(), "DONE".into()], 1000));
    }
    early.part().await;
    let mut late = served.watch(&path(&id, ""), "").await;
    assert_eq!(late.rest().await, (STORY.map(str::to_owned).to_vec(), 1000));
    let mut resumed = served.watch(&path(&id, "?after=1-4"), "").await;
    assert_eq!(resumed.rest().await, (vec![], 1000));
}

#[tokio::test]
async fn a_watcher_may_come_before_its_task() {
    let served = served().await;
    let id: TaskId = "elsewhere".parse().unwrap();
    let mut socket = served.watch(&path(&id, ""), "").await;
    // Heard although the task is not known yet, and not lost.
    socket.send(0x81, b"STOP").await;
    socket.send(0x89, b"there?").await;
    assert_eq!(socket.frame().await, Frame::Pong(b"there?".to_vec()));
    let record = TaskRecord { task_id: id.clone(), ..serde_task() };
    let mut values = ValuesBuilder::default();
    values.push_with(|buffer| buffer.extend_from_slice(&record.write()));
    served.append(Topic::Tasks, &id, values.take()).await;
    served.reaches(&id, "stopping").await;
}

fn serde_task() -> TaskRecord {
    TaskRecord::read(br#"{"task_id": "x", "project": "default", "type": "seed-db"}"#).unwrap()
}

#[tokio::test]
async fn a_watch_that_can_not_be_is_closed_by_its_code() {
    let served = served().await;
    let id = served.task().await;
    for (path, code, reason) in [
        (path(&id, "?after=x"), 4400, "after: must be the id of an update, such as 1-17 (attempt, then number)"),
        (path(&id, "?format=xml"), 4400, "format: must be json or plain"),
        (path(&id, "?from=1"), 4400, "from: is not a field of this query; there are: after, format"),
        (path(&id, "?after=%ff"), 4400, "\"%ff\" in the query is not UTF-8"),
        ("/tasks/..%2f/watch".into(), 4404, "there is no task \"..%2f\" here, or no longer"),
        ("/tasks/unknown/watch".into(), 4404, "there is no task \"unknown\" here, or no longer"),
    ] {
        let mut socket = served.watch(&path, "").await;
        assert_eq!(socket.frame().await, Frame::Close(code, reason.into()), "{path}");
        socket.part().await;
    }
}

#[tokio::test]
async fn one_stops_and_both_see_it() {
    let served = served().await;
    let id = served.task().await;
    let (mut one, mut other) = (served.watch(&path(&id, ""), "").await, served.watch(&path(&id, ""), "").await);
    served.update(&id, 1, 1, &[(Kind::Started, "Starting...")]).await;
    assert_eq!((one.text().await, other.text().await), ("Starting...".into(), "Starting...".into()));
    one.send(0x81, b"anything").await;
    one.send(0x01, b"{\"signal\"").await;
    one.send(0x80, b": \"STOP\"}").await;
    served.reaches(&id, "stopping").await;
    other.send(0x81, b" STOP\n").await;
    served.update(&id, 1, 2, &[(Kind::Stopped, "STOPPED")]).await;
    assert_eq!(one.rest().await, (vec!["STOPPED".into()], 1000));
    assert_eq!(other.rest().await, (vec!["STOPPED".into()], 1000));
}

#[tokio::test]
async fn a_stop_counts_though_its_sender_leaves_at_once() {
    let served = served().await;
    let id = served.task().await;
    let mut socket = served.watch(&path(&id, ""), "").await;
    served.update(&id, 1, 1, &[(Kind::Started, "Starting...")]).await;
    socket.text().await;
    socket.send(0x81, b"STOP").await;
    drop(socket);
    served.reaches(&id, "stopping").await;
}

#[tokio::test]
async fn a_stop_may_come_with_the_handshake() {
    let served = served().await;
    let id = served.task().await;
    let mut stream = served.connect().await;
    let upgrade = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
    let mut bytes = served.head(&format!("GET {}", path(&id, "")), upgrade).into_bytes();
    bytes.extend(masked(0x81, b"STOP"));
    stream.write_all(&bytes).await.unwrap();
    served.reaches(&id, "stopping").await;
}

#[tokio::test]
async fn a_stop_that_is_not_taken_is_said() {
    let served = served().await;
    let id = served.task().await;
    let mut socket = served.watch(&path(&id, ""), "").await;
    served.log.refuses.store(true, Ordering::Relaxed);
    socket.send(0x81, b"STOP").await;
    let reason = "the STOP was not taken, send it again: the log is unavailable: the disk is full";
    assert_eq!(socket.frame().await, Frame::Close(1013, reason.into()));
}

#[tokio::test]
async fn clients_that_break_the_protocol_are_told_how() {
    let served = served().await;
    let id = served.task().await;
    for (bytes, code) in [
        (vec![0x81, 4, b'S', b'T', b'O', b'P'], 1002),
        (masked(0xc1, b"STOP"), 1002),
        (masked(0x82, b"STOP"), 1003),
        (masked(0x81, b"\xff"), 1007),
        (masked(0x81, &[b'x'; 4097]), 1009),
    ] {
        let mut socket = served.watch(&path(&id, ""), "").await;
        socket.stream.write_all(&bytes).await.unwrap();
        let Frame::Close(told, _) = socket.frame().await else { panic!("not closed: {bytes:?}") };
        assert_eq!(told, code);
        assert_eq!(socket.frame().await, Frame::End);
    }
    assert_eq!(served.api.view(&id).unwrap().status.name(), "queued", "none of them was a STOP");
}

#[tokio::test]
async fn pings_are_answered_and_a_close_is_echoed() {
    let served = served().await;
    let id = served.task().await;
    let mut socket = served.watch(&path(&id, ""), "").await;
    socket.send(0x89, b"hello").await;
    assert_eq!(socket.frame().await, Frame::Pong(b"hello".to_vec()));
    socket.send(0x88, b"\x03\xe9away").await;
    assert_eq!(socket.frame().await, Frame::Close(1001, String::new()));
    assert_eq!(socket.frame().await, Frame::End);
}

#[tokio::test]
async fn who_answers_no_ping_is_told_to_come_back() {
    let served = served_with(|options| options.ping_every = Duration::from_millis(20)).await;
    let id = served.task().await;
    let mut socket = served.watch(&path(&id, ""), "").await;
    for _ in 0..5 {
        assert_eq!(socket.frame().await, Frame::Ping);
        socket.send(0x8a, b"").await;
    }
    let mut pings = 0;
    let code = loop {
        match socket.frame().await {
            Frame::Ping => pings += 1,
            Frame::Close(code, _) => break code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((pings, code), (2, 1013));
}

/// Far more than the buffers of a loopback connection take.
async fn flood(served: &Served, id: &TaskId) -> u64 {
    const BATCHES: u64 = 400;
    const LINES: u64 = 40;
    let line = "x".repeat(1000);
    for batch in 0..BATCHES {
        let mut values = ValuesBuilder::default();
        for seq in batch * LINES + 1..=(batch + 1) * LINES {
            let record = ProgressRecord::new(id, UpdateId { attempt: 1, seq }, Kind::Line, now(), line.as_str());
            values.push_with(|buffer| record.write_to(buffer));
        }
        served.append(Topic::Progress, id, values.take()).await;
    }
    BATCHES * LINES
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody_and_is_heard_and_misses_nothing() {
    let served = served().await;
    let id = served.task().await;
    let (mut slow, mut quick) = (served.watch(&path(&id, ""), "").await, served.watch(&path(&id, ""), "").await);
    let lines = flood(&served, &id).await;
    for _ in 0..lines {
        assert_eq!(quick.text().await.len(), 1000);
    }
    slow.send(0x81, b"STOP").await;
    served.reaches(&id, "stopping").await;
    served.update(&id, 1, lines + 1, &[(Kind::Stopped, "STOPPED")]).await;
    assert_eq!(quick.rest().await, (vec!["STOPPED".into()], 1000));
    let (texts, code) = slow.rest().await;
    assert_eq!((texts.len() as u64, texts.last().map(String::as_str), code), (lines + 1, Some("STOPPED"), 1000));
}

#[tokio::test]
async fn a_watcher_that_takes_nothing_is_dropped() {
    let served = served_with(|options| {
        options.stalled_after = Duration::from_millis(50);
        options.ping_every = Duration::from_millis(20);
        options.max_watchers = 1;
    })
    .await;
    let id = served.task().await;
    let stalled = served.watch(&path(&id, ""), "").await;
    flood(&served, &id).await;
    // Its place comes free while it still holds its end of the connection.
    soon(async {
        while served.watch(&path(&id, ""), "").await.answer.status != 101 {
            yield_now().await;
        }
    })
    .await;
    drop(stalled);
}

#[tokio::test]
async fn a_long_line_and_an_odd_one_break_no_frame() {
    let served = served().await;
    let id = served.task().await;
    let odd = "\0\u{1b}[1m\u{2028}é\r";
    let lines: Vec<String> = [125, 126, 65_535, 65_536, 200_000].map(|length| "y".repeat(length)).to_vec();
    let mut updates = vec![(Kind::Line, odd), (Kind::Line, ""), (Kind::Line, "DONE")];
    updates.extend(lines.iter().map(|line| (Kind::Line, line.as_str())));
    updates.push((Kind::Failed, "FAILED: exit code 3"));
    served.update(&id, 1, 1, &updates).await;
    let mut socket = served.watch(&path(&id, ""), "").await;
    let expected: Vec<String> = updates.iter().map(|(_, text)| (*text).to_owned()).collect();
    assert_eq!(socket.rest().await, (expected, 1000));
}
