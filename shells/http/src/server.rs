//! The accept loop. One small task a connection, and a bound on how many there are.
//!
//! It never waits for a client: what a slow one holds up is its own connection.

use crate::connection::Connection;
use crate::options::{MAX_HEAD, Options, SPARE_CONNECTIONS};
use crate::shutdown::Shutdown;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// How long to wait after a connection could not be accepted: mostly for file descriptors to come free.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Serves `router`, made by [`crate::router`] with the same options and shutdown, until [`Shutdown::close`] was called
/// and all connections have ended, or [`Options::closed_within`] is over.
///
/// A WebSocket needs this server: it takes the connection's socket over.
pub async fn serve(listener: TcpListener, router: Router, options: &Options, shutdown: &Shutdown) -> io::Result<()> {
    let places = u32::try_from(options.max_watchers.saturating_add(SPARE_CONNECTIONS)).unwrap_or(u32::MAX >> 4);
    let free = Arc::new(Semaphore::new(places as usize));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(options.head_within).max_buf_size(MAX_HEAD);

    let accepting = async {
        loop {
            let place = free.clone().acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = open(stream, place, options);
                    tokio::spawn(converse(http.clone(), connection, router.clone(), shutdown.clone()));
                }
                Err(error) => {
                    if !is_of_the_connection(&error) {
                        tracing::error!(%error, "could not accept a connection; trying again");
                        sleep(ACCEPT_AGAIN_AFTER).await;
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.closing() => {}
        () = accepting => unreachable!("it accepts for ever"),
    }
    drop(listener);
    if timeout(options.closed_within, free.acquire_many(places)).await.is_err() {
        let left = places as usize - free.available_permits();
        tracing::warn!(connections = left, "connections were still open at the end; they are cut");
    }
    Ok(())
}

fn open(stream: TcpStream, place: OwnedSemaphorePermit, options: &Options) -> Connection {
    // A frame that waits for the acknowledgement of the one before it would be 40 ms late.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    Connection::new(stream, place, options.stalled_after)
}

async fn converse(http: http1::Builder, connection: Connection, router: Router, shutdown: Shutdown) {
    let service = TowerToHyperService::new(router);
    let conversation = http.serve_connection(TokioIo::new(connection), service).with_upgrades();
    tokio::pin!(conversation);
    let ended = tokio::select! {
        biased;
        ended = conversation.as_mut() => ended,
        () = shutdown.closing() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(error = &error as &dyn std::error::Error, "a connection ended early");
    }
}

/// Whether the one connection is at fault, which has gone before it was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
