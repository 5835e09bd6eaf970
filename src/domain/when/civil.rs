//! Civil times and dates as texts: one form each, or what is wrong with it.
//!
//! Whether a zone's clock shows a time is decided in `plan::recurrence`.

use chrono::{NaiveDate, NaiveDateTime};

use crate::domain::language::{Phrase, Said};

/// Why a text is no civil time or date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CivilError {
    /// Whether it has the digits in their places, so that only the calendar is against it.
    pub of_the_form: bool,
    /// What is wrong, with the value seen.
    pub message: Said,
    /// What to write instead.
    pub help: Said,
}

/// Parses one civil time, `YYYY-MM-DD HH:MM` or with `:SS`.
///
/// # Errors
/// [`CivilError`] with the fix.
pub fn civil_time(text: &str) -> Result<NaiveDateTime, CivilError> {
    let format = match shape(text).as_str() {
        "9999-99-99 99:99" => "%Y-%m-%d %H:%M",
        "9999-99-99 99:99:99" => "%Y-%m-%d %H:%M:%S",
        _ => {
            return Err(CivilError {
                of_the_form: false,
                message: Said::new(
                    format!("`{text}` is no civil time"),
                    format!("`{text}` 不是有效的日期时间"),
                ),
                help: Said::new(
                    "write it as \"2026-03-01 09:00\" or \"2026-03-01 09:00:30\"; the zone is the rule's",
                    "写成 \"2026-03-01 09:00\" 或 \"2026-03-01 09:00:30\"，时区以规则为准",
                ),
            });
        }
    };
    let time = NaiveDateTime::parse_from_str(text, format).ok();
    // A leap second is read, but no clock of a rule shows one.
    time.filter(|_| !text.ends_with(":60")).ok_or_else(|| impossible(text))
}

/// Parses one civil date, `YYYY-MM-DD`.
///
/// # Errors
/// [`CivilError`] with the fix.
pub fn civil_date(text: &str) -> Result<NaiveDate, CivilError> {
    if shape(text) != "9999-99-99" {
        return Err(CivilError {
            of_the_form: false,
            message: Said::new(format!("`{text}` is no date"), format!("`{text}` 不是有效的日期")),
            help: Said::new("write it as \"2026-10-01\"", "写成 \"2026-10-01\""),
        });
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_none| impossible(text))
}

fn shape(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect()
}

fn impossible(text: &str) -> CivilError {
    CivilError {
        of_the_form: true,
        message: Said::new(
            format!("there is no `{text}`: {}", why_not(text).en),
            format!("`{text}` 并不存在：{}", why_not(text).zh),
        ),
        help: Said::new("choose a day and a time that exist", "改成存在的日期和时间"),
    }
}

/// What is against a text of the form `9999-99-99 99:99[:99]`.
fn why_not(text: &str) -> Phrase {
    let part = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<u32>().ok());
    let month = part(5..7).unwrap_or_default();
    let day = part(8..10).unwrap_or_default();
    if !(1..=12).contains(&month) {
        return Phrase::new("a year has the months 01–12", "月份应为 01–12");
    }
    if !(1..=31).contains(&day) {
        return Phrase::new("a month has no such day", "日期应为 01–31");
    }
    let year = part(0..4).and_then(|year| i32::try_from(year).ok()).unwrap_or_default();
    if NaiveDate::from_ymd_opt(year, month, day).is_none() {
        return Phrase::new("this month has no such day", "这个月没有这一天");
    }
    if part(11..13).is_none_or(|hour| hour > 23) {
        return Phrase::new("a day has the hours 00–23", "小时应为 00–23");
    }
    if part(14..16).is_none_or(|minute| minute > 59) {
        return Phrase::new("an hour has the minutes 00–59", "分钟应为 00–59");
    }
    Phrase::new("a minute has the seconds 00–59", "秒应为 00–59")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_civil_time_has_one_form() {
        assert!(civil_time("2026-03-01 09:00").is_ok() && civil_time("2028-02-29 23:59:59").is_ok());
        let bad =
            ["2026-3-1 9:00", "2026-03-01T09:00", "2026-02-30 09:00", "2026-03-01 24:00", "2026-03-01", ""];
        for text in bad {
            assert!(civil_time(text).is_err(), "{text}");
        }
        assert!(civil_time("2026-03-01 09:00:60").is_err());
    }

    #[test]
    fn a_civil_date_has_one_form() {
        assert!(civil_date("2028-02-29").is_ok());
        for (text, of_the_form) in
            [("2027-02-29", true), ("2026-13-01", true), ("2026-1-1", false), ("", false)]
        {
            assert_eq!(civil_date(text).map_err(|error| error.of_the_form), Err(of_the_form), "{text}");
        }
    }
}
