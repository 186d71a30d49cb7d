//! Where, as whom, and with what the processes of a task type are started: the table `process`. The core only reads and
//! checks it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// How the agent of a task type is started. What is not said is as the worker has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Launch {
    /// The directory that it starts in; absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The user that it runs as, by name or number. Only a worker that is root can make it another than its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How much it gives way to others, from -20 to 19.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<i8>,
    /// Which permissions the files that it makes don't have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<Umask>,
    /// Its output is a terminal, of this size: for programs that hold lines back, or speak otherwise, where there is none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "pty")]
    pub pty: Option<Pty>,
}

/// The size of a pseudo-terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pty {
    /// How many characters a row has.
    pub columns: u16,
    /// How many rows there are.
    pub rows: u16,
}

impl Default for Pty {
    /// Wide enough that few programs break their lines.
    fn default() -> Self {
        Self { columns: 120, rows: 40 }
    }
}

/// Reads `true`, `false`, or a size.
fn pty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Pty>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be true, false, or a size: { columns = 120, rows = 40 }")]
    enum Written {
        Switch(bool),
        Size(Pty),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Switch(on) => on.then(Pty::default),
        Written::Size(size) => Some(size),
    })
}

/// Permissions that new files don't have: written in octal, as `"027"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Umask(pub u16);

impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03o}", self.0)
    }
}

impl Serialize for Umask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Umask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octal = text.bytes().all(|digit| digit.is_ascii_digit());
        let mask = if octal { u16::from_str_radix(&text, 8).ok() } else { None };
        let mask = mask.filter(|mask| *mask <= 0o777);
        mask.map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no umask; write it in octal, as \"027\"")))
    }
}

impl Launch {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong, with its path.
    pub(crate) fn check(&self, path: &str) -> Result<(), String> {
        if let Some(directory) = &self.directory {
            if !directory.starts_with('/') {
                return Err(format!("{path}.directory: {directory:?} must be absolute: begin with a /"));
            }
            if directory.contains('\0') {
                return Err(format!("{path}.directory: must not hold a NUL"));
            }
        }
        if self.user.as_ref().is_some_and(|user| user.is_empty() || user.contains([':', '\0', '\n'])) {
            return Err(format!("{path}.user: must be the name or the number of a user"));
        }
        if self.pty.is_some_and(|size| size.columns == 0 || size.rows == 0) {
            return Err(format!("{path}.pty: must have a column and a row at least"));
        }
        if self.nice.is_some_and(|nice| !(-20..=19).contains(&nice)) {
            return Err(format!("{path}.nice: must be from -20 to 19"));
        }
        Ok(())
    }
}
