//! The listening socket: connections, bodies, and the ways a request can end badly on the wire.
//!
//! HTTP/1.1 with keep-alive and no TLS. One task a connection, all owned by the sandbox and awaited at
//! [`Sandbox::stop`].

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Options;
use super::api::{self, Asked, Ending, Reply};
use super::control;
use super::platform::{Inner, Platform};
use super::post;
use crate::clock::Clock;

/// Longest body that is read; the platform's own limit is not documented.
const MAX_BODY_BYTES: usize = 8 << 20;
/// Pause after a failed accept, so that a lack of file handles does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running fake platform.
///
/// Dropped without [`Sandbox::stop`] it ends too, without being awaited.
#[derive(Debug)]
pub struct Sandbox {
    addr: SocketAddr,
    platform: Platform,
    stop: watch::Sender<()>,
    tasks: JoinSet<()>,
}

impl Sandbox {
    /// Opens the books and listens; on return requests are answered.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is not loopback; those of the books' file, where `InvalidData`
    /// names a line that cannot be read; those of the socket.
    pub async fn start(options: Options, clock: Clock) -> io::Result<Self> {
        if !options.listen.ip().is_loopback() {
            let text = "the sandbox listens on loopback only";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        let (inner, outbox) = Inner::new(options, clock)?;
        let platform = Platform(Arc::new(inner));
        let (stop, stopped) = watch::channel(());
        let mut tasks = JoinSet::new();
        tasks.spawn(post::run(Arc::clone(&platform.0), outbox, stopped.clone()));
        tasks.spawn(accept(listener, platform.clone(), stopped));
        Ok(Self { addr, platform, stop, tasks })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What stands before the paths of the platform: `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The control of this sandbox.
    pub fn platform(&self) -> Platform {
        self.platform.clone()
    }

    /// Closes the socket and every connection, and waits until all tasks have ended. Requests in flight and pushes
    /// under way are cut.
    pub async fn stop(mut self) {
        drop(self.stop);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn accept(listener: TcpListener, platform: Platform, mut stopped: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // The only thing that is ever said is that the sender is gone.
            _gone = stopped.changed() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => {
                    platform.0.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(serve(stream, platform.clone()));
                }
                Err(_lack_of_handles) => {
                    // By the machine's time: a hand-set clock may stand still.
                    let _pause = tokio::time::timeout(ACCEPT_PAUSE, stopped.changed()).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, platform: Platform) {
    // Without it every second request of a connection would wait for a delayed ACK.
    let _on_loopback_it_is_set = stream.set_nodelay(true);
    let service = service_fn(|request| answer(&platform, request));
    let mut connection =
        http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
    let ended = (&mut connection).await;
    let reset = ended.is_err_and(|error| error.source().is_some_and(<dyn Error>::is::<Reset>));
    if reset {
        let stream = connection.into_parts().io.into_inner();
        // Closing with no time to linger sends RST instead of FIN.
        let _peer_may_be_gone = stream.set_zero_linger();
    }
}

/// The order to reset the connection instead of answering.
#[derive(Debug)]
struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault resets the connection")
    }
}

impl Error for Reset {}

async fn answer(platform: &Platform, request: Request<Incoming>) -> Result<Response<Sending>, Reset> {
    let (head, body) = request.into_parts();
    // A client that leaves within its body has asked for nothing.
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|_left_or_too_long| Reset)?;
    let asked = Asked {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: body.to_bytes(),
    };
    let ending = if asked.path.starts_with("/sandbox/") {
        Ending::Whole(control::answer(platform, &asked).await)
    } else {
        api::answer(&platform.0, &asked).await
    };
    match ending {
        Ending::Whole(reply) => Ok(response(reply, Part::Whole)),
        Ending::Half(reply) => Ok(response(reply, Part::Half)),
        Ending::Reset => Err(Reset),
    }
}

#[derive(Clone, Copy)]
enum Part {
    Whole,
    Half,
}

fn response(reply: Reply, part: Part) -> Response<Sending> {
    let promised = u64::try_from(reply.body.len()).unwrap_or(u64::MAX);
    let mut rest = reply.body;
    let state = match part {
        Part::Whole => Step::Whole,
        Part::Half => {
            rest.truncate(rest.len() / 2);
            Step::Half
        }
    };
    let mut response = Response::new(Sending { rest, promised, step: state });
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    response
}

/// A body that may break its promise: it announces the whole length, gives half, and fails.
struct Sending {
    rest: Bytes,
    promised: u64,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Whole,
    /// Half of it is to be given.
    Half,
    /// Half was given: lets it be flushed before the failure.
    Flush,
    Fail,
    Done,
}

/// Why a truncated body ends.
#[derive(Debug)]
struct Truncated;

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault ends the answer")
    }
}

impl Error for Truncated {}

impl Body for Sending {
    type Data = Bytes;
    type Error = Truncated;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        let this = self.get_mut();
        match this.step {
            Step::Whole if this.rest.is_empty() => {
                this.step = Step::Done;
                Poll::Ready(None)
            }
            Step::Whole => {
                this.step = Step::Done;
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))))
            }
            Step::Half => {
                this.step = Step::Flush;
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))))
            }
            Step::Flush => {
                this.step = Step::Fail;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Step::Fail => Poll::Ready(Some(Err(Truncated))),
            Step::Done => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.step == Step::Done || self.step == Step::Whole && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.step {
            Step::Done => SizeHint::with_exact(0),
            Step::Whole | Step::Half | Step::Flush | Step::Fail => SizeHint::with_exact(self.promised),
        }
    }
}
