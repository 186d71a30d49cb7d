//! The log port with somebody at the door: what passes is noted, and a process of a later version writes a field more.

use crate::event::{Event, Node};
use crate::journal::Journal;
use baton_core::log::{Batch, Delivered, Offset, Partition, Topic, ValuesBuilder};
use baton_core::record::ControlRecord;
use baton_runtime::ports::{
    Durability, GroupEvent, Log, LogError, Member, Step, StepError, Steps, Tail, TailEvent, TailFrom,
};
use std::time::Duration;

/// A log as one process uses it.
#[derive(Clone)]
pub struct Observed<L> {
    log: L,
    door: Door,
}

#[derive(Clone)]
struct Door {
    node: Node,
    journal: Journal,
    later_version: bool,
}

impl Door {
    /// What a later version writes: readers ignore fields that they don't know.
    fn written(&self, batches: Vec<Batch>) -> Vec<Batch> {
        if !self.later_version {
            return batches;
        }
        let with_more = |batch: Batch| {
            let mut values = ValuesBuilder::default();
            for value in batch.values.iter() {
                values.push_with(|buffer| match value.strip_suffix(b"}") {
                    Some(start) => {
                        buffer.extend_from_slice(start);
                        buffer.extend_from_slice(br#","of_a_later_version":[{}]}"#);
                    }
                    None => buffer.extend_from_slice(value),
                });
            }
            Batch { values: values.take(), ..batch }
        };
        batches.into_iter().map(with_more).collect()
    }
}

impl<L> Observed<L> {
    /// Notes what `node` does with `log`.
    pub const fn new(log: L, node: Node, journal: Journal, later_version: bool) -> Self {
        Self { log, door: Door { node, journal, later_version } }
    }
}

impl<L: Log> Log for Observed<L> {
    type Tail = ObservedTail<L::Tail>;
    type Member = ObservedMember<L::Member>;

    async fn append(&self, batches: Vec<Batch>, durability: Durability) -> Result<Vec<(Partition, Offset)>, LogError> {
        self.log.append(self.door.written(batches), durability).await
    }

    async fn tail(&self, topic: Topic, from: TailFrom) -> Result<Self::Tail, LogError> {
        Ok(ObservedTail { tail: self.log.tail(topic, from).await?, door: self.door.clone() })
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Delivered>, LogError> {
        self.log.read(topic, partition, from, to, max_bytes).await
    }

    async fn join(&self, group: &str, member: &str, lookback: Duration) -> Result<Self::Member, LogError> {
        Ok(ObservedMember { member: self.log.join(group, member, lookback).await?, door: self.door.clone() })
    }
}

/// See [`Observed`].
pub struct ObservedTail<T> {
    tail: T,
    door: Door,
}

impl<T: Tail> Tail for ObservedTail<T> {
    async fn next(&mut self) -> Result<TailEvent, LogError> {
        let event = self.tail.next().await?;
        if let (Node::Worker(_), TailEvent::Records(records)) = (self.door.node, &event) {
            for delivered in records {
                for stop in delivered.values.iter().filter_map(|value| ControlRecord::read(value).ok()) {
                    self.door.journal.note(self.door.node, Event::Heard { task: stop.task_id, force: stop.force });
                }
            }
        }
        Ok(event)
    }

    fn catch_up(&mut self) {
        self.tail.catch_up();
    }
}

/// See [`Observed`].
pub struct ObservedMember<M> {
    member: M,
    door: Door,
}

impl<M: Member> Member for ObservedMember<M> {
    type Steps = ObservedSteps<M::Steps>;

    async fn next(&mut self) -> Result<GroupEvent, LogError> {
        let event = self.member.next().await?;
        match &event {
            GroupEvent::Claimed { partition, epoch, .. } => {
                self.door.journal.note(self.door.node, Event::Claimed(*partition, *epoch));
            }
            GroupEvent::Revoke { partition } => {
                let asked = Event::Note(format!("is asked for partition {partition}"));
                self.door.journal.note(self.door.node, asked);
            }
            GroupEvent::Lost { partition } => {
                self.door.journal.note(self.door.node, Event::Unclaimed(*partition));
            }
            _ => {}
        }
        Ok(event)
    }

    fn pause(&mut self, partition: Partition) {
        self.member.pause(partition);
    }

    fn resume(&mut self, partition: Partition) {
        self.member.resume(partition);
    }

    fn release(&mut self, partition: Partition) {
        self.door.journal.note(self.door.node, Event::Unclaimed(partition));
        self.member.release(partition);
    }

    fn steps(&self) -> Self::Steps {
        ObservedSteps { steps: self.member.steps(), door: self.door.clone() }
    }
}

/// See [`Observed`].
#[derive(Clone)]
pub struct ObservedSteps<S> {
    steps: S,
    door: Door,
}

impl<S: Steps> Steps for ObservedSteps<S> {
    async fn step(&self, step: Step) -> Result<(), StepError> {
        let batches = self.door.written(step.batches);
        self.steps.step(Step { batches, ..step }).await
    }
}
