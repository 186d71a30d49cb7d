//! A node of the world that runs one process: it can be killed, frozen, told to go, and started again.

use crate::event::{Event, Node};
use crate::journal::Journal;
use crate::life::Life;
use baton_core::presence::{Identity, Role};
use baton_core::time::Timestamp;
use baton_runtime::ports::World;
use baton_runtime::worker::Shutdown;
use madsim::runtime::{Handle, NodeHandle};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::time::Instant;

/// The wall clock as a world begins: 2026-01-01.
const BEGINNING: i64 = 1_767_225_600_000;

/// The clocks and the entropy of one node. The wall clock may be off.
#[derive(Clone)]
pub struct SimWorld {
    start: Instant,
    off_by: Arc<AtomicI64>,
}

impl SimWorld {
    /// A world whose wall clock is right.
    pub fn new() -> Self {
        Self { start: Instant::now(), off_by: Arc::default() }
    }
}

impl Default for SimWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl World for SimWorld {
    fn wall(&self) -> Timestamp {
        let since = i64::try_from(self.start.elapsed().as_millis()).expect("a simulation is short");
        Timestamp::from_millis(BEGINNING + since + self.off_by.load(Ordering::Relaxed))
    }

    fn random(&self) -> [u8; 16] {
        madsim::rand::random()
    }
}

/// What a process gets as it starts.
pub struct Start {
    /// Its life.
    pub life: Life,
    /// Its clocks.
    pub world: SimWorld,
    /// Whether it is of a later version.
    pub later_version: bool,
    /// Whether it is told to go.
    pub shutdown: watch::Receiver<Shutdown>,
}

impl Start {
    /// Who the process says that it is.
    pub fn identity(&self, role: Role, name: &str) -> Identity {
        Identity::new(role, name, self.world.random(), self.world.wall())
    }
}

/// See the module's words. Clones are the same place.
#[derive(Clone)]
pub struct Place(Arc<Shared>);

struct Shared {
    node: Node,
    handle: NodeHandle,
    journal: Journal,
    current: Arc<Current>,
    held: Mutex<Held>,
}

/// How many faults hold the process down, and how many frozen: they may overlap.
#[derive(Default)]
struct Held {
    down: u32,
    frozen: u32,
}

struct Current {
    life: Mutex<Life>,
    world: SimWorld,
    later_version: AtomicBool,
    shutdown: watch::Sender<Shutdown>,
    /// The process has ended by itself.
    left: watch::Sender<bool>,
}

impl Place {
    /// Starts `process` at `ip`, and again after every kill.
    pub fn new<F: Future<Output = ()> + Send + 'static>(
        node: Node,
        ip: IpAddr,
        journal: &Journal,
        process: impl Fn(Start) -> F + Send + Sync + 'static,
    ) -> Self {
        let current = Arc::new(Current {
            life: Mutex::default(),
            world: SimWorld::new(),
            later_version: AtomicBool::new(false),
            shutdown: watch::Sender::default(),
            left: watch::Sender::default(),
        });
        let (starting, notes) = (current.clone(), journal.clone());
        let init = move || {
            let current = starting.clone();
            notes.note(node, Event::Started);
            let running = process(Start {
                life: lock(&current.life).clone(),
                world: current.world.clone(),
                later_version: current.later_version.load(Ordering::Relaxed),
                shutdown: current.shutdown.subscribe(),
            });
            async move {
                running.await;
                current.left.send_replace(true);
            }
        };
        let handle = Handle::current().create_node().name(node.to_string()).ip(ip).init(init).build();
        Self(Arc::new(Shared { node, handle, journal: journal.clone(), current, held: Mutex::default() }))
    }

    /// What it is.
    pub fn node(&self) -> Node {
        self.0.node
    }

    /// For the network's faults.
    pub fn handle(&self) -> &NodeHandle {
        &self.0.handle
    }

    /// SIGKILL. Held down until [`Self::start`] was called as often.
    pub fn kill(&self) {
        let first = {
            let mut held = lock(&self.0.held);
            held.down += 1;
            held.down == 1
        };
        if first {
            self.0.journal.note(self.0.node, Event::Killed);
            lock(&self.0.current.life).end();
            Handle::current().kill(self.0.handle.id());
        }
    }

    /// The world is over: drops what the process is made of.
    pub fn end(&self) {
        lock(&self.0.current.life).end();
        Handle::current().kill(self.0.handle.id());
    }

    /// Whether the process is dead.
    pub fn is_down(&self) -> bool {
        lock(&self.0.held).down > 0
    }

    /// Starts it again, if nothing else holds it down.
    pub fn start(&self) {
        let frozen = {
            let mut held = lock(&self.0.held);
            held.down -= 1;
            if held.down > 0 {
                return;
            }
            held.frozen > 0
        };
        let current = &self.0.current;
        *lock(&current.life) = Life::default();
        current.shutdown.send_replace(Shutdown::No);
        current.left.send_replace(false);
        Handle::current().restart(self.0.handle.id());
        if frozen {
            Handle::current().pause(self.0.handle.id());
        }
    }

    /// SIGSTOP. Frozen until [`Self::thaw`] was called as often.
    pub fn freeze(&self) {
        lock(&self.0.held).frozen += 1;
        Handle::current().pause(self.0.handle.id());
    }

    /// SIGCONT, if nothing else holds it frozen.
    pub fn thaw(&self) {
        let mut held = lock(&self.0.held);
        held.frozen -= 1;
        if held.frozen == 0 {
            Handle::current().resume(self.0.handle.id());
        }
    }

    /// Sets its wall clock off, or right again.
    pub fn set_clock_off(&self, seconds: i64) {
        self.0.current.world.off_by.store(seconds * 1000, Ordering::Relaxed);
    }

    /// SIGTERM: returns when the process has left, or by `deadline` if it has not.
    pub async fn leave(&self, deadline: std::time::Duration) {
        self.0.current.shutdown.send_replace(Shutdown::Drain);
        let mut left = self.0.current.left.subscribe();
        let _ = tokio::time::timeout(deadline, left.wait_for(|left| *left)).await;
    }

    /// What is started next is of a later version.
    pub fn upgrade(&self) {
        self.0.current.later_version.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
