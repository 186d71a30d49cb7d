//! Listening and answering, from the socket to the last connection: the API, and the small services beside it. It knows how
//! they begin and end, and nothing of what they say.

use crate::cli::{Access, Api as ApiOptions};
use crate::report::Failure;
use axum::Router;
use baton_core::hub::HubConfig;
use baton_core::presence::Identity;
use baton_core::types::TaskTypes;
use baton_http::{Options, Shutdown};
use baton_runtime::api::Api;
use baton_runtime::ports::{Log, LogError};
use baton_runtime::world::SystemWorld;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};

/// A socket that listens, and whom it lets in.
pub struct Listening {
    /// What was bound.
    pub address: SocketAddr,
    listener: TcpListener,
    options: Options,
}

impl Listening {
    /// The workers' program is known here, and may be shown.
    pub fn with_agent(mut self, agent: &[String]) -> Self {
        self.options.agent = Some(agent.to_vec());
        self
    }
}

/// Listens there. `--trust-network` must have been said where others than this machine can reach it.
pub async fn listen(flag: &str, at: SocketAddr, trusted: bool) -> Result<Listening, Failure> {
    if !at.ip().is_loopback() && !trusted {
        return Err(Failure::usage(format!(
            "{flag} {at} would let in whoever can reach this machine, and there is nothing yet that tells them apart; \
             listen on 127.0.0.1 or [::1], and put a proxy that checks who they are in front; or say --trust-network"
        )));
    }
    let unbound =
        |error| Failure::unreachable(format!("could not listen on {at}: {error}; give another {flag} address"));
    let listener = TcpListener::bind(at).await.map_err(unbound)?;
    let address = listener.local_addr().map_err(unbound)?;
    let options = Options::for_listener(&listener).map_err(unbound)?;
    Ok(Listening { address, listener, options })
}

/// Listens where the API is to.
pub async fn listen_for_api(options: &Access) -> Result<Listening, Failure> {
    let mut listening = listen("--listen", options.listen, options.trust_network).await?;
    listening.options.allowed_hosts.clone_from(&options.allowed_host);
    listening.options.allowed_origins = options.allowed_origin.iter().map(|origin| origin.0.clone()).collect();
    Ok(listening)
}

/// A server that runs.
pub struct Server {
    serving: JoinHandle<io::Result<()>>,
    shutdown: Shutdown,
}

impl Server {
    /// A service with no more than these calls, and those for its health.
    pub fn start(listening: Listening, calls: Router) -> Self {
        let shutdown = Shutdown::default();
        let router = baton_http::plain_router(calls, &listening.options, &shutdown);
        Self::serve(listening, router, shutdown)
    }

    fn serve(listening: Listening, router: Router, shutdown: Shutdown) -> Self {
        let Listening { listener, options, .. } = listening;
        let told = shutdown.clone();
        let serving = tokio::spawn(async move { baton_http::serve(listener, router, &options, &told).await });
        Self { serving, shutdown }
    }

    /// It says that it is going, and goes on.
    pub fn drain(&self) {
        self.shutdown.drain();
    }

    /// Why it has ended, when it has ended by itself.
    pub async fn failed(&mut self) -> Failure {
        let why = match (&mut self.serving).await {
            Ok(Ok(())) => String::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Failure::unreachable(format!("the server ended: {why}"))
    }

    /// Ends it: every connection is closed, and told to come back.
    pub async fn close(self) {
        self.shutdown.close();
        if !self.serving.is_finished() {
            // Bounded by the server itself.
            let _ = self.serving.await;
        }
    }
}

/// The API over a log.
pub struct ServedApi {
    reading: JoinHandle<LogError>,
    server: Server,
}

impl ServedApi {
    /// Begins to read the log, and to answer.
    pub fn start<L: Log>(
        log: L,
        mut listening: Listening,
        types: TaskTypes,
        retention: Duration,
        options: &ApiOptions,
        identity: Identity,
    ) -> Self {
        let hub = HubConfig {
            history: options.history,
            history_memory: options.history_memory,
            retention,
            max_queued: options.max_queued as usize,
            ..HubConfig::default()
        };
        let api = Api::new(log, SystemWorld, types, hub);
        let reading = tokio::spawn({
            let api = api.clone();
            async move {
                tokio::select! {
                    biased;
                    error = api.run() => error,
                    error = api.attend(identity) => error,
                }
            }
        });
        listening.options.max_watchers = options.max_watchers as usize;
        let shutdown = Shutdown::default();
        let router = baton_http::router(api, &listening.options, &shutdown, Router::new());
        Self { reading, server: Server::serve(listening, router, shutdown) }
    }

    /// It takes no new tasks, and goes on serving watchers.
    pub fn drain(&self) {
        self.server.drain();
    }

    /// Why it has ended, when it has ended by itself.
    pub async fn failed(&mut self) -> Failure {
        tokio::select! {
            biased;
            read = &mut self.reading => Failure::unreachable(unread(read)),
            failure = self.server.failed() => failure,
        }
    }

    /// Ends it: every watcher is closed, and told to come back.
    pub async fn close(self) {
        self.server.close().await;
        self.reading.abort();
    }
}

fn unread(read: Result<LogError, JoinError>) -> String {
    match read {
        Ok(error) => format!("the API can't read the log: {error}"),
        Err(error) => format!("the API broke: {error}"),
    }
}
