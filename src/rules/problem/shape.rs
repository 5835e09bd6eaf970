//! Problems of keys and values: what is there, what is missing, what is of another form.

use super::yaml::{Hint, advice};
use super::{Problem, error, led, list, meant_or, seen, spaced, warning, with_typed};
use crate::domain::id::BadId;
use crate::domain::language::{Phrase, Said};

/// What a key or value is for, as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Thing<'a> {
    /// A key of the file.
    Key(&'a str),
    /// The rule of this id.
    Rule(&'a str),
    /// The app of this name.
    App(&'a str),
    /// The template of this name.
    Template(&'a str),
    /// The text of this template field.
    Text(&'a str),
    /// One entry under `keys` of the hook.
    HookKey,
    /// A file under `schedules`.
    ScheduleFile,
    /// A file under `schedules/calendars`.
    Calendar,
    /// `tixing.yaml`
    Config,
}

impl Thing<'_> {
    /// Its name; the Chinese one with a space at its end where one belongs before Chinese.
    pub(super) fn said(self) -> Said {
        let Said { en, zh } = match self {
            Self::Key(key) => Said::same(seen(key)),
            Self::Rule(id) => Said::new(format!("the rule {}", seen(id)), format!("提醒规则 {}", seen(id))),
            Self::App(name) => Said::new(format!("the app {}", seen(name)), format!("应用 {}", seen(name))),
            Self::Template(name) => {
                Said::new(format!("the template {}", seen(name)), format!("模板 {}", seen(name)))
            }
            Self::Text(key) => {
                Said::new(format!("the text of {}", seen(key)), format!("字段 {} 的内容", seen(key)))
            }
            Self::HookKey => Said::new("a hook key", "hook 的密钥"),
            Self::ScheduleFile => Said::new("a schedule file", "提醒规则文件"),
            Self::Calendar => Said::new("a calendar", "日历"),
            Self::Config => Said::same("tixing.yaml"),
        };
        Said { en, zh: spaced(zh) }
    }
}

/// Keys with values.
pub(in crate::rules) const MAP: Phrase = Phrase::new("a map of keys and values", "一组键值");
/// A list.
pub(in crate::rules) const LIST: Phrase = Phrase::new("a list in `[ ]`", "列表 `[ ]`");
/// A text.
pub(in crate::rules) const TEXT: Phrase = Phrase::new("a text", "文本");

/// A key that does not exist here.
pub(in crate::rules) fn unknown_key(
    key: &str,
    of: Thing<'_>,
    allowed: &[&str],
    meant: Option<&str>,
) -> Problem {
    let of = of.said();
    error(
        "unknown_key",
        Said::new(
            format!("unknown key {} in {}", seen(key), of.en),
            format!("{}里没有 {} 这个配置项", of.zh, seen(key)),
        ),
        with_typed(key, meant_or(meant, Phrase::new("allowed", "可以写的有"), &list(allowed))),
    )
}

/// A key that must be there.
pub(in crate::rules) fn missing_key(key: &str, of: Thing<'_>, example: &str) -> Problem {
    let of = of.said();
    error(
        "missing_key",
        Said::new(format!("{} needs the key `{key}`", of.en), format!("{}缺少 `{key}`", of.zh)),
        for_example(example),
    )
}

/// A text, list or map where another is needed.
pub(in crate::rules) fn wrong_shape(
    of: Thing<'_>,
    needs: Phrase,
    found: Phrase,
    example: &str,
    hint: Option<Hint>,
) -> Problem {
    let of = of.said();
    error(
        "wrong_shape",
        Said::new(
            format!("{} must be {}, but this is {}", of.en, needs.en, found.en),
            format!("{}应写成{}，这里却是{}", of.zh, led(needs.zh), led(found.zh)),
        ),
        hint.map_or_else(|| for_example(example), advice),
    )
}

/// A key without a value.
pub(in crate::rules) fn no_value(of: Thing<'_>, example: &str) -> Problem {
    let of = of.said();
    error(
        "no_value",
        Said::new(format!("{} has no value", of.en), format!("{}没有值", of.zh)),
        Said::new(
            format!("write for example `{example}`, or delete the key"),
            format!("可以写成 `{example}`，不需要就删掉"),
        ),
    )
}

/// A list or map with nothing in it.
pub(in crate::rules) fn empty_list(of: Thing<'_>) -> Problem {
    let of = of.said();
    error(
        "empty_list",
        Said::new(format!("{} is empty", of.en), format!("{}是空的", of.zh)),
        Said::new("name at least one, or delete the key", "至少写一项，不需要就删掉"),
    )
}

/// More entries than are taken.
pub(in crate::rules) fn too_many(of: Thing<'_>, max: usize) -> Problem {
    let of = of.said();
    error(
        "too_many",
        Said::new(format!("{} has more than {max} entries", of.en), format!("{}超过 {max} 项", of.zh)),
        Said::new("use fewer", "请减少项数"),
    )
}

/// One value twice in a list.
pub(in crate::rules) fn repeated(of: Thing<'_>, value: &str) -> Problem {
    let of = of.said();
    error(
        "repeated",
        Said::new(
            format!("{} is in {} twice", seen(value), of.en),
            format!("{} 在 {}里出现了两次", seen(value), of.zh),
        ),
        Said::new("keep one of them", "只保留一个"),
    )
}

/// An openid twice in a list; it is not repeated a third time.
pub(in crate::rules) fn repeated_openid() -> Problem {
    error(
        "repeated",
        Said::new("this openid is in `openids` twice", "这个 openid 在 `openids` 里出现了两次"),
        Said::new("keep one of them", "只保留一个"),
    )
}

/// A name of a wrong form.
pub(in crate::rules) fn bad_name(text: &str, bad: &BadId) -> Problem {
    named(&Said::same(seen(text)), bad)
}

/// A name of a wrong form, which must not be repeated.
pub(in crate::rules) fn bad_unshown_name(bad: &BadId) -> Problem {
    named(&Said::new("this", "这里的值"), bad)
}

fn named(text: &Said, bad: &BadId) -> Problem {
    let BadId { what, allowed } = bad;
    error(
        "bad_name",
        Said::new(
            format!("{} is not {}", text.en, what.en),
            format!("{}不能用作{}", spaced(text.zh.clone()), led(what.zh)),
        ),
        with_typed(
            &text.en,
            Said::new(format!("allowed are {}", allowed.en), format!("允许的写法：{}", allowed.zh)),
        ),
    )
}

/// A value that is not one of the possible ones.
pub(in crate::rules) fn bad_value(
    of: Thing<'_>,
    value: &str,
    allowed: &Said,
    meant: Option<&str>,
) -> Problem {
    let of = of.said();
    error(
        "bad_value",
        Said::new(format!("{} cannot be {}", of.en, seen(value)), format!("{}不能是 {}", of.zh, seen(value))),
        with_typed(value, meant_or(meant, Phrase::new("allowed", "可以写"), allowed)),
    )
}

/// An address with a fault; a password may be in it, so it is not repeated.
pub(in crate::rules) fn bad_address(of: Thing<'_>, why: Phrase, example: &str) -> Problem {
    let of = of.said();
    error(
        "bad_value",
        Said::new(
            format!("{} cannot be this address: {}", of.en, why.en),
            format!("{}不能是这个地址：{}", of.zh, why.zh),
        ),
        for_example(example),
    )
}

/// A key or form whose effect comes with a later version.
pub(in crate::rules) fn not_yet(key: &str, instead: Said) -> Problem {
    error(
        "not_yet",
        Said::new(
            format!("{} is not carried out by this version yet", seen(key)),
            format!("当前版本还不支持 {}", seen(key)),
        ),
        instead,
    )
}

/// A key that does nothing here.
pub(in crate::rules) fn no_effect(key: &str, why: Phrase) -> Problem {
    warning(
        "no_effect",
        Said::new(
            format!("`{key}` has no effect here: {}", why.en),
            format!("`{key}` 在这里不起作用：{}", why.zh),
        ),
        Said::new("delete the key", "删掉它"),
    )
}

fn for_example(example: &str) -> Said {
    Said::new(format!("write for example `{example}`"), format!("可以写成 `{example}`"))
}
