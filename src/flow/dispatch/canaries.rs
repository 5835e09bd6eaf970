//! Which occurrences begin with one message, and how far each has come.

use std::collections::BTreeMap;

use super::Item;
use crate::domain::id::DeliveryId;
use crate::plan::canary::{Canary, End, Follows, Trial};

/// Occurrences that are remembered; above this those are forgotten of which all may go. One of them that has not ended begins
/// again with one message.
const MAX_CANARIES: usize = 1024;

/// The canaries of one sender.
#[derive(Debug, Default)]
pub(super) struct Canaries(BTreeMap<u64, Canary>);

impl Canaries {
    /// Takes in what a walk says of an occurrence.
    pub(super) fn hear(&mut self, occurrence: u64, trial: Trial) {
        match trial {
            Trial::None => drop(self.0.remove(&occurrence)),
            Trial::First { tried, answered } => {
                self.0.entry(occurrence).or_insert_with(|| Canary::begin(tried, answered));
                if self.0.len() > MAX_CANARIES {
                    self.0.retain(|_, canary| !canary.is_settled());
                }
            }
        }
    }

    /// Whether a delivery may go now.
    pub(super) fn lets(&self, item: &Item) -> bool {
        self.0.get(&item.id.occurrence).is_none_or(|canary| canary.lets(item.id))
    }

    /// A delivery goes.
    pub(super) fn goes(&mut self, id: DeliveryId) {
        if let Some(canary) = self.0.get_mut(&id.occurrence) {
            canary.goes(id);
        }
    }

    /// A delivery has ended, or has left before it was tried.
    pub(super) fn ends(&mut self, id: DeliveryId, end: End) -> Follows {
        self.0.get_mut(&id.occurrence).map_or(Follows::GoesOn, |canary| canary.ends(id, end))
    }

    /// All of an occurrence may go, by an operator's word.
    pub(super) fn settle(&mut self, occurrence: u64) {
        if let Some(canary) = self.0.get_mut(&occurrence) {
            canary.settle();
        }
    }

    /// An occurrence is over.
    pub(super) fn forget(&mut self, occurrence: u64) {
        self.0.remove(&occurrence);
    }
}
