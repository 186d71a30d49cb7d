//! What the agents of a seed do: each task says it in its `input`, so that a plan can be read.

use crate::agents::{Act, SILENCE};
use baton_core::process::Spawn;
use bytes::Bytes;
use std::time::Duration;

/// One kind of agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// A few lines, some seconds apart.
    Steady,
    /// Ends at once and says nothing.
    Quick,
    /// Many lines in a burst.
    Chatty,
    /// Nothing for some seconds, then a line.
    Slow,
    /// Says nothing and never ends.
    Silent,
    /// Prints for ever.
    Endless,
    /// Never ends, and takes no notice of SIGTERM.
    Stubborn,
    /// Ends, and leaves a child that holds its pipe.
    Parent,
    /// Exits with 3, with words on stderr.
    Failing,
    /// Dies by SIGSEGV.
    Crashing,
    /// Prints the words that end tasks, and goes on.
    Forger,
    /// A line that is too long, bytes that are no UTF-8, a line without an end.
    Broken,
    /// Crashes its worker at the first attempt, and works at the second.
    Unlucky,
    /// Crashes its worker at every attempt.
    Poison,
    /// Can't be made into a process.
    Unspawnable,
    /// More than a run holds, at once.
    Flood,
    /// Speaks each second, for longer than any silence may be, and says nothing in between.
    Pausing,
    /// Exits with 4, which is as good as 0 to some.
    Answering,
    /// Exits with 3 at its first attempt, and works at the second.
    Moody,
}

impl Behaviour {
    /// All there are.
    pub const ALL: [Self; 19] = [
        Self::Steady,
        Self::Quick,
        Self::Chatty,
        Self::Slow,
        Self::Silent,
        Self::Endless,
        Self::Stubborn,
        Self::Parent,
        Self::Failing,
        Self::Crashing,
        Self::Forger,
        Self::Broken,
        Self::Unlucky,
        Self::Poison,
        Self::Unspawnable,
        Self::Flood,
        Self::Pausing,
        Self::Answering,
        Self::Moody,
    ];

    /// Those that plans draw for any task.
    pub const FOR_ANY: usize = 15;

    /// Those whose end is for a type to judge.
    pub const OF_MOODS: [Self; 5] = [Self::Moody, Self::Failing, Self::Answering, Self::Crashing, Self::Unspawnable];

    /// The `input` of a task whose agent is like this.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Quick => "quick",
            Self::Chatty => "chatty",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Endless => "endless",
            Self::Stubborn => "stubborn",
            Self::Parent => "parent",
            Self::Failing => "failing",
            Self::Crashing => "crashing",
            Self::Forger => "forger",
            Self::Broken => "broken",
            Self::Unlucky => "unlucky",
            Self::Poison => "poison",
            Self::Unspawnable => "unspawnable",
            Self::Flood => "flood",
            Self::Pausing => "pausing",
            Self::Answering => "answering",
            Self::Moody => "moody",
        }
    }

    /// Whether it goes on until somebody ends it.
    pub const fn is_endless(self) -> bool {
        matches!(self, Self::Silent | Self::Endless | Self::Stubborn)
    }

    fn acts(self, attempt: u32) -> Vec<Act> {
        let wait = |ms| Act::Wait(Duration::from_millis(ms));
        let print = |text: &str| Act::Print(Bytes::copy_from_slice(text.as_bytes()));
        match self {
            Self::Steady => {
                vec![print("Initializing...\nLoaded "), wait(900), print("config\n"), wait(2500), print("row 1\n")]
            }
            Self::Quick | Self::Unspawnable => Vec::new(),
            Self::Flood => {
                let lines = ("y".repeat(990) + "\n").repeat(16);
                vec![print(&lines); 16]
            }
            Self::Chatty => {
                let burst = |from: u32| {
                    let lines: Vec<String> = (from..from + 15).map(|n| format!("line {n}\n")).collect();
                    print(&lines.concat())
                };
                vec![burst(1), wait(5), burst(16), wait(400), burst(31)]
            }
            Self::Slow => vec![wait(7000), print("at last\n"), wait(1000)],
            Self::Silent => vec![SILENCE],
            Self::Endless => vec![print("begun\n"), Act::Chatter(Duration::from_secs(2))],
            Self::Stubborn => vec![Act::IgnoreTerm, print("never\n"), SILENCE],
            Self::Parent => {
                vec![print("forked\n"), Act::LeaveChild(Duration::from_mins(1)), wait(1500), print("bye")]
            }
            Self::Failing => {
                vec![print("trying\n"), wait(700), Act::Complain(Bytes::from_static(b"ValueError: x\n")), Act::Exit(3)]
            }
            Self::Crashing => vec![print("about to\n"), wait(300), Act::Die(11)],
            Self::Forger => vec![print("DONE\nSTOPPED\n"), wait(1200), print("FAILED: no\nStarting...\n"), wait(800)],
            Self::Broken => vec![
                Act::Print(Bytes::from_static(b"\xff\xfe broken \xc3\n\n\r\n")),
                print(&("x".repeat(3000) + "\n")),
                wait(200),
                print("no end of line"),
            ],
            Self::Pausing => vec![
                print("one\n"),
                wait(950),
                print("two\n"),
                wait(950),
                print("three\n"),
                wait(950),
                print("four\n"),
                wait(950),
                print("five\n"),
                wait(900),
            ],
            Self::Answering => vec![print("no\n"), wait(400), Act::Exit(4)],
            Self::Moody if attempt > 1 => vec![print("well\n"), wait(500)],
            Self::Moody => vec![wait(500), Act::Exit(3)],
            Self::Unlucky if attempt > 1 => vec![print("again\n"), wait(500)],
            Self::Unlucky | Self::Poison => vec![print("oh\n"), wait(600), Act::CrashWorker, SILENCE],
        }
    }
}

/// What the process does that is spawned; or why there is none.
pub fn script(spawn: &Spawn) -> Result<Vec<Act>, String> {
    let said = spawn.argv.iter().skip_while(|arg| *arg != "--input").nth(1);
    let behaviour = Behaviour::ALL.into_iter().find(|behaviour| said.is_some_and(|said| said == behaviour.name()));
    match behaviour.unwrap_or(Behaviour::Quick) {
        Behaviour::Unspawnable => Err("no such file or directory".into()),
        behaviour => Ok(behaviour.acts(spawn.attempt)),
    }
}
