//! What must hold at every crash and at the end of every history: the promises P1 to P7, books against truth.
//!
//! P2, P5 and P7 of a request are looked at where it arrives; here are those of the books. It reads through
//! the store's own operations, and knows no record.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use tixing::clock::Clock;
use tixing::domain::delivery::{Past, State};
use tixing::domain::occurrence::OccurrenceState;
use tixing::store::ledger::Ledger;
use tixing::store::{Delivery, Occurrence, Store};

use super::platform::{Outcome, Truth};
use super::scene::{self, Scene, appid, template};
use crate::disk::{Disk, Images, Print};

/// What was shown of contents already.
#[derive(Clone, Debug, Default)]
pub(super) struct Proofs(Arc<Mutex<HashSet<(Print, usize, usize)>>>);

impl Proofs {
    /// P1: whether what is durable now carries a request: it is marked, and has a grant.
    pub(super) fn carries(
        &self,
        images: &Images<'_>,
        scene: &Scene,
        due: usize,
        person: usize,
    ) -> Result<(), String> {
        let Some(print) = images.prints.first() else { return Ok(()) };
        if self.0.lock().unwrap().contains(&(*print, due, person)) {
            return Ok(());
        }
        let clock = Clock::by_hand(DateTime::UNIX_EPOCH);
        let store = Ledger::start_here(Disk::with(images.content(0)).place(), &clock).unwrap();
        let all = deliveries(&store);
        let found = all.iter().find(|(o, d)| is(scene, o, d, due, person));
        let carried = found.is_some_and(|(_, d)| d.state == State::Attempting && d.grant.is_some());
        if !carried {
            let state = found.map_or("nothing", |(_, d)| d.state.as_str());
            let name = scene::name(due, person);
            return Err(format!("a request for {name} starts while the disk has {state} of it"));
        }
        self.0.lock().unwrap().insert((*print, due, person));
        Ok(())
    }
}

fn is(scene: &Scene, occurrence: &Occurrence, delivery: &Delivery, due: usize, person: usize) -> bool {
    occurrence.due_at == scene.dues[due] && delivery.openid == scene.people[person]
}

pub(super) fn occurrences(store: &dyn Store) -> Vec<Occurrence> {
    store.occurrences(None, None, usize::MAX).unwrap()
}

pub(super) fn deliveries(store: &dyn Store) -> Vec<(Occurrence, Delivery)> {
    let of = |o: Occurrence| {
        let all = store.deliveries(Some(o.number), None, usize::MAX).unwrap();
        all.into_iter().map(move |delivery| (o.clone(), delivery))
    };
    occurrences(store).into_iter().flat_map(of).collect()
}

/// Fails with what it says.
fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// The books at any moment, right after a crash too: P3, P4 and P6, and P5's bound on what is under way.
pub(super) async fn audit(store: &dyn Store, truth: &Truth, scene: &Scene) -> Result<(), String> {
    let fsck = store.fsck().await.map_err(|_failed| "P4: the books cannot be proved".to_owned())?.value;
    must(fsck.violations.is_empty(), || format!("P4: fsck finds {:?}", fsck.violations))?;
    for (person, openid) in scene.people.iter().enumerate() {
        accounts(store, truth, person, openid)?;
    }
    let deliveries = deliveries(store);
    for occurrence in occurrences(store) {
        let counts = &occurrence.counts;
        must(counts.adds_up(), || format!("P6: {occurrence:?}"))?;
        for state in State::ALL.into_iter().filter(|state| *state != State::Skipped) {
            let of = deliveries.iter().filter(|(o, d)| o.number == occurrence.number && d.state == state);
            let (n, counted) = (of.map(|_| 1).sum::<u64>(), counts.in_state(state));
            // Whom a walk passes after the deadline is only counted.
            let holds = if state == State::Expired { n <= counted } else { n == counted };
            must(holds, || format!("P6: {n} are {}: {occurrence:?}", state.as_str()))?;
        }
    }
    let marked = deliveries.iter().filter(|(_, d)| d.state == State::Attempting).count();
    must(marked <= scene.max_marked(), || {
        format!("P5: {marked} would be in doubt after a crash, {} at most may", scene.max_marked())
    })
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
pub(super) fn ended(store: &dyn Store, truth: &Truth, scene: &Scene) -> Result<(), String> {
    let occurrences = occurrences(store);
    let n: u64 = occurrences.iter().map(|occurrence| occurrence.n).sum();
    must(n == u64::try_from(scene.dues.len()).unwrap(), || {
        format!("{n} of {} due times are in the books", scene.dues.len())
    })?;
    for occurrence in &occurrences {
        let over = match occurrence.state {
            OccurrenceState::Done => {
                occurrence.counts.audience == u64::try_from(scene.people.len()).unwrap()
                    && occurrence.counts.open() == 0
            }
            OccurrenceState::Missed => true,
            OccurrenceState::Open | OccurrenceState::Held | OccurrenceState::Cancelled => false,
        };
        must(over, || format!("P6: an occurrence is not over at the end: {occurrence:?}"))?;
    }
    let deliveries = deliveries(store);
    for (due, sent) in truth.sent.iter().enumerate() {
        for (person, sent) in sent.iter().enumerate() {
            let of: Vec<_> = deliveries.iter().filter(|(o, d)| is(scene, o, d, due, person)).collect();
            must(of.len() <= 1, || format!("{} has {} records", scene::name(due, person), of.len()))?;
            let Some((_, delivery)) = of.first() else {
                must(sent.n_requests == 0, || format!("{} left no record", scene::name(due, person)))?;
                continue;
            };
            let expected = match sent.heard {
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
            let unknowable = truth.n_crashes > 0 || expected.is_empty();
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
    let mut told = Vec::new();
    for (occurrence, delivery) in deliveries(store) {
        let due = scene.dues.iter().position(|due| *due == occurrence.due_at);
        let person = scene.people.iter().position(|openid| *openid == delivery.openid);
        if let (Some(due), Some(person)) = (due, person) {
            told.push(format!("{} {}", scene::name(due, person), delivery.state.as_str()));
        }
    }
    told.join(", ")
}

/// Marks as closed in the truth whatever the disk says is under way, in doubt or ended: it is never sent again.
pub(super) fn close(store: &dyn Store, truth: &mut Truth, scene: &Scene) {
    let all = deliveries(store);
    for (due, sent) in truth.sent.iter_mut().enumerate() {
        for (person, sent) in sent.iter_mut().enumerate() {
            let found = all.iter().find(|(o, d)| is(scene, o, d, due, person));
            sent.closed |= found.is_some_and(|(_, d)| match d.state {
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
            });
        }
    }
}

/// The instant until which a machine that went down at `now` may be away, besides coming back at once: shortly
/// before the deadline of what was due last, and shortly after it.
pub(super) fn downtimes(scene: &Scene, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let due = scene.dues.iter().rposition(|due| *due <= now).unwrap_or(0);
    let deadline = scene.deadline(due);
    let away = [deadline - chrono::TimeDelta::seconds(5), deadline + chrono::TimeDelta::seconds(5)];
    std::iter::once(now).chain(away.into_iter().filter(|at| *at > now)).collect()
}
