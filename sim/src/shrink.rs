//! Makes a plan that fails smaller, as long as it breaks the same guarantee.

use crate::oracle::Violation;
use crate::plan::Plan;
use crate::seed;
use baton_probe::Mutant;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a plan can have less of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Fault,
    Garbage,
    Watcher,
    Stop,
    Task,
}

impl Part {
    const ALL: [Self; 5] = [Self::Fault, Self::Garbage, Self::Watcher, Self::Stop, Self::Task];

    const fn letter(self) -> char {
        match self {
            Self::Fault => 'f',
            Self::Garbage => 'g',
            Self::Watcher => 'w',
            Self::Stop => 's',
            Self::Task => 't',
        }
    }

    fn len(self, plan: &Plan) -> usize {
        match self {
            Self::Fault => plan.faults.len(),
            Self::Garbage => plan.garbage.len(),
            Self::Watcher => plan.watchers.len(),
            Self::Stop => plan.stops.len(),
            Self::Task => plan.tasks.len(),
        }
    }
}

/// What is taken out of a plan: written `f0,t3,w12` for its first fault, its fourth task and its thirteenth watcher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Less(BTreeSet<(Part, usize)>);

impl Less {
    /// Whether nothing is taken out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The plan without it. A task goes with its watchers and STOPs.
    pub fn of(&self, plan: &Plan) -> Plan {
        let stays = |part: Part, number: usize| !self.0.contains(&(part, number));
        let mut less = plan.clone();
        let mut place = 0;
        let places: Vec<Option<usize>> = (0..plan.tasks.len())
            .map(|task| {
                let there = stays(Part::Task, task).then_some(place);
                place += usize::from(there.is_some());
                there
            })
            .collect();
        keep(&mut less.faults, |number| stays(Part::Fault, number));
        keep(&mut less.garbage, |number| stays(Part::Garbage, number));
        keep(&mut less.tasks, |number| stays(Part::Task, number));
        keep(&mut less.watchers, |number| stays(Part::Watcher, number) && places[plan.watchers[number].task].is_some());
        keep(&mut less.stops, |number| stays(Part::Stop, number) && places[plan.stops[number].task].is_some());
        let moved = |task: usize| places[task].expect("its task is there");
        less.watchers.iter_mut().for_each(|watch| watch.task = moved(watch.task));
        less.stops.iter_mut().for_each(|stop| stop.task = moved(stop.task));
        less
    }
}

fn keep<T>(all: &mut Vec<T>, stays: impl Fn(usize) -> bool) {
    let mut number = 0;
    all.retain(|_| {
        number += 1;
        stays(number - 1)
    });
}

impl fmt::Display for Less {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (part, number)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}{number}", part.letter())?;
        }
        Ok(())
    }
}

impl FromStr for Less {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |item: &str| {
            let part = Part::ALL.into_iter().find(|part| item.starts_with(part.letter()))?;
            Some((part, item[1..].parse().ok()?))
        };
        text.split_terminator(',')
            .map(|item| one(item).ok_or_else(|| format!("{item:?} is none of f0 (a fault), g0, w0, s0, t0 (a task)")))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// What can be taken out of a plan that fails, in at most `tries` plays: halves first, then one after the other (delta
/// debugging; Zeller and Hildebrandt, 2002).
pub fn shrink(plan: &Plan, mutant: Option<Mutant>, violation: &Violation, tries: usize) -> Less {
    let mut less = Less::default();
    let mut left = tries;
    let mut fails = |less: &Less| {
        let may = left > 0;
        left = left.saturating_sub(1);
        may && seed::play(&less.of(plan), mutant).violation.is_some_and(|other| other.guarantee == violation.guarantee)
    };
    // STOPs go with their tasks alone: an endless one needs its own.
    for part in [Part::Task, Part::Fault, Part::Watcher, Part::Garbage] {
        let mut there: Vec<usize> = (0..part.len(plan)).collect();
        let mut chunk = there.len();
        while chunk > 0 {
            let mut at = 0;
            while at < there.len() {
                let out = at..(at + chunk).min(there.len());
                let mut smaller = less.clone();
                smaller.0.extend(there[out.clone()].iter().map(|number| (part, *number)));
                if fails(&smaller) {
                    less = smaller;
                    there.drain(out);
                } else {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
    }
    less
}
