//! Tenures of partitions: one member's side of taking them over and handing them on, where a group only says who is *to*
//! have which.
//!
//! A group moves an assignment as soon as a member comes or goes, but a run may last for hours. So being assigned a partition
//! makes a member its *heir*; it *holds* the partition once the [`Title`] beside the committed offset says so. A holder keeps
//! a partition beyond its assignment until nothing of it runs; its heir waits for that, or until the group has expelled
//! the holder, and then fences it first. Nobody may ever hold a partition beside another.

use crate::log::{Committed, Epoch, Partition};
use crate::time::Instant;
use baton_probe::{Mark, Mutant, hit, hit_if, is};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Names one membership: a member that was expelled comes back under another.
pub type MemberId = String;

/// The longest title, the line between it and the ledger included: 20 digits, a UUID, and two marks.
pub const MAX_TITLE: usize = 64;

/// How long an heir waits before it looks again whether the holder is done, or gone.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(400);
/// How long before what could not be done is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long what ran of a partition may take to die once the partition was lost. As long as claims end before sessions do.
const BURIAL: Duration = Duration::from_secs(1);

/// Who holds a partition, as it stands before the ledger in the metadata of the committed offset: `epoch.holder|`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Title {
    /// Of the last claim; 0 before the first.
    pub epoch: Epoch,
    /// Whose it is; `None` if it was given up.
    pub holder: Option<MemberId>,
}

impl Title {
    /// Splits what was committed into the title and the rest, which is the worker's. No metadata is a partition that
    /// nobody ever held; `None` is text that no title stands before.
    pub fn split(metadata: &str) -> Option<(Self, &str)> {
        if metadata.is_empty() {
            return Some((Self::default(), ""));
        }
        let (title, rest) = metadata.split_once('|')?;
        let (epoch, holder) = title.split_once('.')?;
        let holder = (!holder.is_empty()).then(|| holder.to_owned());
        Some((Self { epoch: epoch.parse().ok()?, holder }, rest))
    }

    /// The title, with `rest` after it.
    pub fn before(&self, rest: &str) -> String {
        format!("{}.{}|{rest}", self.epoch, self.holder.as_deref().unwrap_or_default())
    }
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// It is in the group, under this id, until [`Input::Expelled`].
    Joined(MemberId),
    /// The group wants it to have this partition.
    Assigned(Partition),
    /// The group wants another to have it; [`Effect::Yield`] is the answer.
    Unassigned(Partition),
    /// It is no longer in the group, as far as it knows: all assignments are gone, and all it held is lost. What it asked for
    /// and has not begun must not begin any more. If the group does not know of it, it comes back under the same id.
    Expelled,
    /// The answer to [`Effect::Glance`] or [`Effect::Look`]; `None` if there was none.
    Found(Partition, Token, Option<Committed>),
    /// The answer to [`Effect::AskMembers`]; `None` if there was none.
    Members(Token, Option<BTreeSet<MemberId>>),
    /// The answer to [`Effect::Fence`]: whether that member can commit nothing any more.
    Fenced(MemberId, bool),
    /// The answer to [`Effect::Write`]: whether it is committed. What is not never will be.
    Written(Partition, Token, bool),
    /// The step that [`Tenures::step`] allowed is over: what it committed, without its title; `None` if it did not happen.
    Stepped(Partition, Epoch, Option<Committed>),
    /// Nothing of the partition runs here any more.
    Release(Partition),
    /// The [`Tenures::deadline`] has come.
    Timeout,
}

/// Tells an answer to one question from an answer to an earlier one.
pub type Token = u64;

/// What a member asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read what was committed last, whether a transaction on it is open or not.
    Glance(Partition, Token),
    /// Read what is committed, once no transaction on it is open.
    Look(Partition, Token),
    /// List who is in the group now, by its coordinator.
    AskMembers(Token),
    /// See to it that this former member commits nothing any more, and that what it had begun is undone.
    Fence(MemberId),
    /// Commit this, title included, as a member of the group.
    Write(Partition, Token, Committed),
    /// Tell the group that it may assign the partition to another now.
    Yield(Partition),
    /// The partition is held from now on.
    Claimed {
        /// Which.
        partition: Partition,
        /// Higher than that of any earlier claim.
        epoch: Epoch,
        /// What the last holder left, without its title.
        committed: Committed,
    },
    /// Somebody waits for the partition: begin nothing more of it, and [`Input::Release`] it when nothing of it runs.
    Revoke(Partition),
    /// The partition is gone.
    Lost(Partition),
}

/// A member's tenures. Feed it with [`Tenures::handle`], then drain [`Tenures::poll`]; call it again at
/// [`Tenures::deadline`]. A late or repeated input changes nothing.
#[derive(Debug, Default)]
pub struct Tenures {
    me: Option<MemberId>,
    /// Who it was before it was expelled.
    was: Option<MemberId>,
    /// The partitions whose titles may bear that id, though it holds them no longer. While it is in the group under the same
    /// id nobody else may take them: so it gives up what it finds, once what ran of them had the time to die.
    bequest: BTreeMap<Partition, Instant>,
    seats: BTreeMap<Partition, Seat>,
    /// Former members that can commit nothing any more.
    fenced: BTreeSet<MemberId>,
    /// The question to the coordinator that is under way.
    asking: Option<Token>,
    next_token: Token,
    effects: VecDeque<Effect>,
}

/// A partition that this member holds, or is to have.
#[derive(Debug)]
struct Seat {
    /// The group wants this member to have it.
    assigned: bool,
    /// The answer to the last question about it carries this.
    token: Token,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Who holds it is being read. It may have died in a transaction, which stays open until it is fenced.
    Glancing,
    /// That is read again then.
    GlancingAt(Instant),
    /// Nobody holds it who is not fenced: what is committed is being read.
    Looking,
    /// Another holds it; whether that one is still in the group is being asked.
    Asking(MemberId),
    /// Another held it, who is no longer in the group and is being fenced.
    Fencing(MemberId),
    /// The title is being written. `unassigned`: the group wants it back already.
    Taking { epoch: Epoch, committed: Committed, unassigned: bool },
    /// It is held.
    Holding(Holding),
    /// The title is being given up.
    GivingUp { epoch: Epoch, committed: Committed },
    /// The title is given up then.
    GivingUpAt { epoch: Epoch, committed: Committed, at: Instant },
    /// What is committed bears no title that can be read: nothing is overwritten.
    Unreadable,
}

#[derive(Debug)]
struct Holding {
    epoch: Epoch,
    /// What is committed, without the title.
    committed: Committed,
    stepping: bool,
    revoked: bool,
    /// It is to be given up once the step under way is over.
    released: bool,
}

impl Tenures {
    /// Takes an input in.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Joined(me) => self.on_joined(me, now),
            Input::Assigned(partition) => self.on_assigned(partition),
            Input::Unassigned(partition) => self.on_unassigned(partition),
            Input::Expelled => self.on_expelled(now),
            Input::Found(partition, token, found) => self.on_found(partition, token, found, now),
            Input::Members(token, members) => self.on_members(token, members.as_ref(), now),
            Input::Fenced(member, is_fenced) => self.on_fenced(member, is_fenced, now),
            Input::Written(partition, token, is_committed) => self.on_written(partition, token, is_committed, now),
            Input::Stepped(partition, epoch, committed) => self.on_stepped(partition, epoch, committed),
            Input::Release(partition) => self.on_release(partition),
            Input::Timeout => self.on_timeout(now),
        }
    }

    /// The next effect.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Self::handle`] with [`Input::Timeout`].
    pub fn deadline(&self) -> Option<Instant> {
        let at = |seat: &Seat| match seat.state {
            State::GlancingAt(at) | State::GivingUpAt { at, .. } => Some(at),
            _ => None,
        };
        self.seats.values().filter_map(at).min()
    }

    /// Whether a step of this claim may be taken, and what it is to commit then: `committed` with the title before it. The
    /// answer to it is [`Input::Stepped`]. `None` is a claim that is not, or no longer, held.
    pub fn step(&mut self, partition: Partition, epoch: Epoch, committed: &Committed) -> Option<Committed> {
        let me = self.me.clone()?;
        match &mut self.seats.get_mut(&partition)?.state {
            State::Holding(holding) if holding.epoch == epoch && !holding.released => {
                holding.stepping = true;
                Some(titled(&Title { epoch, holder: Some(me) }, committed))
            }
            _ => None,
        }
    }

    /// Whether the claim is held, and nothing has ended it.
    pub fn holds(&self, partition: Partition, epoch: Epoch) -> bool {
        let state = self.seats.get(&partition).map(|seat| &seat.state);
        matches!(state, Some(State::Holding(holding)) if holding.epoch == epoch)
    }

    fn on_joined(&mut self, me: MemberId, now: Instant) {
        if self.was.take().is_none_or(|was| was != me) || is(Mutant::BequestForgotten) {
            // Its heirs fence who it was.
            self.bequest.clear();
        }
        self.me = Some(me);
        hit_if(!self.bequest.is_empty(), Mark::CameBackAsItself);
        for (partition, at) in self.bequest.clone() {
            self.seats.insert(partition, Seat { assigned: false, token: 0, state: State::GlancingAt(at) });
            if at <= now {
                self.glance(partition);
            }
        }
    }

    fn on_assigned(&mut self, partition: Partition) {
        if let Some(seat) = self.seats.get_mut(&partition) {
            // It is held still, from before: it is taken anew once it was given up.
            seat.assigned = true;
            if let State::Taking { unassigned, .. } = &mut seat.state {
                *unassigned = false;
            }
            return;
        }
        self.seats.insert(partition, Seat { assigned: true, token: 0, state: State::Glancing });
        self.glance(partition);
    }

    fn on_unassigned(&mut self, partition: Partition) {
        let Some(seat) = self.seats.get_mut(&partition) else {
            self.effects.push_back(Effect::Yield(partition));
            return;
        };
        match &mut seat.state {
            // Whether it is held is not known yet: no other may look before that is.
            State::Taking { unassigned, .. } if !is(Mutant::YieldedWhileTaking) => {
                hit(Mark::AskedBackWhileTaking);
                *unassigned = true;
                return;
            }
            State::Holding(holding) => {
                hit(Mark::HeldBeyondAssignment);
                if !std::mem::replace(&mut holding.revoked, true) {
                    self.effects.push_back(Effect::Revoke(partition));
                }
                seat.assigned = false;
            }
            State::Taking { .. } | State::GivingUp { .. } | State::GivingUpAt { .. } => seat.assigned = false,
            State::Glancing
            | State::GlancingAt(_)
            | State::Looking
            | State::Asking(_)
            | State::Fencing(_)
            | State::Unreadable => {
                if self.bequest.contains_key(&partition) {
                    seat.assigned = false;
                } else {
                    self.seats.remove(&partition);
                }
            }
        }
        self.effects.push_back(Effect::Yield(partition));
    }

    fn on_expelled(&mut self, now: Instant) {
        self.was = self.me.take().or(self.was.take());
        self.asking = None;
        for (partition, seat) in std::mem::take(&mut self.seats) {
            match seat.state {
                State::Holding(_) if is(Mutant::HoldsOn) => _ = self.seats.insert(partition, seat),
                State::Holding(_) => {
                    self.effects.push_back(Effect::Lost(partition));
                    let burial = if is(Mutant::GivenUpBesideDying) { Duration::ZERO } else { BURIAL };
                    self.bequest.insert(partition, now + burial);
                }
                State::Taking { .. } | State::GivingUp { .. } | State::GivingUpAt { .. } => {
                    self.bequest.entry(partition).or_insert(now);
                }
                _ => {}
            }
        }
    }

    fn on_found(&mut self, partition: Partition, token: Token, found: Option<Committed>, now: Instant) {
        let Some(seat) = self.seats.get_mut(&partition) else { return };
        let is_settled = match seat.state {
            State::Looking => true,
            State::Glancing => false,
            _ => return,
        };
        if seat.token != token {
            return;
        }
        let (Some(found), Some(me)) = (found, &self.me) else {
            seat.state = State::GlancingAt(now + TRY_AGAIN_AFTER);
            return;
        };
        match Title::split(&found.metadata) {
            Some((Title { holder: Some(holder), .. }, _))
                if seat.assigned && holder != *me && !self.fenced.contains(&holder) =>
            {
                self.next_token += 1;
                (seat.token, seat.state) = (self.next_token, State::Asking(holder));
                self.ask_members();
            }
            _ if !is_settled => self.look(partition),
            title if !seat.assigned => match title {
                Some((Title { epoch, holder }, rest)) if holder.as_ref() == Some(me) => {
                    hit(Mark::BequestGivenUp);
                    let committed = Committed { offset: found.offset, metadata: rest.to_owned() };
                    self.write_off(partition, epoch, committed);
                }
                _ => {
                    self.bequest.remove(&partition);
                    self.seats.remove(&partition);
                }
            },
            None => {
                self.bequest.remove(&partition);
                seat.state = State::Unreadable;
                self.effects.push_back(Effect::Claimed { partition, epoch: 0, committed: found });
            }
            Some((title, rest)) => {
                let epoch = title.epoch + 1;
                let committed = Committed { offset: found.offset, metadata: rest.to_owned() };
                let title = Title { epoch, holder: Some(me.clone()) };
                let written = titled(&title, &committed);
                seat.state = State::Taking { epoch, committed, unassigned: false };
                self.write(partition, written);
            }
        }
    }

    /// A list from before a title was read says nothing of its holder, and one that lacks this member is of a coordinator
    /// that is behind.
    fn on_members(&mut self, token: Token, members: Option<&BTreeSet<MemberId>>, now: Instant) {
        if self.asking != Some(token) {
            return;
        }
        self.asking = None;
        let members = members.filter(|members| self.me.as_ref().is_some_and(|me| members.contains(me)));
        let fencing = |seat: &Seat| match &seat.state {
            State::Fencing(holder) => Some(holder.clone()),
            _ => None,
        };
        let under_way: BTreeSet<MemberId> = self.seats.values().filter_map(fencing).collect();
        let (mut gone, mut free, mut open) = (BTreeSet::new(), Vec::new(), false);
        for (partition, seat) in &mut self.seats {
            let State::Asking(holder) = &seat.state else { continue };
            match members {
                // Another partition of the same holder was faster.
                _ if self.fenced.contains(holder) => free.push(*partition),
                _ if seat.token > token => open = true,
                Some(members) if !members.contains(holder) || is(Mutant::LivingRobbed) => {
                    gone.insert(holder.clone());
                    seat.state = State::Fencing(holder.clone());
                }
                Some(_) => {
                    hit(Mark::HeirWaited);
                    seat.state = State::GlancingAt(now + LOOK_AGAIN_AFTER);
                }
                None => seat.state = State::GlancingAt(now + TRY_AGAIN_AFTER),
            }
        }
        self.effects.extend(gone.difference(&under_way).cloned().map(Effect::Fence));
        for partition in free {
            self.look(partition);
        }
        if open {
            self.ask_members();
        }
    }

    /// What the former member had begun has ended by now, one way or the other: so the title is read once more.
    fn on_fenced(&mut self, member: MemberId, is_fenced: bool, now: Instant) {
        let concerns = |seat: &Seat| matches!(&seat.state, State::Fencing(holder) if *holder == member);
        let waiting: Vec<Partition> =
            self.seats.iter().filter(|(_, seat)| concerns(seat)).map(|(partition, _)| *partition).collect();
        if is_fenced {
            hit(Mark::HolderFenced);
            self.fenced.insert(member);
        }
        for partition in waiting {
            if is_fenced {
                self.look(partition);
            } else if let Some(seat) = self.seats.get_mut(&partition) {
                seat.state = State::GlancingAt(now + TRY_AGAIN_AFTER);
            }
        }
    }

    fn on_written(&mut self, partition: Partition, token: Token, is_committed: bool, now: Instant) {
        let Some(seat) = self.seats.get_mut(&partition).filter(|seat| seat.token == token) else { return };
        hit_if(!is_committed, Mark::TitleNotWritten);
        match &mut seat.state {
            State::Taking { epoch, committed, unassigned } => {
                let (epoch, committed, unassigned) = (*epoch, std::mem::take(committed), *unassigned);
                if is_committed {
                    self.bequest.remove(&partition);
                    self.effects.push_back(Effect::Claimed { partition, epoch, committed: committed.clone() });
                    seat.state =
                        State::Holding(Holding { epoch, committed, stepping: false, revoked: false, released: false });
                } else {
                    seat.state = State::GlancingAt(now + TRY_AGAIN_AFTER);
                }
                if unassigned {
                    self.on_unassigned(partition);
                }
            }
            State::GivingUp { epoch, committed } => {
                if !is_committed {
                    let (epoch, committed) = (*epoch, std::mem::take(committed));
                    seat.state = State::GivingUpAt { epoch, committed, at: now + TRY_AGAIN_AFTER };
                    return;
                }
                self.bequest.remove(&partition);
                if seat.assigned {
                    self.glance(partition);
                } else {
                    self.seats.remove(&partition);
                }
            }
            _ => {}
        }
    }

    fn on_stepped(&mut self, partition: Partition, epoch: Epoch, stepped: Option<Committed>) {
        let Some(Seat { state: State::Holding(holding), .. }) = self.seats.get_mut(&partition) else { return };
        if holding.epoch != epoch {
            return;
        }
        holding.stepping = false;
        if let Some(committed) = stepped {
            holding.committed = committed;
        }
        if holding.released {
            self.give_up(partition);
        }
    }

    fn on_release(&mut self, partition: Partition) {
        let Some(Seat { state: State::Holding(holding), .. }) = self.seats.get_mut(&partition) else { return };
        holding.released = true;
        hit_if(holding.stepping, Mark::ReleasedInAStep);
        if !holding.stepping {
            self.give_up(partition);
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        let due: Vec<Partition> = self.seats.keys().copied().collect();
        for partition in due {
            match &self.seats[&partition].state {
                State::GlancingAt(at) if *at <= now => self.glance(partition),
                State::GivingUpAt { at, .. } if *at <= now => self.give_up(partition),
                _ => {}
            }
        }
    }

    fn glance(&mut self, partition: Partition) {
        let token = self.token();
        if let Some(seat) = self.seats.get_mut(&partition) {
            (seat.token, seat.state) = (token, State::Glancing);
            self.effects.push_back(Effect::Glance(partition, token));
        }
    }

    fn look(&mut self, partition: Partition) {
        let token = self.token();
        if let Some(seat) = self.seats.get_mut(&partition) {
            (seat.token, seat.state) = (token, State::Looking);
            self.effects.push_back(Effect::Look(partition, token));
        }
    }

    fn ask_members(&mut self) {
        if self.asking.is_none() {
            let token = self.token();
            self.asking = Some(token);
            self.effects.push_back(Effect::AskMembers(token));
        }
    }

    fn write(&mut self, partition: Partition, committed: Committed) {
        let token = self.token();
        if let Some(seat) = self.seats.get_mut(&partition) {
            seat.token = token;
            self.effects.push_back(Effect::Write(partition, token, committed));
        }
    }

    /// Writes that nobody holds the partition.
    fn give_up(&mut self, partition: Partition) {
        let Some(seat) = self.seats.get_mut(&partition) else { return };
        if is(Mutant::TitleLeftBehind) {
            self.seats.remove(&partition);
            return;
        }
        let (epoch, committed) = match &mut seat.state {
            State::Holding(holding) => (holding.epoch, std::mem::take(&mut holding.committed)),
            State::GivingUpAt { epoch, committed, .. } => (*epoch, std::mem::take(committed)),
            _ => return,
        };
        self.write_off(partition, epoch, committed);
    }

    fn write_off(&mut self, partition: Partition, epoch: Epoch, committed: Committed) {
        let written = titled(&Title { epoch, holder: None }, &committed);
        if let Some(seat) = self.seats.get_mut(&partition) {
            seat.state = State::GivingUp { epoch, committed };
            self.write(partition, written);
        }
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        self.next_token
    }
}

fn titled(title: &Title, committed: &Committed) -> Committed {
    Committed { offset: committed.offset, metadata: title.before(&committed.metadata) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARTITIONS: Partition = 3;

    /// A group of members over one store of committed offsets: each question may be answered at any time, each write may
    /// land or fail, and members die without a word, some of them in a transaction.
    #[derive(Default)]
    struct World {
        members: Vec<Member>,
        committed: BTreeMap<Partition, (Committed, Epoch)>,
        /// Transactions of dead members, and what they would write; `None`: the same title again.
        open: BTreeMap<Partition, (MemberId, Option<Committed>)>,
        assigned: BTreeMap<Partition, usize>,
        /// Asked back, and not yielded yet.
        unassigned: BTreeSet<Partition>,
        joined: u64,
        now: Instant,
    }

    #[derive(Default)]
    struct Member {
        id: MemberId,
        tenures: Tenures,
        /// What it asked for and was not answered yet.
        asked: VecDeque<Effect>,
        /// What it was told that it holds.
        held: BTreeMap<Partition, Epoch>,
        /// Until when what ran of the partitions that it lost may take to die.
        dying: BTreeMap<Partition, Instant>,
        revoked: BTreeSet<Partition>,
    }

    impl World {
        fn join(&mut self) {
            self.joined += 1;
            let mut member = Member { id: format!("m{}", self.joined), ..Member::default() };
            member.tenures.handle(Input::Joined(member.id.clone()), self.now);
            self.members.push(member);
        }

        fn tell(&mut self, who: usize, input: Input) {
            let member = &mut self.members[who];
            member.tenures.handle(input, self.now);
            let mut claimed = Vec::new();
            while let Some(effect) = member.tenures.poll() {
                match effect {
                    Effect::Claimed { partition, epoch, .. } => {
                        assert!(member.held.insert(partition, epoch).is_none(), "claimed twice");
                        claimed.push(partition);
                    }
                    Effect::Revoke(partition) => assert!(member.revoked.insert(partition), "revoked twice"),
                    Effect::Lost(partition) => {
                        assert!(member.held.remove(&partition).is_some(), "lost what it had not");
                        member.dying.insert(partition, self.now + BURIAL);
                    }
                    asked => member.asked.push_back(asked),
                }
            }
            for partition in claimed {
                let dies = |member: &Member| member.dying.get(&partition).is_some_and(|until| *until > self.now);
                let elsewhere = self.members.iter().enumerate().filter(|(other, _)| *other != who);
                let dying = elsewhere.map(|(_, other)| other).any(dies);
                assert!(!dying, "partition {partition} is claimed beside what dies of it elsewhere");
            }
            for partition in 0..PARTITIONS {
                let holders = self.members.iter().filter(|member| member.held.contains_key(&partition));
                assert!(holders.count() <= 1, "partition {partition} is held twice");
            }
        }

        /// Answers one question of one member; `lands` is whether what can fail does not.
        fn answer(&mut self, who: usize, lands: bool) {
            let Some(asked) = self.members[who].asked.pop_front() else { return };
            let input = match asked {
                Effect::Glance(partition, token) => {
                    Input::Found(partition, token, lands.then(|| self.found(partition)))
                }
                Effect::Look(partition, token) => {
                    let found = (lands && !self.open.contains_key(&partition)).then(|| self.found(partition));
                    Input::Found(partition, token, found)
                }
                Effect::AskMembers(token) => {
                    let all = self.members.iter().map(|member| member.id.clone()).collect();
                    Input::Members(token, lands.then_some(all))
                }
                Effect::Fence(member) => {
                    assert!(self.members.iter().all(|other| other.id != member), "a living member is fenced");
                    if lands {
                        self.end_transactions(|owner| *owner == member);
                    }
                    Input::Fenced(member, lands)
                }
                Effect::Write(partition, token, written) => {
                    if lands {
                        self.write(partition, written);
                    }
                    Input::Written(partition, token, lands)
                }
                Effect::Yield(partition) => {
                    self.assigned.remove(&partition);
                    self.unassigned.remove(&partition);
                    return;
                }
                other => panic!("{other:?} has no answer"),
            };
            self.tell(who, input);
        }

        fn found(&self, partition: Partition) -> Committed {
            self.committed.get(&partition).map(|(found, _)| found.clone()).unwrap_or_default()
        }

        /// Ends transactions of the dead: some were about to be committed, and are.
        fn end_transactions(&mut self, which: impl Fn(&MemberId) -> bool) {
            for (partition, (owner, written)) in std::mem::take(&mut self.open) {
                match written {
                    _ if !which(&owner) => drop(self.open.insert(partition, (owner, written))),
                    Some(written) if self.joined.is_multiple_of(2) => self.write(partition, written),
                    _ => {}
                }
            }
        }

        fn write(&mut self, partition: Partition, written: Committed) {
            assert!(!self.open.contains_key(&partition), "written beside an open transaction");
            let (title, _) = Title::split(&written.metadata).expect("a title");
            let last = self.committed.get(&partition).map_or(0, |(_, epoch)| *epoch);
            let rises = if title.holder.is_some() { title.epoch > last } else { title.epoch == last };
            assert!(rises, "epoch {} after {last}", title.epoch);
            self.committed.insert(partition, (written, title.epoch));
        }

        fn unassign(&mut self, partition: Partition) {
            if let Some(owner) = self.assigned.get(&partition).copied()
                && self.unassigned.insert(partition)
            {
                self.tell(owner, Input::Unassigned(partition));
            }
        }

        fn act(&mut self, (what, who, partition): (u8, usize, Partition)) {
            if self.members.is_empty() {
                return self.join();
            }
            let who = who % self.members.len();
            match what {
                0 if self.members.len() < 4 => self.join(),
                // Assigned to one at a time: the next one must wait for the Yield.
                1 if !self.assigned.contains_key(&partition) => {
                    self.assigned.insert(partition, who);
                    self.tell(who, Input::Assigned(partition));
                }
                2 => self.unassign(partition),
                3 => {
                    let member = &mut self.members[who];
                    if member.held.remove(&partition).is_some() {
                        member.revoked.remove(&partition);
                        self.tell(who, Input::Release(partition));
                    }
                }
                // Dead: what it asked for never happens, or its transaction is open.
                4 => {
                    let member = self.members.remove(who);
                    match member.asked.front() {
                        Some(Effect::Write(open, _, written)) if partition > 0 => {
                            self.open.insert(*open, (member.id, Some(written.clone())));
                        }
                        _ if member.held.contains_key(&partition) => {
                            self.open.insert(partition, (member.id, None));
                        }
                        _ => {}
                    }
                    self.assigned.retain(|_, owner| *owner != who);
                    self.unassigned.retain(|partition| self.assigned.contains_key(partition));
                    self.assigned.values_mut().filter(|owner| **owner > who).for_each(|owner| *owner -= 1);
                }
                5 => {
                    self.now = self.now + LOOK_AGAIN_AFTER;
                    self.tell(who, Input::Timeout);
                }
                // Taken for expelled by itself alone: it comes back as who it was. What it asked for last may have happened.
                6 => {
                    if partition > 0 {
                        self.answer(who, true);
                    }
                    self.members[who].asked.clear();
                    self.members[who].revoked.clear();
                    self.assigned.retain(|_, owner| *owner != who);
                    self.unassigned.retain(|partition| self.assigned.contains_key(partition));
                    self.tell(who, Input::Expelled);
                    assert!(self.members[who].held.is_empty(), "held by one who was expelled");
                    let id = self.members[who].id.clone();
                    self.tell(who, Input::Joined(id));
                }
                7 => self.answer(who, false),
                _ => self.answer(who, true),
            }
        }

        /// Nothing fails any more, and everything is assigned to the first: it must come to hold all of it.
        fn heal(&mut self) {
            if self.members.is_empty() {
                self.join();
            }
            // The transactions of those who never held a partition end by their own timeout, and nobody waits for the others'.
            let holders: BTreeSet<MemberId> =
                self.committed.values().filter_map(|(found, _)| Title::split(&found.metadata)?.0.holder).collect();
            self.end_transactions(|owner| !holders.contains(owner));
            for _ in 0..60 {
                for partition in 0..PARTITIONS {
                    match self.assigned.get(&partition).copied() {
                        None => {
                            self.assigned.insert(partition, 0);
                            self.tell(0, Input::Assigned(partition));
                        }
                        Some(0) => {}
                        Some(_) => self.unassign(partition),
                    }
                }
                self.now = self.now + LOOK_AGAIN_AFTER;
                for who in 0..self.members.len() {
                    self.tell(who, Input::Timeout);
                    for partition in std::mem::take(&mut self.members[who].revoked) {
                        self.members[who].held.remove(&partition);
                        self.tell(who, Input::Release(partition));
                    }
                    while !self.members[who].asked.is_empty() {
                        self.answer(who, true);
                    }
                }
            }
            assert_eq!(self.members[0].held.len(), PARTITIONS as usize, "{:?}", self.members[0].tenures);
        }
    }

    /// What a member asks for when it is told this.
    fn told(tenures: &mut Tenures, input: Input) -> Vec<Effect> {
        tenures.handle(input, Instant::default());
        std::iter::from_fn(|| tenures.poll()).collect()
    }

    #[test]
    fn a_dead_holder_is_fenced_once_for_all_its_partitions() {
        let (dead, me) = (|| Committed { offset: 0, metadata: "1.dead|".into() }, BTreeSet::from(["me".to_owned()]));
        for fenced_first in [true, false] {
            let mut tenures = Tenures::default();
            told(&mut tenures, Input::Joined("me".into()));
            let glances = [0, 1].map(|partition| told(&mut tenures, Input::Assigned(partition)));
            let [Effect::Glance(0, first), Effect::Glance(1, second)] = glances.concat()[..] else {
                panic!("{glances:?}");
            };
            let asked = told(&mut tenures, Input::Found(0, first, Some(dead())));
            let [Effect::AskMembers(token)] = asked[..] else { panic!("{asked:?}") };
            // The answer may be from before this title was read, so it is asked once more.
            assert_eq!(told(&mut tenures, Input::Found(1, second, Some(dead()))), []);
            let asked = told(&mut tenures, Input::Members(token, Some(me.clone())));
            let [Effect::Fence(_), Effect::AskMembers(token)] = asked[..] else { panic!("{asked:?}") };
            let members = Input::Members(token, Some(me.clone()));
            let fenced = Input::Fenced("dead".into(), true);
            let looks = if fenced_first {
                [told(&mut tenures, fenced), told(&mut tenures, members)].concat()
            } else {
                [told(&mut tenures, members), told(&mut tenures, fenced)].concat()
            };
            assert!(matches!(looks[..], [Effect::Look(0, _), Effect::Look(1, _)]), "{looks:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn nobody_ever_holds_a_partition_beside_another(
            acts in prop::collection::vec((0u8..12, 0usize..4, 0..PARTITIONS), 0..120),
        ) {
            let mut world = World::default();
            for act in acts {
                world.act(act);
            }
            world.heal();
        }
    }
}
