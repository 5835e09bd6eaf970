//! Repetitions of messages that are in doubt, where a rule says `on_doubt: resend`.
//!
//! A repetition is an occurrence of its own with one delivery and one grant: its request without an answer may have taken
//! the first one. It has no name in the plan; what keeps it from being opened twice is that the delivery in doubt waits for
//! it no more, which is written in the same batch.

use chrono::{DateTime, Utc};

use super::{Delivery, Occurrence};
use crate::domain::delivery::State;
use crate::domain::id::DeliveryId;
use crate::domain::occurrence::SkipReason;

/// What shall become of a delivery in doubt whose time to be repeated has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It is repeated, where there is a grant for it; else it stays as it is.
    Now,
    /// Not before then.
    NotBefore(DateTime<Utc>),
    /// It stays as it is, for a reason where there is one.
    Never(Option<SkipReason>),
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// The repetition has its grant, or a standing acceptance.
    Reserved(DeliveryId),
    /// There is nothing to pay with, so it stays as it is.
    Without(SkipReason),
    /// As was asked for, nothing was opened.
    Noted,
    /// It does not wait to be repeated, or everything is on hold: nothing was written.
    Stale,
}

impl Delivery {
    /// Whether it is in doubt and shall be repeated.
    #[must_use]
    pub fn is_to_be_repeated(&self) -> bool {
        self.state == State::InDoubt && self.next_at.is_some()
    }
}

impl Occurrence {
    /// Which message of its person a delivery of it is.
    #[must_use]
    pub fn nth(&self) -> u8 {
        self.repeats.map_or(1, |repeats| repeats.nth)
    }

    /// Whether it opened at a due time of its rule.
    #[must_use]
    pub fn is_of_plan(&self) -> bool {
        self.repeats.is_none() && !self.is_by_hand()
    }
}
