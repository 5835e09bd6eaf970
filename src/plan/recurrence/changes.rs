//! What clock changes do to a rule's due times, for remarks before it happens.
//!
//! Only the changes of a zone are looked at, not every due time between them, so that a folder of
//! thousands of rules is checked at once. What the policies mean is decided in the evaluator.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::segments::Segments;
use super::stated::{Stated, bounds};
use super::{DAY, Kind, MAX_GAP, Window, civil_seconds, civil_time, instant, kind};
use crate::domain::when::{Dst, Pass, Single, When};
use crate::domain::zone::Zone;

/// A due time that a clock change skips or repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The civil time that the rule states.
    pub civil: NaiveDateTime,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a due time that a clock change skips or repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The clock does not show it, and it is due then instead.
    Moved(DateTime<Utc>),
    /// The clock does not show it, and nothing is due.
    Dropped,
    /// The clock shows it twice, and the first pass is meant.
    Once,
    /// The clock shows it twice, and it is due both times.
    Twice,
}

/// The first due time that each clock change in `window` skips or repeats, oldest first.
///
/// Elapsed time is touched by none. Of a single time that is meant the second time nothing is told: it says so.
#[must_use]
pub fn touched(when: &When, zone: Zone, window: Window) -> Vec<Touched> {
    let (after, until) = (window.after.timestamp(), window.until.timestamp());
    let (mut stated, dst, doubles) = match kind(when) {
        Kind::Clock(times, dst) => {
            let stated = Stated::new(when, times, until.saturating_add(2 * DAY));
            (StatedIn::Clock(stated), dst, dst == Dst::Wall)
        }
        Kind::Singles(times) => (StatedIn::Singles(when, times), when.dst, false),
        Kind::Elapsed(..) => return Vec::new(),
    };
    let mut found = Vec::new();
    let mut segments = Segments::before(zone, after);
    let mut before = segments.next().expect("segments have no end");
    while before.end <= until {
        let segment = segments.next().expect("segments have no end");
        let (forward, at) = (segment.offset - before.offset, segment.start);
        if at > after && forward > 0 {
            let hole = stated.first(at + before.offset, at + segment.offset);
            let fate = |civil: i64| match dst {
                Dst::Auto if forward <= MAX_GAP => Fate::Moved(instant(at)),
                Dst::Shift if forward <= MAX_GAP => Fate::Moved(instant(civil - before.offset)),
                Dst::Auto | Dst::Shift | Dst::Skip | Dst::Wall => Fate::Dropped,
            };
            found.extend(hole.map(|civil| Touched { civil: civil_time(civil), fate: fate(civil) }));
        } else if at > after && forward < 0 {
            let fate = if doubles { Fate::Twice } else { Fate::Once };
            let repeated = stated.first(at + segment.offset, at + before.offset);
            found.extend(repeated.map(|civil| Touched { civil: civil_time(civil), fate }));
        }
        before = segment;
    }
    found
}

/// Stated times, looked for in a span.
enum StatedIn<'a> {
    Clock(Stated<'a>),
    Singles(&'a When, &'a [Single]),
}

impl StatedIn<'_> {
    /// The first civil second in `from <= civil < until` that the rule states.
    fn first(&mut self, from: i64, until: i64) -> Option<i64> {
        match self {
            Self::Clock(stated) => Some(stated.at_or_after(from)).filter(|civil| *civil < until),
            Self::Singles(when, times) => {
                let (low, high) = bounds(when);
                let mut allowed =
                    times.iter().filter(|time| time.pass == Pass::First && when.allows(time.civil.date()));
                allowed
                    .by_ref()
                    .map(|time| civil_seconds(time.civil))
                    .find(|civil| (from..until).contains(civil) && (low..=high).contains(civil))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::when::Cron;

    #[test]
    fn each_change_tells_what_it_does() {
        let zone = Zone::parse("America/New_York").expect("a zone");
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let year = Window { after: at("2026-01-01T00:00:00Z"), until: at("2027-01-01T00:00:00Z") };
        let table = [
            ("30 2 * * *", Dst::Auto, vec![("2026-03-08T02:30:00", Fate::Moved(at("2026-03-08T07:00:00Z")))]),
            (
                "30 2 * * *",
                Dst::Shift,
                vec![("2026-03-08T02:30:00", Fate::Moved(at("2026-03-08T07:30:00Z")))],
            ),
            ("30 2 * * *", Dst::Skip, vec![("2026-03-08T02:30:00", Fate::Dropped)]),
            ("30 1 * * *", Dst::Auto, vec![("2026-11-01T01:30:00", Fate::Once)]),
            ("30 1 * * *", Dst::Wall, vec![("2026-11-01T01:30:00", Fate::Twice)]),
            (
                "*/30 * * * *",
                Dst::Auto,
                vec![("2026-03-08T02:00:00", Fate::Dropped), ("2026-11-01T01:00:00", Fate::Twice)],
            ),
            ("30 2 * * MON-FRI", Dst::Auto, vec![]),
            ("0 9 * * *", Dst::Auto, vec![]),
        ];
        for (text, dst, expected) in table {
            let when = When { dst, ..When::from(Cron::parse(text).expect("a cron expression")) };
            let found: Vec<_> = touched(&when, zone, year).into_iter().map(|t| (t.civil, t.fate)).collect();
            let expected: Vec<_> =
                expected.into_iter().map(|(civil, fate)| (civil.parse().expect("a time"), fate)).collect();
            assert_eq!(found, expected, "{text} {dst:?}");
        }
        assert!(
            touched(&When::from(Cron::parse("* * * * *").expect("a cron expression")), Zone::SHANGHAI, year)
                .is_empty()
        );
        let single: When = ["2026-03-08T02:15:00".parse().expect("a time")].into_iter().collect();
        assert_eq!(touched(&single, zone, year).len(), 1);
    }
}
