//! The agent port: subprocesses, of which nothing is left when they have ended; and the project port, from a file
//! or over HTTP. It knows Linux, and decides nothing about tasks.

#[cfg(not(target_os = "linux"))]
compile_error!("Baton's worker needs Linux: it relies on pidfds, child subreapers and /proc");

mod keeper;
mod leftovers;
mod private;
mod projects;
mod subprocess;
mod subprocesses;

pub use keeper::{Means, Unkept, run as keeper};
pub use projects::{ConfiguredProjects, FileProjects, HttpProjects, Unconfigured};
pub use subprocess::Subprocess;
pub use subprocesses::{Options, Subprocesses, Unopened};
