//! For this crate's tests, as its first word says: a keeper, or a worker that may be killed or frozen, or one that kills them at
//! a step of theirs. The `baton` binary is its own keeper.

mod stalker;

use baton_agent::{Isolation, Options, Subprocess, Subprocesses};
use baton_core::launch::Launch;
use baton_core::limits::Limits;
use baton_core::process::Spawn;
use baton_runtime::ports::{Agents as _, Process as _, ProcessEvent};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [word] if word == "keeper" => {
            stalker::may_stalk_me();
            baton_agent::keeper()
        }
        [word, isolation] if word == "worker" => {
            stalker::may_stalk_me();
            work(isolation)
        }
        [word, process, victim, step] if word == "stalk" => stalker::stalk(process, victim, step),
        _ => {
            eprintln!(
                "say `keeper`, or `worker namespace|cgroup|process` with RUNS_DIR in the environment, or `stalk PID \
                 itself|child STEP`"
            );
            ExitCode::from(2)
        }
    }
}

/// Does what is said on standard input: `hold MILLISECONDS`, or `spawn COMMAND LINE`. Says `held N` after N spawns, and
/// `started N`, `refused N`, `lost N` and `exited N` of the Nth.
fn work(isolation: &str) -> ExitCode {
    let isolation = match isolation {
        "cgroup" => Isolation::Cgroup,
        "process" => Isolation::Process,
        _ => Isolation::Auto,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let program = std::env::current_exe().expect("this program has a name");
    let runs_dir = std::env::var_os("RUNS_DIR").expect("RUNS_DIR is set").into();
    let options = Options { runs_dir, keeper: (program, vec!["keeper".into()]), isolation };
    let agents = Subprocesses::open(&options).expect("subprocesses");
    let (said, mut heard) = mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
    runtime.block_on(async {
        let mut number = 0;
        while let Some(line) = heard.recv().await {
            match line.split_once(' ') {
                Some(("hold", millis)) => {
                    let millis = millis.parse().expect("milliseconds");
                    agents.hold_until(Instant::now() + Duration::from_millis(millis));
                    say("held", number);
                }
                Some(("spawn", command)) => {
                    number += 1;
                    tokio::spawn(run(agents.clone(), number, command.to_owned()));
                }
                _ => panic!("{line:?} is no command"),
            }
        }
    });
    ExitCode::SUCCESS
}

async fn run(agents: Subprocesses, number: u32, command: String) {
    let spawn = Spawn {
        task_id: number.to_string().parse().expect("a number is an id"),
        attempt: 1,
        argv: command.split_whitespace().map(str::to_owned).collect(),
        env: Vec::new(),
        project_file: "{}".into(),
        launch: Launch::default(),
        limits: Limits::default(),
        stdin: None,
        files: Vec::new(),
        deadline: None,
        traceparent: None,
    };
    match agents.spawn(spawn).await {
        Ok(process) => follow(number, process).await,
        Err(_) => say("refused", number),
    }
}

/// `started` comes with the first output, so that the agent is known to do what it does.
async fn follow(number: u32, mut process: Subprocess) {
    let mut started = false;
    loop {
        match process.next().await {
            ProcessEvent::Output(..) if started => {}
            ProcessEvent::Output(..) => {
                started = true;
                say("started", number);
            }
            ProcessEvent::Exited(_) => return say("exited", number),
            ProcessEvent::Lost => return say("lost", number),
        }
    }
}

fn say(what: &str, number: u32) {
    let mut out = std::io::stdout().lock();
    // Whoever listened may be gone.
    let _ = writeln!(out, "{what} {number}").and_then(|()| out.flush());
}
