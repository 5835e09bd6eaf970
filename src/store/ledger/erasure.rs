//! Decisions about erasure: what becomes of a person's accounts and deliveries, and of his openid wherever it is.
//!
//! What can be found through his accounts is done before the call is decided, in as many batches as it takes,
//! each of them a legal state; a start goes on where a crash cut it. What is left is overwritten by a sweep over all
//! chunks, in pieces. Totals are carried into the accounts of [`OpenId::erased`].

use std::sync::Arc;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::Failed;
use super::appointments;
use super::consents::{self, is_consumed};
use super::deliveries::{CHANGE_KEYS, change, slot_of};
use super::holds;
use super::keys::{self, Name};
use super::persons;
use super::receipts;
use super::records::{self, Booked, Chunk, ErasingV1};
use super::requests;
use super::state::{AccountId, BATCH_KEYS, State};
use super::tree::Tree;
use super::unfinished;
use super::writer::Desk;
use crate::domain::consent::MAX_HELD;
use crate::domain::count::n_of;
use crate::domain::delivery::{Event, State as DeliveryState};
use crate::domain::id::{AppId, DeliveryId, OpenId};
use crate::domain::recipient::MAX_MOVES;
use crate::domain::template::TemplateKind;
use crate::store::{Asked, ERASED_TOGETHER, Erased, Gone};

/// Name of the kept key of the erased's hashes.
pub(super) const KEY: &str = "erasure";
/// Most deliveries that an account of the erased names: attempts under way, and doubts.
const MAX_ERASED_OUT: u64 = 300;
/// Keys that taking one recipient out writes at most.
const TAKEN_KEYS: usize = 6 + MAX_MOVES;
/// Chunks looked at in one call of the sweep.
const MAX_LOOKED: usize = 256;

/// The key of the erased's hashes.
pub(super) fn stored_key(tree: &dyn Tree) -> Result<Option<[u8; 32]>, Failed> {
    Ok(tree.get(&keys::kept(KEY))?.and_then(|bytes| bytes.as_ref().try_into().ok()))
}

/// What somebody erased is known by.
pub(super) fn hash(key: &[u8; 32], app: &AppId, openid: &OpenId) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(app.as_str().as_bytes());
    mac.update(b"\n");
    mac.update(openid.as_str().as_bytes());
    mac.finalize().into_bytes().into()
}

fn hash_of(state: &State, app: &AppId, openid: &OpenId) -> Result<[u8; 32], Failed> {
    let key = state.erasure_key.ok_or(Failed::Record("there is no key for erasures"))?;
    Ok(hash(&key, app, openid))
}

/// Whether what happened at `at` is from before the person was erased.
pub(super) fn is_from_before(
    state: &State,
    app: &AppId,
    openid: &OpenId,
    at: DateTime<Utc>,
) -> Result<bool, Failed> {
    let Some(bytes) = state.get(&keys::erased(&hash_of(state, app, openid)?))? else { return Ok(false) };
    Ok(records::ms(at) <= records::decode::<i64>(&bytes)?)
}

/// Takes a person out of the books.
pub(super) fn erase(
    desk: &mut Desk<'_>,
    app_id: &AppId,
    openid: &OpenId,
    Asked { at: now, request, reach }: Asked,
) -> Result<Erased, Failed> {
    let app = desk.state.name(app_id.as_str())?;
    if requests::is_replayed(desk.state, app, request, now)? {
        return Ok(Erased::Replayed);
    }
    let unionid = desk.state.recipient(app, openid)?.and_then(|known| known.profile.unionid);
    let mut whole = persons::others(desk, (app_id, openid), unionid.as_ref(), &reach)?;
    whole.push((app_id.clone(), openid.clone()));
    for (app_id, openid) in &whole {
        let app = desk.state.name(app_id.as_str())?;
        for template in 0..desk.state.n_names() {
            let id = AccountId { app, template, openid: openid.as_str().into() };
            if desk.state.has_account(&id)? && fold_all(desk, &erased(&id))? + MAX_HELD > MAX_ERASED_OUT {
                return Ok(Erased::Busy);
            }
        }
    }
    let open = ErasingV1 { at_ms: records::ms(now), closed: false, next: Some((0, 0)) };
    // One batch begins it, and remembers the request: a start goes on with whatever is noted there.
    desk.room(TAKEN_KEYS * whole.len().min(ERASED_TOGETHER) + whole.len() + 2)?;
    requests::remember(desk.state, app, request, now)?;
    for (app_id, openid) in &whole {
        let app = desk.state.name(app_id.as_str())?;
        desk.state.put(keys::erasing(app, openid.as_str()), records::encode(&open)?);
    }
    for group in whole.chunks(ERASED_TOGETHER) {
        desk.room(TAKEN_KEYS * group.len())?;
        for (app_id, openid) in group {
            take_out(desk.state, app_id, openid, open)?;
        }
        for (app_id, openid) in group {
            let app = desk.state.name(app_id.as_str())?;
            close_accounts(desk, app, openid.as_str(), open, now)?;
        }
    }
    whole.sort();
    Ok(Erased::Booked(Gone { all: whole, unionid: reach.unionid(unionid.as_ref()).cloned() }))
}

/// Takes a recipient out.
fn take_out(state: &mut State, app_id: &AppId, openid: &OpenId, open: ErasingV1) -> Result<(), Failed> {
    let app = state.name(app_id.as_str())?;
    state.put(keys::erased(&hash_of(state, app_id, openid)?), records::encode(&open.at_ms)?);
    if let Some(recipient) = state.recipient(app, openid)? {
        state.remove(keys::recipient(app, openid.as_str()));
        consents::index_zones(state, app, openid, Some(&recipient), None);
        persons::index(state, app, openid, Some(&recipient), None);
        if let Some(reference) = &recipient.profile.reference {
            state.remove(keys::reference(app, reference));
        }
    }
    Ok(())
}

/// Ends what a crash cut off of erasures.
pub(super) fn go_on(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<(), Failed> {
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.prefix(keys::ERASING) {
        let (key, value) = entry?;
        let erasing: ErasingV1 = records::decode(&value)?;
        if let Some((app, openid)) = keys::read_erasing(&key).filter(|_| !erasing.closed) {
            let app_id = opened.text(app).and_then(|text| AppId::parse(&text).ok());
            let app_id = app_id.ok_or(Failed::Record("an erasure is of no app"))?;
            desk.room(TAKEN_KEYS)?;
            take_out(desk.state, &app_id, &records::openid(openid)?, erasing)?;
            close_accounts(desk, app, openid, erasing, now)?;
        }
    }
    Ok(())
}

/// The account of the erased that a person's account goes into.
fn erased(id: &AccountId) -> AccountId {
    AccountId { openid: OpenId::erased().as_str().into(), ..*id }
}

fn close_accounts(
    desk: &mut Desk<'_>,
    app: Name,
    openid: &str,
    erasing: ErasingV1,
    now: DateTime<Utc>,
) -> Result<(), Failed> {
    for template in 0..desk.state.n_names() {
        let id = AccountId { app, template, openid: openid.into() };
        if !desk.state.has_account(&id)? {
            continue;
        }
        let held = desk.state.account(&id, TemplateKind::OneTime)?;
        let named: Vec<DeliveryId> = held.account.out.iter().chain(&held.standing_out).copied().collect();
        for delivery in named {
            close_delivery(desk, &id, delivery, now)?;
        }
        receipts::store(desk, &id, &[])?;
        desk.room(4)?;
        let held = desk.state.account(&id, TemplateKind::OneTime)?.clone();
        let account = held.account;
        let heir = &mut desk.state.account(&erased(&id), held.kind)?.account;
        heir.granted += account.granted;
        heir.consumed += account.consumed;
        heir.voided += account.voided + account.available();
        desk.state.changed_account(erased(&id));
        desk.state.drop_account(&id);
    }
    // Not left to the sweep: what is put for him again meanwhile is somebody new's.
    let until_ms = until_ms(desk.state, app, openid, erasing)?;
    appointments::leave_all(desk, (app, openid, until_ms), erasing.at_ms)?;
    desk.room(1)?;
    let closed = ErasingV1 { closed: true, ..erasing };
    desk.state.put(keys::erasing(app, openid), records::encode(&closed)?);
    Ok(())
}

/// Ends a delivery that is not attempting, and moves it and its grant to the erased.
fn close_delivery(
    desk: &mut Desk<'_>,
    id: &AccountId,
    delivery: DeliveryId,
    now: DateTime<Utc>,
) -> Result<(), Failed> {
    // A released grant goes back to the account, which is voided as a whole; after −1 it is in doubt.
    let attempting = slot_of(desk, delivery)?.is_some_and(|slot| slot.state == DeliveryState::Attempting);
    if !attempting {
        end_delivery(desk, delivery, now)?;
    }
    desk.room(CHANGE_KEYS)?;
    overwrite(desk, delivery)?;
    let held = desk.state.account(id, TemplateKind::OneTime)?;
    held.standing_out.retain(|named| *named != delivery);
    let (kind, before) = (held.kind, held.account.out.len());
    held.account.out.retain(|named| *named != delivery);
    if held.account.out.len() < before {
        held.account.granted -= 1;
        let heir = &mut desk.state.account(&erased(id), kind)?.account;
        heir.granted += 1;
        if attempting {
            heir.out.push(delivery);
        } else {
            heir.consumed += 1;
        }
        desk.state.changed_account(erased(id));
    }
    desk.state.changed_account(id.clone());
    Ok(())
}

/// Cancels a delivery that is not attempting; one that may have been sent counts as sent.
fn end_delivery(desk: &mut Desk<'_>, id: DeliveryId, now: DateTime<Utc>) -> Result<(), Failed> {
    let is_given = |state| matches!(state, DeliveryState::Reserved | DeliveryState::Waiting);
    if holds::holds(desk.state)? && slot_of(desk, id)?.is_some_and(|slot| is_given(slot.state)) {
        change(desk, id, Event::Lost, now, |_| {})?;
    }
    change(desk, id, Event::Cancel, now, |_| {})?;
    change(desk, id, Event::Age, now, |_| {})?;
    Ok(())
}

/// Writes nobody's openid into a delivery.
fn overwrite(desk: &mut Desk<'_>, id: DeliveryId) -> Result<(), Failed> {
    if let Some(held) = desk.state.chunk(id.occurrence, id.chunk)?
        && let Some(slot) = held.chunk.slots.get_mut(usize::from(id.slot))
    {
        slot.openid = OpenId::erased();
        desk.state.changed_chunk(id.occurrence, id.chunk);
    }
    Ok(())
}

/// Folds all of an account's grants that bought a message; answers how many it still names.
fn fold_all(desk: &mut Desk<'_>, id: &AccountId) -> Result<u64, Failed> {
    if !desk.state.has_account(id)? {
        return Ok(0);
    }
    desk.room(1)?;
    for delivery in desk.state.account(id, TemplateKind::OneTime)?.account.out.clone() {
        if slot_of(desk, delivery)?.is_some_and(|slot| is_consumed(slot.state)) {
            desk.state.account(id, TemplateKind::OneTime)?.account.fold(delivery);
            desk.state.changed_account(id.clone());
        }
    }
    Ok(n_of(desk.state.account(id, TemplateKind::OneTime)?.account.out.len()))
}

/// Overwrites a bounded piece of what is left of the erased; answers how many records it looked at.
pub(super) fn sweep(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    desk.room(BATCH_KEYS)?;
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.prefix(keys::ERASING) {
        let (key, value) = entry?;
        let erasing: ErasingV1 = records::decode(&value)?;
        let Some((app, openid)) = keys::read_erasing(&key) else { continue };
        let until_ms = until_ms(desk.state, app, openid, erasing)?;
        let n = match erasing.next {
            Some(next) => sweep_chunks(desk, (app, openid, until_ms), erasing, next, now)?,
            None => match sweep_reports(desk, (app, openid, until_ms))? {
                0 => appointments::leave_all(desk, (app, openid, until_ms), erasing.at_ms)?,
                n => n,
            },
        };
        if n > 0 {
            return Ok(n);
        }
        if !is_a_position(desk, app, openid)? {
            desk.room(1)?;
            desk.state.remove(key.to_vec());
            return Ok(1);
        }
    }
    Ok(0)
}

/// Until when what names him is of who was erased: of the time between his request and its decision too, since nobody
/// else has his name unless he came again, and from then on.
fn until_ms(state: &State, app: Name, openid: &str, erasing: ErasingV1) -> Result<i64, Failed> {
    let again = state.recipient(app, &records::openid(openid)?)?;
    Ok(again.map_or(i64::MAX, |again| erasing.at_ms.max(records::ms(again.created_at) - 1)))
}

/// Looks at some chunks from `next` on.
fn sweep_chunks(
    desk: &mut Desk<'_>,
    (app, openid, until_ms): (Name, &str, i64),
    erasing: ErasingV1,
    next: (u64, u32),
    now: DateTime<Utc>,
) -> Result<u64, Failed> {
    let opened = Arc::clone(&desk.state.opened);
    let (mut looked, mut next) = (0, Some(next));
    let from = next.map_or_else(Vec::new, |(occurrence, chunk)| keys::chunk(occurrence, chunk));
    let mut chunks = opened.tree.range(from, vec![keys::CHUNK + 1]);
    while looked < MAX_LOOKED {
        let Some(entry) = chunks.next() else {
            next = None;
            break;
        };
        looked += 1;
        let (key, value) = entry?;
        let (occurrence, number) =
            keys::read_chunk(&key).ok_or(Failed::Record("a chunk's key cannot be read"))?;
        next = Some((occurrence, number + 1));
        // Most chunks have nothing of him: they are not decoded.
        if value.windows(openid.len()).any(|text| text == openid.as_bytes()) {
            let chunk = Chunk::decode(&value, occurrence, number)?;
            if chunk.base_ms <= until_ms {
                sweep_chunk(desk, app, openid, &chunk, now)?;
            }
        }
    }
    desk.room(1)?;
    let further = ErasingV1 { next, ..erasing };
    desk.state.put(keys::erasing(app, openid), records::encode(&further)?);
    Ok(n_of(looked).max(1))
}

fn sweep_chunk(
    desk: &mut Desk<'_>,
    app: Name,
    openid: &str,
    chunk: &Chunk,
    now: DateTime<Utc>,
) -> Result<(), Failed> {
    for slot in chunk.slots.iter().filter(|slot| slot.openid.as_str() == openid) {
        let Some((payer, kind)) = desk.state.payer(slot.id, &slot.openid)? else { continue };
        if payer.app != app {
            continue;
        }
        // Where a clock was set back, a chunk of the person who came again looks like an old one.
        let held = desk.state.account(&payer, kind)?;
        if held.account.out.contains(&slot.id) || held.standing_out.contains(&slot.id) {
            continue;
        }
        desk.room(CHANGE_KEYS)?;
        overwrite(desk, slot.id)?;
        if slot.state != DeliveryState::Attempting {
            end_delivery(desk, slot.id, now)?;
        }
    }
    Ok(())
}

/// Removes ids of his reports from before the erasure.
fn sweep_reports(desk: &mut Desk<'_>, (app, openid, until_ms): (Name, &str, i64)) -> Result<u64, Failed> {
    let opened = Arc::clone(&desk.state.opened);
    let from = keys::reports(app, openid);
    let mut old = Vec::new();
    for entry in opened.tree.range(from.clone(), vec![keys::REPORT + 1]) {
        let (key, value) = entry?;
        if !key.starts_with(&from) || old.len() >= BATCH_KEYS - CHANGE_KEYS {
            break;
        }
        if Booked::decode(&value)?.at_ms <= until_ms {
            old.push(key.to_vec());
        }
    }
    desk.room(old.len())?;
    let n = n_of(old.len());
    for key in old {
        desk.state.remove(key);
    }
    Ok(n)
}

/// Whether a walk stands at this person: what follows him is looked for by his openid.
fn is_a_position(desk: &mut Desk<'_>, app: Name, openid: &str) -> Result<bool, Failed> {
    let opened = Arc::clone(&desk.state.opened);
    for number in unfinished::numbers(&*opened.tree)? {
        let Some(held) = desk.state.occurrence(number)? else { continue };
        let is_here = held.occurrence.position.as_ref().is_some_and(|position| position.as_str() == openid);
        let of = held.occurrence.app.clone();
        if is_here && desk.state.known_name(of.as_str()) == Some(app) {
            return Ok(true);
        }
    }
    Ok(false)
}
