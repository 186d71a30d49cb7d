//! The embedded log: the log port on one SQLite file, for one process.
//!
//! One thread writes, in group commits; what it wrote reaches those who follow closely from memory, and all others
//! from the file. It must never acknowledge what a SIGKILL could take back, nor a synced append, a step or a claim
//! that a power cut could.

#![allow(clippy::doc_markdown, reason = "SQLite is a name, and no code")]

mod checkpoint;
mod errors;
mod keep;
mod limits;
mod member;
mod open;
mod queue;
mod read;
mod recent;
mod seats;
mod tail;
mod writer;

pub use errors::OpenError;
pub use member::{LocalMember, LocalSteps};
pub use tail::LocalTail;

use baton_core::log::{Batch, Delivered, Offset, Partition, Topic};
use baton_runtime::ports::{Durability, Log, LogError, TailFrom};
use queue::{Queue, Request, writer_gone};
use read::{Readers, first_at, partition_page};
use recent::{Recent, Seq};
use seats::Seats;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How a log is made and kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Partitions of each topic, 1 to 1,024. Can't be changed once a directory has a log.
    pub partitions: u32,
    /// Records older than this go, but for tasks that some group has not finished.
    pub retention: Duration,
    /// How large the file may grow; what would go beyond that is refused as if the disk were full. `None`: as
    /// large as the disk.
    pub max_bytes: Option<u64>,
}

impl Default for Options {
    /// Eight partitions, seven days.
    fn default() -> Self {
        Self { partitions: 8, retention: Duration::from_hours(7 * 24), max_bytes: None }
    }
}

/// The embedded log. Clones are the same log; it closes, and leaves its directory to others, as the last clone and
/// the last tail and member of it go.
#[derive(Clone)]
pub struct LocalLog(Arc<Inner>);

pub(crate) struct Inner {
    pub shared: Arc<Shared>,
    pub queue: Arc<Queue>,
    pub readers: Arc<Readers>,
    writer: Option<JoinHandle<()>>,
    /// Let go of last.
    _lock: File,
}

/// What the writer and the readers share.
pub(crate) struct Shared {
    pub seats: Seats,
    topics: [TopicShared; Topic::ALL.len()],
    /// Every batch before this one is committed.
    head: AtomicU64,
}

struct TopicShared {
    recent: Mutex<Recent>,
    commits: watch::Sender<()>,
}

impl LocalLog {
    /// Opens the log in `dir`, which is made if it is missing. Blocks for some milliseconds; longer after a crash.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let open::Opened { lock, file, connection, resume } = open::open(dir, options)?;
        let queue = Arc::new(Queue::new());
        let seats = Seats::new(Arc::clone(&queue), options.partitions, resume.epochs.clone());
        let shared = Arc::new(Shared::new(seats, resume.next_seq));
        let readers = Arc::new(Readers::new(file.clone()));
        let checkpointer = checkpoint::Checkpointer::spawn(&file).map_err(OpenError::Thread)?;
        let connections = (connection, checkpointer);
        let writer = writer::Writer::new(connections, file, options, resume, Arc::clone(&shared), Arc::clone(&queue));
        let writer = writer.spawn().map_err(OpenError::Thread)?;
        Ok(Self(Arc::new(Inner { shared, queue, readers, writer: Some(writer), _lock: lock })))
    }
}

impl Shared {
    fn new(seats: Seats, next_seq: Seq) -> Self {
        let topics = Topic::ALL.map(|topic| TopicShared {
            recent: Mutex::new(Recent::new(next_seq, limits::recent_bytes(topic))),
            commits: watch::Sender::new(()),
        });
        Self { seats, topics, head: AtomicU64::new(next_seq) }
    }

    pub fn recent(&self, topic: Topic) -> MutexGuard<'_, Recent> {
        self.topics[topic as usize].recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told of each commit to the topic.
    pub fn commits(&self, topic: Topic) -> &watch::Sender<()> {
        &self.topics[topic as usize].commits
    }

    pub fn head(&self) -> Seq {
        self.head.load(Ordering::Acquire)
    }

    /// Hands on what was just committed: all batches before `head`.
    pub fn publish(&self, batches: impl Iterator<Item = (Seq, Delivered)>, head: Seq) {
        let mut touched = [false; Topic::ALL.len()];
        for (seq, batch) in batches {
            touched[batch.topic as usize] = true;
            self.recent(batch.topic).push(seq, batch);
        }
        self.head.store(head, Ordering::Release);
        for topic in Topic::ALL {
            if touched[topic as usize] {
                self.commits(topic).send_replace(());
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.readers.close();
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so by now.
            let _ = writer.join();
        }
    }
}

impl Log for LocalLog {
    type Tail = LocalTail;
    type Member = LocalMember;

    async fn append(&self, batches: Vec<Batch>, durability: Durability) -> Result<Vec<(Partition, Offset)>, LogError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        let room = self.0.queue.room_for(&batches).await?;
        room.push(Request::Append { batches, durability, answer });
        answered.await.unwrap_or_else(|_| Err(writer_gone()))
    }

    async fn tail(&self, topic: Topic, from: TailFrom) -> Result<LocalTail, LogError> {
        let seq = match from {
            TailFrom::Earliest => 0,
            TailFrom::Time(time) => self.0.readers.run(move |connection| first_at(connection, time)).await?,
        };
        Ok(LocalTail::new(Arc::clone(&self.0), topic, seq))
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Delivered>, LogError> {
        let read = move |connection: &_| partition_page(connection, (topic, partition), from, to, max_bytes);
        let page = self.0.readers.run(read).await?;
        let batches = page.batches.into_iter();
        Ok(batches.filter_map(|(_, batch)| batch.from_offset(from)?.before_offset(to)).collect())
    }

    async fn join(&self, group: &str, _member: &str, lookback: Duration) -> Result<LocalMember, LogError> {
        Ok(LocalMember::new(Arc::clone(&self.0), Arc::from(group), lookback))
    }
}
