//! How Kafka is reached, and the settings of each sort of client. What a user sets wins, but for what Baton's guarantees rest
//! on: that is refused.

use crate::errors::{Heard, OpenError, plain};
use crate::token::Tokens;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Settings that Baton's guarantees rest on, by the names that librdkafka knows them by.
const OURS: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "session.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// How long a record may wait for its acknowledgement: less than a client's POST is held.
pub(crate) const DELIVERED_WITHIN: Duration = Duration::from_secs(9);
/// How long a transaction may stay open at the brokers: until then it holds the readers of its partitions back.
pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long without a word a connection of a transactional producer is closed. librdkafka 2.12 goes on with the offsets of a
/// transaction, whose group's coordinator died and left the cluster, only when a connection comes or goes: with this one mostly does.
const IDLE: Duration = Duration::from_secs(5);
/// How many heartbeats a member sends in a session's time: the others hear of a death with their next one.
const HEARTBEATS: u32 = 48;
/// How long the group's thread waits for news before it looks at the clock.
pub(crate) const LISTEN_EVERY: Duration = Duration::from_millis(20);
/// How long the brokers have for an answer to a question of ours.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// The largest record: a task of 1 MiB in a dead letter, with the reason and its last lines around it.
pub(crate) const MAX_RECORD: usize = 4 * 1024 * 1024;
/// How long the brokers may hold a fetch of which nothing is new, where no partitions come later.
pub(crate) const FETCH_HELD_FOR: Duration = Duration::from_millis(500);
/// How much a reader may have fetched ahead.
const AHEAD_KBYTES: usize = 16 * 1024;

/// Where Kafka is, and how it is used. Not to be printed: its settings hold secrets.
#[derive(Clone)]
pub struct Options {
    /// `host:port,…` of some brokers; the others are learnt from them.
    pub brokers: String,
    /// Put before every topic, the group, and the transactional ids.
    pub topic_prefix: String,
    /// Any setting of librdkafka: security above all.
    pub config: BTreeMap<String, String>,
    /// A file with the token to log in with, a JWT, that whoever issues it keeps fresh: SASL's OAUTHBEARER.
    pub token_file: Option<PathBuf>,
    /// After how long without a word a worker counts as dead. The brokers take 6 s at least, unless told otherwise.
    pub session_timeout: Duration,
    /// How missing topics are made; `None`: they are not.
    pub create: Option<NewTopics>,
}

/// How topics are made.
#[derive(Clone, Copy, Debug)]
pub struct NewTopics {
    /// Of each topic, 1 to 1,024.
    pub partitions: u32,
    /// Copies of each record; `None`: three, or as many as there are brokers.
    pub replication: Option<u16>,
    /// How long records are kept.
    pub retention: Duration,
}

impl Default for NewTopics {
    /// Eight partitions, seven days.
    fn default() -> Self {
        Self { partitions: 8, replication: None, retention: Duration::from_hours(7 * 24) }
    }
}

impl Default for Options {
    /// A broker on this machine, and its defaults.
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            topic_prefix: String::new(),
            config: BTreeMap::new(),
            token_file: None,
            session_timeout: Duration::from_secs(6),
            create: Some(NewTopics::default()),
        }
    }
}

impl Options {
    /// Refuses what can't be set, before anything is connected to.
    pub fn check(&self) -> Result<(), OpenError> {
        if let Some(name) = self.config.keys().find(|name| OURS.contains(&name.as_str())) {
            let why = match name.as_str() {
                "bootstrap.servers" | "metadata.broker.list" => "is given by --kafka",
                "session.timeout.ms" => "is given by --session-timeout",
                "group.id" => "is given by --group",
                "group.instance.id" => "is given by --name",
                _ => "can't be set: what Baton guarantees rests on it",
            };
            return Err(OpenError::Setting(format!("{name}: {why}")));
        }
        self.check_login()?;
        let made = self.reader(FETCH_HELD_FOR).create_with_context::<_, BaseConsumer<Heard>>(self.heard());
        made.map(drop).map_err(|error| match error {
            // Its value may be a secret.
            KafkaError::ClientConfig(..) => OpenError::Setting(plain(&error)),
            error => OpenError::Other { doing: "make a client of Kafka".into(), why: plain(&error) },
        })
    }

    /// Refuses settings that leave OAUTHBEARER without a token, or a token without OAUTHBEARER; and a token that is of no use.
    fn check_login(&self) -> Result<(), OpenError> {
        let given = |name: &str| self.config.get(name).map(|value| value.to_ascii_uppercase());
        let mechanism = given("sasl.mechanism").or_else(|| given("sasl.mechanisms"));
        let with_tokens = mechanism.as_deref() == Some("OAUTHBEARER");
        let Some(file) = &self.token_file else {
            let missing = || OpenError::Setting("sasl.mechanism: OAUTHBEARER needs --kafka-token-file".into());
            return if with_tokens { Err(missing()) } else { Ok(()) };
        };
        if mechanism.is_some() && !with_tokens {
            return Err(OpenError::Setting("sasl.mechanism: --kafka-token-file needs OAUTHBEARER".into()));
        }
        if given("security.protocol").is_some_and(|protocol| !protocol.starts_with("SASL_")) {
            return Err(OpenError::Setting("security.protocol: --kafka-token-file needs sasl_ssl".into()));
        }
        Tokens::new(file.clone()).read().map(drop).map_err(OpenError::Token)
    }

    /// The context of a new client.
    pub(crate) fn heard(&self) -> Heard {
        Heard::new(self.token_file.clone().map(Tokens::new))
    }

    /// How often a member tells its group that it lives.
    pub(crate) fn heartbeat_every(&self) -> Duration {
        (self.session_timeout / HEARTBEATS).max(LISTEN_EVERY)
    }

    /// A topic or a group by its full name.
    pub(crate) fn prefixed(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }

    /// What all clients have in common.
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "baton")
            // A broker that is back is found at once.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.nagle.disable", "true")
            .set("socket.timeout.ms", "10000");
        if self.token_file.is_some() {
            config.set("security.protocol", "sasl_ssl").set("sasl.mechanism", "OAUTHBEARER");
        }
        for (name, value) in &self.config {
            config.set(name, value);
        }
        config
    }

    /// A consumer that reads what it is told to, and joins no group; committed records only. The brokers may hold a fetch for so
    /// long until there is something.
    pub(crate) fn reader(&self, fetch_held_for: Duration) -> ClientConfig {
        let mut config = self.client();
        config
            // librdkafka gives a consumer its queue only with a group; it is never joined.
            .set("group.id", self.prefixed("baton-readers"))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", AHEAD_KBYTES.to_string())
            .set("fetch.wait.max.ms", fetch_held_for.as_millis().to_string())
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.error.backoff.ms", "100")
            // Whoever reads its queue in batches can't take what it logs out of it: librdkafka would print that.
            .set_log_level(RDKafkaLogLevel::Emerg);
        config
    }

    /// A client that asks for offsets as they are, open transactions or not.
    pub(crate) fn asker(&self) -> ClientConfig {
        let mut config = self.client();
        config.set("isolation.level", "read_uncommitted");
        config
    }

    /// A member of a group, that reads nothing itself.
    pub(crate) fn member(&self, group: &str, instance: Option<&str>) -> ClientConfig {
        let session = self.session_timeout.as_millis();
        let mut config = self.client();
        config
            .set("group.id", self.prefixed(group))
            .set("session.timeout.ms", session.to_string())
            .set("heartbeat.interval.ms", self.heartbeat_every().as_millis().to_string())
            // Who does not come to a rebalance within this is expelled: longer than any session, so that a session ends first.
            .set("max.poll.interval.ms", (session * 5).max(60_000).to_string())
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // What is committed is read only once no transaction on it is open (KIP-447).
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error");
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        config
    }

    /// A producer whose records are acknowledged by all in-sync replicas, in order, and once.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("compression.type", "lz4")
            .set("message.max.bytes", MAX_RECORD.to_string())
            // What waits is bounded by us, in bytes.
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", "2097151");
        for (name, value) in &self.config {
            config.set(name, value);
        }
        config
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", DELIVERED_WITHIN.as_millis().to_string())
            // Batches grow while others are on their way: waiting for more would be time lost.
            .set("linger.ms", "0");
        config
    }

    /// The producer of one membership's transactions.
    pub(crate) fn transactional(&self, id: &str) -> ClientConfig {
        let mut config = self.producer();
        config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
            .set("connections.max.idle.ms", IDLE.as_millis().to_string());
        config
    }
}
