//! Who sits in which group: [`Group`] decides, this hands its decisions on. It must never wait, and never touch the
//! file: what must be persisted goes to the writer.

use crate::queue::{ClaimRequest, Queue};
use baton_core::groups::{Effect, Epoch, Group, Input, MemberId};
use baton_core::log::{Offset, Partition};
use baton_runtime::ports::Committed;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// What a member is told.
pub enum Told {
    Claimed {
        partition: Partition,
        epoch: Epoch,
        committed: Committed,
        /// Where to read from.
        start: Offset,
    },
    Revoke {
        partition: Partition,
    },
}

/// A claim whose epoch is persisted, and what its partition's last owner left.
pub struct Persisted {
    pub claim: ClaimRequest,
    pub committed: Committed,
    pub start: Offset,
}

/// All groups.
pub struct Seats {
    queue: Arc<Queue>,
    partitions: u32,
    state: Mutex<State>,
}

struct State {
    /// Of the groups that nobody joined yet in this process.
    epochs: BTreeMap<String, Vec<Epoch>>,
    groups: BTreeMap<Arc<str>, Table>,
    last_member: MemberId,
}

struct Table {
    group: Group,
    members: BTreeMap<MemberId, Seat>,
}

struct Seat {
    lookback: Duration,
    /// Holds a few events a partition at most: each waits for the answer to the one before it.
    inbox: mpsc::UnboundedSender<Told>,
}

impl Seats {
    pub fn new(queue: Arc<Queue>, partitions: u32, epochs: BTreeMap<String, Vec<Epoch>>) -> Self {
        let state = State { epochs, groups: BTreeMap::new(), last_member: 0 };
        Self { queue, partitions, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats a new member.
    pub fn join(&self, group: &Arc<str>, lookback: Duration) -> (MemberId, mpsc::UnboundedReceiver<Told>) {
        let (inbox, told) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.last_member += 1;
        let member = state.last_member;
        if !state.groups.contains_key(group) {
            let epochs = state.epochs.remove(group.as_ref()).unwrap_or_else(|| vec![0; self.partitions as usize]);
            state.groups.insert(Arc::clone(group), Table { group: Group::new(epochs), members: BTreeMap::new() });
        }
        if let Some(table) = state.groups.get_mut(group) {
            table.members.insert(member, Seat { lookback, inbox });
        }
        self.handle_in(&mut state, group, Input::Join(member), None);
        (member, told)
    }

    /// Unseats a member; nothing is told to it any more.
    pub fn leave(&self, group: &Arc<str>, member: MemberId) {
        let mut state = self.state();
        if let Some(table) = state.groups.get_mut(group) {
            table.members.remove(&member);
        }
        self.handle_in(&mut state, group, Input::Leave(member), None);
    }

    /// Takes a partition back from a member.
    pub fn release(&self, group: &Arc<str>, member: MemberId, partition: Partition) {
        self.handle_in(&mut self.state(), group, Input::Release { member, partition }, None);
    }

    /// A claim is persisted: its member has the partition, unless it was chosen anew meanwhile.
    pub fn persisted(&self, persisted: &Persisted) {
        let ClaimRequest { group, partition, epoch } = &persisted.claim;
        let input = Input::Persisted { partition: *partition, epoch: *epoch };
        self.handle_in(&mut self.state(), group, input, Some(persisted));
    }

    /// Whether a step of this claim is good.
    pub fn is_current(&self, group: &str, partition: Partition, epoch: Epoch) -> bool {
        self.state().groups.get(group).is_some_and(|table| table.group.is_current(partition, epoch))
    }

    /// How far back the claim's member wants to read; `None` if nobody waits for the claim any more.
    pub fn lookback(&self, claim: &ClaimRequest) -> Option<Duration> {
        let state = self.state();
        let table = state.groups.get(&claim.group)?;
        let member = table.group.claimant(claim.partition, claim.epoch)?;
        table.members.get(&member).map(|seat| seat.lookback)
    }

    /// The lock is held until all is handed on: so the writer gets claims in the order of their epochs.
    fn handle_in(&self, state: &mut State, name: &Arc<str>, input: Input, persisted: Option<&Persisted>) {
        let Some(table) = state.groups.get_mut(name) else { return };
        table.group.handle(input);
        while let Some(effect) = table.group.poll() {
            let (member, told) = match effect {
                Effect::Persist { partition, epoch } => {
                    self.queue.push_claim(ClaimRequest { group: Arc::clone(name), partition, epoch });
                    continue;
                }
                Effect::Claimed { member, partition, epoch } => {
                    let Some(Persisted { committed, start, .. }) = persisted else { continue };
                    (member, Told::Claimed { partition, epoch, committed: committed.clone(), start: *start })
                }
                Effect::Revoke { member, partition } => (member, Told::Revoke { partition }),
            };
            if let Some(seat) = table.members.get(&member) {
                // A member that is being dropped hears nothing, and leaves in a moment.
                let _ = seat.inbox.send(told);
            }
        }
    }
}
