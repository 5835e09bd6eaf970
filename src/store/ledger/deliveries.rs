//! Decisions about deliveries: marks, settlements, ends, recovery, and an operator's word.
//!
//! Every change of state goes through the one table of the domain, and every step of a grant follows
//! from the effect that the table names.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Failed;
use super::appointments;
use super::holds;
use super::keys;
use super::receipts;
use super::records;
use super::repeats;
use super::state::{BATCH_KEYS, finish};
use super::unfinished;
use super::writer::Desk;
use crate::domain::delivery::{Effect, Event, Past, State as DeliveryState, step};
use crate::domain::drift::{Difference, Evidence};
use crate::domain::id::DeliveryId;
use crate::store::{Closing, Delivery, DoubtWord, End, Mark, Settlement};

/// Keys that one change of one delivery may write: chunk and its index keys, occurrence, account, a count of drift.
pub(super) const CHANGE_KEYS: usize = 9;

/// Changes one delivery; `None` when it is not there or the event cannot happen to it.
///
/// `note` writes down what the state alone does not say.
pub(super) fn change(
    desk: &mut Desk<'_>,
    id: DeliveryId,
    event: Event,
    now: DateTime<Utc>,
    note: impl FnOnce(&mut Delivery),
) -> Result<Option<Delivery>, Failed> {
    change_started(desk, id, event, now, now, note)
}

/// The same for the end of an attempt that began at `started_at`.
fn change_started(
    desk: &mut Desk<'_>,
    id: DeliveryId,
    event: Event,
    started_at: DateTime<Utc>,
    now: DateTime<Utc>,
    note: impl FnOnce(&mut Delivery),
) -> Result<Option<Delivery>, Failed> {
    desk.room(CHANGE_KEYS)?;
    let state = &mut *desk.state;
    let again_at = match event {
        Event::Doubt => repeats::at(state, id, now)?,
        Event::Reserve
        | Event::Skip
        | Event::Mark
        | Event::NotStarted
        | Event::Accept
        | Event::Refuse
        | Event::Fail
        | Event::Wait
        | Event::GrantDied
        | Event::Expire
        | Event::Cancel
        | Event::Arrived
        | Event::NotArrived
        | Event::Age
        | Event::NeverLeft
        | Event::Lost => None,
    };
    let Some(held) = state.chunk(id.occurrence, id.chunk)? else { return Ok(None) };
    let Some(slot) = held.chunk.slots.get_mut(usize::from(id.slot)) else { return Ok(None) };
    let before = slot.state;
    let Ok((after, effect)) = step(before, slot.past, event) else { return Ok(None) };
    slot.state = after;
    slot.next_at = None;
    slot.settled_at = (!after.is_open()).then_some(now);
    if before == DeliveryState::InDoubt {
        // Why it was not repeated: it is known now what became of it.
        slot.skipped = None;
    }
    note(slot);
    if after != DeliveryState::Waiting && after != DeliveryState::Held {
        slot.next_at = again_at;
    }
    let slot = slot.clone();
    state.changed_chunk(id.occurrence, id.chunk);
    if let Some(held) = state.occurrence(id.occurrence)? {
        held.occurrence.counts.moved(before, after);
        finish(&mut held.occurrence);
    }
    state.changed_occurrence(id.occurrence);
    settle_account(desk, &slot, event, effect, (started_at, now))?;
    if before == DeliveryState::Attempting && !slot.openid.is_erased() {
        receipts_again(desk, &slot, now)?;
    }
    Ok(Some(slot))
}

/// What should be tried again of somebody erased is not.
fn never_again(desk: &mut Desk<'_>, slot: Delivery, now: DateTime<Utc>) -> Result<Delivery, Failed> {
    let again = matches!(slot.state, DeliveryState::Reserved | DeliveryState::Waiting);
    if !again || !slot.openid.is_erased() {
        return Ok(slot);
    }
    Ok(change(desk, slot.id, Event::Cancel, now, |_| {})?.unwrap_or(slot))
}

/// Tries kept receipts again: while a delivery is attempting, none of its pair can be told from another's.
fn receipts_again(desk: &mut Desk<'_>, slot: &Delivery, now: DateTime<Utc>) -> Result<(), Failed> {
    let Some((payer, kind)) = desk.state.payer(slot.id, &slot.openid)? else { return Ok(()) };
    if desk.state.account(&payer, kind)?.has_receipts { receipts::again(desk, &payer, now) } else { Ok(()) }
}

/// What a step means for the account that pays.
fn settle_account(
    desk: &mut Desk<'_>,
    slot: &Delivery,
    event: Event,
    effect: Effect,
    (started_at, now): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(), Failed> {
    let state = &mut *desk.state;
    match effect {
        Effect::Keep | Effect::Take => return Ok(()),
        Effect::Consume if event != Event::Accept => return Ok(()),
        Effect::Consume | Effect::Release | Effect::Void => {}
    }
    let Some((payer, kind)) = state.payer(slot.id, &slot.openid)? else {
        return Err(Failed::Record("a delivery has no occurrence"));
    };
    let held = state.account(&payer, kind)?;
    let account = &mut held.account;
    if slot.openid.is_erased() {
        // The account of all the erased: nothing comes back to it, and it learns nothing of a single one.
        if effect != Effect::Consume && slot.grant.is_some() {
            account.void(slot.id);
            state.changed_account(payer);
        }
        return Ok(());
    }
    let is_covered = account.covers(kind, slot.grant.map(|grant| grant.accepted_at));
    let difference = match event {
        Event::Refuse => is_covered.then_some(Difference::Denied),
        Event::Accept => (!is_covered).then_some(Difference::SentAtZero),
        Event::Reserve
        | Event::Skip
        | Event::Mark
        | Event::NotStarted
        | Event::Fail
        | Event::Wait
        | Event::Doubt
        | Event::GrantDied
        | Event::Expire
        | Event::Cancel
        | Event::Arrived
        | Event::NotArrived
        | Event::Age
        | Event::NeverLeft
        | Event::Lost => None,
    };
    if let Some(difference) = difference {
        super::drift::count(state, &payer, Evidence::of(slot.grant), difference, now)?;
    }
    let held = state.account(&payer, kind)?;
    let account = &mut held.account;
    match (effect, slot.grant) {
        (Effect::Consume, _) => {
            // `sent` writes the chunk alone, unless it clears a suspicion.
            if !account.suspect {
                return Ok(());
            }
            account.confirmed();
        }
        (Effect::Release, Some(grant)) => account.release(slot.id, grant),
        (Effect::Void, Some(_)) => account.void(slot.id),
        // Under a standing acceptance: no receipt can be for it.
        (Effect::Release | Effect::Void, None) => held.standing_out.retain(|named| *named != slot.id),
        (Effect::Keep | Effect::Take, _) => {}
    }
    if event == Event::Refuse {
        held.account.denied(records::whole_ms(started_at));
    }
    state.changed_account(payer);
    Ok(())
}

/// Marks deliveries as attempting.
pub(super) fn mark(
    desk: &mut Desk<'_>,
    ids: &[DeliveryId],
    now: DateTime<Utc>,
) -> Result<Vec<Option<Mark>>, Failed> {
    if holds::holds(desk.state)? {
        // Each may have been sent since these books were written.
        return Ok(ids.iter().map(|_| None).collect());
    }
    let mut marks = Vec::with_capacity(ids.len());
    for id in ids {
        let note = |slot: &mut Delivery| {
            if slot.first_started_at.is_none() {
                slot.marked_at.get_or_insert(now);
            }
        };
        let found = slot_of(desk, *id)?.map(|slot| (slot.openid.clone(), slot.state));
        if let Some((openid, state)) = found
            && (appointments::is_void(desk, *id, &openid)? || repeats::is_void(desk, *id)?)
        {
            // Its appointment was moved or cancelled since, or belongs to him no more; or what it repeats has arrived.
            if state != DeliveryState::Attempting {
                change(desk, *id, Event::Cancel, now, |_| {})?;
            }
            marks.push(None);
            continue;
        }
        let slot = change(desk, *id, Event::Mark, now, note)?;
        marks.push(slot.map(|slot| desk.mark(*id, slot.grant.map(|grant| grant.accepted_at))));
    }
    Ok(marks)
}

/// Ends attempts.
pub(super) fn settle(
    desk: &mut Desk<'_>,
    settlements: Vec<Settlement>,
) -> Result<Vec<DeliveryState>, Failed> {
    let mut states = Vec::with_capacity(settlements.len());
    for settlement in settlements {
        let id = settlement.mark.id();
        let end = settlement.end;
        let event = match end {
            End::NotStarted => Event::NotStarted,
            End::Accepted { .. } => Event::Accept,
            End::Refused => Event::Refuse,
            End::Failed { .. } => Event::Fail,
            End::Wait { .. } => Event::Wait,
            End::Doubt => Event::Doubt,
            End::GrantDied => Event::GrantDied,
            End::Expired => Event::Expire,
            End::Cancelled => Event::Cancel,
        };
        let note = |slot: &mut Delivery| {
            if let Some(started_at) = settlement.started_at {
                slot.attempts += 1;
                if slot.attempts == 1 {
                    slot.first_started_at = Some(started_at);
                    slot.marked_at = None;
                }
            } else if slot.attempts == 0 {
                slot.marked_at = None;
            }
            match end {
                End::Accepted { msgid } => slot.msgid = msgid,
                End::Refused => slot.errcode = Some(43101),
                End::Failed { errcode } => slot.errcode = Some(errcode),
                End::Wait { at, past } => {
                    slot.next_at = Some(super::state::not_before(at));
                    // What may have been processed stays so.
                    if slot.past != Past::Busy {
                        slot.past = past;
                    }
                }
                End::NotStarted => slot.next_at = Some(settlement.now),
                End::Doubt | End::GrantDied | End::Expired | End::Cancelled => {}
            }
        };
        let started_at = settlement.started_at.unwrap_or(settlement.now);
        let slot = change_started(desk, id, event, started_at, settlement.now, note)?;
        let slot = slot.map(|slot| never_again(desk, slot, settlement.now)).transpose()?;
        states.push(match slot {
            Some(slot) => slot.state,
            // Marked before the tree failed: whether mark and settlement were written, only the books know. A
            // delivery that is not there was lost with its chunk, before anything was sent.
            None if !desk.is_of_now(&settlement.mark) => {
                slot_of(desk, id)?.map_or(DeliveryState::Cancelled, |slot| slot.state)
            }
            None => return Err(Failed::Record("an attempt ended that was not under way")),
        });
    }
    Ok(states)
}

/// Takes marks back that nobody was told of; those that were never written are passed over.
pub(super) fn not_started(desk: &mut Desk<'_>, ids: &[DeliveryId], now: DateTime<Utc>) -> Result<(), Failed> {
    for id in ids {
        let slot = change(desk, *id, Event::NotStarted, DateTime::UNIX_EPOCH, |slot| {
            slot.next_at = Some(DateTime::UNIX_EPOCH);
            if slot.attempts == 0 {
                slot.marked_at = None;
            }
        })?;
        if let Some(slot) = slot {
            never_again(desk, slot, now)?;
        }
    }
    Ok(())
}

pub(super) fn slot_of<'a>(desk: &'a mut Desk<'_>, id: DeliveryId) -> Result<Option<&'a Delivery>, Failed> {
    let held = desk.state.chunk(id.occurrence, id.chunk)?;
    Ok(held.and_then(|held| held.chunk.slots.get(usize::from(id.slot))))
}

/// Ends deliveries that are not attempting.
pub(super) fn close(
    desk: &mut Desk<'_>,
    ids: &[DeliveryId],
    closing: Closing,
    now: DateTime<Utc>,
) -> Result<Vec<bool>, Failed> {
    let event = match closing {
        Closing::Expired => Event::Expire,
        Closing::Cancelled => Event::Cancel,
    };
    if holds::holds(desk.state)? {
        return Ok(vec![false; ids.len()]);
    }
    let mut closed = Vec::with_capacity(ids.len());
    for id in ids {
        let attempting = slot_of(desk, *id)?.is_some_and(|slot| slot.state == DeliveryState::Attempting);
        closed.push(!attempting && change(desk, *id, event, now, |_| {})?.is_some());
    }
    Ok(closed)
}

/// Makes everything attempting in doubt.
pub(super) fn recover(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    // Counts say where attempting deliveries are, so only those occurrences' chunks are read.
    desk.barrier()?;
    let mut n = 0;
    let opened = Arc::clone(&desk.state.opened);
    for number in unfinished::numbers(&*opened.tree)? {
        let Some(held) = desk.state.occurrence(number)? else { continue };
        if held.occurrence.counts.in_state(DeliveryState::Attempting) == 0 {
            continue;
        }
        for chunk in 0..held.n_chunks {
            let Some(held) = desk.state.chunk(number, chunk)? else { continue };
            let attempting = held.chunk.slots.iter().filter(|slot| slot.state == DeliveryState::Attempting);
            let ids: Vec<DeliveryId> = attempting.map(|slot| slot.id).collect();
            for id in ids {
                let note = |slot: &mut Delivery| slot.attempts += 1;
                n += u64::from(change(desk, id, Event::Doubt, now, note)?.is_some());
            }
        }
    }
    receipts::all_again(desk, now)?;
    Ok(n)
}

/// Books what is in doubt since before `before` as presumed sent: the deliveries of the oldest such chunk.
pub(super) fn presume(desk: &mut Desk<'_>, before: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64, Failed> {
    desk.room(BATCH_KEYS)?;
    let opened = Arc::clone(&desk.state.opened);
    let oldest = opened.tree.range(vec![keys::DOUBT], keys::doubt(records::ms(before), 0, 0)).next();
    let Some(key) = oldest.transpose()?.map(|(key, _)| key) else { return Ok(0) };
    let (occurrence, number) =
        keys::read_chunk(&key).ok_or(Failed::Record("a doubt's key cannot be read"))?;
    let Some(held) = desk.state.chunk(occurrence, number)? else { return Ok(0) };
    let doubts = held.chunk.slots.iter().filter(|slot| slot.state == DeliveryState::InDoubt);
    let old: Vec<DeliveryId> =
        doubts.filter(|slot| slot.settled_at < Some(before)).map(|slot| slot.id).collect();
    let mut n = 0;
    for id in old {
        n += u64::from(change(desk, id, Event::Age, now, |_| {})?.is_some());
    }
    Ok(n)
}

/// Settles a delivery in doubt by an operator's word.
pub(super) fn settle_doubt(
    desk: &mut Desk<'_>,
    id: DeliveryId,
    word: DoubtWord,
    now: DateTime<Utc>,
) -> Result<bool, Failed> {
    let in_doubt = slot_of(desk, id)?.is_some_and(|slot| slot.state == DeliveryState::InDoubt);
    let event = match word {
        DoubtWord::Sent => Event::Arrived,
        DoubtWord::Failed => Event::NeverLeft,
    };
    Ok(in_doubt && change(desk, id, event, now, |_| {})?.is_some())
}
