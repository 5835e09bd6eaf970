//! When a rule is due: civil times of a recurrence made instants of a zone.
//!
//! An evaluator of our own, because no library passes the oracle of `tests/it/recurrence.rs`: it walks
//! stretches of constant offset with the rule's bit masks. A due time depends on rule and zone data
//! alone, never on where a search began or how the time was cut into windows. Grace, spread and quiet
//! hours are decided elsewhere.

mod changes;
mod segments;

use std::cmp::Ordering;
use std::collections::VecDeque;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Utc};

pub use self::changes::{Fate, Touched, touched};
use self::segments::{Segment, Segments};
use crate::domain::occurrence::Due;
use crate::domain::rule::Rule;
use crate::domain::when::{Cron, When};
use crate::domain::zone::Zone;

/// The most due times that one call returns; the rest is left for the next window.
pub const MAX_OCCURRENCES: usize = 1000;
/// The longest gap that is a clock change, in seconds; a longer one corrects the calendar (Apia 2011).
const MAX_GAP: i64 = 3 * 3600;
/// How far back a change may lie that still repeats civil times now, in seconds: no zone repeated more than a day.
const LOOK_BACK: i64 = 26 * 3600;
/// How far a search goes, in seconds: 29 February is up to 8 years away.
const HORIZON: i64 = 9 * 366 * DAY;
const DAY: i64 = 86_400;

/// What becomes of civil times that a clock change skips or repeats.
///
/// Under all of them nothing fires for a gap of more than 3 h.
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
/// coincide are one due time, named by the one that the clock does show. An [`When::At`] time takes the
/// first pass of an overlap under every policy.
#[must_use]
pub fn occurrences(when: &When, zone: Zone, dst: Dst, window: Window) -> Vec<Due> {
    first(when, zone, dst, window, MAX_OCCURRENCES)
}

/// The first due time after `after`; `None` when there is none left.
#[must_use]
pub fn next(when: &When, zone: Zone, dst: Dst, after: DateTime<Utc>) -> Option<Due> {
    first(when, zone, dst, open_window(when, after), 1).first().copied()
}

/// The last due time at or before `until`, looked for over the 9 years before it; `None` when there is none.
#[must_use]
pub fn last(when: &When, zone: Zone, dst: Dst, until: DateTime<Utc>) -> Option<Due> {
    // Ever longer looks back: most rules were due within the first.
    [3600, DAY, 8 * DAY, 62 * DAY, 800 * DAY, HORIZON].into_iter().find_map(|span| {
        let mut after = instant(until.timestamp().saturating_sub(span).saturating_sub(1));
        let mut last = None;
        loop {
            let dues = occurrences(when, zone, dst, Window { after, until });
            let full = dues.len() == MAX_OCCURRENCES;
            last = dues.last().copied().or(last);
            match last.filter(|_| full) {
                Some(due) => after = due.at,
                None => return last,
            }
        }
    })
}

/// The next `n` due times of a rule, for previews; at most [`MAX_OCCURRENCES`], of a cron expression none over 9 years away.
#[must_use]
pub fn next_dues(rule: &Rule, after: DateTime<Utc>, n: usize) -> Vec<Due> {
    first(&rule.when, rule.zone, Dst::default(), open_window(&rule.when, after), n.min(MAX_OCCURRENCES))
}

fn open_window(when: &When, after: DateTime<Utc>) -> Window {
    let until = match when {
        When::Cron(_) => instant(after.timestamp().saturating_add(HORIZON)),
        When::At(_) => DateTime::<Utc>::MAX_UTC,
    };
    Window { after, until }
}

fn first(when: &When, zone: Zone, dst: Dst, window: Window, n: usize) -> Vec<Due> {
    // Due times are whole seconds, so the window's parts of seconds do not matter: x > 10.5 is x > 10.
    let (after, until) = (window.after.timestamp(), window.until.timestamp());
    match when {
        When::Cron(cron) => Walk::new(cron, zone, dst, after, until).take(n).collect(),
        When::At(times) => {
            let near = |time: &&NaiveDateTime| {
                let civil = time.and_utc().timestamp();
                civil > after.saturating_sub(2 * DAY) && civil < until.saturating_add(2 * DAY)
            };
            let mut dues: Vec<_> =
                times.iter().filter(near).filter_map(|time| place(*time, zone, dst)).collect();
            // Where two coincide, the one that the clock shows comes first and stays.
            dues.sort_by_key(|(due, moved)| (due.at, *moved, due.civil));
            dues.dedup_by_key(|(due, _)| due.at);
            let within = |at: i64| after < at && at <= until;
            dues.into_iter().map(|(due, _)| due).filter(|due| within(due.at.timestamp())).take(n).collect()
        }
    }
}

/// The due times of a cron expression after `after` and until `until`, both seconds since 1970.
struct Walk<'a> {
    cron: &'a Cron,
    dst: Dst,
    after: i64,
    until: i64,
    segments: Segments,
    segment: Segment,
    /// Where the search goes on.
    at: i64,
    /// Until here civil times are a second pass.
    second_until: i64,
    /// Firings for times that a gap skipped, ascending.
    skipped: VecDeque<Due>,
}

impl<'a> Walk<'a> {
    fn new(cron: &'a Cron, zone: Zone, dst: Dst, after: i64, until: i64) -> Self {
        let dst = match dst {
            Dst::Auto if cron.is_wild() => Dst::Wall,
            Dst::Auto | Dst::Skip | Dst::Wall | Dst::Shift => dst,
        };
        let mut segments = Segments::before(zone, after.saturating_sub(LOOK_BACK));
        let segment = segments.next().expect("segments have no end");
        let (at, skipped) = (after.saturating_add(1), VecDeque::new());
        let mut walk =
            Self { cron, dst, after, until, segments, segment, at, second_until: i64::MIN, skipped };
        while walk.segment.end <= walk.at && walk.segment.end <= until {
            walk.enter_next_segment();
        }
        walk
    }

    fn enter_next_segment(&mut self) {
        let before = self.segment;
        self.segment = self.segments.next().expect("segments have no end");
        let Segment { start, offset, .. } = self.segment;
        self.at = self.at.max(start);
        let forward = offset - before.offset;
        if forward < 0 {
            self.second_until = self.second_until.max(start - forward);
        }
        if forward <= 0 || forward > MAX_GAP {
            return;
        }
        let mut civil = start + before.offset;
        let gap_end = start + offset;
        while let Some(hit) = next_match(self.cron, civil, gap_end) {
            let at = match self.dst {
                Dst::Skip | Dst::Wall => return,
                Dst::Auto => start,
                Dst::Shift => hit - before.offset,
            };
            if at > self.after {
                self.skipped.push_back(Due { at: instant(at), civil: civil_time(hit), fold: 0 });
            }
            if self.dst == Dst::Auto {
                return;
            }
            civil = hit + 1;
        }
    }

    /// The next time that the clock shows in this segment.
    fn shown(&mut self) -> Option<Due> {
        match self.dst {
            Dst::Wall => {}
            Dst::Auto | Dst::Skip | Dst::Shift => self.at = self.at.max(self.second_until),
        }
        let Segment { end, offset, .. } = self.segment;
        let end = end.min(self.until.saturating_add(1));
        let civil = next_match(self.cron, self.at.saturating_add(offset), end.saturating_add(offset))?;
        let at = civil - offset;
        let fold = u8::from(at < self.second_until);
        Some(Due { at: instant(at), civil: civil_time(civil), fold })
    }
}

impl Iterator for Walk<'_> {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            let shown = self.shown();
            if let Some(skipped) = self.skipped.front().copied() {
                // Beyond this segment the clock may show earlier times than the next shifted one.
                let bound = shown.map_or(self.segment.end, |shown| shown.at.timestamp());
                match skipped.at.timestamp().cmp(&bound) {
                    Ordering::Less => {
                        self.skipped.pop_front();
                        return (skipped.at.timestamp() <= self.until).then_some(skipped);
                    }
                    Ordering::Equal if shown.is_some() => drop(self.skipped.pop_front()),
                    Ordering::Equal | Ordering::Greater => {}
                }
            }
            if let Some(shown) = shown {
                self.at = shown.at.timestamp() + 1;
                return Some(shown);
            }
            if self.segment.end > self.until {
                return None;
            }
            self.enter_next_segment();
        }
    }
}

/// The first match in `from <= civil < until`, all in civil seconds since 1970.
fn next_match(cron: &Cron, from: i64, until: i64) -> Option<i64> {
    let (mut day, mut second) = (from.div_euclid(DAY), from.rem_euclid(DAY));
    while day * DAY < until {
        let date = date(day)?;
        if cron.has_month(date.month()) {
            let time = u32::try_from(second).ok().filter(|_| cron.has_day(date));
            if let Some(time) = time.and_then(|second| cron.time_from(second)) {
                let civil = day * DAY + i64::from(time);
                return (civil < until).then_some(civil);
            }
            day += 1;
        } else {
            day += i64::from(date.num_days_in_month()) - i64::from(date.day0());
        }
        second = 0;
    }
    None
}

/// The instant of a single civil time, and whether it had to be moved out of a gap.
fn place(time: NaiveDateTime, zone: Zone, dst: Dst) -> Option<(Due, Moved)> {
    let civil = time.and_utc().timestamp();
    let due = |at: i64| Due { at: instant(at), civil: time, fold: 0 };
    let mut before: Option<Segment> = None;
    for segment in Segments::before(zone, civil - LOOK_BACK) {
        let Segment { start, end, offset } = segment;
        if civil < end + offset {
            if start + offset <= civil {
                return Some((due(civil - offset), Moved::No));
            }
            let gap = offset - before?.offset;
            return match dst {
                Dst::Auto if gap <= MAX_GAP => Some((due(start), Moved::Yes)),
                Dst::Shift if gap <= MAX_GAP => Some((due(civil - before?.offset), Moved::Yes)),
                Dst::Auto | Dst::Shift | Dst::Skip | Dst::Wall => None,
            };
        }
        before = Some(segment);
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moved {
    No,
    Yes,
}

fn date(day: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(day).ok()?)
}

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn civil_time(seconds: i64) -> NaiveDateTime {
    instant(seconds).naive_utc()
}

#[cfg(test)]
mod tests;
