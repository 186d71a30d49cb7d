//! Stories of one run: what happens to it, and a picture of what it does about it.
#![allow(clippy::unwrap_used)]

use baton_core::agent_report::{Cost, Spent};
use baton_core::launch::Launch;
use baton_core::limits::Limits;
use baton_core::output::{Beyond, OutputSettings};
use baton_core::patterns::Patterns;
use baton_core::policy::Policy;
use baton_core::process::{Exit, ExitStatus, Stream, Usage};
use baton_core::project::Project;
use baton_core::run::{Effect, Ending, Input, MAX_PENDING, Run, RunSpec, StopWish, Unfetched};
use baton_core::time::{Instant, Now, Timestamp};
use bytes::Bytes;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::time::Duration;

fn spec() -> RunSpec {
    RunSpec {
        task_id: "abc".parse().unwrap(),
        kind: "agent".into(),
        partition: 0,
        attempt: 1,
        project: "default".parse().unwrap(),
        argv: vec!["agent".into(), "run".into()],
        launch: Launch::default(),
        limits: Limits::default(),
        output: OutputSettings::default(),
        secrets: Vec::new(),
        patterns: Patterns::default(),
        stdin: None,
        files: Vec::new(),
        policy: Policy { run: Some(Duration::from_mins(1)), ..Policy::new(Duration::from_secs(10), 3) },
        spent: Spent::default(),
        total_left: None,
        queued: Duration::from_millis(30),
        max_line: 16,
        traceparent: None,
        seed: 1,
    }
}

fn at(time: Duration) -> Now {
    let wall = Timestamp::from_millis(i64::try_from(time.as_millis()).unwrap());
    Now { mono: Instant::from_start(time), wall }
}

/// One line of a story is `time input`: `5s stop`. Deadlines that come before it are kept.
struct Teller {
    run: Run,
    picture: String,
}

impl Teller {
    fn of(spec: RunSpec) -> Self {
        let mut teller = Self { run: Run::new(spec, at(Duration::ZERO)), picture: String::new() };
        teller.draw("0ns", "begin");
        teller
    }

    fn draw(&mut self, time: &str, what: &str) {
        writeln!(self.picture, "{time:>6} {what}").unwrap();
        while let Some(effect) = self.run.poll() {
            let drawn = match effect {
                Effect::Fetch(project) => format!("fetch {project}"),
                Effect::Spawn(spawn) => format!("spawn {:?} attempt {}", spawn.argv, spawn.attempt),
                Effect::Signal(signal) => format!("signal {signal:?}"),
                Effect::Append(values) => {
                    let lines: Vec<_> = values.iter().map(|v| String::from_utf8_lossy(v).into_owned()).collect();
                    format!("append\n           {}", lines.join("\n           "))
                }
                Effect::End(Ending::Outcome(o)) => {
                    let account = serde_json::to_string(&o.account).unwrap();
                    let said =
                        o.report.as_ref().map_or(String::new(), |r| format!(" {}", serde_json::to_string(r).unwrap()));
                    let retry = if o.worth_retry { "worth a retry, " } else { "" };
                    format!(
                        "end {:?} {retry}seq={} reason={:?} exit={:?} last={:?}\n           {account}{said}",
                        o.kind, o.seq, o.reason, o.exit, o.last_lines
                    )
                }
                Effect::End(ending) => format!("end {ending:?}"),
            };
            writeln!(self.picture, "       > {drawn}").unwrap();
        }
    }

    fn until(&mut self, time: Duration) {
        while let Some(deadline) = self.run.deadline().map(Instant::since_start).filter(|d| *d <= time) {
            self.run.handle(Input::Timeout, at(deadline));
            self.draw(&format!("{deadline:?}"), "(deadline)");
        }
    }

    fn tell(&mut self, line: &str) {
        let (time, what) = line.trim().split_once(' ').unwrap();
        let elapsed = parse_time(time);
        self.until(elapsed);
        self.run.handle(parse_input(what.trim()), at(elapsed));
        self.draw(time, what.trim());
    }
}

fn parse_time(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse().unwrap()),
        None => Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap()),
    }
}

fn parse_input(what: &str) -> Input {
    let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
    let exit = |status| Input::Exited(Exit::of(status));
    match verb {
        "counted" => Input::Counted,
        "fetched" => Input::Fetched(Ok(Project::from_json(br#"{"env": {"A": "1"}}"#).unwrap())),
        "fetched-secrets" => {
            Input::Fetched(Ok(Project::from_json(br#"{"env": {"API_KEY": "sk-12345", "REGION": "eu-west"}}"#).unwrap()))
        }
        "unknown" => Input::Fetched(Err(Unfetched::ForGood("the project is unknown".into()))),
        "unreachable" => Input::Fetched(Err(Unfetched::ForNow("no answer".into()))),
        "spawned" => Input::Spawned(Ok(())),
        "unspawned" => Input::Spawned(Err("could not start agent: no such file".into())),
        "out" => Input::Output(Stream::Stdout, unescaped(rest)),
        "err" => Input::Output(Stream::Stderr, unescaped(rest)),
        "exit" => exit(ExitStatus::Code(rest.parse().unwrap())),
        "used" => {
            let usage = Usage { cpu: Duration::from_millis(1500), peak_memory: 7 << 20 };
            Input::Exited(Exit { usage: Some(usage), ..Exit::of(ExitStatus::Code(rest.parse().unwrap())) })
        }
        "left-behind" => {
            Input::Exited(Exit { survivors_killed: true, ..Exit::of(ExitStatus::Code(rest.parse().unwrap())) })
        }
        "oom" => Input::Exited(Exit { out_of_memory: true, ..Exit::of(ExitStatus::Signal(9)) }),
        "died" => exit(ExitStatus::Signal(rest.parse().unwrap())),
        "lost" => Input::Lost,
        "appended" => Input::Appended(Ok(())),
        "unappended" => Input::Appended(Err("disk full".into())),
        "stop" => Input::Stop(StopWish { force: rest.contains("force"), by: rest.strip_prefix("by ").map(Into::into) }),
        "hand-back" => Input::HandBack { at_once: rest == "at once" },
        "abandon" => Input::Abandon,
        "later" => Input::Timeout,
        _ => panic!("no such input: {what}"),
    }
}

fn unescaped(text: &str) -> Bytes {
    text.replace("\\n", "\n").replace("\\r", "\r").into()
}

fn check(name: &str, story: &str) {
    check_of(name, spec(), story);
}

/// A story of a run that has these limits.
fn check_limits(name: &str, limits: impl FnOnce(&mut RunSpec), story: &str) {
    let mut spec = spec();
    limits(&mut spec);
    check_of(name, spec, story);
}

fn check_of(name: &str, spec: RunSpec, story: &str) {
    let mut teller = Teller::of(spec);
    story.lines().filter(|line| !line.trim().is_empty()).for_each(|line| teller.tell(line));
    insta::with_settings!({ description => story, omit_expression => true }, {
        insta::assert_snapshot!(name, teller.picture);
    });
}

const ALIVE: &str = "1ms counted\n2ms fetched\n5ms spawned\n";

#[test]
fn a_task_that_ends_well() {
    check(
        "done",
        &(ALIVE.to_owned()
            + "6ms out one\\ntw\n7ms out o\\nthree\n8ms appended\n9ms exit 0\n10ms appended\n11ms appended"),
    );
}

#[test]
fn a_line_that_is_not_over_is_shown_as_it_stands() {
    check(
        "progress",
        &(ALIVE.to_owned()
            + "6ms out 10 %\\r20 %\n200ms out \\r30 %\n550ms appended\n600ms out \\r40 %\n900ms out \\r99 %\\n\n1s appended\n\
               2s err Really? \n3s appended\n4s exit 0\n5s appended"),
    );
}

#[test]
fn secrets_of_the_project_and_of_the_params_are_taken_out() {
    let spec = RunSpec { secrets: vec!["hunter2000".into()], max_line: 64, ..spec() };
    check_of(
        "redacted",
        spec,
        "1ms counted\n2ms fetched-secrets\n5ms spawned\n6ms out the key is sk-1\n7ms out 2345 in eu-west\\n\n8ms appended\n\
         9ms err no hunter2000 here\\n\n10ms appended\n11ms exit 1\n12ms appended",
    );
}

#[test]
fn what_the_agent_says_of_its_work_stands_beside_its_lines() {
    let spent = Spent { cost: Cost::of_usd(0.5), tokens: None };
    let spec = RunSpec { max_line: 200, spent, ..spec() };
    check_of(
        "report",
        spec.clone(),
        "1ms counted\n2ms fetched-secrets\n5ms spawned\n\
         6ms out {\"baton\": {\"progress\": 0.5, \"status\": \"sk-\\u00312345\"}}\\nplain\\n\n7ms appended\n\
         8ms err {\"baton\": {\"cost_usd\": 0.1, \"result\": [1], \"speed\": 3}}\\n\n9ms appended\n\
         10ms out {\"baton\": {\"progress\": 1}}\n11ms exit 0\n12ms appended",
    );
    let output = OutputSettings { reports: false, ..OutputSettings::default() };
    let story = ALIVE.to_owned() + "6ms out {\"baton\": {\"cost_usd\": 9}}\\n\n7ms appended\n8ms hand-back\n9ms exit 0";
    check_of("report_off", RunSpec { output, ..spec.clone() }, &story);
    check_of("report_handed_back", spec, &story);
}

#[test]
fn a_cost_beyond_the_budget_ends_the_attempt() {
    let policy = Policy {
        max_cost: Cost::of_usd(1.0),
        exits: serde_json::from_str(r#"{"retry": [1]}"#).unwrap(),
        ..spec().policy
    };
    let spent = Spent { cost: Cost::of_usd(0.5), tokens: None };
    let spec = RunSpec { policy, spent, max_line: 200, ..spec() };
    let says = |cost: &str| format!("out {{\"baton\": {{\"cost_usd\": {cost}}}}}");
    for (name, story) in [
        (
            "cost",
            format!(
                "6ms {0}\\n\n7ms appended\n8ms {1}\\n\n9ms appended\n11s exit 1\n12s appended",
                says("0.5"),
                says("0.51")
            ),
        ),
        ("cost_at_the_end", format!("6ms {}\n7ms exit 0\n8ms appended", says("0.51"))),
        ("cost_and_stop", format!("6ms {}\\n\n7ms appended\n8ms stop\n9ms exit 1", says("0.51"))),
    ] {
        check_of(name, spec.clone(), &(ALIVE.to_owned() + &story));
    }
}

#[test]
fn what_goes_beyond_a_budget_is_left_out_and_counted() {
    let output = OutputSettings { max_rate: Some(2), ..OutputSettings::default() };
    // What is left out is read all the same.
    let said = RunSpec { output, max_line: 200, ..spec() };
    check_of(
        "left_out_report",
        said,
        &(ALIVE.to_owned()
            + "6ms out 1\\n2\\n{\"baton\": {\"cost_usd\": 1}}\\n\n7ms appended\n2s out 5\\n\n3s appended"),
    );
    check_of(
        "left_out",
        RunSpec { output, ..spec() },
        &(ALIVE.to_owned()
            + "6ms out 1\\n2\\n3\\n4\\n\n7ms appended\n1s out 5\\n6\\n7\\n8\\n\n1100ms appended\n1200ms exit 1\n1300ms appended"),
    );
}

#[test]
fn what_goes_beyond_a_budget_ends_the_attempt_where_its_type_says_so() {
    let output = OutputSettings { max_rate: Some(2), beyond: Beyond::Fail, ..OutputSettings::default() };
    let spec = RunSpec { output, ..spec() };
    for (name, story) in [
        ("written_too_much", "6ms out 1\\n2\\n3\\n\n7ms appended\n8ms out 4\\n\n9ms exit 0\n10ms appended"),
        ("written_too_much_at_the_end", "6ms out 1\\n2\\n3\n7ms exit 0\n8ms appended\n9ms appended"),
    ] {
        check_of(name, spec.clone(), &(ALIVE.to_owned() + story));
    }
}

#[test]
fn the_attempt_is_counted_before_the_process_is_made() {
    check("counted_first", "1ms fetched\n50ms counted\n51ms spawned");
}

#[test]
fn a_failure_quotes_the_exit_and_the_last_line_of_stderr() {
    check(
        "failed",
        &(ALIVE.to_owned()
            + "6ms err Traceback\\nValueError: x\\n\\n\n7ms out bye\n8ms exit 3\n9ms appended\n10ms appended"),
    );
}

#[test]
fn it_is_said_that_what_an_agent_left_behind_was_ended() {
    check("left_behind", &(ALIVE.to_owned() + "6ms out bye\n7ms left-behind 0\n8ms appended\n9ms appended"));
    // Who stops a task wants all of it to end.
    check("left_behind_at_a_stop", &(ALIVE.to_owned() + "6ms stop\n7ms appended\n8ms left-behind 1\n9ms appended"));
}

#[test]
fn an_agent_is_told_when_it_will_be_ended_and_whose_trace_it_is_part_of() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let minute = Duration::from_mins(1);
    for (run, total_left, deadline) in [
        (None, None, None),
        (Some(minute), None, Some(2 + 60_000)),
        (Some(minute), Some(minute / 2), Some(30_000)), // which began with the run
        (None, Some(minute), Some(60_000)),
    ] {
        let policy = Policy { run, ..spec().policy };
        let spec = RunSpec { policy, total_left, traceparent: Some(trace.parse().unwrap()), ..spec() };
        let mut teller = Teller::of(spec);
        teller.run.handle(parse_input("counted"), at(Duration::from_millis(1)));
        teller.run.handle(parse_input("fetched"), at(Duration::from_millis(2)));
        let Some(Effect::Spawn(spawn)) = teller.run.poll() else { panic!("there is no process to be made") };
        assert_eq!(spawn.deadline, deadline.map(Timestamp::from_millis), "{run:?} {total_left:?}");
        assert_eq!(spawn.traceparent.map(|trace| trace.to_string()).as_deref(), Some(trace));
    }
}

#[test]
fn stop_reaches_a_silent_agent() {
    check("stop_silent", &(ALIVE.to_owned() + "5s stop\n5005ms appended\n5010ms died 15"));
}

#[test]
fn an_agent_that_ignores_sigterm_is_killed_when_its_grace_is_over() {
    check(
        "stop_stubborn",
        &(ALIVE.to_owned() + "5s stop\n5005ms appended\n6s stop\n7s out still here\\n\n8s appended\n16s died 9"),
    );
}

#[test]
fn a_process_that_is_lost_ends_its_attempt_and_not_its_task() {
    check("lost", &(ALIVE.to_owned() + "6ms out one\\ntwo\n7ms lost\n8ms appended\n9ms appended"));
}

#[test]
fn a_process_that_is_lost_as_it_is_stopped_is_stopped() {
    check("lost_stopped", &(ALIVE.to_owned() + "5s stop\n5005ms lost\n5006ms appended"));
}

#[test]
fn stop_before_the_process_is_made_makes_none() {
    check("stop_preparing", "1ms counted\n2ms stop\n3ms fetched\n4ms spawned");
}

#[test]
fn stop_while_the_process_is_being_made_ends_it() {
    check("stop_spawning", "1ms counted\n2ms fetched\n3ms stop\n4ms spawned\n5ms appended\n6ms died 15");
}

#[test]
fn a_stop_outweighs_a_hand_back_while_the_process_is_being_made() {
    check(
        "stop_and_hand_back_spawning",
        "1ms counted\n2ms fetched\n3ms stop\n4ms hand-back at once\n5ms spawned\n6ms died 9",
    );
}

#[test]
fn a_process_that_is_to_end_at_once_gets_no_grace_from_a_stop() {
    check(
        "at_once_and_stop_spawning",
        "1ms counted\n2ms fetched\n3ms hand-back at once\n4ms stop\n5ms spawned\n6ms died 9",
    );
}

#[test]
fn an_agent_that_ended_by_itself_before_the_stop_is_not_stopped() {
    check("stop_too_late", &(ALIVE.to_owned() + "6ms out bye\\n\n7ms exit 0\n8ms stop\n9ms appended\n10ms stop"));
}

#[test]
fn a_project_that_is_unknown_fails_the_task() {
    check("project_unknown", "1ms counted\n2ms unknown");
}

#[test]
fn a_project_api_that_is_down_is_asked_again_and_then_given_up() {
    check(
        "project_unreachable",
        "1ms counted\n2ms unreachable\n1s unreachable\n3s unreachable\n6s unreachable\n12s unreachable\n20s unreachable\n30s later",
    );
}

#[test]
fn an_agent_that_can_not_be_started_fails_the_task() {
    check("unspawned", "1ms counted\n2ms fetched\n3ms unspawned");
}

#[test]
fn lines_that_the_log_does_not_take_are_sent_again_before_the_end() {
    check(
        "append_again",
        &(ALIVE.to_owned() + "6ms out one\\n\n7ms unappended\n1s unappended\n2s exit 0\n5s appended"),
    );
}

#[test]
fn once_the_log_has_taken_lines_the_next_ones_wait_as_little_as_the_first() {
    check(
        "append_wait",
        &(ALIVE.to_owned()
            + "6ms out one\\n\n7ms unappended\n1s unappended\n2s unappended\n5s appended\n5001ms out two\\n\n5002ms unappended\n6s appended"),
    );
}

#[test]
fn the_pipe_is_left_full_while_the_log_is_slow() {
    let mut run = Run::new(RunSpec { max_line: 4096, ..spec() }, at(Duration::ZERO));
    let mut tell = |input| {
        run.handle(input, at(Duration::ZERO));
        run.wants_output()
    };
    for line in ALIVE.lines() {
        assert!(tell(parse_input(line.split_once(' ').unwrap().1)));
    }
    let line = || Input::Output(Stream::Stdout, [[b'x'; 1023].as_slice(), b"\n"].concat().into());
    assert!(tell(line()), "it is on its way, and nothing waits");
    let taken = (1..=MAX_PENDING).find(|_| !tell(line())).unwrap();
    assert!((MAX_PENDING / 2048..=MAX_PENDING / 1024).contains(&taken), "{taken} lines of 1 KiB");
    assert!(!tell(Input::Timeout));
    assert!(tell(Input::Appended(Ok(()))), "all that waited is on its way");
}

#[test]
fn a_lost_claim_kills_at_once_and_writes_nothing_more() {
    check(
        "abandon",
        &(ALIVE.to_owned() + "6ms out one\\ntwo\\nth\n7ms abandon\n8ms out ree\\n\n9ms stop\n2s died 9\n3s appended"),
    );
}

#[test]
fn a_worker_that_goes_hands_its_run_back() {
    check(
        "hand_back",
        &(ALIVE.to_owned() + "6ms out one\\n\n1s hand-back\n2s hand-back at once\n3s died 9\n4s appended"),
    );
}

#[test]
fn a_stop_outweighs_a_hand_back() {
    check("stop_and_hand_back", &(ALIVE.to_owned() + "1s hand-back\n2s stop\n3s died 15"));
}

#[test]
fn a_task_that_runs_too_long_is_ended() {
    check("timeout", &(ALIVE.to_owned() + "61s appended\n70s out bye\\n\n71s appended\n72s died 9"));
}

#[test]
fn a_process_that_is_silent_for_too_long_is_ended_and_output_begins_the_time_anew() {
    let silent = |spec: &mut RunSpec| spec.policy.silence = Some(Duration::from_secs(5));
    check_limits(
        "silence",
        silent,
        &(ALIVE.to_owned()
            + "3s out one\\n\n4s appended\n7s err x\n13s appended\n14s died 15\n15s appended\n16s appended"),
    );
}

#[test]
fn all_attempts_together_have_a_time_and_it_goes_on_while_the_config_is_fetched() {
    let short = |spec: &mut RunSpec| {
        spec.policy.total = Some(Duration::from_secs(20));
        spec.total_left = Some(Duration::from_secs(3));
    };
    check_limits("total", short, &(ALIVE.to_owned() + "4s appended\n5s died 15\n6s appended"));
    check_limits("total_preparing", short, "1ms counted\n4s fetched");
    check_limits("total_spawning", short, "1ms counted\n2ms fetched\n4s spawned\n5s appended\n6s died 15\n7s appended");
}

#[test]
fn a_stop_by_force_leaves_no_grace_also_after_one_without() {
    check("force", &(ALIVE.to_owned() + "5s stop by alice\n6s stop force\n7s stop force\n8s appended\n9s died 9"));
    check("force_first", &(ALIVE.to_owned() + "5s stop force\n6s stop\n7s died 9"));
    check("force_spawning", "1ms counted\n2ms fetched\n3ms stop force\n4ms spawned\n5ms died 9");
    check("force_after_timeout", &(ALIVE.to_owned() + "61s appended\n62s stop force\n63s died 9"));
}

#[test]
fn a_type_says_what_ends_mean() {
    for (name, end) in [
        ("done_code", "exit 3"),
        ("failed_code", "exit 2"),
        ("retry_code", "exit 75"),
        ("retry_signal", "died 11"),
        ("retry_memory", "oom"),
        ("other_code", "exit 4"),
    ] {
        let exits =
            r#"{"done": [3], "failed": [2], "retry": [75, "SIGSEGV", "out-of-memory", "spawn", "silence-timeout"]}"#;
        let policy = |spec: &mut RunSpec| spec.policy.exits = serde_json::from_str(exits).unwrap();
        check_limits(
            &format!("exits_{name}"),
            policy,
            &(ALIVE.to_owned() + "1s err no\\n\n2s " + end + "\n3s appended"),
        );
    }
    let policy = |spec: &mut RunSpec| spec.policy.exits = serde_json::from_str(r#"{"retry": ["spawn"]}"#).unwrap();
    check_limits("exits_spawn", policy, "1ms counted\n2ms fetched\n3ms unspawned");
}

#[test]
fn an_ending_says_what_was_used() {
    check("used", &(ALIVE.to_owned() + "1s out one\\ntwo\n2s stop\n3s used 0\n4s appended\n5s appended"));
}

fn any_input() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "counted",
        "fetched",
        "unknown",
        "unreachable",
        "spawned",
        "unspawned",
        "out x\\ny",
        "err z\\n",
        "exit 0",
        "exit 1",
        "died 9",
        "appended",
        "unappended",
        "stop",
        "stop force",
        "oom",
        "hand-back",
        "hand-back at once",
        "abandon",
        "later",
    ])
}

/// What makes a process live: by chance alone it seldom would.
const BIRTH: [&str; 3] = ["counted", "fetched", "spawned"];

proptest! {
    /// Whatever comes, in whatever order: one end at most, nothing after it, one append at a time, nothing written
    /// once the claim is lost, no process before the attempt is counted.
    #[test]
    fn a_run_keeps_its_word(
        lives in 0..=BIRTH.len(),
        inputs in prop::collection::vec((any_input(), 0u64..3000), 0..60),
    ) {
        let inputs = BIRTH[..lives].iter().map(|input| (*input, 0)).chain(inputs);
        let mut run = Run::new(spec(), at(Duration::ZERO));
        let (mut time, mut ended, mut abandoned, mut counted, mut in_flight) = (Duration::ZERO, false, false, false, false);
        for (input, wait) in inputs {
            time += Duration::from_millis(wait);
            abandoned |= input == "abandon";
            counted |= input == "counted";
            if input.ends_with("appended") {
                in_flight = false;
            }
            run.handle(parse_input(input), at(time));
            while let Some(effect) = run.poll() {
                prop_assert!(!ended, "{effect:?} after the end");
                match effect {
                    Effect::Append(_) => {
                        prop_assert!(!in_flight && !abandoned);
                        in_flight = true;
                    }
                    Effect::Spawn(_) => prop_assert!(counted),
                    Effect::End(ending) => {
                        ended = true;
                        prop_assert!(!abandoned || ending == Ending::Abandoned, "{ending:?}");
                    }
                    Effect::Fetch(_) | Effect::Signal(_) => {}
                }
            }
        }
    }

    /// If the outside world answers everything in the end, the run ends.
    #[test]
    fn a_run_ends(inputs in prop::collection::vec((any_input(), 0u64..3000), 0..30)) {
        let mut run = Run::new(spec(), at(Duration::ZERO));
        let mut time = Duration::ZERO;
        for (input, wait) in inputs {
            time += Duration::from_millis(wait);
            run.handle(parse_input(input), at(time));
        }
        let mut ended = std::iter::from_fn(|| run.poll()).any(|effect| matches!(effect, Effect::End(_)));
        for input in ["counted", "fetched", "spawned", "appended", "exit 0", "later", "appended", "later", "appended", "appended"] {
            time += Duration::from_secs(30);
            run.handle(parse_input(input), at(time));
            ended |= std::iter::from_fn(|| run.poll()).any(|effect| matches!(effect, Effect::End(_)));
        }
        prop_assert!(ended, "{run:?}");
    }
}
