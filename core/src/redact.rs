//! Takes secrets out of an agent's output, before anything of it is cut into lines: also where a secret is cut in two by a read, and
//! also as base64, percent-encoded or as JSON writes it. What remains does not depend on how the output was cut into reads.

use crate::patterns::Patterns;
use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// What stands where a secret stood.
pub const REDACTED: &str = "***";
/// A shorter value, in bytes, is none that could be kept: it would be found everywhere.
pub const SHORTEST: usize = 6;
/// The longest form that is looked for, in bytes: what is beyond it is found by its beginning, and the rest of it stays.
const LONGEST: usize = 4096;
/// The most forms of all secrets together; the longest values come first.
const MOST_FORMS: usize = 2000;

/// What is secret of one run. Its copies share the tables.
#[derive(Clone, Default)]
pub struct Secrets {
    tables: Option<Arc<Tables>>,
    /// What looks like a secret.
    patterns: Option<Patterns>,
}

struct Tables {
    finder: AhoCorasick,
    /// Sorted, to know what is the beginning of one.
    forms: Vec<Vec<u8>>,
    longest: usize,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} forms of secrets", self.tables.as_ref().map_or(0, |tables| tables.forms.len()))
    }
}

impl Secrets {
    /// Those of these values that are long enough, in all their forms.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let values: BTreeSet<&str> = values.into_iter().filter(|value| value.len() >= SHORTEST).collect();
        let mut values: Vec<&str> = values.into_iter().collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let forms: BTreeSet<Vec<u8>> = values.into_iter().flat_map(forms).take(MOST_FORMS).collect();
        Self::of_forms(forms.into_iter().collect())
    }

    /// `forms` are sorted, and none is empty.
    fn of_forms(forms: Vec<Vec<u8>>) -> Self {
        let Some(longest) = forms.iter().map(Vec::len).max() else { return Self::default() };
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&forms);
        // It can only be too large, which so few forms are not.
        let tables = finder.ok().map(|finder| Arc::new(Tables { finder, forms, longest }));
        Self { tables, patterns: None }
    }

    /// The same, and what looks like one.
    #[must_use]
    pub fn and(self, patterns: Patterns) -> Self {
        Self { patterns: Some(patterns), ..self }
    }

    /// The text without them.
    pub fn taken_out_of<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = match self.tables.as_deref().filter(|tables| tables.finder.is_match(text)) {
            None => text.into(),
            Some(tables) => {
                let mut shown = String::with_capacity(text.len());
                tables.finder.replace_all_with(text, &mut shown, |_, _, shown| {
                    shown.push_str(REDACTED);
                    true
                });
                shown.into()
            }
        };
        self.without_patterns(text)
    }

    /// Whether any line of these bytes has what looks like one.
    pub fn patterns_are_in(&self, lines: &[u8]) -> bool {
        self.patterns.as_ref().is_some_and(|patterns| patterns.are_in(lines))
    }

    /// The line without what looks like one: the others were taken out before it was a line.
    pub fn without_patterns<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        match &self.patterns {
            Some(patterns) => patterns.taken_out_of(text),
            None => text,
        }
    }

    /// Whether there is nothing to take out.
    pub const fn is_empty(&self) -> bool {
        self.tables.is_none() && self.patterns.is_none()
    }
}

/// A secret as it may be met.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms: Vec<String> = vec![value.to_owned()];
    // A key of many lines is printed line by line.
    forms.extend(value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST).map(str::to_owned));
    let json = serde_json::Value::from(value).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
    let encoded = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    for (written, plain) in [("", ""), ("%2D", "-"), ("%2E", "."), ("%5F", "_"), ("%7E", "~")] {
        let before = forms.last().filter(|_| !written.is_empty()).unwrap_or(&encoded);
        forms.push(if written.is_empty() { encoded.clone() } else { before.replace(written, plain) });
    }
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        // By what stood before it, each of its bytes may begin at another bit.
        for (before, begin) in [(0, 0), (1, 2), (2, 3)] {
            let bytes = [&vec![0; before], value.as_bytes()].concat();
            let text = engine.encode(&bytes);
            forms.push(text[begin..bytes.len() * 8 / 6].to_owned());
        }
    }
    let bytes = forms.into_iter().map(String::into_bytes);
    bytes
        .map(|mut form| {
            form.truncate(LONGEST);
            form
        })
        .filter(|form| form.len() >= SHORTEST)
        .collect()
}

/// Takes secrets out of one stream; what only looks like one is looked for in its lines, elsewhere.
#[derive(Debug, Default)]
pub struct Redactor {
    secrets: Secrets,
    /// The end of what came, which may be the beginning of a secret: shorter than the longest of them.
    held: Vec<u8>,
}

impl Redactor {
    /// For a stream from which these are to be taken.
    pub const fn new(secrets: Secrets) -> Self {
        Self { secrets, held: Vec::new() }
    }

    /// Takes more in, and gives on what is known to be no secret, piece by piece.
    pub fn feed(&mut self, bytes: &[u8], mut give: impl FnMut(&[u8])) {
        let Some(tables) = &self.secrets.tables else { return give(bytes) };
        let joined;
        let text = if self.held.is_empty() {
            bytes
        } else {
            self.held.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.held);
            &joined
        };
        let mut at = 0;
        loop {
            let open = tables.may_begin(text, at);
            let input = Input::new(text).range(at..).anchored(Anchored::No);
            let Some(found) = tables.finder.find(input).filter(|found| found.start() < open) else {
                give(&text[at..open]);
                self.held = text[open..].to_vec();
                return;
            };
            give(&text[at..found.start()]);
            give(REDACTED.as_bytes());
            at = found.end();
        }
    }

    /// The stream is over: what was held is no whole secret.
    pub fn finish(&mut self, mut give: impl FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        let Some(tables) = &self.secrets.tables else { return };
        let mut at = 0;
        while let Some(found) = tables.finder.find(Input::new(&held).range(at..)) {
            give(&held[at..found.start()]);
            give(REDACTED.as_bytes());
            at = found.end();
        }
        give(&held[at..]);
    }
}

impl Tables {
    /// From where on, at `from` or after it, the end of the text is the beginning of a secret; its length if it is not.
    fn may_begin(&self, text: &[u8], from: usize) -> usize {
        let first = from.max(text.len().saturating_sub(self.longest - 1));
        (first..text.len()).find(|at| self.is_beginning(&text[*at..])).unwrap_or(text.len())
    }

    /// Whether a secret begins so, and goes on.
    fn is_beginning(&self, end: &[u8]) -> bool {
        let after = self.forms.partition_point(|form| form.as_slice() <= end);
        self.forms.get(after).is_some_and(|form| form.starts_with(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redacted(secrets: &Secrets, reads: &[&[u8]]) -> String {
        let mut redactor = Redactor::new(secrets.clone());
        let mut out = Vec::new();
        for read in reads {
            redactor.feed(read, |piece| out.extend_from_slice(piece));
        }
        redactor.finish(|piece| out.extend_from_slice(piece));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_secret_is_taken_out_in_every_form() {
        let secrets = Secrets::new(["p@ss \"w0rd\"+", "-----BEGIN KEY-----\nMIIEabcdef/+==\n-----END KEY-----"]);
        for (output, expected) in [
            ("the p@ss \"w0rd\"+ is it\n", "the *** is it\n"),
            (r#"{"a": "p@ss \"w0rd\"+"}"#, r#"{"a": "***"}"#),
            ("?a=p%40ss%20%22w0rd%22%2B&b=1", "?a=***&b=1"),
            ("MIIEabcdef/+==\r\n", "***\r\n"),
            ("p@ss", "p@ss"),
            ("nothing\n", "nothing\n"),
        ] {
            assert_eq!(redacted(&secrets, &[output.as_bytes()]), expected);
        }
        // As in a header of basic authentication, at whichever bit it begins.
        for user in ["", "u:", "us:", "use:"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{user}p@ss \"w0rd\"+ and more"));
            let shown = redacted(&secrets, &[encoded.as_bytes()]);
            assert!(shown.contains("***") && shown.len() < encoded.len(), "{shown}");
            let left: String = shown.replace("***", "");
            assert!(!left.contains("HNz") && !left.contains("czIHcw"), "{left}");
        }
    }

    #[test]
    fn values_that_are_too_short_are_left() {
        assert!(Secrets::new(["12345", "", "true"]).is_empty());
        assert_eq!(redacted(&Secrets::default(), &[b"12345"]), "12345");
    }

    /// All at once, and by the definition: the leftmost, and of these the longest.
    fn reference(forms: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let here = forms.iter().filter(|form| text[at..].starts_with(form)).map(Vec::len).max();
            if let Some(length) = here {
                out.extend_from_slice(REDACTED.as_bytes());
                at += length;
            } else {
                out.push(text[at]);
                at += 1;
            }
        }
        out
    }

    proptest! {
        #[test]
        fn the_reads_do_not_matter(
            forms in prop::collection::btree_set(prop::collection::vec(prop::sample::select(&b"ab\n"[..]), 1..6), 1..6),
            text in prop::collection::vec(prop::sample::select(&b"aab\n"[..]), 0..60),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let forms: Vec<Vec<u8>> = forms.into_iter().collect();
            let secrets = Secrets::of_forms(forms.clone());
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let reads: Vec<&[u8]> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            let expected = String::from_utf8(reference(&forms, &text)).unwrap();
            prop_assert_eq!(redacted(&secrets, &reads), expected);
        }
    }
}
