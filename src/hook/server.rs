//! The accept loop: which connections there are, how long each may take, and how they end.
//!
//! `axum::serve` has none of these limits (measured: half a head kept a connection for 75 s and
//! more). Nothing here knows a route.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write as _;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use super::address::{NoSeat, Proxies, Seat, Seats, counted};
use super::answer::Answer;
use super::guard::{Watch, Watched};
use super::problem::Problem;
use crate::clock::Clock;

/// A head takes a client one packet; who needs longer holds the place of another.
const HEAD: Duration = Duration::from_secs(5);
/// A body of 64 KiB in this time is 7 KiB/s, which the slowest phone line does.
const BODY: Duration = Duration::from_secs(10);
/// A proxy that keeps connections uses them again sooner.
const IDLE: Duration = Duration::from_secs(15);
/// Answers are small; who takes none in this time reads nothing.
const UNREAD: Duration = Duration::from_secs(15);
/// Longer than the platform client takes for a login (10 s in all), and than a disk is worth waiting for.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a connection that we close may still send, so that our last answer is not reset away.
const CLOSING: Duration = Duration::from_secs(2);
/// What such a connection may still send: a client that ignores 413 stops reading our time here.
const CLOSING_BYTES: usize = 1024 * 1024;
/// Requests in flight at a stop end within this; the unit kills after 30 s.
const STOP: Duration = Duration::from_secs(20);
/// Bodies of reports have some hundred bytes.
pub(super) const BODY_BYTES: usize = 64 * 1024;
/// A head with a session has some hundred bytes; hyper reads heads and bodies in pieces of this size.
pub(super) const HEAD_BYTES: usize = 16 * 1024;
/// Headers of a head beyond which hyper answers 431; its own default, which needs no allocation.
#[cfg(test)]
pub(super) const HEADERS: usize = 100;
/// Each may hold a head and a body: some 80 MiB in all.
const CONNECTIONS: usize = 1024;
/// A tenth of all, so that it takes more than a few addresses to take them all.
const PER_ADDRESS: usize = 128;
/// How long to wait when the machine has no more sockets, until some are closed.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The limits of the door; the default is what production uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a head, or from the start of a connection, to the end of the head.
    pub head: Duration,
    /// From the head to the end of the body.
    pub body: Duration,
    /// From an answer to the first byte of the next head.
    pub idle: Duration,
    /// From the first byte of an answer that found no room to the last one taken.
    pub unread: Duration,
    /// From the body to the answer.
    pub answer: Duration,
    /// From our close of a connection to the other side's.
    pub closing: Duration,
    /// Bytes that are still read in that time.
    pub closing_bytes: usize,
    /// From the stop to the end of the last request.
    pub stop: Duration,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address that is no proxy, with the requests that proxies carry for it.
    pub per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: HEAD,
            body: BODY,
            idle: IDLE,
            unread: UNREAD,
            answer: ANSWER,
            closing: CLOSING,
            closing_bytes: CLOSING_BYTES,
            stop: STOP,
            body_bytes: BODY_BYTES,
            connections: CONNECTIONS,
            per_address: PER_ADDRESS,
        }
    }
}

/// What answers requests.
pub(super) trait Answers: Send + Sync + 'static {
    /// The answer to `request` from `peer`; refusals are answers too.
    fn answer(
        self: &Arc<Self>,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Answer> + Send;
}

/// Accepts connections until `stop`, then waits for the requests in flight.
pub(super) async fn run(
    listener: TcpListener,
    limits: Arc<Limits>,
    (proxies, seats): (Proxies, Seats),
    clock: Clock,
    answers: Arc<impl Answers>,
    stop: impl Future<Output = ()> + Send,
) {
    let (stopping, _) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = connections.join_next() => {
                note(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok((socket, peer)) => (socket, peer.ip()),
            Err(error) => {
                warn!(error = %error, "The hook cannot accept a connection");
                clock.sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let counted = (!proxies.trust(peer)).then(|| counted(peer));
        match seats.take(counted) {
            Ok(seat) => {
                let watch = Watch::new(clock.clone(), Arc::clone(&limits));
                let answers = Arc::clone(&answers);
                connections.spawn(connection(socket, peer, seat, watch, answers, stopping.subscribe()));
            }
            Err(why) => refuse(socket, why),
        }
    }
    drop(listener);
    drop(stopping);
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    };
    tokio::select! {
        () = all_ended => return,
        () = clock.sleep(limits.stop) => {}
    }
    warn!(n_connections = connections.len(), "The hook stops with requests in flight");
    connections.shutdown().await;
}

/// A connection that ended by a panic is one that nobody answered.
fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!("A request of the hook panicked; its connection was closed");
    }
}

/// Serves one connection to its end. `_seat` is its place among all.
async fn connection(
    socket: TcpStream,
    peer: IpAddr,
    _seat: Seat,
    watch: Watch,
    answers: Arc<impl Answers>,
    mut stopping: watch::Receiver<()>,
) {
    // Without it an answer would wait for the acknowledgement of the one before. A socket that is gone
    // shows at the first read.
    let _no_delay = socket.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        watch.asked();
        let (watch, answers) = (watch.clone(), Arc::clone(&answers));
        async move {
            let answer = answers.answer(peer, request).await;
            watch.answered();
            Ok::<_, Infallible>(answer)
        }
    });
    let io = TokioIo::new(Watched::new(socket, watch.clone()));
    let mut connection = pin!(
        http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .header_read_timeout(None)
            .serve_connection(io, service)
    );
    let mut overstayed = pin!(watch.overstayed());
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = overstayed.as_mut() => return,
        // The sender never sends: it is dropped at the stop.
        _stopping = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = connection => ended,
                () = overstayed => return,
            }
        }
    };
    if let Err(error) = ended {
        // hyper's words name the kind of failure, never what was sent.
        debug!(error = %error, "A connection of the hook broke off");
    }
}

/// Says why and closes, without waiting: what does not fit the socket at once is not said.
fn refuse(socket: TcpStream, why: NoSeat) {
    let problem = match why {
        NoSeat::InAll => Problem::all_connections(),
        NoSeat::OfAddress => Problem::address_connections(),
    };
    debug!(why = ?why, "The hook refused a connection");
    if let Ok(mut socket) = socket.into_std() {
        // It is closed next, whatever came of this.
        let _said = socket.write(&problem.bytes());
    }
}
