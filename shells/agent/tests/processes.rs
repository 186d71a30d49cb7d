//! Real processes that misbehave: what is heard of each, and that nothing is left of it, with namespaces and without.
#![allow(clippy::unwrap_used)]

mod site;

use baton_core::process::{ExitStatus, Signal, Spawn};
use baton_runtime::ports::{Agents as _, Process as _};
use site::{PATIENCE, Site, WELL, hear, living, spawn, until_ready};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[tokio::test]
async fn output_and_exit_are_heard() {
    for site in Site::each() {
        let (heard, exit) = hear(&mut site.spawn("exits --code 3 --text no-luck").await).await;
        assert_eq!((heard.err.as_str(), exit.status), ("no-luck\n", ExitStatus::Code(3)));
        let (heard, exit) = hear(&mut site.spawn("lines --lines 3 --text x").await).await;
        assert_eq!((heard.out.lines().count(), exit.status), (3, WELL));
        site.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_flood_on_one_stream_does_not_hold_the_other_up() {
    for site in Site::each() {
        let (heard, exit) = hear(&mut site.spawn("flood").await).await;
        assert_eq!((heard.out.as_str(), heard.err.len(), exit.status), ("after the flood\n", 1024 * 1024, WELL));
    }
}

#[tokio::test]
async fn every_line_of_a_firehose_arrives_however_slowly_it_is_read() {
    for site in Site::each() {
        let mut process = site.spawn("lines --lines 100000 --text abc").await;
        // Long enough for the agent to be done and the pipe to be full, were it not for back-pressure.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (heard, exit) = hear(&mut process).await;
        assert_eq!((heard.out.lines().count(), exit.status), (100_000, WELL));
        assert!(heard.out.ends_with("line 100000 of 100000: abc\n"));
    }
}

#[tokio::test]
async fn a_process_that_dies_by_a_signal_says_which() {
    for site in Site::each() {
        let (_, exit) = hear(&mut site.spawn("dies --code 11").await).await;
        assert_eq!(exit.status, ExitStatus::Signal(11));
    }
}

#[tokio::test]
async fn sigterm_ends_a_silent_process_and_sigkill_a_stubborn_one() {
    for site in Site::each() {
        let mut silent = site.spawn("silent").await;
        until_ready(&mut silent).await;
        silent.signal(Signal::Terminate);
        assert_eq!(hear(&mut silent).await.1.status, ExitStatus::Signal(15));
        let mut stubborn = site.spawn("stubborn").await;
        until_ready(&mut stubborn).await;
        stubborn.signal(Signal::Terminate);
        stubborn.signal(Signal::Kill);
        assert_eq!(hear(&mut stubborn).await.1.status, ExitStatus::Signal(9));
        site.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_process_that_is_stopped_hears_sigterm() {
    for site in Site::each() {
        let mut stopped = site.spawn("stopped").await;
        until_ready(&mut stopped).await;
        stopped.signal(Signal::Terminate);
        assert_eq!(hear(&mut stopped).await.1.status, ExitStatus::Signal(15));
    }
}

#[tokio::test]
async fn whatever_a_process_leaves_behind_is_ended() {
    for site in Site::each() {
        for mode in ["child", "detached", "daemon", "brood"] {
            let began = Instant::now();
            let mut process = site.spawn(mode).await;
            if mode == "brood" {
                until_ready(&mut process).await;
                process.signal(Signal::Terminate);
            }
            let (_, exit) = hear(&mut process).await;
            // SIGTERM may have ended the whole brood.
            assert!(exit.survivors_killed || mode == "brood", "{mode}");
            site.assert_nothing_left();
            assert!(began.elapsed() < PATIENCE / 2, "{mode}");
        }
    }
}

#[tokio::test]
async fn a_kill_takes_daemons_with_it() {
    for site in Site::each() {
        for mode in ["detached --stay", "daemon --stay"] {
            let mut process = site.spawn(mode).await;
            until_ready(&mut process).await;
            process.signal(Signal::Kill);
            assert!(hear(&mut process).await.1.survivors_killed, "{mode}");
            site.assert_nothing_left();
        }
    }
}

#[tokio::test]
async fn a_process_that_is_dropped_is_killed() {
    for site in Site::each() {
        let mut process = site.spawn("daemon --stay").await;
        until_ready(&mut process).await;
        drop(process);
        site.until_nothing_left().await;
    }
}

#[tokio::test]
async fn private_files_are_private_and_go() {
    for site in Site::each() {
        let (heard, exit) = hear(&mut site.spawn("files").await).await;
        let first = heard.out.lines().next().unwrap();
        assert!(first.starts_with("600 700 "), "{first}");
        assert!(heard.out.contains("{\"db_conn\":\"x\"}"));
        assert_eq!(exit.status, WELL);
        site.assert_nothing_left();
    }
}

#[tokio::test]
async fn the_environment_is_what_it_must_be() {
    for site in Site::each() {
        let (heard, _) = hear(&mut site.spawn("environment").await).await;
        let names: Vec<_> = heard.out.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        for name in ["BATON_ATTEMPT", "BATON_PROJECT_FILE", "BATON_TASK_ID", "GREETING", "PATH", "TMPDIR"] {
            assert!(names.contains(&name), "{name}");
        }
        assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said_in_words() {
    for site in Site::each() {
        let nothing = Spawn { argv: vec!["no-such-agent".into()], ..spawn("") };
        let why = site.agents.spawn(nothing).await.err().unwrap();
        assert_eq!(
            why,
            "could not start no-such-agent: there is no such program on this worker (is it installed, and on PATH?)"
        );
        let long = Spawn { argv: vec!["true".into(), "x".repeat(200_000)], ..spawn("") };
        let why = site.agents.spawn(long).await.err().unwrap();
        assert_eq!(why, "could not start true: its arguments are longer than the system takes");
        site.assert_nothing_left();
    }
}

/// What a run may do, and what ends it if it does not end by itself.
const MISCHIEF: [(&str, Option<Signal>); 20] = [
    ("lines --lines 50", None),
    ("exits --code 3", None),
    ("dies --code 11", None),
    ("flood", None),
    ("odd", None),
    ("long", None),
    ("mute", None),
    ("child", None),
    ("detached", None),
    ("daemon", None),
    ("silent", Some(Signal::Terminate)),
    ("stopped", Some(Signal::Terminate)),
    ("brood", Some(Signal::Terminate)),
    ("stubborn", Some(Signal::Kill)),
    ("chatty", Some(Signal::Kill)),
    ("child --stay", Some(Signal::Kill)),
    ("detached --stay", Some(Signal::Kill)),
    ("daemon --stay", Some(Signal::Kill)),
    ("wiped --stay", Some(Signal::Kill)),
    ("tree --lines 20", Some(Signal::Kill)),
];
const RUNS: u32 = 120;
const AT_A_TIME: u32 = 6;

#[tokio::test]
async fn hundreds_of_runs_that_misbehave_side_by_side_leave_nothing() {
    for site in Site::each() {
        let mut lanes = JoinSet::new();
        for lane in 0..AT_A_TIME {
            let (agents, runs) = (site.agents.clone(), site.runs());
            lanes.spawn(async move {
                for run in (lane..RUNS).step_by(AT_A_TIME as usize) {
                    let (mischief, signal) = MISCHIEF[run as usize % MISCHIEF.len()];
                    let attempt = 1000 + run;
                    // Its processes are found by this, even if they wipe their environment.
                    let dir = runs.join(format!("abc.{attempt}"));
                    let order = Spawn { attempt, ..spawn(&format!("{mischief} --text {}", dir.display())) };
                    let mut process = agents.spawn(order).await.unwrap();
                    if let Some(signal) = signal {
                        until_ready(&mut process).await;
                        process.signal(signal);
                    }
                    hear(&mut process).await;
                    let left = living(&dir);
                    assert!(left.is_empty() && !dir.exists(), "{mischief}: {left:?}, {}", dir.exists());
                }
            });
        }
        lanes.join_all().await;
        site.assert_nothing_left();
    }
}
