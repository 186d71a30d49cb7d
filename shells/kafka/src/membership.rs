//! A worker's membership of its group: joins, hears of assignments, proves that it is still in, and carries out what
//! the tenures ask for. Its consumer reads nothing.
//!
//! librdkafka keeps the session alive by itself and does not say when it last did. So the proof is a commit of the group's,
//! which the coordinator refuses to whoever is no longer in, and takes for a heartbeat from who is.

use crate::append::{Producer, Topics, lock};
use crate::config::{ANSWERED_WITHIN, LISTEN_EVERY, Options};
use crate::errors::{Heard, is_refusal, plain};
use crate::offsets::number;
use crate::raw;
use crate::steps::{Job, Stepper};
use baton_core::log::{Committed, Offset, Partition, Topic};
use baton_core::tenure::{Effect, Input, MemberId, Tenures, Token};
use baton_core::time::Instant as CoreInstant;
use baton_runtime::ports::{GroupEvent, LogError};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset as Place, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as jobs;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// So long before its session can end at the coordinator a claim ends here.
const MARGIN: Duration = Duration::from_secs(1);
/// How long leaving may take, and how long its last word may be on its way.
const LEFT_WITHIN: Duration = Duration::from_secs(2);
const SENT_WITHIN: Duration = Duration::from_millis(100);
/// The coordinator makes a member's id of its client's, and a UUID: this much of it tells members apart.
const UUID: usize = 36;

/// What a member hears, or why it hears nothing.
pub type Told = Result<GroupEvent, LogError>;
/// The consumer of a membership.
pub type GroupConsumer = BaseConsumer<Callbacks>;

/// A membership. Its threads share it.
pub struct Membership {
    options: Options,
    topics: Topics,
    group: String,
    begun: Instant,
    consumer: OnceLock<Weak<GroupConsumer>>,
    state: Mutex<State>,
    told: mpsc::UnboundedSender<Told>,
    questions: jobs::Sender<Question>,
    steps: jobs::Sender<Job>,
    leaving: AtomicBool,
    is_static: bool,
}

/// A membership that has begun.
pub struct Joined {
    pub membership: Arc<Membership>,
    /// What it hears, until it is dropped or has failed.
    pub told: mpsc::UnboundedReceiver<Told>,
    /// To the thread that takes steps.
    pub steps: jobs::Sender<Job>,
    /// Told when it has left.
    pub left: jobs::Receiver<()>,
}

#[derive(Default)]
struct State {
    tenures: Tenures,
    me: Option<MemberId>,
    /// Who it was before it took itself for expelled.
    was: Option<MemberId>,
    /// Counts how often it was expelled: what was asked for before must not begin after.
    life: u64,
    /// The partitions that the group takes back, until all of them are yielded.
    yielding: Option<(BTreeSet<Partition>, TopicPartitionList)>,
    /// Whether this life was ever proven: nothing may run before the worker knows until when its claims hold.
    proven: bool,
    /// What it is told once that is so.
    unproven: Vec<GroupEvent>,
}

/// What takes a while to answer.
enum Question {
    Glance(Partition, Token),
    Look(Partition, Token),
    Members(Token),
    Fence(MemberId),
}

impl Membership {
    /// Joins.
    pub fn join(options: &Options, topics: &Topics, group: &str, instance: Option<&str>) -> Result<Joined, LogError> {
        let (told, hears) = mpsc::unbounded_channel();
        let (questions, asked) = jobs::channel();
        let (steps, stepping) = jobs::channel();
        let (leaves, left) = jobs::channel();
        let membership = Arc::new(Self {
            options: options.clone(),
            topics: topics.clone(),
            group: options.prefixed(group),
            begun: Instant::now(),
            consumer: OnceLock::new(),
            state: Mutex::default(),
            told,
            questions,
            steps: steps.clone(),
            leaving: AtomicBool::new(false),
            is_static: instance.is_some(),
        });
        let failed = |error: &KafkaError| LogError::Fatal(format!("could not join {group}: {}", plain(error)));
        let config = options.member(group, instance);
        let callbacks = Callbacks { heard: options.heard(), membership: membership.clone() };
        let consumer: GroupConsumer = config.create_with_context(callbacks).map_err(|error| failed(&error))?;
        consumer.context().heard.log_in(consumer.client());
        let consumer = Arc::new(consumer);
        // It was empty: nobody else has the membership yet.
        let _ = membership.consumer.set(Arc::downgrade(&consumer));
        consumer.subscribe(&[topics.name(Topic::Tasks)]).map_err(|error| failed(&error))?;
        let thread = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let spawned = std::thread::Builder::new().name(name.into()).spawn(body);
            spawned.map(drop).map_err(|error| LogError::Fatal(format!("could not start a thread: {error}")))
        };
        let mut config = options.asker();
        let glancing = config.set("group.id", &membership.group).create_with_context(options.heard());
        let glancing: BaseConsumer<Heard> = glancing.map_err(|error| failed(&error))?;
        let (m, c) = (membership.clone(), consumer.clone());
        thread("baton-questions", Box::new(move || m.answer_all(&c, &glancing, &asked)))?;
        let (m, c) = (membership.clone(), consumer.clone());
        thread("baton-lease", Box::new(move || m.prove_always(&c)))?;
        let stepper = Stepper::new(membership.clone(), consumer.clone());
        thread("baton-steps", Box::new(move || stepper.run(&stepping)))?;
        let m = membership.clone();
        thread("baton-group", Box::new(move || m.listen_always(&consumer, &leaves)))?;
        Ok(Joined { membership, told: hears, steps, left })
    }

    /// Begins to leave: nothing of it is held any more.
    pub fn leave(&self) {
        self.expelled();
        self.leaving.store(true, Ordering::Release);
        // The thread of the steps, and that of the questions, wait for something to do.
        let _ = self.steps.send(Job::End);
        let _ = self.questions.send(Question::Members(0));
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The id that its transactions have in the membership `member`: an heir knows it from the title.
    pub fn transactional_id(&self, member: &str) -> String {
        format!("{}-{member}", self.group)
    }

    /// Who this is in the group now, and the count of its lives.
    pub fn me(&self) -> Option<(MemberId, u64)> {
        let state = lock(&self.state);
        state.me.clone().map(|me| (me, state.life))
    }

    /// Whether nothing has ended the life that was counted `life`.
    pub fn lives(&self, life: u64) -> bool {
        lock(&self.state).life == life && !self.leaving.load(Ordering::Acquire)
    }

    /// Asks the tenures something.
    pub fn tenures<T>(&self, ask: impl FnOnce(&mut Tenures) -> T) -> T {
        ask(&mut lock(&self.state).tenures)
    }

    /// Tells the tenures something, and carries out what they ask for.
    pub fn tell(&self, input: Input) {
        let mut state = lock(&self.state);
        self.tell_locked(&mut state, input);
    }

    fn tell_locked(&self, state: &mut MutexGuard<'_, State>, input: Input) {
        let now = CoreInstant::from_start(self.begun.elapsed());
        tracing::trace!(?input, "the tenures are told");
        state.tenures.handle(input, now);
        while let Some(effect) = state.tenures.poll() {
            tracing::trace!(?effect, "the tenures ask");
            self.carry_out(state, effect);
        }
    }

    fn carry_out(&self, state: &mut MutexGuard<'_, State>, effect: Effect) {
        // A channel whose other end is gone: the membership is ending.
        match effect {
            Effect::Glance(partition, token) => drop(self.questions.send(Question::Glance(partition, token))),
            Effect::Look(partition, token) => drop(self.questions.send(Question::Look(partition, token))),
            Effect::AskMembers(token) => drop(self.questions.send(Question::Members(token))),
            Effect::Fence(member) => drop(self.questions.send(Question::Fence(member))),
            Effect::Write(partition, token, committed) => {
                drop(self.steps.send(Job::Write { partition, token, committed, life: state.life }));
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
            let _ = self.told.send(Ok(event));
        } else {
            state.unproven.push(event);
        }
    }

    /// The claims of this life hold until then.
    fn proven(&self, life: u64, until: Instant) {
        let mut state = lock(&self.state);
        if state.life == life {
            state.proven = true;
            let renewed = GroupEvent::Renewed { until: tokio::time::Instant::from_std(until) };
            for event in std::iter::once(renewed).chain(std::mem::take(&mut state.unproven)) {
                self.say(&mut state, event);
            }
        }
    }

    /// The group gets its partitions back all at once.
    fn yielded(&self, state: &mut MutexGuard<'_, State>, partition: Partition) {
        let Some((left, _)) = &mut state.yielding else { return };
        left.remove(&partition);
        if left.is_empty() {
            self.give_back(state);
        }
    }

    fn give_back(&self, state: &mut MutexGuard<'_, State>) {
        let Some((_, list)) = state.yielding.take() else { return };
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else { return };
        if let Err(error) = consumer.incremental_unassign(&list) {
            tracing::warn!(why = plain(&error), "could not give partitions back to the group");
        }
    }

    fn on_assigned(&self, consumer: &GroupConsumer, list: &TopicPartitionList) {
        let mut paused = TopicPartitionList::new();
        for entry in list.elements() {
            // Nothing is read through this consumer; a place that needs no look-up keeps librdkafka from asking.
            let _ = paused.add_partition_offset(entry.topic(), entry.partition(), Place::End);
        }
        let assigned = consumer.incremental_assign(&paused).and_then(|()| consumer.pause(&paused));
        if let Err(error) = assigned {
            tracing::warn!(why = plain(&error), "could not take an assignment of the group");
        }
        self.see_who_it_is(consumer);
        // A static member whose join was refused comes back under another id, and keeps what it was assigned as who it was: of that
        // librdkafka says nothing.
        self.tell_of_all(consumer, &mut lock(&self.state));
    }

    /// Tells of all that is assigned: to whoever knows it, this says nothing new.
    fn tell_of_all(&self, consumer: &GroupConsumer, state: &mut MutexGuard<'_, State>) {
        let assigned = match consumer.assignment() {
            Ok(assigned) => assigned,
            Err(error) => return tracing::warn!(why = plain(&error), "could not see what is assigned"),
        };
        for partition in assigned.elements().iter().filter_map(|entry| Partition::try_from(entry.partition()).ok()) {
            self.tell_locked(state, Input::Assigned(partition));
        }
    }

    fn on_revoked(&self, consumer: &GroupConsumer, list: &TopicPartitionList) {
        let partitions: BTreeSet<_> =
            list.elements().iter().filter_map(|entry| Partition::try_from(entry.partition()).ok()).collect();
        let is_over = consumer.assignment_lost() || self.leaving.load(Ordering::Acquire);
        if is_over {
            self.expelled();
        }
        let mut state = lock(&self.state);
        state.yielding = Some((partitions.clone(), list.clone()));
        if is_over || partitions.is_empty() {
            self.give_back(&mut state);
            return;
        }
        for partition in partitions {
            self.tell_locked(&mut state, Input::Unassigned(partition));
        }
    }

    /// The id of this member by now; `None` if it has none.
    pub fn id_now(consumer: &GroupConsumer) -> Option<MemberId> {
        raw::member_id(consumer.client()).map(|id| id[id.len().saturating_sub(UUID)..].to_owned())
    }

    /// A member that was expelled comes back under another id, and may not hear of it otherwise.
    fn see_who_it_is(&self, consumer: &GroupConsumer) {
        let id = Self::id_now(consumer);
        let mut state = lock(&self.state);
        if state.me == id || self.leaving.load(Ordering::Acquire) {
            return;
        }
        if state.me.is_some() {
            self.expelled_locked(&mut state);
        }
        if let Some(id) = id {
            state.me = Some(id.clone());
            let is_same = state.was.take().is_some_and(|was| was == id);
            self.tell_locked(&mut state, Input::Joined(id));
            if is_same {
                // The group never knew of its expulsion, and says nothing again. Another's assignment is told of by the next generation.
                self.tell_of_all(consumer, &mut state);
            }
        }
    }

    /// Nothing of it is held any more, as far as can be known.
    pub fn expelled(&self) {
        self.expelled_locked(&mut lock(&self.state));
    }

    fn expelled_locked(&self, state: &mut MutexGuard<'_, State>) {
        state.life += 1;
        state.was = state.me.take().or(state.was.take());
        self.tell_locked(state, Input::Expelled);
        // What was never told of need not be told to be over.
        (state.proven, state.unproven) = (false, Vec::new());
        self.give_back(state);
    }

    /// The group's thread.
    fn listen_always(&self, consumer: &Arc<GroupConsumer>, leaves: &jobs::Sender<()>) {
        let mut beats = Instant::now();
        while !self.leaving.load(Ordering::Acquire) {
            // librdkafka's own thread sends heartbeats whenever it is awake, and may sleep for a second: a question wakes it.
            if Instant::now() >= beats {
                self.see_who_it_is(consumer);
                beats = Instant::now() + self.options.heartbeat_every();
            }
            match consumer.poll(LISTEN_EVERY) {
                None | Some(Ok(_)) => {}
                Some(Err(error)) => self.heard_error(consumer, &error),
            }
            if consumer.assignment_lost() && lock(&self.state).yielding.is_some() {
                self.expelled();
            }
            let now = CoreInstant::from_start(self.begun.elapsed());
            if self.tenures(|tenures| tenures.deadline()).is_some_and(|at| at <= now) {
                self.tell(Input::Timeout);
            }
        }
        // A static member does not leave: it may come back under its name.
        if !self.is_static {
            consumer.unsubscribe();
            let until = Instant::now() + LEFT_WITHIN;
            while Instant::now() < until && raw::member_id(consumer.client()).is_some() {
                let _ = consumer.poll(LISTEN_EVERY);
            }
            // The id is gone when the word is on its way; this process may be gone next.
            let _ = consumer.poll(SENT_WITHIN);
        }
        let _ = leaves.send(());
    }

    fn heard_error(&self, consumer: &GroupConsumer, error: &KafkaError) {
        let refused = error.rdkafka_error_code().is_some_and(is_refusal);
        if let Some((_, why)) = consumer.client().fatal_error() {
            let _ = self
                .told
                .send(Err(LogError::Fatal(format!("the group {} has no place for this worker: {why}", self.group))));
            self.leave();
        } else if refused {
            let why = format!("Kafka does not allow the group {}: {}", self.group, plain(error));
            let _ = self.told.send(Err(LogError::Unavailable(why)));
        } else {
            tracing::debug!(why = plain(error), "the group");
        }
    }

    /// The thread that proves, again and again, that the membership holds.
    fn prove_always(&self, consumer: &Arc<GroupConsumer>) {
        let session = self.options.session_timeout;
        let mut proof = TopicPartitionList::new();
        let listed = proof.add_partition_offset(self.topics.name(Topic::Control), 0, Place::Offset(0));
        debug_assert!(listed.is_ok(), "0 is an offset");
        while !self.leaving.load(Ordering::Acquire) {
            self.see_who_it_is(consumer);
            let asked_at = Instant::now();
            if let Some((_, life)) = self.me()
                && consumer.commit(&proof, CommitMode::Sync).is_ok()
                && self.is_still(consumer, life)
                && let Some(until) = (asked_at + session).checked_sub(MARGIN)
            {
                self.proven(life, until);
            }
            let often = if lock(&self.state).proven { session / 12 } else { LISTEN_EVERY * 5 };
            let next = asked_at + often;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Who was expelled commits as one who never joined, which an empty group allows.
    fn is_still(&self, consumer: &GroupConsumer, life: u64) -> bool {
        self.see_who_it_is(consumer);
        self.me().is_some_and(|(_, now)| now == life)
    }

    /// The thread that asks what takes a while.
    fn answer_all(
        &self,
        consumer: &Arc<GroupConsumer>,
        glancing: &BaseConsumer<Heard>,
        asked: &jobs::Receiver<Question>,
    ) {
        let answer = |partition, token, found: KafkaResult<Committed>| {
            let found = found.inspect_err(|error| tracing::debug!(partition, why = plain(error), "looking"));
            self.tell(Input::Found(partition, token, found.ok()));
        };
        for question in asked {
            if self.leaving.load(Ordering::Acquire) {
                return;
            }
            match question {
                Question::Glance(partition, token) => {
                    glancing.context().stay_logged_in(glancing.client());
                    answer(partition, token, self.committed(glancing, partition));
                }
                Question::Look(partition, token) => answer(partition, token, self.look(consumer, partition)),
                Question::Members(token) => {
                    let members = consumer.fetch_group_list(Some(&self.group), ANSWERED_WITHIN);
                    let members = members.inspect_err(|error| tracing::debug!(why = plain(error), "the members"));
                    let members = members.ok().map(|list| {
                        let groups = list.groups().iter().filter(|group| group.name() == self.group);
                        let ids = groups.flat_map(|group| group.members().iter().map(|member| member.id().to_owned()));
                        ids.map(|id| id[id.len().saturating_sub(UUID)..].to_owned()).collect()
                    });
                    self.tell(Input::Members(token, members));
                }
                Question::Fence(member) => {
                    let fenced = self.fence(&member);
                    if let Err(error) = &fenced {
                        tracing::debug!(member, why = plain(error), "fencing");
                    }
                    self.tell(Input::Fenced(member, fenced.is_ok()));
                }
            }
        }
    }

    /// What is committed of a partition, once no transaction on it is open.
    pub fn look(&self, consumer: &GroupConsumer, partition: Partition) -> KafkaResult<Committed> {
        self.committed(consumer, partition)
    }

    fn committed<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        partition: Partition,
    ) -> KafkaResult<Committed> {
        let mut list = TopicPartitionList::new();
        list.add_partition(self.topics.name(Topic::Tasks), number(partition));
        let found = consumer.committed_offsets(list, ANSWERED_WITHIN)?;
        let metadata = raw::metadata(&found).pop().unwrap_or_default();
        let elements = found.elements();
        let Some(entry) = elements.first() else { return Ok(Committed::default()) };
        entry.error()?;
        let offset = match entry.offset() {
            Place::Offset(offset) => Offset::try_from(offset).unwrap_or(0),
            _ => 0,
        };
        Ok(Committed { offset, metadata: String::from_utf8_lossy(&metadata).into_owned() })
    }

    /// Takes the transactional id of a former member over: its open transaction is aborted, and it can begin no other.
    fn fence(&self, member: &str) -> KafkaResult<()> {
        let config = self.options.transactional(&self.transactional_id(member));
        let producer = Producer::new(&config, &self.topics, &self.options.heard())?;
        producer.transactions().init_transactions(2 * ANSWERED_WITHIN)
    }
}

/// The context of the group's consumer.
pub struct Callbacks {
    heard: Heard,
    membership: Arc<Membership>,
}

impl ClientContext for Callbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.heard.token()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.heard.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.error(error, reason);
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(&self, consumer: &GroupConsumer, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.membership.on_assigned(consumer, list);
        } else {
            self.membership.on_revoked(consumer, list);
        }
    }
}
