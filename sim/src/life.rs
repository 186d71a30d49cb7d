//! The life of one process in the simulation. madsim drops the futures of a node that it kills, and so runs their
//! destructors, which a SIGKILL would not do: whatever a destructor of a simulated port does to the world outside
//! its process, it does only while the process lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One start of one process. Clones are the same life.
#[derive(Clone, Debug, Default)]
pub struct Life(Arc<AtomicBool>);

impl Life {
    /// The process is killed: said before its futures are dropped.
    pub fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was not killed.
    pub fn goes_on(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}
