//! Which civil times a rule states, by the calendar alone: no zone, no clock change.
//!
//! Months are looked at as bits and days that a filter refuses are passed over, so the next stated time is found in
//! some nanoseconds however far away it is. Single times and elapsed time are no matter of the calendar.

use chrono::NaiveDate;

use super::{DAY, HORIZON, civil_seconds};
use crate::domain::when::{Cron, Month, When};

/// What stands for "no more": later than any time.
pub(super) const NEVER: i64 = i64::MAX;

/// The civil times that a rule states, in seconds since 1970.
#[derive(Debug)]
pub(super) struct Stated<'a> {
    when: &'a When,
    times: Times<'a>,
    filters: bool,
    /// The first and the last one allowed.
    low: i64,
    high: i64,
    /// The month that was last looked into, and its days.
    month: Month,
    days: u32,
    /// Nothing is stated from the first of these on and before the second.
    known: (i64, i64),
}

/// Times of a day, on some days.
#[derive(Clone, Copy, Debug)]
pub(super) enum Times<'a> {
    /// As the expression says.
    Cron(&'a Cron),
    /// One second of every so many days.
    Days {
        /// The first of them, counted from 1970-01-01.
        first: i64,
        /// How many days on.
        step: i64,
        /// Counted from midnight.
        second: u32,
    },
}

impl Times<'_> {
    /// The first civil second that may be stated.
    pub(super) fn begin(self, when: &When) -> i64 {
        let (low, _) = bounds(when);
        match self {
            Self::Cron(_) => low,
            Self::Days { first, .. } => low.max(first * DAY),
        }
    }
}

impl<'a> Stated<'a> {
    /// Those that `when` allows, up to the civil second `limit`.
    pub(super) fn new(when: &'a When, times: Times<'a>, limit: i64) -> Self {
        let (low, high) = (times.begin(when), bounds(when).1);
        let month = Month::of(0);
        let mut stated = Self {
            when,
            times,
            filters: when.filters_days(),
            low,
            high: high.min(limit),
            month,
            days: 0,
            known: (NEVER, NEVER),
        };
        stated.look_into(month);
        stated
    }

    /// The first one at or after `from`, or [`NEVER`] when there is none within 41 years, after which there is none at all.
    pub(super) fn at_or_after(&mut self, from: i64) -> i64 {
        let from = from.max(self.low);
        let (empty, next) = self.known;
        if (empty..=next).contains(&from) {
            return next;
        }
        let next = self.search(from).filter(|civil| *civil <= self.high).unwrap_or(NEVER);
        self.known = (from, next);
        next
    }

    fn search(&mut self, from: i64) -> Option<i64> {
        let (today, second) = (from.div_euclid(DAY), from.rem_euclid(DAY));
        let last = self.high.min(from.saturating_add(HORIZON)).div_euclid(DAY);
        let mut day = self.day_from(today, last)?;
        if day == today {
            let second = u32::try_from(second).expect("a day has 86,400 seconds");
            if let Some(time) = self.time_from(second) {
                return Some(day * DAY + i64::from(time));
            }
            day = self.day_from(today + 1, last)?;
        }
        self.time_from(0).map(|time| day * DAY + i64::from(time))
    }

    /// The first allowed day from `day` to `last`.
    fn day_from(&mut self, day: i64, last: i64) -> Option<i64> {
        match self.times {
            Times::Cron(_) => self.cron_day(day, last),
            Times::Days { first, step, .. } => {
                let turns = (day - first).max(0).div_euclid(step);
                let turns = turns + i64::from(first + turns * step < day);
                let days = (turns..).map(|n| first + n * step).take_while(|day| *day <= last);
                days.into_iter().find(|day| !self.filters || self.allows(*day))
            }
        }
    }

    fn cron_day(&mut self, mut day: i64, last: i64) -> Option<i64> {
        if !(self.month.first()..self.month.end()).contains(&day) {
            self.look_into(Month::of(day));
        }
        loop {
            // Bit 1 is the 1st.
            let mut rest =
                self.days & u32::MAX.checked_shl(u32::try_from(day - self.month.first() + 1).ok()?)?;
            while rest != 0 {
                let day = self.month.first() + i64::from(rest.trailing_zeros()) - 1;
                if day > last {
                    return None;
                }
                if !self.filters || self.allows(day) {
                    return Some(day);
                }
                rest &= rest - 1;
            }
            day = self.month.end();
            if day > last {
                return None;
            }
            self.look_into(self.month.next());
        }
    }

    fn look_into(&mut self, month: Month) {
        self.month = month;
        self.days = match self.times {
            Times::Cron(cron) => cron.days_in(month),
            Times::Days { .. } => 0,
        };
    }

    fn allows(&self, day: i64) -> bool {
        date(day).is_some_and(|day| self.when.allows(day))
    }

    fn time_from(&self, from: u32) -> Option<u32> {
        match self.times {
            Times::Cron(cron) => cron.time_from(from),
            Times::Days { second, .. } => (from <= second).then_some(second),
        }
    }
}

/// The first and the last civil second that `from` and `until` allow.
pub(super) fn bounds(when: &When) -> (i64, i64) {
    (when.from.map_or(i64::MIN, civil_seconds), when.until.map_or(NEVER - 1, civil_seconds))
}

fn date(day: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(day).ok()?)
}
