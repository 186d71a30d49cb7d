//! The first five minutes: the example's task, submitted once a data directory, shown from its beginning.

use super::http::Server;
use super::screen::Printer;
use super::stream;
use crate::cli::Client;
use crate::report::Failure;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// The workbook, from the root of Baton's repository.
const WORKBOOK: &str = "examples/report.xlsx";
/// Makes it one task, however often Baton is started on the same directory.
const KEY: &str = "baton dev --example";
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Submits the task when the server is ready, and shows it to its end.
pub async fn show(client: Client) -> Result<(), Failure> {
    let server = Server::new(&client)?;
    let workbook = std::path::Path::new(WORKBOOK).canonicalize();
    let workbook = workbook.map_err(|error| {
        Failure::usage(format!("--example needs {WORKBOOK}, from the root of the repository: {error}"))
    })?;
    while !server.is_ready().await {
        sleep(LOOK_AGAIN_AFTER).await;
    }
    let params = json!({"file_path": workbook, "main_tab": "MB Attributes", "custom_structure": true});
    let body = json!({"project": "default", "type": "task-context", "command": "import-excel", "params": params});
    let accepted = server.submit(&body, Some(KEY)).await?;
    let id = super::text(&accepted, "task_id").to_owned();
    println!(
        "$ {} submit task-context import-excel file_path={WORKBOOK} main_tab='MB Attributes' custom_structure=true --project default --watch",
        program()
    );
    println!("{id}");
    let printer = Printer::new(false);
    stream::watch(&server, &id, None, |frame| printer.print(frame)).await.map(drop)
}

/// What to try next.
pub fn next_steps() {
    let baton = program();
    println!(
        "
Baton stays up. In another terminal, try:

  {baton} submit agent run input='Analyze all MB attributes for Q1' parallel_workers=3 --project default --watch
  {baton} submit seed-db reset=true --project unhurried --watch
  {baton} ls
"
    );
}

/// This program as it was called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "baton".into())
}
