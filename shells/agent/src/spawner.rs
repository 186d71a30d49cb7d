//! Makes processes, all from one thread that lives as long as Baton: a child's death signal fires when the *thread* that
//! made it ends, so a thread of a pool must never do it.

use crate::family::{Families, MARK};
use baton_core::process::Spawn;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use tokio::sync::oneshot;

/// What of Baton's own environment its agents get. Everything else, keys above all, comes from the project's config.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TERM",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// A process that was just made, and its directory.
pub struct Made {
    pub child: Child,
    pub dir: PathBuf,
}

struct Order {
    spawn: Spawn,
    answer: oneshot::Sender<Result<Made, String>>,
}

/// The thread that makes processes. It ends when the last clone is dropped.
#[derive(Clone)]
pub struct Spawner {
    orders: mpsc::Sender<Order>,
}

impl Spawner {
    /// Starts the thread.
    pub fn start(runs_dir: PathBuf, families: Arc<Families>) -> io::Result<Self> {
        let (orders, received) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("baton-spawner".into()).spawn(move || {
            for order in received {
                let made = make(&order.spawn, &runs_dir, &families);
                if let Err(Ok(made)) = order.answer.send(made) {
                    // Nobody waits for it any more.
                    discard(made, &families);
                }
            }
        })?;
        Ok(Self { orders })
    }

    /// Makes a process. The error is a sentence for the task's owner.
    pub async fn make(&self, spawn: Spawn) -> Result<Made, String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the thread that makes processes is gone".to_owned();
        self.orders.send(Order { spawn, answer }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn discard(mut made: Made, families: &Families) {
    let _ = made.child.kill();
    if let Some(pid) = rustix::process::Pid::from_raw(made.child.id().cast_signed()) {
        families.end(pid, &made.dir);
    }
    remove(&made.dir);
}

fn make(spawn: &Spawn, runs_dir: &Path, families: &Families) -> Result<Made, String> {
    let dir = runs_dir.join(format!("{}.{}", spawn.task_id, spawn.attempt));
    let project_file = write_private_files(&dir, &spawn.project_file).map_err(|error| {
        remove(&dir);
        format!("could not write the attempt's files in {}: {error}", dir.display())
    })?;
    let (program, arguments) = spawn.argv.split_first().ok_or("the command line is empty")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(inherited()).env("PYTHONUNBUFFERED", "1"); // a pipe would hold lines back
    command.envs(spawn.env.iter().map(|(name, value)| (name, value)));
    command
        .env("BATON_TASK_ID", spawn.task_id.as_str())
        .env("BATON_ATTEMPT", spawn.attempt.to_string())
        .env("BATON_PROJECT_FILE", project_file)
        .env("TMPDIR", &dir)
        .env(MARK, &dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    die_with_parent(&mut command);
    let mut known = families.lock();
    match command.spawn() {
        Ok(child) => {
            known.insert(child.id(), dir.clone());
            Ok(Made { child, dir })
        }
        Err(error) => {
            drop(known);
            remove(&dir);
            Err(refusal(program, &error))
        }
    }
}

/// Asks the kernel to kill the child when this thread ends, which is when Baton does.
#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let before_exec = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // Baton may have died before the line above.
        if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec only two system calls are made, and nothing is allocated or locked.
    unsafe { command.pre_exec(before_exec) };
}

fn inherited() -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
    std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(|name| INHERITED.contains(&name) || name.starts_with("LC_")))
}

/// The attempt's own directory (0700), and in it the project's config (0600).
fn write_private_files(dir: &Path, project: &str) -> io::Result<PathBuf> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    DirBuilder::new().mode(0o700).create(dir)?;
    let path = dir.join("project.json");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(project.as_bytes())?;
    Ok(path)
}

/// Removes an attempt's directory.
pub fn remove(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "could not remove an attempt's directory");
        }
        _ => {}
    }
}

fn refusal(program: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "could not start {program}: there is no such program on this worker (is it installed, and on PATH?)"
        ),
        io::ErrorKind::PermissionDenied => format!("could not start {program}: it is not an executable file"),
        io::ErrorKind::ArgumentListTooLong => {
            format!("could not start {program}: its arguments are longer than the system takes")
        }
        _ => format!("could not start {program}: {error}"),
    }
}
