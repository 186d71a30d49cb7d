//! Sizes and times as people write them in a table: `512MiB`, `1h30m`. A bare number is bytes where a size is meant, and refused
//! where a time is: nobody could tell its unit.

use bytesize::ByteSize;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// The longest time that a table takes: clocks and calendars can still reckon with it.
pub const LONGEST: Duration = Duration::from_hours(24 * 3650);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    /// With its unit, and exactly: `512MiB`, `1000B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let whole = |(unit, _): &(u64, &str)| self.0 > 0 && self.0.is_multiple_of(*unit);
        let (unit, name) = units.into_iter().find(whole).unwrap_or((1, "B"));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size, such as 65536, \"64KiB\", \"512MiB\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                let size: Result<ByteSize, _> = text.parse();
                size.map(|size| Size(size.as_u64())).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// A time, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl fmt::Display for Time {
    /// With its units: `1h 30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX);
        write!(f, "{time:#}")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with its unit, such as \"10s\", \"5m\", \"1h30m\", at most 3650d")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                let span = text.parse::<Span>().ok();
                let time = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
                let time = time.and_then(|time| Duration::try_from(time).ok());
                let time = time.filter(|time| *time <= LONGEST);
                time.map(Time).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        size: Option<Size>,
        time: Option<Time>,
    }

    fn size(written: &str) -> Result<Size, String> {
        let read: Result<Table, _> = toml::from_str(&format!("size = {written}"));
        read.map(|table| table.size.unwrap()).map_err(|error| error.message().to_owned())
    }

    fn time(written: &str) -> Result<Time, String> {
        let read: Result<Table, _> = toml::from_str(&format!("time = {written}"));
        read.map(|table| table.time.unwrap()).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn what_is_written_is_read_and_written_again() {
        for (written, bytes, shown) in [
            ("65536", 65_536, "64KiB"),
            ("\"1000B\"", 1000, "1000B"),
            ("\"512MiB\"", 512 << 20, "512MiB"),
            ("\"1.5GiB\"", 1536 << 20, "1536MiB"),
            ("0", 0, "0B"),
        ] {
            let read = size(written).unwrap();
            assert_eq!((read, read.to_string().as_str()), (Size(bytes), shown));
            assert_eq!(size(&format!("\"{shown}\"")).unwrap(), read);
        }
        for (written, millis, shown) in
            [("\"10s\"", 10_000, "10s"), ("\"1h30m\"", 5_400_000, "1h 30m"), ("\"250ms\"", 250, "250ms")]
        {
            let read = time(written).unwrap();
            assert_eq!((read, read.to_string().as_str()), (Time(Duration::from_millis(millis)), shown));
            assert_eq!(time(&format!("\"{shown}\"")).unwrap(), read);
        }
        assert_eq!(time("\"7d\"").unwrap(), Time(Duration::from_hours(168)));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        assert_eq!(
            size("-1").unwrap_err(),
            "invalid value: integer `-1`, expected a size, such as 65536, \"64KiB\", \"512MiB\""
        );
        assert!(size("\"64KX\"").is_err() && size("true").is_err());
        assert!(
            time("10")
                .unwrap_err()
                .ends_with("expected a time with its unit, such as \"10s\", \"5m\", \"1h30m\", at most 3650d")
        );
        for wrong in ["\"10\"", "\"-10s\"", "\"4000d\"", "\"soon\""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
