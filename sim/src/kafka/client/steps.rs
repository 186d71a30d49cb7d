//! The transactional producer of a member: atomic steps, one after the other.

use super::super::wire::{Error, Membership, Producer, Request, Response};
use super::{ANSWERED_WITHIN, Client, RETRY_AFTER, TRIED_FOR, Task};
use baton_core::log::{Batch, Epoch, Offset, Partition, Topic, partition_of};
use baton_runtime::ports::{LogError, Step, StepError, Steps};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep};

/// What a member holds: the same for its group's side and for its steps. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Claims(Arc<Mutex<Held>>, Arc<Notify>);

#[derive(Default)]
struct Held {
    membership: Option<Membership>,
    /// Of each claim its epoch, and where it is read from.
    claims: BTreeMap<Partition, (Epoch, Offset)>,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn joined(&self, membership: &Membership) {
        self.lock().membership = Some(membership.clone());
    }

    pub fn insert(&self, partition: Partition, epoch: Epoch, start: Offset) {
        self.lock().claims.insert(partition, (epoch, start));
    }

    pub fn remove(&self, partition: Partition) {
        self.lock().claims.remove(&partition);
    }

    pub fn contains(&self, partition: Partition) -> bool {
        self.lock().claims.contains_key(&partition)
    }

    pub fn start(&self, partition: Partition) -> Option<Offset> {
        self.lock().claims.get(&partition).map(|(_, start)| *start)
    }

    /// All claims are gone; returns which.
    pub fn clear(&self) -> Vec<Partition> {
        let mut held = self.lock();
        held.membership = None;
        let claims = std::mem::take(&mut held.claims);
        drop(held);
        self.1.notify_waiters();
        claims.into_keys().collect()
    }

    /// Waits until a claim is gone.
    async fn gone(&self, partition: Partition, epoch: Epoch) {
        loop {
            let changed = self.1.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.current(partition, epoch).is_none() {
                return;
            }
            changed.await;
        }
    }

    /// The membership under which a claim stands, if it does.
    fn current(&self, partition: Partition, epoch: Epoch) -> Option<Membership> {
        let held = self.lock();
        let stands = held.claims.get(&partition).is_some_and(|(current, _)| *current == epoch);
        held.membership.clone().filter(|_| stands)
    }
}

type Asked = (Step, oneshot::Sender<Result<(), StepError>>);

/// Takes atomic steps for a member.
#[derive(Clone)]
pub struct SimSteps {
    steps: mpsc::UnboundedSender<Asked>,
}

impl Steps for SimSteps {
    async fn step(&self, step: Step) -> Result<(), StepError> {
        let (done, answer) = oneshot::channel();
        let _ = self.steps.send((step, done));
        // Whoever gave the member up has no claims any more.
        answer.await.unwrap_or(Err(StepError::Fenced))
    }
}

/// The producer behind [`SimSteps`].
pub(super) struct Stepper {
    client: Arc<Client>,
    group: String,
    claims: Claims,
    transaction: String,
    producer: Option<Producer>,
    sequences: BTreeMap<(Topic, Partition), u64>,
}

impl Stepper {
    pub fn begin(client: Arc<Client>, group: String, claims: Claims) -> (SimSteps, Task) {
        let (steps, mut asked) = mpsc::unbounded_channel::<Asked>();
        let transaction = match &client.config.instance {
            Some(name) => name.clone(),
            None => format!("{:016x}", madsim::rand::random::<u64>()),
        };
        let mut stepper = Self { client, group, claims, transaction, producer: None, sequences: BTreeMap::new() };
        let working = Task::spawn(async move {
            while let Some((step, done)) = asked.recv().await {
                let _ = done.send(stepper.take(step).await);
            }
        });
        (SimSteps { steps }, working)
    }

    async fn take(&mut self, step: Step) -> Result<(), StepError> {
        let begun = Instant::now();
        let claims = self.claims.clone();
        let prepared = tokio::select! {
            biased;
            () = claims.gone(step.partition, step.epoch) => Err(StepError::Fenced),
            prepared = self.prepare(&step, begun) => prepared,
        };
        let answer = match prepared {
            Ok(producer) => self.end(producer, &step).await,
            Err(error) => Err(error),
        };
        if answer.is_err() && self.producer.is_some() {
            self.abort().await;
        }
        answer
    }

    /// All of a step but its end: nothing of it counts until that is asked for.
    async fn prepare(&mut self, step: &Step, begun: Instant) -> Result<Producer, StepError> {
        let away = |what: &str| StepError::Log(LogError::Unavailable(format!("no broker took {what}")));
        let membership = self.claims.current(step.partition, step.epoch).ok_or(StepError::Fenced)?;
        let producer = loop {
            if begun.elapsed() > TRIED_FOR {
                return Err(away("the transactional id"));
            }
            if let Some(producer) = self.producer {
                break producer;
            }
            let request = Request::InitProducer(Some(self.transaction.clone()));
            match self.client.ask_coordinator(request, ANSWERED_WITHIN).await {
                Some(Response::Producer(fresh)) => {
                    self.producer = Some(fresh);
                    self.sequences.clear();
                }
                _ => sleep(RETRY_AFTER / 4).await,
            }
        };
        for batch in &step.batches {
            self.produce(producer, batch, begun).await?;
        }
        self.commit_offset(producer, step, membership, begun).await?;
        // A claim that was lost meanwhile must not commit, though its generation still stands.
        if self.claims.current(step.partition, step.epoch).is_none() {
            return Err(StepError::Fenced);
        }
        Ok(producer)
    }

    async fn produce(&mut self, producer: Producer, batch: &Batch, begun: Instant) -> Result<(), StepError> {
        let key = Bytes::copy_from_slice(batch.key.as_str().as_bytes());
        let (topic, partition) = (batch.topic, partition_of(&key, self.client.partitions()));
        let sequence = self.sequences.get(&(topic, partition)).copied().unwrap_or_default();
        loop {
            let request = Request::Produce {
                producer,
                transaction: Some(self.transaction.clone()),
                sequence,
                topic,
                partition,
                key: key.clone(),
                values: batch.values.clone(),
            };
            match self.client.ask_leader(topic, partition, request, 2 * ANSWERED_WITHIN).await {
                Some(Response::Produced(_)) => break,
                Some(Response::Error(
                    error @ (Error::ProducerFenced | Error::InvalidTransaction | Error::OutOfOrderSequence),
                )) => {
                    self.producer = None;
                    return Err(StepError::Log(LogError::Unavailable(format!("the transaction is gone: {error:?}"))));
                }
                _ if begun.elapsed() > TRIED_FOR => {
                    let why = format!("no broker acknowledged an append to {topic}[{partition}]");
                    return Err(StepError::Log(LogError::Unavailable(why)));
                }
                Some(Response::Error(Error::ConcurrentTransactions)) => sleep(RETRY_AFTER / 20).await,
                _ => sleep(RETRY_AFTER).await,
            }
        }
        self.sequences.insert((topic, partition), sequence + batch.values.len() as u64);
        Ok(())
    }

    async fn commit_offset(
        &mut self,
        producer: Producer,
        step: &Step,
        membership: Membership,
        begun: Instant,
    ) -> Result<(), StepError> {
        loop {
            let request = Request::CommitOffset {
                transaction: self.transaction.clone(),
                producer,
                group: self.group.clone(),
                membership: membership.clone(),
                partition: step.partition,
                committed: step.committed.clone(),
            };
            match self.client.ask_coordinator(request, ANSWERED_WITHIN).await {
                Some(Response::Done) => return Ok(()),
                Some(Response::Error(Error::UnknownMember)) => return Err(StepError::Fenced),
                Some(Response::Error(error @ (Error::IllegalGeneration | Error::MetadataTooLarge))) => {
                    return Err(StepError::Log(LogError::Unavailable(format!("the offset was refused: {error:?}"))));
                }
                Some(Response::Error(error @ (Error::ProducerFenced | Error::InvalidTransaction))) => {
                    self.producer = None;
                    return Err(StepError::Log(LogError::Unavailable(format!("the transaction is gone: {error:?}"))));
                }
                _ if begun.elapsed() > TRIED_FOR => {
                    return Err(StepError::Log(LogError::Unavailable("no coordinator took the offset".into())));
                }
                Some(Response::Error(Error::ConcurrentTransactions)) => sleep(RETRY_AFTER / 20).await,
                _ => sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Commits. Once this was asked for, what became of it must be known: it is asked until there is an answer.
    async fn end(&mut self, producer: Producer, step: &Step) -> Result<(), StepError> {
        loop {
            let transaction = self.transaction.clone();
            let request = Request::EndTransaction { transaction, producer, commit: true };
            match self.client.ask_coordinator(request, ANSWERED_WITHIN).await {
                Some(Response::Producer(next)) => {
                    self.producer = Some(next);
                    self.sequences.clear();
                    return Ok(());
                }
                Some(Response::Error(Error::ProducerFenced | Error::InvalidTransaction)) => {
                    self.producer = None;
                    return self.find_out(step).await;
                }
                _ => sleep(RETRY_AFTER).await,
            }
        }
    }

    /// A transaction whose end was refused has ended all the same: it timed out and was aborted, or it was committed by a try
    /// that went unanswered, and then something that was sent before that came late and raised the epoch. Which of them, the
    /// group's offset tells: each step has another, and nothing of an earlier epoch can commit any more.
    async fn find_out(&self, step: &Step) -> Result<(), StepError> {
        loop {
            let request = Request::FetchOffsets(self.group.clone(), step.partition);
            match self.client.ask_coordinator(request, ANSWERED_WITHIN).await {
                Some(Response::Committed(committed, _)) if committed == step.committed => return Ok(()),
                Some(Response::Committed(..)) => {
                    return Err(StepError::Log(LogError::Unavailable("the transaction was aborted".into())));
                }
                _ => sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Aborts, and begins anew with the next step: an append that was not acknowledged may be there with its sequence number,
    /// which must not be taken for the next one's (KIP-360). If the abort is lost, the new start aborts.
    async fn abort(&mut self) {
        let Some(producer) = self.producer.take() else { return };
        let transaction = self.transaction.clone();
        let request = Request::EndTransaction { transaction, producer, commit: false };
        self.client.ask_coordinator(request, ANSWERED_WITHIN).await;
    }
}
