//! The handle on a running sandbox: a phone to tap on, its books, and orders to fail.
//!
//! Everything here takes effect at once and needs no socket. What happens on the wire is in `api`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};

use super::books::{Answer, Books, Outcome, Pair, SendRecord, Totals};
use super::faults::{Fault, Faults};
use super::login::Codes;
use super::post::{self, Event, Post, Push, Pushes};
use super::push::{CHANGE, POPUP, Told};
use super::quota::{Limit, Quotas};
use super::shelf::{Found, Shelves};
use super::tokens::{Acceptance, Mint, Tokens};
use super::{App, Options, Template, TemplateKind};
use crate::clock::Clock;

/// The control of one sandbox; clones share it, and it works on after the server has stopped.
#[derive(Clone, Debug)]
pub struct Platform(pub(super) Arc<Inner>);

/// Whether "always keep this choice" was ticked beside an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The panel shows again next time.
    Once,
    /// From now on every request is answered the same without a panel; each accept still adds one consent.
    Always,
}

/// A message card as it stands in the service notifications of somebody's phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The template's title; its id when the template is no longer known.
    pub title: String,
    /// The template's id.
    pub template: String,
    /// Label, key and value of each field, in the template's order.
    pub fields: Vec<(String, String, String)>,
    /// The page that a tap opens.
    pub page: Option<String>,
    /// When the platform accepted it.
    pub at: DateTime<Utc>,
    /// The platform's number of the message.
    pub msgid: u64,
    /// The error code of its receipt, once the app's receiver took it; 0 says that the message arrived.
    pub receipt: Option<i64>,
}

impl Platform {
    /// The code that `wx.login` gives on the phone of `openid`: good once, for 5 minutes.
    pub fn login_code(&self, appid: &str, openid: &str) -> String {
        let now = self.0.clock.now();
        self.0.state().codes.make(appid, (openid, None), now)
    }

    /// The same in a mini program that is bound to an Open Platform account: the person has a unionid too.
    pub fn login_code_of(&self, appid: &str, openid: &str, unionid: &str) -> String {
        let now = self.0.clock.now();
        self.0.state().codes.make(appid, (openid, Some(unionid)), now)
    }

    /// Answers one `wx.requestSubscribeMessage` for one template, and gives the status that the mini program
    /// sees: `accept`, one of the others that accept, `reject`, or `ban` for a banned template, of which no panel shows.
    ///
    /// An accept adds exactly one consent; for a long-term template it stands, and a reject ends it. A choice
    /// that was kept earlier ([`Keep::Always`]) is given again, whatever `answer` says, and no event tells of it: the panel does
    /// not show. A template that nobody knows is counted too, and of no use.
    ///
    /// # Errors
    /// Those of the books' file; then nothing was added.
    pub fn tap(
        &self,
        appid: &str,
        openid: &str,
        template: &str,
        answer: Answer,
        keep: Keep,
    ) -> io::Result<&'static str> {
        let pair = Pair { appid, openid, template };
        if matches!(self.0.shelves.load().find(appid, template), Some(Found::Banned(_))) {
            return Ok("ban");
        }
        let status = {
            let mut state = self.0.state();
            let kept = state.books.kept(&pair);
            let answer = kept.unwrap_or(answer);
            match (answer, self.0.kind(appid, template)) {
                (Answer::Reject, TemplateKind::OneTime) => {}
                (Answer::Reject, TemplateKind::LongTerm) => state.books.revoke(&pair)?,
                (
                    Answer::Accept
                    | Answer::AcceptWithAudio
                    | Answer::AcceptWithAlert
                    | Answer::AcceptWithForcePush,
                    TemplateKind::OneTime | TemplateKind::LongTerm,
                ) => state.books.grant(&pair, 1)?,
            }
            if keep == Keep::Always && state.books.kept(&pair) != Some(answer) {
                state.books.keep(&pair, answer)?;
            }
            let status = answer.status();
            if kept.is_none() {
                state.tell(appid, Told::answer(POPUP, openid, template, status, self.0.seconds()));
            }
            status
        };
        self.0.changed();
        Ok(status)
    }

    /// Adds `n` consents at once, as `n` taps would.
    ///
    /// # Errors
    /// Those of the books' file; then nothing was added.
    pub fn grant_many(&self, appid: &str, openid: &str, template: &str, n: u64) -> io::Result<()> {
        self.0.state().books.grant(&Pair { appid, openid, template }, n)?;
        self.0.changed();
        Ok(())
    }

    /// Turns a template off in the settings of the mini program: consents and the kept choice are gone.
    ///
    /// Whether the real platform keeps earlier consents is not documented; this one does not. The app's receiver is told.
    ///
    /// # Errors
    /// Those of the books' file; then nothing has changed.
    pub fn revoke(&self, appid: &str, openid: &str, template: &str) -> io::Result<()> {
        {
            let mut state = self.0.state();
            state.books.revoke(&Pair { appid, openid, template })?;
            state.tell(appid, Told::answer(CHANGE, openid, template, "reject", self.0.seconds()));
        }
        self.0.changed();
        Ok(())
    }

    /// Somebody closes his account with the mini program: his consents and kept choices are gone. The app's receiver is told.
    ///
    /// # Errors
    /// Those of the books' file; then the rest of his consents stays, and nobody was told.
    pub fn leave(&self, appid: &str, openid: &str) -> io::Result<()> {
        {
            let mut state = self.0.state();
            for template in state.books.templates_of(appid, openid) {
                state.books.revoke(&Pair { appid, openid, template: &template })?;
            }
            state.tell(appid, Told::left(openid, self.0.seconds()));
        }
        self.0.changed();
        Ok(())
    }

    /// Tells an app's receiver that the platform punishes it; nothing else changes here.
    pub fn punish(&self, appid: &str, kind: u8, detail: &str) {
        self.0.state().tell(appid, Told::punished(kind, detail, self.0.seconds()));
        self.0.changed();
    }

    /// Where an app's events go from now on; nowhere for `None`, as at the start.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is not http on loopback, and for an aes key that is none.
    pub fn set_push(&self, appid: &str, push: Option<&Push>) -> io::Result<()> {
        self.0.state().post.set(appid, push)
    }

    /// The same, after the receiver has shown that it knows the token, as the console asks for it.
    ///
    /// # Errors
    /// The same, and why the receiver was not believed.
    pub async fn try_push(&self, appid: &str, push: &Push) -> io::Result<()> {
        post::verify(&self.0, appid, push).await?;
        self.set_push(appid, Some(push))
    }

    /// How often an app may call a path from now on; `false` for a path that is not counted.
    pub fn limit(&self, appid: &str, cgi_path: &str, limit: Limit) -> bool {
        self.0.state().quotas.limit(appid, cgi_path, limit)
    }

    /// Takes a template from an app, as somebody does in the console; `false` when it has none of this id.
    pub fn delete_template(&self, appid: &str, template: &str) -> bool {
        self.0.reshelve(|shelves| shelves.remove(appid, template))
    }

    /// Bans a template of an app: messages of it are refused with 43107; `false` when it has none of this id.
    pub fn ban_template(&self, appid: &str, template: &str) -> bool {
        self.0.reshelve(|shelves| shelves.ban(appid, template))
    }

    /// What became of the events of this run.
    pub fn pushes(&self) -> Pushes {
        self.0.state().post.counts()
    }

    /// Consents left; 1 for a standing long-term acceptance.
    pub fn remaining(&self, appid: &str, openid: &str, template: &str) -> u64 {
        let pair = Pair { appid, openid, template };
        self.0.state().books.remaining(&pair, self.0.kind(appid, template))
    }

    /// The cards on the phone of `openid`, over all apps, oldest first.
    ///
    /// Looks through all sends; meant for a phone, not for a benchmark.
    pub fn cards(&self, openid: &str) -> Vec<Card> {
        let state = self.0.state();
        state.books.accepted_by(openid).filter_map(|send| self.card(&state, send)).collect()
    }

    fn card(&self, state: &State, mut send: SendRecord) -> Option<Card> {
        let Outcome::Accepted { msgid } = send.outcome else { return None };
        let found = self.0.shelves.load().find(&send.appid, &send.template);
        let template = found.as_ref().map(Found::template);
        let mut fields = Vec::new();
        for field in template.map_or(&[][..], |template| &template.fields) {
            if let Some((key, value)) = send.data.remove_entry(&field.key) {
                fields.push((field.label.clone(), key, value));
            }
        }
        fields.extend(send.data.into_iter().map(|(key, value)| (key.clone(), key, value)));
        Some(Card {
            title: template.map_or_else(|| send.template.clone(), |template| template.title.clone()),
            template: send.template,
            fields,
            page: send.page,
            at: send.at,
            msgid,
            receipt: state.books.receipt(msgid),
        })
    }

    /// Every send so far, in the order they were decided; refused ones only of this run.
    pub fn sends(&self) -> Vec<SendRecord> {
        self.sends_from(0)
    }

    /// The sends from number `from` on, counted from 0.
    pub fn sends_from(&self, from: usize) -> Vec<SendRecord> {
        self.0.state().books.sends(from).collect()
    }

    /// The sums of the books.
    pub fn totals(&self) -> Totals {
        let state = self.0.state();
        Totals {
            in_flight: self.in_flight(),
            in_flight_max: self.0.in_flight_max.load(Ordering::Relaxed),
            begun: self.0.begun.load(Ordering::Relaxed),
            token_calls: self.0.token_calls.load(Ordering::Relaxed),
            connections: self.0.connections.load(Ordering::Relaxed),
            ..state.books.totals()
        }
    }

    /// Sends whose body was read and which are not answered yet: one load, for the moment of a kill.
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::Acquire)
    }

    /// A number that grows with every change of the books, the phone and the requests in flight.
    ///
    /// Wait for a state with [`watch::Receiver::wait_for`] or `changed`, looking at the books in between.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// What each app has from now on: templates are added, deleted and changed, as on mp.weixin.qq.com.
    ///
    /// The books are as before; a template that is gone takes no message, and none is banned any more.
    pub fn set_templates(&self, templates: Vec<Template>) {
        self.0.reshelve(|shelves| *shelves = Shelves::new(&self.0.apps, templates));
    }

    /// Puts these rules in force instead of the earlier ones; their counts begin at 0. Rules beyond 256 are
    /// left out.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.0.state().faults.set(faults);
        self.0.changed();
    }

    /// Ends all faults. Requests that hang go on hanging.
    pub fn clear_faults(&self) {
        self.set_faults(Vec::new());
    }

    /// How often each misfortune struck in this run, by names such as `send errcode -1 after`.
    pub fn struck(&self) -> BTreeMap<String, u64> {
        self.0.state().faults.struck()
    }

    /// Makes every token that `appid` has answer 40001; the endpoints give new ones. How many tokens
    /// those were: 0 tells a test that nobody has asked for one yet.
    pub fn revoke_tokens(&self, appid: &str) -> usize {
        let revoked = self.0.state().tokens.revoke(appid);
        self.0.changed();
        revoked
    }

    /// Makes every token that `appid` has answer 42001; the endpoints give new ones.
    pub fn expire_tokens(&self, appid: &str) {
        let now = self.0.clock.now();
        self.0.state().tokens.expire(appid, now);
        self.0.changed();
    }

    /// Refuses every token of `appid` with 40001, old and new, or takes them again.
    pub fn refuse_tokens(&self, appid: &str, acceptance: Acceptance) {
        self.0.state().tokens.accept(appid, acceptance);
        self.0.changed();
    }
}

/// What handle and server share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) clock: Clock,
    pub(super) apps: Vec<App>,
    /// Changed under the lock of the state, read without it.
    pub(super) shelves: ArcSwap<Shelves>,
    pub(super) answer_after: Duration,
    pub(super) token_calls: AtomicU64,
    pub(super) connections: AtomicU64,
    state: Mutex<State>,
    in_flight: AtomicU64,
    in_flight_max: AtomicU64,
    begun: AtomicU64,
    changes: watch::Sender<u64>,
}

/// What is changed under the one lock; nothing waits while holding it but for the books' file.
#[derive(Debug)]
pub(super) struct State {
    pub(super) books: Books,
    pub(super) tokens: Tokens,
    pub(super) faults: Faults,
    pub(super) codes: Codes,
    pub(super) mint: Mint,
    pub(super) post: Post,
    pub(super) quotas: Quotas,
    lanes: HashMap<String, HashSet<Box<str>>>,
}

impl Inner {
    pub(super) fn new(options: Options, clock: Clock) -> io::Result<(Self, mpsc::Receiver<Event>)> {
        let seed = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let (post, outbox) = Post::new();
        let state = State {
            books: Books::open(options.books.as_deref())?,
            tokens: Tokens::new(seed),
            faults: Faults::default(),
            codes: Codes::new(!seed),
            mint: Mint::new(seed.rotate_left(32)),
            post,
            quotas: Quotas::default(),
            lanes: HashMap::new(),
        };
        let shelves = Shelves::new(&options.apps, options.templates);
        let inner = Self {
            clock,
            apps: options.apps,
            shelves: ArcSwap::from_pointee(shelves),
            answer_after: options.answer_after,
            token_calls: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            state: Mutex::new(state),
            in_flight: AtomicU64::new(0),
            in_flight_max: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            changes: watch::Sender::new(0),
        };
        Ok((inner, outbox))
    }

    fn reshelve<T>(&self, change: impl FnOnce(&mut Shelves) -> T) -> T {
        let changed = {
            let _held = self.state();
            let mut shelves = self.shelves.load().as_ref().clone();
            let changed = change(&mut shelves);
            self.shelves.store(Arc::new(shelves));
            changed
        };
        self.changed();
        changed
    }

    fn seconds(&self) -> i64 {
        self.clock.now().timestamp()
    }

    /// The state; a panic of another holder does not spoil it.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn kind(&self, appid: &str, template: &str) -> TemplateKind {
        self.shelves.load().find(appid, template).map_or(TemplateKind::OneTime, |found| found.template().kind)
    }

    /// Counts a send whose body has been read.
    pub(super) fn begin(self: &Arc<Self>) -> Flight {
        let now = self.in_flight.fetch_add(1, Ordering::AcqRel) + 1;
        self.in_flight_max.fetch_max(now, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.changed();
        Flight { inner: Arc::clone(self), lane: None, record: None }
    }
}

impl State {
    fn tell(&mut self, appid: &str, told: Told) {
        self.post.tell(&mut self.faults, appid, told);
    }

    /// Takes the lane of an openid; false while another send to it is in flight.
    pub(super) fn enter(&mut self, flight: &mut Flight, appid: &str, openid: &str) -> bool {
        if !self.lanes.contains_key(appid) {
            self.lanes.insert(appid.to_owned(), HashSet::new());
        }
        let entered = self.lanes.get_mut(appid).is_some_and(|lanes| lanes.insert(openid.into()));
        if entered {
            flight.lane = Some((appid.to_owned(), openid.into()));
        }
        entered
    }
}

/// A send from its body to its answer; dropped early when the client leaves or the connection is cut.
#[derive(Debug)]
pub(super) struct Flight {
    inner: Arc<Inner>,
    lane: Option<(String, Box<str>)>,
    /// Its place in the books, once it has one.
    pub(super) record: Option<usize>,
}

impl Flight {
    /// Ends the flight: the true answer goes out now.
    pub(super) fn answered(self) {
        if let Some(record) = self.record {
            self.inner.state().books.answered(record);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        {
            let mut state = self.inner.state();
            if let Some((appid, openid)) = self.lane.take()
                && let Some(lanes) = state.lanes.get_mut(&appid)
            {
                lanes.remove(&openid);
            }
            if let Some(record) = self.record {
                state.books.landed(record);
            }
            self.inner.in_flight.fetch_sub(1, Ordering::AcqRel);
        }
        self.inner.changed();
    }
}
