//! The hub: whatever happens to its memory, every watcher reads the same.
#![allow(clippy::unwrap_used)]

use baton_core::hub::{
    Admission, Effect, Format, Gauge, Hub, HubConfig, Input, ListQuery, Read, Recall, Segment, Status, StopAdmission,
    Stretch,
};
use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Delivered, Topic, Values, ValuesBuilder};
use baton_core::problem::Problem;
use baton_core::process::ExitStatus;
use baton_core::record::{ControlRecord, ControlSignal, Kind, ProgressRecord, TaskRecord};
use baton_core::time::{Instant, Now, Timestamp};
use proptest::prelude::*;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

fn id() -> TaskId {
    "abc".parse().unwrap()
}

fn at(seconds: u64) -> Now {
    let since = Duration::from_secs(seconds);
    Now { mono: Instant::from_start(since), wall: Timestamp::from_millis(0).plus(since) }
}

fn task(id: &str, project: &str) -> TaskRecord {
    let text = format!(r#"{{"task_id": "{id}", "project": "{project}", "type": "seed-db"}}"#);
    TaskRecord::read(text.as_bytes()).unwrap()
}

fn status_of(refusal: Result<impl std::fmt::Debug, Problem>) -> u16 {
    refusal.unwrap_err().status
}

/// A hub, and the log behind it.
struct World {
    hub: Hub,
    progress: Vec<Delivered>,
    offset: u64,
    now: u64,
}

impl World {
    fn new(config: HubConfig) -> Self {
        Self { hub: Hub::new(config), progress: Vec::new(), offset: 0, now: 0 }
    }

    fn tell(&mut self, input: Input) {
        self.hub.handle(input, at(self.now));
    }

    fn submit(&mut self) {
        self.tell(Input::Records(self.delivered(Topic::Tasks, Values::one(task("abc", "default").write()))));
    }

    fn caught_up(&mut self) {
        for topic in [Topic::Tasks, Topic::Progress, Topic::Control] {
            self.tell(Input::CaughtUp(topic));
        }
    }

    /// A record under a key of its own.
    fn record(&mut self, topic: Topic, key: &str, value: Vec<u8>) {
        let key = key.to_owned().into_bytes().into();
        self.tell(Input::Records(Delivered { key, ..self.delivered(topic, Values::one(value)) }));
    }

    fn delivered(&self, topic: Topic, values: Values) -> Delivered {
        let key = id().as_str().to_owned().into_bytes().into();
        Delivered { topic, partition: 0, base_offset: self.offset, at: at(self.now).wall, key, values }
    }

    fn updates(&mut self, updates: &[(u32, u64, Kind, &str)]) {
        let (mut values, id) = (ValuesBuilder::default(), id());
        for (attempt, seq, kind, text) in updates {
            let place = UpdateId { attempt: *attempt, seq: *seq };
            let record = ProgressRecord::new(&id, place, *kind, at(self.now).wall, *text).with_exit(match kind {
                Kind::Failed => Some(ExitStatus::Code(3)),
                _ => None,
            });
            values.push_with(|buffer| record.write_to(buffer));
        }
        let delivered = self.delivered(Topic::Progress, values.take());
        self.offset = delivered.end_offset();
        self.progress.push(delivered.clone());
        self.tell(Input::Records(delivered));
    }

    fn stop(&mut self) {
        let record = ControlRecord { task_id: id(), signal: ControlSignal::Stop, force: false, at: None, by: None };
        self.tell(Input::Records(self.delivered(Topic::Control, Values::one(record.write()))));
    }

    /// One read of a watcher, as the API's loop does it: the texts of the frames, or `None` if there is nothing now.
    fn read(&self, after: &mut UpdateId) -> Option<Vec<String>> {
        let (frames, last) = match self.hub.read(&id(), *after) {
            Read::Stretch(Stretch::Here(segment, first)) => (segment.frames(Format::Plain, first), segment.last_id()),
            Read::Stretch(Stretch::OnTheLog(recall)) => {
                let segment = self.rebuilt(&recall);
                (segment.frames(Format::Plain, segment.count_through(*after)), Some(recall.last_id))
            }
            Read::Wait | Read::End | Read::Unknown => return None,
        };
        *after = last.unwrap();
        Some(texts(&frames))
    }

    fn rebuilt(&self, recall: &Recall) -> Segment {
        let range = |d: &&Delivered| {
            let of_partition = d.partition == recall.origin.partition;
            of_partition && d.end_offset() > recall.origin.from && d.base_offset < recall.origin.to
        };
        let kept: Vec<_> = self.progress.iter().filter(range).cloned().collect();
        let kept: Vec<_> = kept.into_iter().filter_map(|d| d.from_offset(recall.origin.from)).collect();
        Hub::rebuild(&id(), recall, &kept, &Gauge::default())
    }

    /// The text of the update at a position, and how many there are.
    fn text_at(&self, position: usize) -> (usize, Option<String>) {
        let (total, place) = self.hub.place_at(&id(), position).unwrap();
        let text = place.map(|place| {
            let mut json = Vec::new();
            let first = position - place.base;
            let appended = match &place.stretch {
                Stretch::Here(segment, _) => segment.append_json(first, 1, usize::MAX, &mut json),
                Stretch::OnTheLog(recall) => self.rebuilt(recall).append_json(first, 1, usize::MAX, &mut json),
            };
            assert_eq!(appended, 1);
            serde_json::from_slice::<serde_json::Value>(&json).unwrap()["update"].as_str().unwrap().to_owned()
        });
        (total, text)
    }

    fn read_all(&self, after: UpdateId) -> Vec<String> {
        let mut after = after;
        std::iter::from_fn(|| self.read(&mut after)).flatten().collect()
    }

    fn status(&self) -> Status {
        self.hub.view(&id()).unwrap().status
    }
}

/// Cuts ready frames of short texts apart.
fn texts(mut frames: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [0x81, length @ 0..=125, rest @ ..] = frames {
        let (text, after) = rest.split_at(usize::from(*length));
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        frames = after;
    }
    assert!(frames.is_empty(), "{frames:?}");
    texts
}

const TINY: usize = 1;

fn config(history_memory: usize) -> HubConfig {
    HubConfig { history_memory, ..HubConfig::default() }
}

#[test]
fn a_task_goes_from_queued_to_its_end() {
    let mut world = World::new(config(1 << 20));
    assert!(!world.hub.ready());
    world.caught_up();
    assert!(world.hub.ready());
    world.submit();
    assert_eq!(world.status(), Status::Queued);
    world.updates(&[(1, 1, Kind::Started, "Starting...")]);
    assert_eq!(world.status(), Status::Running);
    world.stop();
    assert_eq!(world.status(), Status::Stopping);
    world.updates(&[(1, 2, Kind::Line, "one"), (1, 3, Kind::Failed, "FAILED: exit code 3")]);
    let view = world.hub.view(&id()).unwrap();
    assert_eq!((view.status, view.exit_code, view.attempt), (Status::Failed, Some(3), 1));
    assert_eq!(view.last_update.as_deref(), Some("FAILED: exit code 3"));
    assert_eq!(world.read_all(UpdateId::default()), ["Starting...", "one", "FAILED: exit code 3"]);
    assert!(matches!(world.hub.read(&id(), UpdateId { attempt: 1, seq: 3 }), Read::End));
}

#[test]
fn an_agent_that_prints_done_has_printed_a_line() {
    let mut world = World::new(config(1 << 20));
    world.updates(&[(1, 1, Kind::Started, "Starting..."), (1, 2, Kind::Line, "DONE")]);
    assert_eq!(world.status(), Status::Running);
}

#[test]
fn lines_of_a_stale_attempt_and_after_the_end_are_not_shown() {
    let mut world = World::new(config(1 << 20));
    world.updates(&[(1, 1, Kind::Started, "1"), (1, 2, Kind::Line, "a")]);
    world.updates(&[(2, 1, Kind::Started, "2")]);
    world.updates(&[
        (1, 3, Kind::Line, "stale"),
        (2, 2, Kind::Line, "b"),
        (2, 2, Kind::Line, "again"),
        (2, 3, Kind::Done, "DONE"),
    ]);
    world.updates(&[(2, 4, Kind::Line, "late"), (2, 5, Kind::Stopped, "STOPPED"), (3, 1, Kind::Started, "3")]);
    assert_eq!(world.read_all(UpdateId::default()), ["1", "a", "2", "b", "DONE"]);
    assert_eq!(world.read_all(UpdateId { attempt: 1, seq: 2 }), ["2", "b", "DONE"]);
}

#[test]
fn each_attempt_is_remembered_with_its_place_and_its_end() {
    let mut world = World::new(config(1 << 20));
    world.updates(&[(1, 1, Kind::Started, "1"), (1, 2, Kind::Line, "a"), (1, 3, Kind::Retrying, "again in 1 s")]);
    world.updates(&[(2, 1, Kind::Started, "2"), (2, 2, Kind::Line, "b"), (3, 1, Kind::Started, "3")]);
    // What is missing before line 5 is an update too: the word that it is.
    world.updates(&[(3, 5, Kind::Line, "c"), (4, 1, Kind::Started, "4"), (4, 2, Kind::Done, "DONE")]);
    let attempts = world.hub.view(&id()).unwrap().attempts.unwrap();
    let told: Vec<_> = attempts.iter().map(|a| (a.attempt, a.position, a.end.as_deref())).collect();
    assert_eq!(told, [(1, 0, Some("again in 1 s")), (2, 3, None), (3, 5, None), (4, 8, Some("DONE"))]);
    assert!(attempts.iter().all(|a| a.ended_at.is_some() == a.end.is_some()));
    assert_eq!(world.text_at(8), (10, Some("4".into())));
}

#[test]
fn totals_are_those_of_the_tasks_however_they_came() {
    let mut world = World::new(config(1 << 20));
    world.updates(&[(1, 1, Kind::Started, "an update before its task")]);
    world.submit();
    for (task_id, project) in [("b", "other"), ("c", "default"), ("d", "default")] {
        world.record(Topic::Tasks, task_id, task(task_id, project).write());
    }
    let of = |world: &World, query: &str| {
        let page = world.hub.list(&ListQuery::read(query.split('&').filter_map(|f| f.split_once('='))).unwrap());
        let counts = page.overview.totals.iter().filter(|(_, count)| **count != 0);
        let counts: Vec<_> = counts.map(|(status, count)| format!("{count} {status}")).collect();
        (counts.join(", "), page.overview.projects.join(", "), page.tasks.len())
    };
    assert_eq!(of(&world, ""), ("3 queued, 1 running".into(), "default, other".into(), 4));
    assert_eq!(of(&world, "project=default"), ("2 queued, 1 running".into(), "default, other".into(), 3));
    world.stop();
    assert_eq!(of(&world, "status=stopping"), ("3 queued, 1 stopping".into(), "default, other".into(), 1));
    world.updates(&[(1, 2, Kind::Stopped, "STOPPED")]);
    assert_eq!(of(&world, "q=sToPp"), ("3 queued, 1 stopped".into(), "default, other".into(), 1));
    world.now = 8 * 24 * 3600;
    world.tell(Input::Timeout);
    assert_eq!(of(&world, ""), (String::new(), String::new(), 0));
}

#[test]
fn what_is_missing_is_said() {
    let mut world = World::new(config(1 << 20));
    world.updates(&[(1, 7, Kind::Line, "g"), (1, 8, Kind::Line, "h"), (1, 11, Kind::Done, "DONE")]);
    let gone = "[earlier updates are gone]";
    assert_eq!(world.read_all(UpdateId::default()), [gone, "g", "h", gone, "DONE"]);
}

#[test]
fn history_goes_an_hour_after_the_end_and_says_so() {
    let mut world = World::new(config(1 << 20));
    world.submit();
    world.updates(&[(1, 1, Kind::Started, "Starting..."), (1, 2, Kind::Line, "a"), (1, 3, Kind::Done, "DONE")]);
    let due = world.hub.deadline().unwrap();
    assert_eq!(due, at(0).mono + HOUR);
    world.now = 3599;
    world.tell(Input::Timeout);
    assert_eq!(world.read_all(UpdateId::default()), ["Starting...", "a", "DONE"]);
    world.now = 3600;
    world.tell(Input::Timeout);
    assert_eq!(world.read_all(UpdateId::default()), ["[earlier updates are gone]", "DONE"]);
    assert_eq!(world.read_all(UpdateId { attempt: 1, seq: 2 }), ["DONE"]);
    assert_eq!(world.status(), Status::Done);
    assert_eq!(world.hub.list(&ListQuery::default()).tasks.len(), 1);
    world.now = 7 * 24 * 3600;
    world.tell(Input::Timeout);
    assert!(world.hub.view(&id()).is_none());
    assert_eq!((world.hub.bytes(), world.hub.deadline()), (0, None));
}

#[test]
fn a_record_that_can_not_be_read_is_told_with_its_place() {
    let mut world = World::new(config(1 << 20));
    let mut delivered = world.delivered(Topic::Progress, Values::one(&b"{"[..]));
    delivered.base_offset = 41;
    world.tell(Input::Records(delivered));
    let Some(Effect::Unreadable { topic, partition, offset, .. }) = world.hub.poll() else { panic!("no effect") };
    assert_eq!((topic, partition, offset), (Topic::Progress, 0, 41));
}

#[test]
fn frames_are_what_rfc_6455_says() {
    let mut world = World::new(config(1 << 20));
    let (long, longer) = ("x".repeat(126), "y".repeat(65_536));
    world.updates(&[(1, 1, Kind::Started, "hi"), (1, 2, Kind::Line, &long), (1, 3, Kind::Line, &longer)]);
    let Read::Stretch(Stretch::Here(segment, 0)) = world.hub.read(&id(), UpdateId::default()) else { panic!() };
    let expected = [
        &b"\x81\x02hi\x81\x7e\x00\x7e"[..],
        long.as_bytes(),
        b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
        longer.as_bytes(),
    ];
    assert_eq!(segment.frames(Format::Plain, 0), expected.concat());
    let json = segment.frames(Format::Json, 0);
    let first = r#"{"id":"1-1","attempt":1,"seq":1,"kind":"started","update":"hi","at":"1970-01-01T00:00:00.000Z"}"#;
    assert_eq!(&json[..2 + first.len()], [&[0x81, u8::try_from(first.len()).unwrap()], first.as_bytes()].concat());
    let events = segment.frames(Format::Events, 0);
    assert!(events.starts_with(format!("id: 1-1\nevent: started\ndata: {first}\n\nid: 1-2\n").as_bytes()));
}

#[test]
fn a_trickle_of_lines_weighs_no_more_than_a_burst() {
    let mut trickle = World::new(config(1 << 30));
    let mut burst = World::new(config(1 << 30));
    let lines: Vec<_> = (1..=4000).map(|seq| (1, seq, Kind::Line, "a line of a modest length")).collect();
    burst.updates(&lines);
    for line in &lines {
        trickle.updates(&[*line]);
    }
    assert!(trickle.hub.bytes() < burst.hub.bytes() * 3 / 2, "{} {}", trickle.hub.bytes(), burst.hub.bytes());
}

#[test]
fn memory_is_held_to_its_budget() {
    let mut world = World::new(config(64 * 1024));
    for seq in 1..=20_000 {
        world.updates(&[(1, seq, Kind::Line, "a line of a modest length")]);
        assert!(world.hub.gauge().bytes() <= 64 * 1024);
    }
    assert_eq!(world.read_all(UpdateId::default()).len(), 20_000);
}

proptest! {
    /// However updates come in batches, whatever leaves memory, and whenever a watcher comes and reads: it reads all
    /// that counts, once, in order.
    #[test]
    fn every_cursor_reads_the_same_sequence(
        batches in prop::collection::vec((1usize..8, any::<bool>(), prop::collection::vec(0usize..4, 0..3)), 1..40),
        tiny in any::<bool>(),
    ) {
        let mut world = World::new(config(if tiny { TINY } else { 1 << 20 }));
        let (mut attempt, mut seq) = (1, 0);
        let mut expected = Vec::new();
        let mut watchers: Vec<(UpdateId, Vec<String>)> = vec![(UpdateId::default(), Vec::new()); 4];
        for (size, next_attempt, readers) in batches {
            if next_attempt && seq > 0 {
                (attempt, seq) = (attempt + 1, 0);
            }
            let texts: Vec<_> = (0..size).map(|i| format!("{attempt}-{}", seq + 1 + i as u64)).collect();
            let updates: Vec<_> = texts.iter().enumerate().map(|(i, t)| (attempt, seq + 1 + i as u64, Kind::Line, t.as_str())).collect();
            world.updates(&updates);
            seq += size as u64;
            expected.extend(texts);
            for reader in readers {
                let (after, read) = &mut watchers[reader];
                read.extend(world.read(after).into_iter().flatten());
            }
        }
        for (after, mut read) in watchers {
            read.extend(world.read_all(after));
            prop_assert_eq!(&read, &expected);
        }
        for (position, text) in expected.iter().enumerate() {
            prop_assert_eq!(world.text_at(position), (expected.len(), Some(text.clone())));
        }
        prop_assert_eq!(world.text_at(expected.len()), (expected.len(), None));
        let middle: UpdateId = expected[expected.len() / 2].parse().unwrap();
        prop_assert_eq!(&world.read_all(middle)[..], &expected[expected.len() / 2 + 1..]);
    }
}

#[test]
fn numbers_that_no_worker_would_write_do_no_harm() {
    let mut world = World::new(config(1 << 20));
    world.updates(&[(1, u64::MAX, Kind::Line, "a"), (1, 0, Kind::Line, "b"), (u32::MAX, u64::MAX, Kind::Line, "c")]);
    world.updates(&[(u32::MAX, 0, Kind::Line, "d"), (0, 1, Kind::Line, "e")]);
    let seen = world.read_all(UpdateId::default());
    assert_eq!(seen.iter().filter(|text| text.len() == 1).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn a_new_task_waits_until_all_topics_have_been_read() {
    let mut world = World::new(config(1 << 20));
    world.submit();
    for topic in [Topic::Tasks, Topic::Progress, Topic::Control] {
        assert_eq!(status_of(world.hub.admit(&task("new", "default"))), 503, "before {topic}");
        assert_eq!(world.hub.admit(&task("abc", "default")), Ok(Admission::Known));
        world.tell(Input::CaughtUp(topic));
    }
    assert_eq!(world.hub.admit(&task("new", "default")), Ok(Admission::Append));
}

#[test]
fn the_first_record_of_an_id_is_the_task() {
    let mut world = World::new(config(1 << 20));
    world.caught_up();
    world.submit();
    world.record(Topic::Tasks, "abc", task("abc", "another").write());
    assert_eq!(world.hub.view(&id()).unwrap().project.as_deref(), Some("default"));
    assert_eq!(world.hub.admit(&task("abc", "default")), Ok(Admission::Known));
    assert_eq!(status_of(world.hub.admit(&task("abc", "another"))), 409);
    assert_eq!(world.hub.list(&ListQuery::default()).tasks.len(), 1);
}

#[test]
fn no_more_tasks_wait_than_may() {
    let mut world = World::new(HubConfig { max_queued: 3, ..config(1 << 20) });
    world.caught_up();
    let submit = |world: &mut World, id: &str| -> Result<(), Problem> {
        world.hub.admit(&task(id, "default"))?;
        world.record(Topic::Tasks, id, task(id, "default").write());
        Ok(())
    };
    for id in ["abc", "b", "c"] {
        submit(&mut world, id).unwrap();
    }
    let refused = submit(&mut world, "d").unwrap_err();
    assert_eq!((refused.status, refused.detail.as_str()), (429, "3 tasks are waiting, as many as may"));
    assert!(refused.retry_after.is_some());
    world.updates(&[(1, 1, Kind::Started, "Starting...")]);
    world.updates(&[(1, 2, Kind::Line, "it waits no more, and is counted down once")]);
    submit(&mut world, "d").unwrap();
    assert_eq!(status_of(submit(&mut world, "e")), 429);
    let b: TaskId = "b".parse().unwrap();
    let stopped = ProgressRecord::new(&b, UpdateId { attempt: 0, seq: 1 }, Kind::Stopped, at(0).wall, "STOPPED");
    world.record(Topic::Progress, "b", stopped.write());
    submit(&mut world, "e").unwrap();
    assert_eq!(status_of(submit(&mut world, "f")), 429);
    world.now = 7 * 24 * 3600;
    world.tell(Input::Timeout);
    submit(&mut world, "f").unwrap();
}

#[test]
fn a_stop_is_for_tasks_that_are_known_and_have_not_ended() {
    let mut world = World::new(config(1 << 20));
    assert_eq!(status_of(world.hub.admit_stop(&id(), false)), 503, "it may be further on in the log");
    for topic in [Topic::Tasks, Topic::Progress, Topic::Control] {
        world.tell(Input::CaughtUp(topic));
    }
    assert_eq!(status_of(world.hub.admit_stop(&id(), false)), 404);
    world.submit();
    assert_eq!(world.hub.admit_stop(&id(), false), Ok(StopAdmission::Append));
    world.stop();
    assert_eq!(world.hub.admit_stop(&id(), false), Ok(StopAdmission::Known));
    assert_eq!(world.hub.admit_stop(&id(), true), Ok(StopAdmission::Append), "it asks for more");
    world.updates(&[(0, 1, Kind::Stopped, "STOPPED")]);
    assert_eq!(status_of(world.hub.admit_stop(&id(), false)), 409);
}

#[test]
fn records_under_anothers_key_are_skipped_and_told() {
    let mut world = World::new(config(TINY));
    let line = |seq| {
        ProgressRecord::new(&id(), UpdateId { attempt: 1, seq }, Kind::Line, at(0).wall, format!("line {seq}")).write()
    };
    for (topic, value) in [(Topic::Tasks, task("abc", "default").write()), (Topic::Progress, line(1))] {
        world.record(topic, "another", value);
        assert!(matches!(world.hub.poll(), Some(Effect::Unreadable { .. })), "{topic}");
    }
    assert!(world.hub.view(&id()).is_none());
    world.updates(&[(1, 1, Kind::Line, "line 1")]);
    let Read::Stretch(Stretch::OnTheLog(recall)) = world.hub.read(&id(), UpdateId::default()) else { panic!() };
    let forged = Delivered { key: "another".into(), ..world.delivered(Topic::Progress, Values::one(line(1))) };
    let segment = Hub::rebuild(&id(), &recall, &[forged], &Gauge::default());
    assert_eq!(texts(&segment.frames(Format::Plain, 0)), ["[earlier updates are gone]"]);
}

#[test]
fn what_the_log_no_longer_has_is_said_to_be_gone() {
    let mut world = World::new(config(TINY));
    world.updates(&[(1, 1, Kind::Started, "Starting..."), (1, 2, Kind::Line, "a")]);
    world.progress.clear();
    assert_eq!(world.read_all(UpdateId::default()), ["[earlier updates are gone]"]);
}

#[test]
fn a_task_is_forgotten_its_retention_after_its_last_update_and_no_timer_comes_before() {
    const DAY: u64 = 24 * 3600;
    let mut world = World::new(config(1 << 20));
    world.caught_up();
    world.submit();
    world.now = DAY;
    world.updates(&[(1, 1, Kind::Started, "Starting..."), (1, 2, Kind::Done, "DONE")]);
    let mut deadlines = Vec::new();
    while let Some(due) = world.hub.deadline() {
        world.now = due.since_start().as_secs();
        assert!(deadlines.last() < Some(&world.now), "{deadlines:?}");
        deadlines.push(world.now);
        world.tell(Input::Timeout);
    }
    assert_eq!(deadlines, [DAY + 3600, 8 * DAY]);
    assert_eq!(world.hub.admit(&task("abc", "another")), Ok(Admission::Append), "its key stands for a new task");
}

#[test]
fn an_update_that_claims_to_come_before_the_first_is_dropped() {
    let mut world = World::new(config(1 << 20));
    world.updates(&[(1, 1, Kind::Started, "1")]);
    for attempt in [2, 5] {
        let value = format!(r#"{{"task_id":"abc","update":"x","attempt":{attempt},"seq":0}}"#);
        world.record(Topic::Progress, "abc", value.into_bytes());
    }
    world.updates(&[(2, 1, Kind::Started, "2")]);
    assert_eq!(world.read_all(UpdateId::default()), ["1", "2"]);
}

#[test]
fn the_end_counts_after_an_attempt_that_someone_made_up() {
    let mut world = World::new(config(1 << 20));
    world.updates(&[(1, 1, Kind::Started, "Starting..."), (u32::MAX, 1, Kind::Line, "x"), (1, 2, Kind::Done, "DONE")]);
    assert_eq!(world.status(), Status::Done);
    assert_eq!(world.read_all(UpdateId { attempt: u32::MAX, seq: 1 }), ["DONE"]);
}

#[test]
fn updates_without_a_key_are_read_back_from_the_partitions_that_they_are_in() {
    let mut world = World::new(config(TINY));
    for (partition, base_offset, seq) in [(0, 100, 1), (1, 7, 2), (0, 101, 3)] {
        let (id, place) = (id(), UpdateId { attempt: 1, seq });
        let line = ProgressRecord::new(&id, place, Kind::Line, at(0).wall, seq.to_string());
        let values = Values::one(line.write());
        let key = bytes::Bytes::new();
        let delivered = Delivered { partition, base_offset, key, ..world.delivered(Topic::Progress, values) };
        world.progress.push(delivered.clone());
        world.tell(Input::Records(delivered));
    }
    assert_eq!(world.read_all(UpdateId::default()), ["1", "2", "3"]);
}

#[test]
fn what_is_read_back_of_a_rare_line_is_not_the_whole_partition() {
    let mut world = World::new(config(8192));
    for seq in 1..=1024 {
        world.updates(&[(1, seq, Kind::Line, "a line among a million others")]);
        world.offset += 1_000_000;
    }
    let (mut after, mut scanned) = (UpdateId::default(), Vec::new());
    while let Read::Stretch(Stretch::OnTheLog(recall)) = world.hub.read(&id(), after) {
        scanned.push(recall.origin.to - recall.origin.from);
        after = recall.last_id;
    }
    assert!(scanned.len() > 900 && scanned.iter().all(|records| *records <= 64 * 1024), "{scanned:?}");
}

#[test]
fn what_was_skipped_at_the_end_of_an_attempt_is_said_when_the_next_begins() {
    for (skipped, budget) in [(true, 1 << 20), (true, TINY), (false, 1 << 20), (false, TINY)] {
        let mut world = World::new(config(budget));
        world.updates(&[(1, 1, Kind::Started, "Starting...")]);
        if skipped {
            world.tell(Input::Skipped(Topic::Progress, 3));
            world.tell(Input::Skipped(Topic::Tasks, 0));
            world.tell(Input::Skipped(Topic::Progress, 0));
        }
        world.updates(&[(2, 1, Kind::Started, "Starting... (attempt 2)")]);
        world.updates(&[(2, 2, Kind::Done, "DONE")]);
        let gone: &[&str] = if skipped { &["[earlier updates are gone]"] } else { &[] };
        let expected = [&["Starting..."], gone, &["Starting... (attempt 2)", "DONE"]].concat();
        assert_eq!(world.read_all(UpdateId::default()), expected, "skipped: {skipped}, budget: {budget}");
    }
}

#[test]
fn nothing_is_said_to_be_gone_where_the_numbers_show_that_nothing_is() {
    let mut world = World::new(config(1 << 20));
    world.updates(&[(1, 1, Kind::Started, "Starting...")]);
    world.tell(Input::Skipped(Topic::Progress, 0));
    world.updates(&[(1, 2, Kind::Line, "one"), (2, 1, Kind::Started, "Starting... (attempt 2)")]);
    assert_eq!(world.read_all(UpdateId::default()), ["Starting...", "one", "Starting... (attempt 2)"]);
}

#[test]
fn an_end_without_a_number_is_the_same_where_what_came_before_is_gone() {
    let mut world = World::new(config(1 << 20));
    world.updates(&[(1, 1, Kind::Started, "Starting..."), (1, 2, Kind::Line, "one"), (1, 0, Kind::Stopped, "STOPPED")]);
    assert_eq!(world.read_all(UpdateId::default()), ["Starting...", "one", "STOPPED"]);
    let mut replica = World::new(config(1 << 20));
    replica.updates(&[(1, 0, Kind::Stopped, "STOPPED")]);
    assert_eq!(replica.read_all(UpdateId { attempt: 1, seq: 2 }), ["STOPPED"], "whoever has read all but the end");
    for world in [&world, &replica] {
        assert!(matches!(world.hub.read(&id(), UpdateId { attempt: 1, seq: UpdateId::LAST_SEQ }), Read::End));
    }
}

#[test]
fn what_is_read_back_without_its_beginning_says_so() {
    let mut world = World::new(config(TINY));
    world.updates(&[(1, 1, Kind::Started, "Starting..."), (1, 2, Kind::Line, "one")]);
    world.updates(&[
        (1, 3, Kind::Line, "two"),
        (2, 1, Kind::Started, "Starting... (attempt 2)"),
        (2, 2, Kind::Done, "DONE"),
    ]);
    let Read::Stretch(Stretch::OnTheLog(recall)) = world.hub.read(&id(), UpdateId { attempt: 1, seq: 2 }) else {
        panic!("it is in memory")
    };
    let from = recall.origin.to - 2;
    let kept: Vec<_> = world.progress.iter().cloned().filter_map(|delivered| delivered.from_offset(from)).collect();
    let rebuilt = Hub::rebuild(&id(), &recall, &kept, &Gauge::default());
    let expected = ["[earlier updates are gone]", "Starting... (attempt 2)", "DONE"];
    assert_eq!(texts(&rebuilt.frames(Format::Plain, 0)), expected);
}
