//! The values of options: how each is written, and what would be right where it is not. A value that is read here
//! can be used as it is; nothing is checked again further on.

use bytesize::ByteSize;
use std::net::SocketAddr;
use std::time::Duration;

/// The longest time that any option takes: clocks and calendars can still reckon with it.
const LONGEST: Duration = Duration::from_hours(24 * 3650);
/// The shortest retention: an idempotency key holds for a day.
const SHORTEST_RETENTION: Duration = Duration::from_hours(24);
/// The shortest and the longest `--max-line`, in bytes: a cut line must have room for saying so, and a record for its line.
const LINE: std::ops::RangeInclusive<usize> = 16..=1 << 20;

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

/// A number of bytes that a line may have.
pub fn line_size(text: &str) -> Result<usize, String> {
    let size = size(text)?;
    if LINE.contains(&size) { Ok(size) } else { Err("must be from 16B to 1MiB".into()) }
}

/// An address that only this machine can reach.
pub fn loopback(text: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr =
        text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8000".to_owned())?;
    if addr.ip().is_loopback() {
        return Ok(addr);
    }
    Err("would let in whoever can reach this machine, and there is nothing yet that tells them apart; \
         listen on 127.0.0.1 or [::1], and put a proxy that checks who they are in front"
        .into())
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
        assert!(loopback("[::1]:0").is_ok());
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
            loopback("localhost:80").map(drop),
            loopback("0.0.0.0:80").map(drop),
            loopback("192.168.1.2:80").map(drop),
        ];
        insta::assert_debug_snapshot!(wrong.map(|result| result.unwrap_err()));
    }
}
