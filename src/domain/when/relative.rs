//! Due times that follow the time of an appointment.
//!
//! What instants they mean is decided in `plan::recurrence::relative`.

use chrono::NaiveTime;

use super::Period;
use crate::domain::id::Kind;

/// Some time before or after each appointment of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relative {
    /// Which appointments.
    pub of: Kind,
    /// How far from the appointment's time.
    pub offset: Offset,
    /// What the clock shows on that day; `None` for what it shows at the appointment. Only where days are counted.
    pub time: Option<NaiveTime>,
    /// What becomes of those to whom it belongs only since after the due time.
    pub late: IfLate,
}

/// How far from an appointment's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// So much earlier.
    Before(Period),
    /// So much later.
    After(Period),
    /// On its day.
    SameDay,
}

/// What becomes of those to whom an appointment belongs only since after the due time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfLate {
    /// They are not reminded.
    #[default]
    Skip,
    /// They are reminded at once.
    Send,
}

impl Relative {
    /// Whether it counts time that passes, whatever clocks show.
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        match &self.offset {
            Offset::Before(period) | Offset::After(period) => matches!(period, Period::Elapsed(_)),
            Offset::SameDay => false,
        }
    }
}
