//! Guarantees 7 and 10: processes, files and machines.

use super::{Broken, ENDS, Kept, Owed, RUNS, check_all};

/// Another worker takes over, and begins the second attempt.
const TAKEN: &str = "
    10ms worker-0 killed
    12s worker-1 claimed 0
    13s broker-0 update a 2-1 started Starting... (attempt 2)
    13s broker-0 ledger 0 begun 0:2";

/// As [`RUNS`], with files.
const FILES: &str = "
    1ms broker-0 task a 0
    2ms worker-0 claimed 0
    3ms broker-0 update a 1-1 started Starting...
    3ms broker-0 ledger 0 begun 0:1
    3ms machine-0 files-made a 1
    4ms machine-0 spawned a 1";

#[test]
fn one_live_process_a_task() {
    let gone = "\n11s machine-0 gone a 1 signal 9";
    check_all(&[
        (
            Kept,
            "one after the other",
            format!(
                "{RUNS}\n9ms machine-0 gone a 1 signal 9{TAKEN}\n14s machine-1 spawned a 2\n15s machine-1 gone a 2 code 0\n16s broker-0 update a 2-2 done DONE\n16s broker-0 ledger 1"
            ),
        ),
        (Broken(7), "two at a time", format!("{RUNS}{TAKEN}\n14s machine-1 spawned a 2")),
        (Broken(7), "after the end", format!("{RUNS}{ENDS}\n902ms machine-1 spawned a 1")),
        (Broken(7), "the same attempt twice", format!("{RUNS}{gone}\n12s machine-0 spawned a 1")),
        (
            Broken(7),
            "an owner that lost its claim begins",
            "1ms broker-0 task a 0
             3ms broker-0 update a 1-1 started Starting...
             3ms broker-0 ledger 0 begun 0:1
             9s broker-0 update a 2-1 started Starting... (attempt 2)
             9s broker-0 ledger 0 begun 0:2
             10s machine-0 spawned a 1"
                .into(),
        ),
    ]);
}

#[test]
fn nothing_is_left() {
    check_all(&[
        (Kept, "the process is gone first", format!("{RUNS}{ENDS}")),
        (
            Broken(10),
            "the task ends while its process lives",
            format!("{RUNS}\n10ms broker-0 update a 1-2 failed FAILED: lost"),
        ),
        (Owed(10), "a process lives at the end of the world", RUNS.into()),
        (Kept, "its files go with it", format!("{FILES}\n900ms machine-0 files-removed a 1{ENDS}")),
        (
            Kept,
            "the files of an attempt that never had a process",
            format!("1ms machine-0 files-made a 1\n2ms machine-0 files-removed a 1{RUNS}{ENDS}"),
        ),
        (
            Broken(10),
            "the task ends while its files are there",
            format!("{FILES}\n900ms machine-0 gone a 1 code 0\n901ms broker-0 update a 1-2 done DONE"),
        ),
        (
            Broken(10),
            "the task ends while files of an earlier attempt are there",
            format!(
                "{FILES}\n9ms machine-0 gone a 1 signal 9{TAKEN}\n14s machine-1 spawned a 2\n15s machine-1 gone a 2 code 0\n16s broker-0 update a 2-2 done DONE"
            ),
        ),
        (Owed(10), "files are there at the end of the world", "1ms machine-0 files-made b 1".into()),
    ]);
}

/// While a machine stands still its tasks go on elsewhere, and end.
#[test]
fn a_machine_that_stands_still_buries_what_was_passed_by() {
    let still = format!("{FILES}\n5ms machine-0 frozen{TAKEN}\n14s machine-1 spawned a 2");
    let buried = "\n20500ms machine-0 gone a 1 signal 9\n20500ms machine-0 files-removed a 1";
    let ends = "
        15s machine-1 gone a 2 code 0
        16s broker-0 update a 2-2 done DONE
        16s broker-0 ledger 1";
    check_all(&[
        (Kept, "it buries it as it goes on", format!("{still}{ends}\n20s machine-0 thawed{buried}")),
        (
            Kept,
            "its task goes on in the moment that it takes to bury its process",
            format!(
                "{FILES}\n5ms machine-0 frozen\n11s machine-0 thawed{TAKEN}\n11500ms machine-1 spawned a 2\n11800ms machine-0 gone a 1 signal 9\n11800ms machine-0 files-removed a 1{ends}"
            )
            .replace("12s", "11100ms")
            .replace("13s", "11200ms"),
        ),
        (Kept, "it stands still once more", format!("{still}{ends}\n17s machine-0 thawed\n17100ms machine-0 frozen\n20s machine-0 thawed{buried}")),
        (Broken(7), "it lets it live", format!("{still}\n20s machine-0 thawed\n21001ms world fault any")),
        (Owed(10), "it never goes on", format!("{still}{ends}")),
        (
            Broken(7),
            "it goes on for long when its task begins elsewhere",
            format!("{FILES}\n5ms machine-0 frozen\n6s machine-0 thawed{TAKEN}\n14s machine-1 spawned a 2"),
        ),
        (
            Broken(7),
            "another machine stands still",
            format!("{FILES}\n5ms machine-2 frozen{TAKEN}\n14s machine-1 spawned a 2"),
        ),
    ]);
}
