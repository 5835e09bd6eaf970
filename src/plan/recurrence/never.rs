//! Rules that can never be due, found without a search through their future.
//!
//! After the last day that a calendar or a list names, days repeat themselves, so a span of 41 years around those
//! days has all that a rule may ever state. That its times have passed is another matter, and not judged here.

use chrono::NaiveDate;

use super::stated::{NEVER, Stated, bounds};
use super::{DAY, HORIZON, Kind, Window, civil_seconds, dues, instant, kind};
use crate::domain::when::{Except, Form, When};
use crate::domain::zone::Zone;

/// What keeps a rule from ever being due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {
    /// Nothing is stated between `from` and `until`.
    Bounds,
    /// No stated day belongs to a calendar of `only`.
    Only,
    /// `except` takes out every day that is left.
    Except,
}

/// Why a rule can never be due; `None` when it can, or could.
#[must_use]
pub fn never(when: &When, zone: Zone) -> Option<Never> {
    // What appointments there will be, nobody knows.
    if matches!(when.form, Form::Relative(_)) || is_ever_stated(when, zone) {
        return None;
    }
    let without_except = When { except: Except::default(), ..when.clone() };
    if is_ever_stated(&without_except, zone) {
        return Some(Never::Except);
    }
    let bounded = When { only: Vec::new(), ..without_except };
    Some(if is_ever_stated(&bounded, zone) { Never::Only } else { Never::Bounds })
}

fn is_ever_stated(when: &When, zone: Zone) -> bool {
    let (low, high) = bounds(when);
    match kind(when) {
        Kind::Clock(times, _) => {
            let (first, last) = named_days(when).unwrap_or_default();
            let begin = times.begin(when).max(first.min(high).saturating_sub(HORIZON));
            let limit = begin.max(last).saturating_add(HORIZON);
            Stated::new(when, times, limit).at_or_after(begin) != NEVER
        }
        Kind::Singles(times) => times
            .iter()
            .any(|time| (low..=high).contains(&civil_seconds(time.civil)) && when.allows(time.civil.date())),
        Kind::Elapsed(starting, _) => {
            let begin = civil_seconds(starting).saturating_sub(2 * DAY);
            let window = Window { after: instant(begin), until: chrono::DateTime::<chrono::Utc>::MAX_UTC };
            dues(when, zone, window).next().is_some()
        }
    }
}

/// The first and the last civil second of the days that calendars and exceptions name.
fn named_days(when: &When) -> Option<(i64, i64)> {
    let Except { days, calendars } = &when.except;
    let lists = calendars.iter().chain(&when.only).flat_map(|calendar| [&calendar.add, &calendar.remove]);
    let seconds = |day: &NaiveDate| i64::from(day.to_epoch_days()) * DAY;
    let ends =
        lists.chain([days]).filter_map(|days| Some((seconds(days.first()?), seconds(days.last()?) + DAY)));
    ends.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))
}
