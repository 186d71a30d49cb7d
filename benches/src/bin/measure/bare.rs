//! What the machine does without Baton: a server that answers POSTs at once, and a loop of socket writes.

use crate::server::Owned;
use crate::{Result, agent};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use baton_core::id::TaskId;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

/// The words of the command lines.
pub const POSTS: &str = "bare-posts";
/// See [`POSTS`].
pub const FAN_OUT: &str = "bare-fan-out";

/// One of these servers, in a process of its own, as Baton is.
pub struct Bare {
    _process: Owned,
    pub address: SocketAddr,
}

impl Bare {
    pub fn start(words: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = Owned(command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
        let mut address = String::new();
        BufReader::new(process.0.stdout.take().ok_or("no pipe")?).read_line(&mut address)?;
        Ok(Self { _process: process, address: address.trim().parse()? })
    }
}

/// Listens, and says where.
fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    Ok(listener)
}

/// The POST without a log: the body is read as JSON, and the answer has the same shape.
pub fn serve_posts() -> Result<()> {
    let answer = |body: Bytes| async move {
        let asked = serde_json::from_slice::<serde_json::Value>(&body).is_ok();
        let status = if asked { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST };
        (status, serde_json::json!({"task_id": TaskId::from_random([1; 16]), "status": "queued"}).to_string())
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = listen()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(axum::serve(listener, Router::new().route("/tasks", post(answer))).await?)
    })
}

/// Runs the agent, and writes each of its lines to so many sockets.
pub fn serve_fan_out(watchers: &str, words: &[&str]) -> Result<()> {
    let listener = listen()?;
    let mut sockets = Vec::new();
    for _ in 0..watchers.parse()? {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        // The clients send one small request each: one read has it.
        let _ = socket.read(&mut [0; 4096])?;
        socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x0bStarting...")?;
        sockets.push(socket);
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(agent::WORD).args(words);
    let mut agent = Owned(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    for line in BufReader::new(agent.0.stdout.take().ok_or("no pipe")?).lines() {
        let line = line?;
        let mut frame = vec![0x81, u8::try_from(line.len())?];
        frame.extend_from_slice(line.as_bytes());
        for socket in &mut sockets {
            socket.write_all(&frame)?;
        }
    }
    Ok(())
}
