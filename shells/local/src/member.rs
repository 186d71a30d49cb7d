//! A member of a group of the embedded log: what it is told, and the records of its claims.
//!
//! It must never give a record of a partition before its claim, nor after its release.

use crate::Inner;
use crate::limits::PAGE_BYTES;
use crate::queue::{Request, writer_gone};
use crate::read::{Page, Reading, partition_page};
use crate::recent::{Next, Seq};
use crate::seats::Told;
use baton_core::groups::{Epoch, MemberId};
use baton_core::log::{Delivered, Offset, Partition, Topic};
use baton_runtime::ports::{GroupEvent, LogError, Member, Step, StepError, Steps};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// See [`Member`].
pub struct LocalMember {
    inner: Arc<Inner>,
    group: Arc<str>,
    id: MemberId,
    told: mpsc::UnboundedReceiver<Told>,
    commits: watch::Receiver<()>,
    claims: BTreeMap<Partition, Claim>,
    last_served: Partition,
    reading: Option<ClaimReading>,
}

/// How far a claim has been read.
struct Claim {
    epoch: Epoch,
    /// All records before this one were given.
    offset: Offset,
    /// What is not given yet of all batches before this one is in `page`.
    seq: Seq,
    page: VecDeque<Delivered>,
    paused: bool,
}

/// A page of a claim on its way from the file.
struct ClaimReading {
    partition: Partition,
    epoch: Epoch,
    /// Where to go on after it if there is no more.
    head: Seq,
    page: Reading<Page>,
}

impl LocalMember {
    pub(crate) fn new(inner: Arc<Inner>, group: Arc<str>, lookback: Duration) -> Self {
        let (id, told) = inner.shared.seats.join(&group, lookback);
        let commits = inner.shared.commits(Topic::Tasks).subscribe();
        Self { inner, group, id, told, commits, claims: BTreeMap::new(), last_served: 0, reading: None }
    }

    fn take_in(&mut self, told: Told) -> GroupEvent {
        match told {
            Told::Claimed { partition, epoch, committed, start } => {
                let claim = Claim { epoch, offset: start, seq: 0, page: VecDeque::new(), paused: false };
                self.claims.insert(partition, claim);
                GroupEvent::Claimed { partition, epoch, committed }
            }
            Told::Revoke { partition } => {
                self.claims.remove(&partition);
                GroupEvent::Revoke { partition }
            }
        }
    }

    /// Records that are in memory; the claims take turns. Otherwise begins to read what is in the file only.
    fn at_hand(&mut self) -> Option<Delivered> {
        let recent = self.inner.shared.recent(Topic::Tasks);
        let (before, after): (Vec<Partition>, Vec<_>) = self.claims.keys().partition(|p| **p <= self.last_served);
        let mut behind = None;
        for partition in after.into_iter().chain(before) {
            let claim = self.claims.get_mut(&partition).expect("the key of a claim that is there");
            if claim.paused {
                continue;
            }
            loop {
                let found = match claim.page.pop_front() {
                    Some(batch) => Next::Batch(batch),
                    None => recent.next_of(partition, &mut claim.seq),
                };
                match found {
                    Next::Batch(batch) => {
                        let Some(batch) = batch.from_offset(claim.offset) else { continue };
                        claim.offset = batch.end_offset();
                        self.last_served = partition;
                        return Some(batch);
                    }
                    Next::NotYet => break,
                    Next::InFile => {
                        behind.get_or_insert((partition, claim.epoch, claim.offset));
                        break;
                    }
                }
            }
        }
        drop(recent);
        if let (None, Some((partition, epoch, from))) = (&self.reading, behind) {
            let head = self.inner.shared.head();
            let read = move |connection: &_| {
                partition_page(connection, (Topic::Tasks, partition), from, Offset::MAX, PAGE_BYTES)
            };
            self.reading = Some(ClaimReading { partition, epoch, head, page: self.inner.readers.run(read) });
        }
        None
    }

    /// Puts what was read where it belongs, unless the claim it was for is gone.
    fn put(&mut self, partition: Partition, epoch: Epoch, head: Seq, page: Page) {
        let Some(claim) = self.claims.get_mut(&partition).filter(|claim| claim.epoch == epoch) else { return };
        if !page.more {
            claim.seq = page.batches.last().map_or(head, |(seq, _)| head.max(seq + 1));
        }
        claim.page.extend(page.batches.into_iter().map(|(_, batch)| batch));
    }
}

impl Member for LocalMember {
    type Steps = LocalSteps;

    async fn next(&mut self) -> Result<GroupEvent, LogError> {
        loop {
            self.commits.borrow_and_update();
            if let Ok(told) = self.told.try_recv() {
                return Ok(self.take_in(told));
            }
            if let Some(records) = self.at_hand() {
                return Ok(GroupEvent::Records(records));
            }
            tokio::select! {
                biased;
                told = self.told.recv() => return told.map(|told| self.take_in(told)).ok_or_else(writer_gone),
                page = finish(&mut self.reading) => {
                    let reading = self.reading.take().expect("it was just waited for");
                    self.put(reading.partition, reading.epoch, reading.head, page?);
                }
                changed = self.commits.changed() => changed.map_err(|_| writer_gone())?,
            }
        }
    }

    fn pause(&mut self, partition: Partition) {
        if let Some(claim) = self.claims.get_mut(&partition) {
            claim.paused = true;
        }
    }

    fn resume(&mut self, partition: Partition) {
        if let Some(claim) = self.claims.get_mut(&partition) {
            claim.paused = false;
        }
    }

    fn release(&mut self, partition: Partition) {
        self.claims.remove(&partition);
        self.inner.shared.seats.release(&self.group, self.id, partition);
    }

    fn steps(&self) -> LocalSteps {
        LocalSteps { inner: Arc::clone(&self.inner), group: Arc::clone(&self.group) }
    }
}

/// Waits for the page that is being read; for ever if there is none.
async fn finish(reading: &mut Option<ClaimReading>) -> Result<Page, LogError> {
    match reading {
        Some(reading) => (&mut reading.page).await,
        None => std::future::pending().await,
    }
}

impl Drop for LocalMember {
    fn drop(&mut self) {
        self.inner.shared.seats.leave(&self.group, self.id);
    }
}

/// See [`Steps`].
#[derive(Clone)]
pub struct LocalSteps {
    inner: Arc<Inner>,
    group: Arc<str>,
}

impl Steps for LocalSteps {
    async fn step(&self, step: Step) -> Result<(), StepError> {
        let (answer, answered) = oneshot::channel();
        let room = self.inner.queue.room_for(&step.batches).await?;
        room.push(Request::Step { group: Arc::clone(&self.group), step, answer });
        answered.await.unwrap_or_else(|_| Err(writer_gone().into()))
    }
}
