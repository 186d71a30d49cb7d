//! Baton killed, with SIGKILL, at whatever moment: what was accepted stays, what was left goes, and watchers come back.
#![allow(clippy::unwrap_used)]

use baton_tests::{
    Baton, Chance, Frames, assert_whole, command, events, follow, frames, free_port, json_frames, lives, texts, until,
};
use reqwest::Client;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

/// What clients were told, whatever became of the server.
#[derive(Default)]
struct Told {
    accepted: Mutex<Vec<String>>,
    asked_to_stop: Mutex<Vec<String>>,
}

/// Posts tasks and stops some of them until the server is gone.
async fn post_until_gone(client: Client, url: String, told: Arc<Told>, mut chance: Chance) {
    let body = json!({"project": "default", "type": "slow", "params": {"lines": 3, "interval": 0.005}});
    while let Ok(answer) = client.post(format!("{url}/tasks")).json(&body).send().await {
        if answer.status() == 503 {
            // It is reading its log; nothing was accepted.
            sleep(Duration::from_millis(2)).await;
            continue;
        }
        assert_eq!(answer.status(), 202);
        let Ok(answer) = answer.json::<Value>().await else { break };
        let id = answer["task_id"].as_str().unwrap().to_owned();
        told.accepted.lock().unwrap().push(id.clone());
        if chance.below(4) == 0 {
            told.asked_to_stop.lock().unwrap().push(id.clone());
            if client.delete(format!("{url}/tasks/{id}")).send().await.is_err() {
                break;
            }
        }
        sleep(chance.time(Duration::from_millis(15))).await;
    }
}

#[tokio::test]
async fn nothing_accepted_is_lost_when_baton_is_killed_at_random_instants() {
    let mut chance = Chance::new();
    let told = Arc::<Told>::default();
    let mut baton = Baton::start(&["--slots", "3", "--max-attempts", "100"]).await;
    for _ in 0..12 {
        let posting: Vec<_> = (0..3)
            .map(|_| {
                let (client, url) = (baton.client.clone(), baton.url.clone());
                tokio::spawn(post_until_gone(client, url, told.clone(), Chance::new()))
            })
            .collect();
        sleep(chance.time(Duration::from_millis(250))).await;
        baton.kill();
        for posting in posting {
            posting.await.unwrap();
        }
        // Also in the middle of its start.
        baton = baton.restart_unready().await;
    }
    baton.kill();
    let baton = baton.restart().await;
    let (accepted, asked_to_stop) = (told.accepted.lock().unwrap().clone(), told.asked_to_stop.lock().unwrap().clone());
    assert!(accepted.len() >= 30, "{} were accepted", accepted.len());
    for id in &accepted {
        let ended = baton.until_ended(id).await;
        let seen = json_frames(&baton, id, "").await;
        if ended["attempt"] == 0 {
            assert_eq!(texts(&seen), ["STOPPED"]);
        } else {
            assert_whole(&seen);
        }
        if ended["status"] == "stopped" {
            assert!(asked_to_stop.contains(id), "{ended}");
        } else {
            assert_eq!(ended["status"], "done");
            assert_eq!(texts(&seen)[seen.len() - 4..], ["line 1 of 3", "line 2 of 3", "line 3 of 3", "DONE"]);
        }
    }
}

#[tokio::test]
async fn an_acknowledged_stop_of_a_silent_task_holds_whenever_baton_is_killed() {
    let mut chance = Chance::new();
    let mut baton = Baton::start(&["--slots", "2", "--max-attempts", "100"]).await;
    for _ in 0..6 {
        // Two run, the others wait.
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(baton.submit("silent", json!({})).await);
        }
        sleep(chance.time(Duration::from_millis(60))).await;
        for id in &ids {
            assert_eq!(baton.stop(id).await, 202);
        }
        sleep(chance.time(Duration::from_millis(20))).await;
        baton.kill();
        baton = baton.restart().await;
        for id in &ids {
            assert_eq!(baton.until_ended(id).await["status"], "stopped");
        }
        baton.until_nothing_left().await;
    }
}

#[tokio::test]
async fn a_killed_baton_takes_its_agent_along_and_the_next_one_clears_its_files_away() {
    let mut baton = Baton::start(&[]).await;
    let id = baton.submit("silent", json!({})).await;
    baton.until_task(&id, "last_update", "ready").await;
    let left = baton.leftovers();
    let agents: Vec<u32> = left.iter().filter_map(|path| path.strip_prefix("/proc/")?.parse().ok()).collect();
    let first = baton.dir().join("data/runs").join(format!("{id}.1"));
    assert_eq!((agents.len(), first.exists()), (1, true), "{left:?}");
    baton.kill();
    until("the agent to go", async || (!lives(agents[0])).then_some(())).await;
    let baton = baton.restart().await;
    assert!(!first.exists());
    Frames::open(&baton, &id, "").await.until("Starting... (attempt 2)").await;
    assert_eq!(baton.task(&id).await["attempt"], 2);
}

#[tokio::test]
async fn watchers_of_every_sort_resume_across_a_crash_without_a_gap_or_a_duplicate() {
    let mut baton = Baton::start(&[]).await;
    let id = baton.submit("slow", json!({"lines": 150, "interval": 0.01})).await;
    let mut early = Vec::new();
    for number in 0..6 {
        let mut watcher = Frames::open(&baton, &id, "?format=json").await;
        let mut seen = Vec::new();
        while seen.len() < 5 + 3 * number {
            seen.push(serde_json::from_str::<Value>(&watcher.next().await.unwrap()).unwrap());
        }
        early.push((watcher, seen));
    }
    baton.kill();
    let mut read = Vec::new();
    for (mut watcher, mut seen) in early {
        seen.extend(watcher.rest_json().await);
        read.push(seen);
    }
    let baton = baton.restart().await;
    let coming_back = read.into_iter().enumerate().map(|(number, mut seen)| {
        let (baton, id) = (&baton, &id);
        async move {
            let after = seen.last().unwrap()["id"].as_str().unwrap().to_owned();
            seen.extend(if number % 2 == 0 {
                json_frames(baton, id, &after).await
            } else {
                events(baton, id, &after).await
            });
            seen
        }
    });
    let all = futures_util::future::join_all(coming_back).await;
    assert_whole(&all[0]);
    assert!(all.iter().all(|seen| *seen == all[0]));
    assert_eq!(all[0], json_frames(&baton, &id, "").await);
}

#[tokio::test]
async fn watchers_that_come_back_through_many_crashes_read_one_history() {
    let mut chance = Chance::new();
    let address = format!("127.0.0.1:{}", free_port());
    // The smallest memory: what they come back for is read from the disk.
    let mut baton = Baton::start(&["--listen", &address, "--max-attempts", "100", "--history-memory", "1B"]).await;
    let id = baton.submit("slow", json!({"lines": 200, "interval": 0.005})).await;
    let following: Vec<_> = (0..6)
        .map(|_| {
            let (url, id) = (baton.url.clone(), id.clone());
            tokio::spawn(async move { follow(&url, &id).await })
        })
        .collect();
    for _ in 0..8 {
        sleep(chance.time(Duration::from_millis(400))).await;
        baton.kill();
        baton = baton.restart().await;
    }
    let all = json_frames(&baton, &id, "").await;
    assert_whole(&all);
    assert_eq!(all.last().unwrap()["kind"], "done");
    for following in following {
        assert_eq!(following.await.unwrap(), all);
    }
}

#[tokio::test]
async fn a_client_that_repeats_its_keyed_post_until_it_is_answered_makes_one_task() {
    let mut chance = Chance::new();
    let address = format!("127.0.0.1:{}", free_port());
    let mut baton = Baton::start(&["--listen", &address, "--slots", "3", "--max-attempts", "100"]).await;
    let posting: Vec<_> = (0..4)
        .map(|client| {
            let (http, url) = (baton.client.clone(), format!("{}/tasks", baton.url));
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for number in 0..25 {
                    let key = format!("{client}-{number}");
                    let body = json!({"project": "default", "type": "lines", "params": {"text": key}});
                    let answer = until("an answer", async || {
                        let answer = http.post(&url).header("Idempotency-Key", &key).json(&body).send().await.ok()?;
                        assert!(matches!(answer.status().as_u16(), 202 | 503), "{answer:?}");
                        if answer.status() == 202 { answer.json::<Value>().await.ok() } else { None }
                    })
                    .await;
                    ids.push((answer["task_id"].as_str().unwrap().to_owned(), key));
                }
                ids
            })
        })
        .collect();
    for _ in 0..6 {
        sleep(chance.time(Duration::from_millis(80))).await;
        baton.kill();
        baton = baton.restart().await;
    }
    let mut listed = 0;
    for posting in posting {
        for (id, key) in posting.await.unwrap() {
            assert_eq!(baton.until_ended(&id).await["status"], "done");
            let seen = json_frames(&baton, &id, "").await;
            assert_whole(&seen);
            assert_eq!(texts(&seen)[seen.len() - 2], format!("line 1 of 1: {key}"));
            listed += 1;
        }
    }
    assert_eq!(baton.get_json("/tasks?limit=500").await["tasks"].as_array().unwrap().len(), listed);
}

#[tokio::test]
async fn the_command_lines_watch_goes_on_after_a_crash_as_if_nothing_had_been() {
    let address = format!("127.0.0.1:{}", free_port());
    let mut baton = Baton::start(&["--listen", &address]).await;
    let id = baton.submit("slow", json!({"lines": 100, "interval": 0.01})).await;
    let mut watching = command();
    watching.args(["watch", &id, "--json", "--server", &baton.url]);
    let mut watching =
        watching.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 30 {
        seen.push(lines.next().unwrap());
    }
    baton.kill();
    let mut said = BufReader::new(watching.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().as_deref(), Some("(the connection is lost; trying again)"));
    let baton = baton.restart().await;
    let (rest, code) = tokio::task::spawn_blocking(move || {
        let rest: Vec<String> = lines.collect();
        (rest, watching.wait().unwrap().code())
    })
    .await
    .unwrap();
    seen.extend(rest);
    let seen: Vec<Value> = seen.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_whole(&seen);
    assert_eq!(seen, json_frames(&baton, &id, "").await);
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn a_flood_that_is_cut_by_a_crash_is_whole_up_to_the_cut() {
    let mut baton = Baton::start(&[]).await;
    let id = baton.submit("lines", json!({"lines": 100_000, "text": "x"})).await;
    let mut watcher = Frames::open(&baton, &id, "?format=json").await;
    let mut seen: Vec<Value> = Vec::new();
    while seen.len() < 5000 {
        seen.push(serde_json::from_str(&watcher.next().await.unwrap()).unwrap());
    }
    baton.kill();
    seen.extend(watcher.rest_json().await);
    let baton = baton.restart().await;
    let all = json_frames(&baton, &id, "").await;
    assert_whole(&all);
    // What anybody has seen is there again, at the same place.
    assert_eq!(all[..seen.len()], seen);
    let second = texts(&all).iter().position(|text| *text == "Starting... (attempt 2)").unwrap();
    assert_eq!(texts(&all)[second + 1], "line 1 of 100000: x");
    assert_eq!(all.len(), second + 100_002);
}

#[tokio::test]
async fn a_task_may_ask_for_fewer_attempts_and_poison_holds_up_no_one_else() {
    let mut baton = Baton::start(&["--partitions", "1"]).await;
    let body = json!({"project": "default", "type": "silent", "max_attempts": 1});
    let poison = baton.submit_body(body).await;
    baton.kill_in_attempt(&poison, 1).await;
    let baton = baton.restart().await;
    let ended = baton.until_ended(&poison).await;
    let seen = json_frames(&baton, &poison, "").await;
    assert_whole(&seen);
    assert_eq!(ended["reason"], "gave up after 1 attempts: each time its worker died");
    let next = baton.submit("lines", json!({})).await;
    assert_eq!(baton.until_ended(&next).await["status"], "done");
}

#[tokio::test]
async fn what_is_handed_back_does_not_count_as_an_attempt_that_failed() {
    let mut baton = Baton::start(&["--max-attempts", "1", "--drain-timeout", "0s"]).await;
    let id = baton.submit("silent", json!({})).await;
    for attempt in 1..=3 {
        let opening = if attempt == 1 { "Starting...".into() } else { format!("Starting... (attempt {attempt})") };
        let mut watcher = Frames::open(&baton, &id, "").await;
        watcher.until(&opening).await;
        watcher.until("ready").await;
        baton.signal("TERM");
        assert_eq!(watcher.rest().await, [""; 0]);
        assert_eq!(baton.finished().await.code, Some(0));
        assert!(baton.leftovers().is_empty(), "{:?}", baton.leftovers());
        baton = baton.restart().await;
    }
    Frames::open(&baton, &id, "").await.until("Starting... (attempt 4)").await;
    baton.stop(&id).await;
    baton.until_ended(&id).await;
    assert_whole(&json_frames(&baton, &id, "").await);
}

#[tokio::test]
async fn queued_tasks_keep_their_order_across_a_crash() {
    let mut baton = Baton::start(&["--partitions", "1"]).await;
    let first = baton.submit("silent", json!({})).await;
    baton.until_task(&first, "last_update", "ready").await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(baton.submit("lines", json!({})).await);
    }
    baton.kill();
    let baton = baton.restart().await;
    baton.until_task(&first, "last_update", "ready").await;
    assert_eq!(baton.get_json("/tasks?status=queued").await["tasks"].as_array().unwrap().len(), 10);
    baton.stop(&first).await;
    let mut begun = Vec::new();
    for id in &ids {
        let ended = baton.until_ended(id).await;
        begun.push(ended["started_at"].as_str().unwrap().to_owned());
        assert_eq!(frames(&baton, id).await.0, ["Starting...", "line 1 of 1: ", "DONE"]);
    }
    assert!(begun.is_sorted(), "{begun:?}");
}
