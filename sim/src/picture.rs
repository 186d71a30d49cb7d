//! The picture: a story as one HTML file that asks nothing of any network. Nodes are lanes and time runs down; idle time is
//! folded. Whoever points at something is told all of it; a click picks its task.

mod labels;
mod layout;

use crate::story::Story;
use crate::trace::Trace;
use layout::{AXIS, Band, Bar, Edge, LANE, Layout, Mark};
use std::fmt::Write as _;

/// Where in its lane a mark stands.
const INSET: f64 = 26.0;
/// How wide a process's bar is.
const BAR: f64 = 7.0;
/// What tells hues apart best, whatever their number: the golden angle.
const HUES: f64 = 137.508;

/// The picture of a seed.
pub fn picture(seed: u64, story: &Story) -> String {
    let layout = Layout::new(story);
    let width = left(layout.lanes.len());
    let title = story.found().map_or_else(
        || "all guarantees were kept".to_owned(),
        |found| format!("guarantee {} is broken", found.violation.guarantee),
    );
    let mut page = String::with_capacity(1 << 18);
    write!(
        page,
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\n\
         <title>Baton, seed {seed}: {title}</title>\n<style>\n{}</style>\n",
        include_str!("picture/picture.css")
    )
    .and_then(|()| head(&mut page, seed, story, &layout))
    .and_then(|()| {
        write!(page, "<div class=stage><div class=page style=\"width:{width}px\"><div class=lanes>")?;
        for (lane, node) in layout.lanes.iter().enumerate() {
            write!(page, "<span style=\"left:{}px\">{node}</span>", left(lane) + INSET - 6.0)?;
        }
        let height = layout.height;
        writeln!(page, "</div>\n<svg width={width} height={height} viewBox=\"0 0 {width} {height}\">")?;
        drawing(&mut page, story, &layout, width)?;
        writeln!(page, "</svg></div></div>\n<div id=hover hidden></div>")?;
        write!(page, "<script>\n{}</script>\n</html>\n", include_str!("picture/picture.js"))
    })
    .expect("memory takes every write");
    page
}

fn head(page: &mut String, seed: u64, story: &Story, layout: &Layout) -> std::fmt::Result {
    let last = story.entries().last().map(|entry| entry.at).unwrap_or_default();
    writeln!(
        page,
        "<header><h1>Seed {seed}<small>{} events, {} tasks, {:.1} s</small></h1>",
        story.entries().len(),
        layout.tasks.len(),
        last.as_secs_f64()
    )?;
    match story.found() {
        None => writeln!(page, "<p class=kept>All guarantees were kept.</p>")?,
        Some(found) => {
            let told = Trace::new(seed, story).ending().to_string();
            let led = told.split_once("what led to it:\n").map_or("", |(_, led)| led);
            writeln!(
                page,
                "<details class=broken open><summary><b>{}</b> <a href=\"#violation\">where</a></summary><pre>{}</pre></details>",
                escape(&found.violation.to_string()),
                escape(led)
            )?;
        }
    }
    write!(page, "<div class=tools><select aria-label=task><option value=\"\">all tasks</option>")?;
    for (number, task) in layout.tasks.iter().enumerate() {
        write!(page, "<option value={number}>{task}</option>")?;
    }
    write!(page, "</select>")?;
    for (name, text) in [("edges", "what caused what"), ("log", "ledgers and claims"), ("frames", "frames")] {
        write!(page, "<label><input type=checkbox name={name} checked> {text}</label>")?;
    }
    writeln!(page, "<span>click a mark to follow its task; Esc to see all</span></div></header>")
}

fn drawing(page: &mut String, story: &Story, layout: &Layout, width: f64) -> std::fmt::Result {
    for band in &layout.bands {
        draw_band(page, band, width)?;
    }
    for lane in 0..layout.lanes.len() {
        let x = left(lane) + INSET;
        writeln!(page, "<line class=lane x1={x} x2={x} y1=0 y2={:.1} />", layout.height)?;
    }
    for tick in &layout.ticks {
        if tick.folded {
            writeln!(page, "<line class=fold x1={AXIS} x2={width} y1={y:.1} y2={y:.1} />", y = tick.y - 10.0)?;
        }
        writeln!(page, "<text class=tick x={} y={:.1}>{} s</text>", AXIS - 12.0, tick.y + 3.5, tick.text)?;
    }
    for bar in &layout.bars {
        draw_bar(page, bar, layout)?;
    }
    for edge in &layout.edges {
        draw_edge(page, edge, layout)?;
    }
    for mark in &layout.marks {
        draw_mark(page, mark)?;
    }
    let Some(found) = story.found() else { return Ok(()) };
    let y = layout.rows.get(found.by).copied().unwrap_or(layout.height - 22.0) + 9.0;
    writeln!(
        page,
        "<g class=violation id=violation><line x1=0 x2={width} y1={y:.1} y2={y:.1} />\
         <text x=6 y={:.1}>guarantee {} is broken</text></g>",
        y + 12.0,
        found.violation.guarantee
    )
}

fn draw_band(page: &mut String, band: &Band, width: f64) -> std::fmt::Result {
    let (x, wide, class) = match band.lane {
        Some(lane) => (left(lane), LANE, "band down"),
        None => (AXIS, width - AXIS, "band"),
    };
    writeln!(
        page,
        "<rect class=\"{class}\" x={x} y={:.1} width={wide} height={:.1} data-h=\"{}\" />",
        band.from,
        (band.to - band.from).max(2.0),
        escape(&band.hover)
    )
}

fn draw_bar(page: &mut String, bar: &Bar, layout: &Layout) -> std::fmt::Result {
    let (from, to) = (bar.from, bar.to.unwrap_or(layout.height));
    #[allow(clippy::cast_precision_loss)] // a machine has few slots
    let x = left(bar.lane) + INSET - 5.0 - BAR - bar.column as f64 * (BAR + 2.0);
    writeln!(
        page,
        "<rect class=\"bar t{}\" {} x={x:.1} y={from:.1} width={BAR} height={:.1} rx=2 data-h=\"{}\" />",
        if bar.to.is_none() { " open" } else { "" },
        of_task(bar.task),
        (to - from).max(3.0),
        escape(&bar.hover)
    )
}

fn draw_edge(page: &mut String, edge: &Edge, layout: &Layout) -> std::fmt::Result {
    let (from, to) = (&layout.marks[edge.from], &layout.marks[edge.to]);
    let (x1, x2) = (left(from.lane) + INSET, left(to.lane) + INSET);
    let bend = (x2 - x1) * 0.45;
    writeln!(
        page,
        "<path class=\"edge {} t\" {} d=\"M{x1:.0} {y1:.1}C{:.0} {y1:.1} {:.0} {y2:.1} {x2:.0} {y2:.1}\" />",
        edge.class,
        of_task(edge.task),
        x1 + bend,
        x2 - bend,
        y1 = from.y,
        y2 = to.y
    )
}

fn draw_mark(page: &mut String, mark: &Mark) -> std::fmt::Result {
    let (x, y) = (left(mark.lane) + INSET, mark.y);
    let log = if ["ledger", "claim"].contains(&mark.class) { " log" } else { "" };
    write!(page, "<g class=\"mark {}{log} t\" {} data-h=\"{}\">", mark.class, of_task(mark.task), escape(&mark.hover))?;
    match mark.class {
        "node" | "fault" | "healed" => {
            write!(page, "<rect x={:.1} y={:.1} width=9 height=3 />", x - 4.5, y - 1.5)?;
        }
        "stop" => write!(page, "<rect x={:.1} y={:.1} width=7 height=7 />", x - 3.5, y - 3.5)?,
        "ledger" | "claim" => write!(page, "<path d=\"M{x} {:.1}l4 4l-4 4l-4 -4z\" />", y - 4.0)?,
        "letter" => {
            write!(page, "<path d=\"M{:.1} {:.1}l7 7m0 -7l-7 7\" />", x - 3.5, y - 3.5)?;
        }
        _ => write!(page, "<circle cx={x} cy={y:.1} r={} />", if mark.class == "frame" { 2.5 } else { 3.5 })?,
    }
    write!(page, "<text x={:.1} y={:.1}>{}", x + 9.0, y + 3.8, escape(&mark.label))?;
    if mark.count > 1 {
        write!(page, "<tspan class=many> +{}</tspan>", mark.count - 1)?;
    }
    writeln!(page, "</text></g>")
}

/// The attributes that tell a task's things from those of others.
fn of_task(task: Option<usize>) -> String {
    #[allow(clippy::cast_precision_loss)] // a story has far fewer tasks
    task.map_or_else(String::new, |n| format!("data-t={n} style=\"--h:{:.0}\"", (210.0 + n as f64 * HUES) % 360.0))
}

#[allow(clippy::cast_precision_loss)] // there are few lanes
fn left(lane: usize) -> f64 {
    AXIS + lane as f64 * LANE
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
