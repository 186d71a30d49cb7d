//! The names of tasks, projects and updates, checked once at the edge and trusted from there on.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest task id: room for a UUID and for what foreign producers make up.
pub const MAX_TASK_ID: usize = 128;
/// The longest project name.
pub const MAX_PROJECT: usize = 64;

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {max} characters of A-Z a-z 0-9 . _ -, the first a letter or a digit")]
pub struct BadName {
    max: usize,
}

fn check_name(name: &str, max: usize) -> Result<(), BadName> {
    let bytes = name.as_bytes();
    let good = !bytes.is_empty()
        && bytes.len() <= max
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b));
    if good { Ok(()) } else { Err(BadName { max }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(name: &str) -> Result<Self, BadName> {
                check_name(name, $max)?;
                Ok(Self(name.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(name: String) -> Result<Self, BadName> {
                name.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The id of a task, and the key of each of its records. Baton makes UUIDs of version 4; a foreign producer may bring its own.
    TaskId,
    MAX_TASK_ID
);
name!(
    /// The name of a project, as its config is asked for.
    ProjectName,
    MAX_PROJECT
);

impl TaskId {
    /// The id that these 16 random bytes make: a UUID of version 4 (RFC 9562, section 5.4).
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex = format!("{:032x}", u128::from_be_bytes(bytes));
        let id = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        Self(id.into())
    }
}

/// Where an update stands in its task: its attempt, then its number within that attempt. Ordered; written `attempt-seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateId {
    /// 0 for a task that ended before it was ever run.
    pub attempt: u32,
    /// From 1 within the attempt.
    pub seq: u64,
}

impl UpdateId {
    /// The number of an end that was written by one who could not know how many updates came before it. It is the same for
    /// every reader, also for one who can't count them any more; and all that JSON can hold without loss.
    pub const LAST_SEQ: u64 = (1 << 53) - 1;
}

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.attempt, self.seq)
    }
}

/// The text is no [`UpdateId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of an update, such as 1-17 (attempt, then number)")]
pub struct BadUpdateId;

impl FromStr for UpdateId {
    type Err = BadUpdateId;

    fn from_str(text: &str) -> Result<Self, BadUpdateId> {
        let (attempt, seq) = text.split_once('-').ok_or(BadUpdateId)?;
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(attempt) || !digits(seq) {
            return Err(BadUpdateId);
        }
        Ok(Self { attempt: attempt.parse().map_err(|_| BadUpdateId)?, seq: seq.parse().map_err(|_| BadUpdateId)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_are_uuids_of_version_4() {
        let id = TaskId::from_random([0xff; 16]);
        assert_eq!(id.as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn names_are_refused_that_could_be_mistaken_for_something_else() {
        for bad in ["", "-x", ".", "..", "a/b", "a b", "é", "a\n", &"x".repeat(129)] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad:?}");
        }
        for good in ["abc", "a.b_c-d", "7", &"x".repeat(128)] {
            assert!(good.parse::<TaskId>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn update_ids_read_what_they_write_and_nothing_else() {
        let id = UpdateId { attempt: 2, seq: 17 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "1", "1-", "-1", "+1-2", "1-+2", "a-b", "1-2-3", "99999999999-1"] {
            assert_eq!(bad.parse::<UpdateId>(), Err(BadUpdateId), "{bad:?}");
        }
    }
}
