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
/// Snapshots that one pass looks at: so many of those that are kept, in the order of their hashes. The next one goes on
/// behind them, so that all of them have their turn.
const MAX_UNUSED: usize = 4_096;

/// How far a pass is.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Those to which nothing was found to lead.
    unused: HashSet<[u8; 32]>,
    /// Occurrences up to this number were looked at; `None` while no pass is under way.
    looked_to: Option<u64>,
    /// The last one that was looked at, while there are others behind it: a restart begins with the first again.
    reached: Option<[u8; 32]>,
    /// When the last one ended.
    ended_at: Option<DateTime<Utc>>,
}

impl Pass {
    /// Takes up the next of those that are kept, at most so many, behind what the pass before has reached.
    fn begin(&mut self, tree: &dyn Tree, most: usize) -> Result<(), Failed> {
        let before = self.reached.take();
        let mut from = before.map_or_else(|| vec![keys::SNAPSHOT], |hash| keys::snapshot_end(&hash));
        let mut last = None;
        while let Some(entry) = tree.range(from, vec![keys::SNAPSHOT + 1]).next() {
            if self.unused.len() == most {
                self.reached = last;
                break;
            }
            let (key, _) = entry?;
            let hash = key.get(1..).and_then(|rest| rest.first_chunk::<32>()).copied();
            let hash = hash.ok_or(Failed::Record("a snapshot's key cannot be read"))?;
            from = keys::snapshot_end(&hash);
            self.unused.insert(hash);
            last = Some(hash);
        }
        self.looked_to = Some(0);
        Ok(())
    }

    fn end(&mut self, now: DateTime<Utc>) {
        *self = Self { ended_at: Some(now), reached: self.reached, ..Self::default() };
    }

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
            pass.begin(&*opened.tree, MAX_UNUSED)?;
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
        desk.state.pass.end(now);
    }
    Ok(n_of(n))
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;

    /// The hash of the `n`-th.
    fn hash(n: u64) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&(n + 1).to_be_bytes());
        hash
    }

    #[test]
    fn one_pass_after_the_other_looks_at_all_and_begins_again() {
        let tree = Memory::default();
        let (most, n) = (40, 90);
        tree.tamper(|entries| {
            // Each in two pieces.
            entries
                .extend((0..n).flat_map(|n| [0, 1].map(|piece| (keys::snapshot(&hash(n), piece), vec![1]))));
        });
        let mut pass = Pass::default();
        for turn in 0..2 {
            for (from, to) in [(0, 40), (40, 80), (80, n)] {
                pass.begin(&tree, most).unwrap();
                let looked: HashSet<[u8; 32]> = (from..to).map(hash).collect();
                assert!(pass.unused == looked, "{from} to {to}, turn {turn}: {}", pass.unused.len());
                pass.end(DateTime::UNIX_EPOCH);
            }
        }
    }
}
