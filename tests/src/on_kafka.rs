//! APIs and workers on a real Kafka, on topics of a test's own: on a broker that other tests share, or on three that the test
//! may harm.

use crate::{Baton, Service, Setup};
use baton_broker::{Cluster, Options, Shared, shared, topic_prefix};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Partitions of each topic: more than workers, so that each has some.
pub const PARTITIONS: u8 = 4;

/// A test's own topics.
pub struct OnKafka {
    kafka: Kafka,
    prefix: String,
}

enum Kafka {
    Shared(Shared),
    Own(Arc<Cluster>),
}

impl OnKafka {
    /// On a Kafka that is started if there is none.
    pub async fn new() -> Self {
        let kafka = spawn_blocking(shared).await.unwrap().expect("a Kafka to be tested on");
        Self { kafka: Kafka::Shared(kafka), prefix: topic_prefix() }
    }

    /// On three brokers of the test's own.
    pub async fn of_three() -> Self {
        let cluster =
            spawn_blocking(|| Cluster::start(&Options::three())).await.unwrap().expect("a cluster of one's own");
        Self { kafka: Kafka::Own(Arc::new(cluster)), prefix: topic_prefix() }
    }

    /// Does something to the test's own brokers that takes a while.
    pub async fn harm(&self, harm: impl FnOnce(&Cluster) + Send + 'static) {
        let Kafka::Own(cluster) = &self.kafka else { panic!("others use this Kafka too") };
        let cluster = cluster.clone();
        spawn_blocking(move || harm(&cluster)).await.unwrap();
    }

    /// Where it is.
    pub fn bootstrap(&self) -> String {
        match &self.kafka {
            Kafka::Shared(shared) => shared.bootstrap().to_owned(),
            Kafka::Own(cluster) => cluster.bootstrap(),
        }
    }

    /// The full name of a topic.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// An API that is ready.
    pub async fn api(&self) -> Baton {
        self.api_with(&[]).await
    }

    /// The same, with more flags.
    pub async fn api_with(&self, flags: &[&str]) -> Baton {
        self.start(Service::Api, &[&["--drain-timeout", "0s"], flags].concat()).await
    }

    /// A worker, with more flags. It may not have joined its group yet.
    pub async fn worker(&self, flags: &[&str]) -> Baton {
        self.start(Service::Worker, flags).await
    }

    async fn start(&self, service: Service, flags: &[&str]) -> Baton {
        let (bootstrap, partitions) = (self.bootstrap(), PARTITIONS.to_string());
        let own = ["--kafka", &bootstrap, "--topic-prefix", &self.prefix, "--partitions", &partitions];
        Baton::start_with(Setup { service, ..Setup::new(&[&own, flags].concat()) }).await
    }
}
