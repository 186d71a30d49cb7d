//! What a run has for itself: its directory, its project's config in a file, its environment. They go with the run.

use crate::accounts::Account;
use crate::keeper::User;
use baton_core::process::Spawn;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

/// The variable that marks every process of a run: it holds the run's own directory.
pub const MARK: &str = "BATON_RUN";

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

/// What the terminal of a run can do: what every program knows, with colours.
const TERMINAL: &str = "xterm-256color";

/// The directory of a run. Dropping it removes it, unless it was handed over to a guardian.
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
    ours: bool,
}

impl PrivateDir {
    /// Where it would be.
    pub fn place(runs_dir: &Path, spawn: &Spawn) -> PathBuf {
        runs_dir.join(format!("{}.{}", spawn.task_id, spawn.attempt))
    }

    /// Makes it (0700), and in it the files of the project's config and of arguments (0600).
    pub fn make(runs_dir: &Path, spawn: &Spawn) -> Result<Self, String> {
        let dir = Self { path: Self::place(runs_dir, spawn), ours: true };
        dir.fill(spawn)
            .map_err(|error| format!("could not write the attempt's files in {}: {error}", dir.path.display()))?;
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it, and all in it, to the user of the run.
    pub fn give_to(&self, user: &User) -> io::Result<()> {
        let owned = |path: &Path| chown(path, Some(user.id), Some(user.group));
        for entry in fs::read_dir(&self.path)? {
            owned(&entry?.path())?;
        }
        owned(&self.path)
    }

    /// From now on somebody else removes it.
    pub fn hand_over(mut self) -> PathBuf {
        self.ours = false;
        self.path.clone()
    }

    /// Where the project's config is.
    pub fn project_file(&self) -> PathBuf {
        self.path.join("project.json")
    }

    /// The command line, with the paths of its files.
    pub fn argv(&self, spawn: &Spawn) -> Result<Vec<String>, String> {
        let mut argv = spawn.argv.clone();
        for file in &spawn.files {
            let path = self.path.join(&file.name).into_os_string().into_string();
            argv[file.argument] = path.map_err(|path| format!("{} is no UTF-8, and no argument", path.display()))?;
        }
        Ok(argv)
    }

    fn fill(&self, spawn: &Spawn) -> io::Result<()> {
        if self.path.exists() {
            fs::remove_dir_all(&self.path)?;
        }
        DirBuilder::new().mode(0o700).create(&self.path)?;
        let arguments = spawn.files.iter().map(|file| (self.path.join(&file.name), &file.text));
        for (path, text) in [(self.project_file(), &spawn.project_file)].into_iter().chain(arguments) {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    /// The whole environment of the run's agent.
    pub fn environment(&self, spawn: &Spawn, account: Option<&Account>) -> Vec<(OsString, OsString)> {
        let inherited = std::env::vars_os()
            .filter(|(name, _)| name.to_str().is_some_and(|name| INHERITED.contains(&name) || name.starts_with("LC_")));
        let of_project = spawn.env.iter().map(|(name, value)| (name.into(), value.into()));
        let own: [(&str, OsString); 5] = [
            ("BATON_TASK_ID", spawn.task_id.as_str().into()),
            ("BATON_ATTEMPT", spawn.attempt.to_string().into()),
            ("BATON_PROJECT_FILE", self.project_file().into()),
            ("TMPDIR", self.path().into()),
            (MARK, self.path().into()),
        ];
        let deadline = spawn.deadline.map(|at| ("BATON_DEADLINE".into(), at.to_string().into()));
        let trace = spawn.traceparent.as_ref().map(|trace| ("TRACEPARENT".into(), trace.to_string().into()));
        let of_user = account.into_iter().flat_map(Account::environment);
        let terminal = spawn.launch.pty.map(|_| ("TERM".into(), TERMINAL.into()));
        let unbuffered = ("PYTHONUNBUFFERED".into(), "1".into()); // a pipe would hold lines back
        let own = own.map(|(name, value)| (name.into(), value));
        inherited
            .chain([unbuffered])
            .chain(of_user)
            .chain(terminal)
            .chain(of_project)
            .chain(own)
            .chain(deadline)
            .chain(trace)
            .collect()
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        if self.ours {
            remove(&self.path);
        }
    }
}

/// Removes a run's directory.
pub fn remove(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "could not remove an attempt's directory");
        }
        _ => {}
    }
}
