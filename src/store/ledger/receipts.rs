//! Decisions about receipts: which delivery one belongs to, and what is kept until that is known.
//!
//! Deliveries are found through the account of their recipient and template, never by a search of the
//! chunks. What a receipt does to a delivery is the table's; it never touches a grant or a suspicion.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Failed;
use super::deliveries::{change, slot_of};
use super::erasure;
use super::keys;
use super::records;
use super::state::{AccountId, BATCH_KEYS};
use super::writer::Desk;
use crate::domain::delivery::{Event, Past, State as DeliveryState};
use crate::domain::id::DeliveryId;
use crate::domain::message::is_msgid;
use crate::domain::template::TemplateKind;
use crate::store::{Arrival, Delivery, KeptReceipt, MAX_RECEIPTS, RECEIPT_SLACK, Receipt, ReceiptOutcome};

/// Joins a receipt to its delivery, or keeps it.
pub(super) fn receipt(desk: &mut Desk<'_>, receipt: &Receipt) -> Result<ReceiptOutcome, Failed> {
    let state = &mut *desk.state;
    if erasure::is_from_before(state, &receipt.app, &receipt.openid, receipt.created_at)? {
        return Ok(ReceiptOutcome::Erased);
    }
    let names = state.known_name(receipt.app.as_str()).zip(state.known_name(receipt.template.as_str()));
    let Some((app, template)) = names else { return Ok(ReceiptOutcome::Unknown) };
    let id = AccountId { app, template, openid: receipt.openid.as_str().into() };
    if !state.has_account(&id)? {
        return Ok(ReceiptOutcome::Unknown);
    }
    let known = kept(desk, &id)?.into_iter().find(|known| known.msgid == receipt.msgid);
    let told = KeptReceipt {
        msgid: receipt.msgid,
        created_at: receipt.created_at,
        arrival: receipt.arrival,
        kept_at: known.map_or(receipt.now, |known| known.kept_at),
    };
    if let Some(delivery) = join(desk, &id, &told, receipt.now)? {
        return Ok(ReceiptOutcome::Joined(delivery));
    }
    keep(desk, &id, told)?;
    Ok(ReceiptOutcome::Kept)
}

/// Tries the receipts kept of an account again; one of its deliveries has stopped attempting.
pub(super) fn again(desk: &mut Desk<'_>, id: &AccountId, now: DateTime<Utc>) -> Result<(), Failed> {
    let mut left = kept(desk, id)?;
    let before = left.len();
    for told in left.clone() {
        if join(desk, id, &told, now)?.is_some() {
            left.retain(|other| *other != told);
        }
    }
    if left.len() < before { store(desk, id, &left) } else { Ok(()) }
}

/// Tries every kept receipt again: for the start, and for a tree that is opened again.
pub(super) fn all_again(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<(), Failed> {
    desk.room(BATCH_KEYS)?;
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.prefix(keys::RECEIPTS) {
        let (key, _) = entry?;
        if let Some((app, template, openid)) = keys::read_account(&key) {
            again(desk, &AccountId { app, template, openid: openid.into() }, now)?;
        }
    }
    Ok(())
}

/// Writes a receipt into the delivery it belongs to; `None` while that is not known.
fn join(
    desk: &mut Desk<'_>,
    id: &AccountId,
    told: &KeptReceipt,
    now: DateTime<Utc>,
) -> Result<Option<DeliveryId>, Failed> {
    let held = desk.state.account(id, TemplateKind::OneTime)?;
    let mut named: Vec<DeliveryId> = held.account.out.iter().chain(&held.standing_out).copied().collect();
    // The newest first: nearly every receipt is for the last message.
    named.sort_unstable_by(|a, b| b.cmp(a));
    let event = match told.arrival {
        Arrival::Arrived => Event::Arrived,
        Arrival::NotArrived => Event::NotArrived,
    };
    let until = told.created_at + RECEIPT_SLACK;
    let mut attempting = false;
    let mut best: Option<(u8, DateTime<Utc>, DeliveryId)> = None;
    for delivery in named {
        let Some(slot) = slot_of(desk, delivery)? else { continue };
        if slot.msgid == Some(told.msgid) {
            change(desk, delivery, event, now, |_| {})?;
            return Ok(Some(delivery));
        }
        attempting |= slot.state == DeliveryState::Attempting;
        // What says not of which message it is cannot be of one that began after it came.
        let in_time = |began| began < until && (is_msgid(told.msgid) || began <= told.kept_at);
        if let (Some(rank), Some(began)) = (rank(slot), began(slot))
            && in_time(began)
        {
            let this = (rank, began, delivery);
            best = Some(best.map_or(this, |best| best.min(this)));
        }
    }
    let Some((_, _, delivery)) = best.filter(|_| !attempting) else { return Ok(None) };
    let note = |slot: &mut Delivery| slot.msgid = Some(told.msgid);
    if change(desk, delivery, event, now, note)?.is_none() {
        // Sent, and it arrived: nothing but the number is new.
        desk.room(super::deliveries::CHANGE_KEYS)?;
        if let Some(held) = desk.state.chunk(delivery.occurrence, delivery.chunk)?
            && let Some(slot) = held.chunk.slots.get_mut(usize::from(delivery.slot))
        {
            note(slot);
        }
        desk.state.changed_chunk(delivery.occurrence, delivery.chunk);
    }
    Ok(Some(delivery))
}

/// How well a delivery fits a receipt whose msgid nobody has; lower is better.
fn rank(slot: &Delivery) -> Option<u8> {
    match slot.state {
        DeliveryState::Sent if slot.msgid.is_none() => Some(0),
        DeliveryState::InDoubt => Some(1),
        DeliveryState::Waiting if slot.past == Past::Busy => Some(1),
        DeliveryState::PresumedSent => Some(2),
        DeliveryState::Sent
        | DeliveryState::Waiting
        | DeliveryState::Held
        | DeliveryState::Reserved
        | DeliveryState::Attempting
        | DeliveryState::Undelivered
        | DeliveryState::Refused
        | DeliveryState::Failed
        | DeliveryState::Expired
        | DeliveryState::Cancelled
        | DeliveryState::Skipped => None,
    }
}

/// When the first attempt began, or could have at the earliest; records of old programs know its end at least.
fn began(slot: &Delivery) -> Option<DateTime<Utc>> {
    slot.first_started_at.or(slot.marked_at).or(slot.settled_at)
}

fn kept(desk: &mut Desk<'_>, id: &AccountId) -> Result<Vec<KeptReceipt>, Failed> {
    if !desk.state.account(id, TemplateKind::OneTime)?.has_receipts {
        return Ok(Vec::new());
    }
    let bytes = desk.state.get(&keys::receipts(id.app, id.template, &id.openid))?;
    bytes.map_or(Ok(Vec::new()), |bytes| records::decode_receipts(&bytes))
}

fn keep(desk: &mut Desk<'_>, id: &AccountId, told: KeptReceipt) -> Result<(), Failed> {
    let mut all = kept(desk, id)?;
    let before = all.clone();
    match all.iter_mut().find(|other| other.msgid == told.msgid) {
        // That it did not arrive is the last word, as in the table.
        Some(known) => known.arrival = known.arrival.max(told.arrival),
        None => all.push(told),
    }
    all.sort_by_key(|receipt| (receipt.created_at, receipt.msgid));
    if all.len() > MAX_RECEIPTS {
        all.remove(0);
    }
    if all == before { Ok(()) } else { store(desk, id, &all) }
}

/// Writes down which receipts of an account are kept.
pub(super) fn store(desk: &mut Desk<'_>, id: &AccountId, left: &[KeptReceipt]) -> Result<(), Failed> {
    desk.room(2)?;
    let key = keys::receipts(id.app, id.template, &id.openid);
    if left.is_empty() {
        desk.state.remove(key);
    } else {
        desk.state.put(key, records::encode_receipts(left)?);
    }
    let held = desk.state.account(id, TemplateKind::OneTime)?;
    if held.has_receipts == left.is_empty() {
        held.has_receipts = !left.is_empty();
        desk.state.changed_account(id.clone());
    }
    Ok(())
}
