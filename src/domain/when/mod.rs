//! When a rule is due, as data: parsed recurrences in civil time.
//!
//! What instants they mean in a zone is decided in `plan::recurrence`.

mod cron;

use chrono::{NaiveDate, NaiveDateTime};

use super::language::{Phrase, Said};

pub use cron::{Allowed, Cron, CronCode, CronError};

/// One form of a rule's `when`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// A cron expression.
    Cron(Cron),
    /// Single civil times, ascending and distinct.
    At(Vec<NaiveDateTime>),
}

/// Why a text is no civil time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AtError {
    /// What is wrong, with the value seen.
    pub message: Said,
    /// What to write instead.
    pub help: Said,
}

impl When {
    /// Parses one civil time, `YYYY-MM-DD HH:MM` or with `:SS`.
    ///
    /// # Errors
    /// [`AtError`] with the fix.
    pub fn at(text: &str) -> Result<NaiveDateTime, AtError> {
        let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        let format = match shape.as_str() {
            "9999-99-99 99:99" => "%Y-%m-%d %H:%M",
            "9999-99-99 99:99:99" => "%Y-%m-%d %H:%M:%S",
            _ => {
                return Err(AtError {
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
        time.filter(|_| !text.ends_with(":60")).ok_or_else(|| AtError {
            message: Said::new(
                format!("there is no `{text}`: {}", why_not(text).en),
                format!("`{text}` 并不存在：{}", why_not(text).zh),
            ),
            help: Said::new("choose a day and a time that exist", "改成存在的日期和时间"),
        })
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
        assert!(When::at("2026-03-01 09:00").is_ok() && When::at("2028-02-29 23:59:59").is_ok());
        let bad =
            ["2026-3-1 9:00", "2026-03-01T09:00", "2026-02-30 09:00", "2026-03-01 24:00", "2026-03-01", ""];
        for text in bad {
            assert!(When::at(text).is_err(), "{text}");
        }
        assert!(When::at("2026-03-01 09:00:60").is_err());
    }
}
