//! The ports: all that Baton needs of the outside world, as traits. The loops in this crate know nothing else,
//! so that what the simulator runs is what is shipped.
//!
//! Every future here may be dropped before it is done (`select!` does so): a port must then neither lose nor
//! repeat anything.

use baton_core::id::ProjectName;
use baton_core::log::{Batch, Delivered, Offset, Partition, Topic};
pub use baton_core::log::{Committed, Epoch, Step};
use baton_core::process::{Exit, Signal, Spawn, Stream};
use baton_core::project::Project;
use baton_core::time::Timestamp;
use bytes::Bytes;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// How long the log must keep what it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Through the death of any process, not through a power cut on a log of one machine. For lines.
    Written,
    /// Through a power cut too; on a replicated log, on all in-sync replicas. For what was promised to a client.
    Synced,
}

/// Where a tail begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailFrom {
    /// At the oldest record kept.
    Earliest,
    /// At the first record that the log took at this time or later.
    Time(Timestamp),
}

/// The log could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It may work later: no space, no broker, too busy. Nothing was lost; an append may have happened all the same.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// It won't work in this process again.
    #[error("the log failed: {0}")]
    Fatal(String),
}

/// An atomic step did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The claim's epoch is no longer current: someone else owns the partition, or nobody does.
    #[error("the claim is no longer current")]
    Fenced,
    /// The log did not take it; as [`LogError`], but known not to have happened.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The log: append with acknowledgement, tails, groups.
pub trait Log: Clone + Send + Sync + 'static {
    /// See [`Tail`].
    type Tail: Tail;
    /// See [`Member`].
    type Member: Member;

    /// Appends the batches, each whole and in order within its key, and returns the partition and the offset of
    /// the first record of each once they are as durable as asked. They need not land together.
    fn append(
        &self,
        batches: Vec<Batch>,
        durability: Durability,
    ) -> impl Future<Output = Result<Vec<(Partition, Offset)>, LogError>> + Send;

    /// Reads all partitions of a topic, from `from` on, for ever. Committed records only.
    fn tail(&self, topic: Topic, from: TailFrom) -> impl Future<Output = Result<Self::Tail, LogError>> + Send;

    /// Reads what is kept of one partition from `from` (inclusive) to `to` (exclusive), at most about `max_bytes`
    /// of it but at least one batch if there is one. Less than asked: read again from the end of what came.
    fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Vec<Delivered>, LogError>> + Send;

    /// Joins a group that shares the partitions of [`Topic::Tasks`]. Each claim starts to read at its committed
    /// offset, or at the first record younger than `lookback` if that is earlier. A `member` that comes back under its name
    /// may take its own partitions back, where the log knows names; an empty name is a new member each time.
    fn join(
        &self,
        group: &str,
        member: &str,
        lookback: Duration,
    ) -> impl Future<Output = Result<Self::Member, LogError>> + Send;
}

/// A reader of all partitions of a topic.
pub trait Tail: Send + 'static {
    /// What comes next. Records of one partition come in order; partitions mix freely.
    fn next(&mut self) -> impl Future<Output = Result<TailEvent, LogError>> + Send;

    /// Asks for [`TailEvent::CaughtUp`] once more: when all that is in the topic now has been given.
    fn catch_up(&mut self);
}

/// What a [`Tail`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailEvent {
    /// Records: at least one batch.
    Records(Vec<Delivered>),
    /// Records of this partition are gone that were not given: their retention ended before the tail came to them.
    Skipped(Partition),
    /// All that was in the topic as the tail began, or as [`Tail::catch_up`] was last called, has been given. Comes once.
    CaughtUp,
}

/// A member of a group. Dropping it gives up its claims at once, as its death would.
pub trait Member: Send + 'static {
    /// See [`Steps`].
    type Steps: Steps;

    /// What comes next.
    fn next(&mut self) -> impl Future<Output = Result<GroupEvent, LogError>> + Send;

    /// Gives no records of the partition until [`Self::resume`]. A new claim begins resumed.
    fn pause(&mut self, partition: Partition);

    /// Gives records of the partition again, from where it was paused.
    fn resume(&mut self, partition: Partition);

    /// Gives up a claim: the answer to [`GroupEvent::Revoke`], once nothing of it runs any more.
    fn release(&mut self, partition: Partition);

    /// A handle that takes atomic steps for this member's claims.
    fn steps(&self) -> Self::Steps;
}

/// What a [`Member`] hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// A partition is this member's from now on.
    Claimed {
        /// Which.
        partition: Partition,
        /// Fences all steps of earlier claims.
        epoch: Epoch,
        /// What the last owner left.
        committed: Committed,
    },
    /// Another member is to have the partition: begin nothing more of it, and [`Member::release`] it once nothing of it runs.
    /// It is held until then, however long that takes.
    Revoke {
        /// Which.
        partition: Partition,
    },
    /// The partition is gone already: its runs must end at once, and nothing more may be written for them.
    Lost {
        /// Which.
        partition: Partition,
    },
    /// All claims of this member hold until then, and longer if this comes again. A log whose claims end only by word
    /// never says it.
    Renewed {
        /// Nobody else can claim its partitions before.
        until: Instant,
    },
    /// Records of a claimed partition, in order.
    Records(Delivered),
}

/// Takes atomic steps.
pub trait Steps: Clone + Send + Sync + 'static {
    /// Takes the step, or changes nothing. Synced when it returns.
    fn step(&self, step: Step) -> impl Future<Output = Result<(), StepError>> + Send;
}

/// Makes processes.
pub trait Agents: Clone + Send + Sync + 'static {
    /// See [`Process`].
    type Process: Process;

    /// A handle for the one run that begins now: what it spawns later is of the claims as they are now, and is not made when
    /// those have gone meanwhile, even if this worker has others by then.
    #[must_use]
    fn for_run(&self) -> Self {
        self.clone()
    }

    /// Starts a process, with its own group, directory and private files; stdin is closed. The error is a
    /// sentence for the task's owner.
    fn spawn(&self, spawn: Spawn) -> impl Future<Output = Result<Self::Process, String>> + Send;

    /// Whoever spawned may not be there after `until`, unless this is said again: then another worker may begin the same
    /// tasks, so all processes must be dead by then, even if this worker is frozen and can't end them, and none may be
    /// made after it: what a worker began before it froze goes on when it wakes. Never called for
    /// a log whose claims end only by word; for another, before the first claim.
    ///
    /// Returns when the worker must give its claims up, unless this is said again: a little earlier, as ending takes time.
    fn hold_until(&self, until: Instant) -> Instant;
}

/// A live process. Dropping it kills all of it.
pub trait Process: Send + 'static {
    /// What comes next: output as it was read, and last of all the exit. Nothing is read from the process's pipes
    /// while nobody waits here, beyond one chunk of each: that is how a full log holds the agent up.
    fn next(&mut self) -> impl Future<Output = ProcessEvent> + Send;

    /// Asks it to end.
    fn signal(&mut self, signal: Signal);
}

/// What a [`Process`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It wrote something: at most about 64 KiB at a time, cut anywhere.
    Output(Stream, Bytes),
    /// It is gone, and so is everything of it. Nothing comes after.
    Exited(Exit),
    /// The same, but it was ended by what keeps it: as the claims ran out, or as the keeper itself was killed. How it would
    /// have ended nobody knows.
    Lost,
}

/// Knows the projects' configs.
pub trait Projects: Clone + Send + Sync + 'static {
    /// The config of one project, by one try within a time limit of the port's own.
    fn fetch(&self, project: &ProjectName) -> impl Future<Output = Result<Project, ProjectError>> + Send;
}

/// A config was not to be had. Each is a sentence for the task's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProjectError {
    /// There is no such project.
    #[error("{0}")]
    Unknown(String),
    /// There is one, and its config is of no use; trying again won't help.
    #[error("{0}")]
    Unusable(String),
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// The wall clock, and entropy.
pub trait World: Clone + Send + Sync + 'static {
    /// What the wall clock says.
    fn wall(&self) -> Timestamp;

    /// Sixteen random bytes.
    fn random(&self) -> [u8; 16];
}
