//! The retention: batches go once they are too old, a few at a time.
//!
//! It must never let go of a task that some group has not committed yet, nor of the offsets that come next.

use crate::limits::{PRESENCE_KEPT, RETENTION_BATCHES, RETENTION_INTERVAL, RETENTION_PAUSE};
use baton_core::log::{Offset, Topic};
use baton_core::time::Timestamp;
use rusqlite::{Connection, params};
use std::time::{Duration, Instant};

/// When to look for what is too old, and how far that was done.
pub struct Retention {
    keep: Duration,
    /// Up to here all was looked at in this pass.
    seq: i64,
    next_go: Instant,
}

impl Retention {
    pub fn new(keep: Duration) -> Self {
        Self { keep, seq: 0, next_go: Instant::now() }
    }

    /// How long until the next go.
    pub fn wait(&self) -> Duration {
        self.next_go.saturating_duration_since(Instant::now())
    }

    /// The next go failed: not again before the next pass.
    pub fn put_off(&mut self) {
        self.seq = 0;
        self.next_go = Instant::now() + self.interval();
    }

    /// A short retention is looked at more often.
    fn interval(&self) -> Duration {
        (self.keep / 16).clamp(RETENTION_PAUSE, RETENTION_INTERVAL)
    }

    /// Looks at some batches, within a transaction of the caller's, and deletes what is too old at `now`. Gives
    /// the number of deleted ones.
    pub fn go(&mut self, connection: &Connection, now: Timestamp, next_offsets: &[Offset]) -> rusqlite::Result<usize> {
        let oldest = now.minus(self.keep);
        let batches = self.candidates(connection)?;
        let pass_ends = batches.len() < RETENTION_BATCHES as usize || batches.iter().any(|batch| batch.at >= oldest);
        let partitions = next_offsets.len() / Topic::ALL.len();
        let unfinished = unfinished(connection, partitions)?;
        let mut delete = connection.prepare_cached("DELETE FROM batches WHERE seq = ?1")?;
        let mut next = connection
            .prepare_cached("INSERT INTO offsets VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET next = excluded.next")?;
        let mut deleted = delete_presence(connection, now, next_offsets, partitions)?;
        let mut seq = self.seq;
        for batch in batches.iter().take_while(|batch| batch.at < oldest) {
            seq = batch.seq;
            let partition = batch.partition as usize;
            let tasks = batch.topic == Topic::Tasks as i64;
            if tasks && unfinished.get(partition).is_some_and(|offset| batch.end > *offset) {
                continue;
            }
            delete.execute([batch.seq])?;
            let place = usize::try_from(batch.topic).unwrap_or(usize::MAX).saturating_mul(partitions) + partition;
            if let Some(offset) = next_offsets.get(place) {
                next.execute(params![batch.topic, batch.partition, offset.cast_signed()])?;
            }
            deleted += 1;
        }
        self.seq = if pass_ends { 0 } else { seq };
        self.next_go = Instant::now() + if pass_ends { self.interval() } else { RETENTION_PAUSE };
        Ok(deleted)
    }

    fn candidates(&self, connection: &Connection) -> rusqlite::Result<Vec<Candidate>> {
        let mut statement = connection.prepare_cached(
            "SELECT seq, topic, partition, base_offset + count, at FROM batches WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let rows = statement.query_map(params![self.seq, RETENTION_BATCHES], |row| {
            Ok(Candidate {
                seq: row.get(0)?,
                topic: row.get(1)?,
                partition: row.get(2)?,
                end: row.get(3)?,
                at: Timestamp::from_millis(row.get(4)?),
            })
        })?;
        rows.collect()
    }
}

/// Who was there is news, and old news soon.
fn delete_presence(
    connection: &Connection,
    now: Timestamp,
    next_offsets: &[Offset],
    partitions: usize,
) -> rusqlite::Result<usize> {
    let topic = Topic::Presence as i64;
    let mut delete = connection.prepare_cached(
        "DELETE FROM batches WHERE seq IN (SELECT seq FROM batches WHERE topic = ?1 AND at < ?2 LIMIT ?3)",
    )?;
    let deleted = delete.execute(params![topic, now.minus(PRESENCE_KEPT).as_millis(), RETENTION_BATCHES])?;
    if deleted > 0 {
        let mut next = connection
            .prepare_cached("INSERT INTO offsets VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET next = excluded.next")?;
        let first = Topic::Presence as usize * partitions;
        for (partition, offset) in next_offsets[first..first + partitions].iter().enumerate() {
            next.execute(params![topic, i64::try_from(partition).unwrap_or(i64::MAX), offset.cast_signed()])?;
        }
    }
    Ok(deleted)
}

struct Candidate {
    seq: i64,
    topic: i64,
    partition: u32,
    /// The offset after its last record.
    end: i64,
    at: Timestamp,
}

/// The first offset of each partition of tasks that some group has not committed. Where there is no group yet,
/// nobody has committed anything.
fn unfinished(connection: &Connection, partitions: usize) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT partition, min(offset) FROM claims GROUP BY partition
         HAVING count(*) = (SELECT count(DISTINCT name) FROM claims)",
    )?;
    let mut unfinished = vec![0; partitions];
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(offset) = unfinished.get_mut(row.get::<_, u32>(0)? as usize) {
            *offset = row.get(1)?;
        }
    }
    Ok(unfinished)
}
