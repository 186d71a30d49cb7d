//! Stories of a worker: claims, slots, STOPs and steps, and a picture of what it does about them.
#![allow(clippy::unwrap_used)]

use baton_core::account::Account;
use baton_core::agent_report::{Cost, Spent, Tokens};
use baton_core::id::TaskId;
use baton_core::ledger::{Ledger, MAX_METADATA};
use baton_core::log::{Delivered, Step, Topic, Values, ValuesBuilder};
use baton_core::policy::Cause;
use baton_core::process::ExitStatus;
use baton_core::record::{Kind, ProgressRecord, TaskRecord};
use baton_core::run::{Ending, Input as RunInput, Outcome};
use baton_core::time::{Instant, Now, Timestamp};
use baton_core::types::TaskTypes;
use baton_core::worker::{Effect, Input, READ_AHEAD_BYTES, READ_AHEAD_TASKS, Unstepped, Worker, WorkerConfig};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

const TYPES: &str = r#"
[types.flaky]
retries = { max_attempts = 3, first = "10s", cap = "30s" }
exits.retry = [1]

[types.few]
max_running = 2
max_running_per_project = 1

[types.hasty]
timeouts = { queued = "5s", total = "25s", run = "20s", grace = "40s" }
retries = { first = "10s", cap = "30s" }
exits.retry = [1]
"#;

fn config(slots: usize) -> WorkerConfig {
    let types = TaskTypes::default().extended_by(TaskTypes::from_toml(TYPES).unwrap());
    WorkerConfig { slots, agent: vec!["agent".into()], types, ..WorkerConfig::default() }
}

fn at(millis: u64) -> Now {
    let wall = Timestamp::from_millis(i64::try_from(millis).unwrap());
    Now { mono: Instant::from_start(Duration::from_millis(millis)), wall }
}

fn task(id: &str) -> TaskRecord {
    let text = format!(r#"{{"task_id": "{id}", "project": "default", "type": "seed-db"}}"#);
    TaskRecord::read(text.as_bytes()).unwrap()
}

fn delivered(topic: Topic, partition: u32, offset: u64, key: &str, value: Vec<u8>) -> Input {
    let at = Timestamp::from_millis(i64::try_from(offset).unwrap());
    let key = key.to_owned().into_bytes().into();
    Input::Records(Delivered { topic, partition, base_offset: offset, at, key, values: Values::one(value) })
}

fn outcome(kind: Kind, seq: u64) -> Ending {
    let failed = kind == Kind::Failed;
    let reason = failed.then(|| "exit code 1".to_owned());
    let exit = Some(ExitStatus::Code(i32::from(failed)));
    let account = Account { running_ms: Some(40), ..Account::of(Cause::Exit) };
    let last_lines = vec!["bye".into()];
    Ending::Outcome(Box::new(Outcome {
        kind,
        seq,
        reason,
        worth_retry: false,
        exit,
        account,
        last_lines,
        report: None,
    }))
}

/// An attempt that failed and is worth another.
fn worth_retry() -> Ending {
    let Ending::Outcome(outcome) = outcome(Kind::Failed, 9) else { unreachable!("it is an outcome") };
    Ending::Outcome(Box::new(Outcome { worth_retry: true, ..*outcome }))
}

/// The ledger of a partition whose first task was begun so often, and handed back so often.
fn ledger(offset: u64, begun: u32, returned: u32) -> String {
    let mut ledger = Ledger::read(offset, "").unwrap();
    for _ in 0..begun {
        ledger.begin(offset, None);
    }
    for _ in 0..returned {
        ledger.hand_back(offset);
    }
    ledger.write()
}

/// `task 0/5 abc`: partition and offset, then an id. The offset is also the time at which the log took it, in milliseconds.
fn parse(line: &str) -> Input {
    let words: Vec<&str> = line.split_whitespace().collect();
    let place = |text: &str| {
        let (partition, offset) = text.split_once('/').unwrap();
        (partition.parse().unwrap(), offset.parse().unwrap())
    };
    match words[0] {
        "claimed" => {
            let (partition, offset) = place(words[1]);
            let metadata = match words.get(3) {
                Some(&"begun") => {
                    ledger(offset, words[4].parse().unwrap(), words.get(6).map_or(0, |text| text.parse().unwrap()))
                }
                Some(text) => (*text).to_owned(),
                None => String::new(),
            };
            Input::Claimed { partition, epoch: words[2].parse().unwrap(), offset, metadata }
        }
        "revoked" => Input::Revoked(words[1].parse().unwrap()),
        "lost" => Input::Lost(words[1].parse().unwrap()),
        "task" => {
            let (partition, offset) = place(words[1]);
            let mut record = task(words[2]);
            if let Some(kind) = words.get(3) {
                (*kind).clone_into(&mut record.kind);
            }
            record.max_attempts = words.get(4).map(|text| text.parse().unwrap());
            delivered(Topic::Tasks, partition, offset, words[2], record.write())
        }
        "misplaced" => {
            let (partition, offset) = place(words[1]);
            delivered(Topic::Tasks, partition, offset, "another", task(words[2]).write())
        }
        "garbage" => {
            let (partition, offset) = place(words[1]);
            delivered(Topic::Tasks, partition, offset, "x", words[2].into())
        }
        "stop" => {
            let more = if words.get(2) == Some(&"force") { r#", "force": true, "by": "alice""# } else { "" };
            let value = format!(r#"{{"task_id": "{}", "signal": "STOP"{more}}}"#, words[1]);
            delivered(Topic::Control, 0, 0, words[1], value.into_bytes())
        }
        "known" => Input::StopsCaughtUp,
        "done" => Input::Ended(words[1].parse().unwrap(), outcome(Kind::Done, 9)),
        "failed" => Input::Ended(words[1].parse().unwrap(), outcome(Kind::Failed, 9)),
        "retry" => Input::Ended(words[1].parse().unwrap(), worth_retry()),
        "handed" => Input::Ended(words[1].parse().unwrap(), Ending::HandedBack(Spent::default())),
        "lost-run" => Input::Ended(words[1].parse().unwrap(), Ending::Lost(Spent::default())),
        "abandoned" => Input::Ended(words[1].parse().unwrap(), Ending::Abandoned),
        "stepped" => Input::Stepped(words[1].parse().unwrap(), words[2].parse().unwrap(), Ok(())),
        "fenced" => Input::Stepped(words[1].parse().unwrap(), words[2].parse().unwrap(), Err(Unstepped::Fenced)),
        "unstepped" => Input::Stepped(words[1].parse().unwrap(), words[2].parse().unwrap(), Err(Unstepped::ForNow)),
        "drain" => Input::Drain,
        "halt" => Input::Halt,
        "timeout" => Input::Timeout,
        other => panic!("no such input: {other}"),
    }
}

fn draw_step(step: &Step) -> String {
    let mut drawn = format!(
        "step {} epoch {} offset {} ledger {}",
        step.partition, step.epoch, step.committed.offset, step.committed.metadata
    );
    for batch in &step.batches {
        for value in batch.values.iter() {
            write!(drawn, "\n           {} {}", batch.topic, String::from_utf8_lossy(value)).unwrap();
        }
    }
    drawn
}

fn draw(effect: &Effect) -> String {
    match effect {
        Effect::Step(step) => draw_step(step),
        Effect::Start(run, spec) => {
            format!("start run {run}: {} attempt {} {:?}", spec.task_id, spec.attempt, spec.argv)
        }
        Effect::Tell(run, input) => format!("tell run {run}: {input:?}"),
        other => format!("{other:?}"),
    }
}

/// Draws what the worker asks for. Once the STOPs are known, a claim that asks for them gets them at once.
fn draw_all(worker: &mut Worker, known: bool, now: Now, picture: &mut String) {
    while let Some(effect) = worker.poll() {
        match effect {
            Effect::CatchUp if known => worker.handle(Input::StopsCaughtUp, now),
            Effect::CatchUp => {}
            effect => writeln!(picture, "       > {}", draw(&effect)).unwrap(),
        }
    }
}

/// Each line of a story is told a second after the one before; `wait 30s` lets time pass, and deadlines come.
fn check(name: &str, slots: usize, story: &str) {
    let mut worker = Worker::new(config(slots));
    let (mut picture, mut known) = (String::new(), false);
    let mut millis = 0;
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(picture, "{line}").unwrap();
        known |= line == "known";
        if let Some(seconds) = line.strip_prefix("wait ").and_then(|time| time.strip_suffix('s')) {
            millis += seconds.parse::<u64>().unwrap() * 1000;
            while let Some(due) = worker.deadline().filter(|due| *due <= at(millis).mono) {
                writeln!(picture, "(deadline at {:?})", due.since_start()).unwrap();
                worker.handle(Input::Timeout, Now { mono: due, ..at(millis) });
                draw_all(&mut worker, known, at(millis), &mut picture);
                assert!(worker.deadline() > Some(due) || worker.deadline().is_none(), "{picture}");
            }
        } else {
            worker.handle(parse(line), at(millis));
            draw_all(&mut worker, known, at(millis), &mut picture);
        }
        millis += 1000;
    }
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(name, picture) });
}

#[test]
fn one_task_at_a_time_and_the_watermark_after_its_end() {
    check(
        "one",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n task 0/1 b\n stepped 0 7\n done 1\n stepped 0 7\n stepped 0 7",
    );
}

#[test]
fn nothing_runs_before_all_stops_are_known() {
    check("stops_first", 1, "claimed 0/0 7\n task 0/0 a\n task 0/1 b\n stop a\n known");
}

#[test]
fn each_claim_asks_for_the_stops_anew() {
    let mut worker = Worker::new(config(2));
    let asked = |worker: &mut Worker| {
        let effects: Vec<Effect> = std::iter::from_fn(|| worker.poll()).collect();
        (effects.iter().any(|e| matches!(e, Effect::CatchUp)), effects.iter().any(|e| matches!(e, Effect::Start(..))))
    };
    for (story, expected) in [
        ("claimed 0/0 7", (true, false)),
        ("task 0/0 a", (false, false)),
        ("known", (false, true)),
        ("claimed 1/0 8", (true, false)),
        ("task 1/0 b", (false, false)),
        ("stop b", (false, false)),
        ("known", (false, false)),
    ] {
        worker.handle(parse(story), at(0));
        assert_eq!(asked(&mut worker), expected, "{story}");
    }
}

#[test]
fn claims_that_are_not_renewed_are_given_up() {
    let mut worker = Worker::new(config(1));
    for story in ["claimed 0/0 7", "known", "task 0/0 a", "stepped 0 7"] {
        worker.handle(parse(story), at(0));
    }
    worker.handle(Input::Renewed(at(5000).mono), at(0));
    worker.handle(Input::Renewed(at(9000).mono), at(4000));
    while worker.poll().is_some() {}
    assert_eq!(worker.deadline(), Some(at(9000).mono));
    worker.handle(Input::Timeout, at(8999));
    assert_eq!(worker.poll().map(|effect| draw(&effect)), None);
    worker.handle(Input::Timeout, at(9000));
    let effects: Vec<String> = std::iter::from_fn(|| worker.poll()).map(|effect| draw(&effect)).collect();
    assert_eq!(effects, ["tell run 1: Abandon"]);
    assert_eq!(worker.deadline(), None);
    // A release hands the partition over at once: not while anything of it lives.
    worker.handle(parse("abandoned 1"), at(9800));
    let effects: Vec<String> = std::iter::from_fn(|| worker.poll()).map(|effect| draw(&effect)).collect();
    assert_eq!(effects, ["Release(0)"]);
}

/// What keeps processes has no lease then, and would end at once what begins: each time an attempt.
#[test]
fn a_claim_that_comes_after_the_time_of_the_earlier_ones_begins_nothing_before_it_is_renewed() {
    let mut worker = Worker::new(config(1));
    worker.handle(Input::Renewed(at(5000).mono), at(0));
    worker.handle(parse("claimed 0/0 7"), at(0));
    worker.handle(Input::Timeout, at(5000));
    let mut steps = |input, time| {
        worker.handle(input, at(time));
        std::iter::from_fn(|| worker.poll()).filter(|effect| matches!(effect, Effect::Step(_))).count()
    };
    for story in ["claimed 0/0 8", "known", "task 0/0 a"] {
        assert_eq!(steps(parse(story), 5100), 0, "{story}");
    }
    assert_eq!(steps(Input::Renewed(at(11_000).mono), 6000), 1);
}

#[test]
fn a_partition_is_not_released_while_a_run_of_an_earlier_claim_is_dying() {
    let mut worker = Worker::new(config(1));
    let mut released = |story: &str| {
        worker.handle(parse(story), at(0));
        std::iter::from_fn(|| worker.poll()).any(|effect| matches!(effect, Effect::Release(0)))
    };
    for story in
        ["claimed 0/0 7", "known", "task 0/0 a", "stepped 0 7", "lost 0", "claimed 0/0 8", "known", "revoked 0"]
    {
        assert!(!released(story), "{story}");
    }
    assert!(released("abandoned 1"));
    for story in ["claimed 0/0 9", "known", "task 0/0 a", "stepped 0 9", "lost 0", "revoked 0"] {
        assert!(!released(story), "{story}");
    }
    assert!(released("abandoned 2"));
    assert!(released("revoked 0"), "there is nothing to wait for");
}

#[test]
fn tasks_of_several_slots_end_out_of_order() {
    check(
        "slots",
        3,
        "claimed 0/0 7\n known\n task 0/0 a\n task 0/1 b\n task 0/2 c\n stepped 0 7\n done 2\n stepped 0 7\n done 3\n stepped 0 7\n done 1\n stepped 0 7",
    );
}

#[test]
fn a_stop_of_a_running_task_is_told_to_its_run() {
    check("stop_running", 1, "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n stop a");
}

#[test]
fn a_stop_of_a_queued_task_ends_it_at_once() {
    check(
        "stop_queued",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n task 0/1 b\n task 0/2 c\n stepped 0 7\n stop b\n stepped 0 7\n stop b",
    );
}

#[test]
fn a_stop_that_comes_before_its_task_is_kept() {
    check("stop_early", 1, "claimed 0/0 7\n known\n stop a\n task 0/0 a");
}

#[test]
fn a_redelivered_task_is_attempted_again() {
    check("redelivered", 1, "known\n claimed 0/5 8 begun 1\n task 0/5 a");
}

#[test]
fn a_task_whose_process_was_lost_is_attempted_again_under_the_same_claim() {
    check(
        "lost_run",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n task 0/1 b\n stepped 0 7\n lost-run 1\n stepped 0 7\n lost-run 2\n stepped 0 7\n lost-run 3\n stepped 0 7",
    );
}

#[test]
fn a_stop_that_a_lost_run_could_not_hear_any_more_holds() {
    check(
        "lost_run_stopped",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n stop a\n lost-run 1\n stepped 0 7",
    );
}

#[test]
fn a_task_that_killed_its_worker_three_times_is_given_up() {
    check("poison", 1, "known\n claimed 0/5 8 begun 3\n task 0/5 a\n task 0/6 b\n stepped 0 8");
}

#[test]
fn a_redelivered_task_that_was_stopped_meanwhile_is_not_run_again() {
    check("redelivered_stopped", 1, "claimed 0/5 8 begun 1\n task 0/5 a\n stop a\n known");
}

#[test]
fn an_attempt_that_is_worth_another_waits_without_a_slot_and_begins_again() {
    check(
        "retry",
        1,
        "claimed 0/0 7\n known\n task 0/0 a flaky\n task 0/1 b\n stepped 0 7\n retry 1\n stepped 0 7\n done 2\n stepped 0 7\n wait 11s\n stepped 0 7\n retry 3\n stepped 0 7\n wait 25s\n stepped 0 7\n retry 4\n stepped 0 7",
    );
}

#[test]
fn a_wait_outlives_its_worker_and_is_no_longer_than_it_may_be() {
    let text = |next_at: u64| {
        let mut ledger = Ledger::read(5, "").unwrap();
        ledger.begin(5, None);
        ledger.retry(5, at(next_at).wall);
        ledger.write()
    };
    check(
        "retry_taken_over",
        1,
        &format!(
            "known\n claimed 0/5 8 {}\n task 0/5 a flaky\n task 0/6 b\n wait 9s\n stepped 0 8\n done 1\n stepped 0 8",
            text(9000)
        ),
    );
    // By a clock that was an hour ahead.
    check("retry_clock_ahead", 1, &format!("known\n claimed 0/5 8 {}\n task 0/5 a flaky\n wait 31s", text(3_600_000)));
}

#[test]
fn a_stop_ends_at_once_what_waits_for_its_next_attempt() {
    check(
        "retry_stopped",
        1,
        "claimed 0/0 7\n known\n task 0/0 a flaky\n stepped 0 7\n retry 1\n stepped 0 7\n stop a force\n stepped 0 7\n wait 30s",
    );
}

#[test]
fn a_stop_that_a_failing_run_could_not_hear_any_more_is_followed_by_no_attempt() {
    check("retry_after_stop", 1, "claimed 0/0 7\n known\n task 0/0 a flaky\n stepped 0 7\n stop a\n retry 1");
}

#[test]
fn lost_attempts_count_like_failed_ones_and_apart_from_them() {
    check(
        "retry_and_lost",
        1,
        "claimed 0/0 7\n known\n task 0/0 a flaky\n stepped 0 7\n lost-run 1\n stepped 0 7\n retry 2\n stepped 0 7\n wait 20s\n stepped 0 7\n lost-run 3",
    );
}

#[test]
fn what_is_not_begun_in_time_fails_and_what_was_begun_does_not() {
    check(
        "queued_too_long",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n task 0/2000 b hasty\n task 0/3000 c hasty\n stepped 0 7\n stop c\n stepped 0 7\n wait 10s",
    );
    check(
        "queued_begun",
        1,
        "claimed 0/0 7\n known\n task 0/0 a hasty\n stepped 0 7\n wait 10s\n lost-run 1\n stepped 0 7",
    );
    check("queued_too_long_elsewhere", 1, "claimed 0/0 7\n wait 10s\n task 0/0 a hasty\n known");
}

#[test]
fn all_attempts_together_have_a_time() {
    // The wait alone would be longer than what is left.
    check("total_no_time", 1, "claimed 0/0 7\n known\n task 0/0 a hasty\n stepped 0 7\n wait 20s\n retry 1");
    // Its turn does not come in time.
    check(
        "total_waiting",
        1,
        "claimed 0/0 7\n known\n task 0/0 a hasty\n stepped 0 7\n retry 1\n stepped 0 7\n task 0/1 b\n stepped 0 7\n wait 30s",
    );
    // What is left goes with the next attempt.
    let mut worker = Worker::new(config(1));
    for (millis, story) in
        [(0, "claimed 0/0 7"), (0, "known"), (0, "task 0/0 a hasty"), (1, "stepped 0 7"), (2, "lost-run 1")]
    {
        worker.handle(parse(story), at(millis));
    }
    let left: Vec<_> = std::iter::from_fn(|| worker.poll())
        .filter_map(|effect| if let Effect::Start(_, spec) = effect { spec.total_left } else { None })
        .collect();
    assert_eq!(left, [Duration::from_secs(25), Duration::from_millis(24_998)]);
}

#[test]
fn no_more_of_a_type_run_than_may_and_the_others_pass_them_by() {
    let mut worker = Worker::new(config(4));
    let begun = |worker: &mut Worker| {
        let mut begun = Vec::new();
        while let Some(effect) = worker.poll() {
            match effect {
                Effect::Start(run, spec) => begun.push(format!("{run} {}", spec.task_id)),
                Effect::Step(step) => worker.handle(Input::Stepped(step.partition, step.epoch, Ok(())), at(0)),
                _ => {}
            }
        }
        begun
    };
    for story in ["claimed 0/0 7", "claimed 1/0 7", "known"] {
        worker.handle(parse(story), at(0));
    }
    // Of one project, of another, of a third; and a task of a type of which any number may run.
    for (partition, offset, id, project) in
        [(0, 0, "a1", "a"), (0, 1, "a2", "a"), (0, 2, "b1", "b"), (1, 0, "c1", "c"), (0, 3, "other", "a")]
    {
        let kind = if id == "other" { "seed-db" } else { "few" };
        let record = TaskRecord { kind: kind.into(), project: project.into(), ..task(id) };
        worker.handle(delivered(Topic::Tasks, partition, offset, id, record.write()), at(0));
    }
    assert_eq!(begun(&mut worker), ["1 a1", "2 b1", "3 other"], "one of each project, two in all");
    worker.handle(Input::Ended(2, outcome(Kind::Done, 9)), at(1));
    assert_eq!(begun(&mut worker), ["4 c1"], "a2 waits for a1, and c1 does not wait for a2");
    worker.handle(parse("stop a2"), at(2));
    worker.handle(Input::Ended(1, outcome(Kind::Done, 9)), at(3));
    assert!(begun(&mut worker).is_empty(), "what waits for its lane is stopped as all that waits");
}

#[test]
fn what_attempts_spent_goes_with_the_next_one() {
    let spent = |dollars, input| Spent { cost: Cost::of_usd(dollars), tokens: Some(Tokens { input, output: 1 }) };
    let mut worker = Worker::new(config(1));
    let told = |worker: &mut Worker| {
        std::iter::from_fn(|| worker.poll())
            .filter_map(|effect| match effect {
                Effect::Start(_, spec) => Some(format!("{:?}", spec.spent)),
                Effect::Step(step) => Some(step.committed.metadata),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    for story in ["claimed 0/0 7", "known", "task 0/0 a flaky", "stepped 0 7"] {
        worker.handle(parse(story), at(0));
    }
    told(&mut worker);
    // It fails, is lost, is handed back: each with what all attempts spent by then.
    let Ending::Outcome(failed) = worth_retry() else { unreachable!("it is an outcome") };
    let failed = Outcome { report: spent(0.5, 10).report(), ..*failed };
    worker.handle(Input::Ended(1, Ending::Outcome(Box::new(failed))), at(1));
    let ledger = told(&mut worker).remove(0);
    assert!(ledger.starts_with("3||0:1!1@") && ledger.contains("$apsw|"), "its cost is in it: {ledger}");
    worker.handle(parse("stepped 0 7"), at(2));
    worker.handle(Input::Timeout, at(20_000));
    assert!(told(&mut worker).contains(&format!("{:?}", spent(0.5, 10))));
    worker.handle(parse("stepped 0 7"), at(20_001));
    worker.handle(Input::Ended(2, Ending::Lost(spent(0.75, 20))), at(20_002));
    assert!(told(&mut worker).contains(&format!("{:?}", spent(0.75, 20))));
    worker.handle(parse("stepped 0 7"), at(20_003));
    worker.handle(Input::Ended(3, Ending::HandedBack(spent(1.0, 30))), at(20_004));
    let ledger = told(&mut worker).pop().unwrap();
    // Whoever claims the partition next knows what it cost, and no more.
    let mut worker = Worker::new(config(1));
    worker.handle(parse(&format!("claimed 0/0 8 {ledger}")), at(30_000));
    for story in ["known", "task 0/0 a flaky 4"] {
        worker.handle(parse(story), at(30_000));
    }
    assert!(told(&mut worker).contains(&format!("{:?}", Spent { tokens: None, ..spent(1.0, 0) })));
    // And begins nothing that has cost more than it may: it was handed back while it was being ended for that.
    let mut worker = Worker::new(config(1));
    worker.handle(parse(&format!("claimed 0/0 9 {ledger}")), at(40_000));
    worker.handle(parse("known"), at(40_000));
    let record = TaskRecord { max_cost_usd: Cost::of_usd(0.9), ..task("a") };
    worker.handle(delivered(Topic::Tasks, 0, 0, "a", record.write()), at(40_000));
    let effects: String = std::iter::from_fn(|| worker.poll()).map(|effect| draw(&effect)).collect();
    assert!(
        !effects.contains("start run") && effects.contains("FAILED: cost 1 USD, and may cost 0.9 USD at most"),
        "{effects}"
    );
}

#[test]
fn a_worker_that_goes_waits_for_the_longest_grace() {
    check(
        "halt_grace",
        1,
        "claimed 0/0 7\n known\n task 0/0 a hasty\n stepped 0 7\n drain\n wait 31s\n wait 44s\n wait 3s",
    );
}

#[test]
fn a_failure_is_dead_lettered_in_the_same_step() {
    check("failed", 1, "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n failed 1\n stepped 0 7");
}

#[test]
fn what_is_no_task_is_dead_lettered_and_passed() {
    check("garbage", 1, "claimed 0/0 7\n known\n garbage 0/0 {\n task 0/1 a no-such-type\n stepped 0 7\n stepped 0 7");
}

#[test]
fn a_task_that_was_sent_twice_runs_once() {
    check("twice", 2, "claimed 0/3 7\n known\n task 0/1 a\n task 0/3 a\n task 0/4 b\n task 0/5 b\n stepped 0 7");
}

#[test]
fn a_lost_claim_abandons_its_runs_and_frees_their_slots_when_they_are_dead() {
    check(
        "lost",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n lost 0\n claimed 0/0 8\n task 0/0 a\n abandoned 1",
    );
}

#[test]
fn a_fenced_end_is_nobodys() {
    check(
        "fenced",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n done 1\n fenced 0 7\n claimed 1/0 9\n task 1/0 b",
    );
}

#[test]
fn a_step_that_the_log_does_not_take_is_taken_again() {
    check("unstepped", 1, "claimed 0/0 7\n known\n task 0/0 a\n unstepped 0 7\n timeout\n stepped 0 7");
}

#[test]
fn once_the_log_has_taken_a_step_the_next_one_waits_as_little_as_the_first() {
    check(
        "step_wait",
        1,
        "claimed 0/0 7\n known\n garbage 0/0 {\n unstepped 0 7\n wait 3s\n unstepped 0 7\n wait 3s\n unstepped 0 7\n wait 3s\n stepped 0 7\n garbage 0/1 {\n unstepped 0 7\n wait 3s",
    );
}

#[test]
fn a_revoked_claim_lets_its_run_end_begins_none_and_is_released_then() {
    check(
        "revoked",
        2,
        "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n revoked 0\n task 0/1 b\n done 1\n stepped 0 7",
    );
}

#[test]
fn a_drain_lets_runs_end_and_begins_none() {
    check("drain", 1, "claimed 0/0 7\n known\n task 0/0 a\n task 0/1 b\n stepped 0 7\n drain\n done 1\n stepped 0 7");
}

#[test]
fn a_halt_hands_back_without_counting_it_against_the_task() {
    check("halt", 1, "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n halt\n handed 1\n stepped 0 7");
}

#[test]
fn a_ledger_of_a_later_version_is_left_alone() {
    check("later_version", 1, "known\n claimed 0/5 8 3||x\n task 0/5 a");
}

#[test]
fn offsets_that_hold_nothing_are_passed() {
    check("gaps", 1, "claimed 0/0 7\n known\n task 0/2 a\n stepped 0 7\n done 1\n stepped 0 7\n task 0/9 b");
}

#[test]
fn a_drain_hands_back_what_still_runs_when_its_time_is_over() {
    check(
        "drain_deadline",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n drain\n wait 40s\n handed 1\n stepped 0 7",
    );
}

#[test]
fn what_can_not_be_handed_back_in_time_is_given_up() {
    check("given_up", 1, "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n drain\n wait 60s\n abandoned 1");
}

#[test]
fn a_revoked_claim_is_released_when_its_last_step_is_durable() {
    check("revoked_in_flight", 1, "claimed 0/0 7\n known\n garbage 0/0 {\n revoked 0\n stepped 0 7");
}

#[test]
fn a_task_that_waits_behind_the_run_of_a_revoked_claim_is_stopped_at_once() {
    check(
        "revoked_stop",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n task 0/1 b\n stepped 0 7\n revoked 0\n stop b\n stepped 0 7\n done 1\n stepped 0 7",
    );
}

#[test]
fn the_answer_to_a_step_of_an_earlier_claim_is_not_taken_for_this_ones() {
    check(
        "stale_answer",
        1,
        "claimed 0/0 7\n known\n garbage 0/0 {\n lost 0\n claimed 0/0 8\n garbage 0/0 {\n stepped 0 7\n garbage 0/1 {\n fenced 0 7\n stepped 0 8",
    );
}

#[test]
fn attempts_that_were_handed_back_do_not_count() {
    check("handed_back_often", 1, "known\n claimed 0/5 8 begun 3 returned 1\n task 0/5 a");
}

#[test]
fn a_task_may_ask_for_fewer_attempts() {
    check("own_max_attempts", 1, "known\n claimed 0/5 8 begun 1\n task 0/5 a seed-db 1");
}

#[test]
fn a_task_may_ask_for_more_attempts() {
    check("own_more_attempts", 1, "known\n claimed 0/5 8 begun 3\n task 0/5 a seed-db 4");
}

#[test]
fn a_task_does_not_begin_beside_its_own_dying_process_though_a_slot_is_free() {
    check(
        "dying",
        2,
        "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n lost 0\n claimed 0/0 8\n task 0/0 a\n abandoned 1",
    );
}

#[test]
fn a_task_is_not_ended_while_its_old_process_is_dying() {
    check(
        "dying_stopped",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n lost 0\n claimed 0/0 8\n task 0/0 a\n stop a\n abandoned 1",
    );
}

#[test]
fn a_task_that_has_ended_is_no_longer_here() {
    check(
        "place_freed",
        1,
        "claimed 0/0 7\n claimed 1/0 7\n known\n task 0/0 a\n stepped 0 7\n done 1\n stepped 0 7\n task 1/0 a",
    );
}

#[test]
fn a_task_whose_partition_was_lost_is_no_longer_here() {
    check(
        "place_lost",
        1,
        "claimed 0/0 7\n claimed 1/0 7\n known\n task 0/0 a\n task 0/1 b\n stepped 0 7\n lost 0\n abandoned 1\n task 1/0 b",
    );
}

#[test]
fn the_oldest_task_of_all_partitions_comes_first() {
    check(
        "oldest",
        1,
        "claimed 0/0 7\n claimed 1/0 7\n known\n task 0/0 a\n task 0/9 c\n task 1/5 b\n stepped 0 7\n done 1\n stepped 0 7",
    );
}

#[test]
fn a_task_under_anothers_key_is_no_task() {
    check("wrong_key", 1, "claimed 0/0 7\n known\n misplaced 0/0 a");
}

#[test]
fn a_key_that_is_used_again_after_a_day_is_another_task() {
    check(
        "key_after_a_day",
        1,
        "claimed 0/0 7\n known\n task 0/0 a\n stepped 0 7\n done 1\n stepped 0 7\n task 0/86399999 a\n stepped 0 7\n task 0/86400000 a",
    );
}

#[test]
fn a_stop_of_a_day_ago_was_another_tasks() {
    check("stop_a_day_ago", 1, "claimed 0/0 7\n known\n stop a\n stop b\n task 0/86399999 a\n task 0/86400000 b");
}

/// `count` tasks at consecutive offsets, `t0` and on, as one delivery.
fn many_tasks(count: usize) -> Input {
    let mut values = ValuesBuilder::default();
    for n in 0..count {
        values.push_with(|buffer| buffer.extend_from_slice(&task(&format!("t{n}")).write()));
    }
    let at = Timestamp::from_millis(0);
    let (topic, key, values) = (Topic::Tasks, bytes::Bytes::new(), values.take());
    Input::Records(Delivered { topic, partition: 0, base_offset: 0, at, key, values })
}

#[test]
fn a_partition_is_read_no_further_than_needed() {
    let mut worker = Worker::new(config(1));
    let mut told = |input| {
        worker.handle(input, at(0));
        let effects = std::iter::from_fn(|| worker.poll());
        effects
            .filter(|e| matches!(e, Effect::Pause(_) | Effect::Resume(_)))
            .map(|e| format!("{e:?}"))
            .collect::<Vec<_>>()
    };
    told(parse("claimed 0/0 7"));
    told(Input::StopsCaughtUp);
    assert_eq!(told(many_tasks(READ_AHEAD_TASKS + 1)), ["Pause(0)"], "one runs, and that many wait");
    for n in 1..READ_AHEAD_TASKS / 2 {
        assert!(told(parse(&format!("stop t{n}"))).is_empty(), "{n}");
    }
    assert_eq!(told(parse(&format!("stop t{}", READ_AHEAD_TASKS / 2))), ["Resume(0)"]);
}

#[test]
fn large_tasks_are_read_no_further_than_memory_goes() {
    let mut worker = Worker::new(config(1));
    worker.handle(parse("claimed 0/0 7"), at(0));
    let mut paused_after = 0;
    while worker.deadline().is_none()
        && paused_after < 100
        && !std::iter::from_fn(|| worker.poll()).any(|e| matches!(e, Effect::Pause(0)))
    {
        let id = format!("t{paused_after}");
        let mut record = task(&id);
        record.params.insert("input".into(), "x".repeat(1 << 20).into());
        worker.handle(delivered(Topic::Tasks, 0, paused_after, &id, record.write()), at(0));
        paused_after += 1;
    }
    assert_eq!(paused_after, (READ_AHEAD_BYTES >> 20) as u64);
}

#[test]
fn gaps_between_offsets_do_not_outgrow_the_ledger() {
    let mut worker = Worker::new(config(1));
    for input in ["claimed 0/0 7", "known"] {
        worker.handle(parse(input), at(0));
    }
    for n in 0..3000 {
        worker.handle(parse(&format!("task 0/{} t{n}", n * 2)), at(0));
    }
    for input in ["stepped 0 7", "done 1", "stepped 0 7"] {
        worker.handle(parse(input), at(0));
    }
    let steps: Vec<_> = std::iter::from_fn(|| worker.poll())
        .filter_map(|e| if let Effect::Step(step) = e { Some(step) } else { None })
        .collect();
    assert_eq!(steps.last().unwrap().committed.offset, 2);
    assert!(steps.iter().all(|step| step.committed.metadata.len() <= MAX_METADATA));
}

/// A world of one partition in which everything may go wrong; it keeps what a log would keep.
#[derive(Default)]
struct Log {
    tasks: Vec<String>,
    offset: u64,
    metadata: String,
    terminals: BTreeMap<String, u32>,
    counted: BTreeMap<String, u32>,
}

impl Log {
    fn take(&mut self, step: &Step) {
        assert!(step.committed.offset >= self.offset, "the watermark went back");
        assert!(step.committed.metadata.len() <= MAX_METADATA);
        for batch in step.batches.iter().filter(|batch| batch.topic == Topic::Progress) {
            for value in batch.values.iter() {
                let record = ProgressRecord::read(value).unwrap();
                let id = record.task_id.to_string();
                match record.kind.unwrap() {
                    Kind::Started => *self.counted.entry(id).or_default() = record.attempt.unwrap(),
                    Kind::Retrying => assert!(record.next_at.is_some() && !self.terminals.contains_key(&id), "{id}"),
                    _ => *self.terminals.entry(id).or_default() += 1,
                }
            }
        }
        self.offset = step.committed.offset;
        self.metadata.clone_from(&step.committed.metadata);
        for (index, id) in self.tasks.iter().enumerate().take(usize::try_from(self.offset).unwrap()) {
            assert!(self.terminals.contains_key(id), "the watermark passed {index}, which has not ended");
        }
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug)]
enum Way {
    Well,
    Badly,
    WorthRetry,
    Lost,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Submit,
    SubmitAgain(prop::sample::Index),
    Stop(prop::sample::Index),
    TakeStep,
    RefuseStep,
    End(prop::sample::Index, Way),
    Wait(u64),
    Crash,
    Fence,
}

fn any_way() -> impl Strategy<Value = Way> {
    prop::sample::select(vec![Way::Well, Way::Badly, Way::WorthRetry, Way::WorthRetry, Way::Lost])
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Submit),
        1 => any::<prop::sample::Index>().prop_map(Act::SubmitAgain),
        1 => any::<prop::sample::Index>().prop_map(Act::Stop),
        6 => Just(Act::TakeStep),
        1 => Just(Act::RefuseStep),
        4 => (any::<prop::sample::Index>(), any_way()).prop_map(|(i, way)| Act::End(i, way)),
        2 => (0u64..40_000).prop_map(Act::Wait),
        1 => Just(Act::Crash),
        1 => Just(Act::Fence),
    ]
}

/// Drives a worker, and loses it when it crashes.
struct World {
    worker: Worker,
    log: Log,
    epoch: u64,
    steps: Vec<Step>,
    runs: BTreeMap<u64, (TaskId, bool)>,
    stopped: BTreeSet<String>,
    millis: u64,
    slots: usize,
}

impl World {
    fn new(slots: usize) -> Self {
        let mut world = Self {
            worker: Worker::new(config(slots)),
            log: Log::default(),
            epoch: 0,
            steps: Vec::new(),
            runs: BTreeMap::new(),
            stopped: BTreeSet::new(),
            millis: 0,
            slots,
        };
        world.claim();
        world
    }

    fn claim(&mut self) {
        self.epoch += 1;
        let (offset, metadata) = (self.log.offset, self.log.metadata.clone());
        self.tell(Input::Claimed { partition: 0, epoch: self.epoch, offset, metadata });
        for id in self.stopped.clone() {
            self.tell(parse(&format!("stop {id}")));
        }
        self.tell(Input::StopsCaughtUp);
        for (offset, id) in self.log.tasks.clone().iter().enumerate() {
            self.read(offset, id);
        }
    }

    fn tell(&mut self, input: Input) {
        self.millis += 10;
        self.worker.handle(input, at(self.millis));
        while let Some(effect) = self.worker.poll() {
            match effect {
                Effect::Step(step) => {
                    self.steps.retain(|earlier| earlier.epoch != step.epoch);
                    self.steps.push(step);
                }
                Effect::Start(run, spec) => {
                    let id = spec.task_id.to_string();
                    assert!(!self.log.terminals.contains_key(&id), "{id} ended, and is run again");
                    assert!(!self.stopped.contains(&id), "{id} was stopped, and is run");
                    assert!(self.runs.values().all(|(other, _)| *other != spec.task_id), "{id} runs twice");
                    assert!(spec.attempt > self.log.counted.get(&id).copied().unwrap_or_default());
                    self.runs.insert(run, (spec.task_id, false));
                    assert!(self.runs.len() <= self.slots);
                }
                Effect::Tell(run, RunInput::Counted) => self.runs.get_mut(&run).unwrap().1 = true,
                Effect::Tell(run, RunInput::Abandon) if self.runs.remove(&run).is_some() => {
                    self.tell(Input::Ended(run, Ending::Abandoned));
                }
                _ => {}
            }
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Submit => self.submit(&format!("t{}", self.log.tasks.len())),
            Act::SubmitAgain(index) if !self.log.tasks.is_empty() => self.submit(&index.get(&self.log.tasks).clone()),
            Act::Stop(index) if !self.log.tasks.is_empty() => {
                let id = index.get(&self.log.tasks).clone();
                self.stop(&id);
            }
            Act::TakeStep => self.take_step(),
            Act::RefuseStep => {
                if let Some(step) = self.steps.pop() {
                    self.tell(Input::Stepped(0, step.epoch, Err(Unstepped::ForNow)));
                    self.millis += 5000;
                    self.tell(Input::Timeout);
                }
            }
            Act::End(index, way) => self.end(|counted| *index.get(counted), way),
            Act::Wait(millis) => self.wait(millis),
            Act::Crash => {
                self.worker = Worker::new(config(self.slots));
                self.steps.clear();
                self.runs.clear();
                self.claim();
            }
            Act::Fence => {
                self.tell(Input::Stepped(0, self.epoch, Err(Unstepped::Fenced)));
                self.steps.clear();
                self.claim();
            }
            Act::SubmitAgain(_) | Act::Stop(_) => {}
        }
    }

    fn wait(&mut self, millis: u64) {
        self.millis += millis;
        if self.worker.deadline().is_some_and(|due| due <= at(self.millis).mono) {
            self.tell(Input::Timeout);
        }
    }

    fn end(&mut self, choose: impl Fn(&[u64]) -> u64, way: Way) {
        let counted: Vec<u64> = self.runs.iter().filter(|(_, (_, counted))| *counted).map(|(run, _)| *run).collect();
        if !counted.is_empty() {
            let run = choose(&counted);
            self.runs.remove(&run);
            let ending = match way {
                Way::Well => outcome(Kind::Done, 9),
                Way::Badly => outcome(Kind::Failed, 9),
                Way::WorthRetry => worth_retry(),
                Way::Lost => Ending::Lost(Spent::default()),
            };
            self.tell(Input::Ended(run, ending));
        }
    }

    fn submit(&mut self, id: &str) {
        let offset = self.log.tasks.len();
        self.log.tasks.push(id.to_owned());
        self.read(offset, id);
    }

    /// Every third task is of a type with retries, and every seventh of one in a hurry.
    fn read(&mut self, offset: usize, id: &str) {
        let number: usize = id[1..].parse().unwrap();
        let kind = if number % 7 == 6 {
            "hasty"
        } else if number % 3 == 2 {
            "flaky"
        } else {
            "seed-db"
        };
        self.tell(parse(&format!("task 0/{offset} {id} {kind}")));
    }

    fn stop(&mut self, id: &str) {
        self.stopped.insert(id.to_owned());
        self.tell(parse(&format!("stop {id}")));
    }

    fn take_step(&mut self) {
        if let Some(step) = self.steps.pop() {
            self.log.take(&step);
            self.tell(Input::Stepped(0, step.epoch, Ok(())));
        }
    }
}

#[test]
fn a_ledger_that_is_full_holds_ends_back_until_the_oldest_task_has_ended() {
    let mut world = World::new(1);
    for n in 0..3000 {
        world.submit(&format!("t{n}"));
    }
    for n in (2..3000).step_by(2) {
        world.stop(&format!("t{n}"));
        world.take_step();
    }
    let ended = world.log.terminals.len();
    assert!((100..1400).contains(&ended), "{ended} have ended, and more would not fit");
    for _ in 0..6000 {
        world.take_step();
        world.end(|counted| counted[0], Way::Well);
    }
    assert_eq!((world.log.offset, world.log.terminals.len()), (3000, 3000));
}

proptest! {
    /// Whatever happens: one end a task, the watermark behind the ends, no attempt uncounted, no stopped task run;
    /// and when it stops happening, every task ends.
    #[test]
    fn a_worker_keeps_its_word(acts in prop::collection::vec(any_act(), 0..120), slots in 1usize..4) {
        let mut world = World::new(slots);
        for act in acts {
            world.act(act);
        }
        for _ in 0..2000 {
            world.take_step();
            world.wait(1000);
            world.end(|counted| counted[0], Way::Well);
        }
        for id in &world.log.tasks {
            prop_assert_eq!(world.log.terminals.get(id), Some(&1), "{}", id);
        }
        prop_assert_eq!(world.log.offset, world.log.tasks.len() as u64);
    }
}
