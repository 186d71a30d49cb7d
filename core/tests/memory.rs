//! The memory of the hub: whatever is submitted, it stays within its budget, and says so to those whom it can't serve.
#![allow(clippy::unwrap_used)]

use baton_core::hub::{Admission, Hub, HubConfig, Input, ListQuery, Read, Stretch, TaskView};
use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Delivered, Topic, Values};
use baton_core::problem::Problem;
use baton_core::record::{Kind, ProgressRecord, TaskRecord};
use baton_core::submit::read_submission;
use baton_core::time::{Instant, Now, Timestamp};
use baton_core::types::TaskTypes;
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

/// Half of it is for tasks, the least that there is for them.
const BUDGET: usize = 2 << 20;
const DAY: u64 = 24 * 3600;

struct World {
    hub: Hub,
    offset: u64,
    seconds: u64,
}

impl World {
    /// A hub that is still reading the log.
    fn starting(config: HubConfig) -> Self {
        Self { hub: Hub::new(config), offset: 0, seconds: 0 }
    }

    fn new() -> Self {
        let mut world = Self::starting(HubConfig { history_memory: BUDGET, ..HubConfig::default() });
        world.caught_up();
        world
    }

    fn caught_up(&mut self) {
        for topic in [Topic::Tasks, Topic::Progress, Topic::Control] {
            self.tell(Input::CaughtUp(topic));
        }
    }

    fn now(&self) -> Now {
        let since = Duration::from_secs(self.seconds);
        Now { mono: Instant::from_start(since), wall: Timestamp::from_millis(0).plus(since) }
    }

    fn tell(&mut self, input: Input) {
        self.hub.handle(input, self.now());
        while self.hub.poll().is_some() {}
    }

    fn append(&mut self, topic: Topic, key: &str, value: Vec<u8>) {
        let key = key.to_owned().into_bytes().into();
        let (base_offset, at) = (self.offset, self.now().wall);
        self.offset += 1;
        self.tell(Input::Records(Delivered { topic, partition: 0, base_offset, at, key, values: Values::one(value) }));
    }

    /// Submits a task if it is admitted.
    fn submit(&mut self, id: &str, input: &str) -> Result<Admission, Problem> {
        let record = task(id, input);
        let admission = self.hub.admit(&record)?;
        self.append(Topic::Tasks, id, record.write());
        Ok(admission)
    }

    fn update(&mut self, name: &str, seq: u64, kind: Kind, text: &str) {
        let id = name.parse().unwrap();
        let place = UpdateId { attempt: 1, seq };
        let value = ProgressRecord::new(&id, place, kind, self.now().wall, text).write();
        self.append(Topic::Progress, name, value);
    }

    fn view(&self, id: &str) -> Option<TaskView> {
        self.hub.view(&id.parse().unwrap())
    }

    fn has_params(&self, id: &str) -> bool {
        self.view(id).unwrap().params.is_some()
    }
}

fn task(id: &str, input: &str) -> TaskRecord {
    let value = json!({"task_id": id, "project": "p", "type": "agent", "command": "run", "params": {"input": input}});
    TaskRecord::read(value.to_string().as_bytes()).unwrap()
}

fn large() -> String {
    "x".repeat(100_000)
}

#[test]
fn open_tasks_that_fill_the_memory_are_the_last_ones_taken() {
    let mut world = World::new();
    let refused = (0..100).find_map(|n| world.submit(&format!("t{n}"), &large()).err()).unwrap();
    assert_eq!((refused.status, refused.retry_after), (429, Some(Duration::from_secs(5))));
    assert!(refused.detail.starts_with("the tasks that wait or run take 11"), "{}", refused.detail);
    assert!(world.hub.bytes() < BUDGET, "{}", world.hub.bytes());
    assert!((0..11).all(|n| world.has_params(&format!("t{n}"))), "who has not ended keeps all");
    world.update("t0", 1, Kind::Done, "DONE");
    assert_eq!(world.submit("next", &large()), Ok(Admission::Append));
    assert!(!world.has_params("t0"));
}

#[test]
fn tasks_that_have_ended_give_up_their_params_and_the_oldest_first() {
    let mut world = World::new();
    for n in 0..30 {
        world.seconds += 1;
        let id = format!("t{n}");
        world.submit(&id, &large()).unwrap();
        world.update(&id, 1, Kind::Done, "DONE");
    }
    let without: Vec<u32> = (0..30).filter(|n| !world.has_params(&format!("t{n}"))).collect();
    assert_eq!(without, (0..20).collect::<Vec<_>>(), "ten of these fit");
    let view = world.view("t0").unwrap();
    assert_eq!(
        (view.project.as_deref(), view.kind.as_deref(), view.command.as_deref()),
        (Some("p"), Some("agent"), Some("run"))
    );
    assert_eq!(world.view("t29").unwrap().params, Some(task("t29", &large()).params));
    assert!(serde_json::to_value(&view).unwrap().get("params").is_none());
}

#[test]
fn a_task_without_its_params_still_knows_what_it_was_asked() {
    let mut world = World::new();
    for n in 0..30 {
        world.seconds += 1;
        let id = format!("t{n}");
        world.submit(&id, &large()).unwrap();
        world.update(&id, 1, Kind::Done, "DONE");
    }
    for id in ["t0", "t29"] {
        assert_eq!(world.hub.admit(&task(id, &large())), Ok(Admission::Known), "{id}");
        assert_eq!(world.hub.admit(&task(id, "other")).unwrap_err().status, 409, "{id}");
    }
}

#[test]
fn params_in_another_order_are_the_same_ones() {
    let read = |params: &str| {
        let text = format!(r#"{{"task_id":"a","project":"p","type":"t","params":{params}}}"#);
        TaskRecord::read(text.as_bytes()).unwrap().submission()
    };
    assert_eq!(read(r#"{"a": {"x": 1, "y": 2}, "b": [1, 2]}"#), read(r#"{"b": [1, 2], "a": {"y": 2, "x": 1}}"#));
    assert_ne!(read(r#"{"b": [1, 2]}"#), read(r#"{"b": [2, 1]}"#));
    let asked = task("a", "x");
    for other in [
        TaskRecord { project: "q".into(), ..asked.clone() },
        TaskRecord { kind: "q".into(), ..asked.clone() },
        TaskRecord { command: None, ..asked.clone() },
        TaskRecord { timeout_s: Some(9), ..asked.clone() },
        TaskRecord { max_attempts: Some(9), ..asked.clone() },
        TaskRecord { params: serde_json::Map::new(), ..asked.clone() },
    ] {
        assert_ne!(other.submission(), asked.submission(), "{other:?}");
    }
    let again = TaskRecord {
        task_id: "b".parse().unwrap(),
        submitted_at: None,
        idempotency_key: Some("k".into()),
        ..asked.clone()
    };
    assert_eq!(again.submission(), asked.submission());
}

proptest! {
    /// The record that comes back from the log must ask what the POST asked, to the last digit.
    #[test]
    fn a_number_is_the_same_after_the_log(digits in any::<u64>(), exponent in -30i32..30) {
        let types = "[types.n]\nparams = [{ name = \"x\", as = \"option\", type = \"number\" }]";
        let types = TaskTypes::from_toml(types).unwrap();
        let body = format!(r#"{{"project":"p","type":"n","params":{{"x":0.{digits}e{exponent}}}}}"#);
        let record = read_submission(body.as_bytes(), Some("k"), &types, [0; 16], Timestamp::default()).unwrap();
        prop_assert_eq!(TaskRecord::read(&record.write()).unwrap().submission(), record.submission());
    }
}

#[test]
fn a_page_of_the_list_is_without_params() {
    let mut world = World::new();
    world.submit("a", "x").unwrap();
    assert_eq!(world.hub.list(&ListQuery::default()).tasks[0].params, None);
    assert!(world.has_params("a"));
}

#[test]
fn more_tasks_than_fit_are_known_for_a_day_and_not_for_the_retention() {
    let mut world = World::new();
    let mut refused = None;
    for n in 0..5000 {
        world.seconds += 1;
        let id = format!("t{n}");
        refused = world.submit(&id, "x").err();
        if refused.is_some() {
            break;
        }
        world.update(&id, 1, Kind::Done, "DONE");
    }
    assert_eq!(refused.unwrap().status, 429);
    assert!(world.view("t0").is_some(), "its key holds");
    assert!(world.hub.bytes() <= BUDGET, "{}", world.hub.bytes());
    world.seconds = DAY + 10;
    world.tell(Input::Timeout);
    assert_eq!(world.submit("next", "x"), Ok(Admission::Append));
    assert!(world.view("t0").is_none() && world.view("t20").is_some(), "only as many as are too many are gone");
}

#[test]
fn a_hub_that_reads_the_log_at_the_start_stays_within_its_budget() {
    let mut world = World::starting(HubConfig { history_memory: BUDGET, ..HubConfig::default() });
    for n in 0..100 {
        world.seconds += 1;
        let id = format!("t{n}");
        world.append(Topic::Tasks, &id, task(&id, &large()).write());
        assert!(world.hub.bytes() <= BUDGET, "{}", world.hub.bytes());
    }
    assert!(!world.has_params("t0") && world.has_params("t99"));
    world.caught_up();
    assert_eq!(world.submit("next", "x"), Ok(Admission::Append));
}

#[test]
fn histories_keep_half_of_the_memory_whatever_tasks_take() {
    let mut world = World::new();
    while world.submit(&format!("t{}", world.offset), &large()).is_ok() {}
    let line = "y".repeat(10_000);
    for seq in 1..=60 {
        world.update("t0", seq, Kind::Line, &line);
    }
    let id: TaskId = "t0".parse().unwrap();
    assert!(matches!(world.hub.read(&id, UpdateId::default()), Read::Stretch(Stretch::Here(..))), "600 KB fit");
}

#[test]
fn where_a_history_is_counts_although_it_left_memory() {
    let mut world = World::starting(HubConfig { history_memory: 1, ..HubConfig::default() });
    let mut last = 0;
    for seq in 1..=100 {
        world.update("a", seq, Kind::Line, "a line");
        assert!(world.hub.bytes() > last, "what must be known to read it back grows");
        last = world.hub.bytes();
    }
    assert_eq!(world.hub.gauge().bytes(), 0);
}

#[test]
fn a_key_whose_task_is_known_by_its_updates_alone_is_not_appended_again() {
    let mut world = World::new();
    world.update("a", 1, Kind::Started, "Starting...");
    let unknown = world.hub.admit(&task("a", "x")).unwrap_err();
    assert_eq!((unknown.status, unknown.retry_after), (503, Some(Duration::from_secs(1))));
    world.update("a", 2, Kind::Done, "DONE");
    assert_eq!(world.hub.admit(&task("a", "x")).unwrap_err().status, 503);
    // The record came late, as the tail of one topic may run ahead of another's.
    world.append(Topic::Tasks, "a", task("a", "x").write());
    assert_eq!(world.hub.admit(&task("a", "x")), Ok(Admission::Known));
    assert_eq!(world.hub.admit(&task("a", "y")).unwrap_err().status, 409);
}

#[test]
fn a_stop_that_came_before_its_task_does_not_keep_the_task_out() {
    let mut world = World::new();
    world.append(Topic::Control, "a", br#"{"task_id": "a", "signal": "STOP"}"#.to_vec());
    assert_eq!(world.hub.admit(&task("a", "x")), Ok(Admission::Append), "no attempt has begun that it could be");
}
