//! A plain client: it writes, reads and asks, and remembers what it was told went wrong.
#![allow(clippy::unwrap_used, reason = "a harness fails by panicking")]

use crate::patience::{PATIENCE, until};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Keeps what the library complains of.
#[derive(Clone, Default)]
struct Troubles(Arc<Mutex<String>>);

impl ClientContext for Troubles {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.lock().unwrap().extend([&error.to_string(), ": ", reason, "\n"]);
    }
}

impl ConsumerContext for Troubles {}

/// A client of one cluster, with the settings of one user.
pub struct Client {
    config: ClientConfig,
    runtime: Runtime,
}

impl Client {
    /// Without a name, and without TLS.
    pub fn of(bootstrap: &str) -> Self {
        Self::new(ClientConfig::new().set("bootstrap.servers", bootstrap))
    }

    /// As this user, over TLS.
    pub fn with_login(bootstrap: &str, ca: &Path, mechanism: &str, user: &str, password: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("security.protocol", "SASL_SSL");
        config.set("ssl.ca.location", ca.to_str().unwrap()).set("sasl.mechanism", mechanism);
        Self::new(config.set("sasl.username", user).set("sasl.password", password))
    }

    fn new(config: &ClientConfig) -> Self {
        Self { config: config.clone(), runtime: Runtime::new().unwrap() }
    }

    /// Waits until a client is told of a trouble with these words in it.
    pub fn until_told(&self, words: &str) {
        let troubles = Troubles::default();
        let consumer: BaseConsumer<Troubles> = self.config.create_with_context(troubles.clone()).unwrap();
        until(words, || {
            // It tells only those who ask.
            let _ = consumer.fetch_metadata(None, Duration::from_millis(100));
            let _ = consumer.poll(Duration::ZERO);
            troubles.0.lock().unwrap().contains(words)
        });
    }

    /// Makes a topic with one partition.
    pub fn create_topic(&self, name: &str, replicas: i32) -> Result<(), String> {
        let topic = NewTopic::new(name, 1, TopicReplication::Fixed(replicas));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = self.runtime.block_on(async { self.admin().create_topics([&topic], &options).await });
        match made.unwrap().remove(0) {
            Ok(_) => Ok(()),
            Err((_, code)) => Err(KafkaError::AdminOp(code).to_string()),
        }
    }

    /// A setting of broker 1.
    pub fn broker_setting(&self, name: &str) -> String {
        let asked = [ResourceSpecifier::Broker(1)];
        let options = AdminOptions::new();
        let told = self.runtime.block_on(async { self.admin().describe_configs(&asked, &options).await });
        told.unwrap().remove(0).unwrap().get(name).unwrap().value.clone().unwrap()
    }

    fn admin(&self) -> AdminClient<rdkafka::client::DefaultClientContext> {
        self.config.create().unwrap()
    }

    /// Writes a record, acknowledged by all replicas that are in sync.
    pub fn write(&self, topic: &str, text: &str) -> Result<(), String> {
        self.write_within(topic, text, PATIENCE)
    }

    /// The same, given up after this time.
    pub fn write_within(&self, topic: &str, text: &str, patience: Duration) -> Result<(), String> {
        let mut config = self.config.clone();
        config.set("acks", "all").set("message.timeout.ms", patience.as_millis().to_string());
        self.runtime.block_on(async {
            let producer: FutureProducer = config.create().unwrap();
            let written = producer.send(FutureRecord::<(), str>::to(topic).payload(text), Duration::ZERO).await;
            written.map(|_| ()).map_err(|(error, _)| error.to_string())
        })
    }

    /// The first records of a topic with one partition.
    pub fn read(&self, topic: &str, count: usize) -> Vec<String> {
        let mut config = self.config.clone();
        config.set("group.id", "alices-readers").set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let mut read = Vec::new();
        until("the records are read", || {
            if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
                read.push(String::from_utf8(record.payload().unwrap().to_vec()).unwrap());
            }
            read.len() == count
        });
        read
    }
}
