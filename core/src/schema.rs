//! What values a parameter takes, beyond their type: one of a few, within bounds, of a form. Each rule says in words what it wants.

use crate::types::ValueType;
use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// The most memory that a pattern may take once it is compiled, in bytes.
const MAX_PATTERN: usize = 256 * 1024;

/// The rules of one parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub one_of: Option<&'a [Value]>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub pattern: Option<&'a Pattern>,
}

/// A regular expression, compiled.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let regex = RegexBuilder::new(&text).unicode(false).size_limit(MAX_PATTERN).build();
        let regex = regex.map_err(|error| serde::de::Error::custom(format!("{text:?} is no pattern: {error}")))?;
        Ok(Self { text, regex })
    }
}

impl Rules<'_> {
    /// What is wrong with the rules themselves, for a parameter of this type: the rule, and why.
    pub fn check(&self, value: ValueType) -> Result<(), (&'static str, String)> {
        let is_number = matches!(value, ValueType::Integer | ValueType::Number);
        if self.one_of.is_some_and(<[Value]>::is_empty) {
            return Err(("enum", "must have a value at least".into()));
        }
        for (name, bound) in [("minimum", self.minimum), ("maximum", self.maximum)] {
            if bound.is_some() && !is_number {
                return Err((name, "is for integers and numbers".into()));
            }
        }
        if let (Some(least), Some(most)) = (self.minimum, self.maximum)
            && least > most
        {
            return Err(("maximum", format!("must be at least the minimum, {least}")));
        }
        if self.pattern.is_some() && value != ValueType::String {
            return Err(("pattern", "is for strings".into()));
        }
        Ok(())
    }

    /// What is wrong with a value of the right type.
    pub fn judge(&self, value: &Value) -> Result<(), String> {
        if let Some(values) = self.one_of
            && !values.contains(value)
        {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            return Err(format!("must be one of {}", values.join(", ")));
        }
        if let Some(number) = value.as_f64() {
            if let Some(least) = self.minimum.filter(|least| number < *least) {
                return Err(format!("must be at least {least}"));
            }
            if let Some(most) = self.maximum.filter(|most| number > *most) {
                return Err(format!("must be at most {most}"));
            }
        }
        match (self.pattern, value) {
            (Some(pattern), Value::String(text)) if !pattern.regex.is_match(text.as_bytes()) => {
                Err(format!("must match {pattern}"))
            }
            _ => Ok(()),
        }
    }
}
