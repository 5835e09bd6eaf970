//! `when` of rules that remind of appointments: `before`, `after` or `same_day`, `of`, and `time`.
//!
//! What instants they mean is decided in `plan::recurrence`.

use chrono::NaiveTime;

use super::problem::rule;
use super::problem::shape::{self, Thing};
use super::values;
use super::walk::{Map, Walk, Wanted};
use super::yaml::Node;
use crate::domain::id::Kind;
use crate::domain::language::{Phrase, Said};
use crate::domain::when::{Form, IfLate, Offset, Period, Relative};

/// What becomes of those to whom an appointment belongs only since after the due time.
pub(super) const IF_LATE: [(&str, IfLate); 2] = [("skip", IfLate::Skip), ("send", IfLate::Send)];

/// Reads the form that `name` begins: `before`, `after` or `same_day`.
pub(super) fn read(name: &'static str, map: Map<'_>, walk: &mut Walk<'_>) -> Option<Form> {
    let (key, node) = map.entry(name)?;
    let offset = match name {
        "same_day" => walk.switch(node, "same_day").and_then(|yes| {
            if !yes {
                let allowed = Said::same("`true`".to_owned());
                walk.report(node.spot, shape::bad_value(Thing::Key("same_day"), "false", &allowed, None));
            }
            yes.then_some(Offset::SameDay)
        }),
        _ => period(name, map, walk).map(if name == "before" { Offset::Before } else { Offset::After }),
    };
    let of = if let Some(node) = map.get("of") {
        let text = walk.text(node, Wanted { of: Thing::Key("of"), example: "of: visit" });
        text.and_then(|text| walk.name(text, node.spot, Kind::parse))
    } else {
        walk.missing(key.spot, "of", Thing::Key("when"), "of: visit");
        None
    };
    let time = match map.get("time") {
        Some(node) => {
            let wanted = Wanted { of: Thing::Key("time"), example: "time: \"20:00\"" };
            Some(time_of_day(node, wanted, walk)?)
        }
        None if offset == Some(Offset::SameDay) => {
            walk.missing(key.spot, "time", Thing::Key("when"), "time: \"08:00\"");
            return None;
        }
        None => None,
    };
    if let (Some(Offset::Before(Period::Elapsed(_)) | Offset::After(Period::Elapsed(_))), Some((key, _))) =
        (offset, map.entry("time").filter(|_| time.is_some()))
    {
        let text =
            map.get(name).and_then(|node| walk.text(node, Wanted { of: Thing::Key(name), example: "" }));
        let why = Phrase::new(
            "`time` needs days of the calendar, such as 1 day",
            "写了 `time`，就要按天算，例如 1 day",
        );
        walk.report(key.spot, rule::bad_duration(Thing::Key(name), text.unwrap_or_default(), why));
        return None;
    }
    Some(Form::Relative(Relative { of: of?, offset: offset?, time, late: IfLate::Skip }))
}

fn period(name: &'static str, map: Map<'_>, walk: &mut Walk<'_>) -> Option<Period> {
    let node = map.get(name)?;
    let example = if name == "before" { "before: 1 day" } else { "after: 2 weeks" };
    let text = walk.text(node, Wanted { of: Thing::Key(name), example })?;
    match values::period(text) {
        Ok(period) => Some(period),
        Err(why) => {
            walk.report(node.spot, rule::bad_duration(Thing::Key(name), text, why));
            None
        }
    }
}

/// Tells of keys that belong to these forms where the rule has another one.
pub(super) fn without_form(map: Map<'_>, walk: &mut Walk<'_>) {
    for name in ["of", "time"] {
        if let Some((key, _)) = map.entry(name) {
            let why = Phrase::new(
                "it belongs to `before`, `after` and `same_day`",
                "它要和 `before`、`after`、`same_day` 一起用",
            );
            walk.report(key.spot, shape::no_effect(name, why));
        }
    }
}

/// A time of day, in quotes.
pub(super) fn time_of_day(node: &Node, wanted: Wanted<'_>, walk: &mut Walk<'_>) -> Option<NaiveTime> {
    let text = walk.text(node, wanted)?;
    let parsed = time(text);
    if parsed.is_none() {
        let message = Said::new(format!("`{text}` is no time of day"), format!("`{text}` 不是一天里的时间"));
        let help = Said::new("write it as \"20:00\", in quotes", "写成 \"20:00\"，要加引号");
        walk.report(node.spot, rule::bad_time(text, message, help));
    }
    parsed
}

/// `HH:MM`, or with seconds.
fn time(text: &str) -> Option<NaiveTime> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let format = match shape.as_str() {
        "99:99" => "%H:%M",
        "99:99:99" if !text.ends_with(":60") => "%H:%M:%S",
        _ => return None,
    };
    NaiveTime::parse_from_str(text, format).ok()
}
