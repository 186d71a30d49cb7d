//! The broker that tests have in common. Such a test must never disturb it, and keeps to topics of its own.

use crate::error::system;
use crate::{Cluster, Error, Options, process, wire};
use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::net::ToSocketAddrs as _;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Names a broker that runs already, as `HOST:PORT`, without TLS. `with-kafka` sets it for the command that it runs.
pub const ADDRESS_VARIABLE: &str = "BATON_TEST_KAFKA";

/// A broker for tests that only use it.
#[derive(Debug)]
pub struct Shared {
    bootstrap: String,
    /// Ours alone, if there was none.
    _own: Option<Cluster>,
}

impl Shared {
    /// `HOST:PORT`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

/// The broker that [`ADDRESS_VARIABLE`] names, or else one that is started, and ends when this is dropped.
pub fn shared() -> Result<Shared, Error> {
    let Ok(address) = std::env::var(ADDRESS_VARIABLE) else {
        let own = Cluster::start(&Options::one())?;
        return Ok(Shared { bootstrap: own.bootstrap(), _own: Some(own) });
    };
    match answers(&address) {
        Ok(()) => Ok(Shared { bootstrap: address, _own: None }),
        Err(source) => Err(Error::Unreachable { address, source }),
    }
}

/// Runs a command to its end with [`ADDRESS_VARIABLE`] set to such a broker. A SIGTERM to this process goes to the command; a
/// Ctrl-C goes to both by itself, and the broker is there until the command has ended.
pub fn run_beside(mut command: Command) -> Result<ExitStatus, Error> {
    let broker = shared()?;
    command.env(ADDRESS_VARIABLE, broker.bootstrap());
    // Until here a signal ends this process, and with it the broker. From here on it is kept for the command.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).map_err(system("handle signals"))?;
    let failed = system(format!("run {}", command.get_program().display()));
    let mut child = process::spawn(command, Signal::TERM).map_err(failed)?;
    let pid = Pid::from_child(&child);
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if matches!(signal, SIGHUP | SIGTERM) {
                // It may have ended a moment ago.
                let _ = rustix::process::kill_process(pid, Signal::TERM);
            }
        }
    });
    child.wait().map_err(system("wait for the command"))
}

/// Tries all that the name stands for.
fn answers(address: &str) -> io::Result<()> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    for address in address.to_socket_addrs()? {
        match wire::live_brokers(address) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What a test puts before the names of its topics and groups: no other has it, in this run or an earlier one.
pub fn topic_prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("test-{}-{process}-{count}-", since.as_millis())
}
