//! What must hold at every crash and at the end of every history: the promises P1 to P7, books against truth.
//!
//! P2, P5 and P7 of a request are looked at where it arrives; here are those of the books. It reads through
//! the store's own operations, and knows no record.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use chrono::DateTime;
use tixing::clock::Clock;
use tixing::domain::delivery::{Past, State};
use tixing::domain::occurrence::OccurrenceState;
use tixing::domain::rule::OnDoubt;
use tixing::store::ledger::Ledger;
use tixing::store::{Delivery, Occurrence, Store};

use super::platform::{Outcome, Sent, Truth};
use super::scene::{self, Scene, appid, template};
use crate::disk::{Content, Disk, Images, Print};

/// What was shown already.
#[derive(Clone, Debug, Default)]
pub(super) struct Proofs(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    /// Contents that carry a request for this due time to this person.
    carried: HashSet<(Print, usize, usize)>,
    /// What crashes left, and what of the truth matters from there.
    left: HashMap<(Print, Truth), Truth>,
    /// Ends of histories.
    ends: HashSet<(Print, Truth)>,
}

impl Proofs {
    /// What a crash has left, unless the same was seen before; answers what of the truth matters from there.
    pub(super) async fn crash(
        &self,
        content: &Content,
        truth: Truth,
        scene: &Scene,
    ) -> Result<Truth, String> {
        let left = (Print::of(content), truth);
        if let Some(known) = self.0.lock().unwrap().left.get(&left) {
            return Ok(known.clone());
        }
        let store = opened(content.clone());
        let books = audit(&store, &left.1, scene).await?;
        let mut truth = left.1.clone();
        close(&books, &mut truth, scene);
        self.0.lock().unwrap().left.insert(left, truth.clone());
        Ok(truth)
    }

    /// The end of a history, unless one like it was seen before.
    pub(super) async fn end(
        &self,
        store: &dyn Store,
        print: Print,
        truth: &Truth,
        scene: &Scene,
    ) -> Result<(), String> {
        let end = (print, truth.clone());
        if self.0.lock().unwrap().ends.contains(&end) {
            return Ok(());
        }
        let books = audit(store, truth, scene).await?;
        ended(&books, truth, scene)?;
        self.0.lock().unwrap().ends.insert(end);
        Ok(())
    }

    /// P1: whether what is durable now carries a request: it is marked, and has a grant.
    pub(super) fn carries(
        &self,
        images: &Images<'_>,
        scene: &Scene,
        due: usize,
        person: usize,
    ) -> Result<(), String> {
        let Some(print) = images.prints.first() else { return Ok(()) };
        if self.0.lock().unwrap().carried.contains(&(*print, due, person)) {
            return Ok(());
        }
        let store = opened(images.content(0));
        let books = Books::of(&store);
        // Of those that are repeated the last.
        let found = books.find(scene, due, person).last();
        let carried = found.is_some_and(|d| d.state == State::Attempting && d.grant.is_some());
        if !carried {
            let state = found.map_or("nothing", |d| d.state.as_str());
            let name = scene::name(due, person);
            return Err(format!("a request for {name} starts while the disk has {state} of it"));
        }
        self.0.lock().unwrap().carried.insert((*print, due, person));
        Ok(())
    }
}

/// A store that is only read.
pub(super) fn opened(content: Content) -> Ledger {
    let clock = Clock::by_hand(DateTime::UNIX_EPOCH);
    Ledger::start_here(Disk::with(content).place(), &clock).unwrap()
}

/// All occurrences, and all deliveries by the place of theirs.
struct Books {
    occurrences: Vec<Occurrence>,
    deliveries: Vec<(usize, Delivery)>,
}

impl Books {
    fn of(store: &dyn Store) -> Self {
        let occurrences = store.occurrences(None, None, usize::MAX).unwrap();
        let mut deliveries = Vec::new();
        for (index, occurrence) in occurrences.iter().enumerate() {
            let all = store.deliveries(Some(occurrence.number), None, usize::MAX).unwrap();
            deliveries.extend(all.into_iter().map(|delivery| (index, delivery)));
        }
        Self { occurrences, deliveries }
    }

    /// The records of one delivery: one at most, if all is well, and one more for each time that it was sent again.
    fn find(&self, scene: &Scene, due: usize, person: usize) -> impl Iterator<Item = &Delivery> {
        let (due_at, openid) = (scene.dues[due], scene.people[person].clone());
        let of = self.deliveries.iter().filter(move |(index, delivery)| {
            self.occurrences[*index].due_at == due_at && delivery.openid == openid
        });
        of.map(|(_, delivery)| delivery)
    }
}

/// Fails with what it says.
fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// The books at any moment, right after a crash too: P3, P4 and P6, and P5's bound on what is under way.
async fn audit(store: &dyn Store, truth: &Truth, scene: &Scene) -> Result<Books, String> {
    let fsck = store.fsck().await.map_err(|_failed| "P4: the books cannot be proved".to_owned())?.value;
    must(fsck.violations.is_empty(), || format!("P4: fsck finds {:?}", fsck.violations))?;
    for (person, openid) in scene.people.iter().enumerate() {
        accounts(store, truth, person, openid)?;
    }
    let books = Books::of(store);
    for (index, occurrence) in books.occurrences.iter().enumerate() {
        let counts = &occurrence.counts;
        must(counts.adds_up(), || format!("P6: {occurrence:?}"))?;
        for state in State::ALL.into_iter().filter(|state| *state != State::Skipped) {
            let of = books.deliveries.iter().filter(|(of, d)| *of == index && d.state == state);
            let (n, counted) = (of.map(|_| 1).sum::<u64>(), counts.in_state(state));
            // Whom a walk passes after the deadline is only counted.
            let holds = if state == State::Expired { n <= counted } else { n == counted };
            must(holds, || format!("P6: {n} are {}: {occurrence:?}", state.as_str()))?;
        }
    }
    let marked = books.deliveries.iter().filter(|(_, d)| d.state == State::Attempting).count();
    must(marked <= scene.max_marked(), || {
        format!("P5: {marked} would be in doubt after a crash, {} at most may", scene.max_marked())
    })?;
    Ok(books)
}

/// P3 and P4 of one account.
fn accounts(
    store: &dyn Store,
    truth: &Truth,
    person: usize,
    openid: &tixing::domain::id::OpenId,
) -> Result<(), String> {
    let view = store.account(&appid(), &template(), openid).unwrap();
    let Some(view) = view else { return Err("P3: an account is gone".to_owned()) };
    let known = &truth.people[person];
    let told = || format!("{view:?} while {known:?} with {} left", truth.left(person));
    let granted = view.account.granted;
    must(u64::from(known.acknowledged) <= granted, || format!("P3: a report was lost: {}", told()))?;
    must(granted <= u64::from(known.tapped), || format!("P3: a report counted twice: {}", told()))?;
    let (available, voided) = (view.account.available(), view.account.voided);
    let held = available + view.reserved + view.in_doubt;
    must(granted == held + view.consumed + voided, || format!("P4: {}", told()))?;
    let (left, revoked) = (u64::from(truth.left(person)), u64::from(known.revoked));
    let unreported = u64::from(known.tapped) - granted;
    must(left <= held + unreported, || format!("P4: a consent is lost: {}", told()))?;
    // What nobody could know: refusals that 43101 has not told of, and a second message after a −1.
    let unknown = revoked.saturating_sub(voided) + u64::from(truth.n_repeats(person));
    must(available <= left + unknown, || format!("P4: books above truth: {}", told()))
}

/// The end of a history: every occurrence is over, and every delivery is where its requests lead.
fn ended(books: &Books, truth: &Truth, scene: &Scene) -> Result<(), String> {
    let of_plan = books.occurrences.iter().filter(|occurrence| occurrence.repeats.is_none());
    let n: u64 = of_plan.map(|occurrence| occurrence.n).sum();
    must(n == u64::try_from(scene.dues.len()).unwrap(), || {
        format!("{n} of {} due times are in the books", scene.dues.len())
    })?;
    for occurrence in &books.occurrences {
        let over = match occurrence.state {
            OccurrenceState::Done => {
                let audience = if occurrence.repeats.is_some() { 1 } else { scene.people.len() };
                occurrence.counts.audience == u64::try_from(audience).unwrap()
                    && occurrence.counts.open() == 0
            }
            OccurrenceState::Missed => true,
            OccurrenceState::Open | OccurrenceState::Held | OccurrenceState::Cancelled => false,
        };
        must(over, || format!("P6: an occurrence is not over at the end: {occurrence:?}"))?;
    }
    for (due, sent) in truth.sent.iter().enumerate() {
        for (person, sent) in sent.iter().enumerate() {
            let of: Vec<&Delivery> = books.find(scene, due, person).collect();
            let most = match scene.on_doubt {
                OnDoubt::Hold => 1,
                OnDoubt::Resend => 3,
            };
            must(of.len() <= most, || format!("{} has {} records", scene::name(due, person), of.len()))?;
            let Some((delivery, repeated)) = of.split_last() else {
                must(sent.n_requests == 0, || format!("{} left no record", scene::name(due, person)))?;
                continue;
            };
            for earlier in repeated {
                must(earlier.state == State::InDoubt && earlier.grant.is_some(), || {
                    format!("{} was repeated, and is {earlier:?}", scene::name(due, person))
                })?;
            }
            must(of.iter().all(|of| of.next_at.is_none()), || {
                format!("{} is to be repeated still: {of:?}", scene::name(due, person))
            })?;
            let untried = !repeated.is_empty() && delivery.attempts == 0;
            let expected = match sent.heard {
                _ if untried => vec![State::Expired, State::Cancelled],
                None if sent.n_requests == 0 => vec![State::Expired, State::Cancelled],
                None => Vec::new(),
                Some(Outcome::Accepted) => vec![State::Sent],
                Some(Outcome::NoConsent) if !sent.busy => vec![State::Refused],
                Some(Outcome::BadMessage) if !sent.busy => vec![State::Failed],
                Some(Outcome::NotConnected) if !sent.busy => vec![State::Expired, State::Cancelled],
                Some(
                    Outcome::AcceptedUnheard
                    | Outcome::Lost
                    | Outcome::NoConsent
                    | Outcome::Busy
                    | Outcome::BusyAccepted
                    | Outcome::NotConnected
                    | Outcome::BadMessage,
                ) => Vec::new(),
            };
            let unknowable = sent.caught || expected.is_empty();
            let state = delivery.state;
            let holds = expected.contains(&state) || (unknowable && state == State::InDoubt);
            must(holds, || {
                format!("{} ends as {}, after {sent:?}", scene::name(due, person), state.as_str())
            })?;
            must(state != State::InDoubt || delivery.grant.is_some(), || {
                format!("{} is in doubt without a grant", scene::name(due, person))
            })?;
            must(
                !sent.busy || delivery.past == Past::Busy || state == State::InDoubt || state == State::Sent,
                || format!("{} forgot a −1: {delivery:?}", scene::name(due, person)),
            )?;
        }
    }
    Ok(())
}

/// Where all deliveries are, for a trace.
pub(super) fn story(store: &dyn Store, scene: &Scene) -> String {
    let books = Books::of(store);
    let mut told = Vec::new();
    for due in 0..scene.dues.len() {
        for person in 0..scene.people.len() {
            let states = books.find(scene, due, person).map(|delivery| delivery.state.as_str());
            told.extend(states.map(|state| format!("{} {state}", scene::name(due, person))));
        }
    }
    told.join(", ")
}

/// Notes in the truth what a crash has left on the disk: what was marked, and what must never be sent again.
fn close(books: &Books, truth: &mut Truth, scene: &Scene) {
    for (due, sent) in truth.sent.iter_mut().enumerate() {
        for (person, sent) in sent.iter_mut().enumerate() {
            let records = books.find(scene, due, person).count();
            let Some(delivery) = books.find(scene, due, person).last() else { continue };
            let n_again = u8::try_from(records - 1).unwrap();
            if delivery.state == State::Attempting {
                // It is in doubt for ever, whatever led there; histories that differ in that alone are one from here.
                let n_accepted = sent.n_accepted;
                *sent = Sent { n_requests: 1, n_accepted, n_again, caught: true, ..Sent::default() };
            }
            sent.unknown = scene.sends_again()
                && match delivery.state {
                    State::Attempting | State::InDoubt => true,
                    // Not sent again yet.
                    State::Held | State::Reserved | State::Waiting => records > 1,
                    State::Sent
                    | State::Undelivered
                    | State::PresumedSent
                    | State::Refused
                    | State::Failed
                    | State::Expired
                    | State::Cancelled
                    | State::Skipped => false,
                };
            sent.closed |= match delivery.state {
                State::Held | State::Reserved | State::Waiting => false,
                State::Attempting
                | State::InDoubt
                | State::Sent
                | State::Undelivered
                | State::PresumedSent
                | State::Refused
                | State::Failed
                | State::Expired
                | State::Cancelled
                | State::Skipped => true,
            };
        }
    }
}
