//! What the hub shows of what agents say of their work, and for how long.
#![allow(clippy::unwrap_used)]

use baton_core::hub::{Format, Hub, HubConfig, Input, ListQuery, Read, Stretch};
use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Delivered, Topic, Values};
use baton_core::record::{Kind, ProgressRecord};
use baton_core::time::{Instant, Now, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

struct World {
    hub: Hub,
    offset: u64,
    now: Now,
}

impl World {
    fn new(history_memory: usize) -> Self {
        let now = Now { mono: Instant::from_start(Duration::ZERO), wall: Timestamp::from_millis(0) };
        let mut world = Self { hub: Hub::new(HubConfig { history_memory, ..HubConfig::default() }), offset: 0, now };
        for topic in [Topic::Tasks, Topic::Progress, Topic::Control] {
            world.hub.handle(Input::CaughtUp(topic), now);
        }
        world
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono + time, wall: self.now.wall.plus(time) };
        self.hub.handle(Input::Timeout, self.now);
    }

    fn record(&mut self, topic: Topic, id: &TaskId, value: Vec<u8>) {
        let key = id.as_str().to_owned().into_bytes().into();
        let (base_offset, at, values) = (self.offset, self.now.wall, Values::one(value));
        self.hub.handle(Input::Records(Delivered { topic, partition: 0, base_offset, at, key, values }), self.now);
        while self.hub.poll().is_some() {}
        self.offset += 1;
    }

    fn submit(&mut self, id: &TaskId) {
        let task = format!(r#"{{"task_id": "{id}", "project": "p", "type": "t"}}"#);
        self.record(Topic::Tasks, id, task.into());
    }

    /// An update with what the agent said.
    fn update(&mut self, id: &TaskId, (attempt, seq): (u32, u64), kind: Kind, report: &Value) {
        let record = ProgressRecord {
            report: serde_json::from_value(report.clone()).unwrap(),
            ..ProgressRecord::new(id, UpdateId { attempt, seq }, kind, self.now.wall, "x")
        };
        self.record(Topic::Progress, id, record.write());
    }

    fn shown(&self, id: &TaskId) -> Value {
        serde_json::to_value(self.hub.view(id).unwrap()).unwrap()["report"].clone()
    }

    fn listed(&self) -> Value {
        serde_json::to_value(self.hub.list(&ListQuery::default())).unwrap()["tasks"][0]["report"].clone()
    }

    fn frames(&self, id: &TaskId) -> String {
        let (mut frames, mut after) = (Vec::new(), UpdateId::default());
        while let Read::Stretch(Stretch::Here(segment, first)) = self.hub.read(id, after) {
            frames.extend_from_slice(&segment.frames(Format::Events, first));
            after = segment.last_id().unwrap();
        }
        String::from_utf8(frames).unwrap()
    }
}

#[test]
fn what_an_agent_said_is_shown_for_its_attempt_and_what_it_spent_for_all() {
    let (mut world, id) = (World::new(1 << 20), "abc".parse().unwrap());
    world.submit(&id);
    world.update(&id, (1, 1), Kind::Started, &Value::Null);
    assert!(world.shown(&id).is_null(), "nothing was said");
    let said = json!({"progress": 0.5, "cost_usd": 0.25, "result": {"a": 1}});
    world.update(&id, (1, 2), Kind::Line, &said);
    world.update(&id, (1, 3), Kind::Line, &Value::Null);
    assert_eq!(world.shown(&id), said);
    world.update(&id, (1, 4), Kind::Line, &json!({"progress": 0.6, "cost_usd": 0.25}));
    assert_eq!(world.shown(&id), json!({"progress": 0.6, "cost_usd": 0.25, "result": {"a": 1}}), "it is told once");
    assert_eq!(world.listed(), json!({"progress": 0.6, "cost_usd": 0.25}));
    world.update(&id, (2, 1), Kind::Started, &Value::Null);
    assert_eq!(world.shown(&id), json!({"cost_usd": 0.25}));
    let last = json!({"status": "it is done", "cost_usd": 0.5, "result": "yes"});
    world.update(&id, (2, 2), Kind::Done, &last);
    assert_eq!(world.shown(&id), last);
    let frames = world.frames(&id);
    assert!(
        frames.contains(&format!(r#""report":{said}"#)) && frames.contains(&format!(r#""report":{last}"#)),
        "{frames}"
    );
    assert_eq!(frames.matches("report").count(), 3);
    world.pass(Duration::from_hours(2));
    let frames = world.frames(&id);
    assert!(frames.contains("it is done") && !frames.contains("result"), "its history is over: {frames}");
    assert_eq!(world.shown(&id), last);
}

#[test]
fn results_leave_memory_as_params_do() {
    let mut world = World::new(0);
    let report = json!({"status": "s", "result": "x".repeat(20_000)});
    let ids: Vec<TaskId> = (0..200).map(|number| format!("t{number}").parse().unwrap()).collect();
    for (number, id) in ids.iter().enumerate() {
        // Whichever is read first.
        if number % 2 == 0 {
            world.submit(id);
        }
        world.update(id, (1, 1), Kind::Done, &report);
        world.submit(id);
        world.pass(Duration::from_secs(1));
    }
    assert_eq!((world.shown(&ids[0]), world.shown(&ids[199])), (json!({"status": "s"}), report));
    assert!(world.hub.bytes() < 2 << 20, "{}", world.hub.bytes());
}
