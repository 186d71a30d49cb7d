//! The topics on Kafka: their names, how they are made, and what of a topic that is there would break a promise.

use crate::config::{ANSWERED_WITHIN, MAX_RECORD, NewTopics, Options};
use crate::errors::{Heard, OpenError, hear, is_final};
use crate::offsets::Asker;
use baton_core::log::Topic;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a topic may take to show up at all brokers once it was made.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// How long the settings of a topic may not be shown: a broker hears of a new topic a little later than another.
const SETTINGS_WITHIN: Duration = Duration::from_secs(3);
/// A record's worth of a large task, with what is around it.
const LEAST_RECORD: i64 = 2 * 1024 * 1024;
/// How long it is kept who was there: nobody asks for what is older than some minutes.
const PRESENCE_RETENTION: Duration = Duration::from_hours(1);
/// The worker looks a day back for ids.
const LEAST_RETENTION: Duration = Duration::from_hours(24);

/// A topic as it is on Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicShown {
    /// Its name, with the prefix.
    pub name: String,
    /// How it is made; `None` if it is missing.
    pub found: Option<Found>,
    /// What of it would break a promise, each with the command that puts it right.
    pub wrong: Vec<String>,
}

/// How a topic is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many partitions it has.
    pub partitions: u32,
    /// On how many brokers each record is kept.
    pub replication: u16,
    /// How many of them must have a record before it is acknowledged.
    pub min_insync: u16,
    /// How long records are kept; `None`: for ever.
    pub retention: Option<Duration>,
    /// `delete`, `compact`, or both.
    pub cleanup_policy: String,
}

/// The topics as they are.
pub async fn show(options: &Options) -> Result<Vec<TopicShown>, OpenError> {
    Cluster::reach(options).await?.show(options).await
}

/// Makes those that are missing, as `options.create` says; all of them as they are then.
pub async fn create(options: &Options) -> Result<Vec<TopicShown>, OpenError> {
    Cluster::reach(options).await?.with_topics(options).await?.show(options).await
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
        let heard = options.heard();
        let other = |error: &KafkaError| OpenError::of("make a client of Kafka", error, &heard, &options.brokers);
        let admin: AdminClient<Heard> =
            options.asker().create_with_context(heard.clone()).map_err(|error| other(&error))?;
        heard.log_in(admin.inner());
        let cluster = Self { admin, heard, brokers: 0, replication: BTreeMap::new() };
        cluster.refreshed(options).await
    }

    /// With the topics as they are now.
    async fn refreshed(self, options: &Options) -> Result<Self, OpenError> {
        let (heard, brokers) = (self.heard.clone(), options.brokers.clone());
        let asker = Asker::new(options, heard.clone());
        let answer = tokio::task::spawn_blocking(move || {
            let asker = asker?;
            // Errors are told while the client is polled.
            let until = Instant::now() + 2 * ANSWERED_WITHIN;
            loop {
                match asker.client().fetch_metadata(None, ANSWERED_WITHIN / 5) {
                    Ok(metadata) => return Ok(metadata),
                    Err(error) => {
                        hear(&asker.client());
                        let told = heard.last().is_some_and(|(code, _)| is_final(code));
                        if told || Instant::now() >= until {
                            return Err(error);
                        }
                    }
                }
            }
        });
        let metadata = answer
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
    pub async fn prepare(self, options: &Options) -> Result<[u32; Topic::ALL.len()], OpenError> {
        let shown = self.with_topics(options).await?.show(options).await?;
        let missing: Vec<_> =
            shown.iter().filter(|topic| topic.found.is_none()).map(|topic| topic.name.clone()).collect();
        if !missing.is_empty() {
            return Err(OpenError::NoTopics { missing: missing.join(", ") });
        }
        let wrong: Vec<String> = shown.iter().flat_map(|topic| topic.wrong.clone()).collect();
        if !wrong.is_empty() {
            return Err(OpenError::Topics(wrong));
        }
        let partitions: Vec<u32> = shown.iter().filter_map(|topic| Some(topic.found.as_ref()?.partitions)).collect();
        Ok(Topic::ALL.map(|topic| partitions[topic as usize]))
    }

    /// Makes what is missing, if that is asked for.
    async fn with_topics(self, options: &Options) -> Result<Self, OpenError> {
        let Some(new) = &options.create else { return Ok(self) };
        let made = self.create(options, new).await?;
        if made.is_empty() {
            return Ok(self);
        }
        tracing::info!(topics = made.join(", "), partitions = new.partitions, "made the topics");
        self.until_there(options, &made).await
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

    async fn create(&self, options: &Options, new: &NewTopics) -> Result<Vec<String>, OpenError> {
        let names = Topic::ALL.map(|topic| (topic, options.prefixed(topic.name())));
        let missing: Vec<&(Topic, String)> =
            names.iter().filter(|(_, name)| !self.replication.contains_key(name)).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let copies = new.replication.unwrap_or_else(|| u16::try_from(self.brokers.clamp(1, 3)).unwrap_or(1));
        let min_insync = if copies >= 3 { "2" } else { "1" };
        let (retention, max_record) = (new.retention.as_millis().to_string(), MAX_RECORD.to_string());
        let presence = PRESENCE_RETENTION.as_millis().to_string();
        let topics: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|(topic, name)| {
                let kept = if *topic == Topic::Presence { &presence } else { &retention };
                let partitions = i32::try_from(new.partitions).unwrap_or(i32::MAX);
                let made = NewTopic::new(name, partitions, TopicReplication::Fixed(i32::from(copies)))
                    .set("cleanup.policy", "delete")
                    .set("retention.ms", kept)
                    .set("max.message.bytes", &max_record)
                    .set("min.insync.replicas", min_insync)
                    .set("unclean.leader.election.enable", "false")
                    // Of the broker: so that "since" means when the log took it.
                    .set("message.timestamp.type", "LogAppendTime");
                // A segment goes as a whole, once it is closed: by size alone that would be after months.
                if *topic == Topic::Presence { made.set("segment.ms", kept) } else { made }
            })
            .collect();
        let doing =
            format!("make the topics {}", missing.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", "));
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
        Ok(missing.into_iter().map(|(_, name)| name.clone()).collect())
    }

    /// The settings of these topics, by name.
    async fn settings(
        &self,
        options: &Options,
        there: &[&String],
    ) -> Result<BTreeMap<String, ConfigResource>, OpenError> {
        if there.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked: Vec<_> = there.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let wait = AdminOptions::new().request_timeout(Some(2 * ANSWERED_WITHIN));
        let doing = "read the topics' settings";
        let of = |error: &KafkaError| OpenError::of(doing, error, &self.heard, &options.brokers);
        let until = Instant::now() + SETTINGS_WITHIN;
        loop {
            let mut settings = BTreeMap::new();
            for answer in self.admin.describe_configs(&asked, &wait).await.map_err(|error| of(&error))? {
                let answer = answer.map_err(|code| of(&KafkaError::AdminOp(code)))?;
                if let OwnedResourceSpecifier::Topic(name) = &answer.specifier {
                    settings.insert(name.clone(), answer);
                }
            }
            // The crate drops why there are none, and each topic has some: this is refused, or the broker that was asked has not
            // heard of the topic, which was made a moment ago.
            let is_hidden = |name: &&&String| settings.get(**name).is_none_or(|answer| answer.entries.is_empty());
            let Some(name) = there.iter().find(is_hidden) else {
                return Ok(settings);
            };
            if Instant::now() >= until {
                let why = "its settings are not shown, and could not be checked".into();
                return Err(OpenError::NotAllowed { doing: format!("DescribeConfigs on {name}"), why });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn show(&self, options: &Options) -> Result<Vec<TopicShown>, OpenError> {
        let names: Vec<String> = Topic::ALL.iter().map(|topic| options.prefixed(topic.name())).collect();
        let there: Vec<&String> = names.iter().filter(|name| self.replication.contains_key(*name)).collect();
        let settings = self.settings(options, &there).await?;
        let mut shown = Vec::new();
        for (topic, name) in Topic::ALL.into_iter().zip(names) {
            let there = self.replication.get(&name).zip(settings.get(&name));
            let (found, wrong) = there.map_or((None, Vec::new()), |(sizes, settings)| {
                let found = found(*sizes, settings);
                let wrong = wrong(topic, &name, &found, settings);
                (Some(found), wrong)
            });
            shown.push(TopicShown { name, found, wrong });
        }
        let sizes: BTreeSet<u32> = shown.iter().filter_map(|topic| Some(topic.found.as_ref()?.partitions)).collect();
        // A topic's updates are looked for in the partition that its task is in.
        if let (true, Some(most)) = (sizes.len() > 1, sizes.last()) {
            for topic in shown.iter_mut().filter(|topic| topic.found.as_ref().is_some_and(|f| f.partitions < *most)) {
                let name = &topic.name;
                topic.wrong.push(format!(
                    "{name}: it has fewer partitions than another, and a task is in the same one of each; this puts it right:\n\
                     kafka-topics.sh --alter --topic {name} --partitions {most}"
                ));
            }
        }
        Ok(shown)
    }
}

fn setting<'a>(settings: &'a ConfigResource, name: &str) -> Option<&'a str> {
    settings.get(name).and_then(|entry| entry.value.as_deref())
}

fn number(settings: &ConfigResource, name: &str) -> Option<i64> {
    setting(settings, name)?.parse().ok()
}

fn found((partitions, replication): (u32, u16), settings: &ConfigResource) -> Found {
    let kept = number(settings, "retention.ms").and_then(|millis| u64::try_from(millis).ok());
    Found {
        partitions,
        replication,
        min_insync: number(settings, "min.insync.replicas").and_then(|least| u16::try_from(least).ok()).unwrap_or(1),
        retention: kept.map(Duration::from_millis),
        cleanup_policy: setting(settings, "cleanup.policy").unwrap_or("delete").to_owned(),
    }
}

fn wrong(topic: Topic, name: &str, found: &Found, settings: &ConfigResource) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut add = |what: String, fix: &str| {
        wrong.push(format!(
            "{name}: {what}; this puts it right:\n\
             kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {fix}"
        ));
    };
    let Found { replication, min_insync, retention, cleanup_policy, .. } = found;
    if cleanup_policy.contains("compact") {
        add(
            format!("its cleanup.policy is {cleanup_policy}, which drops all but the last record of a task"),
            "cleanup.policy=delete",
        );
    }
    if topic != Topic::Presence && retention.is_some_and(|kept| kept < LEAST_RETENTION) {
        add(
            "it keeps records for less than a day, for which ids and STOPs must be known".into(),
            "retention.ms=604800000",
        );
    }
    if !matches!(topic, Topic::Control | Topic::Presence)
        && number(settings, "max.message.bytes").is_some_and(|most| most < LEAST_RECORD)
    {
        add("it takes no record of 2 MiB, and a large task is one".into(), &format!("max.message.bytes={MAX_RECORD}"));
    }
    if min_insync > replication {
        add(
            format!(
                "it is on {replication} brokers and min.insync.replicas is {min_insync}: nothing can be acknowledged"
            ),
            &format!("min.insync.replicas={replication}"),
        );
    }
    wrong
}
