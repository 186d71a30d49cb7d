//! APIs and workers on a real Kafka that other tests share, on topics of a test's own.

use crate::{Baton, Service, Setup};
use baton_broker::{Shared, shared, topic_prefix};

/// Partitions of each topic: more than workers, so that each has some.
const PARTITIONS: &str = "4";

/// A test's own topics.
pub struct OnKafka {
    kafka: Shared,
    prefix: String,
}

impl OnKafka {
    /// On a Kafka that is started if there is none.
    pub async fn new() -> Self {
        let kafka = tokio::task::spawn_blocking(shared).await.unwrap().expect("a Kafka to be tested on");
        Self { kafka, prefix: topic_prefix() }
    }

    /// An API that is ready.
    pub async fn api(&self) -> Baton {
        self.start(Service::Api, &["--drain-timeout", "0s"]).await
    }

    /// A worker, with more flags. It may not have joined its group yet.
    pub async fn worker(&self, flags: &[&str]) -> Baton {
        self.start(Service::Worker, flags).await
    }

    async fn start(&self, service: Service, flags: &[&str]) -> Baton {
        let own = ["--kafka", self.kafka.bootstrap(), "--topic-prefix", &self.prefix, "--partitions", PARTITIONS];
        Baton::start_with(Setup { service, ..Setup::new(&[&own, flags].concat()) }).await
    }
}
