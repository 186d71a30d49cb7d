//! The values of options: how each is written, and what would be right where it is not. A value that is read here
//! can be used as it is; nothing is checked again further on.

use baton_core::patterns::Patterns;
use bytesize::ByteSize;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// The longest time that any option takes: clocks and calendars can still reckon with it.
const LONGEST: Duration = Duration::from_hours(24 * 3650);
/// The shortest retention: an idempotency key holds for a day.
const SHORTEST_RETENTION: Duration = Duration::from_hours(24);
/// The shortest and the longest `--max-line`, in bytes: a cut line must have room for saying so, and a record for its line.
const LINE: RangeInclusive<usize> = 16..=1 << 20;
/// The shortest and the longest `--session-timeout`: a heartbeat must fit in it, and Kafka's brokers take no longer one.
const SESSION: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(30);
/// The longest name: a topic's may have 249 characters, with the prefix and what Baton adds.
const LONGEST_NAME: usize = 200;

/// A command split into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

/// A whole number from 1 to `MOST`.
pub fn count<const MOST: u32>(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| format!("must be a whole number from 1 to {MOST}"))
}

/// A whole number from 1 on.
pub fn limit(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "must be a whole number from 1 on".into())
}

/// A command, split as a shell splits it.
pub fn words(text: &str) -> Result<Words, String> {
    let words = shell_words::split(text).map_err(|error| format!("{error}; write it as 'python3 agent.py'"))?;
    if words.is_empty() { Err("must name a program, such as 'python3 agent.py'".into()) } else { Ok(Words(words)) }
}

/// A time with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|_| "must be a time with its unit, such as 10s, 5m, 1h30m, 7d".to_owned())?;
    if time > LONGEST { Err("must be at most 3650d".into()) } else { Ok(time) }
}

/// A time of at least [`SHORTEST_RETENTION`].
pub fn retention(text: &str) -> Result<Duration, String> {
    let retention = duration(text)?;
    if retention < SHORTEST_RETENTION { Err("must be at least 24h".into()) } else { Ok(retention) }
}

/// A number of bytes, as a rule with its unit.
pub fn size(text: &str) -> Result<usize, String> {
    let size: ByteSize =
        text.parse().map_err(|_| "must be a number of bytes, such as 65536, 64KiB, 256MiB".to_owned())?;
    usize::try_from(size.as_u64()).map_err(|_| "is more than this machine can address".into())
}

/// A number of bytes, for people.
pub fn shown_size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A number of bytes that a line may have.
pub fn line_size(text: &str) -> Result<usize, String> {
    let size = size(text)?;
    if LINE.contains(&size) { Ok(size) } else { Err("must be from 16B to 1MiB".into()) }
}

/// What secrets look like: a regular expression.
pub fn pattern(text: &str) -> Result<String, String> {
    Patterns::with(&[text]).map(|_| text.to_owned())
}

/// How long a worker may say nothing before it counts as dead.
pub fn session(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if SESSION.contains(&time) { Ok(time) } else { Err("must be from 1s to 30m".into()) }
}

/// A name that Kafka takes in the name of a topic, a group or a member.
pub fn name(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if text.len() <= LONGEST_NAME && !text.is_empty() && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(format!("must be 1 to {LONGEST_NAME} characters of A-Z a-z 0-9 . _ -"))
}

/// Brokers: hosts with their ports.
pub fn brokers(text: &str) -> Result<String, String> {
    let brokers: Vec<&str> = text.split(',').map(str::trim).filter(|broker| !broker.is_empty()).collect();
    let is_broker = |broker: &&str| {
        let parts = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'));
        parts.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    if let Some(other) = brokers.iter().find(|broker| !is_broker(broker)) {
        return Err(format!("{other:?} is no HOST:PORT; write it as broker-1:9092,broker-2:9092"));
    }
    if brokers.is_empty() { Err("must name a broker, such as broker-1:9092".into()) } else { Ok(brokers.join(",")) }
}

/// An address to listen on.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8000".to_owned())
}

/// The origin of a web page, as a browser writes it.
pub fn origin(text: &str) -> Result<Origin, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' '])) {
        return Ok(Origin(text.to_owned()));
    }
    Err("must be an origin, without a path: https://tools.example or http://localhost:3000".into())
}

/// The origin of a web page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(pub String);

/// A text that may hold a secret: no error shows it, as reading it never fails.
#[derive(Clone, PartialEq, Eq)]
pub struct Secretive(pub String);

impl FromStr for Secretive {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secretive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(may be a secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_units() {
        assert_eq!(duration("1h30m").unwrap(), Duration::from_mins(90));
        assert_eq!(size("64KiB").unwrap(), 65_536);
        assert_eq!(size("1000").unwrap(), 1000);
        assert_eq!(words("python3 'my agent.py' -v").unwrap().0, ["python3", "my agent.py", "-v"]);
        assert_eq!(count::<8>("8").unwrap(), 8);
        assert_eq!(brokers("a:9092, [::1]:9093,").unwrap(), "a:9092,[::1]:9093");
        assert_eq!(origin("http://localhost:3000").unwrap().0, "http://localhost:3000");
        assert_eq!(name("staging.").unwrap(), "staging.");
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        let wrong = [
            duration("10").map(drop),
            duration("soon").map(drop),
            duration("4000d").map(drop),
            retention("23h").map(drop),
            size("-1").map(drop),
            size("64KX").map(drop),
            line_size("15").map(drop),
            line_size("1MB1").map(drop),
            count::<8>("9").map(drop),
            count::<8>("-1").map(drop),
            limit("0").map(drop),
            words("'open").map(drop),
            words("  ").map(drop),
            session("500ms").map(drop),
            session("31m").map(drop),
            name("a b").map(drop),
            name("").map(drop),
            brokers("a:9092,b").map(drop),
            brokers("kafka://a:9092").map(drop),
            brokers("a:0").map(drop),
            brokers(",").map(drop),
            address("localhost:80").map(drop),
            origin("tools.example").map(drop),
            origin("https://tools.example/").map(drop),
            origin("*").map(drop),
        ];
        insta::assert_debug_snapshot!(wrong.map(|result| result.unwrap_err()));
    }
}
