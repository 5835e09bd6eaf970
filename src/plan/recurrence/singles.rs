//! Single civil times made instants, and what a zone's clock does with one.
//!
//! A time in a gap moves as the policy says; of two that meet, the one that the clock shows stays.

use std::slice::Iter;

use chrono::NaiveDateTime;

use super::segments::{Segment, Segments};
use super::stated::bounds;
use super::{LOOK_BACK, MAX_GAP, civil_seconds, due};
use crate::domain::occurrence::Due;
use crate::domain::when::{Dst, Pass, Single, When};
use crate::domain::zone::Zone;

/// More than any zone is ahead of or behind UTC, in seconds.
const MAX_OFFSET: i64 = 16 * 3600;
/// How far a policy or an overlap moves a time at most, with the offset, in seconds.
const REACH: i64 = LOOK_BACK + MAX_OFFSET;

/// What the clock of a zone does with a civil time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Showing {
    /// It shows it once.
    Once,
    /// It shows it twice.
    Twice,
    /// It skips it, and shows this civil time instead.
    Skipped(NaiveDateTime),
    /// It skips it with so much else that the calendar was corrected: nothing moves.
    NoSuchDay,
}

/// What the clock of `zone` does with `civil`.
#[must_use]
pub fn showing(civil: NaiveDateTime, zone: Zone) -> Showing {
    match place(civil_seconds(civil), zone) {
        Place::Shown { second: None, .. } => Showing::Once,
        Place::Shown { second: Some(_), .. } => Showing::Twice,
        Place::Skipped { end, length, .. } if length <= MAX_GAP => {
            Showing::Skipped(super::civil_time(end.start + end.offset))
        }
        Place::Skipped { .. } => Showing::NoSuchDay,
    }
}

/// The first instant at which the clock shows `civil`, or more.
pub(super) fn reached(civil: NaiveDateTime, zone: Zone) -> i64 {
    match place(civil_seconds(civil), zone) {
        Place::Shown { first, .. } => first,
        Place::Skipped { end, .. } => end.start,
    }
}

enum Place {
    Shown {
        first: i64,
        second: Option<i64>,
    },
    Skipped {
        /// The segment after the gap.
        end: Segment,
        /// The instant as it would have been by the clock before it.
        shifted: i64,
        length: i64,
    },
}

fn place(civil: i64, zone: Zone) -> Place {
    let mut segments = Segments::before(zone, civil.saturating_sub(REACH));
    let mut before = segments.next().expect("segments have no end");
    loop {
        let here = civil - before.offset;
        if here < before.end {
            break;
        }
        let after = segments.next().expect("segments have no end");
        if civil < after.start + after.offset {
            return Place::Skipped { end: after, shifted: here, length: after.offset - before.offset };
        }
        before = after;
    }
    let first = civil - before.offset;
    let mut second = None;
    while before.end <= first + LOOK_BACK && second.is_none() {
        before = segments.next().expect("segments have no end");
        second = Some(civil - before.offset).filter(|at| (before.start..before.end).contains(at));
    }
    Place::Shown { first, second }
}

/// The due times of a list, in order.
#[derive(Debug)]
pub(super) struct Singles<'a> {
    when: &'a When,
    zone: Zone,
    after: i64,
    until: i64,
    rest: Iter<'a, Single>,
    /// Placed ones that a later one of the list may still come before, the first of them last.
    waiting: Vec<(Due, Moved)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moved {
    No,
    Yes,
}

impl<'a> Singles<'a> {
    pub(super) fn new(when: &'a When, times: &'a [Single], zone: Zone, after: i64, until: i64) -> Self {
        let (low, high) = bounds(when);
        let low = low.max(after.saturating_sub(REACH));
        let high = high.min(until.saturating_add(REACH));
        let civil = |time: &Single| civil_seconds(time.civil);
        let from = times.partition_point(|time| civil(time) < low);
        let to = times.partition_point(|time| civil(time) <= high);
        let rest = times.get(from..to).unwrap_or_default().iter();
        Self { when, zone, after, until, rest, waiting: Vec::new() }
    }

    fn place_one(&mut self, time: Single) {
        if !self.when.allows(time.civil.date()) {
            return;
        }
        let civil = civil_seconds(time.civil);
        let (at, fold, moved) = match (place(civil, self.zone), time.pass, self.when.dst) {
            (Place::Shown { first, .. }, Pass::First, _) => (first, 0, Moved::No),
            (Place::Shown { first, second }, Pass::Second, _) => (second.unwrap_or(first), 1, Moved::No),
            (Place::Skipped { length, .. }, _, _) if length > MAX_GAP => return,
            (Place::Skipped { end, .. }, _, Dst::Auto) => (end.start, 0, Moved::Yes),
            (Place::Skipped { shifted, .. }, _, Dst::Shift) => (shifted, 0, Moved::Yes),
            (Place::Skipped { .. }, _, Dst::Skip | Dst::Wall) => return,
        };
        if at > self.after && at <= self.until {
            let due = due(at, civil, fold);
            let key = |(due, moved): &(Due, Moved)| (due.at, *moved, due.civil);
            let one = (due, moved);
            let place = self.waiting.partition_point(|other| key(other) > key(&one));
            self.waiting.insert(place, one);
        }
    }
}

impl Iterator for Singles<'_> {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        while let Some(time) = self.rest.as_slice().first().copied() {
            let earliest = civil_seconds(time.civil) - MAX_OFFSET;
            if self.waiting.last().is_some_and(|(due, _)| due.at.timestamp() < earliest) {
                break;
            }
            self.rest.next();
            self.place_one(time);
        }
        let (due, _) = self.waiting.pop()?;
        // Where several meet, the one that the clock shows came first.
        while self.waiting.last().is_some_and(|(other, _)| other.at == due.at) {
            self.waiting.pop();
        }
        Some(due)
    }
}
