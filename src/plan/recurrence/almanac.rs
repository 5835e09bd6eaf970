//! Seconds made dates and times, each from the one before it.
//!
//! Due times of a walk lie near each other: most share a day or a year, so a date costs an addition where one from
//! scratch costs several divisions. Nothing is known here of zones or rules.

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime};

use super::{DAY, civil_time, instant};
use crate::domain::occurrence::Due;

/// A calendar that lies open at the day last asked for.
#[derive(Debug, Default)]
pub(super) struct Almanac {
    /// That day's first second since 1970, and the day.
    midnight: i64,
    date: NaiveDate,
}

impl Almanac {
    /// What is due at `at`, where the clock shows `civil`; both seconds since 1970.
    pub(super) fn due(&mut self, at: i64, civil: i64, fold: u8) -> Due {
        let date = self.date(civil);
        let second = civil.wrapping_sub(self.midnight);
        // In UTC it may be the day before or after.
        let utc = second.wrapping_sub(civil.wrapping_sub(at));
        let (day, utc) = match utc {
            0..DAY => (date, utc),
            DAY.. => (date.and_then(|date| date.succ_opt()), utc - DAY),
            ..0 => (date.and_then(|date| date.pred_opt()), utc.wrapping_add(DAY)),
        };
        Due {
            at: time(day, utc).map_or_else(|| instant(at), |time| time.and_utc()),
            civil: time(date, second).unwrap_or_else(|| civil_time(civil)),
            fold,
        }
    }

    /// The date of a second since 1970; `None` beyond the calendar.
    pub(super) fn date(&mut self, seconds: i64) -> Option<NaiveDate> {
        let second = seconds.wrapping_sub(self.midnight);
        if (0..DAY).contains(&second) {
            return Some(self.date);
        }
        let days = second.div_euclid(DAY);
        self.date = match u64::try_from(days) {
            Ok(1) => self.date.succ_opt(),
            Ok(days) => self.date.checked_add_days(Days::new(days)),
            Err(_before) => self.date.checked_sub_days(Days::new(days.unsigned_abs())),
        }?;
        self.midnight += days * DAY;
        Some(self.date)
    }
}

/// `None` without a date, and where `second` is none of a day.
fn time(date: Option<NaiveDate>, second: i64) -> Option<NaiveDateTime> {
    let second = u32::try_from(second).ok()?;
    Some(date?.and_time(NaiveTime::from_num_seconds_from_midnight_opt(second, 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_due_time_is_the_same_from_wherever_it_is_asked() {
        let ends = [i64::MIN, i64::MIN / 2, -8_000_000_000_000, 8_000_000_000_000, i64::MAX / 2, i64::MAX];
        let near = [-DAY - 1, -DAY, -1, 0, 1, DAY - 1, DAY, DAY + 1, 31 * DAY, 366 * DAY, 400 * 366 * DAY];
        let all: Vec<i64> = ends.into_iter().chain(near).chain((0..300).map(|n| n * 7_777_777)).collect();
        let offsets = [0, 28_800, -18_000, DAY - 1, 1 - DAY, 2 * DAY, -2 * DAY];
        for from in &all {
            let mut almanac = Almanac::default();
            almanac.date(*from);
            for (to, offset) in all.iter().flat_map(|to| offsets.map(|offset| (*to, offset))) {
                let at = to.saturating_sub(offset);
                let expected = Due { at: instant(at), civil: civil_time(to), fold: 1 };
                assert_eq!(almanac.due(at, to, 1), expected, "{from} {to} {offset}");
            }
        }
    }
}
