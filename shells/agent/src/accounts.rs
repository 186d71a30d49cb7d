//! The system's users, as far as runs are started as one: who it is, by name or number, and what its processes find in their
//! environment.

use crate::keeper::User;
use rustix::process::geteuid;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use uzers::os::unix::UserExt as _;
use uzers::{get_user_by_name, get_user_by_uid};

/// A user of the system.
#[derive(Debug)]
pub struct Account {
    entry: uzers::User,
    groups: Vec<u32>,
}

impl Account {
    /// The user of this name or number; `None` if that is this process's own. The error is a sentence.
    pub fn find(user: &str) -> Result<Option<Self>, String> {
        let by_number = || user.parse().ok().and_then(get_user_by_uid);
        let entry = get_user_by_name(user).or_else(by_number);
        let entry = entry.ok_or_else(|| format!("there is no user {user:?} on this worker"))?;
        if entry.uid() == geteuid().as_raw() {
            return Ok(None);
        }
        if !geteuid().is_root() {
            return Err(format!("could not run as {user:?}: only a worker that is root can"));
        }
        let groups = entry.groups().ok_or_else(|| format!("could not look up the groups of the user {user:?}"))?;
        let groups = groups.iter().map(uzers::Group::gid).collect();
        Ok(Some(Self { entry, groups }))
    }

    /// What a process needs to become it. It must be able to read that file.
    pub fn user(&self, reads: &Path) -> Result<User, String> {
        let reads = CString::new(reads.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        Ok(User {
            name: self.entry.name().to_string_lossy().into_owned(),
            id: self.entry.uid(),
            group: self.entry.primary_group_id(),
            groups: self.groups.clone(),
            reads,
        })
    }

    /// What its processes find of it.
    pub fn environment(&self) -> [(OsString, OsString); 4] {
        let name = self.entry.name().to_owned();
        [
            ("HOME".into(), self.entry.home_dir().into()),
            ("USER".into(), name.clone()),
            ("LOGNAME".into(), name),
            ("SHELL".into(), self.entry.shell().into()),
        ]
    }
}
