//! Measures of what only Kafka has: its own rate beside Baton's, an API that has much to read as it starts, and workers that die.
//! On the embedded log they measure nothing.

use crate::Result;
use crate::clients::WebSocket;
use crate::server::{Baton, FIRST, kafka};
use crate::stats::{Row, Samples, milliseconds};
use baton_core::id::{TaskId, UpdateId};
use baton_core::record::{Kind, ProgressRecord};
use baton_core::time::Timestamp;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use std::thread::sleep;
use std::time::{Duration, Instant};

const RETAINED_TASKS: usize = 5;
const RETAINED_LINES: u64 = 200_000;
const STARTS: usize = 3;
const DEATHS: usize = 5;
/// The least that brokers take without being told otherwise, and what Baton has by itself.
const SESSION: Duration = Duration::from_secs(6);
/// Within which a task is to be attempted again after the session, and by a worker that is back under its name.
const AFTER_SESSION: Duration = Duration::from_secs(1);
const UNDER_ITS_NAME: Duration = Duration::from_secs(2);
/// Long enough for a fresh session to be all that is left of it.
const SETTLES: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// So many lines as records like Baton's from a bare producer to a bare consumer, of librdkafka's and nothing else: from the
/// first that is sent to the last that is read.
pub fn bare_lines(count: u64) -> Result<Duration> {
    let kafka = kafka().ok_or("only on Kafka")?;
    let topic = format!("measure-bare-{}-{}", std::process::id(), crate::agent::monotonic_nanos());
    make_topic(&kafka, &topic)?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka).set("group.id", &topic).set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.set("enable.auto.commit", "false").create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Beginning)?;
    consumer.assign(&list)?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka).set("enable.idempotence", "true").set("compression.type", "lz4");
    let producer: BaseProducer = config.set("linger.ms", "0").create()?;
    // Both are connected before the clock runs.
    consumer.fetch_metadata(Some(&topic), PATIENCE)?;
    producer.client().fetch_metadata(Some(&topic), PATIENCE)?;
    let reading = std::thread::spawn(move || read(&consumer, count));
    let begun = Instant::now();
    let id = TaskId::from_random([7; 16]);
    let mut value = Vec::new();
    for seq in 1..=count {
        value.clear();
        let line = format!("{:07} Processing row {} of {count}", seq - 1, seq - 1);
        let at = Timestamp::from_millis(1_763_000_000_123);
        ProgressRecord::new(&id, UpdateId { attempt: 1, seq }, Kind::Line, at, line).write_to(&mut value);
        let mut record = BaseRecord::to(&topic).partition(0).key(id.as_str()).payload(value.as_slice());
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    producer.poll(Duration::from_millis(1));
                    record = back;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        if seq % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE)?;
    reading.join().map_err(|_| "the reader broke")??;
    Ok(begun.elapsed())
}

fn read(consumer: &BaseConsumer, count: u64) -> Result<()> {
    for _ in 0..count {
        consumer.poll(PATIENCE).ok_or("a record is missing")??;
    }
    Ok(())
}

fn make_topic(kafka: &str, topic: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", kafka).create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new()))?;
    made.into_iter().try_for_each(|made| made.map(drop).map_err(|(topic, code)| format!("{topic}: {code}").into()))
}

/// How long an API takes to be ready that has a million updates to read.
pub fn retained() -> Result<Vec<Row>> {
    if kafka().is_none() {
        return Ok(Vec::new());
    }
    let baton = Baton::start(&[])?;
    let params = json!({"count": RETAINED_LINES.to_string(), "buffer": "8192"});
    for _ in 0..RETAINED_TASKS {
        let id = baton.submit("lines", &params)?;
        baton.ended(&id)?;
    }
    let starts = (0..STARTS).map(|_| Ok(baton.replica()?.1)).collect::<Result<Vec<_>>>()?;
    let starts = Samples::new(starts);
    #[allow(clippy::cast_precision_loss)]
    let rate = (RETAINED_TASKS as u64 * RETAINED_LINES) as f64 / starts.median().as_secs_f64();
    let what = format!("start-up of an API over {} updates, p50 of {STARTS}", RETAINED_TASKS as u64 * RETAINED_LINES);
    let figure = format!("{:.2} s", starts.median().as_secs_f64());
    Ok(vec![Row::new(what, figure).beside(format!("{rate:.0} updates/s"))])
}

/// From a worker's SIGKILL to the next attempt's opening at a watcher: at another worker, and at the same one that is started at once
/// under its name.
pub fn redelivery() -> Result<Vec<Row>> {
    if kafka().is_none() {
        return Ok(Vec::new());
    }
    let (mut elsewhere, mut again) = (Vec::new(), Vec::new());
    for _ in 0..DEATHS {
        elsewhere.push(death_among_two()?);
        again.push(death_of_a_named_one()?);
    }
    let row = |what: &str, took: Vec<Duration>, target| {
        let took = Samples::new(took);
        let beside = format!("p50 {:.0} ms", milliseconds(took.median()));
        Row::below(format!("{what}, worst of {DEATHS}"), took.percentile(100), target).beside(beside)
    };
    Ok(vec![
        row("SIGKILL of a worker to the next attempt elsewhere", elsewhere, SESSION + AFTER_SESSION),
        row("the same of a worker that is back under its name", again, UNDER_ITS_NAME),
    ])
}

fn death_among_two() -> Result<Duration> {
    const SECOND: &str = "second";
    let mut baton = Baton::start(&[])?;
    let mut second = baton.another_worker(SECOND, &[])?;
    baton.until_it_works(SECOND)?;
    let mut watcher = silent(&baton)?;
    let victim = if baton.runs_at(FIRST)? { baton.first_worker()? } else { &mut second };
    sleep(SETTLES);
    let begun = Instant::now();
    victim.kill()?;
    watcher.wait_for("Starting... (attempt 2)")?;
    let took = begun.elapsed();
    stop(&mut watcher)?;
    Ok(took)
}

fn death_of_a_named_one() -> Result<Duration> {
    let named = ["--name", "measured"];
    let mut baton = Baton::start_with(&[], &named)?;
    let mut watcher = silent(&baton)?;
    sleep(SETTLES);
    let begun = Instant::now();
    baton.first_worker()?.kill()?;
    let back = baton.another_worker(FIRST, &named)?;
    watcher.wait_for("Starting... (attempt 2)")?;
    let took = begun.elapsed();
    stop(&mut watcher)?;
    drop(back);
    Ok(took)
}

/// A watcher of a silent task that runs.
fn silent(baton: &Baton) -> Result<WebSocket> {
    let id = baton.submit("silent", &json!({}))?;
    let mut watcher = WebSocket::watch(baton.address, &id)?;
    watcher.wait_for("ready")?;
    Ok(watcher)
}

fn stop(watcher: &mut WebSocket) -> Result<()> {
    watcher.wait_for("ready")?;
    watcher.send_stop()?;
    watcher.wait_for("STOPPED")
}
