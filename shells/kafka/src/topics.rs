//! The four topics on Kafka: their names, how they are made, and what of a topic that is there would break a promise.

use crate::config::{ANSWERED_WITHIN, MAX_RECORD, NewTopics, Options};
use crate::errors::{Heard, OpenError};
use crate::offsets::{Asker, Offsets};
use baton_core::log::{Partition, Topic};
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a topic may take to show up at all brokers once it was made.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// A record's worth of a large task, with what is around it.
const LEAST_RECORD: i64 = 2 * 1024 * 1024;
/// The worker looks a day back for ids.
const LEAST_RETENTION: Duration = Duration::from_hours(24);

/// A topic as it is on Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicShown {
    /// Which.
    pub topic: Topic,
    /// Its full name.
    pub name: String,
    /// `None` if it is not there.
    pub found: Option<Found>,
}

/// What is known of a topic that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many partitions it has.
    pub partitions: u32,
    /// Copies of each record.
    pub replication: u16,
    /// `min.insync.replicas`: how many copies acknowledge.
    pub min_insync: u16,
    /// `None`: for ever.
    pub retention: Option<Duration>,
    /// Records that are kept, as counted by offsets: marks of transactions count too.
    pub records: u64,
    /// What would break a promise, and the command that fixes it.
    pub problems: Vec<String>,
}

/// Shows the topics as they are.
pub async fn show(options: &Options) -> Result<Vec<TopicShown>, OpenError> {
    let cluster = Cluster::reach(options).await?;
    cluster.show(options).await
}

/// Makes the topics that are missing, and returns which those were.
pub async fn create(options: &Options, new: &NewTopics) -> Result<Vec<String>, OpenError> {
    Cluster::reach(options).await?.create(options, new).await
}

/// What it takes to ask about the cluster, and to change it.
pub(crate) struct Cluster {
    admin: AdminClient<Heard>,
    heard: Heard,
    brokers: usize,
    replication: BTreeMap<String, (u32, u16)>,
}

impl Cluster {
    /// Connects, and reads which topics there are.
    pub async fn reach(options: &Options) -> Result<Self, OpenError> {
        options.check()?;
        let heard = Heard::default();
        let other = |error: &KafkaError| OpenError::of("make a client of Kafka", error, &heard, &options.brokers);
        let admin = options.asker().create_with_context(heard.clone()).map_err(|error| other(&error))?;
        let cluster = Self { admin, heard, brokers: 0, replication: BTreeMap::new() };
        cluster.refreshed(options).await
    }

    /// With the topics as they are now.
    async fn refreshed(self, options: &Options) -> Result<Self, OpenError> {
        let (heard, brokers) = (self.heard.clone(), options.brokers.clone());
        let asker = Asker::new(options, heard.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let asker = asker?;
            // Errors are told while the client is polled.
            let until = Instant::now() + 2 * ANSWERED_WITHIN;
            loop {
                match asker.client().fetch_metadata(None, ANSWERED_WITHIN / 5) {
                    Ok(metadata) => return Ok(metadata),
                    Err(error) => {
                        let _ = asker.client().poll(Duration::ZERO);
                        let told = heard.last().is_some_and(|(code, _)| is_final(code));
                        if told || Instant::now() >= until {
                            return Err(error);
                        }
                    }
                }
            }
        });
        let metadata = asked
            .await
            .map_err(|_| OpenError::Other { doing: "ask for the topics".into(), why: "the question broke".into() })?
            .map_err(|error| OpenError::of("ask for the topics", &error, &self.heard, &brokers))?;
        let mut replication = BTreeMap::new();
        for topic in metadata.topics().iter().filter(|topic| topic.error().is_none()) {
            let copies = topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
            let partitions = u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX);
            replication.insert(topic.name().to_owned(), (partitions, u16::try_from(copies).unwrap_or(u16::MAX)));
        }
        Ok(Self { brokers: metadata.brokers().len(), replication, ..self })
    }

    /// Makes sure that the topics are there and as they must be, and returns how many partitions each has.
    pub async fn prepare(mut self, options: &Options) -> Result<[u32; Topic::ALL.len()], OpenError> {
        if let Some(new) = &options.create {
            let made = self.create(options, new).await?;
            if !made.is_empty() {
                tracing::info!(topics = made.join(", "), partitions = new.partitions, "made the topics");
                self = self.until_there(options, &made).await?;
            }
        }
        let shown = self.show(options).await?;
        let missing: Vec<_> =
            shown.iter().filter(|topic| topic.found.is_none()).map(|topic| topic.name.clone()).collect();
        if !missing.is_empty() {
            return Err(OpenError::NoTopics { missing: missing.join(", ") });
        }
        let found: Vec<Found> = shown.into_iter().filter_map(|topic| topic.found).collect();
        let problems: Vec<String> = found.iter().flat_map(|found| found.problems.clone()).collect();
        if !problems.is_empty() {
            return Err(OpenError::Topics(problems));
        }
        Ok(Topic::ALL.map(|topic| found[topic as usize].partitions))
    }

    async fn until_there(mut self, options: &Options, made: &[String]) -> Result<Self, OpenError> {
        let until = Instant::now() + SHOWN_WITHIN;
        loop {
            self = self.refreshed(options).await?;
            if made.iter().all(|name| self.replication.get(name).is_some_and(|(partitions, _)| *partitions > 0)) {
                return Ok(self);
            }
            if Instant::now() >= until {
                let why = format!("they did not show up within {} s", SHOWN_WITHIN.as_secs());
                return Err(OpenError::Other { doing: format!("make {}", made.join(", ")), why });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes what is missing.
    pub async fn create(&self, options: &Options, new: &NewTopics) -> Result<Vec<String>, OpenError> {
        let names: Vec<String> = Topic::ALL.iter().map(|topic| options.prefixed(topic.name())).collect();
        let missing: Vec<&String> = names.iter().filter(|name| !self.replication.contains_key(*name)).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let copies = new.replication.unwrap_or_else(|| u16::try_from(self.brokers.clamp(1, 3)).unwrap_or(1));
        let min_insync = if copies >= 3 { "2" } else { "1" };
        let (retention, max_record) = (new.retention.as_millis().to_string(), MAX_RECORD.to_string());
        let topics: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|name| {
                let partitions = i32::try_from(new.partitions).unwrap_or(i32::MAX);
                NewTopic::new(name, partitions, TopicReplication::Fixed(i32::from(copies)))
                    .set("cleanup.policy", "delete")
                    .set("retention.ms", &retention)
                    .set("max.message.bytes", &max_record)
                    .set("min.insync.replicas", min_insync)
                    .set("unclean.leader.election.enable", "false")
                    // Of the broker: so that "since" means when the log took it.
                    .set("message.timestamp.type", "LogAppendTime")
            })
            .collect();
        let doing =
            format!("make the topics {}", missing.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "));
        let wait =
            AdminOptions::new().operation_timeout(Some(ANSWERED_WITHIN)).request_timeout(Some(2 * ANSWERED_WITHIN));
        let results = self.admin.create_topics(&topics, &wait).await;
        let results = results.map_err(|error| OpenError::of(&doing, &error, &self.heard, &options.brokers))?;
        for result in results {
            match result {
                // Another process was faster.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let doing = format!("make the topic {name}");
                    return Err(OpenError::of(&doing, &KafkaError::AdminOp(code), &self.heard, &options.brokers));
                }
            }
        }
        Ok(missing.into_iter().cloned().collect())
    }

    async fn show(&self, options: &Options) -> Result<Vec<TopicShown>, OpenError> {
        let names: Vec<String> = Topic::ALL.iter().map(|topic| options.prefixed(topic.name())).collect();
        let there: Vec<&String> = names.iter().filter(|name| self.replication.contains_key(*name)).collect();
        let mut settings = BTreeMap::new();
        if !there.is_empty() {
            let asked: Vec<_> = there.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
            let wait = AdminOptions::new().request_timeout(Some(2 * ANSWERED_WITHIN));
            let doing = "read the topics' settings";
            let of = |error: &KafkaError| OpenError::of(doing, error, &self.heard, &options.brokers);
            for answer in self.admin.describe_configs(&asked, &wait).await.map_err(|error| of(&error))? {
                let answer = answer.map_err(|code| of(&KafkaError::AdminOp(code)))?;
                if let OwnedResourceSpecifier::Topic(name) = &answer.specifier {
                    settings.insert(name.clone(), answer);
                }
            }
        }
        let mut shown = Vec::new();
        for (topic, name) in Topic::ALL.into_iter().zip(names) {
            let found = match (self.replication.get(&name), settings.get(&name)) {
                (Some((partitions, replication)), Some(settings)) => {
                    let records = records(options, &name, *partitions).await.unwrap_or(0);
                    Some(found(topic, &name, (*partitions, *replication), settings, records))
                }
                _ => None,
            };
            shown.push(TopicShown { topic, name, found });
        }
        Ok(shown)
    }
}

/// Whether asking again is of no use.
fn is_final(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL | RDKafkaErrorCode::SaslAuthenticationFailed
    )
}

async fn records(options: &Options, name: &str, partitions: u32) -> Option<u64> {
    let (options, name) = (options.clone(), name.to_owned());
    let counted = tokio::task::spawn_blocking(move || {
        let asker = Asker::new(&options, Heard::default()).ok()?;
        let all: Vec<Partition> = (0..partitions).collect();
        let (first, end): (Offsets, Offsets) = (asker.beginnings(&name, &all).ok()?, asker.ends(&name, &all).ok()?);
        Some(end.iter().map(|(partition, end)| end - first.get(partition).unwrap_or(end).min(end)).sum())
    });
    counted.await.ok()?
}

fn found(
    topic: Topic,
    name: &str,
    (partitions, replication): (u32, u16),
    settings: &ConfigResource,
    records: u64,
) -> Found {
    let setting = |name: &str| settings.get(name).and_then(|entry| entry.value.clone());
    let number = |name: &str| setting(name).and_then(|value| value.parse::<i64>().ok());
    let min_insync = number("min.insync.replicas").and_then(|least| u16::try_from(least).ok()).unwrap_or(1);
    let retention = number("retention.ms").and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
    let mut problems = Vec::new();
    let mut wrong = |what: String, fix: &str| {
        problems.push(format!(
            "topic {name}: {what}; fix it: kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {fix}"
        ));
    };
    let policy = setting("cleanup.policy").unwrap_or_else(|| "delete".into());
    if policy.contains("compact") {
        wrong(
            format!("its cleanup.policy is {policy}, which would drop all but the last update of a task"),
            "cleanup.policy=delete",
        );
    }
    if retention.is_some_and(|kept| kept < LEAST_RETENTION) {
        wrong(
            "its retention is shorter than a day, for which ids and STOPs must be known".into(),
            "retention.ms=604800000",
        );
    }
    if number("max.message.bytes").is_some_and(|most| most < LEAST_RECORD) && topic != Topic::Control {
        wrong(
            "it takes no record of 2 MiB, and a large task is one".into(),
            &format!("max.message.bytes={MAX_RECORD}"),
        );
    }
    if min_insync > replication {
        let what = format!(
            "it has {replication} copies, and min.insync.replicas is {min_insync}: nothing can be acknowledged"
        );
        wrong(what, &format!("min.insync.replicas={replication}"));
    }
    Found { partitions, replication, min_insync, retention, records, problems }
}
