//! The oracle's rules, each by histories that keep it and histories that break it. A check that can't fail is a bug.
//!
//! A history is text, a line an event: the time, the node, and a verb of [`teller`].
#![cfg(madsim)]
#![allow(clippy::unwrap_used)]
// A table is as long as it has cases.
#![allow(clippy::too_many_lines)]

mod machines;
mod teller;
mod told;

use baton_sim::oracle::{Oracle, OracleConfig};
use std::time::Duration;
use teller::Teller;

/// Task `a` is on the log, and its first attempt runs on worker 0.
const RUNS: &str = "
    1ms broker-0 task a 0
    2ms worker-0 claimed 0
    3ms broker-0 update a 1-1 started Starting...
    3ms broker-0 ledger 0 begun 0:1
    4ms machine-0 spawned a 1";

/// What comes after [`RUNS`]: it ends well.
const ENDS: &str = "
    900ms machine-0 gone a 1 code 0
    901ms broker-0 update a 1-2 done DONE
    901ms broker-0 ledger 1";

/// What a history shows.
enum Shows {
    /// Nothing wrong, to its end.
    Kept,
    /// That this guarantee is broken: by its last line.
    Broken(u8),
    /// That this guarantee is broken: by what has not come at its end.
    Owed(u8),
}
use Shows::{Broken, Kept, Owed};

fn check(shows: &Shows, story: &str, history: &str) {
    check_with(OracleConfig::default(), shows, story, history);
}

fn check_with(config: OracleConfig, shows: &Shows, story: &str, history: &str) {
    let mut oracle = Oracle::new(config);
    let mut teller = Teller::default();
    let lines: Vec<&str> = history.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for (number, line) in lines.iter().enumerate() {
        for entry in teller.entries(line) {
            let Err(found) = oracle.observe(&entry) else { continue };
            let Broken(guarantee) = shows else { panic!("{story}: at {line:?}: {found}") };
            assert_eq!((found.guarantee, number + 1), (*guarantee, lines.len()), "{story}: at {line:?}: {found}");
            assert!(found.what.len() > 40, "{story}: {found}");
            return;
        }
    }
    let settled = oracle.is_settled();
    match (shows, oracle.finish()) {
        (Kept, Ok(())) => assert!(settled, "{story}"),
        (Kept, Err(found)) => panic!("{story}: at the end: {found}"),
        (Owed(guarantee), Err(found)) => {
            assert_eq!((found.guarantee, settled), (*guarantee, false), "{story}: {found}");
        }
        (Broken(guarantee) | Owed(guarantee), _) => panic!("{story}: guarantee {guarantee} was not seen to be broken"),
    }
}

fn check_all(cases: &[(Shows, &str, String)]) {
    for (shows, story, history) in cases {
        check(shows, story, history);
    }
}

#[test]
fn accepted_means_kept() {
    let posted = "0ms client-0 post 1 key k";
    check_all(&[
        (Kept, "a POST is answered", format!("{posted}{RUNS}\n5ms client-0 accepted 1 a{ENDS}")),
        (
            Kept,
            "a POST with a key is sent twice",
            format!(
                "{posted}\n0ms client-1 post 2 key k{RUNS}\n5ms client-0 accepted 1 a\n5ms client-1 accepted 2 a{ENDS}"
            ),
        ),
        (Kept, "a POST is refused, and its task is kept", format!("{posted}{RUNS}\n5ms client-0 refused 1{ENDS}")),
        (Broken(1), "answered before it is durable", format!("{posted}\n1ms client-0 accepted 1 a")),
        (
            Broken(1),
            "answered with what nobody can read",
            format!("{posted}\n1ms broker-0 garbage 0\n2ms client-0 accepted 1 a"),
        ),
        (
            Broken(1),
            "one key, two tasks",
            format!(
                "{posted}\n0ms client-1 post 2 key k{RUNS}\n5ms broker-0 task b 1\n6ms client-0 accepted 1 a\n6ms client-0 accepted 2 b"
            ),
        ),
        (
            Broken(1),
            "two POSTs, one task",
            format!(
                "0ms client-0 post 1\n0ms client-1 post 2{RUNS}\n5ms client-0 accepted 1 a\n5ms client-1 accepted 2 a"
            ),
        ),
        (Owed(1), "it never ends", "1ms broker-0 task a 0".into()),
        (
            Owed(1),
            "readers never see its end",
            format!(
                "{RUNS}\n5ms machine-0 gone a 1 code 0\n6ms broker-0 durable update a 1-2 done DONE\n6ms broker-0 ledger 1"
            ),
        ),
        (Broken(1), "readers see what can still be lost", "1ms broker-0 visible task a 0".into()),
        (Broken(1), "what runs was never submitted", "1ms machine-0 spawned a 1".into()),
    ]);
}

#[test]
fn commit_after_execute() {
    let begins = "
        3ms broker-0 update a 1-1 started Starting...
        3ms broker-0 ledger 0 begun 0:1";
    check_all(&[
        (Kept, "a task is run", format!("{RUNS}{ENDS}")),
        (
            Kept,
            "out of order, with a second record and one that can't be read",
            format!(
                "{RUNS}
                5ms broker-0 task a 1
                5ms broker-0 garbage 2
                6ms broker-0 letter tasks[0]@2
                6ms broker-0 ledger 0 begun 0:1 ended 1,2
                900ms machine-0 gone a 1 code 0
                901ms broker-0 update a 1-2 done DONE
                901ms broker-0 ledger 3"
            ),
        ),
        (Broken(2), "the watermark passes a task", "1ms broker-0 task a 0\n2ms broker-0 ledger 1".into()),
        (
            Broken(2),
            "an ended range covers a task",
            format!("1ms broker-0 task a 0\n1ms broker-0 task b 1{begins}\n4ms broker-0 ledger 0 begun 0:1 ended 1"),
        ),
        (Broken(2), "a task comes where the watermark is past", format!("{RUNS}{ENDS}\n902ms broker-0 task b 0")),
        (Broken(2), "the watermark goes back", format!("{RUNS}{ENDS}\n902ms broker-0 ledger 0")),
        (Broken(2), "the metadata can't be read", "1ms broker-0 ledger 0 raw 1|||00000000".into()),
        (Broken(2), "the metadata is too long", format!("1ms broker-0 ledger 0 raw {}", "x".repeat(4096))),
        (
            Broken(2),
            "the end comes without its ledger",
            format!(
                "{RUNS}\n5ms machine-0 gone a 1 code 0\n6ms broker-0 update a 1-2 done DONE\n9ms worker-0 claimed 1"
            ),
        ),
        (
            Broken(2),
            "it failed without a dead letter",
            format!(
                "{RUNS}\n5ms machine-0 gone a 1 code 1\n6ms broker-0 update a 1-2 failed FAILED: 1\n6ms broker-0 ledger 1"
            ),
        ),
        (Broken(2), "a dead letter without an end", format!("{RUNS}\n5ms broker-0 letter a\n9ms worker-0 claimed 1")),
        (Broken(2), "unreadable and not buried", "1ms broker-0 garbage 0\n2ms broker-0 ledger 1".into()),
        (
            Broken(2),
            "done, and its process did not say so",
            format!("{RUNS}\n5ms machine-0 gone a 1 code 1\n6ms broker-0 update a 1-2 done DONE"),
        ),
        (
            Broken(2),
            "done, and never run",
            format!("1ms broker-0 task a 0{begins}\n6ms broker-0 update a 1-2 done DONE"),
        ),
    ]);
}

#[test]
fn one_end() {
    let watched = "\n902ms client-0 watching 1 a after 1-1\n903ms client-0 frame 1 1-2 done DONE";
    check_all(&[
        (Kept, "a watcher reads the end", format!("{RUNS}{ENDS}{watched}\n904ms client-0 closed 1 1000")),
        (
            Kept,
            "a line after the end counts for nobody",
            format!("{RUNS}{ENDS}\n902ms broker-0 update a 1-3 line late{watched}\n904ms client-0 closed 1 1000"),
        ),
        (Broken(3), "two ends", format!("{RUNS}{ENDS}\n902ms broker-0 update a 1-3 failed FAILED: x")),
        (Broken(3), "an end that says something else", format!("{RUNS}\n9ms broker-0 update a 1-2 failed DONE")),
        (Broken(3), "a frame after the end", format!("{RUNS}{ENDS}{watched}\n904ms client-0 frame 1 1-3 line late")),
        (
            Broken(3),
            "an end that is not the durable one",
            format!("{RUNS}{ENDS}\n902ms client-0 watching 1 a after 1-1\n903ms client-0 frame 1 1-2 stopped STOPPED"),
        ),
    ]);
}

#[test]
fn no_gap_no_duplicate() {
    let lines = "
        10ms broker-0 update a 1-2 line one
        10ms broker-0 update a 1-3 line two";
    let ends = "
        900ms machine-0 gone a 1 code 0
        901ms broker-0 update a 1-4 done DONE
        901ms broker-0 ledger 1";
    let told = format!("{RUNS}{lines}{ends}\n902ms client-0 watching 1 a");
    let cut = format!("{RUNS}{lines}{ends}\n902ms broker-0 truncated 2");
    let last =
        "\n910ms client-0 frame 1 1-3 line two\n910ms client-0 frame 1 1-4 done DONE\n911ms client-0 closed 1 1000";
    let first = "\n905ms client-0 frame 1 1-1 started Starting...\n906ms client-0 frame 1 1-2 line one";
    check_all(&[
        (Kept, "all of it", format!("{told}{first}{last}")),
        (
            Kept,
            "a watcher breaks off and resumes",
            format!(
                "{told}{first}\n907ms client-0 closed 1 1006\n908ms client-0 watching 2 a after 1-2\n909ms client-0 frame 2 1-3 line two\n910ms client-0 closed 2 1001"
            ),
        ),
        (
            Kept,
            "one that has read the end comes back",
            format!("{RUNS}{ENDS}\n902ms client-0 watching 1 a after 1-2\n903ms client-0 closed 1 1000"),
        ),
        (
            Kept,
            "the log is truncated, and the watcher is told so",
            format!("{cut}\n905ms client-0 watching 1 a\n906ms client-0 frame 1 1-2 truncated [gone]{last}"),
        ),
        (
            Kept,
            "the history expires, and the watcher is told so",
            format!(
                "{told}\n5000s client-0 frame 1 1-3 truncated [gone]\n5000s client-0 frame 1 1-4 done DONE\n5000s client-0 closed 1 1000"
            ),
        ),
        (
            Kept,
            "a foreign line without numbers takes the next one, and a stale line none",
            format!(
                "{RUNS}
                10ms broker-0 update a - line foreign
                11ms broker-0 update a 1-1 line stale
                900ms machine-0 gone a 1 code 0
                901ms broker-0 update a 1-2 done DONE
                901ms broker-0 ledger 1
                905ms client-0 watching 1 a
                906ms client-0 frame 1 1-1 started Starting...
                906ms client-0 frame 1 1-2 line foreign
                906ms client-0 frame 1 1-3 done DONE"
            ),
        ),
        (Broken(4), "a gap", format!("{told}\n905ms client-0 frame 1 1-2 line one")),
        (Broken(4), "a gap in the middle", format!("{told}{first}\n907ms client-0 frame 1 1-4 done DONE")),
        (Broken(4), "a duplicate", format!("{told}{first}\n907ms client-0 frame 1 1-2 line one")),
        (Broken(4), "another text", format!("{told}{first}\n907ms client-0 frame 1 1-3 line three")),
        (Broken(4), "another kind", format!("{told}{first}\n907ms client-0 frame 1 1-3 retrying two")),
        (
            Broken(4),
            "what readers can't see yet",
            format!(
                "{RUNS}\n5ms broker-0 durable update a 1-2 line one\n6ms client-0 watching 1 a after 1-1\n7ms client-0 frame 1 1-2 line one"
            ),
        ),
        (Broken(4), "truncated, and nothing is gone", format!("{told}\n905ms client-0 frame 1 1-2 truncated [gone]")),
        (
            Broken(4),
            "truncated, and too much",
            format!("{cut}\n905ms client-0 watching 1 a\n905ms client-0 frame 1 1-3 truncated [gone]"),
        ),
        (
            Broken(4),
            "truncated, and nothing is between",
            format!("{RUNS}\n905ms client-0 watching 1 a after 1-2\n905ms client-0 frame 1 1-3 truncated [gone]"),
        ),
        (Broken(4), "a line is lost on its way to the log", format!("{RUNS}\n5ms broker-0 update a 1-3 line two")),
        (
            Broken(4),
            "readers get a partition out of order",
            "1ms broker-0 durable task a 0\n1ms broker-0 durable task b 1\n2ms broker-0 visible task b 1\n3ms broker-0 visible task a 0".into(),
        ),
        (Broken(4), "closed as if at the end", format!("{told}{first}\n907ms client-0 closed 1 1000")),
        (
            Broken(4),
            "closed as unknown",
            "0ms broker-0 task a 0\n20s client-0 watching 1 a\n23s client-0 closed 1 4404".into(),
        ),
        (Owed(4), "a watcher waits for ever", format!("{told}{first}")),
    ]);
    let counted = format!(
        "{RUNS}
        10ms broker-0 update a - line foreign{ENDS}
        902ms broker-0 truncated 1
        905ms client-0 watching 1 a
        906ms client-0 frame 1 1-1 line foreign"
    );
    let foreign_first = "
        1ms broker-0 task a 0
        2ms broker-0 update a - line foreign
        3ms client-0 watching 1 a
        4ms client-0 frame 1 1-1 line foreign
        5ms client-0 closed 1 1001
        6ms broker-0 control a
        7ms broker-0 update a 0-1 stopped STOPPED
        7ms broker-0 ledger 1
        8ms client-0 watching 2 a after 1-1
        8ms client-0 frame 2 1-2 stopped STOPPED";
    check(&Kept, "a foreign line comes before all others", foreign_first);
    check(&Broken(4), "a frame of nothing", "1ms client-0 watching 1 a\n2ms client-0 frame 1 1-1 line one");
    check_all(&[
        (
            Kept,
            "who could not count from the first counts otherwise",
            format!("{counted}\n907ms client-0 frame 1 1-2 done DONE"),
        ),
        (Broken(4), "and yet shows nothing twice", format!("{counted}\n907ms client-0 frame 1 1-1 line foreign")),
        (Broken(3), "and yet tells the true end", format!("{counted}\n907ms client-0 frame 1 1-2 stopped STOPPED")),
    ]);
    let unknown = "
        11s world fault api-0 is cut off
        20s client-0 watching 1 a
        23s client-0 closed 1 4404
        24s broker-0 update a 1-2 line x";
    check(&Owed(10), "a replica that is cut off knows nothing", &format!("{RUNS}{unknown}"));
    let healed = "
        11s world fault api-0 is cut off
        13s world healed
        23s client-0 watching 1 a
        27s client-0 closed 1 4404";
    let heals_all = || OracleConfig { heals_all: true, ..OracleConfig::default() };
    let story = "a replica that is well again";
    check_with(heals_all(), &Broken(4), story, &format!("{RUNS}{healed}"));
    check_with(
        heals_all(),
        &Owed(10),
        "one that was well a moment ago",
        &format!("{RUNS}{}", healed.replace("13s", "19s")),
    );
    let brief = OracleConfig { retention: Duration::from_secs(5), ..OracleConfig::default() };
    check_with(
        brief,
        &Kept,
        "a task that is forgotten",
        &format!("{RUNS}{ENDS}\n20s client-0 watching 1 a\n23s client-0 closed 1 4404"),
    );
}

#[test]
fn attempts_are_visible() {
    let second = "
        10ms worker-0 killed
        11ms machine-0 gone a 1 signal 9
        12s worker-1 claimed 0
        13s broker-0 update a 2-1 started Starting... (attempt 2)
        13s broker-0 ledger 0 begun 0:2
        14s machine-1 spawned a 2";
    let ends = "
        15s machine-1 gone a 2 code 0
        16s broker-0 update a 2-2 done DONE
        16s broker-0 ledger 1";
    check_all(&[
        (
            Kept,
            "a second attempt, and a line of the first that comes too late",
            format!(
                "{RUNS}{second}\n14s broker-0 update a 1-2 line stale{ends}\n17s client-0 watching 1 a after 1-1\n17s client-0 frame 1 2-1 started Starting... (attempt 2)\n17s client-0 frame 1 2-2 done DONE"
            ),
        ),
        (Broken(5), "spawned before it is told", "1ms broker-0 task a 0\n4ms machine-0 spawned a 1".into()),
        (
            Broken(5),
            "an attempt of an older number after a newer one",
            format!("{RUNS}{second}{ends}\n17s client-0 watching 1 a after 2-1\n18s client-0 frame 1 1-2 line stale"),
        ),
        (
            Broken(5),
            "an attempt is left out",
            format!("{RUNS}\n5ms broker-0 update a 3-1 started Starting... (attempt 3)"),
        ),
        (Broken(5), "an attempt begins twice", format!("{RUNS}\n5ms broker-0 update a 1-1 started Starting...")),
        (
            Broken(5),
            "a first attempt says another",
            "1ms broker-0 task a 0\n2ms broker-0 update a 1-1 started Starting... (attempt 1)".into(),
        ),
        (Broken(5), "a second attempt says nothing", format!("{RUNS}\n11ms broker-0 update a 2-1 started Starting...")),
        (Broken(5), "counted, and not told", format!("{RUNS}\n5ms broker-0 ledger 0 begun 0:2")),
    ]);
}

#[test]
fn stop_means_stopped() {
    let stop = "
        10ms client-0 stop a
        11ms broker-0 control a
        12ms client-0 stop-answered a";
    let stopped = "
        5s machine-0 gone a 1 signal 15
        6s broker-0 update a 1-2 stopped STOPPED
        6s broker-0 ledger 1";
    let fails = "
        901ms broker-0 update a 1-2 failed FAILED: no config
        901ms broker-0 letter a
        901ms broker-0 ledger 1";
    let begun = "
        1ms broker-0 task a 0
        2ms worker-0 claimed 0
        3ms broker-0 update a 1-1 started Starting...
        3ms broker-0 ledger 0 begun 0:1";
    check_all(&[
        (Kept, "a running task", format!("{RUNS}{stop}\n13ms worker-0 heard a{stopped}")),
        (
            Kept,
            "a queued task",
            format!(
                "1ms broker-0 task a 0\n2ms worker-0 claimed 0{stop}
                13ms worker-0 heard a
                14ms broker-0 update a 0-1 stopped STOPPED
                14ms broker-0 ledger 1"
            ),
        ),
        (Kept, "it had ended by itself", format!("{RUNS}{stop}{ENDS}\n905ms worker-0 heard a")),
        (
            Kept,
            "it had ended before",
            format!("{RUNS}{ENDS}\n910ms broker-0 control a\n911ms client-0 stop-answered a"),
        ),
        (
            Kept,
            "a STOP that no client was promised",
            format!("{RUNS}\n11ms broker-0 control a\n12ms worker-0 heard a{ENDS}"),
        ),
        (Kept, "it failed without a process before its worker heard", format!("{begun}{stop}{fails}")),
        (
            Kept,
            "it failed before its worker heard, and another has the partition when the answer comes",
            format!("{begun}\n11ms broker-0 control a{fails}\n2s worker-1 claimed 0\n3s client-0 stop-answered a"),
        ),
        (Kept, "it failed as its worker heard", format!("{begun}{stop}\n900ms worker-0 heard a{fails}")),
        (Broken(6), "a STOP of the log that is not there", format!("{RUNS}\n13ms worker-0 heard a")),
        (Broken(6), "acknowledged, and not durable", format!("{RUNS}\n12ms client-0 stop-answered a")),
        (
            Broken(6),
            "it goes on to its end",
            format!(
                "{RUNS}{stop}\n13ms worker-0 heard a\n900ms machine-0 gone a 1 code 0\n901ms broker-0 update a 1-2 done DONE"
            ),
        ),
        (
            Broken(6),
            "it goes on to its end, and the answer comes later",
            format!("{RUNS}\n11ms broker-0 control a\n13ms worker-0 heard a{ENDS}\n910ms client-0 stop-answered a"),
        ),
        (
            Broken(6),
            "its own end is told as another",
            format!(
                "{RUNS}{stop}\n13ms worker-0 heard a\n900ms machine-0 gone a 1 signal 15\n901ms broker-0 update a 1-2 failed FAILED: signal"
            ),
        ),
        (
            Broken(6),
            "stopped by nobody",
            format!("{RUNS}\n900ms machine-0 gone a 1 signal 15\n901ms broker-0 update a 1-2 stopped STOPPED"),
        ),
        (
            Broken(6),
            "spawned by a worker that has heard",
            format!("{begun}{stop}\n13ms worker-0 heard a\n500ms machine-0 spawned a 1"),
        ),
        (
            Broken(6),
            "spawned by a worker that took over and had not caught up",
            format!(
                "1ms broker-0 task a 0{stop}
                20ms worker-0 claimed 0
                21ms broker-0 update a 1-1 started Starting...
                21ms broker-0 ledger 0 begun 0:1
                220ms machine-0 spawned a 1"
            ),
        ),
        (
            Broken(6),
            "it failed without a process on a worker that took over",
            format!(
                "1ms broker-0 task a 0{stop}\n20ms worker-0 claimed 0\n901ms broker-0 update a 0-1 failed FAILED: x"
            ),
        ),
        (
            Broken(6),
            "it failed without a process, long after its worker heard",
            format!("{begun}{stop}\n13ms worker-0 heard a\n5s broker-0 update a 1-2 failed FAILED: no config"),
        ),
        (
            Broken(6),
            "a silent process is not stopped",
            format!("{RUNS}{stop}\n20s worker-0 heard a\n40s worker-0 claimed 1"),
        ),
    ]);
    let slow =
        format!("{RUNS}{stop}\n13ms worker-0 heard a\n14ms world fault disk\n16s world healed\n40s worker-0 claimed 1");
    check(&Owed(10), "a silent process on a machine that may not be well", &slow);
}

#[test]
fn poison_ends() {
    let attempt = |n: u32, counts: &str| {
        format!(
            "
            {n}0s broker-0 update a {n}-1 started Starting... (attempt {n})
            {n}0s broker-0 ledger 0 begun 0:{counts}
            {n}1s machine-0 spawned a {n}
            {n}2s machine-0 gone a {n} signal 9"
        )
    };
    let first = format!("{RUNS}\n1s machine-0 gone a 1 signal 9");
    let three = format!("{first}{}{}", attempt(2, "2"), attempt(3, "3"));
    let fails = "\n40s broker-0 update a 3-0 failed FAILED: gave up";
    let begins = "\n40s broker-0 update a 4-1 started Starting... (attempt 4)";
    check_all(&[
        (Kept, "it is given up", format!("{three}{fails}\n40s broker-0 letter a\n40s broker-0 ledger 1")),
        (
            Kept,
            "what is handed back does not count",
            format!(
                "{first}{}{}{}\n43s broker-0 update a 4-0 failed FAILED: gave up\n43s broker-0 letter a\n43s broker-0 ledger 1",
                attempt(2, "2/1"),
                attempt(3, "3/1"),
                attempt(4, "4/1")
            ),
        ),
        (
            Broken(8),
            "a fourth attempt",
            format!("{three}{begins}\n40s broker-0 ledger 0 begun 0:4\n41s machine-0 spawned a 4"),
        ),
        (
            Broken(8),
            "more than the task allows",
            format!(
                "{}\n1s machine-0 gone a 1 signal 9
                20s broker-0 update a 2-1 started Starting... (attempt 2)
                20s broker-0 ledger 0 begun 0:2
                21s machine-0 spawned a 2",
                RUNS.replace("task a 0", "task a 0 max 1")
            ),
        ),
        (Broken(8), "given up without a dead letter", format!("{three}{fails}\n40s broker-0 ledger 1")),
        (Broken(8), "attempts are forgotten", format!("{three}\n40s broker-0 ledger 0 begun 0:2")),
        (
            Broken(8),
            "what was handed back is forgotten",
            format!("{first}{}\n40s broker-0 ledger 0 begun 0:2", attempt(2, "2/1")),
        ),
        (
            Broken(8),
            "told, and not counted",
            "1ms broker-0 task a 0\n2ms broker-0 update a 1-1 started Starting...\n9ms worker-0 claimed 0".into(),
        ),
        (
            Broken(8),
            "spawned before it is counted",
            "1ms broker-0 task a 0\n2ms broker-0 update a 1-1 started Starting...\n2ms machine-0 spawned a 1".into(),
        ),
        (Owed(8), "a second record that nobody passes", format!("{RUNS}{ENDS}\n902ms broker-0 task a 1")),
        (
            Owed(8),
            "a partition that does not move on",
            format!("{RUNS}{ENDS}\n902ms broker-0 garbage 1\n903ms broker-0 letter tasks[0]@1"),
        ),
    ]);
}

#[test]
fn bounded() {
    check_all(&[
        (Kept, "at its limit", "1ms api-0 memory 100 100".into()),
        (Broken(9), "over its limit", "1ms api-0 memory 101 100".into()),
    ]);
}

#[test]
fn what_a_replica_denies_it_has_read_the_log_for() {
    check_all(&[
        (
            Broken(4),
            "what was there before it began",
            format!("{RUNS}{ENDS}\n5s api-0 started\n9s client-0 denied a 6"),
        ),
        (Kept, "what came as it read", format!("0ms api-0 started{RUNS}{ENDS}\n9s client-0 denied a 6")),
        (
            Kept,
            "the word of an earlier life of it comes late",
            format!("0ms api-0 started{RUNS}{ENDS}\n5s api-0 killed\n6s api-0 started\n9s client-0 denied a 3"),
        ),
    ]);
}
