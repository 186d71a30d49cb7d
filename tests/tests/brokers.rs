//! Three brokers that die, one by one and all at once, and services that go on; then everything is restarted in turn, under load.
#![allow(clippy::unwrap_used)]

use baton_broker::Cluster;
use baton_tests::{Baton, Frames, OnKafka, PARTITIONS, PATIENCE, assert_whole, json_frames, lives, read_all, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Longer than brokers are away here, so that claims hold meanwhile, and than a group's new coordinator takes.
const SESSION: [&str; 2] = ["--session-timeout", "60s"];
/// Frames after which a task counts as going on.
const SOME: usize = 20;
/// From one task to the next: less than the workers can do on a machine that has much else to do.
const PACE: Duration = Duration::from_millis(400);

/// One connection that reads a task to its end, whatever the test is doing.
struct Watching {
    seen: Arc<Mutex<Vec<Value>>>,
    reading: JoinHandle<Option<u16>>,
}

impl Watching {
    async fn begin(api: &Baton, id: &str) -> Self {
        let mut watcher = Frames::open(api, id, "?format=json").await;
        let seen = Arc::<Mutex<Vec<Value>>>::default();
        let frames = seen.clone();
        let reading = tokio::spawn(async move {
            while let Some(frame) = watcher.next_whenever().await {
                frames.lock().unwrap().push(serde_json::from_str(&frame).unwrap());
            }
            watcher.closed
        });
        Self { seen, reading }
    }

    /// Waits until more has come.
    async fn goes_on(&self) {
        let before = self.seen.lock().unwrap().len();
        until("the watcher to go on", async || (self.seen.lock().unwrap().len() >= before + SOME).then_some(())).await;
    }

    /// Waits for the end, and gives all frames and the code of the close.
    async fn end(self) -> (Vec<Value>, Option<u16>) {
        let code = timeout(PATIENCE, self.reading).await.expect("it ends").unwrap();
        (self.seen.lock().unwrap().clone(), code)
    }
}

#[tokio::test]
async fn a_task_and_its_watchers_outlast_each_broker_and_all_of_them() {
    let kafka = OnKafka::of_three().await;
    let (api, worker) = tokio::join!(kafka.api(), kafka.worker(&SESSION));
    let id = api.submit("slow", json!({"lines": 100_000, "interval": 0.02})).await;
    let watching = Watching::begin(&api, &id).await;
    watching.goes_on().await;
    let agent = worker.agents_pid().await;
    // One of them leads the partition, one the group, one the transactions.
    for node in 1..=3 {
        kafka.harm(move |cluster| cluster.broker(node).kill()).await;
        watching.goes_on().await;
        kafka.harm(move |cluster| cluster.broker(node).restart().unwrap()).await;
        watching.goes_on().await;
    }

    kafka.harm(Cluster::kill).await;
    let task = json!({"project": "default", "type": "lines", "params": {"lines": 1}});
    let keyed = || api.post(&task).header("Idempotency-Key", "of-the-outage");
    // They wait for an acknowledgement for as long as they may; none comes for ten seconds.
    let (post, plain, stop) = tokio::join!(
        keyed().send(),
        api.post(&task).send(),
        api.client.delete(format!("{}/tasks/{id}", api.url)).send()
    );
    for answer in [post, plain, stop] {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 503, "nothing is acknowledged: {answer:?}");
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    }
    assert_eq!(api.task(&id).await["status"], "running");
    assert!(lives(agent), "the agent runs on for as long as its worker's claim holds");
    kafka.harm(|cluster| cluster.restart().unwrap()).await;
    watching.goes_on().await;
    let posted = until("the POST to be taken", async || {
        let answer = keyed().send().await.unwrap();
        if answer.status() == 202 { answer.json::<Value>().await.ok() } else { None }
    })
    .await;

    until("the STOP to be taken", async || (api.stop(&id).await == 202).then_some(())).await;
    let (seen, code) = watching.end().await;
    assert_eq!(code, Some(1000), "it was one connection all the time");
    assert_whole(&seen);
    assert!(seen.iter().all(|frame| frame["attempt"] == 1), "nothing interrupted it");
    assert_eq!(seen.last().unwrap()["update"], "STOPPED");
    let kept = posted["task_id"].as_str().unwrap();
    assert_eq!(api.until_ended(kept).await["status"], "done");
    assert_whole(&json_frames(&api, kept, "").await);
}

/// Submits tasks, at one API or the other, until it is told to end; all that were accepted.
async fn submit_on(urls: [String; 2], over: Arc<Mutex<bool>>) -> Vec<String> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let task = json!({"project": "default", "type": "slow", "params": {"lines": 5, "interval": 0.05}});
    let mut accepted = Vec::new();
    for number in 0.. {
        if *over.lock().unwrap() {
            break;
        }
        // Who gets no answer asks again, here or there, as any client should.
        for url in urls.iter().cycle().skip(number % 2) {
            let post = client.post(format!("{url}/tasks")).header("Idempotency-Key", format!("load-{number}"));
            if let Ok(answer) = post.json(&task).send().await
                && answer.status() == 202
                && let Ok(answer) = answer.json::<Value>().await
            {
                accepted.push(answer["task_id"].as_str().unwrap().to_owned());
                break;
            }
            sleep(PACE).await;
        }
        sleep(PACE).await;
    }
    accepted
}

/// Ends a service as an operator does, and starts it again.
async fn roll(mut service: Baton) -> Baton {
    service.signal("TERM");
    assert_eq!(service.finished().await.code, Some(0));
    service.restart().await
}

#[tokio::test]
async fn everything_is_restarted_in_turn_under_load_and_each_task_is_done_once() {
    let kafka = OnKafka::of_three().await;
    // The brokers' loopback address is nobody else's.
    let bootstrap = kafka.bootstrap();
    let host = bootstrap.split(':').next().unwrap();
    let listen = [8001, 8002].map(|port| format!("{host}:{port}"));
    let apis = listen.each_ref().map(|at| ["--listen", at]);
    let workers = ["--slots", "2", "--drain-timeout", "5s"];
    let (one, other, first, second) = tokio::join!(
        kafka.api_with(&apis[0]),
        kafka.api_with(&apis[1]),
        kafka.worker(&workers),
        kafka.worker(&workers)
    );
    let over = Arc::<Mutex<bool>>::default();
    let load = tokio::spawn(submit_on([one.url.clone(), other.url.clone()], over.clone()));
    for node in 1..=3 {
        kafka.harm(move |cluster| cluster.broker(node).restart().unwrap()).await;
    }
    let first = roll(first).await;
    let one = roll(one).await;
    let second = roll(second).await;
    let other = roll(other).await;
    // What is submitted now runs with everything new.
    let last = one.submit("lines", json!({"lines": 1})).await;
    one.until_ended(&last).await;
    *over.lock().unwrap() = true;
    let accepted = load.await.unwrap();
    assert!(accepted.len() > SOME, "{} is no load", accepted.len());
    for id in &accepted {
        let task = one.until_ended(id).await;
        assert_eq!(task["status"], "done", "{task}");
        let seen = json_frames(&one, id, "").await;
        assert_whole(&seen);
        assert_eq!(seen, json_frames(&other, id, "").await);
    }
    let ids: BTreeSet<&String> = accepted.iter().collect();
    assert_eq!(ids.len(), accepted.len(), "each POST made a task of its own");
    let values = read_all(&kafka, &kafka.topic("task-progress"), PARTITIONS);
    let ends = values.iter().filter(|value| serde_json::from_slice::<Value>(value).unwrap()["kind"] == "done");
    assert_eq!(ends.count(), accepted.len() + 1, "each task ended once");
    drop((first, second));
}
