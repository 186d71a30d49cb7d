//! Cuts an agent's output into lines, however it was cut into reads. No byte is lost silently.

use baton_probe::{Mark, hit};
use std::borrow::Cow;

/// A line: its text, and how many of its bytes were left out because it was too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Without its ending. Bytes that are not UTF-8 became U+FFFD; a line that was cut says so at its end.
    pub text: Cow<'a, str>,
    /// More than zero if the line was cut.
    pub cut: u64,
}

/// Cuts one stream into lines that end with LF or CRLF. What comes after a lone CR is written over what stood before it, as on a
/// terminal: of a line that is written over and over the last state is the line.
#[derive(Debug)]
pub struct Splitter {
    /// The longest line, in bytes.
    max: usize,
    /// The beginning of a line whose end has not come: at most `max` bytes and one more, which tells where a character ends.
    partial: Vec<u8>,
    /// How many bytes came after `partial`.
    over: u64,
    /// A CR came last: what comes next tells whether it is part of an ending.
    cr: bool,
    /// What stood in the line before it was begun anew.
    overwritten: Option<(String, u64)>,
    /// Changes with the line that is not over.
    version: u64,
}

impl Splitter {
    /// A splitter that cuts lines of more than `max` bytes.
    pub const fn new(max: usize) -> Self {
        Self { max, partial: Vec::new(), over: 0, cr: false, overwritten: None, version: 0 }
    }

    /// Takes more output in, and gives each line that it completes.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut rest = bytes;
        if let Some(first) = rest.first().filter(|_| self.cr) {
            self.cr = false;
            if *first == b'\n' {
                rest = &rest[1..];
                self.give(&mut each);
            } else {
                self.overwrite();
            }
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (before, after) = (&rest[..end], &rest[end + 1..]);
            rest = match (rest[end], after.first()) {
                (b'\n', _) => {
                    self.line(before, &mut each);
                    after
                }
                (_, Some(b'\n')) => {
                    self.line(before, &mut each);
                    &after[1..]
                }
                (_, Some(_)) => {
                    self.hold(before);
                    self.overwrite();
                    after
                }
                (_, None) => {
                    self.cr = true;
                    rest = before;
                    break;
                }
            };
        }
        self.hold(rest);
    }

    /// The output is over: gives the last line if it had no ending.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        self.cr = false;
        if !self.partial.is_empty() || self.overwritten.is_some() {
            hit(Mark::LineUnended);
            self.give(&mut each);
        }
    }

    /// The line that is not over, as it stands.
    pub fn unfinished(&self) -> Option<Line<'_>> {
        if !self.partial.is_empty() {
            return Some(self.as_it_stands());
        }
        self.overwritten.as_ref().map(|(text, cut)| Line { text: text.as_str().into(), cut: *cut })
    }

    /// Whether a part of the next line has come.
    pub const fn has_begun(&self) -> bool {
        !self.partial.is_empty() || self.overwritten.is_some()
    }

    /// Another number whenever [`Self::unfinished`] may be another.
    pub const fn version(&self) -> u64 {
        self.version
    }

    fn line(&mut self, end: &[u8], each: &mut impl FnMut(Line<'_>)) {
        if self.partial.is_empty() && self.overwritten.is_none() && end.len() <= self.max {
            each(whole(end));
        } else {
            self.hold(end);
            self.give(each);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = (self.max + 1).saturating_sub(self.partial.len()).min(bytes.len());
        self.partial.extend_from_slice(&bytes[..room]);
        self.over += (bytes.len() - room) as u64;
        self.version += u64::from(!bytes.is_empty());
    }

    /// The line begins anew.
    fn overwrite(&mut self) {
        if !self.partial.is_empty() {
            let Line { text, cut } = self.as_it_stands();
            self.overwritten = Some((text.into_owned(), cut));
            self.clear();
        }
    }

    fn give(&mut self, each: &mut impl FnMut(Line<'_>)) {
        if self.partial.is_empty() {
            let (text, cut) = self.overwritten.take().unwrap_or_default();
            each(Line { text: text.into(), cut });
        } else {
            each(self.as_it_stands());
        }
        self.overwritten = None;
        self.clear();
    }

    fn as_it_stands(&self) -> Line<'_> {
        if self.over == 0 && self.partial.len() <= self.max {
            return whole(&self.partial);
        }
        hit(Mark::LineCut);
        let kept = at_a_character(&self.partial, self.max);
        let cut = self.over + (self.partial.len() - kept) as u64;
        let text = format!("{} [{cut} more bytes left out]", String::from_utf8_lossy(&self.partial[..kept]));
        Line { text: text.into(), cut }
    }

    fn clear(&mut self) {
        self.partial.clear();
        // A long line must not keep its memory for the rest of the run.
        self.partial.shrink_to(KEPT_CAPACITY);
        self.over = 0;
        self.version += 1;
    }
}

/// How much memory a splitter keeps between lines.
const KEPT_CAPACITY: usize = 4096;

fn whole(bytes: &[u8]) -> Line<'_> {
    // Nearly all lines are good, and this check is several times as fast as the one that finds what is bad.
    let text = str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    Line { text, cut: 0 }
}

/// The greatest length up to `max` that does not cut a character of UTF-8 in two.
fn at_a_character(bytes: &[u8], max: usize) -> usize {
    let max = max.min(bytes.len());
    let is_inside = |at: usize| bytes.get(at).is_some_and(|b| b & 0b1100_0000 == 0b1000_0000);
    (max.saturating_sub(3)..=max).rev().find(|at| !is_inside(*at)).unwrap_or(max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(max: usize, reads: &[&[u8]]) -> Vec<(String, u64)> {
        let mut splitter = Splitter::new(max);
        let mut lines = Vec::new();
        let mut each = |line: Line<'_>| lines.push((line.text.into_owned(), line.cut));
        for read in reads {
            splitter.feed(read, &mut each);
        }
        splitter.finish(&mut each);
        lines
    }

    fn check(output: &[u8], expected: &[&str]) {
        let texts: Vec<_> = lines(100, &[output]).into_iter().map(|(text, _)| text).collect();
        assert_eq!(texts, expected, "{:?}", String::from_utf8_lossy(output));
    }

    #[test]
    fn only_the_ending_is_stripped() {
        check(b"", &[]);
        check(b"one\ntwo\n", &["one", "two"]);
        check(b"no final newline", &["no final newline"]);
        check(b"a\r\nb\r\r\n\n\r\nc\r", &["a", "b", "", "", "c"]);
        check(b"  \x1b[1mbold\x1b[0m\0 \n", &["  \x1b[1mbold\x1b[0m\0 "]);
        check(b"bad \xff\xfe bytes\n", &["bad \u{fffd}\u{fffd} bytes"]);
    }

    #[test]
    fn a_line_that_is_written_over_is_its_last_state() {
        check(b" 1 %\r50 %\r100 %\nnext\n", &["100 %", "next"]);
        check(b"\rone\r\rtwo\r\r\n\r\n\rthree", &["two", "", "three"]);
        check(b"1 %\r99 %\r", &["99 %"]);
    }

    #[test]
    fn a_line_that_is_too_long_says_what_is_missing() {
        let cut = |text: &str, cut: u64| (text.to_owned(), cut);
        assert_eq!(
            lines(4, &[b"1234\n12345\r\n12345678\n1234\r\n"]),
            [
                cut("1234", 0),
                cut("1234 [1 more bytes left out]", 1),
                cut("1234 [4 more bytes left out]", 4),
                cut("1234", 0),
            ]
        );
        assert_eq!(lines(4, &["abc€d".as_bytes()]), [cut("abc [4 more bytes left out]", 4)]);
        assert_eq!(lines(3, &[b"123456"]), [cut("123 [3 more bytes left out]", 3)]);
    }

    /// All at once, and by the definition.
    fn reference(max: usize, output: &[u8]) -> Vec<(String, u64)> {
        let mut lines: Vec<&[u8]> = output.split(|byte| *byte == b'\n').collect();
        let unended = lines.pop().filter(|last| last.iter().any(|byte| *byte != b'\r'));
        let of = |line: &[u8]| {
            let line = line.rsplit(|byte| *byte == b'\r').find(|state| !state.is_empty()).unwrap_or_default();
            if line.len() <= max {
                return (String::from_utf8_lossy(line).into_owned(), 0);
            }
            // Not within a character.
            let is_inside = |at: &usize| line[*at] & 0b1100_0000 == 0b1000_0000;
            let kept = (max.saturating_sub(3)..=max).rev().find(|at| !is_inside(at)).unwrap_or(max);
            let cut = (line.len() - kept) as u64;
            (format!("{} [{cut} more bytes left out]", String::from_utf8_lossy(&line[..kept])), cut)
        };
        lines.into_iter().chain(unended).map(of).collect()
    }

    proptest! {
        #[test]
        fn the_lines_do_not_depend_on_the_reads(
            output in prop::collection::vec(prop::sample::select(&b"ab\r\n\xe2\x82\xac\xff"[..]), 0..80),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            max in 1usize..8,
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(output.len() + 1)).collect();
            cuts.push(0);
            cuts.push(output.len());
            cuts.sort_unstable();
            let reads: Vec<&[u8]> = cuts.windows(2).map(|w| &output[w[0]..w[1]]).collect();
            let whole = lines(max, &[&output]);
            prop_assert_eq!(&lines(max, &reads), &whole);
            prop_assert_eq!(whole, reference(max, &output));
        }
    }
}
