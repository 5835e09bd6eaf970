//! What fits into a template field, by the type in its key.
//!
//! The platform's parameter table (`api_sendmessage`, read 2026-11-22) as code; there is no official
//! regular expression for any type, so where the table is vague this is the lenient reading: refuse
//! only what the platform is known to refuse with 47003. Lengths are Unicode code points. What becomes
//! of a value that does not fit is decided by the rule, in `render`.

use crate::domain::language::Phrase;
use crate::domain::template::FieldType;

/// Why a value does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allowed: {}", self.allowed())]
pub enum Misfit {
    /// Too many characters. Never of a number or amount: cut, it would be another one.
    TooLong {
        /// How many there may be.
        max: usize,
        /// The form that is allowed, for people.
        allowed: Phrase,
    },
    /// Not of the field's form.
    Form {
        /// The form that is allowed, for people.
        allowed: Phrase,
    },
}

impl Misfit {
    /// The form that is allowed, for people.
    #[must_use]
    pub fn allowed(&self) -> Phrase {
        match self {
            Self::TooLong { allowed, .. } | Self::Form { allowed } => *allowed,
        }
    }
}

/// Checks a value, cleaned and not empty, against the type of its field.
///
/// Types without rules here ([`FieldType::EnumString`], whose values only the platform knows, and
/// [`FieldType::Other`]) take everything.
///
/// # Errors
/// [`Misfit`]; a value with both faults is of the wrong form.
pub fn check(kind: FieldType, value: &str) -> Result<(), Misfit> {
    match kind {
        FieldType::Thing => limit(value, 20, Phrase::new("up to 20 characters", "最多 20 个字符")),
        FieldType::ShortThing => limit(value, 5, Phrase::new("up to 5 characters", "最多 5 个字符")),
        FieldType::Number => {
            let allowed =
                Phrase::new("up to 32 digits, perhaps with a decimal point", "最多 32 位数字，可带小数点");
            form(is_decimal(value) && n_digits(value) <= 32, allowed)
        }
        FieldType::Letter => {
            let allowed = Phrase::new("up to 32 letters A–Z, a–z", "最多 32 个字母 A–Z、a–z");
            form(value.bytes().all(|b| b.is_ascii_alphabetic()), allowed)?;
            limit(value, 32, allowed)
        }
        FieldType::Symbol => {
            let allowed = Phrase::new(
                "up to 5 symbols, no letters, digits or Chinese characters",
                "最多 5 个符号，不能有字母、数字和汉字",
            );
            form(!value.chars().any(char::is_alphanumeric), allowed)?;
            limit(value, 5, allowed)
        }
        FieldType::CharacterString => {
            let allowed = Phrase::new(
                "up to 32 digits, letters A–Z, a–z and symbols",
                "最多 32 个数字、字母 A–Z、a–z 或符号",
            );
            form(value.chars().all(|c| c.is_ascii() || !c.is_alphanumeric()), allowed)?;
            limit(value, 32, allowed)
        }
        FieldType::Time => form(
            is_range(value, |part| is_moment(part, Needs::Time), |part| is_moment(part, Needs::Time)),
            Phrase::new(
                "a 24-hour time such as 15:01, perhaps after a date as in 2019年10月1日 15:01; a range with ~",
                "24 小时制时间，如 15:01，前面可带日期，如 2019年10月1日 15:01；时间段用 ~ 连接",
            ),
        ),
        FieldType::Date => form(
            is_range(
                value,
                |part| is_moment(part, Needs::Date),
                |part| is_moment(part, Needs::Date) || is_moment(part, Needs::Time),
            ),
            Phrase::new(
                "a date such as 2019年10月1日 or 2019-10-01, perhaps with a 24-hour time; a range with ~",
                "日期，如 2019年10月1日 或 2019-10-01，可带 24 小时制时间；时间段用 ~ 连接",
            ),
        ),
        FieldType::Amount => {
            let allowed = Phrase::new(
                "a currency symbol or none, up to 10 digits, perhaps with decimals, perhaps 元",
                "可带 1 个币种符号，最多 10 位数字，可带小数，结尾可带“元”",
            );
            let number = value.strip_prefix(['¥', '￥', '$', '€', '£', '₩', '₹', '฿']).unwrap_or(value);
            let number = number.strip_suffix('元').unwrap_or(number);
            let whole = number.split('.').next().unwrap_or(number);
            form(is_decimal(number) && n_digits(whole) <= 10, allowed)
        }
        FieldType::PhoneNumber => {
            let allowed =
                Phrase::new("up to 17 digits and symbols such as + and -", "最多 17 位数字和符号，如 +、-");
            let good = |c: char| c.is_ascii_digit() || !c.is_alphanumeric();
            form(value.chars().all(good) && value.chars().any(|c| c.is_ascii_digit()), allowed)?;
            limit(value, 17, allowed)
        }
        FieldType::CarNumber => {
            let allowed = Phrase::new(
                "up to 8 letters and digits, the first and last may be Chinese",
                "最多 8 个字母或数字，首尾可为汉字",
            );
            let last = value.chars().count().saturating_sub(1);
            let good =
                |(i, c): (usize, char)| c.is_ascii_alphanumeric() || (i == 0 || i == last) && is_han(c);
            form(value.chars().enumerate().all(good), allowed)?;
            limit(value, 8, allowed)
        }
        FieldType::Name => {
            let allowed = Phrase::new(
                "up to 10 characters with Chinese ones, or up to 20 letters and symbols; no digits",
                "含汉字时最多 10 个字符，否则最多 20 个字母或符号；不能有数字",
            );
            form(!value.chars().any(char::is_numeric), allowed)?;
            limit(value, if value.chars().any(is_han) { 10 } else { 20 }, allowed)
        }
        FieldType::Phrase => {
            let allowed = Phrase::new("up to 5 Chinese characters", "最多 5 个汉字");
            form(value.chars().all(is_han), allowed)?;
            limit(value, 5, allowed)
        }
        FieldType::EnumString | FieldType::Other => Ok(()),
    }
}

/// Why no value that holds `fixed` can fit a field of this type, whatever else is put in beside it.
///
/// `None` proves nothing: the rest decides. Blanks at the ends of `fixed` do not count.
#[must_use]
pub fn rules_out(kind: FieldType, fixed: &str) -> Option<Misfit> {
    let fixed = fixed.trim();
    let strange = |c: char| match kind {
        FieldType::Thing | FieldType::ShortThing | FieldType::EnumString | FieldType::Other => false,
        FieldType::Number => !c.is_ascii_digit() && c != '.',
        FieldType::Letter => !c.is_ascii_alphabetic(),
        FieldType::Symbol => c.is_alphanumeric(),
        FieldType::CharacterString => !c.is_ascii() && c.is_alphanumeric(),
        FieldType::Time | FieldType::Date => {
            !c.is_ascii_digit() && !c.is_whitespace() && !"年月日:-/.~".contains(c)
        }
        FieldType::Amount => c.is_alphabetic() && c != '元',
        FieldType::PhoneNumber => c.is_alphanumeric() && !c.is_ascii_digit(),
        FieldType::CarNumber => !c.is_ascii_alphanumeric() && !is_han(c),
        FieldType::Name => c.is_numeric(),
        FieldType::Phrase => !is_han(c),
    };
    let allowed = match check(kind, fixed) {
        Ok(()) => return None,
        Err(Misfit::TooLong { max, allowed }) => return Some(Misfit::TooLong { max, allowed }),
        Err(Misfit::Form { allowed }) => allowed,
    };
    fixed.chars().any(strange).then_some(Misfit::Form { allowed })
}

fn form(good: bool, allowed: Phrase) -> Result<(), Misfit> {
    if good { Ok(()) } else { Err(Misfit::Form { allowed }) }
}

fn limit(value: &str, max: usize, allowed: Phrase) -> Result<(), Misfit> {
    if value.chars().count() > max { Err(Misfit::TooLong { max, allowed }) } else { Ok(()) }
}

fn n_digits(text: &str) -> usize {
    text.bytes().filter(u8::is_ascii_digit).count()
}

fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, decimals)) => digits(whole) && digits(decimals),
        None => digits(text),
    }
}

/// Chinese characters: the unified ideographs with their extensions, 〇 and 々.
fn is_han(c: char) -> bool {
    matches!(c, '〇' | '々' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}')
}

/// What a moment must have; the other part may stand beside it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Date,
    Time,
}

fn is_range(value: &str, first: impl Fn(&str) -> bool, second: impl Fn(&str) -> bool) -> bool {
    match value.split_once('~') {
        Some((from, to)) => first(from.trim()) && second(to.trim()),
        None => first(value),
    }
}

/// `2019年10月1日 15:01` and its parts.
fn is_moment(text: &str, needs: Needs) -> bool {
    let time_at = text.rfind([' ', '日']).map(|at| at + text.get(at..).map_or(0, first_len));
    let split = time_at.filter(|at| *at < text.len()).and_then(|at| text.split_at_checked(at));
    match (split, needs) {
        (Some((date, time)), _) => is_date(date.trim()) && is_time(time.trim()),
        (None, Needs::Date) => is_date(text),
        (None, Needs::Time) => is_time(text),
    }
}

fn first_len(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// `15:01` or `15:01:30`.
fn is_time(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let within = |part: &str, lengths: std::ops::RangeInclusive<usize>, max: u8| {
        lengths.contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse::<u8>().is_ok_and(|n| n <= max)
    };
    match parts.as_slice() {
        [hour, minute] => within(hour, 1..=2, 23) && within(minute, 2..=2, 59),
        [hour, minute, second] => {
            within(hour, 1..=2, 23) && within(minute, 2..=2, 59) && within(second, 2..=2, 59)
        }
        _ => false,
    }
}

/// Year, month, day, or two neighbours of them, with 年月日 or one of `-`, `/`, `.`.
fn is_date(text: &str) -> bool {
    let chinese = text.replace(['年', '月'], "-");
    let chinese = chinese.strip_suffix(['日', '-']).filter(|_| text.ends_with(['日', '月']));
    let plain = |separator: char| text.contains(separator).then(|| text.replace(separator, "-"));
    let joined = chinese.map(str::to_owned).or_else(|| ['-', '/', '.'].into_iter().find_map(plain));
    let Some(joined) = joined else { return false };
    let number = |part: &str| {
        let digits = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| digits)
    };
    let year = |part: &str| part.len() == 4 && number(part).is_some();
    let month = |part: &str| part.len() <= 2 && number(part).is_some_and(|n| (1..=12).contains(&n));
    let day = |part: &str| part.len() <= 2 && number(part).is_some_and(|n| (1..=31).contains(&n));
    match joined.split('-').collect::<Vec<_>>().as_slice() {
        [y, m, d] => year(y) && month(m) && day(d),
        [a, b] => year(a) && month(b) || month(a) && day(b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of one type: good ones, ones of a wrong form, ones that are too long.
    type Row<'a> = (FieldType, &'a [&'a str], &'a [&'a str], &'a [&'a str]);

    #[test]
    fn values_fit_as_the_parameter_table_says() {
        let table: [Row<'_>; 15] = [
            (
                FieldType::Thing,
                &["喝水时间到", "a b!，。😀", "一二三四五六七八九十一二三四五六七八九十"],
                &[],
                &["一二三四五六七八九十一二三四五六七八九十一"],
            ),
            (FieldType::ShortThing, &["五个字以内", "a1!"], &[], &["六个字了吗呢"]),
            (
                FieldType::Number,
                &["0", "12.50", "0012"],
                &["123456789012345678901234567890123", "", "1.", ".5", "-3", "1,000", "１", "3个", "1.2.3"],
                &[],
            ),
            (
                FieldType::Letter,
                &["abcXYZ"],
                &["ab1", "a b", "é", "字"],
                &["abcdefghijklmnopqrstuvwxyzabcdefg"],
            ),
            (FieldType::Symbol, &["!@#", "★"], &["a!", "1", "好"], &["!!!!!!"]),
            (
                FieldType::CharacterString,
                &["NO.2026-1122 #7", "a/b?c", "￥5"],
                &["订单1", "é"],
                &["123456789012345678901234567890123"],
            ),
            (
                FieldType::Time,
                &[
                    "15:01",
                    "9:05",
                    "15:01:30",
                    "2019年10月1日 15:01",
                    "2019年10月1日15:01",
                    "2026-11-22 08:00",
                    "2026/11/22 08:00",
                    "2026.11.22 08:00:00",
                    "08:00~12:00",
                    "2024-07-24 08:00~12:00",
                    "2024-07-24 08:00 ~ 2024-07-25 12:00",
                    "10月1日 15:01",
                ],
                &[
                    "24:00",
                    "8",
                    "08:60",
                    "8:5",
                    "2024-07-24 08~12",
                    "08:00～12:00",
                    "08：00",
                    "上午9:00",
                    "2026-11-22",
                    "2026-13-01 08:00",
                    "08:00~",
                    "08:00~09:00~10:00",
                    "明天 08:00",
                ],
                &[],
            ),
            (
                FieldType::Date,
                &[
                    "2019年10月1日",
                    "2019年10月1日 15:01",
                    "2019年10月",
                    "10月1日",
                    "2018-01-01",
                    "2018/1/1",
                    "2018.01.01",
                    "2018-01",
                    "01-01",
                    "2018-01-01~2018-01-31",
                    "2018-01-01 08:00~09:00",
                ],
                &[
                    "2018年",
                    "15:01",
                    "20180101",
                    "2018-01-01T08:00",
                    "18-01-01",
                    "2018-00-01",
                    "2018-01/01",
                    "32日",
                    "",
                ],
                &[],
            ),
            (
                FieldType::Amount,
                &["￥100", "12.5元", "¥0.01", "$5", "1234567890.50"],
                &["100块", "1,000", "￥", "-5", "￥￥5", "12345678901", "￥12345678901元"],
                &[],
            ),
            (
                FieldType::PhoneNumber,
                &["13800138000", "+86-0766-66888866"],
                &["0766 转", "tel 5", "---"],
                &["123456789012345678"],
            ),
            (
                FieldType::CarNumber,
                &["粤A8Z888", "京AD12345", "粤ZA123港"],
                &["粤A·8888", "粤A港888", "A 1"],
                &["京AD123456"],
            ),
            (
                FieldType::Name,
                &["张三", "Ada Lovelace", "欧阳·娜娜", "一二三四五六七八九十"],
                &["用户410774", "三号楼2"],
                &["一二三四五六七八九十一", "张abcdefghij", "abcdefghijklmnopqrstu"],
            ),
            (FieldType::Phrase, &["已预约", "待支付"], &["OK", "已预约1", "好!"], &["一二三四五六"]),
            (FieldType::EnumString, &["任何值 1"], &[], &[]),
            (FieldType::Other, &["任何值任何值任何值任何值任何值任何值任何值任何值任何值"], &[], &[]),
        ];
        for (kind, good, wrong, long) in table {
            for value in good {
                assert_eq!(check(kind, value), Ok(()), "{kind:?} {value}");
                let chars: Vec<char> = value.chars().collect();
                for part in (1..=chars.len()).flat_map(|n| chars.windows(n)) {
                    let part: String = part.iter().collect();
                    assert_eq!(rules_out(kind, &part), None, "{kind:?} {part} of {value}");
                }
            }
            for value in wrong {
                assert!(matches!(check(kind, value), Err(Misfit::Form { .. })), "{kind:?} {value}");
            }
            for value in long {
                let Err(Misfit::TooLong { max, .. }) = check(kind, value) else {
                    panic!("{kind:?} {value} is not too long")
                };
                let cut: String = value.chars().take(max).collect();
                assert!(matches!(check(kind, &cut), Ok(()) | Err(Misfit::Form { .. })), "{kind:?} {cut}");
                assert!(rules_out(kind, value).is_some(), "{kind:?} {value}");
            }
        }
    }

    #[test]
    fn some_parts_spoil_every_value() {
        let table = [
            (FieldType::Number, "元", true),
            (FieldType::Time, "上午", true),
            (FieldType::Time, "：", true),
            (FieldType::Date, "明天", true),
            (FieldType::Phrase, "OK", true),
            (FieldType::Amount, "约", true),
            (FieldType::Name, "3号", true),
            (FieldType::Letter, "é", true),
            (FieldType::Amount, "-", false),
            (FieldType::Time, "~", false),
            (FieldType::Thing, "x", false),
            (FieldType::Number, " ", false),
        ];
        for (kind, part, spoils) in table {
            assert_eq!(rules_out(kind, part).is_some(), spoils, "{kind:?} {part}");
        }
    }
}
