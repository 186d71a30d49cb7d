//! The agent port: subprocesses, of which nothing is left when they have ended; and the project port, from a file
//! or over HTTP. It knows Linux, and decides nothing about tasks.

#[cfg(not(target_os = "linux"))]
compile_error!("Baton's worker needs Linux: it relies on pidfds, child subreapers and /proc");

mod accounts;
mod keeper;
mod launch;
mod leftovers;
mod means;
mod private;
mod projects;
mod subprocess;
mod subprocesses;
mod terminal;

pub use keeper::{Cgroups, Keeping, Means, Unkept, run as keeper};
pub use means::Remark;
pub use projects::{ConfiguredProjects, FileProjects, HttpProjects, Unconfigured};
pub use subprocess::Subprocess;
pub use subprocesses::{Isolation, Options, Subprocesses, Unopened};
