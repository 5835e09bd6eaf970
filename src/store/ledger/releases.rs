//! Decisions about held deliveries whose send time has come: until then they have no grant.
//!
//! Who is due, and what a message says, is the flow's business; whether there is a grant is decided here, on the
//! account as it is.

use chrono::{DateTime, Utc};

use super::Failed;
use super::appointments;
use super::deliveries::{CHANGE_KEYS, change, slot_of};
use super::erasure;
use super::occurrences::{bound_of, is_claimed, take};
use super::records;
use super::state::finish;
use super::writer::Desk;
use crate::domain::delivery::{Event, State as DeliveryState, step};
use crate::domain::id::{AppId, DeliveryId, OpenId};
use crate::domain::occurrence::{OccurrenceState, SkipReason};
use crate::store::{Fate, Release};

/// Lets held deliveries go.
pub(super) fn release(
    desk: &mut Desk<'_>,
    releases: &[Release],
    now: DateTime<Utc>,
) -> Result<Vec<Option<DeliveryState>>, Failed> {
    releases.iter().map(|release| one(desk, release, now)).collect()
}

fn one(desk: &mut Desk<'_>, release: &Release, now: DateTime<Utc>) -> Result<Option<DeliveryState>, Failed> {
    let Release { id, fate, ref behind } = *release;
    let Some(slot) = slot_of(desk, id)? else { return Ok(None) };
    let is_due = slot.state == DeliveryState::Held && slot.next_at.is_none_or(|at| at <= now);
    if !is_due {
        return Ok(None);
    }
    let openid = slot.openid.clone();
    let Some(held) = desk.state.occurrence(id.occurrence)? else { return Ok(None) };
    let cancelled = match held.occurrence.state {
        OccurrenceState::Held => return Ok(None),
        OccurrenceState::Cancelled => true,
        OccurrenceState::Open | OccurrenceState::Done | OccurrenceState::Missed => false,
    };
    let bound = bound_of(&held.occurrence);
    let ended = |slot: Option<crate::store::Delivery>| slot.map(|slot| slot.state);
    let app = held.occurrence.app.clone();
    if cancelled || is_of_the_erased(desk, &app, id, &openid)? || appointments::is_void(desk, id, &openid)? {
        return Ok(ended(change(desk, id, Event::Cancel, now, |_| {})?));
    }
    match fate {
        Fate::Expire => Ok(ended(change(desk, id, Event::Expire, now, |_| {})?)),
        Fate::Skip(reason) => skip(desk, id, reason, now),
        Fate::Reserve => {
            // The grant and its delivery are in one batch: the change finds the room that it asks for.
            desk.room(2 * CHANGE_KEYS)?;
            let Some((payer, kind)) = desk.state.payer(id, &openid)? else { return Ok(None) };
            if is_claimed(desk.state, &payer, (kind, bound), behind, now)? {
                return skip(desk, id, SkipReason::NoConsent, now);
            }
            match take(desk.state, payer, kind, id, bound, now)? {
                Ok(grant) => Ok(ended(change(desk, id, Event::Reserve, now, |slot| slot.grant = grant)?)),
                Err(reason) => skip(desk, id, reason, now),
            }
        }
    }
}

/// Whether a delivery was made for who was erased since, and maybe came back before the sweep reached it: as somebody new.
pub(super) fn is_of_the_erased(
    desk: &mut Desk<'_>,
    app: &AppId,
    id: DeliveryId,
    openid: &OpenId,
) -> Result<bool, Failed> {
    let made_ms = desk.state.chunk(id.occurrence, id.chunk)?.map_or(0, |held| held.chunk.base_ms);
    erasure::is_from_before(desk.state, app, openid, records::at(made_ms)?)
}

pub(super) fn skip(
    desk: &mut Desk<'_>,
    id: DeliveryId,
    reason: SkipReason,
    now: DateTime<Utc>,
) -> Result<Option<DeliveryState>, Failed> {
    desk.room(CHANGE_KEYS)?;
    let Some(held) = desk.state.chunk(id.occurrence, id.chunk)? else { return Ok(None) };
    let Some(slot) = held.chunk.slots.get_mut(usize::from(id.slot)) else { return Ok(None) };
    let before = slot.state;
    let Ok((after, _)) = step(before, slot.past, Event::Skip) else { return Ok(None) };
    (slot.state, slot.next_at) = (after, None);
    (slot.skipped, slot.settled_at) = (Some(reason), Some(now));
    desk.state.changed_chunk(id.occurrence, id.chunk);
    if let Some(held) = desk.state.occurrence(id.occurrence)? {
        held.occurrence.counts.skip(before, reason);
        finish(&mut held.occurrence);
    }
    desk.state.changed_occurrence(id.occurrence);
    Ok(Some(after))
}
