//! Stated times of a day made instants: where a clock skips or repeats them, the policy decides.
//!
//! One walk over the stretches of constant offset, each searched once by the calendar. What is stated is decided in
//! `stated`; single times and elapsed time are placed elsewhere.

use std::cmp::Ordering;

use super::almanac::Almanac;
use super::segments::{Segment, Segments};
use super::stated::{NEVER, Stated};
use super::{DAY, LOOK_BACK, MAX_GAP};
use crate::domain::occurrence::Due;
use crate::domain::when::Dst;
use crate::domain::zone::Zone;

/// How far the next stated time must be for a search to leap to it, in seconds.
const LEAP: i64 = 14 * DAY;
/// How far before a stated time a leap ends, in seconds: no offset is further from another, and no clock change that
/// far back repeats it.
const RUN_UP: i64 = 3 * DAY;

/// The due times after `after` and until `until`, both seconds since 1970.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    stated: Stated<'a>,
    zone: Zone,
    dst: Dst,
    after: i64,
    until: i64,
    segments: Segments,
    segment: Segment,
    /// Where the search goes on.
    at: i64,
    /// Nothing is due from the last due time, or the beginning, to here.
    begun: i64,
    /// Until here civil times are a second pass.
    second_until: i64,
    /// What a gap skipped and is due all the same.
    gap: Option<Gap>,
    almanac: Almanac,
}

/// Stated times that the clock skips.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// The next of them, in civil seconds.
    hit: i64,
    /// The first civil second that the clock shows again.
    end: i64,
    /// The instant of the change.
    at: i64,
    /// Seconds that civil time was ahead of UTC before it.
    offset: i64,
}

impl<'a> Walk<'a> {
    /// `dst` is what holds for the rule: [`Dst::Auto`] means once for each stated time.
    pub(super) fn new(stated: Stated<'a>, zone: Zone, dst: Dst, after: i64, until: i64) -> Self {
        let mut segments = Segments::before(zone, after.saturating_sub(LOOK_BACK));
        let segment = segments.next().expect("segments have no end");
        let at = after.saturating_add(1);
        let second_until = i64::MIN;
        let mut walk = Self {
            stated,
            zone,
            dst,
            after,
            until,
            segments,
            segment,
            at,
            begun: at,
            second_until,
            gap: None,
            almanac: Almanac::default(),
        };
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
        } else if forward > 0 && forward <= MAX_GAP {
            let gap =
                Gap { hit: start + before.offset, end: start + offset, at: start, offset: before.offset };
            self.gap = match self.dst {
                Dst::Skip | Dst::Wall => None,
                Dst::Auto if start <= self.after => None,
                Dst::Auto => self.next_in(gap, gap.hit),
                Dst::Shift => self.next_in(gap, gap.hit.max(self.after + 1 + before.offset)),
            };
        }
    }

    /// `gap` with its first stated time at or after `civil`.
    fn next_in(&mut self, gap: Gap, civil: i64) -> Option<Gap> {
        let hit = self.stated.at_or_after(civil);
        (hit < gap.end).then_some(Gap { hit, ..gap })
    }

    /// When the skipped time is due instead.
    fn moved(&self, gap: Gap) -> i64 {
        match self.dst {
            Dst::Shift => gap.hit - gap.offset,
            Dst::Auto | Dst::Skip | Dst::Wall => gap.at,
        }
    }

    fn pass_over(&mut self, gap: Gap) {
        self.gap = match self.dst {
            Dst::Shift => self.next_in(gap, gap.hit + 1),
            // One firing for all.
            Dst::Auto | Dst::Skip | Dst::Wall => None,
        };
    }

    /// The next stated time in civil seconds, by this segment's clock.
    fn next_stated(&mut self) -> i64 {
        match self.dst {
            Dst::Wall => {}
            Dst::Auto | Dst::Skip | Dst::Shift => self.at = self.at.max(self.second_until),
        }
        self.stated.at_or_after(self.at.saturating_add(self.segment.offset))
    }

    /// Leaves this segment, for one near the civil second `civil`; `false` when nothing is due any more.
    fn go_on(&mut self, civil: i64) -> bool {
        let Segment { end, offset, .. } = self.segment;
        if end > self.until {
            return false;
        }
        // A change of the clock this far from where the search began repeats nothing before it.
        if self.gap.is_none() && end >= self.begun.saturating_add(LOOK_BACK) {
            if civil == NEVER {
                return false;
            }
            if civil - offset > end + LEAP {
                self.segments = Segments::before(self.zone, civil - offset - RUN_UP);
                self.segment = self.segments.next().expect("segments have no end");
                self.at = self.at.max(self.segment.start);
                return true;
            }
        }
        self.enter_next_segment();
        true
    }
}

impl Iterator for Walk<'_> {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            let civil = self.next_stated();
            let Segment { end, offset, .. } = self.segment;
            let shown = if civil == NEVER { NEVER } else { civil - offset };
            let is_here = shown < end;
            if let Some(gap) = self.gap {
                // Beyond this segment the clock may show earlier times than the next shifted one.
                let (at, bound) = (self.moved(gap), shown.min(end));
                match at.cmp(&bound) {
                    Ordering::Less => {
                        self.pass_over(gap);
                        return (at <= self.until).then(|| self.almanac.due(at, gap.hit, 0));
                    }
                    Ordering::Equal if is_here => self.pass_over(gap),
                    Ordering::Equal | Ordering::Greater => {}
                }
            }
            if is_here {
                if shown > self.until {
                    return None;
                }
                let fold = u8::from(shown < self.second_until);
                (self.at, self.begun) = (shown + 1, shown + 1);
                return Some(self.almanac.due(shown, civil, fold));
            }
            if !self.go_on(civil) {
                return None;
            }
        }
    }
}
