//! A worker's membership of its group, after the shipped one: joins, hears of assignments, proves that it is still in, and
//! carries out what the shipped [`Tenures`] ask for. They decide who holds what; nothing here does.
//!
//! Beneath it is what a client library does by itself, as librdkafka does it: it joins again when it hears of a rebalance, gives back
//! what the group wants back, and takes all of its assignment for lost when it was refused or has heard nothing for a session.

use super::super::broker::JOIN_WAIT;
use super::super::wire::{self, Error, Request, Response};
use super::steps::Job;
use super::{ANSWERED_WITHIN, Client, RETRY_AFTER, Task};
use baton_core::log::{Committed, Partition};
use baton_core::tenure::{Effect, Input, MemberId, Tenures, Token};
use baton_core::time::Instant as CoreInstant;
use baton_runtime::ports::GroupEvent;
use madsim::rand::Rng as _;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

/// How often a member says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often it proves that, and how often until it has for the first time.
const PROOF: Duration = Duration::from_secs(1);
const FIRST_PROOF: Duration = Duration::from_millis(100);
/// So long before its session can end at the coordinator its claims end here.
const MARGIN: Duration = Duration::from_secs(1);
/// How long the answer to a join may take: what it waits at the broker, and the way.
const JOINED_WITHIN: Duration = JOIN_WAIT.saturating_add(ANSWERED_WITHIN);
/// How long a question is asked.
const ASKED_FOR: Duration = Duration::from_secs(2);

/// A membership. Its tasks share it.
pub(super) struct Membership {
    client: Arc<Client>,
    group: String,
    begun: Instant,
    state: Mutex<State>,
    told: mpsc::UnboundedSender<GroupEvent>,
    questions: mpsc::UnboundedSender<Question>,
    jobs: mpsc::UnboundedSender<Job>,
    /// The consumer has to join again.
    join: Notify,
    /// The tenures have another deadline.
    deadline: Notify,
}

struct State {
    tenures: Tenures,
    me: Option<MemberId>,
    /// Who it was before it took itself for expelled.
    was: Option<MemberId>,
    /// Counts how often it was expelled: what was asked for before must not begin after.
    life: u64,
    /// Whether this life was ever proven: nothing may run before the worker knows until when its claims hold.
    proven: bool,
    /// What it is told once that is so.
    unproven: Vec<GroupEvent>,
    leaving: bool,
    consumer: Consumer,
}

/// What the library knows.
struct Consumer {
    /// The id under which it joins: of its own making, so that a join may be sent again (as in KIP-848).
    id: u64,
    /// Whether the group has answered to that id.
    known: bool,
    generation: Option<wire::Generation>,
    /// Counts its joins.
    joins: u64,
    /// It has to join again.
    wants_to_join: bool,
    /// A join is under way: no heartbeat is sent meanwhile.
    joining: bool,
    /// Its assignment: what it says to own as it joins.
    assigned: BTreeSet<Partition>,
    /// What the group takes back and was not given back yet, and what it assigns then.
    yielding: BTreeSet<Partition>,
    revoked: BTreeSet<Partition>,
    added: Vec<Partition>,
    /// Until when something must be heard of the coordinator.
    silent_until: Instant,
}

impl Consumer {
    fn new() -> Self {
        Self {
            id: madsim::rand::random(),
            known: false,
            generation: None,
            joins: 0,
            wants_to_join: true,
            joining: false,
            assigned: BTreeSet::new(),
            yielding: BTreeSet::new(),
            revoked: BTreeSet::new(),
            added: Vec::new(),
            silent_until: Instant::now(),
        }
    }

    fn id_now(&self) -> Option<MemberId> {
        self.known.then(|| name(self.id))
    }

    fn membership(&self) -> Option<wire::Membership> {
        let generation = self.generation.filter(|_| self.known)?;
        Some(wire::Membership { member: self.id, generation })
    }
}

/// A member's id, as it stands in titles.
fn name(id: u64) -> MemberId {
    format!("{id:016x}")
}

/// What takes a while to answer.
enum Question {
    Glance(Partition, Token),
    Look(Partition, Token),
    Members(Token),
    Fence(MemberId),
}

impl Membership {
    /// Begins to join. Ends with the tasks.
    pub fn join(
        client: Arc<Client>,
        group: String,
        jobs: mpsc::UnboundedSender<Job>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<GroupEvent>, Vec<Task>) {
        let (told, hears) = mpsc::unbounded_channel();
        let (questions, asked) = mpsc::unbounded_channel();
        let state = State {
            tenures: Tenures::default(),
            me: None,
            was: None,
            life: 0,
            proven: false,
            unproven: Vec::new(),
            leaving: false,
            consumer: Consumer::new(),
        };
        let membership = Arc::new(Self {
            client,
            group,
            begun: Instant::now(),
            state: Mutex::new(state),
            told,
            questions,
            jobs,
            join: Notify::new(),
            deadline: Notify::new(),
        });
        let tasks = vec![
            Task::spawn(membership.clone().consume()),
            Task::spawn(membership.clone().prove_always()),
            Task::spawn(membership.clone().answer_all(asked)),
            Task::spawn(membership.clone().keep_time()),
        ];
        (membership, hears, tasks)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn group(&self) -> &str {
        &self.group
    }

    /// The id that its transactions have in the membership `member`: an heir knows it from the title.
    pub fn transactional_id(&self, member: &str) -> String {
        format!("{}-{member}", self.group)
    }

    /// Who this is in the group now, and the count of its lives.
    pub fn me(&self) -> Option<(MemberId, u64)> {
        let state = self.state();
        state.me.clone().map(|me| (me, state.life))
    }

    /// Whether nothing has ended the life that was counted `life`.
    pub fn lives(&self, life: u64) -> bool {
        let state = self.state();
        state.life == life && !state.leaving
    }

    /// What a commit says of its member, if that is still `me`.
    pub fn of(&self, me: &MemberId) -> Option<wire::Membership> {
        self.state().consumer.membership().filter(|now| name(now.member) == *me)
    }

    /// Asks the tenures something.
    pub fn tenures<T>(&self, ask: impl FnOnce(&mut Tenures) -> T) -> T {
        ask(&mut self.state().tenures)
    }

    /// Tells the tenures something, and carries out what they ask for.
    pub fn tell(&self, input: Input) {
        self.tell_locked(&mut self.state(), input);
    }

    fn tell_locked(&self, state: &mut State, input: Input) {
        let before = state.tenures.deadline();
        state.tenures.handle(input, self.now());
        while let Some(effect) = state.tenures.poll() {
            self.carry_out(state, effect);
        }
        if state.tenures.deadline() != before {
            self.deadline.notify_one();
        }
    }

    fn now(&self) -> CoreInstant {
        CoreInstant::from_start(self.begun.elapsed())
    }

    fn carry_out(&self, state: &mut State, effect: Effect) {
        // A channel whose other end is gone: the membership is ending.
        match effect {
            Effect::Glance(partition, token) => drop(self.questions.send(Question::Glance(partition, token))),
            Effect::Look(partition, token) => drop(self.questions.send(Question::Look(partition, token))),
            Effect::AskMembers(token) => drop(self.questions.send(Question::Members(token))),
            Effect::Fence(member) => drop(self.questions.send(Question::Fence(member))),
            Effect::Write(partition, token, committed) => {
                drop(self.jobs.send(Job::Write { partition, token, committed, life: state.life }));
            }
            Effect::Yield(partition) => self.yielded(state, partition),
            Effect::Claimed { partition, epoch, committed } => {
                self.say(state, GroupEvent::Claimed { partition, epoch, committed });
            }
            Effect::Revoke(partition) => self.say(state, GroupEvent::Revoke { partition }),
            Effect::Lost(partition) => self.say(state, GroupEvent::Lost { partition }),
        }
    }

    fn say(&self, state: &mut State, event: GroupEvent) {
        if state.proven {
            let _ = self.told.send(event);
        } else {
            state.unproven.push(event);
        }
    }

    /// The claims of this life hold until then.
    fn proven(&self, state: &mut State, until: Instant) {
        state.proven = true;
        let renewed = GroupEvent::Renewed { until };
        for event in std::iter::once(renewed).chain(std::mem::take(&mut state.unproven)) {
            self.say(state, event);
        }
    }

    /// Begins to leave: nothing of it is held any more. A static member does not leave: it may come back under its name.
    pub fn leave(&self) {
        let mut state = self.state();
        self.expelled_locked(&mut state);
        state.leaving = true;
        if self.client.config.instance.is_none() && state.consumer.known {
            let (client, group, member) = (self.client.clone(), self.group.clone(), state.consumer.id);
            tokio::spawn(async move {
                for _ in 0..3 {
                    let left = client.ask_coordinator(Request::Leave(group.clone(), member), ANSWERED_WITHIN).await;
                    if matches!(left, Some(Response::Done)) {
                        return;
                    }
                    sleep(RETRY_AFTER).await;
                }
            });
        }
    }

    /// Nothing of it is held any more, as far as can be known.
    pub fn expelled(&self) {
        self.expelled_locked(&mut self.state());
    }

    fn expelled_locked(&self, state: &mut State) {
        state.life += 1;
        state.was = state.me.take().or(state.was.take());
        self.tell_locked(state, Input::Expelled);
        // What was never told of need not be told to be over.
        (state.proven, state.unproven) = (false, Vec::new());
        self.give_back(state);
    }

    /// A member that was expelled comes back under another id, and may not hear of it otherwise.
    fn see_who_it_is(&self, state: &mut State) {
        let id = state.consumer.id_now();
        if state.me == id || state.leaving {
            return;
        }
        if state.me.is_some() {
            self.expelled_locked(state);
        }
        if let Some(id) = id {
            state.me = Some(id.clone());
            let is_same = state.was.take().is_some_and(|was| was == id);
            self.tell_locked(state, Input::Joined(id));
            // The group never knew of its expulsion, and says nothing again. Another's assignment is told of by the next generation.
            let kept = if is_same { state.consumer.assigned.clone() } else { BTreeSet::new() };
            for partition in kept {
                self.tell_locked(state, Input::Assigned(partition));
            }
        }
    }

    /// The group gets its partitions back all at once.
    fn yielded(&self, state: &mut State, partition: Partition) {
        if state.consumer.yielding.remove(&partition) && state.consumer.yielding.is_empty() {
            self.give_back(state);
        }
    }

    fn give_back(&self, state: &mut State) {
        let consumer = &mut state.consumer;
        consumer.yielding.clear();
        let revoked = std::mem::take(&mut consumer.revoked);
        if revoked.is_empty() {
            return;
        }
        consumer.assigned.retain(|partition| !revoked.contains(partition));
        let added = std::mem::take(&mut consumer.added);
        self.on_assigned(state, added);
        self.join_again(state);
    }

    fn join_again(&self, state: &mut State) {
        state.consumer.wants_to_join = true;
        self.join.notify_one();
    }

    fn on_assigned(&self, state: &mut State, partitions: Vec<Partition>) {
        state.consumer.assigned.extend(partitions);
        self.see_who_it_is(state);
        // Who comes back under another id may have kept what it was assigned as who it was, and is not told of it again.
        for partition in state.consumer.assigned.clone() {
            self.tell_locked(state, Input::Assigned(partition));
        }
    }

    /// The library takes its assignment for lost, and joins anew: under its id, or under another if the group does not know that.
    fn on_lost(&self, state: &mut State, keeps_its_id: bool, why: &str) {
        self.client.note(format!("its assignment is lost: {why}"));
        if !keeps_its_id {
            (state.consumer.id, state.consumer.known) = (madsim::rand::random(), false);
        }
        // Who had no assignment hears nothing of it; but that it is another.
        let had = std::mem::take(&mut state.consumer.assigned);
        state.consumer.generation = None;
        state.consumer.added.clear();
        state.consumer.revoked.clear();
        state.consumer.yielding.clear();
        if !had.is_empty() {
            self.expelled_locked(state);
        }
        self.join_again(state);
    }

    /// The library's own work: joins, and says that it is there.
    async fn consume(self: Arc<Self>) {
        let session = self.client.cluster.config().session;
        loop {
            if self.state().consumer.wants_to_join {
                sleep(self.join_once().await).await;
                continue;
            }
            let silent_until = self.state().consumer.silent_until;
            tokio::select! {
                biased;
                () = self.join.notified() => continue,
                () = sleep_until(silent_until) => {
                    let mut state = self.state();
                    // A proof may have been answered meanwhile.
                    if state.consumer.silent_until <= Instant::now() {
                        self.on_lost(&mut state, false, "nothing was heard for a session");
                    }
                    continue;
                }
                () = sleep(HEARTBEAT) => {}
            }
            let Some(membership) = self.state().consumer.membership() else { continue };
            let request = Request::Heartbeat(self.group.clone(), membership.clone());
            let within = ANSWERED_WITHIN.min(silent_until.saturating_duration_since(Instant::now()));
            let answer = self.client.ask_coordinator(request, within).await;
            let mut state = self.state();
            if state.consumer.membership() != Some(membership) {
                continue;
            }
            match answer {
                Some(Response::Done) => state.consumer.silent_until = Instant::now() + session,
                Some(Response::Error(Error::RebalanceInProgress)) => {
                    state.consumer.silent_until = Instant::now() + session;
                    // What it is to give back comes first.
                    state.consumer.wants_to_join |= state.consumer.revoked.is_empty();
                }
                Some(Response::Error(Error::IllegalGeneration)) => {
                    self.on_lost(&mut state, true, "the group has gone on to another generation");
                }
                Some(Response::Error(Error::UnknownMember)) => {
                    self.on_lost(&mut state, false, "the coordinator knows no such member");
                }
                _ => {}
            }
        }
    }

    /// One join. Returns how long it waits until it goes on.
    async fn join_once(&self) -> Duration {
        let (member, number, owned) = {
            let consumer = &mut self.state().consumer;
            (consumer.joins, consumer.joining, consumer.wants_to_join) = (consumer.joins + 1, true, false);
            (consumer.id, consumer.joins, consumer.assigned.iter().copied().collect::<Vec<_>>())
        };
        let request = Request::Join {
            group: self.group.clone(),
            member,
            number,
            client: self.client.config.node,
            instance: self.client.config.instance.clone(),
            owned: owned.clone(),
        };
        let answer = self.client.ask_coordinator(request, JOINED_WITHIN).await;
        let mut state = self.state();
        let state = &mut *state;
        state.consumer.joining = false;
        if state.consumer.wants_to_join {
            // Its assignment was lost meanwhile: the answer is to who it was.
            return RETRY_AFTER;
        }
        match answer {
            Some(Response::Joined { membership, assigned }) => {
                self.on_joined(state, &membership, assigned);
                return Duration::ZERO;
            }
            Some(Response::Error(Error::UnknownMember)) if self.client.config.instance.is_some() => {
                // A static member goes on with what it was assigned; that it is another now is seen later.
                (state.consumer.id, state.consumer.known) = (madsim::rand::random(), false);
            }
            Some(Response::Error(Error::UnknownMember)) => {
                self.on_lost(state, false, "the coordinator refuses its join");
            }
            // A join is two requests in Kafka. If it was the second that was cut off, the new coordinator may know nothing of that
            // generation, and says so.
            Some(Response::Error(Error::NotLeader)) if madsim::rand::thread_rng().gen_bool(0.5) => {
                self.on_lost(state, true, "another coordinator does not know its generation");
            }
            _ => {}
        }
        state.consumer.wants_to_join = true;
        RETRY_AFTER
    }

    fn on_joined(&self, state: &mut State, membership: &wire::Membership, assigned: Vec<Partition>) {
        let session = self.client.cluster.config().session;
        let consumer = &mut state.consumer;
        (consumer.known, consumer.generation) = (true, Some(membership.generation));
        consumer.silent_until = Instant::now() + session;
        let assigned: BTreeSet<Partition> = assigned.into_iter().collect();
        let added = assigned.difference(&consumer.assigned).copied().collect();
        let revoked: BTreeSet<Partition> = consumer.assigned.difference(&assigned).copied().collect();
        if revoked.is_empty() {
            self.on_assigned(state, added);
            return;
        }
        (consumer.yielding, consumer.revoked, consumer.added) = (revoked.clone(), revoked.clone(), added);
        for partition in revoked {
            self.tell_locked(state, Input::Unassigned(partition));
        }
    }

    /// Proves, again and again, that the membership holds.
    async fn prove_always(self: Arc<Self>) {
        let session = self.client.cluster.config().session;
        loop {
            let (me, membership) = {
                let mut state = self.state();
                self.see_who_it_is(&mut state);
                let life = state.life;
                (state.me.clone().map(|me| (me, life)), state.consumer.membership())
            };
            let sent = Instant::now();
            if let (Some((_, life)), Some(membership)) = (me, membership) {
                let request = Request::Prove(self.group.clone(), membership.clone());
                let answer = self.client.ask_coordinator(request, ANSWERED_WITHIN).await;
                let mut state = self.state();
                let state = &mut *state;
                let same = state.consumer.membership() == Some(membership);
                match answer {
                    Some(Response::Done) => {
                        // On Kafka a heartbeat goes by the same connection, more often than this, and is answered before it.
                        let heard = sent + session;
                        state.consumer.silent_until = state.consumer.silent_until.max(heard);
                        self.see_who_it_is(state);
                        if state.life == life {
                            self.proven(state, heard.checked_sub(MARGIN).unwrap_or(sent));
                        }
                    }
                    Some(Response::Error(Error::IllegalGeneration)) if same && !state.consumer.joining => {
                        self.on_lost(state, true, "the group has gone on to another generation");
                    }
                    Some(Response::Error(Error::UnknownMember)) if same => {
                        self.on_lost(state, false, "the coordinator knows no such member");
                    }
                    _ => {}
                }
            }
            let often = if self.state().proven { PROOF } else { FIRST_PROOF };
            sleep_until(sent + often).await;
        }
    }

    /// Asks what takes a while, one after the other.
    async fn answer_all(self: Arc<Self>, mut asked: mpsc::UnboundedReceiver<Question>) {
        while let Some(question) = asked.recv().await {
            match question {
                Question::Glance(partition, token) => {
                    let found = self.committed(partition, false).await;
                    self.tell(Input::Found(partition, token, found));
                }
                Question::Look(partition, token) => {
                    let found = self.committed(partition, true).await;
                    self.tell(Input::Found(partition, token, found));
                }
                Question::Members(token) => {
                    let members = Request::Members(self.group.clone());
                    let members = match self.client.ask_coordinator(members, ANSWERED_WITHIN).await {
                        Some(Response::Members(ids)) => Some(ids.into_iter().map(name).collect()),
                        _ => None,
                    };
                    self.tell(Input::Members(token, members));
                }
                Question::Fence(member) => {
                    let fenced = self.fence(&member).await;
                    self.tell(Input::Fenced(member, fenced));
                }
            }
        }
    }

    /// What is committed of a partition: `stable`, only once no transaction on it is open.
    pub async fn committed(&self, partition: Partition, stable: bool) -> Option<Committed> {
        let begun = Instant::now();
        while begun.elapsed() < ASKED_FOR {
            let request = Request::FetchOffsets { group: self.group.clone(), partition, stable };
            match self.client.ask_coordinator(request, ANSWERED_WITHIN).await {
                Some(Response::Committed(committed)) => return Some(committed),
                _ => sleep(RETRY_AFTER / 2).await,
            }
        }
        None
    }

    /// Takes the transactional id of a former member over: its open transaction is aborted, and it can begin no other.
    async fn fence(&self, member: &str) -> bool {
        self.init_producer(member).await.is_some()
    }

    /// A producer of the transactional id of `member`: whatever an earlier one had begun has ended then.
    pub async fn init_producer(&self, member: &str) -> Option<wire::Producer> {
        let begun = Instant::now();
        while begun.elapsed() < ASKED_FOR {
            let request = Request::InitProducer(Some(self.transactional_id(member)));
            match self.client.ask_coordinator(request, ANSWERED_WITHIN).await {
                Some(Response::Producer(producer)) => return Some(producer),
                _ => sleep(RETRY_AFTER / 4).await,
            }
        }
        None
    }

    /// Tells the tenures when their time has come.
    async fn keep_time(self: Arc<Self>) {
        loop {
            let deadline = self.tenures(|tenures| tenures.deadline());
            let wait = deadline.map(|at| at.since(self.now()));
            tokio::select! {
                biased;
                () = self.deadline.notified() => {}
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => self.tell(Input::Timeout),
            }
        }
    }
}
