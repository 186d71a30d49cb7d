//! A tail of a topic on Kafka: all of its partitions from a time on, and the mark that all which was there has been given.

use crate::append::Topics;
use crate::config::FETCH_HELD_FOR;
use crate::offsets::Offsets;
use crate::reader::{Command, Reader, Reading};
use crate::{KafkaLog, blocking};
use baton_core::log::{Offset, Partition, Topic};
use baton_runtime::ports::{LogError, Tail, TailEvent, TailFrom};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::sleep;

/// How long until a question that was not answered is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

type Ends = Pin<Box<dyn Future<Output = Offsets> + Send>>;

/// See [`Tail`].
pub struct KafkaTail {
    log: KafkaLog,
    topic: Topic,
    reader: Reader,
    /// All before it was given.
    given: BTreeMap<Partition, Offset>,
    mark: Mark,
    ready: VecDeque<Reading>,
}

/// Where the mark "all that was there" stands.
enum Mark {
    Given,
    /// The ends are being asked for.
    Asking(Ends),
    /// It is given when all before these was.
    At(Offsets),
}

impl KafkaTail {
    pub(crate) async fn start(log: KafkaLog, topic: Topic, from: TailFrom) -> Result<Self, LogError> {
        let starts = {
            let log = log.clone();
            blocking("find where to begin", move || {
                let topics: &Topics = log.topics();
                let (name, all) = (topics.name(topic), topics.all(topic));
                match from {
                    TailFrom::Earliest => log.asker().beginnings(name, &all),
                    TailFrom::Time(time) => log.asker().since(name, &all, time),
                }
            })
            .await?
        };
        let reader = Reader::start(log.options(), topic, FETCH_HELD_FOR)?;
        for (partition, offset) in &starts {
            reader.tell(Command::From(*partition, 0, *offset));
        }
        let mark = Mark::Asking(ends(log.clone(), topic));
        Ok(Self { log, topic, reader, given: starts, mark, ready: VecDeque::new() })
    }

    fn is_caught_up(&self) -> bool {
        let Mark::At(ends) = &self.mark else { return false };
        ends.iter().all(|(partition, end)| self.given.get(partition).is_none_or(|given| given >= end))
    }

    /// What was read and not given yet: records up to the next thing that is none.
    fn take(&mut self) -> Option<TailEvent> {
        let mut records = Vec::new();
        while let Some(reading) = self.ready.pop_front() {
            match reading {
                Reading::Records(_, batch) => {
                    self.given.insert(batch.partition, batch.end_offset());
                    records.push(batch);
                }
                Reading::End(partition, offset) => {
                    let given = self.given.entry(partition).or_default();
                    *given = (*given).max(offset);
                }
                gone @ Reading::Gone(..) if !records.is_empty() => {
                    self.ready.push_front(gone);
                    break;
                }
                Reading::Gone(partition, _, offset) => {
                    self.given.insert(partition, offset);
                    return Some(TailEvent::Skipped(partition));
                }
            }
        }
        (!records.is_empty()).then_some(TailEvent::Records(records))
    }
}

impl Tail for KafkaTail {
    async fn next(&mut self) -> Result<TailEvent, LogError> {
        loop {
            if let Some(event) = self.take() {
                return Ok(event);
            }
            if self.is_caught_up() {
                self.mark = Mark::Given;
                return Ok(TailEvent::CaughtUp);
            }
            let asking = async {
                match &mut self.mark {
                    Mark::Asking(ends) => ends.await,
                    Mark::Given | Mark::At(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ends = asking => self.mark = Mark::At(ends),
                readings = self.reader.readings.recv() => match readings {
                    Some(readings) => self.ready.extend(readings?),
                    None => return Err(LogError::Fatal(format!("the reader of {} is gone", self.topic))),
                },
            }
        }
    }

    fn catch_up(&mut self) {
        self.mark = Mark::Asking(ends(self.log.clone(), self.topic));
    }
}

/// The ends of all partitions, asked for until there is an answer.
fn ends(log: KafkaLog, topic: Topic) -> Ends {
    Box::pin(async move {
        loop {
            let asked = log.clone();
            let ends = blocking("find the ends", move || {
                let topics = asked.topics();
                asked.asker().ends(topics.name(topic), &topics.all(topic))
            });
            match ends.await {
                Ok(ends) => return ends,
                Err(error) => {
                    tracing::debug!(%error, "asking again where a topic ends");
                    sleep(ASK_AGAIN_AFTER).await;
                }
            }
        }
    })
}
