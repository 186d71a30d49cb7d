//! The log on Kafka keeps to the facts of the log port, on a real Kafka.

use baton_broker::{Shared, shared, topic_prefix};
use baton_kafka::{KafkaLog, NewTopics, Options};
use baton_runtime::conformance::PARTITIONS;

async fn fresh() -> (KafkaLog, Shared) {
    let kafka = tokio::task::spawn_blocking(shared).await.expect("no panic").expect("a Kafka to be tested on");
    let options = Options {
        brokers: kafka.bootstrap().to_owned(),
        topic_prefix: topic_prefix(),
        create: Some(NewTopics { partitions: PARTITIONS, ..NewTopics::default() }),
        ..Options::default()
    };
    (KafkaLog::open(&options).await.expect("a log on it"), kafka)
}

baton_runtime::conformance!(tokio::test, fresh().await);
