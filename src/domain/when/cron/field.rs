//! One field of a cron expression: its values, names and letters, and what is wrong with a word.

use super::{CronCode, CronError, MonthDays, WeekDays, low};
use crate::domain::language::{Phrase, Said};

/// What one field may hold.
pub(super) struct Field {
    name: Phrase,
    min: u32,
    max: u32,
    /// What `*` reaches to; less than `max` where the last value repeats the first.
    star_max: u32,
    names: &'static [&'static str],
    kind: Kind,
}

/// Which letters a field may have beside names.
#[derive(PartialEq, Eq)]
enum Kind {
    Plain,
    DayOfMonth,
    DayOfWeek,
}

const fn plain(en: &'static str, zh: &'static str, min: u32, max: u32) -> Field {
    Field { name: Phrase::new(en, zh), min, max, star_max: max, names: &[], kind: Kind::Plain }
}

pub(super) const SECOND: Field = plain("second", "秒", 0, 59);
pub(super) const MINUTE: Field = plain("minute", "分", 0, 59);
pub(super) const HOUR: Field = plain("hour", "时", 0, 23);
pub(super) const DAY: Field = Field { kind: Kind::DayOfMonth, ..plain("day of month", "日", 1, 31) };
pub(super) const MONTH: Field = Field {
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    ..plain("month", "月", 1, 12)
};
pub(super) const WEEKDAY: Field = Field {
    star_max: 6,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    kind: Kind::DayOfWeek,
    ..plain("day of week", "周", 0, 7)
};

impl Field {
    /// The values of a field without letters, as bits.
    pub(super) fn mask(&self, (at, word): (usize, &str)) -> Result<u64, CronError> {
        if word == "?" && self.kind != Kind::Plain {
            return Ok(self.span(self.min, self.star_max, 1));
        }
        let mut mask = 0;
        for (at, item) in items(at, word) {
            mask |= self.item(at, item)?;
        }
        Ok(mask)
    }

    /// The days of the month, with `L`, `LW` and `15W`.
    pub(super) fn month_days(&self, (at, word): (usize, &str)) -> Result<MonthDays, CronError> {
        let mut days = MonthDays::default();
        for (at, item) in items(at, word) {
            let upper = item.to_ascii_uppercase();
            let near = upper.strip_suffix('W').and_then(|day| self.value(at, day).ok());
            match (upper.as_str(), near) {
                ("?", _) if word == "?" => days.plain = low(self.span(self.min, self.max, 1)),
                ("L", _) => days.last = true,
                ("LW", _) => days.last_weekday = true,
                (_, Some(day)) => days.nearest |= 1 << day,
                (before, None) if before.starts_with("L-") => return Err(self.before_the_last(at, item)),
                (_, None) => days.plain |= low::<u32>(self.item(at, item)?),
            }
        }
        Ok(days)
    }

    /// The days of the week, with `FRI#2`, `FRI#L` and `+`, and whether one is a number.
    pub(super) fn week_days(&self, (at, word): (usize, &str)) -> Result<(WeekDays, bool), CronError> {
        let mut days = WeekDays::default();
        if word == "?" {
            days.every = sunday_once(self.span(self.min, self.star_max, 1));
            return Ok((days, false));
        }
        let (at, word) = word.strip_prefix('+').map_or((at, word), |rest| (at + 1, rest));
        let mut numeric = false;
        for (at, item) in items(at, word) {
            let (range, step) = item.split_once('/').unwrap_or((item, ""));
            numeric |= range.bytes().take_while(|b| *b != b'#').any(|b| b.is_ascii_digit());
            if let Some((name, nth)) = item.split_once('#') {
                let bit = sunday_once(1 << self.value(at, name)?);
                match nth.to_ascii_uppercase().as_str() {
                    "L" => days.last |= bit,
                    digit => {
                        let n = digit.parse::<usize>().ok().filter(|_| digit.len() == 1);
                        let days = n.and_then(|n| days.nth.get_mut(n.wrapping_sub(1)));
                        *days.ok_or_else(|| self.no_nth(at + name.len() + 1, name, nth))? |= bit;
                    }
                }
                continue;
            }
            let upper = range.to_ascii_uppercase();
            let last = upper.strip_suffix('L').filter(|_| step.is_empty());
            if let Some(name) = last.filter(|name| name.is_empty() || self.value(at, name).is_ok()) {
                return Err(self.bare_last(at, item, name));
            }
            days.every |= sunday_once(self.item(at, item)?);
        }
        Ok((days, numeric))
    }

    fn item(&self, at: usize, item: &str) -> Result<u64, CronError> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some((at + range.len() + 1, step))),
            None => (item, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.star_max),
            Some((from, to)) => {
                let (low, high) = (self.value(at, from)?, self.value(at + from.len() + 1, to)?);
                if low > high {
                    return Err(self.wrapped(at, range, from, to));
                }
                (low, high)
            }
            None => {
                let value = self.value(at, range)?;
                if let Some((_, step)) = step {
                    let to = self.star_max;
                    let help = Said::new(
                        format!("write `{range}-{to}/{step}`, or `{range}` alone"),
                        format!("写成 `{range}-{to}/{step}`，或者只写 `{range}`"),
                    );
                    let message = Said::new(
                        format!("`{item}` steps from a single value"),
                        format!("`{item}` 的步长前面只有一个值"),
                    );
                    return Err(self.wrong(at, &message, help));
                }
                (value, value)
            }
        };
        let Some((at, step)) = step else { return Ok(self.span(from, to, 1)) };
        let n = step.parse::<u32>().ok().filter(|n| *n > 0 && step.bytes().all(|b| b.is_ascii_digit()));
        match n {
            Some(n) if n <= to - from => Ok(self.span(from, to, n)),
            Some(_) => {
                let most = to - from;
                let help = Said::new(
                    format!("write `{from}` if that is meant, or a step up to {most}"),
                    format!("如果只要 `{from}`，就写 `{from}`；否则步长最大为 {most}"),
                );
                let message = Said::new(
                    format!("the step `{step}` is larger than its range"),
                    format!("步长 `{step}` 大于它的范围"),
                );
                Err(self.wrong(at, &message, help))
            }
            None => {
                let help = Said::new("write a whole number from 1", "写一个不小于 1 的整数");
                let message = Said::new(
                    format!("the step `{step}` is no number above 0"),
                    format!("步长 `{step}` 不是大于 0 的整数"),
                );
                Err(self.wrong(at, &message, help))
            }
        }
    }

    fn value(&self, at: usize, word: &str) -> Result<u32, CronError> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(word));
        if let Some(value) = named.and_then(|index| u32::try_from(index).ok()) {
            return Ok(value + self.min);
        }
        let digits = (1..=2).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
        match word.parse::<u32>() {
            Ok(value) if digits && (self.min..=self.max).contains(&value) => Ok(value),
            Ok(_) | Err(_) if word.is_empty() => {
                let message = Said::new("a value is missing here", "这里少了一个值");
                Err(self.wrong(at, &message, self.allowed()))
            }
            Ok(_) | Err(_) => {
                let message = Said::new(
                    format!("`{word}` is no {}", self.name.en),
                    format!("`{word}` 不是有效的“{}”", self.name.zh),
                );
                Err(self.wrong(at, &message, self.allowed()))
            }
        }
    }

    fn allowed(&self) -> Said {
        let Self { min, max, .. } = self;
        match (self.names, &self.kind) {
            ([first, .., last], _) => Said::new(
                format!("allowed are {min}–{max} and {first}–{last}"),
                format!("可以写 {min}–{max} 或 {first}–{last}"),
            ),
            (_, Kind::Plain) => {
                Said::new(format!("allowed are {min}–{max} and `*`"), format!("可以写 {min}–{max} 或 `*`"))
            }
            (_, Kind::DayOfMonth | Kind::DayOfWeek) => Said::new(
                format!("allowed are {min}–{max}, `*`, `?`, `L`, `LW` and `15W`"),
                format!("可以写 {min}–{max}、`*`、`?`、`L`、`LW` 或 `15W`"),
            ),
        }
    }

    fn wrapped(&self, at: usize, range: &str, from: &str, to: &str) -> CronError {
        let edge = |value: u32| {
            let place = usize::try_from(value - self.min);
            place
                .ok()
                .and_then(|place| self.names.get(place))
                .map_or_else(|| value.to_string(), |name| (*name).to_owned())
        };
        let part = |a: &str, b: &str| if a == b { a.to_owned() } else { format!("{a}-{b}") };
        let (last, first) = (edge(self.star_max), edge(self.min));
        let from_on = part(&from.to_ascii_uppercase(), &last);
        let until = part(&first, &to.to_ascii_uppercase());
        let help = Said::new(format!("write `{from_on},{until}`"), format!("写成 `{from_on},{until}`"));
        let message = Said::new(
            format!("the range `{range}` runs backwards"),
            format!("范围 `{range}` 的起点在终点之后"),
        );
        self.wrong(at, &message, help)
    }

    /// A letter where days of each week belong.
    pub(super) fn only_plain(&self, text: &str) -> CronError {
        let message = Said::new(
            format!("`{text}` does not name days of each week"),
            format!("`{text}` 不是每周的哪几天"),
        );
        self.wrong(0, &message, Said::new("write days such as `MON-FRI`", "写成 `MON-FRI` 之类"))
    }

    fn before_the_last(&self, at: usize, item: &str) -> CronError {
        let message = Said::new(
            format!("`{item}` counts back from the last day, which is not supported"),
            format!("`{item}` 从月末往前数，不支持这种写法"),
        );
        let help = Said::new(
            "write `L` for the last day, or a rule for each length of month, such as `0 9 28 1,3,5 *`",
            "月末写 `L`；否则按月份长短各写一条规则，例如 `0 9 28 1,3,5 *`",
        );
        self.wrong(at, &message, help)
    }

    fn no_nth(&self, at: usize, name: &str, nth: &str) -> CronError {
        let message =
            Said::new(format!("`#{nth}` names none of a month"), format!("`#{nth}` 不表示某月的第几个"));
        let help = Said::new(
            format!("write `{name}#1` to `{name}#5`, or `{name}#L` for the last one"),
            format!("写成 `{name}#1` 到 `{name}#5`，最后一个写 `{name}#L`"),
        );
        self.wrong(at, &message, help)
    }

    fn bare_last(&self, at: usize, item: &str, name: &str) -> CronError {
        let message = Said::new(
            format!("`{item}` means different days to different programs"),
            format!("`{item}` 在不同程序里含义不同"),
        );
        let help = if name.is_empty() {
            Said::new("write `SAT`, or `FRI#L` for the last Friday", "写成 `SAT`；最后一个周五写 `FRI#L`")
        } else {
            Said::new(
                format!("write `{name}#L` for the last one of a month"),
                format!("每月最后一个写成 `{name}#L`"),
            )
        };
        self.wrong(at, &message, help)
    }

    pub(super) fn span(&self, from: u32, to: u32, step: u32) -> u64 {
        debug_assert!(self.min <= from && to <= self.max, "values were checked");
        (from..=to)
            .filter(|value| (value - from).is_multiple_of(step))
            .fold(0, |mask, value| mask | 1 << value)
    }

    fn wrong(&self, at: usize, message: &Said, help: Said) -> CronError {
        let message = Said::new(
            format!("{}: {}", self.name.en, message.en),
            format!("cron 的“{}”这一段：{}", self.name.zh, message.zh),
        );
        CronError { code: CronCode::Syntax, message, at, help }
    }
}

/// The items of a list with their byte offsets.
fn items(at: usize, word: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = at;
    word.split(',').map(move |item| {
        let here = at;
        at += item.len() + 1;
        (here, item)
    })
}

fn sunday_once(mask: u64) -> u8 {
    low(mask & 0x7f | mask >> 7)
}
