//! What the API knows of the cluster: who was heard of, what they do, and how far each partition of `tasks` is.
//! It is what others said of themselves, as old as it says.

use super::Hub;
use super::pulse::PulseView;
use crate::id::TaskId;
use crate::log::{Delivered, Offset, Partition};
use crate::presence::{AT_LEAST_EVERY, Presence, Role};
use crate::record::Unreadable;
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Who has not been heard of for so long is shown as lost: two words of it, and some time on the way.
pub const LOST_AFTER: Duration = Duration::from_secs(2 * AT_LEAST_EVERY.as_secs() + 5);
/// Who has not been heard of for so long is not shown any more.
pub const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);
/// The most processes that are known, and the longest word of one: beyond, those who were heard of first go.
const MAX_KNOWN: usize = 1_000;
const MAX_WORD: usize = 64 * 1024;

/// Who is there, and how far they are.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    known: BTreeMap<TaskId, (Timestamp, Presence)>,
    /// Where each partition of `tasks` ends.
    ends: BTreeMap<Partition, Offset>,
}

/// The cluster as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClusterView {
    /// When that was so, by the replica's clock.
    pub at: Timestamp,
    /// By name, then by their start.
    pub workers: Vec<MemberView>,
    /// See `workers`.
    pub apis: Vec<MemberView>,
    /// By number.
    pub partitions: Vec<PartitionView>,
    /// What happened lately.
    pub pulse: PulseView,
}

/// A process as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberView {
    /// When it was last heard of, by the log's clock.
    pub last_seen: Timestamp,
    /// Whether that is so long ago that it is likely dead, or cut off.
    pub lost: bool,
    /// What it said.
    #[serde(flatten)]
    pub said: Presence,
}

/// A partition of `tasks` as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionView {
    /// Its number.
    pub partition: Partition,
    /// The offset after its last record.
    pub end: Offset,
    /// Every task before this offset has ended; `None` if nobody has said.
    pub watermark: Option<Offset>,
    /// How many records lie between the two: tasks that wait or run, and some that have ended before an older one has.
    pub open: Option<u64>,
    /// How many tasks of it run.
    pub running: usize,
    /// The worker that holds it; `None` if nobody has said that it does.
    pub worker: Option<TaskId>,
}

impl Cluster {
    /// Records of `tasks`.
    pub fn extend(&mut self, records: &Delivered) {
        let end = self.ends.entry(records.partition).or_default();
        *end = (*end).max(records.end_offset());
    }

    fn hear(&mut self, key: &[u8], value: &[u8], at: Timestamp) -> Result<(), Unreadable> {
        if value.len() > MAX_WORD {
            return Err(Unreadable::too_long(value.len()));
        }
        let said = Presence::read(value)?;
        let id = said.identity.id.clone();
        if !key.is_empty() && key != id.as_str().as_bytes() {
            return Err(Unreadable::wrong_key());
        }
        let is_news = self.known.get(&id).is_none_or(|(_, known)| said.gone || known.at <= said.at);
        if said.gone {
            self.known.remove(&id);
        } else if is_news {
            self.known.insert(id, (at, said));
        }
        if self.known.len() > MAX_KNOWN {
            let first = self.known.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| id.clone());
            first.and_then(|id| self.known.remove(&id));
        }
        Ok(())
    }

    fn members(&self, role: Role, now: Timestamp) -> Vec<MemberView> {
        let heard =
            self.known.values().filter(|(at, said)| said.identity.role == role && now.since(*at) < FORGOTTEN_AFTER);
        let mut members: Vec<MemberView> = heard
            .map(|(at, said)| MemberView { last_seen: *at, lost: now.since(*at) >= LOST_AFTER, said: said.clone() })
            .collect();
        members.sort_by(|a, b| {
            let order = |member: &MemberView| (member.said.identity.name.clone(), member.said.identity.started_at);
            order(a).cmp(&order(b))
        });
        members
    }

    fn partitions(&self, workers: &[MemberView]) -> Vec<PartitionView> {
        let mut partitions: BTreeMap<Partition, PartitionView> = BTreeMap::new();
        let unsaid =
            |partition, end| PartitionView { partition, end, watermark: None, open: None, running: 0, worker: None };
        for (partition, end) in &self.ends {
            partitions.insert(*partition, unsaid(*partition, *end));
        }
        // Where two say that they hold it, the one that was heard of last does.
        let mut by_age: Vec<&MemberView> = workers.iter().collect();
        by_age.sort_by_key(|member| member.last_seen);
        for member in by_age {
            for claim in &member.said.doing.claims {
                let view = partitions.entry(claim.partition).or_insert_with(|| unsaid(claim.partition, 0));
                view.end = view.end.max(claim.watermark);
                view.watermark = view.watermark.max(Some(claim.watermark));
                if !member.lost {
                    view.worker = Some(member.said.identity.id.clone());
                    view.running = claim.running;
                }
            }
        }
        for view in partitions.values_mut() {
            view.open = view.watermark.map(|watermark| view.end - watermark);
        }
        partitions.into_values().collect()
    }
}

impl Hub {
    pub(super) fn on_presence(&mut self, records: &Delivered) {
        for (index, value) in records.values.iter().enumerate() {
            if let Err(why) = self.cluster.hear(&records.key, value, records.at) {
                self.unreadable(records, index, why);
            }
        }
    }

    /// The cluster, as far as it was heard of.
    pub fn cluster(&self, now: Timestamp) -> ClusterView {
        let workers = self.cluster.members(Role::Worker, now);
        ClusterView {
            at: now,
            partitions: self.cluster.partitions(&workers),
            workers,
            apis: self.cluster.members(Role::Api, now),
            pulse: self.pulse.view(now),
        }
    }
}
