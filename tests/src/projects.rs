//! A project API that answers as a test wants it to, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers with this status and body.
    Status(u16, String),
    /// Says nothing, and keeps the connection.
    Silence,
    /// Says nothing, and drops the connection.
    HangUp,
}

/// A running project API. It ends when it is dropped.
pub struct ProjectsApi {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl ProjectsApi {
    /// Starts one that gives these answers in turn, and the last of them from then on.
    pub async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heads = asked.clone();
        let serving = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = read_head(&mut stream).await;
                let turn = {
                    let mut heads = heads.lock().unwrap();
                    heads.push(head);
                    heads.len() - 1
                };
                match &answers[turn.min(answers.len() - 1)] {
                    Answer::Status(status, body) => write(stream, *status, body).await,
                    Answer::Silence => kept.push(stream),
                    Answer::HangUp => {}
                }
            }
        });
        Self { url, asked, serving }
    }

    /// The heads of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for ProjectsApi {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

async fn write(mut stream: TcpStream, status: u16, body: &str) {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\n\r\n{body}"
    );
    // Whoever asked may have gone meanwhile.
    let _ = stream.write_all(answer.as_bytes()).await;
}
