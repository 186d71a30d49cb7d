//! What agents leave for the checker: a file for each task, a line for each sign of life, in the order in which they were given.
//!
//! Appends of a line are atomic, so the order of lines is the order in which processes lived. No sign goes through Baton.

use crate::story::{At, now};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The variable of an agent that says where its signs go.
pub const SIGNS: &str = "CHAOS_SIGNS";
/// What the file of a worker that is to die for its agent begins with.
const POISON: &str = "poison.";

/// What a process of a task did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It began, and holds the task's lock.
    Begin,
    /// It began while another process held the task's lock.
    Beside,
    /// It lives.
    Beat,
    /// Its child lives.
    Child,
    /// It is about to exit by itself with this code.
    End(i32),
}

/// One line of a task's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// When, by the machine's clock.
    pub at: At,
    /// The attempt that the process is.
    pub attempt: u32,
    /// Tells processes apart, also those in namespaces of their own, where numbers repeat.
    pub process: String,
    /// What it did.
    pub what: What,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.at, self.attempt, self.process)?;
        match self.what {
            What::Begin => f.write_str("begin"),
            What::Beside => f.write_str("beside"),
            What::Beat => f.write_str("beat"),
            What::Child => f.write_str("child"),
            What::End(code) => write!(f, "end {code}"),
        }
    }
}

impl FromStr for Sign {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let bad = || format!("no sign of an agent: {line:?}");
        let [at, attempt, process, what @ ..] = words.as_slice() else { return Err(bad()) };
        let what = match what {
            ["begin"] => What::Begin,
            ["beside"] => What::Beside,
            ["beat"] => What::Beat,
            ["child"] => What::Child,
            ["end", code] => What::End(code.parse().map_err(|_| bad())?),
            _ => return Err(bad()),
        };
        let (at, attempt) = (at.parse().map_err(|_| bad())?, attempt.parse().map_err(|_| bad())?);
        Ok(Self { at, attempt, process: (*process).to_owned(), what })
    }
}

/// Where a process of a task leaves its signs.
#[derive(Debug)]
pub struct Signs {
    file: File,
    attempt: u32,
    process: String,
}

impl Signs {
    /// Of a process of this task, in the directory for all signs.
    pub fn open(dir: &Path, task: &str, attempt: u32, process: String) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(dir.join(task))?;
        Ok(Self { file, attempt, process })
    }

    /// Takes the task's lock, for as long as this process lives, and says whether it was free. The kernel lets go of it when the
    /// process is dead, so that it is never free too late.
    pub fn begin(&self) -> io::Result<()> {
        let what = match self.file.try_lock() {
            Ok(()) => What::Begin,
            Err(TryLockError::WouldBlock) => What::Beside,
            Err(TryLockError::Error(error)) => return Err(error),
        };
        self.leave(what)
    }

    /// Leaves a sign.
    pub fn leave(&self, what: What) -> io::Result<()> {
        let sign = Sign { at: now(), attempt: self.attempt, process: self.process.clone(), what };
        (&self.file).write_all(format!("{sign}\n").as_bytes())
    }
}

/// Asks for the death of a worker.
pub fn poison(dir: &Path, worker: &str) -> io::Result<()> {
    fs::write(dir.join(format!("{POISON}{worker}")), "")
}

/// Whether an agent has asked for the death of this worker; it is asked for once only.
pub fn is_poisoned(dir: &Path, worker: &str) -> bool {
    fs::remove_file(dir.join(format!("{POISON}{worker}"))).is_ok()
}

/// The signs of all tasks, with the task of each file.
pub fn read_all(dir: &Path) -> crate::Result<Vec<(String, Vec<Sign>)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(POISON) {
            continue;
        }
        let signs: Result<Vec<Sign>, String> = fs::read_to_string(&path)?.lines().map(str::parse).collect();
        all.push((name, signs?));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_as_they_are_written() {
        for what in [What::Begin, What::Beside, What::Beat, What::Child, What::End(-1)] {
            let sign = Sign { at: 1_790_000_000_123, attempt: 2, process: "17-4f".into(), what };
            assert_eq!(sign.to_string().parse(), Ok(sign));
        }
        for line in ["", "1 2 p", "1 2 p begins", "x 2 p beat", "1 2 p end", "1 2 p beat beat"] {
            assert!(line.parse::<Sign>().is_err(), "{line:?}");
        }
    }

    #[test]
    fn a_lock_that_is_held_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let first = Signs::open(dir.path(), "task", 1, "a".into()).unwrap();
        let second = Signs::open(dir.path(), "task", 2, "b".into()).unwrap();
        first.begin().unwrap();
        second.begin().unwrap();
        drop((first, second));
        Signs::open(dir.path(), "task", 3, "c".into()).unwrap().begin().unwrap();
        let all = read_all(dir.path()).unwrap();
        let seen: Vec<_> = all[0].1.iter().map(|sign| (sign.attempt, sign.what)).collect();
        assert_eq!(seen, [(1, What::Begin), (2, What::Beside), (3, What::Begin)]);
    }

    #[test]
    fn poison_works_once() {
        let dir = tempfile::tempdir().unwrap();
        poison(dir.path(), "anna").unwrap();
        assert!(!is_poisoned(dir.path(), "bert"));
        assert!(is_poisoned(dir.path(), "anna"));
        assert!(!is_poisoned(dir.path(), "anna"));
    }
}
