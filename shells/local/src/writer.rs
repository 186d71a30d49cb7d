//! The one thread that writes: it takes what waits, commits it in one transaction, hands it on and answers.
//!
//! It must never answer before the commit, nor hand on what was rolled back. A request that can't be granted
//! (a fenced step) must not touch its neighbours' transaction.

use crate::checkpoint::Checkpointer;
use crate::errors::log_error;
use crate::keep::Retention;
use crate::limits::{CHECKPOINT_BYTES, IDLE, MAX_WAL_BYTES, RESTART_BYTES, RETRY, SQLITE_PAGE, TRANSACTION_BYTES};
use crate::open::Resume;
use crate::queue::{ClaimRequest, Queue, Request, Taken};
use crate::read::claim_start;
use crate::recent::Seq;
use crate::seats::Persisted;
use crate::{Options, Shared};
use baton_core::log::{Batch, Delivered, Offset, Partition, partition_of};
use baton_core::time::Timestamp;
use baton_runtime::ports::{Committed, Durability, LogError, Step, StepError};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// See the head of the file.
pub struct Writer {
    connection: Connection,
    /// Dropped after the connection: its thread has the last word on the file.
    checkpointer: Checkpointer,
    file: PathBuf,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    partitions: u32,
    next_seq: Seq,
    /// By topic, then partition.
    next_offsets: Vec<Offset>,
    last_at: Timestamp,
    retention: Retention,
    /// Written in the transaction that is open.
    written: Vec<(Seq, Delivered)>,
    /// Claims whose transaction failed.
    unpersisted: Vec<ClaimRequest>,
    /// Whether commits sync, as the connection is set.
    syncs: bool,
    /// About how much the write-ahead log has grown since it last began anew.
    wal_bytes: usize,
    /// How much that was when it was last moved to the database.
    moved_bytes: usize,
    /// For the ends of values, reused.
    ends: Vec<u8>,
    /// What failed for good.
    fatal: Option<LogError>,
}

/// Whom to answer once the transaction is committed.
enum Answer {
    Appended(oneshot::Sender<Result<Vec<(Partition, Offset)>, LogError>>, Vec<(Partition, Offset)>),
    Stepped(oneshot::Sender<Result<(), StepError>>, Result<(), StepError>),
}

impl Writer {
    pub fn new(
        (connection, checkpointer): (Connection, Checkpointer),
        file: PathBuf,
        options: &Options,
        resume: Resume,
        shared: Arc<Shared>,
        queue: Arc<Queue>,
    ) -> Self {
        Self {
            connection,
            checkpointer,
            file,
            shared,
            queue,
            partitions: options.partitions,
            next_seq: resume.next_seq,
            next_offsets: resume.next_offsets,
            last_at: resume.last_at,
            retention: Retention::new(options.retention),
            written: Vec::new(),
            unpersisted: Vec::new(),
            syncs: true,
            // Whatever the last process left: seen to at the first quiet moment.
            wal_bytes: 1,
            moved_bytes: 0,
            ends: Vec::new(),
            fatal: None,
        }
    }

    /// Starts the thread. It ends when the queue is closed and empty.
    pub fn spawn(self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("baton-log".to_owned()).spawn(move || {
            let _abandon = Abandon(Arc::clone(&self.queue));
            self.run();
        })
    }

    fn run(mut self) {
        loop {
            match self.queue.take(TRANSACTION_BYTES, self.patience()) {
                Taken::Requests(requests, room) => {
                    self.serve(requests);
                    self.queue.done(room);
                }
                Taken::Idle => self.idle(),
                Taken::Closed => return,
            }
            self.checkpoint_if_due();
            if self.fatal.is_none() && self.retention.wait().is_zero() {
                self.retain();
            }
        }
    }

    /// How long to wait for requests before there is something else to do.
    fn patience(&self) -> Duration {
        let retry = if self.unpersisted.is_empty() { Duration::MAX } else { RETRY };
        let idle = if self.wal_bytes > 0 { IDLE } else { Duration::MAX };
        retry.min(idle).min(self.retention.wait().max(Duration::from_millis(1)))
    }

    fn idle(&mut self) {
        if !self.unpersisted.is_empty() {
            self.try_claims_again();
        } else if self.wal_bytes > 0 && self.retention.wait() > Duration::ZERO {
            self.checkpoint();
        }
    }

    fn try_claims_again(&mut self) {
        for claim in self.unpersisted.drain(..) {
            self.queue.push_claim(claim);
        }
    }

    /// Commits the requests, or refuses them all.
    fn serve(&mut self, requests: Vec<Request>) {
        let claims: Vec<ClaimRequest> = requests
            .iter()
            .filter_map(|request| if let Request::Claim(claim) = request { Some(claim.clone()) } else { None })
            .collect();
        let mut answers = Vec::with_capacity(requests.len());
        let mut persisted = Vec::new();
        let done = match &self.fatal {
            Some(error) => Err(error.clone()),
            None => self.transact(requests, &mut answers, &mut persisted),
        };
        match done {
            Ok(()) => {
                self.shared.publish(self.written.drain(..), self.next_seq);
                for answer in answers {
                    answer.give();
                }
                for persisted in &persisted {
                    self.shared.seats.persisted(persisted);
                }
                self.try_claims_again();
            }
            Err(error) => {
                self.unpersisted.extend(claims);
                for answer in answers {
                    answer.refuse(&error);
                }
            }
        }
    }

    /// One transaction. Every request that wants an answer has left its `Answer` when this returns.
    fn transact(
        &mut self,
        requests: Vec<Request>,
        answers: &mut Vec<Answer>,
        persisted: &mut Vec<Persisted>,
    ) -> Result<(), LogError> {
        let next_seq = self.next_seq;
        self.last_at = self.last_at.max(wall());
        let sync =
            requests.iter().any(|request| !matches!(request, Request::Append { durability: Durability::Written, .. }));
        let mut result = self.begin(sync);
        for request in requests {
            // After the first failure the others only leave their answers, to be refused.
            let failed = result.is_err();
            let done = self.apply(request, failed, answers, persisted);
            result = result.and(done);
        }
        let result = result.and_then(|()| self.connection.execute_batch("COMMIT"));
        result.map_err(|error| self.roll_back(next_seq, &error))
    }

    /// A commit syncs the write-ahead log as a whole (or not at all): it makes what was committed before it
    /// without a sync durable as well, so that the setting may change from one transaction to the next.
    fn begin(&mut self, sync: bool) -> rusqlite::Result<()> {
        if sync != self.syncs {
            self.connection.pragma_update(None, "synchronous", if sync { "FULL" } else { "NORMAL" })?;
            self.syncs = sync;
        }
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        // The table and each index: at least a page of each is rewritten, however little changes in it.
        self.wal_bytes += 3 * SQLITE_PAGE as usize;
        Ok(())
    }

    /// Undoes what the transaction did here, and sorts the error.
    fn roll_back(&mut self, next_seq: Seq, error: &rusqlite::Error) -> LogError {
        let error = log_error("writing to the log", &self.file, error);
        if !self.connection.is_autocommit()
            && let Err(again) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %again, "the log could not roll a transaction back");
        }
        for (_, batch) in self.written.drain(..).rev() {
            let place = batch.topic as usize * self.partitions as usize + batch.partition as usize;
            self.next_offsets[place] = batch.base_offset;
        }
        self.next_seq = next_seq;
        if matches!(error, LogError::Fatal(_)) {
            self.fatal = Some(error.clone());
        }
        tracing::warn!(%error, "a transaction of the log was rolled back");
        error
    }

    fn apply(
        &mut self,
        request: Request,
        failed: bool,
        answers: &mut Vec<Answer>,
        persisted: &mut Vec<Persisted>,
    ) -> rusqlite::Result<()> {
        match request {
            Request::Append { batches, answer, .. } => {
                let mut places = Vec::with_capacity(batches.len());
                let done = if failed { Ok(()) } else { self.insert_all(batches, &mut places) };
                answers.push(Answer::Appended(answer, places));
                done
            }
            Request::Step { group, step, answer } => {
                let current = self.shared.seats.is_current(&group, step.partition, step.epoch);
                let outcome = if current { Ok(()) } else { Err(StepError::Fenced) };
                answers.push(Answer::Stepped(answer, outcome));
                if failed || !current { Ok(()) } else { self.step(&group, step) }
            }
            Request::Claim(claim) => {
                if !failed && let Some(lookback) = self.shared.seats.lookback(&claim) {
                    persisted.push(self.claim(claim, lookback)?);
                }
                Ok(())
            }
        }
    }

    fn insert_all(&mut self, batches: Vec<Batch>, places: &mut Vec<(Partition, Offset)>) -> rusqlite::Result<()> {
        for batch in batches {
            places.push(self.insert(batch)?);
        }
        Ok(())
    }

    fn insert(&mut self, batch: Batch) -> rusqlite::Result<(Partition, Offset)> {
        let key = batch.key.as_str().as_bytes();
        let partition = partition_of(key, self.partitions);
        let place = batch.topic as usize * self.partitions as usize + partition as usize;
        let base_offset = self.next_offsets[place];
        if batch.values.is_empty() {
            return Ok((partition, base_offset));
        }
        let (body, ends) = batch.values.parts();
        self.ends.clear();
        if ends.len() != 1 {
            self.ends.extend(ends.iter().flat_map(|end| end.to_le_bytes()));
        }
        let mut insert =
            self.connection.prepare_cached("INSERT INTO batches VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
        insert.execute(params![
            self.next_seq.cast_signed(),
            batch.topic as i64,
            partition,
            base_offset.cast_signed(),
            i64::try_from(ends.len()).unwrap_or(i64::MAX),
            self.last_at.as_millis(),
            key,
            self.ends.as_slice(),
            body.as_ref(),
        ])?;
        drop(insert);
        self.wal_bytes += body.len() + self.ends.len();
        self.next_offsets[place] += ends.len() as u64;
        let delivered = Delivered {
            topic: batch.topic,
            partition,
            base_offset,
            at: self.last_at,
            key: Bytes::copy_from_slice(key),
            values: batch.values,
        };
        self.written.push((self.next_seq, delivered));
        self.next_seq += 1;
        Ok((partition, base_offset))
    }

    fn step(&mut self, group: &str, step: Step) -> rusqlite::Result<()> {
        let Step { partition, committed, batches, .. } = step;
        self.insert_all(batches, &mut Vec::new())?;
        let mut update = self
            .connection
            .prepare_cached("UPDATE claims SET offset = ?3, metadata = ?4 WHERE name = ?1 AND partition = ?2")?;
        update.execute(params![group, partition, committed.offset.cast_signed(), committed.metadata])?;
        Ok(())
    }

    fn claim(&self, claim: ClaimRequest, lookback: Duration) -> rusqlite::Result<Persisted> {
        let mut upsert = self.connection.prepare_cached(
            "INSERT INTO claims VALUES (?1, ?2, ?3, 0, '') ON CONFLICT DO UPDATE SET epoch = excluded.epoch",
        )?;
        upsert.execute(params![claim.group, claim.partition, claim.epoch.cast_signed()])?;
        let mut select =
            self.connection.prepare_cached("SELECT offset, metadata FROM claims WHERE name = ?1 AND partition = ?2")?;
        let committed = select
            .query_row(params![claim.group, claim.partition], |row| {
                Ok(Committed { offset: row.get::<_, i64>(0)?.cast_unsigned(), metadata: row.get(1)? })
            })
            .optional()?
            .unwrap_or_default();
        let oldest = self.last_at.minus(lookback);
        let start = claim_start(&self.connection, claim.partition, committed.offset, oldest)?;
        Ok(Persisted { claim, committed, start })
    }

    /// Lets go of what is too old.
    fn retain(&mut self) {
        let go = |writer: &mut Self| {
            writer.begin(false)?;
            let now = writer.last_at.max(wall());
            let deleted = writer.retention.go(&writer.connection, now, &writer.next_offsets)?;
            writer.connection.execute_batch("COMMIT")?;
            Ok(deleted)
        };
        match go(self) {
            Ok(deleted) => self.wal_bytes += deleted * SQLITE_PAGE as usize,
            Err(error) => {
                self.roll_back(self.next_seq, &error);
                self.retention.put_off();
            }
        }
    }

    /// Has most of the write-ahead log moved beside this thread, so that what is left for it takes no time.
    fn checkpoint_if_due(&mut self) {
        let busy = self.checkpointer.is_busy();
        if self.wal_bytes > MAX_WAL_BYTES || (self.wal_bytes > RESTART_BYTES && !busy) {
            self.checkpoint();
        } else if self.wal_bytes - self.moved_bytes > CHECKPOINT_BYTES && !busy {
            self.moved_bytes = self.wal_bytes;
            self.checkpointer.start();
        }
    }

    /// Moves the write-ahead log to the database, as far as readers let it; once it is too long, waits for them.
    fn checkpoint(&mut self) {
        // SQLite allows one checkpoint at a time, and does not wait for another to end.
        self.checkpointer.wait();
        let run = |mode: &str| {
            let pragma = format!("PRAGMA wal_checkpoint({mode})");
            self.connection.query_row(&pragma, [], |row| row.get::<_, i64>(1))
        };
        let result = run("PASSIVE").and_then(|pages| {
            let bytes = usize::try_from(pages).unwrap_or(0).saturating_mul(SQLITE_PAGE as usize);
            if bytes > MAX_WAL_BYTES { run("TRUNCATE") } else { Ok(pages) }
        });
        (self.wal_bytes, self.moved_bytes) = (0, 0);
        if let Err(error) = result {
            tracing::warn!(%error, file = %self.file.display(), "the log could not be checkpointed");
        }
    }
}

impl Answer {
    /// Whoever asked may be gone: then nobody needs the answer.
    fn give(self) {
        match self {
            Self::Appended(answer, places) => _ = answer.send(Ok(places)),
            Self::Stepped(answer, outcome) => _ = answer.send(outcome),
        }
    }

    fn refuse(self, error: &LogError) {
        match self {
            Self::Appended(answer, _) => _ = answer.send(Err(error.clone())),
            Self::Stepped(answer, outcome) => _ = answer.send(outcome.and(Err(error.clone().into()))),
        }
    }
}

/// Tells whoever waits if the writer dies.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
