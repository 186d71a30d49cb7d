//! Worlds in which Baton once broke a promise, made by hand: what seeds draw changes whenever a fault is added, and then a seed
//! leads elsewhere. Only what no mutant and no test of the core can hold is here; sim/README.md says what holds the rest.
#![cfg(madsim)]
#![allow(missing_docs)]

use baton_sim::behaviour::Behaviour;
use baton_sim::event::{Entry, Event, Node};
use baton_sim::plan::{Fault, FaultKind, Limits, Plan, Task, Watch};
use baton_sim::projects::Config;
use baton_sim::seed;
use std::time::Duration;

const MAKING: Duration = Duration::from_millis(400);

/// Two workers whose machines take their time to make a process, and one task.
fn world(fault: Fault) -> Plan {
    let task = Task {
        at: Duration::from_secs(3),
        api: 0,
        behaviour: Behaviour::Steady,
        config: Config::There,
        keyed: false,
        copies: 1,
        timeout_s: None,
        max_attempts: None,
        limits: Limits::default(),
        foreign: false,
        unrunnable: false,
        key_reused: false,
    };
    let watch =
        Watch { task: 0, after: Duration::ZERO, api: 0, pace: Duration::ZERO, hops_after: None, leaves_after: None };
    Plan {
        seed: 1,
        workers: 2,
        slots: 1,
        apis: 1,
        partitions: 2,
        history_memory: 1 << 20,
        small_limits: false,
        max_queued: 100,
        spawning: MAKING,
        dying: Duration::ZERO,
        loss: 0.0,
        latency: Duration::from_millis(2),
        duplicates: 0.0,
        named_workers: false,
        tasks: vec![task],
        watchers: vec![watch],
        stops: Vec::new(),
        garbage: Vec::new(),
        faults: vec![fault],
    }
}

/// The process of the first attempt was being made as its worker froze, and was given up.
fn froze_while_it_made_one(story: &[Entry]) -> bool {
    let first = |wanted: fn(&Event) -> bool| story.iter().position(|entry| wanted(&entry.event));
    let made = first(|event| matches!(event, Event::FilesMade(_, 1)));
    let removed = first(|event| matches!(event, Event::FilesRemoved(_, 1)));
    let lived = first(|event| matches!(event, Event::Spawned(_, 1)));
    made.is_some()
        && removed.is_some()
        && lived.is_none()
        && first(|event| matches!(event, Event::Spawned(_, 2))).is_some()
}

/// It went on with the process as it woke, when another worker had begun the next attempt.
#[test]
fn a_worker_that_froze_while_it_made_a_process_makes_none_as_it_wakes() {
    let mut reached = 0;
    for worker in 0..2 {
        for after in (0..10).map(|step| Duration::from_millis(3_000 + 50 * step)) {
            let kind = FaultKind::Freeze(Node::Worker(worker));
            let outcome = seed::play(&world(Fault { at: after, lasts: Duration::from_secs(12), kind }), None);
            assert_eq!(outcome.violation, None, "frozen after {after:?}");
            reached += usize::from(froze_while_it_made_one(outcome.story.entries()));
        }
    }
    assert!(reached > 2, "the worker was making the process in {reached} of 20 worlds");
}
