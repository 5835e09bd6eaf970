//! The index of occurrences that have work left: one bit each, neighbours in one record.
//!
//! Occurrences are numbered as they are opened, so thousands that are opened together cost one more key per sixty-four,
//! not one each. Whether an occurrence belongs here is not decided here.

use std::sync::Arc;

use super::Failed;
use super::keys;
use super::state::State;
use super::tree::{Bytes, Tree};
use super::writer::Desk;

/// Occurrences in one record.
const TOGETHER: u64 = 64;

/// Whether an occurrence is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Yes,
    No,
}

/// Lists an occurrence, or takes it out.
pub(super) fn list(state: &mut State, number: u64, listed: Listed) -> Result<(), Failed> {
    let key = keys::unfinished(number / TOGETHER);
    let before = bits(state.get(&key)?)?;
    let bit = 1 << (number % TOGETHER);
    let bits = match listed {
        Listed::Yes => before | bit,
        Listed::No => before & !bit,
    };
    if bits == before {
        return Ok(());
    }
    if bits == 0 {
        state.remove(key);
    } else {
        state.put(key, bits.to_be_bytes().to_vec());
    }
    Ok(())
}

/// The numbers that are listed, ascending.
pub(super) fn numbers(tree: &dyn Tree) -> Result<Vec<u64>, Failed> {
    let mut numbers = Vec::new();
    for entry in tree.prefix(keys::UNFINISHED) {
        let (key, value) = entry?;
        let first =
            keys::read_number(&key).ok_or(Failed::Record("an unfinished key cannot be read"))? * TOGETHER;
        let bits = bits(Some(value))?;
        numbers.extend((0..TOGETHER).filter(|n| bits & (1 << n) != 0).map(|n| first + n));
    }
    Ok(numbers)
}

/// Takes over the index of a layout before 5, which had a key for each. What is done is done one by one, so a start
/// that was cut off goes on.
pub(super) fn take_over(desk: &mut Desk<'_>) -> Result<(), Failed> {
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.prefix(keys::OLD_UNFINISHED) {
        let (key, _) = entry?;
        let number = keys::read_number(&key).ok_or(Failed::Record("an unfinished key cannot be read"))?;
        desk.room(2)?;
        list(desk.state, number, Listed::Yes)?;
        desk.state.remove(key.to_vec());
    }
    Ok(())
}

fn bits(value: Option<Bytes>) -> Result<u64, Failed> {
    let Some(value) = value else { return Ok(0) };
    let bytes = value
        .as_ref()
        .try_into()
        .map_err(|_length| Failed::Record("the unfinished of a record cannot be read"))?;
    Ok(u64::from_be_bytes(bytes))
}
