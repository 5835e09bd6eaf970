//! Decisions about rules and occurrences: cursors, openings, pieces of a fan-out.

use chrono::{DateTime, Utc};

use super::Failed;
use super::appointments;
use super::identities::{self, Identity};
use super::keys;
use super::records::{self, Chunk};
use super::state::{AccountId, BATCH_KEYS, State, finish};
use super::writer::Desk;
use crate::domain::appointment::bound_hash;
use crate::domain::consent::{Grant, pick};
use crate::domain::count::n_of;
use crate::domain::delivery::State as DeliveryState;
use crate::domain::id::{AppId, DeliveryId, OpenId, RuleId};
use crate::domain::occurrence::{Counts, OccurrenceState, SkipReason};
use crate::domain::template::TemplateKind;
use crate::store::{
    CHUNK_DELIVERIES, Claim, Delivery, Occurrence, Opened, Opening, Piece, PieceOutcome, Reserved, Walk, Want,
};

/// Bytes of a snapshot in one record.
pub(super) const SNAPSHOT_PIECE: usize = 3072;
/// Why a missed occurrence is only recorded.
pub(super) const MISSED: &str = "found later than its grace or policy allows";
/// Snapshots that are known to be kept.
const MAX_SNAPSHOTS: usize = 16_384;
/// Pieces of one snapshot in one batch.
pub(super) const PIECES_TOGETHER: usize = 8;

/// Starts a rule's cursor.
pub(super) fn start_rule(
    desk: &mut Desk<'_>,
    app: &AppId,
    rule: &RuleId,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Failed> {
    let state = &mut *desk.state;
    let app = state.name(app.as_str())?;
    if let Some(ms) = state.cursors.get(app, rule) {
        return records::at(ms);
    }
    let ms = records::ms(now);
    state.cursors.put(app, rule, ms);
    // What was put before the rule was there is not late for it.
    let read = appointments::newest(state)?;
    state.put(keys::changes_read(app, rule), read.to_be_bytes().to_vec());
    records::at(ms)
}

/// Opens occurrences and moves the cursor past them.
pub(super) fn open(desk: &mut Desk<'_>, opening: Opening) -> Result<Opened, Failed> {
    let app = desk.state.name(opening.app.as_str())?;
    let at = desk.state.cursors.get(app, &opening.rule);
    if at != Some(records::ms(opening.from)) {
        return Ok(Opened::Stale(at.map(records::at).transpose()?));
    }
    if !opening.occurrences.is_empty() {
        keep_snapshot(desk, &opening.snapshot, &opening.snapshot_bytes)?;
    }
    let state = &mut *desk.state;
    let mut numbers = Vec::new();
    for new in opening.occurrences {
        let identity =
            Identity { civil: new.due.civil, fold: new.due.fold, whose: new.whose, zone: new.zone };
        if !identities::take(state, app, &opening.rule, &identity)? {
            continue;
        }
        let number = state.next_occurrence;
        state.next_occurrence += 1;
        let missed = new.missed.is_some();
        state.new_occurrence(Occurrence {
            number,
            app: opening.app.clone(),
            rule: opening.rule.clone(),
            template: opening.template.clone(),
            kind: opening.kind,
            due_at: new.due.at,
            civil: new.due.civil,
            fold: new.due.fold,
            zone: new.zone,
            deadline: new.deadline,
            state: if missed { OccurrenceState::Missed } else { OccurrenceState::Open },
            reason: missed.then(|| MISSED.to_owned()),
            n: new.missed.unwrap_or(1),
            position: None,
            walked: missed,
            counts: Counts::default(),
            snapshot: opening.snapshot,
            about: None,
            whose: new.whose,
            priority: opening.priority,
            on_doubt: opening.on_doubt,
            repeats: None,
        });
        numbers.push(number);
    }
    state.cursors.put(app, &opening.rule, records::ms(opening.to));
    Ok(Opened::Moved(numbers))
}

/// Opens an occurrence of one message, which has its grant: nobody is left to be walked to.
///
/// What `of` says of its number and progress is set here.
pub(super) fn open_alone(
    state: &mut State,
    of: Occurrence,
    message: Delivery,
    now: DateTime<Utc>,
) -> Result<(), Failed> {
    let number = message.id.occurrence;
    state.new_occurrence(Occurrence {
        number,
        state: OccurrenceState::Open,
        reason: None,
        n: 1,
        position: None,
        walked: true,
        counts: Counts { audience: 1, by_state: [(message.state, 1)].into(), ..Counts::default() },
        ..of
    });
    state.new_chunk(number, 0, Chunk { base_ms: records::ms(now), slots: vec![message] });
    if let Some(held) = state.occurrence(number)? {
        held.n_chunks = 1;
    }
    Ok(())
}

/// Keeps a rule as it is now, once per hash; a large one in batches before whatever the caller puts.
///
/// The first piece goes last: where it is, all are.
pub(super) fn keep_snapshot(desk: &mut Desk<'_>, hash: &[u8; 32], bytes: &[u8]) -> Result<(), Failed> {
    desk.state.pass.keep(hash);
    if desk.state.snapshots.contains(hash) {
        return Ok(());
    }
    if desk.state.get(&keys::snapshot(hash, 0))?.is_none() {
        let pieces: Vec<(u16, &[u8])> = (0..).zip(bytes.chunks(SNAPSHOT_PIECE)).collect();
        let is_large = pieces.len() > PIECES_TOGETHER;
        for together in pieces.rchunks(PIECES_TOGETHER) {
            if is_large {
                // A batch of their own: they are as many bytes as may lie between two syncs.
                desk.room(BATCH_KEYS)?;
            }
            for (index, piece) in together {
                desk.state.put(keys::snapshot(hash, *index), piece.to_vec());
            }
        }
        if is_large {
            desk.room(BATCH_KEYS)?;
        }
    }
    if desk.state.snapshots.len() >= MAX_SNAPSHOTS {
        desk.state.snapshots.clear();
    }
    desk.state.snapshots.insert(*hash);
    Ok(())
}

/// Books one piece of a fan-out.
pub(super) fn piece(desk: &mut Desk<'_>, piece: Piece) -> Result<PieceOutcome, Failed> {
    let state = &mut *desk.state;
    let Some(held) = state.occurrence(piece.occurrence)? else { return Ok(PieceOutcome::Stale) };
    let occurrence = &held.occurrence;
    let is_next =
        occurrence.state == OccurrenceState::Open && !occurrence.walked && occurrence.position == piece.after;
    if !is_next || piece.members.len() > CHUNK_DELIVERIES {
        return Ok(PieceOutcome::Stale);
    }
    let number = held.n_chunks;
    let (kind, due_at) = (occurrence.kind, occurrence.due_at);
    let (app, template) = (occurrence.app.clone(), occurrence.template.clone());
    let bound = bound_of(occurrence);
    let mut members = piece.members;
    if let Some(about) = occurrence.about.clone() {
        let mut still = Vec::with_capacity(members.len());
        for member in members {
            if appointments::admits(state, &app, &about, &member.openid)? {
                still.push(member);
            }
        }
        members = still;
    }
    let (app, template) = (state.name(app.as_str())?, state.name(template.as_str())?);

    let payer_of = |delivery: &Delivery| AccountId { app, template, openid: delivery.openid.as_str().into() };
    let mut counts = Counts {
        audience: n_of(members.len()) + piece.without_consent.values().sum::<u64>() + piece.expired,
        skipped: piece.without_consent,
        ..Counts::default()
    };
    if piece.expired > 0 {
        counts.by_state.insert(DeliveryState::Expired, piece.expired);
    }
    let mut slots: Vec<Delivery> = Vec::with_capacity(members.len());
    let mut reserved = Vec::new();
    for member in members {
        // At most CHUNK_DELIVERIES = 64 slots.
        let slot = u8::try_from(slots.len()).unwrap_or(u8::MAX);
        let id = DeliveryId { occurrence: piece.occurrence, chunk: number, slot };
        let mut delivery = Delivery::reserved(id, member.openid, None);
        match member.want {
            Want::Reserve => {
                if is_claimed(state, &payer_of(&delivery), (kind, bound), &member.behind, piece.now)? {
                    *counts.skipped.entry(SkipReason::NoConsent).or_default() += 1;
                    continue;
                }
                match take(state, payer_of(&delivery), kind, id, bound, piece.now)? {
                    Ok(grant) => delivery.grant = grant,
                    Err(reason) => {
                        *counts.skipped.entry(reason).or_default() += 1;
                        continue;
                    }
                }
                reserved.push(Reserved { id, openid: delivery.openid.clone() });
            }
            // Erased since the walk read him: a record would name him again.
            Want::Hold(_) | Want::Skip(_) if state.recipient(app, &delivery.openid)?.is_none() => {
                *counts.skipped.entry(SkipReason::NoConsent).or_default() += 1;
                continue;
            }
            Want::Doubt => {
                match take(state, payer_of(&delivery), kind, id, bound, piece.now)? {
                    Ok(grant) => delivery.grant = grant,
                    Err(reason) => {
                        *counts.skipped.entry(reason).or_default() += 1;
                        continue;
                    }
                }
                delivery.state = DeliveryState::InDoubt;
                delivery.marked_at = Some(due_at);
                delivery.settled_at = Some(piece.now);
            }
            Want::Hold(at) => {
                delivery.state = DeliveryState::Held;
                delivery.next_at = Some(super::state::not_before(at));
            }
            Want::Skip(reason) => {
                delivery.state = DeliveryState::Skipped;
                delivery.skipped = Some(reason);
                delivery.settled_at = Some(piece.now);
                *counts.skipped.entry(reason).or_default() += 1;
            }
        }
        if delivery.state != DeliveryState::Skipped {
            *counts.by_state.entry(delivery.state).or_default() += 1;
        }
        slots.push(delivery);
    }
    let has_chunk = !slots.is_empty();
    if has_chunk {
        state.new_chunk(piece.occurrence, number, Chunk { base_ms: records::ms(piece.now), slots });
    }
    if let Some(held) = state.occurrence(piece.occurrence)? {
        held.n_chunks += u32::from(has_chunk);
        let occurrence = &mut held.occurrence;
        occurrence.walked = piece.walk == Walk::Ends;
        // A walk that is over needs no position, and it would name somebody for as long as the record stays.
        occurrence.position = piece.position.filter(|_| !occurrence.walked);
        add(&mut occurrence.counts, counts);
        finish(occurrence);
    }
    state.changed_occurrence(piece.occurrence);
    Ok(PieceOutcome::Booked(reserved))
}

/// Whether those who go first, and have not come to him, leave nothing of what somebody has for a message about `bound`.
pub(super) fn is_claimed(
    state: &mut State,
    payer: &AccountId,
    (kind, bound): (TemplateKind, Option<u64>),
    before: &[Claim],
    now: DateTime<Utc>,
) -> Result<bool, Failed> {
    let mut wanted = Vec::new();
    for claim in before {
        let number = match claim {
            Claim::Walk(number) => *number,
            Claim::Held(id) => id.occurrence,
        };
        let Some(occurrence) = state.occurrence(number)?.map(|held| &held.occurrence) else { continue };
        let is_open = occurrence.state == OccurrenceState::Open;
        let theirs = bound_of(occurrence);
        let stands = match claim {
            Claim::Walk(_) => {
                let passed = |position: &OpenId| position.as_str() >= &*payer.openid;
                !occurrence.walked && !occurrence.position.as_ref().is_some_and(passed)
            }
            Claim::Held(id) => {
                let held = state.chunk(id.occurrence, id.chunk)?;
                let slot = held.and_then(|held| held.chunk.slots.get(usize::from(id.slot)));
                slot.is_some_and(|slot| {
                    slot.state == DeliveryState::Held && slot.openid.as_str() == &*payer.openid
                })
            }
        };
        if is_open && stands {
            wanted.push(theirs);
        }
    }
    if wanted.is_empty() || kind == TemplateKind::LongTerm {
        return Ok(false);
    }
    let kept = appointments::kept_for(state, payer, kind, now)?;
    let mut left = state.account(payer, kind)?.account.free.clone();
    if pick(&left, bound, &kept).is_none() {
        // Nobody's claim is why.
        return Ok(false);
    }
    for theirs in wanted {
        if let Some(taken) = pick(&left, theirs, &kept) {
            left.remove(taken);
        }
    }
    Ok(pick(&left, bound, &kept).is_none())
}

/// The appointment that an occurrence's messages are about, as grants name it.
pub(super) fn bound_of(occurrence: &Occurrence) -> Option<u64> {
    occurrence.about.as_ref().map(|about| bound_hash(&about.kind, &about.id))
}

/// Takes one grant for a delivery; a standing acceptance gives none and suffices.
pub(super) fn take(
    state: &mut State,
    payer: AccountId,
    kind: TemplateKind,
    id: DeliveryId,
    bound: Option<u64>,
    now: DateTime<Utc>,
) -> Result<Result<Option<Grant>, SkipReason>, Failed> {
    let kept = appointments::kept_for(state, &payer, kind, now)?;
    let account = &mut state.account(&payer, kind)?.account;
    match kind {
        TemplateKind::LongTerm if account.standing.is_some() => {
            super::consents::name_standing(state, &payer, id)?;
            state.changed_account(payer);
            Ok(Ok(None))
        }
        TemplateKind::LongTerm => Ok(Err(account.why_none().into())),
        TemplateKind::OneTime => match account.take(id, bound, &kept) {
            Ok(grant) => {
                super::consents::fold(state, &payer, kind)?;
                state.changed_account(payer);
                Ok(Ok(Some(grant)))
            }
            Err(none) => Ok(Err(none.into())),
        },
    }
}

fn add(counts: &mut Counts, more: Counts) {
    counts.audience += more.audience;
    for (state, n) in more.by_state {
        *counts.by_state.entry(state).or_default() += n;
    }
    for (reason, n) in more.skipped {
        *counts.skipped.entry(reason).or_default() += n;
    }
}

/// Ends an occurrence's walk.
pub(super) fn stop(
    desk: &mut Desk<'_>,
    number: u64,
    to: OccurrenceState,
    reason: Option<String>,
) -> Result<(), Failed> {
    if let Some(held) = desk.state.occurrence(number)? {
        let occurrence = &mut held.occurrence;
        match occurrence.state {
            OccurrenceState::Open | OccurrenceState::Held => {
                occurrence.state = to;
                occurrence.reason = reason;
                if to == OccurrenceState::Cancelled {
                    occurrence.walked = true;
                    occurrence.position = None;
                }
                // Released when nothing of it was left to do.
                finish(occurrence);
                desk.state.changed_occurrence(number);
            }
            OccurrenceState::Done | OccurrenceState::Missed | OccurrenceState::Cancelled => {}
        }
    }
    Ok(())
}
