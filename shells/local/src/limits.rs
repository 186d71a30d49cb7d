//! The numbers that bound the embedded log, each with its reason. Nothing in this crate waits or grows by a number
//! that is not here.

use baton_core::log::Topic;
use std::time::Duration;

/// The most partitions: each costs a few queries at start, and each claim an event.
pub const MAX_PARTITIONS: u32 = 1_024;
/// What may wait for the writer, in bytes; whoever would add more waits. A second's worth of lines at full speed.
pub const QUEUE_BYTES: u32 = 32 << 20;
/// What even the smallest request counts in the queue, so that [`QUEUE_BYTES`] bounds their number too: 16,384.
pub const REQUEST_BYTES: u32 = 2 << 10;
/// The most that one transaction takes from the queue: long enough to be worth its commit, short enough that
/// whoever comes next waits for some milliseconds only.
pub const TRANSACTION_BYTES: u32 = 4 << 20;
/// The most that a reader is given at once, so that no reader holds much memory or a long read transaction.
pub const PAGE_BYTES: usize = 1 << 20;
/// Readers of the file at the same time; the others wait.
pub const READERS: usize = 4;
/// How long SQLite waits where connections meet (recovery, a checkpoint that ends): far beyond any read of ours.
pub const BUSY: Duration = Duration::from_secs(5);

/// SQLite's page: a small commit rewrites three of them, so they are small; packed lines read well all the same.
pub const SQLITE_PAGE: u32 = 4 << 10;
/// After this much in the write-ahead log it is moved to the database, beside the writer.
pub const CHECKPOINT_BYTES: usize = 4 << 20;
/// After this much the writer moves the rest itself, and the write-ahead log begins anew.
pub const RESTART_BYTES: usize = 16 << 20;
/// A write-ahead log beyond this was kept from beginning anew by readers: the writer waits until they let go of it.
/// It sees to that each time as much has been written, so that the file never grows beyond twice this.
pub const MAX_WAL_BYTES: usize = 32 << 20;
/// When nothing was written for so long, what is in the write-ahead log is moved (and with it, synced).
pub const IDLE: Duration = Duration::from_secs(1);
/// After a transaction failed, claims that were in it are tried again after this time.
pub const RETRY: Duration = Duration::from_secs(1);

/// Batches looked at in one go of the retention: some milliseconds of the writer's time.
pub const RETENTION_BATCHES: u32 = 64;
/// At least so long between two goes of the retention while others write.
pub const RETENTION_PAUSE: Duration = Duration::from_millis(50);
/// At most so long between two passes of the retention.
pub const RETENTION_INTERVAL: Duration = Duration::from_mins(1);

/// How long it is kept who was there, however long everything else is: nobody asks for what is older than some minutes.
pub const PRESENCE_KEPT: Duration = Duration::from_hours(1);

/// What is kept in memory of a topic for the readers that follow it closely.
pub const fn recent_bytes(topic: Topic) -> usize {
    match topic {
        Topic::Progress => 8 << 20,
        Topic::Tasks | Topic::Control | Topic::DeadLetters | Topic::Presence => 1 << 20,
    }
}
