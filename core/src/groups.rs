//! Who of a group's members has which partition: an even share each, a higher epoch with each claim. For the logs
//! that have no broker to decide it.
//!
//! It must never give a partition to a second member while the first may still work on it: it asks for the
//! partition back, and waits for the release.

use crate::log::Partition;
use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

/// Tells members apart. Never used twice.
pub type MemberId = u64;
/// Counts the claims of a partition.
pub type Epoch = u64;

/// What happens to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A member is there.
    Join(MemberId),
    /// A member is gone, and nothing of it works on any partition.
    Leave(MemberId),
    /// A member gave a partition up.
    Release {
        /// Whose claim it was.
        member: MemberId,
        /// Which.
        partition: Partition,
    },
    /// The epoch of a claim is as durable as the log makes it.
    Persisted {
        /// Which.
        partition: Partition,
        /// As in [`Effect::Persist`].
        epoch: Epoch,
    },
}

/// What a group wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the epoch down, then say [`Input::Persisted`]. Nobody has the partition until then.
    Persist {
        /// Which.
        partition: Partition,
        /// Higher than every one before it.
        epoch: Epoch,
    },
    /// Tell the member that the partition is its own.
    Claimed {
        /// Whose.
        member: MemberId,
        /// Which.
        partition: Partition,
        /// Fences all earlier claims.
        epoch: Epoch,
    },
    /// Ask the member for [`Input::Release`].
    Revoke {
        /// Whose.
        member: MemberId,
        /// Which.
        partition: Partition,
    },
}

/// The partitions of one group.
///
/// Feed it with [`Group::handle`], then drain [`Group::poll`]. A late or repeated input changes nothing.
#[derive(Debug)]
pub struct Group {
    members: BTreeSet<MemberId>,
    places: Vec<Place>,
    effects: VecDeque<Effect>,
}

/// One partition.
#[derive(Debug)]
struct Place {
    /// Of the last claim; 0 before the first.
    epoch: Epoch,
    owner: Owner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    /// Chosen, and not told yet: may be chosen anew without asking.
    Claiming(MemberId),
    Holding(MemberId),
    /// Holds it still, and was asked for it.
    Revoked(MemberId),
}

impl Group {
    /// A group without members; `epochs` has the last epoch of each partition.
    pub fn new(epochs: impl IntoIterator<Item = Epoch>) -> Self {
        let places = epochs.into_iter().map(|epoch| Place { epoch, owner: Owner::Nobody }).collect();
        Self { members: BTreeSet::new(), places, effects: VecDeque::new() }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Join(member) => {
                self.members.insert(member);
            }
            Input::Leave(member) => {
                self.members.remove(&member);
                for place in &mut self.places {
                    if place.owner.member() == Some(member) {
                        place.owner = Owner::Nobody;
                    }
                }
            }
            Input::Release { member, partition } => {
                let Some(place) = self.places.get_mut(partition as usize) else { return };
                if !matches!(place.owner, Owner::Holding(owner) | Owner::Revoked(owner) if owner == member) {
                    return;
                }
                place.owner = Owner::Nobody;
            }
            Input::Persisted { partition, epoch } => {
                let Some(place) = self.places.get_mut(partition as usize) else { return };
                let (Owner::Claiming(member), true) = (place.owner, place.epoch == epoch) else { return };
                place.owner = Owner::Holding(member);
                self.effects.push_back(Effect::Claimed { member, partition, epoch });
                return;
            }
        }
        self.share_out();
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether a member holds the partition by this claim. What it writes otherwise is fenced.
    pub fn is_current(&self, partition: Partition, epoch: Epoch) -> bool {
        self.places
            .get(partition as usize)
            .is_some_and(|place| place.epoch == epoch && matches!(place.owner, Owner::Holding(_) | Owner::Revoked(_)))
    }

    /// Who is to have the partition by this claim, once its epoch is persisted.
    pub fn claimant(&self, partition: Partition, epoch: Epoch) -> Option<MemberId> {
        match self.places.get(partition as usize) {
            Some(Place { epoch: current, owner: Owner::Claiming(member) }) if *current == epoch => Some(*member),
            _ => None,
        }
    }

    /// Asks for what a member has too much of, and gives out what is free.
    fn share_out(&mut self) {
        let mut shares = self.shares();
        for share in &mut shares {
            self.trim(share);
        }
        for (number, place) in self.places.iter_mut().enumerate() {
            if place.owner != Owner::Nobody {
                continue;
            }
            let Some(share) = shares.iter_mut().filter(|share| share.has < share.due).min_by_key(|share| share.has)
            else {
                return;
            };
            share.has += 1;
            place.epoch += 1;
            place.owner = Owner::Claiming(share.member);
            self.effects.push_back(Effect::Persist { partition: partition_number(number), epoch: place.epoch });
        }
    }

    /// What each member has and should have. Where it does not come out even, those that have the most keep one
    /// more: so nothing moves without need.
    fn shares(&self) -> Vec<Share> {
        let mut shares: Vec<Share> = self
            .members
            .iter()
            .map(|&member| Share {
                member,
                has: self.places.iter().filter(|place| place.owner.keeps() == Some(member)).count(),
                due: 0,
            })
            .collect();
        shares.sort_by_key(|share| (Reverse(share.has), share.member));
        let (members, partitions) = (shares.len(), self.places.len());
        for (rank, share) in shares.iter_mut().enumerate() {
            share.due = partitions / members + usize::from(rank < partitions % members);
        }
        shares
    }

    /// Takes back what nobody was told of yet; asks for the rest.
    fn trim(&mut self, share: &mut Share) {
        for claiming in [true, false] {
            for (number, place) in self.places.iter_mut().enumerate().rev() {
                if share.has <= share.due {
                    return;
                }
                match place.owner {
                    Owner::Claiming(member) if claiming && member == share.member => place.owner = Owner::Nobody,
                    Owner::Holding(member) if !claiming && member == share.member => {
                        place.owner = Owner::Revoked(member);
                        self.effects.push_back(Effect::Revoke { member, partition: partition_number(number) });
                    }
                    _ => continue,
                }
                share.has -= 1;
            }
        }
    }
}

struct Share {
    member: MemberId,
    has: usize,
    due: usize,
}

impl Owner {
    fn member(self) -> Option<MemberId> {
        match self {
            Self::Nobody => None,
            Self::Claiming(member) | Self::Holding(member) | Self::Revoked(member) => Some(member),
        }
    }

    /// Whose it is to stay.
    fn keeps(self) -> Option<MemberId> {
        match self {
            Self::Claiming(member) | Self::Holding(member) => Some(member),
            Self::Nobody | Self::Revoked(_) => None,
        }
    }
}

fn partition_number(index: usize) -> Partition {
    Partition::try_from(index).expect("partitions are numbered by u32")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// What the members believe, by what they were told; persists at once unless told otherwise.
    struct World {
        group: Group,
        persist_at_once: bool,
        unpersisted: Vec<(Partition, Epoch)>,
        holds: BTreeMap<MemberId, BTreeSet<Partition>>,
        asked: BTreeSet<(MemberId, Partition)>,
        last_epoch: BTreeMap<Partition, Epoch>,
    }

    impl World {
        fn new(partitions: usize) -> Self {
            Self {
                group: Group::new(vec![7; partitions]),
                persist_at_once: true,
                unpersisted: Vec::new(),
                holds: BTreeMap::new(),
                asked: BTreeSet::new(),
                last_epoch: BTreeMap::new(),
            }
        }

        fn handle(&mut self, input: Input) {
            match input {
                Input::Join(member) => _ = self.holds.entry(member).or_default(),
                Input::Leave(member) => {
                    self.holds.remove(&member);
                    self.asked.retain(|(asked, _)| *asked != member);
                }
                Input::Release { member, partition } => {
                    self.asked.remove(&(member, partition));
                    if let Some(held) = self.holds.get_mut(&member) {
                        held.remove(&partition);
                    }
                }
                Input::Persisted { .. } => {}
            }
            self.group.handle(input);
            while let Some(effect) = self.group.poll() {
                match effect {
                    Effect::Persist { partition, epoch } if self.persist_at_once => {
                        self.group.handle(Input::Persisted { partition, epoch });
                    }
                    Effect::Persist { partition, epoch } => self.unpersisted.push((partition, epoch)),
                    Effect::Claimed { member, partition, epoch } => {
                        assert!(self.holds.values().all(|held| !held.contains(&partition)), "two have {partition}");
                        assert!(self.group.is_current(partition, epoch));
                        assert!(!self.group.is_current(partition, epoch - 1));
                        let last = self.last_epoch.insert(partition, epoch).unwrap_or(7);
                        assert!(epoch > last, "epoch {epoch} after {last}");
                        self.holds.get_mut(&member).unwrap().insert(partition);
                    }
                    Effect::Revoke { member, partition } => {
                        assert!(self.holds[&member].contains(&partition), "asked for what it was never given");
                        assert!(self.asked.insert((member, partition)), "asked twice");
                    }
                }
            }
        }

        fn settle(&mut self) {
            self.persist_at_once = true;
            for (partition, epoch) in std::mem::take(&mut self.unpersisted) {
                self.handle(Input::Persisted { partition, epoch });
            }
            while let Some((member, partition)) = self.asked.first().copied() {
                self.handle(Input::Release { member, partition });
            }
        }

        fn shares(&self) -> Vec<usize> {
            self.holds.values().map(BTreeSet::len).collect()
        }
    }

    #[test]
    fn one_member_has_everything() {
        let mut world = World::new(8);
        world.handle(Input::Join(1));
        assert_eq!(world.shares(), [8]);
    }

    #[test]
    fn a_second_member_gets_its_half_as_it_is_released() {
        let mut world = World::new(8);
        world.handle(Input::Join(1));
        world.handle(Input::Join(2));
        assert_eq!(world.shares(), [8, 0]);
        assert_eq!(world.asked.len(), 4);
        world.handle(Input::Release { member: 1, partition: 7 });
        assert_eq!(world.shares(), [7, 1]);
        world.settle();
        assert_eq!(world.shares(), [4, 4]);
    }

    #[test]
    fn the_partitions_of_the_gone_are_given_to_the_others() {
        let mut world = World::new(5);
        for member in 1..=3 {
            world.handle(Input::Join(member));
            world.settle();
        }
        world.handle(Input::Leave(1));
        assert_eq!(world.shares().iter().sum::<usize>(), 5);
        assert!(world.asked.is_empty(), "nothing moves without need");
    }

    #[test]
    fn a_claim_that_is_not_persisted_yet_moves_without_being_asked_for() {
        let mut world = World::new(2);
        world.persist_at_once = false;
        world.handle(Input::Join(1));
        world.handle(Input::Join(2));
        assert_eq!(world.unpersisted, [(0, 8), (1, 8), (1, 9)]);
        world.settle();
        assert_eq!(world.shares(), [1, 1]);
    }

    #[test]
    fn a_foreign_or_repeated_release_changes_nothing() {
        let mut world = World::new(2);
        world.handle(Input::Join(1));
        world.handle(Input::Join(2));
        world.settle();
        for member in [1, 2, 3] {
            let other = u32::from(world.holds[&1].contains(&0));
            world.group.handle(Input::Release { member: member + 10, partition: other });
            world.group.handle(Input::Release { member: 1, partition: 99 });
            assert_eq!(world.group.poll(), None);
        }
    }

    fn operations() -> impl Strategy<Value = Vec<(u8, MemberId, Partition)>> {
        proptest::collection::vec((0_u8..6, 1_u64..6, 0_u32..9), 0..60)
    }

    proptest! {
        #[test]
        fn every_partition_ends_with_one_owner(partitions in 1_usize..9, operations in operations()) {
            let mut world = World::new(partitions);
            let mut gone = BTreeSet::new();
            for (kind, member, partition) in operations {
                match kind {
                    0 | 1 if !gone.contains(&member) => world.handle(Input::Join(member)),
                    2 => {
                        gone.insert(member);
                        world.handle(Input::Leave(member));
                    }
                    3 => if let Some((member, partition)) = world.asked.first().copied() {
                        world.handle(Input::Release { member, partition });
                    },
                    4 => world.handle(Input::Release { member, partition }),
                    _ => {
                        world.persist_at_once = !world.persist_at_once;
                        if let Some((partition, epoch)) = world.unpersisted.pop() {
                            world.handle(Input::Persisted { partition, epoch });
                        }
                    }
                }
            }
            world.settle();
            let shares = world.shares();
            if let (Some(least), Some(most)) = (shares.iter().min(), shares.iter().max()) {
                prop_assert_eq!(shares.iter().sum::<usize>(), partitions);
                prop_assert!(most - least <= 1, "{shares:?}");
            }
        }
    }
}
