//! A member of a group as a process of its own, for tests that freeze or kill it, and for whoever wants to see what a member
//! hears: `member BROKERS PREFIX GROUP NAME SESSION_MILLIS`, with `-` for no name.
//!
//! It says on stdout what it hears, a line each, and obeys `step PARTITION OFFSET TEXT` and `release PARTITION` on stdin. It must end when
//! stdin does, or whoever started it.
#![allow(clippy::unwrap_used, reason = "whoever starts it reads the panic")]

use baton_core::log::{Batch, Committed, Epoch, Partition, Topic, partition_of};
use baton_kafka::{KafkaLog, KafkaSteps, Options};
use baton_runtime::ports::{GroupEvent, Log as _, LogError, Member as _, Step, StepError, Steps as _};
use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::Instant;

#[tokio::main]
async fn main() {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, prefix, group, name, session] = &arguments[..] else {
        panic!("usage: member BROKERS PREFIX GROUP NAME SESSION_MILLIS");
    };
    let options = Options {
        brokers: brokers.clone(),
        topic_prefix: prefix.clone(),
        session_timeout: Duration::from_millis(session.parse().unwrap()),
        create: None,
        ..Options::default()
    };
    let log = KafkaLog::open(&options).await.unwrap();
    let name = if name == "-" { "" } else { name };
    let mut member = log.join(group, name, Duration::ZERO).await.unwrap();
    let mut epochs = BTreeMap::new();
    let mut orders = orders();
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order.as_deref().map(|order| order.split(' ').collect::<Vec<_>>()).as_deref() {
                None => return,
                Some(["release", partition]) => member.release(partition.parse().unwrap()),
                Some(["step", partition, offset, text]) => {
                    let partition: Partition = partition.parse().unwrap();
                    let epoch = epochs.get(&partition).copied().unwrap_or_default();
                    let committed = Committed { offset: offset.parse().unwrap(), metadata: (*text).to_owned() };
                    tokio::spawn(step(member.steps(), partition, epoch, committed));
                }
                Some(order) => panic!("no such order: {order:?}"),
            },
            event = member.next() => match event.unwrap() {
                GroupEvent::Claimed { partition, epoch, committed } => {
                    epochs.insert(partition, epoch);
                    println!("claimed {partition} {epoch} {} {}", committed.offset, committed.metadata);
                }
                GroupEvent::Revoke { partition } => println!("revoke {partition}"),
                GroupEvent::Lost { partition } => println!("lost {partition}"),
                GroupEvent::Renewed { until } => println!("renewed {}", on_the_wall(until)),
                GroupEvent::Records(records) => println!("records {} {}", records.partition, records.values.len()),
            },
        }
    }
}

/// The lines of stdin.
fn orders() -> mpsc::UnboundedReceiver<String> {
    let (orders, received) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if orders.send(line).is_err() {
                return;
            }
        }
    });
    received
}

/// Takes a step that appends what it commits, again until it is known for good what becomes of it; without a pause, as a
/// member that is no longer one must not find a moment in which it works.
async fn step(steps: KafkaSteps, partition: Partition, epoch: Epoch, committed: Committed) {
    let mut keys = (0..).map(|number| format!("task-{number}"));
    let key = keys.find(|key| partition_of(key.as_bytes(), 4) == partition).unwrap().parse().unwrap();
    let batches = vec![Batch::one(Topic::Progress, key, committed.metadata.clone())];
    loop {
        let step = Step { partition, epoch, batches: batches.clone(), committed: committed.clone() };
        match steps.step(step).await {
            Ok(()) => return println!("step {partition} done"),
            Err(StepError::Fenced) => return println!("step {partition} fenced"),
            Err(StepError::Log(LogError::Fatal(why))) => return println!("step {partition} failed {why}"),
            Err(StepError::Log(LogError::Unavailable(why))) => println!("step {partition} again {why}"),
        }
    }
}

/// Milliseconds since 1970.
fn on_the_wall(at: Instant) -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (since + at.saturating_duration_since(Instant::now())).as_millis()
}
