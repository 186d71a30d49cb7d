//! Questions about offsets: where partitions begin and end, and what stands where at a time. Blocking, each with a time limit.

use crate::append::lock;
use crate::config::{ANSWERED_WITHIN, Options};
use crate::errors::{Heard, away, hear, plain};
use baton_core::log::{Offset, Partition};
use baton_core::time::Timestamp;
use baton_runtime::ports::LogError;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long until a question that came too early is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long a client may be of no use before another takes its place: longer than leaders mostly take to change.
const USELESS_FOR: Duration = Duration::from_secs(1);

/// Where in each partition.
pub type Offsets = BTreeMap<Partition, Offset>;

type Client = Arc<BaseConsumer<Heard>>;

/// Asks the leaders of partitions, all at once.
///
/// librdkafka keeps what it was told of a topic, and for these questions takes it for true: a partition that had no leader when it was
/// told, or that a broker which had just started did not name, is without one, or unknown, from then on. It merges what it is told later by
/// position, so that this may last for as long as the client. So a client that has been of no use for a while is replaced.
pub struct Asker {
    options: Options,
    heard: Heard,
    client: Mutex<Client>,
}

impl Asker {
    /// One that connects when it is first asked.
    pub fn new(options: &Options, heard: Heard) -> Result<Self, KafkaError> {
        let client = Mutex::new(client_of(options, &heard)?);
        Ok(Self { options: options.clone(), heard, client })
    }

    /// The client, for questions about the cluster.
    pub fn client(&self) -> Client {
        lock(&self.client).clone()
    }

    /// Puts another in the place of this one, if nobody has done so yet.
    fn replace(&self, useless: &Client) -> Result<(), KafkaError> {
        let mut client = lock(&self.client);
        if Arc::ptr_eq(&client, useless) {
            *client = client_of(&self.options, &self.heard)?;
        }
        Ok(())
    }

    /// The end of each partition: everything that was acknowledged lies before it, an open transaction or not.
    pub fn ends(&self, topic: &str, partitions: &[Partition]) -> Result<Offsets, LogError> {
        // A leader that has just been elected may not know yet how far the others have come; it says so (KIP-207).
        self.ask(topic, partitions, Place::End)
    }

    /// The first offset that is kept of each partition.
    pub fn beginnings(&self, topic: &str, partitions: &[Partition]) -> Result<Offsets, LogError> {
        self.ask(topic, partitions, Place::Beginning)
    }

    /// The first record of each partition that the log took at `time` or later; its end if there is none.
    pub fn since(&self, topic: &str, partitions: &[Partition], time: Timestamp) -> Result<Offsets, LogError> {
        // Asked for first: what comes meanwhile lies behind it, and is read.
        let ends = self.ends(topic, partitions)?;
        let mut found = self.ask(topic, partitions, Place::Offset(time.as_millis()))?;
        for (partition, end) in ends {
            found.entry(partition).or_insert(end);
        }
        Ok(found)
    }

    /// Asks again for as long as leaders are changing, within the limit of an answer.
    fn ask(&self, topic: &str, partitions: &[Partition], place: Place) -> Result<Offsets, LogError> {
        let failed = |error: &KafkaError| away(&format!("ask for the offsets of {topic}"), error);
        let until = Instant::now() + ANSWERED_WITHIN;
        loop {
            let client = self.client();
            match ask_for_a_while(&client, topic, partitions, place) {
                Err(error) if is_changing(&error) && Instant::now() < until => {
                    tracing::debug!(topic, why = plain(&error), "another client asks for offsets");
                    self.replace(&client).map_err(|error| failed(&error))?;
                }
                answer => return answer.map_err(|error| failed(&error)),
            }
        }
    }
}

fn client_of(options: &Options, heard: &Heard) -> Result<Client, KafkaError> {
    let client: BaseConsumer<Heard> = options.asker().create_with_context(heard.clone())?;
    heard.log_in(client.client());
    Ok(Arc::new(client))
}

/// Asks again for as long as one client may be of no use.
fn ask_for_a_while(
    client: &Client,
    topic: &str,
    partitions: &[Partition],
    place: Place,
) -> Result<Offsets, KafkaError> {
    client.context().stay_logged_in(client.client());
    // Its errors wait to be heard, and come in the answer too.
    hear(client);
    let until = Instant::now() + USELESS_FOR;
    loop {
        match ask_once(client, topic, partitions, place) {
            Err(error) if is_changing(&error) && Instant::now() < until => std::thread::sleep(AGAIN_AFTER),
            answer => return answer,
        }
    }
}

/// `librdkafka` takes the time from where an offset belongs, and the protocol's marks for the beginning and the end with it.
fn ask_once(client: &Client, topic: &str, partitions: &[Partition], place: Place) -> Result<Offsets, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(topic, number(*partition), place)?;
    }
    let answer = client.offsets_for_times(list, ANSWERED_WITHIN)?;
    let mut offsets = Offsets::new();
    for entry in answer.elements() {
        entry.error()?;
        if let (Ok(partition), Place::Offset(offset)) = (Partition::try_from(entry.partition()), entry.offset()) {
            offsets.insert(partition, Offset::try_from(offset).unwrap_or(0));
        }
    }
    Ok(offsets)
}

/// Whether the leader of a partition is not known yet, or is another by now.
fn is_changing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::OffsetNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
        )
    )
}

/// A partition as librdkafka counts it.
pub fn number(partition: Partition) -> i32 {
    i32::try_from(partition).expect("a topic has far fewer partitions than 2^31")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::mocking::MockCluster;

    /// What the brokers say does not matter here, but that it changes.
    #[test]
    fn a_client_that_is_of_no_use_is_replaced_until_there_is_an_answer() {
        let brokers = MockCluster::new(1).unwrap();
        let options = Options { brokers: brokers.bootstrap_servers(), ..Options::default() };
        let asker = Arc::new(Asker::new(&options, options.heard()).unwrap());
        let first = asker.client();
        let asking = std::thread::spawn({
            let asker = asker.clone();
            move || asker.ends("late", &[0, 1])
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        while Arc::ptr_eq(&first, &asker.client()) {
            assert!(Instant::now() < deadline, "it is never replaced");
            std::thread::sleep(Duration::from_millis(5));
        }
        brokers.create_topic("late", 2, 1).unwrap();
        assert_eq!(asking.join().unwrap().unwrap(), Offsets::from([(0, 0), (1, 0)]));
        let useful = asker.client();
        assert_eq!(asker.beginnings("late", &[1]).unwrap(), Offsets::from([(1, 0)]));
        assert!(Arc::ptr_eq(&useful, &asker.client()), "one that answers stays");
    }
}
