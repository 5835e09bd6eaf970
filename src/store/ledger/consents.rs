//! Decisions about recipients and their accounts: reports, grants by hand, imports.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Failed;
use super::erasure;
use super::keys;
use super::persons;
use super::records::{self, Booked};
use super::requests;
use super::state::{AccountId, State};
use super::writer::Desk;
use crate::domain::consent::{Grant, MAX_HELD, NotGranted};
use crate::domain::count::n_of;
use crate::domain::delivery::State as DeliveryState;
use crate::domain::id::{AppId, DeliveryId, OpenId};
use crate::domain::recipient::{MAX_FIELDS, MAX_MOVES, MAX_TAGS, Profile, Recipient};
use crate::domain::template::TemplateKind;
use crate::domain::zone::Zone;
use crate::store::{
    Additions, Asked, Choice, Granted, ImportPiece, ImportRow, MAX_RECIPIENT_BYTES, OperatorGrant, Put,
    Refusal, Refused, Report, ReportOutcome,
};
use chrono::{DateTime, Utc};

/// Settled grants kept where they are in an account before older ones are folded.
const KEPT_OUT: usize = 64;
/// Grants given out at which folding begins: some beyond [`KEPT_OUT`], so that it is not done at each write.
const FOLD_AT: usize = 96;

/// Most deliveries under a standing acceptance that an account names.
const MAX_STANDING: usize = 160;

/// Books a report.
pub(super) fn report(desk: &mut Desk<'_>, report: Report) -> Result<ReportOutcome, Failed> {
    let state = &mut *desk.state;
    let app = state.name(report.app.as_str())?;
    if erasure::is_from_before(state, &report.app, &report.openid, report.tapped_at)? {
        return Ok(ReportOutcome::Erased);
    }
    let key = keys::report(app, &report.openid, &report.id);
    if let Some(bytes) = state.get(&key)? {
        let same = Booked::decode(&bytes)?.content == report.content;
        return Ok(if same { ReportOutcome::Duplicate } else { ReportOutcome::Conflict });
    }
    let recipient = match merged(state, app, &report.openid, report.adds, report.now)? {
        Merged::TooLarge => return Ok(ReportOutcome::TooLarge),
        Merged::Same => None,
        Merged::Changed(record) => Some(record),
    };
    let mut not_granted = Vec::new();
    for answer in report.answers {
        let template = state.name(answer.template.as_str())?;
        let id = AccountId { app, template, openid: report.openid.as_str().into() };
        let booked = match answer.choice {
            Choice::Accept(grant) => {
                let booked = accept(state, &id, answer.kind, grant)?;
                if booked.is_ok() {
                    state.account(&id, answer.kind)?.account.manner = answer.manner;
                }
                booked
            }
            Choice::Reject(at) => {
                state.account(&id, answer.kind)?.account.reject(records::whole_ms(at));
                state.changed_account(id);
                Ok(())
            }
        };
        if let Err(why) = booked {
            not_granted.push((answer.template, why));
        }
    }
    if let Some(record) = recipient {
        record.put(state, app, &report.openid);
    }
    let booked = Booked { content: report.content, at_ms: records::ms(report.now) };
    state.put(key, booked.encode()?);
    Ok(ReportOutcome::Booked(not_granted))
}

/// What a recipient becomes by what a report adds.
enum Merged {
    /// Larger than a record may be.
    TooLarge,
    /// What he was.
    Same,
    /// This record.
    Changed(Box<Record>),
}

/// A recipient to be written.
pub(super) struct Record {
    before: Option<Recipient>,
    after: Recipient,
    bytes: Vec<u8>,
}

impl Record {
    /// `None` for one that is larger than a record may be.
    pub(super) fn new(before: Option<Recipient>, after: Recipient) -> Result<Option<Self>, Failed> {
        let bytes = records::encode_recipient(&after)?;
        Ok((bytes.len() <= MAX_RECIPIENT_BYTES).then_some(Self { before, after, bytes }))
    }

    pub(super) fn put(self, state: &mut State, app: keys::Name, openid: &OpenId) {
        index_zones(state, app, openid, self.before.as_ref(), Some(&self.after));
        persons::index(state, app, openid, self.before.as_ref(), Some(&self.after));
        state.put(keys::recipient(app, openid.as_str()), self.bytes);
    }
}

/// Brings the index of recipients by zone up to date.
pub(super) fn index_zones(
    state: &mut State,
    app: keys::Name,
    openid: &OpenId,
    before: Option<&Recipient>,
    after: Option<&Recipient>,
) {
    let zones = |recipient: Option<&Recipient>| recipient.map(zones).unwrap_or_default();
    let (before, after) = (zones(before), zones(after));
    let key = |zone: &str| keys::in_zone(app, zone, openid.as_str());
    for gone in before.keys().filter(|zone| !after.contains_key(*zone)) {
        state.remove(key(gone));
    }
    for (zone, until) in after.iter().filter(|(zone, until)| before.get(*zone) != Some(until)) {
        let until = until.map_or(Vec::new(), |ms| ms.to_be_bytes().to_vec());
        state.put(key(zone), until);
    }
}

/// Makes the index of recipients by zone for all who are there.
pub(super) fn index_all_zones(desk: &mut Desk<'_>) -> Result<(), Failed> {
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.prefix(keys::RECIPIENT) {
        let (key, value) = entry?;
        let Some((app, openid)) = keys::read_recipient(&key) else { continue };
        let recipient = records::decode_recipient(&value)?;
        desk.room(1 + MAX_MOVES)?;
        index_zones(desk.state, app, &records::openid(openid)?, None, Some(&recipient));
    }
    Ok(())
}

/// The zones of a recipient, those that he left with the milliseconds of when.
pub(super) fn zones(recipient: &Recipient) -> BTreeMap<&'static str, Option<i64>> {
    let left = recipient.moves.iter().filter_map(|one| Some((one.from?.name(), Some(records::ms(one.at)))));
    left.chain(recipient.profile.time_zone.map(|zone| (zone.name(), None))).collect()
}

/// The recipient with what a report adds; an unknown one is made.
fn merged(
    state: &State,
    app: keys::Name,
    openid: &OpenId,
    adds: Additions,
    now: DateTime<Utc>,
) -> Result<Merged, Failed> {
    let known = state.recipient(app, openid)?;
    let mut recipient = known.clone().unwrap_or_else(|| Recipient::new(now));
    if let Some(zone) = adds.time_zone {
        zone_of(&mut recipient, known.as_ref(), Some(zone), now);
    }
    let profile = &mut recipient.profile;
    if adds.unionid.is_some() {
        profile.unionid = adds.unionid;
    }
    profile.tags.extend(adds.tags);
    profile.fields.extend(adds.fields);
    recipient.bad_since = None;
    if known.as_ref() == Some(&recipient) {
        return Ok(Merged::Same);
    }
    if recipient.profile.tags.len() > MAX_TAGS || recipient.profile.fields.len() > MAX_FIELDS {
        return Ok(Merged::TooLarge);
    }
    Ok(Record::new(known, recipient)?.map_or(Merged::TooLarge, |record| Merged::Changed(Box::new(record))))
}

/// Sets a recipient's zone; somebody new had no other one before.
fn zone_of(recipient: &mut Recipient, known: Option<&Recipient>, zone: Option<Zone>, now: DateTime<Utc>) {
    match known {
        None => recipient.profile.time_zone = zone,
        // As it reads back.
        Some(_) => recipient.set_zone(zone, records::whole_ms(now)),
    }
}

/// Makes an unknown openid a recipient.
pub(super) fn meet(
    state: &mut State,
    app: keys::Name,
    openid: &OpenId,
    now: DateTime<Utc>,
) -> Result<(), Failed> {
    // Nothing is heard of one who is known: what is noted of him stays.
    if state.recipient(app, openid)?.is_none()
        && let Some(record) = Record::new(None, Recipient::new(now))?
    {
        record.put(state, app, openid);
    }
    Ok(())
}

/// Books one acceptance into an account.
fn accept(
    state: &mut State,
    id: &AccountId,
    kind: TemplateKind,
    grant: Grant,
) -> Result<Result<(), NotGranted>, Failed> {
    // As it reads back: a mark must find the same grants dead before and after a start.
    let grant = Grant { accepted_at: records::whole_ms(grant.accepted_at), ..grant };
    let held = state.account(id, kind)?;
    let booked = match kind {
        TemplateKind::LongTerm => held.account.accept_standing(grant.accepted_at),
        TemplateKind::OneTime => {
            let mut n_out = n_of(held.account.out.len());
            if n_of(held.account.free.len()) + n_out >= MAX_HELD {
                n_out = open_out(state, id, kind)?;
            }
            state.account(id, kind)?.account.accept(grant, n_out)
        }
    };
    if booked.is_ok() {
        state.account(id, kind)?.kind = kind;
        fold(state, id, kind)?;
        state.changed_account(id.clone());
    }
    Ok(booked)
}

/// How many of an account's grants that were given out are reserved or in doubt.
fn open_out(state: &mut State, id: &AccountId, kind: TemplateKind) -> Result<u64, Failed> {
    let out = state.account(id, kind)?.account.out.clone();
    let mut n = 0;
    for delivery in out {
        let is_open =
            slot_state(state, delivery)?.is_some_and(|s| s.is_open() || s == DeliveryState::InDoubt);
        n += u64::from(is_open);
    }
    Ok(n)
}

fn slot_state(state: &mut State, id: DeliveryId) -> Result<Option<DeliveryState>, Failed> {
    let chunk = state.chunk(id.occurrence, id.chunk)?;
    Ok(chunk.and_then(|held| held.chunk.slots.get(usize::from(id.slot))).map(|slot| slot.state))
}

/// Names a delivery made under a standing acceptance, so that a receipt finds it; of too many, settled ones
/// are let go, then the oldest.
pub(super) fn name_standing(state: &mut State, id: &AccountId, delivery: DeliveryId) -> Result<(), Failed> {
    let named = &mut state.account(id, TemplateKind::LongTerm)?.standing_out;
    named.push(delivery);
    if named.len() < FOLD_AT {
        return Ok(());
    }
    let old: Vec<DeliveryId> = named.iter().take(named.len() - KEPT_OUT).copied().collect();
    for delivery in old {
        let is_over = slot_state(state, delivery)?.is_none_or(is_consumed);
        let named = &mut state.account(id, TemplateKind::LongTerm)?.standing_out;
        if is_over {
            named.retain(|other| *other != delivery);
        }
    }
    let named = &mut state.account(id, TemplateKind::LongTerm)?.standing_out;
    if named.len() > MAX_STANDING {
        named.remove(0);
    }
    Ok(())
}

/// Folds settled grants beyond the newest [`KEPT_OUT`] into the account's own count.
pub(super) fn fold(state: &mut State, id: &AccountId, kind: TemplateKind) -> Result<(), Failed> {
    let account = &state.account(id, kind)?.account;
    if account.out.len() < FOLD_AT {
        return Ok(());
    }
    let old = account.out.len() - KEPT_OUT;
    let candidates: Vec<DeliveryId> = account.out.iter().take(old).copied().collect();
    for delivery in candidates {
        if slot_state(state, delivery)?.is_some_and(is_consumed) {
            state.account(id, kind)?.account.fold(delivery);
        }
    }
    Ok(())
}

/// Whether a delivery in this state has used its grant up.
pub(super) fn is_consumed(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Sent | DeliveryState::Undelivered | DeliveryState::PresumedSent)
}

/// Books a refusal in the settings.
pub(super) fn refuse(desk: &mut Desk<'_>, refusal: &Refusal) -> Result<Refused, Failed> {
    let state = &mut *desk.state;
    if erasure::is_from_before(state, &refusal.app, &refusal.openid, refusal.created_at)? {
        return Ok(Refused::Erased);
    }
    let app = state.name(refusal.app.as_str())?;
    let template = state.name(refusal.template.as_str())?;
    let id = AccountId { app, template, openid: refusal.openid.as_str().into() };
    let until = records::at(refusal.created_at.timestamp().saturating_mul(1000).saturating_add(999))?;
    let account = &mut state.account(&id, refusal.kind)?.account;
    if account.refused_until >= Some(until) {
        return Ok(Refused::Known);
    }
    account.refused(until);
    state.changed_account(id);
    Ok(Refused::Booked)
}

/// Notes since when the platform takes no messages for an openid.
pub(super) fn mark_recipient(
    desk: &mut Desk<'_>,
    app: &AppId,
    openid: &OpenId,
    bad_since: Option<DateTime<Utc>>,
) -> Result<(), Failed> {
    let state = &mut *desk.state;
    let app = state.name(app.as_str())?;
    let Some(known) = state.recipient(app, openid)? else { return Ok(()) };
    if known.bad_since.is_some() == bad_since.is_some() {
        return Ok(());
    }
    let marked = Recipient { bad_since: bad_since.map(records::whole_ms), ..known.clone() };
    // A record that is full has no room for the mark: each message shows it anew.
    if let Some(record) = Record::new(Some(known), marked)? {
        record.put(state, app, openid);
    }
    Ok(())
}

/// Replaces a recipient's profile.
pub(super) fn put_recipient(
    desk: &mut Desk<'_>,
    app_id: &AppId,
    openid: &OpenId,
    mut profile: Profile,
    Asked { at: now, request, reach }: Asked,
) -> Result<Put, Failed> {
    let app = desk.state.name(app_id.as_str())?;
    if requests::is_replayed(desk.state, app, request, now)? {
        return Ok(Put::Replayed);
    }
    let known = desk.state.recipient(app, openid)?;
    profile.unionid =
        profile.unionid.or_else(|| known.as_ref().and_then(|known| known.profile.unionid.clone()));
    let others = persons::others(desk, (app_id, openid), profile.unionid.as_ref(), &reach)?;
    let state = &mut *desk.state;
    let old_ref = known.as_ref().and_then(|recipient| recipient.profile.reference.clone());
    if let Some(reference) = &profile.reference
        && let Some(owner) = state.get(&keys::reference(app, reference))?
        && owner.as_ref() != openid.as_str().as_bytes()
    {
        return Ok(Put::RefTaken);
    }
    let created = known.is_none();
    let mut recipient = known.clone().unwrap_or_else(|| Recipient::new(now));
    zone_of(&mut recipient, known.as_ref(), profile.time_zone, now);
    let (new_ref, muted) = (profile.reference.clone(), profile.muted);
    recipient.profile = profile;
    recipient.bad_since = None;
    let Some(record) = Record::new(known, recipient)? else { return Ok(Put::TooLarge) };
    if old_ref != new_ref {
        if let Some(old) = old_ref {
            state.remove(keys::reference(app, &old));
        }
        if let Some(new) = new_ref {
            state.put(keys::reference(app, &new), openid.as_str().as_bytes().to_vec());
        }
    }
    record.put(state, app, openid);
    persons::mute(desk, &others, muted)?;
    requests::remember(desk.state, app, request, now)?;
    Ok(Put::Stored { created })
}

/// Books grants by an operator's word; an unknown openid becomes a recipient.
pub(super) fn grant(desk: &mut Desk<'_>, grant: &OperatorGrant) -> Result<Granted, Failed> {
    let state = &mut *desk.state;
    let app = state.name(grant.app.as_str())?;
    let template = state.name(grant.template.as_str())?;
    meet(state, app, &grant.openid, grant.now)?;
    let id = AccountId { app, template, openid: grant.openid.as_str().into() };
    let one = Grant { accepted_at: grant.now, source: grant.source, bound: None };
    let mut granted = Granted { n: 0, rest: None };
    while granted.n < grant.n && granted.rest.is_none() {
        match accept(state, &id, grant.kind, one)? {
            Ok(()) => granted.n += 1,
            Err(why) => granted.rest = Some(why),
        }
    }
    Ok(granted)
}

/// Books rows of an import and how far it came.
pub(super) fn import(desk: &mut Desk<'_>, piece: ImportPiece) -> Result<u64, Failed> {
    let key = keys::import(&piece.digest);
    let done = desk.state.get(&key)?.map_or(Ok(0), |bytes| records::decode(&bytes))?;
    if done != piece.first {
        return Ok(done);
    }
    let done = done + n_of(piece.rows.len());
    for row in piece.rows {
        match row {
            ImportRow::Grant(row) => {
                grant(desk, &row)?;
            }
            ImportRow::Recipient(app, openid, profile) => {
                put_recipient(desk, &app, &openid, *profile, piece.now.into())?;
            }
        }
    }
    desk.state.put(key, records::encode(&done)?);
    Ok(done)
}
