//! Problems of what a rule means: well written, and yet not what anybody wants.

use chrono::NaiveDate;

use super::{Problem, error, list, meant_or, seen, warning};
use crate::domain::language::{Phrase, Said};
use crate::domain::zone::Zone;
use crate::plan::pace::TooSlow;
use crate::plan::recurrence::{Fate, Touched};
use crate::plan::repeat::MAX_MESSAGES;

/// A condition that nobody can meet.
pub(in crate::rules) fn never_true() -> Problem {
    error(
        "constant_condition",
        Said::new(
            "the condition is true for nobody, so nobody gets this rule",
            "这个条件对谁都不成立，没有人会收到",
        ),
        Said::new(
            "compare something of the recipient, as in `fields.city == 'Shanghai'`; to stop a rule, set `enabled: false`",
            "请比较接收者的信息，例如 `fields.city == 'Shanghai'`；要停用规则，请写 `enabled: false`",
        ),
    )
}

/// A condition that everybody meets.
pub(in crate::rules) fn always_true() -> Problem {
    warning(
        "constant_condition",
        Said::new(
            "the condition is true for everybody, so it leaves nobody out",
            "这个条件对谁都成立，没有筛选作用",
        ),
        Said::new(
            "compare something of the recipient, as in `fields.city == 'Shanghai'`, or delete the key",
            "请比较接收者的信息，例如 `fields.city == 'Shanghai'`，或者删掉这一项",
        ),
    )
}

/// A rule whose times are all over.
pub(in crate::rules) fn past() -> Problem {
    warning(
        "past",
        Said::new(
            "all its times have passed, so it will not be due again",
            "所有时间都已过去，这条规则不会再触发",
        ),
        Said::new("write a time to come, or delete the rule", "写一个将来的时间，或者删掉这条规则"),
    )
}

/// A rule all of whose due times are in its quiet hours.
pub(in crate::rules) fn always_quiet() -> Problem {
    warning(
        "always_quiet",
        Said::new(
            "all its due times are in its quiet hours, so nobody gets it who has no other time zone",
            "所有触发时间都在免打扰时段里，没有其他时区的人都收不到",
        ),
        Said::new(
            "change the due times or `quiet`, or write `then: hold` to send when the quiet hours are over",
            "修改触发时间或 `quiet`；或写 `then: hold`，过了免打扰时段再发",
        ),
    )
}

/// A rule that sends again what has no answer.
pub(in crate::rules) fn at_least_once() -> Problem {
    warning(
        "at_least_once",
        Said::new(
            format!(
                "a message without an answer may have arrived and is sent again all the same: a person may get it up to \
                 {MAX_MESSAGES} times, and each one takes a consent"
            ),
            format!(
                "没有得到答复的消息也许已经送达，仍会重发：同一个人最多可能收到 {MAX_MESSAGES} 次，每次都占用一次授权"
            ),
        ),
        Said::new(
            "if getting it twice is worse than not getting it, write `on_doubt: hold`",
            "如果重复收到比收不到更糟，请写 `on_doubt: hold`",
        ),
    )
}

/// A due time that a clock change skips or repeats.
pub(in crate::rules) fn clock_change(touched: &Touched, zone: Zone) -> Problem {
    let (day, time) = (touched.civil.format("%Y-%m-%d"), touched.civil.format("%H:%M"));
    let name = zone.name();
    let message = match touched.fate {
        Fate::Moved(at) => {
            let instead = at.with_timezone(&zone.tz()).format("%H:%M");
            Said::new(
                format!("on {day} the clocks of {name} skip {time}: it will be due at {instead}"),
                format!("{day} 这天 {name} 的时钟会跳过 {time}，将改在 {instead} 触发"),
            )
        }
        Fate::Dropped => Said::new(
            format!("on {day} the clocks of {name} skip {time}: it will not be due that day"),
            format!("{day} 这天 {name} 的时钟会跳过 {time}，当天不会触发"),
        ),
        Fate::Once => Said::new(
            format!("on {day} the clocks of {name} show {time} twice: it will be due the first time only"),
            format!("{day} 这天 {name} 的时钟会两次走过 {time}，只在第一次触发"),
        ),
        Fate::Twice => Said::new(
            format!("on {day} the clocks of {name} show {time} twice: it will be due both times"),
            format!("{day} 这天 {name} 的时钟会两次走过 {time}，两次都会触发"),
        ),
    };
    let help = Said::new(
        "if that is not what you want, choose a time of day that no clock change touches",
        "如果不希望这样，请改用不受时钟切换影响的时刻",
    );
    warning("clock_change", message, help)
}

/// More rules of one template on one day than people accept it.
pub(in crate::rules) fn crowded(template: &str, day: NaiveDate, rules: &[String]) -> Problem {
    let (named, n) = (list(rules), rules.len());
    warning(
        "crowded",
        Said::new(
            format!(
                "on {day} {n} rules want a consent for the template {} of one person: {}",
                seen(template),
                named.en
            ),
            format!("{day} 这天有 {n} 条规则都要用同一个人对模板 {} 的订阅：{}", seen(template), named.zh),
        ),
        Said::new(
            "one acceptance is one message, and a page asks for three at most: spread them over days or templates, \
             or let one message say it all",
            "一次同意只能发一条，一次最多询问三个模板：请分散到不同日期或模板，或者合并成一条消息",
        ),
    )
}

/// A field that no recipient has.
pub(in crate::rules) fn unseen_field(field: &str, known: &[String], meant: Option<&str>) -> Problem {
    warning(
        "unseen_field",
        Said::new(
            format!("no recipient has the field {} so far", seen(field)),
            format!("目前没有任何接收者有字段 {}", seen(field)),
        ),
        meant_or(meant, Phrase::new("fields that recipients have", "接收者已有的字段"), &list(known)),
    )
}

/// A tag that nobody carries.
pub(in crate::rules) fn unseen_tag(tag: &str, known: &[String], meant: Option<&str>) -> Problem {
    warning(
        "unseen_tag",
        Said::new(
            format!("no recipient has the tag {} so far", seen(tag)),
            format!("目前没有任何接收者有标签 {}", seen(tag)),
        ),
        meant_or(meant, Phrase::new("tags that recipients have", "接收者已有的标签"), &list(known)),
    )
}

/// An audience that the app's rate cannot serve within grace.
pub(in crate::rules) fn too_slow(found: &TooSlow) -> Problem {
    let said = found.said();
    warning(
        "too_slow",
        Said::new(format!("up to {}", said.en), format!("最多 {}", said.zh)),
        Said::new(
            "raise `grace`, raise `limits.per_second`, or choose fewer recipients with `to`",
            "请调大 `grace` 或 `limits.per_second`，或者用 `to` 缩小范围",
        ),
    )
}
