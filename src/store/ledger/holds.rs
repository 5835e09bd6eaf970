//! Decisions about a hold on everything: what it keeps from happening, and what ends it.
//!
//! It is a record among the others: who restores writes it in the same step as everything else, and it goes in the batch
//! that books the last of what may have been sent since the books were written. Who was to be walked is the flow's.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Failed;
use super::appointments;
use super::cursors;
use super::deliveries::{CHANGE_KEYS, change};
use super::keys;
use super::occurrences::{bound_of, take};
use super::records;
use super::releases;
use super::repeats;
use super::state::State;
use super::writer::Desk;
use crate::domain::delivery::{Event, State as DeliveryState};
use crate::domain::hold::{Cause, Hold, LOST_UNTIL};
use crate::domain::occurrence::OccurrenceState;
use crate::store::{Delivery, HoldEnd, Occurrence};

/// Under this name the hold is kept.
pub(super) const HOLD: &str = "hold";

#[derive(Serialize, Deserialize)]
struct HoldV1 {
    since_ms: i64,
    cause: CauseV1,
}

#[derive(Serialize, Deserialize)]
enum CauseV1 {
    Restored { made_ms: i64 },
    OlderCopy,
    OtherStore,
}

/// Encodes the record of a hold.
pub(super) fn encode(hold: &Hold) -> Result<Vec<u8>, Failed> {
    let cause = match hold.cause {
        Cause::Restored { made_at } => CauseV1::Restored { made_ms: records::ms(made_at) },
        Cause::OlderCopy | Cause::Unreadable => CauseV1::OlderCopy,
        Cause::OtherStore => CauseV1::OtherStore,
    };
    records::encode(&HoldV1 { since_ms: records::ms(hold.since), cause })
}

/// What a record of a hold says; one that cannot be read holds all the same.
pub(super) fn decode(bytes: &[u8]) -> Hold {
    let read = || -> Result<Hold, Failed> {
        let HoldV1 { since_ms, cause } = records::decode(bytes)?;
        let cause = match cause {
            CauseV1::Restored { made_ms } => Cause::Restored { made_at: records::at(made_ms)? },
            CauseV1::OlderCopy => Cause::OlderCopy,
            CauseV1::OtherStore => Cause::OtherStore,
        };
        Ok(Hold { cause, since: records::at(since_ms)? })
    };
    read().unwrap_or(Hold { cause: Cause::Unreadable, since: DateTime::UNIX_EPOCH })
}

/// Whether everything is on hold.
pub(super) fn holds(state: &State) -> Result<bool, Failed> {
    Ok(state.get(&keys::kept(HOLD))?.is_some())
}

/// Ends the hold: books what is open as in doubt, moves each rule's cursor to `now`, and takes the record away in the
/// last batch of these.
pub(super) fn end(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<HoldEnd, Failed> {
    desk.barrier()?;
    if !holds(desk.state)? {
        return Ok(HoldEnd::NoHold);
    }
    let opened = Arc::clone(&desk.state.opened);
    let unfinished = opened.read_unfinished()?;
    let is_walked = |state, walked| match state {
        OccurrenceState::Open | OccurrenceState::Held => walked,
        OccurrenceState::Done | OccurrenceState::Missed | OccurrenceState::Cancelled => true,
    };
    if unfinished.iter().any(|occurrence| !is_walked(occurrence.state, occurrence.walked)) {
        return Ok(HoldEnd::NotWalked);
    }
    for occurrence in unfinished {
        let n_chunks = desk.state.occurrence(occurrence.number)?.map_or(0, |held| held.n_chunks);
        for chunk in 0..n_chunks {
            let Some(held) = desk.state.chunk(occurrence.number, chunk)? else { continue };
            let open: Vec<Delivery> =
                held.chunk.slots.iter().filter(|slot| slot.state.is_open()).cloned().collect();
            for slot in open {
                lose(desk, &slot, &occurrence, now)?;
            }
        }
    }
    repeats::give_up(desk)?;
    let (newest, now_ms) = (appointments::newest(desk.state)?, records::ms(now));
    for (app, rule, cursor_ms) in cursors::all(&opened)? {
        desk.room(3)?;
        if cursor_ms < now_ms {
            desk.state.cursors.put(app, &rule, now_ms);
        }
        desk.state.put(keys::changes_read(app, &rule), newest.to_be_bytes().to_vec());
    }
    desk.room(2)?;
    desk.state.put(keys::kept(LOST_UNTIL), now_ms.to_be_bytes().to_vec());
    desk.state.remove(keys::kept(HOLD));
    Ok(HoldEnd::Ended)
}

/// Books an open delivery as in doubt. One whose send time is yet to come was not sent by anybody.
fn lose(desk: &mut Desk<'_>, slot: &Delivery, of: &Occurrence, now: DateTime<Utc>) -> Result<(), Failed> {
    let id = slot.id;
    let began = slot.next_at.unwrap_or(of.due_at);
    // Where a receipt asks which of several it is for.
    let note = move |slot: &mut Delivery| {
        if slot.first_started_at.is_none() {
            slot.marked_at.get_or_insert(began);
        }
    };
    if slot.state != DeliveryState::Held {
        change(desk, id, Event::Lost, now, note)?;
        return Ok(());
    }
    if slot.next_at.is_some_and(|at| at > now) {
        return Ok(());
    }
    desk.room(2 * CHANGE_KEYS)?;
    let Some((payer, kind)) = desk.state.payer(id, &slot.openid)? else { return Ok(()) };
    if releases::is_of_the_erased(desk, &of.app, id, &slot.openid)? {
        change(desk, id, Event::Cancel, now, |_| {})?;
        return Ok(());
    }
    match take(desk.state, payer, kind, id, bound_of(of), now)? {
        Ok(grant) => {
            change(desk, id, Event::Lost, now, |slot| {
                slot.grant = grant;
                note(slot);
            })?;
        }
        // Without a consent there was nothing to send it with.
        Err(reason) => {
            releases::skip(desk, id, reason, now)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_reads_back_and_one_that_cannot_be_read_holds() {
        let at = |ms| DateTime::from_timestamp_millis(ms).expect("in range");
        for cause in [Cause::Restored { made_at: at(5) }, Cause::OlderCopy, Cause::OtherStore] {
            let hold = Hold { cause, since: at(9) };
            assert_eq!(decode(&encode(&hold).expect("encodes")), hold);
        }
        for broken in [&[][..], &[1], &[9, 9, 9], b"{}"] {
            assert_eq!(decode(broken).cause, Cause::Unreadable);
        }
    }
}
