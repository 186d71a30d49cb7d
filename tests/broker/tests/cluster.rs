//! The fixture itself: brokers come, go, freeze and come back with what was written; users are let in or not.

mod client;
mod patience;

use baton_broker::{Cluster, Operation, Options, Resource, User};
use client::Client;
use std::time::Duration;

#[test]
fn a_killed_broker_comes_back_with_what_was_written() {
    let cluster = Cluster::start(&Options::one().property("log.retention.hours", "7")).unwrap();
    let client = Client::of(&cluster.bootstrap());
    assert_eq!(client.broker_setting("log.retention.hours"), "7");
    client.create_topic("t", 1).unwrap();
    client.write("t", "before").unwrap();

    let broker = cluster.broker(1);
    let pid = broker.pid().unwrap();
    broker.kill();
    assert_eq!(broker.pid(), None);
    broker.restart().unwrap();
    assert_ne!(broker.pid().unwrap(), pid);
    client.write("t", "after the kill").unwrap();

    broker.stop().unwrap();
    assert_eq!(broker.pid(), None);
    assert!(broker.log().contains("has asked us to exit controlled shutdown"), "it went by itself");
    broker.restart().unwrap();
    assert_eq!(client.read("t", 2), ["before", "after the kill"]);
}

#[test]
fn a_paused_broker_answers_when_it_is_resumed() {
    let cluster = Cluster::start(&Options::one()).unwrap();
    let client = Client::of(&cluster.bootstrap());
    client.create_topic("t", 1).unwrap();
    let broker = cluster.broker(1);
    broker.pause().unwrap();
    client.write_within("t", "lost", Duration::from_secs(1)).unwrap_err();
    assert!(broker.pid().is_some(), "it is there");
    broker.resume().unwrap();
    client.write("t", "kept").unwrap();
}

#[test]
fn three_brokers_bear_the_loss_of_one_and_come_back_from_the_loss_of_all() {
    let cluster = Cluster::start(&Options::three()).unwrap();
    let client = Client::of(&cluster.bootstrap());
    client.create_topic("t", 3).unwrap();
    client.write("t", "all").unwrap();
    cluster.broker(2).kill();
    client.write("t", "two").unwrap();
    cluster.broker(2).restart().unwrap();
    cluster.kill();
    client.write_within("t", "none", Duration::from_secs(1)).unwrap_err();
    cluster.restart().unwrap();
    client.write("t", "again").unwrap();
    assert_eq!(client.read("t", 3), ["all", "two", "again"]);
}

#[test]
fn users_do_what_they_may_and_nothing_else() {
    let users = [User::new("alice", "a-secret"), User::new("root", "r-secret").superuser()];
    let cluster = Cluster::start(&Options::one().users(users)).unwrap();
    let (bootstrap, ca) = (cluster.bootstrap(), cluster.ca());

    let root = Client::with_login(&bootstrap, ca, "SCRAM-SHA-512", "root", "r-secret");
    root.create_topic("alices", 1).unwrap();
    root.write("alices", "from root").unwrap();

    let alice = Client::with_login(&bootstrap, ca, "SCRAM-SHA-256", "alice", "a-secret");
    let refused = alice.write("alices", "too early").unwrap_err();
    assert!(refused.contains("authorization failed"), "{refused}");
    let granted = [Operation::Read, Operation::Write, Operation::Describe];
    cluster.allow("alice", Resource::Topics("alice"), &granted).unwrap();
    cluster.allow("alice", Resource::Groups("alice"), &[Operation::Read]).unwrap();
    alice.write("alices", "from alice").unwrap();
    assert_eq!(alice.read("alices", 2), ["from root", "from alice"]);
    let refused = alice.create_topic("alices-too", 1).unwrap_err();
    assert!(refused.contains("authorization failed"), "{refused}");

    let plain = Client::with_login(&bootstrap, ca, "PLAIN", "alice", "a-secret");
    plain.write("alices", "plainly").unwrap();
}

#[test]
fn strangers_are_told_why_they_are_not_let_in() {
    let cluster = Cluster::start(&Options::one().users([User::new("alice", "a-secret")])).unwrap();
    let (bootstrap, ca) = (cluster.bootstrap(), cluster.ca());
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let stranger = Client::with_login(&bootstrap, ca, mechanism, "alice", "not-hers");
        stranger.until_told("Authentication failed");
    }
    let distrustful = Client::with_login(&bootstrap, cluster.other_ca(), "PLAIN", "alice", "a-secret");
    distrustful.until_told("certificate verify failed");
}
