//! What agents count: dollars, tokens, and how far they are. In records and answers they are plain numbers; here they are fixed-point, so that
//! they add up and compare exactly. No amount is beyond its bound, whatever an agent says.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The most that anything is taken to cost, in US dollars. A ledger has room for that many millionths.
pub const MAX_COST_USD: u32 = 1_000_000;
/// The most tokens that are counted: every reader of JSON holds that number exactly.
pub const MAX_TOKENS: u64 = 1_000_000_000_000_000;
/// Of a dollar.
const MILLIONTHS: f64 = 1e6;
/// Of all there is to do: nobody sees less of a bar.
const PARTS: f64 = 1e4;

/// Money, in US dollars, to the millionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u64);

impl Cost {
    const MAX: Self = Self(MAX_COST_USD as u64 * 1_000_000);

    /// So many dollars, at most [`MAX_COST_USD`]; `None` if that is no amount.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is checked, and bounded
    pub fn of_usd(dollars: f64) -> Option<Self> {
        let millionths = (dollars * MILLIONTHS).round();
        (dollars >= 0.0).then(|| Self(millionths as u64).min(Self::MAX))
    }

    /// So many millionths of a dollar.
    pub fn of_millionths(millionths: u64) -> Self {
        Self(millionths).min(Self::MAX)
    }

    /// It in millionths of a dollar.
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::of_millionths(self.0 + other.0)
    }

    #[allow(clippy::cast_precision_loss)] // it is bounded
    fn dollars(self) -> f64 {
        self.0 as f64 / MILLIONTHS
    }
}

impl fmt::Display for Cost {
    /// `0.25 USD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} USD", self.dollars())
    }
}

impl Serialize for Cost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        Self::of_usd(dollars).ok_or_else(|| {
            let expected = format!("US dollars, from 0 to {MAX_COST_USD}");
            D::Error::invalid_value(Unexpected::Float(dollars), &expected.as_str())
        })
    }
}

/// How far the work is, from nothing to all of it, to the ten-thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress(u16);

impl Progress {
    /// This part of 1; `None` if it is none.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is checked
    pub fn of(part: f64) -> Option<Self> {
        (0.0..=1.0).contains(&part).then(|| Self((part * PARTS).round() as u16))
    }

    /// So many of so many; `None` if there are none.
    #[allow(clippy::cast_precision_loss)] // nobody has that many
    pub fn of_count(done: usize, all: usize) -> Option<Self> {
        Self::of(done as f64 / all as f64)
    }
}

impl Serialize for Progress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / PARTS)
    }
}

impl<'de> Deserialize<'de> for Progress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let part = f64::deserialize(deserializer)?;
        Self::of(part).ok_or_else(|| D::Error::invalid_value(Unexpected::Float(part), &"a number from 0 to 1"))
    }
}

/// Tokens of language models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// Those that models were given, from caches too.
    pub input: u64,
    /// Those that they wrote.
    pub output: u64,
}

impl Tokens {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, |one, other| one.saturating_add(other).min(MAX_TOKENS))
    }

    /// The greater of each.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        self.with(other, |one, other| one.max(other).min(MAX_TOKENS))
    }

    /// What `other` has not.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    fn with(self, other: Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self { input: each(self.input, other.input), output: each(self.output, other.output) }
    }
}
