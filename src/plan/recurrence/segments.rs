//! A zone as stretches of time with one offset.
//!
//! chrono-tz tells offsets, not when they change, so changes are found by bisection. The search looks at
//! fixed cells of the calendar: what it finds depends on the zone alone, never on where it began. Two
//! changes within one cell that undo each other would go unseen; the closest known ones are weeks apart.

use chrono::{DateTime, Offset, TimeZone};

use crate::domain::zone::Zone;

/// Seconds of a cell: seven days.
const CELL: i64 = 7 * 86_400;

/// A stretch of instants (seconds since 1970) with one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its first instant.
    pub(super) start: i64,
    /// The first instant after it.
    pub(super) end: i64,
    /// Seconds that civil time is ahead of UTC.
    pub(super) offset: i64,
}

/// The segments of a zone from some instant on, without end; neighbours may have equal offsets.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    zone: Zone,
    start: i64,
    offset: i64,
}

impl Segments {
    /// Begins at or up to a cell before `instant`.
    pub(super) fn before(zone: Zone, instant: i64) -> Self {
        let start = instant.div_euclid(CELL) * CELL;
        Self { zone, start, offset: offset_at(zone, start) }
    }
}

impl Iterator for Segments {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let Self { zone, start, offset } = *self;
        let mut end = (start.div_euclid(CELL) + 1) * CELL;
        let mut next = offset_at(zone, end);
        if next != offset {
            // Bisection: the offset at `low` is still the old one, at `end` it is another.
            let mut low = start;
            while end - low > 1 {
                let middle = low + (end - low) / 2;
                let there = offset_at(zone, middle);
                if there == offset {
                    low = middle;
                } else {
                    (end, next) = (middle, there);
                }
            }
        }
        (self.start, self.offset) = (end, next);
        Some(Segment { start, end, offset })
    }
}

/// Seconds that civil time is ahead of UTC; 0 beyond what the calendar can hold.
fn offset_at(zone: Zone, instant: i64) -> i64 {
    let utc = DateTime::from_timestamp(instant, 0).map(|at| at.naive_utc());
    utc.map_or(0, |utc| i64::from(zone.tz().offset_from_utc_datetime(&utc).fix().local_minus_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_found_to_the_second() {
        let zone = Zone::parse("America/New_York").expect("a zone");
        let year = Segments::before(zone, 1_767_225_600).take_while(|s| s.start < 1_798_761_600);
        let all: Vec<Segment> = year.collect();
        assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
        let changes = all.windows(2).filter(|pair| pair[0].offset != pair[1].offset);
        let changes: Vec<_> = changes.map(|pair| (pair[1].start, pair[1].offset)).collect();
        assert_eq!(changes, [(1_772_953_200, -14_400), (1_793_512_800, -18_000)]);
    }
}
