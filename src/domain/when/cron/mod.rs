//! Cron expressions: a set of civil times as bit masks, or the fault with its place.
//!
//! The dialect is that of OCPS 1.3 with `+` before the days of the week, which makes both day fields count. What
//! instants an expression means in a zone is decided in `plan::recurrence`.

mod field;

use chrono::{Datelike, NaiveDate};

use super::month::Month;
use crate::domain::language::Said;

use field::{DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY};

/// A parsed cron expression: a set of civil times as bit masks.
///
/// A day of the month and a day of the week that are both restricted (not exactly `*` or `?`) mean either, or both
/// where the days of the week begin with `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: Box<str>,
    seconds: u64,
    minutes: u64,
    hours: u32,
    days: MonthDays,
    months: u16,
    weekdays: WeekDays,
    join: Join,
    wild: bool,
    /// Whether a weekday was written as a number, which other dialects count from another day.
    numeric_weekday: bool,
}

/// Days of a month as a field chooses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MonthDays {
    /// Bits 1–31.
    plain: u32,
    /// `nW`: the weekday nearest to these.
    nearest: u32,
    /// `L`.
    last: bool,
    /// `LW`.
    last_weekday: bool,
}

/// Days of the week as a field chooses them; bit 0 is Sunday.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WeekDays {
    every: u8,
    /// `d#1` to `d#5`.
    nth: [u8; 5],
    /// `d#L`.
    last: u8,
}

/// Which of the two day fields choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    Neither,
    Days,
    Weekdays,
    Either,
    Both,
}

/// The values that the fields of a cron expression allow, each list ascending and distinct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// 0–59.
    pub seconds: Vec<u32>,
    /// 0–59.
    pub minutes: Vec<u32>,
    /// 0–23.
    pub hours: Vec<u32>,
    /// `None` when days of the month do not choose.
    pub days: Option<AllowedDays>,
    /// `None` when days of the week do not choose.
    pub weekdays: Option<AllowedWeekdays>,
    /// Whether a day must be one of both `days` and `weekdays`, where there are both; else either is enough.
    pub both: bool,
    /// 1–12.
    pub months: Vec<u32>,
}

/// Days of a month that are allowed; any of the kinds is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedDays {
    /// 1–31.
    pub plain: Vec<u32>,
    /// The weekday (Monday to Friday) nearest to one of these, in the same month.
    pub nearest: Vec<u32>,
    /// The last day.
    pub last: bool,
    /// The last weekday (Monday to Friday).
    pub last_weekday: bool,
}

/// Days of the week that are allowed, 0 is Sunday; any of the kinds is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedWeekdays {
    /// Each of these.
    pub every: Vec<u32>,
    /// The first, second … (1–5) of a month, with the weekdays.
    pub nth: Vec<(u32, Vec<u32>)>,
    /// The last ones of a month.
    pub last: Vec<u32>,
}

/// What kind of fault a cron expression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CronCode {
    /// It cannot be read.
    Syntax,
    /// It can be read, and no day ever matches.
    NeverFires,
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
    /// Parses five fields (minute first), six (second first), or a nickname such as `@daily`.
    ///
    /// Lists, ranges, steps on a range or `*`, names of months and weekdays in any case; 0 and 7 are
    /// Sunday; `?` stands for `*` in the two day fields. `L`, `LW`, `15W` in the days of the month, `FRI#2`, `FRI#L`
    /// and a leading `+` in the days of the week.
    ///
    /// # Errors
    /// [`CronError`] with the place and the fix.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let mut words = words(text);
        if let &[(at, word)] = words.as_slice()
            && word.starts_with('@')
        {
            words = self::words(nickname(at, word)?);
        }
        let (second, fields) = match words.len() {
            5 => (None, words.as_slice()),
            6 => (words.first().copied(), words.get(1..).unwrap_or_default()),
            n => return Err(wrong_count(text, n, &words)),
        };
        let &[minute, hour, day, month, weekday] = fields else { unreachable!("five are left") };
        let days = DAY.month_days(day)?;
        let (weekdays, numeric_weekday) = WEEKDAY.week_days(weekday)?;
        let restricted = |word: &str| !matches!(word, "*" | "?");
        let join = match (restricted(day.1), restricted(weekday.1)) {
            (false, false) => Join::Neither,
            (true, false) => Join::Days,
            (false, true) => Join::Weekdays,
            (true, true) if weekday.1.starts_with('+') => Join::Both,
            (true, true) => Join::Either,
        };
        let cron = Self {
            text: text.into(),
            seconds: second.map_or(Ok(1), |word| SECOND.mask(word))?,
            minutes: MINUTE.mask(minute)?,
            hours: low(HOUR.mask(hour)?),
            days,
            months: low(MONTH.mask(month)?),
            weekdays,
            join,
            wild: minute.1.starts_with('*') || hour.1.starts_with('*'),
            numeric_weekday,
        };
        if cron.ever_fires() { Ok(cron) } else { Err(never(day, month.1, weekday.1, join)) }
    }

    /// The days of the week that a text such as `MON-FRI` names, bit 0 is Sunday, and whether one is a number.
    ///
    /// # Errors
    /// [`CronError`]: it is none, or one of certain weeks of a month.
    pub fn weekdays(text: &str) -> Result<(u8, bool), CronError> {
        let (days, numeric) = WEEKDAY.week_days((0, text))?;
        let WeekDays { every, nth, last } = days;
        if text.starts_with('+') || last != 0 || nth != [0; 5] {
            return Err(WEEKDAY.only_plain(text));
        }
        Ok((every, numeric))
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What each field allows, for those who put it into words.
    #[must_use]
    pub fn allowed(&self) -> Allowed {
        let values = |mask: u64| (0..64).filter(|value| mask >> value & 1 == 1).collect::<Vec<u32>>();
        let MonthDays { plain, nearest, last, last_weekday } = self.days;
        let WeekDays { every, nth, last: last_of } = self.weekdays;
        let all_days = plain == low::<u32>(DAY.span(1, 31, 1));
        let all_weekdays = every == 0x7f;
        let (by_days, by_weekdays) = match self.join {
            Join::Neither => (false, false),
            Join::Days => (!all_days, false),
            Join::Weekdays => (false, !all_weekdays),
            // Either is enough: a field that allows every day makes the other one void.
            Join::Either if all_days || all_weekdays => (false, false),
            Join::Either => (true, true),
            Join::Both => (!all_days, !all_weekdays),
        };
        let days =
            AllowedDays { plain: values(plain.into()), nearest: values(nearest.into()), last, last_weekday };
        let nth = (1..).zip(nth).filter(|(_, days)| *days != 0);
        let weekdays = AllowedWeekdays {
            every: values(every.into()),
            nth: nth
                .map(|(n, days)| (n, values((days & !every).into())))
                .filter(|(_, days)| !days.is_empty())
                .collect(),
            last: values((last_of & !every).into()),
        };
        Allowed {
            seconds: values(self.seconds),
            minutes: values(self.minutes),
            hours: values(self.hours.into()),
            days: by_days.then_some(days),
            weekdays: by_weekdays.then_some(weekdays),
            both: self.join == Join::Both,
            months: values(self.months.into()),
        }
    }

    /// Whether its minute or hour begins with `*`, so that it follows the wall clock through clock changes.
    #[must_use]
    pub fn is_wild(&self) -> bool {
        self.wild
    }

    /// Whether a weekday was written as a number: 1 is Monday here, and Sunday elsewhere.
    #[must_use]
    pub fn has_numeric_weekday(&self) -> bool {
        self.numeric_weekday
    }

    /// Whether both day fields choose, and either is enough.
    #[must_use]
    pub fn has_either_day(&self) -> bool {
        self.join == Join::Either
    }

    /// The days that some months do not have, where it names no other: of 29, 30 and 31.
    #[must_use]
    pub fn rare_days(&self) -> Vec<u32> {
        let MonthDays { plain, nearest, last, last_weekday } = self.days;
        let rare = plain | nearest;
        let by_day = matches!(self.join, Join::Days | Join::Both);
        if !by_day || rare == 0 || rare.trailing_zeros() < 29 || last || last_weekday {
            return Vec::new();
        }
        (29..=31)
            .filter(|day| rare >> day & 1 == 1 && (1..=12).any(|m| self.has_month(m) && shortest(m) < *day))
            .collect()
    }

    /// The most times of a day.
    #[must_use]
    pub fn times_a_day(&self) -> u32 {
        self.hours.count_ones() * self.minutes.count_ones() * self.seconds.count_ones()
    }

    /// Whether any day of this month (1–12) may match.
    #[must_use]
    pub fn has_month(&self, month: u32) -> bool {
        self.months >> month & 1 == 1
    }

    /// Whether times of this day match.
    #[must_use]
    pub fn has_day(&self, day: NaiveDate) -> bool {
        self.days_in(Month::of(i64::from(day.to_epoch_days()))) >> day.day() & 1 == 1
    }

    /// The days of a month whose times match; bit 1 is the 1st.
    #[must_use]
    pub fn days_in(&self, month: Month) -> u32 {
        if !self.has_month(month.number()) {
            return 0;
        }
        match self.join {
            Join::Neither => month.all(),
            Join::Days => self.days.of(month),
            Join::Weekdays => self.weekdays.of(month),
            Join::Either => self.days.of(month) | self.weekdays.of(month),
            Join::Both => self.days.of(month) & self.weekdays.of(month),
        }
    }

    /// The first and the last matching second of a matching day, counted from midnight.
    #[must_use]
    pub fn first_and_last_time(&self) -> (u32, u32) {
        let last = u64::ilog2;
        let of_day = |hour, minute, second| hour * 3600 + minute * 60 + second;
        let hours = u64::from(self.hours);
        (
            of_day(hours.trailing_zeros(), self.minutes.trailing_zeros(), self.seconds.trailing_zeros()),
            of_day(last(hours), last(self.minutes), last(self.seconds)),
        )
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

    /// Each kind of year is among 28 in a row: with and without a leap day, begun on each day of the week.
    fn ever_fires(&self) -> bool {
        let months = std::iter::successors(Some(Month::of(0)), |month| Some(month.next()));
        months.take(28 * 12).any(|month| self.days_in(month) != 0)
    }
}

impl MonthDays {
    fn of(self, month: Month) -> u32 {
        let Self { plain, nearest, last, last_weekday } = self;
        let mut days = plain & month.all();
        if last {
            days |= 1 << month.length();
        }
        if last_weekday {
            days |= 1 << nearest_weekday(month, month.length());
        }
        let mut near = nearest & month.all();
        while near != 0 {
            days |= 1 << nearest_weekday(month, near.trailing_zeros());
            near &= near - 1;
        }
        days
    }
}

impl WeekDays {
    fn of(self, month: Month) -> u32 {
        let nth = (1..).zip(self.nth).filter(|(_, days)| *days != 0);
        let nth = nth.fold(0, |all, (n, days)| all | month.nth(n, days));
        let last = if self.last == 0 { 0 } else { month.last(self.last) };
        month.on(self.every) | nth | last
    }
}

/// The day from Monday to Friday nearest to `day`, in the same month.
fn nearest_weekday(month: Month, day: u32) -> u32 {
    match month.weekday(day) {
        6 if day > 1 => day - 1,
        6 => day + 2,
        0 if day < month.length() => day + 1,
        0 => day - 2,
        _ => day,
    }
}

/// How many days a month has each year.
fn shortest(month: u32) -> u32 {
    match month {
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
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

fn wrong_count(text: &str, n: usize, words: &[(usize, &str)]) -> CronError {
    let fields = if n == 1 { "field" } else { "fields" };
    CronError {
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
    }
}

/// The five fields that a nickname stands for.
fn nickname(at: usize, word: &str) -> Result<&'static str, CronError> {
    match word.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * SUN"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        _ => Err(CronError {
            code: CronCode::Syntax,
            message: Said::new(format!("`{word}` names no time"), format!("`{word}` 不表示任何时间")),
            at,
            help: Said::new(
                "write @yearly, @monthly, @weekly, @daily or @hourly, or five fields: minute, hour, day of month, \
                 month, day of week",
                "写成 @yearly、@monthly、@weekly、@daily、@hourly 之一，或者写 5 段：分 时 日 月 周",
            ),
        }),
    }
}

/// Why no day of any month matches.
fn never((at, day): (usize, &str), month: &str, weekday: &str, join: Join) -> CronError {
    let (message, help) = match join {
        Join::Both => (
            Said::new(
                format!(
                    "it never fires: no day of `{month}` is both `{day}` and `{}`",
                    weekday.trim_start_matches('+')
                ),
                format!(
                    "永远不会触发：`{month}` 月里没有一天同时满足 `{day}` 和 `{}`",
                    weekday.trim_start_matches('+')
                ),
            ),
            Said::new(
                "choose days that fall together, or delete the `+`: then either is enough",
                "改成能同时满足的日期；或者去掉 `+`，满足其一即可",
            ),
        ),
        Join::Neither | Join::Days | Join::Weekdays | Join::Either => (
            Said::new(
                format!("it never fires: no month of `{month}` has a day `{day}`"),
                format!("永远不会触发：`{month}` 月里没有 `{day}` 日"),
            ),
            Said::new("choose a day that one of the months has", "改成这些月份里有的日期"),
        ),
    };
    CronError { code: CronCode::NeverFires, message, at, help }
}

#[cfg(test)]
mod tests;
