//! The transactional producer of a member, after the shipped one: atomic steps and titles, one transaction after the other. What became
//! of a transaction is always found out: "it did not happen" must never be said of one that did.

use super::super::wire::{Error, Producer, Request, Response};
use super::membership::Membership;
use super::{ANSWERED_WITHIN, RETRY_AFTER, TRIED_FOR};
use baton_core::log::{Batch, Committed, Epoch, Partition, Topic, partition_of};
use baton_core::tenure::{Input, MemberId, Title, Token};
use baton_runtime::ports::{LogError, Step, StepError, Steps};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

/// How many steps go together at most.
const TOGETHER: usize = 64;
/// How long a group may take to share its partitions out anew, before whoever waits for a step is told of it.
const MOVED_WITHIN: Duration = Duration::from_secs(5);

/// What the producer is to do.
pub(super) enum Job {
    /// A step, and who waits for it.
    Step(Step, oneshot::Sender<Result<(), StepError>>),
    /// A title, in the life of the membership that was counted so.
    Write { partition: Partition, token: Token, committed: Committed, life: u64 },
}

/// Takes atomic steps for a member.
#[derive(Clone)]
pub struct SimSteps {
    jobs: mpsc::UnboundedSender<Job>,
}

impl SimSteps {
    pub(super) const fn new(jobs: mpsc::UnboundedSender<Job>) -> Self {
        Self { jobs }
    }
}

impl Steps for SimSteps {
    async fn step(&self, step: Step) -> Result<(), StepError> {
        let (answer, answered) = oneshot::channel();
        let _ = self.jobs.send(Job::Step(step, answer));
        // Whoever gave the member up has no claims any more.
        answered.await.unwrap_or(Err(StepError::Fenced))
    }
}

/// The producer behind [`SimSteps`].
pub(super) struct Stepper {
    membership: Arc<Membership>,
    /// The producer of one life of the membership.
    producer: Option<(MemberId, Producer)>,
    sequences: BTreeMap<(Topic, Partition), u64>,
}

/// What goes into a transaction, and who is told.
struct Part {
    partition: Partition,
    committed: Committed,
    batches: Vec<Batch>,
    whose: Whose,
}

enum Whose {
    Step { epoch: Epoch, plain: Committed, answer: oneshot::Sender<Result<(), StepError>> },
    Title { token: Token },
}

/// A transaction did not happen.
enum Failed {
    /// It may work later.
    Later(String),
    /// The group is sharing its partitions out anew, and takes the commits of its members again in a moment.
    Moving(String),
    /// The producer is of no use any more; what became of its transaction is not known.
    Broken(String),
}

impl Stepper {
    pub const fn new(membership: Arc<Membership>) -> Self {
        Self { membership, producer: None, sequences: BTreeMap::new() }
    }

    pub async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let mut left = None;
        loop {
            let first = match left.take() {
                Some(job) => job,
                None => match jobs.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let Some((me, life)) = self.membership.me() else {
                if let Job::Step(_, answer) = first {
                    let _ = answer.send(Err(StepError::Fenced));
                }
                continue;
            };
            let mut parts = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                if is_there(&parts, &job) {
                    left = Some(job);
                } else {
                    parts.extend(self.part(job, life));
                    next = (parts.len() < TOGETHER).then(|| jobs.try_recv().ok()).flatten();
                }
            }
            if !parts.is_empty() {
                let result = self.transact(&me, life, &parts).await;
                for part in parts {
                    self.answer(part, &result);
                }
            }
        }
    }

    fn part(&self, job: Job, life: u64) -> Option<Part> {
        match job {
            Job::Step(step, answer) => {
                let Step { partition, epoch, batches, committed: plain } = step;
                let Some(committed) = self.membership.tenures(|tenures| tenures.step(partition, epoch, &plain)) else {
                    let _ = answer.send(Err(StepError::Fenced));
                    return None;
                };
                Some(Part { partition, committed, batches, whose: Whose::Step { epoch, plain, answer } })
            }
            Job::Write { partition, token, committed, life: of } if of == life => {
                Some(Part { partition, committed, batches: Vec::new(), whose: Whose::Title { token } })
            }
            Job::Write { .. } => None,
        }
    }

    fn answer(&self, part: Part, result: &Result<(), String>) {
        match part.whose {
            Whose::Step { epoch, plain, answer } => {
                let done = result.is_ok().then_some(plain);
                let is_held = self.membership.tenures(|tenures| tenures.holds(part.partition, epoch));
                self.membership.tell(Input::Stepped(part.partition, epoch, done));
                let answered = match result {
                    Ok(()) => Ok(()),
                    Err(_) if !is_held => Err(StepError::Fenced),
                    Err(why) => Err(StepError::Log(LogError::Unavailable(why.clone()))),
                };
                let _ = answer.send(answered);
            }
            Whose::Title { token } => self.membership.tell(Input::Written(part.partition, token, result.is_ok())),
        }
    }

    /// One transaction. When this returns, it is known whether it happened.
    async fn transact(&mut self, me: &MemberId, life: u64, parts: &[Part]) -> Result<(), String> {
        let until = Instant::now() + MOVED_WITHIN;
        let failed = loop {
            match self.attempt(me, life, parts).await {
                Ok(()) => return Ok(()),
                Err(Failed::Moving(_)) if self.membership.lives(life) && Instant::now() < until => {
                    sleep(RETRY_AFTER).await;
                }
                Err(Failed::Later(why) | Failed::Moving(why)) => return Err(why),
                Err(Failed::Broken(why)) => break why,
            }
        };
        self.producer = None;
        // Another producer of the same id ends what this one had begun; what is committed then tells how.
        while self.membership.lives(life) {
            if self.producer(me).await.is_ok() {
                match self.is_committed(parts).await {
                    Some(true) => return Ok(()),
                    Some(false) => return Err(failed),
                    None => {}
                }
            }
            sleep(RETRY_AFTER).await;
        }
        // Expelled: its heir fences it before it looks.
        Err(failed)
    }

    async fn is_committed(&self, parts: &[Part]) -> Option<bool> {
        for part in parts {
            let found = self.membership.committed(part.partition, true).await?;
            if epoch(&found) > epoch(&part.committed) {
                // Somebody took over, for whom this member was gone.
                self.membership.expelled();
            }
            if found != part.committed {
                return Some(false);
            }
        }
        Some(true)
    }

    async fn attempt(&mut self, me: &MemberId, life: u64, parts: &[Part]) -> Result<(), Failed> {
        let begun = Instant::now();
        let producer = self.producer(me).await.map_err(Failed::Later)?;
        let prepared = self.prepare(me, life, producer, parts, begun).await;
        let ended = match prepared {
            // Once this was asked for, what became of it must be known.
            Ok(()) if self.membership.lives(life) => self.end(me, producer, true).await,
            Ok(()) => Err(Failed::Later("the membership ended".into())),
            Err(failed) => Err(failed),
        };
        match ended {
            Ok(()) => Ok(()),
            Err(Failed::Broken(why)) => Err(Failed::Broken(why)),
            Err(failed @ (Failed::Later(_) | Failed::Moving(_))) => {
                let aborted = self.end(me, producer, false).await;
                Err(if aborted.is_ok() { failed } else { Failed::Broken(failed.why()) })
            }
        }
    }

    /// All of a transaction but its end: nothing of it counts until that is asked for.
    async fn prepare(
        &mut self,
        me: &MemberId,
        life: u64,
        producer: Producer,
        parts: &[Part],
        begun: Instant,
    ) -> Result<(), Failed> {
        for batch in parts.iter().flat_map(|part| &part.batches) {
            self.produce(me, producer, batch, begun).await?;
        }
        // What this was asked for may be over by now: then nobody may see it.
        if !self.membership.lives(life) {
            return Err(Failed::Later("the membership ended".into()));
        }
        for part in parts {
            self.commit_offset(me, producer, part, begun).await?;
        }
        Ok(())
    }

    async fn produce(
        &mut self,
        me: &MemberId,
        producer: Producer,
        batch: &Batch,
        begun: Instant,
    ) -> Result<(), Failed> {
        let client = self.membership.client();
        let key = Bytes::copy_from_slice(batch.key.as_str().as_bytes());
        let (topic, partition) = (batch.topic, partition_of(&key, client.partitions()));
        let sequence = self.sequences.get(&(topic, partition)).copied().unwrap_or_default();
        loop {
            let request = Request::Produce {
                producer,
                transaction: Some(self.membership.transactional_id(me)),
                sequence,
                topic,
                partition,
                key: key.clone(),
                values: batch.values.clone(),
            };
            match client.ask_leader(topic, partition, request, 2 * ANSWERED_WITHIN).await {
                Some(Response::Produced(_)) => break,
                Some(Response::Error(
                    error @ (Error::ProducerFenced | Error::InvalidTransaction | Error::OutOfOrderSequence),
                )) => return Err(Failed::Broken(format!("the transaction is gone: {error:?}"))),
                _ if begun.elapsed() > TRIED_FOR => {
                    return Err(Failed::Later(format!("no broker acknowledged an append to {topic}[{partition}]")));
                }
                Some(Response::Error(Error::ConcurrentTransactions)) => sleep(RETRY_AFTER / 20).await,
                _ => sleep(RETRY_AFTER).await,
            }
        }
        self.sequences.insert((topic, partition), sequence + batch.values.len() as u64);
        Ok(())
    }

    async fn commit_offset(
        &self,
        me: &MemberId,
        producer: Producer,
        part: &Part,
        begun: Instant,
    ) -> Result<(), Failed> {
        loop {
            // The generation of now: what fences an earlier claim is its title.
            let Some(membership) = self.membership.of(me) else {
                return Err(Failed::Moving("not in the group".into()));
            };
            let request = Request::CommitOffset {
                transaction: self.membership.transactional_id(me),
                producer,
                group: self.membership.group().to_owned(),
                membership,
                partition: part.partition,
                committed: part.committed.clone(),
            };
            match self.membership.client().ask_coordinator(request, ANSWERED_WITHIN).await {
                Some(Response::Done) => return Ok(()),
                Some(Response::Error(error @ (Error::UnknownMember | Error::IllegalGeneration))) => {
                    return Err(Failed::Moving(format!("the group is another: {error:?}")));
                }
                Some(Response::Error(Error::MetadataTooLarge)) => {
                    return Err(Failed::Later("the metadata is too long".into()));
                }
                Some(Response::Error(error @ (Error::ProducerFenced | Error::InvalidTransaction))) => {
                    return Err(Failed::Broken(format!("the transaction is gone: {error:?}")));
                }
                _ if begun.elapsed() > 2 * TRIED_FOR => {
                    return Err(Failed::Later("no coordinator took the offset".into()));
                }
                Some(Response::Error(Error::ConcurrentTransactions)) => sleep(RETRY_AFTER / 20).await,
                _ => sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Commits, however long that takes, or aborts.
    async fn end(&mut self, me: &MemberId, producer: Producer, commit: bool) -> Result<(), Failed> {
        let begun = Instant::now();
        loop {
            let transaction = self.membership.transactional_id(me);
            let request = Request::EndTransaction { transaction, producer, commit };
            match self.membership.client().ask_coordinator(request, ANSWERED_WITHIN).await {
                Some(Response::Producer(next)) => {
                    self.producer = Some((me.clone(), next));
                    self.sequences.clear();
                    return Ok(());
                }
                // It timed out and was aborted, or it was committed by a try that went unanswered, and then something that was
                // sent before that came late and raised the epoch.
                Some(Response::Error(error @ (Error::ProducerFenced | Error::InvalidTransaction))) => {
                    return Err(Failed::Broken(format!("the transaction is gone: {error:?}")));
                }
                _ if !commit && begun.elapsed() > TRIED_FOR => {
                    return Err(Failed::Broken("no coordinator took the abort".into()));
                }
                _ => sleep(RETRY_AFTER).await,
            }
        }
    }

    /// The producer of this life, made if there is none: whatever an earlier one of the same id had begun has ended then.
    async fn producer(&mut self, me: &MemberId) -> Result<Producer, String> {
        if let Some((_, producer)) = self.producer.as_ref().filter(|(whose, _)| whose == me) {
            return Ok(*producer);
        }
        let made = self.membership.init_producer(me).await;
        let producer = made.ok_or_else(|| "no coordinator gave a producer".to_owned())?;
        self.producer = Some((me.clone(), producer));
        self.sequences.clear();
        Ok(producer)
    }
}

/// A partition is in a transaction once.
fn is_there(parts: &[Part], job: &Job) -> bool {
    let partition = match job {
        Job::Step(step, _) => step.partition,
        Job::Write { partition, .. } => *partition,
    };
    parts.iter().any(|part| part.partition == partition)
}

/// The epoch in the title; 0 where none can be read.
fn epoch(committed: &Committed) -> Epoch {
    Title::split(&committed.metadata).map_or(0, |(title, _)| title.epoch)
}

impl Failed {
    fn why(self) -> String {
        let (Self::Later(why) | Self::Moving(why) | Self::Broken(why)) = self;
        why
    }
}
