//! The quiet hours of a day as instants of a zone: a night is one stretch, however long a clock change makes it.
//!
//! Times of day are civil, so the night of a clock change is an hour longer or shorter than the others. What becomes
//! of a message whose time is within one is decided in `turn`.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Utc};

use crate::domain::rule::Quiet;
use crate::domain::zone::Zone;

/// One stretch of quiet hours: `from <= at < to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Night {
    /// Its first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub to: DateTime<Utc>,
}

/// The night that `at` is in, or else the next one after it.
///
/// A beginning that the clock shows twice is the first of them, an end the second; one that it skips is where the
/// clock goes on.
#[must_use]
pub fn night(quiet: &Quiet, zone: Zone, at: DateTime<Utc>) -> Option<Night> {
    let today = at.with_timezone(&zone.tz()).date_naive();
    // The one that began yesterday may still last, and a change of the calendar may take days away.
    let first = today.checked_sub_days(Days::new(2))?;
    first.iter_days().take(6).filter_map(|day| beginning_on(quiet, zone, day)).find(|night| at < night.to)
}

/// The longest that one can be, clock changes included.
#[must_use]
pub fn longest(quiet: &Quiet) -> TimeDelta {
    let civil = quiet.to - quiet.from;
    let civil = if civil <= TimeDelta::zero() { civil + TimeDelta::days(1) } else { civil };
    civil + TimeDelta::hours(3)
}

fn beginning_on(quiet: &Quiet, zone: Zone, day: NaiveDate) -> Option<Night> {
    let last = if quiet.from < quiet.to { day } else { day.succ_opt()? };
    let from = instants(zone, day.and_time(quiet.from))?.0;
    let to = instants(zone, last.and_time(quiet.to))?.1;
    (from < to).then_some(Night { from, to })
}

/// The first and the last instant at which the clock shows `civil`, or goes on behind it.
fn instants(zone: Zone, civil: NaiveDateTime) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let found = zone.tz().from_local_datetime(&civil);
    if let Some(pair) = found.earliest().zip(found.latest()) {
        return Some((pair.0.to_utc(), pair.1.to_utc()));
    }
    // Skipped: the change is in the day before or after, read as UTC.
    let about = civil.and_utc().timestamp();
    let mut at = about - 86_400;
    while at <= about + 86_400 {
        let stretch = zone.stretch(at);
        if civil < civil_at(stretch.end, zone)? {
            let change = DateTime::from_timestamp(stretch.end, 0)?;
            return Some((change, change));
        }
        at = stretch.end;
    }
    None
}

fn civil_at(instant: i64, zone: Zone) -> Option<NaiveDateTime> {
    Some(DateTime::from_timestamp(instant, 0)?.with_timezone(&zone.tz()).naive_local())
}

#[cfg(test)]
mod tests {
    use chrono::NaiveTime;

    use super::*;
    use crate::domain::rule::AtNight;

    fn quiet(from: &str, to: &str) -> Quiet {
        let time = |text| NaiveTime::parse_from_str(text, "%H:%M").expect("a time of day");
        Quiet { from: time(from), to: time(to), then: AtNight::Hold }
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_night_is_one_stretch_also_when_clocks_change() {
        let (berlin, new_york, shanghai) = ("Europe/Berlin", "America/New_York", "Asia/Shanghai");
        let lord_howe = "Australia/Lord_Howe";
        let table = [
            // Plain: before, first, last, end.
            (
                shanghai,
                "22:00",
                "08:00",
                "2026-11-27T13:59:59Z",
                "2026-11-27T14:00:00Z",
                "2026-11-28T00:00:00Z",
            ),
            (
                shanghai,
                "22:00",
                "08:00",
                "2026-11-27T14:00:00Z",
                "2026-11-27T14:00:00Z",
                "2026-11-28T00:00:00Z",
            ),
            (
                shanghai,
                "22:00",
                "08:00",
                "2026-11-27T23:59:59Z",
                "2026-11-27T14:00:00Z",
                "2026-11-28T00:00:00Z",
            ),
            (
                shanghai,
                "22:00",
                "08:00",
                "2026-11-28T00:00:00Z",
                "2026-11-28T14:00:00Z",
                "2026-11-29T00:00:00Z",
            ),
            (
                shanghai,
                "12:00",
                "14:00",
                "2026-11-28T05:00:00Z",
                "2026-11-28T04:00:00Z",
                "2026-11-28T06:00:00Z",
            ),
            (
                shanghai,
                "00:00",
                "08:00",
                "2026-11-28T16:00:00Z",
                "2026-11-28T16:00:00Z",
                "2026-11-29T00:00:00Z",
            ),
            // T56: 11 h over the overlap, 9 h over the gap.
            (
                new_york,
                "22:00",
                "08:00",
                "2026-11-01T06:30:00Z",
                "2026-11-01T02:00:00Z",
                "2026-11-01T13:00:00Z",
            ),
            (
                new_york,
                "22:00",
                "08:00",
                "2026-03-08T06:30:00Z",
                "2026-03-08T03:00:00Z",
                "2026-03-08T12:00:00Z",
            ),
            (
                berlin,
                "22:00",
                "08:00",
                "2026-10-25T00:30:00Z",
                "2026-10-24T20:00:00Z",
                "2026-10-25T07:00:00Z",
            ),
            // It ends within the repeated hour: at its second pass; and begins within one: at the first.
            (
                berlin,
                "22:00",
                "02:30",
                "2026-10-25T00:45:00Z",
                "2026-10-24T20:00:00Z",
                "2026-10-25T01:30:00Z",
            ),
            (
                berlin,
                "02:30",
                "06:00",
                "2026-10-25T00:45:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-25T05:00:00Z",
            ),
            // Skipped ends: where the clock goes on.
            (
                berlin,
                "22:00",
                "02:30",
                "2026-03-29T00:59:59Z",
                "2026-03-28T21:00:00Z",
                "2026-03-29T01:00:00Z",
            ),
            (
                berlin,
                "02:30",
                "06:00",
                "2026-03-29T01:00:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T04:00:00Z",
            ),
            (
                lord_howe,
                "22:00",
                "02:15",
                "2026-10-03T15:00:00Z",
                "2026-10-03T11:30:00Z",
                "2026-10-03T15:30:00Z",
            ),
        ];
        for (zone, from, to, at, begins, ends) in table {
            let zone = Zone::parse(zone).expect("a zone");
            let night = night(&quiet(from, to), zone, utc(at));
            let expected = Night { from: utc(begins), to: utc(ends) };
            assert_eq!(night, Some(expected), "{from}–{to} in {zone} at {at}");
        }
    }

    #[test]
    fn a_day_that_the_calendar_lost_has_no_night_of_its_own() {
        // Apia skipped 2011-12-30: the night before it ends when the clock goes on.
        let apia = Zone::parse("Pacific/Apia").expect("a zone");
        let night = night(&quiet("22:00", "08:00"), apia, utc("2011-12-30T09:00:00Z"));
        assert_eq!(night, Some(Night { from: utc("2011-12-30T08:00:00Z"), to: utc("2011-12-30T10:00:00Z") }));
    }

    #[test]
    fn no_night_is_longer_than_the_longest() {
        let zones = ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll"];
        for zone in zones.map(|zone| Zone::parse(zone).expect("a zone")) {
            for (from, to) in [("22:00", "08:00"), ("08:00", "07:59"), ("12:00", "12:01")] {
                let quiet = quiet(from, to);
                let mut at = utc("2026-01-01T00:00:00Z");
                while let Some(night) =
                    night(&quiet, zone, at).filter(|night| night.to < utc("2027-01-01T00:00:00Z"))
                {
                    assert!(night.to - night.from <= longest(&quiet), "{zone} {from}–{to}: {night:?}");
                    at = night.to;
                }
            }
        }
    }
}
