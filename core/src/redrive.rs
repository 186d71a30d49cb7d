//! What a dead letter becomes when it is redriven: its task once more, under an id of its own.
//!
//! The id is made of the letter alone, so that whoever redrives it, at whichever replica and however often, makes the same task.

use crate::id::{ProjectName, TaskId};
use crate::log::{Offset, Partition};
use crate::problem::{FieldError, Problem};
use crate::record::{DeadLetter, RedrivenFrom, TaskRecord};
use crate::time::Timestamp;
use crate::types::TaskTypes;
use sha2::{Digest, Sha256};

/// How much of the reason goes with the task, in bytes: a task that is redriven again and again must not grow by it.
const MAX_REASON: usize = 1024;

/// Where a dead letter is on `tasks-dlq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterPlace {
    /// Its partition.
    pub partition: Partition,
    /// Its offset there.
    pub offset: Offset,
}

/// The id of the task that the letter of `id` at `place` becomes.
pub fn redriven_id(id: &TaskId, place: LetterPlace) -> TaskId {
    let place = [u64::from(place.partition).to_be_bytes(), place.offset.to_be_bytes()].concat();
    let hash = Sha256::digest([b"baton redrive\0", id.as_str().as_bytes(), b"\0", &place].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    TaskId::from_random(bytes)
}

impl DeadLetter {
    /// The letter's task under another id, or the reasons why it can't be run any more.
    pub fn redriven(self, task_id: TaskId, types: &TaskTypes, at: Timestamp) -> Result<TaskRecord, Problem> {
        let Some(task) = self.task else { return Err(Problem::not_redrivable()) };
        let mut reason = self.reason;
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
        let redriven_from = Some(RedrivenFrom { task_id: task.task_id.clone(), reason, at: self.at });
        let record = TaskRecord { task_id, submitted_at: Some(at), idempotency_key: None, redriven_from, ..task };
        let project = record.project.parse::<ProjectName>().err();
        let mut errors: Vec<FieldError> =
            project.into_iter().map(|bad| FieldError::new("project", bad.to_string())).collect();
        errors.extend(types.check(&record).err().into_iter().flatten());
        if errors.is_empty() { Ok(record) } else { Err(Problem::invalid(errors)) }
    }
}
