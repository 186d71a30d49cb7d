//! Opens the directory of an embedded log: the lock, the file, its format, and where the last process left off.
//!
//! It must never touch a directory that another process holds, nor a file that it does not know.

use crate::Options;
use crate::errors::OpenError;
use crate::limits::{BUSY, MAX_PARTITIONS, SQLITE_PAGE};
use baton_core::groups::Epoch;
use baton_core::log::{Offset, Topic};
use baton_core::time::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// "Batn", so that `file` and we ourselves tell our files from others.
const APPLICATION: i64 = 0x4261_746e;
/// The format of [`SCHEMA`].
const FORMAT: i64 = 1;

/// A row of `batches` is a batch: `ends` has the end of each value in `body` as little-endian u32, or nothing where
/// there is one value. `seq` orders all topics. `offsets` keeps the next offset of partitions whose records may all
/// have expired.
const SCHEMA: &str = "
    CREATE TABLE batches (
        seq INTEGER PRIMARY KEY,
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        base_offset INTEGER NOT NULL,
        count INTEGER NOT NULL,
        at INTEGER NOT NULL,
        key BLOB NOT NULL,
        ends BLOB NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX batches_by_offset ON batches (topic, partition, base_offset);
    CREATE INDEX batches_by_topic ON batches (topic);
    CREATE TABLE offsets (
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        next INTEGER NOT NULL,
        PRIMARY KEY (topic, partition)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE claims (
        name TEXT NOT NULL,
        partition INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        metadata TEXT NOT NULL,
        PRIMARY KEY (name, partition)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE settings (partitions INTEGER NOT NULL) STRICT;
";

/// A directory that is ours.
pub struct Opened {
    /// Held for as long as the log is open.
    pub lock: File,
    pub file: PathBuf,
    pub connection: Connection,
    pub resume: Resume,
}

/// Where the last process left off.
pub struct Resume {
    pub next_seq: u64,
    /// By topic, then partition.
    pub next_offsets: Vec<Offset>,
    pub last_at: Timestamp,
    /// By group, then partition.
    pub epochs: BTreeMap<String, Vec<Epoch>>,
}

/// Locks the directory, which is made if missing, and opens the log in it.
pub fn open(dir: &Path, options: &Options) -> Result<Opened, OpenError> {
    let asked = options.partitions;
    if asked == 0 || asked > MAX_PARTITIONS {
        return Err(OpenError::BadPartitions { asked, max: MAX_PARTITIONS });
    }
    let lock = lock(dir)?;
    let file = dir.join("log.sqlite");
    let of = |error| OpenError::of(&file, error);
    let connection = Connection::open_with_flags(
        &file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(of)?;
    connection.busy_timeout(BUSY).map_err(of)?;
    prepare(&connection, &file, asked)?;
    let made: u32 = connection.query_row("SELECT partitions FROM settings", [], |row| row.get(0)).map_err(of)?;
    if made != asked {
        return Err(OpenError::OtherPartitions { dir: dir.to_owned(), made, asked });
    }
    if let Some(bytes) = options.max_bytes {
        let pages = i64::try_from(bytes / u64::from(SQLITE_PAGE)).unwrap_or(i64::MAX);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(of)?;
    }
    let resume = Resume::read(&connection, made).map_err(of)?;
    Ok(Opened { lock, file, connection, resume })
}

/// Takes the directory for this process, and leaves our id in it for whoever else comes.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let not_writable = |source| OpenError::NotWritable { dir: dir.to_owned(), source };
    if !dir.is_dir() {
        fs::create_dir_all(dir).map_err(not_writable)?;
        // A log that was synced is of no use in a directory that a power cut takes away.
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all()).map_err(not_writable)?;
    }
    let mut open = OpenOptions::new();
    let mut file =
        open.read(true).write(true).create(true).truncate(false).open(dir.join("lock")).map_err(not_writable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let owner = match file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
                Some(pid) => format!("baton process {pid}"),
                None => "another baton process".to_owned(),
            };
            return Err(OpenError::InUse { dir: dir.to_owned(), owner });
        }
        Err(TryLockError::Error(error)) => return Err(not_writable(error)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(not_writable)?;
    Ok(file)
}

/// Makes the tables of an empty file, or checks that they are ours.
fn prepare(connection: &Connection, file: &Path, partitions: u32) -> Result<(), OpenError> {
    let of = |error| OpenError::of(file, error);
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let format = pragma("user_version").map_err(of)?;
    let application = pragma("application_id").map_err(of)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(of)?;
    let empty = tables == 0 && format == 0 && application == 0;
    if !empty && application != APPLICATION {
        return Err(OpenError::Foreign { file: file.to_owned() });
    }
    if format > FORMAT {
        return Err(OpenError::Newer { file: file.to_owned(), found: format, known: FORMAT });
    }
    let settle = || -> rusqlite::Result<()> {
        if empty {
            connection.pragma_update(None, "page_size", SQLITE_PAGE)?;
        }
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        // The writer decides when; see there.
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        if empty {
            connection.execute_batch(&format!(
                "BEGIN; {SCHEMA} INSERT INTO settings VALUES ({partitions}); \
                 PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT"
            ))?;
        }
        Ok(())
    };
    settle().map_err(of)
}

impl Resume {
    fn read(connection: &Connection, partitions: u32) -> rusqlite::Result<Self> {
        let last = connection
            .query_row("SELECT seq, at FROM batches ORDER BY seq DESC LIMIT 1", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        let (last_seq, last_at) = last.unwrap_or((0, 0));

        let mut next = connection.prepare(
            "SELECT max(
                ifnull((SELECT next FROM offsets WHERE topic = ?1 AND partition = ?2), 0),
                ifnull((SELECT base_offset + count FROM batches WHERE topic = ?1 AND partition = ?2
                        ORDER BY base_offset DESC LIMIT 1), 0))",
        )?;
        let mut next_offsets = Vec::new();
        for topic in Topic::ALL {
            for partition in 0..partitions {
                let offset: i64 = next.query_row(params![topic as i64, partition], |row| row.get(0))?;
                next_offsets.push(offset.cast_unsigned());
            }
        }

        let mut epochs: BTreeMap<String, Vec<Epoch>> = BTreeMap::new();
        let mut claims = connection.prepare("SELECT name, partition, epoch FROM claims")?;
        let mut rows = claims.query([])?;
        while let Some(row) = rows.next()? {
            let group = epochs.entry(row.get(0)?).or_insert_with(|| vec![0; partitions as usize]);
            if let Some(epoch) = group.get_mut(row.get::<_, u32>(1)? as usize) {
                *epoch = row.get::<_, i64>(2)?.cast_unsigned();
            }
        }
        Ok(Self {
            next_seq: last_seq.cast_unsigned() + 1,
            next_offsets,
            last_at: Timestamp::from_millis(last_at),
            epochs,
        })
    }
}
