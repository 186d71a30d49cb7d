//! The client's commands about dead letters. Where many are meant, one that is refused does not keep the others from theirs.

use super::http::Server;
use super::{screen, table, text};
use crate::cli::{Client, Dlq, DlqAction, DlqLs, DlqPurge, DlqRedrive, DlqShow, Filters, Which};
use crate::report::{FAILED, Failure};
use baton_runtime::ports::World as _;
use baton_runtime::world::SystemWorld;
use serde_json::Value;
use std::process::ExitCode;

/// `baton dlq`.
pub async fn run(options: Dlq) -> Result<ExitCode, Failure> {
    match options.action {
        DlqAction::Ls(options) => ls(&options).await,
        DlqAction::Show(options) => show(&options).await,
        DlqAction::Redrive(options) => redrive(&options).await,
        DlqAction::Purge(options) => purge(&options).await,
    }
}

async fn ls(options: &DlqLs) -> Result<ExitCode, Failure> {
    let server = Server::new(&options.client)?;
    let query = query_of(&options.filters);
    let is_filtered = !query.is_empty();
    let limit = if options.all { usize::MAX } else { options.limit };
    let listed = server.list("dead-letters", "dead_letters", query, limit).await?;
    if options.client.json {
        let lines: Vec<String> = listed.items.iter().map(Value::to_string).collect();
        if !lines.is_empty() {
            screen::say(&lines.join("\n"))?;
        }
    } else if listed.items.is_empty() {
        let hint = if is_filtered {
            "No dead letter is like that. All that there are: baton dlq ls"
        } else {
            "There are no dead letters"
        };
        screen::remark(hint);
    } else {
        screen::say(&table::of_letters(&listed.items))?;
    }
    if listed.more {
        screen::remark(&format!("(the newest {limit}; there are more: --limit N, or --all)"));
    } else if listed.unlisted > 0 {
        let (unlisted, topic) = (listed.unlisted, baton_core::log::Topic::DeadLetters);
        screen::remark(&format!("({unlisted} older ones are no longer listed; they are on {topic} itself)"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(options: &DlqShow) -> Result<ExitCode, Failure> {
    let server = Server::new(&options.client)?;
    let letter = server.dead_letter(&options.id).await?;
    screen::say(&if options.client.json { letter.to_string() } else { table::of_one(&letter) })?;
    Ok(ExitCode::SUCCESS)
}

async fn redrive(options: &DlqRedrive) -> Result<ExitCode, Failure> {
    let server = Server::new(&options.client)?;
    let mut all_well = true;
    let ids = ids_of(&server, &options.which, |letter| letter["redrivable"] != false).await?;
    for id in ids {
        let answer = server.redrive(&id, options.same_id).await;
        all_well &= told(&options.client, &id, answer, |answer| format!("{id}  {}", text(answer, "task_id")))?;
    }
    Ok(code_of(all_well))
}

async fn purge(options: &DlqPurge) -> Result<ExitCode, Failure> {
    let server = Server::new(&options.client)?;
    let mut all_well = true;
    for id in ids_of(&server, &options.which, |_| true).await? {
        let answer = server.purge(&id).await;
        all_well &= told(&options.client, &id, answer, |answer| format!("{id} is {}", text(answer, "status")))?;
    }
    Ok(code_of(all_well))
}

/// Says what became of one of them. Whether it is what was asked for.
fn told(
    client: &Client,
    id: &str,
    answer: Result<Value, Failure>,
    say: impl FnOnce(&Value) -> String,
) -> Result<bool, Failure> {
    match answer {
        Ok(answer) => {
            screen::say(&if client.json { answer.to_string() } else { say(&answer) })?;
            Ok(true)
        }
        // The others would fare no better.
        Err(failure) if failure.is_unreachable() => Err(failure),
        Err(failure) => {
            screen::remark(&format!("baton: {id}: {failure}"));
            Ok(false)
        }
    }
}

fn code_of(all_well: bool) -> ExitCode {
    if all_well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// The ids that are meant: those that were given, or of all letters those that `fit`.
async fn ids_of(server: &Server, which: &Which, fit: impl Fn(&Value) -> bool) -> Result<Vec<String>, Failure> {
    let query = query_of(&which.filters);
    if !which.all {
        return if query.is_empty() {
            Ok(which.ids.clone())
        } else {
            Err(Failure::usage("filters go with --all; dead letters that are named need none"))
        };
    }
    let listed = server.list("dead-letters", "dead_letters", query, usize::MAX).await?;
    let (fitting, other): (Vec<_>, Vec<_>) = listed.items.iter().partition(|letter| fit(letter));
    if fitting.is_empty() {
        screen::remark("No dead letter is like that");
    }
    if !other.is_empty() {
        screen::remark(&format!("({} left out: their records were no tasks, so there is nothing to run)", other.len()));
    }
    Ok(fitting.into_iter().map(|letter| text(letter, "id").to_owned()).collect())
}

fn query_of(filters: &Filters) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    query.extend(filters.project.iter().map(|value| ("project", value.clone())));
    query.extend(filters.kind.iter().map(|value| ("type", value.clone())));
    query.extend(filters.reason.iter().map(|value| ("reason", value.clone())));
    query.extend(filters.older_than.map(|age| ("before", SystemWorld.wall().minus(age).to_string())));
    query
}
