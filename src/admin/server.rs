//! The operators' door: HTTP over a unix socket, for the command line, a browser and Prometheus.
//!
//! There is no login: who may open the socket (mode 0660) is an operator, and changes are told in the
//! log with his uid. It starts nothing of its own but one task a connection, all ended by the stop.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Bytes, Frame as BodyFrame, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answer::Answer;
use super::desk::Desk;
use super::request::Request;

/// Most connections at once; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 64;
/// Largest request body, in bytes: an import piece of 24 lines of 16 KiB.
const MAX_BODY_BYTES: usize = 512 * 1024;
/// How long a request may take to arrive, its head and its body each.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing is accepted after a connection could not be.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long answers under way may go on after the stop began.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The bound socket. Dropping it removes the file.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
}

/// Why the socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers there.
    #[error("another tixing answers at `{}`; stop it, or give this one a socket of its own (admin.socket)", .0.display())]
    Taken(PathBuf),
    /// The system refused.
    #[error("cannot make the admin socket `{}`", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl Door {
    /// Binds the socket at `path`, mode 0660; its folder is made if it is missing.
    ///
    /// A socket that nobody answers at is a dead process's and is replaced. Call it with the store's lock
    /// held: that is what keeps two daemons apart, not the socket.
    ///
    /// # Errors
    /// [`BindError`]; nothing is left behind.
    pub async fn bind(path: &Path) -> Result<Self, BindError> {
        let error = |cause| BindError::Io { path: path.to_owned(), cause };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(error)?;
        }
        match UnixStream::connect(path).await {
            Ok(_answered) => return Err(BindError::Taken(path.to_owned())),
            Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(error)?;
            }
            // Nothing is there, or binding will say what is.
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(error)?;
        let door = Self { listener, path: path.to_owned() };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(error)?;
        Ok(door)
    }

    /// Answers until `stop` resolves, then lets answers under way end for at most 2 s.
    pub async fn serve(self, desk: Desk, stop: impl Future<Output = ()> + Send) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let permit = Arc::clone(&permits).acquire_owned();
            let accepted = async {
                let permit = permit.await.expect("the semaphore is never closed");
                (permit, self.listener.accept().await)
            };
            tokio::select! {
                () = &mut stop => break,
                Some(_ended) = connections.join_next() => {}
                (permit, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let desk = desk.clone();
                        connections.spawn(async move {
                            serve_connection(stream, desk).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        // Out of file descriptors, most likely: others free some.
                        tracing::warn!("An operator's connection was not accepted: {error}");
                        desk.clock().sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        let all = async { while connections.join_next().await.is_some() {} };
        // What is cut off here shows to its reader as an answer without an end.
        let _cut_off = tokio::time::timeout(STOP_TIMEOUT, all).await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // When it is gone already, all is well.
        let _gone = std::fs::remove_file(&self.path);
    }
}

async fn serve_connection(stream: UnixStream, desk: Desk) {
    let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(answer(&desk, uid, request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("An operator's connection broke: {error}");
    }
}

async fn answer(desk: &Desk, uid: u32, request: HttpRequest<Incoming>) -> Response<Reply> {
    let path = request.uri().path().to_owned();
    let allowed = match path.as_str() {
        "/v1/run" => Method::POST,
        "/" | "/readyz" | "/metrics" => Method::GET,
        _ => return text(StatusCode::NOT_FOUND, "there are /, /readyz, /metrics and /v1/run\n"),
    };
    // hyper answers a HEAD without its body.
    let is_read = allowed == Method::GET && request.method() == Method::HEAD;
    if *request.method() != allowed && !is_read {
        let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, format!("{path} takes {allowed}\n"));
        let allowed = HeaderValue::from_str(allowed.as_str()).expect("method names are header values");
        reply.headers_mut().insert(ALLOW, allowed);
        return reply;
    }
    match path.as_str() {
        "/v1/run" => run(desk, uid, request.into_body()).await,
        "/readyz" => ready(desk),
        "/metrics" => text(StatusCode::OK, desk.metrics()),
        _ => text(StatusCode::OK, concat!("tixing ", env!("CARGO_PKG_VERSION"), ": see `tixing status`\n")),
    }
}

fn ready(desk: &Desk) -> Response<Reply> {
    match desk.control().map(super::control::Control::status) {
        // What was in force still is, and reports are still taken: no reason to send anybody away.
        Some(status) if status.ready => match status.reload.refusal() {
            None => text(StatusCode::OK, "ready\n"),
            Some(why) => text(StatusCode::OK, format!("ready, but {why}\n")),
        },
        Some(status) if !status.needs_attention.is_empty() => {
            let why = status.needs_attention.join("; ");
            text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
        }
        Some(_) | None => text(StatusCode::SERVICE_UNAVAILABLE, "not ready; see `tixing status`\n"),
    }
}

async fn run(desk: &Desk, uid: u32, body: Incoming) -> Response<Reply> {
    let body = tokio::time::timeout(READ_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => {
            return text(StatusCode::BAD_REQUEST, format!("the request cannot be read: {error}\n"));
        }
        Err(_late) => return text(StatusCode::REQUEST_TIMEOUT, "the request took too long\n"),
    };
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            // Its text may quote what was sent; only place and kind of the error go back.
            let (column, kind) = (error.column(), error.classify());
            return text(
                StatusCode::BAD_REQUEST,
                format!("no request of this version: {kind:?} error at column {column}\n"),
            );
        }
    };
    let name = request.name();
    if request.changes() {
        tracing::info!(uid, "Operator with uid {uid} asks: {name}");
    } else {
        tracing::debug!(uid, "Operator with uid {uid} asks: {name}");
    }
    let mut reply = Response::new(Reply::Stream(desk.run(request)));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    reply
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Reply> {
    let mut reply = Response::new(Reply::Whole(Some(Bytes::from(text.into()))));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

/// The body of a reply: a text, or an answer that is made while it is sent.
#[derive(Debug)]
enum Reply {
    Whole(Option<Bytes>),
    Stream(Answer),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Stream(answer) => {
                answer.poll_next(context).map(|frame| Some(Bytes::from(frame?.to_wire())))
            }
        };
        next.map(|bytes| bytes.map(|bytes| Ok(BodyFrame::data(bytes))))
    }
}
