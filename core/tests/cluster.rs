//! What processes say of themselves, and the cluster that a hub makes of it.
#![allow(clippy::unwrap_used)]

use baton_core::hub::{ClusterView, Effect, FORGOTTEN_AFTER, Hub, HubConfig, Input, LOST_AFTER, STEPS};
use baton_core::log::{Delivered, Topic, Values};
use baton_core::presence::{
    AT_LEAST_EVERY, AT_MOST_EVERY, ClaimShown, Doing, Herald, Identity, Presence, Role, RunShown,
};
use baton_core::time::{Instant, Now, Timestamp};
use baton_core::worker::{Input as WorkerInput, Worker, WorkerConfig};
use std::time::Duration;

fn at(seconds: u64) -> Now {
    let since = Duration::from_secs(seconds);
    Now { mono: Instant::from_start(since), wall: Timestamp::from_millis(0).plus(since) }
}

fn identity(role: Role, name: &str, number: u8) -> Identity {
    Identity { host: "box".into(), ..Identity::new(role, name, [number; 16], at(0).wall) }
}

fn claim(partition: u32, watermark: u64) -> ClaimShown {
    ClaimShown { partition, watermark, running: 1, waiting: 2, retrying: 0, leaving: false }
}

fn says(identity: Identity, doing: Doing, seconds: u64) -> Presence {
    Presence { identity, doing, gone: false, at: at(seconds).wall }
}

fn records(topic: Topic, partition: u32, offset: u64, key: &str, value: Vec<u8>, seconds: u64) -> Input {
    let (key, values) = (key.to_owned().into(), Values::one(value));
    Input::Records(Delivered { topic, partition, base_offset: offset, at: at(seconds).wall, key, values })
}

/// A hub that hears words.
struct World(Hub);

impl World {
    fn new() -> Self {
        Self(Hub::new(HubConfig::default()))
    }

    fn hear(&mut self, said: &Presence, seconds: u64) {
        self.hear_raw(said.identity.id.as_str(), said.write(), seconds);
    }

    fn hear_raw(&mut self, key: &str, value: Vec<u8>, seconds: u64) {
        self.0.handle(records(Topic::Presence, 0, 0, key, value, seconds), at(seconds));
    }

    fn cluster(&self, seconds: u64) -> ClusterView {
        self.0.cluster(at(seconds).wall)
    }

    fn unreadable(&mut self) -> Vec<String> {
        let mut whys = Vec::new();
        while let Some(effect) = self.0.poll() {
            if let Effect::Unreadable { topic: Topic::Presence, why, .. } = effect {
                whys.push(why.to_string());
            }
        }
        whys
    }
}

#[test]
fn a_process_speaks_soon_after_a_change_and_now_and_then_without_one() {
    let mut herald = Herald::new(identity(Role::Worker, "blue", 1));
    let (idle, busy) = (Doing { slots: 2, ..Doing::default() }, Doing { slots: 2, running: 1, ..Doing::default() });
    let mut spoke = Vec::new();
    for tenth in 0..=320 {
        let now = Now { mono: Instant::from_start(Duration::from_millis(tenth * 100)), ..at(0) };
        let doing = if (25..30).contains(&tenth) { &busy } else { &idle };
        if now.mono >= herald.deadline()
            && let Some(word) = herald.look(doing.clone(), now)
        {
            assert_eq!((&word.doing, word.gone), (doing, false));
            spoke.push(tenth);
        }
    }
    // A change that is over before the next look is not worth a word.
    let every = u64::try_from(AT_LEAST_EVERY.as_millis() / 100).unwrap();
    assert_eq!(spoke, [0, every, 2 * every, 3 * every]);
    let later = |tenth: u64| Now { mono: Instant::from_start(Duration::from_millis(tenth * 100)), ..at(0) };
    assert!(herald.look(busy.clone(), later(321)).is_none(), "no more often than each {AT_MOST_EVERY:?}");
    assert_eq!(herald.look(busy, later(330)).unwrap().doing.running, 1);
    assert!(herald.farewell(at(9).wall).gone);
}

#[test]
fn a_worker_shows_its_runs_and_claims() {
    let mut worker = Worker::new(WorkerConfig { slots: 1, ..WorkerConfig::default() });
    let claimed = |partition| WorkerInput::Claimed { partition, epoch: 1, offset: 4, metadata: String::new() };
    worker.handle(claimed(3), at(0));
    worker.handle(WorkerInput::StopsCaughtUp, at(0));
    for (offset, id) in [(4, "abc"), (5, "def")] {
        let task = format!(r#"{{"task_id": "{id}", "project": "default", "type": "seed-db"}}"#);
        let Input::Records(delivered) = records(Topic::Tasks, 3, offset, id, task.into_bytes(), 0) else {
            unreachable!()
        };
        worker.handle(WorkerInput::Records(delivered), at(0));
    }
    let run = RunShown { task_id: "abc".parse().unwrap(), attempt: 1 };
    let claims =
        |leaving| vec![ClaimShown { partition: 3, watermark: 4, running: 1, waiting: 1, retrying: 0, leaving }];
    let expected = Doing { slots: 1, running: 1, runs: vec![run], claims: claims(false), draining: false };
    assert_eq!(worker.doing(), expected);
    worker.handle(WorkerInput::Revoked(3), at(1));
    worker.handle(WorkerInput::Drain, at(1));
    assert_eq!(worker.doing(), Doing { claims: claims(true), draining: true, ..expected });
}

#[test]
fn words_are_read_leniently_and_written_short() {
    let said = says(identity(Role::Api, "", 1), Doing::default(), 5);
    assert_eq!(
        String::from_utf8(said.write()).unwrap(),
        format!(
            r#"{{"id":"{}","role":"api","host":"box","version":"{}","started_at":"1970-01-01T00:00:00.000Z","draining":false,"gone":false,"at":"1970-01-01T00:00:05.000Z"}}"#,
            "01".repeat(16),
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(Presence::read(&said.write()).unwrap(), said);
    let later =
        br#"{"id":"a","role":"router","started_at":"1970-01-01T00:00:00Z","at":"1970-01-01T00:00:00Z","load":0.4}"#;
    assert_eq!(Presence::read(later).unwrap().identity.role, Role::Other);
}

#[test]
fn who_is_silent_is_lost_and_then_forgotten_and_who_says_so_is_gone() {
    let mut world = World::new();
    let (blue, red) = (identity(Role::Worker, "blue", 1), identity(Role::Worker, "red", 2));
    let api = says(identity(Role::Api, "", 3), Doing::default(), 100);
    let doing = Doing::of_worker(false, 4, Vec::new(), vec![claim(0, 7)]);
    world.hear(&says(red.clone(), doing.clone(), 100), 100);
    world.hear(&says(blue.clone(), doing, 101), 101);
    world.hear(&api, 100);
    let seen = world.cluster(102);
    let names =
        |view: &ClusterView| view.workers.iter().map(|w| (w.said.identity.name.clone(), w.lost)).collect::<Vec<_>>();
    assert_eq!(names(&seen), [("blue".to_owned(), false), ("red".to_owned(), false)]);
    assert_eq!(seen.apis.len(), 1);
    let lost = 100 + LOST_AFTER.as_secs();
    assert_eq!(names(&world.cluster(lost)), [("blue".to_owned(), false), ("red".to_owned(), true)]);
    assert_eq!(names(&world.cluster(100 + FORGOTTEN_AFTER.as_secs())), [("blue".to_owned(), true)]);
    let mut herald = Herald::new(blue.clone());
    let earlier = herald.look(Doing::default(), at(0)).unwrap();
    world.hear(&earlier, 103);
    assert_eq!(world.cluster(104).workers[0].last_seen, at(101).wall, "a word from before is no news");
    world.hear(&herald.farewell(at(0).wall), 104);
    assert_eq!(
        names(&world.cluster(104)),
        [("red".to_owned(), false)],
        "its last word counts, whatever its clock says"
    );
}

#[test]
fn a_partition_is_as_far_as_was_heard_and_held_by_who_said_so_last() {
    let mut world = World::new();
    let task = br#"{"task_id": "abc", "project": "default", "type": "seed-db"}"#.to_vec();
    world.0.handle(records(Topic::Tasks, 0, 41, "abc", task, 90), at(90));
    let of = |partition, watermark| Doing::of_worker(false, 1, Vec::new(), vec![claim(partition, watermark)]);
    let (old, new) = (identity(Role::Worker, "old", 1), identity(Role::Worker, "new", 2));
    world.hear(&says(old.clone(), of(0, 12), 100), 100);
    world.hear(&says(new.clone(), of(0, 30), 105), 105);
    world.hear(&says(identity(Role::Worker, "third", 3), of(2, 8), 105), 105);
    let partitions = world.cluster(106).partitions;
    let shown = |n: usize| (partitions[n].partition, partitions[n].end, partitions[n].watermark, partitions[n].open);
    assert_eq!(shown(0), (0, 42, Some(30), Some(12)));
    assert_eq!(shown(1), (2, 8, Some(8), Some(0)), "its records may have been there before this hub looked");
    assert_eq!(partitions[0].worker.as_ref(), Some(&new.id));
    let later = world.cluster(105 + LOST_AFTER.as_secs()).partitions;
    assert_eq!(
        (later[0].worker.as_ref(), later[0].running, later[0].watermark),
        (None, 0, Some(30)),
        "nobody alive holds it"
    );
}

#[test]
fn what_is_no_word_is_told_and_skipped() {
    let mut world = World::new();
    let said = says(identity(Role::Worker, "blue", 1), Doing::default(), 1);
    world.hear_raw("someone-else", said.write(), 1);
    world.hear_raw("", b"{".to_vec(), 1);
    world.hear_raw("", vec![b' '; 70_000], 1);
    world.hear_raw("", Vec::new(), 1);
    let whys = world.unreadable();
    assert_eq!(whys.len(), 4, "{whys:?}");
    assert_eq!(whys[0], "its key is not its task's id");
    assert_eq!(whys[2], "it has 70000 bytes, more than any record of its kind");
    assert!(world.cluster(1).workers.is_empty());
    world.hear_raw("", said.write(), 1);
    assert_eq!(world.cluster(1).workers.len(), 1, "a word needs no key");
}

#[test]
fn a_crowd_does_not_fill_the_memory() {
    let mut world = World::new();
    for number in 0..1_500u64 {
        let mut random = [0; 16];
        random[..8].copy_from_slice(&number.to_be_bytes());
        let who = Identity::new(Role::Worker, &format!("{number:05}"), random, at(0).wall);
        world.hear(&says(who, Doing::default(), number), number);
    }
    let workers = world.cluster(1_500).workers;
    assert!(workers.len() <= 1_000);
    assert_eq!(workers.last().unwrap().said.identity.name, "01499", "the latest is among them");
}

#[test]
fn the_pulse_counts_what_came_lately() {
    let mut world = World::new();
    let task =
        br#"{"task_id": "abc", "project": "default", "type": "seed-db", "submitted_at": "1970-01-01T00:01:40Z"}"#;
    world.0.handle(records(Topic::Tasks, 0, 0, "abc", task.to_vec(), 100), at(100));
    let updates = [
        r#"{"task_id":"abc","update":"Starting...","attempt":1,"seq":1,"kind":"started","at":"1970-01-01T00:01:44Z"}"#,
        r#"{"task_id":"abc","update":"hi","attempt":1,"seq":2,"kind":"line","at":"1970-01-01T00:01:44Z"}"#,
        r#"{"task_id":"abc","update":"hi","attempt":1,"seq":2,"kind":"line","at":"1970-01-01T00:01:44Z"}"#,
        r#"{"task_id":"abc","update":"DONE","attempt":1,"seq":3,"kind":"done","at":"1970-01-01T00:01:44Z"}"#,
    ];
    for (offset, update) in updates.iter().enumerate() {
        world.0.handle(records(Topic::Progress, 0, offset as u64, "abc", update.as_bytes().to_vec(), 104), at(104));
    }
    let pulse = world.cluster(109).pulse;
    assert_eq!(i64::try_from(pulse.steps.len()).unwrap(), STEPS);
    let last = pulse.steps.last().unwrap();
    let counts = last.counts;
    assert_eq!(
        (counts.accepted, counts.begun, counts.lines, counts.done),
        (1, 1, 1, 1),
        "a line that came twice is one"
    );
    assert!(last.waited_p50_ms.is_some_and(|wait| (4_000..5_000).contains(&wait)), "{last:?}");
    assert_eq!(world.cluster(110).pulse.steps[usize::try_from(STEPS).unwrap() - 2], *last);
}
