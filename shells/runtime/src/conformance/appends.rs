//! Facts of appending, and of reading a range back.

#![allow(missing_docs, reason = "the name of a fact says it")]

use super::{PARTITIONS, append, assert_in_order, at_once, batch, key_in, long_text, soon, texts, until_caught_up};
use crate::ports::{Durability, Log, TailFrom};
use baton_core::log::{Delivered, Offset, Partition, Topic, partition_of};

/// Everything on a topic.
async fn all(log: &impl Log, topic: Topic) -> Vec<Delivered> {
    let mut tail = soon("tail", log.tail(topic, TailFrom::Earliest)).await.unwrap();
    let all = until_caught_up(&mut tail).await;
    assert_in_order(&all);
    all
}

pub async fn appends_come_back_in_order<L: Log>(log: L) {
    let key = key_in(1, 0);
    let mut places: Vec<(Partition, Offset)> = Vec::new();
    for (append, durability) in [Durability::Synced, Durability::Written, Durability::Synced].into_iter().enumerate() {
        let batches = (0..2)
            .map(|b| batch(Topic::Progress, &key, &[format!("{append}.{b}.0"), format!("{append}.{b}.1")]))
            .collect();
        places.extend(soon("append", log.append(batches, durability)).await.unwrap());
    }
    let found = all(&log, Topic::Progress).await;
    let expected: Vec<_> = (0..12).map(|n| format!("{}.{}.{}", n / 4, n / 2 % 2, n % 2)).collect();
    assert_eq!(texts(&found), expected);
    assert!(places.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1), "{places:?}");
    for (number, (partition, offset)) in places.into_iter().enumerate() {
        let read = log.read(Topic::Progress, partition, offset, offset + 1, 1 << 20).await.unwrap();
        assert_eq!(texts(&read), [expected[number * 2].clone()], "an append's answer says where it is");
    }
    assert!(found.windows(2).all(|pair| pair[0].at <= pair[1].at), "the log's time went back");
    assert_eq!(soon("append", log.append(vec![], Durability::Synced)).await, Ok(vec![]));
    soon("append", log.append(vec![batch::<&str>(Topic::Progress, &key, &[])], Durability::Synced)).await.unwrap();
    assert_eq!(all(&log, Topic::Progress).await.len(), found.len(), "a batch of nothing is nothing");
}

pub async fn values_come_back_byte_for_byte<L: Log>(log: L) {
    let key = key_in(0, 0);
    let large = long_text(300_000);
    let odd: [&[u8]; 6] = [b"", b"\xff\xfe not UTF-8", b"\0\r\n", large.as_bytes(), b"", "\u{1f3c3}".as_bytes()];
    append(&log, Topic::Progress, &key, &odd).await;
    append(&log, Topic::Progress, &key, &[b""]).await;
    let found = all(&log, Topic::Progress).await;
    let values: Vec<&[u8]> = found.iter().flat_map(|batch| batch.values.iter()).collect();
    assert_eq!(values, [odd.as_slice(), &[b""]].concat());
    assert!(found.iter().all(|batch| batch.key == key.as_str().as_bytes() && batch.topic == Topic::Progress));
}

pub async fn a_key_lands_where_kafka_puts_it<L: Log>(log: L) {
    for number in 0..20 {
        let key = format!("key-{number}").parse().unwrap();
        let (partition, _) = append(&log, Topic::Tasks, &key, &["x"]).await;
        assert_eq!(partition, partition_of(key.as_str().as_bytes(), PARTITIONS), "{key}");
    }
}

pub async fn one_append_may_go_to_many_topics<L: Log>(log: L) {
    let (one, other) = (key_in(0, 0), key_in(3, 0));
    let batches = vec![
        batch(Topic::Tasks, &one, &["task"]),
        batch(Topic::Progress, &other, &["line", "line"]),
        batch(Topic::Control, &one, &["stop"]),
        batch(Topic::DeadLetters, &other, &["dead"]),
    ];
    let places = soon("append", log.append(batches, Durability::Synced)).await.unwrap();
    assert_eq!(places.iter().map(|(partition, _)| *partition).collect::<Vec<_>>(), [0, 3, 0, 3]);
    for (topic, expected) in [(Topic::Tasks, 1), (Topic::Progress, 2), (Topic::Control, 1), (Topic::DeadLetters, 1)] {
        assert_eq!(texts(&all(&log, topic).await).len(), expected, "{topic}");
    }
}

pub async fn concurrent_appends_of_one_key_keep_order<L: Log>(log: L) {
    const PRODUCERS: usize = 6;
    const APPENDS: usize = 30;
    let key = key_in(2, 0);
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let (log, key) = (log.clone(), key.clone());
            tokio::spawn(async move {
                for number in 0..APPENDS {
                    let lines: Vec<_> = (0..3).map(|line| format!("{producer}:{number}:{line}")).collect();
                    let durability = if number % 2 == 0 { Durability::Written } else { Durability::Synced };
                    log.append(vec![batch(Topic::Progress, &key, &lines)], durability).await.unwrap();
                }
            })
        })
        .collect();
    for producer in producers {
        soon("a producer", producer).await.unwrap();
    }
    let found = texts(&all(&log, Topic::Progress).await);
    for batch in found.chunks(3) {
        let stem = batch[0].strip_suffix('0').expect("the first line of a batch");
        assert_eq!(batch, [0, 1, 2].map(|line| format!("{stem}{line}")), "a batch was torn");
    }
    for producer in 0..PRODUCERS {
        let prefix = format!("{producer}:");
        let own: Vec<_> = found.iter().filter(|text| text.starts_with(&prefix)).cloned().collect();
        let expected: Vec<_> = (0..APPENDS * 3).map(|n| format!("{producer}:{}:{}", n / 3, n % 3)).collect();
        assert_eq!(own, expected);
    }
}

pub async fn a_dropped_append_future_neither_hangs_nor_breaks_the_log<L: Log>(log: L) {
    let key = key_in(1, 0);
    for number in 0..40 {
        let lines = [format!("{number}.a"), format!("{number}.b")];
        let append = log.append(vec![batch(Topic::Progress, &key, &lines)], Durability::Synced);
        // Polled once at most, then dropped with whatever it had begun.
        let _ = at_once(append).await;
    }
    append(&log, Topic::Progress, &key, &["last"]).await;
    let mut found = texts(&all(&log, Topic::Progress).await);
    assert_eq!(found.iter().filter(|text| *text == "last").count(), 1);
    found.retain(|text| text != "last");
    for pair in found.chunks(2) {
        assert!(pair.len() == 2 && pair[0].replace(".a", ".b") == pair[1], "half of an append: {pair:?}");
    }
    let mut distinct = found.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), found.len(), "an append happened twice");
}

pub async fn a_range_is_read_exactly<L: Log>(log: L) {
    let key = key_in(3, 0);
    let mut offsets = Vec::new();
    for batch in 0..3 {
        let lines: Vec<_> = (0..10).map(|line| format!("{batch}{line}")).collect();
        let (_, base) = append(&log, Topic::Progress, &key, &lines).await;
        offsets.extend(base..base + 10);
    }
    append(&log, Topic::Progress, &key_in(0, 0), &["of another partition"]).await;
    for (from, to) in [(0, 30), (0, 1), (3, 7), (9, 11), (10, 20), (5, 25), (29, 30), (12, 12)] {
        let end = offsets.get(to).copied().unwrap_or(offsets[29] + 1);
        let read = log.read(Topic::Progress, 3, offsets[from], end, 1 << 20).await.unwrap();
        let expected: Vec<_> = (from..to).map(|n| format!("{n:02}")).collect();
        assert_eq!(texts(&read), expected, "{from}..{to}");
        assert!(read.first().is_none_or(|first| first.base_offset == offsets[from]));
    }
}

pub async fn a_range_of_nothing_is_empty<L: Log>(log: L) {
    assert_eq!(log.read(Topic::Progress, 0, 0, 100, 1 << 20).await, Ok(vec![]));
    let (partition, offset) = append(&log, Topic::Progress, &key_in(0, 0), &["only"]).await;
    assert_eq!(log.read(Topic::Progress, partition, offset + 1, offset + 9, 1 << 20).await, Ok(vec![]));
    assert_eq!(log.read(Topic::Progress, 1, 0, 100, 1 << 20).await, Ok(vec![]));
}

pub async fn a_long_range_comes_in_pages<L: Log>(log: L) {
    let key = key_in(2, 0);
    let line = long_text(4_000);
    for _ in 0..20 {
        append(&log, Topic::Progress, &key, &[&line, &line]).await;
    }
    let (mut from, mut count, mut pages) = (0, 0, 0);
    loop {
        let page = log.read(Topic::Progress, 2, from, 1 << 40, 20_000).await.unwrap();
        let Some(last) = page.last() else { break };
        from = last.end_offset();
        count += texts(&page).len();
        pages += 1;
    }
    assert_eq!(count, 40);
    assert!(pages >= 5, "{pages} pages of 20 kB for 160 kB");
    let tiny = log.read(Topic::Progress, 2, 0, 1 << 40, 1).await.unwrap();
    assert!(!tiny.is_empty(), "one batch comes, however long");
}
