//! Cron expressions: a set of civil times as bit masks, or the fault with its place.
//!
//! The wider dialect (`L`, `W`, `#`, `+`, nicknames) is recognised only to be refused by name, so that a
//! later version can read it without a meaning having changed. What instants an expression means in a zone
//! is decided in `plan::recurrence`.

use chrono::{Datelike, NaiveDate};

use crate::domain::language::{Phrase, Said};

/// A parsed cron expression: a set of civil times as bit masks.
///
/// A day of the month and a day of the week that are both restricted (not exactly `*` or `?`) mean either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: Box<str>,
    seconds: u64,
    minutes: u64,
    hours: u32,
    days: u32,
    months: u16,
    /// Bit 0 is Sunday.
    weekdays: u8,
    days_restricted: bool,
    weekdays_restricted: bool,
    wild: bool,
}

/// The values that the fields of a cron expression allow, each list ascending and distinct.
///
/// With both `days` and `weekdays` either is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// 0–59.
    pub seconds: Vec<u32>,
    /// 0–59.
    pub minutes: Vec<u32>,
    /// 0–23.
    pub hours: Vec<u32>,
    /// 1–31; `None` when days of the month do not choose.
    pub days: Option<Vec<u32>>,
    /// 0–6, 0 is Sunday; `None` when days of the week do not choose.
    pub weekdays: Option<Vec<u32>>,
    /// 1–12.
    pub months: Vec<u32>,
}

/// What kind of fault a cron expression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CronCode {
    /// It cannot be read.
    Syntax,
    /// It can be read, and no day ever matches.
    NeverFires,
    /// It is of the wider dialect, which a later version reads.
    NotYet,
}

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CronError {
    /// What kind of fault it is.
    pub code: CronCode,
    /// What is wrong, with the value seen.
    pub message: Said,
    /// Byte offset in the expression where it is wrong.
    pub at: usize,
    /// What to write instead.
    pub help: Said,
}

impl Cron {
    /// Parses five fields (minute first) or six (second first).
    ///
    /// Lists, ranges, steps on a range or `*`, names of months and weekdays in any case; 0 and 7 are
    /// Sunday; `?` stands for `*` in the two day fields.
    ///
    /// # Errors
    /// [`CronError`] with the place and the fix.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let words = words(text);
        if let Some(&(at, word)) = words.first().filter(|(_, word)| word.starts_with('@')) {
            return Err(nickname(at, word));
        }
        let (second, fields) = match words.len() {
            5 => (None, words.as_slice()),
            6 => (words.first().copied(), words.get(1..).unwrap_or_default()),
            n => {
                let fields = if n == 1 { "field" } else { "fields" };
                return Err(CronError {
                    code: CronCode::Syntax,
                    message: Said::new(
                        format!("{n} {fields} instead of 5"),
                        format!("cron 表达式应有 5 段，这里有 {n} 段"),
                    ),
                    at: words.get(6).map_or(text.len(), |(at, _)| *at),
                    help: Said::new(
                        "write minute, hour, day of month, month, day of week; seconds may go first",
                        "依次写：分 时 日 月 周，最前面可以加上秒",
                    ),
                });
            }
        };
        let &[minute, hour, day, month, weekday] = fields else { unreachable!("five are left") };
        let days = DAY.mask(day)?;
        let cron = Self {
            text: text.into(),
            seconds: second.map_or(Ok(1), |word| SECOND.mask(word))?,
            minutes: MINUTE.mask(minute)?,
            hours: low(HOUR.mask(hour)?),
            days: low(days),
            months: low(MONTH.mask(month)?),
            weekdays: sunday_once(WEEKDAY.mask(weekday)?),
            days_restricted: !matches!(day.1, "*" | "?"),
            weekdays_restricted: !matches!(weekday.1, "*" | "?"),
            wild: minute.1.starts_with('*') || hour.1.starts_with('*'),
        };
        if cron.ever_fires() {
            return Ok(cron);
        }
        Err(CronError {
            code: CronCode::NeverFires,
            message: Said::new(
                format!("it never fires: no month of `{}` has a day `{}`", month.1, day.1),
                format!("永远不会触发：`{}` 月里没有 `{}` 日", month.1, day.1),
            ),
            at: day.0,
            help: Said::new("choose a day that one of the months has", "改成这些月份里有的日期"),
        })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What each field allows, for those who put it into words.
    #[must_use]
    pub fn allowed(&self) -> Allowed {
        let values = |mask: u64| (0..64).filter(|value| mask >> value & 1 == 1).collect();
        let all_days = !self.days_restricted || self.days == low::<u32>(DAY.span(DAY.min, DAY.max, 1));
        let all_weekdays = !self.weekdays_restricted || self.weekdays == 0x7f;
        // Either is enough: a field that allows every day makes the other one void, unless it was left open.
        let every_day = all_days && all_weekdays
            || self.days_restricted && self.weekdays_restricted && (all_days || all_weekdays);
        let days = (!all_days && !every_day).then(|| values(self.days.into()));
        let weekdays = (!all_weekdays && !every_day).then(|| values(self.weekdays.into()));
        Allowed {
            seconds: values(self.seconds),
            minutes: values(self.minutes),
            hours: values(self.hours.into()),
            days,
            weekdays,
            months: values(self.months.into()),
        }
    }

    /// Whether its minute or hour begins with `*`, so that it follows the wall clock through clock changes.
    #[must_use]
    pub fn is_wild(&self) -> bool {
        self.wild
    }

    /// Whether any day of this month (1–12) may match.
    #[must_use]
    pub fn has_month(&self, month: u32) -> bool {
        self.months >> month & 1 == 1
    }

    /// Whether times of this day match.
    #[must_use]
    pub fn has_day(&self, day: NaiveDate) -> bool {
        if !self.has_month(day.month()) {
            return false;
        }
        let by_day = self.days >> day.day() & 1 == 1;
        let by_weekday = self.weekdays >> day.weekday().num_days_from_sunday() & 1 == 1;
        match (self.days_restricted, self.weekdays_restricted) {
            (true, true) => by_day || by_weekday,
            (true, false) => by_day,
            (false, true) => by_weekday,
            (false, false) => true,
        }
    }

    /// The first matching second of a matching day at or after `from`, both counted from midnight.
    #[must_use]
    pub fn time_from(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        let hours = u64::from(self.hours);
        if bit_from(hours, hour) == Some(hour) {
            if bit_from(self.minutes, minute) == Some(minute)
                && let Some(second) = bit_from(self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = bit_from(self.minutes, minute + 1) {
                return Some(hour * 3600 + minute * 60 + self.seconds.trailing_zeros());
            }
        }
        let hour = bit_from(hours, hour + 1)?;
        Some(hour * 3600 + self.minutes.trailing_zeros() * 60 + self.seconds.trailing_zeros())
    }

    fn ever_fires(&self) -> bool {
        const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        self.weekdays_restricted
            || (1..=12).zip(LONGEST).any(|(month, longest)| {
                self.has_month(month) && (1..=longest).any(|day| self.days >> day & 1 == 1)
            })
    }
}

/// The lowest bit of `mask` at or above `from`.
fn bit_from(mask: u64, from: u32) -> Option<u32> {
    let rest = mask.checked_shr(from)?;
    (rest != 0).then(|| from + rest.trailing_zeros())
}

fn low<T: TryFrom<u64>>(mask: u64) -> T {
    T::try_from(mask).unwrap_or_else(|_wide| unreachable!("a field's mask has no bit above its maximum"))
}

fn sunday_once(mask: u64) -> u8 {
    low(mask & 0x7f | mask >> 7)
}

/// The words of `text` with their byte offsets.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return words;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        words.push((text.len() - rest.len(), word));
        rest = tail;
    }
}

fn nickname(at: usize, word: &str) -> CronError {
    let plain = match word.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Some("0 0 1 1 *"),
        "@monthly" => Some("0 0 1 * *"),
        "@weekly" => Some("0 0 * * SUN"),
        "@daily" | "@midnight" => Some("0 0 * * *"),
        "@hourly" => Some("0 * * * *"),
        _ => None,
    };
    match plain {
        Some(plain) => CronError {
            code: CronCode::NotYet,
            message: Said::new(
                format!("the nickname `{word}` is not supported yet"),
                format!("暂不支持 `{word}` 这种简写"),
            ),
            at,
            help: Said::new(format!("write `{plain}`"), format!("写成 `{plain}`")),
        },
        None => CronError {
            code: CronCode::Syntax,
            message: Said::new(format!("`{word}` names no time"), format!("`{word}` 不表示任何时间")),
            at,
            help: Said::new(
                "write five fields: minute, hour, day of month, month, day of week",
                "写成 5 段：分 时 日 月 周",
            ),
        },
    }
}

/// What one field may hold.
struct Field {
    name: Phrase,
    min: u32,
    max: u32,
    /// What `*` reaches to; less than `max` where the last value repeats the first.
    star_max: u32,
    names: &'static [&'static str],
    kind: Kind,
}

/// Which letters a field may have in the wider dialect.
#[derive(PartialEq, Eq)]
enum Kind {
    Plain,
    DayOfMonth,
    DayOfWeek,
}

const fn plain(en: &'static str, zh: &'static str, min: u32, max: u32) -> Field {
    Field { name: Phrase::new(en, zh), min, max, star_max: max, names: &[], kind: Kind::Plain }
}

const SECOND: Field = plain("second", "秒", 0, 59);
const MINUTE: Field = plain("minute", "分", 0, 59);
const HOUR: Field = plain("hour", "时", 0, 23);
const DAY: Field = Field { kind: Kind::DayOfMonth, ..plain("day of month", "日", 1, 31) };
const MONTH: Field = Field {
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    ..plain("month", "月", 1, 12)
};
const WEEKDAY: Field = Field {
    star_max: 6,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    kind: Kind::DayOfWeek,
    ..plain("day of week", "周", 0, 7)
};

impl Field {
    fn mask(&self, (at, word): (usize, &str)) -> Result<u64, CronError> {
        if word == "?" && self.kind != Kind::Plain {
            return Ok(self.span(self.min, self.star_max, 1));
        }
        let mut mask = 0;
        let mut at = at;
        for item in word.split(',') {
            self.refuse_wider(at, item)?;
            mask |= self.item(at, item)?;
            at += item.len() + 1;
        }
        Ok(mask)
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
                format!("allowed are {min}–{max}, `*` and `?`"),
                format!("可以写 {min}–{max}、`*` 或 `?`"),
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

    /// Names what a later version will read.
    fn refuse_wider(&self, at: usize, item: &str) -> Result<(), CronError> {
        let upper = item.to_ascii_uppercase();
        let before = |letter| upper.strip_suffix(letter).is_some_and(|rest| self.value(at, rest).is_ok());
        let what = match self.kind {
            Kind::Plain => None,
            Kind::DayOfMonth if upper == "L" => Some(Phrase::new("the last day of a month", "每月最后一天")),
            Kind::DayOfMonth if upper == "LW" => {
                Some(Phrase::new("the last weekday of a month", "每月最后一个工作日"))
            }
            Kind::DayOfMonth if before('W') => Some(Phrase::new("the nearest weekday", "最近的工作日")),
            Kind::DayOfMonth => None,
            Kind::DayOfWeek if upper.starts_with('+') => {
                Some(Phrase::new("day of month and day of week", "“日”与“周”同时满足"))
            }
            Kind::DayOfWeek if upper.contains('#') => {
                Some(Phrase::new("a certain weekday of a month", "每月第几个星期几"))
            }
            Kind::DayOfWeek if before('L') => {
                Some(Phrase::new("the last such weekday of a month", "每月最后一个星期几"))
            }
            Kind::DayOfWeek => None,
        };
        match what {
            None => Ok(()),
            Some(what) => Err(CronError {
                code: CronCode::NotYet,
                message: Said::new(
                    format!("`{item}`: {} is not supported yet", what.en),
                    format!("`{item}`：暂不支持“{}”", what.zh),
                ),
                at,
                help: Said::new(
                    "write the days as numbers, or single times with `at`",
                    "用数字写明日期，或者用 `at` 逐个列出时间",
                ),
            }),
        }
    }

    fn span(&self, from: u32, to: u32, step: u32) -> u64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_place_and_their_cure() {
        use CronCode::{NeverFires, NotYet, Syntax};
        let table = [
            ("5/10 * * * *", Syntax, 0, "5-59/10"),
            ("0 22-2 * * *", Syntax, 2, "`22-23,0-2`"),
            ("0 9 * * FRI-MON", Syntax, 8, "`FRI-SAT,SUN-MON`"),
            ("0 9 * * sat-sun", Syntax, 8, "`SAT,SUN`"),
            ("0 9 * 11-2 *", Syntax, 6, "`11-DEC,JAN-2`"),
            ("*/90 * * * *", Syntax, 2, "up to 59"),
            ("0 0-6/8 * * *", Syntax, 6, "up to 6"),
            ("*/0 * * * *", Syntax, 2, "from 1"),
            ("*/ * * * *", Syntax, 2, "from 1"),
            ("60 * * * *", Syntax, 0, "0–59"),
            ("0 24 * * *", Syntax, 2, "0–23"),
            ("0 9 0 * *", Syntax, 4, "1–31"),
            ("0 9 * 13 *", Syntax, 6, "JAN–DEC"),
            ("0 9 * * 8", Syntax, 8, "SUN–SAT"),
            ("0 9,,10 * * *", Syntax, 4, "0–23"),
            ("? 9 * * *", Syntax, 0, "0–59"),
            ("0 -9 * * *", Syntax, 2, "0–23"),
            ("0 +9 * * *", Syntax, 2, "0–23"),
            ("0 009 * * *", Syntax, 2, "0–23"),
            ("每 9 * * *", Syntax, 0, "0–59"),
            ("0 9 * *", Syntax, 7, "minute, hour"),
            ("0 0 9 * * * 2026", Syntax, 12, "minute, hour"),
            ("", Syntax, 0, "minute, hour"),
            ("@reboot", Syntax, 0, "five fields"),
            (" @daily", NotYet, 1, "`0 0 * * *`"),
            ("0 9 L * *", NotYet, 4, "`at`"),
            ("0 9 LW * *", NotYet, 4, "`at`"),
            ("0 9 1,15w * *", NotYet, 6, "`at`"),
            ("0 9 * * 5#5", NotYet, 8, "`at`"),
            ("0 9 * * 1#L", NotYet, 8, "`at`"),
            ("0 9 * * friL", NotYet, 8, "`at`"),
            ("0 9 13 * +5", NotYet, 9, "`at`"),
            ("0 9 30 2 *", NeverFires, 4, "one of the months"),
            ("0 9 31 4,6 ?", NeverFires, 4, "one of the months"),
        ];
        for (text, code, at, help) in table {
            let error = Cron::parse(text).expect_err(text);
            assert_eq!((error.code, error.at), (code, at), "{text}: {error:?}");
            assert!(error.help.en.contains(help), "{text}: {error:?}");
        }
    }

    #[test]
    fn spellings_of_the_same_times_are_equal() {
        let same = [
            ("0 9 * * 1-5", "0 9 * * MON-fri"),
            ("0 9 * * 0", "0 9 * * 7"),
            ("0 9 * * 5-7", "0 9 * * FRI,SAT,SUN"),
            ("0 9 ? * 1", "0 9 * * 1"),
            ("0 9 * jan,JUL *", " 0  9 * 1,7 * "),
            ("*/20 * * * *", "0-59/20 * * * *"),
            ("0 0 9 * * *", "0 9 * * *"),
        ];
        for (a, b) in same {
            let (a, b) = (Cron::parse(a).expect(a), Cron::parse(b).expect(b));
            let masks = |c: &Cron| (c.seconds, c.minutes, c.hours, c.days, c.months, c.weekdays);
            let both = |c: &Cron| (c.days_restricted, c.weekdays_restricted);
            assert_eq!((masks(&a), both(&a)), (masks(&b), both(&b)), "{} {}", a.as_str(), b.as_str());
        }
    }

    #[test]
    fn only_a_leading_star_is_wild_and_29_february_exists() {
        let wild = |text| Cron::parse(text).expect(text).is_wild();
        assert!(wild("*/5 2 * * *") && wild("0 * * * *"));
        assert!(!wild("0,30 2 * * *") && !wild("*/10 59 1 * * *"));
        assert!(Cron::parse("0 9 29 2 *").is_ok() && Cron::parse("0 9 30 2 1").is_ok());
    }

    #[test]
    fn times_of_a_day_are_walked_in_order() {
        let cron = Cron::parse("10,40 5,35 8,20 * * *").expect("good");
        let mut seen = Vec::new();
        let mut from = 0;
        while let Some(time) = cron.time_from(from) {
            seen.push((time / 3600, time / 60 % 60, time % 60));
            from = time + 1;
        }
        let expected = [8, 20].map(|h| [5, 35].map(|m| [10, 40].map(|s| (h, m, s))));
        assert_eq!(seen, expected.as_flattened().as_flattened());
    }
}
