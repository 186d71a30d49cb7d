//! Reads the file, off the async threads, for those who fell behind what is in memory.
//!
//! It must never hold a read transaction for longer than a page takes: an old one keeps the write-ahead log growing.

use crate::errors::log_error;
use crate::limits::{BUSY, READERS};
use crate::recent::Seq;
use baton_core::log::{Delivered, Offset, Partition, Topic, Values};
use baton_core::time::Timestamp;
use baton_runtime::ports::LogError;
use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// A read under way, which whoever waits for it may stop waiting for and take up again.
pub type Reading<T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send>>;

/// Batches, and whether there are more.
pub struct Page {
    pub batches: Vec<(Seq, Delivered)>,
    pub more: bool,
}

/// The connections that read.
pub struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    room: Arc<Semaphore>,
}

impl Readers {
    pub fn new(file: PathBuf) -> Self {
        Self { file, idle: Mutex::default(), room: Arc::new(Semaphore::new(READERS)) }
    }

    /// Runs `read` on a connection of its own.
    pub fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Reading<T> {
        let readers = Arc::clone(self);
        Box::pin(async move {
            let permit = Arc::clone(&readers.room).acquire_owned().await.map_err(|_| closed())?;
            let done = tokio::task::spawn_blocking(move || {
                let result = readers.read(read).map_err(|error| log_error("reading the log", &readers.file, &error));
                drop(permit);
                result
            });
            done.await.map_err(|_| closed())?
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let result = read(&connection)?;
        if !self.room.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(result)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.file, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }

    /// Closes what is idle: the last connection to close is to be the writer's, which then empties the write-ahead
    /// log.
    pub fn close(&self) {
        self.room.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn closed() -> LogError {
    LogError::Fatal("the log was closed".to_owned())
}

/// All batches of a topic from `seq` on, up to about `max_bytes`.
pub fn topic_page(connection: &Connection, topic: Topic, seq: Seq, max_bytes: usize) -> rusqlite::Result<Page> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, partition, base_offset, count, at, key, ends, body
         FROM batches INDEXED BY batches_by_topic WHERE topic = ?1 AND seq >= ?2 ORDER BY seq",
    )?;
    let rows = statement.query(params![topic as i64, seq.cast_signed()])?;
    page(rows, topic, max_bytes)
}

/// The batches of a partition that hold offsets from `from` to before `to`, up to about `max_bytes`.
pub fn partition_page(
    connection: &Connection,
    (topic, partition): (Topic, Partition),
    from: Offset,
    to: Offset,
    max_bytes: usize,
) -> rusqlite::Result<Page> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, partition, base_offset, count, at, key, ends, body
         FROM batches INDEXED BY batches_by_offset
         WHERE topic = ?1 AND partition = ?2 AND base_offset < ?4 AND base_offset + count > ?3
         AND base_offset >= ifnull((SELECT max(base_offset) FROM batches
                                    WHERE topic = ?1 AND partition = ?2 AND base_offset <= ?3), 0)
         ORDER BY base_offset",
    )?;
    let to = i64::try_from(to).unwrap_or(i64::MAX);
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let rows = statement.query(params![topic as i64, partition, from, to])?;
    page(rows, topic, max_bytes)
}

/// The first batch that the log took at `time` or later; the next to come if there is none. Time in the log never
/// goes back, so that a search by halves finds it.
pub fn first_at(connection: &Connection, time: Timestamp) -> rusqlite::Result<Seq> {
    let mut probe = connection.prepare_cached("SELECT seq, at FROM batches WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
    let (first, last): (Option<i64>, Option<i64>) =
        connection.query_row("SELECT (SELECT min(seq) FROM batches), (SELECT max(seq) FROM batches)", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let (mut low, mut high) = (first.unwrap_or(0), last.map_or(0, |last| last + 1));
    while low < high {
        let middle = low + (high - low) / 2;
        let found = probe.query_row([middle], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional()?;
        match found {
            Some((seq, at)) if at < time.as_millis() => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(low.cast_unsigned())
}

/// Where a claim of a partition of tasks begins to read: at `committed`, or at the first record after `oldest` if
/// that is earlier.
pub fn claim_start(
    connection: &Connection,
    partition: Partition,
    committed: Offset,
    oldest: Timestamp,
) -> rusqlite::Result<Offset> {
    let seq = first_at(connection, Timestamp::from_millis(oldest.as_millis() + 1))?;
    let mut statement = connection.prepare_cached(
        "SELECT base_offset FROM batches INDEXED BY batches_by_topic
         WHERE topic = ?1 AND partition = ?2 AND seq >= ?3 ORDER BY seq LIMIT 1",
    )?;
    let young = statement
        .query_row(params![Topic::Tasks as i64, partition, seq.cast_signed()], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(young.map_or(committed, |young| young.cast_unsigned().min(committed)))
}

fn page(mut rows: rusqlite::Rows<'_>, topic: Topic, max_bytes: usize) -> rusqlite::Result<Page> {
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let length = row.get_ref(7)?.as_blob()?.len() + row.get_ref(6)?.as_blob()?.len();
        bytes += length + size_of::<Delivered>();
        if bytes > max_bytes && !batches.is_empty() {
            return Ok(Page { batches, more: true });
        }
        batches.push(batch(row, topic)?);
    }
    Ok(Page { batches, more: false })
}

fn batch(row: &Row<'_>, topic: Topic) -> rusqlite::Result<(Seq, Delivered)> {
    let seq = row.get::<_, i64>(0)?.cast_unsigned();
    let count = row.get::<_, i64>(3)?;
    let body = Bytes::copy_from_slice(row.get_ref(7)?.as_blob()?);
    let ends = row.get_ref(6)?.as_blob()?;
    let values = if ends.is_empty() {
        Some(Values::one(body))
    } else {
        let ends = ends.chunks_exact(4).map(|end| u32::from_le_bytes([end[0], end[1], end[2], end[3]])).collect();
        Values::from_parts(body, ends)
    };
    let values = values.filter(|values| i64::try_from(values.len()) == Ok(count));
    let Some(values) = values else {
        let damage = format!("batch {seq} does not hold the {count} records that it should");
        return Err(rusqlite::Error::FromSqlConversionFailure(6, Type::Blob, damage.into()));
    };
    let batch = Delivered {
        topic,
        partition: row.get(1)?,
        base_offset: row.get::<_, i64>(2)?.cast_unsigned(),
        at: Timestamp::from_millis(row.get(4)?),
        key: Bytes::copy_from_slice(row.get_ref(5)?.as_blob()?),
        values,
    };
    Ok((seq, batch))
}
