//! Facts of the atomic step: all of it or nothing, and only by the current claim.

#![allow(missing_docs, reason = "the name of a fact says it")]

use super::{Claim, append, batch, claims, key_in, lone_member, long_text, next_event, next_records, soon, texts};
use crate::ports::{Committed, Durability, GroupEvent, Log, Member, Step, StepError, Steps, TailFrom};
use baton_core::ledger::MAX_METADATA;
use baton_core::log::Topic;
use std::time::Duration;

/// A step of `claim` that appends `text` to two topics and commits `offset`.
fn step_of(claim: &Claim, text: &str, offset: u64) -> Step {
    let key = key_in(claim.partition, 0);
    Step {
        partition: claim.partition,
        epoch: claim.epoch,
        batches: vec![batch(Topic::Progress, &key, &[text]), batch(Topic::DeadLetters, &key, &[text])],
        committed: Committed { offset, metadata: text.to_owned() },
    }
}

/// All of a topic, closed by a record of our own.
async fn all(log: &impl Log, topic: Topic) -> Vec<String> {
    append(log, topic, &key_in(0, 0), &["end"]).await;
    let mut tail = soon("tail", log.tail(topic, TailFrom::Earliest)).await.unwrap();
    let mut found = texts(&super::until_caught_up(&mut tail).await);
    found.retain(|text| text != "end");
    found
}

pub async fn steps_land_whole<L: Log>(log: L) {
    let (member, claims) = lone_member(&log, "workers").await;
    let mut tail = soon("tail", log.tail(Topic::Progress, TailFrom::Earliest)).await.unwrap();
    super::until_caught_up(&mut tail).await;
    soon("step", member.steps().step(step_of(&claims[&2], "done", 17))).await.unwrap();
    assert_eq!(texts(&next_records(&mut tail, 1).await), ["done"]);
    assert_eq!(all(&log, Topic::DeadLetters).await, ["done"]);
    drop(member);
    let (_member, claims) = lone_member(&log, "workers").await;
    assert_eq!(claims[&2].committed, Committed { offset: 17, metadata: "done".to_owned() });
    assert_eq!(claims[&1].committed, Committed::default());
}

pub async fn a_step_of_an_old_epoch_is_fenced_and_changes_nothing<L: Log>(log: L) {
    let (one, old) = lone_member(&log, "workers").await;
    let steps = one.steps();
    soon("step", steps.step(step_of(&old[&1], "good", 1))).await.unwrap();
    drop(one);
    let (two, new) = lone_member(&log, "workers").await;
    for steps in [&steps, &two.steps()] {
        assert_eq!(soon("step", steps.step(step_of(&old[&1], "late", 2))).await, Err(StepError::Fenced));
    }
    let early = Claim { partition: 1, epoch: new[&1].epoch + 1, committed: Committed::default() };
    assert_eq!(soon("step", two.steps().step(step_of(&early, "early", 3))).await, Err(StepError::Fenced));
    assert_eq!(all(&log, Topic::Progress).await, ["good"]);
    assert_eq!(all(&log, Topic::DeadLetters).await, ["good"]);
    drop(two);
    let (_three, newest) = lone_member(&log, "workers").await;
    assert_eq!(newest[&1].committed, Committed { offset: 1, metadata: "good".to_owned() });
}

pub async fn a_step_of_a_partition_that_nobody_holds_is_fenced<L: Log>(log: L) {
    let (member, claims) = lone_member(&log, "workers").await;
    let steps = member.steps();
    let nowhere = Claim { partition: 99, epoch: 1, committed: Committed::default() };
    let mut step = step_of(&claims[&0], "nowhere", 1);
    step.partition = nowhere.partition;
    assert_eq!(soon("step", steps.step(step)).await, Err(StepError::Fenced));
    drop(member);
    assert_eq!(soon("step", steps.step(step_of(&claims[&0], "late", 1))).await, Err(StepError::Fenced));
    assert_eq!(all(&log, Topic::Progress).await, Vec::<String>::new());
}

pub async fn a_fenced_step_spoils_no_other<L: Log>(log: L) {
    let (member, claims) = lone_member(&log, "workers").await;
    let steps = member.steps();
    let key = key_in(0, 0);
    for round in 0..20 {
        let fenced = Step { epoch: claims[&1].epoch - 1, ..step_of(&claims[&1], "fenced", 9) };
        let text = format!("good {round}");
        let line = batch(Topic::Progress, &key, &["line"]);
        let (appended, refused, taken) = soon("three at once", async {
            tokio::join!(
                log.append(vec![line], Durability::Written),
                steps.step(fenced),
                steps.step(step_of(&claims[&1], &text, round)),
            )
        })
        .await;
        assert!(appended.is_ok(), "{appended:?}");
        assert_eq!((refused, taken), (Err(StepError::Fenced), Ok(())));
    }
    let found = all(&log, Topic::Progress).await;
    assert_eq!(found.iter().filter(|text| *text == "line").count(), 20);
    assert_eq!(found.iter().filter(|text| text.starts_with("good")).count(), 20);
    assert_eq!(found.len(), 40);
}

pub async fn a_step_is_good_until_the_release<L: Log>(log: L) {
    let (mut one, owned) = lone_member(&log, "workers").await;
    let mut two = soon("join", log.join("workers", "two", Duration::ZERO)).await.unwrap();
    let GroupEvent::Revoke { partition } = next_event(&mut one).await else { panic!("not a revocation") };
    let steps = one.steps();
    soon("step", steps.step(step_of(&owned[&partition], "in time", 3))).await.unwrap();
    one.release(partition);
    assert_eq!(soon("step", steps.step(step_of(&owned[&partition], "late", 4))).await, Err(StepError::Fenced));
    let moved = claims(&mut two, 1).await;
    assert_eq!(moved[&partition].committed, Committed { offset: 3, metadata: "in time".to_owned() });
    assert_eq!(all(&log, Topic::Progress).await, ["in time"]);
}

pub async fn metadata_of_its_full_length_comes_back<L: Log>(log: L) {
    let metadata = long_text(MAX_METADATA);
    let (member, claims) = lone_member(&log, "workers").await;
    let committed = Committed { offset: 5, metadata: metadata.clone() };
    let step = Step { partition: 0, epoch: claims[&0].epoch, batches: vec![], committed: committed.clone() };
    soon("step", member.steps().step(step)).await.unwrap();
    drop(member);
    let (_member, claims) = lone_member(&log, "workers").await;
    assert_eq!(claims[&0].committed, committed);
}
