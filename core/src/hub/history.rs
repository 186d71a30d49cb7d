//! The history of one task: its segments in order, in memory or only on the log. A watcher is the id of the
//! update that it read last, and owns nothing here.

use super::segment::{Filter, Origin, Segment};
use crate::id::UpdateId;
use crate::log::Partition;
use baton_probe::{Mark, Mutant, hit, hit_if, is};
use std::collections::VecDeque;
use std::sync::Arc;

/// All updates of one task that count.
#[derive(Debug, Default)]
pub struct History {
    slots: VecDeque<Slot>,
    filter: Filter,
}

#[derive(Debug)]
struct Slot {
    last_id: UpdateId,
    /// How many updates stand before it.
    base: usize,
    count: usize,
    /// `None` for what never was on the log as it is here.
    origin: Option<Origin>,
    /// `None` once it is only on the log.
    segment: Option<Arc<Segment>>,
}

/// What a watcher reads next.
#[derive(Clone, Debug)]
pub enum Stretch {
    /// Updates in memory, from number `first` of the segment on.
    Here(Arc<Segment>, usize),
    /// Updates that must be read back from the log.
    OnTheLog(Recall),
}

/// A segment that is only on the log: [`super::Hub::rebuild`] makes it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recall {
    /// Where it is.
    pub origin: Origin,
    /// How many updates it has.
    pub count: usize,
    /// The id of the last one.
    pub last_id: UpdateId,
}

/// Where an update of a history is, by its position: how many stand before it.
#[derive(Clone, Debug)]
pub struct Place {
    /// What holds it.
    pub stretch: Stretch,
    /// The position of the stretch's first update.
    pub base: usize,
    /// How many updates the stretch has; fewer may be left of them on the log.
    pub count: usize,
}

impl History {
    /// How many updates there are.
    pub fn len(&self) -> usize {
        self.slots.back().map_or(0, |slot| slot.base + slot.count)
    }

    /// Where the update at this position is; `None` if there are not so many.
    pub fn place_at(&self, position: usize) -> Option<Place> {
        let slot = self.slots.get(self.slots.partition_point(|slot| slot.base + slot.count <= position))?;
        Some(Place { stretch: slot.stretch(position - slot.base), base: slot.base, count: slot.count })
    }

    /// What has counted so far.
    pub const fn filter(&self) -> Filter {
        self.filter
    }

    /// The text of the last update, if it is in memory.
    pub fn last_text(&self) -> Option<&str> {
        self.slots.back()?.segment.as_deref().map(Segment::last_text)
    }

    /// Records of this partition were gone before they could be read.
    pub fn skip(&mut self, partition: Partition) {
        let is_here = |slot: &Slot| slot.origin.as_ref().is_some_and(|origin| origin.partition == partition);
        if self.slots.back().is_some_and(is_here) {
            self.filter.skip();
        }
    }

    /// Adds a segment that came from the log.
    pub fn push(&mut self, segment: Segment, origin: Origin, filter: Filter) {
        self.filter = filter;
        let Some(last_id) = segment.last_id() else { return };
        let segment = Some(Arc::new(segment));
        let count = segment.as_ref().map_or(0, |s| s.len());
        let mut slot = Slot { last_id, base: self.len(), count, origin: Some(origin), segment };
        while let Some(joined) = self.slots.back().and_then(|before| before.joined(&slot)) {
            hit(Mark::HistoryJoined);
            self.slots.pop_back();
            slot = joined;
        }
        self.slots.push_back(slot);
    }

    /// What comes after `id`; `None` if nothing has yet.
    pub fn read_after(&self, id: UpdateId) -> Option<Stretch> {
        let slot = self.slots.get(self.index_after(id))?;
        if slot.segment.is_none() && is(Mutant::EvictedSkipped) {
            return None;
        }
        hit_if(slot.origin.is_none() && id > UpdateId::default(), Mark::ResumedAfterExpiry);
        Some(slot.stretch(slot.segment.as_ref().map_or(0, |segment| segment.count_through(id))))
    }

    fn index_after(&self, id: UpdateId) -> usize {
        self.slots.partition_point(|slot| slot.last_id <= id)
    }

    /// Lets go of the memory of the segment that ends with `last_id`, or was joined into one that goes further.
    pub fn evict(&mut self, last_id: UpdateId) {
        let index = self.slots.partition_point(|slot| slot.last_id < last_id);
        if let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.origin.is_some()) {
            if is(Mutant::HistoryUnbounded) {
                return;
            }
            hit(Mark::HistoryEvicted);
            slot.segment = None;
        }
    }

    /// The bytes that are held for knowing where its segments are, in memory or not.
    pub fn weight(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }

    /// Whether a segment that ends with `last_id` is in memory, and may leave it.
    pub fn is_resident(&self, last_id: UpdateId) -> bool {
        let index = self.slots.partition_point(|slot| slot.last_id < last_id);
        self.slots.get(index).is_some_and(|s| s.last_id == last_id && s.segment.is_some() && s.origin.is_some())
    }

    /// Puts `segment` in place of all.
    pub fn replace(&mut self, segment: Segment) {
        self.slots.clear();
        if let Some(last_id) = segment.last_id() {
            self.slots.push_back(Slot {
                last_id,
                base: 0,
                count: segment.len(),
                origin: None,
                segment: Some(Arc::new(segment)),
            });
        }
    }
}

/// How much of a partition a joined segment may reach over: all of it is read when it is recalled.
const MAX_SPAN: u64 = 64 * 1024;

impl Slot {
    /// It, from update number `first` on.
    fn stretch(&self, first: usize) -> Stretch {
        match (&self.segment, &self.origin) {
            (Some(segment), _) => Stretch::Here(segment.clone(), first),
            (None, Some(origin)) => {
                Stretch::OnTheLog(Recall { origin: origin.clone(), count: self.count, last_id: self.last_id })
            }
            (None, None) => unreachable!("a segment is evicted only if it has an origin"),
        }
    }

    fn joined(&self, next: &Self) -> Option<Self> {
        let (origin, further) = (self.origin.as_ref()?, next.origin.as_ref()?);
        // Whoever reads a joined segment back must find the same gaps in it.
        let near = origin.partition == further.partition
            && !further.before.has_skipped()
            && further.from >= origin.to
            && further.to - origin.from <= MAX_SPAN;
        let segment = near.then(|| self.segment.as_ref()?.joined(next.segment.as_ref()?)).flatten()?;
        Some(Self {
            last_id: next.last_id,
            base: self.base,
            count: segment.len(),
            origin: Some(Origin { to: further.to, ..origin.clone() }),
            segment: Some(Arc::new(segment)),
        })
    }
}
