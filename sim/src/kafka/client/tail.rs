//! A tail of all partitions of a topic.

use super::fetcher::{Fetched, Fetcher};
use super::{Client, Task};
use baton_core::log::{Offset, Partition, Topic};
use baton_core::time::Timestamp;
use baton_runtime::ports::{LogError, Tail, TailEvent, TailFrom};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where each partition ended, by the number of the question.
type Ends = (u64, BTreeMap<Partition, Offset>);

/// See the module's words.
pub struct SimTail {
    client: Arc<Client>,
    topic: Topic,
    fetcher: Fetcher,
    /// What was given of each partition.
    given: BTreeMap<Partition, Offset>,
    /// What must be given before it has caught up.
    ends: Option<BTreeMap<Partition, Offset>>,
    asked: u64,
    asking: Option<Task>,
    answers: (mpsc::UnboundedSender<Ends>, mpsc::UnboundedReceiver<Ends>),
    ready: VecDeque<TailEvent>,
}

impl SimTail {
    pub(super) async fn new(client: Arc<Client>, topic: Topic, from: TailFrom) -> Result<Self, LogError> {
        let (mut given, mut ends) = (BTreeMap::new(), BTreeMap::new());
        for partition in 0..client.partitions() {
            let time = if let TailFrom::Time(time) = from { time } else { Timestamp::default() };
            let (end, at, _) = client.offsets(topic, partition, time).await?;
            given.insert(partition, at);
            ends.insert(partition, end);
        }
        let fetcher = Fetcher::new(&client, topic, given.clone());
        let answers = mpsc::unbounded_channel();
        let (ends, ready) = (Some(ends), VecDeque::new());
        Ok(Self { client, topic, fetcher, given, ends, asked: 0, asking: None, answers, ready })
    }

    fn take(&mut self, fetched: Fetched) {
        let given = &mut self.given;
        let fresh = |records: baton_core::log::Delivered| {
            let at = given.get(&records.partition).copied().unwrap_or_default();
            records.from_offset(at)
        };
        let records: Vec<_> = fetched.records.into_iter().filter_map(fresh).collect();
        self.ready.extend(fetched.skipped.map(TailEvent::Skipped));
        for (_, partition, end) in fetched.ends {
            let at = self.given.entry(partition).or_default();
            *at = (*at).max(end);
        }
        if !records.is_empty() {
            self.ready.push_back(TailEvent::Records(records));
        }
    }

    fn has_caught_up(&self) -> bool {
        self.ends.as_ref().is_some_and(|ends| ends.iter().all(|(partition, end)| self.given[partition] >= *end))
    }
}

impl Tail for SimTail {
    async fn next(&mut self) -> Result<TailEvent, LogError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.has_caught_up() {
                self.ends = None;
                return Ok(TailEvent::CaughtUp);
            }
            tokio::select! {
                biased;
                Some((number, ends)) = self.answers.1.recv() => {
                    if number == self.asked {
                        self.ends = Some(ends);
                    }
                }
                fetched = self.fetcher.fetched.recv() => match fetched {
                    Some(fetched) => self.take(fetched?),
                    None => return Err(LogError::Fatal("the client is gone".into())),
                },
            }
        }
    }

    fn catch_up(&mut self) {
        self.asked += 1;
        self.ends = None;
        let (client, topic, number, answers) = (self.client.clone(), self.topic, self.asked, self.answers.0.clone());
        self.asking = Some(Task::spawn(async move {
            let mut ends = BTreeMap::new();
            for partition in 0..client.partitions() {
                let end = loop {
                    if let Ok((end, ..)) = client.offsets(topic, partition, Timestamp::default()).await {
                        break end;
                    }
                };
                ends.insert(partition, end);
            }
            let _ = answers.send((number, ends));
        }));
    }
}
