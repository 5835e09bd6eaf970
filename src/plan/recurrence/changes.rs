//! What clock changes do to a rule's due times, for remarks before it happens.
//!
//! Only the changes of a zone are looked at, not every due time between them, so that a folder of
//! thousands of rules is checked at once. What the policies mean is decided in the evaluator.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::segments::Segments;
use super::{Dst, MAX_GAP, Window, civil_time, instant, next_match};
use crate::domain::when::When;
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
#[must_use]
pub fn touched(when: &When, zone: Zone, dst: Dst, window: Window) -> Vec<Touched> {
    let (after, until) = (window.after.timestamp(), window.until.timestamp());
    let (dst, doubles) = match (when, dst) {
        (When::Cron(cron), Dst::Auto) if cron.is_wild() => (Dst::Wall, true),
        (When::Cron(_), Dst::Wall) => (Dst::Wall, true),
        (_, dst) => (dst, false),
    };
    let mut found = Vec::new();
    let mut segments = Segments::before(zone, after);
    let mut before = segments.next().expect("segments have no end");
    while before.end <= until {
        let segment = segments.next().expect("segments have no end");
        let (forward, at) = (segment.offset - before.offset, segment.start);
        if at > after && forward > 0 {
            let hole = stated(when, at + before.offset, at + segment.offset);
            let fate = |civil: i64| match dst {
                Dst::Auto if forward <= MAX_GAP => Fate::Moved(instant(at)),
                Dst::Shift if forward <= MAX_GAP => Fate::Moved(instant(civil - before.offset)),
                Dst::Auto | Dst::Shift | Dst::Skip | Dst::Wall => Fate::Dropped,
            };
            found.extend(hole.map(|civil| Touched { civil: civil_time(civil), fate: fate(civil) }));
        } else if at > after && forward < 0 {
            let fate = if doubles { Fate::Twice } else { Fate::Once };
            let repeated = stated(when, at + segment.offset, at + before.offset);
            found.extend(repeated.map(|civil| Touched { civil: civil_time(civil), fate }));
        }
        before = segment;
    }
    found
}

/// The first civil second in `from <= civil < until` that the rule states.
fn stated(when: &When, from: i64, until: i64) -> Option<i64> {
    match when {
        When::Cron(cron) => next_match(cron, from, until),
        When::At(times) => {
            let mut civil = times.iter().map(|time| time.and_utc().timestamp());
            civil.find(|civil| (from..until).contains(civil))
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
            let when = When::Cron(Cron::parse(text).expect("a cron expression"));
            let found: Vec<_> =
                touched(&when, zone, dst, year).into_iter().map(|t| (t.civil, t.fate)).collect();
            let expected: Vec<_> =
                expected.into_iter().map(|(civil, fate)| (civil.parse().expect("a time"), fate)).collect();
            assert_eq!(found, expected, "{text} {dst:?}");
        }
        assert!(
            touched(
                &When::Cron(Cron::parse("* * * * *").expect("a cron expression")),
                Zone::SHANGHAI,
                Dst::Auto,
                year
            )
            .is_empty()
        );
        let single = When::At(vec!["2026-03-08T02:15:00".parse().expect("a time")]);
        assert_eq!(touched(&single, zone, Dst::Auto, year).len(), 1);
    }
}
