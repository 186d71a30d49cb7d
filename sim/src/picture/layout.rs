//! Where everything stands: a lane for each node, time downwards with its idle stretches folded, and what belongs together.

use super::labels::label;
use crate::event::{Entry, Event, Logged, Node};
use crate::story::{Story, words};
use baton_core::id::{TaskId, UpdateId};
use baton_core::log::Topic;
use baton_core::record::{Kind, ProgressRecord};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// How wide a lane is.
pub const LANE: f64 = 152.0;
/// How wide the time's axis is, left of all lanes.
pub const AXIS: f64 = 84.0;
/// How far apart two marks of a lane are at least: a line of text.
const ROW: f64 = 14.0;
/// How much the longest stretch of time takes.
const LONGEST: f64 = 44.0;
/// Marks of one kind that come as close as this are one.
const TOGETHER: Duration = Duration::from_millis(2);

/// One thing, or several of one kind at one time.
#[derive(Debug)]
pub struct Mark {
    pub lane: usize,
    pub y: f64,
    /// The class that it is drawn by.
    pub class: &'static str,
    pub task: Option<usize>,
    pub label: String,
    pub hover: String,
    pub count: usize,
    /// Marks with the same one may become one.
    group: Option<String>,
    last_at: Duration,
}

/// From one mark to another: what caused it.
#[derive(Debug)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub task: Option<usize>,
    pub class: &'static str,
}

/// A process's life.
#[derive(Debug)]
pub struct Bar {
    pub lane: usize,
    pub column: usize,
    pub from: f64,
    /// None: it lives at the end.
    pub to: Option<f64>,
    pub task: Option<usize>,
    pub hover: String,
}

/// A stretch of time in which something was wrong: in one lane, or in all.
#[derive(Debug)]
pub struct Band {
    pub lane: Option<usize>,
    pub from: f64,
    pub to: f64,
    pub hover: String,
}

/// A point on the axis.
#[derive(Debug)]
pub struct Tick {
    pub y: f64,
    pub text: String,
    /// Time was folded before it.
    pub folded: bool,
}

/// The whole.
#[derive(Debug, Default)]
pub struct Layout {
    pub lanes: Vec<Node>,
    pub tasks: Vec<TaskId>,
    pub marks: Vec<Mark>,
    pub edges: Vec<Edge>,
    pub bars: Vec<Bar>,
    pub bands: Vec<Band>,
    pub ticks: Vec<Tick>,
    /// Where each entry is.
    pub rows: Vec<f64>,
    pub height: f64,
}

/// What the entries so far have left for later ones to point back to.
#[derive(Default)]
struct Open {
    posts: BTreeMap<TaskId, usize>,
    records: BTreeMap<TaskId, usize>,
    updates: BTreeMap<(TaskId, UpdateId), usize>,
    stops: BTreeMap<TaskId, usize>,
    stop_records: BTreeMap<TaskId, usize>,
    heard: BTreeMap<(TaskId, u8), usize>,
    gone: BTreeMap<TaskId, usize>,
    watching: BTreeMap<u32, usize>,
    bars: BTreeMap<TaskId, usize>,
    killed: BTreeMap<Node, f64>,
    faults: BTreeMap<String, f64>,
}

impl Layout {
    pub fn new(story: &Story) -> Self {
        let mut layout = Self { lanes: lanes(story), ..Self::default() };
        let mut last: Vec<Option<usize>> = vec![None; layout.lanes.len()];
        let (mut y, mut before, mut open) = (ROW, Duration::ZERO, Open::default());
        let mut entry_marks = Vec::new();
        for entry in story.entries() {
            let passed = entry.at.saturating_sub(before);
            y += folded(passed);
            before = entry.at;
            let lane = layout.lanes.iter().position(|node| *node == entry.node).unwrap_or(0);
            let lowest = last[lane].map_or(0.0, |mark| layout.marks[mark].y);
            let mark = layout.mark(story, entry, (lane, last[lane]), y.max(lowest + ROW));
            if let Some(mark) = mark {
                y = y.max(layout.marks[mark].y);
                last[lane] = Some(mark);
            }
            layout.tick(entry.at, y, passed);
            layout.rows.push(y);
            entry_marks.push(mark);
        }
        layout.height = y + 3.0 * ROW;
        for (number, entry) in story.entries().iter().enumerate() {
            let y = layout.rows[number];
            layout.relate(entry, entry_marks[number], y, &mut open);
        }
        layout.close(open);
        layout
    }

    fn task(&mut self, id: TaskId) -> usize {
        self.tasks.iter().position(|known| *known == id).unwrap_or_else(|| {
            self.tasks.push(id);
            self.tasks.len() - 1
        })
    }

    /// The entry's mark, if it has one: a new one, or the last of its lane if they go together.
    fn mark(&mut self, story: &Story, entry: &Entry, (lane, last): (usize, Option<usize>), y: f64) -> Option<usize> {
        let class = class_of(&entry.event)?;
        let task = story.task_of(entry).map(|id| self.task(id));
        let hover = format!("{:?}  {}\n{}", entry.at, entry.node, words(&entry.event));
        let group = group_of(&entry.event);
        if let Some(index) = last
            && group.is_some()
            && self.marks[index].group == group
            && entry.at.saturating_sub(self.marks[index].last_at) <= TOGETHER
        {
            let mark = &mut self.marks[index];
            mark.count += 1;
            mark.last_at = entry.at;
            mark.hover.push('\n');
            mark.hover.push_str(&words(&entry.event));
            return Some(index);
        }
        let (label, count, last_at) = (label(&entry.event), 1, entry.at);
        self.marks.push(Mark { lane, y, class, task, label, hover, count, group, last_at });
        Some(self.marks.len() - 1)
    }

    fn tick(&mut self, at: Duration, y: f64, passed: Duration) {
        let folded = passed > Duration::from_secs(2);
        let room = self.ticks.last().is_none_or(|last| y - last.y >= 2.0 * ROW);
        if room || folded {
            if self.ticks.last().is_some_and(|last| y - last.y < ROW) {
                self.ticks.pop();
            }
            self.ticks.push(Tick { y, text: format!("{:.3}", at.as_secs_f64()), folded });
        }
    }

    fn edge(&mut self, from: Option<usize>, to: usize, class: &'static str) {
        let Some(from) = from.filter(|from| self.marks[*from].lane != self.marks[to].lane) else { return };
        let known = self.edges.iter().rev().take(64).any(|edge| (edge.from, edge.to) == (from, to));
        if !known {
            let task = self.marks[to].task.or(self.marks[from].task);
            self.edges.push(Edge { from, to, task, class });
        }
    }

    /// Draws what leads from earlier entries to this one.
    fn relate(&mut self, entry: &Entry, mark: Option<usize>, y: f64, open: &mut Open) {
        match &entry.event {
            Event::Killed => {
                open.killed.insert(entry.node, y);
            }
            Event::Started => {
                if let Some(from) = open.killed.remove(&entry.node) {
                    self.band(Some(entry.node), from, y, format!("{} is down", entry.node));
                }
            }
            Event::Fault(what) => match what.strip_suffix(" ends").and_then(|begun| open.faults.remove_entry(begun)) {
                Some((begun, from)) => self.band(None, from, y, begun),
                None => _ = open.faults.insert(what.clone(), y),
            },
            _ => {}
        }
        let Some(mark) = mark else { return };
        match &entry.event {
            Event::Submitting { .. } => {
                if let Some(task) = self.marks[mark].task {
                    open.posts.entry(self.tasks[task].clone()).or_insert(mark);
                }
            }
            Event::Submitted { answer: Ok(id), .. } => self.edge(open.records.get(id).copied(), mark, "answer"),
            Event::Stopping(id) => _ = open.stops.insert(id.clone(), mark),
            Event::StopAnswered(id, _) => self.edge(open.stop_records.get(id).copied(), mark, "answer"),
            Event::Watching { watcher, .. } => _ = open.watching.insert(*watcher, mark),
            Event::Frame { id, .. } => {
                if let Some(task) = self.marks[mark].task {
                    let from = open.updates.get(&(self.tasks[task].clone(), *id)).copied();
                    self.edge(from, mark, "frame");
                }
            }
            Event::Durable(record) => self.relate_record(record, mark, open),
            Event::Heard { task: id, .. } => {
                self.edge(open.stop_records.get(id).copied(), mark, "stop");
                open.heard.insert((id.clone(), number(entry.node)), mark);
            }
            Event::Spawned(id, attempt) => {
                let begun = open.updates.get(&(id.clone(), UpdateId { attempt: *attempt, seq: 1 })).copied();
                self.edge(begun, mark, "run");
                self.spawn(id, mark, entry, open);
            }
            Event::Gone { task, .. } => {
                self.edge(open.heard.get(&(task.clone(), number(entry.node))).copied(), mark, "stop");
                open.gone.insert(task.clone(), mark);
                if let Some(bar) = open.bars.remove(task) {
                    self.bars[bar].to = Some(self.marks[mark].y);
                    let _ = write!(self.bars[bar].hover, "\n{:?}  {}", entry.at, words(&entry.event));
                }
            }
            _ => {}
        }
    }

    fn relate_record(&mut self, record: &Logged, mark: usize, open: &mut Open) {
        let Some(id) = self.marks[mark].task.map(|task| self.tasks[task].clone()) else { return };
        match record.topic {
            Topic::Tasks => {
                self.edge(open.posts.get(&id).copied(), mark, "submit");
                open.records.entry(id).or_insert(mark);
            }
            Topic::Control => {
                self.edge(open.stops.get(&id).copied(), mark, "stop");
                open.stop_records.entry(id).or_insert(mark);
            }
            Topic::Progress => {
                let Ok(update) = ProgressRecord::read(&record.value) else { return };
                if update.kind.is_some_and(Kind::is_terminal) {
                    self.edge(open.gone.get(&id).copied(), mark, "run");
                }
                let place = UpdateId { attempt: update.attempt.unwrap_or(1), seq: update.seq.unwrap_or(0) };
                open.updates.entry((id, place)).or_insert(mark);
            }
            Topic::DeadLetters | Topic::Presence => {}
        }
    }

    /// A bar beside those of its lane that are still open.
    fn spawn(&mut self, id: &TaskId, mark: usize, entry: &Entry, open: &mut Open) {
        let (lane, from, task) = (self.marks[mark].lane, self.marks[mark].y, self.marks[mark].task);
        let taken: Vec<usize> = open
            .bars
            .values()
            .map(|bar| &self.bars[*bar])
            .filter(|bar| bar.lane == lane)
            .map(|bar| bar.column)
            .collect();
        let column = (0..=taken.len()).find(|column| !taken.contains(column)).unwrap_or(0);
        let hover = format!("{:?}  {}", entry.at, words(&entry.event));
        open.bars.insert(id.clone(), self.bars.len());
        self.bars.push(Bar { lane, column, from, to: None, task, hover });
    }

    fn band(&mut self, node: Option<Node>, from: f64, to: f64, hover: String) {
        let lane = node.and_then(|node| self.lanes.iter().position(|lane| *lane == node));
        if lane.is_some() || node.is_none() {
            self.bands.push(Band { lane, from, to, hover });
        }
    }

    /// What never ended lasts to the bottom. A fault of which no end is told has its mark alone.
    fn close(&mut self, open: Open) {
        let bottom = self.height;
        for (node, from) in open.killed {
            self.band(Some(node), from, bottom, format!("{node} is down"));
        }
    }
}

/// How much room a stretch of time takes: as much as its logarithm, so that idle hours are as short as seconds.
fn folded(passed: Duration) -> f64 {
    (4.0 * (passed.as_secs_f64() * 1000.0).ln_1p()).min(LONGEST)
}

/// Those who ask on the left, the log in the middle, those who work on the right, each beside its machine.
fn lanes(story: &Story) -> Vec<Node> {
    let mut lanes: Vec<Node> = vec![Node::World];
    for entry in story.entries() {
        if !lanes.contains(&entry.node) && class_of(&entry.event).is_some() {
            lanes.push(entry.node);
        }
    }
    lanes.sort_by_key(|node| match node {
        Node::World => (0, 0, 0),
        Node::Client(n) => (1, *n, 0),
        Node::Api(n) => (2, *n, 0),
        Node::Broker(n) => (3, *n, 0),
        Node::Worker(n) => (4, *n, 0),
        Node::Machine(n) => (4, *n, 1),
    });
    lanes
}

fn class_of(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::Submitting { .. } | Event::Submitted { .. } => "post",
        Event::Stopping(_) | Event::StopAnswered(..) | Event::Heard { .. } => "stop",
        Event::Watching { .. } | Event::Denied { .. } | Event::Unwatched { .. } => "watch",
        Event::Frame { .. } => "frame",
        Event::Durable(record) => match record.topic {
            Topic::Tasks => "task",
            Topic::Progress => "update",
            Topic::Control => "stop",
            Topic::DeadLetters => "letter",
            Topic::Presence => "note",
        },
        Event::Ledger { .. } => "ledger",
        Event::Claimed(..) | Event::Unclaimed(_) | Event::Leader(..) => "claim",
        Event::Spawned(..) | Event::Gone { .. } => "process",
        Event::Started | Event::Killed | Event::Frozen | Event::Thawed | Event::Truncated(..) => "node",
        Event::Fault(_) => "fault",
        Event::Healed => "healed",
        Event::FilesMade(..) | Event::FilesRemoved(..) | Event::Note(_) => "note",
        Event::Memory { bytes, limit, .. } if bytes > limit => "fault",
        // What is visible was durable before; what fits needs no picture.
        Event::Visible(_) | Event::Memory { .. } => return None,
    })
}

fn group_of(event: &Event) -> Option<String> {
    match event {
        Event::Frame { watcher, .. } => Some(format!("frames of {watcher}")),
        Event::Durable(record) if record.topic == Topic::Progress => {
            let update = ProgressRecord::read(&record.value).ok()?;
            update.kind.is_none_or(|kind| kind == Kind::Line).then(|| format!("lines of {}", update.task_id))
        }
        _ => None,
    }
}

const fn number(node: Node) -> u8 {
    match node {
        Node::Api(n) | Node::Worker(n) | Node::Machine(n) | Node::Broker(n) | Node::Client(n) => n,
        Node::World => 0,
    }
}
