//! Chaos: Baton's own binaries on a real Kafka of three brokers, while workers, APIs and brokers are killed, frozen and
//! restarted; then all heals, and the ten guarantees are checked over the topics, over what clients saw, and over what is left.
//!
//! What happens is drawn from a seed ([`plan`]); how it falls out is not, as real processes are not deterministic. Nothing that
//! is started may outlive the run, however it ends.

pub mod agent;
pub mod cast;
pub mod checker;
pub mod clients;
pub mod plan;
pub mod play;
pub mod record;
pub mod report;
pub mod sign;
pub mod stage;
pub mod story;

/// What goes wrong with the play itself ends it, and is shown as it is.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
