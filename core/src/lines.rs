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

/// Cuts one stream into lines that end with LF or CRLF.
#[derive(Debug)]
pub struct Splitter {
    /// The longest line, in bytes.
    max: usize,
    /// The beginning of a line whose end has not come: at most `max` bytes and one more, which may be a CR.
    partial: Vec<u8>,
    /// How many bytes came after `partial`, and the last of them.
    over: u64,
    last_over: u8,
}

impl Splitter {
    /// A splitter that cuts lines of more than `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { max, partial: Vec::new(), over: 0, last_over: 0 }
    }

    /// Takes more output in, and gives each line that it completes.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if self.partial.is_empty() && end <= self.max {
                each(whole(without_cr(&rest[..end])));
            } else {
                self.hold(&rest[..end]);
                self.give(true, &mut each);
            }
            rest = &rest[end + 1..];
        }
        self.hold(rest);
    }

    /// The output is over: gives the last line if it had no ending.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if !self.partial.is_empty() {
            hit(Mark::LineUnended);
            self.give(false, &mut each);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = (self.max + 1).saturating_sub(self.partial.len()).min(bytes.len());
        self.partial.extend_from_slice(&bytes[..room]);
        if let Some(last) = bytes[room..].last() {
            self.over += (bytes.len() - room) as u64;
            self.last_over = *last;
        }
    }

    fn give(&mut self, ended: bool, each: &mut impl FnMut(Line<'_>)) {
        let mut over = self.over;
        let mut bytes = &self.partial[..];
        if ended && over > 0 && self.last_over == b'\r' {
            over -= 1;
        } else if ended && over == 0 {
            bytes = without_cr(bytes);
        }
        if over == 0 && bytes.len() <= self.max {
            each(whole(bytes));
        } else {
            hit(Mark::LineCut);
            let kept = at_a_character(bytes, self.max);
            let cut = over + (bytes.len() - kept) as u64;
            let text = format!("{} [{cut} more bytes left out]", String::from_utf8_lossy(&bytes[..kept]));
            each(Line { text: text.into(), cut });
        }
        self.partial.clear();
        // A long line must not keep its memory for the rest of the run.
        self.partial.shrink_to(KEPT_CAPACITY);
        self.over = 0;
    }
}

/// How much memory a splitter keeps between lines.
const KEPT_CAPACITY: usize = 4096;

fn whole(bytes: &[u8]) -> Line<'_> {
    // Nearly all lines are good, and this check is several times as fast as the one that finds what is bad.
    let text = str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    Line { text, cut: 0 }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
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
        check(b"a\r\nb\r\r\n\n\r\nc\r", &["a", "b\r", "", "", "c\r"]);
        check(b"  \x1b[1mbold\x1b[0m\0 \n", &["  \x1b[1mbold\x1b[0m\0 "]);
        check(b"bad \xff\xfe bytes\n", &["bad \u{fffd}\u{fffd} bytes"]);
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
            let ends = memchr::memchr_iter(b'\n', &output).count();
            prop_assert_eq!(whole.len(), ends + usize::from(!output.is_empty() && output.last() != Some(&b'\n')));
        }
    }
}
