//! SIGKILL at every step: a worker, a keeper or a guardian is killed at its first system call after a run was asked for, at its
//! second, and so on, until it lives to see the run's end. Nothing is left each time.
#![allow(clippy::unwrap_used)]

mod site;

use baton_agent::Isolation;
use baton_core::process::{Signal, Spawn};
use baton_runtime::ports::{Agents as _, Process as _, ProcessEvent};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use site::worker::{Worker, is_dead, keepers, kept_by};
use site::{FIXTURE, PATIENCE, Site, WELL, each, hear, hear_all, living, spawn, until};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Ends by itself, and leaves a daemon.
const ENDS: &str = "setsid sleep 1000 & echo here";
/// Waits to be stopped, and so does its child.
const WAITS: &str = "sleep 1000 & echo here; wait";

/// A process that watches another's steps, and kills at one of them.
struct Stalker {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Stalker {
    /// When this returns the process is watched.
    fn start(process: u32, victim: &str, step: u32) -> Self {
        let arguments = ["stalk", &process.to_string(), victim, &step.to_string()];
        let mut child = Command::new(FIXTURE).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut stalker = Self { child, said };
        assert_eq!(stalker.hear(), "ready\n");
        stalker
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }

    /// Whether it has said something: that it has killed, or can't any more.
    fn is_done(&self) -> bool {
        poll(&mut [PollFd::new(self.said.get_ref(), PollFlags::IN)], Some(&Timespec::default())) != Ok(0)
    }

    /// Whether the victim came to that step before it had ended.
    fn has_killed(mut self) -> bool {
        let heard = self.hear();
        self.child.wait().unwrap();
        match heard.as_str() {
            "killed\n" => true,
            "missed\n" => false,
            other => panic!("{other:?}"),
        }
    }
}

fn order(script: &str) -> Spawn {
    Spawn { argv: ["sh", "-c", script].map(str::to_owned).to_vec(), ..spawn("") }
}

/// One run from its beginning to its end, whatever comes between.
async fn run(site: &Site, script: &str) {
    let Ok(mut process) = site.agents.spawn(order(script)).await else { return };
    if script == WAITS {
        match tokio::time::timeout(PATIENCE, process.next()).await.expect("it speaks, or is lost") {
            ProcessEvent::Output(..) => process.signal(Signal::Terminate),
            ProcessEvent::Exited(_) | ProcessEvent::Lost => return,
        }
    }
    hear_all(&mut process).await;
}

/// Returns how many steps there were, of the run and of the end of its worker.
async fn kill_at_each_step(isolation: Isolation, victim: &str, script: &str) -> u32 {
    for step in 1.. {
        let site = Site::new(isolation);
        let keeper = keepers(site.dir.path())[0];
        let stalker = Stalker::start(keeper, victim, step);
        run(&site, script).await;
        site.until_nothing_left().await;
        if stalker.is_done() {
            // Whoever was killed is replaced, and what is asked for then runs; what one that is dying was told does not.
            until("it is dead", || victim == "child" || is_dead(keeper)).await;
            let next = Spawn { attempt: 2, ..order("echo well") };
            let (heard, exit) = hear(&mut site.agents.spawn(next).await.unwrap()).await;
            assert_eq!((heard.out.as_str(), exit.status), ("well\n", WELL), "{victim} was killed at step {step}");
        }
        let Site { dir, agents, .. } = site;
        drop(agents);
        until("nobody left", || kept_by(dir.path()).is_empty() && living(dir.path()).is_empty()).await;
        if !stalker.has_killed() {
            return step - 1;
        }
    }
    unreachable!("steps are countable")
}

#[tokio::test]
async fn a_keeper_that_is_killed_at_any_step_leaves_nothing() {
    for isolation in each() {
        for script in [ENDS, WAITS] {
            let steps = kill_at_each_step(isolation, "itself", script).await;
            eprintln!("{isolation:?}: {steps} steps of a keeper");
            assert!(steps > 20, "{steps} steps can't be all");
        }
    }
}

#[tokio::test]
async fn a_guardian_that_is_killed_at_any_step_leaves_nothing() {
    for isolation in each() {
        for script in [ENDS, WAITS] {
            let steps = kill_at_each_step(isolation, "child", script).await;
            eprintln!("{isolation:?}: {steps} steps of a guardian");
            assert!(steps > 50, "{steps} steps can't be all");
        }
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_at_any_step_leaves_nothing() {
    for isolation in each() {
        for step in 1.. {
            let mut worker = Worker::start(isolation);
            worker.hold(60_000);
            let stalker = Stalker::start(worker.child.id(), "itself", step);
            worker.tell("spawn setsid --fork sleep 1000");
            let _ = worker.said.recv_timeout(PATIENCE);
            worker.child.stdin.take();
            worker.child.wait().unwrap();
            worker.until_nothing_left().await;
            if !stalker.has_killed() {
                eprintln!("{isolation:?}: {} steps of a worker", step - 1);
                assert!(step > 50, "{step} steps can't be all");
                break;
            }
        }
    }
}
