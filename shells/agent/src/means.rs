//! What this system gives for running agents, in words, and what the task types ask of it that it can't give. Said once, before
//! any task could meet it.

use crate::accounts::Account;
use crate::keeper::{Cgroups, Keeping, LimitKind, Means};
use crate::launch::apart;
use baton_core::types::{TaskType, TaskTypes};
use rustix::process::{geteuid, getrlimit};
use std::path::Path;

/// Something that is less good than it could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What there is.
    pub says: String,
    /// What would make it better; nothing: it is as good as it gets.
    pub advice: Option<&'static str>,
}

/// How a cgroup is got.
const GET_CGROUP: &str = "let the worker have a cgroup v2 of its own that it may write to, with the controllers memory and pids: Delegate=yes \
                          in its systemd unit, or --privileged with a cgroup namespace for its container";

impl Means {
    /// What keeps the processes of a run together.
    pub fn isolation(&self) -> Remark {
        match &self.keeping {
            Keeping::Namespaces { user: false } => Remark { says: "each run has a PID namespace".into(), advice: None },
            Keeping::Namespaces { user: true } => Remark {
                says: "each run has a PID namespace within a user namespace; sudo and its like have no effect in it"
                    .into(),
                advice: None,
            },
            Keeping::Cgroup { because } => Remark {
                says: format!("runs have no PID namespaces ({because}); each has a cgroup, which is killed as a whole"),
                advice: None,
            },
            Keeping::Descendants { because } => Remark {
                says: format!(
                    "runs have no PID namespaces ({because}) and no cgroups: a run's processes are found by their parents, and one \
                     that forks faster than it is found may live on"
                ),
                advice: Some(
                    "run the worker as root or where unprivileged user namespaces are allowed, with all of /proc to be seen",
                ),
            },
        }
    }

    /// What limits there are for a run as a whole.
    pub fn limits(&self) -> Remark {
        match &self.cgroups {
            Cgroups::There { memory: true, pids: true } => Remark {
                says: "memory and processes are limited for a run as a whole, by its cgroup".into(),
                advice: None,
            },
            Cgroups::There { memory, pids } => {
                let lacks = [(*memory, "memory"), (*pids, "pids")].into_iter().filter(|(there, _)| !there);
                let lacks: Vec<&str> = lacks.map(|(_, name)| name).collect();
                Remark {
                    says: format!(
                        "runs have cgroups without the controller {}: that is limited for each process, not for a run as a whole",
                        lacks.join(" and ")
                    ),
                    advice: Some(GET_CGROUP),
                }
            }
            Cgroups::Absent { because } => Remark {
                says: format!(
                    "runs have no cgroups ({because}): memory and processes are limited for each process, not for a run as a whole, \
                     and a kill for memory is not told apart"
                ),
                advice: Some(GET_CGROUP),
            },
        }
    }

    /// What the types ask for and won't get here, each with its path in the table.
    pub fn lacking(&self, types: &TaskTypes) -> Vec<String> {
        types.iter().flat_map(|(name, kind)| self.lacking_of(&format!("types.{name}"), kind)).collect()
    }

    fn lacking_of(&self, path: &str, kind: &TaskType) -> Vec<String> {
        let mut lacking = Vec::new();
        let launch = &kind.process;
        if let Some(Err(why)) = launch.user.as_deref().map(Account::find) {
            lacking.push(format!("{path}.process.user: {why}"));
        }
        if let Some(directory) = launch.directory.as_ref().filter(|directory| !Path::new(directory).is_dir()) {
            lacking.push(format!("{path}.process.directory: there is no directory {directory} here"));
        }
        let is_root = geteuid().is_root() && !matches!(self.keeping, Keeping::Namespaces { user: true });
        if launch.nice.is_some_and(|nice| nice < 0) && !is_root {
            lacking.push(format!("{path}.process.nice: only a worker that is root can go below 0"));
        }
        let (each, bounds) = apart(&kind.limits, &self.cgroups);
        for limit in each {
            let name = limit.kind.name();
            let most = getrlimit(limit.kind.resource()).maximum;
            if !is_root && most.is_some_and(|most| most < limit.hard) {
                let most = most.unwrap_or_default();
                lacking.push(format!("{path}.limits.{name}: is more than this worker may have itself ({most})"));
            }
            let unlimited = limit.kind == LimitKind::Processes && geteuid().is_root() && launch.user.is_none();
            if unlimited && bounds.processes.is_none() {
                lacking.push(format!(
                    "{path}.limits.processes: has no effect: there is no cgroup with the controller pids, and root has no such limit"
                ));
            }
        }
        lacking
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_types_ask_for_in_vain_is_said_with_its_path() {
        let means = Means {
            keeping: Keeping::Namespaces { user: false },
            cgroups: Cgroups::Absent { because: "there are none".into() },
        };
        let table = "[types.t]\nprocess = { directory = \"/no/such\", user = \"no-such-user\" }\n[types.well]\nlimits = { open_files = 64 }";
        let types = TaskTypes::from_toml(table).expect("a good table");
        let said = means.lacking(&types);
        assert_eq!(
            said,
            [
                "types.t.process.user: there is no user \"no-such-user\" on this worker",
                "types.t.process.directory: there is no directory /no/such here",
            ]
        );
    }
}
