//! A member of a group: joins, keeps its session alive, gives claims up when it is asked to, and loses them when it can't
//! prove that they hold.

use super::super::broker::JOIN_WAIT;
use super::super::group::REBALANCE_TIMEOUT;
use super::super::wire::{Error, Membership, Request, Response};
use super::fetcher::{Fetched, Fetcher, Positions};
use super::steps::{Claims, SimSteps, Stepper};
use super::{ANSWERED_WITHIN, Client, RETRY_AFTER, Task};
use baton_core::log::{Committed, Epoch, Offset, Partition, Topic};
use baton_runtime::ports::{GroupEvent, LogError, Member};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

/// How often a member says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// So long before its session can end at the coordinator a member takes its claims for lost.
const MARGIN: Duration = Duration::from_secs(1);
/// How long the answer to a join may take: what it waits at the broker, and the way.
const JOINED_WITHIN: Duration = JOIN_WAIT.saturating_add(ANSWERED_WITHIN);

/// See the module's words.
pub struct SimMember {
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<GroupEvent>,
    fetcher: Fetcher,
    /// What is paused, and what was given of each claim.
    paused: BTreeSet<Partition>,
    given: BTreeMap<Partition, (Epoch, Offset)>,
    ready: VecDeque<GroupEvent>,
    steps: SimSteps,
    _tasks: Vec<Task>,
}

struct Shared {
    client: Arc<Client>,
    group: String,
    lookback: Duration,
    state: Mutex<State>,
    claims: Claims,
    events: mpsc::UnboundedSender<GroupEvent>,
    /// How often it has joined.
    joins: AtomicU64,
    /// The member is to join (again).
    join: Notify,
    /// It is to say at once that it is there.
    beat: Notify,
}

struct State {
    /// The id under which it joins.
    member: u64,
    membership: Option<Membership>,
    /// What it was given, and has not given up: what it says to own as it joins.
    assigned: BTreeSet<Partition>,
    held_until: Option<Instant>,
    /// Its claims could not be proven in time, and nothing has proven them since.
    lapsed: bool,
    /// Not to join before, as a join says what was given up, and what it ran has until then to die.
    join_at: Option<Instant>,
    /// When the last heartbeat left that found no rebalance.
    calm_at: Option<Instant>,
    /// Claims that it was asked to give up.
    revoked: BTreeSet<Partition>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            member: madsim::rand::random(),
            membership: None,
            assigned: BTreeSet::new(),
            held_until: None,
            lapsed: false,
            join_at: None,
            calm_at: None,
            revoked: BTreeSet::new(),
        }
    }
}

impl State {
    fn joined(&mut self, membership: &Membership, assigned: &[Partition], sent: Instant) {
        self.membership = Some(membership.clone());
        self.assigned.extend(assigned);
        self.calm_at = self.calm_at.max(Some(sent));
    }
}

impl SimMember {
    pub(super) fn join(client: Arc<Client>, group: String, lookback: Duration) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let fetcher = Fetcher::new(&client, Topic::Tasks, BTreeMap::new());
        let claims = Claims::default();
        let shared = Arc::new(Shared {
            client: client.clone(),
            group: group.clone(),
            lookback,
            state: Mutex::default(),
            claims: claims.clone(),
            events: sender,
            joins: AtomicU64::new(1),
            join: Notify::new(),
            beat: Notify::new(),
        });
        let (steps, stepping) = Stepper::begin(client, group, claims);
        let tasks =
            vec![Task::spawn(shared.clone().join_always()), Task::spawn(shared.clone().beat_always()), stepping];
        Self {
            shared,
            events,
            fetcher,
            paused: BTreeSet::new(),
            given: BTreeMap::new(),
            ready: VecDeque::new(),
            steps,
            _tasks: tasks,
        }
    }

    fn positions(&self) -> &Positions {
        &self.fetcher.positions
    }

    /// An event from the coordinator's side, as the worker hears it.
    fn take(&mut self, event: GroupEvent) {
        match &event {
            GroupEvent::Claimed { partition, epoch, committed } => {
                // The place to read from came with it.
                let from = self.shared.claims.start(*partition).unwrap_or(committed.offset);
                self.given.insert(*partition, (*epoch, from));
                self.paused.remove(partition);
                self.positions().seek(*partition, from);
            }
            GroupEvent::Revoke { partition } | GroupEvent::Lost { partition } => {
                self.given.remove(partition);
                self.positions().remove(*partition);
            }
            _ => {}
        }
        self.ready.push_back(event);
    }

    fn take_fetched(&mut self, fetched: Fetched) {
        let Fetched { asked, records, ends, .. } = fetched;
        // What was asked for before the partition was claimed anew is not what comes next: between them records would be
        // missing, and nobody can tell that from a gap in the offsets.
        let given = &mut self.given;
        let comes_next = |partition: &Partition, at: Offset| asked.get(partition).is_some_and(|asked| *asked <= at);
        for records in records {
            let Some((_, at)) = given.get_mut(&records.partition) else { continue };
            if !comes_next(&records.partition, *at) {
                continue;
            }
            if let Some(fresh) = records.from_offset(*at) {
                *at = fresh.end_offset();
                self.ready.push_back(GroupEvent::Records(fresh));
            }
        }
        for (_, partition, end) in ends {
            if let Some((_, at)) = given.get_mut(&partition).filter(|(_, at)| comes_next(&partition, *at)) {
                *at = (*at).max(end);
            }
        }
    }
}

impl Member for SimMember {
    type Steps = SimSteps;

    async fn next(&mut self) -> Result<GroupEvent, LogError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                // What was read before a pause or a loss is not given after it.
                let stale = match &event {
                    GroupEvent::Records(records) => !self.given.contains_key(&records.partition),
                    _ => false,
                };
                if !stale {
                    return Ok(event);
                }
                continue;
            }
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(event) => self.take(event),
                    None => return Err(LogError::Fatal("the client is gone".into())),
                },
                fetched = self.fetcher.fetched.recv() => match fetched {
                    Some(fetched) => self.take_fetched(fetched?),
                    None => return Err(LogError::Fatal("the client is gone".into())),
                },
            }
        }
    }

    fn pause(&mut self, partition: Partition) {
        self.paused.insert(partition);
        self.positions().remove(partition);
    }

    fn resume(&mut self, partition: Partition) {
        if self.paused.remove(&partition)
            && let Some((_, at)) = self.given.get(&partition)
        {
            self.positions().seek(partition, *at);
        }
    }

    fn release(&mut self, partition: Partition) {
        self.given.remove(&partition);
        self.positions().remove(partition);
        self.shared.claims.remove(partition);
        self.shared.give_up(partition);
    }

    fn steps(&self) -> SimSteps {
        self.steps.clone()
    }
}

impl Drop for SimMember {
    fn drop(&mut self) {
        let client = self.shared.client.clone();
        // As a world ends nothing can be sent any more.
        if !client.life.goes_on() || madsim::runtime::Handle::try_current().is_err() {
            return;
        }
        let member = self.shared.state().member;
        {
            let group = self.shared.group.clone();
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
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, event: GroupEvent) {
        let _ = self.events.send(event);
    }

    /// All claims are gone, as far as can be known from here.
    fn lose_all(&self, why: &str) {
        self.client.note(format!("its membership ends: {why}"));
        *self.state() = State::default();
        self.lose_claims();
    }

    /// The claims that held until then can't be proven any longer. The coordinator may know the member for a while yet: then
    /// its partitions are nobody else's, and are claimed anew.
    fn lapse(&self, held_until: Instant) {
        self.client.note("its claims can't be proven any longer".to_owned());
        {
            let mut state = self.state();
            (state.held_until, state.lapsed) = (None, true);
            state.join_at = Some(held_until + MARGIN);
            state.revoked.clear();
        }
        self.lose_claims();
        self.beat.notify_one();
    }

    /// Lets others have a partition, by the next join.
    fn give_up(&self, partition: Partition) {
        {
            let mut state = self.state();
            state.revoked.remove(&partition);
            state.assigned.remove(&partition);
        }
        self.join.notify_one();
    }

    fn lose_claims(&self) {
        for partition in self.claims.clear() {
            self.say(GroupEvent::Lost { partition });
        }
        self.join.notify_one();
    }

    /// The coordinator expels nobody before `ends`.
    fn hold(&self, ends: Instant) {
        let until = ends.checked_sub(MARGIN).unwrap_or(ends);
        let mut state = self.state();
        let later = state.held_until.is_none_or(|held| held < until);
        if later && until > Instant::now() && state.membership.is_some() {
            state.held_until = Some(until);
            let was_lapsed = std::mem::take(&mut state.lapsed);
            drop(state);
            self.say(GroupEvent::Renewed { until });
            if was_lapsed {
                self.join.notify_one();
            }
        }
    }

    /// Joins whenever that is asked for: at first, when another generation is made, when a claim was given up.
    async fn join_always(self: Arc<Self>) {
        loop {
            let joined = match self.claim_again().await {
                Ok(()) => self.join_once().await,
                Err(()) => Err(()),
            };
            match joined {
                Ok(again) if again => {}
                Ok(_) => self.join.notified().await,
                Err(()) => sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Claims what it has at the coordinator, and lost here as that could not be proven in time.
    async fn claim_again(&self) -> Result<(), ()> {
        let (assigned, membership) = {
            let state = self.state();
            (state.assigned.clone(), state.membership.clone().filter(|_| !state.lapsed))
        };
        let Some(membership) = membership else { return Ok(()) };
        for partition in assigned.into_iter().filter(|partition| !self.claims.contains(*partition)) {
            self.claim(partition, &membership).await?;
        }
        Ok(())
    }

    /// Waits until it may join; as somebody else, if nothing has proven meanwhile that it is a member.
    async fn may_join(&self) {
        loop {
            let join_at = self.state().join_at.filter(|at| *at > Instant::now());
            match join_at {
                Some(at) => sleep_until(at).await,
                None => break,
            }
        }
        let mut state = self.state();
        state.join_at = None;
        if state.lapsed {
            *state = State::default();
        }
    }

    /// Returns whether it must join once more at once.
    async fn join_once(&self) -> Result<bool, ()> {
        self.may_join().await;
        let (member, owned) = {
            let state = self.state();
            (state.member, state.assigned.iter().copied().collect())
        };
        let sent = Instant::now();
        let request = Request::Join {
            group: self.group.clone(),
            member,
            number: self.joins.fetch_add(1, Ordering::Relaxed),
            client: self.client.config.node,
            instance: self.client.config.instance.clone(),
            owned,
        };
        let answer = self.client.ask_coordinator(request, JOINED_WITHIN).await;
        // While it waited it may have lost everything.
        let same = self.state().member == member;
        match answer {
            Some(Response::Joined { membership, assigned, revoked }) if same => {
                self.claims.joined(&membership);
                self.state().joined(&membership, &assigned, sent);
                self.hold(sent + self.client.cluster.config().session);
                self.beat.notify_one();
                for partition in revoked {
                    // What was lost meanwhile is given up by the next join.
                    if !self.claims.contains(partition) {
                        self.give_up(partition);
                    } else if self.state().revoked.insert(partition) {
                        self.say(GroupEvent::Revoke { partition });
                    }
                }
                for partition in assigned {
                    if !self.claims.contains(partition) {
                        self.claim(partition, &membership).await?;
                    }
                }
                Ok(false)
            }
            Some(Response::Joined { .. } | Response::Error(Error::RebalanceInProgress)) => Ok(true),
            Some(Response::Error(Error::UnknownMember)) => {
                self.lose_all("the coordinator refuses its join");
                Ok(true)
            }
            _ => Err(()),
        }
    }

    /// Whether it is a member as it was told then, as far as it can prove.
    fn is_member(&self, membership: &Membership) -> bool {
        let state = self.state();
        state.membership.as_ref() == Some(membership) && !state.lapsed
    }

    async fn claim(&self, partition: Partition, membership: &Membership) -> Result<(), ()> {
        let (committed, epoch) = loop {
            let request = Request::FetchOffsets(self.group.clone(), partition);
            match self.client.ask_coordinator(request, ANSWERED_WITHIN).await {
                Some(Response::Committed(committed, epoch)) => break (committed, epoch),
                _ => sleep(RETRY_AFTER / 2).await,
            }
            if !self.is_member(membership) {
                return Err(());
            }
        };
        let young = self.client.cluster.now().minus(self.lookback);
        let start = loop {
            match self.client.offsets(Topic::Tasks, partition, young).await {
                Ok((_, at, _)) => break at.min(committed.offset),
                Err(_) if !self.is_member(membership) => return Err(()),
                Err(_) => {}
            }
        };
        if !self.is_member(membership) {
            return Err(());
        }
        // It may have been given up meanwhile.
        if !self.state().assigned.contains(&partition) {
            return Ok(());
        }
        // A lapse may have come and gone meanwhile.
        self.claims.joined(membership);
        self.claims.insert(partition, epoch, start);
        self.say(GroupEvent::Claimed { partition, epoch, committed: Committed { ..committed } });
        Ok(())
    }

    /// Says again and again that it is there; what can't be proven in time is lost.
    async fn beat_always(self: Arc<Self>) {
        let session = self.client.cluster.config().session;
        loop {
            let held_until = self.state().held_until;
            let lapses = async {
                match held_until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.beat.notified() => {}
                () = sleep(HEARTBEAT) => {}
                () = lapses => {}
            }
            if let Some(until) = held_until.filter(|until| *until <= Instant::now()) {
                self.lapse(until);
                continue;
            }
            let Some(membership) = self.state().membership.clone() else { continue };
            let sent = Instant::now();
            let request = Request::Heartbeat(self.group.clone(), membership.clone());
            let left = held_until.map_or(ANSWERED_WITHIN, |until| until.saturating_duration_since(sent));
            let answer = self.client.ask_coordinator(request, ANSWERED_WITHIN.min(left)).await;
            if self.state().membership.as_ref().map(|now| now.member) != Some(membership.member) {
                continue;
            }
            match answer {
                Some(Response::Done) => {
                    self.state().calm_at = Some(sent);
                    self.hold(sent + session);
                }
                Some(Response::Error(Error::RebalanceInProgress)) => {
                    // It was heard, and may be expelled only when the rebalance ends, which began after the last calm.
                    let calm = self.state().calm_at.unwrap_or(sent);
                    self.hold((sent + session).min(calm + REBALANCE_TIMEOUT));
                    self.join.notify_one();
                }
                Some(Response::Error(Error::IllegalGeneration)) => self.join.notify_one(),
                Some(Response::Error(Error::UnknownMember)) => self.lose_all("the coordinator knows no such member"),
                _ => {}
            }
        }
    }
}
