//! Due times against the oracle: each record was confirmed by a minute-by-minute brute force and by at
//! least one engine of somebody else.

mod brute;
mod windows;

use chrono::{DateTime, Offset, Utc};
use serde_json::Value;
use tixing::domain::when::{Cron, CronCode, Dst, When};
use tixing::domain::zone::Zone;
use tixing::plan::recurrence::{Window, next, occurrences};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("in range")
}

fn text<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().expect(key)
}

fn number(record: &Value, key: &str) -> i64 {
    record[key].as_i64().expect(key)
}

/// Our policies for which the record holds.
fn policies(record: &Value) -> Vec<Dst> {
    let names = [("auto", Dst::Auto), ("wall", Dst::Wall), ("skip1", Dst::Skip)];
    let holds = |name: &str| {
        let list = record["pol"].as_array();
        record["pol"] == "any" || list.is_some_and(|list| list.iter().any(|pol| pol == name))
    };
    names.into_iter().filter(|(name, _)| holds(name)).map(|(_, policy)| policy).collect()
}

/// Whether the clock jumped forward to this instant.
fn ends_a_gap(zone: Zone, instant: i64) -> bool {
    let offset = |seconds| at(seconds).with_timezone(&zone.tz()).offset().fix().local_minus_utc();
    offset(instant) > offset(instant - 1)
}

#[test]
fn every_record_of_the_oracle_comes_out() {
    let lines = include_str!("../../data/cron-oracle.jsonl").lines().skip(1);
    let mut n_checked = 0;
    let mut faults = Vec::new();
    for line in lines {
        let record: Value = serde_json::from_str(line).expect("a record");
        let pattern = text(&record, "p");
        let when = match Cron::parse(pattern) {
            Ok(cron) => When::from(cron),
            Err(error) if error.code == CronCode::NeverFires => {
                assert_eq!(record["x"].as_array().map(Vec::len), Some(0), "{pattern}");
                continue;
            }
            Err(error) => panic!("{pattern}: {error}; {}", error.help),
        };
        let zone = Zone::parse(text(&record, "z")).expect("a zone");
        let after = number(&record, "a");
        let expected: Vec<i64> =
            record["x"].as_array().expect("a list").iter().filter_map(Value::as_i64).collect();
        let last = expected.last().copied().unwrap_or(after);
        let until = record["u"].as_i64().map_or(last, |complete| complete - 1);
        for dst in policies(&record) {
            let when = When { dst, ..when.clone() };
            let window = Window { after: at(after), until: at(until) };
            let mut found: Vec<i64> =
                occurrences(&when, zone, window).iter().map(|due| due.at.timestamp()).collect();
            let first = next(&when, zone, at(after)).map(|due| due.at.timestamp());
            assert!(found.is_empty() || first == found.first().copied(), "{pattern} {zone} after {after}");
            if record["sec"] == 1 && dst == Dst::Auto {
                // The engines behind the six-field records know no firing for what a gap skipped; the
                // stated policy does.
                found.retain(|found| expected.contains(found) || !ends_a_gap(zone, *found));
            }
            if found != expected {
                faults.push(format!("{dst:?} {pattern} {zone} after {after}: {found:?}, not {expected:?}"));
            }
            n_checked += 1;
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults[..faults.len().min(10)].join("\n"));
    assert!(n_checked > 8000, "{n_checked} checked");
}
