//! Lets held deliveries go when their send time comes: they are rendered and take their grants only then.
//!
//! What is held is found by the store's index of later instants, so a start goes on as if there had been none. Who is
//! held, and until when, the walk decides; what came of an attempt is the sender's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;

use super::fanout::{Before, Prepared, Ready, SEATS, Walker};
use super::scheduler::MAX_SLEEP;
use crate::domain::delivery::{Past, State};
use crate::domain::id::DeliveryId;
use crate::domain::occurrence::{OccurrenceState, SkipReason};
use crate::domain::recipient::Recipient;
use crate::store::{
    CHUNK_DELIVERIES, Claim, Closing, Delivery, Fate, Occurrence, Release, Store, Unavailable, Wake,
};

/// Entries of the index read at a time.
const PAGE: usize = 256;
/// Chunks of one occurrence that are looked at in one go.
const MAX_CHUNKS: usize = 64;
/// For each occurrence that is looked at the next look waits so long at least: several times what it costs, so that where
/// thousands have their places in one minute looking takes a share of the time, and not all of it.
const LOOK: Duration = Duration::from_micros(10);

/// What an app holds for later, as far as it must be remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Occurrences of which some are being let go.
    under_way: BTreeSet<u64>,
    /// Chunks that the index names for the sake of something else: when a held one of theirs comes, if any.
    behind: BTreeMap<(u64, u32), Option<DateTime<Utc>>>,
    /// Places in memory, by occurrence: its walk and its held ones share them.
    seats: BTreeMap<u64, Arc<Semaphore>>,
}

/// What is to be done now, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Chunks with deliveries whose send time has come.
    pub(super) due: BTreeMap<u64, Vec<u32>>,
    /// When the next ones come.
    pub(super) next: Option<DateTime<Utc>>,
    /// Up to when their time must have come: all that is due by then is open.
    pub(super) until: DateTime<Utc>,
    /// Whether there may be some whose time has come since.
    pub(super) is_short: bool,
    /// How many occurrences were looked at for it.
    n_looked: u32,
}

/// What a look at some chunks of an occurrence found out.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// What the index does not say of them.
    hidden: Vec<((u64, u32), Hidden)>,
    /// When the next of theirs comes.
    next: Option<DateTime<Utc>>,
}

/// Whether the index says when a chunk's next held delivery comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    /// It does.
    No,
    /// It names an earlier instant: this is the held one's, if any.
    Behind(Option<DateTime<Utc>>),
}

impl Agenda {
    /// The places in memory of an occurrence.
    pub(super) fn seats(&mut self, occurrence: u64) -> Arc<Semaphore> {
        Arc::clone(self.seats.entry(occurrence).or_insert_with(|| Arc::new(Semaphore::new(SEATS))))
    }

    /// Forgets occurrences that are over.
    pub(super) fn retain(&mut self, numbers: &BTreeSet<u64>) {
        self.seats.retain(|number, _| numbers.contains(number));
        self.behind.retain(|(number, _), _| numbers.contains(number));
    }

    /// Notes that deliveries of an occurrence are being let go; `false` when they are already.
    pub(super) fn begin(&mut self, occurrence: u64) -> bool {
        self.under_way.insert(occurrence)
    }

    /// Takes in what a look found out; says whether it was the last one under way, so that there may be more to let go.
    pub(super) fn end(&mut self, occurrence: u64, looked: Looked) -> bool {
        self.under_way.remove(&occurrence);
        for (chunk, hidden) in looked.hidden {
            match hidden {
                Hidden::No => drop(self.behind.remove(&chunk)),
                Hidden::Behind(next) => drop(self.behind.insert(chunk, next)),
            }
        }
        self.under_way.is_empty()
    }

    /// Finds what is due of `mine` at `now`, as far as all is open that is due then. Where nothing is held, nothing is read.
    pub(super) async fn plan(
        &self,
        store: &Arc<dyn Store>,
        mine: &[Occurrence],
        (now, foreseen): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Plan, Unavailable> {
        let holding: BTreeSet<u64> = mine.iter().filter(|o| is_holding(o)).map(|o| o.number).collect();
        let is_short = foreseen < now && !holding.is_empty();
        let now = now.min(foreseen);
        let n_looked = u32::try_from(mine.len()).unwrap_or(u32::MAX);
        let mut plan = Plan { until: now, is_short, n_looked, ..Plan::default() };
        if holding.is_empty() {
            return Ok(plan);
        }
        let mut after = None;
        loop {
            let from = after;
            let page = super::read(store, move |store| store.wakes(from.as_ref(), now, PAGE)).await?;
            for wake in &page {
                self.sort_in(*wake, &holding, now, &mut plan);
            }
            after = page.last().copied();
            if page.len() < PAGE {
                break;
            }
        }
        let last = Wake { at: now, occurrence: u64::MAX, chunk: u32::MAX };
        let next = super::read(store, move |store| store.wakes(Some(&last), DateTime::<Utc>::MAX_UTC, 1));
        let next = next.await?.first().map(|wake| wake.at);
        plan.next = plan.next.into_iter().chain(next).min();
        Ok(plan)
    }

    fn sort_in(&self, wake: Wake, holding: &BTreeSet<u64>, now: DateTime<Utc>, plan: &mut Plan) {
        let Wake { occurrence, chunk, .. } = wake;
        if !holding.contains(&occurrence) || self.under_way.contains(&occurrence) {
            return;
        }
        match self.behind.get(&(occurrence, chunk)) {
            Some(None) => return,
            Some(Some(at)) if *at > now => {
                plan.next = Some(plan.next.map_or(*at, |next| next.min(*at)));
                return;
            }
            Some(Some(_)) | None => {}
        }
        let chunks = plan.due.entry(occurrence).or_default();
        if chunks.len() < MAX_CHUNKS {
            chunks.push(chunk);
        }
    }
}

impl Plan {
    /// While nobody knows what time it is, nothing is due.
    pub(super) fn put_off(now: DateTime<Utc>) -> Self {
        Self { next: Some(now + TimeDelta::seconds(1)), ..Self::default() }
    }

    /// When to look again, after the look that it was made by; `None` when nothing is held.
    pub(super) fn again_at(&self, looked_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let most = looked_at + MAX_SLEEP;
        if self.is_short {
            return Some(most);
        }
        let least = (LOOK * self.n_looked).clamp(Duration::from_millis(1), MAX_SLEEP);
        Some(self.next?.clamp(looked_at + least, most))
    }

    /// Takes in when the next of those comes that were let go.
    pub(super) fn hears(&mut self, looked: &Looked) {
        self.next = self.next.into_iter().chain(looked.next).min();
    }
}

/// What a held delivery looks like when its send time has come.
enum Looks {
    /// It takes its grant and goes, where those before it leave one.
    Goes(Prepared, Vec<Claim>),
    /// It ends, or is skipped.
    Ends(Fate),
    /// Quiet hours came between.
    NotBefore(DateTime<Utc>),
}

/// Whether an occurrence has held deliveries that may go.
fn is_holding(occurrence: &Occurrence) -> bool {
    match occurrence.state {
        OccurrenceState::Open => occurrence.counts.in_state(State::Held) > 0,
        OccurrenceState::Held
        | OccurrenceState::Done
        | OccurrenceState::Missed
        | OccurrenceState::Cancelled => false,
    }
}

impl Walker {
    /// Lets those of `chunks` go whose send time has come by `until`.
    pub(super) async fn release(
        self,
        occurrence: Occurrence,
        chunks: Vec<u32>,
        until: DateTime<Utc>,
    ) -> Result<Looked, Unavailable> {
        let mut looked = Looked::default();
        let Some(ready) = self.ready_or_hold(&occurrence).await? else { return Ok(looked) };
        for chunk in chunks {
            let Some(seats) = self.seats(CHUNK_DELIVERIES).await else { break };
            self.until_it_goes_on(&occurrence).await;
            let slots = self.chunk(&occurrence, chunk).await?;
            // What is too late expires, so the time must be known.
            let now = self.clock.until_believed().await;
            let due = slots.iter().filter(|slot| is_held(slot) && slot.next_at <= Some(until));
            let before = self.before(&occurrence).await?;
            let mut messages = HashMap::new();
            let mut releases = Vec::new();
            // Who must wait longer than the index says: quiet hours came between.
            let mut later: Option<DateTime<Utc>> = None;
            for slot in due {
                let (fate, behind) = match self.fate(slot, &occurrence, (&ready, &before), now).await? {
                    Looks::Goes(prepared, behind) => {
                        messages.insert(slot.id, prepared);
                        (Fate::Reserve, behind)
                    }
                    Looks::Ends(fate) => (fate, Vec::new()),
                    Looks::NotBefore(at) => {
                        later = later.into_iter().chain([at]).min();
                        continue;
                    }
                };
                releases.push(Release { id: slot.id, fate, behind });
            }
            let ids: Vec<DeliveryId> = releases.iter().map(|release| release.id).collect();
            let mut stuck = false;
            if !releases.is_empty() {
                let states = self.store.release(releases, now).await?.value;
                let mut items = Vec::new();
                for (id, state) in ids.iter().zip(states) {
                    stuck |= state.is_none();
                    if state.is_some() && occurrence.about.is_some() {
                        let slot = slots.iter().find(|slot| slot.id == *id);
                        slot.inspect(|slot| self.has_gone(&occurrence, &slot.openid));
                    }
                    let prepared = messages.remove(id).filter(|_| state == Some(State::Reserved));
                    items.extend(prepared.map(|prepared| prepared.into_item(&occurrence)));
                }
                let trial = ready.trial(&occurrence, occurrence.walked.then_some(occurrence.counts.audience));
                if self.hand_over(occurrence.number, items, trial, seats).await.is_none() {
                    break;
                }
            }
            let left = slots.iter().filter(|slot| is_held(slot) && slot.next_at > Some(until));
            let next = left.filter_map(|slot| slot.next_at).chain(later).min();
            // One that waits, or that is in doubt and shall be repeated.
            let waits = slots.iter().any(|slot| !is_held(slot) && slot.next_at.is_some_and(|at| at <= now));
            // What did not go is asked again, but not at once.
            let again = stuck.then(|| now + TimeDelta::seconds(1));
            looked.next = looked.next.into_iter().chain(next).chain(again).min();
            let hidden = match (stuck, waits || later.is_some()) {
                (true, _) => Hidden::Behind(again),
                (false, true) => Hidden::Behind(next),
                (false, false) => Hidden::No,
            };
            looked.hidden.push(((occurrence.number, chunk), hidden));
        }
        Ok(looked)
    }

    /// Cancels what is held of an occurrence that was stopped.
    pub(super) async fn withdraw(self, occurrence: u64) -> Result<(), Unavailable> {
        let mut after: Option<DeliveryId> = None;
        loop {
            let page =
                super::read(&self.store, move |store| store.deliveries(Some(occurrence), after, 1)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            let held: Vec<DeliveryId> =
                page.iter().filter(|slot| is_held(slot)).map(|slot| slot.id).collect();
            if !held.is_empty() {
                self.store.close(held, Closing::Cancelled, self.clock.reckoned()).await?;
            }
        }
    }

    async fn chunk(&self, occurrence: &Occurrence, chunk: u32) -> Result<Vec<Delivery>, Unavailable> {
        let number = occurrence.number;
        let before = chunk.checked_sub(1);
        let before = before.map(|chunk| DeliveryId { occurrence: number, chunk, slot: u8::MAX });
        let mut slots =
            super::read(&self.store, move |store| store.deliveries(Some(number), before, 1)).await?;
        slots.retain(|slot| slot.id.chunk == chunk);
        Ok(slots)
    }

    /// What shall become of a held delivery, looked at as its person is now.
    async fn fate(
        &self,
        slot: &Delivery,
        occurrence: &Occurrence,
        (ready, before): (&Ready, &Before<'_>),
        now: DateTime<Utc>,
    ) -> Result<Looks, Unavailable> {
        let (app, openid) = (occurrence.app.clone(), slot.openid.clone());
        let recipient = super::read(&self.store, move |store| store.recipient(&app, &openid)).await?;
        let recipient = recipient.unwrap_or_else(|| Recipient::new(occurrence.due_at));
        let held_until = slot.next_at.unwrap_or(occurrence.due_at);
        let turn = match ready.turn_of_held(occurrence, &slot.openid, &recipient, held_until, now) {
            Ok(turn) if turn.at > now => return Ok(Looks::NotBefore(turn.at)),
            Ok(turn) if now > turn.deadline => return Ok(Looks::Ends(Fate::Expire)),
            Ok(turn) => turn,
            Err(reason) => return Ok(Looks::Ends(Fate::Skip(reason))),
        };
        if recipient.profile.muted {
            return Ok(Looks::Ends(Fate::Skip(SkipReason::Muted)));
        }
        if recipient.bad_since.is_some() {
            return Ok(Looks::Ends(Fate::Skip(SkipReason::BadRecipient)));
        }
        Ok(match ready.render(occurrence, &slot.openid, &recipient) {
            Ok(message) => {
                let (id, attempts, past) = (slot.id, slot.attempts, Past::Untried);
                let personal = Arc::clone(&ready.personal);
                let prepared =
                    Prepared { id, message, personal, turn, attempts, past, at: None, for_app: false };
                Looks::Goes(prepared, self.leaves(occurrence, (&slot.openid, &recipient), before, now).await?)
            }
            Err(reason) => Looks::Ends(Fate::Skip(reason)),
        })
    }
}

fn is_held(slot: &Delivery) -> bool {
    slot.state == State::Held
}
