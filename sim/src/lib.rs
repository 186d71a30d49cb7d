//! A simulated world for Baton's driver loops: agents and a project API that are scripts, on a simulated log.
//!
//! The loops and the machines are the shipped ones. Nothing here may reach the real world, or time, or entropy:
//! a seed must tell the same story twice.
#![cfg(madsim)]

pub mod agents;
pub mod behaviour;
pub mod campaign;
pub mod clients;
pub mod event;
pub mod journal;
pub mod kafka;
pub mod life;
pub mod observed;
pub mod oracle;
pub mod picture;
pub mod place;
pub mod plan;
pub mod policies;
pub mod projects;
pub mod seed;
pub mod server;
pub mod shrink;
pub mod story;
pub mod trace;
pub mod world;
