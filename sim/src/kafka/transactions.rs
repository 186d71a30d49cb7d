//! The coordinator of transactions: open, decided, ended. Producers that were fenced stay fenced (KIP-98, KIP-447, KIP-890).

use super::cluster::{Cluster, State};
use super::partition::Fate;
use super::replication::records;
use super::wire::{Error, Producer, Response};
use crate::event::{Event, Node};
use baton_core::log::{Committed, Partition, Topic, Values};
use baton_core::tenure::Title;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the coordinator takes to write a transaction's markers once it is decided.
const MARKERS_AFTER: Duration = Duration::from_millis(2);

/// A transactional id.
pub(super) struct Transaction {
    producer: Producer,
    /// Who ended the last transaction, and how: asked again, the answer is the same.
    ended: Option<(Producer, bool)>,
    phase: Phase,
    pub partitions: BTreeSet<usize>,
    pub offsets: BTreeMap<(String, Partition), Committed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Empty,
    Open { since: Instant },
    Decided { commit: bool },
}

impl Cluster {
    /// Somebody's transaction wrote to all partitions of the topic, and is aborted: its offsets hold nothing.
    pub fn abort_something(&self, topic: Topic) {
        let mut state = self.state();
        state.producers += 1;
        let somebody = Producer { id: state.producers, epoch: 0 };
        let now = self.now();
        for log in state.logs.iter_mut().filter(|log| log.topic == topic && log.leader.is_some()) {
            let records = (Bytes::from_static(b"aborted"), Values::one(&b"{}"[..]));
            if log.append(somebody, 0, true, now, records).is_ok() {
                log.mark(somebody, false, now);
            }
        }
    }

    /// A producer id; for a transactional id one that fences the earlier.
    pub(super) fn init_producer(&self, state: &mut State, transaction: Option<String>) -> Result<Response, Error> {
        state.producers += 1;
        let fresh = Producer { id: state.producers, epoch: 0 };
        let Some(id) = transaction else { return Ok(Response::Producer(fresh)) };
        let known = state.transactions.entry(id.clone()).or_insert_with(|| Transaction {
            producer: fresh,
            ended: None,
            phase: Phase::Empty,
            partitions: BTreeSet::new(),
            offsets: BTreeMap::new(),
        });
        match known.phase {
            Phase::Decided { .. } => Err(Error::ConcurrentTransactions),
            Phase::Open { .. } => {
                (known.producer.epoch, known.ended) = (known.producer.epoch + 1, None);
                self.decide(state, &id, false);
                Err(Error::ConcurrentTransactions)
            }
            Phase::Empty => {
                known.producer.epoch += 1;
                known.ended = None;
                Ok(Response::Producer(known.producer))
            }
        }
    }

    /// Ends a transaction. The next one has a higher epoch (KIP-890), so that this request, late or sent twice, can't end that.
    pub(super) fn end(&self, state: &mut State, id: &str, producer: Producer, commit: bool) -> Result<Response, Error> {
        let open = state.transactions.get_mut(id).ok_or(Error::InvalidTransaction)?;
        let next = Response::Producer(Producer { epoch: producer.epoch + 1, ..producer });
        if open.ended == Some((producer, commit)) {
            return Ok(next);
        }
        open.check(producer)?;
        match open.phase {
            Phase::Open { .. } => {
                open.ended = Some((producer, commit));
                self.decide(state, id, commit);
            }
            // Nothing of it came here.
            Phase::Empty if !commit => {
                open.ended = Some((producer, commit));
                open.producer.epoch += 1;
            }
            Phase::Empty | Phase::Decided { .. } => return Err(Error::InvalidTransaction),
        }
        Ok(next)
    }

    /// The decision is made, and durable: from here on it only has to be carried out.
    fn decide(&self, state: &mut State, id: &str, commit: bool) {
        let State { transactions, logs, .. } = state;
        let Some(open) = transactions.get_mut(id) else { return };
        open.phase = Phase::Decided { commit };
        if commit {
            for index in &open.partitions {
                let log = &mut logs[*index];
                let broker = Node::Broker(log.leader.unwrap_or_default());
                for batch in &mut log.batches {
                    if batch.fate == Fate::Open(open.producer.id) {
                        batch.fate = Fate::Decided(open.producer.id);
                        for logged in records(log.topic, log.partition, batch) {
                            self.note(broker, Event::Durable(logged));
                        }
                    }
                }
            }
            let broker = Node::Broker(logs[self.index(Topic::Control, 0)].leader.unwrap_or_default());
            for ((_, partition), committed) in &open.offsets {
                // Whose partition it is stands before the ledger.
                let ledger = Title::split(&committed.metadata).map_or(committed.metadata.as_str(), |(_, rest)| rest);
                let (offset, metadata) = (committed.offset, ledger.to_owned());
                self.note(broker, Event::Ledger { partition: *partition, offset, metadata });
            }
        }
        let (cluster, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            sleep(MARKERS_AFTER).await;
            let mut state = cluster.state();
            cluster.complete(&mut state, &id);
        });
    }

    /// Writes the markers, and the offsets, of a transaction that was decided on; where there is no leader, later.
    fn complete(&self, state: &mut State, id: &str) {
        let now = self.now();
        let State { transactions, logs, groups, .. } = state;
        let Some(open) = transactions.get_mut(id) else { return };
        let Phase::Decided { commit } = open.phase else { return };
        if open.partitions.iter().any(|index| logs[*index].leader.is_none()) {
            return;
        }
        for index in std::mem::take(&mut open.partitions) {
            // The producer as it was when it opened the transaction: markers of a fenced one carry its id.
            logs[index].mark(open.producer, commit, now);
            self.tell(&mut logs[index]);
            self.follow_later(index);
        }
        for ((group, partition), committed) in std::mem::take(&mut open.offsets) {
            if commit {
                groups.entry(group).or_default().committed.insert(partition, committed);
            }
        }
        open.producer.epoch += 1;
        open.phase = Phase::Empty;
    }

    /// Aborts what has been open for too long, and carries out what could not be before.
    pub(super) fn tick_transactions(&self, state: &mut State, now: Instant) {
        let late: Vec<String> = state
            .transactions
            .iter_mut()
            .filter_map(|(id, open)| match open.phase {
                Phase::Open { since } if now.saturating_duration_since(since) >= self.config().transaction => {
                    // Whoever had it open is fenced.
                    (open.producer.epoch, open.ended) = (open.producer.epoch + 1, None);
                    Some(id.clone())
                }
                _ => None,
            })
            .collect();
        for id in late {
            self.decide(state, &id, false);
        }
        let ids: Vec<String> = state.transactions.keys().cloned().collect();
        for id in ids {
            self.complete(state, &id);
        }
    }
}

impl Transaction {
    pub fn check(&self, producer: Producer) -> Result<(), Error> {
        let next = Producer { epoch: self.producer.epoch + 1, ..self.producer };
        match self.phase {
            _ if producer == self.producer => Ok(()),
            Phase::Decided { .. } if producer == next => Err(Error::ConcurrentTransactions),
            _ => Err(Error::ProducerFenced),
        }
    }

    /// Opens it, if it is not open.
    pub fn open(&mut self) -> Result<(), Error> {
        match self.phase {
            Phase::Open { .. } => Ok(()),
            Phase::Empty => {
                self.phase = Phase::Open { since: Instant::now() };
                Ok(())
            }
            Phase::Decided { .. } => Err(Error::ConcurrentTransactions),
        }
    }
}
