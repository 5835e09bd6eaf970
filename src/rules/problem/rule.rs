//! Problems of what a rule says: templates, times, texts.

use super::shape::Thing;
use super::{Problem, error, list, meant_or, seen, warning, with_typed};
use crate::domain::language::{Phrase, Said};

/// A template that the app does not have.
pub(in crate::rules) fn unknown_template(
    name: &str,
    app: &str,
    known: &[String],
    meant: Option<&str>,
) -> Problem {
    error(
        "unknown_template",
        Said::new(
            format!("the app {} has no template {}", seen(app), seen(name)),
            format!("应用 {} 没有名为 {} 的模板", seen(app), seen(name)),
        ),
        with_typed(
            name,
            meant_or(meant, Phrase::new("templates of this app", "这个应用的模板"), &list(known)),
        ),
    )
}

/// The platform's id where a name belongs.
pub(in crate::rules) fn template_by_id(name: &str) -> Problem {
    error(
        "template_by_id",
        Said::new(
            "this is the platform's id of a template, not its name",
            "这是平台的模板 ID，不是模板的名称",
        ),
        Said::new(
            format!("write its name in tixing.yaml: {}", seen(name)),
            format!("写它在 tixing.yaml 里的名称：{}", seen(name)),
        ),
    )
}

/// Two rules of one id.
pub(in crate::rules) fn duplicate_rule(id: &str, first: &str, first_line: u32) -> Problem {
    error(
        "duplicate_rule",
        Said::new(
            format!("there are two rules {}; the other is in {first} line {first_line}", seen(id)),
            format!("有两条规则都叫 {}，另一条在 {first} 第 {first_line} 行", seen(id)),
        ),
        Said::new(
            "rename one of them; ids are unique over all files",
            "给其中一条改名；id 在所有文件里不能重复",
        ),
    )
}

/// A zone that does not exist.
pub(in crate::rules) fn unknown_zone(name: &str, meant: Option<&str>) -> Problem {
    let help = match meant {
        Some(meant) => Said::new(
            format!("write {}; names are those of the IANA list", seen(meant)),
            format!("写成 {}；时区要用 IANA 名称", seen(meant)),
        ),
        None => Said::new(
            "write a name of the IANA list such as `Asia/Shanghai`; offsets and abbreviations do not say when \
             clocks change",
            "写 IANA 时区名称，例如 `Asia/Shanghai`；偏移量和缩写无法说明何时切换夏令时",
        ),
    };
    error(
        "unknown_zone",
        Said::new(format!("there is no time zone {}", seen(name)), format!("没有名为 {} 的时区", seen(name))),
        with_typed(name, help),
    )
}

/// A field that the template does not have.
pub(in crate::rules) fn unknown_field(
    key: &str,
    template: &str,
    fields: &[String],
    meant: Option<&str>,
) -> Problem {
    error(
        "unknown_field",
        Said::new(
            format!("the template {} has no field {}", seen(template), seen(key)),
            format!("模板 {} 没有字段 {}", seen(template), seen(key)),
        ),
        meant_or(meant, Phrase::new("its fields", "它的字段"), &list(fields)),
    )
}

/// A field without a text.
pub(in crate::rules) fn missing_field(key: &str, template: &str) -> Problem {
    error(
        "missing_field",
        Said::new(
            format!("the field {} of the template {} has no text", seen(key), seen(template)),
            format!("模板 {} 的字段 {} 没有写内容", seen(template), seen(key)),
        ),
        Said::new(format!("add `{key}: \"…\"` under `data`"), format!("在 `data` 下加上 `{key}: \"…\"`")),
    )
}

/// `when` without a form.
pub(in crate::rules) fn no_form() -> Problem {
    error(
        "no_when",
        Said::new("`when` does not say when", "`when` 里没有写时间"),
        Said::new(
            "write `{ cron: \"0 9 * * MON-FRI\" }`, `{ at: \"2027-01-31 09:00\" }` or `{ every: 2 weeks, starting: \"2027-01-31 09:00\" }`",
            "写成 `{ cron: \"0 9 * * MON-FRI\" }`、`{ at: \"2027-01-31 09:00\" }` 或 `{ every: 2 weeks, starting: \"2027-01-31 09:00\" }`",
        ),
    )
}

/// `when` with two forms.
pub(in crate::rules) fn two_forms(one: &str, other: &str) -> Problem {
    error(
        "two_forms",
        Said::new(
            format!("`when` has two forms, `{one}` and `{other}`"),
            format!("`when` 里同时写了 `{one}` 和 `{other}`"),
        ),
        Said::new("keep one of them, and make a second rule for the other", "只保留一个，另一个另写一条规则"),
    )
}

/// A text that is no length of time.
pub(in crate::rules) fn bad_duration(of: Thing<'_>, text: &str, why: Phrase) -> Problem {
    let of = of.said();
    error(
        "bad_duration",
        Said::new(
            format!("{} cannot be {}: {}", of.en, seen(text), why.en),
            format!("{}不能是 {}：{}", of.zh, seen(text), why.zh),
        ),
        with_typed(
            text,
            Said::new(
                "write a whole number and a unit: `90s`, `30m`, `24h`, `1d`, `2 weeks`",
                "写整数加单位：`90s`、`30m`、`24h`、`1d`、`2 weeks`",
            ),
        ),
    )
}

/// A grace within which nothing can be sent.
pub(in crate::rules) fn grace_too_short(text: &str) -> Problem {
    error(
        "grace_too_short",
        Said::new(
            format!("`grace` is {}, but the shortest is 60 seconds", seen(text)),
            format!("`grace` 是 {}，最短为 60 秒", seen(text)),
        ),
        Said::new("write `60s` or more; `30m` is the default", "写 `60s` 或更长；默认是 `30m`"),
    )
}

/// A text that is no civil time.
pub(in crate::rules) fn bad_time(text: &str, message: Said, help: Said) -> Problem {
    error("bad_time", message, with_typed(text, help))
}

/// A civil time of no calendar.
pub(in crate::rules) fn impossible_date(message: Said, help: Said) -> Problem {
    error("impossible_date", message, help)
}

/// A text that is no cron expression.
pub(in crate::rules) fn bad_cron(text: &str, message: Said, help: Said) -> Problem {
    error("bad_cron", message, with_typed(text, help))
}

/// An expression that no day matches.
pub(in crate::rules) fn never_fires(message: Said, help: Said) -> Problem {
    error("never_fires", message, help)
}

/// A mistake in a text with expressions, or in a condition.
pub(in crate::rules) fn bad_expression(of: Thing<'_>, message: &Said, help: Said) -> Problem {
    let of = of.said();
    error(
        "bad_expression",
        Said::new(format!("mistake in {}: {}", of.en, message.en), format!("{}有误：{}", of.zh, message.zh)),
        help,
    )
}

/// A constant text that its field does not take.
pub(in crate::rules) fn does_not_fit(key: &str, message: &Said, help: Said) -> Problem {
    error(
        "does_not_fit",
        Said::new(
            format!("the text of {} does not fit: {}", seen(key), message.en),
            format!("字段 {} 的内容不合要求：{}", seen(key), message.zh),
        ),
        help,
    )
}

/// A constant text that is cut every time.
pub(in crate::rules) fn always_cut(key: &str, allowed: Phrase) -> Problem {
    warning(
        "always_cut",
        Said::new(
            format!("the text of {} is longer than its field and will be cut every time", seen(key)),
            format!("字段 {} 的内容超长，每次都会被截断", seen(key)),
        ),
        Said::new(
            format!("shorten it; allowed: {}", allowed.en),
            format!("请缩短；这类字段可以填：{}", allowed.zh),
        ),
    )
}

/// A page that cannot be opened.
pub(in crate::rules) fn bad_page(message: &Said, help: Said) -> Problem {
    error(
        "bad_page",
        Said::new(format!("mistake in `page`: {}", message.en), format!("`page` 有误：{}", message.zh)),
        help,
    )
}
