//! From what an agent writes to what is said of it: secrets are taken out, lines are cut, a line that is not over is shown as it
//! stands after a pause, and what goes beyond the task's budget is left out, visibly, or ends the attempt. The table `output` of a
//! task type.

use crate::lines::{Line, Splitter};
use crate::quantity::{Size, Time};
use crate::redact::{Redactor, Secrets};
use crate::time::Instant;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How soon a line that is not over is shown, and how often again at most, unless the type says otherwise.
const FLUSH_AFTER: Duration = Duration::from_millis(500);
/// Sooner than this nobody could read it.
const SOONEST: Duration = Duration::from_millis(100);
/// What goes on once a task has written all that it may: a line now and then, so that one sees that it lives.
const SAMPLES_A_SECOND: f64 = 1.0;

/// What becomes of the output of a task type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputSettings {
    /// Whether secrets are taken out.
    pub redact: bool,
    /// Whether lines that are JSON of a known shape are read for what the agent says of its work.
    pub reports: bool,
    /// After how long a line that is not over is shown as it stands: a progress bar, a prompt.
    pub flush_after: Time,
    /// How many lines a second are kept of an attempt; beyond, lines are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<u32>,
    /// How much text is kept of an attempt; beyond, one line a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Size>,
    /// What becomes of an attempt that writes more than that.
    pub beyond: Beyond,
}

/// What becomes of an attempt that writes more than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Beyond {
    /// It goes on, and lines are left out.
    #[default]
    Sample,
    /// It is ended, and has failed.
    Fail,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            redact: true,
            reports: true,
            flush_after: Time(FLUSH_AFTER),
            max_rate: None,
            max_size: None,
            beyond: Beyond::Sample,
        }
    }
}

impl OutputSettings {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong, with its path.
    pub(crate) fn check(&self, path: &str) -> Result<(), String> {
        if self.flush_after.0 < SOONEST {
            return Err(format!("{path}.flush_after: must be at least {}", Time(SOONEST)));
        }
        if self.max_rate == Some(0) {
            return Err(format!("{path}.max_rate: must be at least 1 line a second"));
        }
        if self.beyond == Beyond::Fail && self.max_rate.is_none() && self.max_size.is_none() {
            return Err(format!("{path}.beyond: there is neither a max_rate nor a max_size to go beyond"));
        }
        Ok(())
    }
}

/// One of an agent's two streams.
#[derive(Debug)]
pub struct Reader {
    redactor: Redactor,
    secrets: Secrets,
    splitter: Splitter,
    flush_after: Duration,
    /// When the line that is not over is shown.
    due: Option<Instant>,
    /// Which version of it was shown last.
    shown: u64,
}

impl Reader {
    /// For lines of at most `max_line` bytes.
    pub fn new(max_line: usize, settings: &OutputSettings) -> Self {
        let (redactor, splitter) = (Redactor::default(), Splitter::new(max_line));
        Self {
            redactor,
            secrets: Secrets::default(),
            splitter,
            flush_after: settings.flush_after.0,
            due: None,
            shown: 0,
        }
    }

    /// From now on these are taken out.
    pub fn redact(&mut self, secrets: Secrets) {
        self.redactor = Redactor::new(secrets.clone());
        self.secrets = secrets;
    }

    /// Takes output in, and gives each line that it completes.
    pub fn feed(&mut self, bytes: &[u8], now: Instant, mut each: impl FnMut(Line<'_>)) {
        let Self { redactor, secrets, splitter, .. } = self;
        let mut lines = 0_u64;
        redactor.feed(bytes, |piece| {
            // To look at each line is dear: it is done where there is something, and for a line that began before the piece.
            let (has_some, mut began_before) = (secrets.patterns_are_in(piece), splitter.has_begun());
            splitter.feed(piece, |line| {
                lines += 1;
                let looks = std::mem::take(&mut began_before) || has_some;
                each(if looks { line.without_patterns(secrets) } else { line });
            });
        });
        if lines > 0 || splitter.unfinished().is_none() {
            self.due = None;
        }
        if self.due.is_none() && splitter.unfinished().is_some() && splitter.version() != self.shown {
            self.due = Some(now + self.flush_after);
        }
    }

    /// The output is over: gives the last line if it had no ending.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        let Self { redactor, secrets, splitter, .. } = self;
        let mut each = |line: Line<'_>| each(line.without_patterns(secrets));
        redactor.finish(|piece| splitter.feed(piece, &mut each));
        splitter.finish(each);
        self.due = None;
    }

    /// Nothing more is to be said of it.
    pub const fn discard(&mut self) {
        self.due = None;
    }

    /// When to call [`Self::unfinished`].
    pub const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// The line that is not over, as it stands, if it is time to show it.
    pub fn unfinished(&mut self, now: Instant) -> Option<Line<'_>> {
        self.due.take_if(|due| *due <= now)?;
        self.shown = self.splitter.version();
        self.splitter.unfinished().map(|line| line.without_patterns(&self.secrets))
    }
}

impl Line<'_> {
    fn without_patterns(self, secrets: &Secrets) -> Self {
        Self { text: secrets.without_patterns(self.text), ..self }
    }
}

/// What may still be said of an attempt.
#[derive(Debug)]
pub struct Budget {
    max_rate: Option<u32>,
    max_size: Option<Size>,
    size: u64,
    /// Lines that may be said at once, as of `filled_at`.
    lines: f64,
    filled_at: Option<Instant>,
    left_out: u64,
    /// Whether more than that ends the attempt.
    fails: bool,
    /// More came than may be said.
    exceeded: bool,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is said, after so many that were not.
    Said {
        /// How many.
        left_out: u64,
    },
    /// It is left out.
    LeftOut,
}

impl Budget {
    /// As the type has it.
    pub fn new(settings: &OutputSettings) -> Self {
        let OutputSettings { max_rate, max_size, beyond, .. } = *settings;
        let lines = max_rate.map_or(f64::INFINITY, f64::from);
        let fails = beyond == Beyond::Fail;
        Self { max_rate, max_size, size: 0, lines, filled_at: None, left_out: 0, fails, exceeded: false }
    }

    /// Whether a line of so many bytes is said.
    pub fn judge(&mut self, bytes: usize, now: Instant) -> Verdict {
        let Some(rate) = self.rate() else {
            self.add(bytes);
            return Verdict::Said { left_out: 0 };
        };
        let since = self.filled_at.replace(now).map_or(Duration::ZERO, |at| now.since(at));
        self.lines = (self.lines + since.as_secs_f64() * rate).min(rate.max(1.0));
        if self.lines < 1.0 {
            self.left_out += 1;
            self.exceeded = true;
            return Verdict::LeftOut;
        }
        self.lines -= 1.0;
        self.add(bytes);
        Verdict::Said { left_out: self.left_out() }
    }

    fn add(&mut self, bytes: usize) {
        self.size += bytes as u64;
        self.exceeded |= self.max_size.is_some_and(|most| self.size > most.0);
    }

    /// Why the attempt is to be ended, if it is.
    pub fn failure(&self) -> Option<String> {
        if !self.fails || !self.exceeded {
            return None;
        }
        let most = match (self.max_size.filter(|most| self.size > most.0), self.max_rate) {
            (Some(size), _) => size.to_string(),
            (None, rate) => format!("{} lines a second", rate.unwrap_or_default()),
        };
        Some(format!("wrote more than {most}"))
    }

    /// How many lines were left out since the last that was said.
    pub const fn left_out(&mut self) -> u64 {
        std::mem::replace(&mut self.left_out, 0)
    }

    /// How many lines a second may be said.
    fn rate(&self) -> Option<f64> {
        if self.max_size.is_some_and(|most| self.size >= most.0) {
            return Some(SAMPLES_A_SECOND);
        }
        self.max_rate.map(f64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::Patterns;
    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    fn fed(reader: &mut Reader, text: &str, millis: u64) -> Vec<String> {
        let mut lines = Vec::new();
        reader.feed(text.as_bytes(), at(millis), |line| lines.push(line.text.into_owned()));
        lines
    }

    fn shown(reader: &mut Reader, millis: u64) -> Option<String> {
        reader.unfinished(at(millis)).map(|line| line.text.into_owned())
    }

    #[test]
    fn a_line_that_is_not_over_is_shown_after_a_pause_and_again_when_it_has_changed() {
        let mut reader = Reader::new(100, &OutputSettings::default());
        assert_eq!(fed(&mut reader, "one\nPass", 0), ["one"]);
        assert_eq!((reader.deadline(), shown(&mut reader, 400)), (Some(at(500)), None));
        assert!(fed(&mut reader, "word: ", 100).is_empty());
        assert_eq!(shown(&mut reader, 500).as_deref(), Some("Password: "));
        assert_eq!(reader.deadline(), None, "it has not changed");
        assert_eq!(fed(&mut reader, "\n", 900), ["Password: "]);
        assert_eq!(reader.deadline(), None);
    }

    #[test]
    fn progress_is_shown_as_it_stands_and_is_one_line_in_the_end() {
        let mut reader = Reader::new(100, &OutputSettings::default());
        for percent in 0..50 {
            assert!(fed(&mut reader, &format!("\r{percent} %"), percent * 10).is_empty());
        }
        assert_eq!(shown(&mut reader, 500).as_deref(), Some("49 %"));
        assert!(fed(&mut reader, "\r70 %\r", 600).is_empty());
        assert_eq!(reader.deadline(), Some(at(1100)));
        assert_eq!(shown(&mut reader, 1100).as_deref(), Some("70 %"));
        assert_eq!(fed(&mut reader, "100 %\r\ndone\n", 1200), ["100 %", "done"]);
    }

    #[test]
    fn what_may_be_the_beginning_of_a_secret_is_not_shown() {
        let mut reader = Reader::new(100, &OutputSettings::default());
        reader.redact(Secrets::new(["hunter2000"]));
        assert!(fed(&mut reader, "it is hunter2", 0).is_empty());
        assert_eq!(shown(&mut reader, 500).as_deref(), Some("it is "));
        assert_eq!(fed(&mut reader, "000!\n", 600), ["it is ***!"]);
        assert!(fed(&mut reader, "hunter", 700).is_empty());
        let mut last = Vec::new();
        reader.finish(|line| last.push(line.text.into_owned()));
        assert_eq!(last, ["hunter"]);
    }

    #[test]
    fn what_looks_like_a_secret_is_taken_out_of_each_line_however_it_was_read() {
        let mut reader = Reader::new(200, &OutputSettings::default());
        reader.redact(Secrets::new(["hunter2000"]).and(Patterns::default()));
        assert!(fed(&mut reader, "aws AKIAIOSF", 0).is_empty());
        assert_eq!(fed(&mut reader, "ODNN7EXAMPLE hunter2000\nplain\n", 1), ["aws *** ***", "plain"]);
        assert!(fed(&mut reader, "AKIAIOSFODNN7EXAMPLE? ", 2).is_empty());
        assert_eq!(shown(&mut reader, 600).as_deref(), Some("***? "));
        let mut last = Vec::new();
        reader.finish(|line| last.push(line.text.into_owned()));
        assert_eq!(last, ["***? "]);
    }

    proptest! {
        #[test]
        fn what_looks_like_a_secret_does_not_depend_on_the_reads(
            text in "([ab]|ab1|1\r|\n|\r\n){0,30}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let patterns = Patterns::with(&["^a+b", "b1$", "[b]{2}"]).unwrap();
            let secrets = Secrets::default().and(patterns.clone());
            let mut plain = Reader::new(100, &OutputSettings::default());
            let mut expected = fed(&mut plain, &text, 0);
            plain.finish(|line| expected.push(line.text.into_owned()));
            let expected: Vec<_> = expected.iter().map(|line| patterns.taken_out_of(line.as_str().into())).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut reader = Reader::new(100, &OutputSettings::default());
            reader.redact(secrets);
            let mut lines: Vec<String> = cuts.windows(2).flat_map(|cut| fed(&mut reader, &text[cut[0]..cut[1]], 0)).collect();
            reader.finish(|line| lines.push(line.text.into_owned()));
            prop_assert_eq!(lines, expected);
        }
    }

    #[test]
    fn a_budget_leaves_lines_out_and_says_how_many() {
        let said = |left_out| Verdict::Said { left_out };
        let mut free = Budget::new(&OutputSettings::default());
        assert!((0..10_000).all(|_| free.judge(1000, at(0)) == said(0)));
        let mut slow = Budget::new(&OutputSettings { max_rate: Some(2), ..OutputSettings::default() });
        let judged: Vec<_> = [0, 0, 0, 0, 400, 500].map(|millis| slow.judge(1, at(millis))).into();
        assert_eq!(judged, [said(0), said(0), Verdict::LeftOut, Verdict::LeftOut, Verdict::LeftOut, said(3)]);
        let mut small = Budget::new(&OutputSettings { max_size: Some(Size(10)), ..OutputSettings::default() });
        let judged: Vec<_> = [0, 0, 10, 20, 1020, 2100].map(|millis| small.judge(6, at(millis))).into();
        assert_eq!(judged, [said(0), said(0), said(0), Verdict::LeftOut, said(1), said(0)]);
        assert_eq!(slow.left_out(), 0);
        assert_eq!([free, slow, small].map(|budget| budget.failure()), [const { None }; 3], "no type says so");
    }

    #[test]
    fn a_budget_that_ends_an_attempt_says_what_was_too_much() {
        let settings = OutputSettings {
            max_rate: Some(2),
            max_size: Some(Size(10)),
            beyond: Beyond::Fail,
            ..OutputSettings::default()
        };
        let mut big = Budget::new(&settings);
        big.judge(10, at(0));
        assert_eq!(big.failure(), None, "as much as it may");
        big.judge(1, at(1000));
        assert_eq!(big.failure().as_deref(), Some("wrote more than 10B"));
        let mut fast = Budget::new(&settings);
        (0..3).for_each(|_| _ = fast.judge(1, at(0)));
        assert_eq!(fast.failure().as_deref(), Some("wrote more than 2 lines a second"));
    }
}
