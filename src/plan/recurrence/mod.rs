//! When a rule is due: civil times of a recurrence made instants of a zone.
//!
//! An evaluator of our own, because no library passes the oracle of `tests/it/recurrence.rs`: it walks
//! stretches of constant offset with the rule's bit masks. A due time depends on rule and zone data
//! alone, never on where a search began or how the time was cut into windows. Grace, spread and quiet
//! hours are decided elsewhere.

mod almanac;
mod changes;
mod elapsed;
mod never;
mod relative;
mod segments;
mod singles;
mod stated;
mod walk;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Timelike as _, Utc};

pub use self::changes::{Fate, Touched, touched};
use self::elapsed::Elapsed;
pub use self::never::{Never, never};
pub use self::relative::{longest_after, reach, reminder};
use self::singles::Singles;
pub use self::singles::{Showing, showing};
use self::stated::{Stated, Times};
use self::walk::Walk;
use crate::domain::occurrence::Due;
use crate::domain::rule::Rule;
use crate::domain::when::{Dst, Every, Form, Period, Single, When};
use crate::domain::zone::Zone;

/// The most due times that [`occurrences`] returns; the rest is left for the next window.
pub const MAX_OCCURRENCES: usize = 1000;
/// The longest gap that is a clock change, in seconds; a longer one corrects the calendar (Apia 2011).
const MAX_GAP: i64 = 3 * 3600;
/// How far back a change may lie that still repeats civil times now, in seconds: no zone repeated more than a day.
const LOOK_BACK: i64 = 26 * 3600;
/// How far a search goes, in seconds: a 29 February on a certain day of the week is up to 40 years away.
const HORIZON: i64 = 41 * 366 * DAY;
const DAY: i64 = 86_400;
/// The time of day, in UTC, of appointments that texts are tried on.
const TRIAL: TimeDelta = TimeDelta::minutes(90);

/// A half-open span of instants: `after < at <= until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The last instant before it.
    pub after: DateTime<Utc>,
    /// Its last instant.
    pub until: DateTime<Utc>,
}

/// Due times in `window`, their instants strictly ascending.
///
/// At most [`MAX_OCCURRENCES`]: when there are so many, ask again with `after` at the last one. Times that
/// coincide are one due time, named by the one that the clock does show.
#[must_use]
pub fn occurrences(when: &When, zone: Zone, window: Window) -> Vec<Due> {
    dues(when, zone, window).take(MAX_OCCURRENCES).collect()
}

/// The first due time after `after`; `None` when there is none left.
#[must_use]
pub fn next(when: &When, zone: Zone, after: DateTime<Utc>) -> Option<Due> {
    dues(when, zone, open_window(after)).next()
}

/// The last due time at or before `until`, looked for over the 41 years before it; `None` when there is none.
#[must_use]
pub fn last(when: &When, zone: Zone, until: DateTime<Utc>) -> Option<Due> {
    // Ever longer looks back: most rules were due within the first.
    [3600, DAY, 8 * DAY, 62 * DAY, 800 * DAY, HORIZON].into_iter().find_map(|span| {
        let after = instant(until.timestamp().saturating_sub(span).saturating_sub(1));
        dues(when, zone, Window { after, until }).last()
    })
}

/// The next `n` due times of a rule, for previews; of one that goes on, none over 41 years away.
#[must_use]
pub fn next_dues(rule: &Rule, after: DateTime<Utc>, n: usize) -> Vec<Due> {
    if let Form::Relative(relative) = &rule.when.form {
        // As if there were an appointment each morning, so that its texts can be tried.
        let morning = |day| reminder(&rule.when, relative, rule.zone, after + TimeDelta::days(day) + TRIAL);
        return (1..=3660).filter_map(morning).take(n).collect();
    }
    dues(&rule.when, rule.zone, open_window(after)).take(n).collect()
}

/// Due times in `window`, one by one and without their number having a bound; strictly ascending.
#[must_use]
pub fn dues(when: &When, zone: Zone, window: Window) -> Dues<'_> {
    // Due times are whole seconds, so the window's parts of seconds do not matter: x > 10.5 is x > 10.
    let (after, until) = (window.after.timestamp(), window.until.timestamp());
    Dues(match kind(when) {
        Kind::Clock(times, dst) => {
            let limit = until.saturating_add(2 * DAY);
            Forms::Clock(Walk::new(Stated::new(when, times, limit), zone, dst, after, until))
        }
        Kind::Singles(times) => Forms::Singles(Singles::new(when, times, zone, after, until)),
        Kind::Elapsed(starting, step) => {
            Forms::Elapsed(Elapsed::new(when, (starting, step), zone, after, until))
        }
    })
}

/// Due times in order; see [`dues`].
#[derive(Debug)]
pub struct Dues<'a>(Forms<'a>);

#[derive(Debug)]
enum Forms<'a> {
    Clock(Walk<'a>),
    Singles(Singles<'a>),
    Elapsed(Elapsed<'a>),
}

impl Iterator for Dues<'_> {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        match &mut self.0 {
            Forms::Clock(walk) => walk.next(),
            Forms::Singles(singles) => singles.next(),
            Forms::Elapsed(elapsed) => elapsed.next(),
        }
    }
}

/// Whether the rule states a time of this civil day.
#[must_use]
pub fn is_stated_on(when: &When, zone: Zone, day: NaiveDate) -> bool {
    let midnight = i64::from(day.to_epoch_days()) * DAY;
    let is_within = |civil: i64| (midnight..midnight + DAY).contains(&civil);
    match kind(when) {
        Kind::Clock(times, _) => is_within(Stated::new(when, times, midnight + DAY).at_or_after(midnight)),
        Kind::Singles(times) => {
            when.allows(day) && times.iter().any(|time| is_within(civil_seconds(time.civil)))
        }
        Kind::Elapsed(..) => {
            let window = Window { after: instant(midnight - DAY), until: instant(midnight + 2 * DAY) };
            dues(when, zone, window).any(|due| due.civil.date() == day)
        }
    }
}

/// How due times are found.
enum Kind<'a> {
    /// Times of a day on days of the calendar, with the policy that holds for them.
    Clock(Times<'a>, Dst),
    /// One by one.
    Singles(&'a [Single]),
    /// After a beginning, every so many seconds.
    Elapsed(NaiveDateTime, i64),
}

fn kind(when: &When) -> Kind<'_> {
    match &when.form {
        Form::Cron(cron) => {
            let dst = match when.dst {
                Dst::Auto if cron.is_wild() => Dst::Wall,
                Dst::Auto | Dst::Skip | Dst::Wall | Dst::Shift => when.dst,
            };
            Kind::Clock(Times::Cron(cron), dst)
        }
        Form::At(times) => Kind::Singles(times),
        Form::Relative(_) => Kind::Singles(&[]),
        Form::Every(Every { period: Period::Days(n), starting }) => {
            let first = i64::from(starting.date().to_epoch_days());
            let (step, second) = (i64::from((*n).max(1)), starting.num_seconds_from_midnight());
            Kind::Clock(Times::Days { first, step, second }, when.dst)
        }
        Form::Every(Every { period: Period::Elapsed(step), starting }) => {
            let seconds = i64::try_from(step.as_secs().max(1)).unwrap_or(i64::MAX / 2);
            Kind::Elapsed(*starting, seconds)
        }
    }
}

fn open_window(after: DateTime<Utc>) -> Window {
    Window { after, until: DateTime::<Utc>::MAX_UTC }
}

fn due(at: i64, civil: i64, fold: u8) -> Due {
    Due { at: instant(at), civil: civil_time(civil), fold }
}

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn civil_time(seconds: i64) -> NaiveDateTime {
    instant(seconds).naive_utc()
}

fn civil_seconds(time: NaiveDateTime) -> i64 {
    time.and_utc().timestamp()
}

#[cfg(test)]
mod tests;
