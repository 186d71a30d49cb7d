//! Who has which partition when members die, freeze, come back under their names, or are slow to let go.

use crate::member::OtherMember;
use crate::world::{GROUP, PARTITIONS, World, claims, next_event, soon, step_of};
use baton_core::log::{Partition, Topic};
use baton_kafka::KafkaMember;
use baton_runtime::ports::{GroupEvent, Log as _, Member as _, StepError, Steps as _};
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

const ALL: usize = PARTITIONS as usize;
/// The shortest that brokers take without being told otherwise.
const SESSION: Duration = Duration::from_secs(6);

/// The next partitions that a member is to let go, which it does not yet.
async fn revoked(member: &mut KafkaMember, count: usize) -> BTreeSet<Partition> {
    let mut revoked = BTreeSet::new();
    while revoked.len() < count {
        match next_event(member).await {
            GroupEvent::Revoke { partition } => assert!(revoked.insert(partition)),
            other => panic!("{other:?} instead of a revocation"),
        }
    }
    revoked
}

#[tokio::test]
async fn a_killed_member_is_succeeded_when_its_session_has_ended() {
    let world = World::shared().await;
    let mut killed = OtherMember::start(&world, None, SESSION);
    killed.claims(ALL);
    killed.until_renewed();
    let mut heir = world.join().await;
    // Half of them are to move, and it will never let go of these.
    let to_move = ALL / 2;
    for _ in 0..to_move {
        assert!(killed.next().starts_with("revoke "));
    }
    killed.kill();
    let dead_since = Instant::now();
    claims(&mut heir, ALL).await;
    assert!(SystemTime::now() >= killed.held_until(), "its claims were taken over while they held");
    println!("succeeded after {:?}", dead_since.elapsed());
}

#[tokio::test]
async fn a_member_that_comes_back_under_its_name_has_its_partitions_again_and_nobody_else_is_disturbed() {
    let world = World::shared().await;
    let mut named = OtherMember::start(&world, Some("named"), SESSION);
    named.claims(ALL);
    let mut other = world.join().await;
    for _ in 0..ALL / 2 {
        let line = named.next();
        named.tell(&line.replace("revoke", "release"));
    }
    let others = claims(&mut other, ALL / 2).await;
    for round in 1..=2 {
        named.kill();
        let back_since = Instant::now();
        named = OtherMember::start(&world, Some("named"), SESSION);
        let again = named.claims(ALL / 2);
        println!("back after {:?}", back_since.elapsed());
        assert!(again.iter().all(|(partition, _)| !others.contains_key(partition)));
        named.tell(&format!("step {} {round} again-{round}", again[0].0));
        assert_eq!(named.next(), format!("step {} done", again[0].0));
    }
    // The other's claims were good all the time: it heard of nothing.
    let (partition, (epoch, _)) = others.into_iter().next().unwrap();
    soon("a step", other.steps().step(step_of(partition, epoch, 1, "undisturbed"))).await.unwrap();
    world.append(Topic::Tasks, partition, "a task").await;
    assert!(matches!(next_event(&mut other).await, GroupEvent::Records(_)));
}

#[tokio::test]
async fn a_holder_keeps_a_partition_for_as_long_as_it_needs_whatever_the_group_assigns() {
    let world = World::shared().await;
    let mut holder = world.join().await;
    let held = claims(&mut holder, ALL).await;
    let steps = holder.steps();
    let mut second = world.join().await;
    let first_asked = revoked(&mut holder, ALL / 2).await;
    let kept = *first_asked.first().unwrap();
    // Others come and go meanwhile, and what the holder still has is assigned to one after the other.
    for round in 1..=3 {
        let mut third = world.join().await;
        soon("a step", steps.step(step_of(kept, held[&kept].0, round, "kept"))).await.unwrap();
        // It comes to hold whatever moves to it, once that is let go of; here nothing is.
        let to_third = tokio::time::timeout(Duration::from_millis(300), third.next()).await;
        assert!(!matches!(to_third, Ok(Ok(GroupEvent::Claimed { .. }))), "{to_third:?}");
        drop(third);
    }
    for partition in &first_asked {
        soon("a step", steps.step(step_of(*partition, held[partition].0, 9, "last"))).await.unwrap();
        holder.release(*partition);
    }
    let late = soon("a late step", steps.step(step_of(kept, held[&kept].0, 10, "late"))).await;
    assert_eq!(late, Err(StepError::Fenced));
    drop(holder);
    let mut seen = BTreeSet::new();
    while seen.len() < ALL {
        if let GroupEvent::Claimed { partition, epoch, committed } = next_event(&mut second).await {
            assert!(epoch > held[&partition].0);
            let left = if first_asked.contains(&partition) { (9, "last") } else { (0, "") };
            assert_eq!((committed.offset, committed.metadata.as_str()), left);
            seen.insert(partition);
        }
    }
    assert!(!world.all(Topic::Progress).await.contains(&"late".to_owned()));
}

#[tokio::test]
async fn what_is_assigned_again_before_it_was_released_is_claimed_anew() {
    let world = World::shared().await;
    let mut holder = world.join().await;
    let held = claims(&mut holder, ALL).await;
    let second = soon("join", world.log.join(GROUP, "", Duration::ZERO)).await.unwrap();
    let asked = revoked(&mut holder, ALL / 2).await;
    drop(second);
    for partition in &asked {
        holder.release(*partition);
    }
    let again = claims(&mut holder, ALL / 2).await;
    assert_eq!(again.keys().copied().collect::<BTreeSet<_>>(), asked);
    assert!(again.iter().all(|(partition, (epoch, _))| *epoch > held[partition].0));
}
