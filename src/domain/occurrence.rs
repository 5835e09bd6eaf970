//! Occurrences: one rule at one due time, and how its audience adds up.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::consent::NoGrant;
use super::delivery::State;
use super::id::DeliveryId;

/// One due time of a rule: the civil time that names it and the instant that it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// The instant.
    pub at: DateTime<Utc>,
    /// The civil time as the rule states it, which names the occurrence for ever; for a time that a
    /// clock change skipped it is the stated one, not where it moved to.
    pub civil: NaiveDateTime,
    /// 0, or 1 on the second pass of a repeated hour.
    pub fold: u8,
}

/// Whose clocks show the civil time that names an occurrence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// The rule's zone holds for its whole audience.
    #[default]
    Everybody,
    /// A rule of the recipients' own time: of those who have no zone, or this one.
    Default,
    /// A rule of the recipients' own time: of those whose zone it is.
    OfZone,
}

/// Of which delivery an occurrence is the repetition: that one had no answer, and its rule says `on_doubt: resend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// The one that is in doubt.
    pub of: DeliveryId,
    /// Which message of its person this is: the first one repeated is the second.
    pub nth: u8,
}

/// Where an occurrence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OccurrenceState {
    /// Its audience is being walked, or deliveries of it are open.
    Open,
    /// Stopped until a person releases it.
    Held,
    /// Everybody is served, skipped or in doubt.
    Done,
    /// Found later than its grace.
    Missed,
    /// Its rule was removed or disabled.
    Cancelled,
}

impl OccurrenceState {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Held => "held",
            Self::Done => "done",
            Self::Missed => "missed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a recipient of the audience got no delivery, or one that was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// No grant left.
    NoConsent,
    /// No grant left, and a refusal is the last that was heard.
    Refused,
    /// Muted.
    Muted,
    /// A value is too long for its field.
    Overflow,
    /// Its send time is in quiet hours.
    Quiet,
    /// A field that the rule shows is missing.
    MissingField,
    /// The platform does not know the openid.
    BadRecipient,
}

impl From<NoGrant> for SkipReason {
    fn from(none: NoGrant) -> Self {
        match none {
            NoGrant::None => Self::NoConsent,
            NoGrant::Refused => Self::Refused,
        }
    }
}

impl SkipReason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::NoConsent,
        Self::Refused,
        Self::Muted,
        Self::Overflow,
        Self::Quiet,
        Self::MissingField,
        Self::BadRecipient,
    ];

    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoConsent => "no_consent",
            Self::Refused => "refused",
            Self::Muted => "muted",
            Self::Overflow => "overflow",
            Self::Quiet => "quiet",
            Self::MissingField => "missing_field",
            Self::BadRecipient => "bad_recipient",
        }
    }
}

/// How the audience of an occurrence adds up (promise P6).
///
/// `audience` = Σ `by_state` + Σ `skipped` + `expired_unwalked`; a skipped delivery is in `skipped` only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Who was there when the walk passed.
    pub audience: u64,
    /// Deliveries by state; never [`State::Skipped`].
    pub by_state: BTreeMap<State, u64>,
    /// Who got none, by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
}

impl Counts {
    /// Deliveries in `state`.
    #[must_use]
    pub fn in_state(&self, state: State) -> u64 {
        self.by_state.get(&state).copied().unwrap_or(0)
    }

    /// Deliveries that still have to be worked on.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.by_state.iter().filter(|(state, _)| state.is_open()).map(|(_, n)| n).sum()
    }

    /// Whether the promise holds.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.audience == self.by_state.values().sum::<u64>() + self.skipped.values().sum::<u64>()
    }

    /// Books one delivery as skipped that was in `from`.
    pub fn skip(&mut self, from: State, reason: SkipReason) {
        self.moved(from, State::Skipped);
        self.by_state.remove(&State::Skipped);
        *self.skipped.entry(reason).or_default() += 1;
    }

    /// Books one delivery as moved between states.
    pub fn moved(&mut self, from: State, to: State) {
        if let Some(n) = self.by_state.get_mut(&from) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.by_state.remove(&from);
            }
        }
        *self.by_state.entry(to).or_default() += 1;
    }
}
