//! `to` of a rule: whom it reaches.

use super::problem::shape::{self, Thing};
use super::schedule_keys;
use super::source::masked;
use super::walk::{Map, Walk, Wanted};
use super::yaml::{Node, Value};
use crate::domain::id::{OpenId, Tag};
use crate::domain::language::{Phrase, Said};
use crate::domain::recipient::MAX_TAGS;
use crate::domain::rule::Audience;

/// The most openids of one rule; a larger circle is a tag.
pub(super) const MAX_OPENIDS: usize = 10_000;
/// The longest condition, in characters.
pub(super) const MAX_CONDITION: usize = 1024;

const EXAMPLE: &str = "to: { tags: [habit] }";

/// Reads `to`; beside the audience, where its condition stands.
pub(super) fn read<'n>(node: &'n Node, walk: &mut Walk<'_>) -> (Audience, Option<&'n Node>) {
    let mut audience = Audience::default();
    let wanted = Wanted { of: Thing::Key("to"), example: EXAMPLE };
    if let Some(text) = node.as_text() {
        if text != "all" {
            // An openid in the wrong place is not repeated as a tag.
            let meant = (masked(text) == text).then(|| format!("{{ tags: [{text}] }}"));
            let allowed = Said::new(
                "`all`, or a map with `tags`, `all_tags`, `openids`, `where`",
                "`all`，或者带有 `tags`、`all_tags`、`openids`、`where` 的一组键值",
            );
            walk.report(node.spot, shape::bad_value(wanted.of, text, &allowed, meant.as_deref()));
        }
        return (audience, None);
    }
    let Some(map) = walk.map(node, wanted, &schedule_keys::TO) else { return (audience, None) };
    if map.entries().is_empty() {
        walk.report(node.spot, shape::empty_list(Thing::Key("to")));
    }
    if let Some((key, value)) = map.entry("all")
        && walk.switch(value, "all") == Some(false)
    {
        let allowed = Said::new(
            "`true`; to reach nobody, set `enabled: false`",
            "`true`；谁也不想提醒时，请写 `enabled: false`",
        );
        walk.report(key.spot, shape::bad_value(Thing::Key("all"), "false", &allowed, None));
    }
    if let Some(node) = map.get("tags") {
        let wanted = Wanted { of: Thing::Key("tags"), example: "tags: [habit]" };
        audience.tags =
            filled(node, wanted, walk, |walk| walk.parsed_list(node, wanted, MAX_TAGS, Tag::parse));
    }
    if let Some(node) = map.get("all_tags") {
        let wanted = Wanted { of: Thing::Key("all_tags"), example: "all_tags: [habit, morning]" };
        audience.all_tags =
            filled(node, wanted, walk, |walk| walk.parsed_list(node, wanted, MAX_TAGS, Tag::parse));
    }
    if let Some(node) = map.get("openids") {
        audience.openids = openids(node, walk);
    }
    no_effect(map, &audience, walk);
    let condition = map.get("where");
    if let Some(node) = condition {
        let wanted = Wanted { of: Thing::Key("where"), example: "where: \"fields.city == 'Shanghai'\"" };
        let text = walk.text(node, wanted).unwrap_or_default();
        if text.chars().count() > MAX_CONDITION {
            let allowed = Said::new(
                format!("conditions of at most {MAX_CONDITION} characters"),
                format!("最多 {MAX_CONDITION} 个字符的条件"),
            );
            walk.report(node.spot, shape::bad_value(wanted.of, text, &allowed, None));
        } else if text.is_empty() && node.as_text().is_some() {
            // No condition would reach everybody, and that is hardly meant.
            walk.report(node.spot, shape::no_value(wanted.of, wanted.example));
        } else if !text.is_empty() {
            audience.condition = Some(text.to_owned());
        }
    }
    (audience, condition)
}

/// Keys that choose nobody out beside the others.
fn no_effect(map: Map<'_>, audience: &Audience, walk: &mut Walk<'_>) {
    if let Some((key, _)) = map.entry("all").filter(|_| map.entries().len() > 1) {
        let why = Phrase::new("a recipient must meet the other keys as well", "接收者还要同时满足其他各项");
        walk.report(key.spot, shape::no_effect("all", why));
    }
    let has_one = audience.tags.iter().any(|tag| audience.all_tags.contains(tag));
    if let Some((key, _)) = map.entry("tags").filter(|_| has_one) {
        let why = Phrase::new(
            "whoever has all of `all_tags` has one of them",
            "满足 `all_tags` 的人必然已有其中之一",
        );
        walk.report(key.spot, shape::no_effect("tags", why));
    }
}

/// An empty list would choose nobody or everybody, depending on whom one asks; so it is a mistake.
fn filled<'a, T>(
    node: &Node,
    wanted: Wanted<'_>,
    walk: &mut Walk<'a>,
    read: impl FnOnce(&mut Walk<'a>) -> Vec<T>,
) -> Vec<T> {
    if matches!(&node.value, Value::List(list) if list.is_empty()) {
        walk.report(node.spot, shape::empty_list(wanted.of));
    }
    read(walk)
}

/// Openids, which no message repeats.
fn openids(node: &Node, walk: &mut Walk<'_>) -> Vec<OpenId> {
    let wanted = Wanted { of: Thing::Key("openids"), example: "openids: [oXXXXXXXXXXXXXXXXXXXXXXXXXXX]" };
    let list = walk.list(node, wanted).unwrap_or_default();
    if list.len() > MAX_OPENIDS {
        walk.report(node.spot, shape::too_many(wanted.of, MAX_OPENIDS));
        return Vec::new();
    }
    if matches!(&node.value, Value::List(list) if list.is_empty()) {
        walk.report(node.spot, shape::empty_list(wanted.of));
    }
    let mut seen = std::collections::HashSet::new();
    let mut openids = Vec::with_capacity(list.len());
    for item in list {
        let Some(text) = walk.text(item, wanted) else { continue };
        match OpenId::parse(text) {
            Ok(_) if !seen.insert(text) => walk.report(item.spot, shape::repeated_openid()),
            Ok(openid) => openids.push(openid),
            Err(bad) => walk.report(item.spot, shape::bad_unshown_name(&bad)),
        }
    }
    openids
}
