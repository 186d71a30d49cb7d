//! Facts of groups: who has which partition, and what a claim gives.

#![allow(missing_docs, reason = "the name of a fact says it")]

use super::{
    Claim, PARTITIONS, append, assert_in_order, at_once, breathe, claims, key_in, lone_member, next_event, soon, tasks,
    texts,
};
use crate::ports::{Committed, GroupEvent, Log, Member, Step, Steps};
use baton_core::log::{Partition, Topic};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const ALL: usize = PARTITIONS as usize;
const HOUR: Duration = Duration::from_hours(1);

async fn join<L: Log>(log: &L, group: &str, name: &str) -> L::Member {
    soon("join", log.join(group, name, Duration::ZERO)).await.unwrap()
}

/// Commits an offset for a claim, and no records.
async fn commit(steps: &impl Steps, claim: &Claim, offset: u64) {
    let committed = Committed { offset, metadata: format!("at {offset}") };
    let step = Step { partition: claim.partition, epoch: claim.epoch, batches: vec![], committed };
    soon("step", steps.step(step)).await.unwrap();
}

/// Panics if the member hears of anything, however often it is asked.
async fn assert_hears_nothing(member: &mut impl Member) {
    for _ in 0..100 {
        match at_once(member.next()).await.transpose().unwrap() {
            None | Some(GroupEvent::Renewed { .. }) => breathe().await,
            Some(event) => panic!("{event:?}"),
        }
    }
}

pub async fn a_lone_member_claims_every_partition<L: Log>(log: L) {
    let (_member, claims) = lone_member(&log, "workers").await;
    assert_eq!(claims.keys().copied().collect::<Vec<_>>(), (0..PARTITIONS).collect::<Vec<_>>());
    for claim in claims.values() {
        assert!(claim.epoch > 0);
        assert_eq!(claim.committed, Committed::default(), "nothing was ever committed");
    }
}

pub async fn members_share_evenly<L: Log>(log: L) {
    let (mut one, mut owned) = lone_member(&log, "workers").await;
    let mut two = join(&log, "workers", "two").await;
    for _ in 0..ALL / 2 {
        let GroupEvent::Revoke { partition } = next_event(&mut one).await else { panic!("not a revocation") };
        assert!(owned.remove(&partition).is_some());
        one.release(partition);
    }
    let others = claims(&mut two, ALL / 2).await;
    assert!(others.keys().all(|partition| !owned.contains_key(partition)));
    assert_hears_nothing(&mut one).await;
    assert_hears_nothing(&mut two).await;
}

pub async fn a_partition_moves_only_after_its_release<L: Log>(log: L) {
    let (mut one, owned) = lone_member(&log, "workers").await;
    let mut two = join(&log, "workers", "two").await;
    let GroupEvent::Revoke { partition } = next_event(&mut one).await else { panic!("not a revocation") };
    assert_hears_nothing(&mut two).await;
    commit(&one.steps(), &owned[&partition], 0).await;
    assert_hears_nothing(&mut two).await;
    one.release(partition);
    let moved = claims(&mut two, 1).await;
    assert!(moved[&partition].epoch > owned[&partition].epoch);
}

pub async fn a_dropped_member_gives_up_its_claims<L: Log>(log: L) {
    let (one, owned) = lone_member(&log, "workers").await;
    let mut two = join(&log, "workers", "two").await;
    drop(one);
    let moved = claims(&mut two, ALL).await;
    assert!(moved.iter().all(|(partition, claim)| claim.epoch > owned[partition].epoch));
}

pub async fn each_claim_has_a_higher_epoch<L: Log>(log: L) {
    let mut last: BTreeMap<Partition, u64> = BTreeMap::new();
    for _ in 0..5 {
        let (member, claims) = lone_member(&log, "workers").await;
        for claim in claims.values() {
            let before = last.insert(claim.partition, claim.epoch).unwrap_or(0);
            assert!(claim.epoch > before, "epoch {} after {before}", claim.epoch);
        }
        drop(member);
    }
}

pub async fn what_was_not_committed_is_given_again<L: Log>(log: L) {
    for number in 0..6 {
        append(&log, Topic::Tasks, &key_in(1, number), &[number.to_string()]).await;
    }
    for _ in 0..2 {
        let mut member = join(&log, "workers", "one").await;
        let mut heard = Vec::new();
        while heard.len() < 6 {
            if let GroupEvent::Records(records) = next_event(&mut member).await {
                assert_eq!(records.partition, 1);
                heard.extend(texts(&[records]));
            }
        }
        assert_eq!(heard, (0..6).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

/// Three tasks in partition 1, of which the first two are committed. Gives the offset after each.
async fn two_of_three_done<L: Log>(log: &L) -> Vec<u64> {
    let mut ends = Vec::new();
    for number in 0..3 {
        ends.push(append(log, Topic::Tasks, &key_in(1, number), &[number.to_string()]).await.1 + 1);
    }
    let (member, claims) = lone_member(log, "workers").await;
    commit(&member.steps(), &claims[&1], ends[1]).await;
    ends
}

pub async fn a_claim_goes_on_at_the_committed_offset<L: Log>(log: L) {
    let ends = two_of_three_done(&log).await;
    let mut member = join(&log, "workers", "one").await;
    let (mut committed, mut heard) = (None, Vec::new());
    while heard.is_empty() {
        match next_event(&mut member).await {
            GroupEvent::Claimed { partition: 1, committed: found, .. } => committed = Some(found),
            GroupEvent::Records(records) => heard.extend(texts(&[records])),
            _ => {}
        }
    }
    assert_eq!(heard, ["2"]);
    assert_eq!(committed, Some(Committed { offset: ends[1], metadata: format!("at {}", ends[1]) }));
}

pub async fn a_lookback_reads_below_the_committed_offset<L: Log>(log: L) {
    two_of_three_done(&log).await;
    let mut member = soon("join", log.join("workers", "one", HOUR)).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 3 {
        if let GroupEvent::Records(records) = next_event(&mut member).await {
            heard.extend(texts(&[records]));
        }
    }
    assert_eq!(heard, ["0", "1", "2"]);
}

pub async fn a_paused_partition_gives_nothing_and_loses_nothing<L: Log>(log: L) {
    let (mut member, _claims) = lone_member(&log, "workers").await;
    append(&log, Topic::Tasks, &key_in(2, 0), &["before"]).await;
    assert_eq!(texts(&tasks(&mut member, 1).await), ["before"]);
    member.pause(2);
    for number in 0..3 {
        append(&log, Topic::Tasks, &key_in(2, number), &[number.to_string()]).await;
        append(&log, Topic::Tasks, &key_in(0, number), &["elsewhere"]).await;
    }
    assert!(tasks(&mut member, 3).await.iter().all(|records| records.partition == 0));
    assert_hears_nothing(&mut member).await;
    member.resume(2);
    assert_eq!(texts(&tasks(&mut member, 3).await), ["0", "1", "2"]);
    append(&log, Topic::Tasks, &key_in(2, 9), &["after"]).await;
    assert_eq!(texts(&tasks(&mut member, 1).await), ["after"]);
}

pub async fn a_dropped_next_of_a_member_loses_nothing<L: Log>(log: L) {
    const RECORDS: usize = 100;
    let mut member = join(&log, "workers", "one").await;
    let writer = tokio::spawn({
        let log = log.clone();
        async move {
            for (number, partition) in (0..RECORDS).zip((0..PARTITIONS).cycle()) {
                append(&log, Topic::Tasks, &key_in(partition, 0), &[number.to_string()]).await;
            }
        }
    });
    let heard = soon("a member whose next is dropped all the time", async {
        let (mut claims, mut heard) = (BTreeSet::new(), Vec::new());
        while heard.len() < RECORDS {
            match at_once(member.next()).await.transpose().unwrap() {
                Some(GroupEvent::Claimed { partition, .. }) => assert!(claims.insert(partition)),
                Some(GroupEvent::Records(records)) => {
                    assert!(claims.contains(&records.partition), "records before their claim");
                    heard.push(records);
                }
                None | Some(GroupEvent::Renewed { .. }) => breathe().await,
                Some(other) => panic!("{other:?} of a lone member"),
            }
        }
        heard
    });
    let heard = heard.await;
    assert_in_order(&heard);
    let numbers: BTreeSet<_> = texts(&heard).into_iter().collect();
    assert_eq!(numbers.len(), RECORDS);
    soon("the writer", writer).await.unwrap();
}

pub async fn groups_do_not_disturb_each_other<L: Log>(log: L) {
    let (mut one, claims) = lone_member(&log, "workers").await;
    let (mut other, others) = lone_member(&log, "others").await;
    commit(&one.steps(), &claims[&0], 7).await;
    append(&log, Topic::Tasks, &key_in(3, 0), &["for both"]).await;
    for member in [&mut one, &mut other] {
        assert_eq!(texts(&tasks(member, 1).await), ["for both"]);
    }
    commit(&other.steps(), &others[&0], 0).await;
    drop(other);
    let (_other, others) = lone_member(&log, "others").await;
    assert_eq!(others[&0].committed.offset, 0);
}
