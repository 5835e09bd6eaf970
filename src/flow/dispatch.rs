//! Sends what is reserved: marks it durably, asks the platform, and settles what it answered.
//!
//! One task per app owns every delivery that is in memory. At most `in_flight` requests run, at most
//! [`App::mark_ahead`](crate::domain::config::App::mark_ahead) more are marked, one at a time per
//! openid (43108), under the app's rate, and occurrences take turns. It never chooses recipients and
//! never renders.
//!
//! One file over its length: every step from a slot to a settlement reads and changes the same marks, lanes and slots. What
//! waits for its turn or its time is in `queues`, what an answer means for others in `consequences`.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::bell::Bell;
use super::brake::Brake;
use super::live::Current;
use super::pause::{Gate, Nth, Pauses, Words};
use super::scheduler::MAX_SLEEP;
use crate::clock::Clock;
use crate::domain::id::{AppId, AppName, DeliveryId, OpenId, RuleId};
use crate::domain::message::Reply;
use crate::domain::occurrence::OccurrenceState;
use crate::plan::canary;
use crate::plan::retry::{self, Decision, Tried};
use crate::store::{AppointmentKey, Closing, End, Mark, Pending, Settlement, Store, Unavailable};
use crate::wechat::{Client, Ready, Sent, TokenError, TokenState};

mod canaries;
mod consequences;
mod item;
mod pace;
mod queues;
mod spent;

use self::canaries::Canaries;
use self::consequences::{Asked, Memory, of_app, told};
pub use self::item::{Feed, Item, Signals};
use self::pace::Pace;
use self::queues::{Place, Queues};

/// Batches on their way from the walks to the sender.
pub const FEED_QUEUE: usize = 16;
/// How long it is not asked again whether there is an access token, where one can be had that no answer has proved.
const PROBE_AGAIN: TimeDelta = TimeDelta::minutes(1);
/// No wait that the platform asks for is longer: a used-up quota ends with the day.
const LONGEST_WAIT: TimeDelta = TimeDelta::days(2);
/// Tasks whose ends are taken in before anything else is begun.
const MAX_TAKEN: usize = 64;

/// The sender of one app.
#[derive(Debug)]
pub struct Dispatch {
    name: AppName,
    app: AppId,
    store: Arc<dyn Store>,
    current: Current,
    clock: Clock,
    /// What does not send.
    brake: Brake,
    /// Told when an occurrence is held.
    told: Pauses,
    /// Rung when an occurrence is held.
    opened: Bell,
    /// What waits for its turn or its time.
    queues: Queues,
    /// Openids with a delivery between mark and settlement.
    lanes: HashSet<OpenId>,
    /// Marked and durable, to be started.
    marked: VecDeque<(Item, Mark, Option<Ready>)>,
    /// Given to the writer for marking.
    n_marking: usize,
    n_in_flight: usize,
    /// Occurrences that were stopped.
    cancelled: HashSet<u64>,
    /// What is remembered of answers.
    memory: Memory,
    /// Occurrences that begin with one message.
    canaries: Canaries,
    /// Occurrences that too many refused: the store has what is left of them.
    held: BTreeSet<u64>,
    /// Those of them of which the walks are told when it is decided.
    holds: Vec<(u64, Pending<()>)>,
    /// How fast it sends.
    pace: Pace,
    /// Whether an access token is being asked for although there is nothing to send.
    probing: bool,
    /// A token that could be had is not proved by any answer yet: another question before this would tell no more.
    probe_again_at: Option<DateTime<Utc>>,
    /// Of the rules and apps that were in force at the last look.
    generation: u64,
    /// Given back while their occurrence was held: a walk that takes up what is left may have passed them by then. At most
    /// those that were marked or in flight.
    given_back: Vec<Item>,
    /// The store keeps that the day's messages are used up.
    keeps_spent: bool,
    gate: Gate,
    jitter: u64,
}

/// What the tasks of a sender come back with.
enum Done {
    /// Marked and durable; the token that was got for them.
    Marked(Vec<(Item, Option<Mark>)>, Box<Ready>),
    /// The store failed; these were made, and nobody knows whether they are durable.
    Unmarked(Vec<Option<Mark>>),
    /// No token, so nothing was marked; nor after a stop, when nobody asks why.
    NoToken(Vec<Item>, Option<(Reply, TokenState)>),
    /// Whether there is an access token again; `None` after a stop.
    Probed(Option<Result<(), (Reply, TokenState)>>),
    /// Stopped, or too late, before its request.
    NotStarted(Box<(Item, Mark)>),
    Answered(Box<Answered>),
    /// An occurrence is held in the books.
    Held,
}

/// A request that ended.
struct Answered {
    item: Item,
    mark: Mark,
    nth: Nth,
    started_at: DateTime<Utc>,
    sent: Sent,
}

impl Dispatch {
    /// Sends for one app.
    #[must_use]
    pub fn new(
        name: AppName,
        app: AppId,
        store: Arc<dyn Store>,
        current: Current,
        clock: Clock,
        signals: Signals,
    ) -> Self {
        let Signals { brake, told, opened } = signals;
        Self {
            gate: Gate::new(name.clone(), told.clone()),
            told,
            name,
            app,
            store,
            current,
            clock,
            brake,
            opened,
            queues: Queues::default(),
            lanes: HashSet::new(),
            marked: VecDeque::new(),
            n_marking: 0,
            n_in_flight: 0,
            cancelled: HashSet::new(),
            memory: Memory::default(),
            canaries: Canaries::default(),
            held: BTreeSet::new(),
            holds: Vec::new(),
            pace: Pace::default(),
            probing: false,
            probe_again_at: None,
            generation: 0,
            given_back: Vec::new(),
            keeps_spent: false,
            jitter: 0x9E37_79B9_7F4A_7C15,
        }
    }

    /// Runs until `stop` is set, or nothing more can come in, and everything under way has ended; or the
    /// store fails.
    ///
    /// At stop no new request starts: marked deliveries that never started are given back, requests
    /// in flight end by themselves within their own time limit. When the store fails it is the same: what
    /// they are answered is given to the store, which keeps it.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed.
    pub async fn run(
        mut self,
        mut feed: mpsc::Receiver<Feed>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Unavailable> {
        self.recall_spent()?;
        let mut tasks: JoinSet<Done> = JoinSet::new();
        // At a stop the walks end too; whichever is heard of first, what is under way ends by itself.
        let mut walks_ended = false;
        let mut result = Ok(());
        loop {
            let stopping = *stop.borrow_and_update() || walks_ended || result.is_err();
            if stopping {
                self.give_back();
                if tasks.is_empty() {
                    return result;
                }
            } else if let Err(unavailable) = self.advance(&mut tasks, &stop) {
                result = Err(unavailable);
                continue;
            }
            let wait = self.wait();
            tokio::select! {
                // In this order, so that a history can be replayed. Nobody starves: seats bound what comes in.
                biased;
                fed = feed.recv(), if !stopping => match fed {
                    Some(Feed::Items(occurrence, items, trial)) => {
                        self.canaries.hear(occurrence, trial);
                        self.admit(items);
                    }
                    Some(Feed::Cancel(occurrence)) => self.cancel(occurrence),
                    Some(Feed::Over(occurrence)) => {
                        self.cancelled.remove(&occurrence);
                    }
                    Some(Feed::GoesOn(occurrence)) => {
                        self.held.remove(&occurrence);
                        self.memory.forget(occurrence);
                        self.canaries.settle(occurrence);
                        // Those that the walk takes up as well are marked once, whoever comes first.
                        let of_it = |item: &mut Item| item.id.occurrence == occurrence;
                        let back: Vec<Item> = self.given_back.extract_if(.., of_it).collect();
                        self.admit(back);
                    }
                    None => walks_ended = true,
                },
                Some(done) = tasks.join_next() => {
                    result = result.and(self.take(done));
                    let mut settlements = 1;
                    while settlements < MAX_TAKEN && let Some(done) = tasks.try_join_next() {
                        result = result.and(self.take(done));
                        settlements += 1;
                    }
                }
                () = self.clock.sleep(wait), if !stopping => {}
                _ = stop.changed(), if !stopping => {}
            }
        }
    }

    /// Starts and marks whatever may be started and marked now.
    fn advance(
        &mut self,
        tasks: &mut JoinSet<Done>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Unavailable> {
        for (occurrence, hold) in self.holds.drain(..) {
            let (opened, told) = (self.opened.clone(), self.told.clone());
            tasks.spawn(async move {
                // Where the store failed, this ends with everything else.
                let _decided = hold.await;
                told.held_by_sender(occurrence);
                opened.ring();
                Done::Held
            });
        }
        let Some(now) = self.clock.believed() else {
            // A mark is for what may start at once: in a crash it would be in doubt.
            self.give_back();
            return Ok(());
        };
        // An app that an operator keeps paused tries nothing: what it waits for is not over.
        let hurried = !self.brake.stops_app(&self.app) && self.gate.is_hurried(now);
        if hurried {
            self.queues.hurry(now);
        }
        self.queues.wake(now);
        self.expire(now);
        let live = self.current.get();
        let (Some(app), Some(client)) = (live.config.apps.get(&self.name), live.clients.get(&self.name))
        else {
            return Ok(());
        };
        if hurried {
            client.ask_again();
            self.forget_spent();
        }
        if self.generation != live.generation {
            self.generation = live.generation;
            self.gate.is_reloaded(now);
        }
        if self.gate.is_shut(now) || self.brake.stops_app(&self.app) {
            // A mark is for what may start at once: in a crash it would be in doubt.
            self.give_back();
        }
        if self.brake.stops_app(&self.app) {
            return Ok(());
        }
        let slots = self.gate.slots(app.in_flight, now);
        self.start(slots, app.per_second, client, tasks, stop)?;
        let outstanding = self.n_marking + self.marked.len() + self.n_in_flight;
        let room = if self.gate.is_paused() { slots } else { app.in_flight + app.mark_ahead() };
        let room = room.saturating_sub(outstanding);
        if room > 0 && self.n_marking == 0 {
            self.mark(room, client, now, tasks, stop);
        }
        let is_idle = self.n_marking + self.marked.len() + self.n_in_flight == 0;
        // Also where nobody has wanted to send yet: who is due tomorrow is not to learn then that nothing can be sent.
        // That the platform is away is no news of the app, and a message finds out.
        let fails = match client.token_state() {
            TokenState::Failing { error: TokenError::Denied { .. } | TokenError::Refused { .. }, .. } => true,
            TokenState::Failing { error: TokenError::Unavailable { .. }, .. }
            | TokenState::None
            | TokenState::Ready { .. } => false,
        };
        if !fails {
            self.probe_again_at = None;
        }
        let wants_token = (fails || self.gate.lacks_token()) && !self.gate.is_shut(now);
        if wants_token && is_idle && !self.probing && self.probe_again_at.is_none_or(|at| at <= now) {
            self.probe(client, tasks, stop);
        }
        if is_idle && self.gate.is_paused() {
            // One that can be had, and is not proved by any answer yet, is no trouble.
            self.gate.idles(fails && self.probe_again_at.is_none(), now);
        }
        Ok(())
    }

    /// Asks for an access token while there is nothing to send: so it shows that the app may send again.
    fn probe(&mut self, client: &Client, tasks: &mut JoinSet<Done>, stop: &watch::Receiver<bool>) {
        self.probing = true;
        let (client, stopped) = (client.clone(), stopped(stop.clone()));
        tasks.spawn(async move {
            tokio::select! {
                ready = client.ready() => {
                    Done::Probed(Some(ready.map(drop).map_err(|reply| (reply, client.token_state()))))
                }
                () = stopped => Done::Probed(None),
            }
        });
    }

    /// Marks at most `room` deliveries whose openid has no other one under way, the occurrences taking turns.
    ///
    /// The access token is there first: while there is none, nothing is marked.
    fn mark(
        &mut self,
        room: usize,
        client: &Client,
        now: DateTime<Utc>,
        tasks: &mut JoinSet<Done>,
        stop: &watch::Receiver<bool>,
    ) {
        let mut batch: Vec<Item> = Vec::new();
        while batch.len() < room {
            let may_go = |item: &Item| !self.brake.stops(&self.app, &item.rule, item.wording);
            let is_free = |item: &Item| !self.lanes.contains(&item.message.to) && self.canaries.lets(item);
            let next = self.queues.next(may_go, is_free);
            // Where none is there to try whether a pause is over, one that waits for that does.
            let next = next.or_else(|| {
                let tries = self.gate.is_paused().then_some(&mut self.queues)?;
                tries.ahead(now, |item| may_go(item) && is_free(item))
            });
            let Some(item) = next else { break };
            self.canaries.goes(item.id);
            self.lanes.insert(item.message.to.clone());
            batch.push(item);
        }
        if batch.is_empty() {
            return;
        }
        self.n_marking += batch.len();
        let store = Arc::clone(&self.store);
        let client = client.clone();
        let stopped = stopped(stop.clone());
        tasks.spawn(async move {
            let ready = tokio::select! {
                ready = client.ready() => ready.map_err(|reply| Some((reply, client.token_state()))),
                () = stopped => Err(None),
            };
            let ready = match ready {
                Ok(ready) => ready,
                Err(reply) => return Done::NoToken(batch, reply),
            };
            let Ok(decided) = store.mark(batch.iter().map(|item| item.id).collect(), now).await else {
                return Done::Unmarked(Vec::new());
            };
            match store.wait(decided.number).await {
                Ok(()) => Done::Marked(batch.into_iter().zip(decided.value).collect(), Box::new(ready)),
                Err(Unavailable) => Done::Unmarked(decided.value),
            }
        });
    }

    /// Starts requests of marked deliveries while there are slots and the rate allows.
    fn start(
        &mut self,
        slots: usize,
        per_second: Option<u32>,
        client: &Client,
        tasks: &mut JoinSet<Done>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Unavailable> {
        while self.n_in_flight < slots
            && !self.marked.is_empty()
            && self.pace.lets(per_second, self.clock.elapsed())
        {
            let Some(now) = self.clock.believed() else { break };
            let Some((item, mark, ready)) = self.marked.pop_front() else { break };
            match self.obstacle(&item, &mark, now) {
                Ok(None) => {}
                Ok(Some(end)) => {
                    self.settle(item, mark, None, end, now);
                    continue;
                }
                Err(unavailable) => {
                    self.marked.push_front((item, mark, ready));
                    return Err(unavailable);
                }
            }
            self.pace.starts(self.clock.elapsed());
            let nth = self.gate.starts();
            self.n_in_flight += 1;
            let client = client.clone();
            // It may yet wait for an access token.
            let too_late = too_late(self.clock.clone(), item.deadline, now);
            let stopped = stopped(stop.clone());
            let (brake, app, store) = (self.brake.clone(), self.app.clone(), Arc::clone(&self.store));
            let accepted_at = mark.accepted_at();
            tasks.spawn(async move {
                let unless = async {
                    tokio::select! {
                        () = stopped => {}
                        () = too_late => {}
                        () = brake.stopped(&app, &item.rule, item.wording) => {}
                    }
                };
                // What ended while it waited for an access token does not start under the new one.
                let stands = || worthless(&*store, &app, &item, accepted_at).is_ok_and(|end| end.is_none());
                match client.send_unless((unless, stands), ready, &item.message).await {
                    Some(sent) => {
                        Done::Answered(Box::new(Answered { item, mark, nth, started_at: now, sent }))
                    }
                    None => Done::NotStarted(Box::new((item, mark))),
                }
            });
        }
        Ok(())
    }

    /// Why a marked delivery must not start: looked at right before its request.
    fn obstacle(&self, item: &Item, mark: &Mark, now: DateTime<Utc>) -> Result<Option<End>, Unavailable> {
        if self.cancelled.contains(&item.id.occurrence) {
            return Ok(Some(End::Cancelled));
        }
        if self.held.contains(&item.id.occurrence) || self.brake.stops(&self.app, &item.rule, item.wording) {
            return Ok(Some(End::NotStarted));
        }
        if now > item.deadline {
            return Ok(Some(if item.after_night.is_some() { End::NotStarted } else { End::Expired }));
        }
        worthless(&*self.store, &self.app, item, mark.accepted_at())
    }

    /// Sends slower when the platform says that it is too fast.
    fn slow_down(&mut self, reply: &Reply, per_second: Option<u32>) {
        let Reply::RateLimited { .. } = reply else { return };
        let now = self.clock.elapsed();
        if let Some(allowed) = self.pace.complain(per_second, now) {
            warn!(app = %self.name, allowed, "App {} sends {allowed} messages a second from now on, and slowly more again", self.name);
        }
        // What is not sent meanwhile does not show that it may be more.
        let wait =
            self.gate.until().map(|until| (until - self.clock.reckoned()).to_std().unwrap_or_default());
        self.pace.rests(now + wait.unwrap_or_default());
    }

    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) -> Result<(), Unavailable> {
        match done {
            Ok(Done::NoToken(items, reply)) => {
                self.n_marking = self.n_marking.saturating_sub(items.len());
                for item in items.into_iter().rev() {
                    self.lanes.remove(&item.message.to);
                    self.put_back(item, None);
                }
                if let Some((reply, state)) = reply {
                    self.gate.hear_of_token(&reply, &Words::of_token(&state), self.clock.reckoned());
                }
                Ok(())
            }
            Ok(Done::Probed(probed)) => {
                self.probing = false;
                match probed {
                    Some(Ok(())) => {
                        self.gate.has_token();
                        // Until a message has proved it the token's state stays what it was.
                        self.probe_again_at = Some(self.clock.reckoned() + PROBE_AGAIN);
                    }
                    Some(Err((reply, state))) => {
                        self.gate.hear_of_token(&reply, &Words::of_token(&state), self.clock.reckoned());
                    }
                    None => {}
                }
                Ok(())
            }
            Ok(Done::NotStarted(never)) => {
                let (item, mark) = *never;
                self.n_in_flight = self.n_in_flight.saturating_sub(1);
                self.settle(item, mark, None, End::NotStarted, self.clock.reckoned());
                Ok(())
            }
            Ok(Done::Unmarked(marks)) => {
                let now = self.clock.reckoned();
                let not_started = |mark| Settlement { mark, started_at: None, end: End::NotStarted, now };
                // The store keeps them until it works.
                let _kept = self.store.settle(marks.into_iter().flatten().map(not_started).collect());
                Err(Unavailable)
            }
            Ok(Done::Marked(marks, ready)) => {
                let mut ready = Some(*ready);
                self.n_marking = self.n_marking.saturating_sub(marks.len());
                for (item, mark) in marks {
                    if let Some(mark) = mark {
                        self.marked.push_back((item, mark, ready.take()));
                    } else {
                        // Somebody else ended it meanwhile.
                        debug!(delivery.id = %item.id, "Delivery {} is not open any more", item.id);
                        self.canaries.ends(item.id, canary::End::Untried);
                        self.lanes.remove(&item.message.to);
                    }
                }
                Ok(())
            }
            Ok(Done::Held) => Ok(()),
            Ok(Done::Answered(answered)) => {
                let Answered { item, mark, nth, started_at, sent } = *answered;
                self.n_in_flight = self.n_in_flight.saturating_sub(1);
                self.answered(item, mark, (nth, started_at), &sent);
                Ok(())
            }
            Err(error) => {
                warn!("A sending task ended abnormally: {error}");
                Err(Unavailable)
            }
        }
    }

    fn answered(&mut self, mut item: Item, mark: Mark, (nth, started_at): (Nth, DateTime<Utc>), sent: &Sent) {
        let now = self.clock.reckoned();
        let tried = Tried { n_attempts: item.attempts + 1, n_busy: item.n_busy, past: item.past };
        self.jitter =
            self.jitter.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let deadline = item.after_night.map_or(item.deadline, |after| after.deadline);
        let decision = retry::decide(&sent.reply, tried, now, deadline, self.jitter >> 16);
        // The app waits as long as it is asked to, also where this one cannot.
        let asked = retry::decide(&sent.reply, tried, now, now + LONGEST_WAIT, self.jitter >> 16);
        let stated = match asked {
            Decision::Wait { at, .. } => Some(at),
            Decision::Accept { .. } | Decision::Refuse | Decision::Fail { .. } | Decision::Doubt => None,
        };
        let live = self.current.get();
        let state = live.clients.get(&self.name).map_or(TokenState::None, Client::token_state);
        let words = Words::of(sent, &state);
        self.gate.hear(&sent.reply, nth, &words, stated, now);
        self.note_spent(&sent.reply, words.said());
        item.for_app = of_app(&sent.reply);
        self.slow_down(&sent.reply, live.config.apps.get(&self.name).and_then(|app| app.per_second));
        item.n_busy += u32::from(sent.reply == Reply::Busy);
        let end = match decision {
            Decision::Accept { msgid } => End::Accepted { msgid },
            Decision::Refuse => End::Refused,
            Decision::Fail { errcode } => End::Failed { errcode },
            Decision::Wait { at, past } => End::Wait { at, past },
            Decision::Doubt => End::Doubt,
        };
        // What never left the machine was no attempt.
        let started = (!matches!(sent.reply, Reply::NoToken | Reply::NotConnected)).then_some(started_at);
        info!(delivery.id = %item.id, rule.id = %item.rule, wechat.errcode = sent.errcode, wechat.rid = sent.rid,
            "Delivery {} of rule {} answered: {}", item.id, item.rule, told(&end));
        let asked = Asked::of(&item);
        self.blame(&asked, sent, now);
        self.wonder(&asked, sent);
        self.note_recipient(&asked, &sent.reply, started_at);
        self.settle(item, mark, started, end, now);
        self.count(&asked, &sent.reply);
        self.learn(&asked, decision);
    }

    /// Holds an occurrence until an operator releases it or its deadline has passed. What is in flight ends by itself.
    fn hold(&mut self, occurrence: u64, rule: &RuleId, reason: String) {
        warn!(rule.id = %rule, "Occurrence {occurrence} of rule {rule} is held: {reason}; `tixing release --rule {rule}` lets it go on");
        // The walk takes up what is left when it goes on.
        let _left = self.queues.withdraw(|item| item.id.occurrence == occurrence);
        self.settle_marked(occurrence, || End::NotStarted);
        let held = self.store.stop_occurrence(occurrence, OccurrenceState::Held, Some(reason));
        self.holds.push((occurrence, held));
    }

    /// Ends what is marked of an occurrence and has not started.
    fn settle_marked(&mut self, occurrence: u64, end: impl Fn() -> End) {
        let now = self.clock.reckoned();
        for (item, mark, ready) in std::mem::take(&mut self.marked) {
            if item.id.occurrence == occurrence {
                self.settle(item, mark, None, end(), now);
            } else {
                self.marked.push_back((item, mark, ready));
            }
        }
    }

    /// Queues a settlement; the slot and the lane are free from here on.
    fn settle(
        &mut self,
        mut item: Item,
        mark: Mark,
        started_at: Option<DateTime<Utc>>,
        end: End,
        now: DateTime<Utc>,
    ) {
        self.lanes.remove(&item.message.to);
        // Whether it is decided or the engine fails shows in the store's progress, which the daemon watches.
        let _queued = self.store.settle(vec![Settlement { mark, started_at, end, now }]);
        if started_at.is_some() {
            item.attempts += 1;
        }
        match end {
            End::Wait { at, past } => {
                item.past = past;
                self.put_back(item, Some(at));
            }
            End::NotStarted => self.put_back(item, None),
            End::GrantDied | End::Expired | End::Cancelled => {
                self.canaries.ends(item.id, canary::End::Untried);
            }
            End::Accepted { .. } | End::Refused | End::Failed { .. } | End::Doubt => {}
        }
    }

    /// Takes a delivery in again that goes on, at `at` where it has to wait.
    fn put_back(&mut self, mut item: Item, at: Option<DateTime<Utc>>) {
        let night = item.after_night(self.clock.reckoned());
        if at.is_none() || night.is_some() {
            // Nothing was said of it: another one may go first.
            self.canaries.ends(item.id, canary::End::Untried);
        }
        let at = at.max(night);
        let occurrence = item.id.occurrence;
        if self.held.contains(&occurrence) && !self.cancelled.contains(&occurrence) {
            (item.at, item.seat) = (at, None);
            self.given_back.push(item);
            return;
        }
        self.take_in(item, at, Place::First);
    }

    fn admit(&mut self, items: Vec<Item>) {
        for item in items {
            // Of one whose app goes on again the wait for it is over.
            let at = item.at.filter(|_| !item.for_app || self.gate.is_paused());
            self.take_in(item, at, Place::Last);
        }
    }

    /// That of a stopped occurrence ends, that of a held one is left to the store.
    fn take_in(&mut self, item: Item, at: Option<DateTime<Utc>>, place: Place) {
        if self.cancelled.contains(&item.id.occurrence) {
            self.close(&[item.id], Closing::Cancelled);
        } else if !self.held.contains(&item.id.occurrence) {
            match at {
                Some(at) => self.queues.await_time(item, at),
                None => self.queues.push(item, place),
            }
        }
    }

    fn cancel(&mut self, occurrence: u64) {
        self.cancelled.insert(occurrence);
        self.canaries.forget(occurrence);
        self.given_back.retain(|item| item.id.occurrence != occurrence);
        let withdrawn = self.queues.withdraw(|item| item.id.occurrence == occurrence);
        self.close(&withdrawn.iter().map(|item| item.id).collect::<Vec<_>>(), Closing::Cancelled);
        self.settle_marked(occurrence, || End::Cancelled);
    }

    fn expire(&mut self, now: DateTime<Utc>) {
        let late = self.queues.late(now);
        for item in &late {
            self.canaries.ends(item.id, canary::End::Untried);
        }
        self.close(&late.iter().map(|item| item.id).collect::<Vec<_>>(), Closing::Expired);
    }

    fn close(&self, ids: &[DeliveryId], closing: Closing) {
        for ids in ids.chunks(crate::store::CHUNK_DELIVERIES / 2) {
            let _queued = self.store.close(ids.to_vec(), closing, self.clock.reckoned());
        }
    }

    /// Gives marked deliveries that never started back.
    fn give_back(&mut self) {
        let now = self.clock.reckoned();
        while let Some((item, mark, _ready)) = self.marked.pop_back() {
            self.settle(item, mark, None, End::NotStarted, now);
        }
    }

    fn wait(&self) -> Duration {
        let now = self.clock.reckoned();
        let until = self.queues.next_at().into_iter().chain(self.gate.until()).filter(|at| *at > now).min();
        let until = until.map_or(MAX_SLEEP, |at| (at - now).to_std().unwrap_or_default());
        let rate = match self.pace.next(self.clock.elapsed()) {
            Some(next) if !self.marked.is_empty() => next,
            Some(_) | None => MAX_SLEEP,
        };
        until.min(rate).min(MAX_SLEEP)
    }
}

/// Resolves at a stop; whoever would have told it and is gone has stopped too.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let _stopped = stop.wait_for(|stop| *stop).await;
}

/// Why a delivery is worth no message any more: its person was erased and may be there again as somebody new, its
/// appointment is another one, or what it took from its account is void.
fn worthless(
    store: &dyn Store,
    app: &AppId,
    item: &Item,
    accepted_at: Option<DateTime<Utc>>,
) -> Result<Option<End>, Unavailable> {
    if store.delivery(item.id)?.is_none_or(|delivery| delivery.openid != item.message.to) {
        return Ok(Some(End::GrantDied));
    }
    if let Some(about) = &item.about {
        let key = AppointmentKey { app: app.clone(), kind: about.kind.clone(), id: about.id.clone() };
        if !store.appointment(&key)?.is_some_and(|kept| kept.is_for(about, &item.message.to)) {
            return Ok(Some(End::Cancelled));
        }
    }
    let account = store.bare_account(app, &item.message.template, &item.message.to)?;
    let alive = account.is_some_and(|account| account.covers(item.kind, accepted_at));
    Ok((!alive).then_some(End::GrantDied))
}

/// Resolves when `deadline` has passed.
async fn too_late(clock: Clock, deadline: DateTime<Utc>, now: DateTime<Utc>) {
    clock.sleep((deadline - now).to_std().unwrap_or_default() + Duration::from_millis(1)).await;
}
