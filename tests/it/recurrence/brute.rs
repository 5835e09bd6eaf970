//! A second reading of when a rule is due: every minute of a window is looked at, every second where it has to be.
//!
//! It shares no code with the evaluator: no masks, no leaps, no calendar but chrono's. It is slow and short on
//! purpose, and takes from the crate only the words of a rule and what a zone's clock shows at an instant.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike};
use tixing::domain::when::Dst;
use tixing::domain::zone::Zone;

/// Seconds of the pieces that a zone's clock is looked at in: none changes there and back within one.
const PIECE: i64 = 3600;
const DAY: i64 = 86_400;
/// A longer gap corrects the calendar.
const MAX_GAP: i64 = 3 * 3600;

/// A rule as lists of what it allows.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) times: Times,
    pub(super) dst: Dst,
    pub(super) from: Option<NaiveDateTime>,
    pub(super) until: Option<NaiveDateTime>,
    pub(super) except: BTreeSet<NaiveDate>,
    pub(super) only: Option<Days>,
}

/// A calendar.
#[derive(Clone, Debug)]
pub(super) struct Days {
    pub(super) weekdays: Vec<u32>,
    pub(super) add: BTreeSet<NaiveDate>,
    pub(super) remove: BTreeSet<NaiveDate>,
}

#[derive(Clone, Debug)]
pub(super) enum Times {
    Cron {
        /// Each second, minute and hour: whether it is allowed.
        seconds: Vec<bool>,
        minutes: Vec<bool>,
        hours: Vec<bool>,
        months: Vec<u32>,
        days: Option<Vec<MonthDay>>,
        weekdays: Option<Vec<WeekDay>>,
        both: bool,
        wild: bool,
    },
    /// Each with whether the second pass is meant.
    At(Vec<(NaiveDateTime, bool)>),
    Days {
        starting: NaiveDateTime,
        step: i64,
    },
    Elapsed {
        starting: NaiveDateTime,
        step: i64,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum MonthDay {
    Plain(u32),
    Nearest(u32),
    Last,
    LastWeekday,
}

/// 0 is Sunday.
#[derive(Clone, Copy, Debug)]
pub(super) enum WeekDay {
    Every(u32),
    Nth(u32, u32),
    Last(u32),
}

/// An instant with the civil time that names it, and its pass.
pub(super) type Due = (i64, NaiveDateTime, u8);

/// A stretch of the clock: from, to, and seconds ahead of UTC.
type Piece = (i64, i64, i64);

fn offset(zone: Zone, at: i64) -> i64 {
    let utc = DateTime::from_timestamp(at, 0).unwrap().naive_utc();
    zone.tz().offset_from_utc_datetime(&utc).fix().local_minus_utc().into()
}

fn civil(at: i64) -> NaiveDateTime {
    DateTime::from_timestamp(at, 0).unwrap().naive_utc()
}

/// What the clock shows from `from` to `to`, looked at each hour, and ever closer where that changed.
fn pieces(zone: Zone, from: i64, to: i64) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = from.div_euclid(PIECE) * PIECE;
    while at < to {
        look(zone, at, at + PIECE, &mut pieces);
        at += PIECE;
    }
    pieces
}

fn look(zone: Zone, from: i64, to: i64, pieces: &mut Vec<Piece>) {
    let ahead = offset(zone, from);
    if to - from > 1 && offset(zone, to) != ahead {
        let middle = i64::midpoint(from, to);
        look(zone, from, middle, pieces);
        look(zone, middle, to, pieces);
        return;
    }
    match pieces.last_mut() {
        Some(last) if last.2 == ahead => last.1 = to,
        _ => pieces.push((from, to, ahead)),
    }
}

/// The change of the clock nearest after `from` and before `to`, if there is one.
pub(super) fn first_change(zone: Zone, from: i64, to: i64) -> Option<i64> {
    let step = 3 * DAY;
    let start = offset(zone, from);
    let mut at = from;
    while at < to && offset(zone, at + step) == start {
        at += step;
    }
    pieces(zone, at, (at + step).min(to)).get(1).map(|piece| piece.0)
}

impl Rule {
    /// Due times with `after < at <= until`.
    pub(super) fn dues(&self, zone: Zone, after: i64, until: i64) -> Vec<Due> {
        let all = match &self.times {
            Times::At(list) => self.singles(list, zone, after),
            Times::Elapsed { starting, step } => self.elapsed(*starting, *step, zone, (after, until)),
            Times::Cron { .. } | Times::Days { .. } => self.clocked(zone, after, until),
        };
        all.into_iter()
            .filter(|(at, ..)| after < *at && *at <= until)
            .map(|(at, (_, civil, fold))| (at, civil, fold))
            .collect()
    }

    fn clocked(&self, zone: Zone, after: i64, until: i64) -> BTreeMap<i64, (bool, NaiveDateTime, u8)> {
        let wall = match self.dst {
            Dst::Auto => matches!(self.times, Times::Cron { wild: true, .. }),
            Dst::Wall => true,
            Dst::Skip | Dst::Shift => false,
        };
        let mut found: BTreeMap<i64, (bool, NaiveDateTime, u8)> = BTreeMap::new();
        let (mut shown, mut before): (i64, Option<Piece>) = (i64::MIN, None);
        let mut day = (i64::MIN, false);
        for piece in pieces(zone, after - 2 * DAY, until + DAY) {
            let (start, end, ahead) = piece;
            if let Some((_, _, was)) = before {
                shown = shown.max(start - 1 + was);
                let gap = ahead - was;
                if gap > 0 && gap <= MAX_GAP && !wall {
                    let skipped = (start + was..start + ahead).filter(|civil| self.states(*civil, &mut day));
                    let skipped: Vec<i64> = skipped.collect();
                    match self.dst {
                        Dst::Auto => skipped.iter().take(1).for_each(|time| {
                            found.entry(start).or_insert((true, civil(*time), 0));
                        }),
                        Dst::Shift => skipped.iter().for_each(|time| {
                            found.entry(time - was).or_insert((true, civil(*time), 0));
                        }),
                        Dst::Skip | Dst::Wall => {}
                    }
                }
            }
            // Whole minutes are enough where a minute of the zone is one of UTC.
            let step = if self.has_seconds() || ahead % 60 != 0 { 1 } else { 60 };
            let mut at = start.div_euclid(step) * step;
            if at < start {
                at += step;
            }
            while at < end {
                let time = at + ahead;
                let second = time <= shown;
                if (wall || !second) && self.states(time, &mut day) {
                    found.insert(at, (false, civil(time), u8::from(second)));
                }
                at += step;
                if day == (time.div_euclid(DAY), false) {
                    // A day that is not chosen has no minute that is.
                    at = at.max((day.0 + 1) * DAY - ahead);
                }
            }
            before = Some(piece);
        }
        found
    }

    fn has_seconds(&self) -> bool {
        match &self.times {
            Times::Cron { seconds, .. } => seconds.iter().skip(1).any(|allowed| *allowed),
            Times::Days { starting, .. } => starting.second() != 0,
            Times::At(_) | Times::Elapsed { .. } => true,
        }
    }

    /// Whether it states a civil second; `day` remembers what was said of the last day.
    fn states(&self, time: i64, day: &mut (i64, bool)) -> bool {
        let (date, second) = (time.div_euclid(DAY), u32::try_from(time.rem_euclid(DAY)).unwrap());
        if day.0 != date {
            let of = civil(date * DAY).date();
            *day = (date, self.has_day(of) && self.allows(of));
        }
        day.1
            && match &self.times {
                Times::Cron { seconds, minutes, hours, .. } => {
                    let has = |list: &[bool], value: u32| list[usize::try_from(value).unwrap()];
                    has(minutes, second / 60 % 60) && has(hours, second / 3600) && has(seconds, second % 60)
                }
                Times::Days { starting, .. } => starting.num_seconds_from_midnight() == second,
                Times::At(_) | Times::Elapsed { .. } => unreachable!("they are no times of a day"),
            }
            && self.bounds(civil(time))
    }

    fn bounds(&self, time: NaiveDateTime) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time <= until)
    }

    fn allows(&self, day: NaiveDate) -> bool {
        let belongs = |days: &Days| {
            let weekly = days.weekdays.contains(&day.weekday().num_days_from_sunday());
            (weekly || days.add.contains(&day)) && !days.remove.contains(&day)
        };
        !self.except.contains(&day) && self.only.as_ref().is_none_or(belongs)
    }

    fn has_day(&self, day: NaiveDate) -> bool {
        let Times::Cron { months, days, weekdays, both, .. } = &self.times else {
            let Times::Days { starting, step } = &self.times else { unreachable!("they are no days") };
            let since = (day - starting.date()).num_days();
            return since >= 0 && since % step == 0;
        };
        if !months.contains(&day.month()) {
            return false;
        }
        let by_day = days.as_ref().map(|days| days.iter().any(|item| is_month_day(*item, day)));
        let by_weekday = weekdays.as_ref().map(|days| days.iter().any(|item| is_week_day(*item, day)));
        match (by_day, by_weekday) {
            (Some(a), Some(b)) if *both => a && b,
            (Some(a), Some(b)) => a || b,
            (one, other) => one.or(other).unwrap_or(true),
        }
    }

    fn singles(
        &self,
        list: &[(NaiveDateTime, bool)],
        zone: Zone,
        near: i64,
    ) -> BTreeMap<i64, (bool, NaiveDateTime, u8)> {
        let mut found: BTreeMap<i64, (bool, NaiveDateTime, u8)> = BTreeMap::new();
        for (time, second) in list {
            let stated = time.and_utc().timestamp();
            if (stated - near).abs() > 60 * DAY || !self.allows(time.date()) || !self.bounds(*time) {
                continue;
            }
            let around = pieces(zone, stated - 2 * DAY, stated + 2 * DAY);
            let shown = around.iter().map(|(start, end, ahead)| (stated - ahead, start, end));
            let shown: Vec<i64> =
                shown.filter(|(at, start, end)| *start <= at && at < end).map(|(at, ..)| at).collect();
            let one = match (shown.as_slice(), second) {
                ([first, ..], false) => Some((*first, false)),
                ([.., last], true) => Some((*last, false)),
                ([], _) => {
                    let gap = around
                        .windows(2)
                        .find(|pair| pair[0].1 + pair[0].2 <= stated && stated < pair[1].0 + pair[1].2);
                    let (before, after) = (gap.unwrap()[0], gap.unwrap()[1]);
                    match self.dst {
                        _ if after.2 - before.2 > MAX_GAP => None,
                        Dst::Auto => Some((after.0, true)),
                        Dst::Shift => Some((stated - before.2, true)),
                        Dst::Skip | Dst::Wall => None,
                    }
                }
            };
            if let Some((at, moved)) = one {
                let named = (moved, *time, u8::from(*second && !moved));
                let best = found.get(&at).copied().map_or(named, |other| other.min(named));
                found.insert(at, best);
            }
        }
        found
    }

    fn elapsed(
        &self,
        starting: NaiveDateTime,
        step: i64,
        zone: Zone,
        (after, until): (i64, i64),
    ) -> BTreeMap<i64, (bool, NaiveDateTime, u8)> {
        let stated = starting.and_utc().timestamp();
        let first = (pieces(zone, stated - 2 * DAY, stated + 2 * DAY).into_iter())
            .find_map(|(start, end, ahead)| Some((stated - ahead).max(start)).filter(|at| *at < end))
            .unwrap();
        let mut found = BTreeMap::new();
        let (mut shown, mut before): (i64, Option<Piece>) = (i64::MIN, None);
        for piece in pieces(zone, after - 2 * DAY, until + 1) {
            let (start, end, ahead) = piece;
            shown = before.map_or(shown, |(_, _, was)| shown.max(start - 1 + was));
            let turns = ((start - first).max(0) + step - 1) / step;
            for n in (turns..).take_while(|n| first + n * step < end) {
                let at = first + n * step;
                let time = at + ahead;
                if self.allows(civil(time).date()) && self.bounds(civil(time)) {
                    found.insert(at, (false, civil(time), u8::from(time <= shown)));
                }
            }
            before = Some(piece);
        }
        found
    }
}

fn last_of(day: NaiveDate) -> NaiveDate {
    day.with_day(u32::from(day.num_days_in_month())).unwrap()
}

fn is_month_day(item: MonthDay, day: NaiveDate) -> bool {
    match item {
        MonthDay::Plain(n) => day.day() == n,
        MonthDay::Last => day == last_of(day),
        MonthDay::LastWeekday => Some(day) == nearest(last_of(day)),
        MonthDay::Nearest(n) => day.with_day(n).is_some_and(|to| Some(day) == nearest(to)),
    }
}

/// The nearest day from Monday to Friday in the same month.
fn nearest(to: NaiveDate) -> Option<NaiveDate> {
    let near = [0, -1, 1, -2, 2].map(|n| to + TimeDelta::days(n));
    near.into_iter().find(|day| day.month() == to.month() && day.weekday().number_from_monday() <= 5)
}

fn is_week_day(item: WeekDay, day: NaiveDate) -> bool {
    let weekday = day.weekday().num_days_from_sunday();
    match item {
        WeekDay::Every(of) => weekday == of,
        WeekDay::Nth(of, n) => weekday == of && (day.day() - 1) / 7 + 1 == n,
        WeekDay::Last(of) => weekday == of && (day + TimeDelta::days(7)).month() != day.month(),
    }
}
