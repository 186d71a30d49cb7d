//! What only a real Kafka shows of the log: how it fences, what transactions do to readers, who has what after a death or a
//! freeze, and what brokers may do without harm. What every log must keep to is in `conformance.rs`.
#![allow(clippy::unwrap_used)] // all of it is tests

mod foreign;
mod member;
mod world;

mod brokers;
mod members;
mod readers;
mod security;
mod steps;
mod tokens;
