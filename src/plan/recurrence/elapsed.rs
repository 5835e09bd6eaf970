//! Again and again after so much time: no clock change moves it, only what the clock shows then.
//!
//! The first due time is when the clock first shows the stated beginning, or more.

use super::almanac::Almanac;
use super::segments::{Segment, Segments};
use super::singles::reached;
use super::stated::bounds;
use super::{DAY, HORIZON, LOOK_BACK};
use crate::domain::occurrence::Due;
use crate::domain::when::When;
use crate::domain::zone::Zone;

/// The due times after some instant, every `step` seconds.
#[derive(Debug)]
pub(super) struct Elapsed<'a> {
    when: &'a When,
    filters: bool,
    step: i64,
    /// The next one.
    at: i64,
    until: i64,
    low: i64,
    high: i64,
    segments: Segments,
    segment: Segment,
    /// Until here civil times are a second pass.
    second_until: i64,
    /// Where the search for the next one began.
    begun: i64,
    almanac: Almanac,
}

impl<'a> Elapsed<'a> {
    /// Begins after `after`; `step` is above zero.
    pub(super) fn new(
        when: &'a When,
        (starting, step): (chrono::NaiveDateTime, i64),
        zone: Zone,
        after: i64,
        until: i64,
    ) -> Self {
        let first = reached(starting, zone);
        let (low, high) = bounds(when);
        // Where nothing but `from` keeps it, the search begins near it.
        let at = nth(first, step, (after.saturating_add(1)).max(low.saturating_sub(2 * DAY)));
        let mut segments = Segments::before(zone, at.saturating_sub(LOOK_BACK));
        let segment = segments.next().expect("segments have no end");
        Self {
            when,
            filters: when.filters_days(),
            step,
            at,
            until,
            low,
            high,
            segments,
            segment,
            second_until: i64::MIN,
            begun: at,
            almanac: Almanac::default(),
        }
    }
}

/// The first of `first`, `first + step`, … at or after `from`.
fn nth(first: i64, step: i64, from: i64) -> i64 {
    let behind = from.saturating_sub(first);
    if behind <= 0 { first } else { first + (behind + step - 1) / step * step }
}

impl Iterator for Elapsed<'_> {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            let at = self.at;
            if at > self.until || at > self.begun.saturating_add(HORIZON) {
                return None;
            }
            while self.segment.end <= at {
                let before = self.segment.offset;
                self.segment = self.segments.next().expect("segments have no end");
                let Segment { start, offset, .. } = self.segment;
                self.second_until = self.second_until.max(start + (before - offset).max(0));
            }
            let Segment { end, offset, .. } = self.segment;
            let civil = at + offset;
            // Clocks are set back by less than a day and a bit.
            if civil > self.high.saturating_add(LOOK_BACK) {
                return None;
            }
            let allowed =
                !self.filters || self.almanac.date(civil).is_some_and(|date| self.when.allows(date));
            self.at = at + self.step;
            if allowed && (self.low..=self.high).contains(&civil) {
                self.begun = at;
                let fold = u8::from(at < self.second_until);
                return Some(self.almanac.due(at, civil, fold));
            }
            if !allowed {
                let midnight = at + DAY - civil.rem_euclid(DAY);
                self.at = nth(self.at, self.step, midnight.min(end));
            }
        }
    }
}
