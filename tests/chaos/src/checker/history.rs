//! The history of a task as every watcher must see it: told anew from the records in the order of the log.

use crate::story::Update;
use baton_core::id::UpdateId;
use baton_core::record::Kind;

/// An update that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id, as watchers have it.
    pub id: UpdateId,
    /// What it means.
    pub kind: Kind,
    /// What people read.
    pub text: String,
}

/// All updates of a task that count. Their ids rise.
#[derive(Debug, Default)]
pub struct History(Vec<Entry>);

impl History {
    /// The next record. Returns the id of what is missing before it.
    pub fn add(&mut self, update: &Update) -> Option<UpdateId> {
        if self.0.last().is_some_and(|last| last.kind.is_terminal()) {
            return None; // nothing comes after the end
        }
        let last = self.0.last().map(|entry| entry.id).unwrap_or_default();
        let attempt = update.attempt.unwrap_or(last.attempt.max(1));
        let next = if attempt == last.attempt { last.seq + 1 } else { 1 };
        let unnumbered = if update.kind.is_terminal() { UpdateId::LAST_SEQ } else { next };
        let id = UpdateId { attempt, seq: update.seq.unwrap_or(unnumbered) };
        if id <= last {
            return None; // a retried append, or a line of an attempt that was given up
        }
        self.0.push(Entry { id, kind: update.kind, text: update.text.clone() });
        if id.seq == UpdateId::LAST_SEQ {
            return None; // who wrote it could not know how many came before it
        }
        let due = match id.attempt - last.attempt {
            0 => UpdateId { seq: last.seq + 1, ..last },
            1 => UpdateId { seq: 1, ..id },
            _ => UpdateId { attempt: last.attempt + 1, seq: 1 },
        };
        (id != due).then_some(due)
    }

    /// What a watcher must see that has read up to `after`.
    pub fn after(&self, after: UpdateId) -> &[Entry] {
        &self.0[self.0.partition_point(|entry| entry.id <= after)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(attempt: u32, seq: Option<u64>, kind: Kind) -> Update {
        Update {
            task: "a".into(),
            attempt: Some(attempt),
            seq,
            kind,
            text: format!("{attempt} {seq:?}"),
            at: 0,
            place: String::new(),
        }
    }

    fn told(updates: &[(u32, Option<u64>, Kind)]) -> (Vec<String>, Vec<String>) {
        let mut history = History::default();
        let missing = updates.iter().filter_map(|(attempt, seq, kind)| history.add(&update(*attempt, *seq, *kind)));
        let missing = missing.map(|id| id.to_string()).collect();
        (history.after(UpdateId::default()).iter().map(|entry| entry.id.to_string()).collect(), missing)
    }

    #[test]
    fn late_lines_and_repeated_ones_do_not_count() {
        use Kind::{Done, Line, Started};
        let (ids, missing) = told(&[
            (1, Some(1), Started),
            (1, Some(2), Line),
            (1, Some(2), Line),
            (2, Some(1), Started),
            (1, Some(3), Line),
            (2, Some(2), Done),
            (2, Some(3), Line),
        ]);
        assert_eq!((ids, missing), (["1-1", "1-2", "2-1", "2-2"].map(String::from).into(), Vec::new()));
    }

    #[test]
    fn gaps_are_told_and_an_end_without_a_number_is_none() {
        use Kind::{Failed, Line, Started, Stopped};
        let (_, missing) = told(&[(1, Some(1), Started), (1, Some(3), Line), (3, Some(1), Started), (3, None, Failed)]);
        assert_eq!(missing, ["1-2", "2-1"]);
        let (ids, missing) = told(&[(0, None, Stopped)]);
        assert_eq!((ids, missing), (vec![format!("0-{}", UpdateId::LAST_SEQ)], Vec::new()));
    }

    #[test]
    fn a_watcher_begins_after_what_it_has() {
        let mut history = History::default();
        for seq in 1..=3 {
            history.add(&update(1, Some(seq), Kind::Line));
        }
        assert_eq!(history.after("1-2".parse().unwrap())[0].id.to_string(), "1-3");
        assert_eq!(history.after("1-3".parse().unwrap()), []);
    }
}
