//! Guarantees 3, 4 and 5 as watchers see them: every update once, in order, from where they began to the one end; at every replica.
//!
//! Nothing has expired while a run lasts: so a frame that says that updates are gone is a finding.

use super::history::Entry;
use super::{Case, Court, IN_ANY_CASE};
use crate::story::{Answer, Closed, Format, Frame, Shown, Watch};
use baton_core::record::Kind;
use std::collections::BTreeMap;

/// There is no such task.
const UNKNOWN: [u16; 2] = [4404, 404];

impl Court<'_> {
    pub(super) fn watchers(&mut self) {
        let story = self.story;
        let mut accepted: BTreeMap<&str, u64> = BTreeMap::new();
        for post in &story.posts {
            if let Answer::Accepted(id) = &post.answer {
                accepted.entry(id).or_insert(post.at);
            }
        }
        let mut last: BTreeMap<usize, &Watch> = BTreeMap::new();
        for watch in &story.watches {
            self.watch(watch);
            let known_for = accepted.get(watch.task.as_str()).map_or(0, |at| watch.opened.saturating_sub(*at));
            if let Closed::Code(code) = watch.closed
                && UNKNOWN.contains(&code)
            {
                let late = known_for < IN_ANY_CASE;
                self.owe(4, &watch.task, late, || {
                    format!("{} was told {code}, {known_for} ms after the task was accepted", who(watch))
                });
            }
            last.insert(watch.watcher, watch);
        }
        for watch in last.into_values().filter(|watch| watch.stays) {
            let ended = watch.closed == Closed::Ended || watch.frames.last().is_some_and(is_end);
            self.owe(4, &watch.task, ended, || {
                format!(
                    "{} wanted to see the end and has not: {:?}, after {} frames",
                    who(watch),
                    watch.closed,
                    watch.frames.len()
                )
            });
        }
        for shown in &story.shown {
            self.shown(shown);
        }
    }

    fn watch(&mut self, watch: &Watch) {
        let entries = self.cases.get(watch.task.as_str()).map_or(&[][..], |case| case.history.after(watch.after));
        let plain = watch.format == Format::Plain;
        let due: Vec<&Entry> =
            entries.iter().filter(|entry| !plain || !matches!(entry.kind, Kind::Stopping | Kind::Progress)).collect();
        let found = differ(&due, &watch.frames).map(|(guarantee, what)| (guarantee, format!("{}: {what}", who(watch))));
        let whole = due.len() == watch.frames.len() && due.last().is_none_or(|last| last.kind.is_terminal());
        let (read, of) = (watch.frames.len(), due.len());
        match found {
            Some((guarantee, what)) => self.owe(guarantee, &watch.task, false, || what),
            None if watch.closed == Closed::Ended => self.owe(4, &watch.task, whole, || {
                format!("{} was told that this is the end, and had read {read} of {of} updates", who(watch))
            }),
            None => self.owe(4, &watch.task, true, String::new),
        }
        for guarantee in [3, 5] {
            self.owe(guarantee, &watch.task, true, String::new);
        }
    }

    /// Each replica says in the end what the log says.
    fn shown(&mut self, shown: &Shown) {
        let end = self.cases.get(shown.task.as_str()).and_then(Case::end);
        let Some(end) = end else { return }; // guarantee 1 speaks of that
        let due = (end.kind.name(), u64::from(end.attempt.unwrap_or(0)));
        let is_so = (shown.status.as_str(), shown.attempt) == due;
        self.owe(4, &shown.task, is_so, || {
            format!("api-{} shows it as {} in attempt {}, and it ended {due:?}", shown.api, shown.status, shown.attempt)
        });
    }
}

fn who(watch: &Watch) -> String {
    let Watch { watcher, api, format, after, .. } = watch;
    format!("watcher {watcher} ({format:?}, api-{api}, after {after})")
}

fn is_end(frame: &Frame) -> bool {
    [Kind::Done, Kind::Stopped, Kind::Failed].iter().any(|end| frame.kind.as_deref() == Some(end.name()))
}

/// The first frame that is not the one that is due, and the guarantee that this breaks.
fn differ(due: &[&Entry], frames: &[Frame]) -> Option<(u8, String)> {
    let mut last: Option<&Frame> = None;
    for (index, frame) in frames.iter().enumerate() {
        let is_due = |entry: &&Entry| {
            entry.text == frame.text
                && frame.id.is_none_or(|id| id == entry.id)
                && frame.kind.as_deref().is_none_or(|kind| kind == entry.kind.name())
        };
        if due.get(index).is_some_and(is_due) {
            last = Some(frame);
            continue;
        }
        let after_the_end = index > 0 && due.get(index - 1).is_some_and(|entry| entry.kind.is_terminal());
        let older = last.and_then(|last| Some(frame.id?.attempt < last.id?.attempt)) == Some(true);
        let guarantee = if after_the_end {
            3
        } else if older {
            5
        } else {
            4
        };
        let named = |id: &dyn std::fmt::Display, kind: &str, text: &str| format!("{id} ({kind}, {text:?})");
        let owed =
            due.get(index).map_or("nothing".to_owned(), |entry| named(&entry.id, entry.kind.name(), &entry.text));
        let id = frame.id.map_or("-".to_owned(), |id| id.to_string());
        let seen = named(&id, frame.kind.as_deref().unwrap_or("-"), &frame.text);
        return Some((guarantee, format!("frame number {} is {seen}, and {owed} is due", index + 1)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tale::Tale;
    use crate::story::{Closed, Format, Frame};

    fn frame(id: &str, kind: &str, text: &str) -> Frame {
        Frame { id: Some(id.parse().unwrap()), kind: Some(kind.into()), text: text.into() }
    }

    #[test]
    fn a_gap_a_duplicate_and_another_order_are_found() {
        for spoil in [
            (|frames: &mut Vec<Frame>| drop(frames.remove(1))) as fn(&mut Vec<Frame>),
            |frames| frames.insert(1, frames[0].clone()),
            |frames| frames.swap(1, 2),
            |frames| frames[2].text.push('!'),
            |frames| frames[1] = frame("1-2", "truncated", "[Earlier updates are gone]"),
        ] {
            let mut tale = Tale::clean();
            spoil(&mut tale.watch("counted").frames);
            tale.finds(4, "is due");
        }
    }

    #[test]
    fn a_frame_after_the_end_is_found() {
        let mut tale = Tale::clean();
        tale.watch("counted").frames.push(frame("1-5", "line", "late"));
        tale.finds(3, "nothing is due");
    }

    #[test]
    fn an_older_attempt_after_a_newer_one_is_found() {
        let mut tale = Tale::clean();
        tale.watch("redone").frames.insert(3, frame("1-3", "line", "late"));
        tale.finds(5, "1-3");
    }

    #[test]
    fn a_watcher_that_is_told_of_the_end_too_early_is_found() {
        let mut tale = Tale::clean();
        tale.watch("counted").frames.truncate(2);
        tale.finds(4, "had read 2 of 4 updates");
    }

    #[test]
    fn a_watcher_that_was_cut_off_is_owed_the_rest_only_if_it_stays() {
        let mut tale = Tale::clean();
        let watch = tale.watch("counted");
        watch.frames.truncate(2);
        watch.closed = Closed::Left;
        watch.stays = false;
        tale.finds_nothing_of(4);
        tale.watch("counted").stays = true;
        tale.finds(4, "wanted to see the end and has not");
    }

    #[test]
    fn a_watcher_that_comes_back_goes_on_where_it_was() {
        let mut tale = Tale::clean();
        let again = tale.watch("counted");
        again.after = "1-2".parse().unwrap();
        tale.finds(4, "frame number 1");
        tale.watch("counted").frames.drain(..2);
        tale.finds_nothing_of(4);
    }

    #[test]
    fn plain_frames_are_the_texts() {
        let mut tale = Tale::clean();
        let watch = tale.watch("counted");
        watch.format = Format::Plain;
        for frame in &mut watch.frames {
            (frame.id, frame.kind) = (None, None);
        }
        tale.finds_nothing_of(4);
        tale.watch("counted").frames.remove(0);
        tale.finds(4, "frame number 1");
    }

    #[test]
    fn a_known_task_that_is_denied_is_found_but_not_at_once() {
        let mut tale = Tale::clean();
        let mut denied = tale.watch("counted").clone();
        (denied.watcher, denied.closed, denied.stays, denied.opened) = (99, Closed::Code(4404), false, 3000);
        denied.frames.clear();
        tale.story.watches.push(denied);
        tale.finds_nothing_of(4);
        tale.story.watches.last_mut().unwrap().opened = 90_000;
        tale.finds(4, "was told 4404");
    }

    #[test]
    fn a_replica_that_shows_another_end_is_found() {
        let mut tale = Tale::clean();
        tale.story.shown[0].status = "running".into();
        tale.finds(4, "shows it as running");
    }
}
