//! Where a command's request goes: to the running daemon, or to a desk of its own over the store.
//!
//! The store is opened here only when no daemon answers and the store's folder belongs to this user: a
//! file that root left in it would keep the daemon from starting.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request as HttpRequest, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::admin::answer::{Answer, End, Exit, Failure, Frame};
use crate::admin::desk::Desk;
use crate::admin::request::Request;
use crate::clock::Clock;
use crate::domain::config::{Config, RuleSet};
use crate::flow::live::{Current, Live};
use crate::rules;
use crate::store::Store;
use crate::store::sled::{self, LOCK_WAIT, OpenError, Options};

/// Longest line of an answer, in bytes: the diagnostics of a reload are the longest.
const MAX_LINE_BYTES: usize = 64 << 20;
/// How long a daemon may take to accept a connection, and to begin an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often is looked whether the other process has let go of the store.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether a request makes sense without a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// It is about the books, and the store can be opened here.
    Store,
    /// The same, and it asks for the rules as the files have them now.
    StoreAndRules,
    /// The same, and where the files have a mistake it goes without them.
    StoreAndPerhapsRules,
    /// It is about the daemon.
    Nothing,
}

/// Who answers.
#[derive(Debug)]
pub(super) enum Reach {
    /// The running daemon.
    Daemon(Connection),
    /// A desk over the store that this command opened.
    Desk(Desk),
}

/// A connection to the admin socket.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection as long as it is wanted.
    _driver: JoinSet<()>,
}

/// An answer under way.
#[derive(Debug)]
pub(super) enum Reply {
    /// From the daemon; what has come of an unfinished line.
    Daemon(Incoming, Vec<u8>),
    /// From the desk.
    Desk(Answer),
}

impl Reach {
    /// Finds who answers for `config`.
    ///
    /// # Errors
    /// 69 without a daemon where one is needed, 75 when the store is held or fails, 77 when socket or store
    /// are somebody else's, 78 when the rules are needed and are bad.
    pub(super) async fn find(config: Config, without: Without) -> Result<Self, Failure> {
        if let Some(daemon) = Self::daemon(&config.admin.socket).await? {
            return Ok(daemon);
        }
        if without == Without::Nothing {
            return Err(Failure::new(
                Exit::NoDaemon,
                format!(
                    "no daemon answers at `{}`; start it with `tixing run` or `systemctl start tixing`",
                    config.admin.socket.display()
                ),
            ));
        }
        let rules = match without {
            Without::StoreAndRules => {
                let loaded = rules::load_rules(&config);
                loaded
                    .map_err(|found| {
                        Failure::new(Exit::Config, format!("the rules cannot be used\n{found}"))
                    })?
                    .value
                    .set
            }
            Without::StoreAndPerhapsRules => {
                rules::load_rules(&config).map(|loaded| loaded.value.set).unwrap_or_default()
            }
            Without::Store | Without::Nothing => RuleSet::default(),
        };
        own(&config.store)?;
        let store = open(&config.store)?;
        Ok(Self::desk(store, config, rules))
    }

    /// Who answers for `config` at once: a daemon, or a desk over a store that is there and that nobody holds.
    pub(super) async fn at_hand(config: Config) -> Option<Self> {
        let connected =
            tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(&config.admin.socket)).await;
        match connected {
            Ok(Ok(stream)) => return Connection::over(stream).await.ok().map(Self::Daemon),
            Ok(Err(error)) if is_absent(&error) => {}
            Ok(Err(_)) | Err(_) => return None,
        }
        let is_there = config.store.join("lock").exists() && own(&config.store).is_ok();
        let store = is_there.then(|| open_within(&config.store, Duration::ZERO).ok()).flatten()?;
        Some(Self::desk(store, config, RuleSet::default()))
    }

    fn desk(store: Arc<dyn Store>, config: Config, rules: RuleSet) -> Self {
        let clock = Clock::system();
        let live = Live {
            generation: 0,
            at: clock.now(),
            config,
            rules,
            clients: BTreeMap::new(),
            pushes: BTreeMap::new(),
            sources: std::collections::BTreeMap::new(),
        };
        Self::Desk(Desk::new(store, Current::new(live), clock, None))
    }

    /// The daemon behind `socket`, if one runs.
    ///
    /// # Errors
    /// 69 when it does not answer, 77 when the socket is somebody else's.
    pub(super) async fn daemon(socket: &Path) -> Result<Option<Self>, Failure> {
        let shown = socket.display();
        match tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(socket)).await {
            Ok(Ok(stream)) => Connection::over(stream).await.map(Self::Daemon).map(Some),
            Ok(Err(error)) if is_absent(&error) => Ok(None),
            Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Err(Failure::new(
                Exit::NotPermitted,
                format!(
                    "the admin socket `{shown}` is not open to this user; try `sudo -u tixing tixing …`, or join the socket's group"
                ),
            )),
            Ok(Err(error)) => {
                Err(Failure::new(Exit::NoDaemon, format!("the admin socket `{shown}`: {error}")))
            }
            Err(_late) => {
                Err(Failure::new(Exit::NoDaemon, format!("the daemon behind `{shown}` does not answer")))
            }
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The daemon refused it or went away.
    pub(super) async fn ask(&mut self, request: Request) -> Result<Reply, Failure> {
        match self {
            Self::Desk(desk) => Ok(Reply::Desk(desk.run(request))),
            Self::Daemon(connection) => {
                let body = connection.ask(&request).await?;
                Ok(Reply::Daemon(body, Vec::new()))
            }
        }
    }
}

impl Connection {
    async fn over(stream: UnixStream) -> Result<Self, Failure> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| gone(&e))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What breaks the connection shows in the answer that is cut off.
            let _broken = connection.await;
        });
        Ok(Self { sender, _driver: driver })
    }

    async fn ask(&mut self, request: &Request) -> Result<Incoming, Failure> {
        let body = serde_json::to_vec(request).expect("texts and numbers become JSON");
        let request = HttpRequest::post("/v1/run")
            .header(HOST, "tixing")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .expect("a constant head is a valid one");
        self.sender.ready().await.map_err(|e| gone(&e))?;
        let begun = tokio::time::timeout(CONNECT_TIMEOUT, self.sender.send_request(request)).await;
        let reply = begun.map_err(|_late| hangs())?.map_err(|e| gone(&e))?;
        let status = reply.status();
        if status == StatusCode::OK {
            return Ok(reply.into_body());
        }
        let text = reply.into_body().collect().await.map_err(|e| gone(&e))?.to_bytes();
        let text = String::from_utf8_lossy(&text);
        Err(Failure::new(
            Exit::Internal,
            format!(
                "the daemon refuses the request ({status}): {}; is it the same version?",
                text.trim_end()
            ),
        ))
    }
}

fn hangs() -> Failure {
    Failure::new(
        Exit::NoDaemon,
        "the daemon took the question and does not begin to answer; is its process stopped?",
    )
}

fn gone(error: &hyper::Error) -> Failure {
    Failure::new(
        Exit::Store,
        format!("the daemon went away in the middle of the answer ({error}); try again"),
    )
}

impl Reply {
    /// The next piece of the answer; the last is always [`Frame::End`], then `None`.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        match self {
            Self::Desk(answer) => answer.next().await,
            Self::Daemon(body, rest) => loop {
                if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    return Some(Frame::from_wire(&String::from_utf8_lossy(&line)));
                }
                match body.frame().await {
                    Some(Ok(frame)) if rest.len() <= MAX_LINE_BYTES => {
                        rest.extend_from_slice(&frame.into_data().unwrap_or_default());
                    }
                    Some(Ok(_)) => {
                        return Some(Frame::End(End::from(Failure::new(
                            Exit::Internal,
                            "the daemon sends a line without end",
                        ))));
                    }
                    Some(Err(error)) => return Some(Frame::End(End::from(gone(&error)))),
                    None => return None,
                }
            },
        }
    }
}

/// Nobody listens there.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Refuses a store folder that belongs to somebody else. One that is missing is made by whoever comes first.
pub(super) fn own(folder: &Path) -> Result<(), Failure> {
    let refused = |why: String| Failure::new(Exit::NotPermitted, why);
    let owner = match folder.metadata() {
        Ok(metadata) => metadata.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(refused(format!("the store `{}` cannot be looked at: {error}", folder.display())));
        }
    };
    // /proc/self belongs to the effective user of this process.
    let me =
        Path::new("/proc/self").metadata().map_err(|error| refused(format!("/proc/self: {error}")))?.uid();
    if owner == me {
        return Ok(());
    }
    Err(refused(format!(
        "no daemon runs, and the store `{}` belongs to uid {owner}, not to {me}; run this as that user: sudo -u '#{owner}' tixing …",
        folder.display()
    )))
}

/// Opens the store; waits up to 10 s for another process to let go of it.
///
/// # Errors
/// 75: it is held or cannot be opened.
pub(super) fn open(folder: &Path) -> Result<Arc<dyn Store>, Failure> {
    open_within(folder, LOCK_WAIT)
}

/// Opens the store as [`open`] does; `None` when `ended` comes while another process holds it.
pub(super) async fn open_unless(
    folder: &Path,
    ended: impl Future<Output = ()>,
) -> Result<Option<Arc<dyn Store>>, Failure> {
    let (clock, mut ended) = (Clock::system(), pin!(ended));
    let until = clock.elapsed() + LOCK_WAIT;
    loop {
        match engine(folder, Duration::ZERO) {
            Err(OpenError::HeldElsewhere { .. }) if clock.elapsed() < until => {}
            opened => return opened.map(Some).map_err(not_opened),
        }
        tokio::select! {
            () = &mut ended => return Ok(None),
            () = clock.sleep(LOOK_EVERY) => {}
        }
    }
}

fn open_within(folder: &Path, lock_wait: Duration) -> Result<Arc<dyn Store>, Failure> {
    engine(folder, lock_wait).map_err(not_opened)
}

/// The one place where the command line chooses an engine.
fn engine(folder: &Path, lock_wait: Duration) -> Result<Arc<dyn Store>, OpenError> {
    let store = sled::open(&Options { lock_wait, ..Options::new(folder.to_owned()) }, Clock::system())?;
    Ok(Arc::new(store))
}

/// Why a store cannot be opened, with the exit code that says what helps.
pub(super) fn not_opened(error: OpenError) -> Failure {
    let exit = match &error {
        OpenError::Newer { .. } => Exit::Config,
        OpenError::Folder { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            Exit::NotPermitted
        }
        OpenError::HeldElsewhere { .. } | OpenError::Folder { .. } | OpenError::Engine { .. } => Exit::Store,
    };
    Failure::new(exit, format!("{:#}", anyhow::Error::new(error)))
}
