//! What goes between clients of the log and its brokers, after Kafka's protocol; named as there.

use crate::event::Node;
use baton_core::log::{Committed, Delivered, Offset, Partition, Topic, Values};
use baton_core::time::Timestamp;
use bytes::Bytes;
use std::collections::BTreeSet;

/// A broker's number.
pub type Broker = u8;
/// A group's generation.
pub type Generation = u64;

/// Who appends: a producer id and its epoch (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The producer id.
    pub id: u64,
    /// Raised whenever a transactional id starts anew: it fences all that came before.
    pub epoch: u64,
}

/// A member of a group as it was told by its last join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Of its own making.
    pub member: u64,
    /// Of the last join.
    pub generation: Generation,
}

/// What a client asks a broker.
#[derive(Clone, Debug)]
pub enum Request {
    /// Who leads what.
    Metadata,
    /// A producer id; for a transactional id one that fences the earlier.
    InitProducer(Option<String>),
    /// Append records of one key to a partition, with acks=all.
    Produce {
        /// Who.
        producer: Producer,
        /// Within a transaction of this id.
        transaction: Option<String>,
        /// The number of the first record within this producer's of the partition.
        sequence: u64,
        /// Where to.
        topic: Topic,
        /// Where to.
        partition: Partition,
        /// The key.
        key: Bytes,
        /// The records.
        values: Values,
    },
    /// Read committed records from these offsets on; waits for some.
    Fetch {
        /// Where from.
        from: Vec<(Topic, Partition, Offset)>,
        /// Of each, about; a batch at least.
        max_bytes: usize,
    },
    /// The end of a partition for readers of committed records, and the first offset at or after a time.
    ListOffsets {
        /// Which.
        topic: Topic,
        /// Which.
        partition: Partition,
        /// The time.
        at: Timestamp,
    },
    /// Become a member, or rejoin, with what is owned. Waits until all have joined.
    Join {
        /// Which.
        group: String,
        /// Of its own making.
        member: u64,
        /// Counts the joins of this member: one that was sent before another, and comes after it, says nothing.
        number: u64,
        /// Who it is, for the trace.
        client: Node,
        /// The static member's name (KIP-345).
        instance: Option<String>,
        /// What it holds and will not give up by this (KIP-429).
        owned: Vec<Partition>,
    },
    /// Still there.
    Heartbeat(String, Membership),
    /// Gone for good.
    Leave(String, u64),
    /// Who is in the group.
    Members(String),
    /// A commit of something that nobody reads: a member that may commit is one, and was heard of.
    Prove(String, Membership),
    /// What a group committed.
    FetchOffsets {
        /// Which.
        group: String,
        /// Of which partition of `tasks`.
        partition: Partition,
        /// Only once no transaction on it is open (KIP-447).
        stable: bool,
    },
    /// A group's offset, within a transaction.
    CommitOffset {
        /// Whose transaction.
        transaction: String,
        /// Who.
        producer: Producer,
        /// Which group.
        group: String,
        /// Who in the group.
        membership: Membership,
        /// Of which partition of `tasks`.
        partition: Partition,
        /// What.
        committed: Committed,
    },
    /// Commit or abort.
    EndTransaction {
        /// Which.
        transaction: String,
        /// Who.
        producer: Producer,
        /// Or abort.
        commit: bool,
    },
}

/// What a broker answers.
#[derive(Clone, Debug)]
pub enum Response {
    /// Done.
    Done,
    /// Of each partition its leader, if it has one.
    Metadata(Vec<(Topic, Partition, Option<Broker>)>),
    /// Yours.
    Producer(Producer),
    /// The offset of the first record.
    Produced(Offset),
    /// Records, and where to go on in each partition.
    Fetched(Vec<Delivered>, Vec<(Topic, Partition, Offset)>),
    /// The oldest that is kept of this partition is younger than what was asked for.
    OutOfRange(Topic, Partition, Offset),
    /// The end, the first offset at or after the time, and the oldest that is kept.
    Offsets {
        /// For readers of committed records.
        end: Offset,
        /// The end at least.
        at: Offset,
        /// The start of the log.
        start: Offset,
    },
    /// The rebalance is over.
    Joined {
        /// Who you are.
        membership: Membership,
        /// What is yours from now on. What you own beside it you are to give up; then join again.
        assigned: Vec<Partition>,
    },
    /// What was committed.
    Committed(Committed),
    /// Who is in the group.
    Members(BTreeSet<u64>),
    /// No.
    Error(Error),
}

/// Why not; Kafka's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// This broker does not lead the partition, or coordinates nothing, any more: ask for the metadata again.
    NotLeader,
    /// Fewer than `min.insync.replicas` replicas are in sync.
    NotEnoughReplicas,
    /// The broker's disk does not take it.
    Storage,
    /// Records are missing before these.
    OutOfOrderSequence,
    /// A later producer of the same transactional id is there.
    ProducerFenced,
    /// The transaction is not open any more, or is being ended.
    InvalidTransaction,
    /// The transaction before is still being ended: try again.
    ConcurrentTransactions,
    /// A transaction that commits the offset is open: try again.
    UnstableOffset,
    /// No such member.
    UnknownMember,
    /// The member is of an earlier generation.
    IllegalGeneration,
    /// Join again.
    RebalanceInProgress,
    /// The metadata is too long.
    MetadataTooLarge,
}
