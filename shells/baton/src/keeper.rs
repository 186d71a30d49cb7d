//! This binary as the keeper of its own worker: what must be said to it so that it is one. No word for people: it is in no help.

use baton_agent::{Isolation, Options};
use std::ffi::OsString;
use std::path::PathBuf;

/// The first and only argument of a keeper.
const WORD: &str = "keeper";

/// Whether this process was started to be a keeper.
pub fn is_asked_for(arguments: &[OsString]) -> bool {
    matches!(arguments, [_, word] if word == WORD)
}

/// For a worker whose runs live in this directory.
pub fn options(runs_dir: PathBuf, isolation: Isolation) -> Options {
    // The running program itself, even if its file was replaced meanwhile.
    Options { runs_dir, keeper: ("/proc/self/exe".into(), vec![WORD.into()]), isolation }
}
