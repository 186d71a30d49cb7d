//! Which dead letters there are, and where: an index of the newest on `tasks-dlq`. The letters themselves stay on the log, and
//! are read back when one is asked for. What does not fit in here is counted, never silently missing.

use super::view::{ListKey, MAX_PAGE, PAGE, read_cursor, write_cursor};
use super::{Effect, Hub};
use crate::id::TaskId;
use crate::log::{Delivered, Offset};
use crate::problem::{FieldError, Problem};
use crate::record::{DeadLetter, RedrivenFrom, Unreadable};
use crate::redrive::{LetterPlace, redriven_id};
use crate::time::{Now, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many letters are listed: more than anyone looks through.
pub const MAX_LETTERS: usize = 10_000;
/// The index takes this part of the hub's memory at most: an eighth.
const SHARE_OF_MEMORY: usize = 8;
/// And may take this much, however little memory there is.
const LEAST_FOR_LETTERS: usize = 256 * 1024;
/// How much of each text of a letter is listed and searched, in bytes. The whole of it is shown with the letter.
const MAX_TEXT: usize = 512;
/// About what a letter's places in the map and the set take, in bytes.
const PLACES: usize = 128;
/// How many redrives a letter's history is followed back.
const MAX_HISTORY: usize = 100;
/// How far the clocks of two machines may be apart before an id is used again that one of them still knows.
const CLOCKS_APART: Duration = Duration::from_hours(1);

/// The index.
#[derive(Debug, Default)]
pub(super) struct Letters {
    known: BTreeMap<TaskId, Letter>,
    by_time: BTreeSet<ListKey>,
    bytes: usize,
    unlisted: u64,
    caught_up: bool,
}

/// What is known of a letter without reading it.
#[derive(Debug)]
struct Letter {
    place: LetterPlace,
    logged_at: Timestamp,
    at: Timestamp,
    /// The project and the type; `None` if there is no task in it.
    task: Option<(Box<str>, Box<str>)>,
    redriven_from: Option<Box<RedrivenFrom>>,
    reason: Box<str>,
    attempts: u32,
}

/// A dead letter in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LetterView {
    /// Its id: the task's, or of a record that was no task, where that was.
    pub id: TaskId,
    /// Null if the record could not be read as a task.
    pub project: Option<String>,
    /// See `project`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Why the task failed, cut to fit.
    pub reason: String,
    /// How many attempts were begun.
    pub attempts: u32,
    /// When it failed.
    pub at: Timestamp,
    /// Whether there is a task in it that can be run again.
    pub redrivable: bool,
    /// The task that it became, as long as that is known.
    pub redriven_as: Option<TaskId>,
}

/// A page of dead letters, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LettersPage {
    /// The letters.
    pub dead_letters: Vec<LetterView>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
    /// How many older letters are no longer listed, as there are too many. They are on `tasks-dlq` all the same.
    pub unlisted: u64,
}

/// A dead letter as it is on the log, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LetterShown {
    /// Its id.
    pub id: TaskId,
    /// Where it is on `tasks-dlq`.
    pub partition: u32,
    /// See `partition`.
    pub offset: Offset,
    /// The record.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// Whether there is a task in it that can be run again.
    pub redrivable: bool,
    /// What it was redriven from before it failed again, the last first.
    pub history: Vec<RedrivenFrom>,
    /// The task that it became, as long as that is known.
    pub redriven_as: Option<TaskId>,
}

/// Which dead letters a client wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LettersQuery {
    projects: Vec<String>,
    kinds: Vec<String>,
    /// In lower case.
    reason: Option<String>,
    before: Option<Timestamp>,
    limit: Option<usize>,
    after: Option<ListKey>,
}

/// What becomes of the wish to redrive a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redrive {
    /// It was redriven before, as this.
    Known(TaskId),
    /// Read it back from there, and submit its task under this id.
    As(LetterPlace, TaskId),
}

impl LettersQuery {
    /// Reads the fields of a query string, each a name and a value, both decoded.
    pub fn read<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Problem> {
        let mut query = Self::default();
        let wrong = |(name, value)| query.read_field(name, value).err().map(|reason| FieldError::new(name, reason));
        let errors: Vec<FieldError> = fields.into_iter().filter_map(wrong).collect();
        if errors.is_empty() { Ok(query) } else { Err(Problem::invalid(errors)) }
    }

    fn read_field(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "project" => self.projects.push(value.into()),
            "type" => self.kinds.push(value.into()),
            "reason" => self.reason = Some(value.to_lowercase()),
            "before" => {
                let before = value.parse().map_err(|_| "must be a time, such as 2026-11-23T12:30:00Z")?;
                self.before = Some(before);
            }
            "limit" => {
                let limit = value.parse().ok().filter(|n| (1..=MAX_PAGE).contains(n));
                self.limit = Some(limit.ok_or_else(|| format!("must be a whole number from 1 to {MAX_PAGE}"))?);
            }
            "cursor" => {
                self.after = Some(read_cursor(value).ok_or("is not a cursor; send back next_cursor as it came")?);
            }
            // A token in the query is the shell's business.
            "access_token" => {}
            _ => return Err("is not a filter; there are: project, type, reason, before, limit, cursor".into()),
        }
        Ok(())
    }

    fn wants(&self, letter: &Letter) -> bool {
        let among = |wanted: &[String], is: Option<&str>| {
            wanted.is_empty() || wanted.iter().any(|wanted| Some(wanted.as_str()) == is)
        };
        among(&self.projects, letter.task.as_ref().map(|(project, _)| &**project))
            && among(&self.kinds, letter.task.as_ref().map(|(_, kind)| &**kind))
            && self.reason.as_ref().is_none_or(|reason| letter.reason.to_lowercase().contains(reason))
            && self.before.is_none_or(|before| letter.at < before)
    }
}

impl Letter {
    fn new(letter: DeadLetter, place: LetterPlace, logged_at: Timestamp) -> Self {
        let cut = |mut text: String| {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text
        };
        let (task, redriven_from) = letter.task.map(|task| ((task.project, task.kind), task.redriven_from)).unzip();
        let shortened = |from: RedrivenFrom| Box::new(RedrivenFrom { reason: cut(from.reason), ..from });
        Self {
            place,
            logged_at,
            at: letter.at,
            task: task.map(|(project, kind)| (cut(project).into(), cut(kind).into())),
            redriven_from: redriven_from.flatten().map(shortened),
            reason: cut(letter.reason).into(),
            attempts: letter.attempts,
        }
    }

    fn weight(&self, id: &TaskId) -> usize {
        let task = self.task.as_ref().map_or(0, |(project, kind)| project.len() + kind.len());
        let from = self.redriven_from.as_deref();
        let from = from.map_or(0, |from| size_of_val(from) + from.task_id.as_str().len() + from.reason.len());
        size_of::<Self>() + PLACES + id.as_str().len() + self.reason.len() + task + from
    }
}

impl Letters {
    /// The bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All letters are known that were on the log at the start.
    pub fn caught_up(&mut self) {
        self.caught_up = true;
    }

    /// A record of `tasks-dlq`: a letter, or nothing, which takes back the letter of this key before it.
    fn take(&mut self, key: &[u8], value: &[u8], place: LetterPlace, at: Timestamp) -> Result<(), Unreadable> {
        let letter = if value.is_empty() { None } else { Some(DeadLetter::read(value)?) };
        let id = match letter.as_ref().and_then(|letter| letter.task_id.clone()).filter(|_| key.is_empty()) {
            Some(id) => id,
            None => id_of(key)?,
        };
        if letter.as_ref().is_some_and(|letter| letter.task_id.as_ref().is_some_and(|of| *of != id)) {
            return Err(Unreadable::wrong_key());
        }
        let is_later = |known: &Letter| known.place.partition != place.partition || known.place.offset < place.offset;
        if !self.known.get(&id).is_none_or(is_later) {
            return Ok(());
        }
        self.remove(&id);
        if let Some(letter) = letter.map(|letter| Letter::new(letter, place, at)) {
            self.bytes += letter.weight(&id);
            self.by_time.insert((letter.at, id.clone()));
            self.known.insert(id, letter);
        }
        Ok(())
    }

    fn remove(&mut self, id: &TaskId) {
        let Some(letter) = self.known.remove(id) else { return };
        self.bytes -= letter.weight(id);
        self.by_time.remove(&(letter.at, id.clone()));
    }

    /// Lets the oldest fall out that do not fit. Whether they are the first that do not.
    fn hold(&mut self, most_bytes: usize) -> bool {
        let before = self.unlisted;
        while self.known.len() > MAX_LETTERS || self.bytes > most_bytes {
            let Some((_, oldest)) = self.by_time.first().cloned() else { break };
            self.remove(&oldest);
            self.unlisted += 1;
        }
        before == 0 && self.unlisted > 0
    }

    /// What was redriven until it became the task of this letter, the last first.
    fn history(&self, letter: &Letter) -> Vec<RedrivenFrom> {
        let mut history: Vec<RedrivenFrom> = Vec::new();
        let mut from = letter.redriven_from.as_deref();
        while let Some(earlier) = from.filter(|from| history.len() < MAX_HISTORY && !history.contains(from)) {
            history.push(earlier.clone());
            from = self.known.get(&earlier.task_id).and_then(|letter| letter.redriven_from.as_deref());
        }
        history
    }
}

fn id_of(key: &[u8]) -> Result<TaskId, Unreadable> {
    let text = String::from_utf8_lossy(key);
    text.parse().map_err(|bad: crate::id::BadName| Unreadable::bad_key(&bad))
}

/// What is at the letter's place, of what was read back from there; `None` if it is gone.
pub fn letter_at(place: LetterPlace, read: &[Delivered]) -> Option<DeadLetter> {
    let first = read.first().filter(|first| first.base_offset == place.offset)?;
    DeadLetter::read(first.values.iter().next()?).ok()
}

impl Hub {
    pub(super) fn on_letters(&mut self, records: &Delivered) {
        for (index, value) in records.values.iter().enumerate() {
            let place = LetterPlace { partition: records.partition, offset: records.base_offset + index as u64 };
            if let Err(why) = self.letters.take(&records.key, value, place, records.at) {
                self.unreadable(records, index, why);
            }
        }
        if self.letters.hold((self.config.history_memory / SHARE_OF_MEMORY).max(LEAST_FOR_LETTERS)) {
            self.effects.push_back(Effect::LettersUnlisted);
        }
    }

    /// The letter was not at its place any more when it was read back.
    pub(super) fn on_letter_gone(&mut self, id: &TaskId, place: LetterPlace) {
        if self.letters.known.get(id).is_some_and(|letter| letter.place == place) {
            self.letters.remove(id);
        }
    }

    /// The dead letters that are asked for, the newest first.
    pub fn letters(&self, query: &LettersQuery) -> Result<LettersPage, Problem> {
        if !self.letters.caught_up {
            return Err(Problem::still_reading());
        }
        let from_here = match &query.after {
            Some(after) => self.letters.by_time.range(..after.clone()),
            None => self.letters.by_time.range(..),
        };
        let known = from_here.rev().map(|key| (key, &self.letters.known[&key.1]));
        let mut wanted = known.filter(|(_, letter)| query.wants(letter));
        let found: Vec<_> = wanted.by_ref().take(query.limit.unwrap_or(PAGE)).collect();
        let more = wanted.next().is_some();
        Ok(LettersPage {
            next_cursor: found.last().filter(|_| more).map(|(key, _)| write_cursor(key)),
            dead_letters: found.iter().map(|((_, id), letter)| self.view_of_letter(id, letter)).collect(),
            unlisted: self.letters.unlisted,
        })
    }

    fn view_of_letter(&self, id: &TaskId, letter: &Letter) -> LetterView {
        let (project, kind) = letter.task.as_ref().map(|(p, k)| (p.to_string(), k.to_string())).unzip();
        LetterView {
            id: id.clone(),
            project,
            kind,
            reason: letter.reason.to_string(),
            attempts: letter.attempts,
            at: letter.at,
            redrivable: letter.task.is_some(),
            redriven_as: self.redriven_as(id, letter),
        }
    }

    /// Where the letter is.
    pub fn letter_place(&self, id: &TaskId) -> Result<LetterPlace, Problem> {
        self.letter(id).map(|letter| letter.place)
    }

    fn letter(&self, id: &TaskId) -> Result<&Letter, Problem> {
        self.letters.known.get(id).ok_or_else(|| {
            if self.letters.caught_up { Problem::no_such_letter(id.as_str()) } else { Problem::still_reading() }
        })
    }

    /// The letter that was read back from `place`, as clients see it.
    pub fn show_letter(&self, id: &TaskId, place: LetterPlace, mut letter: DeadLetter) -> LetterShown {
        if let Some(task) = &mut letter.task {
            self.config.types.hide_secrets(&task.kind, task.command.as_deref(), &mut task.params);
        }
        let known = self.letters.known.get(id);
        LetterShown {
            id: id.clone(),
            partition: place.partition,
            offset: place.offset,
            redrivable: letter.task.is_some(),
            letter,
            history: known.map(|known| self.letters.history(known)).unwrap_or_default(),
            redriven_as: known.and_then(|known| self.redriven_as(id, known)),
        }
    }

    /// The task that the letter became, if it is known.
    fn redriven_as(&self, id: &TaskId, letter: &Letter) -> Option<TaskId> {
        let derived = redriven_id(id, letter.place);
        let under_its_own = || {
            let from = self.tasks.get(id)?.asked.as_ref()?.redriven_from.as_deref()?;
            (from.task_id == *id && from.at == letter.at).then(|| id.clone())
        };
        if self.tasks.contains_key(&derived) { Some(derived) } else { under_its_own() }
    }

    /// What becomes of the wish to redrive a letter, under its task's own id or a new one.
    pub fn redrive(&self, id: &TaskId, same_id: bool, now: Now) -> Result<Redrive, Problem> {
        let letter = self.letter(id)?;
        if letter.task.is_none() {
            return Err(Problem::not_redrivable());
        }
        if let Some(known) = self.redriven_as(id, letter) {
            return Ok(Redrive::Known(known));
        }
        if !same_id {
            return Ok(Redrive::As(letter.place, redriven_id(id, letter.place)));
        }
        // Whoever knows the first task of this id takes the second for it, and its end for this one's.
        let forgotten_at = letter.logged_at.plus(self.config.retention).plus(CLOCKS_APART);
        if self.tasks.contains_key(id) || now.wall < forgotten_at {
            return Err(Problem::id_in_use(id.as_str(), forgotten_at.max(now.wall)));
        }
        Ok(Redrive::As(letter.place, id.clone()))
    }
}
