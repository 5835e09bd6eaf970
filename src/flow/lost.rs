//! Ends a hold on everything: what may have been sent since the books were written is booked as in doubt.
//!
//! Whatever came due after the cursors is opened as if it were in time, by the rules in force; the audience of all that is
//! not walked to its end is walked, and who would get a message has one in doubt. Nothing is sent here, and what nobody
//! can have sent yet stays as it is. The hold ends in the store, with the last of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::fanout;
use super::live::Live;
use super::scheduler;
use crate::clock::Clock;
use crate::domain::delivery::State;
use crate::domain::id::RuleId;
use crate::domain::occurrence::OccurrenceState;
use crate::store::{HoldEnd, Occurrence, Store, Unavailable};

/// How often what is not walked is looked for, at most: each round walks all there is.
const MAX_ROUNDS: usize = 16;

/// What of one occurrence is in doubt now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its rule.
    pub rule: RuleId,
    /// When it was due.
    pub due_at: DateTime<Utc>,
    /// How many deliveries.
    pub n: u64,
}

/// Releases everything at `now`, and says what is in doubt since, by due time; durable on return. `None` where nothing was
/// on hold.
///
/// Cut off anywhere, the hold is still there, and the same call goes on.
///
/// # Errors
/// [`Unavailable`]: the store failed, and the hold may still be there.
pub async fn release(
    store: &Arc<dyn Store>,
    live: &Live,
    clock: &Clock,
    now: DateTime<Utc>,
) -> Result<Option<Vec<Lost>>, Unavailable> {
    if store.hold()?.is_none() {
        return Ok(None);
    }
    let in_doubt = |counts: &crate::domain::occurrence::Counts| counts.in_state(State::InDoubt);
    let before = super::read(store, Store::unfinished).await?;
    let newest = super::read(store, Store::newest_occurrence).await?;
    let mut before: BTreeMap<u64, u64> = before.iter().map(|o| (o.number, in_doubt(&o.counts))).collect();
    scheduler::open_lost(store, live, now).await?;
    for _round in 0..MAX_ROUNDS {
        let mut unfinished = super::read(store, Store::unfinished).await?;
        // As their turns were then: a consent for two of them went to the first.
        unfinished.sort_by(|a, b| {
            let order = |o: &Occurrence| (o.due_at, Reverse(o.priority), o.rule.clone(), o.number);
            order(a).cmp(&order(b))
        });
        for occurrence in unfinished {
            let number = occurrence.number;
            if newest.is_none_or(|newest| number > newest) {
                before.entry(number).or_insert(0);
            }
            match occurrence.state {
                OccurrenceState::Open | OccurrenceState::Held if !occurrence.walked => {}
                OccurrenceState::Open
                | OccurrenceState::Held
                | OccurrenceState::Done
                | OccurrenceState::Missed
                | OccurrenceState::Cancelled => continue,
            }
            fanout::walk_lost(store, clock, occurrence).await?;
        }
        let ended = store.end_hold(now).await?;
        store.wait(ended.number).await?;
        match ended.value {
            HoldEnd::Ended => return told(store, before).await.map(Some),
            HoldEnd::NoHold => return Ok(None),
            HoldEnd::NotWalked => {}
        }
    }
    Err(Unavailable)
}

async fn told(store: &Arc<dyn Store>, before: BTreeMap<u64, u64>) -> Result<Vec<Lost>, Unavailable> {
    let mut lost = Vec::new();
    for (number, n_before) in before {
        let Some(occurrence) = super::read(store, move |store| store.occurrence(number)).await? else {
            continue;
        };
        let n = occurrence.counts.in_state(State::InDoubt).saturating_sub(n_before);
        if n > 0 {
            lost.push(Lost { rule: occurrence.rule, due_at: occurrence.due_at, n });
        }
    }
    lost.sort_by(|a, b| (a.due_at, &a.rule).cmp(&(b.due_at, &b.rule)));
    Ok(lost)
}
