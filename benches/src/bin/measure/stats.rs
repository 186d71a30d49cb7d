//! Figures of many runs, and the table that they are printed in.

use std::fmt;
use std::time::Duration;

/// Samples in order.
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn new(mut samples: Vec<Duration>) -> Self {
        assert!(!samples.is_empty(), "a figure needs a run");
        samples.sort_unstable();
        Self(samples)
    }

    /// The smallest sample that `percent` of all do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let index = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0[index]
    }

    pub fn median(&self) -> Duration {
        self.percentile(50)
    }

    pub fn p99(&self) -> Duration {
        self.percentile(99)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The median of rates or sizes.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// One line of the table.
pub struct Row {
    what: String,
    figure: String,
    /// The target as written, and whether it was met.
    target: Option<(String, bool)>,
    beside: String,
}

impl Row {
    pub fn new(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { what: what.into(), figure: figure.into(), target: None, beside: String::new() }
    }

    /// A duration that should stay below `target`.
    pub fn below(what: impl Into<String>, duration: Duration, target: Duration) -> Self {
        let mut row = Self::new(what, format!("{:.2} ms", milliseconds(duration)));
        row.target = Some((format!("< {:.0} ms", milliseconds(target)), duration < target));
        row
    }

    /// A rate that should reach `target`.
    pub fn at_least(what: impl Into<String>, rate: f64, target: f64) -> Self {
        let mut row = Self::new(what, format!("{rate:.0}/s"));
        row.target = Some((format!(">= {target:.0}/s"), rate >= target));
        row
    }

    /// A figure that should be at most `target`, both in the same unit.
    pub fn at_most(what: impl Into<String>, figure: f64, target: f64, unit: &str) -> Self {
        let mut row = Self::new(what, format!("{figure:.2} {unit}"));
        row.target = Some((format!("<= {target:.2} {unit}"), figure <= target));
        row
    }

    /// What stands beside it.
    pub fn beside(mut self, beside: impl Into<String>) -> Self {
        self.beside = beside.into();
        self
    }

    pub fn head() -> String {
        let head = format!("{:<58} {:>14}  {:<18}    beside", "what", "figure", "target");
        let line = "-".repeat(120);
        format!("{head}\n{line}")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, met) = match &self.target {
            Some((target, true)) => (target.as_str(), "ok"),
            Some((target, false)) => (target.as_str(), "NO"),
            None => ("", ""),
        };
        write!(f, "{:<58} {:>14}  {target:<18} {met:<2} {}", self.what, self.figure, self.beside)
    }
}
