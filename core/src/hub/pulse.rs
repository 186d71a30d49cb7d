//! What happened lately, counted: tasks that came, began and ended, lines, and how long tasks waited. A few minutes of it, in
//! steps, by the log's clock; so every replica shows the same, also one that began just now.

use crate::record::Kind;
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a step is.
pub const STEP: Duration = Duration::from_secs(10);
/// How many steps are kept: ten minutes.
pub const STEPS: i64 = 60;
/// How finely waits are told apart: each doubling in four parts, so that a quantile is off by a fifth at most. Up to 2^32 ms.
const PARTS: u32 = 4;
const CLASSES: usize = 33 * PARTS as usize;

/// See the module's words.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    steps: BTreeMap<i64, Step>,
}

#[derive(Debug)]
struct Step {
    counts: Counts,
    waits: Box<[u32; CLASSES]>,
}

impl Default for Step {
    fn default() -> Self {
        Self { counts: Counts::default(), waits: Box::new([0; CLASSES]) }
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Tasks that were accepted.
    pub accepted: u64,
    /// Attempts that began.
    pub begun: u64,
    /// Tasks that ended well.
    pub done: u64,
    /// Tasks that failed for good.
    pub failed: u64,
    /// Tasks that were stopped.
    pub stopped: u64,
    /// Lines that agents wrote.
    pub lines: u64,
}

impl Counts {
    /// One more task.
    pub const TASK: Self = Self { accepted: 1, begun: 0, done: 0, failed: 0, stopped: 0, lines: 0 };

    /// An update that counts.
    pub fn note(&mut self, kind: Kind) {
        match kind {
            Kind::Line => self.lines += 1,
            Kind::Started => self.begun += 1,
            Kind::Done => self.done += 1,
            Kind::Failed => self.failed += 1,
            Kind::Stopped => self.stopped += 1,
            _ => {}
        }
    }

    fn add(&mut self, more: &Self) {
        self.accepted += more.accepted;
        self.begun += more.begun;
        self.done += more.done;
        self.failed += more.failed;
        self.stopped += more.stopped;
        self.lines += more.lines;
    }
}

/// What happened lately, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PulseView {
    /// How long a step is, in seconds.
    pub step_s: u64,
    /// The steps, the oldest first; the last is still going on.
    pub steps: Vec<StepView>,
}

/// What happened in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StepView {
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// How long the tasks that began had waited: half of them at most so many milliseconds; `None` if none began.
    pub waited_p50_ms: Option<u64>,
    /// The same of 95 of 100.
    pub waited_p95_ms: Option<u64>,
}

impl Pulse {
    fn step(&mut self, at: Timestamp) -> Option<&mut Step> {
        let number = number_of(at);
        let newest = self.steps.last_key_value().map_or(number, |(newest, _)| *newest);
        let oldest = newest.max(number).saturating_sub(STEPS - 1);
        if number < oldest {
            return None;
        }
        self.steps = self.steps.split_off(&oldest);
        Some(self.steps.entry(number).or_default())
    }

    /// Adds what came at that time.
    pub fn add(&mut self, counts: &Counts, at: Timestamp) {
        if *counts != Counts::default()
            && let Some(step) = self.step(at)
        {
            step.counts.add(counts);
        }
    }

    /// A task began that had waited for so long.
    pub fn waited(&mut self, wait: Duration, at: Timestamp) {
        if let Some(step) = self.step(at) {
            step.waits[class_of(wait)] += 1;
        }
    }

    /// The steps up to now.
    pub fn view(&self, now: Timestamp) -> PulseView {
        let last = number_of(now);
        let steps = (last - (STEPS - 1)..=last)
            .map(|number| self.steps.get(&number).map_or_else(StepView::default, Step::view));
        PulseView { step_s: STEP.as_secs(), steps: steps.collect() }
    }
}

impl Step {
    fn view(&self) -> StepView {
        StepView { counts: self.counts, waited_p50_ms: self.waited(50), waited_p95_ms: self.waited(95) }
    }

    /// The wait that so many of a hundred did not exceed.
    fn waited(&self, of_hundred: u64) -> Option<u64> {
        let all: u64 = self.waits.iter().copied().map(u64::from).sum();
        let wanted = (all * of_hundred).div_ceil(100).max(1);
        let mut sum = 0;
        let class = self.waits.iter().position(|count| {
            sum += u64::from(*count);
            sum >= wanted
        })?;
        Some(most_of(class))
    }
}

fn number_of(at: Timestamp) -> i64 {
    at.as_millis() / i64::try_from(STEP.as_millis()).expect("a step is short")
}

/// Waits up to [`most_of`] this class, and beyond that of the one before, are in it.
fn class_of(wait: Duration) -> usize {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    (0..CLASSES).find(|class| millis <= most_of(*class)).unwrap_or(CLASSES - 1)
}

/// The longest wait of a class, in milliseconds.
fn most_of(class: usize) -> u64 {
    let (doublings, part) = (class as u64 / u64::from(PARTS), class as u64 % u64::from(PARTS));
    (1 << doublings) + ((1 << doublings) * part).div_ceil(u64::from(PARTS)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn classes_grow_by_a_quarter_at_most_and_miss_nothing() {
        assert_eq!((0..8).map(most_of).collect::<Vec<_>>(), [0, 1, 1, 1, 1, 2, 2, 3]);
        for class in 1..CLASSES {
            let (before, most) = (most_of(class - 1), most_of(class));
            assert!(before <= most && most <= before + before / 4 + 1, "{class}: {before} {most}");
        }
        for millis in [0, 1, 2, 3, 5, 1000, 86_400_000] {
            let most = most_of(class_of(Duration::from_millis(millis)));
            assert!(millis <= most && most <= millis + millis / 4 + 1, "{millis}: {most}");
        }
        assert_eq!(class_of(Duration::MAX), CLASSES - 1);
    }

    #[test]
    fn steps_are_told_apart_and_the_old_ones_go() {
        let mut pulse = Pulse::default();
        pulse.add(&Counts::TASK, at(0));
        pulse.add(&Counts::TASK, at(9));
        let mut counts = Counts::default();
        counts.note(Kind::Started);
        pulse.add(&counts, at(10));
        pulse.waited(Duration::from_millis(10), at(10));
        let mut counts = Counts { lines: 6, ..Counts::default() };
        counts.note(Kind::Line);
        counts.note(Kind::Done);
        pulse.add(&counts, at(19));
        let view = pulse.view(at(19));
        assert_eq!((view.step_s, view.steps.len()), (10, 60));
        let [first, second] = view.steps[58..] else { unreachable!("it has more") };
        assert_eq!(first, StepView { counts: Counts { accepted: 2, ..Counts::default() }, ..StepView::default() });
        let waited = Some(11); // the class that 10 ms are in
        let counts = Counts { begun: 1, done: 1, lines: 7, ..Counts::default() };
        let expected = StepView { counts, waited_p50_ms: waited, waited_p95_ms: waited };
        assert_eq!(second, expected);
        pulse.add(&Counts::TASK, at(600));
        pulse.add(&Counts::TASK, at(0));
        assert!(!pulse.steps.contains_key(&0) && pulse.steps.len() == 2, "{:?}", pulse.steps.keys());
        assert_eq!(pulse.view(at(600)).steps.iter().map(|step| step.counts.accepted).sum::<u64>(), 1);
    }

    #[test]
    fn the_longest_waits_are_the_last_of_a_hundred() {
        let mut pulse = Pulse::default();
        for n in 0..100 {
            pulse.waited(Duration::from_millis(if n < 94 { 1 } else { 1000 }), at(0));
        }
        let step = *pulse.view(at(0)).steps.last().expect("there are steps");
        assert_eq!(step.waited_p50_ms, Some(1));
        assert!(step.waited_p95_ms.is_some_and(|most| (1000..1250).contains(&most)), "{step:?}");
    }
}
