//! One schedule file → its rules, added to the set of all files.
//!
//! What one rule says is read in `rule_entry`; here is what a file says for all its rules, and what must
//! hold over all files: an id is there once, and the number of rules has a bound.

use std::collections::HashMap;
use std::sync::Arc;

use super::calendars::Calendars;
use super::config_file::unknown_app;
use super::meaning::Placed;
use super::problem::shape::Thing;
use super::problem::{config as of_config, file, rule};
use super::rule_entry::{self, Entry, RuleApp, Surroundings};
use super::schedule_keys;
use super::source::Spot;
use super::values;
use super::walk::{Map, Walk, Wanted};
use super::yaml::{Node, Value};
use crate::domain::config::{App, Config, RuleSet};
use crate::domain::id::AppName;
use crate::domain::zone::Zone;

/// The most rules of all files.
pub const MAX_RULES: usize = 10_000;
/// The zone of a rule that is each recipient's own.
pub(super) const RECIPIENT: &str = "recipient";

/// Whether the configuration that rules are checked against is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is: what it does not name does not exist.
    Whole,
    /// It has mistakes: what it does not name may exist once they are mended.
    Partial,
}

/// The rules of the files read so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) set: RuleSet,
    /// The enabled ones, where they stand.
    pub(super) placed: Vec<Placed>,
    /// How many files were read before this one.
    pub(super) file: usize,
    /// Where each id was first met, also of rules with mistakes.
    first: HashMap<String, (String, u32)>,
}

/// Reads the tree of one schedule file into `gathered`.
pub(super) fn read(
    root: &Node,
    (config, trust): (&Config, Trust),
    calendars: &Calendars,
    gathered: &mut Gathered,
    walk: &mut Walk<'_>,
) {
    let wanted = Wanted { of: Thing::ScheduleFile, example: "rules:" };
    let Some(top) = walk.map(root, wanted, &schedule_keys::FILE) else { return };
    let app = match top.get("app") {
        Some(node) => named_app(node, config, trust, walk),
        None => only_app(config, trust),
    };
    let zone = top.get("timezone").and_then(|node| zone(node, config.zone, walk));
    let zone = zone.unwrap_or(RuleZone { zone: config.zone, own_time: false });
    let mut around = Surroundings { config, trust, app, zone, calendars };
    let Some(node) = top.get("rules") else {
        return walk.missing(Spot::START, "rules", Thing::ScheduleFile, "rules:");
    };
    if matches!(node.value, Value::Nothing) {
        return;
    }
    let Some(rules) = walk.names(node, Wanted { of: Thing::Key("rules"), example: "rules:" }) else { return };
    read_rules(rules, &mut around, gathered, walk);
}

fn read_rules(rules: Map<'_>, around: &mut Surroundings<'_>, gathered: &mut Gathered, walk: &mut Walk<'_>) {
    // A file with too many rules for all files together is not read at all.
    if let Some((key, _)) = rules.entries().get(MAX_RULES) {
        return walk.report(key.spot, file::too_many_rules(MAX_RULES));
    }
    for (key, node) in rules.entries() {
        if gathered.first.len() >= MAX_RULES {
            return walk.report(key.spot, file::too_many_rules(MAX_RULES));
        }
        let here = (walk.source.name().to_owned(), key.spot.line);
        let first = gathered.first.entry(key.text.to_string()).or_insert_with(|| here.clone()).clone();
        if first != here {
            let (first, first_line) = first;
            walk.report(key.spot, rule::duplicate_rule(&key.text, &first, first_line));
        }
        if let RuleApp::NotSaid = around.app
            && !says_app(node)
        {
            let known: Vec<String> = around.config.apps.keys().map(ToString::to_string).collect();
            walk.report(key.spot, of_config::app_needed(&known));
            // Once for a file is enough.
            around.app = RuleApp::Unknown;
        }
        if let Some(entry) = rule_entry::read(key, node, around, walk) {
            let Entry { rule, enabled, when, to, on_doubt, asked } = entry;
            if enabled {
                let rule = Arc::new(rule);
                gathered.set.rules.insert(rule.id.clone(), Arc::clone(&rule));
                gathered.placed.push(Placed {
                    rule,
                    file: gathered.file,
                    key: key.spot,
                    when,
                    to,
                    on_doubt,
                    asked,
                });
            } else {
                gathered.set.disabled.push(rule.id);
            }
        }
    }
}

fn says_app(rule: &Node) -> bool {
    match &rule.value {
        Value::Map(entries) => entries.iter().any(|(key, _)| &*key.text == "app"),
        Value::List(_) | Value::Text(_) | Value::Nothing | Value::Broken => true,
    }
}

fn only_app(config: &Config, trust: Trust) -> RuleApp<'_> {
    let mut apps = config.apps.values();
    match (trust, apps.next(), apps.next()) {
        (Trust::Whole, Some(only), None) => RuleApp::Known(only),
        (Trust::Whole, _, _) => RuleApp::NotSaid,
        (Trust::Partial, _, _) => RuleApp::Unknown,
    }
}

/// The app that a file or a rule names.
pub(super) fn named_app<'c>(
    node: &Node,
    config: &'c Config,
    trust: Trust,
    walk: &mut Walk<'_>,
) -> RuleApp<'c> {
    let Some(text) = walk.text(node, Wanted { of: Thing::Key("app"), example: "app: clinic" }) else {
        return RuleApp::Unknown;
    };
    let app: Option<&App> = AppName::parse(text).ok().and_then(|name| config.apps.get(&name));
    match (app, trust) {
        (Some(app), _) => RuleApp::Known(app),
        (None, Trust::Whole) => {
            let known: Vec<String> = config.apps.keys().map(ToString::to_string).collect();
            walk.report(node.spot, unknown_app(text, &known));
            RuleApp::Unknown
        }
        (None, Trust::Partial) => RuleApp::Unknown,
    }
}

/// Whose clock the civil times of rules are read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RuleZone {
    /// This one's,
    pub(super) zone: Zone,
    /// or each recipient's own, where he has one.
    pub(super) own_time: bool,
}

/// The zone that a file or a rule names; `default` where it is the recipients' and somebody has none.
pub(super) fn zone(node: &Node, default: Zone, walk: &mut Walk<'_>) -> Option<RuleZone> {
    let text = walk.text(node, Wanted { of: Thing::Key("timezone"), example: "timezone: Asia/Shanghai" })?;
    if text == RECIPIENT {
        return Some(RuleZone { zone: default, own_time: true });
    }
    match values::zone(text) {
        Ok(zone) => Some(RuleZone { zone, own_time: false }),
        Err(meant) => {
            walk.report(node.spot, rule::unknown_zone(text, meant.as_deref()));
            None
        }
    }
}
