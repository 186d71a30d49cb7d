//! Who this process is, for those who look at the cluster.

use baton_core::presence::{Identity, Role};
use baton_runtime::ports::World as _;
use baton_runtime::world::SystemWorld;

/// Of a process that begins now; `name` is what people call it, and may be empty.
pub fn identity(role: Role, name: &str) -> Identity {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Identity { host, ..Identity::new(role, name, SystemWorld.random(), SystemWorld.wall()) }
}
