//! The times of a day in words: clock times one by one, even repetitions, or field by field.

use super::list;
use crate::domain::language::Said;
use crate::domain::when::Allowed;

/// Clock times that are listed one by one.
const MAX_LISTED: usize = 8;
/// Hours in a row from which a time of each is told as `every hour from … to …`.
const MIN_HOURS: usize = 4;

/// The times of a day.
pub(super) struct Times {
    pub(super) words: Said,
    pub(super) kind: Kind,
}

/// How times join the days.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Clock times: `10:00 and 15:00`.
    Listed,
    /// A repetition within some hours: `every 15 minutes from 09:00 to 17:45`.
    Repeated,
    /// A repetition through the whole day: `every 15 minutes`.
    AllDay,
}

/// The times that hours, minutes and seconds allow.
pub(super) fn times(allowed: &Allowed) -> Times {
    let Allowed { seconds, minutes, hours, .. } = allowed;
    if let ([minute], [second]) = (minutes.as_slice(), seconds.as_slice())
        && let Some(times) = hourly(hours, *minute, *second)
    {
        return times;
    }
    if hours.len() * minutes.len() * seconds.len() <= MAX_LISTED {
        return Times { words: one_by_one(allowed), kind: Kind::Listed };
    }
    even(allowed).unwrap_or_else(|| field_by_field(allowed))
}

/// One time in each of many hours.
fn hourly(hours: &[u32], minute: u32, second: u32) -> Option<Times> {
    let (first, last) = ends(hours);
    if hours.len() == 24 {
        let words = match (minute, second) {
            (0, 0) => Said::new("every hour on the hour", "每小时整点"),
            (_, 0) => Said::new(format!("every hour at minute {minute}"), format!("每小时的第 {minute} 分")),
            _ => Said::new(
                format!("every hour at minute {minute}, second {second}"),
                format!("每小时的第 {minute} 分 {second} 秒"),
            ),
        };
        return Some(Times { words, kind: Kind::AllDay });
    }
    let step = list::step(hours).filter(|_| hours.len() >= MIN_HOURS)?;
    let (from, to) = (clock(first, minute, second), clock(last, minute, second));
    let words = match step {
        1 => Said::new(format!("every hour from {from} to {to}"), format!("{from} 至 {to} 每小时一次")),
        n => Said::new(
            format!("every {n} hours from {from} to {to}"),
            format!("{from} 至 {to} 每 {n} 小时一次"),
        ),
    };
    Some(Times { words, kind: Kind::Repeated })
}

fn one_by_one(allowed: &Allowed) -> Said {
    let Allowed { seconds, minutes, hours, .. } = allowed;
    let mut words = Vec::new();
    for hour in hours {
        for minute in minutes {
            for second in seconds {
                words.push(same(clock(*hour, *minute, *second)));
            }
        }
    }
    list::of(&words)
}

/// Every so many minutes or seconds.
fn even(allowed: &Allowed) -> Option<Times> {
    let Allowed { seconds, minutes, hours, .. } = allowed;
    let each = |n: u32, en: &str, zh: &str| match n {
        1 => Said::new(format!("every {en}"), format!("每{zh}")),
        n => Said::new(format!("every {n} {en}s"), format!("每 {n} {zh}")),
    };
    let (mut words, first_second, last_second) = match (seconds.as_slice(), every(minutes)) {
        ([second], Some(n)) => (each(n, "minute", "分钟"), *second, *second),
        (_, Some(1)) => {
            let n = every(seconds)?;
            (each(n, "second", "秒"), 0, ends(seconds).1)
        }
        (_, Some(_) | None) => return None,
    };
    if hours.len() == 24 {
        if let [second] = seconds.as_slice()
            && *second > 0
        {
            words = Said::new(format!("{words} at second {second}"), format!("{}的第 {second} 秒", words.zh));
        }
        return Some(Times { words, kind: Kind::AllDay });
    }
    let (first, last) = ends(hours);
    if hours.len() > 1 && list::step(hours) != Some(1) {
        return None;
    }
    let (from, to) = (clock(first, 0, first_second), clock(last, ends(minutes).1, last_second));
    let words =
        Said::new(format!("{} from {from} to {to}", words.en), format!("{from} 至 {to} {}", words.zh));
    Some(Times { words, kind: Kind::Repeated })
}

/// The step of values from 0 that goes on evenly over the next full turn of 60.
fn every(values: &[u32]) -> Option<u32> {
    let step = list::step(values)?;
    let even = values.first() == Some(&0) && 60 % step == 0 && ends(values).1 == 60 - step;
    even.then_some(step)
}

fn field_by_field(allowed: &Allowed) -> Times {
    let Allowed { seconds, minutes, hours, .. } = allowed;
    let plain = |value: u32| same(value.to_string());
    let plural = |values: &[u32]| if values.len() == 1 { "" } else { "s" };
    let all_day = hours.len() == 24;
    let of_hours = if all_day {
        Said::new("every hour", "每小时")
    } else {
        let listed = list::of_numbers(hours, plain);
        Said::new(format!("the hour{} {listed}", plural(hours)), format!("{} 点", listed.zh))
    };
    let of_minutes = if minutes.len() == 60 {
        Said::new("every minute", "每一分钟")
    } else {
        let listed = list::of_numbers(minutes, plain);
        Said::new(format!("at minute{} {listed}", plural(minutes)), format!("第 {} 分", listed.zh))
    };
    let of_seconds = match seconds.as_slice() {
        [0] => Said::default(),
        all if all.len() == 60 => Said::new(", every second of them", "的每一秒"),
        some => {
            let listed = list::of_numbers(some, plain);
            Said::new(format!(", at second{} {listed}", plural(some)), format!("的第 {} 秒", listed.zh))
        }
    };
    let words = Said::new(
        format!("{of_minutes} of {of_hours}{of_seconds}"),
        format!("{}的{}{}", of_hours.zh, of_minutes.zh, of_seconds.zh),
    );
    Times { words, kind: if all_day { Kind::AllDay } else { Kind::Repeated } }
}

fn clock(hour: u32, minute: u32, second: u32) -> String {
    match second {
        0 => format!("{hour:02}:{minute:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}"),
    }
}

fn ends(values: &[u32]) -> (u32, u32) {
    (values.first().copied().unwrap_or(0), values.last().copied().unwrap_or(0))
}

fn same(text: String) -> Said {
    Said::new(text.clone(), text)
}
