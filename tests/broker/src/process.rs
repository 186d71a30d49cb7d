//! Processes that die with this one, and a directory that goes with it.
//!
//! The kernel kills a child when the *thread* that made it ends. So all are made by one thread, which never ends by itself.

use rustix::process::{Pid, Signal};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{OnceLock, mpsc};

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a process that gets `signal` when this process ends, however it ends. It is for whatever else a test starts beside a broker, too.
pub fn spawn(mut command: Command, signal: Signal) -> io::Result<Child> {
    static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, received) = mpsc::channel::<Order>();
        let make = move || {
            for (mut command, answer) in received {
                // Whoever asked waits for the answer.
                let _ = answer.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("broker-spawner".into()).spawn(make).expect("a thread can be made");
        orders
    });
    die_with_parent(&mut command, signal);
    let (answer, answered) = mpsc::channel();
    orders.send((command, answer)).expect("the thread that makes processes lives as long as this one");
    answered.recv().expect("it answers every order")
}

/// Asks the kernel to end the child when its parent's thread ends.
#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command, signal: Signal) {
    let parent = rustix::process::getpid();
    let before_exec = move || {
        rustix::process::set_parent_process_death_signal(Some(signal))?;
        // The parent may have died before the line above.
        if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec only two system calls are made, and nothing is allocated or locked.
    unsafe { command.pre_exec(before_exec) };
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    Ok(rustix::process::kill_process(Pid::from_child(child), signal)?)
}

/// A directory that is removed when this is dropped, and also when this process is killed: a shell waits for that.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    /// It ends with this process, whatever happens: then the shell reads an end, and removes.
    alive: Option<ChildStdin>,
    shell: Child,
}

/// Brokers that are just being killed may still make files, so it tries for five seconds.
const REMOVE: &str = r#"read -r _; for _ in $(seq 50); do rm -rf -- "$0" && exit 0; sleep 0.1; done"#;

impl Dir {
    /// Makes one, where temporary files go.
    pub fn new() -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("baton-kafka-").tempdir()?;
        let mut shell = Command::new("/bin/sh")
            .args(["-c", REMOVE])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What ends the tests' group must not end this.
            .process_group(0)
            .spawn()?;
        Ok(Self { path: dir.keep(), alive: shell.stdin.take(), shell })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(self.alive.take());
        // Nothing can be done about a shell that can't be waited for.
        let _ = self.shell.wait();
    }
}
