//! The trace: a story line by line, and at its end what went wrong and what led to it.

use crate::event::{Entry, Event, Node};
use crate::story::{Story, words};
use std::fmt;

/// How a story is told on a terminal or in a file.
pub struct Trace<'a> {
    story: &'a Story,
    seed: u64,
    colours: bool,
    whole: bool,
}

impl<'a> Trace<'a> {
    /// The whole story of a seed, without colours.
    pub const fn new(seed: u64, story: &'a Story) -> Self {
        Self { story, seed, colours: false, whole: true }
    }

    /// The same in a terminal's colours: each node and each task has its own.
    #[must_use]
    pub const fn with_colours(self, colours: bool) -> Self {
        Self { colours, ..self }
    }

    /// Only how it ended: what went wrong and what led to it.
    #[must_use]
    pub const fn ending(self) -> Self {
        Self { whole: false, ..self }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&self, entry: &Entry) -> String {
        let time = format!("{:>5}.{:06}", entry.at.as_secs(), entry.at.subsec_micros());
        let node = format!("{:<10}", entry.node.to_string());
        let text = words(&entry.event);
        let text = match &entry.event {
            Event::Fault(_) | Event::Killed => self.paint("33", &text),
            Event::Healed => self.paint("32", &text),
            Event::Visible(_) | Event::Note(_) | Event::Memory { .. } => self.paint("2", &text),
            _ => match self.story.task_of(entry).filter(|_| self.colours) {
                Some(task) => self.paint(&task_colour(task.as_str()), &text),
                None => text,
            },
        };
        format!("{}  {}  {text}", self.paint("2", &time), self.paint(node_colour(entry.node), &node))
    }
}

/// The number of a foreground colour.
const fn node_colour(node: Node) -> &'static str {
    match node {
        Node::World => "1;33",
        Node::Client(_) => "36",
        Node::Api(_) => "34",
        Node::Broker(_) => "35",
        Node::Worker(_) => "32",
        Node::Machine(_) => "92",
    }
}

/// One of the brighter colours of 256, the same for the same task.
fn task_colour(task: &str) -> String {
    const BRIGHT: [u8; 8] = [39, 208, 141, 78, 204, 179, 80, 147];
    let index = crc32fast::hash(task.as_bytes()) as usize % BRIGHT.len();
    format!("38;5;{}", BRIGHT[index])
}

impl fmt::Display for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.whole {
            writeln!(f, "seed {}, {} events", self.seed, self.story.entries().len())?;
            for (number, entry) in self.story.entries().iter().enumerate() {
                writeln!(f, "{}", self.line(entry))?;
                if self.story.found().is_some_and(|found| found.by == number) {
                    writeln!(f, "{}", self.paint("1;31", "      ^^^ here the oracle found what is told below"))?;
                }
            }
            writeln!(f)?;
        }
        let Some(found) = self.story.found() else {
            return writeln!(f, "{}", self.paint("32", &format!("seed {}: all guarantees were kept", self.seed)));
        };
        writeln!(f, "{}", self.paint("1;31", &format!("seed {}: {}", self.seed, found.violation)))?;
        writeln!(f, "what led to it:")?;
        for entry in self.story.context() {
            writeln!(f, "  {}", self.line(entry))?;
        }
        Ok(())
    }
}
