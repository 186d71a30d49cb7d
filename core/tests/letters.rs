//! The dead letters that the hub knows: the newest, each where it is, and what becomes of it.
#![allow(clippy::unwrap_used)]

use baton_core::hub::{
    Admission, Effect, Hub, HubConfig, Input, LettersPage, LettersQuery, MAX_LETTERS, Redrive, letter_at,
};
use baton_core::id::{TaskId, UpdateId};
use baton_core::log::{Delivered, Topic, Values};
use baton_core::problem::Problem;
use baton_core::record::{DeadLetter, Kind, ProgressRecord, TaskRecord};
use baton_core::redrive::{LetterPlace, redriven_id};
use baton_core::time::{Instant, Now, Timestamp};
use baton_core::types::TaskTypes;
use std::time::Duration;

const DAY: u64 = 24 * 3600;

/// A hub, and the topic of dead letters behind it: one partition.
struct World {
    hub: Hub,
    topic: Vec<Delivered>,
    seconds: u64,
}

fn id(name: &str) -> TaskId {
    name.parse().unwrap()
}

fn task(name: &str, project: &str) -> TaskRecord {
    let text = format!(r#"{{"task_id": "{name}", "project": "{project}", "type": "seed-db", "idempotency_key": "k"}}"#);
    TaskRecord::read(text.as_bytes()).unwrap()
}

impl World {
    /// All topics are read, and empty.
    fn new() -> Self {
        Self::of(HubConfig::default())
    }

    fn of(config: HubConfig) -> Self {
        let mut world = Self { hub: Hub::new(config), topic: Vec::new(), seconds: 0 };
        for topic in Topic::ALL {
            world.tell(Input::CaughtUp(topic));
        }
        world
    }

    fn now(&self) -> Now {
        let since = Duration::from_secs(self.seconds);
        Now { mono: Instant::from_start(since), wall: Timestamp::from_millis(0).plus(since) }
    }

    fn tell(&mut self, input: Input) {
        self.hub.handle(input, self.now());
    }

    fn append(&mut self, topic: Topic, key: &str, value: Vec<u8>) {
        let base_offset = self.topic.len() as u64;
        let (key, values) = (key.to_owned().into(), Values::one(value));
        let delivered = Delivered { topic, partition: 0, base_offset, at: self.now().wall, key, values };
        if topic == Topic::DeadLetters {
            self.topic.push(delivered.clone());
        }
        self.tell(Input::Records(delivered));
    }

    fn fail(&mut self, task: TaskRecord, reason: &str) {
        let key = task.task_id.to_string();
        let letter = DeadLetter {
            tally: None,
            earlier: Vec::new(),
            task_id: Some(task.task_id.clone()),
            task: Some(task),
            unreadable: None,
            reason: reason.into(),
            attempts: 1,
            last_lines: vec!["the last line".into()],
            at: self.now().wall,
        };
        self.append(Topic::DeadLetters, &key, letter.write());
    }

    fn unreadable(&mut self) {
        let letter =
            r#"{"unreadable": "{", "reason": "it can't be read", "attempts": 0, "at": "1970-01-01T00:00:00Z"}"#;
        self.append(Topic::DeadLetters, "unreadable-0-7", letter.into());
    }

    fn list(&self, fields: &[(&str, &str)]) -> LettersPage {
        self.hub.letters(&LettersQuery::read(fields.iter().copied()).unwrap()).unwrap()
    }

    fn ids(&self, fields: &[(&str, &str)]) -> Vec<String> {
        self.list(fields).dead_letters.into_iter().map(|letter| letter.id.to_string()).collect()
    }

    fn read_back(&self, place: LetterPlace) -> Option<DeadLetter> {
        let read: Vec<Delivered> = self.topic.iter().filter_map(|d| d.clone().from_offset(place.offset)).collect();
        letter_at(place, &read)
    }

    /// Redrives the letter, as the API's loop does.
    fn redrive(&mut self, name: &str, same_id: bool) -> Result<TaskId, Problem> {
        let (place, as_id) = match self.hub.redrive(&id(name), same_id, self.now())? {
            Redrive::Known(as_id) => return Ok(as_id),
            Redrive::As(place, as_id) => (place, as_id),
        };
        let letter = self.read_back(place).unwrap();
        let record = letter.redriven(as_id.clone(), &TaskTypes::default(), self.now().wall)?;
        if self.hub.admit(&record)? == Admission::Append {
            self.append(Topic::Tasks, as_id.as_str(), record.write());
        }
        Ok(as_id)
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.hub.poll()).collect()
    }
}

#[test]
fn letters_are_listed_the_newest_first_and_found_by_what_is_in_them() {
    let mut world = World::new();
    for (name, project, reason) in [("a", "p", "exit code 3: No such table"), ("b", "q", "timed out"), ("c", "p", "x")]
    {
        world.seconds += 1;
        world.fail(task(name, project), reason);
    }
    world.unreadable();
    assert_eq!(world.ids(&[]), ["c", "b", "a", "unreadable-0-7"]);
    assert_eq!(world.ids(&[("project", "p")]), ["c", "a"]);
    assert_eq!(world.ids(&[("type", "seed-db"), ("reason", "no SUCH")]), ["a"]);
    assert_eq!(world.ids(&[("before", "1970-01-01T00:00:03Z"), ("project", "p"), ("project", "q")]), ["b", "a"]);
    let first = world.list(&[("limit", "3")]);
    assert_eq!(world.ids(&[("cursor", &first.next_cursor.unwrap())]), ["unreadable-0-7"]);
    assert_eq!(world.list(&[]).next_cursor, None);
    let redrivable: Vec<bool> = world.list(&[]).dead_letters.iter().map(|letter| letter.redrivable).collect();
    assert_eq!(redrivable, [true, true, true, false]);
    let wrong =
        LettersQuery::read([("before", "now"), ("limit", "0"), ("status", "done"), ("cursor", "x")]).unwrap_err();
    assert_eq!((wrong.status, wrong.errors.len()), (422, 4));
}

#[test]
fn a_letter_is_redriven_once_however_often_it_is_asked_for() {
    let mut world = World::new();
    world.fail(task("other", "p"), "x");
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok();
    world.fail(TaskRecord { traceparent: traceparent.clone(), ..task("abc", "p") }, "exit code 3");
    let place = LetterPlace { partition: 0, offset: 1 };
    let new = world.redrive("abc", false).unwrap();
    assert_eq!(new, redriven_id(&id("abc"), place));
    assert_eq!(world.redrive("abc", false).unwrap(), new);
    assert_eq!(world.redrive("abc", true).unwrap(), new, "it was redriven, whatever is asked now");
    let view = world.hub.view(&new).unwrap();
    let from = view.redriven_from.unwrap();
    assert_eq!((from.task_id.as_str(), from.reason.as_str()), ("abc", "exit code 3"));
    assert_eq!(world.list(&[]).dead_letters.iter().filter(|letter| letter.redriven_as == Some(new.clone())).count(), 1);
    // At a replica that has read the letter, and not its redrive yet.
    let elsewhere = world.read_back(place).unwrap().redriven(new, &TaskTypes::default(), world.now().wall).unwrap();
    assert_eq!(world.hub.admit(&elsewhere), Ok(Admission::Known));
    assert_eq!(elsewhere.idempotency_key, None, "the key stands for the first task");
    assert_eq!((traceparent.is_some(), elsewhere.traceparent), (true, traceparent), "it goes on with the same trace");
}

#[test]
fn a_task_that_fails_again_and_again_keeps_the_history_of_why() {
    let mut world = World::new();
    let mut failed = task("abc", "p");
    for reason in ["first", "second", "third"] {
        world.seconds += 1;
        let name = failed.task_id.to_string();
        world.fail(failed, reason);
        let Redrive::As(place, new) = world.hub.redrive(&id(&name), false, world.now()).unwrap() else { panic!() };
        failed = world.read_back(place).unwrap().redriven(new, &TaskTypes::default(), world.now().wall).unwrap();
    }
    let last = world.list(&[]).dead_letters[0].id.clone();
    let place = world.hub.letter_place(&last).unwrap();
    let shown = world.hub.show_letter(&last, place, world.read_back(place).unwrap());
    let history: Vec<_> = shown.history.iter().map(|from| from.reason.as_str()).collect();
    assert_eq!((shown.letter.reason.as_str(), &history[..]), ("third", &["second", "first"][..]));
    assert_eq!(shown.letter.last_lines, ["the last line"]);
}

#[test]
fn a_letter_without_a_task_or_with_one_that_can_not_run_is_not_redriven() {
    let mut world = World::new();
    world.unreadable();
    world.fail(TaskRecord { kind: "gone".into(), ..task("abc", "../p") }, "type: is not a task type");
    let refused = world.redrive("unreadable-0-7", false).unwrap_err();
    assert_eq!((refused.status, refused.kind.as_str()), (409, "/problems/not-redrivable"));
    let refused = world.redrive("abc", false).unwrap_err();
    let fields: Vec<_> = refused.errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!((refused.status, &fields[..]), (422, &["project", "type"][..]));
    assert_eq!(world.redrive("nope", false).unwrap_err().status, 404);
}

#[test]
fn an_id_is_used_again_when_all_have_forgotten_it() {
    let mut world = World::new();
    world.fail(task("abc", "p"), "first");
    let letter = world.topic[0].clone();
    world.seconds = 7 * DAY;
    let refused = world.redrive("abc", true).unwrap_err();
    assert_eq!((refused.status, refused.kind.as_str()), (409, "/problems/id-in-use"));
    assert!(refused.detail.contains("after 1970-01-08T01:00:00.000Z"), "{}", refused.detail);
    world.seconds = 7 * DAY + 3600;
    assert_eq!(world.redrive("abc", true).unwrap(), id("abc"));
    assert_eq!(world.redrive("abc", true).unwrap(), id("abc"), "once");
    assert_eq!(world.list(&[]).dead_letters[0].redriven_as, Some(id("abc")));
    // It fails again: a second letter of the same id, and not the one that was redriven.
    let (abc, place) = (id("abc"), UpdateId { attempt: 1, seq: 1 });
    let end = ProgressRecord::new(&abc, place, Kind::Failed, world.now().wall, "FAILED");
    world.append(Topic::Progress, "abc", end.write());
    let again = DeadLetter::read(letter.values.iter().next().unwrap()).unwrap();
    let again = again.redriven(id("abc"), &TaskTypes::default(), world.now().wall).unwrap();
    world.fail(again, "second");
    let listed = world.list(&[]).dead_letters;
    assert_eq!((listed.len(), listed[0].reason.as_str(), &listed[0].redriven_as), (1, "second", &None));
    assert_eq!(world.redrive("abc", true).unwrap_err().status, 409);
    assert_ne!(world.redrive("abc", false).unwrap(), id("abc"));
}

#[test]
fn a_purged_letter_is_gone_and_stays_so_for_who_reads_the_topic_anew() {
    let mut world = World::new();
    world.fail(task("abc", "p"), "x");
    world.fail(task("def", "p"), "x");
    world.append(Topic::DeadLetters, "abc", Vec::new());
    world.append(Topic::DeadLetters, "never-there", Vec::new());
    assert_eq!(world.ids(&[]), ["def"]);
    let mut again = Hub::new(HubConfig::default());
    for delivered in world.topic.clone().into_iter().chain(world.topic.clone()) {
        assert_eq!(again.letters(&LettersQuery::default()).unwrap_err().status, 503);
        assert_eq!(again.letter_place(&id("nope")).unwrap_err().status, 503, "not known yet is not unknown");
        again.handle(Input::Records(delivered), world.now());
    }
    assert!(!again.ready(), "its other topics are still being read");
    again.handle(Input::CaughtUp(Topic::DeadLetters), world.now());
    let listed = again.letters(&LettersQuery::default()).unwrap().dead_letters;
    assert_eq!(listed.iter().map(|letter| letter.id.as_str()).collect::<Vec<_>>(), ["def"]);
}

#[test]
fn a_letter_whose_record_is_gone_is_no_longer_listed() {
    let mut world = World::new();
    world.fail(task("abc", "p"), "x");
    let place = world.hub.letter_place(&id("abc")).unwrap();
    world.tell(Input::LetterGone(id("abc"), LetterPlace { offset: 9, ..place }));
    assert_eq!(world.ids(&[]), ["abc"], "another letter of that id is gone");
    world.tell(Input::LetterGone(id("abc"), place));
    assert!(world.ids(&[]).is_empty());
}

#[test]
fn no_record_is_awaited_of_which_the_api_is_ready_without() {
    let mut hub = Hub::new(HubConfig::default());
    for topic in [Topic::Tasks, Topic::Progress, Topic::Control] {
        hub.handle(Input::CaughtUp(topic), Now::default());
    }
    assert!(hub.ready());
}

#[test]
fn what_is_no_letter_is_told() {
    let mut world = World::new();
    world.fail(task("abc", "p"), "x");
    let letter = world.topic[0].values.iter().next().unwrap().to_vec();
    for (key, value) in [("k", b"{".to_vec()), ("other", letter.clone()), ("", Vec::new()), ("../x", Vec::new())] {
        world.append(Topic::DeadLetters, key, value);
    }
    assert_eq!(world.effects().iter().filter(|e| matches!(e, Effect::Unreadable { .. })).count(), 4);
    world.append(Topic::DeadLetters, "", letter);
    assert!(world.effects().is_empty(), "a foreign producer may leave the key out");
    assert_eq!(world.ids(&[]), ["abc"]);
}

#[test]
fn the_newest_letters_are_kept_and_what_falls_out_is_told_once() {
    let mut world = World::of(HubConfig { history_memory: 1 << 30, ..HubConfig::default() });
    for n in 0..MAX_LETTERS + 2 {
        world.seconds += 1;
        world.fail(task(&format!("t{n}"), "p"), "x");
    }
    let page = world.list(&[("limit", "1")]);
    assert_eq!((page.unlisted, page.dead_letters[0].id.as_str()), (2, "t10001"));
    assert_eq!(world.effects(), [Effect::LettersUnlisted]);
    assert_eq!(world.hub.letter_place(&id("t1")).unwrap_err().status, 404);
    assert!(world.hub.letter_place(&id("t2")).is_ok());
}

#[test]
fn the_index_has_its_part_of_the_memory_whatever_the_letters_hold() {
    let mut world = World::of(HubConfig { history_memory: 4 << 20, ..HubConfig::default() });
    let long = "x".repeat(1 << 12);
    for n in 0..2000 {
        world.seconds += 1;
        world.fail(TaskRecord { kind: long.clone(), ..task(&format!("t{n}"), &long) }, &long);
    }
    assert!(world.hub.bytes() <= 512 << 10, "{}", world.hub.bytes());
    let page = world.list(&[("limit", "1")]);
    assert!(page.unlisted > 1000 && page.dead_letters[0].reason.len() == 512, "{}", page.unlisted);
    for n in 0..2000 {
        world.append(Topic::DeadLetters, &format!("t{n}"), Vec::new());
    }
    assert_eq!(world.hub.bytes(), 0);
}
