//! What the platform tells later, as the store's operations take it: refusals in the settings, and receipts.
//!
//! How an event is signed, encrypted and written is the door's; here it is checked and has its time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::id::{AppId, DeliveryId, OpenId, TemplateId, UnionId};
use crate::domain::template::TemplateKind;

/// How long after its own second a receipt's message may have begun: the platform's clock and ours differ.
pub const RECEIPT_SLACK: TimeDelta = TimeDelta::seconds(60);
/// Most receipts that are kept of one account; of more, the one with the oldest event goes.
pub const MAX_RECEIPTS: usize = 16;
/// How long a receipt that belongs to no delivery is kept, in days.
pub const RECEIPT_DAYS: i64 = 7;
/// How long it is known, by a keyed hash, that somebody was erased, in days.
pub const ERASED_DAYS: i64 = 180;

/// A refusal in the settings: the person wants no more messages of a template.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Whose mini program.
    pub app: AppId,
    /// Who refused.
    pub openid: OpenId,
    /// Which template.
    pub template: TemplateId,
    /// How its acceptances count; for an account that nothing was booked in yet.
    pub kind: TemplateKind,
    /// The event's time, in whole seconds; what was accepted in that second is refused too.
    pub created_at: DateTime<Utc>,
}

/// What became of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Booked.
    Booked,
    /// One as late was booked before: nothing was changed.
    Known,
    /// It is from before its person was erased: nothing was changed.
    Erased,
}

/// The platform's word on what became of one message.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Whose mini program.
    pub app: AppId,
    /// Whom the message was for.
    pub openid: OpenId,
    /// Of which template it was.
    pub template: TemplateId,
    /// The platform's number of the message, or what stands in its place ([`crate::domain::message::stand_in`]).
    pub msgid: u64,
    /// The event's time, in whole seconds.
    pub created_at: DateTime<Utc>,
    /// What became of it.
    pub arrival: Arrival,
    /// When the event came.
    pub now: DateTime<Utc>,
}

/// Whether a message arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrival {
    /// It did.
    Arrived,
    /// It did not: the person blocks it, or the platform dropped it.
    NotArrived,
}

/// What became of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptOutcome {
    /// It is this delivery's, now or since before.
    Joined(DeliveryId),
    /// It is nobody's yet: kept.
    Kept,
    /// Nothing was ever booked for its recipient and template: nothing is kept either.
    Unknown,
    /// It is from before its recipient was erased: nothing is kept.
    Erased,
}

/// What became of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erased {
    /// The person is out of the books, but for what [`super::Store::sweep`] has to overwrite.
    Booked(Gone),
    /// Too many attempts of erased people are under way: nothing was changed; try again.
    Busy,
    /// The request was seen before: nothing was changed.
    Replayed,
}

/// Whom an erasure took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// In which apps and by which openids, in their order; the named one also where nothing was known of him.
    pub all: Vec<(AppId, OpenId)>,
    /// By which unionid those in other apps were found, where it reached further than one.
    pub unionid: Option<UnionId>,
}

/// A receipt that belongs to no delivery yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptReceipt {
    /// The platform's number of the message, or what stands in its place.
    pub msgid: u64,
    /// The event's time.
    pub created_at: DateTime<Utc>,
    /// What became of the message.
    pub arrival: Arrival,
    /// When it came first.
    pub kept_at: DateTime<Utc>,
}
