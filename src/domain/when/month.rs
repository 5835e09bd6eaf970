//! One month of the calendar as numbers, so that a walk over days need not look at each of them.
//!
//! Days are bits here: bit 1 is the 1st. Which days a rule chooses is not known here, nor any time of day.

/// Days that 400 years have, after which the calendar repeats itself.
const ERA: i64 = 146_097;

/// A month of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month {
    year: i64,
    number: u32,
    first: i64,
    length: u32,
}

impl Month {
    /// The month of a day, which is counted from 1970-01-01.
    #[must_use]
    pub fn of(day: i64) -> Self {
        // The year begins on 1 March here, so that the leap day is its last.
        let shifted = day + 719_468;
        let in_era = shifted.rem_euclid(ERA);
        let year_of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * in_year + 2) / 153;
        let first = day - (in_year - (153 * month + 2) / 5);
        let number = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + shifted.div_euclid(ERA) * 400 + i64::from(number <= 2);
        let number = u32::try_from(number).expect("a month is 1–12");
        Self { year, number, first, length: length(year, number) }
    }

    /// The month after it.
    #[must_use]
    pub fn next(self) -> Self {
        let (year, number) =
            if self.number == 12 { (self.year + 1, 1) } else { (self.year, self.number + 1) };
        Self { year, number, first: self.end(), length: length(year, number) }
    }

    /// 1–12.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// Its first day, counted from 1970-01-01.
    #[must_use]
    pub fn first(self) -> i64 {
        self.first
    }

    /// The first day of the month after it, counted from 1970-01-01.
    #[must_use]
    pub fn end(self) -> i64 {
        self.first + i64::from(self.length)
    }

    /// How many days it has.
    #[must_use]
    pub fn length(self) -> u32 {
        self.length
    }

    /// The day of the week of its day `day`: 0 is Sunday.
    #[must_use]
    pub fn weekday(self, day: u32) -> u32 {
        u32::try_from((self.first + i64::from(day) + 3).rem_euclid(7)).expect("a weekday is 0–6")
    }

    /// All its days.
    #[must_use]
    pub fn all(self) -> u32 {
        u32::MAX >> (31 - self.length) & !1
    }

    /// Its days that fall on `weekdays`, of which bit 0 is Sunday.
    #[must_use]
    pub fn on(self, weekdays: u8) -> u32 {
        // A week that begins with the 1st, five times in a row.
        const WEEKS: u64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28;
        let days = (self.week(weekdays) * WEEKS) << 1;
        u32::try_from(days & u64::from(u32::MAX)).expect("32 bits are left") & self.all()
    }

    /// Its days that are the `n`-th (1–5) of one of `weekdays`.
    #[must_use]
    pub fn nth(self, n: u32, weekdays: u8) -> u32 {
        let days = self.week(weekdays) << (7 * (n - 1) + 1);
        u32::try_from(days & u64::from(u32::MAX)).expect("32 bits are left") & self.all()
    }

    /// Its days that are the last of one of `weekdays`.
    #[must_use]
    pub fn last(self, weekdays: u8) -> u32 {
        self.on(weekdays) & !(self.all() >> 7)
    }

    /// Those of `weekdays` with the weekday of the 1st as bit 0.
    fn week(self, weekdays: u8) -> u64 {
        let first = self.weekday(1);
        u64::from((u32::from(weekdays) >> first | u32::from(weekdays) << (7 - first)) & 0x7f)
    }
}

fn length(year: i64, number: u32) -> u32 {
    match number {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike as _, NaiveDate};

    use super::*;

    /// chrono's calendar against ours, each day of 500 years.
    #[test]
    fn days_are_those_of_the_calendar() {
        let day = NaiveDate::from_ymd_opt(1700, 1, 1).expect("a day");
        let mut month = Month::of(i64::from(day.to_epoch_days()));
        for date in day.iter_days().take(500 * 366) {
            let day = i64::from(date.to_epoch_days());
            if day == month.end() {
                month = month.next();
            }
            assert_eq!(Month::of(day), month, "{date}");
            let (n, weekday) = (date.day(), date.weekday().num_days_from_sunday());
            assert_eq!((i64::from(date.year()), date.month()), (month.year, month.number), "{date}");
            assert_eq!(day - i64::from(date.day0()), month.first(), "{date}");
            assert_eq!(month.weekday(n), weekday, "{date}");
            let has = |days: u32| days >> n & 1 == 1;
            assert!(has(month.all()) && month.all().count_ones() == month.length(), "{date}");
            for other in 0..7 {
                let (set, same) = (1 << other, weekday == other);
                assert_eq!(has(month.on(set)), same, "{date}");
                assert_eq!(has(month.last(set)), same && n + 7 > month.length(), "{date}");
                for nth in 1..=5 {
                    assert_eq!(has(month.nth(nth, set)), same && n.div_ceil(7) == nth, "{date}");
                }
            }
        }
    }
}
