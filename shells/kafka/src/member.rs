//! A member of a group on Kafka, as the worker sees it: its claims, and the records of them.

use crate::KafkaLog;
use crate::append::Topics;
use crate::membership::{Joined, Membership, Told};
use crate::reader::{Command, Reader, Reading, Version};
use crate::steps::{Job, KafkaSteps};
use crate::{blocking, offsets::Offsets};
use baton_core::log::{Delivered, Epoch, Offset, Partition, Topic};
use baton_core::tenure::Input;
use baton_core::time::Timestamp;
use baton_runtime::ports::{GroupEvent, LogError, Member};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc as jobs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How long until a question that was not answered is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long the brokers may hold a fetch of which nothing is new. The tasks of a partition that is claimed meanwhile wait for that.
const FETCH_HELD_FOR: Duration = Duration::from_millis(50);
/// How long a member that is dropped waits until it has left its group, so that the others need not wait for its session.
const LEFT_WITHIN: Duration = Duration::from_secs(3);

/// See [`Member`].
pub struct KafkaMember {
    log: KafkaLog,
    membership: Arc<Membership>,
    told: mpsc::UnboundedReceiver<Told>,
    steps: jobs::Sender<Job>,
    left: jobs::Receiver<()>,
    reader: Reader,
    lookback: Duration,
    claims: BTreeMap<Partition, Claim>,
    /// Where claims begin to be read, being found out.
    starting: JoinSet<(Partition, Epoch, Offset)>,
    next_version: Version,
    ready: VecDeque<(Version, Delivered)>,
}

struct Claim {
    epoch: Epoch,
    /// What is read for it carries this.
    version: Version,
    /// All before it was given; `None` until it is known where it begins.
    next: Option<Offset>,
    paused: bool,
}

impl KafkaMember {
    /// Joins. `name` makes it a static member, unless it is empty.
    pub(crate) fn join(log: &KafkaLog, group: &str, name: &str, lookback: Duration) -> Result<Self, LogError> {
        let instance = (!name.is_empty()).then_some(name);
        let Joined { membership, told, steps, left } = Membership::join(log.options(), log.topics(), group, instance)?;
        let reader = Reader::start(log.options(), Topic::Tasks, FETCH_HELD_FOR)?;
        Ok(Self {
            log: log.clone(),
            membership,
            told,
            steps,
            left,
            reader,
            lookback,
            claims: BTreeMap::new(),
            starting: JoinSet::new(),
            next_version: 1,
            ready: VecDeque::new(),
        })
    }

    fn take_told(&mut self, told: Option<Told>) -> Result<GroupEvent, LogError> {
        let event = told.unwrap_or_else(|| Err(LogError::Fatal("the membership is gone".into())))?;
        match &event {
            GroupEvent::Claimed { partition, epoch, committed } => {
                let version = self.version();
                self.claims.insert(*partition, Claim { epoch: *epoch, version, next: None, paused: false });
                self.starting.spawn(start(self.log.clone(), *partition, *epoch, committed.offset, self.lookback));
            }
            GroupEvent::Lost { partition } => self.forget(*partition),
            GroupEvent::Revoke { .. } | GroupEvent::Renewed { .. } | GroupEvent::Records(_) => {}
        }
        Ok(event)
    }

    fn forget(&mut self, partition: Partition) {
        if self.claims.remove(&partition).is_some() {
            self.reader.tell(Command::Leave(partition));
        }
    }

    fn version(&mut self) -> Version {
        self.next_version += 1;
        self.next_version
    }

    fn started(&mut self, partition: Partition, epoch: Epoch, from: Offset) {
        if let Some(claim) = self.claims.get_mut(&partition).filter(|claim| claim.epoch == epoch) {
            claim.next = Some(from);
            if !claim.paused {
                self.reader.tell(Command::From(partition, claim.version, from));
            }
        }
    }

    fn take_read(&mut self, readings: Vec<Reading>) {
        for reading in readings {
            match reading {
                Reading::Records(version, records) => self.ready.push_back((version, records)),
                Reading::End(..) => {}
                Reading::Gone(partition, version, offset) => {
                    if let Some(claim) = self.claims.get_mut(&partition).filter(|claim| claim.version == version) {
                        // A lookback reaches as far back as the log does, and no further.
                        tracing::debug!(partition, offset, "what is older is gone from the log");
                        claim.next = Some(offset);
                    }
                }
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
}

/// Where a claim begins to be read: at what is committed, or at the first record younger than `lookback` if that is earlier.
async fn start(
    log: KafkaLog,
    partition: Partition,
    epoch: Epoch,
    committed: Offset,
    lookback: Duration,
) -> (Partition, Epoch, Offset) {
    if lookback.is_zero() {
        return (partition, epoch, committed);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX)).minus(lookback);
    loop {
        let asked = log.clone();
        let found = blocking("find where a claim begins", move || {
            let topics: &Topics = asked.topics();
            let found: Offsets = asked.asker().since(topics.name(Topic::Tasks), &[partition], since)?;
            Ok(found.get(&partition).copied())
        });
        match found.await {
            Ok(found) => return (partition, epoch, found.map_or(committed, |found| found.min(committed))),
            Err(error) => {
                tracing::debug!(partition, %error, "asking again where a claim begins");
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
        }
    }
}

impl Member for KafkaMember {
    type Steps = KafkaSteps;

    async fn next(&mut self) -> Result<GroupEvent, LogError> {
        loop {
            if let Ok(told) = self.told.try_recv() {
                return self.take_told(Some(told));
            }
            if let Some(records) = self.at_hand() {
                return Ok(GroupEvent::Records(records));
            }
            tokio::select! {
                biased;
                told = self.told.recv() => return self.take_told(told),
                Some(Ok((partition, epoch, from))) = self.starting.join_next() => self.started(partition, epoch, from),
                readings = self.reader.readings.recv() => match readings {
                    Some(readings) => self.take_read(readings?),
                    None => return Err(LogError::Fatal("the reader of the tasks is gone".into())),
                },
            }
        }
    }

    fn pause(&mut self, partition: Partition) {
        let version = self.version();
        if let Some(claim) = self.claims.get_mut(&partition) {
            // What was read and not given is read again.
            (claim.paused, claim.version) = (true, version);
            self.reader.tell(Command::Leave(partition));
        }
    }

    fn resume(&mut self, partition: Partition) {
        if let Some(claim) = self.claims.get_mut(&partition).filter(|claim| claim.paused) {
            claim.paused = false;
            if let Some(next) = claim.next {
                self.reader.tell(Command::From(partition, claim.version, next));
            }
        }
    }

    fn release(&mut self, partition: Partition) {
        self.forget(partition);
        self.membership.tell(Input::Release(partition));
    }

    fn steps(&self) -> KafkaSteps {
        KafkaSteps::new(self.steps.clone())
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.membership.leave();
        let _ = self.left.recv_timeout(LEFT_WITHIN);
    }
}
