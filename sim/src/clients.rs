//! Those who submit, stop and watch: they try again where a careful client would, and note what they were told.

use crate::event::{Event, Node};
use crate::journal::Journal;
use crate::plan;
use crate::server::{Reply, Request, address};
use baton_core::id::{TaskId, UpdateId};
use madsim::net::{Endpoint, Receiver, Sender};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// How long a client waits for an answer before it takes the connection for broken.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a client waits before it tries again.
const AGAIN_AFTER: Duration = Duration::from_millis(700);
/// How often a watcher is told that there is no such task before it believes it.
const DISBELIEF: u32 = 12;

/// What a task's POST came to. (A `watch` channel would wake those who wait in an order that depends on what else ran in
/// this process.)
#[derive(Default)]
struct Known {
    /// Its id, or nothing for good; not known yet.
    id: OnceLock<Option<TaskId>>,
    told: Notify,
}

impl Known {
    fn tell(&self, id: Option<TaskId>) {
        let _ = self.id.set(id);
        self.told.notify_waiters();
    }

    async fn get(&self) -> Option<TaskId> {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if let Some(id) = self.id.get() {
                return id.clone();
            }
            told.await;
        }
    }
}

/// The clients of a world. Clones are the same.
#[derive(Clone)]
pub struct Clients(Arc<Shared>);

struct Shared {
    journal: Journal,
    node: Node,
    apis: u8,
    requests: AtomicU32,
    watchers: AtomicU32,
    known: Vec<Known>,
}

impl Clients {
    /// Clients of `apis` replicas, who have `tasks` tasks to submit.
    pub fn new(journal: Journal, node: Node, apis: u8, tasks: usize) -> Self {
        let known = (0..tasks).map(|_| Known::default()).collect();
        Self(Arc::new(Shared { journal, node, apis, requests: AtomicU32::new(0), watchers: AtomicU32::new(0), known }))
    }

    fn note(&self, event: Event) {
        self.0.journal.note(self.0.node, event);
    }

    /// What became of the task of this number; waits until that is known.
    async fn task(&self, number: usize) -> Option<TaskId> {
        self.0.known[number].get().await
    }

    /// The task is on the log, by somebody else's hand.
    pub fn is_there(&self, number: usize, id: TaskId) {
        self.0.known[number].tell(Some(id));
    }

    /// POSTs another task with the key of this one: that must be refused.
    pub async fn reuse_key(&self, number: usize, task: &plan::Task) {
        if self.task(number).await.is_none() {
            return;
        }
        let request = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let body = r#"{"project":"default","type":"seed-db","params":{"reset":true}}"#.to_owned();
        self.note(Event::Submitting { request, key: Some(format!("key-{number}, another task")) });
        let answer = match ask(task.api, Request::Submit { body, key: Some(format!("key-{number}")) }).await {
            Some(Reply::Accepted(Some(id))) => Ok(id),
            Some(Reply::Refused(status)) => Err(status),
            _ => return,
        };
        self.note(Event::Submitted { request, answer });
    }

    /// POSTs a task. With a key, again and again until there is an answer.
    pub async fn submit(&self, number: usize, task: &plan::Task) {
        sleep(task.at).await;
        let request = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let key = task.keyed.then(|| format!("key-{number}"));
        let mut api = task.api;
        loop {
            self.note(Event::Submitting { request, key: key.clone() });
            let answer = ask(api, Request::Submit { body: task.body(), key: key.clone() }).await;
            match answer {
                Some(Reply::Accepted(Some(id))) => {
                    self.note(Event::Submitted { request, answer: Ok(id.clone()) });
                    self.is_there(number, id);
                    return;
                }
                Some(Reply::Refused(status)) => self.note(Event::Submitted { request, answer: Err(status) }),
                _ => {}
            }
            if key.is_none() {
                // It may have been accepted all the same; nobody will know its name.
                self.0.known[number].tell(None);
                return;
            }
            api = (api + 1) % self.0.apis;
            sleep(AGAIN_AFTER).await;
        }
    }

    /// Asks for a task's end, until that is acknowledged or the task has ended.
    pub async fn stop(&self, stop: &plan::Stop) {
        let Some(id) = self.task(stop.task).await else { return };
        sleep(stop.after).await;
        let mut api = stop.api;
        loop {
            self.note(Event::Stopping(id.clone()));
            let asked = self.0.journal.now();
            let status = match ask(api, Request::Stop(id.clone(), stop.force)).await {
                Some(Reply::Accepted(_)) => Some(202),
                Some(Reply::Refused(status)) => Some(status),
                _ => None,
            };
            if let Some(status) = status {
                if status == 404 {
                    self.note(Event::Denied { task: id.clone(), api, asked });
                }
                self.note(Event::StopAnswered(id.clone(), status));
                if status == 202 || status == 409 {
                    return;
                }
            }
            api = (api + 1) % self.0.apis;
            sleep(AGAIN_AFTER).await;
        }
    }

    /// Watches a task to its end, through broken connections, unless the plan says that it leaves.
    pub async fn watch(&self, watch: &plan::Watch) {
        let Some(id) = self.task(watch.task).await else { return };
        sleep(watch.after).await;
        let mut cursor = Cursor { after: UpdateId::default(), read: 0, hopped: false };
        let (mut api, mut unknown) = (watch.api, 0);
        loop {
            let code = self.connection(&id, api, watch, &mut cursor).await;
            unknown += u32::from(code == 4404);
            let left = code == 1001 && watch.leaves_after.is_some_and(|frames| cursor.read >= frames);
            if code == 1000 || left || unknown >= DISBELIEF {
                return;
            }
            api = (api + 1) % self.0.apis;
            sleep(AGAIN_AFTER).await;
        }
    }

    /// One connection of a watcher; returns its close code.
    async fn connection(&self, id: &TaskId, api: u8, watch: &plan::Watch, cursor: &mut Cursor) -> u16 {
        let watcher = self.0.watchers.fetch_add(1, Ordering::Relaxed);
        let asked = self.0.journal.now();
        self.note(Event::Watching { watcher, task: id.clone(), after: cursor.after, api });
        let code = self.frames(id, api, watch, cursor, watcher).await.unwrap_or(1006);
        if code == 4404 {
            self.note(Event::Denied { task: id.clone(), api, asked });
        }
        self.note(Event::Unwatched { watcher, code });
        code
    }

    async fn frames(
        &self,
        id: &TaskId,
        api: u8,
        watch: &plan::Watch,
        cursor: &mut Cursor,
        watcher: u32,
    ) -> Option<u16> {
        let request = Request::Watch { task: id.clone(), after: cursor.after, pace: watch.pace };
        let (_sender, mut replies) = connect(api, request).await?;
        loop {
            let reply = replies.recv().await.ok()?;
            match *reply.downcast::<Reply>().ok()? {
                Reply::Frames(frames) => {
                    for frame in frames {
                        let id = frame.id.parse().expect("the id of an update");
                        self.note(Event::Frame { watcher, id, kind: frame.kind, update: frame.update });
                        cursor.after = id;
                        cursor.read += 1;
                        if watch.leaves_after.is_some_and(|frames| cursor.read >= frames) {
                            return Some(1001);
                        }
                        if !cursor.hopped && watch.hops_after.is_some_and(|frames| cursor.read >= frames) {
                            cursor.hopped = true;
                            return Some(1001);
                        }
                    }
                }
                Reply::Closed(code) => return Some(code),
                Reply::Accepted(_) | Reply::Refused(_) | Reply::Holds(_) => return None,
            }
        }
    }

    /// Notes what each replica holds when nobody watches any more.
    pub async fn weigh(&self, limit: usize) {
        for api in 0..self.0.apis {
            if let Some(Reply::Holds(bytes)) = ask(api, Request::Memory).await {
                self.0.journal.note(Node::Api(api), Event::Memory { of: "history", bytes, limit });
            }
        }
    }
}

struct Cursor {
    after: UpdateId,
    read: usize,
    hopped: bool,
}

/// One question, and its answer if there is one.
async fn ask(api: u8, request: Request) -> Option<Reply> {
    timeout(PATIENCE, async {
        let (_sender, mut replies) = connect(api, request).await?;
        replies.recv().await.ok()?.downcast::<Reply>().ok().map(|reply| *reply)
    })
    .await
    .ok()?
}

async fn connect(api: u8, request: Request) -> Option<(Sender, Receiver)> {
    let endpoint = Endpoint::bind("0.0.0.0:0").await.ok()?;
    let (sender, receiver) = timeout(PATIENCE, endpoint.connect1(address(api))).await.ok()?.ok()?;
    sender.send(Box::new(request)).await.ok()?;
    Some((sender, receiver))
}
