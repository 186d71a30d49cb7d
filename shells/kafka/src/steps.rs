//! Atomic steps: one transaction after the other, on a thread of their own, as librdkafka's calls block. Steps that wait for
//! it go together. What became of a transaction is always found out: "it did not happen" must never be said of one that did.

use crate::append::{Producer, lock};
use crate::config::{ANSWERED_WITHIN, DELIVERED_WITHIN};
use crate::errors::plain;
use crate::membership::{GroupConsumer, Membership};
use crate::offsets::number;
use baton_core::log::{Batch, Committed, Epoch, Partition, Step, Topic};
use baton_core::tenure::{Input, MemberId, Title, Token};
use baton_runtime::ports::{LogError, StepError, Steps};
use rdkafka::consumer::{Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use std::sync::mpsc as jobs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How many steps go together at most.
const TOGETHER: usize = 64;
/// How long until what did not work is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long a transaction may take to take its offsets in, all tries together: some longer than one.
const OFFSETS_WITHIN: Duration = DELIVERED_WITHIN.saturating_add(Duration::from_secs(3));
/// How long a group may take to share its partitions out anew, before whoever waits for a step is told of it.
const MOVED_WITHIN: Duration = Duration::from_secs(5);

/// What the thread is to do.
pub enum Job {
    /// A step, and who waits for it.
    Step(Step, oneshot::Sender<Result<(), StepError>>),
    /// A title, in the life of the membership that was counted so.
    Write { partition: Partition, token: Token, committed: Committed, life: u64 },
    /// Nothing more.
    End,
}

/// Takes atomic steps for a member.
#[derive(Clone)]
pub struct KafkaSteps {
    jobs: Arc<Mutex<jobs::Sender<Job>>>,
}

impl KafkaSteps {
    pub(crate) fn new(jobs: jobs::Sender<Job>) -> Self {
        Self { jobs: Arc::new(Mutex::new(jobs)) }
    }
}

impl Steps for KafkaSteps {
    async fn step(&self, step: Step) -> Result<(), StepError> {
        let (answer, answered) = oneshot::channel();
        // A thread that is gone holds nothing.
        let _ = lock(&self.jobs).send(Job::Step(step, answer));
        answered.await.unwrap_or(Err(StepError::Fenced))
    }
}

/// The thread behind [`KafkaSteps`].
pub(crate) struct Stepper {
    membership: Arc<Membership>,
    consumer: Arc<GroupConsumer>,
    /// The producer of one life of the membership.
    producer: Option<(MemberId, Arc<Producer>)>,
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
    pub fn new(membership: Arc<Membership>, consumer: Arc<GroupConsumer>) -> Self {
        Self { membership, consumer, producer: None }
    }

    pub fn run(mut self, jobs: &jobs::Receiver<Job>) {
        let mut left = None;
        while let Some(first) = left.take().or_else(|| jobs.recv().ok()) {
            let Some((me, life)) = self.membership.me() else {
                match first {
                    Job::End => return,
                    Job::Step(_, answer) => drop(answer.send(Err(StepError::Fenced))),
                    Job::Write { .. } => {}
                }
                continue;
            };
            let mut parts = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::End => return,
                    job if Self::is_there(&parts, &job) => left = Some(job),
                    job => {
                        parts.extend(self.part(job, life));
                        next = (parts.len() < TOGETHER).then(|| jobs.try_recv().ok()).flatten();
                    }
                }
            }
            if !parts.is_empty() {
                let result = self.transact(&me, life, &parts);
                for part in parts {
                    self.answer(part, &result);
                }
            }
        }
    }

    /// A partition is in a transaction once.
    fn is_there(parts: &[Part], job: &Job) -> bool {
        let partition = match job {
            Job::Step(step, _) => step.partition,
            Job::Write { partition, .. } => *partition,
            Job::End => return false,
        };
        parts.iter().any(|part| part.partition == partition)
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
            Job::Write { .. } | Job::End => None,
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
                // Who gave up waiting needs no answer.
                let _ = answer.send(answered);
            }
            Whose::Title { token } => self.membership.tell(Input::Written(part.partition, token, result.is_ok())),
        }
    }

    /// One transaction. When this returns, it is known whether it happened.
    fn transact(&mut self, me: &MemberId, life: u64, parts: &[Part]) -> Result<(), String> {
        let until = Instant::now() + MOVED_WITHIN;
        let failed = loop {
            match self.attempt(me, life, parts) {
                Ok(()) => return Ok(()),
                Err(Failed::Moving(_)) if self.membership.lives(life) && Instant::now() < until => {
                    std::thread::sleep(AGAIN_AFTER);
                }
                Err(Failed::Later(why) | Failed::Moving(why)) => return Err(why),
                Err(Failed::Broken(why)) => break why,
            }
        };
        tracing::debug!(why = failed, "the transactional producer broke; another takes its place");
        self.producer = None;
        // Another producer of the same id ends what this one had begun; what is committed then tells how.
        while self.membership.lives(life) {
            let looked = self.producer(me).map(|_| ()).and_then(|()| self.is_committed(parts));
            match looked {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(failed),
                Err(why) => tracing::debug!(why, "finding out what became of a transaction"),
            }
            std::thread::sleep(AGAIN_AFTER);
        }
        // Expelled: its heir fences it before it looks.
        Err(failed)
    }

    fn is_committed(&self, parts: &[Part]) -> Result<bool, String> {
        for part in parts {
            let found = self.membership.look(&self.consumer, part.partition).map_err(|error| plain(&error))?;
            if epoch(&found) > epoch(&part.committed) {
                // Somebody took over, for whom this member was gone.
                self.membership.expelled();
            }
            if found != part.committed {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn attempt(&mut self, me: &MemberId, life: u64, parts: &[Part]) -> Result<(), Failed> {
        let membership = self.membership.clone();
        let consumer = self.consumer.clone();
        let topics = membership.topics();
        let batches: Vec<Batch> = parts.iter().flat_map(|part| part.batches.iter().cloned()).collect();
        let mut offsets = TopicPartitionList::with_capacity(parts.len());
        for part in parts {
            let mut entry = offsets.add_partition(topics.name(Topic::Tasks), number(part.partition));
            let at = Place::Offset(i64::try_from(part.committed.offset).unwrap_or(i64::MAX));
            entry.set_offset(at).map_err(|error| Failed::Later(plain(&error)))?;
            // Once for each entry: a second time leaks the first.
            entry.set_metadata(&part.committed.metadata);
        }
        let producer = self.producer(me).map_err(Failed::Later)?;
        let transactions = producer.transactions();
        transactions.begin_transaction().map_err(|error| sorted(&error))?;
        let prepared = (|| {
            if !batches.is_empty() {
                let acknowledged = producer.hand_over(&batches, None).blocking_recv();
                let acknowledged = acknowledged.map_err(|_| Failed::Broken("the producer is gone".into()))?;
                acknowledged.map_err(|error| match producer.broken() {
                    Some(why) => Failed::Broken(why),
                    None => Failed::Later(plain(&error)),
                })?;
            }
            // What this was asked for may be over by now: then nobody may see it.
            if !membership.lives(life) {
                return Err(Failed::Later("the membership ended".into()));
            }
            let group = consumer.group_metadata().ok_or_else(|| Failed::Moving("not in the group".into()))?;
            // The brokers fence by what this says, and take the commit of a member without an id. An id that is gone never comes
            // back: so if it is there now, it was there when the group was asked for.
            if Membership::id_now(&consumer).as_ref() != Some(me) {
                return Err(Failed::Moving("the membership ended".into()));
            }
            send_offsets(&producer, offsets, group)
        })();
        let ended = match prepared {
            // It has begun to end: from here on it must be known.
            Ok(()) if membership.lives(life) => {
                again_while_retriable(|| transactions.commit_transaction(2 * DELIVERED_WITHIN))
            }
            Ok(()) => Err(Failed::Later("the membership ended".into())),
            Err(failed) => Err(failed),
        };
        match ended {
            Ok(()) => Ok(()),
            Err(Failed::Broken(why)) => Err(Failed::Broken(why)),
            Err(failed @ (Failed::Later(_) | Failed::Moving(_))) => {
                let aborted = again_while_retriable(|| transactions.abort_transaction(DELIVERED_WITHIN));
                Err(if aborted.is_ok() { failed } else { Failed::Broken(failed.why()) })
            }
        }
    }

    /// The producer of this life, made if there is none: whatever an earlier one of the same id had begun has ended then.
    fn producer(&mut self, me: &MemberId) -> Result<Arc<Producer>, String> {
        let known = self.producer.take().filter(|(whose, producer)| whose == me && producer.broken().is_none());
        let producer = if let Some((_, producer)) = known {
            producer
        } else {
            let config = self.membership.options().transactional(&self.membership.transactional_id(me));
            let made = Producer::new(&config, self.membership.topics(), &self.membership.options().heard());
            let producer = Arc::new(made.map_err(|error| plain(&error))?);
            let began = producer.transactions().init_transactions(2 * ANSWERED_WITHIN);
            began.map_err(|error| format!("could not begin transactions: {}", plain(&error)))?;
            producer
        };
        self.producer = Some((me.clone(), producer.clone()));
        Ok(producer)
    }
}

/// The epoch in the title; 0 where none can be read.
fn epoch(committed: &Committed) -> Epoch {
    Title::split(&committed.metadata).map_or(0, |(title, _)| title.epoch)
}

/// Puts the offsets into the transaction. librdkafka 2.12 may forget the timeout and wait for ever where the coordinator of the
/// group has left the cluster: so the call has a thread of its own, which is then left to itself.
fn send_offsets(
    producer: &Arc<Producer>,
    offsets: TopicPartitionList,
    group: ConsumerGroupMetadata,
) -> Result<(), Failed> {
    let (say, said) = jobs::channel();
    let producer = producer.clone();
    let call = move || {
        let transactions = producer.transactions();
        let sent =
            again_while_retriable(|| transactions.send_offsets_to_transaction(&offsets, &group, DELIVERED_WITHIN));
        let _ = say.send(sent);
    };
    let thread = std::thread::Builder::new().name("offsets".into()).spawn(call);
    thread.map_err(|error| Failed::Later(format!("there is no thread to be had: {error}")))?;
    said.recv_timeout(OFFSETS_WITHIN)
        .unwrap_or_else(|_| Err(Failed::Broken("its offsets are on their way for too long".into())))
}

/// Calls again for as long as librdkafka says that the same call may work (KIP-1050: "retriable").
fn again_while_retriable(mut call: impl FnMut() -> Result<(), KafkaError>) -> Result<(), Failed> {
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && !error.txn_requires_abort() => {
                tracing::debug!(why = error.string(), "a transaction goes on waiting");
                std::thread::sleep(AGAIN_AFTER);
            }
            Err(error) => return Err(sorted(&error)),
            Ok(()) => return Ok(()),
        }
    }
}

impl Failed {
    fn why(self) -> String {
        let (Self::Later(why) | Self::Moving(why) | Self::Broken(why)) = self;
        why
    }
}

fn sorted(error: &KafkaError) -> Failed {
    match error {
        KafkaError::Transaction(inner) if is_lasting(inner) => Failed::Broken(plain(error)),
        KafkaError::Transaction(inner) if is_of_the_group(inner) => Failed::Moving(plain(error)),
        error => Failed::Later(plain(error)),
    }
}

fn is_lasting(error: &RDKafkaError) -> bool {
    error.is_fatal() || (!error.txn_requires_abort() && error.code() == RDKafkaErrorCode::State)
}

/// Whether the group was not as the commit said: it has gone on to another generation, or this member is no longer in it.
fn is_of_the_group(error: &RDKafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.code(), Code::IllegalGeneration | Code::RebalanceInProgress | Code::UnknownMemberId)
}
