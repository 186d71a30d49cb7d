//! Dead letters over HTTP: each call, and what is refused of them.

use crate::calls::story;
use crate::world::{Served, now, served, soon};
use baton_core::hub::LettersQuery;
use baton_core::id::TaskId;
use baton_core::log::{Topic, Values};
use baton_core::record::{DeadLetter, TaskRecord};
use std::sync::atomic::Ordering;
use tokio::task::yield_now;

async fn fail(served: &Served, name: &str, reason: &str) {
    let id: TaskId = name.parse().unwrap();
    let task =
        format!(r#"{{"task_id": "{name}", "project": "default", "type": "seed-db", "params": {{"reset": true}}}}"#);
    let letter = DeadLetter {
        task_id: Some(id.clone()),
        task: Some(TaskRecord::read(task.as_bytes()).unwrap()),
        unreadable: None,
        reason: reason.into(),
        attempts: 1,
        tally: None,
        earlier: Vec::new(),
        last_lines: vec!["no such table".into()],
        at: now(),
    };
    served.append(Topic::DeadLetters, &id, Values::one(letter.write())).await;
}

/// Waits until so many letters are known.
async fn known(served: &Served, count: usize) {
    let letters = || served.api.letters(&LettersQuery::default()).map(|page| page.dead_letters.len());
    soon(async {
        while letters() != Ok(count) {
            yield_now().await;
        }
    })
    .await;
}

async fn with_letters() -> Served {
    let served = served().await;
    fail(&served, "abc", "exit code 3: no such table").await;
    fail(&served, "def", "timed out").await;
    let text =
        r#"{"unreadable": "{", "reason": "tasks[0]@7 can't be read", "attempts": 0, "at": "2025-10-09T00:00:00Z"}"#;
    served.append(Topic::DeadLetters, &"unreadable-0-7".parse().unwrap(), Values::one(text.as_bytes().to_vec())).await;
    known(&served, 3).await;
    served
}

#[tokio::test]
async fn a_dead_letter_from_its_list_to_its_purge() {
    let served = with_letters().await;
    let mut told = story(
        &served,
        &[
            "GET /dead-letters",
            "GET /dead-letters?project=default&type=seed-db&reason=TABLE&limit=1",
            "GET /dead-letters?limit=1",
            "GET /dead-letters/abc",
            "GET /dead-letters/unreadable-0-7",
            "POST /dead-letters/abc/redrive",
            "POST /dead-letters/abc/redrive?same_id=false",
            "GET /dead-letters/abc",
        ],
    )
    .await;
    let letter: serde_json::Value = serde_json::from_str(&served.ask("GET /dead-letters/abc").await.body).unwrap();
    let task = format!("GET /tasks/{}", letter["redriven_as"].as_str().unwrap());
    told += &story(&served, &[&task, "DELETE /dead-letters/abc", "GET /dead-letters?type=seed-db"]).await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn what_can_not_be_done_to_a_dead_letter_is_a_problem() {
    let served = with_letters().await;
    let mut told = story(
        &served,
        &[
            "POST /dead-letters/unreadable-0-7/redrive",
            "POST /dead-letters/def/redrive?same_id=true",
            "POST /dead-letters/def/redrive?same_id=perhaps&x=1",
            "POST /dead-letters/nope/redrive",
            "GET /dead-letters/nope",
            "GET /dead-letters/%ff",
            "DELETE /dead-letters/nope",
            "PUT /dead-letters/abc",
            "GET /dead-letters?before=soon&limit=0&status=failed&cursor=1",
        ],
    )
    .await;
    served.log.refuses.store(true, Ordering::Relaxed);
    told += &story(&served, &["POST /dead-letters/def/redrive", "DELETE /dead-letters/def"]).await;
    known(&served, 3).await;
    served.shutdown.drain();
    told += &story(&served, &["POST /dead-letters/def/redrive"]).await;
    insta::assert_snapshot!(told);
}
