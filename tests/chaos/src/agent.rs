//! The agents: each leaves signs of its life beside what it prints. None of them may live for ever, whatever becomes of the run.

use crate::Result;
use crate::sign::{self, SIGNS, Signs, What};
use signal_hook::consts::SIGTERM;
use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The word by which an agent starts its child.
const CHILD: &str = "as-child";
/// From sign to sign.
const BEAT: Duration = Duration::from_millis(150);
/// From line to line of one that goes on and on.
const LINE: Duration = Duration::from_millis(120);
/// Longer than any run: what outlives this was forgotten by everybody.
const LIFETIME: Duration = Duration::from_mins(20);

/// Does what the command line says, and exits.
pub fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let me = Me::new()?;
    if words == [CHILD] {
        return me.child();
    }
    me.signs.begin()?;
    let signs = me.signs.clone();
    spawn(move || {
        while signs.leave(What::Beat).is_ok() {
            sleep(BEAT);
        }
    });
    let code = match words.as_slice() {
        ["count", lines, pause] => me.count(lines.parse()?, Duration::from_millis(pause.parse()?))?,
        ["silent", millis] => silent(Duration::from_millis(millis.parse()?)),
        ["endless"] => me.endless()?,
        ["stubborn"] => stubborn()?,
        ["parent", millis] => me.parent(Duration::from_millis(millis.parse()?))?,
        ["fails", code] => me.fails(code.parse()?)?,
        ["poison"] => me.poison()?,
        _ => return Err(format!("no such agent: {words:?}").into()),
    };
    me.signs.leave(What::End(code))?;
    exit(code)
}

fn silent(time: Duration) -> i32 {
    sleep(time);
    0
}

fn stubborn() -> Result<i32> {
    signal_hook::flag::register(SIGTERM, Arc::new(AtomicBool::new(false)))?;
    sleep(LIFETIME);
    Ok(0)
}

/// A process of a task.
struct Me {
    task: String,
    attempt: u32,
    signs: Arc<Signs>,
    dir: PathBuf,
    said: AtomicU64,
}

impl Me {
    fn new() -> Result<Self> {
        let variable = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
        let (task, attempt) = (variable("BATON_TASK_ID")?, variable("BATON_ATTEMPT")?.parse()?);
        let dir = PathBuf::from(variable(SIGNS)?);
        let born = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let process = format!("{}-{born:x}", std::process::id());
        let signs = Arc::new(Signs::open(&dir, &task, attempt, process)?);
        Ok(Self { task, attempt, signs, dir, said: AtomicU64::new(0) })
    }

    /// A line that says whose it is, and which of its lines.
    fn say(&self, text: &str) -> io::Result<()> {
        let number = self.said.fetch_add(1, Ordering::Relaxed) + 1;
        let mut out = io::stdout().lock();
        writeln!(out, "{} {} {number} {text}", self.task, self.attempt)?;
        out.flush()
    }

    fn count(&self, lines: u64, pause: Duration) -> Result<i32> {
        for line in 1..=lines {
            self.say(&format!("of {lines}"))?;
            if line < lines && !pause.is_zero() {
                sleep(pause);
            }
        }
        Ok(0)
    }

    fn endless(&self) -> Result<i32> {
        let begun = Instant::now();
        while begun.elapsed() < LIFETIME {
            self.say("and on")?;
            sleep(LINE);
        }
        Ok(0)
    }

    fn parent(&self, time: Duration) -> Result<i32> {
        // It has the outputs, the group and the mark of its parent, and outlives it.
        Command::new(env::current_exe()?).arg(CHILD).stdin(Stdio::null()).spawn()?;
        self.say("has a child")?;
        sleep(time);
        Ok(0)
    }

    fn child(&self) -> Result<()> {
        signal_hook::flag::register(SIGTERM, Arc::new(AtomicBool::new(false)))?;
        let begun = Instant::now();
        while begun.elapsed() < LIFETIME {
            self.signs.leave(What::Child)?;
            sleep(BEAT);
        }
        Ok(())
    }

    fn fails(&self, code: i32) -> Result<i32> {
        self.say("will fail")?;
        eprintln!("out of luck");
        Ok(code)
    }

    /// Its worker's directory is where its own files are, beside those of the other workers.
    fn poison(&self) -> Result<i32> {
        let own = env::var("TMPDIR")?;
        let workers = self.dir.parent().unwrap_or(Path::new("/")).join("workers");
        let worker = Path::new(&own).strip_prefix(&workers)?.components().next();
        let worker = worker.ok_or("TMPDIR is not in a worker's directory")?;
        self.say("is poison")?;
        sign::poison(&self.dir, &worker.as_os_str().to_string_lossy())?;
        sleep(LIFETIME);
        Ok(0)
    }
}
