//! Calls of the API with an answer.

use super::{ANSWERED_WITHIN, Clients};
use serde_json::Value;

/// How many tasks a page has at most.
const PAGE: usize = 500;

impl Clients {
    /// A GET: its status, and its body if that is JSON.
    pub async fn get(&self, api: usize, path: &str) -> Result<(u16, Value), String> {
        let asked = self.http.get(format!("{}{path}", self.url(api))).timeout(ANSWERED_WITHIN).send().await;
        let answer = asked.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// Whether the replica says that it has read its log.
    pub async fn is_ready(&self, api: usize) -> bool {
        matches!(self.get(api, "/readyz").await, Ok((200, _)))
    }

    /// The tasks that have not ended, as one replica knows them: id and type.
    pub async fn open_tasks(&self, api: usize) -> Result<Vec<(String, String)>, String> {
        let path = format!("/tasks?limit={PAGE}&status=queued&status=running&status=retrying&status=stopping");
        let (status, body) = self.get(api, &path).await?;
        if status != 200 {
            return Err(format!("GET {path} was answered with {status}"));
        }
        let tasks = body["tasks"].as_array().ok_or("a page has no tasks")?;
        let text = |task: &Value, name: &str| task[name].as_str().unwrap_or_default().to_owned();
        Ok(tasks.iter().map(|task| (text(task, "task_id"), text(task, "type"))).collect())
    }
}
