//! The drift meter: where these books and the platform's were seen to differ, by the evidence behind the consent.
//!
//! Only what the platform itself has answered counts. What nobody answered is in doubt, and not here; an answer to an attempt
//! after a −1 tells nothing either, since that one may have taken the consent.

use chrono::{DateTime, Utc};

use super::consent::{Grant, Source};
use super::id::{AppId, TemplateId};

/// Who said that a message may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The mini program, under a session of the person.
    Session,
    /// A backend, under its key.
    Backend,
    /// The platform's popup event.
    Event,
    /// An operator, by hand.
    Operator,
    /// An operator, from a file.
    Import,
    /// A standing acceptance of a long-term template, whoever reported it.
    Standing,
}

impl Evidence {
    /// All of them, in their stored order, which is never changed.
    pub const ALL: [Self; 6] =
        [Self::Session, Self::Backend, Self::Event, Self::Operator, Self::Import, Self::Standing];

    /// What stands behind a delivery that took this grant, or none under a standing acceptance.
    #[must_use]
    pub fn of(grant: Option<Grant>) -> Self {
        match grant.map(|grant| grant.source) {
            Some(Source::Session) => Self::Session,
            Some(Source::Backend) => Self::Backend,
            Some(Source::Event) => Self::Event,
            Some(Source::Operator) => Self::Operator,
            Some(Source::Import) => Self::Import,
            None => Self::Standing,
        }
    }

    /// The word in JSON and in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Backend => "backend",
            Self::Event => "event",
            Self::Operator => "operator",
            Self::Import => "import",
            Self::Standing => "standing",
        }
    }
}

/// How the platform's answer differs from the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// 43101 although the books had a living consent: they count too many.
    Denied,
    /// Taken although the consent was dead by then, through a refusal that came while the request was under way, or a second
    /// 43101: the books count too few.
    SentAtZero,
}

/// What was seen of one template and one kind of evidence, since the store was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Whose mini program.
    pub app: AppId,
    /// Which template.
    pub template: TemplateId,
    /// Who said that a message may be sent.
    pub evidence: Evidence,
    /// How often it was [`Difference::Denied`].
    pub n_denied: u64,
    /// How often it was [`Difference::SentAtZero`].
    pub n_sent_at_zero: u64,
    /// When the first of them was booked.
    pub first_at: DateTime<Utc>,
    /// When the last of them was.
    pub last_at: DateTime<Utc>,
}
