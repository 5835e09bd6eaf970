//! Proves a sample of the books by counting, a bounded piece at a time: what `fsck` proves of all of them at once.
//!
//! It goes on where it stopped, so that in time everything is looked at; what is wrong is told and never mended.

use std::sync::Arc;

use super::Failed;
use super::fsck::holds_grant;
use super::keys::{self, Name};
use super::records::{self, Chunk, Held};
use super::state::State;
use super::writer::Desk;
use crate::domain::count::n_of;
use crate::domain::delivery::State as DeliveryState;
use crate::domain::id::DeliveryId;
use crate::store::Audit;

/// Accounts that one piece looks at, at most.
const ACCOUNTS: usize = 256;
/// Chunks that one piece reads for its accounts; an account that is begun is looked at to its end.
const CHUNKS_OF_ACCOUNTS: usize = 512;
/// Chunks that one piece looks at for their own sake.
const CHUNKS: usize = 32;
/// Occurrences that one piece looks at.
const OCCURRENCES: usize = 256;

/// Where the next piece begins.
#[derive(Debug, Default)]
pub(super) struct Audited {
    account: Option<Vec<u8>>,
    chunk: Option<Vec<u8>>,
    occurrence: Option<Vec<u8>>,
    /// Which of the three were looked at to their end since the round began.
    passed: [bool; 3],
}

/// Looks at the next piece.
pub(super) fn audit(desk: &mut Desk<'_>) -> Result<Audit, Failed> {
    desk.barrier()?;
    let state = &mut *desk.state;
    let mut at = std::mem::take(&mut state.audited);
    let mut found = Audit::default();
    accounts(state, &mut at.account, &mut found)?;
    chunks(state, &mut at.chunk, &mut found)?;
    occurrences(state, &mut at.occurrence, &mut found)?;
    let ended = [at.account.is_none(), at.chunk.is_none(), at.occurrence.is_none()];
    at.passed.iter_mut().zip(ended).for_each(|(passed, ended)| *passed |= ended);
    found.ends_round = at.passed == [true; 3];
    if found.ends_round {
        at.passed = [false; 3];
    }
    state.audited = at;
    Ok(found)
}

/// The next entries of a prefix, after `at`; `at` follows, to nowhere at the end.
fn next(
    state: &State,
    prefix: u8,
    at: Option<&Vec<u8>>,
    n: usize,
) -> Result<Vec<(Vec<u8>, super::tree::Bytes)>, Failed> {
    let opened = Arc::clone(&state.opened);
    let from = at.map_or_else(|| vec![prefix], |last| [last.as_slice(), &[0]].concat());
    let entries = opened.tree.range(from, vec![prefix + 1]).take(n);
    entries.map(|entry| entry.map(|(key, value)| (key.to_vec(), value))).collect()
}

/// Each grant of an account is free, consumed, voided, or with a delivery that holds it.
fn accounts(state: &mut State, at: &mut Option<Vec<u8>>, found: &mut Audit) -> Result<(), Failed> {
    let mut n_chunks = 0;
    let entries = next(state, keys::ACCOUNT, at.as_ref(), ACCOUNTS)?;
    let whole = entries.len() < ACCOUNTS;
    for (key, value) in entries {
        if n_chunks >= CHUNKS_OF_ACCOUNTS {
            return Ok(());
        }
        found.looked += 1;
        *at = Some(key.clone());
        let Some((app, template, openid)) = keys::read_account(&key) else {
            found.tell("unreadable", "the key of an account cannot be read".to_owned());
            continue;
        };
        let account = match Held::decode(&value) {
            Ok(held) => held.account,
            Err(failed) => {
                found.tell("unreadable", format!("an account: {failed}"));
                continue;
            }
        };
        let counted = account.available() + n_of(account.out.len()) + account.consumed + account.voided;
        if counted != account.granted {
            let text = format!("an account was granted {}, its buckets hold {counted}", account.granted);
            found.tell("balance", text);
        }
        n_chunks += account.out.len();
        for id in account.out {
            if !is_with(state, (app, template, openid), id)? {
                found.tell("out", format!("an account names delivery {id}, which holds no grant of it"));
            }
        }
    }
    if whole {
        *at = None;
    }
    Ok(())
}

/// Whether a delivery is of this account and holds or used a grant.
fn is_with(
    state: &mut State,
    (app, template, openid): (Name, Name, &str),
    id: DeliveryId,
) -> Result<bool, Failed> {
    let Some(Some(held)) = readable(state.chunk(id.occurrence, id.chunk))? else { return Ok(false) };
    let Some(slot) = held.chunk.slots.get(usize::from(id.slot)).cloned() else { return Ok(false) };
    if !holds_grant(slot.state) || slot.grant.is_none() || slot.openid.as_str() != openid {
        return Ok(false);
    }
    let payer = readable(state.payer(id, &slot.openid))?.flatten();
    Ok(payer.is_some_and(|(payer, _)| (payer.app, payer.template) == (app, template)))
}

/// What a record says; nothing where it alone is at fault, which is told where it is looked at itself: an error of this
/// call would be one of the whole store.
fn readable<T>(read: Result<T, Failed>) -> Result<Option<T>, Failed> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Failed::Record(_) | Failed::Codec(_)) => Ok(None),
        Err(failed @ (Failed::Engine(_) | Failed::Damaged(_) | Failed::Disk { .. } | Failed::Panicked)) => {
            Err(failed)
        }
    }
}

/// Each delivery that is open or in doubt has its grant from an account that names it.
fn chunks(state: &mut State, at: &mut Option<Vec<u8>>, found: &mut Audit) -> Result<(), Failed> {
    let entries = next(state, keys::CHUNK, at.as_ref(), CHUNKS)?;
    *at = entries.last().filter(|_| entries.len() == CHUNKS).map(|(key, _)| key.clone());
    for (key, value) in entries {
        found.looked += 1;
        let Some((occurrence, number)) = keys::read_chunk(&key) else {
            found.tell("unreadable", "a chunk's key cannot be read".to_owned());
            continue;
        };
        let chunk = match Chunk::decode(&value, occurrence, number) {
            Ok(chunk) => chunk,
            Err(failed) => {
                found.tell("unreadable", format!("chunk {number} of occurrence {occurrence}: {failed}"));
                continue;
            }
        };
        let bound =
            |state: DeliveryState| holds_grant(state) && (state.is_open() || state == DeliveryState::InDoubt);
        for slot in chunk.slots.iter().filter(|slot| slot.grant.is_some() && bound(slot.state)) {
            let Some((payer, kind)) = readable(state.payer(slot.id, &slot.openid))?.flatten() else {
                found.tell(
                    "orphan",
                    format!("delivery {} belongs to an occurrence that is not there", slot.id),
                );
                continue;
            };
            let named = state.has_account(&payer)?
                && readable(state.account(&payer, kind))?
                    .is_some_and(|held| held.account.out.contains(&slot.id));
            if !named {
                found.tell("out", format!("delivery {} holds a grant that no account names", slot.id));
            }
        }
    }
    Ok(())
}

/// Each occurrence adds up.
fn occurrences(state: &State, at: &mut Option<Vec<u8>>, found: &mut Audit) -> Result<(), Failed> {
    let entries = next(state, keys::OCCURRENCE, at.as_ref(), OCCURRENCES)?;
    *at = entries.last().filter(|_| entries.len() == OCCURRENCES).map(|(key, _)| key.clone());
    for (key, value) in entries {
        found.looked += 1;
        let number = keys::read_number(&key).unwrap_or(0);
        match records::decode_occurrence(&value, number) {
            Ok((occurrence, _)) if occurrence.counts.adds_up() => {}
            Ok((occurrence, _)) => {
                let text = format!("occurrence {number} of rule {} does not add up", occurrence.rule);
                found.tell("audience", text);
            }
            Err(failed) => found.tell("unreadable", format!("occurrence {number}: {failed}")),
        }
    }
    Ok(())
}
