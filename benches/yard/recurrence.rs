//! What it costs to find a due time, beside croner 4 in the same run.
//!
//! Both walk the same years of the same zones, in turns; that they find as many is asserted where their rules
//! are the same, and the results are used, so that nothing is left out.

use std::hint::black_box;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use tixing::clock::Clock;
use tixing::domain::when::{Cron, When};
use tixing::domain::zone::Zone;
use tixing::plan::recurrence::{Window, dues, never};

use super::Size;
use super::figures::median;

/// What, its expression, years that are walked, and what was aimed at in ns a due time.
const RULES: [(&str, &str, i64, &str); 5] = [
    ("each day", "0 9 * * *", 40, "30"),
    ("each quarter of an hour", "*/15 * * * *", 10, "30"),
    ("Monday to Friday", "0 9 * * MON-FRI", 40, "30"),
    ("each month", "0 9 1 * *", 40, "200"),
    ("29 February", "0 9 29 2 *", 80, "2000"),
];
/// What is never due in any year, which a load finds out.
const NEVER: [&str; 2] = ["0 9 30 2 *", "0 9 31 4,6 *"];
/// croner's zones are chrono-tz's.
const ZONES: [chrono_tz::Tz; 2] = [chrono_tz::Asia::Shanghai, chrono_tz::America::New_York];

pub(crate) fn measure(size: Size, _runtime: &tokio::runtime::Runtime) {
    let (rounds, at_least) = match size {
        Size::Real => (9, Duration::from_millis(50)),
        Size::Smoke => (1, Duration::from_millis(1)),
    };
    println!(
        "recurrence: ns a due time, medians of {rounds} rounds, each of {} ms or more",
        at_least.as_millis()
    );
    println!("                                              tixing  aim   croner      x");
    for zone in ZONES {
        for (what, text, years, aim) in RULES {
            let when = When::from(Cron::parse(text).unwrap());
            let theirs = croner::Cron::from_str(text).unwrap();
            let ours = Zone::parse(zone.name()).unwrap();
            let after = Utc.with_ymd_and_hms(2020, 1, 1, 0, 0, 0).unwrap();
            let until = after + TimeDelta::days(365 * years);
            let us = || dues(&when, ours, Window { after, until }).map(|due| due.at).fold((0, None), last);
            let them = || {
                let found = theirs.iter_after(after.with_timezone(&zone));
                found.map(|at| at.to_utc()).take_while(|at| *at <= until).fold((0, None), last)
            };
            assert_eq!(us(), them(), "{text} in {zone}");
            let (mut mine, mut other) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                mine.push(ns_each(at_least, us));
                other.push(ns_each(at_least, them));
            }
            let (mine, other) = (median(mine), median(other));
            let name = format!("{what}, {}", zone.name());
            println!("{name:<44} {mine:>7.1} {aim:>4} {other:>8.0} {:>6.3}", mine / other);
        }
    }
    let found = |what: &str, never: &dyn Fn() -> bool| {
        assert!(never(), "{what} is never due");
        let each = (0..rounds).map(|_| ns_each(at_least, || (u64::from(never()), None)));
        println!("{:<44} {:>7.0} aim 1000000", format!("never due: {what}"), median(each));
    };
    for text in NEVER {
        found(text, &|| Cron::parse(black_box(text)).is_err());
    }
    // No day of the years that it has: they are all looked through.
    let year = |year, month, day| {
        chrono::NaiveDate::from_ymd_opt(year, month, day).unwrap().and_time(NaiveTime::MIN)
    };
    let bounded = When {
        from: Some(year(2097, 1, 1)),
        until: Some(year(2103, 12, 31)),
        ..When::from(Cron::parse("0 9 29 2 *").unwrap())
    };
    found("29 February from 2097 to 2103", &|| never(black_box(&bounded), Zone::SHANGHAI).is_some());
}

fn last((n, _): (u64, Option<DateTime<Utc>>), at: DateTime<Utc>) -> (u64, Option<DateTime<Utc>>) {
    (n + 1, Some(at))
}

/// Nanoseconds for each of what `walk` counts, walked again until it took so long.
fn ns_each(at_least: Duration, walk: impl Fn() -> (u64, Option<DateTime<Utc>>)) -> f64 {
    let clock = Clock::system();
    let (start, mut n) = (clock.elapsed(), 0);
    loop {
        n += black_box(walk()).0;
        let took = clock.elapsed() - start;
        if took >= at_least {
            return took.as_secs_f64() * 1e9 / n as f64;
        }
    }
}
