//! `to` of a rule: whom it reaches.

use super::problem::Problem;
use super::walk::{Walk, Wanted};
use super::yaml::{Node, Value};
use crate::domain::id::{OpenId, Tag};
use crate::domain::recipient::MAX_TAGS;
use crate::domain::rule::Audience;

/// The most openids of one rule; a larger circle is a tag.
const MAX_OPENIDS: usize = 10_000;
/// The longest condition, in characters.
const MAX_CONDITION: usize = 1024;

const TO: &[&str] = &["all", "tags", "all_tags", "openids", "where"];
const EXAMPLE: &str = "to: { tags: [habit] }";

/// Reads `to`; beside the audience, where its condition stands.
pub(super) fn read<'n>(node: &'n Node, walk: &mut Walk<'_>) -> (Audience, Option<&'n Node>) {
    let mut audience = Audience::default();
    let wanted = Wanted { of: "`to`", example: EXAMPLE };
    if let Some(text) = node.as_text() {
        if text != "all" {
            let meant = Some(format!("{{ tags: [{text}] }}"));
            walk.bad_value(
                node.spot,
                "to",
                text,
                "`all`, or a map with `tags`, `all_tags`, `openids`, `where`",
                meant,
            );
        }
        return (audience, None);
    }
    let Some(map) = walk.map(node, wanted, TO, "`to`") else { return (audience, None) };
    if map.entries().is_empty() {
        walk.report(node.spot, &Problem::EmptyList { of: "`to`".to_owned() });
    }
    if let Some((key, value)) = map.entry("all")
        && walk.switch(value, "all") == Some(false)
    {
        walk.bad_value(key.spot, "all", "false", "`true`; to reach nobody, set `enabled: false`", None);
    }
    if let Some(node) = map.get("tags") {
        let wanted = Wanted { of: "`tags`", example: "tags: [habit]" };
        audience.tags =
            filled(node, wanted, walk, |walk| walk.parsed_list(node, wanted, MAX_TAGS, Tag::parse));
    }
    if let Some(node) = map.get("all_tags") {
        let wanted = Wanted { of: "`all_tags`", example: "all_tags: [habit, morning]" };
        audience.all_tags =
            filled(node, wanted, walk, |walk| walk.parsed_list(node, wanted, MAX_TAGS, Tag::parse));
    }
    if let Some(node) = map.get("openids") {
        audience.openids = openids(node, walk);
    }
    let condition = map.get("where");
    if let Some(node) = condition {
        let wanted = Wanted { of: "`where`", example: "where: \"fields.city == 'Shanghai'\"" };
        let text = walk.text(node, wanted).unwrap_or_default();
        if text.chars().count() > MAX_CONDITION {
            let allowed = format!("conditions of at most {MAX_CONDITION} characters");
            walk.bad_value(node.spot, "where", text, &allowed, None);
        } else if !text.is_empty() {
            audience.condition = Some(text.to_owned());
        }
    }
    (audience, condition)
}

/// An empty list would choose nobody or everybody, depending on whom one asks; so it is a mistake.
fn filled<'a, T>(
    node: &Node,
    wanted: Wanted<'_>,
    walk: &mut Walk<'a>,
    read: impl FnOnce(&mut Walk<'a>) -> Vec<T>,
) -> Vec<T> {
    if matches!(&node.value, Value::List(list) if list.is_empty()) {
        walk.report(node.spot, &Problem::EmptyList { of: wanted.of.to_owned() });
    }
    read(walk)
}

/// Openids, which no message repeats.
fn openids(node: &Node, walk: &mut Walk<'_>) -> Vec<OpenId> {
    let wanted = Wanted { of: "`openids`", example: "openids: [oXXXXXXXXXXXXXXXXXXXXXXXXXXX]" };
    let list = walk.list(node, wanted).unwrap_or_default();
    if list.len() > MAX_OPENIDS {
        walk.report(node.spot, &Problem::TooMany { of: wanted.of.to_owned(), max: MAX_OPENIDS });
        return Vec::new();
    }
    if matches!(&node.value, Value::List(list) if list.is_empty()) {
        walk.report(node.spot, &Problem::EmptyList { of: wanted.of.to_owned() });
    }
    let mut seen = std::collections::HashSet::new();
    let mut openids = Vec::with_capacity(list.len());
    for item in list {
        let Some(text) = walk.text(item, wanted) else { continue };
        match OpenId::parse(text) {
            Ok(_) if !seen.insert(text) => {
                let (of, value) = (wanted.of.to_owned(), "this openid".to_owned());
                walk.report(item.spot, &Problem::Repeated { of, value });
            }
            Ok(openid) => openids.push(openid),
            Err(error) => {
                let (what, allowed) = (error.what, error.allowed);
                walk.report(item.spot, &Problem::BadName { text: "this".to_owned(), what, allowed });
            }
        }
    }
    openids
}
