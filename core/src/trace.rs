//! Trace context, on its way from who submits a task to its agent. Baton makes no spans of its own: the agent's are children of the
//! submitter's. The shape is that of W3C Trace Context, section 3.2.2 (`traceparent`).

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

/// `version-traceid-parentid-flags`, in hexadecimal: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceParent(String);

/// It is none: whoever reads it goes on as if it had not been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTraceParent;

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let is_hex = |text: &str, len: usize| {
            text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_id = |text: &str, len: usize| is_hex(text, len) && text.bytes().any(|byte| byte != b'0');
        let mut fields = text.splitn(5, '-');
        let [version, trace, parent, flags] = std::array::from_fn(|_| fields.next().unwrap_or_default());
        // A later version may say more.
        let ends = version != "00" || fields.next().is_none();
        let is_good = is_hex(version, 2)
            && version != "ff"
            && is_id(trace, 32)
            && is_id(parent, 16)
            && is_hex(flags, 2)
            && ends
            && text.len() <= MAX_TRACE_PARENT;
        if is_good { Ok(Self(text.to_owned())) } else { Err(NoTraceParent) }
    }
}

/// The longest that is passed on, in bytes.
const MAX_TRACE_PARENT: usize = 256;

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads one that anybody may have written: a bad one is none.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceParent>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_recommendation_takes_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(good.parse::<TraceParent>().unwrap().to_string(), good);
        assert!(format!("cc{}-what-comes-later", &good[2..]).parse::<TraceParent>().is_ok());
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &good[..good.len() - 1],
            &format!("{good}-more"),
            &format!("ff{}", &good[2..]),
            &good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &good.replace("b7ad6b7169203331", &"0".repeat(16)),
            &format!("cc{}-{}", &good[2..], "x".repeat(300)),
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(NoTraceParent), "{bad}");
        }
    }
}
