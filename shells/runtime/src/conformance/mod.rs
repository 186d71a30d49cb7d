//! What every log port must keep to, each fact a function that is given a fresh log of [`PARTITIONS`] partitions.
//! [`conformance!`](crate::conformance!) makes a test of each.
//!
//! A fact must never wait for time to pass: it waits for what must happen, and [`PATIENCE`] only ends a test that
//! has failed.

#![allow(clippy::unwrap_used, reason = "a fact fails by panicking")]

pub mod appends;
pub mod claims;
pub mod steps;
pub mod tails;

use crate::ports::{Committed, Durability, Epoch, GroupEvent, Log, Member, Tail, TailEvent};
use baton_core::id::TaskId;
use baton_core::log::{Batch, Delivered, Offset, Partition, Topic, Values, partition_of};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::{Future, ready};
use std::time::Duration;

/// How many partitions each topic of the log under test has.
pub const PARTITIONS: u32 = 4;
/// After this long what should have happened won't happen any more.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Makes a test of each fact: `conformance!(tokio::test, fresh_log().await)`. The expression gives a log and
/// whatever must live as long as it does.
#[macro_export]
macro_rules! conformance {
    ($test:meta, $fresh:expr) => {
        $crate::conformance!(@facts $test, $fresh, appends:
            appends_come_back_in_order,
            values_come_back_byte_for_byte,
            a_key_lands_where_kafka_puts_it,
            one_append_may_go_to_many_topics,
            concurrent_appends_of_one_key_keep_order,
            a_dropped_append_future_neither_hangs_nor_breaks_the_log,
            a_range_is_read_exactly,
            a_range_of_nothing_is_empty,
            a_long_range_comes_in_pages,
        );
        $crate::conformance!(@facts $test, $fresh, tails:
            a_tail_catches_up_once_even_on_an_empty_topic,
            a_tail_catches_up_again_when_it_is_asked,
            a_tail_gives_what_was_there_before_it_says_so,
            a_tail_goes_on_with_what_comes_later,
            a_tail_from_a_time_skips_what_is_older,
            a_tail_hears_of_its_own_topic_alone,
            every_tail_gets_everything,
            a_tail_far_behind_misses_nothing,
            a_dropped_next_of_a_tail_loses_nothing,
        );
        $crate::conformance!(@facts $test, $fresh, claims:
            a_lone_member_claims_every_partition,
            members_share_evenly,
            a_partition_moves_only_after_its_release,
            a_dropped_member_gives_up_its_claims,
            each_claim_has_a_higher_epoch,
            what_was_not_committed_is_given_again,
            a_claim_goes_on_at_the_committed_offset,
            a_lookback_reads_below_the_committed_offset,
            a_paused_partition_gives_nothing_and_loses_nothing,
            a_dropped_next_of_a_member_loses_nothing,
            groups_do_not_disturb_each_other,
        );
        $crate::conformance!(@facts $test, $fresh, steps:
            steps_land_whole,
            a_step_of_an_old_epoch_is_fenced_and_changes_nothing,
            a_step_of_a_partition_that_nobody_holds_is_fenced,
            a_fenced_step_spoils_no_other,
            a_step_is_good_until_the_release,
            metadata_of_its_full_length_comes_back,
        );
    };
    (@facts $test:meta, $fresh:expr, $of:ident: $($fact:ident,)+) => {
        $(
            #[$test]
            async fn $fact() {
                let (log, guard) = $fresh;
                $crate::conformance::$of::$fact(log).await;
                drop(guard);
            }
        )+
    };
}

/// What `future` gives, or a failed test.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(PATIENCE, future).await;
    output.unwrap_or_else(|_| panic!("{what}: nothing came of it in {PATIENCE:?}"))
}

/// What `future` gives if it has it already.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = ready(()) => None,
    }
}

/// Lets everybody else go on, and the clock of a simulation too.
async fn breathe() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// The `number`th key that lands in `partition`.
fn key_in(partition: Partition, number: usize) -> TaskId {
    let keys = (0_u32..).map(|n| format!("task-{n}"));
    let mut here = keys.filter(|key| partition_of(key.as_bytes(), PARTITIONS) == partition);
    here.nth(number).unwrap().parse().unwrap()
}

fn values<T: AsRef<[u8]>>(texts: &[T]) -> Values {
    let (mut buffer, mut ends) = (Vec::new(), Vec::new());
    for text in texts {
        buffer.extend_from_slice(text.as_ref());
        ends.push(u32::try_from(buffer.len()).unwrap());
    }
    Values::from_parts(Bytes::from(buffer), ends).unwrap()
}

fn batch<T: AsRef<[u8]>>(topic: Topic, key: &TaskId, texts: &[T]) -> Batch {
    Batch { topic, key: key.clone(), values: values(texts) }
}

/// Appends one batch, and says where it went.
async fn append<T: AsRef<[u8]>>(log: &impl Log, topic: Topic, key: &TaskId, texts: &[T]) -> (Partition, Offset) {
    let appended = soon("append", log.append(vec![batch(topic, key, texts)], Durability::Synced)).await.unwrap();
    assert_eq!(appended.len(), 1);
    appended[0]
}

/// Every value of some batches as text, in order.
fn texts(batches: &[Delivered]) -> Vec<String> {
    batches.iter().flat_map(|batch| batch.values.iter().map(|value| String::from_utf8_lossy(value).into())).collect()
}

/// What a tail gives up to its `CaughtUp`.
async fn until_caught_up(tail: &mut impl Tail) -> Vec<Delivered> {
    let mut all = Vec::new();
    loop {
        match soon("catching up", tail.next()).await.unwrap() {
            TailEvent::Records(batches) => {
                assert!(!batches.is_empty() && batches.iter().all(|batch| !batch.values.is_empty()));
                all.extend(batches);
            }
            TailEvent::CaughtUp => return all,
            TailEvent::Skipped(partition) => panic!("{partition} was skipped, and nothing of it is gone"),
        }
    }
}

/// The next `count` records of a tail that has caught up.
async fn next_records(tail: &mut impl Tail, count: usize) -> Vec<Delivered> {
    let mut all: Vec<Delivered> = Vec::new();
    while all.iter().map(|batch| batch.values.len()).sum::<usize>() < count {
        match soon("the next records of a tail", tail.next()).await.unwrap() {
            TailEvent::Records(batches) => all.extend(batches),
            other => panic!("{other:?} of a tail that has caught up"),
        }
    }
    all
}

/// Panics unless the records of each partition come at rising offsets without a repetition.
fn assert_in_order(batches: &[Delivered]) {
    let mut ends = BTreeMap::new();
    for batch in batches {
        let end = ends.entry((batch.topic, batch.partition)).or_insert(0);
        assert!(batch.base_offset >= *end, "{} came after {end}", batch.base_offset);
        *end = batch.end_offset();
    }
}

/// A claim as a member was told of it.
struct Claim {
    partition: Partition,
    epoch: Epoch,
    committed: Committed,
}

/// The next event of a member, beside that its claims hold for longer.
async fn next_event(member: &mut impl Member) -> GroupEvent {
    loop {
        let event = soon("the next event of a member", member.next()).await.unwrap();
        if !matches!(event, GroupEvent::Renewed { .. }) {
            return event;
        }
    }
}

/// The next `count` claims of a member that hears of nothing else.
async fn claims(member: &mut impl Member, count: usize) -> BTreeMap<Partition, Claim> {
    let mut claims = BTreeMap::new();
    while claims.len() < count {
        match next_event(member).await {
            GroupEvent::Claimed { partition, epoch, committed } => {
                assert!(partition < PARTITIONS);
                let again = claims.insert(partition, Claim { partition, epoch, committed });
                assert!(again.is_none(), "claimed {partition} twice");
            }
            GroupEvent::Records(records) => {
                assert!(claims.contains_key(&records.partition), "records of an unclaimed partition");
            }
            other => panic!("{other:?} instead of a claim"),
        }
    }
    claims
}

/// A member that has claimed everything.
async fn lone_member<L: Log>(log: &L, group: &str) -> (L::Member, BTreeMap<Partition, Claim>) {
    let mut member = soon("join", log.join(group, "one", Duration::ZERO)).await.unwrap();
    let claims = claims(&mut member, PARTITIONS as usize).await;
    (member, claims)
}

/// The next `count` task records of a member that hears of nothing else.
async fn tasks(member: &mut impl Member, count: usize) -> Vec<Delivered> {
    let mut all: Vec<Delivered> = Vec::new();
    while all.iter().map(|batch| batch.values.len()).sum::<usize>() < count {
        match next_event(member).await {
            GroupEvent::Records(records) => all.push(records),
            other => panic!("{other:?} instead of records"),
        }
    }
    all
}

/// A text of exactly `characters` characters, no two parts of it alike.
fn long_text(characters: usize) -> String {
    let mut text = String::new();
    let mut number = 0;
    while text.len() < characters {
        write!(text, "{number},").unwrap();
        number += 1;
    }
    text.truncate(characters);
    text
}
