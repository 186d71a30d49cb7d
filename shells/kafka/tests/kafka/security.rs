//! Kafka behind TLS, logins and ACLs: it works with all three, and each refusal says which of them it was, and no secret.

use crate::world::{PARTITIONS, key_in, off_the_loop, texts, until_caught_up};
use baton_broker::{Cluster, Operation, Options as ClusterOptions, Resource, User};
use baton_core::log::{Batch, Topic};
use baton_kafka::{KafkaLog, NewTopics, OpenError, Options};
use baton_runtime::ports::{Durability, Log as _, LogError, TailFrom};
use std::path::Path;

const PASSWORD: &str = "open-sesame-of-the-owner";

/// How a user logs in, trusting this authority.
fn login(cluster: &Cluster, user: &str, password: &str, authority: &Path, create: bool) -> Options {
    let new = NewTopics { partitions: PARTITIONS, ..NewTopics::default() };
    let settings = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", user),
        ("sasl.password", password),
        ("ssl.ca.location", authority.to_str().unwrap()),
    ];
    Options {
        brokers: cluster.bootstrap(),
        topic_prefix: "behind-locks.".into(),
        config: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        create: create.then_some(new),
        ..Options::default()
    }
}

async fn refused(options: &Options) -> OpenError {
    let error = KafkaLog::open(options).await.err().expect("it is not let in");
    let said = error.to_string();
    assert!(!said.contains(PASSWORD) && !said.contains("wrong-word"), "a secret is told: {said}");
    error
}

/// Allows the reader this on all topics.
async fn allow(cluster: Cluster, operations: &'static [Operation]) -> Cluster {
    off_the_loop(move || {
        cluster.allow("reader", Resource::Topics("behind-locks."), operations).unwrap();
        cluster
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_logins_and_acls_it_works_or_says_which_of_them_refused_it() {
    let users = [User::new("owner", PASSWORD).superuser(), User::new("reader", PASSWORD)];
    let cluster = off_the_loop(move || Cluster::start(&ClusterOptions::one().users(users)).unwrap()).await;

    // All is well.
    let log = KafkaLog::open(&login(&cluster, "owner", PASSWORD, cluster.ca(), true)).await.unwrap();
    log.append(vec![Batch::one(Topic::Tasks, key_in(1), "behind TLS")], Durability::Synced).await.unwrap();
    let mut tail = log.tail(Topic::Tasks, TailFrom::Earliest).await.unwrap();
    assert_eq!(texts(&until_caught_up(&mut tail).await), ["behind TLS"]);

    // A wrong password, and an authority that signed nothing here.
    let error = refused(&login(&cluster, "owner", "wrong-word", cluster.ca(), true)).await;
    assert!(matches!(error, OpenError::Authentication { .. }), "{error}");
    let error = refused(&login(&cluster, "owner", PASSWORD, cluster.other_ca(), true)).await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");

    // Nothing granted: the topics can't even be seen, so they are to be made, which is not allowed either.
    let error = refused(&login(&cluster, "reader", PASSWORD, cluster.ca(), true)).await;
    assert!(matches!(error, OpenError::NotAllowed { .. }), "{error}");
    let error = refused(&login(&cluster, "reader", PASSWORD, cluster.ca(), false)).await;
    assert!(matches!(error, OpenError::NoTopics { .. }), "{error}");

    // May read the topics, but not how they are set: then nobody knows whether they keep what is promised.
    let cluster = allow(cluster, &[Operation::Read, Operation::Describe]).await;
    let error = refused(&login(&cluster, "reader", PASSWORD, cluster.ca(), false)).await;
    assert!(matches!(error, OpenError::NotAllowed { .. }), "{error}");
    assert!(error.to_string().contains("DescribeConfigs on behind-locks.tasks"), "{error}");

    // May read them, and not write them.
    let cluster = allow(cluster, &[Operation::DescribeConfigs]).await;
    let log = KafkaLog::open(&login(&cluster, "reader", PASSWORD, cluster.ca(), false)).await.unwrap();
    let appended = log.append(vec![Batch::one(Topic::Tasks, key_in(1), "x")], Durability::Synced).await;
    let Err(LogError::Unavailable(why)) = appended else { panic!("{appended:?}") };
    assert!(why.contains("behind-locks.tasks") && why.contains("authorization failed"), "{why}");
}
