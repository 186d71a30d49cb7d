//! Plans are plain data: what a seed draws is always the same, and what is taken out of a plan can be written down.
#![cfg(madsim)]
#![allow(clippy::unwrap_used, missing_docs)]

use baton_sim::plan::{FAULTS_END, FaultKind, Plan};
use baton_sim::shrink::Less;
use std::collections::BTreeSet;

#[test]
fn a_seed_always_draws_the_same_plan_of_the_promised_size() {
    let mut kinds = BTreeSet::new();
    for seed in 0..500 {
        let plan = Plan::draw(seed);
        assert_eq!(plan, Plan::draw(seed));
        assert!(plan.workers >= 3 && plan.apis >= 2 && plan.tasks.len() >= 20 && plan.watchers.len() >= 30);
        assert!(plan.faults.iter().all(|fault| fault.at + fault.lasts <= FAULTS_END));
        for (number, task) in plan.tasks.iter().enumerate() {
            let ends = !task.behaviour.is_endless() || task.timeout_s.is_some();
            assert!(ends || plan.stops.iter().any(|stop| stop.task == number), "task {number} never ends");
        }
        kinds.extend(plan.faults.iter().map(|fault| fault.kind.name()));
    }
    assert_eq!(kinds, BTreeSet::from(FaultKind::NAMES));
}

#[test]
fn what_is_taken_out_goes_with_all_that_needs_it() {
    let plan = Plan::draw(7);
    let less: Less = "t0,t3,f0,w1".parse().unwrap();
    assert_eq!(less.to_string(), "f0,w1,t0,t3");
    let left = less.of(&plan);
    assert_eq!(left.tasks.len(), plan.tasks.len() - 2);
    assert_eq!(left.faults.len(), plan.faults.len() - 1);
    let of_watcher = |plan: &Plan, number: usize| plan.tasks[plan.watchers[number].task].body();
    let kept = |number: &usize| *number != 1 && ![0, 3].contains(&plan.watchers[*number].task);
    let expected: Vec<_> = (0..plan.watchers.len()).filter(kept).map(|number| of_watcher(&plan, number)).collect();
    let found: Vec<_> = (0..left.watchers.len()).map(|number| of_watcher(&left, number)).collect();
    assert_eq!(found, expected, "each still watches its own task");
    assert!(left.stops.iter().all(|stop| stop.task < left.tasks.len()));
    assert_eq!("x1".parse::<Less>().unwrap_err(), "\"x1\" is none of f0 (a fault), g0, w0, s0, t0 (a task)");
}
