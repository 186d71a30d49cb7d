//! The API over HTTP/1.1: JSON, WebSocket and server-sent events, over [`baton_runtime::api::Api`]; and the projects' configs,
//! over [`baton_runtime::ports::Projects`].
//!
//! It translates, and decides nothing about tasks. It never copies a frame for a watcher, never queues for one beyond
//! the batch that is being written, and answers every error with a problem of RFC 9457.

mod answer;
mod body;
mod connection;
mod events;
mod guard;
mod index;
mod letters;
mod lines;
mod options;
mod page;
mod projects;
mod query;
mod routes;
mod server;
mod shutdown;
mod watch;

pub use options::Options;
pub use projects::projects;
pub use routes::{plain_router, router};
pub use server::serve;
pub use shutdown::Shutdown;
