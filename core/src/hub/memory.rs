//! What a hub holds in memory, and what it lets go of when that is short.

use super::Hub;
use super::asked::Asked;
use super::task::Task;
use super::view::AttemptView;
use crate::account::Account;
use crate::id::TaskId;
use crate::time::Now;
use std::time::Duration;

/// What is known of tasks may take half of the memory, so that histories keep the other half; and this much at least.
const LEAST_FOR_TASKS: usize = 1 << 20;
/// How long a task is known after its end whatever memory there is: its idempotency key holds that long.
const KNOWN_AT_LEAST: Duration = Duration::from_hours(24);
/// About what a task's places in the maps and sets take, in bytes.
const PLACES: usize = 256;

impl Task {
    /// The bytes that it takes now, beside the text of its history.
    fn weigh(&self, id: &TaskId) -> usize {
        let account = |of: Option<&Account>| of.map_or(0, |of| size_of_val(of) + of.by.as_deref().map_or(0, str::len));
        let end = self.ended.as_ref().map_or(0, |end| {
            end.update.len() + end.reason.as_deref().map_or(0, str::len) + account(end.ending.as_deref())
        });
        let asked = self.asked.as_ref().map_or(0, Asked::weight);
        let end_of =
            |attempt: &AttemptView| attempt.end.as_deref().map_or(0, str::len) + account(attempt.ending.as_deref());
        let ends = self.attempts.iter().map(|attempt| size_of_val(attempt) + end_of(attempt)).sum::<usize>();
        let report = self.report.weight();
        size_of::<Self>() + id.as_str().len() + PLACES + end + asked + ends + report + self.history.weight()
    }
}

impl Hub {
    /// Notes what a task weighs now.
    pub(super) fn weigh(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        self.tasks_bytes -= task.weight;
        task.weight = task.weigh(id);
        self.tasks_bytes += task.weight;
    }

    /// How many bytes may be held of tasks.
    pub(super) fn most_for_tasks(&self) -> usize {
        (self.config.history_memory / 2).max(LEAST_FOR_TASKS)
    }

    /// What outgrows its budget leaves memory, the oldest first. Segments are still on the log. Params do not make way for
    /// segments, as they can't be read back, nor segments for params beyond half, as they are what is watched.
    pub(super) fn hold_memory(&mut self, now: Now) {
        while self.tasks_bytes > self.most_for_tasks() && self.let_go(now) {}
        while self.bytes() > self.config.history_memory {
            let Some((id, last_id)) = self.resident.pop_front() else { break };
            if let Some(task) = self.tasks.get_mut(&id) {
                task.history.evict(last_id);
            }
        }
    }

    /// Lets go of a part of what is known of tasks, and says whether there was one that may go. While the log is being read
    /// at the start no one knows yet who has ended, and open tasks give up their params as well.
    fn let_go(&mut self, now: Now) -> bool {
        let ready = self.ready();
        if let Some(place) = self.with_params.first().filter(|(open, ..)| !*open || !ready).cloned() {
            self.with_params.remove(&place);
            if let Some(task) = self.tasks.get_mut(&place.2) {
                task.report.result = None;
                task.asked.as_mut().map(Asked::let_go_of_params);
            }
            self.weigh(&place.2);
            return true;
        }
        let old = self.ended.first().filter(|(at, _)| now.wall.since(*at) >= KNOWN_AT_LEAST).cloned();
        old.inspect(|(_, id)| self.forget(id)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use crate::hub::{Hub, HubConfig, Input};
    use crate::id::{TaskId, UpdateId};
    use crate::log::{Delivered, Offset, Topic, Values};
    use crate::record::{Kind, ProgressRecord};
    use crate::time::{Instant, Now, Timestamp};
    use std::time::Duration;

    fn now(hours: u64) -> Now {
        let since = Duration::from_hours(hours);
        Now { mono: Instant::from_start(since), wall: Timestamp::from_millis(0).plus(since) }
    }

    fn tell(hub: &mut Hub, topic: Topic, offset: Offset, key: &str, value: Vec<u8>, now: Now) {
        let (key, values) = (key.to_owned().into(), Values::one(value));
        hub.handle(
            Input::Records(Delivered { topic, partition: 0, base_offset: offset, at: now.wall, key, values }),
            now,
        );
        while hub.poll().is_some() {}
    }

    fn update(id: &TaskId, seq: u64, kind: Kind) -> Vec<u8> {
        ProgressRecord::new(id, UpdateId { attempt: 1, seq }, kind, Timestamp::default(), "x").write()
    }

    /// The order in which segments leave memory is known to no look from outside.
    #[test]
    fn nothing_is_noted_of_segments_that_are_gone() {
        let mut hub = Hub::new(HubConfig::default());
        for task in 0..500 {
            let name = format!("t{task}");
            let id = name.parse().unwrap();
            for seq in 1..=20 {
                let kind = if seq == 20 { Kind::Done } else { Kind::Line };
                tell(&mut hub, Topic::Progress, task * 20 + seq, &name, update(&id, seq, kind), now(2 * task));
            }
            hub.handle(Input::Timeout, now(2 * task));
        }
        assert!(hub.resident.len() <= 1024, "{} of {} tasks", hub.resident.len(), hub.tasks.len());
    }

    /// Whether they go when their time is over, or a day after their end as memory is short.
    #[test]
    fn nothing_is_noted_of_tasks_that_are_gone() {
        for (history_memory, hours) in [(1 << 30, 200), (0, 30)] {
            let mut hub = Hub::new(HubConfig { history_memory, ..HubConfig::default() });
            for n in 0..5000 {
                let name = format!("t{n}");
                let task = format!(r#"{{"task_id": "{name}", "project": "p", "type": "t"}}"#);
                tell(&mut hub, Topic::Tasks, n, &name, task.into_bytes(), now(0));
                tell(&mut hub, Topic::Progress, n, &name, update(&name.parse().unwrap(), 1, Kind::Done), now(0));
            }
            hub.handle(Input::Timeout, now(hours));
            hub.handle(Input::Timeout, now(hours));
            let noted = [hub.by_submission.len(), hub.ended.len(), hub.timers.len()];
            assert_eq!(noted, [hub.tasks.len(); 3], "{history_memory}");
            assert!(hub.with_params.len() <= hub.tasks.len() && hub.tasks.len() < 5000, "{history_memory}");
            assert_eq!(hub.tasks_bytes, hub.tasks.values().map(|task| task.weight).sum::<usize>());
        }
    }
}
