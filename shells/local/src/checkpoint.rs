//! Moves the write-ahead log to the database beside the writer, so that no append waits for the disk to take it.
//!
//! It must never be what empties the write-ahead log for a new round: only the writer, between two transactions,
//! knows that nothing was added meanwhile.

use crate::limits::BUSY;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// A thread that checkpoints when told to.
pub struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Open until no connection is left: to close a file gives up this process's locks on it, SQLite's too.
    _database: Arc<File>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Told to, or at work.
    Busy,
    /// The thread is to end, or has.
    Ended,
}

impl Checkpointer {
    /// Starts the thread on the database `file`, which is open already.
    pub fn spawn(file: &Path) -> io::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags).map_err(io::Error::other)?;
        connection.busy_timeout(BUSY).map_err(io::Error::other)?;
        let database = Arc::new(File::open(file)?);
        let shared = Arc::new(Shared { state: Mutex::new(State::Idle), changed: Condvar::new() });
        let thread = thread::Builder::new().name("baton-checkpoint".to_owned()).spawn({
            let (shared, database) = (Ended(Arc::clone(&shared)), Arc::clone(&database));
            move || shared.0.run(&connection, &database)
        })?;
        Ok(Self { shared, thread: Some(thread), _database: database })
    }

    /// Whether it is at work.
    pub fn is_busy(&self) -> bool {
        *self.shared.state() == State::Busy
    }

    /// Waits until it is no longer at work.
    pub fn wait(&self) {
        drop(self.shared.wait_while(State::Busy));
    }

    /// Moves what is in the write-ahead log by now, unless it is at work already.
    pub fn start(&self) {
        let mut state = self.shared.state();
        if *state == State::Idle {
            *state = State::Busy;
            self.shared.changed.notify_all();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, state: State) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.state(), |now| *now == state).unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, connection: &Connection, database: &File) {
        while *self.wait_while(State::Idle) == State::Busy {
            let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            // SQLite syncs the database only when it has moved everything. What is synced here is no longer left
            // to the writer when it moves the rest.
            let synced = moved.map_err(io::Error::other).and_then(|()| database.sync_data());
            if let Err(error) = synced {
                tracing::warn!(%error, "the log could not be checkpointed in the background");
            }
            let mut state = self.state();
            if *state == State::Busy {
                *state = State::Idle;
            }
            self.changed.notify_all();
        }
    }

    fn end(&self) {
        *self.state() = State::Ended;
        self.changed.notify_all();
    }
}

/// Ends it for whoever waits, even if its thread panics.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.end();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so by now.
            let _ = thread.join();
        }
    }
}
