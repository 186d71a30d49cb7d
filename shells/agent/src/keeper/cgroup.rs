//! A cgroup (v2) for each run, where they can be made: all of a run is killed at one stroke, and its memory and its processes are
//! limited together, as far as the controllers for that are at hand. What can't be had is said once, at the start.

use super::kernel;
use super::protocol::Cgroups as Found;
use rustix::process::{WaitId, WaitIdOptions, getpid, getppid, waitid};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The controllers that limits need.
pub const MEMORY: &str = "memory";
pub const PIDS: &str = "pids";
/// What the worker and its keeper move to, as a cgroup that hands controllers on must be empty itself.
const OWN: &str = "worker";
/// What the cgroup of a run begins with; the rest is the name of its directory.
const RUN: &str = "run-";
/// What the cgroup begins with that each keeper has there for as long as it lives, empty: nobody can remove the place meanwhile. The
/// rest is its number.
const KEEPER: &str = "keeper-";
/// How long a cgroup may stay busy once everything in it was reaped.
const REMOVE_WITHIN: Duration = Duration::from_millis(100);

/// Where a worker's runs have their cgroups.
#[derive(Clone, Debug)]
pub struct Cgroups {
    home: PathBuf,
    /// This keeper's own.
    held: PathBuf,
    controllers: Vec<String>,
}

/// The cgroup of one run.
#[derive(Clone, Debug)]
pub struct Cgroup(PathBuf);

/// What a cgroup is limited to.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Bounds {
    /// In bytes.
    pub memory: Option<u64>,
    pub processes: Option<u64>,
}

/// What the kernel knows of a cgroup at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The most memory that there was in use at a time, in bytes.
    pub peak_memory: Option<u64>,
    /// The kernel killed something of it for memory.
    pub out_of_memory: bool,
}

impl Cgroups {
    /// What can be made here, found out by making it; or why nothing can.
    pub fn find(runs_dir: &Path) -> Result<Self, String> {
        let base = own_cgroup()?;
        let home = home_in(&base, runs_dir)?;
        let cant = |what: &str, error: &io::Error| format!("{what} {}: {error}", home.display());
        let held = home.join(format!("{KEEPER}{}", getpid().as_raw_nonzero()));
        // Once more, as an earlier keeper may have removed the place just before this one had its own there.
        let made = fs::create_dir_all(&held).or_else(|_| fs::create_dir_all(&held));
        made.map_err(|error| cant("can't make", &error))?;
        let controllers = delegate(&base, &home, &[MEMORY, PIDS]);
        let cgroups = Self { home: home.clone(), held, controllers };
        let trial = cgroups.of("trial");
        let tried = trial.make(Bounds::default()).and_then(|()| try_out(&trial));
        trial.remove();
        match tried {
            Ok(()) => Ok(cgroups),
            Err(error) => {
                cgroups.remove();
                Err(cant("can't use", &error))
            }
        }
    }

    /// As it is told to the worker.
    pub fn found(&self) -> Found {
        let has = |name: &str| self.controllers.iter().any(|controller| controller == name);
        Found::There { memory: has(MEMORY), pids: has(PIDS) }
    }

    /// The cgroup of the run of this name. It is made by [`Cgroup::make`].
    pub fn of(&self, run: &str) -> Cgroup {
        Cgroup(self.home.join(format!("{RUN}{run}")))
    }

    /// Removes what can be removed of the place for them all.
    pub fn remove(&self) {
        let _ = fs::remove_dir(&self.held);
        let _ = fs::remove_dir(&self.home);
    }
}

impl Cgroup {
    /// Makes it, with these bounds.
    pub fn make(&self, bounds: Bounds) -> io::Result<()> {
        match fs::create_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        if let Some(memory) = bounds.memory {
            fs::write(self.0.join("memory.max"), memory.to_string())?;
            // Where there is no swap there is no such file; where there is, it would stretch the limit.
            let _ = fs::write(self.0.join("memory.swap.max"), "0");
            // A run that lost some of its processes is of no use.
            let _ = fs::write(self.0.join("memory.oom.group"), "1");
        }
        if let Some(processes) = bounds.processes {
            fs::write(self.0.join("pids.max"), processes.to_string())?;
        }
        Ok(())
    }

    /// The place that a process is made in, to be in it: see [`kernel::clone`].
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.0)
    }

    /// SIGKILL to everything in it, at one stroke: nothing forks its way out.
    pub fn kill(&self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// What the kernel knows of it.
    pub fn account(&self) -> Account {
        let read = |file: &str| fs::read_to_string(self.0.join(file)).unwrap_or_default();
        account(&read("memory.peak"), &read("memory.events"))
    }

    /// Removes it, and all that was made in it. Whatever lives in it is killed.
    pub fn remove(&self) {
        let until = Instant::now() + REMOVE_WITHIN;
        while self.0.exists() && remove_tree(&self.0).is_err() && Instant::now() < until {
            self.kill();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Ends and removes all cgroups of runs in this directory that an earlier worker left.
pub fn end_all(runs_dir: &Path) {
    let Ok(home) = own_cgroup().and_then(|base| home_in(&base, runs_dir)) else { return };
    for entry in fs::read_dir(&home).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(RUN) {
            let cgroup = Cgroup(entry.path());
            cgroup.kill();
            cgroup.remove();
        } else if name.to_string_lossy().starts_with(KEEPER) {
            // Of one that was killed.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn account(peak: &str, events: &str) -> Account {
    let kills = events.lines().filter_map(|line| line.strip_prefix("oom_kill ")?.parse::<u64>().ok());
    Account { peak_memory: peak.trim().parse().ok(), out_of_memory: kills.sum::<u64>() > 0 }
}

/// A run may have made cgroups within its own.
fn remove_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

/// The cgroup that this process is in.
fn own_cgroup() -> Result<PathBuf, String> {
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("can't read the mounts: {error}"))?;
    let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("there are no cgroups: {error}"))?;
    place(&mounts, &own).ok_or_else(|| "cgroup v2 is not mounted here".to_owned())
}

/// Reads `/proc/self/mountinfo` (`… root mountpoint options … - type …`) and `/proc/self/cgroup` (`0::/path` for v2).
fn place(mounts: &str, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut words = mount.split(' ').skip(3);
        let (root, at) = (words.next()?, words.next()?);
        let is_v2 = kind.split(' ').next() == Some("cgroup2");
        let within = Path::new(path).strip_prefix(root).ok().filter(|_| is_v2)?;
        Some(Path::new(at).join(within))
    })
}

/// The directory of the runs names it: each worker of a machine has another, and its next life has the same.
fn home_in(base: &Path, runs_dir: &Path) -> Result<PathBuf, String> {
    let meta = fs::metadata(runs_dir).map_err(|error| format!("{}: {error}", runs_dir.display()))?;
    // Started again from within, it has its place beside.
    let base =
        if base.file_name() == Some(OsStr::new(OWN)) { base.parent().and_then(Path::parent) } else { Some(base) };
    let base = base.ok_or("this process is in a cgroup without a parent")?;
    Ok(base.join(format!("baton-{:x}-{:x}", meta.dev(), meta.ino())))
}

/// Has the kernel hand these controllers on to the runs, as far as it does. Where only the worker and this process stand in the
/// way, they move to a cgroup of their own.
fn delegate(base: &Path, home: &Path, wanted: &[&str]) -> Vec<String> {
    let base = home.parent().unwrap_or(base);
    let there = words(&base.join("cgroup.controllers"));
    let mut handed_on = Vec::new();
    for controller in wanted.iter().filter(|controller| there.iter().any(|name| name == **controller)) {
        let order = format!("+{controller}");
        let on = |dir: &Path| {
            words(&dir.join("cgroup.subtree_control")).iter().any(|name| name == controller)
                || fs::write(dir.join("cgroup.subtree_control"), &order).is_ok()
        };
        if (on(base) || (make_way(base, home) && on(base))) && on(home) {
            handed_on.push((*controller).to_owned());
        }
    }
    handed_on
}

/// Moves the worker and this process away from `base`, if they are all that is there.
fn make_way(base: &Path, home: &Path) -> bool {
    let ours = [getppid(), Some(getpid())].map(|pid| pid.map_or(String::new(), |pid| pid.as_raw_nonzero().to_string()));
    let inhabitants = words(&base.join("cgroup.procs"));
    if inhabitants.is_empty() || !inhabitants.iter().all(|pid| ours.contains(pid)) {
        return false;
    }
    let own = home.join(OWN);
    let _ = fs::create_dir(&own);
    inhabitants.iter().all(|pid| fs::write(own.join("cgroup.procs"), pid).is_ok())
}

fn words(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Makes a child in it, that ends at once.
#[allow(unsafe_code)]
fn try_out(cgroup: &Cgroup) -> io::Result<()> {
    if !cgroup.0.join("cgroup.kill").exists() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel has no cgroup.kill, it is older than 5.14",
        ));
    }
    let place = cgroup.open()?;
    // SAFETY: the keeper has one thread, and the child ends here.
    match unsafe { kernel::clone(0, Some(place.as_fd())) }? {
        Some(child) => Ok(waitid(WaitId::Pid(child), WaitIdOptions::EXITED).map(drop)?),
        None => kernel::exit(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_among_the_mounts() {
        let hybrid = "24 18 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      25 24 0:23 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw\n\
                      26 24 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let own = "4:memory:/a\n0::/system.slice/baton.service\n";
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(place(hybrid, own), at("/sys/fs/cgroup/unified/system.slice/baton.service"));
        let within = "30 20 0:25 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(place(within, "0::/docker/abc/sub\n"), at("/sys/fs/cgroup/sub"));
        assert_eq!(place(within, "0::/elsewhere\n"), None);
        assert_eq!(place(hybrid, "4:memory:/a\n"), None);
    }

    #[test]
    fn an_account_tells_a_kill_for_memory() {
        let events = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(account("1048576\n", events), Account { peak_memory: Some(1 << 20), out_of_memory: true });
        assert_eq!(account("", "oom 1\noom_kill 0\n"), Account { peak_memory: None, out_of_memory: false });
    }
}
