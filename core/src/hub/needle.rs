//! Finds words in what agents printed and in what tasks were asked: without regard to case, in the text that people see.
//!
//! The words are taken as they are; nothing in them is a pattern.

use regex::{NoExpand, Regex, RegexBuilder};
use std::sync::LazyLock;

/// The longest text that is looked for, in bytes: what a person types. More would make the searcher itself large.
pub const MAX_NEEDLE: usize = 512;

/// Colours, links and cursor movements (ECMA-48): seen by no one.
static ESCAPES: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = "\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\^_])";
    Regex::new(pattern).expect("the pattern is checked by a test")
});

/// A text to look for.
#[derive(Clone, Debug)]
pub struct Needle {
    words: Regex,
    text: String,
}

impl PartialEq for Needle {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Needle {}

impl Needle {
    /// What looks for `text`. The error is the reason why that can't be looked for.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_NEEDLE {
            return Err(format!("must be a text of 1 to {MAX_NEEDLE} bytes"));
        }
        let words = RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build();
        Ok(Self { words: words.map_err(|error| error.to_string())?, text: text.into() })
    }

    /// Whether it is in `text`, as people see it.
    pub fn is_in(&self, text: &str) -> bool {
        if text.contains('\x1b') {
            return self.words.is_match(&ESCAPES.replace_all(text, NoExpand("")));
        }
        self.words.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_see_is_searched() {
        for (needle, text, is_in) in [
            ("error", "An ERROR occurred", true),
            ("a.b", "axb", false),
            ("a.b", "A.B", true),
            ("über", "ÜBER allem", true),
            ("red apple", "a \x1b[31mred\x1b[0m apple", true),
            ("31m", "a \x1b[31mred\x1b[0m apple", false),
            ("site", "\x1b]8;;https://site.example\x07here\x1b]8;;\x07", false),
            ("here", "\x1b]8;;https://site.example\x1b\\here\x1b]8;;\x1b\\", true),
            ("b", "\x1b[", false),
        ] {
            assert_eq!(Needle::new(needle).unwrap().is_in(text), is_in, "{needle:?} in {text:?}");
        }
        for wrong in ["", &"x".repeat(MAX_NEEDLE + 1)] {
            assert_eq!(Needle::new(wrong), Err("must be a text of 1 to 512 bytes".into()));
        }
        assert!(Needle::new(&"İ".repeat(MAX_NEEDLE / 2)).is_ok());
    }
}
