//! Events on their way to the receiver of an app: when each leaves, how often it is tried, and what goes wrong with it.
//!
//! Each event is a task of its own, so nothing promises an order. What is not answered within 5 s is sent again, three times in
//! all (older page of 消息推送; today's is silent). Whether an answer that is no `success` is followed by another try is documented
//! nowhere: here it is. What is under way ends with the process, as nothing on the platform can be asked for again.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::faults::{Api, Fate, Faults, Of, What};
use super::platform::Inner;
use super::push::{Form, Mode, Pushed, Pusher, Told};

/// How long the platform waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it tries in all.
const TRIES: u8 = 3;
/// Most events under way at a time; further ones wait.
const MAX_UNDER_WAY: usize = 256;
/// Most events that wait; further ones are lost.
const MAX_WAITING: usize = 65_536;
/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 4096;

/// What the platform's console holds of an app's receiver (开发管理 → 消息推送).
#[derive(Clone)]
pub struct Push {
    /// Where: `http://127.0.0.1:8080/wechat/clinic`. Loopback alone, and without TLS.
    pub url: String,
    /// Its Token.
    pub token: String,
    /// Its EncodingAESKey, 43 characters; not used in plain mode.
    pub aes_key: String,
    /// Whether events are encrypted.
    pub mode: Mode,
    /// How they are written.
    pub form: Form,
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, mode, form, .. } = self;
        let mut shown = f.debug_struct("Push");
        shown.field("url", url).field("mode", mode).field("form", form).finish_non_exhaustive()
    }
}

/// What became of the events of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushes {
    /// What happened while its app had a receiver; a repeated one counts once.
    pub told: u64,
    /// Requests that were begun.
    pub tries: u64,
    /// Answered as taken; each copy of a repeated one counts.
    pub taken: u64,
    /// Never sent, by a fault or because too many waited.
    pub lost: u64,
    /// Tried in vain.
    pub given_up: u64,
    /// Not at their end yet.
    pub under_way: u64,
}

/// A receiver that can be pushed to.
#[derive(Clone, Debug)]
struct Receiver {
    at: String,
    path: String,
    pusher: Pusher,
    mode: Mode,
    form: Form,
}

/// One copy of an event.
#[derive(Debug)]
pub(super) struct Event {
    appid: String,
    told: Told,
    /// The message that it is the receipt of, and what it says.
    receipt: Option<(u64, i64)>,
    late: Duration,
    /// The first answer is not read.
    deaf: bool,
}

/// Who is told, and the counts.
#[derive(Debug)]
pub(super) struct Post {
    receivers: HashMap<String, Arc<Receiver>>,
    outbox: mpsc::Sender<Event>,
    counts: Pushes,
}

impl Receiver {
    fn new(appid: &str, push: &Push) -> io::Result<Self> {
        let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
        let url: Uri = push.url.parse().map_err(|_no_url| bad("the url cannot be read"))?;
        let host = url.host().unwrap_or_default();
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let is_near = host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
        if url.scheme_str() != Some("http") || !is_near {
            return Err(bad("the sandbox pushes to http on loopback only"));
        }
        let no_key = "A".repeat(43);
        let aes_key = match push.mode {
            Mode::Plain => &no_key,
            Mode::Compatible | Mode::Safe => &push.aes_key,
        };
        Ok(Self {
            at: format!("{host}:{}", url.port_u16().unwrap_or(80)),
            path: url.path().to_owned(),
            pusher: Pusher::new(appid, &push.token, aes_key)
                .ok_or_else(|| bad("the aes key is not 43 characters of base64"))?,
            mode: push.mode,
            form: push.form,
        })
    }
}

impl Post {
    /// With what takes events to their receivers, see [`run`].
    pub(super) fn new() -> (Self, mpsc::Receiver<Event>) {
        let (outbox, waiting) = mpsc::channel(MAX_WAITING);
        (Self { receivers: HashMap::new(), outbox, counts: Pushes::default() }, waiting)
    }

    /// Where an app's events go from now on; nowhere for `None`.
    pub(super) fn set(&mut self, appid: &str, push: Option<&Push>) -> io::Result<()> {
        match push {
            Some(push) => {
                self.receivers.insert(appid.to_owned(), Arc::new(Receiver::new(appid, push)?));
            }
            None => {
                self.receivers.remove(appid);
            }
        }
        Ok(())
    }

    pub(super) fn counts(&self) -> Pushes {
        self.counts
    }

    /// Tells the app's receiver, if it has one; its fate is drawn now, so the order of what happens decides it.
    pub(super) fn tell(&mut self, faults: &mut Faults, appid: &str, mut told: Told) {
        if !self.receivers.contains_key(appid) {
            return;
        }
        self.counts.told += 1;
        let item = told.items.first();
        let template = item.and_then(|item| item.iter().find(|(name, _)| *name == "TemplateId"));
        let template = template.map_or("", |(_, id)| id.as_str());
        let of = Of { openid: told.of(), template, event: Some(told.event) };
        let Fate { delay_before, delay_after, before, after } = faults.draw(Api::Push, Some(of));
        let mut copies = 1;
        let mut deaf = false;
        match before.or(after) {
            Some(What::DestroyBefore) => copies = 0,
            Some(What::DestroyAfter) => deaf = true,
            Some(What::Repeat(more)) => copies += u64::from(more),
            Some(What::Errcode { code, msg }) => told.fail(code, &msg),
            // Misfortunes of answers.
            Some(
                What::Status { .. }
                | What::Garbage
                | What::Delay(_)
                | What::Hang
                | What::Truncate
                | What::NoMsgid,
            )
            | None => {}
        }
        self.counts.lost += u64::from(copies == 0);
        let receipt = told.receipt();
        for _ in 0..copies {
            let (appid, told) = (appid.to_owned(), told.clone());
            let event = Event { appid, told, receipt, late: delay_before + delay_after, deaf };
            match self.outbox.try_send(event) {
                Ok(()) => self.counts.under_way += 1,
                Err(_full_or_stopped) => self.counts.lost += 1,
            }
        }
    }
}

/// Takes events to their receivers until the sandbox stops; what is under way then is cut.
pub(super) async fn run(
    inner: Arc<Inner>,
    mut outbox: mpsc::Receiver<Event>,
    mut stopped: watch::Receiver<()>,
) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            // The only thing that is ever said is that the sender is gone.
            _gone = stopped.changed() => break,
            Some(_ended) = under_way.join_next() => {}
            Some(event) = outbox.recv(), if under_way.len() < MAX_UNDER_WAY => {
                under_way.spawn(carry(Arc::clone(&inner), event));
            }
        }
    }
    under_way.shutdown().await;
}

async fn carry(inner: Arc<Inner>, event: Event) {
    if !event.late.is_zero() {
        inner.clock.sleep(event.late).await;
    }
    let taken = is_taken(&inner, &event).await;
    {
        let mut state = inner.state();
        state.post.counts.under_way -= 1;
        if taken {
            state.post.counts.taken += 1;
            if let Some((msgid, errcode)) = event.receipt {
                state.books.told(msgid, errcode);
            }
        } else {
            state.post.counts.given_up += 1;
        }
    }
    inner.changed();
}

/// Tries until it is taken or tried often enough.
async fn is_taken(inner: &Inner, event: &Event) -> bool {
    for n in 1..=TRIES {
        let began = inner.clock.elapsed();
        let now = inner.clock.now().timestamp();
        let (receiver, random) = {
            let mut state = inner.state();
            // What the console says now counts, not what it said when it happened.
            let Some(receiver) = state.post.receivers.get(&event.appid).cloned() else { return false };
            state.post.counts.tries += 1;
            (
                receiver,
                (u128::from(state.mint.number()) << 64 | u128::from(state.mint.number())).to_be_bytes(),
            )
        };
        inner.changed();
        let Pushed { query, body } =
            receiver.pusher.push(&event.told, receiver.mode, receiver.form, now, random);
        let answer = tokio::select! {
            biased;
            answer = ask(&receiver, Method::POST, &query, body) => answer.ok(),
            () = inner.clock.sleep(PATIENCE) => None,
        };
        let is_deaf = event.deaf && n == 1;
        if !is_deaf && answer.is_some_and(|answer| answer.is_empty() || answer == "success") {
            return true;
        }
        if n < TRIES {
            inner.clock.sleep(PATIENCE.saturating_sub(inner.clock.elapsed().saturating_sub(began))).await;
        }
    }
    false
}

/// Tries an address as the console does before it keeps it: the answer has to be what was asked (验证URL).
pub(super) async fn verify(inner: &Inner, appid: &str, push: &Push) -> io::Result<()> {
    let receiver = Receiver::new(appid, push)?;
    let echo = inner.state().mint.number().to_string();
    let query = receiver.pusher.trial(&echo, inner.clock.now().timestamp());
    let answer = tokio::select! {
        biased;
        answer = ask(&receiver, Method::GET, &query, String::new()) => answer?,
        () = inner.clock.sleep(PATIENCE) => return Err(io::Error::other("no answer within 5 s")),
    };
    if answer == echo { Ok(()) } else { Err(io::Error::other("the answer is not the echostr")) }
}

/// The text of an answer with status 200.
async fn ask(receiver: &Receiver, method: Method, query: &str, body: String) -> io::Result<String> {
    let stream = TcpStream::connect(&receiver.at).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let kind = match receiver.form {
        Form::Xml => "text/xml",
        Form::Json | Form::JsonOfOne => "application/json",
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("{}?{query}", receiver.path))
        .header("host", &receiver.at)
        .header("content-type", kind)
        .header("connection", "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|_broken_or_long| io::Error::other("the answer broke off or is too long"))?;
        if status != 200 {
            return Err(io::Error::other(format!("answered {status}")));
        }
        String::from_utf8(body.to_bytes().to_vec()).map_err(io::Error::other)
    };
    let (answer, _closed) = tokio::join!(exchange, connection);
    answer
}
