//! A schedule in words, in both languages: for those who read rules and do not read cron.
//!
//! Words say what the parsed masks say, never what was written: two spellings of the same times read
//! alike. What has no common shape is enumerated field by field, so nothing is ever said inexactly.
//! When a time falls in a zone, and what a clock change does to it, is not said here.

mod clock;
mod day;
mod list;

use std::time::Duration;

use chrono::{Datelike as _, NaiveDateTime, Timelike as _};

use crate::domain::language::Said;
use crate::domain::rule::{MissedPolicy, Rule};
use crate::domain::when::{Cron, When};

/// Single times that are listed one by one; more are counted, with the first and the last.
const MAX_LISTED: usize = 6;

/// When a rule is due: `every weekday at 10:00 and 15:00`, `每个工作日 10:00 和 15:00`.
#[must_use]
pub fn when(when: &When) -> Said {
    match when {
        When::Cron(cron) => recurrence(cron),
        When::At(times) => single_times(times),
    }
}

/// When a rule is due, with the zone whose clock it follows.
#[must_use]
pub fn schedule(rule: &Rule) -> Said {
    let Said { en, zh } = when(&rule.when);
    Said::new(format!("{en} ({} time)", rule.zone), format!("{zh}（{} 时间）", rule.zone))
}

/// What becomes of due times that are found late: grace and policy of a rule.
#[must_use]
pub fn lateness(rule: &Rule) -> Said {
    let grace = span(rule.grace);
    match rule.missed {
        MissedPolicy::Latest => Said::new(
            format!("sent up to {grace} late; of several that are late, the newest"),
            format!("最多迟 {}仍会发送；迟到的有几次时，只发最新一次", grace.zh),
        ),
        MissedPolicy::All { max } => Said::new(
            format!("sent up to {grace} late; of several that are late, the newest {max}"),
            format!("最多迟 {}仍会发送；迟到的有几次时，发最新的 {max} 次", grace.zh),
        ),
        MissedPolicy::Skip => Said::new(
            format!("not sent when it is found over 60 seconds late; sending may take up to {grace}"),
            format!("发现时已迟 60 秒以上就不再发送；发送过程最多 {}", grace.zh),
        ),
    }
}

/// A span of time, to the second: `1 hour 30 minutes`, `1 小时 30 分钟`.
#[must_use]
pub fn span(span: Duration) -> Said {
    let seconds = span.as_secs();
    let units = [
        (seconds / 86_400, "day", "天"),
        (seconds / 3600 % 24, "hour", "小时"),
        (seconds / 60 % 60, "minute", "分钟"),
        (seconds % 60, "second", "秒"),
    ];
    let mut said: Vec<Said> = Vec::new();
    for (n, en, zh) in units {
        if n > 0 || en == "second" && said.is_empty() {
            let plural = if n == 1 { "" } else { "s" };
            said.push(Said::new(format!("{n} {en}{plural}"), format!("{n} {zh}")));
        }
    }
    let all = |text: fn(&Said) -> &str| said.iter().map(text).collect::<Vec<_>>().join(" ");
    Said::new(all(|said| &said.en), all(|said| &said.zh))
}

fn recurrence(cron: &Cron) -> Said {
    let allowed = cron.allowed();
    let (days, times) = (day::days(&allowed), clock::times(&allowed));
    let Said { en, zh } = times.words;
    match (days, times.kind) {
        // "every 15 minutes" needs no "every day".
        (None, clock::Kind::AllDay) => Said { en, zh },
        (None, clock::Kind::Listed) => Said::new(format!("every day at {en}"), format!("每天 {zh}")),
        (None, clock::Kind::Repeated) => Said::new(format!("every day, {en}"), format!("每天 {zh}")),
        (Some(days), clock::Kind::Listed) => {
            let gap = if days.zh.ends_with('）') { "" } else { " " };
            Said::new(format!("{} at {en}", days.en), format!("{}{gap}{zh}", days.zh))
        }
        (Some(days), clock::Kind::Repeated | clock::Kind::AllDay) => {
            Said::new(format!("{}, {en}", days.en), format!("{}，{zh}", days.zh))
        }
    }
}

fn single_times(times: &[NaiveDateTime]) -> Said {
    let all: Vec<Said> = times.iter().take(MAX_LISTED).map(single_time).collect();
    match (times, all.as_slice()) {
        ([], _) => Said::new("never", "从不"),
        ([_], [only]) => Said::new(format!("once, on {only}"), format!("一次：{}", only.zh)),
        ([first, .., last], _) if times.len() > MAX_LISTED => {
            let (n, first, last) = (times.len(), single_time(first), single_time(last));
            Said::new(
                format!("{n} times, the first on {first}, the last on {last}"),
                format!("共 {n} 次，最早 {}，最晚 {}", first.zh, last.zh),
            )
        }
        (_, all) => {
            let listed = list::of(all);
            Said::new(format!("{} times: {listed}", all.len()), format!("共 {} 次：{}", all.len(), listed.zh))
        }
    }
}

fn single_time(time: &NaiveDateTime) -> Said {
    let clock = if time.second() == 0 { time.format("%H:%M") } else { time.format("%H:%M:%S") }.to_string();
    let (year, month, day) = (time.year(), time.month(), time.day());
    Said::new(
        format!("{day} {} {year} at {clock}", day::month_en(month)),
        format!("{year} 年 {month} 月 {day} 日 {clock}"),
    )
}

#[cfg(test)]
mod tests;
