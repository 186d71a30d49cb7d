//! Updates on a terminal or in a pipe. What an agent prints is shown; it can't take the terminal over.
//! Nothing here panics because a reader has gone.

use crate::report::Failure;
use serde_json::Value;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _, stderr, stdout};

/// Prints frames to standard output.
pub struct Printer {
    json: bool,
    terminal: bool,
    colour: bool,
    out: BufWriter<Stdout>,
}

impl Printer {
    /// For frames as JSON lines, or as text.
    pub fn new(json: bool) -> Self {
        Self { json, terminal: stdout().is_terminal(), colour: has_colour(), out: BufWriter::new(stdout()) }
    }

    /// Prints one frame, for [`Self::flush`] to show. Whether anyone still reads.
    pub fn print(&mut self, frame: &Value) -> Result<bool, Failure> {
        // What a line shows so far says nothing that the line does not.
        if !self.json && super::text(frame, "kind") == "progress" {
            return Ok(true);
        }
        let line = self.line(frame);
        read_by(writeln!(self.out, "{line}"))
    }

    /// Shows what was printed. Whether anyone still reads.
    pub fn flush(&mut self) -> Result<bool, Failure> {
        read_by(self.out.flush())
    }

    fn line(&self, frame: &Value) -> String {
        if self.json {
            return frame.to_string();
        }
        let update = super::text(frame, "update");
        let shown = if self.terminal { harmless(update) } else { update.to_owned() };
        if !self.colour {
            return shown;
        }
        let style = match super::text(frame, "kind") {
            "done" => "\x1b[32m",
            "failed" => "\x1b[31m",
            "stopped" | "truncated" | "retrying" => "\x1b[33m",
            "started" => "\x1b[1m",
            _ if super::text(frame, "stream") == "stderr" => "\x1b[2m",
            // A colour that the agent left on ends with its line.
            _ if shown.contains('\x1b') => return shown + "\x1b[0m",
            _ => return shown,
        };
        format!("{style}{shown}\x1b[0m")
    }
}

/// Whether standard output is for colours.
pub fn has_colour() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints what was asked for, lines and all. Whether anyone read it.
pub fn say(text: &str) -> Result<bool, Failure> {
    let mut out = stdout().lock();
    read_by(writeln!(out, "{text}").and_then(|()| out.flush()))
}

/// Prints a remark to standard error; where that can't be, nobody wanted it.
pub fn remark(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

fn read_by(written: io::Result<()>) -> Result<bool, Failure> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::refused(format!("could not write to standard output: {error}"))),
    }
}

/// Keeps colours (SGR, ECMA-48 section 8.3.117), and makes every other control character visible.
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(length) = colour_length(rest) {
            shown.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        match next {
            '\t' => shown.push('\t'),
            '\x7f' => shown.push('␡'),
            // Their pictures stand in the same order (Unicode, Control Pictures).
            control @ '\0'..='\x1f' => shown.extend(char::from_u32(0x2400 + u32::from(control))),
            '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => shown.push('\u{fffd}'),
            other => shown.push(other),
        }
        rest = &rest[next.len_utf8()..];
    }
    shown
}

/// The length of the colour sequence that the text begins with.
fn colour_length(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':'))?;
    parameters[end..].starts_with('m').then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_pass_and_all_else_is_made_visible() {
        assert_eq!(harmless("\x1b[1;31mred\x1b[0m\tü"), "\x1b[1;31mred\x1b[0m\tü");
        assert_eq!(harmless("\x1b[2J\x1b]0;title\x07\r\0"), "␛[2J␛]0;title␇␍␀");
        assert_eq!(harmless("a\u{202e}b\u{9b}c\x7f"), "a\u{fffd}b\u{fffd}c␡");
    }
}
