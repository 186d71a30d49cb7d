//! Small worlds: a task from its POST to its end, and what may come between, as its watcher reads it.
#![cfg(madsim)]
#![allow(clippy::unwrap_used, missing_docs)]

use baton_sim::behaviour::Behaviour;
use baton_sim::event::{Event, Node};
use baton_sim::plan::{Fault, FaultKind, Limits, Plan, Stop, Task, Watch};
use baton_sim::projects::Config;
use baton_sim::seed;
use std::time::Duration;

fn task(behaviour: Behaviour) -> Task {
    Task {
        at: Duration::from_secs(3),
        api: 0,
        behaviour,
        config: Config::There,
        keyed: false,
        copies: 1,
        timeout_s: None,
        max_attempts: None,
        limits: Limits::default(),
        foreign: false,
        unrunnable: false,
        key_reused: false,
    }
}

/// One task, one watcher from the beginning, one from the end, at another replica.
fn plan(task: Task) -> Plan {
    let watch = |after, api| Watch { task: 0, after, api, pace: Duration::ZERO, hops_after: None, leaves_after: None };
    Plan {
        seed: 1,
        workers: 1,
        slots: 1,
        apis: 2,
        partitions: 2,
        history_memory: 1 << 20,
        small_limits: false,
        max_queued: 100,
        spawning: Duration::from_millis(3),
        dying: Duration::ZERO,
        loss: 0.0,
        latency: Duration::from_millis(2),
        duplicates: 0.0,
        named_workers: true,
        tasks: vec![task],
        watchers: vec![watch(Duration::ZERO, 0), watch(Duration::from_secs(22), 1)],
        stops: Vec::new(),
        garbage: Vec::new(),
        faults: Vec::new(),
    }
}

/// Plays it, and checks that every guarantee is kept and that both watchers read `expected`.
fn check(plan: &Plan, expected: &[&str]) {
    let outcome = seed::play(plan, None);
    assert_eq!(outcome.violation, None);
    let watchers = outcome.story.entries().iter().filter_map(|entry| match entry.event {
        Event::Watching { watcher, .. } => Some(watcher),
        _ => None,
    });
    let mut read = 0;
    for number in watchers {
        let frames: Vec<&str> = outcome
            .story
            .entries()
            .iter()
            .filter_map(|entry| match &entry.event {
                // How far a line has come is told, and chance decides how often.
                Event::Frame { watcher, update, kind, .. } if *watcher == number && kind != "progress" => {
                    Some(update.as_str())
                }
                _ => None,
            })
            .collect();
        assert_eq!(frames, expected, "watcher {number}");
        read += 1;
    }
    assert_eq!(read, 2);
}

fn fault(at: u64, lasts: u64, kind: FaultKind) -> Fault {
    Fault { at: Duration::from_secs(at), lasts: Duration::from_secs(lasts), kind }
}

#[test]
fn a_task_is_run_and_watched_to_its_end() {
    check(&plan(task(Behaviour::Steady)), &["Starting...", "Initializing...", "Loaded config", "row 1", "DONE"]);
}

#[test]
fn a_silent_agent_is_stopped() {
    let mut plan = plan(task(Behaviour::Stubborn));
    plan.stops.push(Stop { task: 0, after: Duration::from_secs(2), api: 1, force: false });
    check(&plan, &["Starting...", "never", "Stopping: SIGTERM is sent, SIGKILL follows in 3s", "STOPPED"]);
}

#[test]
fn a_task_whose_worker_died_is_attempted_again() {
    let mut plan = plan(task(Behaviour::Slow));
    plan.faults.push(fault(5, 1, FaultKind::Kill(Node::Worker(0))));
    check(&plan, &["Starting...", "Starting... (attempt 2)", "at last", "DONE"]);
}

#[test]
fn a_drained_worker_hands_back_what_does_not_end_in_time() {
    let mut plan = plan(task(Behaviour::Slow));
    plan.faults.push(fault(4, 1, FaultKind::Deploy(Node::Worker(0))));
    check(&plan, &["Starting...", "Starting... (attempt 2)", "at last", "DONE"]);
}

#[test]
fn poison_ends_after_its_attempts() {
    let poison = Task { max_attempts: Some(2), ..task(Behaviour::Poison) };
    let failed = "FAILED: gave up after 2 attempts: each time its worker died";
    check(&plan(poison), &["Starting...", "oh", "Starting... (attempt 2)", "oh", failed]);
}

#[test]
fn a_project_api_that_is_down_for_a_while_only_delays() {
    let flaky = Task { config: Config::Flaky, ..task(Behaviour::Failing) };
    check(&plan(flaky), &["Starting...", "trying", "ValueError: x", "FAILED: exit code 3: ValueError: x"]);
}

#[test]
fn two_posts_with_one_key_are_one_task() {
    let twice = Task { keyed: true, copies: 2, ..task(Behaviour::Quick) };
    check(&plan(twice), &["Starting...", "DONE"]);
}
