//! Calendars: named sets of days, such as work days with holidays and make-up work days.
//!
//! What a rule does with one is said in [`super::When`]; the files are read in `rules`.

use chrono::{Datelike as _, NaiveDate};

use crate::domain::id::CalendarName;

/// A named set of days: some days of each week, with days added and removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Its name.
    pub name: CalendarName,
    /// The days of the week that belong to it; bit 0 is Sunday.
    pub weekly: u8,
    /// Days that belong to it besides, ascending and distinct.
    pub add: Vec<NaiveDate>,
    /// Days that do not, ascending and distinct; none of them is in `add`.
    pub remove: Vec<NaiveDate>,
}

impl Calendar {
    /// Whether a day belongs to it.
    #[must_use]
    pub fn has(&self, day: NaiveDate) -> bool {
        if self.weekly >> day.weekday().num_days_from_sunday() & 1 == 1 {
            self.remove.binary_search(&day).is_err()
        } else {
            self.add.binary_search(&day).is_ok()
        }
    }
}
