//! JSON Schemas (draft-07) of the files that admins edit, for their editors.
//!
//! They say what one file can show of itself: keys, forms, limits. What needs another file, a calendar or the language
//! of texts is the loader's alone; `schema_tests` names it, and holds both to one verdict on all the rest. An editor
//! sees the YAML value where the loader sees its text, so a scalar may be any type wherever a text may be.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::keys::{Absent, Key, Table};
use super::schedule_file::RECIPIENT;
use super::{config_keys, pattern, schedule_keys};
use crate::domain::zone::Zone;

/// The schema of a schedule file.
#[must_use]
pub fn schedule() -> Value {
    let about = "Reminder rules of tixing: what is sent, when, and to whom.";
    document(map(&schedule_keys::FILE), "tixing: a schedule file", about)
}

/// The schema of a calendar.
#[must_use]
pub fn calendar() -> Value {
    let about = "Days by name, for `except` and `only` of reminder rules of tixing.";
    let some = json!([{ "required": ["weekly"] }, { "required": ["add"] }]);
    document(and(map(&schedule_keys::CALENDAR), "anyOf", some), "tixing: a calendar", about)
}

/// The schema of `tixing.yaml`.
#[must_use]
pub fn config() -> Value {
    let about = "The configuration of tixing: mini programs, folders, and doors.";
    let schema = document(map(&config_keys::FILE), "tixing: tixing.yaml", about);
    // With several apps a key says which it speaks for.
    let several =
        json!({ "properties": { "apps": { "type": "object", "minProperties": 2 } }, "required": ["apps"] });
    let said = json!({ "properties": { "hook": { "properties": { "keys": { "items": { "required": ["apps"] } } } } } });
    and(and(schema, "if", several), "then", said)
}

fn document(schema: Value, title: &str, about: &str) -> Value {
    let zones: Vec<&str> = Zone::names().collect();
    let schema = and(schema, "$schema", "http://json-schema.org/draft-07/schema#");
    let schema = and(and(schema, "title", title), "description", about);
    and(schema, "definitions", json!({ "zone": { "type": "string", "enum": zones } }))
}

/// `schema` with one keyword more, or another value of it.
fn and(mut schema: Value, keyword: &str, value: impl Into<Value>) -> Value {
    if let Value::Object(keywords) = &mut schema {
        keywords.insert(keyword.to_owned(), value.into());
    }
    schema
}

/// A map with these keys and no other.
pub(super) fn map(table: &Table) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for key in table.keys {
        properties.insert(key.name.to_owned(), property(key));
        if key.absent == Absent::Mistake {
            required.push(key.name);
        }
    }
    let map = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if required.is_empty() { map } else { and(map, "required", required) }
}

fn property(key: &Key) -> Value {
    let about = match key.absent {
        Absent::Mistake | Absent::Default(_) => key.about.to_owned(),
        Absent::Means(means) => format!("{} When left out: {means}", key.about),
    };
    let shape = and(and((key.shape)(), "description", about), "examples", vec![parsed(key.example)]);
    match key.absent {
        Absent::Default(default) => and(shape, "default", parsed(default)),
        Absent::Mistake | Absent::Means(_) => shape,
    }
}

pub(super) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("the tables hold JSON, and a test prints all of them")
}

/// A map that has exactly one of these keys, and maybe others beside it.
pub(super) fn exactly_one(map: Value, forms: &[&str]) -> Value {
    let forms: Vec<Value> = forms.iter().map(|form| json!({ "required": [form] })).collect();
    and(map, "oneOf", forms)
}

/// A map from names that the admin chose to `value`, which is `about`.
pub(super) fn named(names: &str, value: Value, about: &str, count: RangeInclusive<usize>) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": names, "maxLength": 64 },
        "additionalProperties": and(value, "description", about),
        "minProperties": count.start(),
        "maxProperties": count.end(),
    })
}

/// A map from template fields to `value`.
pub(super) fn texts(value: Value, about: &str, count: RangeInclusive<usize>) -> Value {
    named(pattern::FIELD_KEY, value, about, count)
}

/// `map`, or nothing after the colon.
pub(super) fn or_nothing(map: Value) -> Value {
    and(map, "type", vec!["object", "null"])
}

pub(super) fn list(item: &Value, count: RangeInclusive<usize>) -> Value {
    json!({ "type": "array", "items": item, "minItems": count.start(), "maxItems": count.end() })
}

/// A list without repetitions.
pub(super) fn set(item: &Value, count: RangeInclusive<usize>) -> Value {
    and(list(item, count), "uniqueItems", true)
}

/// Any text.
pub(super) fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

/// Any text but the empty one.
pub(super) fn some_text() -> Value {
    json!({ "type": ["string", "number", "boolean"], "minLength": 1 })
}

pub(super) fn short_text(length: RangeInclusive<usize>) -> Value {
    json!({ "type": ["string", "number", "boolean"], "minLength": length.start(), "maxLength": length.end() })
}

/// `true` or `false`, also in quotes.
pub(super) fn switch() -> Value {
    json!({ "type": ["boolean", "string"], "pattern": "^(?:true|false)$", "patternErrorMessage": "true or false" })
}

/// A whole number, also in quotes.
pub(super) fn whole(range: RangeInclusive<u32>) -> Value {
    let (low, high) = (*range.start(), *range.end());
    json!({
        "type": ["integer", "string"],
        "minimum": low,
        "maximum": high,
        "pattern": pattern::whole(low, high),
        "patternErrorMessage": format!("a whole number from {low} to {high}"),
    })
}

/// One of a few words.
pub(super) fn words<T>(words: &[(&'static str, T)]) -> Value {
    json!({ "enum": words.iter().map(|(word, _)| word).collect::<Vec<_>>() })
}

/// A name of an app, template or hook key.
pub(super) fn name() -> Value {
    json!({
        "type": ["string", "integer", "boolean"],
        "minimum": 0,
        "pattern": pattern::NAME,
        "patternErrorMessage": "1–64 of a–z 0–9 _ -, beginning with a letter or digit",
    })
}

pub(super) fn field_name() -> Value {
    json!({
        "type": ["string", "boolean"],
        "pattern": pattern::FIELD_NAME,
        "patternErrorMessage": "1–32 of a–z 0–9 _, beginning with a letter",
    })
}

pub(super) fn field_key() -> Value {
    let key = pattern::texts(pattern::FIELD_KEY, "a type and a number such as thing1, without .DATA");
    and(key, "maxLength", 64)
}

pub(super) fn appid() -> Value {
    pattern::texts(pattern::APPID, "wx and 1–62 of A–Z a–z 0–9")
}

pub(super) fn template_id() -> Value {
    json!({
        "type": ["string", "integer", "boolean"],
        "pattern": pattern::TEMPLATE_ID,
        "patternErrorMessage": "1–128 of A–Z a–z 0–9 _ -",
    })
}

/// An openid; one of digits alone has at least ten.
pub(super) fn openid() -> Value {
    json!({
        "type": ["string", "integer"],
        "minimum": 1_000_000_000,
        "pattern": pattern::OPENID,
        "patternErrorMessage": "10–64 of A–Z a–z 0–9 _ -",
    })
}

pub(super) fn tag() -> Value {
    json!({
        "type": ["string", "number", "boolean"],
        "minLength": 1,
        "maxLength": 64,
        "pattern": pattern::NO_CONTROL,
        "patternErrorMessage": "a tag has no control characters",
    })
}

/// The name of a credential; a secret in its place is refused.
pub(super) fn credential() -> Value {
    json!({
        "type": ["string", "number", "boolean"],
        "pattern": pattern::CREDENTIAL,
        "patternErrorMessage": "a name, 1–128 of A–Z a–z 0–9 _ . -",
        "not": { "type": "string", "pattern": pattern::WEBHOOK_SECRET },
    })
}

/// The name of a variable; a secret in its place is refused.
pub(super) fn variable() -> Value {
    json!({
        "type": ["string", "integer", "boolean"],
        "minimum": 0,
        "pattern": pattern::VARIABLE,
        "patternErrorMessage": "a name, 1–128 of A–Z a–z 0–9 _",
        "not": { "type": "string", "pattern": pattern::WEBHOOK_SECRET },
    })
}

/// A zone by its name; all of them are there, so that an editor can complete one.
pub(super) fn zone() -> Value {
    // Beside `$ref` nothing counts in draft-07.
    json!({ "allOf": [{ "$ref": "#/definitions/zone" }] })
}

/// A zone by its name, or the word for each recipient's own.
pub(super) fn zone_or_recipient() -> Value {
    json!({ "anyOf": [{ "$ref": "#/definitions/zone" }, { "const": RECIPIENT }] })
}

/// An elapsed time, or 0 with a unit or without.
pub(super) fn duration_or_none() -> Value {
    json!({ "anyOf": [{ "const": 0 }, pattern::texts(&pattern::duration(0), "0, or a number and a unit, up to 31d")] })
}

/// One civil time, or a list of them; each a text or a map.
pub(super) fn at(map: &Value, max: usize) -> Value {
    let time = pattern::texts(&pattern::civil_time(), "YYYY-MM-DD HH:MM or YYYY-MM-DD HH:MM:SS");
    let item = json!({ "anyOf": [time, map] });
    json!({ "anyOf": [time, map, set(&item, 1..=max)] })
}

/// A date, or the name of a calendar; what looks like a date is one.
pub(super) fn date_or_name() -> Value {
    let date = pattern::texts(&pattern::civil_date(), "YYYY-MM-DD");
    let like_a_date = json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" });
    json!({ "anyOf": [date, and(name(), "not", like_a_date)] })
}

/// One of them, or a list without repetitions.
pub(super) fn one_or_set(item: &Value, max: usize) -> Value {
    json!({ "anyOf": [item, set(item, 1..=max)] })
}

/// A map in which `every` needs `starting`.
pub(super) fn with_starting(map: Value) -> Value {
    and(map, "dependencies", json!({ "every": ["starting"] }))
}

/// A map in which forms of appointments need `of`, and `same_day` a `time`; elapsed time has none.
pub(super) fn of_appointments(map: Value) -> Value {
    let elapsed = json!({ "pattern": "^[0-9]+ ?(?:s|seconds?|m|min|minutes?|h|hours?)$" });
    let no_time = |form: &str| json!({ "if": { "required": ["time", form], "properties": { form: elapsed } }, "then": false });
    let needs = json!([
        { "dependencies": { "before": ["of"], "after": ["of"], "same_day": ["of", "time"] } },
        no_time("before"),
        no_time("after"),
    ]);
    and(map, "allOf", needs)
}

/// An app whose acceptances come by events, if they come.
pub(super) fn app(map: Value) -> Value {
    let by_events =
        json!({ "required": ["consents_from"], "properties": { "consents_from": { "const": "events" } } });
    let readable = json!({ "required": ["push"], "properties": { "push": { "required": ["aes_key"] } } });
    and(and(map, "if", by_events), "then", readable)
}

/// Events that can be read: by a key, or because they are plain.
pub(super) fn push(map: Value) -> Value {
    let plain = json!({ "required": ["plain"], "properties": { "plain": { "const": true } } });
    and(and(map, "if", json!({ "not": { "required": ["aes_key"] } })), "then", plain)
}

/// `all`, or a map that chooses.
pub(super) fn to(map: Value) -> Value {
    json!({ "anyOf": [{ "const": "all" }, and(map, "minProperties", 1)] })
}
