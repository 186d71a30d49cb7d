//! Measures the embedded log on this machine's disk: `cargo run --release -p baton-local --example measure [DIR]`.
//! It must never be read as a test: it asserts nothing.

use baton_core::id::TaskId;
use baton_core::log::{Batch, Topic, ValuesBuilder};
use baton_local::{LocalLog, Options};
use baton_runtime::ports::{Durability, Log, LogError, Tail, TailEvent, TailFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn lines(key: &TaskId, count: usize) -> Batch {
    let mut builder = ValuesBuilder::default();
    for number in 0..count {
        builder.push_with(|buffer| {
            buffer.extend_from_slice(format!("{{\"n\":{number:08},\"text\":\"{}\"}}", "x".repeat(74)).as_bytes());
        });
    }
    Batch { topic: Topic::Progress, key: key.clone(), values: builder.take() }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 1_000];
    println!("{what:<48} p50 {:>9.1?}  p99 {:>9.1?}  max {:>9.1?}", at(500), at(990), at(1_000));
}

async fn appends(
    log: &LocalLog,
    key: &TaskId,
    durability: Durability,
    lines_each: usize,
) -> Result<Vec<Duration>, LogError> {
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let batch = lines(key, lines_each);
        let begun = Instant::now();
        log.append(vec![batch], durability).await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// From the call of append to the record in the hands of a tail.
async fn deliveries(log: &LocalLog, key: &TaskId, durability: Durability) -> Outcome<Vec<Duration>> {
    let mut tail = log.tail(Topic::Progress, TailFrom::Earliest).await?;
    while tail.next().await? != TailEvent::CaughtUp {}
    let (give, mut given) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok(TailEvent::Records(_)) = tail.next().await {
            if give.send(Instant::now()).await.is_err() {
                return;
            }
        }
    });
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let batch = lines(key, 1);
        let begun = Instant::now();
        let append = tokio::spawn({
            let log = log.clone();
            async move { log.append(vec![batch], durability).await }
        });
        let arrived = given.recv().await.ok_or("the tail ended")?;
        times.push(arrived.duration_since(begun));
        append.await??;
    }
    Ok(times)
}

/// Lines a second from appends of `each` lines, `at_once` of them under way, to a tail.
async fn flood(log: &LocalLog, key: &TaskId, each: usize, at_once: usize, total: usize) -> Outcome<f64> {
    let mut tail = log.tail(Topic::Progress, TailFrom::Earliest).await?;
    while tail.next().await? != TailEvent::CaughtUp {}
    let batch = lines(key, each);
    let begun = Instant::now();
    let mut writers = Vec::new();
    for _ in 0..at_once {
        let (log, batch) = (log.clone(), batch.clone());
        writers.push(tokio::spawn(async move {
            for _ in 0..total / each / at_once {
                log.append(vec![batch.clone()], Durability::Written).await?;
            }
            Ok::<_, LogError>(())
        }));
    }
    let mut left = total / each / at_once * at_once * each;
    while left > 0 {
        if let TailEvent::Records(batches) = tail.next().await? {
            left -= batches.iter().map(|batch| batch.values.len()).sum::<usize>();
        }
    }
    for writer in writers {
        writer.await??;
    }
    #[allow(clippy::cast_precision_loss)] // a report
    Ok(total as f64 / begun.elapsed().as_secs_f64())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let dir = match std::env::args().nth(1) {
        Some(dir) => PathBuf::from(dir),
        None => tempfile::tempdir()?.keep(),
    };
    let begun = Instant::now();
    let log = LocalLog::open(&dir, &Options::default())?;
    println!("{:<48} {:?}", "open", begun.elapsed());
    let key: TaskId = "a-task".parse()?;
    report("append of 1 line, synced", appends(&log, &key, Durability::Synced, 1).await?);
    report("append of 1 line, written", appends(&log, &key, Durability::Written, 1).await?);
    report("append of 300 lines, written", appends(&log, &key, Durability::Written, 300).await?);
    report("append to tail, synced", deliveries(&log, &key, Durability::Synced).await?);
    report("append to tail, written", deliveries(&log, &key, Durability::Written).await?);
    for (each, at_once) in [(100, 1), (300, 1), (600, 1), (300, 4), (1, 256)] {
        let total = if each == 1 { 100_000 } else { 3_000_000 };
        let speed = flood(&log, &key, each, at_once, total).await?;
        println!("{:<48} {speed:>9.0} lines/s", format!("{at_once} writers of {each} lines to a tail"));
    }
    let begun = Instant::now();
    let mut tail = log.tail(Topic::Progress, TailFrom::Earliest).await?;
    let mut count = 0;
    while let TailEvent::Records(batches) = tail.next().await? {
        count += batches.iter().map(|batch| batch.values.len()).sum::<usize>();
    }
    println!("{:<48} {count} lines in {:?}", "a tail from the file", begun.elapsed());
    drop((tail, log));
    let begun = Instant::now();
    drop(LocalLog::open(&dir, &Options::default())?);
    println!("{:<48} {:?}", "open again, and close", begun.elapsed());
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
