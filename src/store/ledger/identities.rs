//! Which occurrences there are: a rule opens at one civil time once, whatever becomes of the instant.
//!
//! One bit each. Rules are numbered as they are first seen (see [`super::cursors`]), and those of neighbours at one
//! civil time share a record, so that thousands that are due in one second cost a few records. What an occurrence is
//! stands in its own record; that of an appointment's reminder has its name elsewhere.

use std::sync::Arc;

use chrono::NaiveDateTime;

use super::Failed;
use super::keys::{self, Name};
use super::state::State;
use super::tree::Bytes;
use super::writer::Desk;
use crate::domain::id::RuleId;
use crate::domain::occurrence::Whose;
use crate::domain::zone::Zone;

/// Rules in one record.
const TOGETHER: usize = 64;

/// What names an occurrence beside its rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) civil: NaiveDateTime,
    pub(super) fold: u8,
    pub(super) whose: Whose,
    pub(super) zone: Zone,
}

/// The rules of one record that opened at a civil time by their own clock, and those that opened for some zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Opened {
    for_everybody: u64,
    for_some: u64,
}

/// Takes the identity for a new occurrence of a rule that was started; `false` where it was taken.
///
/// Whoever had it by the rule's clock does not get it by his own as well, nor the other way round.
pub(super) fn take(state: &mut State, app: Name, rule: &RuleId, identity: &Identity) -> Result<bool, Failed> {
    let (record, bit) = place(state, app, rule)?;
    let key = keys::identity(identity.civil, identity.fold, record);
    let before = opened(state.get(&key)?)?;
    let now = match identity.whose {
        Whose::Everybody if (before.for_everybody | before.for_some) & bit != 0 => return Ok(false),
        Whose::Everybody => Opened { for_everybody: before.for_everybody | bit, ..before },
        Whose::Default | Whose::OfZone => {
            let key = keys::identity_of(&key, identity.whose, identity.zone);
            let zone = bits(state.get(&key)?)?;
            if (before.for_everybody | zone) & bit != 0 {
                return Ok(false);
            }
            state.put(key, (zone | bit).to_be_bytes().to_vec());
            Opened { for_some: before.for_some | bit, ..before }
        }
    };
    put(state, key, now);
    Ok(true)
}

/// Frees the identity of an occurrence whose record goes.
pub(super) fn forget(state: &mut State, app: Name, rule: &RuleId, identity: &Identity) -> Result<(), Failed> {
    let (record, bit) = place(state, app, rule)?;
    let key = keys::identity(identity.civil, identity.fold, record);
    let before = opened(state.get(&key)?)?;
    let now = match identity.whose {
        Whose::Everybody => Opened { for_everybody: before.for_everybody & !bit, ..before },
        Whose::Default | Whose::OfZone => {
            let key = keys::identity_of(&key, identity.whose, identity.zone);
            match bits(state.get(&key)?)? & !bit {
                0 => state.remove(key),
                left => state.put(key, left.to_be_bytes().to_vec()),
            }
            // The zones of one civil time are over within a day or two of one another.
            Opened { for_some: before.for_some & !bit, ..before }
        }
    };
    if now != before {
        put(state, key, now);
    }
    Ok(())
}

/// Takes over the identities of a layout before 5, which had a key each; the rules are numbered. What is done is done
/// one by one, so a start that was cut off goes on.
pub(super) fn take_over(desk: &mut Desk<'_>) -> Result<(), Failed> {
    let tree = Arc::clone(&desk.state.opened);
    for entry in tree.tree.prefix(keys::OLD_IDENTITY) {
        let (key, _) = entry?;
        let (app, rule, (civil, fold), whose) =
            keys::read_old_identity(&key).ok_or(Failed::Record("an identity's key cannot be read"))?;
        desk.room(3)?;
        // That there is one of some zone is said by the one of the zone.
        if let Some((whose, zone)) = whose {
            take(desk.state, app, &rule, &Identity { civil, fold, whose, zone })?;
        }
        desk.state.remove(key.to_vec());
    }
    Ok(())
}

fn place(state: &State, app: Name, rule: &RuleId) -> Result<(u32, u64), Failed> {
    let number =
        state.cursors.number(app, rule).ok_or(Failed::Record("a rule opens before it was started"))?;
    let record =
        u32::try_from(number / TOGETHER).map_err(|_large| Failed::Record("there are too many rules"))?;
    Ok((record, 1 << (number % TOGETHER)))
}

fn put(state: &mut State, key: Vec<u8>, opened: Opened) {
    if opened == Opened::default() {
        state.remove(key);
    } else {
        state.put(key, [opened.for_everybody.to_be_bytes(), opened.for_some.to_be_bytes()].concat());
    }
}

fn opened(value: Option<Bytes>) -> Result<Opened, Failed> {
    let Some(value) = value else { return Ok(Opened::default()) };
    let both = value.split_first_chunk::<8>().and_then(|(first, rest)| Some((*first, rest.try_into().ok()?)));
    let (first, second) = both.ok_or(Failed::Record(UNREADABLE))?;
    Ok(Opened { for_everybody: u64::from_be_bytes(first), for_some: u64::from_be_bytes(second) })
}

fn bits(value: Option<Bytes>) -> Result<u64, Failed> {
    let Some(value) = value else { return Ok(0) };
    let bytes = value.as_ref().try_into().map_err(|_length| Failed::Record(UNREADABLE))?;
    Ok(u64::from_be_bytes(bytes))
}

const UNREADABLE: &str = "a record of identities cannot be read";
