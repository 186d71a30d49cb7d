//! A tail of the embedded log: from memory where it follows closely, from the file where it is behind.

use crate::Inner;
use crate::limits::PAGE_BYTES;
use crate::read::{Page, Reading, topic_page};
use crate::recent::Seq;
use baton_core::log::{Delivered, Topic};
use baton_runtime::ports::{LogError, Tail, TailEvent};
use std::sync::Arc;
use tokio::sync::watch;

/// See [`Tail`].
pub struct LocalTail {
    inner: Arc<Inner>,
    topic: Topic,
    /// All before this one was given.
    seq: Seq,
    /// The end of what there was as the tail began, until that was said.
    catches_up_at: Option<Seq>,
    commits: watch::Receiver<()>,
    /// What is being read from the file, and where to go on after it if there is no more.
    reading: Option<(Seq, Reading<Page>)>,
}

impl LocalTail {
    pub(crate) fn new(inner: Arc<Inner>, topic: Topic, seq: Seq) -> Self {
        let commits = inner.shared.commits(topic).subscribe();
        let catches_up_at = Some(inner.shared.head());
        Self { inner, topic, seq, catches_up_at, commits, reading: None }
    }

    /// Ends the read that is under way.
    async fn finish_reading(&mut self) -> Result<Vec<Delivered>, LogError> {
        let Some((head, reading)) = &mut self.reading else { return Ok(Vec::new()) };
        let (head, page) = (*head, reading.await);
        self.reading = None;
        let Page { batches, more } = page?;
        let next = batches.last().map_or(self.seq, |(seq, _)| seq + 1);
        self.seq = if more { next } else { next.max(head) };
        Ok(batches.into_iter().map(|(_, batch)| batch).collect())
    }

    fn begin_reading(&mut self) {
        let (topic, seq) = (self.topic, self.seq);
        let read = move |connection: &_| topic_page(connection, topic, seq, PAGE_BYTES);
        self.reading = Some((self.inner.shared.head(), self.inner.readers.run(read)));
    }
}

impl Tail for LocalTail {
    async fn next(&mut self) -> Result<TailEvent, LogError> {
        loop {
            let batches = self.finish_reading().await?;
            if !batches.is_empty() {
                return Ok(TailEvent::Records(batches));
            }
            if self.catches_up_at.is_some_and(|end| self.seq >= end) {
                self.catches_up_at = None;
                return Ok(TailEvent::CaughtUp);
            }
            self.commits.borrow_and_update();
            // In this order: all before the head is in memory or in the file by now.
            let head = self.inner.shared.head();
            let page = self.inner.shared.recent(self.topic).page(self.seq, PAGE_BYTES);
            match page {
                Some((batches, next)) if !batches.is_empty() => {
                    self.seq = next;
                    return Ok(TailEvent::Records(batches));
                }
                Some(_) if self.seq < head => self.seq = head,
                Some(_) => self.commits.changed().await.map_err(|_| crate::queue::writer_gone())?,
                None => self.begin_reading(),
            }
        }
    }

    fn catch_up(&mut self) {
        self.catches_up_at = Some(self.inner.shared.head());
    }
}
