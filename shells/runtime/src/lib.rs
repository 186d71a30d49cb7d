//! The ports of Baton and the loops that drive its core. Compiled against tokio, or against madsim's simulation
//! of it under `--cfg madsim`. Knows no database, no process, no socket.

pub mod api;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod memory;
mod patience;
pub mod ports;
pub mod positions;
mod presence;
mod run;
pub mod worker;
pub mod world;
