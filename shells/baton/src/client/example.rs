//! The first five minutes: the example's task, submitted once a data directory, shown from its beginning.

use super::http::{DEFAULT_SERVER, Server};
use super::screen::{Printer, say};
use super::stream;
use crate::cli::Client;
use crate::report::Failure;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::sleep;

/// The workbook, from the root of Baton's repository.
const WORKBOOK: &str = "examples/report.xlsx";
/// Makes it one task, however often Baton is started on the same directory.
const KEY: &str = "baton dev --example";
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// The example's workbook, which must be there before anything is started for it.
pub fn workbook() -> Result<PathBuf, Failure> {
    Path::new(WORKBOOK).canonicalize().map_err(|error| {
        Failure::usage(format!("--example needs {WORKBOOK}, and is for the root of Baton's repository: {error}"))
    })
}

/// Submits the task when the server is ready, shows it to its end, and says what to try next.
pub async fn show(address: SocketAddr, workbook: PathBuf) -> Result<(), Failure> {
    let server = Server::new(&Client { server: format!("http://{address}"), json: false })?;
    while !server.is_ready().await {
        sleep(LOOK_AGAIN_AFTER).await;
    }
    let params = json!({"file_path": workbook, "main_tab": "MB Attributes", "custom_structure": true});
    let body = json!({"project": "default", "type": "task-context", "command": "import-excel", "params": params});
    let accepted = server.submit(&body, Some(KEY)).await?;
    let id = super::text(&accepted, "task_id");
    let baton = Invocation::here(address);
    say(&format!("$ {}", baton.to("submit task-context import-excel file_path=examples/report.xlsx main_tab='MB Attributes' custom_structure=true --project default --watch")))?;
    say(id)?;
    stream::watch(&server, id, None, true, &mut Printer::new(false)).await?;
    say(&format!(
        "\nBaton stays up. In another terminal, try:\n\n  {}\n  {}\n  {}\n",
        baton.to(
            "submit agent run input='Analyze all MB attributes for Q1' parallel_workers=3 --project default --watch"
        ),
        baton.to("submit seed-db reset=true --project unhurried --watch"),
        baton.to("ls"),
    ))
    .map(drop)
}

/// How Baton is called for this server, from where it was started.
struct Invocation {
    program: String,
    server: String,
}

impl Invocation {
    fn here(address: SocketAddr) -> Self {
        let program = std::env::args().next().unwrap_or_else(|| "baton".into());
        let url = format!("http://{address}");
        let server = if url == DEFAULT_SERVER { String::new() } else { format!(" --server {url}") };
        Self { program: shell_words::quote(&program).into_owned(), server }
    }

    fn to(&self, words: &str) -> String {
        format!("{} {words}{}", self.program, self.server)
    }
}
