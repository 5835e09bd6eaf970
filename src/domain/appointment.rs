//! Appointments: things with a time that belong to recipients, like a visit, a class or a bill.
//!
//! When a rule reminds of one is not said here; what the store keeps of its changes is the store's.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use sha2::{Digest, Sha256};

use super::id::{AppointmentId, Kind, OpenId};
use super::recipient::Fields;

/// Most recipients of one appointment.
pub const MAX_APPOINTMENT_RECIPIENTS: usize = 64;

/// A thing with a time that belongs to recipients; `PUT` replaces it whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Appointment {
    /// Whom it belongs to; 1 to [`MAX_APPOINTMENT_RECIPIENTS`].
    pub recipients: BTreeSet<OpenId>,
    /// When it is.
    pub at: DateTime<Utc>,
    /// Values that rules show; at most [`MAX_FIELDS`](super::recipient::MAX_FIELDS).
    pub fields: Fields,
}

/// What an occurrence reminds of: one appointment at one time.
///
/// With its rule this is the name of a reminder: a moved appointment has another one, and the one from before the
/// move is never sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// Its kind.
    pub kind: Kind,
    /// Its id within the kind.
    pub id: AppointmentId,
    /// When it was to be.
    pub at: DateTime<Utc>,
    /// Number of the appointment's change that was read at the opening: who belongs to it since a later one is not
    /// reminded by this occurrence.
    pub number: u64,
    /// The same number of an earlier occurrence of this reminder: who belonged to it by then is that one's. 0 without one.
    pub after: u64,
    /// That earlier occurrence.
    pub previous: Option<u64>,
}

/// First 8 bytes of a hash of an appointment's name, as grants that are bound to it keep it.
#[must_use]
pub fn bound_hash(kind: &Kind, id: &AppointmentId) -> u64 {
    let digest =
        Sha256::new().chain_update(kind.as_str()).chain_update([0]).chain_update(id.as_str()).finalize();
    digest.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}
