//! Decisions about repetitions: what is in doubt is repeated once, with a grant of its own, or stays as it is.
//!
//! Which are due and whether their people may be disturbed now is the flow's.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Failed;
use super::appointments;
use super::deliveries::slot_of;
use super::holds;
use super::keys::{self, Name};
use super::occurrences::{bound_of, open_alone, take};
use super::records;
use super::state::{AccountId, State, not_before};
use super::tree::Tree;
use super::unfinished;
use super::writer::Desk;
use crate::domain::delivery::State as DeliveryState;
use crate::domain::id::{AppointmentId, DeliveryId, Kind};
use crate::domain::occurrence::{Repetition, SkipReason};
use crate::plan::repeat;
use crate::store::{Again, Delivery, Occurrence, Repeated};

/// Keys that it may write: chunks and their index keys, occurrence and index, account.
pub(super) const KEYS: usize = 14;

/// Opens the repetition of a delivery in doubt, or notes that there is none, or when.
pub(super) fn open(
    desk: &mut Desk<'_>,
    id: DeliveryId,
    again: Again,
    now: DateTime<Utc>,
) -> Result<Repeated, Failed> {
    if holds::holds(desk.state)? {
        return Ok(Repeated::Stale);
    }
    let Some(slot) = slot_of(desk, id)?.filter(|slot| slot.is_to_be_repeated()).cloned() else {
        return Ok(Repeated::Stale);
    };
    let Some(held) = desk.state.occurrence(id.occurrence)? else { return Ok(Repeated::Stale) };
    let of = held.occurrence.clone();
    let (repeated, next_at, skipped) = match again {
        Again::Now if slot.next_at > Some(now) => return Ok(Repeated::Stale),
        Again::Now => match reserve(desk, &slot, of, now)? {
            Ok(id) => (Repeated::Reserved(id), None, None),
            Err(reason) => (Repeated::Without(reason), None, Some(reason)),
        },
        Again::NotBefore(at) => (Repeated::Noted, Some(not_before(at)), None),
        Again::Never(reason) => (Repeated::Noted, None, reason),
    };
    if let Some(held) = desk.state.chunk(id.occurrence, id.chunk)?
        && let Some(slot) = held.chunk.slots.get_mut(usize::from(id.slot))
    {
        (slot.next_at, slot.skipped) = (next_at, skipped);
    }
    desk.state.changed_chunk(id.occurrence, id.chunk);
    Ok(repeated)
}

/// Takes a grant for the repetition and opens it: the same due time, told and timed by the same rule.
fn reserve(
    desk: &mut Desk<'_>,
    slot: &Delivery,
    of: Occurrence,
    now: DateTime<Utc>,
) -> Result<Result<DeliveryId, SkipReason>, Failed> {
    let app = desk.state.name(of.app.as_str())?;
    if desk.state.recipient(app, &slot.openid)?.is_none()
        || appointments::is_void(desk, slot.id, &slot.openid)?
    {
        return Ok(Err(SkipReason::NoConsent));
    }
    let state = &mut *desk.state;
    let template = state.name(of.template.as_str())?;
    let payer = AccountId { app, template, openid: slot.openid.as_str().into() };
    let number = state.next_occurrence;
    let id = DeliveryId { occurrence: number, chunk: 0, slot: 0 };
    let grant = match take(state, payer, of.kind, id, bound_of(&of), now)? {
        Ok(grant) => grant,
        Err(reason) => return Ok(Err(reason)),
    };
    state.next_occurrence += 1;
    let repeats = Some(Repetition { of: slot.id, nth: of.nth().saturating_add(1) });
    if of.about.is_some() {
        state.repeated.insert(number);
    }
    let message = Delivery::reserved(id, slot.openid.clone(), grant);
    open_alone(state, Occurrence { repeats, ..of }, message, now)?;
    Ok(Ok(id))
}

/// What is unfinished in a tree and tells of an appointment though its plan does not say so: repetitions, and what is
/// sent by hand.
pub(super) fn of_reminders(tree: &dyn Tree) -> Result<BTreeSet<u64>, Failed> {
    let mut numbers = BTreeSet::new();
    for number in unfinished::numbers(tree)? {
        let Some(bytes) = tree.get(&keys::occurrence(number))? else { continue };
        let (occurrence, _n_chunks) = records::decode_occurrence(&bytes, number)?;
        if !occurrence.is_of_plan() && occurrence.about.is_some() {
            numbers.insert(number);
        }
    }
    Ok(numbers)
}

/// Those of one appointment.
pub(super) fn of_appointment(
    state: &mut State,
    app: Name,
    kind: &Kind,
    id: &AppointmentId,
) -> Result<Vec<u64>, Failed> {
    let mut numbers = Vec::new();
    for number in state.repeated.clone() {
        let Some(held) = state.occurrence(number)? else { continue };
        let is_its =
            held.occurrence.about.as_ref().is_some_and(|about| about.kind == *kind && about.id == *id);
        let of = held.occurrence.app.clone();
        if is_its && state.name(of.as_str())? == app {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// When a delivery that is in doubt since `now` is to be repeated.
pub(super) fn at(
    state: &mut State,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Failed> {
    let Some(held) = state.occurrence(id.occurrence)? else { return Ok(None) };
    let of = &held.occurrence;
    Ok(repeat::at(of.on_doubt, of.nth(), id, now).map(not_before))
}

/// Whether what a delivery repeats is known to have arrived since.
pub(super) fn is_void(desk: &mut Desk<'_>, id: DeliveryId) -> Result<bool, Failed> {
    let Some(held) = desk.state.occurrence(id.occurrence)? else { return Ok(false) };
    let Some(Repetition { of, nth: _ }) = held.occurrence.repeats else { return Ok(false) };
    Ok(slot_of(desk, of)?.is_some_and(|slot| slot.state == DeliveryState::Sent))
}

/// Lets nothing be repeated that is in doubt by now: it may have been since these books were written.
pub(super) fn give_up(desk: &mut Desk<'_>) -> Result<(), Failed> {
    desk.barrier()?;
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.prefix(keys::TIME) {
        let (key, _) = entry?;
        let (occurrence, number) =
            keys::read_chunk(&key).ok_or(Failed::Record("a key of the time index cannot be read"))?;
        desk.room(3)?;
        let Some(held) = desk.state.chunk(occurrence, number)? else { continue };
        let waiting: Vec<&mut Delivery> =
            held.chunk.slots.iter_mut().filter(|slot| slot.is_to_be_repeated()).collect();
        if waiting.is_empty() {
            continue;
        }
        for slot in waiting {
            slot.next_at = None;
        }
        desk.state.changed_chunk(occurrence, number);
    }
    Ok(())
}
