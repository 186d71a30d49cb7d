//! Tasks and dead letters for people: a table of many, a page of one. What an agent or a client wrote is made harmless first, and nothing is
//! wider than the terminal unless a task's id is.

use super::screen::{harmless, has_colour};
use super::text;
use baton_core::time::Timestamp;
use baton_runtime::ports::World as _;
use baton_runtime::world::SystemWorld;
use bytesize::ByteSize;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};
use std::time::Duration;
use terminal_size::{Width, terminal_size};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How wide a table is that nobody looks at.
const PIPED_WIDTH: usize = 160;
/// What is cut is not cut below this.
const LEAST_CUT: usize = 12;
/// A task's type and command are not cut below this.
const LEAST_TASK: usize = 10;
/// Between two columns.
const GAP: usize = 2;

/// The columns of a table.
struct Columns {
    names: &'static [&'static str],
    /// Takes what room is left, and is cut to it.
    cut: usize,
    /// Is made narrower where there is too little room even then.
    narrowed: usize,
    /// What goes first where there is no room.
    dispensable: &'static [usize],
    /// Is painted, if any is.
    painted: Option<usize>,
}

const TASKS: Columns = Columns {
    names: &["ID", "STATUS", "TRY", "TASK", "PROJECT", "AGE", "RAN", "LAST UPDATE"],
    cut: 7,
    narrowed: 3,
    dispensable: &[7, 6, 4, 2],
    painted: Some(1),
};

const LETTERS: Columns = Columns {
    names: &["ID", "AGE", "TRY", "TASK", "PROJECT", "REDRIVEN", "REASON"],
    cut: 6,
    narrowed: 3,
    dispensable: &[4, 2, 5],
    painted: None,
};

type Row = Vec<String>;

/// A line a task, the last update cut to the width of the terminal.
pub fn of(tasks: &[Value]) -> String {
    table(&TASKS, tasks, row)
}

/// A line a dead letter, the reason cut to the width of the terminal.
pub fn of_letters(letters: &[Value]) -> String {
    table(&LETTERS, letters, row_of_letter)
}

fn table(columns: &Columns, items: &[Value], row: fn(&Value, Timestamp) -> Row) -> String {
    let now = SystemWorld.wall();
    let rows = with_head(columns, items.iter().map(|item| row(item, now)));
    // The size is that of any terminal around, also of one that only gets the remarks.
    let terminal = terminal_size().filter(|_| stdout().is_terminal());
    let width = terminal.map_or(PIPED_WIDTH, |(Width(width), _)| width.into());
    lay_out(columns, &rows, width, has_colour())
}

fn with_head(columns: &Columns, rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let head = columns.names.iter().map(|&name| name.to_owned()).collect();
    std::iter::once(head).chain(rows).collect()
}

fn lay_out(columns: &Columns, rows: &[Row], width: usize, colour: bool) -> String {
    let widest = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..columns.names.len()).map(widest).collect();
    let used = |widths: &[usize]| widths.iter().filter(|w| **w > 0).map(|w| w + GAP).sum::<usize>().saturating_sub(GAP);
    let beside = used(&widths) - widths[columns.cut];
    widths[columns.cut] = widths[columns.cut].min(width.saturating_sub(beside).max(LEAST_CUT));
    for column in columns.dispensable {
        if used(&widths) > width {
            widths[*column] = 0;
        }
    }
    if widths[columns.cut] > 0 {
        let room = width.saturating_sub(used(&widths));
        widths[columns.cut] = widest(columns.cut).min(widths[columns.cut] + room);
    }
    let over = used(&widths).saturating_sub(width);
    let narrowed = &mut widths[columns.narrowed];
    *narrowed = narrowed.saturating_sub(over).max(LEAST_TASK.min(*narrowed));

    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate().filter(|(column, _)| widths[*column] > 0) {
            let cell = cut(cell, widths[column]);
            let padding = " ".repeat(widths[column] + GAP - cell.width());
            let paints = columns.painted == Some(column) && number > 0 && colour;
            line.push_str(&if paints { paint(&cell) } else { cell });
            line.push_str(&padding);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

fn row(task: &Value, now: Timestamp) -> Row {
    let since = |name| timestamp(task, name).map(|at| now.since(at));
    let kind = [text(task, "type"), text(task, "command")].join(" ");
    let attempt = task["attempt"].as_u64().unwrap_or_default().to_string();
    plain([
        text(task, "task_id"),
        text(task, "status"),
        &attempt,
        kind.trim(),
        text(task, "project"),
        &since("submitted_at").map_or("?".to_owned(), short),
        &ran_for(task).or_else(|| since("started_at")).map_or("-".to_owned(), short),
        text(task, "last_update"),
    ])
}

fn row_of_letter(letter: &Value, now: Timestamp) -> Row {
    let age = timestamp(letter, "at").map(|at| now.since(at));
    let kind = if letter["redrivable"] == false { "(no task)" } else { text(letter, "type") };
    plain([
        text(letter, "id"),
        &age.map_or("?".to_owned(), short),
        &letter["attempts"].as_u64().unwrap_or_default().to_string(),
        kind,
        text(letter, "project"),
        if letter["redriven_as"].is_string() { "yes" } else { "-" },
        text(letter, "reason"),
    ])
}

fn plain<const N: usize>(cells: [&str; N]) -> Row {
    cells.map(|cell| without_colour(&harmless(cell))).into()
}

fn ran_for(task: &Value) -> Option<Duration> {
    let (started, ended) = timestamp(task, "started_at").zip(timestamp(task, "ended_at"))?;
    Some(ended.since(started))
}

fn paint(status: &str) -> String {
    let code = match status {
        "done" => "32",
        "failed" => "31",
        "stopped" | "stopping" | "retrying" => "33",
        "running" => "36",
        _ => return status.to_owned(),
    };
    format!("\x1b[{code}m{status}\x1b[0m")
}

/// Every field that is known, a line each; of params, a line each too.
pub fn of_one(task: &Value) -> String {
    page(task, SystemWorld.wall())
}

fn page(task: &Value, now: Timestamp) -> String {
    let mut page = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(page, "{:<13} {value}", name.replace('_', " "));
    };
    for (name, value) in task.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        match (timestamp(task, name).filter(|_| name.ends_with("_at")), value) {
            (Some(at), _) => line(name, &format!("{at} ({} ago)", short(now.since(at)))),
            (None, Value::Object(ending)) if name == "ending" => line(name, &in_words(ending)),
            (None, Value::Object(report)) if name == "report" => {
                for (name, value) in report {
                    // How the task stands is another line.
                    let title = if name == "status" { "doing" } else { name.trim_end_matches("_usd") };
                    line(title, &harmless(&said_in_words(name, value)));
                }
            }
            (None, Value::Array(attempts)) if name == "attempts" => {
                for (index, attempt) in attempts.iter().enumerate() {
                    line(if index == 0 { name } else { "" }, &harmless(&attempt_in_words(attempt)));
                }
            }
            (None, Value::Object(values)) => {
                for (index, (key, value)) in values.iter().enumerate() {
                    line(if index == 0 { name } else { "" }, &harmless(&format!("{key} = {value}")));
                }
            }
            (None, Value::Array(values)) => {
                for (index, value) in values.iter().enumerate() {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    line(if index == 0 { name } else { "" }, &harmless(&value));
                }
            }
            (None, Value::String(text)) => line(name, &harmless(text)),
            (None, other) => line(name, &harmless(&other.to_string())),
        }
    }
    if let Some(time) = ran_for(task) {
        line("ran for", &short(time));
    }
    page.truncate(page.trim_end().len());
    page
}

/// The account of an ending, in one line.
fn in_words(ending: &Map<String, Value>) -> String {
    let number = |name: &str| ending.get(name).and_then(Value::as_u64);
    let time =
        |name: &str, what: &str| number(name).map(|millis| format!("{what} {}", short(Duration::from_millis(millis))));
    let cause = ending.get("cause").and_then(Value::as_str).unwrap_or("?");
    let by = ending.get("by").and_then(Value::as_str).map(|by| format!("by {by}"));
    let draining =
        number("draining_ms").filter(|millis| *millis > 0).and_then(|_| time("draining_ms", "of that to end"));
    let memory = number("peak_memory").map(|bytes| format!("at most {} of memory", ByteSize(bytes)));
    let output = number("lines").zip(number("bytes"));
    let output = output.map(|(lines, bytes)| format!("{lines} lines of {}", ByteSize(bytes)));
    let parts = [
        Some(cause.to_owned()),
        by,
        time("queued_ms", "waited"),
        time("running_ms", "ran"),
        draining,
        time("cpu_ms", "CPU"),
        memory,
        output,
    ];
    harmless(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// What an agent said of its work, each for itself.
fn said_in_words(name: &str, value: &Value) -> String {
    match (name, value) {
        ("progress", _) => format!("{:.0} %", value.as_f64().unwrap_or_default() * 100.0),
        ("cost_usd", _) => format!("{value} USD"),
        ("tokens", _) => format!("{} in, {} out", value["input"], value["output"]),
        (_, Value::String(text)) => text.clone(),
        _ => value.to_string(),
    }
}

/// An attempt, in one line.
fn attempt_in_words(attempt: &Value) -> String {
    let number = attempt["attempt"].as_u64().unwrap_or_default();
    let outcome = attempt["outcome"].as_str().map(|outcome| outcome.replace('_', " "));
    let lasted = timestamp(attempt, "started_at").zip(timestamp(attempt, "ended_at"));
    let lasted = lasted.map(|(started, ended)| format!(" after {}", short(ended.since(started))));
    let end = attempt["end"].as_str().map(|end| format!(": {end}"));
    let outcome = outcome.unwrap_or_else(|| "begun".into());
    format!("{number} {outcome}{}{}", lasted.unwrap_or_default(), end.unwrap_or_default())
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
    use serde_json::json;

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

    fn tasks() -> [Value; 3] {
        let id = |first: &str| format!("{first}f0c1a52-2b1e-4c0e-9d43-0d8a4f1f2c11");
        [
            json!({"task_id": id("1"), "project": "default", "type": "task-context", "command": "import-excel",
                "params": {"file_path": "/data/\u{1b}[2Jreport.xlsx", "main_tab": "MB Attributes", "custom_structure": true},
                "status": "running", "attempt": 2, "last_update": "Processing row 17/40 of \u{1b}[31mMB Attributes\u{1b}[0m, and this goes on for so long that no terminal is wide enough for it",
                "submitted_at": "2026-11-23T12:00:00.000Z", "started_at": "2026-11-23T12:00:01.500Z", "ended_at": null,
                "report": {"progress": 0.425, "status": "row 17\u{1b}[2J", "cost_usd": 0.12, "tokens": {"input": 1234, "output": 56}, "result": {"rows": 17}}}),
            json!({"task_id": id("2"), "project": "unhurried", "type": "seed-db", "command": null, "params": {},
                "status": "failed", "attempt": 1, "last_update": "FAILED: exit code 3: no\rsuch\u{7}table", "reason": "exit code 3",
                "submitted_at": "2026-11-23T11:00:00.000Z", "started_at": "2026-11-23T11:00:01.000Z",
                "ended_at": "2026-11-23T11:02:06.000Z", "exit_code": 3}),
            json!({"task_id": id("3"), "project": null, "type": null, "command": null, "params": {}, "status": "queued",
                "attempt": 0, "last_update": null, "submitted_at": null, "started_at": null, "ended_at": null}),
        ]
    }

    #[test]
    fn a_table_fits_where_it_stands() {
        let now = "2026-11-23T12:10:00.000Z".parse().unwrap();
        let rows = with_head(&TASKS, tasks().iter().map(|task| row(task, now)));
        for width in [200, 120, 100, 80] {
            let table = lay_out(&TASKS, &rows, width, false);
            assert!(table.lines().all(|line| line.width() <= width), "{width}:\n{table}");
            insta::assert_snapshot!(format!("table_{width}"), table);
        }
        assert!(lay_out(&TASKS, &rows, 20, true).contains("\x1b[31mfailed\x1b[0m"));
    }

    fn letters() -> [Value; 2] {
        [
            json!({"id": "1f0c1a52-2b1e-4c0e-9d43-0d8a4f1f2c11", "project": "default", "type": "task-context",
                "reason": "exit code 3: no\rsuch table, and much more is said about it than any terminal of a person would be wide enough for",
                "attempts": 1, "at": "2026-11-23T12:00:00.000Z", "redrivable": true,
                "redriven_as": "2f0c1a52-2b1e-4c0e-9d43-0d8a4f1f2c11"}),
            json!({"id": "unreadable-0-7", "project": null, "type": null, "attempts": 0, "redriven_as": null,
                "reason": "tasks[0]@7 can't be read", "at": "2026-11-23T11:00:00.000Z", "redrivable": false}),
        ]
    }

    #[test]
    fn a_table_of_letters_fits_where_it_stands() {
        let now = "2026-11-23T12:10:00.000Z".parse().unwrap();
        let rows = with_head(&LETTERS, letters().iter().map(|letter| row_of_letter(letter, now)));
        for width in [160, 80] {
            let table = lay_out(&LETTERS, &rows, width, false);
            assert!(table.lines().all(|line| line.width() <= width), "{width}:\n{table}");
            insta::assert_snapshot!(format!("letters_{width}"), table);
        }
    }

    #[test]
    fn a_page_of_a_letter_has_its_lines() {
        let letter = json!({"id": "abc", "task": {"type": "seed-db", "params": {"reset": true}}, "reason": "exit code 3",
            "last_lines": ["one", "two\u{1b}[2J"], "history": [], "redriven_as": null, "redrivable": true});
        insta::assert_snapshot!(page(&letter, Timestamp::default()));
    }

    #[test]
    fn a_page_has_every_field() {
        let now = "2026-11-23T12:10:00.000Z".parse().unwrap();
        let pages: Vec<String> = tasks().iter().map(|task| page(task, now)).collect();
        insta::assert_snapshot!(pages.join("\n\n"));
    }
}
