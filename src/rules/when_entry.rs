//! `when` of a rule: exactly one form, and what it means.
//!
//! Forms and keys that a later version carries out are known here by name only, so that none of them is
//! ever silently ignored.

use chrono::NaiveDateTime;

use super::problem::rule;
use super::problem::shape::{self, Thing};
use super::schedule_keys;
use super::walk::{Map, Walk, Wanted};
use super::yaml::{Node, Value};
use crate::domain::language::Phrase;
use crate::domain::when::{Cron, CronCode, When};

/// The most civil times of one `at`.
pub(super) const MAX_TIMES: usize = 1000;

/// The forms, of which a rule has one.
const FORMS: [&str; 6] = ["cron", "at", "every", "before", "after", "same_day"];

const EXAMPLE: &str = "when: { cron: \"0 10 * * MON-FRI\" }";

/// Reads `when`; `None` when there is a mistake, which was reported.
pub(super) fn read(node: &Node, walk: &mut Walk<'_>) -> Option<When> {
    let map = walk.map(node, Wanted { of: Thing::Key("when"), example: EXAMPLE }, &schedule_keys::WHEN)?;
    let mut forms = FORMS.into_iter().filter(|name| map.entry(name).is_some());
    match (forms.next(), forms.next()) {
        (None, _) => {
            walk.report(node.spot, rule::no_form());
            None
        }
        (Some(one), Some(other)) => {
            let spot = map.entry(other).map_or(node.spot, |(key, _)| key.spot);
            walk.report(spot, rule::two_forms(one, other));
            // Both are looked into, so that their own mistakes show.
            let _looked_at = (cron(map, walk), at(map, walk));
            None
        }
        (Some("cron"), None) => cron(map, walk),
        (Some("at"), None) => at(map, walk),
        (Some(_), None) => None,
    }
}

fn cron(map: Map<'_>, walk: &mut Walk<'_>) -> Option<When> {
    let node = map.get("cron")?;
    let text = walk.text(node, Wanted { of: Thing::Key("cron"), example: "cron: \"0 10 * * MON-FRI\"" })?;
    match Cron::parse(text) {
        Ok(cron) => Some(When::Cron(cron)),
        Err(error) => {
            let (message, help) = (error.message, error.help);
            let problem = match error.code {
                CronCode::Syntax => rule::bad_cron(text, message, help),
                CronCode::NeverFires => rule::never_fires(message, help),
                CronCode::NotYet => rule::later_cron(message, help),
            };
            walk.report(node.spot_in(error.at), problem);
            None
        }
    }
}

fn at(map: Map<'_>, walk: &mut Walk<'_>) -> Option<When> {
    let node = map.get("at")?;
    let wanted = Wanted { of: Thing::Key("at"), example: "at: \"2027-01-31 09:00\"" };
    let items = match &node.value {
        Value::List(list) => &**list,
        Value::Text(_) => std::slice::from_ref(node),
        Value::Map(_) | Value::Nothing | Value::Broken => {
            walk.wrong_shape(
                node,
                wanted,
                Phrase::new("a date and time, or a list of them", "一个日期时间，或者它们的列表"),
            );
            return None;
        }
    };
    if items.is_empty() {
        walk.report(node.spot, shape::empty_list(Thing::Key("at")));
    }
    if items.len() > MAX_TIMES {
        walk.report(node.spot, shape::too_many(Thing::Key("at"), MAX_TIMES));
        return None;
    }
    let mut times: Vec<NaiveDateTime> = Vec::with_capacity(items.len());
    for item in items {
        let Some(text) = walk.text(item, wanted) else { continue };
        match When::at(text) {
            Ok(time) if times.contains(&time) => walk.report(item.spot, shape::repeated(wanted.of, text)),
            Ok(time) => times.push(time),
            Err(error) => {
                let (message, help) = (error.message, error.help);
                let problem = if has_form(text) {
                    rule::impossible_date(message, help)
                } else {
                    rule::bad_time(text, message, help)
                };
                walk.report(item.spot, problem);
            }
        }
    }
    let whole = times.len() == items.len() && !times.is_empty();
    times.sort_unstable();
    whole.then_some(When::At(times))
}

/// Whether a text has the digits of `YYYY-MM-DD HH:MM[:SS]` in their places, so that only the calendar is against it.
fn has_form(text: &str) -> bool {
    let form = "dddd-dd-dd dd:dd:dd";
    matches!(text.len(), 16 | 19)
        && text.bytes().zip(form.bytes()).all(|(b, f)| if f == b'd' { b.is_ascii_digit() } else { b == f })
}
