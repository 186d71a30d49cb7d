//! Guarantees 7 and 10: one live process a task, and none of a task that has ended.

use super::{Moment, Oracle, Verdict, Violation};
use crate::event::{Node, Short};
use baton_core::id::TaskId;
use baton_core::process::ExitStatus;

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

impl Oracle {
    pub(super) fn on_spawned(&mut self, machine: u8, id: &TaskId, attempt: u32) -> Verdict {
        let here = Node::Machine(machine);
        let seven = |what: String| Err(Violation::of(7, what).on(id));
        if let Some(other) = self.live.get(id) {
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
        self.may_run(machine, id)?;
        let spawned = self.now;
        let before = self.task(id).processes.insert(attempt, Process { machine, spawned, gone: None });
        if before.is_some() {
            return seven(format!("attempt {attempt} of task {} has a second process, on {here}", Short(id)));
        }
        self.live.insert(id.clone(), Live { machine, attempt });
        self.is_due(machine, id);
        Ok(())
    }

    pub(super) fn on_gone(&mut self, machine: u8, id: &TaskId, attempt: u32, gone: Gone) {
        let live = self.live.remove(id);
        let known = live.is_some_and(|live| live.machine == machine && live.attempt == attempt);
        assert!(known, "attempt {attempt} of task {id} is gone from machine {machine}, where it did not live");
        if let Some(process) = self.task(id).processes.get_mut(&attempt) {
            process.gone = Some(gone);
        }
    }

    pub(super) fn none_lives_after_the_end(&self, id: &TaskId) -> Verdict {
        let Some(live) = self.live.get(id) else { return Ok(()) };
        let end = self.tasks[id].end.as_ref().map_or("", |end| end.text.as_str());
        let what = format!(
            "task {} ended, {end:?}, while its process on {} (attempt {}) lives",
            Short(id),
            Node::Machine(live.machine),
            live.attempt
        );
        Err(Violation::of(10, what).on(id))
    }

    /// At the end.
    pub(super) fn no_process_is_left(&self) -> Verdict {
        let Some((id, live)) = self.live.first_key_value() else { return Ok(()) };
        let what = format!(
            "at the end of the world the process of attempt {} of task {} still lives on {}",
            live.attempt,
            Short(id),
            Node::Machine(live.machine)
        );
        Err(Violation::of(10, what).on(id))
    }
}
