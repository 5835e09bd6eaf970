//! The access token of one mini program: had once, shared by all sends, replaced before it ends.
//!
//! Every SDK looked at gets one of these wrong, so they are the rules here: one fetch at a time, however
//! many wait for it; a waiter that goes away leaves nothing behind, because the fetch is a task of the
//! cache's own; a refusal counts only against the token it was about; a token refused again and again
//! pauses the app instead of fetching without end. Only the platform's stable-token call in normal mode
//! is used: it never ends a token that is in use, so several machines can share an app. The token is
//! never stored.

mod stable;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::domain::message::Reply;

use super::http::{Http, SendUrl};
use super::rival::{News, Rival, Takings};
use stable::Fetched;

/// How long before its end the access token is replaced, at most.
///
/// In the last 300 s of a token, and not before, the stable-token call gives a new one while the old
/// one still works (official page getStableAccessToken, read 2026-11-22): earlier calls are wasted.
const MARGIN: Duration = Duration::from_mins(5);

/// By how much of [`MARGIN`] instances differ, so that they do not ask in the same second.
const MARGIN_JITTER: Duration = Duration::from_mins(1);

/// How long before its end a token is no longer used: longer than a send may take.
const LAST_USE: Duration = Duration::from_secs(15);

/// How long nothing is sent and fetched after a new token was refused like the one before.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);

/// How many working tokens may be given up for a refusal within [`REFUSED_PAUSE`].
///
/// A platform that refuses one send in ten would otherwise cost a fetch for each.
const MAX_GIVEN_UP: u32 = 3;

/// The longest pause after a failed fetch that may cure itself.
const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// Pause while an admin of the mini program has to confirm this address (895xx).
const CONFIRM_PAUSE: Duration = Duration::from_mins(10);

/// Pause after an admin refused this address for an hour or a day (89506, 89507).
const DENIED_PAUSE: Duration = Duration::from_hours(1);

/// Rounds of waiting for a token before a caller is sent away; each round is one fetch.
const MAX_ROUNDS: usize = 3;

/// Why there is no access token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The platform answered the fetch with an errcode: appid, secret, allowed addresses, quota.
    #[error("the platform gives no access token (errcode {errcode}: {errmsg})")]
    Denied {
        /// The platform's code.
        errcode: i64,
        /// Its text, cleaned; of 40164 it names the address that is not on the list.
        errmsg: String,
    },
    /// The fetch had no answer, or none that holds a token.
    #[error("no access token: {why}")]
    Unavailable {
        /// What went wrong, without address and secret.
        why: String,
    },
    /// Fresh tokens are refused by the send call.
    #[error("the platform refuses every access token (errcode {errcode})")]
    Refused {
        /// The platform's code.
        errcode: i64,
    },
}

/// How it stands with the access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// None was asked for yet, or the first is being fetched.
    None,
    /// There is one.
    Ready {
        /// How long it lasts.
        expires_in: Duration,
    },
    /// There is none, and none is asked for before `retry_in`.
    Failing {
        /// Why.
        error: TokenError,
        /// How long the pause still lasts; zero when the next send asks again.
        retry_in: Duration,
    },
}

impl fmt::Display for TokenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no access token yet"),
            Self::Ready { expires_in } => write!(f, "access token for {} s", expires_in.as_secs()),
            Self::Failing { error, retry_in } => {
                write!(f, "{error}; asked again in {} s", retry_in.as_secs())
            }
        }
    }
}

/// The right to one send: an access token that was good a moment ago.
#[derive(Debug)]
pub struct Ready {
    token: Arc<Token>,
    /// Whether it is the one that tries a token after a pause; the next may when this is dropped.
    trying: Trying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trying {
    Yes,
    No,
}

impl Ready {
    pub(super) fn token(&self) -> &Arc<Token> {
        &self.token
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if self.trying == Trying::Yes {
            self.token.on_trial.store(false, Ordering::Release);
        }
    }
}

/// One access token as it was fetched.
pub(super) struct Token {
    value: SecretString,
    send_url: SendUrl,
    /// By [`Clock::elapsed`], as the other two.
    ends_at: Duration,
    usable_until: Duration,
    refresh_at: Duration,
    /// Fetched after a pause: one send at a time until one is answered.
    probation: Option<i64>,
    /// A send is trying it.
    on_trial: AtomicBool,
    /// The platform has looked at a message under it.
    confirmed: AtomicBool,
}

impl Token {
    pub(super) fn send_url(&self) -> &SendUrl {
        &self.send_url
    }

    /// The errcode of those before it, while no send has shown that this one works after a pause.
    fn unproven(&self) -> Option<i64> {
        self.probation.filter(|_errcode| !self.confirmed.load(Ordering::Acquire))
    }

    /// For calls that are no sends.
    pub(super) fn value(&self) -> &SecretString {
        &self.value
    }

    /// For taking it out of texts.
    pub(super) fn expose_secret(&self) -> &str {
        self.value.expose_secret()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a refused send may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another token is there or can be had: once more.
    Repeat,
    /// It would end the same way.
    GiveUp,
}

/// The cache; dropping it ends a fetch under way.
pub(super) struct TokenCache {
    inner: Arc<Inner>,
    /// At most one is alive.
    fetches: Mutex<JoinSet<()>>,
}

struct Inner {
    http: Arc<Http>,
    clock: Clock,
    books: Mutex<Books>,
    /// How many fetches have ended; waiters look at the books when it changes.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct Books {
    token: Option<Arc<Token>>,
    fetching: bool,
    /// The last fetch failed.
    failure: Option<Failure>,
    /// The last token was refused, and no send was answered since.
    refused: Option<i64>,
    /// Two tokens in a row were refused: nothing until then.
    paused_until: Option<Duration>,
    /// Tokens given up for a refusal: since when, how many.
    given_up: (Duration, u32),
    /// Whether another program takes them.
    takings: Takings,
}

struct Failure {
    error: TokenError,
    in_row: u32,
    until: Duration,
}

/// What the books say to somebody who needs a token.
enum Look {
    Use(Ready),
    /// As `Use`, and it is time for the next one.
    UseAndFetch(Ready),
    /// A fetch is under way.
    Wait,
    Fetch,
    No(Reply),
}

impl Books {
    fn usable(&self, now: Duration) -> Option<&Arc<Token>> {
        self.token.as_ref().filter(|token| now < token.usable_until)
    }

    fn may_fetch(&self, now: Duration) -> bool {
        !self.fetching && self.failure.as_ref().is_none_or(|failure| failure.until <= now)
    }

    fn paused(&self, now: Duration) -> Option<(i64, Duration)> {
        let until = self.paused_until.filter(|until| now < *until)?;
        Some((self.refused.unwrap_or_default(), until.saturating_sub(now)))
    }

    fn look(&self, now: Duration) -> Look {
        if let Some((errcode, _left)) = self.paused(now) {
            return Look::No(Reply::TokenRefused { errcode });
        }
        if let Some(token) = self.usable(now) {
            let mut trying = Trying::No;
            if let Some(errcode) = token.unproven() {
                if token.on_trial.swap(true, Ordering::AcqRel) {
                    return Look::No(Reply::TokenRefused { errcode });
                }
                trying = Trying::Yes;
            }
            let ready = Ready { token: Arc::clone(token), trying };
            if now >= token.refresh_at && self.may_fetch(now) {
                return Look::UseAndFetch(ready);
            }
            return Look::Use(ready);
        }
        if self.fetching {
            Look::Wait
        } else if self.may_fetch(now) {
            Look::Fetch
        } else {
            Look::No(Reply::NoToken)
        }
    }

    fn error(&self, now: Duration) -> Option<(TokenError, Duration)> {
        if let Some((errcode, left)) = self.paused(now) {
            return Some((TokenError::Refused { errcode }, left));
        }
        let failure = self.failure.as_ref()?;
        Some((failure.error.clone(), failure.until.saturating_sub(now)))
    }
}

impl TokenCache {
    pub(super) fn new(http: Arc<Http>, clock: Clock) -> Self {
        let inner = Inner { http, clock, books: Mutex::default(), ended: watch::Sender::new(0) };
        Self { inner: Arc::new(inner), fetches: Mutex::default() }
    }

    /// A token to send under; waits for at most [`MAX_ROUNDS`] fetches.
    pub(super) async fn ready(&self) -> Result<Ready, Reply> {
        for _round in 0..MAX_ROUNDS {
            let mut ended = {
                let mut books = self.inner.lock();
                match books.look(self.inner.clock.elapsed()) {
                    Look::Use(ready) => return Ok(ready),
                    Look::UseAndFetch(ready) => {
                        self.start_fetch(&mut books);
                        return Ok(ready);
                    }
                    Look::No(reply) => return Err(reply),
                    Look::Fetch => self.start_fetch(&mut books),
                    Look::Wait => {}
                }
                // Still under the lock: an end of the fetch from here on is seen.
                self.inner.ended.subscribe()
            };
            // The sender is in `self`, so waiting cannot fail.
            let _ended = ended.changed().await;
        }
        Err(Reply::NoToken)
    }

    /// Ends the pauses: the next who needs a token asks for one.
    pub(super) fn ask_again(&self) {
        let mut books = self.inner.lock();
        let now = self.inner.clock.elapsed();
        books.paused_until = None;
        if let Some(failure) = &mut books.failure {
            failure.until = failure.until.min(now);
        }
    }

    /// As [`TokenCache::ready`], but waits for a due replacement, and tries nothing.
    pub(super) async fn warm(&self) -> Result<(), TokenError> {
        let mut ended = {
            let mut books = self.inner.lock();
            let now = self.inner.clock.elapsed();
            self.tell_of_rival(&mut books, now);
            let paused = books.paused(now).is_some();
            let fresh = books.usable(now).is_some_and(|token| now < token.refresh_at);
            if !paused && !fresh && books.may_fetch(now) {
                self.start_fetch(&mut books);
            }
            if paused || fresh || !books.fetching {
                return books.outcome(now);
            }
            self.inner.ended.subscribe()
        };
        let _ended = ended.changed().await;
        self.inner.lock().outcome(self.inner.clock.elapsed())
    }

    /// The platform looked at a message under `token`.
    pub(super) fn confirm(&self, token: &Arc<Token>) {
        // On nearly every send it is known already, and costs no lock.
        if token.confirmed.load(Ordering::Acquire) {
            return;
        }
        let mut books = self.inner.lock();
        token.confirmed.store(true, Ordering::Release);
        if books.is_current(token) {
            books.refused = None;
            books.paused_until = None;
            let now = self.inner.clock.elapsed();
            books.takings.works(token, now);
            self.tell_of_rival(&mut books, now);
        }
    }

    /// The platform refused `token`; it is given up unless another took its place already.
    pub(super) fn refuse(&self, token: &Arc<Token>, errcode: i64) -> Refusal {
        let mut books = self.inner.lock();
        let now = self.inner.clock.elapsed();
        let appid = self.inner.http.appid();
        if !books.is_current(token) {
            return if books.paused(now).is_some() { Refusal::GiveUp } else { Refusal::Repeat };
        }
        let confirmed = token.confirmed.load(Ordering::Acquire);
        if books.refused.is_some() && !confirmed {
            books.token = None;
            books.refused = Some(errcode);
            books.paused_until = Some(now + REFUSED_PAUSE);
            books.takings.all_are_refused();
            tracing::error!(wechat.appid = %appid, wechat.errcode = errcode,
                "Platform refuses every access token of {appid} ({errcode}); asking again in {} s",
                REFUSED_PAUSE.as_secs());
            return Refusal::GiveUp;
        }
        let (since, n) = books.given_up;
        let (since, n) = if now >= since + REFUSED_PAUSE { (now, 0) } else { (since, n) };
        if n >= MAX_GIVEN_UP {
            // It works for others: only this send has to wait.
            return Refusal::GiveUp;
        }
        books.given_up = (since, n + 1);
        books.token = None;
        books.refused = Some(errcode);
        books.takings.refused(token, errcode);
        tracing::warn!(wechat.appid = %appid, wechat.errcode = errcode,
            "Platform refused the access token of {appid} ({errcode}); fetching another");
        Refusal::Repeat
    }

    pub(super) fn state(&self) -> TokenState {
        let books = self.inner.lock();
        let now = self.inner.clock.elapsed();
        let paused = books.paused(now).is_some();
        if let Some(token) = books.usable(now).filter(|_token| !paused) {
            return match token.unproven() {
                Some(errcode) => {
                    TokenState::Failing { error: TokenError::Refused { errcode }, retry_in: Duration::ZERO }
                }
                None => TokenState::Ready { expires_in: token.ends_at.saturating_sub(now) },
            };
        }
        match books.error(now) {
            Some((error, retry_in)) => TokenState::Failing { error, retry_in },
            None => TokenState::None,
        }
    }

    /// Another program that keeps taking the tokens.
    pub(super) fn rival(&self) -> Option<Rival> {
        self.inner.lock().takings.rival(self.inner.clock.elapsed())
    }

    fn tell_of_rival(&self, books: &mut Books, now: Duration) {
        let appid = self.inner.http.appid();
        match books.takings.news(now) {
            Some(News::Came(rival)) => tracing::warn!(wechat.appid = %appid, "App {appid}: {rival}"),
            Some(News::Went) => {
                tracing::info!(wechat.appid = %appid, "No other program takes the access token of {appid} any more");
            }
            None => {}
        }
    }

    fn start_fetch(&self, books: &mut Books) {
        books.fetching = true;
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        while fetches.try_join_next().is_some() {}
        fetches.spawn(fetch(Arc::clone(&self.inner)));
    }
}

impl Books {
    fn is_current(&self, token: &Arc<Token>) -> bool {
        self.token.as_ref().is_some_and(|current| Arc::ptr_eq(current, token))
    }

    fn outcome(&self, now: Duration) -> Result<(), TokenError> {
        if self.paused(now).is_none() && self.usable(now).is_some() {
            return Ok(());
        }
        let nothing = TokenError::Unavailable { why: "it was refused as it came".to_owned() };
        Err(self.error(now).map_or(nothing, |(error, _left)| error))
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Books> {
        // Every change under the lock is complete before anything can panic.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `asked_at` is when the request began: counted from there, the token ends here before it ends there.
    fn succeed(&self, asked_at: Duration, fetched: Fetched) {
        let margin = MARGIN.saturating_sub(MARGIN_JITTER.mul_f64(jitter()));
        // Of a token that is given with little left, half is used before asking again.
        let refresh_at = asked_at + fetched.lifetime.saturating_sub(margin).max(fetched.lifetime / 2);
        let ends_at = asked_at + fetched.lifetime;
        let appid = self.http.appid();
        tracing::info!(wechat.appid = %appid, "Access token of {appid} is good for {} s",
            fetched.lifetime.as_secs());
        self.end(|books| {
            books.failure = None;
            // Both stay until a send proves this token: it is the probe after a pause.
            let probation = books.paused_until.and(books.refused);
            books.token = Some(Arc::new(Token {
                send_url: self.http.send_url(&fetched.value),
                value: fetched.value,
                ends_at,
                usable_until: ends_at.saturating_sub(LAST_USE.min(fetched.lifetime / 4)),
                refresh_at,
                probation,
                on_trial: AtomicBool::new(false),
                confirmed: AtomicBool::new(false),
            }));
        });
    }

    fn fail(&self, error: TokenError) {
        let now = self.clock.elapsed();
        let appid = self.http.appid();
        self.end(|books| {
            let in_row = books.failure.as_ref().map_or(0, |failure| failure.in_row) + 1;
            let pause = pause_after(&error, in_row);
            tracing::warn!(wechat.appid = %appid, "Access token of {appid} could not be fetched: {error}; asking again in {} s",
                pause.as_secs());
            books.failure = Some(Failure { error, in_row, until: now + pause });
        });
    }

    fn end(&self, write: impl FnOnce(&mut Books)) {
        let mut books = self.lock();
        write(&mut books);
        books.fetching = false;
        drop(books);
        self.ended.send_modify(|n| *n += 1);
    }
}

/// The task of one fetch; also when it is ended or panics, the cache hears of it.
async fn fetch(inner: Arc<Inner>) {
    struct Ending(Option<Arc<Inner>>);
    impl Drop for Ending {
        fn drop(&mut self) {
            if let Some(inner) = self.0.take() {
                // Waiters look again, and fetch again.
                inner.end(|_books| {});
            }
        }
    }

    let mut ending = Ending(Some(Arc::clone(&inner)));
    let asked_at = inner.clock.elapsed();
    let outcome = stable::ask(&inner.http).await;
    ending.0 = None;
    match outcome {
        Ok(fetched) => inner.succeed(asked_at, fetched),
        Err(error) => inner.fail(error),
    }
}

/// How long nothing is asked after the `in_row`-th failure.
fn pause_after(error: &TokenError, in_row: u32) -> Duration {
    match error {
        TokenError::Denied { errcode: 89506 | 89507, .. } => DENIED_PAUSE,
        TokenError::Denied { errcode: 89501..=89505, .. } => CONFIRM_PAUSE,
        TokenError::Denied { errcode: -1, .. } | TokenError::Unavailable { .. } => {
            let whole = Duration::from_secs(1 << in_row.min(6)).min(MAX_BACKOFF);
            whole.mul_f64(0.5 + jitter() / 2.0)
        }
        // An operator has to do something; within a minute it shows.
        TokenError::Denied { .. } | TokenError::Refused { .. } => MAX_BACKOFF.mul_f64(0.8 + jitter() / 5.0),
    }
}

/// Evenly from 0 to 1; without random numbers, the middle.
fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}
