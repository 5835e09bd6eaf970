//! What fits into a field of a template, as this fake reads the platform's parameter table.
//!
//! A reading of its own on purpose: it shares nothing with the checks the daemon makes before it sends,
//! so that each can find the other's mistakes. Where the table is silent (unit of a character, negative
//! numbers, symbols beyond ASCII in a `character_string`) it takes the stricter reading, counted in code
//! points. Table: page `api_sendmessage`, read 2026-11-22.

/// Why the platform refuses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadValue {
    /// Missing, null, or the empty text.
    Empty,
    /// Not of the field's form.
    Invalid,
}

impl BadValue {
    /// The words of the platform's errmsg.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::Invalid => "invalid",
        }
    }
}

/// Checks `value` by the type that the letters of `key` name.
///
/// `allowed` are the values of an enum field; an empty list allows all. An unknown prefix takes everything
/// but the empty text.
pub(super) fn check(key: &str, allowed: &[String], value: &str) -> Result<(), BadValue> {
    if value.is_empty() {
        return Err(BadValue::Empty);
    }
    let n = value.chars().count();
    let all = |fits: fn(char) -> bool| value.chars().all(fits);
    let good = match key.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "thing" => n <= 20 && all(|c| !c.is_control()),
        "short_thing" => n <= 5 && all(|c| !c.is_control()),
        "number" => decimal(value).is_some_and(|(whole, part)| whole + part <= 32),
        "letter" => n <= 32 && all(|c| c.is_ascii_alphabetic()),
        "symbol" => n <= 5 && all(|c| !c.is_alphanumeric() && !c.is_control() && !c.is_whitespace()),
        "character_string" => n <= 32 && all(|c| matches!(c, ' '..='~')),
        "time" => range(value, moment_of_time),
        "date" => range(value, moment_of_date),
        "amount" => amount(value),
        "phone_number" => n <= 17 && all(|c| matches!(c, ' '..='~') && !c.is_ascii_alphabetic()),
        "car_number" => car_number(value, n),
        "name" => name(value, n),
        "phrase" => n <= 5 && all(is_han),
        "enum" | "enum_string" => allowed.is_empty() || allowed.iter().any(|one| one == value),
        _ => true,
    };
    if good { Ok(()) } else { Err(BadValue::Invalid) }
}

fn is_han(c: char) -> bool {
    matches!(
        c,
        '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{323af}'
            | '〇'
    )
}

/// How many digits stand before and after the point.
fn decimal(text: &str) -> Option<(usize, usize)> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, part)) => (digits(whole) && digits(part)).then_some((whole.len(), part.len())),
        None => digits(text).then_some((text.len(), 0)),
    }
}

fn amount(text: &str) -> bool {
    let text = text.strip_prefix(['¥', '￥', '$', '€', '£', '₩', '₽', '฿', '₹', '₫']).unwrap_or(text);
    let text = text.strip_suffix('元').unwrap_or(text);
    decimal(text).is_some_and(|(whole, part)| whole + part <= 10)
}

fn car_number(text: &str, n: usize) -> bool {
    let at_an_end = |place: usize| place == 0 || place + 1 == n;
    n <= 8 && text.chars().enumerate().all(|(at, c)| c.is_ascii_alphanumeric() || at_an_end(at) && is_han(c))
}

fn name(text: &str, n: usize) -> bool {
    let most = if text.chars().any(is_han) { 10 } else { 20 };
    n <= most && text.chars().all(|c| !c.is_numeric() && !c.is_control())
}

/// One side of a range: whether it stands alone, or only behind a `~`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Whole,
    HourOnly,
    Not,
}

fn range(text: &str, moment: fn(&str) -> Moment) -> bool {
    match text.split_once('~') {
        None => moment(text) == Moment::Whole,
        Some((from, to)) => moment(from) == Moment::Whole && moment(to) != Moment::Not,
    }
}

fn moment_of_time(text: &str) -> Moment {
    let good = match text.split_once(' ') {
        Some((date, hour)) => is_date(date) && is_hour(hour),
        None => is_hour(text),
    };
    if good { Moment::Whole } else { Moment::Not }
}

fn moment_of_date(text: &str) -> Moment {
    match text.split_once(' ') {
        Some((date, hour)) if is_date(date) && is_hour(hour) => Moment::Whole,
        None if is_date(text) => Moment::Whole,
        None if is_hour(text) => Moment::HourOnly,
        Some(_) | None => Moment::Not,
    }
}

/// A number of `wide` digits that is at most `most`.
fn part(text: &str, wide: std::ops::RangeInclusive<usize>, most: u32) -> bool {
    wide.contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.parse::<u32>().is_ok_and(|number| number <= most)
}

/// `15:01` or `15:01:30`.
fn is_hour(text: &str) -> bool {
    let mut parts = text.split(':');
    let hour = parts.next().is_some_and(|hour| part(hour, 1..=2, 23));
    let minute = parts.next().is_some_and(|minute| part(minute, 2..=2, 59));
    let second = parts.next().is_none_or(|second| part(second, 2..=2, 59));
    hour && minute && second && parts.next().is_none()
}

/// Year, month and day, or two neighbours of them, in Chinese or with `-`, `/` or `.`.
fn is_date(text: &str) -> bool {
    let year = |text: &str| part(text, 4..=4, 9999);
    let month = |text: &str| part(text, 1..=2, 12) && text != "0" && text != "00";
    let day = |text: &str| part(text, 1..=2, 31) && text != "0" && text != "00";
    if text.contains(['年', '月']) {
        let (years, rest) = match text.split_once('年') {
            Some((years, rest)) => (Some(years), rest),
            None => (None, text),
        };
        let Some((months, rest)) = rest.split_once('月') else { return false };
        let days = if rest.is_empty() { None } else { rest.strip_suffix('日').or(Some("")) };
        return years.is_none_or(year)
            && month(months)
            && days.is_none_or(day)
            && (years.is_some() || days.is_some());
    }
    ['-', '/', '.'].into_iter().any(|mark| match *text.split(mark).collect::<Vec<_>>() {
        [years, months, days] => year(years) && month(months) && day(days),
        [years, months] if years.len() == 4 => year(years) && month(months),
        [months, days] => month(months) && day(days),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_their_fields_or_not() {
        let long = "一二三四五六七八九十";
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "thing1",
                &["喝水", "Drink 水!", &long.repeat(2), " "],
                &[&format!("{}X", long.repeat(2)), "a\nb"],
            ),
            ("short_thing6", &["一二三四五"], &["一二三四五六"]),
            (
                "number2",
                &["1", "12.50", &"1".repeat(32)],
                &["-1", "1,000", "1.", ".5", "一", &"1".repeat(33)],
            ),
            ("letter1", &["abcXYZ"], &["ab1", "字", "a b", &"a".repeat(33)]),
            ("symbol1", &["!@#", "，。"], &["a", "1", "字", "!!!!!!"]),
            ("character_string4", &["NO-2026/11_22", "a b"], &["订单1", &"a".repeat(33)]),
            (
                "time3",
                &[
                    "15:01",
                    "15:01:30",
                    "2019年10月1日 15:01",
                    "2019-10-01 15:01",
                    "08:00~12:00",
                    "2019年10月1日 15:01~2019年10月1日 16:01",
                    "2019年10月1日 15:01~16:01",
                ],
                &[
                    "24:00",
                    "15:60",
                    "2024-07-24 08~12",
                    "08:00～12:00",
                    "2019年10月1日",
                    "15:01~",
                    "1:2:3:4",
                    "下午3点",
                ],
            ),
            (
                "date3",
                &[
                    "2019年10月1日",
                    "2019年10月",
                    "10月1日",
                    "2019年10月1日 15:01",
                    "2018-01-01",
                    "2018/01/01",
                    "2018.01.01",
                    "2018-01",
                    "01-01",
                    "2018-01-01~2018-01-03",
                ],
                &[
                    "15:01",
                    "2018-13-01",
                    "2018-01-32",
                    "2018-00-01",
                    "2018年",
                    "1月",
                    "20180101",
                    "2018-01/01",
                    "明天",
                ],
            ),
            (
                "amount5",
                &["￥100", "12.5元", "$9.99", "100"],
                &["100块", "￥", "￥12345678901", "1,000元", "-5"],
            ),
            ("phone_number1", &["+86-0766-66888866", "10086"], &["电话10086", "+86-0766-668888661", "1008x"]),
            ("car_number1", &["粤A8Z888挂", "A12345"], &["粤A8Z8888挂", "A粤1234", "粤A-1"]),
            ("name1", &["张三", "Zhang San", long], &["用户410774", &format!("{long}一"), &"a".repeat(21)]),
            ("phrase1", &["已完成", "一二三四五"], &["已完成1", "done", "一二三四五六"]),
            ("enum_string2", &["晴", "雨"], &["雪", "晴 "]),
            ("site01", &["anything 任何\u{1f600}"], &[]),
        ];
        let allowed = ["晴".to_owned(), "雨".to_owned()];
        for (key, good, bad) in table {
            for value in *good {
                assert_eq!(check(key, &allowed, value), Ok(()), "{key} {value}");
            }
            for value in *bad {
                assert_eq!(check(key, &allowed, value), Err(BadValue::Invalid), "{key} {value}");
            }
            assert_eq!(check(key, &allowed, ""), Err(BadValue::Empty), "{key}");
        }
    }
}
