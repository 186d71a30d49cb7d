//! What the embedded log owes beyond the port: it outlives its process, keeps its directory to itself, forgets in
//! time, and says clearly what is wrong.

#![allow(clippy::unwrap_used)]

use baton_core::id::TaskId;
use baton_core::log::{Batch, Delivered, Topic, Values};
use baton_local::{LocalLog, OpenError, Options};
use baton_runtime::ports::{
    Committed, Durability, GroupEvent, Log, LogError, Member, Step, StepError, Steps, Tail, TailEvent, TailFrom,
};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn options() -> Options {
    Options { partitions: 4, ..Options::default() }
}

fn open(dir: &Path) -> LocalLog {
    LocalLog::open(dir, &options()).unwrap()
}

fn refused(dir: &Path, options: &Options) -> OpenError {
    LocalLog::open(dir, options).err().expect("an open that is refused")
}

fn batch(topic: Topic, key: &str, text: &str) -> Batch {
    Batch::one(topic, key.parse().unwrap(), text.to_owned())
}

async fn append(log: &LocalLog, topic: Topic, key: &str, text: &str) -> Result<u64, LogError> {
    let places = log.append(vec![batch(topic, key, text)], Durability::Written).await?;
    Ok(places[0].1)
}

async fn all(log: &LocalLog, topic: Topic) -> Vec<Delivered> {
    let mut tail = log.tail(topic, TailFrom::Earliest).await.unwrap();
    let mut all = Vec::new();
    while let TailEvent::Records(batches) = tail.next().await.unwrap() {
        all.extend(batches);
    }
    all
}

fn texts(batches: &[Delivered]) -> Vec<String> {
    batches.iter().flat_map(|batch| batch.values.iter().map(|value| String::from_utf8_lossy(value).into())).collect()
}

/// A member that has the given number of claims, and the claims' partitions, epochs and ledgers.
async fn member(log: &LocalLog, count: usize) -> (baton_local::LocalMember, Vec<(u32, u64, Committed)>) {
    let mut member = log.join("workers", "one", Duration::ZERO).await.unwrap();
    let mut claims = Vec::new();
    while claims.len() < count {
        if let GroupEvent::Claimed { partition, epoch, committed } = member.next().await.unwrap() {
            claims.push((partition, epoch, committed));
        }
    }
    claims.sort_by_key(|claim| claim.0);
    (member, claims)
}

/// Asks until the answer is yes.
async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let begun = Instant::now();
    while !ask().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: it never happened");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_log_that_is_opened_again_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut epochs = Vec::new();
    for round in 0..3_u64 {
        let log = open(dir.path());
        assert_eq!(append(&log, Topic::Progress, "abc", &round.to_string()).await, Ok(round));
        let found = all(&log, Topic::Progress).await;
        assert_eq!(texts(&found), (0..=round).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(found.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let (member, claims) = member(&log, 4).await;
        let (partition, epoch, committed) = claims[1].clone();
        assert_eq!(committed.offset, round * 10, "the ledger of the round before");
        epochs.push(epoch);
        let committed = Committed { offset: (round + 1) * 10, metadata: "ledger".to_owned() };
        member.steps().step(Step { partition, epoch, batches: vec![], committed }).await.unwrap();
    }
    assert!(epochs.windows(2).all(|pair| pair[0] < pair[1]), "{epochs:?}");
}

#[tokio::test]
async fn a_directory_serves_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let message = refused(dir.path(), &options()).to_string();
    let (path, pid) = (dir.path().display(), std::process::id());
    assert_eq!(message, format!("{path} is in use by baton process {pid}; stop it, or give another --data directory"));
    let tail = log.tail(Topic::Tasks, TailFrom::Earliest).await.unwrap();
    drop(log);
    assert!(matches!(refused(dir.path(), &options()), OpenError::InUse { .. }), "its tail still lives");
    drop(tail);
    drop(open(dir.path()));
}

#[test]
fn what_cannot_be_opened_is_said_clearly() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let file = dir.path().join("log.sqlite");
    assert!(!dir.path().join("log.sqlite-wal").exists(), "a log that was closed is one file");

    let other = refused(dir.path(), &Options { partitions: 8, ..options() }).to_string();
    assert!(other.contains("made with 4 partitions, not 8") && other.contains("--partitions 4"), "{other}");
    assert!(matches!(refused(dir.path(), &Options { partitions: 0, ..options() }), OpenError::BadPartitions { .. }));
    assert!(matches!(refused(&file, &options()), OpenError::NotWritable { .. }), "a file is no directory");

    let good = fs::read(&file).unwrap();
    for (at, what) in [(0, "the header"), (4_096, "all but the header")] {
        let mut bad = good.clone();
        bad[at..].fill(0x5a);
        fs::write(&file, bad).unwrap();
        let error = refused(dir.path(), &options());
        assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error}");
        assert!(error.to_string().contains("log.sqlite is damaged"), "{error}");
    }

    fs::write(&file, &good).unwrap();
    let pragma = |pragma: &str| rusqlite::Connection::open(&file).unwrap().execute_batch(pragma).unwrap();
    pragma("PRAGMA user_version = 99");
    assert!(matches!(refused(dir.path(), &options()), OpenError::Newer { found: 99, .. }));
    pragma("PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert!(matches!(refused(dir.path(), &options()), OpenError::Foreign { .. }));
    fs::write(&file, &good).unwrap();
    drop(open(dir.path()));
}

#[tokio::test]
async fn a_damaged_record_is_an_error_and_never_a_wrong_record() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, Topic::Progress, "abc", "one").await.unwrap();
    drop(log);
    let spoil = "UPDATE batches SET count = 2";
    rusqlite::Connection::open(dir.path().join("log.sqlite")).unwrap().execute_batch(spoil).unwrap();
    let log = open(dir.path());
    let mut tail = log.tail(Topic::Progress, TailFrom::Earliest).await.unwrap();
    let error = tail.next().await.unwrap_err();
    assert!(matches!(&error, LogError::Fatal(why) if why.contains("does not hold the 2 records")), "{error}");
}

#[tokio::test]
async fn a_full_file_refuses_and_then_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: Some(400_000), retention: Duration::from_millis(200), ..options() };
    let log = LocalLog::open(dir.path(), &options).unwrap();
    let (member, claims) = member(&log, 4).await;
    let (partition, epoch, _) = claims[0];
    let mut accepted = BTreeSet::new();
    let begun = Instant::now();
    let error = loop {
        assert!(begun.elapsed() < PATIENCE, "it never became full");
        match append(&log, Topic::Progress, "abc", &"x".repeat(50_000)).await {
            Ok(offset) => assert!(accepted.insert(offset), "{offset} was given twice"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, LogError::Unavailable(why) if why.contains("no room left")), "{error}");
    let committed = Committed { offset: 9, metadata: "x".repeat(4_000) };
    let text = "x".repeat(300_000);
    let step = Step { partition, epoch, batches: vec![batch(Topic::Progress, "abc", &text)], committed };
    let refused = member.steps().step(step.clone()).await;
    assert!(matches!(refused, Err(StepError::Log(LogError::Unavailable(_)))), "{refused:?}");
    // What is too old goes, which makes room.
    until("room for a record", async || append(&log, Topic::Progress, "abc", "small").await.is_ok()).await;
    until("room for the step", async || member.steps().step(step.clone()).await.is_ok()).await;
}

#[tokio::test]
async fn old_records_go_and_unfinished_tasks_stay() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { retention: Duration::from_millis(50), ..options() };
    let log = LocalLog::open(dir.path(), &options).unwrap();
    for text in ["first", "second"] {
        append(&log, Topic::Tasks, "abc", text).await.unwrap();
        append(&log, Topic::Progress, "abc", text).await.unwrap();
    }
    until("the lines go", async || all(&log, Topic::Progress).await.is_empty()).await;
    assert_eq!(texts(&all(&log, Topic::Tasks).await), ["first", "second"], "nobody has run them yet");
    assert_eq!(log.read(Topic::Progress, 0, 0, 100, 1_000).await, Ok(vec![]));

    let (member, claims) = member(&log, 4).await;
    let own = all(&log, Topic::Tasks).await[0].partition;
    let commit = async |offset| {
        let (partition, epoch, _) = claims[own as usize];
        let committed = Committed { offset, metadata: String::new() };
        member.steps().step(Step { partition, epoch, batches: vec![], committed }).await.unwrap();
    };
    commit(1).await;
    until("the finished task goes", async || texts(&all(&log, Topic::Tasks).await) == ["second"]).await;
    commit(2).await;
    until("both go", async || all(&log, Topic::Tasks).await.is_empty()).await;
    drop((member, log));

    let log = LocalLog::open(dir.path(), &options).unwrap();
    assert_eq!(append(&log, Topic::Tasks, "abc", "third").await, Ok(2), "offsets begin anew");
    assert_eq!(append(&log, Topic::Progress, "abc", "third").await, Ok(2), "offsets begin anew");
}

#[tokio::test]
async fn more_than_the_queue_holds_waits_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let body = Values::one(Bytes::from(vec![b'x'; 1 << 20]));
    let mut appends = Vec::new();
    for number in 0..80 {
        let key: TaskId = format!("task-{number}").parse().unwrap();
        let (log, values) = (log.clone(), body.clone());
        appends.push(tokio::spawn(async move {
            log.append(vec![Batch { topic: Topic::Progress, key, values }], Durability::Written).await
        }));
    }
    for append in appends {
        append.await.unwrap().unwrap();
    }
    assert_eq!(all(&log, Topic::Progress).await.len(), 80);
}

#[tokio::test]
async fn the_write_ahead_log_stays_bounded_while_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move {
                loop {
                    all(&log, Topic::Progress).await;
                }
            })
        })
        .collect();
    let text = "x".repeat(250_000);
    let mut largest = 0;
    for _ in 0..800 {
        append(&log, Topic::Progress, "abc", &text).await.unwrap();
        largest = largest.max(fs::metadata(dir.path().join("log.sqlite-wal")).map_or(0, |file| file.len()));
    }
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(largest < 72 << 20, "{largest} bytes after 200 MB");
}

const CHILD_DIR: &str = "BATON_TEST_CHILD_DIR";

/// Not a test: what [`nothing_acknowledged_is_lost_to_sigkill`] runs, and kills.
#[tokio::test]
#[ignore = "run by another test"]
async fn child_that_appends_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let log = open(Path::new(&dir));
    let (member, claims) = member(&log, 4).await;
    let mut tasks = Vec::new();
    for producer in 0..3_usize {
        let (log, steps) = (log.clone(), member.steps());
        let (partition, epoch, committed) = claims[producer].clone();
        tasks.push(tokio::spawn(async move {
            for number in committed.offset + 1.. {
                let text = format!("{}:{producer}:{number}", std::process::id());
                let line = batch(Topic::Progress, &format!("task-{producer}"), &text);
                if producer == 0 {
                    let committed = Committed { offset: number, metadata: text.clone() };
                    steps.step(Step { partition, epoch, batches: vec![line], committed }).await.unwrap();
                } else {
                    let durability = [Durability::Written, Durability::Synced][producer - 1];
                    log.append(vec![line], durability).await.unwrap();
                }
                let mut out = std::io::stdout().lock();
                writeln!(out, "ack {text}").and_then(|()| out.flush()).unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_to_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for acks in [1, 40, 400, 1_500] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed", "--ignored", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut seen) = (String::new(), 0);
        while out.read_line(&mut line).unwrap() > 0 {
            // A line without its end was cut by the kill: nobody got that acknowledgement.
            if let Some(text) = line.strip_prefix("ack ").and_then(|line| line.strip_suffix('\n')) {
                acknowledged.insert(text.to_owned());
                seen += 1;
                if seen == acks {
                    child.kill().unwrap();
                }
            }
            line.clear();
        }
        child.wait().unwrap();
        assert!(seen >= acks, "the child ended by itself");

        let log = open(dir.path());
        let found: BTreeSet<_> = texts(&all(&log, Topic::Progress).await).into_iter().collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
        let (_member, claims) = member(&log, 4).await;
        let ledger = &claims[0].2.metadata;
        assert!(found.contains(ledger), "the ledger {ledger} is there, and its record is not");
        let steps = found.iter().filter(|text| text.split(':').nth(1) == Some("0")).count();
        assert_eq!(steps as u64, claims[0].2.offset, "records of steps, and the ledger");
    }
}
