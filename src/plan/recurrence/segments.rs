//! A zone as stretches of time with one offset.

use crate::domain::zone::Zone;

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
    /// Where the next one is.
    at: i64,
}

impl Segments {
    /// Begins with the segment that `instant` is in.
    pub(super) fn before(zone: Zone, instant: i64) -> Self {
        Self { zone, at: instant }
    }
}

impl Iterator for Segments {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let stretch = self.zone.stretch(self.at);
        self.at = stretch.end;
        Some(Segment { start: stretch.start, end: stretch.end, offset: i64::from(stretch.kind.offset) })
    }
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
