//! Appointments as they go into the store and come out of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{AppId, OpenId, RuleId, TemplateId};
use crate::domain::appointment::{About, Appointment, bound_hash};
use crate::domain::consent::Account;
use crate::domain::count::n_of;
use crate::domain::delivery::State;
use crate::domain::id::{AppointmentId, Kind};
use crate::domain::occurrence::Due;
use crate::domain::recipient::Fields;
use crate::domain::rule::OnDoubt;
use crate::domain::template::TemplateKind;
use crate::domain::zone::Zone;
use crate::plan::purse::Purse;
use crate::store::{Delivery, Store, Unavailable};

/// Largest record of an appointment, in bytes.
pub const MAX_APPOINTMENT_BYTES: usize = 3072;
/// How long an appointment is kept after its time, in days; also one that was deleted.
pub const APPOINTMENT_DAYS: i64 = 30;
/// How long the id of a signed request is remembered, in minutes: longer than its timestamp may be off.
pub const REQUEST_MINUTES: i64 = 15;

/// Names an appointment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppointmentKey {
    /// Whose mini program.
    pub app: AppId,
    /// Its kind.
    pub kind: Kind,
    /// Its id within the kind.
    pub id: AppointmentId,
}

/// A change of an appointment that somebody asks for.
#[derive(Clone, Debug)]
pub struct AppointmentChange {
    /// Which one.
    pub key: AppointmentKey,
    /// What it shall be; `None` for deleted.
    pub to: Option<Appointment>,
    /// Hash of the id of the request that asks; the same one again is refused. `None` for a caller without one.
    pub request: Option<[u8; 16]>,
    /// When.
    pub now: DateTime<Utc>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is so now.
    Booked {
        /// The number of the change; it is larger than those of all changes before.
        number: u64,
        /// It was not there before.
        created: bool,
    },
    /// It was so before; there is no new number.
    Same,
    /// To be deleted, and not there.
    Unknown,
    /// Larger than a record may be: nothing was changed.
    TooLarge,
    /// The request was seen before: nothing was changed.
    Replayed,
}

/// An appointment as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptAppointment {
    /// The number of its newest change.
    pub number: u64,
    /// When it is, or was to be when it was deleted.
    pub at: DateTime<Utc>,
    /// Whether it was deleted; then it has neither recipients nor fields.
    pub state: Standing,
    /// Whom it belongs to, and since when without a break at this time.
    pub joined: BTreeMap<OpenId, Joined>,
    /// Values that rules show.
    pub fields: Fields,
}

/// Whether an appointment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Stands,
    /// It was deleted.
    Deleted,
}

/// Since when an appointment, at the time it has, belongs to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Joined {
    /// By which change.
    pub number: u64,
    /// When that was.
    pub at: DateTime<Utc>,
}

impl KeptAppointment {
    /// Whether an occurrence about it may still remind `openid`: it stands, at the same time, and belonged to him
    /// when the occurrence was opened and ever since.
    #[must_use]
    pub fn is_for(&self, about: &About, openid: &OpenId) -> bool {
        self.stands_at(about.at)
            && self.joined.get(openid).is_some_and(|joined| is_among(*joined, about.after, about.number))
    }

    /// Whether it stands, at this time.
    #[must_use]
    pub fn stands_at(&self, at: DateTime<Utc>) -> bool {
        match self.state {
            Standing::Stands => self.at == at,
            Standing::Deleted => false,
        }
    }

    /// Whether it stands, is his, and is not over.
    #[must_use]
    pub fn is_to_come(&self, openid: &str, now: DateTime<Utc>) -> bool {
        self.stands_at(self.at) && self.at >= now && self.joined.keys().any(|his| his.as_str() == openid)
    }

    /// As it was put.
    #[must_use]
    pub fn appointment(&self) -> Option<Appointment> {
        match self.state {
            Standing::Stands => Some(Appointment {
                recipients: self.joined.keys().cloned().collect(),
                at: self.at,
                fields: self.fields.clone(),
            }),
            Standing::Deleted => None,
        }
    }

    /// The record after a change with this number: who belonged to it at the same time before keeps since when.
    pub(in crate::store) fn changed(
        before: Option<&Self>,
        to: Option<Appointment>,
        joined: Joined,
    ) -> Option<Self> {
        let Some(to) = to else {
            return before.map(|before| Self {
                number: joined.number,
                at: before.at,
                state: Standing::Deleted,
                joined: BTreeMap::new(),
                fields: Fields::new(),
            });
        };
        let kept = before.filter(|before| before.stands_at(to.at));
        let since =
            |openid: &OpenId| kept.and_then(|kept| kept.joined.get(openid)).copied().unwrap_or(joined);
        let joined_all = to.recipients.into_iter().map(|openid| (openid.clone(), since(&openid))).collect();
        Some(Self {
            number: joined.number,
            at: to.at,
            state: Standing::Stands,
            joined: joined_all,
            fields: to.fields,
        })
    }
}

/// Whether somebody who joined then is reminded by an occurrence that counts those after one change up to another.
pub(in crate::store) fn is_among(joined: Joined, after: u64, number: u64) -> bool {
    joined.number > after && joined.number <= number
}

/// What a delivery of an earlier occurrence means for a later one of the same reminder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// It ended without any attempt: it does not stand in the way.
    Untried,
    /// It may yet be sent, or is about to end: nobody knows.
    Open,
    /// It was attempted: there is no other one, for ever.
    Tried,
}

impl Earlier {
    /// What this one means.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Self {
        match delivery.state {
            State::Held | State::Reserved | State::Waiting | State::Attempting => Self::Open,
            State::Sent
            | State::Undelivered
            | State::PresumedSent
            | State::InDoubt
            | State::Refused
            | State::Failed => Self::Tried,
            State::Expired | State::Cancelled | State::Skipped => {
                if delivery.attempts > 0 || delivery.first_started_at.is_some() {
                    Self::Tried
                } else {
                    Self::Untried
                }
            }
        }
    }
}

/// How far a rule has looked at appointments: at those due until then, and at changes up to this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The instant.
    pub at: DateTime<Utc>,
    /// The number of the newest change that it has seen.
    pub change: u64,
}

/// Reminders to open, with the step of the cursor that passes over them.
#[derive(Clone, Debug)]
pub struct Reminders {
    /// Whose rule.
    pub app: AppId,
    /// Which rule.
    pub rule: RuleId,
    /// Its template: accounts of it pay.
    pub template: TemplateId,
    /// How its acceptances count.
    pub kind: TemplateKind,
    /// Which appointments it is about.
    pub of: Kind,
    /// Where the cursor must be.
    pub from: Cursor,
    /// Where it goes: the same in all steps of a look but the last. Its change is the one that was the newest when the
    /// look began, or one from before: what changes during the look is found by the next.
    pub to: Cursor,
    /// At most [`super::MAX_OPENED`].
    pub reminders: Vec<NewReminder>,
    /// Hash of the snapshot.
    pub snapshot: [u8; 32],
    /// The rule as it is now; opaque. Stored once per hash, in pieces.
    pub snapshot_bytes: Vec<u8>,
    /// Where it comes among those who want the same consents.
    pub priority: u32,
    /// What becomes of its messages that have no answer.
    pub on_doubt: OnDoubt,
}

/// One reminder to open.
#[derive(Clone, Debug)]
pub struct NewReminder {
    /// Of which appointment.
    pub id: AppointmentId,
    /// The appointment's time, as it was read.
    pub at: DateTime<Utc>,
    /// The appointment's number, as it was read: it is opened only while this is its number.
    pub number: u64,
    /// When the reminder is due, for the first of those it belongs to.
    pub due: Due,
    /// When it is due for the last of them: the same where one clock holds for all.
    pub last_due_at: DateTime<Utc>,
    /// The zone its civil time is in.
    pub zone: Zone,
    /// Last instant at which a request may start.
    pub deadline: DateTime<Utc>,
    /// Who belongs to the appointment only since after the due time.
    pub late: Late,
    /// Whether it is only recorded, as missed.
    pub found: Found,
}

/// What becomes of those who belong to an appointment only since after the due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// They are not reminded.
    Skip,
    /// They are, at once.
    Send,
}

/// Whether a reminder was found in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It opens.
    InTime,
    /// It is recorded as missed.
    TooLate,
}

/// What became of reminders to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reminded {
    /// The cursor moved; one answer per reminder, in order.
    Moved(Vec<OneReminder>),
    /// The cursor was elsewhere; nothing was changed.
    Stale(Option<Cursor>),
}

/// What became of one reminder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneReminder {
    /// Opened, or recorded as missed, with this number.
    As(u64),
    /// Everybody it is for has one, or was skipped, or there is nobody.
    Nobody,
    /// The appointment is not what it was when it was read: the change has a later number, by which it is found.
    Changed,
    /// An earlier one of the same name has a delivery that is not over: ask again.
    Busy,
}

/// Appointments of a person that are read at once.
const PAGE: usize = 256;

/// What is left at `now` of somebody's account of a template of this kind, for at most `n` messages of any kind; a standing
/// acceptance carries all.
///
/// # Errors
/// [`Unavailable`]: the store failed.
pub fn purse(
    store: &dyn Store,
    (app, openid): (&AppId, &OpenId),
    (account, kind): (&Account, TemplateKind),
    now: DateTime<Utc>,
    n: u64,
) -> Result<Purse, Unavailable> {
    match kind {
        TemplateKind::LongTerm if account.standing.is_some() => return Ok(Purse::of_any(n)),
        TemplateKind::LongTerm => return Ok(Purse::default()),
        TemplateKind::OneTime => {}
    }
    let mut kept = Vec::new();
    let mut after = None;
    while account.bound().next().is_some() {
        let page = store.appointments_of(app, openid, after.as_ref(), PAGE)?;
        for (kind, id) in &page {
            let name = bound_hash(kind, id);
            let n_its = account.bound().filter(|bound| *bound == name).count();
            if n_its == 0 {
                continue;
            }
            let key = AppointmentKey { app: app.clone(), kind: kind.clone(), id: id.clone() };
            let its = store.appointment(&key)?.filter(|its| its.is_to_come(openid.as_str(), now));
            kept.extend(its.into_iter().flat_map(|its| std::iter::repeat_n((name, its.at), n_its)));
        }
        if page.len() < PAGE {
            break;
        }
        after = page.into_iter().next_back();
    }
    let n_any = account.free.len().saturating_sub(kept.len());
    Ok(Purse::new(n_of(n_any).min(n), kept))
}
