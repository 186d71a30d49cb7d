//! A member of a group, as the worker sees it: its claims, and the records of them. As the shipped one, it reads through what is
//! no member of anything; who holds what is the [`Membership`]'s.

use super::fetcher::{Fetched, Fetcher, Version};
use super::membership::Membership;
use super::steps::{Job, SimSteps, Stepper};
use super::{Client, Task};
use baton_core::log::{Delivered, Epoch, Offset, Partition, Topic};
use baton_core::tenure::Input;
use baton_runtime::ports::{GroupEvent, LogError, Member};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// See the module's words.
pub struct SimMember {
    client: Arc<Client>,
    membership: Arc<Membership>,
    told: mpsc::UnboundedReceiver<GroupEvent>,
    jobs: mpsc::UnboundedSender<Job>,
    fetcher: Fetcher,
    lookback: Duration,
    claims: BTreeMap<Partition, Claim>,
    /// Where claims begin to be read, as it is found out.
    started: (mpsc::UnboundedSender<Start>, mpsc::UnboundedReceiver<Start>),
    next_version: Version,
    ready: VecDeque<(Version, Delivered)>,
    tasks: Vec<Task>,
}

/// Where a claim begins to be read.
type Start = (Partition, Epoch, Offset);

struct Claim {
    epoch: Epoch,
    /// What is read for it carries this.
    version: Version,
    /// All before it was given; `None` until it is known where it begins.
    next: Option<Offset>,
    paused: bool,
    _starting: Task,
}

impl SimMember {
    pub(super) fn join(client: Arc<Client>, group: String, lookback: Duration) -> Self {
        let (jobs, stepping) = mpsc::unbounded_channel();
        let (membership, told, mut tasks) = Membership::join(client.clone(), group, jobs.clone());
        tasks.push(Task::spawn(Stepper::new(membership.clone()).run(stepping)));
        let fetcher = Fetcher::new(&client, Topic::Tasks, BTreeMap::new());
        Self {
            client,
            membership,
            told,
            jobs,
            fetcher,
            lookback,
            claims: BTreeMap::new(),
            started: mpsc::unbounded_channel(),
            next_version: 1,
            ready: VecDeque::new(),
            tasks,
        }
    }

    fn take_told(&mut self, event: &GroupEvent) {
        match event {
            GroupEvent::Claimed { partition, epoch, committed } => {
                let version = self.version();
                let found = start(self.client.clone(), (*partition, *epoch, committed.offset), self.lookback);
                let started = self.started.0.clone();
                let starting = Task::spawn(async move { _ = started.send(found.await) });
                let claim = Claim { epoch: *epoch, version, next: None, paused: false, _starting: starting };
                self.claims.insert(*partition, claim);
            }
            GroupEvent::Lost { partition } => self.forget(*partition),
            _ => {}
        }
    }

    fn forget(&mut self, partition: Partition) {
        if self.claims.remove(&partition).is_some() {
            self.fetcher.positions.remove(partition);
        }
    }

    fn version(&mut self) -> Version {
        self.next_version += 1;
        self.next_version
    }

    fn started(&mut self, (partition, epoch, from): Start) {
        if let Some(claim) = self.claims.get_mut(&partition).filter(|claim| claim.epoch == epoch) {
            claim.next = Some(from);
            if !claim.paused {
                self.fetcher.positions.seek(partition, claim.version, from);
            }
        }
    }

    /// The next records of a claim that is still held, and not paused.
    fn at_hand(&mut self) -> Option<Delivered> {
        while let Some((version, records)) = self.ready.pop_front() {
            if let Some(claim) = self.claims.get_mut(&records.partition)
                && claim.version == version
            {
                claim.next = Some(records.end_offset());
                return Some(records);
            }
        }
        None
    }

    fn take_fetched(&mut self, fetched: Fetched) {
        let Fetched { asked, records, .. } = fetched;
        self.ready.extend(records.into_iter().map(|records| (asked[&records.partition], records)));
    }
}

/// At what is committed, or at the first record younger than `lookback` if that is earlier.
async fn start(client: Arc<Client>, (partition, epoch, committed): Start, lookback: Duration) -> Start {
    let young = client.cluster.now().minus(lookback);
    loop {
        if let Ok((_, at, _)) = client.offsets(Topic::Tasks, partition, young).await {
            return (partition, epoch, at.min(committed));
        }
    }
}

impl Member for SimMember {
    type Steps = SimSteps;

    async fn next(&mut self) -> Result<GroupEvent, LogError> {
        let gone = || LogError::Fatal("the client is gone".into());
        loop {
            if let Ok(event) = self.told.try_recv() {
                self.take_told(&event);
                return Ok(event);
            }
            if let Some(records) = self.at_hand() {
                return Ok(GroupEvent::Records(records));
            }
            tokio::select! {
                biased;
                event = self.told.recv() => {
                    let event = event.ok_or_else(gone)?;
                    self.take_told(&event);
                    return Ok(event);
                }
                Some(start) = self.started.1.recv() => self.started(start),
                fetched = self.fetcher.fetched.recv() => self.take_fetched(fetched.ok_or_else(gone)??),
            }
        }
    }

    fn pause(&mut self, partition: Partition) {
        let version = self.version();
        if let Some(claim) = self.claims.get_mut(&partition) {
            // What was read and not given is read again.
            (claim.paused, claim.version) = (true, version);
            self.fetcher.positions.remove(partition);
        }
    }

    fn resume(&mut self, partition: Partition) {
        if let Some(claim) = self.claims.get_mut(&partition).filter(|claim| claim.paused) {
            claim.paused = false;
            if let Some(next) = claim.next {
                self.fetcher.positions.seek(partition, claim.version, next);
            }
        }
    }

    fn release(&mut self, partition: Partition) {
        self.forget(partition);
        self.membership.tell(Input::Release(partition));
    }

    fn steps(&self) -> SimSteps {
        SimSteps::new(self.jobs.clone())
    }
}

impl Drop for SimMember {
    fn drop(&mut self) {
        // Of a process that was killed nothing goes out any more; as a world ends nothing can.
        if self.client.life.goes_on() && madsim::runtime::Handle::try_current().is_ok() {
            self.tasks.clear();
            self.membership.leave();
        }
    }
}
