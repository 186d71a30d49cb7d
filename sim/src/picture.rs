//! The picture.
use crate::event::Entry;
use crate::oracle::Violation;
/// HTML.
pub fn html(_title: &str, _entries: &[Entry], _violation: Option<&Violation>) -> String {
    String::new()
}
