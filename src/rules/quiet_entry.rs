//! `quiet` of a rule: hours of the day in which nothing leaves.
//!
//! What instants they mean is decided in `plan::quiet`, what becomes of a message in them in `plan::turn`.

use chrono::NaiveTime;

use super::problem::shape::{self, Thing};
use super::relative_entry::time_of_day;
use super::schedule_keys;
use super::walk::{Map, Walk, Wanted};
use super::yaml::Node;
use crate::domain::language::Said;
use crate::domain::rule::{AtNight, Quiet};

/// What becomes of a message whose time is within.
pub(super) const THEN: [(&str, AtNight); 2] = [("hold", AtNight::Hold), ("skip", AtNight::Skip)];

/// Reads the map; `None` when it has a mistake.
pub(super) fn read(node: &Node, walk: &mut Walk<'_>) -> Option<Quiet> {
    let example = "quiet: { from: \"22:00\", to: \"08:00\", then: hold }";
    let map = walk.map(node, Wanted { of: Thing::Key("quiet"), example }, &schedule_keys::QUIET)?;
    let from = time("from", "from: \"22:00\"", map, node, walk);
    let to = time("to", "to: \"08:00\"", map, node, walk);
    let then = match map.get("then") {
        Some(node) => walk.one_of(node, "then", &THEN)?,
        None => AtNight::Hold,
    };
    let (from, to) = (from?, to?);
    if from == to {
        let spot = map.get("to").map_or(node.spot, |node| node.spot);
        let allowed = Said::new("another time than `from`", "与 `from` 不同的时间");
        let text = to.format("%H:%M").to_string();
        walk.report(spot, shape::bad_value(Thing::Key("to"), &text, &allowed, None));
        return None;
    }
    Some(Quiet { from, to, then })
}

fn time(
    name: &'static str,
    example: &'static str,
    map: Map<'_>,
    quiet: &Node,
    walk: &mut Walk<'_>,
) -> Option<NaiveTime> {
    let Some(node) = map.get(name) else {
        walk.missing(quiet.spot, name, Thing::Key("quiet"), example);
        return None;
    };
    time_of_day(node, Wanted { of: Thing::Key(name), example }, walk)
}
