//! The embedded log keeps to the facts of the log port, on a runtime of one thread and of several.

use baton_local::{LocalLog, Options};
use baton_runtime::conformance::PARTITIONS;
use tempfile::TempDir;

fn fresh() -> (LocalLog, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = Options { partitions: PARTITIONS, ..Options::default() };
    (LocalLog::open(dir.path(), &options).expect("an empty directory opens"), dir)
}

mod on_one_thread {
    use super::fresh;

    baton_runtime::conformance!(tokio::test, fresh());
}

mod on_many_threads {
    use super::fresh;

    baton_runtime::conformance!(tokio::test(flavor = "multi_thread", worker_threads = 4), fresh());
}
