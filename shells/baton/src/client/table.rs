//! Tasks for people: a table of many, a page of one.

use super::screen::harmless;
use super::text;
use baton_core::time::Timestamp;
use baton_runtime::ports::World as _;
use baton_runtime::world::SystemWorld;
use serde_json::Value;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;
use terminal_size::{Width, terminal_size};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How wide a table is that nobody looks at.
const PIPED_WIDTH: usize = 160;

/// Prints a line a task, the last update cut to the width of the terminal.
pub fn print(tasks: &[Value]) {
    let header = ["ID", "STATUS", "TRY", "TASK", "PROJECT", "AGE", "LAST UPDATE"].map(str::to_owned);
    let now = SystemWorld.wall();
    let rows: Vec<[String; 7]> = std::iter::once(header).chain(tasks.iter().map(|task| row(task, now))).collect();
    let widths: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0)).collect();
    let width = terminal_size().map_or(PIPED_WIDTH, |(Width(width), _)| width.into());
    let left = width.saturating_sub(widths.iter().map(|w| w + 2).sum()).max(16);
    let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut out = stdout().lock();
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().take(6).enumerate() {
            let padding = " ".repeat(widths[column] + 2 - cell.width());
            line.push_str(&paint(cell, column == 1 && number > 0 && colour));
            line.push_str(&padding);
        }
        line.push_str(&cut(&row[6], left));
        if writeln!(out, "{}", line.trim_end()).is_err() {
            return;
        }
    }
}

fn row(task: &Value, now: Timestamp) -> [String; 7] {
    let age = timestamp(task, "submitted_at").map_or("?".to_owned(), |at| short(now.since(at)));
    let kind = [text(task, "type"), text(task, "command")].join(" ");
    let attempt = task["attempt"].as_u64().unwrap_or_default().to_string();
    let cells = [
        text(task, "task_id"),
        text(task, "status"),
        &attempt,
        kind.trim_end(),
        text(task, "project"),
        &age,
        text(task, "last_update"),
    ];
    cells.map(|cell| without_colour(&harmless(cell)))
}

fn paint(status: &str, colour: bool) -> String {
    let code = match status {
        "done" => "32",
        "failed" => "31",
        "stopped" | "stopping" | "retrying" => "33",
        "running" => "36",
        _ => "0",
    };
    if colour { format!("\x1b[{code}m{status}\x1b[0m") } else { status.to_owned() }
}

/// Prints every field that is known, a line each.
pub fn print_one(task: &Value) {
    let mut out = stdout().lock();
    let fields = task.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    for (name, value) in fields {
        let shown = match value {
            Value::String(text) => harmless(text),
            other => other.to_string(),
        };
        if writeln!(out, "{:<13} {shown}", name.replace('_', " ")).is_err() {
            return;
        }
    }
    let ran = timestamp(task, "started_at").zip(timestamp(task, "ended_at"));
    if let Some((started, ended)) = ran {
        let _ = writeln!(out, "{:<13} {}", "ran for", short(ended.since(started)));
    }
}

fn timestamp(task: &Value, name: &str) -> Option<Timestamp> {
    text(task, name).parse().ok()
}

/// A time in its two greatest units, or in milliseconds.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    }
}

fn without_colour(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut pieces = text.split("\x1b[");
    plain.push_str(pieces.next().unwrap_or_default());
    // Only colours are left of the sequences, and each ends with an m.
    pieces.for_each(|piece| plain.push_str(piece.split_once('m').map_or("", |(_, after)| after)));
    plain
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let times = [0, 59, 61, 3700, 90_000].map(|s| short(Duration::from_secs(s)));
        assert_eq!(times, ["0ms", "59s", "1m01s", "1h01m", "1d01h"]);
    }

    #[test]
    fn a_long_update_is_cut_to_its_width() {
        assert_eq!(cut("日本語テキスト", 7), "日本語…");
        assert_eq!(cut("short", 7), "short");
        assert_eq!(without_colour("\x1b[31mred\x1b[0m!"), "red!");
    }
}
