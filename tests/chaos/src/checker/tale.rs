//! A small story in which all is well, for tests to spoil.

use super::check;
use crate::sign::{Sign, What};
use crate::story::{
    Answer, Closed, Committed, Format, Frame, Letter, Peak, Post, Shown, Stop, Story, Submitted, Update, Watch,
};
use baton_core::id::UpdateId;
use baton_core::record::{Kind, TaskRecord};
use serde_json::json;

/// Four tasks: `counted` is done, `stopped` is stopped, `failed` fails, and `redone` is done in its second attempt.
pub struct Tale {
    pub story: Story,
}

impl Tale {
    pub fn clean() -> Self {
        let mut tale = Self { story: Story::default() };
        tale.task("counted", "count", &json!({"lines": 2, "pause": 0}), Some("key"));
        tale.attempt("counted", 1, 1000);
        tale.update("counted", 1, 2, Kind::Line, "counted 1 1 of 2");
        tale.update("counted", 1, 3, Kind::Line, "counted 1 2 of 2");
        tale.sign("counted", 1900, 1, What::End(0));
        tale.update("counted", 1, 4, Kind::Done, "DONE");
        tale.task("stopped", "endless", &json!({}), None);
        tale.attempt("stopped", 1, 1000);
        tale.story.log.stops.push("stopped".into());
        tale.story.stops.push(Stop { task: "stopped".into(), api: 0, sent: 1400, at: 1500, status: Some(202) });
        tale.update("stopped", 1, 2, Kind::Stopped, "STOPPED");
        tale.task("failed", "fails", &json!({"code": 3}), None);
        tale.attempt("failed", 1, 1000);
        tale.sign("failed", 1900, 1, What::End(3));
        tale.update("failed", 1, 2, Kind::Failed, "FAILED: exit code 3");
        tale.story.log.letters.push(Letter { task: "failed".into(), reason: "exit code 3".into(), attempts: 1 });
        tale.task("redone", "count", &json!({"lines": 1, "pause": 0}), None);
        tale.attempt("redone", 1, 1000);
        tale.update("redone", 1, 2, Kind::Line, "redone 1 1 of 1");
        tale.attempt("redone", 2, 1500);
        tale.update("redone", 2, 2, Kind::Line, "redone 2 1 of 1");
        tale.sign("redone", 1900, 2, What::End(0));
        tale.update("redone", 2, 3, Kind::Done, "DONE");
        for (name, is_api) in [("api-0", true), ("anna", false)] {
            tale.story.peaks.push(Peak { name: name.into(), is_api, kib: 100 });
        }
        for (watcher, task) in ["counted", "stopped", "failed", "redone"].into_iter().enumerate() {
            tale.watched(watcher, task);
        }
        tale
    }

    fn task(&mut self, id: &str, kind: &str, params: &serde_json::Value, key: Option<&str>) {
        let record = json!({"task_id": id, "project": "chaos", "type": kind, "params": params});
        let record = TaskRecord::read(record.to_string().as_bytes()).unwrap();
        let offset = i64::try_from(self.story.log.tasks.len()).unwrap();
        self.story.log.tasks.push(Submitted { partition: 0, offset, record });
        self.story.log.committed.insert(0, Committed { offset: offset + 1, metadata: String::new() });
        let (number, answer) = (self.story.posts.len(), Answer::Accepted(id.into()));
        self.story.posts.push(Post { number, key: key.map(String::from), api: 0, at: 1000, answer });
    }

    fn attempt(&mut self, id: &str, attempt: u32, at: u64) {
        let text = if attempt == 1 { "Starting...".into() } else { format!("Starting... (attempt {attempt})") };
        self.update(id, attempt, 1, Kind::Started, &text);
        self.text(id, attempt, 1).at = at;
        self.sign(id, at + 10, attempt, What::Begin);
        self.sign(id, at + 20, attempt, What::Beat);
    }

    fn sign(&mut self, id: &str, at: u64, attempt: u32, what: What) {
        let sign = Sign { at, attempt, process: format!("p{attempt}"), what };
        self.story.signs.entry(id.into()).or_default().push(sign);
    }

    fn watched(&mut self, watcher: usize, task: &str) {
        let of_task = self.story.log.updates.iter().filter(|update| update.task == task);
        let frames: Vec<Frame> = of_task
            .map(|update| Frame {
                id: Some(UpdateId { attempt: update.attempt.unwrap(), seq: update.seq.unwrap() }),
                kind: Some(update.kind.name().into()),
                text: update.text.clone(),
            })
            .collect();
        let end = frames.last().unwrap();
        let (status, attempt) = (end.kind.clone().unwrap(), u64::from(end.id.unwrap().attempt));
        self.story.shown.push(Shown { task: task.into(), api: 0, status, attempt });
        self.story.watches.push(Watch {
            watcher,
            task: task.into(),
            api: 0,
            format: Format::Json,
            after: UpdateId::default(),
            opened: 1000,
            frames,
            closed: Closed::Ended,
            stays: true,
        });
    }

    /// One more update, at the end of the log.
    pub fn update(&mut self, task: &str, attempt: u32, seq: u64, kind: Kind, text: &str) {
        self.story.log.updates.push(Update {
            task: task.into(),
            attempt: Some(attempt),
            seq: Some(seq),
            kind,
            text: text.into(),
            at: 2000,
            place: format!("0@{}", self.story.log.updates.len()),
        });
    }

    /// An update.
    pub fn text(&mut self, task: &str, attempt: u32, seq: u64) -> &mut Update {
        let is = |u: &&mut Update| u.task == task && u.attempt == Some(attempt) && u.seq == Some(seq);
        self.story.log.updates.iter_mut().find(is).unwrap()
    }

    /// The end of a task.
    pub fn end(&mut self, task: &str) -> &mut Update {
        self.story.log.updates.iter_mut().find(|u| u.task == task && u.kind.is_terminal()).unwrap()
    }

    /// The watcher of a task.
    pub fn watch(&mut self, task: &str) -> &mut Watch {
        self.story.watches.iter_mut().find(|watch| watch.task == task).unwrap()
    }

    /// Asserts that the checker finds this.
    #[track_caller]
    pub fn finds(&self, guarantee: u8, what: &str) {
        let findings = check(&self.story).findings;
        let found = findings.iter().any(|found| found.guarantee == guarantee && found.what.contains(what));
        assert!(found, "no finding of {guarantee} says {what:?}: {findings:#?}");
    }

    /// Asserts that the checker finds nothing of this guarantee.
    #[track_caller]
    pub fn finds_nothing_of(&self, guarantee: u8) {
        let findings = check(&self.story).findings;
        let found: Vec<_> = findings.iter().filter(|found| found.guarantee == guarantee).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}
