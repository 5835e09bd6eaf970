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
    /// The first and the last second of a stated day, counted from midnight.
    first: i64,
    last: i64,
    /// The month that was last looked into, and its days; bit 0 is the 1st.
    month: Month,
    days: u32,
    /// Those of them after the day of the last answer.
    ahead: u32,
    /// The day of the last answer, and its first second.
    day: i64,
    midnight: i64,
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
        let (first, last) = match times {
            Times::Cron(cron) => cron.first_and_last_time(),
            Times::Days { second, .. } => (second, second),
        };
        let mut stated = Self {
            when,
            times,
            filters: when.filters_days(),
            low,
            high: high.min(limit),
            first: i64::from(first),
            last: i64::from(last),
            month,
            days: 0,
            ahead: 0,
            day: 0,
            midnight: i64::MIN,
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
        let mut second = from.wrapping_sub(self.midnight);
        // Most searches go on from the answer before.
        if !(0..DAY).contains(&second) {
            let today = from.div_euclid(DAY);
            self.turn_to(today, today)?;
            second = if self.day == today { from - self.midnight } else { 0 };
        }
        if second <= self.first {
            return Some(self.midnight + self.first);
        }
        if second <= self.last {
            return self.time_from(second).map(|time| self.midnight + time);
        }
        // The next day is most often one of the same month.
        if self.ahead != 0 && !self.filters {
            self.found(self.month.first() + i64::from(self.ahead.trailing_zeros()));
            self.ahead &= self.ahead - 1;
        } else {
            self.turn_to(self.day + 1, self.day)?;
        }
        Some(self.midnight + self.first)
    }

    /// Finds the first allowed day from `day` on, in a search that began on the day `begun`.
    fn turn_to(&mut self, day: i64, begun: i64) -> Option<()> {
        let end = self.high.div_euclid(DAY).min(begun + HORIZON / DAY);
        let day = match self.times {
            Times::Cron(_) => self.cron_day(day, end),
            Times::Days { first, step, .. } => {
                let turns = (day - first).max(0).div_euclid(step);
                let turns = turns + i64::from(first + turns * step < day);
                let days = (turns..).map(|n| first + n * step).take_while(|day| *day <= end);
                days.into_iter().find(|day| !self.filters || self.allows(*day))
            }
        };
        self.found(day?);
        Some(())
    }

    fn found(&mut self, day: i64) {
        (self.day, self.midnight) = (day, day * DAY);
    }

    fn cron_day(&mut self, day: i64, end: i64) -> Option<i64> {
        let mut before = day - self.month.first();
        if !(0..i64::from(self.month.length())).contains(&before) {
            // A walk goes from month to month.
            let month = if day == self.month.end() { self.month.next() } else { Month::of(day) };
            self.look_into(month);
            before = day - self.month.first();
        }
        self.ahead = self.days >> before << before;
        loop {
            while self.ahead != 0 {
                let day = self.month.first() + i64::from(self.ahead.trailing_zeros());
                self.ahead &= self.ahead - 1;
                if !self.filters || self.allows(day) {
                    return Some(day);
                }
            }
            if self.month.end() > end {
                return None;
            }
            self.look_into(self.month.next());
            self.ahead = self.days;
        }
    }

    fn look_into(&mut self, month: Month) {
        self.month = month;
        self.days = match self.times {
            Times::Cron(cron) => cron.days_in(month) >> 1,
            Times::Days { .. } => 0,
        };
    }

    fn allows(&self, day: i64) -> bool {
        date(day).is_some_and(|day| self.when.allows(day))
    }

    /// The first stated second at or after one that lies between the first and the last of a day.
    fn time_from(&self, from: i64) -> Option<i64> {
        match self.times {
            Times::Cron(cron) => cron.time_from(u32::try_from(from).ok()?).map(i64::from),
            Times::Days { .. } => Some(self.last),
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
