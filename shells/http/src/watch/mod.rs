//! `/tasks/{id}/watch`: the WebSocket's opening handshake, and what the watcher asked for.
//!
//! What is wrong with the handshake is an HTTP answer; what is wrong with the watch is a close code, as a browser
//! shows no answer to its scripts.

mod close;
mod frames;
mod outbox;
mod session;

use crate::answer::{Refused, put, upgrade_required};
use crate::connection::Connection;
use crate::query::{Query, WatchQuery, in_words};
use crate::routes::{Shell, named_task, task_id};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use baton_core::hub::Format;
use baton_core::problem::Problem;
use baton_runtime::ports::{Log, World};
use close::Close;
use hyper_util::rt::TokioIo;
use session::{Session, Wish};
use tungstenite::handshake::derive_accept_key;

/// The subprotocol whose frames are JSON.
const SUBPROTOCOL: &str = "baton.v1";

pub async fn watch<L: Log, W: World>(
    State(shell): State<Shell<L, W>>,
    id: Result<Path<String>, PathRejection>,
    mut request: Request,
) -> Result<Response, Refused> {
    let accept = match accept_key(&request) {
        Ok(accept) => accept,
        Err(problem) => return Ok(handshake_refused(problem)),
    };
    let place = shell.watcher_place()?;
    let offered = items(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == SUBPROTOCOL);
    let wish = read_wish(id, request.uri(), offered);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<Connection>>() else {
            tracing::error!("a WebSocket was opened on a server that is not baton_http::serve; it is dropped");
            return;
        };
        let (stream, connection_place) = parts.io.into_inner().into_parts();
        let session = Session::new(shell, stream, &parts.read_buf, (place, connection_place));
        drop(parts.read_buf);
        session.run(wish).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    put(&mut response, header::SEC_WEBSOCKET_ACCEPT, &accept);
    if offered {
        put(&mut response, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    }
    Ok(response)
}

/// What the watcher wants. The error is how to close at once.
fn read_wish(id: Result<Path<String>, PathRejection>, uri: &Uri, json: bool) -> Result<Wish, Close> {
    let id = task_id(id, uri).map_err(|_| Close::no_such_task(named_task(uri)))?;
    let query = Query::decode(uri.query()).map_err(|problem| Close::bad_query(&problem.detail))?;
    let query = WatchQuery::read(&query).map_err(|errors| Close::bad_query(&in_words(&errors)))?;
    let format = if json { Format::Json } else { query.format.unwrap_or(Format::Plain) };
    Ok(Wish { id, format, after: query.after })
}

/// Checks the opening handshake (RFC 6455, section 4.2.1), and gives what proves that it was understood.
fn accept_key(request: &Request) -> Result<String, Problem> {
    let headers = request.headers();
    let asked = offers(headers, &header::UPGRADE, "websocket") && offers(headers, &header::CONNECTION, "upgrade");
    if !asked || request.method() != Method::GET {
        let path = request.uri().path();
        return Err(upgrade_required(format!(
            "{path} is to be opened as a WebSocket; for plain HTTP there is /events"
        )));
    }
    if request.version() < Version::HTTP_11 {
        return Err(Problem::bad_request("a WebSocket needs HTTP/1.1"));
    }
    let only = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    if only(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(upgrade_required("Sec-WebSocket-Version must be 13"));
    }
    // Sixteen bytes in base64.
    let key = only(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24 && key.as_bytes().ends_with(b"=="));
    let key = key.ok_or_else(|| Problem::bad_request("Sec-WebSocket-Key must be 16 bytes in base64"))?;
    Ok(derive_accept_key(key.as_bytes()))
}

fn handshake_refused(problem: Problem) -> Response {
    let upgrade = problem.status == StatusCode::UPGRADE_REQUIRED.as_u16();
    let mut response = Refused(problem).into_response();
    if upgrade {
        put(&mut response, header::UPGRADE, "websocket");
        put(&mut response, header::CONNECTION, "Upgrade");
        put(&mut response, header::SEC_WEBSOCKET_VERSION, "13");
    }
    response
}

/// Whether the word stands in the header's list, in whatever case.
fn offers(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(word))
}

/// The items of a header that is a list.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lists = headers.get_all(name).into_iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}
