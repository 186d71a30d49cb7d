//! A simulated world for Baton's driver loops: agents and a project API that are scripts, on a simulated log.
//!
//! The loops and the machines are the shipped ones. Nothing here may reach the real world, or time, or entropy:
//! a seed must tell the same story twice.

pub mod agents;
pub mod event;
pub mod journal;
pub mod life;
pub mod oracle;
pub mod projects;
pub mod site;
