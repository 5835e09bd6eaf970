//! Upkeep: what is kept under a name, and what is removed when its time is over.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::Failed;
use super::consents::is_consumed;
use super::keys;
use super::records::{self, OccurrenceV1, ReportV1};
use super::state::{BATCH_KEYS, is_unfinished};
use super::writer::Desk;
use crate::domain::count::n_of;
use crate::domain::delivery::State as DeliveryState;
use crate::store::REPORT_DAYS;

/// How long an occurrence and its deliveries are kept after its due time, in days.
const OCCURRENCE_DAYS: i64 = 90;
/// Records looked at in one call.
const MAX_LOOKED: usize = 5_000;

/// Removes a bounded piece of what is old; 0 when nothing is left.
pub(super) fn retire(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    desk.barrier()?;
    let n = retire_occurrence(desk, now)?;
    if n > 0 { Ok(n) } else { retire_reports(desk, now) }
}

/// Removes the next chunk of the oldest occurrence whose time is over, or the occurrence itself.
fn retire_occurrence(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    let before = now - TimeDelta::days(OCCURRENCE_DAYS);
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.prefix(keys::OCCURRENCE).take(MAX_LOOKED) {
        let (key, value) = entry?;
        let Some(number) = keys::read_number(&key) else { continue };
        let (occurrence, n_chunks) = records::decode::<OccurrenceV1>(&value)?.occurrence(number)?;
        let in_doubt = occurrence.counts.in_state(DeliveryState::InDoubt) > 0;
        if occurrence.due_at >= before || is_unfinished(&occurrence) || in_doubt {
            continue;
        }
        // From the end, so that what is left is a whole number of chunks at each step.
        for chunk in (0..n_chunks).rev() {
            let Some(held) = desk.state.chunk(number, chunk)? else { continue };
            let slots = held.chunk.slots.clone();
            desk.room(slots.len() + 8)?;
            for slot in slots.iter().filter(|slot| slot.grant.is_some() && is_consumed(slot.state)) {
                if let Some((payer, kind)) = desk.state.payer(slot.id, &slot.openid)? {
                    desk.state.account(&payer, kind)?.account.fold(slot.id);
                    desk.state.changed_account(payer);
                }
            }
            desk.state.drop_chunk(number, chunk)?;
            return Ok(1);
        }
        desk.room(8)?;
        let app = desk.state.name(occurrence.app.as_str())?;
        desk.state.remove(keys::identity(app, &occurrence.rule, occurrence.civil, occurrence.fold));
        desk.state.drop_occurrence(number);
        return Ok(1);
    }
    Ok(0)
}

/// Removes ids of old reports, going on where the last call ended.
fn retire_reports(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    let oldest = u32::try_from(now.timestamp().div_euclid(86_400) - REPORT_DAYS).unwrap_or(0);
    let from = desk.state.retired_to.take().unwrap_or_else(|| vec![keys::REPORT]);
    let mut looked = 0;
    let mut old = Vec::new();
    let mut last = None;
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.range(from, vec![keys::REPORT + 1]) {
        let (key, value) = entry?;
        looked += 1;
        if records::decode::<ReportV1>(&value)?.day < oldest {
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
