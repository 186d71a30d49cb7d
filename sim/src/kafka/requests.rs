//! What a broker answers: each request as one step on the cluster's state.

use super::cluster::{Cluster, State};
use super::partition::Log;
use super::replication::MIN_ISR;
use super::wire::{Broker, Error, Request, Response};
use crate::event::{Event, Node};
use baton_core::log::{Offset, Partition, Topic};
use baton_core::time::Timestamp;
use tokio::time::Instant;

/// The longest metadata of an offset.
const MAX_METADATA: usize = 4095;

impl Cluster {
    /// Who coordinates.
    pub(super) const COORDINATOR: (Topic, Partition) = (Topic::Control, 0);

    /// Takes a request at a broker. `None`: it must wait for a change, and be asked again.
    pub(super) fn handle(&self, broker: Broker, request: &mut Request) -> Option<Response> {
        let mut state = self.state();
        let answer = self.answer(&mut state, broker, request);
        drop(state);
        // The last one in may complete a generation.
        if matches!(request, Request::Join { .. } | Request::Leave(..)) {
            self.group_changes();
        }
        answer.unwrap_or_else(|error| Some(Response::Error(error)))
    }

    fn answer(&self, state: &mut State, broker: Broker, request: &mut Request) -> Result<Option<Response>, Error> {
        Ok(Some(match request {
            Request::Metadata => {
                Response::Metadata(state.logs.iter().map(|log| (log.topic, log.partition, log.leader)).collect())
            }
            Request::InitProducer(transaction) => {
                if transaction.is_some() {
                    self.coordinate(state, broker)?;
                }
                self.init_producer(state, transaction.take())?
            }
            Request::Produce { producer, transaction, sequence, topic, partition, key, values } => {
                let index = self.index(*topic, *partition);
                let log = lead(state, index, broker)?;
                if log.isr.len() < MIN_ISR {
                    return Err(Error::NotEnoughReplicas);
                }
                if let Some(id) = &transaction {
                    let open = state.transactions.get_mut(id).ok_or(Error::InvalidTransaction)?;
                    open.check(*producer)?;
                    open.open()?;
                    open.partitions.insert(index);
                }
                let of = &state.brokers[usize::from(broker)];
                if of.disk_full {
                    return Err(Error::Storage);
                }
                let record = (key.clone(), values.clone());
                // `message.timestamp.type=LogAppendTime`: the leader's clock says when.
                let now = Timestamp::from_millis(self.now().as_millis() + of.clock_off);
                let (base, fresh) =
                    state.logs[index].append(*producer, *sequence, transaction.is_some(), now, record)?;
                let end = base + values.len() as u64;
                if fresh {
                    self.follow_later(index);
                }
                if state.logs[index].high_watermark < end {
                    return Ok(None);
                }
                Response::Produced(base)
            }
            Request::Fetch { from, max_bytes } => return self.fetch(state, broker, from, *max_bytes),
            Request::ListOffsets { topic, partition, at } => {
                let log = lead(state, self.index(*topic, *partition), broker)?;
                let end = log.stable();
                let first = log.batches.iter().find(|batch| batch.at >= *at).map_or(end, |batch| batch.base);
                Response::Offsets { end, at: first.min(end).max(log.start), start: log.start }
            }
            Request::Join { group, member, number, client, instance, owned } => {
                self.coordinate(state, broker)?;
                let group = state.groups.entry(group.clone()).or_default();
                group.join((*member, *number), *client, instance.clone(), owned, Instant::now())?;
                return Ok(None);
            }
            Request::Heartbeat(group, membership) => {
                self.coordinate(state, broker)?;
                state.groups.entry(group.clone()).or_default().heartbeat(membership, Instant::now())
            }
            Request::Leave(group, member) => {
                self.coordinate(state, broker)?;
                state.groups.entry(group.clone()).or_default().leave(*member, Instant::now());
                Response::Done
            }
            Request::Members(group) => {
                self.coordinate(state, broker)?;
                Response::Members(state.groups.entry(group.clone()).or_default().members())
            }
            Request::Prove(group, membership) => {
                self.coordinate(state, broker)?;
                state.groups.entry(group.clone()).or_default().prove(membership, Instant::now())?;
                Response::Done
            }
            Request::FetchOffsets { group, partition, stable } => {
                self.coordinate(state, broker)?;
                let key = (group.clone(), *partition);
                if *stable && state.transactions.values().any(|open| open.offsets.contains_key(&key)) {
                    return Err(Error::UnstableOffset);
                }
                let group = state.groups.entry(group.clone()).or_default();
                Response::Committed(group.committed.get(partition).cloned().unwrap_or_default())
            }
            Request::CommitOffset { transaction, producer, group, membership, partition, committed } => {
                self.coordinate(state, broker)?;
                if committed.metadata.len() > MAX_METADATA {
                    return Err(Error::MetadataTooLarge);
                }
                let open = state.transactions.get_mut(transaction).ok_or(Error::InvalidTransaction)?;
                open.check(*producer)?;
                state.groups.entry(group.clone()).or_default().check(membership)?;
                open.open()?;
                open.offsets.insert((group.clone(), *partition), committed.clone());
                Response::Done
            }
            Request::EndTransaction { transaction, producer, commit } => {
                self.coordinate(state, broker)?;
                self.end(state, transaction, *producer, *commit)?
            }
        }))
    }

    /// All coordinators live where the first partition of `task-control` is led: one more partition would say no more.
    fn coordinate(&self, state: &mut State, broker: Broker) -> Result<(), Error> {
        let index = self.index(Topic::Control, 0);
        if lead(state, index, broker)?.isr.len() < MIN_ISR { Err(Error::NotEnoughReplicas) } else { Ok(()) }
    }

    fn fetch(
        &self,
        state: &mut State,
        broker: Broker,
        from: &[(Topic, Partition, Offset)],
        max_bytes: usize,
    ) -> Result<Option<Response>, Error> {
        let (mut found, mut next) = (Vec::new(), Vec::new());
        for (topic, partition, offset) in from {
            let log = lead(state, self.index(*topic, *partition), broker)?;
            if *offset < log.start {
                return Ok(Some(Response::OutOfRange(*topic, *partition, log.start)));
            }
            let (records, end) = log.read(*offset, Offset::MAX, max_bytes);
            if end != *offset {
                next.push((*topic, *partition, end));
            }
            found.extend(records);
        }
        Ok((!next.is_empty()).then_some(Response::Fetched(found, next)))
    }

    /// What a member that waits for a rebalance is told.
    pub(super) fn joined(&self, group: &str, member: u64) -> Option<Response> {
        let mut state = self.state();
        let (session, partitions) = (self.config().session, self.config().partitions);
        let group = state.groups.get_mut(group)?;
        if group.tick(session, partitions, Instant::now()) {
            self.group_changes();
        }
        let answer = group.joined(member);
        self.tell_of_groups(&mut state);
        Some(match answer? {
            Ok((membership, assigned)) => Response::Joined { membership, assigned },
            Err(error) => Response::Error(error),
        })
    }

    /// Whether this broker still coordinates.
    pub(super) fn coordinates(&self, broker: Broker) -> bool {
        self.coordinate(&mut self.state(), broker).is_ok()
    }

    /// All groups share out anew.
    pub fn rebalance(&self) {
        self.state().groups.values_mut().for_each(|group| group.rebalance(Instant::now()));
    }

    pub(super) fn tell_of_groups(&self, state: &mut State) {
        let coordinator = state.logs[self.index(Topic::Control, 0)].leader.unwrap_or_default();
        for what in state.groups.values_mut().flat_map(|group| std::mem::take(&mut group.told)) {
            self.note(Node::Broker(coordinator), Event::Note(what));
        }
    }
}

fn lead(state: &mut State, index: usize, broker: Broker) -> Result<&mut Log, Error> {
    let log = &mut state.logs[index];
    if log.leader == Some(broker) { Ok(log) } else { Err(Error::NotLeader) }
}
