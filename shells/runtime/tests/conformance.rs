//! The log in memory keeps to the facts of the log port, in real time and under madsim.

use baton_core::time::Timestamp;
use baton_runtime::conformance::PARTITIONS;
use baton_runtime::memory::MemoryLog;
use std::time::{SystemTime, UNIX_EPOCH};

fn fresh() -> (MemoryLog, ()) {
    let clock = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    };
    (MemoryLog::new(PARTITIONS, clock), ())
}

baton_runtime::conformance!(tokio::test, fresh());
