//! Reads histories: a line is the time, the node and what happened there, in the words of [`event`] and [`Teller::record`].

use baton_core::id::{TaskId, UpdateId};
use baton_core::ledger::Ledger;
use baton_core::log::Topic;
use baton_core::process::ExitStatus;
use baton_core::record::{ControlRecord, ControlSignal, DeadLetter, Kind, ProgressRecord, TaskRecord};
use baton_core::time::Timestamp;
use baton_sim::event::{Entry, Event, Logged, Node};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads histories.
#[derive(Default)]
pub struct Teller {
    next: BTreeMap<Topic, u64>,
    durable: BTreeMap<String, Logged>,
}

impl Teller {
    /// What a line tells.
    pub fn entries(&mut self, line: &str) -> Vec<Entry> {
        let (at, rest) = line.split_once(' ').unwrap();
        let (node, words) = rest.trim_start().split_once(' ').unwrap();
        let at = match at.strip_suffix("ms") {
            Some(ms) => Duration::from_millis(ms.parse().unwrap()),
            None => Duration::from_secs(at.strip_suffix('s').unwrap().parse().unwrap()),
        };
        let (kind, number) = node.split_once('-').unwrap_or((node, "0"));
        let number = number.parse().unwrap();
        let node = match kind {
            "world" => Node::World,
            "api" => Node::Api(number),
            "worker" => Node::Worker(number),
            "machine" => Node::Machine(number),
            "broker" => Node::Broker(number),
            "client" => Node::Client(number),
            _ => panic!("no node: {line}"),
        };
        let events = self.events(words.trim_start());
        events.into_iter().map(|event| Entry { at, node, event }).collect()
    }

    /// Records are durable and visible at once, unless the line says `durable` or `visible` before the record.
    fn events(&mut self, words: &str) -> Vec<Event> {
        if let Some(record) = words.strip_prefix("durable ") {
            let record = self.record(record).unwrap();
            return vec![Event::Durable(record)];
        }
        if let Some(words) = words.strip_prefix("visible ") {
            let known = self.durable.get(words).cloned();
            return vec![Event::Visible(known.or_else(|| self.record(words)).unwrap())];
        }
        match self.record(words) {
            Some(record) => vec![Event::Durable(record.clone()), Event::Visible(record)],
            None => vec![event(words)],
        }
    }

    fn record(&mut self, words: &str) -> Option<Logged> {
        let mut rest = words.split(' ');
        let mut word = || rest.next().unwrap();
        let (topic, key, value) = match word() {
            "task" => {
                let (id, _) = (word(), word());
                let max_attempts = words.split_once(" max ").map(|(_, n)| n.parse().unwrap());
                (Topic::Tasks, id.to_owned(), task(id, max_attempts).write())
            }
            "garbage" => (Topic::Tasks, String::new(), b"{".to_vec()),
            "update" => {
                let (id, place, kind) = (word(), word(), word());
                let text = rest.collect::<Vec<_>>().join(" ");
                (Topic::Progress, id.to_owned(), update(id, place, kind, &text))
            }
            "control" => {
                let id = word();
                let record = ControlRecord {
                    task_id: id.parse().unwrap(),
                    signal: ControlSignal::Stop,
                    force: false,
                    at: None,
                    by: None,
                };
                (Topic::Control, id.to_owned(), record.write())
            }
            "letter" => {
                let id = word();
                (Topic::DeadLetters, id.to_owned(), letter(id).write())
            }
            _ => return None,
        };
        let next = self.next.entry(topic).or_default();
        let offset = match (topic, words.split(' ').find_map(|word| word.parse().ok())) {
            (Topic::Tasks, Some(offset)) => offset,
            _ => *next,
        };
        *next = offset + 1;
        let at = Timestamp::default();
        let record = Logged { topic, partition: 0, offset, at, key: key.into(), value: value.into() };
        self.durable.insert(words.to_owned(), record.clone());
        Some(record)
    }
}

fn task(id: &str, max_attempts: Option<u32>) -> TaskRecord {
    TaskRecord {
        task_id: id.parse().unwrap(),
        project: "default".into(),
        kind: "seed-db".into(),
        command: None,
        params: serde_json::Map::default(),
        submitted_at: None,
        timeout_s: None,
        max_cost_usd: None,
        queue_timeout_s: None,
        silence_timeout_s: None,
        total_timeout_s: None,
        grace_s: None,
        max_attempts,
        idempotency_key: None,
        traceparent: None,
        redriven_from: None,
    }
}

/// The place `-` is that of a foreign producer, who knows no numbers.
fn update(id: &str, place: &str, kind: &str, text: &str) -> Vec<u8> {
    let id: TaskId = id.parse().unwrap();
    let kinds = [Kind::Started, Kind::Line, Kind::Done, Kind::Stopped, Kind::Failed, Kind::Retrying];
    let kind = kinds.into_iter().find(|k| k.name() == kind).unwrap();
    let known = place.parse::<UpdateId>();
    let mut record = ProgressRecord::new(&id, known.clone().unwrap_or_default(), kind, Timestamp::default(), text);
    if known.is_err() {
        record.attempt = None;
    }
    record.write()
}

fn letter(of: &str) -> DeadLetter {
    let task_id: Option<TaskId> = of.parse().ok();
    DeadLetter {
        task: task_id.as_ref().map(|id| task(id.as_str(), None)),
        unreadable: task_id.is_none().then(|| "{".to_owned()),
        task_id,
        reason: format!("{of} can't be read"),
        attempts: 1,
        tally: None,
        last_lines: Vec::new(),
        earlier: Vec::new(),
        at: Timestamp::default(),
    }
}

fn event(words: &str) -> Event {
    let parts: Vec<&str> = words.split(' ').collect();
    let task = |i: usize| parts[i].parse::<TaskId>().unwrap();
    let number = |i: usize| parts[i].parse::<u32>().unwrap();
    match parts[0] {
        "post" => Event::Submitting { request: number(1), key: parts.get(3).map(|key| (*key).to_owned()) },
        "accepted" => Event::Submitted { request: number(1), answer: Ok(task(2)) },
        "refused" => Event::Submitted { request: number(1), answer: Err(503) },
        "stop" => Event::Stopping(task(1)),
        "stop-answered" => Event::StopAnswered(task(1), 202),
        "watching" => Event::Watching {
            watcher: number(1),
            task: task(2),
            after: parts.get(4).map(|id| id.parse().unwrap()).unwrap_or_default(),
            api: 0,
        },
        "frame" => Event::Frame {
            watcher: number(1),
            id: parts[2].parse().unwrap(),
            kind: parts[3].to_owned(),
            update: parts[4..].join(" "),
        },
        "closed" => Event::Unwatched { watcher: number(1), code: parts[2].parse().unwrap() },
        "truncated" => Event::Truncated(Topic::Progress, 0, parts[1].parse().unwrap()),
        "ledger" => ledger(&parts),
        "heard" => Event::Heard { task: task(1), force: parts.get(2) == Some(&"force") },
        "claimed" => Event::Claimed(number(1), 1),
        "files-made" => Event::FilesMade(task(1), number(2)),
        "files-removed" => Event::FilesRemoved(task(1), number(2)),
        "frozen" => Event::Frozen,
        "thawed" => Event::Thawed,
        "denied" => Event::Denied { task: task(1), api: 0, asked: Duration::from_secs(number(2).into()) },
        "spawned" => Event::Spawned(task(1), number(2)),
        "gone" => Event::Gone {
            task: task(1),
            attempt: number(2),
            status: match parts[3] {
                "code" => ExitStatus::Code(parts[4].parse().unwrap()),
                _ => ExitStatus::Signal(parts[4].parse().unwrap()),
            },
            by_itself: parts[3] == "code",
        },
        "memory" => Event::Memory { of: "history", bytes: parts[1].parse().unwrap(), limit: parts[2].parse().unwrap() },
        "killed" => Event::Killed,
        "started" => Event::Started,
        "fault" => Event::Fault(parts[1..].join(" ")),
        "healed" => Event::Healed,
        _ => panic!("no verb: {words}"),
    }
}

/// `ledger WATERMARK [begun OFFSET:BEGUN[/RETURNED],...] [ended OFFSET,...] [raw METADATA]`
fn ledger(parts: &[&str]) -> Event {
    let offset = parts[1].parse().unwrap();
    let after = |word: &str| {
        let at = parts.iter().position(|part| *part == word)?;
        Some(parts[at + 1].split(',').collect::<Vec<_>>())
    };
    let mut ledger = Ledger::read(offset, "").unwrap();
    for entry in after("begun").unwrap_or_default() {
        let (offset, counts) = entry.split_once(':').unwrap();
        let (begun, returned) = counts.split_once('/').unwrap_or((counts, "0"));
        let offset = offset.parse().unwrap();
        (0..begun.parse().unwrap()).for_each(|_| _ = ledger.begin(offset, None));
        (0..returned.parse().unwrap()).for_each(|_| ledger.hand_back(offset));
    }
    for offset in after("ended").unwrap_or_default() {
        ledger.end(offset.parse().unwrap());
    }
    let raw = after("raw").map(|raw| raw.join(","));
    Event::Ledger { partition: 0, offset, metadata: raw.unwrap_or_else(|| ledger.write()) }
}
