//! The services on Kafka, each a process of its own, and the topics that they share. They decide in which order things start
//! and end, and nothing about tasks.

pub mod api;
pub mod projects;
pub mod topics;
pub mod worker;
