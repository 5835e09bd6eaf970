//! The calendars of a folder: files under `schedules/calendars`, each a named set of days.
//!
//! They belong to the schedule files: read before them, kept with the last good set, and a change of one is a change
//! of the rules that name it. What a rule does with a calendar is read in `when_entry`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;

use super::names::nearest;
use super::problem::shape::{self, Thing};
use super::problem::{rule, when as of_when};
use super::schedule_keys;
use super::source::Spot;
use super::walk::{Map, Walk, Wanted};
use super::yaml::Node;
use crate::domain::id::CalendarName;
use crate::domain::language::Said;
use crate::domain::when::{Calendar, Cron, civil_date};

/// The folder of calendars, within that of the schedule files.
pub(super) const FOLDER: &str = "calendars";
/// The most days that a calendar may add, or remove.
pub(super) const MAX_DAYS: usize = 2000;

/// Whether a source of a rule set, by its name within the folder, is a calendar.
#[must_use]
pub fn is_calendar(name: &str) -> bool {
    name.strip_prefix(FOLDER).is_some_and(|rest| rest.starts_with('/'))
}

/// The calendars that rules may name.
#[derive(Debug, Default)]
pub(super) struct Calendars(BTreeMap<String, Option<Arc<Calendar>>>);

impl Calendars {
    /// Adds a calendar as its file says, which `root` is the tree of; one with mistakes is known by its name alone.
    pub(super) fn add(&mut self, file: &str, root: Option<&Node>, walk: &mut Walk<'_>) {
        let stem = file.rsplit('/').next().and_then(|name| name.strip_suffix(".yaml")).unwrap_or_default();
        let name = walk.name(stem, Spot::START, CalendarName::parse);
        let calendar = root.and_then(|root| read(root, name?, walk)).map(Arc::new);
        self.0.insert(stem.to_owned(), calendar);
    }

    /// Those without mistakes, by name.
    pub(super) fn into_good(self) -> Vec<Arc<Calendar>> {
        self.0.into_values().flatten().collect()
    }

    /// The calendar that a rule names; one that does not exist is reported, of one with mistakes that is done.
    pub(super) fn named(&self, text: &str, spot: Spot, walk: &mut Walk<'_>) -> Option<Arc<Calendar>> {
        if let Some(calendar) = self.0.get(text) {
            return calendar.clone();
        }
        let known: Vec<String> = self.0.keys().cloned().collect();
        let meant = nearest(text, known.iter().map(String::as_str));
        walk.report(spot, of_when::unknown_calendar(text, &known, meant));
        None
    }
}

/// Reads the tree of one calendar.
fn read(root: &Node, name: CalendarName, walk: &mut Walk<'_>) -> Option<Calendar> {
    let wanted = Wanted { of: Thing::Calendar, example: "weekly: MON-FRI" };
    let map = walk.map(root, wanted, &schedule_keys::CALENDAR)?;
    let n_errors = walk.found.n_errors();
    let weekly = map.get("weekly").and_then(|node| weekly(node, walk)).unwrap_or(0);
    let add = days(map, "add", walk);
    let remove = days(map, "remove", walk);
    let twice = remove.iter().find(|(day, _)| add.iter().any(|(other, _)| other == day));
    if let Some((day, spot)) = twice {
        walk.report(*spot, of_when::added_and_removed(*day));
    }
    if map.get("weekly").is_none() && map.get("add").is_none() {
        walk.missing(Spot::START, "weekly", wanted.of, wanted.example);
    }
    let sorted = |days: Vec<(NaiveDate, Spot)>| {
        let mut days: Vec<NaiveDate> = days.into_iter().map(|(day, _)| day).collect();
        days.sort_unstable();
        days
    };
    let calendar = Calendar { name, weekly, add: sorted(add), remove: sorted(remove) };
    (walk.found.n_errors() == n_errors).then_some(calendar)
}

fn weekly(node: &Node, walk: &mut Walk<'_>) -> Option<u8> {
    let text = walk.text(node, Wanted { of: Thing::Key("weekly"), example: "weekly: MON-FRI" })?;
    match Cron::weekdays(text) {
        Ok((days, numeric)) => {
            if numeric {
                walk.report(node.spot, of_when::numeric_weekday());
            }
            Some(days)
        }
        Err(error) => {
            let allowed = Said::new(
                "days of the week such as `MON-FRI` or `MON,WED,SAT`",
                "星期，例如 `MON-FRI` 或 `MON,WED,SAT`",
            );
            walk.report(node.spot_in(error.at), shape::bad_value(Thing::Key("weekly"), text, &allowed, None));
            None
        }
    }
}

/// The dates of a list, with their places.
fn days(map: Map<'_>, key: &str, walk: &mut Walk<'_>) -> Vec<(NaiveDate, Spot)> {
    let Some(node) = map.get(key) else { return Vec::new() };
    let wanted = Wanted { of: Thing::Key(key), example: &format!("{key}: [2026-10-01, 2026-10-02]") };
    let Some(items) = walk.list(node, wanted) else { return Vec::new() };
    if items.len() > MAX_DAYS {
        walk.report(node.spot, shape::too_many(wanted.of, MAX_DAYS));
        return Vec::new();
    }
    let mut days: Vec<(NaiveDate, Spot)> = Vec::with_capacity(items.len());
    for item in items {
        let Some(text) = walk.text(item, wanted) else { continue };
        match civil_date(text) {
            Ok(day) if days.iter().any(|(other, _)| *other == day) => {
                walk.report(item.spot, shape::repeated(wanted.of, text));
            }
            Ok(day) => days.push((day, item.spot)),
            Err(error) if error.of_the_form => {
                walk.report(item.spot, rule::impossible_date(error.message, error.help));
            }
            Err(error) => walk.report(item.spot, rule::bad_time(text, error.message, error.help)),
        }
    }
    days
}
