//! A model of Kafka behind the log port: three brokers on madsim's network, so that its latency, loss and cuts hit every
//! request; disks and metadata that outlive the brokers' processes; clients in the processes that use them.
//!
//! Where the rules come from:
//! - idempotent producers and transactions: KIP-98; commits fenced by the consumer's group: KIP-447;
//!   an epoch raised when a transaction times out: KIP-360, KIP-890 (partitions join a transaction as they are written to)
//! - replication, high watermarks and elections: Kafka's replication design, KIP-101, KIP-966 (eligible leader replicas)
//! - groups: the classic protocol, cooperative rebalances (KIP-429), static members (KIP-345): one that comes back is told at once
//!   what the present generation assigns to it, without a rebalance
//! - what a client library does by itself (joining again, giving back, taking an assignment for lost, and under which id it comes back): librdkafka
//!   2.12; above it the shipped tenures hold partitions, under titles in the offsets' metadata
//! - reading committed records up to the last stable offset; markers take an offset each: KIP-98
//!
//! Where the model is simpler than Kafka:
//! - Followers fetch by timers, not by messages: replication is hit by brokers that are down, frozen, isolated, full or slow,
//!   not by single lost messages. A broker that was deposed knows it at once.
//! - All coordinators live where the first partition of `task-control` is led; their state is as durable as that partition's.
//! - The coordinator's decision on a transaction, the abort of an older one included, is one step; only its markers are late.
//! - What a static member was to give up when it died stays with it as it comes back. With the classic protocol Kafka gives such
//!   a partition to nobody until some later rebalance, as only a client knows what it was to give up.
//! - A join is one request. Where its coordinator moves, every second member is told what the second request (`SyncGroup`) would be: that its
//!   generation is not known, so that it loses its assignment and keeps its id.
//! - Heartbeats and proofs of membership go out once a second, not four times and twice.
//! - Late messages (a request that stays in a queue, or comes again by another connection) are late by four seconds at most.
//! - One rebalance protocol, one assignor (sticky, cooperative), one group's members with one subscription.
//! - Clients have one request in flight for each partition, and no compression, quotas or authentication.

mod broker;
mod client;
mod cluster;
mod controller;
mod group;
mod late;
mod partition;
mod replication;
mod requests;
#[cfg(test)]
mod tests;
mod transactions;
mod wire;

pub use client::{ClientConfig, SimKafka, SimMember, SimSteps, SimTail};
pub use cluster::{Cluster, ClusterConfig};
pub use late::{LATE, deliver_late};
