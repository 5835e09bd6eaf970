//! Problems of `when`: bounds, filters, clocks, and what is probably not meant.

use chrono::{NaiveDate, NaiveDateTime};

use super::{Problem, error, list, meant_or, seen, warning, with_typed};
use crate::domain::language::{Phrase, Said};
use crate::domain::zone::Zone;
use crate::plan::recurrence::Never;

/// A text that is neither a date nor a civil time.
pub(in crate::rules) fn bad_bound(text: &str) -> Problem {
    error(
        "bad_time",
        Said::new(
            format!("`{text}` is neither a date nor a date with a time"),
            format!("`{text}` 既不是日期，也不是日期时间"),
        ),
        with_typed(
            text,
            Said::new(
                "write \"2027-03-01\", or \"2027-03-01 09:00\"; the zone is the rule's",
                "写成 \"2027-03-01\" 或 \"2027-03-01 09:00\"，时区以规则为准",
            ),
        ),
    )
}

/// A text that is neither a date nor could be the name of a calendar.
pub(in crate::rules) fn bad_exception(text: &str) -> Problem {
    error(
        "bad_time",
        Said::new(
            format!("`{text}` is neither a date nor the name of a calendar"),
            format!("`{text}` 既不是日期，也不是日历的名称"),
        ),
        with_typed(
            text,
            Said::new(
                "write \"2026-10-01\", or the name of a file in schedules/calendars without `.yaml`",
                "写成 \"2026-10-01\"，或者 schedules/calendars 里的文件名（不带 `.yaml`）",
            ),
        ),
    )
}

/// A calendar that does not exist.
pub(in crate::rules) fn unknown_calendar(name: &str, known: &[String], meant: Option<&str>) -> Problem {
    let help = if known.is_empty() {
        Said::new(
            format!(
                "there are none: write one in schedules/calendars/{name}.yaml, such as `weekly: MON-FRI`"
            ),
            format!("现在一个日历也没有：请新建 schedules/calendars/{name}.yaml，例如写上 `weekly: MON-FRI`"),
        )
    } else {
        meant_or(
            meant,
            Phrase::new("calendars in schedules/calendars", "schedules/calendars 里的日历"),
            &list(known),
        )
    };
    error(
        "unknown_calendar",
        Said::new(format!("there is no calendar {}", seen(name)), format!("没有名为 {} 的日历", seen(name))),
        help,
    )
}

/// A day that a calendar adds and removes.
pub(in crate::rules) fn added_and_removed(day: NaiveDate) -> Problem {
    error(
        "repeated",
        Said::new(
            format!("`{day}` is in `add` and in `remove`"),
            format!("`{day}` 同时出现在 `add` 和 `remove` 里"),
        ),
        Said::new("keep one of them", "只保留一个"),
    )
}

/// A single time that the clock skips, under a policy that drops it.
pub(in crate::rules) fn skipped_time(civil: NaiveDateTime, instead: NaiveDateTime, zone: Zone) -> Problem {
    let (time, after) = (civil.format("%Y-%m-%d %H:%M"), instead.format("%Y-%m-%d %H:%M"));
    error(
        "skipped_time",
        Said::new(
            format!("the clocks of {zone} skip {time}, so it would never be due"),
            format!("{zone} 的时钟会跳过 {time}，这个时间永远不会触发"),
        ),
        Said::new(
            format!("write \"{after}\" or later, or `dst: shift`, or leave `dst` out"),
            format!("写成 \"{after}\" 或更晚；或者写 `dst: shift`，或者不写 `dst`"),
        ),
    )
}

/// A single time of a day that a zone left out.
pub(in crate::rules) fn no_such_day(civil: NaiveDateTime, zone: Zone) -> Problem {
    let day = civil.format("%Y-%m-%d %H:%M");
    error(
        "impossible_date",
        Said::new(
            format!("there is no {day} in {zone}: its calendar leaves it out"),
            format!("{zone} 没有 {day}：当地历法跳过了它"),
        ),
        Said::new("choose a day and a time that exist", "改成存在的日期和时间"),
    )
}

/// An end before the beginning.
pub(in crate::rules) fn ends_before_it_begins() -> Problem {
    error(
        "never_fires",
        Said::new("it never fires: `until` is before `from`", "永远不会触发：`until` 早于 `from`"),
        Said::new("exchange them, or correct one", "对调两者，或者改正其中一个"),
    )
}

/// Bounds and filters that leave nothing.
pub(in crate::rules) fn never(never: Never) -> Problem {
    let (message, help) = match never {
        Never::Bounds => (
            Said::new(
                "it never fires: none of its times is within `from` and `until`",
                "永远不会触发：`from` 到 `until` 之间没有任何触发时间",
            ),
            Said::new("move `from` or `until`, or change the times", "调整 `from` 或 `until`，或者改时间"),
        ),
        Never::Only => (
            Said::new(
                "it never fires: none of its days is in a calendar of `only`",
                "永远不会触发：`only` 的日历里没有它的任何一天",
            ),
            Said::new(
                "choose days that the calendar has, or another calendar",
                "改成日历里有的日子，或者换一个日历",
            ),
        ),
        Never::Except => (
            Said::new(
                "it never fires: `except` takes out all its days",
                "永远不会触发：`except` 去掉了它的每一天",
            ),
            Said::new(
                "take out fewer days, or set `enabled: false`",
                "少排除一些日子；要停用规则请写 `enabled: false`",
            ),
        ),
    };
    error("never_fires", message, help)
}

/// A weekday as a number.
pub(in crate::rules) fn numeric_weekday() -> Problem {
    warning(
        "numeric_weekday",
        Said::new(
            "a weekday is written as a number: 1 is Monday here, but Sunday to some other programs",
            "星期写成了数字：这里 1 是周一，在另一些程序里 1 是周日",
        ),
        Said::new("write names, such as `MON-FRI` or `SUN`", "写英文缩写，例如 `MON-FRI` 或 `SUN`"),
    )
}

/// Day of the month and day of the week, either of which is enough.
pub(in crate::rules) fn either_day() -> Problem {
    warning(
        "either_day",
        Said::new(
            "it has days of the month and days of the week: either is enough",
            "同时写了“日”和“周”：满足其一就会触发",
        ),
        Said::new(
            "where both must hold, put `+` before the days of the week, such as `0 9 13 * +FRI`; else make two rules",
            "要同时满足，请在“周”前加 `+`，例如 `0 9 13 * +FRI`；否则拆成两条规则更清楚",
        ),
    )
}

/// Days that some months do not have.
pub(in crate::rules) fn rare_days(days: &[u32]) -> Problem {
    let days = list(&days.iter().map(u32::to_string).collect::<Vec<_>>());
    warning(
        "rare_days",
        Said::new(
            format!("some of its months have no day {}: it will not be due in them", days.en),
            format!("有的月份没有 {} 日，那个月不会触发", days.zh),
        ),
        Said::new("for the last day of each month write `L`", "每月最后一天请写 `L`"),
    )
}

/// More due times a day than anybody accepts.
pub(in crate::rules) fn many_a_day(n: u64) -> Problem {
    warning(
        "many_a_day",
        Said::new(format!("it is due {n} times a day"), format!("一天会触发 {n} 次")),
        Said::new(
            "each message needs an acceptance of its own; choose fewer times",
            "每条消息都要用掉一次同意；请减少次数",
        ),
    )
}
