//! A platform of a few lines that does what a test's script says, down to the bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: String,
    /// The how-many-th call of this path it is, from 1.
    pub(super) nth: usize,
}

/// What to do with a request.
#[derive(Clone)]
pub(super) enum Act {
    /// Answer 200 with this JSON, and keep the connection.
    Json(String),
    /// Write these bytes, then close.
    Raw(Vec<u8>),
    /// Close without a byte.
    Close,
    /// Never answer.
    Hang,
    /// Answer when the gate is open.
    Gate(watch::Receiver<bool>, String),
    /// Answer 200 with this JSON, then close, saying nothing of it beforehand.
    JsonThenClose(String),
}

impl Act {
    pub(super) fn json(text: &str) -> Self {
        Self::Json(text.to_owned())
    }

    /// A whole response with this status line, headers and body.
    pub(super) fn status(line: &str, headers: &str, body: &[u8]) -> Self {
        let mut bytes =
            format!("HTTP/1.1 {line}\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        Self::Raw(bytes)
    }
}

type Script = dyn Fn(&Call) -> Act + Send + Sync;

pub(super) struct Fake {
    pub(super) address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    tasks: JoinSet<()>,
}

impl Fake {
    pub(super) async fn start(script: impl Fn(&Call) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&calls), script));
        Self { address, calls, tasks }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on nobody listens.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    pub(super) fn calls(&self, path: &str) -> Vec<Call> {
        self.calls.lock().unwrap().iter().filter(|call| call.path.contains(path)).cloned().collect()
    }

    pub(super) fn n(&self, path: &str) -> usize {
        self.calls(path).len()
    }
}

async fn accept(listener: TcpListener, calls: Arc<Mutex<Vec<Call>>>, script: Arc<Script>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _peer)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&calls), Arc::clone(&script)));
    }
}

async fn serve(mut stream: TcpStream, calls: Arc<Mutex<Vec<Call>>>, script: Arc<Script>) {
    let mut buffer = Vec::new();
    while let Some(mut call) = read_call(&mut stream, &mut buffer).await {
        {
            let mut calls = calls.lock().unwrap();
            call.nth = calls.iter().filter(|other| other.path == call.path).count() + 1;
            calls.push(call.clone());
        }
        let (json, close) = match script(&call) {
            Act::Json(json) => (json, false),
            Act::JsonThenClose(json) => (json, true),
            Act::Gate(mut gate, json) => {
                gate.wait_for(|open| *open).await.unwrap();
                (json, false)
            }
            Act::Raw(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                return;
            }
            Act::Close => return,
            Act::Hang => std::future::pending().await,
        };
        let text = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json; encoding=utf-8\r\ncontent-length: {}\r\n\r\n{json}",
            json.len()
        );
        if stream.write_all(text.as_bytes()).await.is_err() || close {
            return;
        }
    }
}

/// `None` at the end of the connection, or where what comes is no HTTP.
async fn read_call(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Call> {
    loop {
        if let Some(call) = cut_call(buffer) {
            return Some(call);
        }
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).await.ok().filter(|n| *n > 0)?;
        buffer.extend_from_slice(&piece[..n]);
    }
}

fn cut_call(buffer: &mut Vec<u8>) -> Option<Call> {
    let text = str::from_utf8(buffer).ok()?;
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    let body = rest.get(..length)?.to_owned();
    let mut words = head.split(' ');
    let method = words.next()?.to_owned();
    let (path, query) = words.next().map(|t| t.split_once('?').unwrap_or((t, "")))?;
    let call = Call { method, path: path.to_owned(), query: query.to_owned(), body, nth: 0 };
    let end = head.len() + 4 + length;
    buffer.drain(..end);
    Some(call)
}
