//! Upkeep: what is kept under a name, and what is removed when its time is over.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::Failed;
use super::consents::is_consumed;
use super::identities::{self, Identity};
use super::keys;
use super::receipts;
use super::records::{self, Booked};
use super::snapshots;
use super::state::{AccountId, BATCH_KEYS, LAST_OCCURRENCE, is_unfinished};
use super::writer::Desk;
use crate::domain::count::n_of;
use crate::domain::delivery::State as DeliveryState;
use crate::store::{ERASED_DAYS, Occurrence, RECEIPT_DAYS, REPORT_DAYS};

/// How long an occurrence and its deliveries are kept after its due time, in days.
const OCCURRENCE_DAYS: i64 = 90;
/// Records looked at in one call.
const MAX_LOOKED: usize = 5_000;

/// Removes a bounded piece of what is old; 0 when nothing is left.
pub(super) fn retire(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    desk.barrier()?;
    for piece in [retire_occurrence, retire_reports, retire_receipts, retire_hashes, snapshots::retire] {
        let n = piece(desk, now)?;
        if n > 0 {
            return Ok(n);
        }
    }
    Ok(0)
}

/// Lets kept receipts go whose time is over, going on where the last call ended.
fn retire_receipts(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    let before = now - TimeDelta::days(RECEIPT_DAYS);
    let from = desk.state.receipts_to.take().unwrap_or_else(|| vec![keys::RECEIPTS]);
    let (mut looked, mut n) = (0, 0);
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.range(from, vec![keys::RECEIPTS + 1]) {
        let (key, value) = entry?;
        if looked >= MAX_LOOKED || n >= n_of(BATCH_KEYS) {
            desk.state.receipts_to = Some(key.to_vec());
            return Ok(n.max(1));
        }
        looked += 1;
        let mut receipts = records::decode_receipts(&value)?;
        let all = receipts.len();
        receipts.retain(|receipt| receipt.kept_at >= before);
        if receipts.len() < all
            && let Some((app, template, openid)) = keys::read_account(&key)
        {
            receipts::store(desk, &AccountId { app, template, openid: openid.into() }, &receipts)?;
            n += n_of(all - receipts.len());
        }
    }
    Ok(n)
}

/// Forgets who was erased long ago.
fn retire_hashes(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    let oldest = records::ms(now - TimeDelta::days(ERASED_DAYS));
    let opened = Arc::clone(&desk.state.opened);
    let mut old = Vec::new();
    for entry in opened.tree.prefix(keys::ERASED) {
        let (key, value) = entry?;
        if records::decode::<i64>(&value)? < oldest {
            old.push(key.to_vec());
        }
        if old.len() >= BATCH_KEYS - 10 {
            break;
        }
    }
    desk.room(old.len())?;
    let n = n_of(old.len());
    for key in old {
        desk.state.remove(key);
    }
    Ok(n)
}

/// Removes the next chunk of the oldest occurrence whose time is over, or the occurrence itself.
fn retire_occurrence(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    let before = now - TimeDelta::days(OCCURRENCE_DAYS);
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.prefix(keys::OCCURRENCE).take(MAX_LOOKED) {
        let (key, value) = entry?;
        let Some(number) = keys::read_number(&key) else { continue };
        let (occurrence, n_chunks) = records::decode_occurrence(&value, number)?;
        let in_doubt = occurrence.counts.in_state(DeliveryState::InDoubt) > 0;
        if is_wanted_until(&occurrence) >= before || is_unfinished(&occurrence) || in_doubt {
            continue;
        }
        // Earlier ones of the same reminder go first: through this one they are found.
        if let Some(earlier) = occurrence.about.as_ref().and_then(|about| about.previous)
            && desk.state.occurrence(earlier)?.is_some()
        {
            continue;
        }
        // From the end, so that what is left is a whole number of chunks at each step.
        for chunk in (0..n_chunks).rev() {
            let Some(held) = desk.state.chunk(number, chunk)? else { continue };
            let slots = held.chunk.slots.clone();
            desk.room(slots.len() + 8)?;
            for slot in slots.iter().filter(|slot| is_consumed(slot.state)) {
                if let Some((payer, kind)) = desk.state.payer(slot.id, &slot.openid)? {
                    let held = desk.state.account(&payer, kind)?;
                    held.account.fold(slot.id);
                    held.standing_out.retain(|named| *named != slot.id);
                    desk.state.changed_account(payer);
                }
            }
            desk.state.drop_chunk(number, chunk)?;
            return Ok(1);
        }
        desk.room(8)?;
        if number + 1 == desk.state.next_occurrence {
            // The newest record goes: its number must not be given again.
            desk.state.put(keys::kept(LAST_OCCURRENCE), number.to_be_bytes().to_vec());
        }
        let app = desk.state.name(occurrence.app.as_str())?;
        match &occurrence.about {
            // It has no name of its own: that is still the one's which it repeats.
            None | Some(_) if occurrence.repeats.is_some() => {}
            Some(about) if !occurrence.is_by_hand() => {
                let ms = records::ms(about.at);
                let identity = keys::reminder(app, &about.kind, &about.id, ms, &occurrence.rule);
                // A later occurrence of the same reminder may have taken the name over.
                if desk.state.get(&identity)?.as_deref() == Some(&number.to_be_bytes()) {
                    desk.state.remove(identity);
                }
            }
            None | Some(_) => {
                let Occurrence { civil, fold, whose, zone, .. } = occurrence;
                identities::forget(
                    desk.state,
                    app,
                    &occurrence.rule,
                    &Identity { civil, fold, whose, zone },
                )?;
            }
        }
        desk.state.drop_occurrence(number)?;
        return Ok(1);
    }
    Ok(0)
}

/// Until when an occurrence stands in the way of another one of its name.
fn is_wanted_until(occurrence: &Occurrence) -> DateTime<Utc> {
    let due_at = occurrence.due_at;
    occurrence.about.as_ref().map_or(due_at, |about| due_at.max(about.at).max(occurrence.deadline))
}

/// Removes ids of old reports, going on where the last call ended.
fn retire_reports(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    let oldest = records::ms(now - TimeDelta::days(REPORT_DAYS));
    let from = desk.state.retired_to.take().unwrap_or_else(|| vec![keys::REPORT]);
    let mut looked = 0;
    let mut old = Vec::new();
    let mut last = None;
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.range(from, vec![keys::REPORT + 1]) {
        let (key, value) = entry?;
        looked += 1;
        if Booked::decode(&value)?.at_ms < oldest {
            old.push(key.to_vec());
        }
        if looked >= MAX_LOOKED || old.len() >= BATCH_KEYS - 10 {
            last = Some(key.to_vec());
            break;
        }
    }
    desk.room(old.len())?;
    let n = n_of(old.len());
    for key in old {
        desk.state.remove(key);
    }
    let more = last.is_some();
    desk.state.retired_to = last;
    Ok(if more { n.max(1) } else { n })
}
