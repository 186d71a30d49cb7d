//! A group's coordinator: the classic protocol with cooperative rebalances (KIP-429) and static members (KIP-345).

use super::wire::{Error, Generation, Membership, Response};
use crate::event::Node;
use baton_core::log::{Committed, Partition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long a rebalance waits for members that have not joined again: as long as members of this session ask for, so that a
/// session ends first.
const REBALANCE_TIMEOUT: Duration = Duration::from_mins(1);

/// What a member is told: who it is, and what is its own.
type Joined = (Membership, Vec<Partition>);

/// See the module's words.
#[derive(Debug, Default)]
pub struct Group {
    members: BTreeMap<u64, Member>,
    generation: Generation,
    /// Until when members may join the next generation, while one is being made.
    rebalancing: Option<Instant>,
    /// What happened, for the trace; taken from here by whoever calls.
    pub told: Vec<String>,
    /// Who was here: a join of theirs that comes late, or twice, makes no new member.
    gone: BTreeSet<u64>,
    /// What is committed of each partition.
    pub committed: BTreeMap<Partition, Committed>,
}

#[derive(Debug)]
struct Member {
    client: Node,
    instance: Option<String>,
    owned: BTreeSet<Partition>,
    seen: Instant,
    /// It waits for the next generation.
    joined: bool,
    /// What it was given in this one, and what it must give up.
    assigned: BTreeSet<Partition>,
    revoked: BTreeSet<Partition>,
    /// It was told of this generation.
    told: Generation,
    /// Of its last join.
    number: u64,
}

impl Group {
    /// A member joins, under an id of its own making, so that a join may be sent again (as in KIP-848). It waits until
    /// [`Self::joined`] has an answer.
    pub fn join(
        &mut self,
        (member, number): (u64, u64),
        client: Node,
        instance: Option<String>,
        owned: &[Partition],
        now: Instant,
    ) -> Result<(), Error> {
        if self.members.get(&member).is_some_and(|known| number <= known.number) {
            return Ok(());
        }
        if !self.members.contains_key(&member) {
            if self.gone.contains(&member) {
                return Err(Error::UnknownMember);
            }
            let earlier = instance.as_ref().and_then(|instance| {
                self.members.iter().find(|(_, other)| other.instance.as_ref() == Some(instance)).map(|(id, _)| *id)
            });
            self.gone.extend(earlier);
            if let Some(earlier) = earlier.and_then(|earlier| self.members.remove(&earlier)) {
                // A static member is back: what it was given is its own, whether its earlier self heard of that or not, and
                // nobody else need move (KIP-345). What that self was to give up, and did not, stays with it too: the classic
                // protocol would give that to nobody until some later rebalance.
                // If a generation is being made, it joins that, and has what it says to have.
                let joined = self.rebalancing.is_some();
                let assigned = earlier.assigned.union(&earlier.owned).copied().collect();
                let owned = if joined { owned.iter().copied().collect() } else { BTreeSet::new() };
                let revoked = BTreeSet::new();
                self.members
                    .insert(member, Member { seen: now, joined, owned, assigned, revoked, told: 0, number, ..earlier });
                return Ok(());
            }
        }
        // What somebody says to have kept as who it was, and another has been given, is the other's.
        let others = || self.members.iter().filter(|(id, _)| **id != member).map(|(_, other)| other);
        let is_taken = |partition: &Partition| {
            others().any(|other| other.owned.contains(partition) || other.assigned.contains(partition))
        };
        let owned = owned.iter().copied().filter(|partition| !is_taken(partition)).collect();
        let entry = self.members.entry(member).or_insert_with(|| Member {
            client,
            instance,
            owned: BTreeSet::new(),
            seen: now,
            joined: false,
            assigned: BTreeSet::new(),
            revoked: BTreeSet::new(),
            told: 0,
            number,
        });
        entry.number = number;
        entry.owned = owned;
        entry.seen = now;
        entry.joined = true;
        self.rebalance(now);
        Ok(())
    }

    /// What a member that joined is told, once the generation is made.
    pub fn joined(&mut self, member: u64) -> Option<Result<Joined, Error>> {
        let generation = self.generation;
        let Some(entry) = self.members.get_mut(&member) else { return Some(Err(Error::UnknownMember)) };
        if entry.joined || entry.told >= generation {
            return None;
        }
        entry.told = generation;
        entry.owned = entry.assigned.union(&entry.revoked).copied().collect();
        Some(Ok((Membership { member, generation }, entry.assigned.iter().copied().collect())))
    }

    /// Begins a rebalance, if none is under way.
    pub fn rebalance(&mut self, now: Instant) {
        self.rebalancing.get_or_insert(now + REBALANCE_TIMEOUT);
    }

    /// A member is there, and knows the generation.
    pub fn heartbeat(&mut self, membership: &Membership, now: Instant) -> Response {
        let Some(member) = self.members.get_mut(&membership.member) else {
            return Response::Error(Error::UnknownMember);
        };
        if membership.generation != self.generation {
            return Response::Error(Error::IllegalGeneration);
        }
        member.seen = now;
        if self.rebalancing.is_some() { Response::Error(Error::RebalanceInProgress) } else { Response::Done }
    }

    /// Whether a member may commit.
    pub fn check(&self, membership: &Membership) -> Result<(), Error> {
        if !self.members.contains_key(&membership.member) {
            Err(Error::UnknownMember)
        } else if membership.generation != self.generation {
            Err(Error::IllegalGeneration)
        } else {
            Ok(())
        }
    }

    /// A member commits something that nobody reads, and was heard of by that.
    pub fn prove(&mut self, membership: &Membership, now: Instant) -> Result<(), Error> {
        self.check(membership)?;
        if let Some(member) = self.members.get_mut(&membership.member) {
            member.seen = now;
        }
        Ok(())
    }

    /// Who is in it.
    pub fn members(&self) -> BTreeSet<u64> {
        self.members.keys().copied().collect()
    }

    /// A member is gone.
    pub fn leave(&mut self, member: u64, now: Instant) {
        self.gone.insert(member);
        if self.members.remove(&member).is_some() {
            self.rebalance(now);
        }
    }

    /// Expels who was not heard of for a session, and ends a rebalance that is complete or has waited long enough. Returns
    /// whether anything changed.
    pub fn tick(&mut self, session: Duration, partitions: u32, now: Instant) -> bool {
        let before = self.members.len();
        self.expel("its session has ended", |member| {
            !member.joined && now.saturating_duration_since(member.seen) >= session
        });
        if self.members.len() < before {
            self.rebalance(now);
        }
        let Some(until) = self.rebalancing else { return false };
        let all = self.members.values().all(|member| member.joined);
        if !all && now < until {
            return false;
        }
        self.expel("it has not joined the rebalance", |member| !member.joined);
        self.rebalancing = None;
        self.generation += 1;
        self.assign(partitions, now);
        true
    }

    fn expel(&mut self, why: &str, who: impl Fn(&Member) -> bool) {
        for (id, member) in self.members.extract_if(.., |_, member| who(member)) {
            self.told.push(format!("expels {}: {why}", member.client));
            self.gone.insert(id);
        }
    }

    /// Shares the partitions out evenly and stickily; what somebody else still owns is given out in the next rebalance,
    /// when that member has given it up.
    fn assign(&mut self, partitions: u32, now: Instant) {
        let members = self.members.len();
        if members == 0 {
            return;
        }
        let mut by_owned: Vec<(usize, u64)> =
            self.members.iter().map(|(id, member)| (member.owned.len(), *id)).collect();
        by_owned.sort_by_key(|(owned, id)| (std::cmp::Reverse(*owned), *id));
        let partitions = partitions as usize;
        let mut taken: BTreeSet<Partition> = self.members.values().flat_map(|member| member.owned.clone()).collect();
        let free: Vec<Partition> = (0..).take(partitions).filter(|partition| !taken.contains(partition)).collect();
        let mut free = free.into_iter();
        for (rank, (_, id)) in by_owned.into_iter().enumerate() {
            let due = partitions / members + usize::from(rank < partitions % members);
            let member = self.members.get_mut(&id).expect("it is listed");
            member.assigned = member.owned.iter().copied().take(due).collect();
            member.revoked = member.owned.difference(&member.assigned).copied().collect();
            while member.assigned.len() < due {
                let Some(partition) = free.next() else { break };
                taken.insert(partition);
                member.assigned.insert(partition);
            }
            member.joined = false;
            member.seen = now;
            let Member { client, assigned, revoked, .. } = member;
            self.told.push(format!(
                "generation {}: {client} is to have {assigned:?}, and to give up {revoked:?}",
                self.generation
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(6);

    fn join(group: &mut Group, member: u64, owned: &[Partition], now: Instant) {
        let number = group.members.get(&member).map_or(1, |known| known.number + 1);
        group
            .join((member, number), Node::Worker(0), Some(format!("name-{}", member % 10)), owned, now)
            .expect("it may");
    }

    fn assigned(group: &mut Group, member: u64) -> Vec<Partition> {
        group.joined(member).expect("a generation is made").expect("it is a member").1
    }

    #[tokio::test]
    async fn a_static_member_that_comes_back_has_what_its_earlier_self_never_heard_of() {
        let (mut group, now) = (Group::default(), Instant::now());
        join(&mut group, 1, &[], now);
        join(&mut group, 2, &[], now);
        group.tick(SESSION, 2, now);
        assert_eq!(assigned(&mut group, 1), [0]);
        // Number 2 was killed before the answer came, and is back.
        join(&mut group, 12, &[], now);
        assert_eq!(assigned(&mut group, 12), [1]);
    }
}
