//! The log in memory keeps the same facts in the simulated world as outside of it.
#![cfg(madsim)]

use baton_runtime::conformance::PARTITIONS;
use baton_runtime::memory::MemoryLog;
use baton_runtime::world::SystemWorld;

baton_runtime::conformance!(tokio::test, (MemoryLog::in_world(PARTITIONS, SystemWorld), ()));
