//! Opens what an operator sends: occurrence, delivery and grant in one batch, so that all of it is there or nothing.

use super::Failed;
use super::appointments;
use super::holds;
use super::identities::{self, Identity};
use super::occurrences::{keep_snapshot, open_alone, take};
use super::state::AccountId;
use super::writer::Desk;
use crate::domain::appointment::bound_hash;
use crate::domain::consent::pick;
use crate::domain::id::DeliveryId;
use crate::domain::occurrence::{Counts, OccurrenceState, Whose};
use crate::domain::rule::OnDoubt;
use crate::domain::template::TemplateKind;
use crate::store::{ByHand, Delivery, FIRST_BY_HAND, Occurrence, OpenedByHand};

/// Keys that it may write beside pieces of a snapshot: occurrence and index, chunk and its index keys, account, identity.
pub(super) const KEYS: usize = 12;

/// Opens one message for one person.
pub(super) fn open(desk: &mut Desk<'_>, asked: ByHand) -> Result<OpenedByHand, Failed> {
    if holds::holds(desk.state)? {
        return Ok(OpenedByHand::OnHold);
    }
    let app = desk.state.name(asked.app.as_str())?;
    if desk.state.cursors.get(app, &asked.rule).is_none() {
        return Ok(OpenedByHand::NotStarted);
    }
    if desk.state.recipient(app, &asked.openid)?.is_none() {
        return Ok(OpenedByHand::Unknown);
    }
    if let Some(about) = &asked.about
        && !appointments::admits(desk.state, &asked.app, about, &asked.openid)?
    {
        return Ok(OpenedByHand::Changed);
    }
    let template = desk.state.name(asked.template.as_str())?;
    let payer = AccountId { app, template, openid: asked.openid.as_str().into() };
    let bound = asked.about.as_ref().map(|about| bound_hash(&about.kind, &about.id));
    let kept = appointments::kept_for(desk.state, &payer, asked.kind, asked.due_at)?;
    let account = &desk.state.account(&payer, asked.kind)?.account;
    // By the kind of today: what an account has of the other one, its template was configured as before.
    let has_none = match asked.kind {
        TemplateKind::OneTime => pick(&account.free, bound, &kept).is_none(),
        TemplateKind::LongTerm => account.standing.is_none(),
    };
    if has_none {
        return Ok(OpenedByHand::Skipped(account.why_none().into()));
    }
    // Before the rest: a large one takes batches of its own.
    keep_snapshot(desk, &asked.snapshot, &asked.snapshot_bytes)?;
    let state = &mut *desk.state;
    let (civil, zone, whose) = (asked.civil, asked.zone, Whose::Everybody);
    let mut free = None;
    for fold in FIRST_BY_HAND..=u8::MAX {
        if identities::take(state, app, &asked.rule, &Identity { civil, fold, whose, zone })? {
            free = Some(fold);
            break;
        }
    }
    let Some(fold) = free else { return Ok(OpenedByHand::TooMany) };
    let number = state.next_occurrence;
    let id = DeliveryId { occurrence: number, chunk: 0, slot: 0 };
    let grant = take(state, payer, asked.kind, id, bound, asked.due_at)?
        .map_err(|_none| Failed::Record("a consent that was there cannot be taken"))?;
    state.next_occurrence += 1;
    if asked.about.is_some() {
        state.repeated.insert(number);
    }
    let occurrence = Occurrence {
        number,
        app: asked.app,
        rule: asked.rule,
        template: asked.template,
        kind: asked.kind,
        due_at: asked.due_at,
        civil,
        fold,
        zone,
        deadline: asked.deadline,
        state: OccurrenceState::Open,
        reason: None,
        n: 1,
        position: None,
        walked: true,
        counts: Counts::default(),
        snapshot: asked.snapshot,
        about: asked.about,
        whose,
        priority: 0,
        on_doubt: OnDoubt::Hold,
        repeats: None,
    };
    open_alone(state, occurrence, Delivery::reserved(id, asked.openid, grant), asked.due_at)?;
    Ok(OpenedByHand::Reserved(id))
}
