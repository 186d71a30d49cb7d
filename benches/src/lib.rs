//! What the benches have in common: a task, its lines, and its records as the log delivers them.
//!
//! A bench measures what is shipped: nothing here does work that Baton does.

use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Delivered, Topic, ValuesBuilder};
use baton_core::record::{Kind, ProgressRecord};
use baton_core::time::{Instant, Now, Timestamp};
use std::time::Duration;

/// The id of the task that the benches work on: as long as a real one.
pub fn task_id() -> TaskId {
    TaskId::from_random([0x5a; 16])
}

/// A moment like any other.
pub fn now() -> Now {
    Now { mono: Instant::from_start(Duration::from_mins(1)), wall: Timestamp::from_millis(1_763_000_000_123) }
}

/// Line number `n` of an agent that says how far it is, without its line feed.
pub fn line(n: u64) -> String {
    format!("[{:>3}%] Processing row {n} of sheet \"MB Attributes\": ok", n % 100)
}

/// What an agent writes in one read of its pipe: as many whole lines as fit, and how many these are.
pub fn chunk(bytes: usize) -> (Vec<u8>, u64) {
    let (mut chunk, mut lines) = (Vec::with_capacity(bytes), 0);
    loop {
        let line = line(lines + 1);
        if chunk.len() + line.len() + 1 > bytes {
            return (chunk, lines);
        }
        chunk.extend_from_slice(line.as_bytes());
        chunk.push(b'\n');
        lines += 1;
    }
}

/// The updates numbered `from` to `to` (exclusive) of the first attempt, as the log delivers them: each a line.
pub fn delivered(from: u64, to: u64) -> Delivered {
    let (id, mut values) = (task_id(), ValuesBuilder::default());
    for seq in from..to {
        let record = ProgressRecord::new(&id, UpdateId { attempt: 1, seq }, Kind::Line, now().wall, line(seq));
        values.push_with(|buffer| record.write_to(buffer));
    }
    Delivered {
        topic: Topic::Progress,
        partition: 0,
        base_offset: from,
        at: now().wall,
        key: id.as_str().to_owned().into(),
        values: values.take(),
    }
}
