//! What can go wrong with a broker. Each message says what was being done, and what to do about it where that is known.

use std::io;
use std::path::PathBuf;

/// Why there is no broker, or why it did not do as told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program that the broker needs is not there, or too old.
    #[error(
        "{missing}. The tests run against a real Apache Kafka, which needs Java 17 or later and, once, Maven. On Debian and Ubuntu: \
         apt-get install openjdk-17-jre-headless maven. Or name a broker that runs already: {variable}=HOST:PORT",
        variable = crate::ADDRESS_VARIABLE
    )]
    Missing {
        /// What is missing, as a sentence without its end.
        missing: String,
    },
    /// Maven did not bring the jars.
    #[error("could not install Apache Kafka into {}: {output}\nIs Maven Central within reach?", into.display())]
    Install {
        /// Where it was to go.
        into: PathBuf,
        /// What Maven said.
        output: String,
    },
    /// A call of the system failed.
    #[error("could not {doing}: {source}")]
    System {
        /// What was being done, and to what.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program of Kafka's or Java's failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Which.
        program: &'static str,
        /// The end of what it said.
        output: String,
    },
    /// A broker did not come up.
    #[error("broker {node} {why}; the end of its log:\n{log}")]
    Start {
        /// Its number, from 1.
        node: u8,
        /// What it did instead.
        why: String,
        /// The end of its log.
        log: String,
    },
    /// The broker that the environment names can't be reached.
    #[error("{variable} names {address}, and no broker answers there: {source}", variable = crate::ADDRESS_VARIABLE)]
    Unreachable {
        /// Where.
        address: String,
        /// What happened instead.
        source: io::Error,
    },
    /// A broker answered with an error.
    #[error("the broker refused to {doing}: {answer}")]
    Refused {
        /// What it was asked for.
        doing: String,
        /// Its error.
        answer: String,
    },
}

/// Makes a [`Error::System`] of the system's answer.
pub(crate) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = doing.into();
    move |source| Error::System { doing, source }
}
