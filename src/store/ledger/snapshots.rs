//! Upkeep of rules' snapshots: those to which no occurrence leads any more are removed.
//!
//! Which these are a pass over all occurrences finds, in bounded pieces and once a day; what is opened meanwhile keeps its
//! own. A rule of which nothing is in the books may lose its snapshot, and its next opening keeps it again.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::Failed;
use super::dump::Dumping;
use super::keys;
use super::records;
use super::state::BATCH_KEYS;
use super::tree::Tree;
use super::writer::Desk;
use crate::domain::count::n_of;

/// How long after a pass another may begin: less than the day between two nights' upkeep.
const EVERY: TimeDelta = TimeDelta::hours(20);
/// Occurrences looked at in one call.
const MAX_LOOKED: usize = 5_000;
/// Snapshots that one pass looks at: so many of those that are kept, in the order of their hashes.
const MAX_UNUSED: usize = 4_096;

/// How far a pass is.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Those to which nothing was found to lead.
    unused: HashSet<[u8; 32]>,
    /// Occurrences up to this number were looked at; `None` while no pass is under way.
    looked_to: Option<u64>,
    /// When the last one ended.
    ended_at: Option<DateTime<Utc>>,
}

impl Pass {
    /// Something leads to it from now on.
    pub(super) fn keep(&mut self, hash: &[u8; 32]) {
        self.unused.remove(hash);
    }
}

/// Looks for unused ones and removes them, a bounded piece; 0 when nothing is left to do.
pub(super) fn retire(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    // A backup tells of occurrences that are gone since, and reads their snapshots as they are.
    if desk.state.dumping.as_ref().is_some_and(Dumping::is_read) {
        return Ok(0);
    }
    let opened = Arc::clone(&desk.state.opened);
    let pass = &mut desk.state.pass;
    let mut looked_to = match pass.looked_to {
        Some(number) => number,
        None if pass.ended_at.is_some_and(|ended_at| ended_at <= now && now < ended_at + EVERY) => {
            return Ok(0);
        }
        None => {
            pass.unused = all(&*opened.tree)?;
            0
        }
    };
    let mut looked = 0;
    let next = keys::occurrence(looked_to + 1);
    for entry in opened.tree.range(next, vec![keys::OCCURRENCE + 1]).take(MAX_LOOKED) {
        let (key, value) = entry?;
        let number = keys::read_number(&key).ok_or(Failed::Record("an occurrence's key cannot be read"))?;
        pass.unused.remove(&records::decode_occurrence(&value, number)?.0.snapshot);
        (looked, looked_to) = (looked + 1, number);
    }
    pass.looked_to = Some(looked_to);
    if looked == MAX_LOOKED {
        return Ok(1);
    }
    // All were looked at, up to this call.
    let mut n = 0;
    while n < BATCH_KEYS
        && let Some(hash) = desk.state.pass.unused.iter().next().copied()
    {
        // Without its first piece it counts as not kept, whatever is left of it.
        let pieces = opened.tree.range(keys::snapshot(&hash, 0), keys::snapshot_end(&hash));
        let pieces: Vec<_> = pieces.take(BATCH_KEYS).collect::<Result<_, _>>()?;
        desk.state.snapshots.remove(&hash);
        desk.room(pieces.len())?;
        for (key, _) in &pieces {
            desk.state.remove(key.to_vec());
        }
        n += pieces.len().max(1);
        if pieces.len() < BATCH_KEYS {
            desk.state.pass.unused.remove(&hash);
        } else {
            desk.barrier()?;
        }
    }
    if n == 0 {
        desk.state.pass = Pass { ended_at: Some(now), ..Pass::default() };
    }
    Ok(n_of(n))
}

/// The hashes of all that are kept, as far as one pass goes.
fn all(tree: &dyn Tree) -> Result<HashSet<[u8; 32]>, Failed> {
    let mut found = HashSet::new();
    let mut from = vec![keys::SNAPSHOT];
    while found.len() < MAX_UNUSED
        && let Some(entry) = tree.range(from, vec![keys::SNAPSHOT + 1]).next()
    {
        let (key, _) = entry?;
        let hash = key.get(1..).and_then(|rest| rest.first_chunk::<32>()).copied();
        let hash = hash.ok_or(Failed::Record("a snapshot's key cannot be read"))?;
        from = keys::snapshot_end(&hash);
        found.insert(hash);
    }
    Ok(found)
}
