//! The HTTP shell over real sockets on loopback, with the real API on a log in memory. No test sleeps: each waits for what
//! it needs to see.

#![allow(clippy::unwrap_used)] // all of it is tests

mod calls;
mod cluster;
mod ending;
mod letters;
mod positions;
mod streams;
mod watching;
mod world;
