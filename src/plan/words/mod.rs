//! A schedule in words, in both languages: for those who read rules and do not read cron.
//!
//! Words say what the parsed masks say, never what was written: two spellings of the same times read
//! alike. What has no common shape is enumerated field by field, so nothing is ever said inexactly.
//! When a time falls in a zone, and what a clock change does to it, is not said here.

mod clock;
mod day;
mod list;

use std::sync::Arc;
use std::time::Duration;

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};

use crate::domain::language::Said;
use crate::domain::rule::{AtNight, MissedPolicy, Quiet, Rule};
use crate::domain::when::{
    Calendar, Cron, Dst, Every, Except, Form, IfLate, Offset, Pass, Period, Relative, Single, When,
};

/// Single times that are listed one by one; more are counted, with the first and the last.
const MAX_LISTED: usize = 6;
/// The last second of a day: what a date as an end comes to.
const LAST_SECOND: NaiveTime = NaiveTime::from_hms_opt(23, 59, 59).expect("a day has it");

/// When a rule is due: `every weekday at 10:00 and 15:00`, `每个工作日 10:00 和 15:00`.
#[must_use]
pub fn when(when: &When) -> Said {
    let When { form, dst, from, until, except, only } = when;
    let mut said = match form {
        Form::Cron(cron) => recurrence(cron),
        Form::At(times) => single_times(times),
        Form::Every(every) => repeated(every),
        Form::Relative(relative) => of_appointments(relative),
    };
    let mut add = |en: String, zh: String| {
        said.en.push_str(&en);
        said.zh.push_str(&zh);
    };
    if let Some(from) = from {
        let from = moment(from, NaiveTime::MIN);
        add(format!(", from {from}"), format!("，自 {} 起", from.zh));
    }
    if let Some(until) = until {
        let until = moment(until, LAST_SECOND);
        add(format!(", until {until}"), format!("，至 {} 为止", until.zh));
    }
    if !only.is_empty() {
        let only = calendars(only);
        add(format!(", only on days of {only}"), format!("，只在{}的日子", only.zh));
    }
    if *except != Except::default() {
        let except = exceptions(except);
        add(format!(", except on {except}"), format!("，{}除外", except.zh));
    }
    match dst {
        Dst::Auto => {}
        Dst::Skip => add(" (clock changes: skip)".to_owned(), "（时钟切换：跳过）".to_owned()),
        Dst::Wall => add(" (clock changes: wall)".to_owned(), "（时钟切换：跟随钟面）".to_owned()),
        Dst::Shift => add(" (clock changes: shift)".to_owned(), "（时钟切换：顺延）".to_owned()),
    }
    said
}

/// `1 day before each visit, at 20:00`.
fn of_appointments(relative: &Relative) -> Said {
    let Relative { of, offset, time, late } = relative;
    let length = |period: &Period| match period {
        Period::Elapsed(time) => span(*time),
        Period::Days(1) => Said::new("1 day", "1 天"),
        Period::Days(n) => Said::new(format!("{n} days"), format!("{n} 天")),
    };
    let mut said = match offset {
        Offset::Before(period) => {
            let length = length(period);
            Said::new(format!("{} before each {of}", length.en), format!("每个 {of} 之前 {}", length.zh))
        }
        Offset::After(period) => {
            let length = length(period);
            Said::new(format!("{} after each {of}", length.en), format!("每个 {of} 之后 {}", length.zh))
        }
        Offset::SameDay => Said::new(format!("on the day of each {of}"), format!("每个 {of} 当天")),
    };
    if let Some(time) = time {
        let time = time.format("%H:%M");
        said = Said::new(format!("{}, at {time}", said.en), format!("{}，{time}", said.zh));
    }
    match late {
        IfLate::Skip => said,
        IfLate::Send => {
            let Said { en, zh } = said;
            Said::new(format!("{en}; of one made later, at once"), format!("{zh}；之后才登记的，立即发送"))
        }
    }
}

/// When a rule is due, with the zone whose clock it follows.
#[must_use]
pub fn schedule(rule: &Rule) -> Said {
    let Said { en, zh } = when(&rule.when);
    if rule.own_time {
        return Said::new(format!("{en} (each recipient's own time)"), format!("{zh}（按每个人自己的时区）"));
    }
    Said::new(format!("{en} ({} time)", rule.zone), format!("{zh}（{} 时间）", rule.zone))
}

/// Hours in which nothing leaves: `22:00–08:00, held until they are over`.
#[must_use]
pub fn quiet(quiet: &Quiet) -> Said {
    let time = |time: NaiveTime| {
        let format = if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
        time.format(format).to_string()
    };
    let hours = format!("{}–{}", time(quiet.from), time(quiet.to));
    match quiet.then {
        AtNight::Hold => {
            Said::new(format!("{hours}, held until they are over"), format!("{hours}，过后再发"))
        }
        AtNight::Skip => Said::new(format!("{hours}, skipped"), format!("{hours}，跳过")),
    }
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

fn repeated(every: &Every) -> Said {
    let starting = single_time(&Single { civil: every.starting, pass: Pass::First });
    let (en, zh) = match every.period {
        Period::Days(1) => ("every day".to_owned(), "每天".to_owned()),
        Period::Days(n) => (format!("every {n} days"), format!("每 {n} 天")),
        Period::Elapsed(time) => {
            // A day that passes is 24 hours, whatever the clock shows.
            let seconds = time.as_secs();
            let (n, en, zh) = match (seconds % 3600, seconds % 60) {
                (0, _) => (seconds / 3600, "hour", "小时"),
                (_, 0) => (seconds / 60, "minute", "分钟"),
                _ => (seconds, "second", "秒"),
            };
            match n {
                1 => (format!("every {en}"), format!("每{zh}")),
                n => (format!("every {n} {en}s"), format!("每 {n} {zh}")),
            }
        }
    };
    Said::new(format!("{en}, starting on {starting}"), format!("{zh}，从 {} 开始", starting.zh))
}

/// A civil time; the date alone where its time of day is `implied`.
fn moment(time: &NaiveDateTime, implied: NaiveTime) -> Said {
    if time.time() == implied {
        return date(time.date());
    }
    single_time(&Single { civil: *time, pass: Pass::First })
}

fn date(day: NaiveDate) -> Said {
    let (year, month, day) = (day.year(), day.month(), day.day());
    Said::new(format!("{day} {} {year}", day::month_en(month)), format!("{year} 年 {month} 月 {day} 日"))
}

fn calendars(calendars: &[Arc<Calendar>]) -> Said {
    let names: Vec<Said> = calendars.iter().map(|calendar| Said::same(calendar.name.to_string())).collect();
    let names = list::of(&names);
    Said::new(format!("the calendar {names}"), format!("日历 {} ", names.zh))
}

fn exceptions(except: &Except) -> Said {
    let Except { days, calendars: named } = except;
    let mut all: Vec<Said> = match days.as_slice() {
        [first, .., last] if days.len() > MAX_LISTED => {
            let (n, first, last) = (days.len(), date(*first), date(*last));
            vec![Said::new(
                format!("{n} days from {first} to {last}"),
                format!("{} 至 {} 之间的 {n} 天", first.zh, last.zh),
            )]
        }
        few => few.iter().copied().map(date).collect(),
    };
    if !named.is_empty() {
        let calendars = calendars(named);
        all.push(Said::new(format!("days of {calendars}"), format!("{}的日子", calendars.zh)));
    }
    list::of(&all)
}

fn single_times(times: &[Single]) -> Said {
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

fn single_time(time: &Single) -> Said {
    let Single { civil: time, pass } = time;
    let again = match pass {
        Pass::First => Said::default(),
        Pass::Second => Said::new(" (the second time)", "（第二次）"),
    };
    let clock = if time.second() == 0 { time.format("%H:%M") } else { time.format("%H:%M:%S") }.to_string();
    let (year, month, day) = (time.year(), time.month(), time.day());
    Said::new(
        format!("{day} {} {year} at {clock}{again}", day::month_en(month)),
        format!("{year} 年 {month} 月 {day} 日 {clock}{}", again.zh),
    )
}

#[cfg(test)]
mod tests;
