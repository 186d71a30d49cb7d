//! Kafka's clients that are none of Baton's: those that keep to the plan work, and what others write harms nobody.
#![allow(clippy::unwrap_used)]

use baton_tests::{Baton, ForeignProducer, OnKafka, PARTITIONS, Place, frames, read_all, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a foreign consumer of `task-progress` reads of a task: `update` is all that it knows.
fn updates(kafka: &OnKafka, id: &str) -> Vec<String> {
    let values = read_all(kafka, &kafka.topic("task-progress"), PARTITIONS);
    let records = values.iter().map(|value| serde_json::from_slice::<Value>(value).unwrap());
    let of_this = records.filter(|record| record["task_id"] == id);
    of_this.map(|record| record["update"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn clients_that_know_the_plan_alone_submit_follow_and_stop() {
    let kafka = OnKafka::new().await;
    let (api, _worker) = tokio::join!(kafka.api(), kafka.worker(&[]));
    let producer = ForeignProducer::new(&kafka);
    let (tasks, control) = (kafka.topic("tasks"), kafka.topic("task-control"));
    let asked = |id: &str, kind: &str, params: Value| {
        json!({"task_id": id, "project": "default", "type": kind, "params": params}).to_string()
    };

    producer.say(&tasks, Some("foreign"), &asked("foreign", "lines", json!({"lines": 3, "text": "x"}))).await;
    let ended = api.until_ended("foreign").await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("done"), &json!(1)), "{ended}");
    let seen = frames(&api, "foreign").await.0;
    assert_eq!(seen.len(), 5);
    assert_eq!(updates(&kafka, "foreign"), seen, "watchers and consumers read the same");

    // Without keys, wherever that is.
    producer.say(&tasks, None, &asked("keyless", "silent", json!({}))).await;
    api.until_task("keyless", "last_update", "ready").await;
    producer.say(&control, None, &json!({"task_id": "keyless", "signal": "STOP"}).to_string()).await;
    api.until_task("keyless", "status", "stopped").await;
    let said = updates(&kafka, "keyless");
    assert_eq!((said[0].as_str(), said.last().unwrap().as_str()), ("Starting...", "STOPPED"));

    // No API has checked these, so the worker does.
    producer.say(&tasks, Some("typo"), &asked("typo", "lines", json!({"linse": 3}))).await;
    let refused = api.until_ended("typo").await;
    assert_eq!(refused["status"], "failed");
    assert!(refused["reason"].as_str().unwrap().contains("linse"), "{refused}");
}

/// What nobody can read as a record of any topic, each with its key.
fn garbage() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let of_another = json!({
        "task_id": "another", "project": "default", "type": "lines", "params": {}, "update": "x", "signal": "GO",
        "reason": "x", "attempts": 1, "at": "2026-01-01T00:00:00Z",
    });
    let wrong = json!({"task_id": 7, "project": [], "type": {}, "params": 1, "update": 2, "signal": 3, "reason": {}});
    vec![
        ("no-json", Some(b"not JSON at all".to_vec())),
        ("no-text", Some(b"\xff\xfe\x00\x80".to_vec())),
        ("wrong-types", Some(wrong.to_string().into_bytes())),
        ("an-array", Some(b"[]".to_vec())),
        ("too-deep", Some(b"[".repeat(50_000))),
        ("a-megabyte", Some(vec![b'x'; 1024 * 1024])),
        ("of-another", Some(of_another.to_string().into_bytes())),
        ("../no/key", Some(b"{}".to_vec())),
        ("empty", Some(Vec::new())),
        ("tombstone", None),
    ]
}

/// The places of what this process has logged to be unreadable of a topic.
fn skipped(baton: &Baton, topic: &str) -> BTreeSet<Place> {
    let lines = baton.logs();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter(|line| line["message"] == "skipped a record that can't be read" && line["topic"] == topic);
    let place =
        |line: Value| (i32::try_from(line["partition"].as_i64().unwrap()).unwrap(), line["offset"].as_i64().unwrap());
    lines.map(place).collect()
}

async fn until_skipped(baton: &Baton, topic: &str, places: &[Place]) {
    let expected: BTreeSet<Place> = places.iter().copied().collect();
    until(&format!("{topic} to be read over"), async || (skipped(baton, topic) == expected).then_some(())).await;
    let counts =
        baton.logs().iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["so_far"].as_u64()).max();
    assert!(counts.unwrap() >= expected.len() as u64, "they are counted");
}

#[tokio::test]
async fn garbage_on_every_topic_is_told_and_passed_over_and_dead_lettered_where_it_was_to_be_a_task() {
    let kafka = OnKafka::new().await;
    let (api, mut worker) = tokio::join!(kafka.api(), kafka.worker(&[]));
    let producer = ForeignProducer::new(&kafka);
    let mut places: [Vec<Place>; 5] = Default::default();
    let topics = ["tasks", "task-control", "task-progress", "tasks-dlq", "task-presence"];
    for (topic, places) in topics.iter().zip(&mut places) {
        for (number, (key, value)) in (0..).zip(garbage()) {
            let partition = number % i32::from(PARTITIONS);
            let place = producer.write(&kafka.topic(topic), Some(partition), Some(key), value.as_deref()).await;
            // A purge of no letter is no garbage.
            if *topic != "tasks-dlq" || value.is_some_and(|value| !value.is_empty()) {
                places.push(place);
            }
        }
    }
    let [tasks, control, ..] = &places;
    // A task in each partition, behind all that.
    let mut ids = Vec::new();
    for partition in 0..i32::from(PARTITIONS) {
        let id = format!("behind-{partition}");
        let task = json!({"task_id": id, "project": "default", "type": "lines", "params": {"lines": 1}}).to_string();
        producer.write(&kafka.topic("tasks"), Some(partition), Some(&id), Some(task.as_bytes())).await;
        ids.push(id);
    }
    for id in &ids {
        assert_eq!(api.until_ended(id).await["status"], "done");
    }
    until_skipped(&worker, "tasks", tasks).await;
    until_skipped(&worker, "task-control", control).await;
    let late = kafka.api().await;
    for api in [&api, &late] {
        for (topic, places) in topics.iter().zip(&places) {
            until_skipped(api, topic, places).await;
        }
        let listed = until("the dead letters", async || {
            let page = api.get_json("/dead-letters?limit=100").await;
            Some(page["dead_letters"].as_array()?.clone()).filter(|letters| letters.len() == tasks.len())
        })
        .await;
        for (partition, offset) in tasks {
            let reason = format!("tasks[{partition}]@{offset} can't be read: ");
            let is_this = |letter: &Value| letter["reason"].as_str().unwrap().starts_with(&reason);
            assert!(listed.iter().any(is_this), "{reason} is not among {listed:?}");
        }
    }
    assert_eq!(frames(&late, &ids[0]).await, frames(&api, &ids[0]).await);

    // Who comes after passes over it once more, and writes no second letter.
    worker.signal("TERM");
    assert_eq!(worker.finished().await.code, Some(0));
    let heir = kafka.worker(&[]).await;
    let id = api.submit("lines", json!({"lines": 1})).await;
    assert_eq!(api.until_ended(&id).await["status"], "done");
    until_skipped(&heir, "task-control", control).await;
    let written = read_all(&kafka, &kafka.topic("tasks-dlq"), PARTITIONS);
    let written = written.iter().filter(|letter| String::from_utf8_lossy(letter).contains("can't be read: "));
    assert_eq!(written.count(), tasks.len());
}
