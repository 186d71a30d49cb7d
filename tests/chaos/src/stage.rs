//! What all who play have in common: the clock, the diary, and whether it is over. It tells what happens on stderr as it happens.

use crate::cast::Cast;
use crate::story::{At, Fault, now};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How soon who sleeps hears that it is over.
const HEARS_WITHIN: Duration = Duration::from_millis(50);
/// For how long after a fault of the brokers it explains that they could not be reached.
const EXPLAINS: At = 60_000;

/// The stage of one run.
pub struct Stage {
    /// Who plays.
    pub cast: Arc<Cast>,
    /// For how long there are faults.
    pub length: Duration,
    begun: Instant,
    over: AtomicBool,
    healed: AtomicUsize,
    diary: Mutex<Diary>,
}

/// What happened that nobody but the stage knows of.
#[derive(Clone, Debug, Default)]
pub struct Diary {
    /// What was wrong on purpose.
    pub faults: Vec<Fault>,
    /// When workers were told to go.
    pub farewells: Vec<At>,
    /// What nobody meant to happen.
    pub surprises: Vec<String>,
    /// When the brokers were harmed last.
    brokers: At,
}

impl Stage {
    /// It begins now.
    pub fn new(cast: Arc<Cast>, length: Duration) -> Self {
        let (over, healed, diary) = (AtomicBool::default(), AtomicUsize::default(), Mutex::default());
        Self { cast, length, begun: Instant::now(), over, healed, diary }
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether the play is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Ends the play: who sleeps awakes.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Sleeps; false if the play ended meanwhile.
    pub fn sleep(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(HEARS_WITHIN));
        }
        false
    }

    /// Notes that one more lane is healed.
    pub fn lane_is_healed(&self) {
        self.healed.fetch_add(1, Ordering::SeqCst);
    }

    /// How many lanes are healed.
    pub fn healed(&self) -> usize {
        self.healed.load(Ordering::SeqCst)
    }

    /// Tells something.
    pub fn say(&self, what: &str) {
        eprintln!("{:7.1} s  {what}", self.elapsed().as_secs_f64());
    }

    /// Something that nobody meant to happen.
    pub fn surprise(&self, what: String) {
        if self.is_over() {
            return; // everything ends
        }
        self.say(&format!("SURPRISE: {what}"));
        self.diary().surprises.push(what);
    }

    /// A worker is told to go.
    pub fn farewell(&self) {
        self.diary().farewells.push(now());
    }

    /// Something is wrong on purpose, until the value is dropped.
    pub fn fault(&self, what: String) -> Wrong<'_> {
        self.wrong(what, false)
    }

    /// The same, with brokers.
    pub fn fault_of_brokers(&self, what: String) -> Wrong<'_> {
        self.diary().brokers = At::MAX;
        self.wrong(what, true)
    }

    fn wrong(&self, what: String, brokers: bool) -> Wrong<'_> {
        self.say(&what);
        Wrong { stage: self, from: now(), what, brokers }
    }

    /// Whether it is the brokers' fault if they can't be reached.
    pub fn brokers_were_harmed(&self) -> bool {
        now().saturating_sub(EXPLAINS) < self.diary().brokers
    }

    /// What happened.
    pub fn told(&self) -> Diary {
        self.diary().clone()
    }

    fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault that lasts.
pub struct Wrong<'a> {
    stage: &'a Stage,
    from: At,
    what: String,
    brokers: bool,
}

impl Drop for Wrong<'_> {
    fn drop(&mut self) {
        let fault = Fault { from: self.from, to: now(), what: std::mem::take(&mut self.what) };
        self.stage.say(&format!("    over: {}", fault.what));
        let mut diary = self.stage.diary();
        if self.brokers {
            diary.brokers = fault.to;
        }
        diary.faults.push(fault);
    }
}
