//! skeleton
use chrono::{DateTime, Utc};

use crate::domain::delivery::{Event, Past};
use crate::domain::message::Reply;

/// What a delivery went through, the attempt that was just answered included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Attempts that began, this one included.
    pub n_attempts: u32,
    /// How many earlier ones were answered −1.
    pub n_busy: u32,
    /// What the delivery remembered before this attempt.
    pub past: Past,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The platform took it.
    Accept {
        /// The platform's number of the message.
        msgid: Option<u64>,
    },
    /// The platform knows no consent.
    Refuse,
    /// A definite failure.
    Fail {
        /// The platform's code.
        errcode: i64,
    },
    /// Try again.
    Wait {
        /// Not before this; just past the deadline when there is no time left for another attempt.
        at: DateTime<Utc>,
        /// What the delivery remembers from now on; `Busy` raises its count of −1.
        past: Past,
    },
    /// Nobody knows what became of it.
    Doubt,
}

impl Decision {
    /// The event of the delivery table.
    #[must_use]
    pub fn event(&self) -> Event {
        match self {
            Self::Accept { .. } => Event::Accept,
            Self::Refuse => Event::Refuse,
            Self::Fail { .. } => Event::Fail,
            Self::Wait { .. } => Event::Wait,
            Self::Doubt => Event::Doubt,
        }
    }
}

/// What follows from `reply`.
#[must_use]
pub fn decide(
    _reply: &Reply,
    _tried: Tried,
    _now: DateTime<Utc>,
    _deadline: DateTime<Utc>,
    _jitter: u64,
) -> Decision {
    unimplemented!()
}
