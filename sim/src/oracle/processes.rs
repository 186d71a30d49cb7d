//! Guarantees 7 and 10: one live process a task, and nothing of a task that has ended: no process, and no file.
//!
//! What a machine holds that stands still as a whole can't run, and nobody can end it: its claims run out, and others go on with
//! its tasks. As it goes on it has the time that ending a process takes to be rid of what was passed by.

use super::{Moment, Oracle, Verdict, Violation};
use crate::event::{Node, Short};
use baton_core::id::TaskId;
use baton_core::process::ExitStatus;
use std::collections::BTreeMap;
use std::time::Duration;

/// A process that lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub machine: u8,
    pub attempt: u32,
}

/// A process, living or gone.
#[derive(Debug)]
pub(super) struct Process {
    pub machine: u8,
    pub spawned: Moment,
    pub gone: Option<Gone>,
}

/// The end of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    pub when: Moment,
    pub status: ExitStatus,
    pub by_itself: bool,
}

/// What is on machines.
#[derive(Debug, Default)]
pub(super) struct Machines {
    /// The process of each task that may live.
    live: BTreeMap<TaskId, Live>,
    /// Which stand still (`None`), and which did of late: by when they must be rid of what was passed by.
    frozen: BTreeMap<u8, Option<Duration>>,
    /// Processes on such machines whose tasks went on elsewhere, and by when each must be gone.
    passed_by: BTreeMap<(TaskId, u32), (u8, Option<Duration>)>,
    /// Where the files of attempts are, and since when: they are made first, then the process.
    files: BTreeMap<(TaskId, u32), (u8, Duration)>,
}

impl Machines {
    /// The process of a task.
    pub fn live(&self, id: &TaskId) -> Option<Live> {
        self.live.get(id).copied()
    }

    /// Whether the machine stands still, or did a moment ago.
    fn is_excused(&self, machine: u8, now: Duration) -> bool {
        self.frozen.get(&machine).is_some_and(|by| by.is_none_or(|by| now <= by))
    }

    /// The task goes on elsewhere, or has ended: its process may be passed by. Returns it if not.
    fn pass_by(&mut self, id: &TaskId, now: Duration) -> Option<Live> {
        let live = self.live(id)?;
        if !self.is_excused(live.machine, now) {
            return Some(live);
        }
        self.live.remove(id);
        self.passed_by.insert((id.clone(), live.attempt), (live.machine, self.frozen[&live.machine]));
        None
    }

    /// A machine stands still, or goes on and has until then to bury what was passed by.
    pub fn freeze(&mut self, machine: u8, by: Option<Duration>) {
        self.frozen.insert(machine, by);
        self.passed_by.values_mut().filter(|(of, _)| *of == machine).for_each(|(_, due)| *due = by);
    }

    pub fn files_made(&mut self, machine: u8, id: &TaskId, attempt: u32, now: Duration) {
        self.files.insert((id.clone(), attempt), (machine, now));
    }

    /// When the process of an attempt, which has its files, was begun to be made.
    fn making_since(&self, id: &TaskId, attempt: u32) -> Option<Duration> {
        self.files.get(&(id.clone(), attempt)).map(|(_, since)| *since)
    }

    pub fn files_removed(&mut self, id: &TaskId, attempt: u32) {
        self.files.remove(&(id.clone(), attempt));
    }
}

impl Oracle {
    pub(super) fn on_spawned(&mut self, machine: u8, id: &TaskId, attempt: u32) -> Verdict {
        let here = Node::Machine(machine);
        let seven = |what: String| Err(Violation::of(7, what).on(id));
        if let Some(other) = self.machines.pass_by(id, self.now.at) {
            return seven(format!(
                "task {} has a process on {here} (attempt {attempt}) while its process on {} (attempt {}) still lives",
                Short(id),
                Node::Machine(other.machine),
                other.attempt
            ));
        }
        if let Some(end) = self.tasks.get(id).and_then(|task| task.end.as_ref()) {
            return seven(format!("task {} was spawned on {here} after its end, {:?}", Short(id), end.text));
        }
        self.is_counted(id, attempt)?;
        let task = self.task(id);
        if attempt < task.begun {
            // The owner of attempt `n` lost its claim, or attempt `n + 1` would not have begun.
            return seven(format!(
                "attempt {attempt} of task {} was spawned on {here} when attempt {} had begun already",
                Short(id),
                task.begun
            ));
        }
        self.may_run(machine, id, self.machines.making_since(id, attempt).unwrap_or(self.now.at))?;
        let spawned = self.now;
        let before = self.task(id).processes.insert(attempt, Process { machine, spawned, gone: None });
        if before.is_some() {
            return seven(format!("attempt {attempt} of task {} has a second process, on {here}", Short(id)));
        }
        self.machines.live.insert(id.clone(), Live { machine, attempt });
        self.is_due(machine, id);
        self.total_is_due(id, attempt);
        Ok(())
    }

    pub(super) fn on_gone(&mut self, machine: u8, id: &TaskId, attempt: u32, gone: Gone) {
        let passed_by = self.machines.passed_by.remove(&(id.clone(), attempt)).is_some();
        let live = if passed_by { None } else { self.machines.live.remove(id) };
        let known = live.is_some_and(|live| live.machine == machine && live.attempt == attempt);
        assert!(
            known || passed_by,
            "attempt {attempt} of task {id} is gone from machine {machine}, where it did not live"
        );
        if let Some(process) = self.task(id).processes.get_mut(&attempt) {
            process.gone = Some(gone);
        }
    }

    pub(super) fn nothing_is_left_after_the_end(&mut self, id: &TaskId) -> Verdict {
        let end = self.tasks[id].end.as_ref().map(|end| end.text.clone()).unwrap_or_default();
        if let Some(live) = self.machines.pass_by(id, self.now.at) {
            let what = format!(
                "task {} ended, {end:?}, while its process on {} (attempt {}) lives",
                Short(id),
                Node::Machine(live.machine),
                live.attempt
            );
            return Err(Violation::of(10, what).on(id));
        }
        let Machines { passed_by, files, .. } = &self.machines;
        let mut left = files.range((id.clone(), 0)..).take_while(|((of, _), _)| of == id);
        let left = left.find(|(attempt, (machine, _))| {
            !self.machines.is_excused(*machine, self.now.at) && !passed_by.contains_key(attempt)
        });
        let Some(((_, attempt), (machine, _))) = left else { return Ok(()) };
        let what = format!(
            "task {} ended, {end:?}, while files of its attempt {attempt} are on {}",
            Short(id),
            Node::Machine(*machine)
        );
        Err(Violation::of(10, what).on(id))
    }

    /// What was passed by while its machine stood still is gone soon after that goes on.
    pub(super) fn passed_by_is_gone(&self) -> Verdict {
        let late = |(_, by): &(u8, Option<Duration>)| by.is_some_and(|by| by < self.now.at);
        let Some(((id, attempt), (machine, _))) = self.machines.passed_by.iter().find(|(_, of)| late(of)) else {
            return Ok(());
        };
        let what = format!(
            "{} stood still, goes on for longer than {:?}, and the process of attempt {attempt} of task {}, which went on \
             elsewhere, still lives there",
            Node::Machine(*machine),
            self.config.burial,
            Short(id)
        );
        Err(Violation::of(7, what).on(id))
    }

    /// At the end.
    pub(super) fn nothing_is_left(&self) -> Verdict {
        let Machines { live, passed_by, files, .. } = &self.machines;
        let lives = live.iter().map(|(id, live)| (id, live.attempt, live.machine));
        let passed_by = passed_by.iter().map(|((id, attempt), (machine, _))| (id, *attempt, *machine));
        let files = files.iter().map(|((id, attempt), (machine, _))| ("files", (id, *attempt, *machine)));
        let left = lives.chain(passed_by).map(|process| ("process", process)).chain(files).next();
        let Some((what, (id, attempt, machine))) = left else { return Ok(()) };
        let what = format!(
            "at the end of the world {what} of attempt {attempt} of task {} are still on {}",
            Short(id),
            Node::Machine(machine)
        );
        Err(Violation::of(10, what).on(id))
    }
}
