//! What goes wrong with Kafka, in words that say what it was and what to do; and what a client said of itself meanwhile, as its
//! errors alone don't tell a wrong password from a broker that is down. It must never show a secret.

use crate::token::Tokens;
use baton_runtime::ports::LogError;
use rdkafka::client::{Client, ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How much a client may have said since it was last heard: lines of its log, and errors.
const SAID_AT_ONCE: usize = 100;

/// The log on Kafka could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No broker answers.
    #[error("no Kafka broker answers at {brokers}: {why}")]
    Unreachable {
        /// Where it was asked.
        brokers: String,
        /// What was last heard.
        why: String,
    },
    /// The brokers refuse who we say we are.
    #[error("Kafka refuses the credentials: {why}; check sasl.mechanism, sasl.username and sasl.password")]
    Authentication {
        /// What the broker says.
        why: String,
    },
    /// No TLS connection.
    #[error(
        "no TLS connection to Kafka: {why}; check security.protocol, and that ssl.ca.location names the authority that signed the brokers' certificates"
    )]
    Tls {
        /// What went wrong.
        why: String,
    },
    /// They know us, and don't let us.
    #[error(
        "Kafka does not allow {doing}: {why}; grant it with kafka-acls.sh (docs/PRODUCTION.md lists what Baton needs)"
    )]
    NotAllowed {
        /// What was asked.
        doing: String,
        /// What the broker says.
        why: String,
    },
    /// No token to log in with.
    #[error("{0}")]
    Token(String),
    /// A setting that librdkafka does not take.
    #[error("--kafka-config {0}")]
    Setting(String),
    /// Topics are missing, and were not to be made.
    #[error("Kafka has no topic {missing}: make it with `baton topics create`, or start without --no-create-topics")]
    NoTopics {
        /// Which.
        missing: String,
    },
    /// A topic that would break a promise.
    #[error("{}", .0.join("\n"))]
    Topics(Vec<String>),
    /// Something else.
    #[error("could not {doing}: {why}")]
    Other {
        /// What was being done.
        doing: String,
        /// What went wrong.
        why: String,
    },
}

impl OpenError {
    /// Whether it may go away by itself: the brokers may be starting.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Sorts what a client says while `doing` something.
    pub(crate) fn of(doing: &str, error: &KafkaError, heard: &Heard, brokers: &str) -> Self {
        let code = code_of(error);
        let said = heard.last();
        let why = || said.clone().map_or_else(|| plain(error), |(_, why)| why);
        match said.as_ref().map(|(code, _)| *code).filter(|_| is_transport(code)).or(code) {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                Self::Authentication { why: why() }
            }
            Some(RDKafkaErrorCode::SSL) => Self::Tls { why: why() },
            Some(code) if is_refusal(code) => Self::NotAllowed { doing: doing.into(), why: plain(error) },
            _ if is_transport(code) => Self::Unreachable { brokers: brokers.into(), why: why() },
            _ => Self::Other { doing: doing.into(), why: plain(error) },
        }
    }
}

fn is_transport(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::Resolve
                | Code::RequestTimedOut
                | Code::TimedOutQueue
                | Code::MessageTimedOut
        )
    )
}

/// The code of an error; `rdkafka` does not give that of an answer to an administrator.
fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// Whether asking again is of no use: it is we who must change something.
pub(crate) fn is_final(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL | RDKafkaErrorCode::SaslAuthenticationFailed
    )
}

/// Whether the brokers know us, and don't let us.
pub(crate) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    )
}

/// An error as a phrase: librdkafka's words, without the names of types around them.
pub(crate) fn plain(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(error) => error.string(),
        KafkaError::ClientConfig(_, why, name, _) => format!("{name}: {why}"),
        error => code_of(error).map_or_else(|| error.to_string(), phrase),
    }
}

/// A code as librdkafka says it, without where it was noticed: "Local: Broker transport failure".
pub(crate) fn phrase(code: RDKafkaErrorCode) -> String {
    let text = code.to_string();
    let text = text.split_once(" (").map_or(text.as_str(), |(_, inner)| inner.strip_suffix(')').unwrap_or(inner));
    text.strip_prefix("Local: ").or_else(|| text.strip_prefix("Broker: ")).unwrap_or(text).to_owned()
}

/// The log could not do something, and may later.
pub(crate) fn away(doing: &str, error: &KafkaError) -> LogError {
    LogError::Unavailable(format!("could not {doing}: {}", plain(error)))
}

/// What a client said of itself last, and the tokens that it logs in with, if it does. Clones are the same.
#[derive(Clone)]
pub(crate) struct Heard {
    last: Arc<Mutex<Option<(RDKafkaErrorCode, String)>>>,
    tokens: Option<Tokens>,
}

impl Heard {
    pub fn new(tokens: Option<Tokens>) -> Self {
        Self { last: Arc::default(), tokens }
    }

    /// Logs in a client that was just made, if it does so with tokens.
    pub fn log_in(&self, client: &Client<impl ClientContext>) {
        if let Some(tokens) = &self.tokens {
            tokens.give(client);
        }
    }

    /// Keeps a client logged in that is about to be used.
    pub fn stay_logged_in(&self, client: &Client<impl ClientContext>) {
        if let Some(tokens) = &self.tokens {
            tokens.renew(client);
        }
    }

    /// Another token, for a client that asks for it itself.
    pub fn token(&self) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let tokens = self.tokens.as_ref().ok_or("there is no --kafka-token-file")?;
        Ok(tokens.read().inspect_err(|why| tracing::warn!(why, "there is no fresh token to log in to Kafka with"))?)
    }

    pub fn last(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, code: RDKafkaErrorCode, why: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // That a connection broke, or that all brokers are down, is true of every reason, and tells none.
        if !last.as_ref().is_some_and(|(known, _)| is_final(*known) && !is_final(code)) {
            *last = Some((code, readable(why)));
        }
    }
}

/// Hears what a client has to say. A line of its log comes as nothing, so that nothing does not mean that there is no more.
pub(crate) fn hear(client: &BaseConsumer<Heard>) {
    for _ in 0..SAID_AT_ONCE {
        let _ = client.poll(Duration::ZERO);
    }
}

/// librdkafka puts the place in front, and how long it took behind: `ssl://host:9093/bootstrap: SSL handshake failed: … (after 4ms in state …)`.
fn readable(why: &str) -> String {
    let why = why.split_once("/bootstrap: ").map_or(why, |(_, why)| why);
    why.split_once(" (after ").map_or(why, |(why, _)| why).trim().to_owned()
}

impl ClientContext for Heard {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.token()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters of it comes as an error as well, or in an answer.
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info => tracing::trace!(facility, "{message}"),
            _ => tracing::debug!(facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka");
        if let Some(code) = error.rdkafka_error_code() {
            self.note(code, reason);
        }
    }
}

impl ConsumerContext for Heard {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_for_people() {
        assert_eq!(phrase(RDKafkaErrorCode::BrokerTransportFailure), "Broker transport failure");
        assert_eq!(
            readable(
                "sasl_ssl://localhost:9093/bootstrap: SASL authentication error: bad (after 3ms in state AUTH_REQ)"
            ),
            "SASL authentication error: bad"
        );
    }
}
