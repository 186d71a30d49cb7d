//! A reader: a thread with a consumer that is told which partitions to read from where, and gives their committed records in
//! batches of one key. What it has given and nobody has taken is bounded: then it stops to read.

use crate::config::Options;
use crate::errors::{Heard, is_refusal, phrase, plain};
use crate::growing::{Growing, Record};
use crate::offsets::{Asker, number};
use crate::raw::{Message, Queue};
use baton_core::log::{Delivered, Offset, Partition, Topic};
use baton_runtime::ports::LogError;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::mpsc as commands;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many readings may wait to be taken.
const READINGS: usize = 4;
/// How many bytes of values are given at a time, and in one batch, about.
const BYTES_AT_A_TIME: usize = 512 * 1024;
/// How long the thread waits for records before it looks for commands.
const LISTEN_EVERY: Duration = Duration::from_millis(20);

/// Tells what was read for a command from what was read for an earlier one.
pub type Version = u64;

/// What a reader is told.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Read this partition from there on.
    From(Partition, Version, Offset),
    /// Read it no more.
    Leave(Partition),
}

/// What a reader gives.
#[derive(Debug)]
pub enum Reading {
    /// Records, in order.
    Records(Version, Delivered),
    /// Everything of the partition before this offset was given, as it was then.
    End(Partition, Offset),
    /// Records before this offset are gone that were not given.
    Gone(Partition, Version, Offset),
}

/// A reader's two ends. Dropping it ends the thread.
pub struct Reader {
    commands: commands::Sender<Command>,
    pub readings: mpsc::Receiver<Result<Vec<Reading>, LogError>>,
}

impl Reader {
    /// A reader of a topic, of no partition yet. The first records of one that is told of later may come only after the brokers have
    /// let go of a fetch of the others.
    pub fn start(options: &Options, topic: Topic, fetch_held_for: Duration) -> Result<Self, LogError> {
        let name = options.prefixed(topic.name());
        let broken =
            |error: &KafkaError| LogError::Fatal(format!("could not make a reader of {name}: {}", plain(error)));
        let consumer =
            options.reader(fetch_held_for).create_with_context(options.heard()).map_err(|error| broken(&error))?;
        let asker = Asker::new(options, options.heard()).map_err(|error| broken(&error))?;
        let (commands, told) = commands::channel();
        let (give, readings) = mpsc::channel(READINGS);
        let thread = Thread { consumer, asker, topic, name: name.clone(), reading: BTreeMap::new(), told, give };
        let spawned = std::thread::Builder::new().name(format!("baton-{}", topic.name())).spawn(move || thread.run());
        spawned.map_err(|error| LogError::Fatal(format!("could not start a reader of {name}: {error}")))?;
        Ok(Self { commands, readings })
    }

    pub fn tell(&self, command: Command) {
        // A thread that is gone gives nothing more: whoever waits for readings hears of it.
        let _ = self.commands.send(command);
    }
}

struct Thread {
    consumer: BaseConsumer<Heard>,
    asker: Asker,
    topic: Topic,
    name: String,
    /// What is read, and where the next record is expected.
    reading: BTreeMap<Partition, (Version, Offset)>,
    told: commands::Receiver<Command>,
    give: mpsc::Sender<Result<Vec<Reading>, LogError>>,
}

impl Thread {
    fn run(mut self) {
        let Some(mut queue) = Queue::of(self.consumer.client()) else {
            let _ = self.give.blocking_send(Err(LogError::Fatal("a reader has no queue".into())));
            return;
        };
        while !self.give.is_closed() {
            self.consumer.context().stay_logged_in(self.consumer.client());
            loop {
                match self.told.try_recv() {
                    Ok(command) => self.obey(command),
                    Err(commands::TryRecvError::Empty) => break,
                    Err(commands::TryRecvError::Disconnected) => return,
                }
            }
            let mut pages = Pages {
                topic: self.topic,
                reading: &mut self.reading,
                open: None,
                readings: Vec::new(),
                lost: Vec::new(),
                refused: None,
            };
            let mut wait = LISTEN_EVERY;
            while queue.read(wait, |message| pages.take(&message)) > 0 && !pages.is_full() {
                wait = Duration::ZERO;
            }
            let (readings, lost, refused) = pages.close();
            if !readings.is_empty() && self.give.blocking_send(Ok(readings)).is_err() {
                return;
            }
            for partition in lost {
                self.find_again(partition);
            }
            if let Some(why) = refused {
                let why = LogError::Unavailable(format!("could not read {}: {why}", self.name));
                if self.give.blocking_send(Err(why)).is_err() {
                    return;
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::From(partition, version, offset) => self.read_from(partition, version, offset),
            Command::Leave(partition) => self.leave(partition),
        }
    }

    fn read_from(&mut self, partition: Partition, version: Version, offset: Offset) {
        self.leave(partition);
        let mut list = TopicPartitionList::new();
        let at = Place::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        let listed = list.add_partition_offset(&self.name, number(partition), at);
        match listed.and_then(|()| self.consumer.incremental_assign(&list)) {
            Ok(()) => {
                self.reading.insert(partition, (version, offset));
            }
            Err(error) => tracing::error!(topic = self.name, partition, why = plain(&error), "could not begin to read"),
        }
    }

    fn leave(&mut self, partition: Partition) {
        if self.reading.remove(&partition).is_none() {
            return;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.name, number(partition));
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::error!(topic = self.name, partition, why = plain(&error), "could not end reading");
        }
    }

    /// What was to be read next is not there: its retention is over, or it never was.
    fn find_again(&mut self, partition: Partition) {
        let Some((version, at)) = self.reading.get(&partition).copied() else { return };
        let first =
            self.asker.beginnings(&self.name, &[partition]).ok().and_then(|found| found.get(&partition).copied());
        let end = self.asker.ends(&self.name, &[partition]).ok().and_then(|found| found.get(&partition).copied());
        let (Some(first), Some(end)) = (first, end) else {
            std::thread::sleep(LISTEN_EVERY);
            self.read_from(partition, version, at);
            return;
        };
        let next = at.clamp(first, end);
        if next != at {
            let _ = self.give.blocking_send(Ok(vec![Reading::Gone(partition, version, next)]));
        }
        self.read_from(partition, version, next);
    }
}

/// Makes batches of what comes.
struct Pages<'a> {
    topic: Topic,
    reading: &'a mut BTreeMap<Partition, (Version, Offset)>,
    open: Option<(Version, Growing)>,
    readings: Vec<Reading>,
    lost: Vec<Partition>,
    refused: Option<String>,
}

impl Pages<'_> {
    fn take(&mut self, message: &Message<'_>) {
        match *message {
            Message::Record { partition, offset, millis, key, value } => {
                if let Some(record) = Record::new(partition, offset, millis, key, value) {
                    self.take_record(&record);
                }
            }
            Message::End { partition, offset } => {
                let (Ok(partition), Ok(offset)) = (Partition::try_from(partition), Offset::try_from(offset)) else {
                    return;
                };
                if self.reading.contains_key(&partition) {
                    self.shut();
                    self.readings.push(Reading::End(partition, offset));
                }
            }
            Message::Error { partition, code } => match (code, Partition::try_from(partition)) {
                (RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange, Ok(partition)) => {
                    self.lost.push(partition);
                }
                (code, _) if is_refusal(code) => self.refused = Some(phrase(code)),
                // Gone when it is back: librdkafka goes on asking.
                (code, _) => tracing::debug!(?code, partition, "a partition can't be read now"),
            },
        }
    }

    fn take_record(&mut self, record: &Record<'_>) {
        let Some((version, next)) = self.reading.get_mut(&record.partition) else { return };
        *next = record.offset + 1;
        let version = *version;
        match &mut self.open {
            Some((_, open)) if open.goes_on_with(record) && open.bytes() < BYTES_AT_A_TIME => open.push(record),
            _ => {
                self.shut();
                self.open = Some((version, Growing::begin(self.topic, record)));
            }
        }
    }

    fn shut(&mut self) {
        if let Some((version, open)) = self.open.take() {
            self.readings.push(Reading::Records(version, open.done()));
        }
    }

    fn is_full(&self) -> bool {
        let bytes = |reading: &Reading| match reading {
            Reading::Records(_, records) => records.values.bytes(),
            _ => 0,
        };
        self.readings.len() >= 4096 || self.readings.iter().map(bytes).sum::<usize>() >= BYTES_AT_A_TIME
    }

    fn close(mut self) -> (Vec<Reading>, Vec<Partition>, Option<String>) {
        self.shut();
        (self.readings, self.lost, self.refused)
    }
}
