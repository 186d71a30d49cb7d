//! A member in a process of its own (`examples/member.rs`), so that it can be frozen and killed.

use crate::world::{GROUP, PATIENCE, World};
use baton_core::log::{Epoch, Partition};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// The process, and what it said that was not taken yet. Dropping it kills it.
pub struct OtherMember {
    child: Child,
    said: mpsc::Receiver<String>,
    /// When its claims end at the latest, as it said itself, in milliseconds since 1970.
    until: u128,
}

impl OtherMember {
    /// Starts one; without a name it is a new member each time.
    pub fn start(world: &World, name: Option<&str>, session: Duration) -> Self {
        let mut command = Command::new(program());
        command.args([&world.options.brokers, &world.options.topic_prefix, GROUP, name.unwrap_or("-")]);
        command.arg(session.as_millis().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (say, said) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { child, said, until: 0 }
    }

    /// The next that it says, beside renewals, which are noted. `None` if there is nothing within this time.
    fn next_within(&mut self, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        loop {
            let line = self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            match line.strip_prefix("renewed ") {
                Some(until) => self.until = self.until.max(until.parse().unwrap()),
                None => return Some(line),
            }
        }
    }

    /// The next that it says.
    pub fn next(&mut self) -> String {
        self.next_within(PATIENCE).expect("it says something")
    }

    /// Its next claims, and nothing else.
    pub fn claims(&mut self, count: usize) -> Vec<(Partition, Epoch)> {
        let claim = |line: String| {
            let words: Vec<&str> = line.split(' ').collect();
            let ["claimed", partition, epoch, ..] = words[..] else { panic!("{line} instead of a claim") };
            (partition.parse().unwrap(), epoch.parse().unwrap())
        };
        let mut claims: Vec<_> = (0..count).map(|_| claim(self.next())).collect();
        claims.sort_unstable();
        claims
    }

    /// Waits until its claims are renewed.
    pub fn until_renewed(&mut self) {
        let before = self.until;
        let deadline = Instant::now() + PATIENCE;
        while self.until == before {
            assert!(Instant::now() < deadline, "it is never renewed");
            assert_eq!(self.next_within(Duration::from_millis(20)), None);
        }
    }

    /// When its claims end at the latest. Ask when it says nothing more: it is frozen, or dead.
    pub fn held_until(&mut self) -> std::time::SystemTime {
        assert_eq!(self.next_within(Duration::ZERO), None);
        UNIX_EPOCH + Duration::from_millis(u64::try_from(self.until).unwrap())
    }

    /// Gives it an order.
    pub fn tell(&mut self, order: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    /// Freezes it: it does nothing any more, and its connections stay.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it: it leaves nothing, and tells nobody.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for OtherMember {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Examples are built with the tests, beside them.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap();
    built.join("examples/member")
}
