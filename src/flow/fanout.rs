//! Walks the audience of open occurrences in openid order, and books it piece by piece.
//!
//! A message is rendered and checked before a grant is touched. The walk of an occurrence goes ahead
//! of its sends by a stated number of seats, so memory has a bound and no walk waits for another's
//! sends. Whose send time is later is held without a grant, and let go when it comes. It never sends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::bell::Bell;
use super::brake::Brake;
use super::dispatch::{Feed, Item};
use super::held::{Agenda, Looked, Plan};
use super::pause::Pauses;
use super::scheduler::MAX_SLEEP;
use crate::clock::Clock;
use crate::domain::appointment::{About, Appointment};
use crate::domain::consent::{Account, NoGrant};
use crate::domain::delivery::{Past, State};
use crate::domain::id::{AppId, DeliveryId, OpenId};
use crate::domain::occurrence::{OccurrenceState, Whose};
use crate::domain::recipient::Recipient;
use crate::domain::rejection::Wording;
use crate::domain::template::TemplateKind;
use crate::plan::audience::Selector;
use crate::plan::canary::Trial;
use crate::plan::render::Compiled;
use crate::rules::snapshot;
use crate::store::{
    AppointmentKey, CHUNK_DELIVERIES, Closing, Hint, KeptAppointment, Occurrence, Piece, PieceOutcome, Store,
    Unavailable, Walk, Walked, Want,
};

mod gathering;
mod lost;
mod ready;
mod rivals;

use self::gathering::Gathering;
pub(super) use self::lost::ready;
pub use self::lost::walk_lost;
use self::ready::Booking;
pub(super) use self::ready::{Prepared, Ready};
pub(super) use self::rivals::Before;
use self::rivals::{Left, Place, Rivals};

/// Deliveries of one occurrence that may be in memory: some chunks ahead of what is in flight.
pub const SEATS: usize = 256;
/// Occurrences of one app that are walked at the same time; the rest wait their turn.
pub const MAX_WALKS: usize = 64;
/// Why an occurrence is held that nobody can go on with.
const UNREADABLE: &str = "the snapshot of its rule cannot be read";
/// Recipients read at a time while few of them are selected; a piece begins with as many as it may hold, since
/// those who do not fit are read again for the next one.
const PAGE: usize = 256;
/// Recipients passed before a position is booked although nobody of them gets a record.
const MAX_PASSED: u64 = 4096;

/// The fan-out of one app.
#[derive(Debug)]
pub struct Fanout {
    /// Whose occurrences.
    pub app: AppId,
    /// The books.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// What does not send.
    pub brake: Brake,
    /// Told which occurrences are held.
    pub told: Pauses,
    /// Rung when something was opened or stopped.
    pub opened: Bell,
    /// Where reserved deliveries go.
    pub feed: mpsc::Sender<Feed>,
}

impl Fanout {
    /// Runs until the store fails or nobody sends any more.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed.
    pub async fn run(self) -> Result<(), Unavailable> {
        let mut walks: JoinSet<Result<Done, Unavailable>> = JoinSet::new();
        let mut known: BTreeSet<u64> = BTreeSet::new();
        let mut cancelled: BTreeSet<u64> = BTreeSet::new();
        let mut held: BTreeMap<u64, Occurrence> = BTreeMap::new();
        let mut agenda = Agenda::default();
        let mut plan = Plan::default();
        // What the plan lets go now, as far as it has not begun: one after the other, without a look for each.
        let mut due: VecDeque<(Occurrence, Vec<u32>)> = VecDeque::new();
        // All there is is read when something changed, not whenever a walk ends: there may be thousands of them.
        let mut waiting: BTreeMap<Place, Occurrence> = BTreeMap::new();
        let rivals = Rivals::default();
        let (mut changed, mut looked_at) = (true, self.clock.reckoned());
        // Whether some whose time has come rest, since nothing of their rule is sent.
        let mut rest = false;
        let mut rung = std::pin::pin!(self.opened.rung());
        loop {
            if std::mem::take(&mut changed) {
                // Asked for before the look, so that nothing rung during it is lost.
                rung.set(self.opened.rung());
                let unfinished = super::read(&self.store, Store::unfinished).await?;
                let mine: Vec<Occurrence> = unfinished.into_iter().filter(|o| o.app == self.app).collect();
                let numbers: BTreeSet<u64> = mine.iter().map(|o| o.number).collect();
                known.retain(|number| numbers.contains(number));
                let over: Vec<u64> = cancelled.difference(&numbers).copied().collect();
                for over in over {
                    cancelled.remove(&over);
                    if self.feed.send(Feed::Over(over)).await.is_err() {
                        return Ok(());
                    }
                }
                agenda.retain(&numbers);
                plan = match (self.clock.believed(), self.opened.foreseen()) {
                    // What goes before it is there too.
                    (Some(now), Some(foreseen)) => agenda.plan(&self.store, &mine, (now, foreseen)).await?,
                    (Some(_), None) => Plan::default(),
                    (None, _) => Plan::put_off(self.clock.reckoned()),
                };
                waiting.clear();
                due.clear();
                rest = false;
                rivals.renew(mine.iter());
                let held_before = std::mem::take(&mut held);
                for occurrence in mine {
                    let number = occurrence.number;
                    let stopped = occurrence.state == OccurrenceState::Cancelled;
                    if stopped && cancelled.insert(number) {
                        let told = self.feed.send(Feed::Cancel(number)).await;
                        if told.is_err() {
                            return Ok(());
                        }
                        if occurrence.counts.in_state(State::Held) > 0 {
                            let walker = self.walker(&mut agenda, &rivals, number);
                            walks.spawn(async move { walker.withdraw(number).await.map(|()| Done::Walked) });
                        }
                    }
                    let by_sender = self.told.was_held_by_sender(number);
                    if occurrence.state == OccurrenceState::Held {
                        known.remove(&number);
                        held.insert(number, occurrence);
                        continue;
                    }
                    // Somebody may have released it before this look: then only the sender knows that it was held.
                    if by_sender || held_before.contains_key(&number) {
                        known.remove(&number);
                        if self.feed.send(Feed::GoesOn(number)).await.is_err() {
                            return Ok(());
                        }
                    }
                    if let Some(chunks) = plan.due.remove(&number) {
                        due.push_back((occurrence.clone(), chunks));
                    }
                    if !known.contains(&number) {
                        waiting.insert(Place::of(&occurrence), occurrence);
                    }
                }
                looked_at = self.clock.reckoned();
            }
            let now = self.clock.reckoned();
            self.told.hold(held.values());
            // By a clock that has jumped nothing is over.
            let over = self.clock.believed().map(|now| over(&held, now)).unwrap_or_default();
            for (number, reason) in over {
                // Its audience and what it has reserved expire.
                self.store.stop_occurrence(number, OccurrenceState::Open, reason).await?;
                changed = true;
            }
            if changed {
                continue;
            }
            // Whoever waits for his time is not kept waiting by those whose walk has not begun.
            while walks.len() < 2 * MAX_WALKS
                && let Some((occurrence, chunks)) = due.pop_front()
            {
                let number = occurrence.number;
                if self.rests(&occurrence, now) {
                    rest = true;
                } else if agenda.begin(number) {
                    let (walker, until) = (self.walker(&mut agenda, &rivals, number), plan.until);
                    walks.spawn(async move {
                        let looked = walker.release(occurrence, chunks, until).await?;
                        Ok(Done::Released(number, looked))
                    });
                }
            }
            while walks.len() < MAX_WALKS
                && let Some(place) =
                    waiting.iter().find(|(_, o)| self.may_begin(o, now)).map(|(p, _)| p.clone())
                && let Some(occurrence) = waiting.remove(&place)
            {
                let number = occurrence.number;
                known.insert(number);
                let walker = self.walker(&mut agenda, &rivals, number);
                walks.spawn(async move { walker.run(occurrence).await.map(|()| Done::Walked) });
            }
            // What a walk holds may be due before it ends. Counted from the last look, however many walks end meanwhile.
            let again_at = plan.again_at(looked_at).or(Some(looked_at + MAX_SLEEP)
                .filter(|_| rest || !walks.is_empty() || !waiting.is_empty() || !held.is_empty()));
            let sleep = again_at.map(|at| (at - now).to_std().unwrap_or_default().min(MAX_SLEEP));
            if sleep.is_some_and(|sleep| sleep.is_zero()) {
                changed = true;
                continue;
            }
            tokio::select! {
                // In this order, so that a history can be replayed.
                biased;
                () = &mut rung => changed = true,
                Some(ended) = walks.join_next() => match ended {
                    Ok(result) => match result? {
                        Done::Walked => changed = walks.is_empty(),
                        Done::Released(occurrence, looked) => {
                            plan.hears(&looked);
                            changed = agenda.end(occurrence, looked) && due.is_empty();
                        }
                    },
                    Err(error) => {
                        warn!("A walk ended abnormally: {error}");
                        return Err(Unavailable);
                    }
                },
                () = self.opened.foresees(plan.until), if plan.is_short => changed = true,
                () = self.clock.sleep(sleep.unwrap_or_default()), if sleep.is_some() => changed = true,
            }
        }
    }

    /// Whether an occurrence takes no grants now, since nothing of its rule is sent; when its deadline is over, its audience
    /// is walked and counted as expired.
    fn rests(&self, occurrence: &Occurrence, now: DateTime<Utc>) -> bool {
        occurrence.state == OccurrenceState::Open
            && now <= occurrence.deadline
            && self.brake.stops(&occurrence.app, &occurrence.rule, Wording::of_snapshot(&occurrence.snapshot))
    }

    /// Whether its walk may begin: what goes before it is there too, and it does not rest.
    fn may_begin(&self, occurrence: &Occurrence, now: DateTime<Utc>) -> bool {
        self.opened.through().is_some_and(|through| occurrence.due_at <= through)
            && !self.rests(occurrence, now)
    }

    fn walker(&self, agenda: &mut Agenda, rivals: &Rivals, occurrence: u64) -> Walker {
        Walker {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            brake: Some(self.brake.clone()),
            rivals: rivals.clone(),
            told: self.told.clone(),
            feed: self.feed.clone(),
            seats: agenda.seats(occurrence),
        }
    }
}

/// Held occurrences whose deadline has passed, with why they were held.
fn over(held: &BTreeMap<u64, Occurrence>, now: DateTime<Utc>) -> Vec<(u64, Option<String>)> {
    let over = held.values().filter(|o| now > o.deadline && o.reason.as_deref() != Some(UNREADABLE));
    over.map(|occurrence| (occurrence.number, occurrence.reason.clone())).collect()
}

/// What a task of a fan-out has done.
enum Done {
    /// Walked an audience, or withdrawn what was held of a stopped occurrence.
    Walked,
    /// Let held deliveries of an occurrence go.
    Released(u64, Looked),
}

/// One occurrence's walk.
#[derive(Debug)]
pub(super) struct Walker {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    /// What does not send; `None` where nothing is sent anyway.
    brake: Option<Brake>,
    /// Who else of the app walks, and goes before whom.
    rivals: Rivals,
    told: Pauses,
    feed: mpsc::Sender<Feed>,
    seats: Arc<Semaphore>,
}

impl Walker {
    async fn run(self, occurrence: Occurrence) -> Result<(), Unavailable> {
        let Some(ready) = self.ready_or_hold(&occurrence).await? else { return Ok(()) };
        let mut occurrence = occurrence;
        if occurrence.about.is_some() && ready.appointment.is_none() {
            // The store ends it with the change, but for what a crash cut off.
            let reason = Some("its appointment was moved or cancelled".to_owned());
            self.store.stop_occurrence(occurrence.number, OccurrenceState::Cancelled, reason).await?;
            occurrence.state = OccurrenceState::Cancelled;
        }
        self.resume(&occurrence, &ready).await?;
        if occurrence.walked || occurrence.state == OccurrenceState::Cancelled {
            return Ok(());
        }
        self.walk(&occurrence, &ready).await
    }

    /// Walks the rest of an audience.
    async fn walk(&self, occurrence: &Occurrence, ready: &Ready) -> Result<(), Unavailable> {
        let mut position = occurrence.position.clone();
        let (mut audience, mut undefined) = (occurrence.counts.audience, 0);
        let mut left = Left::of(occurrence);
        loop {
            let Some(seats) = self.seats(CHUNK_DELIVERIES).await else { return Ok(()) };
            self.until_it_goes_on(occurrence).await;
            let before = self.before(occurrence).await?;
            let from = position.clone();
            let mut gathering = Gathering::default();
            let mut after = from.clone();
            let mut walk = Walk::GoesOn;
            let mut limit = CHUNK_DELIVERIES;
            while !gathering.is_full() {
                let (app, template, after_now) =
                    (occurrence.app.clone(), occurrence.template.clone(), after.clone());
                let (whose, zone) = (occurrence.whose, occurrence.zone);
                let read = move |store: &dyn Store| match whose {
                    Whose::Everybody | Whose::Default => {
                        store.walk(&app, &template, after_now.as_ref(), limit)
                    }
                    Whose::OfZone => store.walk_zone((&app, zone), &template, after_now.as_ref(), limit),
                };
                let page = match &ready.appointment {
                    None => super::read(&self.store, read).await?,
                    Some((about, kept, _)) => {
                        self.of_appointment(occurrence, about, kept, after.as_ref(), limit).await?
                    }
                };
                let last_page = page.len() < limit;
                limit = PAGE;
                // What is too late is counted, so the time must be known.
                let now = self.clock.until_believed().await;
                let all = gathering.take(page, occurrence, ready, &before, now, &mut after);
                if last_page && all {
                    walk = Walk::Ends;
                    break;
                }
                if !all {
                    break;
                }
            }
            let now = self.clock.reckoned();
            for (at, recipient) in std::mem::take(&mut gathering.scarce) {
                let Some(member) = gathering.members.get_mut(at) else { continue };
                member.behind = self.claims(&before, (&member.openid, &recipient), now).await?;
            }
            if gathering.members.iter().any(|member| matches!(member.want, Want::Hold(_))) {
                left = Left::Held;
            }
            position.clone_from(&after);
            let ended = walk == Walk::Ends;
            audience += gathering.n();
            undefined += gathering.undefined;
            self.told.count_undefined(gathering.undefined);
            let trial = ready.trial(occurrence, ended.then_some(audience));
            match self.book(occurrence, ready, gathering, (from, after), walk).await? {
                None => return Ok(()),
                Some(items) => {
                    if self.hand_over(occurrence.number, items, trial, seats).await.is_none() {
                        return Ok(());
                    }
                }
            }
            if ended {
                self.rivals.is_walked(occurrence, left);
                info!(rule.id = %occurrence.rule, occurrence.due_at = %occurrence.due_at, undefined,
                    "Audience of rule {} at {} walked", occurrence.rule, occurrence.due_at);
                return Ok(());
            }
        }
    }

    /// Waits while nothing of the rule is sent, at most until the deadline.
    pub(super) async fn until_it_goes_on(&self, occurrence: &Occurrence) {
        let Occurrence { app, rule, .. } = occurrence;
        let wording = Wording::of_snapshot(&occurrence.snapshot);
        let Some(brake) = &self.brake else { return };
        while self.rests(occurrence) {
            tokio::select! {
                () = brake.goes_on(app, rule, wording) => {}
                () = self.clock.sleep(MAX_SLEEP) => {}
            }
        }
    }

    /// Whether nothing of the rule is sent, before the deadline.
    fn rests(&self, occurrence: &Occurrence) -> bool {
        let Occurrence { app, rule, deadline, .. } = occurrence;
        let wording = Wording::of_snapshot(&occurrence.snapshot);
        let Some(brake) = &self.brake else { return false };
        self.clock.reckoned() <= *deadline && brake.stops(app, rule, wording)
    }

    /// The rule; `None` when its snapshot cannot be read: then the occurrence is stopped.
    pub(super) async fn ready_or_hold(&self, occurrence: &Occurrence) -> Result<Option<Ready>, Unavailable> {
        let ready = self.ready(occurrence).await?;
        if ready.is_none() {
            warn!(rule.id = %occurrence.rule, "Snapshot of rule {} cannot be read; its occurrence is held", occurrence.rule);
            let reason = Some(UNREADABLE.to_owned());
            self.store.stop_occurrence(occurrence.number, OccurrenceState::Held, reason).await?;
        }
        Ok(ready)
    }

    async fn ready(&self, occurrence: &Occurrence) -> Result<Option<Ready>, Unavailable> {
        let hash = occurrence.snapshot;
        let bytes = super::read(&self.store, move |store| store.snapshot(&hash)).await?;
        let Some(mut rule) = bytes.and_then(|bytes| snapshot::decode(&bytes).ok()) else { return Ok(None) };
        let default = rule.zone;
        if occurrence.whose != Whose::Everybody || occurrence.is_by_hand() {
            rule.zone = occurrence.zone;
        }
        let (Ok(compiled), Ok(selector)) = (Compiled::new(&rule), Selector::new(&rule.audience)) else {
            return Ok(None);
        };
        let appointment = match &occurrence.about {
            None => None,
            Some(about) => self.appointment(occurrence, about).await?,
        };
        let booking = Booking::Sent;
        let personal = Arc::new(compiled.personal());
        Ok(Some(Ready { rule, default, compiled, personal, selector, appointment, booking }))
    }

    /// The appointment that an occurrence is about, while it stands at the same time.
    async fn appointment(
        &self,
        occurrence: &Occurrence,
        about: &About,
    ) -> Result<Option<(About, KeptAppointment, Appointment)>, Unavailable> {
        let (app, kind, id) = (occurrence.app.clone(), about.kind.clone(), about.id.clone());
        let key = AppointmentKey { app, kind, id };
        let kept = super::read(&self.store, move |store| store.appointment(&key)).await?;
        Ok(kept.filter(|kept| kept.stands_at(about.at)).and_then(|kept| {
            let appointment = kept.appointment()?;
            Some((about.clone(), kept, appointment))
        }))
    }

    /// Those whom an occurrence about an appointment is for, after `after`, as a walk over all recipients meets them.
    async fn of_appointment(
        &self,
        occurrence: &Occurrence,
        about: &About,
        kept: &KeptAppointment,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Unavailable> {
        let (app, template, kind) = (occurrence.app.clone(), occurrence.template.clone(), occurrence.kind);
        let who = kept.joined.keys().filter(|openid| kept.is_for(about, openid));
        let who = who.filter(|openid| after.is_none_or(|after| *openid > after)).take(limit);
        let who: Vec<OpenId> = who.cloned().collect();
        let read = move |store: &dyn Store| {
            let mut walked = Vec::with_capacity(who.len());
            for openid in who {
                // Nobody who was erased is reminded.
                let Some(recipient) = store.recipient(&app, &openid)? else { continue };
                let account = store.bare_account(&app, &template, &openid)?;
                let has = account.as_ref().filter(|account| match kind {
                    TemplateKind::OneTime => account.available() > 0,
                    TemplateKind::LongTerm => account.standing.is_some(),
                });
                let why = || account.as_ref().map_or(NoGrant::None, Account::why_none);
                let none = || Hint::Nothing(why().into());
                let hint = has.map_or_else(none, |account| Hint::Consent(account.unbound()));
                walked.push(Walked { openid, recipient, hint });
            }
            Ok(walked)
        };
        super::read(&self.store, read).await
    }

    /// Takes up again what was reserved or waiting before the start.
    async fn resume(&self, occurrence: &Occurrence, ready: &Ready) -> Result<(), Unavailable> {
        let mut after: Option<DeliveryId> = None;
        loop {
            let number = occurrence.number;
            let page =
                super::read(&self.store, move |store| store.deliveries(Some(number), after, 1)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            // What is held of a stopped occurrence is withdrawn beside this.
            let open: Vec<_> =
                page.into_iter().filter(|d| matches!(d.state, State::Reserved | State::Waiting)).collect();
            if open.is_empty() {
                continue;
            }
            if occurrence.state == OccurrenceState::Cancelled {
                let ids = open.iter().map(|d| d.id).collect();
                self.store.close(ids, Closing::Cancelled, self.clock.reckoned()).await?;
                continue;
            }
            let Some(seats) = self.seats(CHUNK_DELIVERIES).await else { return Ok(()) };
            let mut items = Vec::new();
            let mut lost = Vec::new();
            let mut late = Vec::new();
            for delivery in open {
                let (app, openid) = (occurrence.app.clone(), delivery.openid.clone());
                let recipient = super::read(&self.store, move |store| store.recipient(&app, &openid)).await?;
                let recipient = recipient.unwrap_or_else(|| Recipient::new(occurrence.due_at));
                let now = self.clock.reckoned();
                let turn = ready.turn(occurrence, &delivery.openid, &recipient, now);
                match (turn, ready.render(occurrence, &delivery.openid, &recipient)) {
                    (Ok(turn), Ok(message)) => items.push(ready.again(&delivery, message, turn, now)),
                    (Err(_), Ok(_)) => late.push(delivery.id),
                    (_, Err(_)) => lost.push(delivery.id),
                }
            }
            if !lost.is_empty() {
                // What it showed is gone since the grant was taken: it cannot be sent, and the grant goes back.
                self.store.close(lost, Closing::Cancelled, self.clock.reckoned()).await?;
            }
            if !late.is_empty() {
                // Their time is in quiet hours by now.
                self.store.close(late, Closing::Expired, self.clock.reckoned()).await?;
            }
            let items = items.into_iter().map(|p| p.into_item(occurrence)).collect();
            let trial = ready.trial(occurrence, occurrence.walked.then_some(occurrence.counts.audience));
            if self.hand_over(occurrence.number, items, trial, seats).await.is_none() {
                return Ok(());
            }
        }
    }

    pub(super) async fn seats(&self, n: usize) -> Option<OwnedSemaphorePermit> {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        Arc::clone(&self.seats).acquire_many_owned(n).await.ok()
    }

    /// Books what was gathered; `None` when the occurrence was stopped meanwhile.
    async fn book(
        &self,
        occurrence: &Occurrence,
        ready: &Ready,
        gathering: Gathering,
        (after, position): (Option<OpenId>, Option<OpenId>),
        walk: Walk,
    ) -> Result<Option<Vec<Item>>, Unavailable> {
        let Gathering { members, mut messages, without_consent, expired, .. } = gathering;
        let piece = Piece {
            occurrence: occurrence.number,
            after,
            position,
            walk,
            members,
            without_consent,
            expired,
            now: self.clock.reckoned(),
        };
        match self.store.chunk(piece).await?.value {
            PieceOutcome::Stale => {
                let rule = &occurrence.rule;
                info!(rule.id = %rule, "Walk of rule {rule} stopped: its occurrence is not open any more");
                Ok(None)
            }
            PieceOutcome::Booked(reserved) => {
                let prepared = reserved.into_iter().filter_map(|reserved| {
                    let (message, turn) = messages.remove(&reserved.openid)?;
                    let (id, past) = (reserved.id, Past::Untried);
                    let personal = Arc::clone(&ready.personal);
                    let prepared =
                        Prepared { id, message, personal, turn, attempts: 0, past, at: None, for_app: false };
                    Some(prepared.into_item(occurrence))
                });
                Ok(Some(prepared.collect()))
            }
        }
    }

    /// Hands deliveries over to those who send, each with its seat; `None` when nobody sends any more.
    pub(super) async fn hand_over(
        &self,
        occurrence: u64,
        mut items: Vec<Item>,
        trial: Trial,
        mut seats: OwnedSemaphorePermit,
    ) -> Option<()> {
        for item in &mut items {
            item.seat = seats.split(1);
        }
        // That all may go is told also where there is nobody more.
        if items.is_empty() && trial != Trial::None {
            return Some(());
        }
        self.feed.send(Feed::Items(occurrence, items, trial)).await.ok()
    }
}
