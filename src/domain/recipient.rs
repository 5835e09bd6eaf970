//! Recipients: one person in one app, with what rules may choose and show.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::id::{FieldName, Ref, Tag, UnionId};
use super::zone::Zone;

/// Most tags of one recipient.
pub const MAX_TAGS: usize = 32;
/// Most fields of one recipient or appointment.
pub const MAX_FIELDS: usize = 32;
/// Longest text of one field, in characters.
pub const MAX_FIELD_CHARS: usize = 256;

/// One person in one app.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipient {
    /// When the person was first heard of.
    pub created_at: DateTime<Utc>,
    /// What may change.
    pub profile: Profile,
}

/// What a backend may set of a recipient; `PUT` replaces it whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// The person over all apps of the account.
    pub unionid: Option<UnionId>,
    /// The operator's own number.
    pub reference: Option<Ref>,
    /// Labels that rules select by; at most [`MAX_TAGS`].
    pub tags: BTreeSet<Tag>,
    /// Values that rules select by and show; at most [`MAX_FIELDS`].
    pub fields: Fields,
    /// The person's own time zone.
    pub time_zone: Option<Zone>,
    /// Gets nothing while set.
    pub muted: bool,
}

/// Named values of a recipient or an appointment.
pub type Fields = BTreeMap<FieldName, FieldValue>;

/// One value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// Text of at most [`MAX_FIELD_CHARS`] characters.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// Any other finite number.
    Real(f64),
    /// Yes or no.
    Bool(bool),
}
