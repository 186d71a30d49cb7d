//! Brokers that die, stop and come back, while records are appended and steps are taken: nothing that was acknowledged is
//! lost, and nothing is there twice.

use crate::world::{GROUP, PARTITIONS, World, key_in, off_the_loop, soon, step_of, texts};
use baton_broker::{Cluster, Options};
use baton_core::log::{Batch, Committed, Delivered, Offset, Partition, Topic, ValuesBuilder};
use baton_kafka::{KafkaLog, KafkaTail};
use baton_runtime::ports::{
    Durability, GroupEvent, Log as _, LogError, Member as _, StepError, Steps as _, Tail as _, TailEvent,
};
use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::sleep;

const ALL: usize = PARTITIONS as usize;
/// Records of one append.
const TOGETHER: usize = 5;
/// Between two appends, so that there is not more to read than to see.
const PACE: Duration = Duration::from_millis(5);
/// For a broker to come back on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_mins(2);

/// What became of what was tried. What is in neither may have happened or not.
#[derive(Default)]
struct Tried {
    done: BTreeSet<String>,
    undone: BTreeSet<String>,
}

/// Appends to a partition until it is told to end; each text is tried once.
async fn append(log: KafkaLog, partition: Partition, over: watch::Receiver<bool>, count: Arc<AtomicUsize>) -> Tried {
    let mut tried = Tried::default();
    for number in 0.. {
        if *over.borrow() {
            break;
        }
        let lines: Vec<String> = (0..TOGETHER).map(|line| format!("line {partition} {number:06} {line}")).collect();
        let mut values = ValuesBuilder::default();
        for line in &lines {
            values.push_with(|buffer| buffer.extend_from_slice(line.as_bytes()));
        }
        let batch = Batch { topic: Topic::Progress, key: key_in(partition), values: values.take() };
        match soon("append", log.append(vec![batch], Durability::Written)).await {
            Ok(_) => {
                tried.done.extend(lines);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(LogError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
        sleep(PACE).await;
    }
    tried
}

/// Takes steps in all partitions, one after the other, until it is told to end and has taken one more in each.
async fn step(log: KafkaLog, over: watch::Receiver<bool>, count: Arc<AtomicUsize>) -> Tried {
    let mut member = soon("join", log.join(GROUP, "", Duration::ZERO)).await.unwrap();
    let steps = member.steps();
    let (mut tried, mut epochs, mut at_the_end) = (Tried::default(), BTreeMap::new(), BTreeSet::new());
    let mut last: BTreeMap<Partition, Committed> = BTreeMap::new();
    let mut number: Offset = 0;
    while !*over.borrow() || at_the_end.len() < ALL {
        let event = tokio::select! {
            biased;
            event = member.next() => Some(event.unwrap()),
            () = ready(()), if !epochs.is_empty() => None,
        };
        match event {
            Some(GroupEvent::Claimed { partition, epoch, committed }) => {
                // Whatever ended the last claim, nothing that was done is forgotten.
                assert_eq!(last.get(&partition).cloned().unwrap_or_default(), committed);
                epochs.insert(partition, epoch);
            }
            Some(GroupEvent::Lost { partition }) => drop(epochs.remove(&partition)),
            Some(_) => {}
            None => {
                number += 1;
                let turn = usize::try_from(number).unwrap() % epochs.len();
                let (partition, epoch) =
                    epochs.iter().nth(turn).map(|(partition, epoch)| (*partition, *epoch)).unwrap();
                let step = step_of(partition, epoch, number, &format!("step {number:06}"));
                let committed = step.committed.clone();
                let text = committed.metadata.clone();
                match soon("step", steps.step(step)).await {
                    Ok(()) => {
                        tried.done.insert(text);
                        last.insert(partition, committed);
                        count.fetch_add(1, Ordering::Relaxed);
                        if *over.borrow() {
                            at_the_end.insert(partition);
                        }
                    }
                    Err(StepError::Fenced | StepError::Log(LogError::Unavailable(_))) => {
                        tried.undone.insert(text);
                    }
                    Err(error) => panic!("{error}"),
                }
                sleep(PACE).await;
            }
        }
    }
    tried
}

/// All that a tail gives until it is told that nothing more comes.
async fn follow(mut tail: KafkaTail, mut over: watch::Receiver<bool>) -> Vec<Delivered> {
    let (mut all, mut asked) = (Vec::new(), false);
    loop {
        tokio::select! {
            biased;
            _ = over.wait_for(|over| *over), if !asked => {
                asked = true;
                tail.catch_up();
            }
            event = tail.next() => match event.unwrap() {
                TailEvent::Records(records) => all.extend(records),
                TailEvent::CaughtUp => return all,
                TailEvent::Skipped(partition) => panic!("{partition} was skipped, and nothing of it is gone"),
            },
        }
    }
}

/// Waits until each of them has gone on.
async fn until_all_go_on(counts: &[Arc<AtomicUsize>]) {
    let before: Vec<usize> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    let deadline = Instant::now() + PATIENCE;
    while counts.iter().zip(&before).any(|(count, before)| count.load(Ordering::Relaxed) < before + 5) {
        assert!(Instant::now() < deadline, "appends or steps stand still");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn brokers_die_and_stop_and_come_back_and_nothing_is_lost_or_twice() {
    let cluster = Arc::new(off_the_loop(|| Cluster::start(&Options::three()).unwrap()).await);
    let world = World::at(cluster.bootstrap()).await;
    let counts: Vec<_> = (0..=ALL).map(|_| Arc::<AtomicUsize>::default()).collect();
    let (tell, over) = watch::channel(false);
    let (tell_follower, quiet) = watch::channel(false);
    let following = tokio::spawn(follow(world.tail(Topic::Progress).await.0, quiet));
    let stepping = tokio::spawn(step(world.log.clone(), over.clone(), counts[ALL].clone()));
    let appending: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            tokio::spawn(append(world.log.clone(), partition, over.clone(), counts[partition as usize].clone()))
        })
        .collect();
    until_all_go_on(&counts).await;
    // Each of them leads something: partitions, the group, the transactions, the cluster.
    for node in 1..=3 {
        let harmed = cluster.clone();
        off_the_loop(move || if node == 3 { harmed.broker(node).stop().unwrap() } else { harmed.broker(node).kill() })
            .await;
        until_all_go_on(&counts).await;
        let harmed = cluster.clone();
        off_the_loop(move || harmed.broker(node).restart().unwrap()).await;
        until_all_go_on(&counts).await;
    }
    tell.send_replace(true);
    let mut tried = soon("the last steps", stepping).await.unwrap();
    for appending in appending {
        tried.done.extend(soon("the last appends", appending).await.unwrap().done);
    }
    tell_follower.send_replace(true);

    let followed = texts(&soon("the follower", following).await.unwrap());
    let seen: BTreeSet<String> = followed.iter().cloned().collect();
    assert_eq!(seen.len(), followed.len(), "something is there twice");
    assert_eq!(tried.done.difference(&seen).collect::<Vec<_>>(), [""; 0], "acknowledged, and not there");
    assert_eq!(tried.undone.intersection(&seen).collect::<Vec<_>>(), [""; 0], "refused, and there all the same");
    for partition in 0..PARTITIONS {
        let of_this = format!("line {partition} ");
        assert!(followed.iter().filter(|text| text.starts_with(&of_this)).is_sorted());
    }
    let mut late = world.all(Topic::Progress).await;
    let mut followed = followed;
    late.sort_unstable();
    followed.sort_unstable();
    assert_eq!(late, followed, "who comes late reads the same");
    println!("{} done, {} undone", tried.done.len(), tried.undone.len());
}
