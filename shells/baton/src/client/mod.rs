//! The client's commands. They ask the server over HTTP, and know no more than any other client.

pub mod dlq;
mod events;
pub mod example;
mod http;
mod params;
pub mod screen;
mod stream;
mod table;

use crate::cli::{Client, Ls, Ready, Show, Stop, Submit, Watch};
use crate::report::{FAILED, Failure, INTERRUPTED};
use baton_core::id::UpdateId;
use http::{Listed, Server};
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use stream::Ended;

/// `baton ready`.
pub async fn ready(options: Ready) -> Result<ExitCode, Failure> {
    let server = Server::new(&Client { server: options.server, json: false })?;
    server.ready().await.map(|()| ExitCode::SUCCESS)
}

/// `baton submit`.
pub async fn submit(options: Submit) -> Result<ExitCode, Failure> {
    let server = Server::new(&options.client)?;
    let (command, params) = params::read(&options.rest)?;
    let mut body = Map::new();
    body.insert("project".into(), json!(options.project));
    body.insert("type".into(), json!(options.kind));
    body.extend(command.map(|command| ("command".into(), json!(command))));
    body.insert("params".into(), Value::Object(params));
    let times = [
        ("timeout_s", options.timeout_s),
        ("queue_timeout_s", options.queue_timeout_s),
        ("silence_timeout_s", options.silence_timeout_s),
        ("total_timeout_s", options.total_timeout_s),
        ("grace_s", options.grace_s),
    ];
    body.extend(times.into_iter().filter_map(|(name, seconds)| Some((name.into(), json!(seconds?)))));
    body.extend(options.max_attempts.map(|attempts| ("max_attempts".into(), json!(attempts))));
    body.extend(options.max_cost_usd.map(|cost| ("max_cost_usd".into(), json!(cost))));
    let accepted = server.submit(&Value::Object(body), options.idempotency_key.as_deref()).await?;
    let id = text(&accepted, "task_id").to_owned();
    if !options.watch {
        screen::say(&if options.client.json { accepted.to_string() } else { id })?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.client.json {
        screen::say(&accepted.to_string())?;
    } else {
        screen::remark(&id);
    }
    watch_to_the_end(&server, &options.client, &id, None, true).await
}

/// `baton watch`.
pub async fn watch(options: Watch) -> Result<ExitCode, Failure> {
    let server = Server::new(&options.client)?;
    watch_to_the_end(&server, &options.client, &options.id, options.after, false).await
}

async fn watch_to_the_end(
    server: &Server,
    client: &Client,
    id: &str,
    after: Option<UpdateId>,
    known: bool,
) -> Result<ExitCode, Failure> {
    let mut printer = screen::Printer::new(client.json);
    let watching = stream::watch(server, id, after, known, &mut printer);
    let ended = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {
            let at = server.shown();
            screen::remark(&format!(
                "\nThe task goes on. To stop it: baton stop {id}{at}\nTo watch it again: baton watch {id}{at}"
            ));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        ended = watching => ended?,
    };
    Ok(match ended {
        Ended::Done | Ended::Unread => ExitCode::SUCCESS,
        Ended::Otherwise => ExitCode::from(FAILED),
    })
}

/// `baton stop`.
pub async fn stop(options: Stop) -> Result<ExitCode, Failure> {
    let server = Server::new(&options.client)?;
    let answer = server.stop(&options.id, options.force).await?;
    screen::say(&if options.client.json {
        answer.to_string()
    } else {
        format!("{} is {}", options.id, text(&answer, "status"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `baton ls`.
pub async fn ls(options: Ls) -> Result<ExitCode, Failure> {
    let server = Server::new(&options.client)?;
    let mut query: Vec<(&str, String)> = Vec::new();
    query.extend(options.project.iter().map(|value| ("project", value.clone())));
    query.extend(options.kind.iter().map(|value| ("type", value.clone())));
    query.extend(options.status.iter().map(|value| ("status", value.clone())));
    let limit = if options.all { usize::MAX } else { options.limit };
    let Listed { items: tasks, more, .. } = server.list("tasks", "tasks", query, limit).await?;
    if options.client.json {
        let lines: Vec<String> = tasks.iter().map(Value::to_string).collect();
        if !lines.is_empty() {
            screen::say(&lines.join("\n"))?;
        }
    } else if tasks.is_empty() {
        let filtered = !(options.project.is_empty() && options.kind.is_empty() && options.status.is_empty());
        let hint = if filtered {
            "No task is like that. All that there are: baton ls"
        } else {
            "There are no tasks yet. To submit one: baton submit --help"
        };
        screen::remark(hint);
    } else {
        screen::say(&table::of(&tasks))?;
    }
    if more {
        screen::remark(&format!("(the newest {limit}; there are more: --limit N, or --all)"));
    }
    Ok(ExitCode::SUCCESS)
}

/// `baton show`.
pub async fn show(options: Show) -> Result<ExitCode, Failure> {
    let server = Server::new(&options.client)?;
    let task = server.show(&options.id).await?;
    screen::say(&if options.client.json { task.to_string() } else { table::of_one(&task) })?;
    Ok(ExitCode::SUCCESS)
}

/// A text field of an answer; empty if it is absent.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
