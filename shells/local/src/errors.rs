//! What goes wrong with the embedded log, in words that say where and what to do.

use baton_runtime::ports::LogError;
use rusqlite::{ErrorCode, ffi};
use std::io;
use std::path::{Path, PathBuf};

/// The log in a directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory can't be made or written.
    #[error("cannot write in {dir}: {source}; give a directory of your own with --data")]
    NotWritable {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{dir} is in use by {owner}; stop it, or give another --data directory")]
    InUse {
        /// Where.
        dir: PathBuf,
        /// "baton process 1234".
        owner: String,
    },
    /// A later version of Baton made it.
    #[error(
        "{file} was written by a newer Baton (format {found}, this one knows {known}); upgrade, or give another --data directory"
    )]
    Newer {
        /// Which file.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The newest that this version reads.
        known: i64,
    },
    /// It is a database, and not ours.
    #[error("{file} is not a log of Baton; give another --data directory")]
    Foreign {
        /// Which file.
        file: PathBuf,
    },
    /// It is no longer readable.
    #[error("{file} is damaged ({source}); restore it from a copy, or move it away to start with an empty log")]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Keys would land in other partitions than before.
    #[error(
        "{dir} was made with {made} partitions, not {asked}, and a log cannot change them: the records of a task would \
         lie in two; give --partitions {made}, or another --data directory"
    )]
    OtherPartitions {
        /// Where.
        dir: PathBuf,
        /// What it has.
        made: u32,
        /// What was asked for.
        asked: u32,
    },
    /// No such number of partitions.
    #[error("a log has 1 to {max} partitions, not {asked}")]
    BadPartitions {
        /// What was asked for.
        asked: u32,
        /// The most.
        max: u32,
    },
    /// Something else.
    #[error("cannot open {file}: {source}")]
    Sqlite {
        /// Which file.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// No thread to be had.
    #[error("cannot start the log's writer: {0}")]
    Thread(io::Error),
}

impl OpenError {
    /// Sorts what SQLite says of `file`.
    pub(crate) fn of(file: &Path, source: rusqlite::Error) -> Self {
        let file = file.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged { file, source },
            _ => Self::Sqlite { file, source },
        }
    }
}

/// Sorts what SQLite says while `doing` something to `file`.
pub(crate) fn log_error(doing: &str, file: &Path, error: &rusqlite::Error) -> LogError {
    let file = file.display();
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            LogError::Unavailable(format!("{doing}: {file} has no room left; make some on its disk"))
        }
        // Without a code it is no error of SQLite's: a row is not what we wrote.
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) | None => {
            LogError::Fatal(format!("{doing}: {file} is damaged ({error}); stop, and restore it from a copy"))
        }
        // What the kernel failed to sync it may have forgotten: a later sync that succeeds proves nothing.
        Some(ErrorCode::SystemIoFailure)
            if [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC].contains(&extended) =>
        {
            LogError::Fatal(format!(
                "{doing}: {file} could not be synced to its disk; check the disk, then start again"
            ))
        }
        _ => LogError::Unavailable(format!("{doing}: {file}: {error}")),
    }
}
