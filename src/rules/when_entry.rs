//! `when` of a rule: exactly one form, and what it means.
//!
//! Forms and keys that a later version carries out are known here by name only, so that none of them is
//! ever silently ignored.

use chrono::NaiveDateTime;

use super::problem::Problem;
use super::walk::{Map, Walk, Wanted};
use super::yaml::{Node, Value};
use crate::domain::when::{Cron, CronCode, When};

/// The most civil times of one `at`.
const MAX_TIMES: usize = 1000;

const WHEN: &[&str] = &[
    "cron", "at", "every", "starting", "before", "after", "of", "time", "same_day", "from", "until",
    "except", "only", "dst",
];

/// Forms whose effect comes with a later version, and what to do until then.
const LATER_FORMS: &[(&str, &str)] = &[
    ("every", "use `cron`, for example `cron: \"0 */2 * * *\"`"),
    ("before", "use `cron` or `at`; appointments come later"),
    ("after", "use `cron` or `at`; appointments come later"),
    ("same_day", "use `cron` or `at`; appointments come later"),
];

/// Keys beside a form whose effect comes with a later version.
const LATER_KEYS: &[(&str, &str)] = &[
    ("starting", "it belongs to `every`; delete it"),
    ("of", "it belongs to appointments, which come later; delete it"),
    ("time", "it belongs to appointments, which come later; delete it"),
    ("from", "delete it, and set `enabled: true` when the rule should begin"),
    ("until", "delete it, and set `enabled: false` when the rule should end"),
    ("except", "delete it; list the due times in `at` if holidays matter"),
    ("only", "delete it; list the due times in `at` if workdays matter"),
    ("dst", "delete it; `auto`, the default, is what is done"),
];

const EXAMPLE: &str = "when: { cron: \"0 10 * * MON-FRI\" }";

/// Reads `when`; `None` when there is a mistake, which was reported.
pub(super) fn read(node: &Node, walk: &mut Walk<'_>) -> Option<When> {
    let map = walk.map(node, Wanted { of: "`when`", example: EXAMPLE }, WHEN, "`when`")?;
    for (name, instead) in LATER_FORMS.iter().chain(LATER_KEYS) {
        if let Some((key, _)) = map.entry(name) {
            walk.not_yet(key.spot, name, instead);
        }
    }
    let forms = ["cron", "at"].into_iter().chain(LATER_FORMS.iter().map(|(name, _)| *name));
    let mut forms = forms.filter(|name| map.entry(name).is_some());
    match (forms.next(), forms.next()) {
        (None, _) => {
            walk.report(node.spot, &Problem::NoForm);
            None
        }
        (Some(one), Some(other)) => {
            let spot = map.entry(other).map_or(node.spot, |(key, _)| key.spot);
            walk.report(spot, &Problem::TwoForms { one, other });
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
    let text = walk.text(node, Wanted { of: "`cron`", example: "cron: \"0 10 * * MON-FRI\"" })?;
    match Cron::parse(text) {
        Ok(cron) => Some(When::Cron(cron)),
        Err(error) => {
            let (message, help) = (error.message, error.help);
            let problem = match error.code {
                CronCode::Syntax => Problem::BadCron { message, help },
                CronCode::NeverFires => Problem::NeverFires { message, help },
                CronCode::NotYet => Problem::NotYet { key: text.to_owned(), instead: help },
            };
            walk.report(node.spot_in(error.at), &problem);
            None
        }
    }
}

fn at(map: Map<'_>, walk: &mut Walk<'_>) -> Option<When> {
    let node = map.get("at")?;
    let wanted = Wanted { of: "`at`", example: "at: \"2027-01-31 09:00\"" };
    let items = match &node.value {
        Value::List(list) => list.as_slice(),
        Value::Text(_) => std::slice::from_ref(node),
        Value::Map(_) | Value::Nothing | Value::Broken => {
            walk.wrong_shape(node, wanted, "a date and time, or a list of them");
            return None;
        }
    };
    if items.is_empty() {
        walk.report(node.spot, &Problem::EmptyList { of: "`at`".to_owned() });
    }
    if items.len() > MAX_TIMES {
        walk.report(node.spot, &Problem::TooMany { of: "`at`".to_owned(), max: MAX_TIMES });
        return None;
    }
    let mut times: Vec<NaiveDateTime> = Vec::with_capacity(items.len());
    for item in items {
        let Some(text) = walk.text(item, wanted) else { continue };
        match When::at(text) {
            Ok(time) if times.contains(&time) => {
                let (of, value) = ("`at`".to_owned(), text.to_owned());
                walk.report(item.spot, &Problem::Repeated { of, value });
            }
            Ok(time) => times.push(time),
            Err(error) => {
                let (message, help) = (error.message, error.help);
                let problem = if has_form(text) {
                    Problem::ImpossibleDate { message, help }
                } else {
                    Problem::BadTime { message, help }
                };
                walk.report(item.spot, &problem);
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
