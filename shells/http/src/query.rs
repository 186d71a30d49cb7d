//! Reads query strings: decoded strictly, and every field known or refused.

use baton_core::hub::{Format, Needle};
use baton_core::id::UpdateId;
use baton_core::problem::{FieldError, Problem};
use percent_encoding::percent_decode_str;

/// The fields of a query string, in order.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes a query string. The error is 400.
    pub fn decode(query: Option<&str>) -> Result<Self, Problem> {
        let fields = query.unwrap_or_default().split('&').filter(|field| !field.is_empty());
        let fields = fields.map(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            Ok((decode(name)?, decode(value)?))
        });
        fields.collect::<Result<_, _>>().map(Self)
    }

    /// The fields, decoded.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads each field by `read`, which gives the reason why not. A token is read elsewhere.
    fn read_each(
        &self,
        known: &str,
        mut read: impl FnMut(&str, &str) -> Option<Result<(), String>>,
    ) -> Vec<FieldError> {
        let fields = self.fields().filter(|(name, _)| *name != "access_token");
        let wrong = fields.filter_map(|(name, value)| {
            let read =
                read(name, value).unwrap_or_else(|| Err(format!("is not a field of this query; there are: {known}")));
            read.err().map(|reason| FieldError::new(name, reason))
        });
        wrong.collect()
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Problem::bad_request(format!("{text:?} in the query is not UTF-8")))
}

fn set<T: std::str::FromStr<Err: ToString>>(place: &mut T, value: &str) -> Result<(), String> {
    *place = value.parse().map_err(|why: T::Err| why.to_string())?;
    Ok(())
}

/// How `/watch` is asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WatchQuery {
    /// The last update that the watcher has.
    pub after: UpdateId,
    /// What it wants to read, if it says so.
    pub format: Option<Format>,
}

impl WatchQuery {
    /// Reads it. The error names what is wrong.
    pub fn read(query: &Query) -> Result<Self, Vec<FieldError>> {
        let mut read = Self::default();
        let wrong = query.read_each("after, format", |name, value| match (name, value) {
            ("after", _) => Some(set(&mut read.after, value)),
            ("format", _) => Some(read_format(value).map(|format| read.format = Some(format))),
            _ => None,
        });
        if wrong.is_empty() { Ok(read) } else { Err(wrong) }
    }
}

fn read_format(name: &str) -> Result<Format, String> {
    match name {
        "json" => Ok(Format::Json),
        "plain" => Ok(Format::Plain),
        _ => Err("must be json or plain".into()),
    }
}

/// Reads `after` of `/events`: 400 if it can't be one.
pub fn read_after(query: &Query) -> Result<UpdateId, Problem> {
    let mut after = UpdateId::default();
    let wrong =
        query.read_each("after", |name, value| if name == "after" { Some(set(&mut after, value)) } else { None });
    if wrong.is_empty() { Ok(after) } else { Err(bad_request(wrong)) }
}

/// How `/log` is asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LinesQuery {
    /// Of this attempt alone.
    pub attempt: Option<u32>,
    /// On to the end, not only to now.
    pub follow: bool,
}

impl LinesQuery {
    /// Reads it: 400 if something is wrong.
    pub fn read(query: &Query) -> Result<Self, Problem> {
        let mut read = Self::default();
        let wrong = query.read_each("attempt, follow", |name, value| match name {
            "attempt" => {
                read.attempt = value.parse().ok().filter(|attempt| *attempt > 0);
                Some(read.attempt.map(drop).ok_or_else(|| "must be the number of an attempt, from 1".into()))
            }
            "follow" => {
                Some(value.parse().map(|follow| read.follow = follow).map_err(|_| "must be true or false".into()))
            }
            _ => None,
        });
        if wrong.is_empty() { Ok(read) } else { Err(bad_request(wrong)) }
    }
}

/// How `/redrive` is asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RedriveQuery {
    /// Under the task's own id, not a new one.
    pub same_id: bool,
}

impl RedriveQuery {
    /// Reads it: 400 if something is wrong.
    pub fn read(query: &Query) -> Result<Self, Problem> {
        let mut read = Self::default();
        let wrong = query.read_each("same_id", |name, value| match name {
            "same_id" => {
                Some(value.parse().map(|same_id| read.same_id = same_id).map_err(|_| "must be true or false".into()))
            }
            _ => None,
        });
        if wrong.is_empty() { Ok(read) } else { Err(bad_request(wrong)) }
    }
}

/// How many updates `/updates` gives unless asked otherwise, and at most.
const WINDOW: usize = 500;
const MAX_WINDOW: usize = 2000;

/// How `/updates` is asked.
#[derive(Debug, PartialEq, Eq)]
pub struct WindowQuery {
    /// The position of the first update; the last ones if there is none.
    pub from: Option<usize>,
    /// How many at most.
    pub limit: usize,
}

impl WindowQuery {
    /// Reads it: 400 if something is wrong.
    pub fn read(query: &Query) -> Result<Self, Problem> {
        let mut read = Self { from: None, limit: WINDOW };
        let wrong = query.read_each("from, limit", |name, value| match name {
            "from" => Some(read_position(value).map(|from| read.from = Some(from))),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_WINDOW).contains(limit));
                let limit = limit.ok_or_else(|| format!("must be a whole number from 1 to {MAX_WINDOW}"));
                Some(limit.map(|limit| read.limit = limit))
            }
            _ => None,
        });
        if wrong.is_empty() { Ok(read) } else { Err(bad_request(wrong)) }
    }
}

fn read_position(value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| "must be the position of an update, from 0".into())
}

/// How `/search` is asked.
#[derive(Debug, PartialEq, Eq)]
pub struct SearchQuery {
    /// What is looked for.
    pub needle: Needle,
    /// From which position on.
    pub from: usize,
}

impl SearchQuery {
    /// Reads it: 400 if something is wrong.
    pub fn read(query: &Query) -> Result<Self, Problem> {
        let (mut needle, mut from) = (None, 0);
        let wrong = query.read_each("q, from", |name, value| match name {
            "q" => Some(Needle::new(value).map(|read| needle = Some(read))),
            "from" => Some(read_position(value).map(|read| from = read)),
            _ => None,
        });
        match needle {
            Some(needle) if wrong.is_empty() => Ok(Self { needle, from }),
            None if wrong.is_empty() => {
                Err(bad_request(vec![FieldError::new("q", "is missing: the text to look for")]))
            }
            _ => Err(bad_request(wrong)),
        }
    }
}

/// Reads the only field that a query may have, which is true or false, and false if it is absent. 400 for anything else.
pub fn read_switch(query: &Query, switch: &str) -> Result<bool, Problem> {
    let mut on = false;
    let wrong = query.read_each(switch, |name, value| {
        let read = || value.parse().map_err(|_| "must be true or false".into());
        (name == switch).then(|| read().map(|read| on = read))
    });
    if wrong.is_empty() { Ok(on) } else { Err(bad_request(wrong)) }
}

/// 400, with what is wrong with which field.
fn bad_request(errors: Vec<FieldError>) -> Problem {
    let detail = in_words(&errors);
    Problem { errors, ..Problem::bad_request(detail) }
}

/// What is wrong with which field, as one sentence.
pub fn in_words(errors: &[FieldError]) -> String {
    errors.iter().map(|e| format!("{}: {}", e.field, e.reason)).collect::<Vec<_>>().join("; ")
}
