//! The story.
use crate::event::Entry;
/// Lines.
pub fn story(entries: &[Entry], _colours: bool) -> String {
    entries.iter().map(|e| format!("{:>9.3} {:<10} {:?}\n", e.at.as_secs_f64(), e.node.to_string(), e.event)).collect()
}
