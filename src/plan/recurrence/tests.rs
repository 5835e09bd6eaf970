//! Clock changes and calendars, case by case, and the properties that hold for all; the oracle is in
//! `tests/it/recurrence.rs`.

use std::str::FromStr;

use chrono::{Datelike, TimeDelta, TimeZone};
use proptest::prelude::*;

use super::segments::Segments;
use super::*;
use crate::domain::when::{Cron, civil_time as civil_time_of};

fn cron(text: &str) -> When {
    When::from(Cron::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).expect("a zone")
}

/// An instant, from `2026-03-08 00:00` in UTC.
fn utc(text: &str) -> i64 {
    civil_time_of(text).expect("a civil time").and_utc().timestamp()
}

/// [`super::next`] under a policy.
fn next(when: &When, zone: Zone, dst: Dst, after: DateTime<Utc>) -> Option<Due> {
    super::next(&When { dst, ..when.clone() }, zone, after)
}

/// [`super::last`] under a policy.
fn last(when: &When, zone: Zone, dst: Dst, until: DateTime<Utc>) -> Option<Due> {
    super::last(&When { dst, ..when.clone() }, zone, until)
}

/// [`super::occurrences`] under a policy.
fn occurrences(when: &When, zone: Zone, dst: Dst, window: Window) -> Vec<Due> {
    super::occurrences(&When { dst, ..when.clone() }, zone, window)
}

fn seconds(when: &When, zone: Zone, dst: Dst, after: i64, until: i64) -> Vec<i64> {
    let window = Window { after: instant(after), until: instant(until) };
    occurrences(when, zone, dst, window).iter().map(|due| due.at.timestamp()).collect()
}

/// The due times (local) of the listed window under a policy.
fn local(when: &When, name: &str, dst: Dst, after: &str, until: &str) -> Vec<String> {
    let window = Window { after: instant(utc(after)), until: instant(utc(until)) };
    let dues = occurrences(when, zone(name), dst, window);
    dues.iter().map(|due| due.at.with_timezone(&zone(name).tz()).format("%d %H:%M").to_string()).collect()
}

#[test]
fn known_cases_of_clock_changes_and_calendars() {
    // Number in the collection of cases, zone, expression, after (UTC), expected first instants.
    let table: [(&str, &str, &str, &str, &[i64]); 30] = [
        ("T1", "America/New_York", "30 2 * * *", "2026-03-08 00:00", &[1_772_953_200, 1_773_037_800]),
        ("T2", "America/New_York", "0,30 2 * * *", "2026-03-08 00:00", &[1_772_953_200, 1_773_036_000]),
        ("T3", "America/New_York", "0 2,3 * * *", "2026-03-08 00:00", &[1_772_953_200, 1_773_036_000]),
        ("T4", "America/New_York", "*/5 2 * * *", "2026-03-08 00:00", &[1_773_036_000]),
        ("T5", "America/New_York", "*/15 * * * *", "2026-03-08 06:30", &[1_772_952_300, 1_772_953_200]),
        ("T6", "America/New_York", "30 1 * * *", "2026-11-01 00:00", &[1_793_511_000, 1_793_601_000]),
        ("T7", "America/New_York", "0 1,13 * * *", "2026-11-01 00:00", &[1_793_509_200, 1_793_556_000]),
        (
            "T8",
            "America/New_York",
            "*/30 * * * *",
            "2026-11-01 04:30",
            &[1_793_509_200, 1_793_511_000, 1_793_512_800, 1_793_514_600, 1_793_516_400],
        ),
        ("T9", "Europe/Dublin", "30 1 * * *", "2026-03-29 00:00", &[1_774_746_000, 1_774_830_600]),
        ("T10", "Europe/Dublin", "30 1 * * *", "2026-10-25 00:00", &[1_792_888_200, 1_792_978_200]),
        ("T11", "Australia/Lord_Howe", "45 1 * * *", "2026-04-04 12:00", &[1_775_313_900, 1_775_402_100]),
        ("T12", "Australia/Lord_Howe", "15 2 * * *", "2026-10-03 12:00", &[1_791_041_400]),
        ("T13", "Australia/Lord_Howe", "0,30 2 * * *", "2026-10-03 12:00", &[1_791_041_400, 1_791_126_000]),
        ("T14", "Africa/Cairo", "0 0 * * *", "2026-04-23 12:00", &[1_776_981_600]),
        ("T15", "Africa/Cairo", "0 9 * * *", "2026-04-23 12:00", &[1_777_010_400]),
        ("T16", "Africa/Cairo", "30 23 * * *", "2026-10-29 12:00", &[1_793_305_800]),
        ("T17", "Africa/Cairo", "0 0 30 10 *", "2026-10-29 12:00", &[1_793_311_200]),
        ("T19", "Pacific/Chatham", "0 3 * * *", "2026-09-26 12:00", &[1_790_431_200]),
        ("T20", "Antarctica/Troll", "30 2 * * *", "2026-03-29 00:00", &[1_774_746_000]),
        ("T21", "America/Santiago", "0 0 * * *", "2026-09-06 00:00", &[1_788_667_200]),
        ("T22", "Asia/Beirut", "30 0 * * *", "2026-03-28 12:00", &[1_774_735_200]),
        ("T24", "Asia/Kathmandu", "0 9 * * *", "2026-11-22 00:00", &[1_795_317_300]),
        ("T25", "Asia/Shanghai", "0 9 29 2 *", "2026-11-22 00:00", &[1_835_398_800]),
        ("T25b", "Asia/Shanghai", "0 9 29 2 *", "2096-03-01 00:00", &[4_233_690_000]),
        ("T35", "Asia/Shanghai", "0 0 1 1 *", "2026-11-22 00:00", &[1_798_732_800]),
        ("T35b", "America/New_York", "0 0 1 1 *", "2026-11-22 00:00", &[1_798_779_600]),
        ("T35c", "Pacific/Kiritimati", "0 0 1 1 *", "2026-11-22 00:00", &[1_798_711_200]),
        ("T35d", "Asia/Shanghai", "59 23 31 12 *", "2026-11-22 00:00", &[1_798_732_740]),
        ("T37", "America/New_York", "0 9 1 7 *", "2045-06-01 00:00", &[2_382_526_800]),
        (
            "T40",
            "America/New_York",
            "*/10 59 1 * * *",
            "2026-11-01 00:00",
            &[1_793_512_740, 1_793_512_750, 1_793_512_760, 1_793_512_770, 1_793_512_780, 1_793_512_790],
        ),
    ];
    for (case, name, expression, after, expected) in table {
        let when = cron(expression);
        let last = *expected.last().expect("cases expect something");
        assert_eq!(seconds(&when, zone(name), Dst::Auto, utc(after), last), expected, "{case}");
        let first = next(&when, zone(name), Dst::Auto, instant(utc(after))).map(|due| due.at.timestamp());
        assert_eq!(first, expected.first().copied(), "{case}");
    }
}

#[test]
fn known_cases_of_days() {
    // Number in the collection of cases, expression, the day before the search, expected days; at 09:00 in Shanghai.
    let table: [(&str, &str, &str, &[&str]); 11] = [
        ("T23", "0 9 * * *", "1991-09-12", &["1991-09-13", "1991-09-14", "1991-09-15", "1991-09-16"]),
        (
            "T26",
            "0 9 31 * *",
            "2026-01-31",
            &["2026-03-31", "2026-05-31", "2026-07-31", "2026-08-31", "2026-10-31", "2026-12-31"],
        ),
        ("T27", "0 9 L * *", "2027-01-31", &["2027-02-28", "2027-03-31"]),
        ("T27b", "0 9 L 2 *", "2027-12-31", &["2028-02-29", "2029-02-28"]),
        ("T28", "0 9 LW * *", "2026-12-31", &["2027-01-29"]),
        ("T29", "0 9 1W * *", "2027-04-29", &["2027-05-03"]),
        ("T30", "0 9 15W * *", "2027-04-30", &["2027-05-14", "2027-06-15", "2027-07-15", "2027-08-16"]),
        ("T31", "0 9 31W * *", "2026-12-31", &["2027-01-29", "2027-03-31", "2027-05-31", "2027-07-30"]),
        ("T32", "0 9 * * 5#5", "2026-12-31", &["2027-01-29", "2027-04-30", "2027-07-30"]),
        ("T33", "0 9 * * 1#L", "2027-05-01", &["2027-05-31", "2027-06-28"]),
        ("T34", "0 9 13 * 5", "2027-08-01", &["2027-08-06", "2027-08-13", "2027-08-20", "2027-08-27"]),
    ];
    for (case, expression, after, expected) in table {
        let after = instant(utc(&format!("{after} 02:00")));
        let when = cron(expression);
        let found = dues(&when, zone("Asia/Shanghai"), open_window(after)).take(expected.len());
        let found: Vec<String> = found.map(|due| due.civil.format("%F %R").to_string()).collect();
        let expected: Vec<String> = expected.iter().map(|day| format!("{day} 09:00")).collect();
        assert_eq!(found, expected, "{case}");
    }
    let both = cron("0 9 13 * +5");
    let both = dues(&both, zone("Asia/Shanghai"), open_window(instant(utc("2027-08-01 00:00"))));
    let both: Vec<NaiveDate> = both.take(2).map(|due| due.civil.date()).collect();
    assert_eq!(both.first(), NaiveDate::from_ymd_opt(2027, 8, 13).as_ref(), "T34: both");
    assert_ne!(both.get(1).map(Datelike::month), Some(8), "T34: both");
    // The clocks of China were set back on the morning of 15 September 1991, for the last time.
    let daily = cron("0 9 * * *");
    let last = dues(&daily, zone("Asia/Shanghai"), open_window(instant(utc("1991-09-13 12:00"))));
    let last: Vec<String> = last.take(2).map(|due| due.at.format("%F %R").to_string()).collect();
    assert_eq!(last, ["1991-09-14 00:00", "1991-09-15 01:00"], "T23");
}

#[test]
fn a_missing_day_fires_nothing_and_every_policy_says_what_it_does() {
    let daily = cron("0 9 * * *");
    for dst in [Dst::Auto, Dst::Skip, Dst::Wall, Dst::Shift] {
        let days = local(&daily, "Pacific/Apia", dst, "2011-12-28 00:00", "2012-01-01 00:00");
        assert_eq!(days, ["28 09:00", "29 09:00", "31 09:00", "01 09:00"], "T18 {dst:?}");
    }
    let friday = [Dst::Auto, Dst::Shift].map(|dst| {
        let at = [civil_time_of("2011-12-30 09:00").expect("a time")].into_iter().collect();
        next(&at, zone("Pacific/Apia"), dst, instant(utc("2011-12-01 00:00")))
    });
    assert_eq!(friday, [None, None]);

    let gap = |text, dst| local(&cron(text), "America/New_York", dst, "2026-03-08 05:00", "2026-03-08 08:30");
    assert_eq!(gap("0,30 2 * * *", Dst::Auto), ["08 03:00"]);
    assert_eq!(gap("0,30 2 * * *", Dst::Skip), [""; 0]);
    assert_eq!(gap("0,30 2 * * *", Dst::Wall), [""; 0]);
    assert_eq!(gap("0,30 2 * * *", Dst::Shift), ["08 03:00", "08 03:30"]);
    assert_eq!(gap("0,30 2,3 * * *", Dst::Shift), ["08 03:00", "08 03:30"]);
    assert_eq!(gap("15 2,3 * * *", Dst::Auto), ["08 03:00", "08 03:15"]);
    let overlap =
        |text, dst| local(&cron(text), "America/New_York", dst, "2026-11-01 04:59", "2026-11-01 07:30");
    assert_eq!(overlap("30 1 * * *", Dst::Wall), ["01 01:30", "01 01:30"]);
    for dst in [Dst::Auto, Dst::Skip, Dst::Shift] {
        assert_eq!(overlap("30 1 * * *", dst), ["01 01:30"], "{dst:?}");
    }
    assert_eq!(overlap("0 * * * *", Dst::Auto), ["01 01:00", "01 01:00", "01 02:00"]);
    assert_eq!(overlap("0 * * * *", Dst::Skip), ["01 01:00", "01 02:00"]);
}

#[test]
fn a_due_time_is_named_by_the_stated_civil_time_and_its_pass() {
    let name = |text: &str, dst, after: &str| {
        let due = next(&cron(text), zone("America/New_York"), dst, instant(utc(after))).expect("one");
        (due.civil.format("%d %H:%M").to_string(), due.fold)
    };
    assert_eq!(name("30 2 * * *", Dst::Auto, "2026-03-08 00:00"), ("08 02:30".to_owned(), 0));
    assert_eq!(name("30 2 * * *", Dst::Shift, "2026-03-08 00:00"), ("08 02:30".to_owned(), 0));
    assert_eq!(name("0 2,3 * * *", Dst::Auto, "2026-03-08 00:00"), ("08 03:00".to_owned(), 0));
    assert_eq!(name("30 1 * * *", Dst::Wall, "2026-11-01 05:00"), ("01 01:30".to_owned(), 0));
    assert_eq!(name("30 1 * * *", Dst::Wall, "2026-11-01 05:30"), ("01 01:30".to_owned(), 1));
}

#[test]
fn single_times_move_out_of_gaps_and_take_the_first_pass() {
    let times = ["2026-03-08 02:15", "2026-03-08 02:45", "2026-03-08 03:00", "2026-11-01 01:30"];
    let when: When = times.iter().map(|text| civil_time_of(text).expect("a time")).collect();
    let all = |dst| local(&when, "America/New_York", dst, "2026-01-01 00:00", "2027-01-01 00:00");
    assert_eq!(all(Dst::Auto), ["08 03:00", "01 01:30"]);
    assert_eq!(all(Dst::Shift), ["08 03:00", "08 03:15", "08 03:45", "01 01:30"]);
    assert_eq!(all(Dst::Skip), ["08 03:00", "01 01:30"]);
    let first = next(&when, zone("America/New_York"), Dst::Auto, instant(0)).expect("one");
    assert_eq!(
        first.civil,
        civil_time_of("2026-03-08 03:00").expect("a time"),
        "the one that the clock shows"
    );
    let after_all = next(&when, zone("America/New_York"), Dst::Auto, instant(utc("2026-11-01 05:30")));
    assert_eq!(after_all, None);
}

#[test]
fn a_window_is_half_open_and_its_parts_of_seconds_do_not_repeat() {
    let when = cron("0 9 * * *");
    let nine = Zone::SHANGHAI.tz().with_ymd_and_hms(2026, 11, 22, 9, 0, 0).single().expect("one").to_utc();
    let next_day = Some(nine + TimeDelta::days(1));
    let first = |after| next(&when, Zone::SHANGHAI, Dst::Auto, after).map(|due| due.at);
    assert_eq!(first(nine), next_day, "T39");
    assert_eq!(first(nine - TimeDelta::milliseconds(1)), Some(nine), "T39");
    assert_eq!(first(nine + TimeDelta::milliseconds(1)), next_day, "T39");
    let window = |after, until| occurrences(&when, Zone::SHANGHAI, Dst::Auto, Window { after, until }).len();
    assert_eq!(window(nine - TimeDelta::seconds(1), nine), 1);
    assert_eq!(window(nine, nine + TimeDelta::hours(23)), 0);
    assert_eq!(window(nine, nine), 0);
    assert_eq!(window(nine, nine - TimeDelta::days(3)), 0);
}

#[test]
fn a_long_window_is_cut_and_goes_on_where_it_stopped() {
    let when = cron("* * * * * *");
    let (start, end) = (1_793_512_000, 1_793_512_000 + 2500);
    let mut all = Vec::new();
    let mut after = start;
    loop {
        let part = seconds(&when, zone("America/New_York"), Dst::Auto, after, end);
        let Some(last) = part.last() else { break };
        assert!(part.len() <= MAX_OCCURRENCES);
        after = *last;
        all.extend(part);
    }
    assert!(all.into_iter().eq(start + 1..=end));
}

const ZONES: [&str; 8] = [
    "America/New_York",
    "Europe/Dublin",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "Asia/Shanghai",
    "Pacific/Apia",
];

fn any_dst() -> impl Strategy<Value = Dst> {
    prop_oneof![Just(Dst::Auto), Just(Dst::Skip), Just(Dst::Wall), Just(Dst::Shift)]
}

fn any_when() -> impl Strategy<Value = When> {
    let minute =
        prop_oneof![Just("*".to_owned()), Just("*/15".to_owned()), "[0-9],[345][0-9]", "[0-5]?[0-9]"];
    let hour =
        prop_oneof![Just("*".to_owned()), Just("0-3".to_owned()), Just("*/3".to_owned()), "[0-3],1?[0-9]"];
    let day = prop_oneof![
        3 => Just("* * *".to_owned()),
        1 => Just("* * SUN".to_owned()),
        1 => "[12][0-8],[123] \\* \\*",
        1 => Just("31 * *".to_owned()),
        1 => Just("1 3,4,10,11 1".to_owned()),
    ];
    let crons = (minute, hour, day).prop_map(|(minute, hour, day)| cron(&format!("{minute} {hour} {day}")));
    let near = (0i64..26).prop_flat_map(|year| {
        prop::collection::btree_set((0i64..300_000).prop_map(move |m| year * 31_556_952 + m * 100), 1..20)
    });
    let single = near.prop_map(|set| set.into_iter().map(|s| civil_time(1_000_000_000 + s)).collect());
    prop_oneof![4 => crons, 1 => single]
}

proptest! {
    // At least 600, more where PROPTEST_CASES says so.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(600),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Cutting a window anywhere changes nothing, and instants ascend strictly (T38).
    #[test]
    fn windows_add_up(
        when in any_when(),
        name in prop::sample::select(&ZONES[..]),
        dst in any_dst(),
        start in 1_000_000_000i64..1_800_000_000,
        cuts in (0i64..3_000_000, 0i64..3_000_000),
        to_a_change in any::<bool>(),
    ) {
        let zone = zone(name);
        // Half of the windows begin shortly before a change of the clock.
        let changes = Segments::before(zone, start).take(60);
        let changed = changes.map_while(|segment| {
            let next = Segments::before(zone, segment.end + 1).next()?;
            Some((segment.end, next.offset != segment.offset))
        });
        let change = changed.filter(|(_, changes)| *changes && to_a_change).map(|(at, _)| at).next();
        let a = change.map_or(start, |at| at - 90_000);
        let (b, c) = (a + cuts.0 / 30, a + cuts.0.max(cuts.1) / 10);
        let (b, c) = (b.min(c), c.max(b));
        let whole = seconds(&when, zone, dst, a, c);
        prop_assert!(whole.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(whole.iter().all(|at| a < *at && *at <= c));
        if whole.len() < MAX_OCCURRENCES {
            let mut parts = seconds(&when, zone, dst, a, b);
            parts.extend(seconds(&when, zone, dst, b, c));
            prop_assert_eq!(&parts, &whole);
        }
        // And each is what a search from right before it finds.
        for pair in whole.windows(2).take(40) {
            let found = next(&when, zone, dst, instant(pair[0])).map(|due| due.at.timestamp());
            prop_assert_eq!(found, Some(pair[1]));
        }
        // A look back finds the same ones, from on the time and from right before the next.
        for pair in whole.windows(2).take(5) {
            for until in [pair[0], pair[1] - 1] {
                let found = last(&when, zone, dst, instant(until)).map(|due| due.at.timestamp());
                prop_assert_eq!(found, Some(pair[0]));
            }
        }
    }

    /// croner's rule equals ours where minute and hour are single values or stars.
    #[test]
    fn croner_agrees_where_its_rule_is_ours(
        minute in prop_oneof![Just("*".to_owned()), "[0-5]?[0-9]"],
        hour in prop_oneof![Just("*".to_owned()), "[0-4]", "1[0-9]|2[0-3]"],
        day in prop_oneof![Just("* * *"), Just("1-7 * 1"), Just("29 2 *"), Just("31 * *"), Just("* 3,10 0")],
        name in prop::sample::select(&ZONES[..7]),
        start in 1_500_000_000i64..1_800_000_000,
    ) {
        let text = format!("{minute} {hour} {day}");
        let theirs = croner::Cron::from_str(&text).expect("croner reads it");
        let from = instant(start).with_timezone(&zone(name).tz());
        let expected: Vec<i64> = theirs.iter_after(from).take(20).map(|at| at.timestamp()).collect();
        // Its star is one of both fields or none: a star in one and a value in the other is wild for both of us.
        let last = expected.last().copied().unwrap_or(start);
        prop_assert_eq!(seconds(&cron(&text), zone(name), Dst::Auto, start, last), expected, "{}", text);
    }
}
