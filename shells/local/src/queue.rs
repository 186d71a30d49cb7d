//! What waits for the writer. Whoever would make it longer than its bound waits for room, in turn.

use crate::limits::{QUEUE_BYTES, REQUEST_BYTES};
use baton_core::groups::Epoch;
use baton_core::log::{Batch, Offset, Partition};
use baton_runtime::ports::{Durability, LogError, Step, StepError};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// Something for the writer to do.
pub enum Request {
    Append {
        batches: Vec<Batch>,
        durability: Durability,
        answer: oneshot::Sender<Result<Vec<(Partition, Offset)>, LogError>>,
    },
    Step {
        group: Arc<str>,
        step: Step,
        answer: oneshot::Sender<Result<(), StepError>>,
    },
    /// Persist the epoch, then tell the claimant. Few, and from places that can't wait: they need no room.
    Claim(ClaimRequest),
}

#[derive(Clone)]
pub struct ClaimRequest {
    pub group: Arc<str>,
    pub partition: Partition,
    pub epoch: Epoch,
}

/// The queue.
pub struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    room: Semaphore,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<(u32, Request)>,
    closed: bool,
}

/// What the writer took.
pub enum Taken {
    /// Requests, and the room that they take until they are done.
    Requests(Vec<Request>, u32),
    /// Nothing came in time.
    Idle,
    /// Nothing will come any more.
    Closed,
}

impl Queue {
    pub fn new() -> Self {
        Self { waiting: Mutex::default(), filled: Condvar::new(), room: Semaphore::new(QUEUE_BYTES as usize) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for the batches. What is then pushed at once can be dropped no more.
    pub async fn room_for(&self, batches: &[Batch]) -> Result<Room<'_>, LogError> {
        let bytes = batches.iter().map(|batch| batch.values.bytes() + batch.values.len() * 4 + 256).sum::<usize>();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(REQUEST_BYTES, QUEUE_BYTES);
        let permit = self.room.acquire_many(bytes).await.map_err(|_| writer_gone())?;
        permit.forget();
        Ok(Room { queue: self, bytes })
    }

    /// Adds a claim.
    pub fn push_claim(&self, claim: ClaimRequest) {
        self.push(0, Request::Claim(claim));
    }

    fn push(&self, bytes: u32, request: Request) {
        let mut waiting = self.waiting();
        // Dropped otherwise, and with it the way back: whoever asked hears that nobody will answer.
        if !waiting.closed {
            waiting.requests.push_back((bytes, request));
            self.filled.notify_one();
        }
    }

    /// What waits, in order, up to about `max_bytes`; waits for the first of it for `timeout`.
    pub fn take(&self, max_bytes: u32, timeout: Duration) -> Taken {
        let waits = |waiting: &mut Waiting| waiting.requests.is_empty() && !waiting.closed;
        let (mut waiting, _) =
            self.filled.wait_timeout_while(self.waiting(), timeout, waits).unwrap_or_else(PoisonError::into_inner);
        let (mut requests, mut taken) = (Vec::new(), 0);
        while let Some((bytes, request)) = waiting.requests.pop_front() {
            requests.push(request);
            taken += bytes;
            if taken >= max_bytes {
                break;
            }
        }
        match (requests.is_empty(), waiting.closed) {
            (false, _) => Taken::Requests(requests, taken),
            (true, false) => Taken::Idle,
            (true, true) => Taken::Closed,
        }
    }

    /// Gives back the room of what was taken.
    pub fn done(&self, bytes: u32) {
        self.room.add_permits(bytes as usize);
    }

    /// Lets the writer end once it has done what waits.
    pub fn close(&self) {
        self.waiting().closed = true;
        self.filled.notify_one();
    }

    /// The writer is gone: whoever waits, or will, hears so.
    pub fn abandon(&self) {
        self.room.close();
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.requests.clear();
    }
}

/// Room in the queue, given back unless used.
pub struct Room<'a> {
    queue: &'a Queue,
    bytes: u32,
}

impl Room<'_> {
    pub fn push(mut self, request: Request) {
        self.queue.push(std::mem::take(&mut self.bytes), request);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.queue.done(self.bytes);
    }
}

/// The writer died of a bug.
pub fn writer_gone() -> LogError {
    LogError::Fatal("the log's writer has stopped; see the lines above, and start again".to_owned())
}
