//! Why a watcher's WebSocket is closed, and what its client should make of it. The one table of close codes.
//!
//! Codes from 4000 on say: don't come back like this. 1012 and 1013 say: come back with `?after=` the last id, and so
//! does a connection that ends without a code. 1002 to 1009 are the client's mistakes.

use baton_core::id::TaskId;
use baton_core::problem::Problem;
use bytes::Bytes;

/// The longest reason: a control frame has 125 bytes, and the code takes two.
const MAX_REASON: usize = 123;

/// A close code and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: String,
}

impl Close {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// 1000: the terminal update was sent.
    pub fn ended() -> Self {
        Self::new(1000, "")
    }

    /// 1002: not the protocol.
    pub fn not_the_protocol(why: &str) -> Self {
        Self::new(1002, why)
    }

    /// 1003: a binary message.
    pub fn not_text() -> Self {
        Self::new(1003, "messages must be text")
    }

    /// 1007: not UTF-8.
    pub fn not_utf8() -> Self {
        Self::new(1007, "text must be UTF-8")
    }

    /// 1009: too long a message.
    pub fn too_long(limit: usize) -> Self {
        Self::new(1009, format!("a message may have at most {limit} bytes"))
    }

    /// 1011: it will not work in this process again.
    pub fn broken(why: &str) -> Self {
        Self::new(1011, why)
    }

    /// 1012: come back, to whoever serves then.
    pub fn shutting_down() -> Self {
        Self::new(1012, "the server is shutting down; come back")
    }

    /// 1013: come back, a little later.
    pub fn come_back(why: &str) -> Self {
        Self::new(1013, why)
    }

    /// 4400: the query is wrong.
    pub fn bad_query(why: &str) -> Self {
        Self::new(4400, why)
    }

    /// 4404: there is no such task, or no longer.
    pub fn no_such_task(id: &str) -> Self {
        Self::new(4404, format!("there is no task {id:?} here, or no longer"))
    }

    /// Why a task can't be watched.
    pub fn of_problem(problem: &Problem, id: &TaskId) -> Self {
        if problem.status == 404 { Self::no_such_task(id.as_str()) } else { Self::come_back(&problem.detail) }
    }

    /// The close frame, its reason cut to fit.
    pub fn frame(&self) -> Bytes {
        let reason = &self.reason[..self.reason.floor_char_boundary(MAX_REASON)];
        let length = u8::try_from(2 + reason.len()).expect("a cut reason is short");
        [&[0x88, length], &self.code.to_be_bytes()[..], reason.as_bytes()].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        let frame = Close::bad_query(&"é".repeat(80)).frame();
        assert_eq!(frame[..4], [0x88, 124, 0x11, 0x30]);
        assert_eq!(std::str::from_utf8(&frame[4..]), Ok("é".repeat(61).as_str()));
        assert_eq!(Close::ended().frame()[..], [0x88, 2, 0x03, 0xe8]);
    }
}
