//! A real Apache Kafka for tests: one node or three, on loopback, started, killed, paused and restarted as a test wants it.
//!
//! Nothing of it may outlive the test: brokers die with the process that started them, also by SIGKILL, and their data goes.
//! Tests are never skipped for want of a broker: an [`Error`] says what is missing, and how to get it.
//!
//! The broker is Apache Kafka's own, run by Java 17 from the jars that Maven brings. It is installed once, into `.tools/`
//! of the checkout. Containers are not used.
//!
//! Calls here block, for seconds where a broker starts. All take `&self`: an asynchronous test that must go on meanwhile
//! puts the [`Cluster`] into an `Arc` and calls it on a blocking thread.

mod address;
mod certificates;
mod cluster;
mod error;
mod install;
mod options;
mod process;
mod properties;
mod shared;
mod wire;

pub use cluster::{Broker, Cluster};
pub use error::Error;
pub use options::{Options, User};
pub use process::spawn;
pub use shared::{ADDRESS_VARIABLE, Shared, run_beside, shared, topic_prefix};
pub use wire::{Operation, Resource};
