//! The idempotent producer: one append at a time in each partition, in the order in which they were asked for.

use super::super::wire::{Error, Producer, Request, Response};
use super::{ANSWERED_WITHIN, Client, RETRY_AFTER, TRIED_FOR};
use baton_core::log::{Offset, Partition, Topic, Values};
use baton_runtime::ports::LogError;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

/// The senders of all partitions.
#[derive(Default)]
pub(super) struct Appends(Mutex<BTreeMap<(Topic, Partition), mpsc::UnboundedSender<Append>>>);

struct Append {
    key: Bytes,
    values: Values,
    appended: oneshot::Sender<Result<Offset, LogError>>,
}

impl Appends {
    /// Asks for an append; it is tried even if nobody waits for it.
    pub fn append(
        client: &Arc<Client>,
        topic: Topic,
        partition: Partition,
        key: Bytes,
        values: Values,
    ) -> oneshot::Receiver<Result<Offset, LogError>> {
        let (appended, answer) = oneshot::channel();
        let mut senders = client.appends.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = senders.entry((topic, partition)).or_insert_with(|| {
            let (sender, appends) = mpsc::unbounded_channel();
            tokio::spawn(send(Arc::downgrade(client), topic, partition, appends));
            sender
        });
        let _ = sender.send(Append { key, values, appended });
        answer
    }
}

async fn send(client: Weak<Client>, topic: Topic, partition: Partition, mut appends: mpsc::UnboundedReceiver<Append>) {
    let (mut producer, mut sequence) = (None, 0);
    while let Some(Append { key, values, appended }) = appends.recv().await {
        let Some(client) = client.upgrade() else { return };
        let begun = Instant::now();
        let answer = loop {
            if begun.elapsed() > TRIED_FOR {
                // Whether it is there can't be known: a new producer id begins a new sequence.
                producer = None;
                break Err(LogError::Unavailable(format!("no broker acknowledged an append to {topic}[{partition}]")));
            }
            let Some(by) = get(&client, &mut producer, &mut sequence).await else { continue };
            let request = Request::Produce {
                producer: by,
                transaction: None,
                sequence,
                topic,
                partition,
                key: key.clone(),
                values: values.clone(),
            };
            match client.ask_leader(topic, partition, request, 2 * ANSWERED_WITHIN).await {
                Some(Response::Produced(offset)) => {
                    sequence += values.len() as u64;
                    break Ok(offset);
                }
                Some(Response::Error(Error::OutOfOrderSequence | Error::ProducerFenced)) => producer = None,
                _ => sleep(RETRY_AFTER).await,
            }
        };
        let _ = appended.send(answer);
    }
}

/// The producer id, a new one if there is none.
async fn get(client: &Client, producer: &mut Option<Producer>, sequence: &mut u64) -> Option<Producer> {
    if producer.is_none() {
        let answer = client.ask_coordinator(Request::InitProducer(None), ANSWERED_WITHIN).await;
        let Some(Response::Producer(fresh)) = answer else {
            sleep(RETRY_AFTER).await;
            return None;
        };
        (*producer, *sequence) = (Some(fresh), 0);
    }
    *producer
}
