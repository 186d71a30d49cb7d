//! How records come to the followers, can't be lost any more, are shown to readers, and go when they are too old.

use super::cluster::{BROKERS, Cluster, State};
use super::partition::{Batch, Fate, Log};
use crate::event::{Event, Logged, Node};
use baton_core::log::{Offset, Partition, Topic};
use baton_core::record::{Kind, ProgressRecord};
use bytes::Bytes;
use tokio::time::sleep;

/// `min.insync.replicas`
pub(super) const MIN_ISR: usize = 2;

impl Cluster {
    /// Followers fetch what was appended, a moment later.
    pub(super) fn follow_later(&self, index: usize) {
        let cluster = self.clone();
        tokio::spawn(async move {
            sleep(cluster.config().lag).await;
            cluster.follow(index);
        });
    }

    fn follow(&self, index: usize) {
        let mut state = self.state();
        self.replicate(&mut state, index);
    }

    pub(super) fn replicate(&self, state: &mut State, index: usize) {
        let State { logs, brokers, .. } = state;
        let log = &mut logs[index];
        let Some(leader) = log.leader.filter(|leader| brokers[usize::from(*leader)].is_there()) else { return };
        for broker in (0..BROKERS).filter(|broker| *broker != leader) {
            if brokers[usize::from(broker)].can_lead() {
                log.replicated(broker, MIN_ISR);
            }
        }
        log.advance(MIN_ISR);
        self.tell(log);
    }

    /// Tells the journal what can't be lost any more, and what all readers can see.
    pub(super) fn tell(&self, log: &mut Log) {
        let broker = Node::Broker(log.leader.unwrap_or_default());
        let (told, safe, shown, stable) = (log.told, log.high_watermark, log.shown, log.stable());
        if (told, shown) == (safe, stable) {
            return;
        }
        for batch in log.from(told) {
            if batch.fate == Fate::Plain && batch.base >= told && batch.end() <= safe {
                for logged in records(log.topic, log.partition, batch) {
                    self.note(broker, Event::Durable(logged));
                }
            }
        }
        for batch in log.from(shown) {
            let whole = batch.base >= shown && batch.end() <= stable;
            if whole && matches!(batch.fate, Fate::Plain | Fate::Committed) {
                for logged in records(log.topic, log.partition, batch) {
                    self.note(broker, Event::Visible(logged));
                }
            }
        }
        (log.told, log.shown) = (told.max(safe), shown.max(stable));
        self.topic_changes(log.topic);
    }

    /// So many percent of each partition of `task-progress`, the oldest, are gone.
    pub fn truncate(&self, percent: u8) {
        self.truncate_to(|log, most| most.min(log.start + (log.stable() - log.start) * u64::from(percent) / 100));
    }

    /// What stands in each partition of `task-progress` before the last attempt that was not a first one is gone. How many
    /// lines the attempt before it had, no number tells: a boundary that chance meets too seldom.
    pub fn truncate_to_attempt(&self) {
        self.truncate_to(|log, most| {
            let may_go = log.batches.iter().take_while(|batch| batch.base <= most);
            let again = may_go.filter(|batch| batch.values.iter().any(begins_again)).last();
            again.map_or(log.start, |batch| batch.base)
        });
    }

    /// Where a partition is to begin: given the log and the offset up to which it may go. Ends are kept for at least as long
    /// as the tasks themselves: what stands after the first one stays.
    fn truncate_to(&self, to: impl Fn(&Log, Offset) -> Offset) {
        let topic = Topic::Progress;
        let mut state = self.state();
        for log in state.logs.iter_mut().filter(|log| log.topic == topic) {
            let before = log.start;
            let first_end = log.batches.iter().find(|batch| batch.values.iter().any(ends_a_task));
            let most = first_end.map_or(log.stable(), |batch| batch.base.min(log.stable()));
            log.truncate(to(log, most));
            if log.start > before {
                let leader = Node::Broker(log.leader.unwrap_or_default());
                self.note(leader, Event::Truncated(topic, log.partition, log.start));
            }
        }
    }
}

fn begins_again(value: &[u8]) -> bool {
    ProgressRecord::read(value)
        .is_ok_and(|record| record.kind == Some(Kind::Started) && record.attempt.is_some_and(|attempt| attempt > 1))
}

fn ends_a_task(value: &[u8]) -> bool {
    ProgressRecord::read(value).is_ok_and(|record| record.kind.is_some_and(Kind::is_terminal))
}

pub(super) fn records(topic: Topic, partition: Partition, batch: &Batch) -> impl Iterator<Item = Logged> + '_ {
    batch.values.iter().zip(batch.base..).map(move |(value, offset)| Logged {
        topic,
        partition,
        offset,
        at: batch.at,
        key: batch.key.clone(),
        value: Bytes::copy_from_slice(value),
    })
}
