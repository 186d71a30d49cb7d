//! Reads a range of one partition back, for history that has left memory. The consumers that do it are kept for the next time.

use crate::append::lock;
use crate::config::{ANSWERED_WITHIN, FETCH_HELD_FOR, Options};
use crate::errors::{Heard, away, is_refusal, phrase};
use crate::growing::{Growing, Record};
use crate::offsets::{Asker, number};
use crate::raw::{Message, Queue};
use baton_core::log::{Delivered, Offset, Partition, Topic};
use baton_runtime::ports::LogError;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How many idle consumers are kept.
const KEPT: usize = 4;
/// How long one wait for records is.
const WAIT: Duration = Duration::from_millis(50);

/// What is to be read.
#[derive(Clone, Debug)]
pub struct Range {
    pub topic: Topic,
    pub partition: Partition,
    pub from: Offset,
    pub to: Offset,
    pub max_bytes: usize,
}

/// Consumers that read ranges.
pub struct Ranges {
    options: Options,
    idle: Mutex<Vec<BaseConsumer<Heard>>>,
}

impl Ranges {
    pub fn new(options: &Options) -> Self {
        Self { options: options.clone(), idle: Mutex::default() }
    }

    /// Reads. Blocks for as long as it takes, within a limit.
    pub fn read(&self, range: &Range, asker: &Asker) -> Result<Vec<Delivered>, LogError> {
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        let name = self.options.prefixed(range.topic.name());
        let doing = format!("read {name} back");
        let kept = lock(&self.idle).pop();
        let consumer = if let Some(consumer) = kept {
            consumer
        } else {
            let mut config = self.options.reader(FETCH_HELD_FOR);
            // More than is asked for would be fetched for nothing.
            config.set("fetch.message.max.bytes", "1048576").set("queued.max.messages.kbytes", "2048");
            config.create_with_context(self.options.heard()).map_err(|error| away(&doing, &error))?
        };
        consumer.context().stay_logged_in(consumer.client());
        let found = read(&consumer, &name, range, asker);
        // One that failed may not be in order.
        if found.is_ok() && consumer.unassign().is_ok() {
            let mut idle = lock(&self.idle);
            if idle.len() < KEPT {
                idle.push(consumer);
            }
        }
        found
    }
}

fn read(consumer: &BaseConsumer<Heard>, name: &str, range: &Range, asker: &Asker) -> Result<Vec<Delivered>, LogError> {
    let doing = || format!("read {name} back");
    let mut queue =
        Queue::of(consumer.client()).ok_or_else(|| LogError::Unavailable("a consumer has no queue".into()))?;
    let mut page =
        Page { range, next: range.from, bytes: 0, batches: Vec::new(), over: false, lost: false, refused: None };
    begin(consumer, name, range.partition, range.from).map_err(|error| away(&doing(), &error))?;
    let until = Instant::now() + 2 * ANSWERED_WITHIN;
    while !page.over {
        queue.read(WAIT, |message| page.take(&message));
        if let Some(code) = page.refused {
            return Err(LogError::Unavailable(format!("could not {}: {}", doing(), phrase(code))));
        }
        if std::mem::take(&mut page.lost) {
            let first = asker.beginnings(name, &[range.partition])?.get(&range.partition).copied().unwrap_or(0);
            // Nothing of it is kept, or it never was.
            if first <= page.next || first >= range.to {
                break;
            }
            page.next = first;
            begin(consumer, name, range.partition, first).map_err(|error| away(&doing(), &error))?;
        }
        if !page.over && Instant::now() >= until {
            return Err(LogError::Unavailable(format!("could not {}: no answer in time", doing())));
        }
    }
    Ok(page.batches.into_iter().map(Growing::done).collect())
}

fn begin(
    consumer: &BaseConsumer<Heard>,
    name: &str,
    partition: Partition,
    offset: Offset,
) -> rdkafka::error::KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    let at = Place::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
    list.add_partition_offset(name, number(partition), at)?;
    consumer.assign(&list)
}

struct Page<'a> {
    range: &'a Range,
    next: Offset,
    bytes: usize,
    batches: Vec<Growing>,
    over: bool,
    lost: bool,
    refused: Option<RDKafkaErrorCode>,
}

impl Page<'_> {
    fn take(&mut self, message: &Message<'_>) {
        match *message {
            Message::Record { partition, offset, millis, key, value } if partition == number(self.range.partition) => {
                if let Some(record) = Record::new(partition, offset, millis, key, value) {
                    self.take_record(&record);
                }
            }
            Message::End { partition, .. } if partition == number(self.range.partition) => self.over = true,
            Message::Error { code: RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange, .. } => {
                self.lost = true;
            }
            Message::Error { code, .. } if is_refusal(code) => self.refused = Some(code),
            _ => {}
        }
    }

    fn take_record(&mut self, record: &Record<'_>) {
        if record.offset >= self.range.to || (self.bytes > 0 && self.bytes >= self.range.max_bytes) {
            self.over = true;
        }
        if self.over || record.offset < self.next {
            return;
        }
        self.next = record.offset + 1;
        // A record without a byte is one all the same.
        self.bytes += record.value.len().max(1);
        match self.batches.last_mut() {
            Some(last) if last.goes_on_with(record) => last.push(record),
            _ => self.batches.push(Growing::begin(self.range.topic, record)),
        }
        self.over = self.next >= self.range.to;
    }
}
