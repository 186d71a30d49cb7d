//! Until when the processes of a worker may live. A pure machine: time comes in as a value, and what is to be done comes out.
//! It never lets anything begin under a term that has ended, whatever was said since.

use super::protocol::Moment;

/// A worker's lease. It has terms, which are numbered: one ends when its time has come without a new word.
#[derive(Debug)]
pub struct Lease {
    term: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was ever said of time: processes live as long as their worker.
    Unbound,
    /// They live until then.
    Held { end_at: Moment, gone_by: Moment },
    /// The time came without a new word: nothing lives, and nothing may begin.
    Over,
}

impl Lease {
    /// A lease without an end, whose first term has this number.
    pub const fn new(term: u64) -> Self {
        Self { term, state: State::Unbound }
    }

    /// The number of the term that lasts, or of the one that comes next.
    pub const fn term(&self) -> u64 {
        self.term
    }

    /// The worker holds until then. Where the word comes too late a new term begins, and true means: end everything of the
    /// earlier one.
    pub fn hold(&mut self, end_at: Moment, gone_by: Moment, now: Moment) -> bool {
        let late = self.lapse(now);
        self.state = State::Held { end_at, gone_by };
        self.lapse(now) || late
    }

    /// Ends the term if its time has come. True means: end everything that was begun in it.
    pub fn lapse(&mut self, now: Moment) -> bool {
        let lapses = matches!(self.state, State::Held { end_at, .. } if end_at <= now);
        if lapses {
            self.state = State::Over;
            self.term += 1;
        }
        lapses
    }

    /// Whether a run may begin that was asked for in this term.
    pub fn may_begin(&self, term: u64, now: Moment) -> bool {
        term == self.term
            && match self.state {
                State::Unbound => true,
                State::Held { end_at, .. } => now < end_at,
                State::Over => false,
            }
    }

    /// When to call [`Self::lapse`].
    pub const fn end_at(&self) -> Option<Moment> {
        match self.state {
            State::Held { end_at, .. } => Some(end_at),
            State::Unbound | State::Over => None,
        }
    }

    /// When the kernel is to end what was not ended by then: half-way to when the processes must be gone.
    pub fn last_resort(&self) -> Option<Moment> {
        match self.state {
            State::Held { end_at, gone_by } => Some(end_at + gone_by.saturating_sub(end_at) / 2),
            State::Unbound | State::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_of_which_nothing_is_said_has_no_end() {
        let mut lease = Lease::new(7);
        assert!(!lease.lapse(at(1_000_000)));
        assert!(lease.may_begin(7, at(1_000_000)));
        assert_eq!((lease.end_at(), lease.last_resort()), (None, None));
    }

    #[test]
    fn a_term_lasts_as_long_as_it_is_renewed_in_time() {
        let mut lease = Lease::new(1);
        for second in 0..10 {
            assert!(!lease.hold(at(second + 4), at(second + 8), at(second)));
            assert!(!lease.lapse(at(second + 3)));
            assert!(lease.may_begin(1, at(second + 3)));
            assert_eq!((lease.end_at(), lease.last_resort()), (Some(at(second + 4)), Some(at(second + 6))));
        }
        assert!(!lease.may_begin(1, at(13)), "not even before anybody has looked at the clock");
        assert!(lease.lapse(at(13)));
        assert!(!lease.lapse(at(14)), "once");
    }

    #[test]
    fn what_was_asked_for_in_a_term_that_has_ended_never_begins() {
        let mut lease = Lease::new(1);
        lease.hold(at(4), at(5), at(0));
        assert!(lease.lapse(at(6)));
        assert!(!lease.may_begin(1, at(6)) && !lease.may_begin(2, at(6)));
        assert!(!lease.hold(at(10), at(11), at(6)));
        assert!(!lease.may_begin(1, at(7)), "its worker froze, and woke when the claims were others'");
        assert!(lease.may_begin(2, at(7)));
    }

    #[test]
    fn a_word_that_was_out_of_date_when_it_came_holds_nothing() {
        let mut lease = Lease::new(1);
        assert!(lease.hold(at(4), at(5), at(9)));
        assert!(!lease.may_begin(1, at(9)) && !lease.may_begin(2, at(9)));
        assert_eq!((lease.term(), lease.end_at()), (2, None));
    }

    #[test]
    fn a_word_that_comes_after_the_end_begins_another_term() {
        let mut lease = Lease::new(1);
        lease.hold(at(4), at(5), at(0));
        assert!(lease.hold(at(9), at(10), at(5)), "nobody has looked at the clock in between");
        assert!(!lease.may_begin(1, at(6)) && lease.may_begin(2, at(6)));
    }
}
