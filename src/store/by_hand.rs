//! One message that an operator sends: an occurrence of its own, with one delivery.
//!
//! It is named by its second and, among those of one second, by its number in the place of the pass of a repeated hour, so
//! that it never takes the name of a due time. After that nothing about it is special.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::Occurrence;
use crate::domain::appointment::About;
use crate::domain::id::{AppId, DeliveryId, OpenId, RuleId, TemplateId};
use crate::domain::occurrence::SkipReason;
use crate::domain::template::TemplateKind;
use crate::domain::zone::Zone;

/// The first number of those that are sent by hand; the passes of a repeated hour are 0 and 1.
pub const FIRST_BY_HAND: u8 = 2;

/// One message to be sent now.
#[derive(Clone, Debug)]
pub struct ByHand {
    /// Whose mini program.
    pub app: AppId,
    /// Which rule makes it; it was started.
    pub rule: RuleId,
    /// Which template's account pays.
    pub template: TemplateId,
    /// How its acceptances count.
    pub kind: TemplateKind,
    /// For whom.
    pub openid: OpenId,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// The same as a civil time.
    pub civil: NaiveDateTime,
    /// By whose clock.
    pub zone: Zone,
    /// Which appointment of his it tells of, by a rule of appointments.
    pub about: Option<About>,
    /// Last instant at which a request may start.
    pub deadline: DateTime<Utc>,
    /// Hash of the rule's snapshot.
    pub snapshot: [u8; 32],
    /// The rule as it is now; kept once per hash.
    pub snapshot_bytes: Vec<u8>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedByHand {
    /// It has its grant, or a standing acceptance.
    Reserved(DeliveryId),
    /// There is nothing to pay with: nothing was written.
    Skipped(SkipReason),
    /// The person is no recipient: nothing was written.
    Unknown,
    /// The appointment was changed since it was read: nothing was written.
    Changed,
    /// The rule was never started: nothing was written.
    NotStarted,
    /// Everything is on hold: nothing was written.
    OnHold,
    /// Too many of the rule were sent in this second: nothing was written.
    TooMany,
}

impl Occurrence {
    /// Whether an operator sent it, and no due time.
    #[must_use]
    pub fn is_by_hand(&self) -> bool {
        self.fold >= FIRST_BY_HAND
    }
}
