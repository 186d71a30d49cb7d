//! Secrets that are known by their looks: tokens of well-known services, and whatever else a worker is told. Patterns are looked for in lines, in
//! time that grows with the line alone.

use crate::redact::REDACTED;
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::borrow::Cow;
use std::fmt;

/// The tokens that scanners of secrets know best, each by a beginning that hardly anything else has. What may end a word (`task-`) begins
/// one, or stands behind an escape of JSON, whose letter is no part of the word.
const KNOWN: [&str; 13] = [
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",                                        // AWS, the id of a key
    r"gh[opsur]_[0-9A-Za-z]{36,}",                                       // GitHub
    r"github_pat_[0-9A-Za-z_]{22,}",                                     // GitHub, fine-grained
    r"glpat-[0-9A-Za-z_-]{20,}",                                         // GitLab
    r"(?:\b|\\[bfnrt])sk-[0-9A-Za-z_-]{20,}",                            // Anthropic, OpenAI and others of their kind
    r"xox[abeoprs]-[0-9A-Za-z-]{10,}",                                   // Slack
    r"(?:\b|\\[bfnrt])[rs]k_(?:live|test)_[0-9A-Za-z]{16,}",             // Stripe
    r"AIza[0-9A-Za-z_-]{35}",                                            // Google
    r"npm_[0-9A-Za-z]{36}",                                              // npm
    r"pypi-[0-9A-Za-z_-]{50,}",                                          // PyPI
    r"(?:\b|\\[bfnrt])hf_[0-9A-Za-z]{30,}",                              // Hugging Face
    r"SG\.[0-9A-Za-z_-]{22}\.[0-9A-Za-z_-]{43}",                         // SendGrid
    r"eyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}", // a JSON Web Token
];
/// The most patterns that a worker may be told.
pub const MAX_PATTERNS: usize = 100;
/// The most memory that all patterns together may take once they are compiled, in bytes.
const MAX_COMPILED: usize = 8 * 1024 * 1024;

/// What secrets look like. Its copies share what was compiled.
#[derive(Clone)]
pub struct Patterns(Regex);

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("patterns of secrets")
    }
}

impl Default for Patterns {
    /// The known tokens.
    fn default() -> Self {
        Self::with::<&str>(&[]).expect("the known patterns are checked by a test")
    }
}

impl Patterns {
    /// The known tokens, and these; each a regular expression over bytes, whose classes are those of ASCII. The error says which is
    /// wrong, and why.
    pub fn with<T: AsRef<str>>(more: &[T]) -> Result<Self, String> {
        if more.len() > MAX_PATTERNS {
            return Err(format!("there are {} patterns, and may be {MAX_PATTERNS}", more.len()));
        }
        for pattern in more.iter().map(AsRef::as_ref) {
            let regex = compile(pattern).map_err(|why| format!("{pattern:?} is no pattern: {why}"))?;
            if regex.is_match(b"") {
                return Err(format!("{pattern:?} matches nothing at all too: it would be found everywhere"));
            }
        }
        let all: Vec<String> =
            KNOWN.into_iter().chain(more.iter().map(AsRef::as_ref)).map(|one| format!("(?:{one})")).collect();
        compile(&all.join("|")).map(Self).map_err(|why| format!("all patterns together: {why}"))
    }

    /// Whether any line of these bytes has what looks like a secret. As dear for a thousand lines as for a few.
    pub fn are_in(&self, lines: &[u8]) -> bool {
        self.0.is_match(lines)
    }

    /// The line without what looks like a secret.
    pub fn taken_out_of<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if !self.0.is_match(text.as_bytes()) {
            return text;
        }
        let shown = self.0.replace_all(text.as_bytes(), |found: &Captures<'_>| {
            let escape = found[0].strip_prefix(b"\\").and_then(|_| found[0].get(..2)).unwrap_or_default();
            [escape, REDACTED.as_bytes()].concat()
        });
        String::from_utf8_lossy(&shown).into_owned().into()
    }
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    // `^` and `$` are a line's ends also where many lines are looked at together.
    RegexBuilder::new(pattern).unicode(false).multi_line(true).crlf(true).size_limit(MAX_COMPILED).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Patterns::with(&["PIN [0-9]{4}"]).unwrap().taken_out_of(text.into()).into_owned()
    }

    #[test]
    fn well_known_tokens_are_taken_out_and_what_only_resembles_one_is_not() {
        let letters = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";
        for token in [
            "AKIAIOSFODNN7EXAMPLE".to_owned(),
            format!("ghp_{}", &letters[..36]),
            format!("github_pat_{letters}"),
            format!("glpat-{}", &letters[..20]),
            format!("sk-ant-api03-{letters}_-x"),
            format!("xoxb-{}", &letters[..24]),
            format!("sk_live_{}", &letters[..24]),
            format!("AIza{}", &letters[..35]),
            format!("npm_{}", &letters[..36]),
            format!("pypi-{letters}{letters}"),
            format!("hf_{}", &letters[..34]),
            format!("SG.{}.{letters}abc", &letters[..22]),
            format!("eyJ{letters}.eyJ{letters}.{letters}"),
            "PIN 1234".to_owned(),
        ] {
            let text = format!("é key={token}, \"{token}\"");
            assert_eq!(shown(&text), "é key=***, \"***\"", "{token}");
            let json = serde_json::Value::from(format!("one\n{token}\ttwo")).to_string();
            assert_eq!(shown(&json), r#""one\n***\ttwo""#, "{token}");
        }
        let plain = "task-0123456789abcdef0123456789 risk-adjusted-return-on-capital sk-learn npm_config AKIA eyJ0.eyJ1.x PIN 12";
        assert_eq!(shown(plain), plain);
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        let wrong = |pattern: &str| Patterns::with(&[pattern]).unwrap_err();
        assert!(wrong("a(").starts_with("\"a(\" is no pattern: regex parse error"), "{}", wrong("a("));
        assert!(wrong("a*").ends_with("it would be found everywhere"));
        assert!(wrong("(a{1000}){1000}").contains("exceeds size limit"), "{}", wrong("(a{1000}){1000}"));
        assert!(Patterns::with(&["a"; MAX_PATTERNS + 1]).unwrap_err().starts_with("there are 101 patterns"));
    }
}
