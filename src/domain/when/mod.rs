//! When a rule is due, as data: a form in civil time, and what bounds and filters it.
//!
//! What instants it means in a zone is decided in `plan::recurrence`.

mod calendar;
mod civil;
mod cron;
mod month;
mod relative;

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime};

pub use calendar::Calendar;
pub use civil::{CivilError, civil_date, civil_time};
pub use cron::{Allowed, AllowedDays, AllowedWeekdays, Cron, CronCode, CronError};
pub use month::Month;
pub use relative::{IfLate, Offset, Relative};

/// A rule's `when`.
///
/// Bounds and filters look at the civil time that names a due time, in the rule's zone: the stated one, also where a
/// clock change moves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// What it states.
    pub form: Form,
    /// What becomes of civil times that a clock change skips or repeats.
    pub dst: Dst,
    /// No civil time before it.
    pub from: Option<NaiveDateTime>,
    /// No civil time after it; a date is here as its last second.
    pub until: Option<NaiveDateTime>,
    /// None of these days.
    pub except: Except,
    /// Where there are any, only days of at least one of them.
    pub only: Vec<Arc<Calendar>>,
}

/// Days on which a rule is not due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Except {
    /// Ascending and distinct.
    pub days: Vec<NaiveDate>,
    /// All days of these.
    pub calendars: Vec<Arc<Calendar>>,
}

/// How a rule states its civil times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A cron expression.
    Cron(Cron),
    /// Single times, ascending and distinct.
    At(Vec<Single>),
    /// Again and again after some time.
    Every(Every),
    /// Before, after or on the day of appointments: the clock alone makes nothing due.
    Relative(Relative),
}

/// A civil time that is stated by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Single {
    /// What the clock shows.
    pub civil: NaiveDateTime,
    /// Which time, where the clock shows it twice.
    pub pass: Pass,
}

/// Which time a clock shows what it shows twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pass {
    /// Before it is set back.
    #[default]
    First,
    /// After it.
    Second,
}

/// Again and again, from some civil time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    /// How long after the one before.
    pub period: Period,
    /// The first one.
    pub starting: NaiveDateTime,
}

/// A length of time, above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Time that passes, in whole seconds, whatever the clock shows.
    Elapsed(Duration),
    /// Days of the calendar: the same time of day so many days on.
    Days(u32),
}

/// What becomes of civil times that a clock change skips or repeats.
///
/// Under all of them nothing is due for a gap of more than 3 h. Elapsed time knows no clock, so they do not matter to
/// it; single times are due once under each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dst {
    /// As cronie: a rule whose minute or hour begins with `*` as [`Dst::Wall`]; any other once per stated time:
    /// one firing right after the gap for all it skipped, the first pass of an overlap.
    #[default]
    Auto,
    /// Nothing for a gap, the first pass of an overlap.
    Skip,
    /// Nothing for a gap, both passes of an overlap.
    Wall,
    /// Later by the length of the gap, the first pass of an overlap.
    Shift,
}

impl When {
    /// Whether due times are allowed on a day.
    #[must_use]
    pub fn allows(&self, day: NaiveDate) -> bool {
        let Except { days, calendars } = &self.except;
        (self.only.is_empty() || self.only.iter().any(|calendar| calendar.has(day)))
            && days.binary_search(&day).is_err()
            && calendars.iter().all(|calendar| !calendar.has(day))
    }

    /// Whether some days are not allowed.
    #[must_use]
    pub fn filters_days(&self) -> bool {
        let Except { days, calendars } = &self.except;
        !(self.only.is_empty() && days.is_empty() && calendars.is_empty())
    }
}

impl From<Form> for When {
    /// The form alone: nothing bounds it, and `auto` through clock changes.
    fn from(form: Form) -> Self {
        Self { form, dst: Dst::Auto, from: None, until: None, except: Except::default(), only: Vec::new() }
    }
}

impl From<Cron> for When {
    fn from(cron: Cron) -> Self {
        Self::from(Form::Cron(cron))
    }
}

impl FromIterator<NaiveDateTime> for When {
    /// Single times, each the first time the clock shows it.
    fn from_iter<I: IntoIterator<Item = NaiveDateTime>>(times: I) -> Self {
        let mut times: Vec<Single> =
            times.into_iter().map(|civil| Single { civil, pass: Pass::First }).collect();
        times.sort_unstable();
        times.dedup();
        Self::from(Form::At(times))
    }
}
