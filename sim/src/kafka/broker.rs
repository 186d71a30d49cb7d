//! A broker's process: takes requests from the network, and answers when it can.

use super::cluster::Cluster;
use super::late::send_late;
use super::wire::{Broker, Error, Request, Response};
use baton_core::log::Topic;
use madsim::net::Endpoint;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The tag of requests.
pub(super) const REQUESTS: u64 = 0;
/// How long a fetch, an append or a join waits at the broker before it is answered empty-handed.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(10);

/// How long a join waits at the broker.
pub(super) const JOIN_WAIT: Duration = Duration::from_secs(3);

/// A request as it goes over the network: where the answer goes, and whether it may wait.
pub(super) struct Asked {
    /// The tag of the answer, and where it goes if not to whoever it came from.
    pub reply_to: (u64, Option<SocketAddr>),
    pub request: Request,
}

/// Where a broker listens.
pub fn address(broker: Broker) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, broker + 1], 9092))
}

impl Cluster {
    /// Serves this broker's clients until its process dies.
    pub async fn serve(&self, broker: Broker) {
        self.broker_up(broker);
        let endpoint = Arc::new(Endpoint::bind(address(broker)).await.expect("the address is free"));
        while let Ok((asked, from)) = endpoint.recv_from_raw(REQUESTS).await {
            let Ok(asked) = asked.downcast::<Asked>() else { continue };
            let (cluster, endpoint) = (self.clone(), endpoint.clone());
            tokio::spawn(async move {
                let Asked { reply_to: (tag, to), request } = *asked;
                let response = cluster.serve_one(broker, request).await;
                let to = to.unwrap_or(from);
                let _ = match cluster.lateness() {
                    None => endpoint.send_to_raw(to, tag, Box::new(response)).await,
                    Some(after) => send_late(&endpoint, after, (to, tag), response.into()).await,
                };
            });
        }
    }

    async fn serve_one(&self, broker: Broker, mut request: Request) -> Response {
        if matches!(request, Request::Produce { .. }) {
            let delay = self.disk_delay(broker);
            if !delay.is_zero() {
                sleep(delay).await;
            }
        }
        if matches!(request, Request::Join { .. }) {
            return self.join(broker, request).await;
        }
        let topic = match &request {
            Request::Produce { topic, .. } => *topic,
            Request::Fetch { from, .. } => from.first().map_or(Topic::Control, |(topic, ..)| *topic),
            _ => Topic::Control,
        };
        let answered = async {
            loop {
                let changed = self.topic_changed(topic);
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(response) = self.handle(broker, &mut request) {
                    return response;
                }
                changed.await;
            }
        };
        timeout(MAX_WAIT, answered).await.unwrap_or(Response::Done)
    }

    async fn join(&self, broker: Broker, mut request: Request) -> Response {
        if let Some(refused) = self.handle(broker, &mut request) {
            return refused;
        }
        let Request::Join { group, member, .. } = request else { return Response::Done };
        let joined = self.until_joined(broker, &group, member);
        // The member asks again: its answer may have been lost.
        timeout(JOIN_WAIT, joined).await.unwrap_or(Response::Error(Error::RebalanceInProgress))
    }

    async fn until_joined(&self, broker: Broker, group: &str, member: u64) -> Response {
        loop {
            let changed = self.group_changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(joined) = self.joined(group, member) {
                return joined;
            }
            changed.await;
            if !self.coordinates(broker) {
                return Response::Error(Error::NotLeader);
            }
        }
    }
}
