//! The keeper: whatever is killed or frozen, nothing of a run is left, and nothing of a worker that lost its claims goes on.
#![allow(clippy::unwrap_used)]

mod site;

use baton_agent::{Isolation, Keeping, Subprocesses};
use baton_core::process::{ExitStatus, Signal, Spawn};
use baton_runtime::ports::{Agents as _, Process as _};
use site::worker::{Worker, guardians, is_empty, keepers, kept_by, signal};
use site::{PATIENCE, Site, each, hear, hear_all, living, options, spawn, until, until_ready};
use std::fs;
use std::time::{Duration, Instant};

/// Whether it sleeps, and nothing that was said to it is unread.
fn waits_for_more(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|call| call.contains("poll"))
}

/// Everything that a process may leave, and that stays until it is ended.
const STUBBORN: [&str; 6] =
    ["stubborn", "child --stay", "detached --stay", "daemon --stay", "wiped --stay", "tree --lines 20"];

#[tokio::test]
async fn a_killed_worker_leaves_nothing() {
    for isolation in each() {
        let mut worker = Worker::start(isolation);
        for (number, mode) in STUBBORN.iter().enumerate() {
            worker.spawn(mode);
            worker.hear(&format!("started {}", number + 1));
        }
        assert!(living(worker.dir.path()).len() > STUBBORN.len());
        worker.signal("KILL");
        worker.until_nothing_left().await;
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_while_it_spawns_leaves_nothing() {
    for isolation in each() {
        for round in 0..=STUBBORN.len() {
            let mut worker = Worker::start(isolation);
            for mode in STUBBORN {
                worker.spawn(mode);
            }
            // At any moment between the first of them and the last.
            for _ in 0..round {
                worker.said.recv_timeout(PATIENCE).unwrap();
            }
            worker.signal("KILL");
            worker.child.wait().unwrap();
            let dir = worker.dir.path();
            until("nothing left", || living(dir).is_empty() && kept_by(dir).is_empty()).await;
        }
    }
}

#[tokio::test]
async fn a_killed_keeper_takes_every_run_with_it_and_another_takes_its_place() {
    for site in Site::each() {
        let mut processes = Vec::new();
        for (attempt, mode) in (1..).zip(STUBBORN) {
            let mark = format!("{mode} --text {}/mark", site.dir.path().display());
            let order = Spawn { attempt, ..spawn(&mark) };
            let mut process = site.agents.spawn(order).await.unwrap();
            until_ready(&mut process).await;
            processes.push(process);
        }
        signal(keepers(site.dir.path())[0], "KILL");
        for process in &mut processes {
            let (_, exit) = hear_all(process).await;
            assert_eq!(exit, None, "it did not end by itself");
        }
        site.until_nothing_left().await;
        let (heard, exit) = hear(&mut site.spawn("lines").await).await;
        assert_eq!((heard.out.lines().count(), exit.status), (1, ExitStatus::Code(0)));
        assert_eq!(keepers(site.dir.path()).len(), 1);
    }
}

#[tokio::test]
async fn a_killed_guardian_takes_its_run_with_it_and_no_other() {
    for site in Site::each() {
        let other = Spawn { attempt: 2, ..spawn("silent") };
        let mut other = site.agents.spawn(other).await.unwrap();
        until_ready(&mut other).await;
        let before = guardians(site.dir.path());
        let mut lost = site.spawn("wiped --stay").await;
        until_ready(&mut lost).await;
        let guardian = guardians(site.dir.path()).into_iter().find(|pid| !before.contains(pid)).unwrap();
        signal(guardian, "KILL");
        assert_eq!(hear_all(&mut lost).await.1, None);
        other.signal(Signal::Terminate);
        assert_eq!(hear(&mut other).await.1.status, ExitStatus::Signal(15));
        site.until_nothing_left().await;
    }
}

#[tokio::test]
async fn a_frozen_worker_loses_its_processes_before_its_claims_end() {
    for isolation in each() {
        let mut worker = Worker::start(isolation);
        worker.hold(60_000);
        for (number, mode) in (1..).zip(STUBBORN) {
            worker.spawn(mode);
            worker.hear(&format!("started {number}"));
        }
        // As it would be had it been frozen before it asked for the run.
        let (dir, runs) = (worker.dir.path().to_owned(), worker.dir.path().join("runs"));
        fs::create_dir(runs.join("99.1")).unwrap();
        let asked = Instant::now();
        worker.hold(3000);
        worker.signal("STOP");
        until("nothing living", || living(&dir).is_empty() && is_empty(&runs)).await;
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());

        // What it begins before it hears of its loss must not live, nor may what it knows of.
        worker.spawn("silent");
        worker.signal("CONT");
        let all = STUBBORN.len() + 1;
        let mut heard: Vec<_> = (0..all).map(|_| worker.said.recv_timeout(PATIENCE).unwrap()).collect();
        heard.sort();
        assert_eq!(heard, (1..=all).map(|number| format!("lost {number}")).collect::<Vec<_>>());
        assert!(living(worker.dir.path()).is_empty());

        worker.hold(60_000);
        worker.spawn("silent");
        worker.hear(&format!("started {}", all + 1));
        worker.signal("KILL");
        worker.until_nothing_left().await;
    }
}

#[tokio::test]
async fn a_run_that_was_begun_before_the_claims_ended_makes_no_process_after() {
    for site in Site::each() {
        let begun = site.agents.for_run();
        site.agents.hold_until(tokio::time::Instant::now() + Duration::from_millis(40));
        // The worker wakes from a long sleep, and holds new claims before the run of the old one has come to its process.
        tokio::time::sleep(Duration::from_millis(60)).await;
        site.agents.hold_until(tokio::time::Instant::now() + PATIENCE);
        let (_, exit) = hear_all(&mut begun.spawn(spawn("silent")).await.unwrap()).await;
        assert_eq!(exit, None, "it is lost");
        // Runs begin again as soon as the worker has heard that another term has begun.
        let patience = Instant::now() + PATIENCE;
        while hear_all(&mut site.agents.for_run().spawn(spawn("exits")).await.unwrap()).await.1.is_none() {
            assert!(Instant::now() < patience, "no run begins any more");
        }
        site.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_lease_that_is_renewed_goes_on_and_ends_when_it_is_not() {
    let mut worker = Worker::start(Isolation::Auto);
    worker.hold(60_000);
    worker.spawn("silent");
    worker.hear("started 1");
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(4) {
        worker.hold(3000);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!living(worker.dir.path()).is_empty());
    worker.hear("lost 1");
}

#[tokio::test]
async fn a_frozen_keeper_does_not_keep_processes_beyond_the_lease() {
    for isolation in each() {
        let mut worker = Worker::start(isolation);
        worker.hold(60_000);
        worker.spawn("wiped --stay");
        worker.hear("started 1");
        let asked = Instant::now();
        worker.hold(3000);
        let keeper = keepers(worker.dir.path())[0];
        // It has taken in what was said when it waits for more.
        until("the keeper to wait", || waits_for_more(keeper)).await;
        signal(keeper, "STOP");
        worker.signal("STOP");
        let dir = worker.dir.path();
        until("nothing living", || living(dir).is_empty()).await;
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        worker.signal("CONT");
        worker.hear("lost 1");
    }
}

#[tokio::test]
async fn what_hops_from_process_to_process_is_ended() {
    for site in Site::each() {
        let mut process = site.spawn(&format!("hop --text {}/mark", site.dir.path().display())).await;
        until_ready(&mut process).await;
        process.signal(Signal::Kill);
        let (_, exit) = hear(&mut process).await;
        assert!(exit.survivors_killed);
        // Without namespaces or cgroups it is not promised, and said so at the start.
        if !matches!(site.agents.means().keeping, Keeping::Descendants { .. }) {
            site.assert_nothing_left();
        }
    }
}

#[tokio::test]
async fn a_run_sees_itself_and_nobody_else_and_not_the_same_numbers_as_the_one_before() {
    let site = Site::new(Isolation::Auto);
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let (heard, _) = hear(&mut site.spawn("numbers").await).await;
        let seen: Vec<u32> = heard.out.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!(seen[0], seen[1], "/proc is its own");
        if matches!(site.agents.means().keeping, Keeping::Namespaces { .. }) {
            assert_eq!(seen[2], 2, "itself, and its guardian");
        }
        numbers.push(seen[0]);
    }
    assert_ne!(numbers[0], numbers[1]);
}

#[tokio::test]
async fn what_an_earlier_worker_left_is_ended_at_the_next_start() {
    for isolation in each() {
        let mut worker = Worker::start(isolation);
        worker.spawn("daemon --stay");
        worker.hear("started 1");
        // All that could end it by itself is stopped.
        for (pid, _) in kept_by(worker.dir.path()) {
            signal(pid, "STOP");
        }
        worker.signal("KILL");
        worker.child.wait().unwrap();
        assert!(!living(worker.dir.path()).is_empty());
        let next = Subprocesses::open(&options(worker.dir.path(), isolation)).unwrap();
        assert!(living(worker.dir.path()).is_empty());
        assert!(is_empty(&worker.dir.path().join("runs")));
        until("one keeper", || kept_by(worker.dir.path()).len() == 1).await;
        drop(next);
        worker.until_nothing_left().await;
    }
}
