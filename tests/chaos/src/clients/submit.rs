//! Submitting and stopping.

use super::{ANSWERED_WITHIN, Clients};
use crate::plan;
use crate::story::{Answer, Post, Stop, now};
use futures_util::SinkExt as _;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// How often something is tried.
const TRIES: usize = 40;
/// From one try to the next.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long a watcher that says STOP stays to see it off.
const SEES_OFF: Duration = Duration::from_millis(300);

impl Clients {
    /// Submits a task until it is accepted; gives the ids that it was given. Without a key each try is a task of its own: who was not
    /// answered tries again, and does not learn of the first.
    pub async fn submit(&self, number: usize, task: &plan::Task) -> Vec<String> {
        let key = task.keyed.then(|| format!("chaos-{number}"));
        let body = task.body();
        let mut ids = Vec::new();
        for n in 0..TRIES {
            let api = task.api + n;
            let first = self.post(number, key.as_deref(), &body, api);
            let answers = if task.at_two && n == 0 {
                let (first, second) = tokio::join!(first, self.post(number, key.as_deref(), &body, api + 1));
                vec![first, second]
            } else {
                vec![first.await]
            };
            for answer in answers {
                if let Answer::Accepted(id) = answer
                    && !ids.contains(&id)
                {
                    ids.push(id);
                }
            }
            if !ids.is_empty() || self.stage.is_over() {
                break;
            }
            sleep(TRY_AGAIN_AFTER).await;
        }
        ids
    }

    async fn post(&self, number: usize, key: Option<&str>, body: &Value, api: usize) -> Answer {
        let mut request = self.http.post(format!("{}/tasks", self.url(api))).json(body).timeout(ANSWERED_WITHIN);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = match request.send().await {
            Ok(answer) if answer.status().is_success() => match answer.json::<Value>().await {
                Ok(body) => Answer::Accepted(body["task_id"].as_str().unwrap_or_default().to_owned()),
                Err(error) => Answer::Lost(error.to_string()),
            },
            Ok(answer) => Answer::Refused(answer.status().as_u16()),
            Err(error) => Answer::Lost(error.to_string()),
        };
        let api = api % self.stage.cast.urls.len();
        self.witness.post(Post { number, key: key.map(str::to_owned), api, at: now(), answer: answer.clone() });
        answer
    }

    /// Stops a task as planned.
    pub async fn stop(&self, id: &str, plan: plan::Stop) {
        if plan.by_watcher {
            self.say_stop(id, plan.api).await;
        }
        if !plan.by_watcher || plan.twice {
            self.stop_for_sure(id, plan.api).await;
            if plan.twice {
                self.delete(id, plan.api + 1).await;
            }
        }
    }

    /// Asks until there is an answer that settles it.
    pub async fn stop_for_sure(&self, id: &str, api: usize) {
        for n in 0..TRIES {
            let status = self.delete(id, api + n).await;
            if matches!(status, Some(202 | 409)) || self.stage.is_over() {
                return;
            }
            sleep(TRY_AGAIN_AFTER).await;
        }
    }

    async fn delete(&self, id: &str, api: usize) -> Option<u16> {
        let sent = now();
        let asked = self.http.delete(format!("{}/tasks/{id}", self.url(api))).timeout(ANSWERED_WITHIN).send().await;
        let status = asked.ok().map(|answer| answer.status().as_u16());
        let api = api % self.stage.cast.urls.len();
        self.witness.stop(Stop { task: id.to_owned(), api, sent, at: now(), status });
        status
    }

    /// As a watcher says it, and then goes: it is not told whether it was heard.
    async fn say_stop(&self, id: &str, api: usize) {
        let sent = now();
        let url = format!("{}/tasks/{id}/watch", self.url(api).replace("http://", "ws://"));
        if let Ok(Ok((mut socket, _))) = timeout(ANSWERED_WITHIN, connect_async(url)).await {
            // Whether it gets there is what is being tried.
            let _ = socket.send(Message::text("STOP")).await;
            sleep(SEES_OFF).await;
        }
        let api = api % self.stage.cast.urls.len();
        self.witness.stop(Stop { task: id.to_owned(), api, sent, at: now(), status: None });
    }
}
