//! Clients that do hardly any work, so that it is not they who are measured: HTTP and WebSocket on bare sockets.

use crate::Result;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No measure waits longer than this for a byte.
pub const WITHIN: Duration = Duration::from_secs(30);

pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WITHIN))?;
    Ok(stream)
}

/// A keep-alive connection.
pub struct Http {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: connect(address)?, buffer: Vec::new() })
    }

    pub fn get(&mut self, path: &str) -> Result<(u16, Vec<u8>)> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())?;
        self.answer()
    }

    /// Submits a task, and gives its id.
    pub fn submit(&mut self, body: &str) -> Result<String> {
        self.stream.write_all(&post(body, None))?;
        let (status, answer) = self.answer()?;
        if status != 202 {
            return Err(format!("POST: {status} {}", String::from_utf8_lossy(&answer)).into());
        }
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        Ok(answer["task_id"].as_str().ok_or("no task_id")?.to_owned())
    }

    /// The next answer: its status and body.
    pub fn answer(&mut self) -> Result<(u16, Vec<u8>)> {
        loop {
            if let Some((status, start, end)) = whole_answer(&self.buffer) {
                let body = self.buffer[start..end].to_vec();
                self.buffer.drain(..end);
                return Ok((status, body));
            }
            let mut bytes = [0; 4096];
            let read = self.stream.read(&mut bytes)?;
            if read == 0 {
                return Err("the connection was closed".into());
            }
            self.buffer.extend_from_slice(&bytes[..read]);
        }
    }
}

/// A POST of a task as it goes over the wire.
pub fn post(body: &str, key: Option<&str>) -> Vec<u8> {
    let key = key.map_or_else(String::new, |key| format!("idempotency-key: {key}\r\n"));
    let head = "POST /tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    format!("{head}{key}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The status of a whole answer at the head of `bytes`, and where its body begins and ends.
fn whole_answer(bytes: &[u8]) -> Option<(u16, usize, usize)> {
    let start = end_of_head(bytes)?;
    let head = std::str::from_utf8(&bytes[..start]).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length: usize =
        head.split("content-length: ").nth(1).map_or(Some(0), |l| l.split('\r').next()?.parse().ok())?;
    (bytes.len() >= start + length).then_some((status, start, start + length))
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

/// What a server sends on a WebSocket.
pub enum Frame<'a> {
    Text(&'a [u8]),
    Close,
    /// Ping or pong.
    Other,
}

/// A watcher.
pub struct WebSocket {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    /// What lies in the buffer and was not given yet.
    start: usize,
    end: usize,
}

impl WebSocket {
    pub fn connect(address: SocketAddr, path: &str) -> Result<Self> {
        let mut stream = connect(address)?;
        let head = "host: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13";
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        stream.write_all(format!("GET {path} HTTP/1.1\r\n{head}\r\nsec-websocket-key: {key}\r\n\r\n").as_bytes())?;
        let mut socket = Self { stream, buffer: vec![0; 4096], start: 0, end: 0 };
        loop {
            socket.fill()?;
            if let Some(end) = end_of_head(&socket.buffer[..socket.end]) {
                let head = String::from_utf8_lossy(&socket.buffer[..end]);
                if !head.starts_with("HTTP/1.1 101") {
                    return Err(format!("no WebSocket: {head}").into());
                }
                socket.start = end;
                return Ok(socket);
            }
        }
    }

    /// Watches a task.
    pub fn watch(address: SocketAddr, id: &str) -> Result<Self> {
        Self::connect(address, &format!("/tasks/{id}/watch"))
    }

    /// Holds much at a time, for those who read much.
    pub fn with_large_buffer(mut self) -> Self {
        self.buffer.resize(1 << 20, 0);
        self
    }

    /// Asks for the task's end. A client's frame is masked; a mask of zeros changes nothing.
    pub fn send_stop(&mut self) -> Result<()> {
        Ok(self.stream.write_all(b"\x81\x84\0\0\0\0STOP")?)
    }

    /// The next frame; waits for it.
    pub fn next(&mut self) -> Result<Frame<'_>> {
        while !self.has_frame() {
            self.fill()?;
        }
        Ok(self.take())
    }

    /// Waits for a text frame that begins so.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        loop {
            match self.next()? {
                Frame::Text(frame) if frame.starts_with(text.as_bytes()) => return Ok(()),
                Frame::Close => return Err(format!("closed before {text:?}").into()),
                _ => {}
            }
        }
    }

    /// Whether [`Self::take`] will give a frame.
    pub fn has_frame(&self) -> bool {
        frame_at(&self.buffer[self.start..self.end]).is_some()
    }

    /// The frame that is there.
    pub fn take(&mut self) -> Frame<'_> {
        let Some((opcode, head, length)) = frame_at(&self.buffer[self.start..self.end]) else { return Frame::Other };
        let payload = self.start + head;
        self.start = payload + length;
        match opcode {
            1 => Frame::Text(&self.buffer[payload..self.start]),
            8 => Frame::Close,
            _ => Frame::Other,
        }
    }

    /// Reads once.
    pub fn fill(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                self.buffer.resize(2 * self.end, 0);
            }
        }
        let read = self.stream.read(&mut self.buffer[self.end..])?;
        if read == 0 {
            return Err("the connection was closed".into());
        }
        self.end += read;
        Ok(())
    }
}

/// The opcode of a whole frame at the head of `bytes`, and the lengths of its head and its payload.
fn frame_at(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (head, length) = match bytes {
        [_, short @ 0..=125, ..] => (2, u64::from(*short)),
        [_, 126, rest @ ..] => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        [_, 127, rest @ ..] => (10, u64::from_be_bytes(*rest.first_chunk()?)),
        _ => return None,
    };
    let length = usize::try_from(length).ok()?;
    (bytes.len() >= head + length).then_some((bytes[0] & 0x0f, head, length))
}
