//! Facts of tails.

#![allow(missing_docs, reason = "the name of a fact says it")]

use super::{append, assert_in_order, at_once, breathe, key_in, long_text, next_records, soon, texts, until_caught_up};
use crate::ports::{Log, Tail, TailEvent, TailFrom};
use baton_core::log::Topic;
use baton_core::time::Timestamp;
use std::time::Duration;

pub async fn a_tail_catches_up_once_even_on_an_empty_topic<L: Log>(log: L) {
    for from in [TailFrom::Earliest, TailFrom::Time(Timestamp::from_millis(1))] {
        let mut tail = soon("tail", log.tail(Topic::Control, from)).await.unwrap();
        assert_eq!(until_caught_up(&mut tail).await, vec![]);
        append(&log, Topic::Progress, &key_in(0, 0), &["elsewhere"]).await;
        assert_eq!(at_once(tail.next()).await, None, "caught up twice, or of another topic");
    }
    let mut tail = soon("tail", log.tail(Topic::Control, TailFrom::Earliest)).await.unwrap();
    assert_eq!(until_caught_up(&mut tail).await, vec![]);
    append(&log, Topic::Control, &key_in(0, 0), &["stop"]).await;
    assert_eq!(texts(&next_records(&mut tail, 1).await), ["stop"]);
}

pub async fn a_tail_catches_up_again_when_it_is_asked<L: Log>(log: L) {
    let mut tail = soon("tail", log.tail(Topic::Control, TailFrom::Earliest)).await.unwrap();
    // Asked before it was there the first time: what came meanwhile belongs to it.
    append(&log, Topic::Control, &key_in(0, 0), &["first"]).await;
    tail.catch_up();
    assert_eq!(texts(&until_caught_up(&mut tail).await), ["first"]);
    for number in 0..3 {
        append(&log, Topic::Control, &key_in(number, 0), &[number.to_string()]).await;
        tail.catch_up();
        assert_eq!(texts(&until_caught_up(&mut tail).await), [number.to_string()]);
    }
    tail.catch_up();
    assert_eq!(until_caught_up(&mut tail).await, vec![]);
    assert_eq!(at_once(tail.next()).await, None, "caught up twice");
}

pub async fn a_tail_gives_what_was_there_before_it_says_so<L: Log>(log: L) {
    for number in 0..10 {
        append(&log, Topic::Progress, &key_in(number % 4, 0), &[number.to_string()]).await;
    }
    let mut tail = soon("tail", log.tail(Topic::Progress, TailFrom::Earliest)).await.unwrap();
    let found = until_caught_up(&mut tail).await;
    assert_in_order(&found);
    let mut found = texts(&found);
    found.sort();
    assert_eq!(found, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
}

pub async fn a_tail_goes_on_with_what_comes_later<L: Log>(log: L) {
    let key = key_in(1, 0);
    append(&log, Topic::Progress, &key, &["before"]).await;
    let mut tail = soon("tail", log.tail(Topic::Progress, TailFrom::Earliest)).await.unwrap();
    assert_eq!(texts(&until_caught_up(&mut tail).await), ["before"]);
    for number in 0..50 {
        let lines = [format!("{number}.a"), format!("{number}.b")];
        append(&log, Topic::Progress, &key, &lines).await;
        assert_eq!(texts(&next_records(&mut tail, 2).await), lines);
    }
}

pub async fn a_tail_from_a_time_skips_what_is_older<L: Log>(log: L) {
    let key = key_in(2, 0);
    append(&log, Topic::Progress, &key, &["first"]).await;
    let mut reader = soon("tail", log.tail(Topic::Progress, TailFrom::Earliest)).await.unwrap();
    let first = until_caught_up(&mut reader).await[0].at;
    // However coarse the log's clock is, it ticks in the end.
    let ticked = soon("the log's clock", async {
        loop {
            append(&log, Topic::Progress, &key, &["later"]).await;
            let records = next_records(&mut reader, 1).await;
            if records[0].at > first {
                return records[0].clone();
            }
            tokio::task::yield_now().await;
        }
    });
    let ticked = ticked.await;
    append(&log, Topic::Progress, &key, &["last"]).await;
    let mut tail = soon("tail", log.tail(Topic::Progress, TailFrom::Time(ticked.at))).await.unwrap();
    let found = until_caught_up(&mut tail).await;
    assert_eq!(texts(&found), ["later", "last"]);
    assert_eq!(found[0].base_offset, ticked.base_offset);

    let mut tail = soon("tail", log.tail(Topic::Progress, TailFrom::Time(first))).await.unwrap();
    assert_eq!(texts(&until_caught_up(&mut tail).await)[0], "first");
    let to_come = TailFrom::Time(ticked.at.plus(Duration::from_hours(24)));
    let mut tail = soon("tail", log.tail(Topic::Progress, to_come)).await.unwrap();
    assert_eq!(until_caught_up(&mut tail).await, vec![]);
}

pub async fn a_tail_hears_of_its_own_topic_alone<L: Log>(log: L) {
    let key = key_in(0, 0);
    let mut tail = soon("tail", log.tail(Topic::Control, TailFrom::Earliest)).await.unwrap();
    until_caught_up(&mut tail).await;
    for topic in [Topic::Tasks, Topic::Progress, Topic::DeadLetters, Topic::Control] {
        append(&log, topic, &key, &[topic.name()]).await;
    }
    assert_eq!(texts(&next_records(&mut tail, 1).await), ["task-control"]);
}

pub async fn every_tail_gets_everything<L: Log>(log: L) {
    let mut tails = Vec::new();
    for _ in 0..3 {
        let mut tail = soon("tail", log.tail(Topic::Progress, TailFrom::Earliest)).await.unwrap();
        until_caught_up(&mut tail).await;
        tails.push(tail);
    }
    let writer = tokio::spawn({
        let log = log.clone();
        async move {
            for number in 0..100 {
                append(&log, Topic::Progress, &key_in(number % 4, 0), &[number.to_string()]).await;
            }
        }
    });
    for tail in &mut tails {
        let found = next_records(tail, 100).await;
        assert_in_order(&found);
        assert_eq!(texts(&found).len(), 100);
    }
    soon("the writer", writer).await.unwrap();
}

pub async fn a_tail_far_behind_misses_nothing<L: Log>(log: L) {
    const BATCHES: usize = 300;
    let mut tail = soon("tail", log.tail(Topic::Progress, TailFrom::Earliest)).await.unwrap();
    until_caught_up(&mut tail).await;
    // More than any log keeps at hand for its readers.
    let line = long_text(60_000);
    for number in 0..BATCHES {
        append(&log, Topic::Progress, &key_in(3, 0), &[number.to_string(), line.clone()]).await;
    }
    let late = soon("tail", log.tail(Topic::Progress, TailFrom::Earliest)).await.unwrap();
    for mut tail in [tail, late] {
        let mut found = Vec::new();
        while found.len() < BATCHES * 2 {
            if let TailEvent::Records(batches) = soon("a tail", tail.next()).await.unwrap() {
                found.extend(texts(&batches));
            }
        }
        for (number, pair) in found.chunks(2).enumerate() {
            assert_eq!(pair[0], number.to_string());
            assert!(pair[1] == line, "record {number} is damaged");
        }
    }
}

pub async fn a_dropped_next_of_a_tail_loses_nothing<L: Log>(log: L) {
    const RECORDS: usize = 200;
    let key = key_in(1, 0);
    append(&log, Topic::Progress, &key, &["0"]).await;
    let mut tail = soon("tail", log.tail(Topic::Progress, TailFrom::Earliest)).await.unwrap();
    let writer = tokio::spawn({
        let log = log.clone();
        async move {
            for number in 1..RECORDS {
                append(&log, Topic::Progress, &key, &[number.to_string()]).await;
            }
        }
    });
    let found = soon("a tail that is dropped all the time", async {
        let (mut found, mut caught_up) = (Vec::new(), 0);
        while found.len() < RECORDS || caught_up == 0 {
            match at_once(tail.next()).await {
                Some(event) => match event.unwrap() {
                    TailEvent::Records(batches) => found.extend(texts(&batches)),
                    TailEvent::CaughtUp => caught_up += 1,
                    TailEvent::Skipped(partition) => panic!("{partition} was skipped"),
                },
                None => breathe().await,
            }
        }
        assert_eq!(caught_up, 1);
        found
    });
    assert_eq!(found.await, (0..RECORDS).map(|number| number.to_string()).collect::<Vec<_>>());
    soon("the writer", writer).await.unwrap();
}
