//! Steps as transactions: who is fenced, what is undone, and how much text fits.

use crate::foreign::{self, Transaction};
use crate::member::OtherMember;
use crate::world::{
    PARTITIONS, World, claims, key_in, next_event, next_texts, off_the_loop, soon, step_of, until_caught_up,
};
use baton_core::log::{Committed, Topic};
use baton_core::tenure::Title;
use baton_runtime::ports::{GroupEvent, LogError, Member as _, StepError, Steps as _, Tail as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const SESSION: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_frozen_member_is_succeeded_and_nothing_of_its_last_step_is_seen_when_it_wakes() {
    let world = World::shared().await;
    let mut frozen = OtherMember::start(&world, None, SESSION);
    let before = frozen.claims(PARTITIONS as usize);
    frozen.until_renewed();
    frozen.freeze();
    // It is the first that it will do.
    frozen.tell("step 1 7 zombie");
    let mut heir = world.join().await;
    let after = claims(&mut heir, PARTITIONS as usize).await;
    assert!(SystemTime::now() >= frozen.held_until(), "its claims were taken over while they held");
    assert!(before.iter().all(|(partition, epoch)| after[partition].0 > *epoch));
    soon("the heir's step", heir.steps().step(step_of(1, after[&1].0, 3, "heir"))).await.unwrap();

    frozen.thaw();
    while frozen.next() != "step 1 fenced" {}
    assert_eq!(world.all(Topic::Progress).await, ["heir"]);
    soon("another step", heir.steps().step(step_of(1, after[&1].0, 4, "still"))).await.unwrap();
}

#[tokio::test]
async fn what_a_dead_member_had_begun_is_undone_by_its_heir() {
    let world = Arc::new(World::shared().await);
    let (mut tail, _) = world.tail(Topic::Progress).await;
    let mut dead = OtherMember::start(&world, None, SESSION);
    dead.claims(PARTITIONS as usize);
    let title = foreign::metadata(&world, 1);
    let id = Title::split(&title).unwrap().0.holder.unwrap();
    dead.kill();
    // It died before its transaction was committed, which holds its records back, and its offsets.
    let open = Transaction::begin(&world, &format!("{}-{id}", world.group()));
    open.write(Topic::Progress, 1, "zombie");
    for partition in 0..PARTITIONS {
        open.commit_offset(&world, partition, 9, &title);
    }

    let mut heir = world.join().await;
    let claims = claims(&mut heir, PARTITIONS as usize).await;
    assert_eq!(claims[&1].1, Committed::default());
    soon("a step", heir.steps().step(step_of(1, claims[&1].0, 1, "heir"))).await.unwrap();
    assert_eq!(next_texts(&mut tail, 1).await, ["heir"]);
    let refused = off_the_loop(move || open.commit()).await.unwrap_err();
    assert!(refused.to_string().to_lowercase().contains("fenced"), "{refused}");
    tail.catch_up();
    assert_eq!(until_caught_up(&mut tail).await, []);
}

#[tokio::test]
async fn metadata_fits_to_the_last_character_and_what_does_not_fit_changes_nothing() {
    let world = World::shared().await;
    let mut member = world.join().await;
    let epoch = claims(&mut member, PARTITIONS as usize).await[&1].0;
    let title = foreign::metadata(&world, 1);
    let (title, _) = title.split_at(title.find('|').unwrap() + 1);
    let steps = member.steps();
    let fits = "x".repeat(4095 - title.len());
    let full = |text: &str| {
        let mut step = step_of(1, epoch, 5, "step");
        text.clone_into(&mut step.committed.metadata);
        step
    };
    let refused = soon("too long a step", steps.step(full(&format!("{fits}yy")))).await.unwrap_err();
    let StepError::Log(LogError::Unavailable(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("metadata"), "{why}");
    soon("a step", steps.step(full(&fits))).await.unwrap();
    assert_eq!(world.all(Topic::Progress).await, ["step"]);
    assert_eq!(foreign::metadata(&world, 1), format!("{title}{fits}"));

    drop(member);
    let mut heir = world.join().await;
    assert_eq!(claims(&mut heir, PARTITIONS as usize).await[&1].1, Committed { offset: 5, metadata: fits });
}

#[tokio::test]
async fn a_partition_whose_title_can_not_be_read_is_not_overwritten() {
    let world = World::shared().await;
    foreign::commit_offset(&world, 2, 3, "somebody else's");
    let mut member = world.join().await;
    let claims = claims(&mut member, PARTITIONS as usize).await;
    assert_eq!(claims[&2], (0, Committed { offset: 3, metadata: "somebody else's".into() }));
    let fenced = soon("a step", member.steps().step(step_of(2, 0, 4, "no"))).await;
    assert_eq!(fenced, Err(StepError::Fenced));
    soon("a step", member.steps().step(step_of(1, claims[&1].0, 1, "yes"))).await.unwrap();
    world.append(Topic::Tasks, 1, "a task").await;
    assert!(matches!(next_event(&mut member).await, GroupEvent::Records(records) if records.key == key_in(1).as_str()));
    assert_eq!(foreign::metadata(&world, 2), "somebody else's");
}
