//! When a rule reminds of an appointment: elapsed time from it, or days of the calendar.
//!
//! Which appointments there are is the store's; whether a reminder is late is the scheduler's.

use chrono::{DateTime, Days, NaiveDateTime, TimeDelta, Utc};

use super::{Window, dues};
use crate::domain::occurrence::Due;
use crate::domain::when::{Form, Offset, Pass, Period, Relative, Single, When};
use crate::domain::zone::Zone;

/// How far a day of the calendar may be from so many times 24 hours: a day, a clock change, and a day that a zone left
/// out or had twice.
const MARGIN: TimeDelta = TimeDelta::hours(51);

/// When a rule of this form reminds of an appointment at `at`; `None` where its bounds and filters have no such time,
/// or a clock change skips it.
#[must_use]
pub fn reminder(when: &When, relative: &Relative, zone: Zone, at: DateTime<Utc>) -> Option<Due> {
    let (earlier, period) = match relative.offset {
        Offset::Before(period) => (true, period),
        Offset::After(period) => (false, period),
        Offset::SameDay => (false, Period::Days(0)),
    };
    match period {
        Period::Elapsed(time) => {
            let time = TimeDelta::from_std(time).ok()?;
            let at = if earlier { at.checked_sub_signed(time) } else { at.checked_add_signed(time) }?;
            let due = shown(at, zone);
            let is_within = when.from.is_none_or(|from| from <= due.civil)
                && when.until.is_none_or(|until| due.civil <= until)
                && when.allows(due.civil.date());
            is_within.then_some(due)
        }
        Period::Days(days) => {
            let local = at.with_timezone(&zone.tz()).naive_local();
            let days = Days::new(u64::from(days));
            let day = if earlier {
                local.date().checked_sub_days(days)
            } else {
                local.date().checked_add_days(days)
            };
            let civil = day?.and_time(relative.time.unwrap_or(local.time()));
            placed(when, civil, zone)
        }
    }
}

/// Times of appointments whose reminders may be due in `window`; what is due is for [`reminder`] to say.
#[must_use]
pub fn reach(relative: &Relative, window: Window) -> Window {
    let (sign, period) = match relative.offset {
        Offset::Before(period) => (1, period),
        Offset::After(period) => (-1, period),
        Offset::SameDay => (1, Period::Days(0)),
    };
    let (shift, margin) = match period {
        Period::Elapsed(time) => {
            (TimeDelta::from_std(time).unwrap_or(TimeDelta::zero()), TimeDelta::seconds(1))
        }
        Period::Days(days) => (TimeDelta::days(i64::from(days)), MARGIN),
    };
    let moved = |at: DateTime<Utc>, by: TimeDelta| {
        let end = if by < TimeDelta::zero() { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        at.checked_add_signed(by).unwrap_or(end)
    };
    Window {
        after: moved(window.after, shift * sign - margin),
        until: moved(window.until, shift * sign + margin),
    }
}

/// How long after an appointment's time a reminder of it may come.
#[must_use]
pub fn longest_after(relative: &Relative) -> TimeDelta {
    match relative.offset {
        Offset::After(Period::Elapsed(time)) => TimeDelta::from_std(time).unwrap_or(TimeDelta::zero()),
        Offset::After(Period::Days(days)) => TimeDelta::days(i64::from(days)) + MARGIN,
        Offset::SameDay => MARGIN,
        Offset::Before(_) => TimeDelta::zero(),
    }
}

/// An instant with what the clock shows then.
fn shown(at: DateTime<Utc>, zone: Zone) -> Due {
    let at = DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at);
    let civil = at.with_timezone(&zone.tz()).naive_local();
    let whole = DateTime::from_timestamp(civil.and_utc().timestamp(), 0).map_or(civil, |at| at.naive_utc());
    let first = first_pass(whole, zone);
    let fold = u8::from(first.is_some_and(|first| first.timestamp() < at.timestamp()));
    Due { at, civil: whole, fold }
}

/// The first time that the clock shows this.
fn first_pass(civil: NaiveDateTime, zone: Zone) -> Option<DateTime<Utc>> {
    placed(&When::from_iter([civil]), civil, zone).map(|due| due.at)
}

/// A civil time with the bounds, filters and policy of a rule.
fn placed(when: &When, civil: NaiveDateTime, zone: Zone) -> Option<Due> {
    let form = Form::At(vec![Single { civil, pass: Pass::First }]);
    let single = When { form, ..when.clone() };
    let near = civil.and_utc();
    let window = Window { after: near - MARGIN, until: near + MARGIN };
    dues(&single, zone, window).next()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::NaiveTime;

    use super::*;
    use crate::domain::id::Kind;
    use crate::domain::when::{Dst, IfLate};

    fn rule(offset: Offset, time: Option<&str>) -> When {
        let time = time.map(|text| NaiveTime::parse_from_str(text, "%H:%M").expect("a time"));
        let of = Kind::parse("visit").expect("a kind");
        When::from(Form::Relative(Relative { of, offset, time, late: IfLate::Skip }))
    }

    fn due(when: &When, zone: &str, at: &str) -> String {
        let Form::Relative(relative) = &when.form else { panic!("made so") };
        let at: DateTime<Utc> = at.parse().expect("an instant");
        let zone = Zone::parse(zone).expect("a zone");
        let Some(due) = reminder(when, relative, zone, at) else { return "none".to_owned() };
        let window = Window { after: due.at - TimeDelta::milliseconds(1), until: due.at };
        let reach = reach(relative, window);
        assert!(reach.after < at && at <= reach.until, "{at} is not in {reach:?}");
        format!(
            "{} {}{}",
            due.at.format("%dT%H:%MZ"),
            due.civil.format("%d %H:%M"),
            "+".repeat(due.fold.into())
        )
    }

    #[test]
    fn elapsed_time_passes_clock_changes_and_days_follow_the_calendar() {
        let minutes = |n: u64| Period::Elapsed(Duration::from_mins(n));
        let table = [
            // T54: 30 minutes of elapsed time; 02:45 is not shown that night.
            (
                Offset::Before(minutes(30)),
                None,
                "America/New_York",
                "2026-03-08T07:15:00Z",
                "08T06:45Z 08 01:45",
            ),
            // T55: the day before on the calendar, which has 25 hours.
            (
                Offset::Before(Period::Days(1)),
                Some("20:00"),
                "America/New_York",
                "2026-11-02T14:00:00Z",
                "02T01:00Z 01 20:00",
            ),
            (
                Offset::Before(minutes(1440)),
                None,
                "America/New_York",
                "2026-11-02T04:30:00Z",
                "01T04:30Z 01 00:30",
            ),
            (
                Offset::Before(Period::Days(1)),
                None,
                "America/New_York",
                "2026-11-02T05:30:00Z",
                "01T04:30Z 01 00:30",
            ),
            // The second pass of an hour is named as such.
            (
                Offset::After(minutes(60)),
                None,
                "America/New_York",
                "2026-11-01T05:30:00Z",
                "01T06:30Z 01 01:30+",
            ),
            (
                Offset::After(Period::Days(14)),
                None,
                "Asia/Shanghai",
                "2026-03-01T01:00:00Z",
                "15T01:00Z 15 09:00",
            ),
            (Offset::SameDay, Some("07:30"), "Asia/Shanghai", "2026-03-01T15:59:00Z", "28T23:30Z 01 07:30"),
            (Offset::SameDay, Some("23:30"), "Asia/Shanghai", "2026-02-28T16:00:00Z", "01T15:30Z 01 23:30"),
            // A skipped time comes right after the gap.
            (
                Offset::Before(Period::Days(1)),
                Some("02:30"),
                "America/New_York",
                "2026-03-09T14:00:00Z",
                "08T07:00Z 08 02:30",
            ),
            (
                Offset::Before(Period::Days(1)),
                Some("09:00"),
                "Pacific/Apia",
                "2011-12-31T19:00:00Z",
                "30T19:00Z 31 09:00",
            ),
            // A day that the zone left out is none.
            (Offset::Before(Period::Days(1)), Some("09:00"), "Pacific/Apia", "2011-12-30T19:00:00Z", "none"),
        ];
        for (offset, time, zone, at, expected) in table {
            let found = due(&rule(offset, time), zone, at);
            assert_eq!(found, expected, "{offset:?} of {at}");
        }
    }

    #[test]
    fn bounds_filters_and_policies_hold() {
        let day = |text: &str| text.parse().expect("a day");
        let mut when = rule(Offset::Before(Period::Days(1)), Some("20:00"));
        let visit = "2026-03-02T01:00:00Z";
        assert_eq!(due(&when, "Asia/Shanghai", visit), "01T12:00Z 01 20:00");
        when.except.days = vec![day("2026-03-01")];
        assert_eq!(due(&when, "Asia/Shanghai", visit), "none");
        when.except.days = vec![];
        when.until = day("2026-03-01").and_hms_opt(19, 59, 59);
        assert_eq!(due(&when, "Asia/Shanghai", visit), "none");
        let mut skipping = rule(Offset::Before(Period::Days(1)), Some("02:30"));
        skipping.dst = Dst::Skip;
        assert_eq!(due(&skipping, "America/New_York", "2026-03-09T14:00:00Z"), "none");
        let mut elapsed = rule(Offset::Before(Period::Elapsed(Duration::from_hours(2))), None);
        elapsed.from = day("2026-03-02").and_hms_opt(8, 0, 0);
        assert_eq!(due(&elapsed, "Asia/Shanghai", visit), "none");
        assert_eq!(due(&elapsed, "Asia/Shanghai", "2026-03-02T02:00:00Z"), "02T00:00Z 02 08:00");
    }
}
