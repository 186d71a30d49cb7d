//! `baton doctor`: looks at what Baton needs of a machine, by using it, and says what is missing and what to do about it. It ends
//! nothing that runs, and leaves nothing behind.

use crate::cli::{Doctor, Log};
use crate::client::screen;
use crate::keeper;
use crate::report::{FAILED, Failure};
use crate::working::{is_program, open_projects, read_types};
use crate::{kafka, values};
use baton_agent::{Remark, Subprocesses};
use baton_core::launch::Launch;
use baton_core::limits::Limits;
use baton_core::process::{ExitStatus, Spawn};
use baton_core::types::TaskTypes;
use baton_kafka::topics;
use baton_runtime::ports::{Agents as _, Process as _, ProcessEvent};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Less free disk than this, in bytes, is not enough to begin with, or will soon be.
const LEAST_DISK: u64 = 100 << 20;
const LITTLE_DISK: u64 = 1 << 30;
/// Fewer open files than this are few for many watchers or slots.
const FEW_FILES: u64 = 4096;
/// How long a trial run may take.
const TRIAL_WITHIN: Duration = Duration::from_secs(10);
/// What a finding's name takes, and its state.
const COLUMNS: (usize, usize) = (6, 10);

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    /// It works, and could be better.
    Weak,
    /// It keeps Baton from working.
    Bad,
}

/// What was found of one thing.
#[derive(Debug)]
struct Finding {
    about: &'static str,
    state: State,
    says: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Finding {
    fn well(about: &'static str, says: impl Into<String>) -> Self {
        Self { about, state: State::Well, says: says.into(), advice: None }
    }

    fn weak(about: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, state: State::Weak, says: says.into(), advice: Some(advice.into()) }
    }

    fn bad(about: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, state: State::Bad, says: says.into(), advice: Some(advice.into()) }
    }

    fn of(about: &'static str, Remark { says, advice }: Remark) -> Self {
        match advice {
            None => Self::well(about, says),
            Some(advice) => Self::weak(about, says, advice),
        }
    }
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Weak => "weak",
            Self::Bad => "bad",
        }
    }
}

/// Looks at everything. The exit code says whether Baton could work.
pub async fn run(options: Doctor) -> Result<ExitCode, Failure> {
    let types = read_types(options.types.types.as_deref());
    let directory = if options.kafka.is_some() { &options.runs } else { &options.data };
    let mut found = processes(&options, directory, types.as_ref().ok()).await;
    found.extend(agent(&options, &types));
    found.push(projects(&options));
    found.extend(storage(directory));
    found.push(files());
    found.extend(log(&options).await);
    let bad = found.iter().filter(|finding| finding.state == State::Bad).count();
    screen::say(&if options.json { json(&found).to_string() } else { table(&found) })?;
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// By a keeper and a run of its own, in a directory of its own.
async fn processes(options: &Doctor, directory: &Path, types: Option<&TaskTypes>) -> Vec<Finding> {
    let place = if is_writable(directory) { existing(directory) } else { std::env::temp_dir() };
    let place = place.join(format!(".baton-doctor-{}", std::process::id()));
    let made = DirBuilder::new().mode(0o711).create(&place);
    let mut found = Vec::new();
    match made.map_err(|error| format!("could not make {}: {error}", place.display())).and_then(|()| {
        let options = keeper::options(place.join("runs"), options.isolation.into());
        Subprocesses::open(&options).map_err(|error| error.to_string())
    }) {
        Ok(agents) => {
            let means = agents.means();
            found.extend([Finding::of("isolation", means.isolation()), Finding::of("limits", means.limits())]);
            found.push(trial(&agents).await);
            let lacking = types.map(|types| means.lacking(types)).unwrap_or_default();
            found.extend(
                lacking
                    .into_iter()
                    .map(|lacks| Finding::weak("types", lacks, "change the table, or the worker's machine")),
            );
        }
        Err(why) => found.push(Finding::bad("isolation", why, "give another --isolation, or the worker what it lacks")),
    }
    // The keeper ends with what it kept.
    let _ = fs::remove_dir_all(&place);
    found
}

async fn trial(agents: &Subprocesses) -> Finding {
    let began = Instant::now();
    let order = Spawn {
        task_id: "doctor".parse().expect("a word is an id"),
        attempt: 1,
        argv: vec!["true".into()],
        env: Vec::new(),
        project_file: "{}".into(),
        launch: Launch::default(),
        limits: Limits::default(),
        stdin: None,
        files: Vec::new(),
        deadline: None,
        traceparent: None,
    };
    let tried = timeout(TRIAL_WITHIN, async {
        let mut process = agents.spawn(order).await?;
        loop {
            match process.next().await {
                ProcessEvent::Output(..) => {}
                ProcessEvent::Exited(exit) if exit.status == ExitStatus::Code(0) => return Ok(()),
                ProcessEvent::Exited(exit) => return Err(exit.status.to_string()),
                ProcessEvent::Lost => return Err("it was lost".to_owned()),
            }
        }
    });
    let why = match tried.await {
        Ok(Ok(())) => return Finding::well("runs", format!("a trial run began and ended in {:.1?}", began.elapsed())),
        Ok(Err(why)) => why,
        Err(_) => format!("it did not end within {TRIAL_WITHIN:?}"),
    };
    Finding::bad("runs", format!("a trial run of `true` failed: {why}"), "see what the line above says of the machine")
}

fn agent(options: &Doctor, types: &Result<TaskTypes, Failure>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut look = |path: &str, command: &[String]| {
        let Some(program) = command.first() else { return };
        found.push(if is_program(program) {
            Finding::well("agent", format!("{path}: {}", shell_words::join(command)))
        } else {
            let advice = "install it, give its whole path, or put its directory on PATH as the worker has it";
            Finding::bad("agent", format!("{path}: there is no program {program:?}"), advice)
        });
    };
    look("--agent", &options.agent.agent.0);
    match types {
        Ok(types) => {
            for (name, kind) in types.iter() {
                if let Some(command) = &kind.agent {
                    look(&format!("types.{name}.agent"), command);
                }
            }
            let names: Vec<&str> = types.iter().map(|(name, _)| name).collect();
            found.push(Finding::well("types", names.join(", ")));
        }
        Err(why) => found.push(Finding::bad("types", why.to_string(), "baton types check FILE says more")),
    }
    found
}

fn projects(options: &Doctor) -> Finding {
    let from = match (&options.agent.projects, &options.agent.projects_url) {
        (Some(file), _) => file.display().to_string(),
        (None, Some(url)) => url.clone(),
        (None, None) => {
            let advice = "give --projects FILE or --projects-url URL";
            return Finding::bad("projects", "there are none", advice);
        }
    };
    match open_projects(&options.agent) {
        Ok(_) => Finding::well("projects", from),
        Err(why) => Finding::bad("projects", why.to_string(), "put the file or the address right"),
    }
}

/// The directory, and the disk that it is on.
fn storage(directory: &Path) -> Vec<Finding> {
    let shown = directory.display();
    let there = existing(directory);
    let mut found = Vec::new();
    found.push(match (is_writable(directory), in_use(directory)) {
        (_, true) => Finding::well("directory", format!("{shown} is in use by a baton that runs")),
        (true, false) if directory.exists() => Finding::well("directory", format!("{shown} can be written to")),
        (true, false) => Finding::well("directory", format!("{shown} is not there yet, and can be made")),
        (false, false) => {
            let advice = "give its owner or its mode to the user that runs Baton, or give another directory";
            Finding::bad("directory", format!("{shown} can't be written to"), advice)
        }
    });
    let free = rustix::fs::statvfs(&there).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let Ok(free) = free else { return found };
    let says = format!("{} free where {shown} is", values::shown_size(free));
    let advice = "make room, keep less (--retention), or give another directory";
    found.push(match free {
        ..LEAST_DISK => Finding::bad("disk", says, advice),
        LEAST_DISK..LITTLE_DISK => Finding::weak("disk", says, advice),
        _ => Finding::well("disk", says),
    });
    found
}

/// The directory itself, or the nearest above it that is there.
fn existing(directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn is_writable(directory: &Path) -> bool {
    let place = existing(directory).join(format!(".baton-doctor-{}.tmp", std::process::id()));
    let made = File::create_new(&place).is_ok();
    made && fs::remove_file(&place).is_ok()
}

fn in_use(directory: &Path) -> bool {
    let lock = OpenOptions::new().write(true).open(directory.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

fn files() -> Finding {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match most {
        Some(most) if most < FEW_FILES => Finding::weak(
            "files",
            format!("a process may have {most} files open: each watcher of an API takes one, each run of a worker six"),
            "ulimit -n 16384, or LimitNOFILE=16384 in its systemd unit",
        ),
        Some(most) => Finding::well("files", format!("a process may have {most} files open")),
        None => Finding::well("files", "a process may have any number of files open"),
    }
}

async fn log(options: &Doctor) -> Vec<Finding> {
    let Some(kafka) = options.log_on_kafka() else {
        return vec![Finding::well("log", "embedded: in the directory above")];
    };
    let log = Log { partitions: 1, retention: Duration::from_hours(24) };
    let shown = match kafka::options(&kafka, &log, false, kafka::SESSION_TIMEOUT) {
        Ok(options) => topics::show(&options).await.map_err(|error| error.to_string()),
        Err(failure) => Err(failure.to_string()),
    };
    let shown = match shown {
        Ok(shown) => shown,
        Err(why) => {
            return vec![Finding::bad("log", why, "see that the brokers can be reached from here, and the settings")];
        }
    };
    let advice = "baton topics shows them all, baton topics create makes those that are missing";
    let of = |topic: &topics::TopicShown| match &topic.found {
        None => Finding::weak("log", format!("the topic {} is missing", topic.name), advice),
        Some(_) if topic.wrong.is_empty() => Finding::well("log", format!("the topic {} is as it must be", topic.name)),
        Some(_) => Finding::bad("log", format!("the topic {}: {}", topic.name, topic.wrong.join("; ")), advice),
    };
    shown.iter().map(of).collect()
}

fn table(found: &[Finding]) -> String {
    let mut table = String::new();
    let (states, names) = COLUMNS;
    for Finding { about, state, says, advice } in found {
        let says = says.replace('\n', " ");
        let _ = writeln!(table, "{:states$}{about:names$} {says}", state.name());
        if let Some(advice) = advice {
            let _ = writeln!(table, "{:states$}{:names$} -> {advice}", "", "");
        }
    }
    let count = |state| found.iter().filter(|finding| finding.state == state).count();
    let summary = match (count(State::Bad), count(State::Weak)) {
        (0, 0) => "All is well.".to_owned(),
        (0, weak) => format!("Baton can work here; {weak} of these could be better."),
        (bad, _) => format!("Baton can't work here as it is: {bad} of these must be put right."),
    };
    let _ = write!(table, "\n{summary}");
    table
}

fn json(found: &[Finding]) -> Value {
    let of = |Finding { about, state, says, advice }: &Finding| json!({"about": about, "state": state.name(), "says": says, "advice": advice});
    Value::Array(found.iter().map(of).collect())
}
