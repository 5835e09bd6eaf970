//! Instants as operators write and read them.

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};

use crate::domain::language::Said;
use crate::domain::occurrence::Due;
use crate::domain::zone::Zone;

/// An instant as JSON has it: RFC 3339 in UTC with `Z`, in whole milliseconds.
#[must_use]
pub fn utc(at: DateTime<Utc>) -> String {
    at.trunc_subsecs(3).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// An instant in a zone, with its offset.
#[must_use]
pub fn local(at: DateTime<Utc>, zone: Zone) -> String {
    at.with_timezone(&zone.tz()).to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

/// Reads an instant in RFC 3339, with `Z` or an offset.
///
/// # Errors
/// A sentence with an example.
pub fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    let parsed = DateTime::parse_from_rfc3339(text);
    let parsed =
        parsed.map_err(|error| format!("{error}; write an instant such as 2026-03-01T09:00:00+08:00"));
    Ok(parsed?.to_utc())
}

/// What a clock change does to a due time, for people; `None` on an ordinary day.
#[must_use]
pub fn remark(due: &Due, zone: Zone) -> Option<Said> {
    let shown = due.at.with_timezone(&zone.tz()).naive_local();
    if shown != due.civil {
        let stated = due.civil.format("%H:%M:%S");
        return Some(Said::new(
            format!("{stated} does not exist that day, the clock skips it"),
            format!("当天没有 {stated}，时钟会跳过它"),
        ));
    }
    if due.fold > 0 {
        return Some(Said::new("second pass of a repeated hour", "时钟回拨，这一小时的第二遍"));
    }
    let later = due.civil.and_local_timezone(zone.tz()).latest();
    let repeated = later.is_some_and(|later| later.to_utc() != due.at);
    repeated.then(|| Said::new("first pass of a repeated hour", "时钟回拨，这一小时的第一遍"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_one_form() {
        let at = parse("2026-03-01T09:00:00+08:00").expect("an instant");
        assert_eq!(utc(at), "2026-03-01T01:00:00Z");
        assert_eq!(local(at, Zone::SHANGHAI), "2026-03-01T09:00:00+08:00");
        assert!(parse("2026-03-01 09:00").expect_err("no offset").contains("such as"));
    }

    #[test]
    fn clock_changes_are_remarked() {
        let zone = Zone::parse("America/New_York").expect("a zone");
        let due = |at: &str, civil: &str, fold| Due {
            at: parse(at).expect("an instant"),
            civil: civil.parse().expect("a civil time"),
            fold,
        };
        let table = [
            (due("2026-03-08T07:00:00Z", "2026-03-08T02:30:00", 0), Some("02:30:00 does not exist")),
            (due("2026-11-01T05:30:00Z", "2026-11-01T01:30:00", 0), Some("first pass")),
            (due("2026-11-01T06:30:00Z", "2026-11-01T01:30:00", 1), Some("second pass")),
            (due("2026-11-02T06:30:00Z", "2026-11-02T01:30:00", 0), None),
        ];
        for (due, begins) in table {
            let remark = remark(&due, zone).map(|remark| remark.en);
            assert_eq!(remark.is_some(), begins.is_some(), "{remark:?}");
            assert!(remark.unwrap_or_default().starts_with(begins.unwrap_or_default()));
        }
    }
}
