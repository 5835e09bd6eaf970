//! One entry under `rules`: what is sent, when, to whom.
//!
//! A mistake in one part does not hide those of the others: texts are compiled also when the template or
//! the due times are wrong. Whether a rule makes sense over files is decided in `schedule_file`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::audience_entry;
use super::calendars::Calendars;
use super::names::nearest;
use super::problem::rule;
use super::problem::shape::{self, Thing};
use super::quiet_entry;
use super::relative_entry::IF_LATE;
use super::rule_texts;
use super::schedule_file::{RuleZone, Trust, named_app, zone};
use super::schedule_keys;
use super::source::Spot;
use super::values;
use super::walk::{Map, Walk, Wanted};
use super::when_entry;
use super::yaml::{Key, Node};
use crate::domain::config::{App, Config};
use crate::domain::id::{AppName, FieldName, RuleId, TemplateId, TemplateName};
use crate::domain::language::{Phrase, Said};
use crate::domain::rule::{
    Canary, DEFAULT_GRACE, DEFAULT_MAX, MAX_PRIORITY, MIN_GRACE, MissedPolicy, OnDoubt, Overflow, Rule,
};
use crate::domain::template::{FieldKey, Template, TemplateKind};
use crate::domain::when::Form;

/// The most occurrences that `missed: all` may send at once.
pub(super) const MAX_MAX: u32 = 100;
/// The most texts of one rule; a template has 5 today.
pub(super) const MAX_FIELDS: usize = 64;
/// The longest text of a value or a page, in characters.
pub(super) const MAX_TEXT: usize = 4096;

/// What becomes of missed occurrences; how many `all` sends is said in `max`.
pub(super) const MISSED: [(&str, MissedPolicy); 3] = [
    ("latest", MissedPolicy::Latest),
    ("all", MissedPolicy::All { max: DEFAULT_MAX }),
    ("skip", MissedPolicy::Skip),
];
/// What becomes of messages without an answer.
pub(super) const ON_DOUBT: [(&str, OnDoubt); 2] = [("hold", OnDoubt::Hold), ("resend", OnDoubt::Resend)];
/// What becomes of values that are too long.
pub(super) const OVERFLOW: [(&str, Overflow); 2] = [("fail", Overflow::Fail), ("cut", Overflow::Cut)];

/// What a rule takes from its file and from the configuration.
pub(super) struct Surroundings<'c> {
    pub(super) config: &'c Config,
    pub(super) trust: Trust,
    pub(super) app: RuleApp<'c>,
    pub(super) zone: RuleZone,
    pub(super) calendars: &'c Calendars,
}

/// The app of a rule.
#[derive(Clone, Copy)]
pub(super) enum RuleApp<'c> {
    /// This one.
    Known(&'c App),
    /// Nothing says which of several.
    NotSaid,
    /// A mistake that was reported.
    Unknown,
}

/// A rule without mistakes.
pub(super) struct Entry {
    pub(super) rule: Rule,
    pub(super) enabled: bool,
    /// Where `when` stands.
    pub(super) when: Spot,
    /// Where `to` stands.
    pub(super) to: Option<Spot>,
    /// Where `on_doubt` stands.
    pub(super) on_doubt: Option<Spot>,
    /// Fields of the recipient that it looks at, and where.
    pub(super) asked: Vec<(FieldName, Spot)>,
}

/// Reads one rule; `None` when it has a mistake that keeps it from being made.
pub(super) fn read(key: &Key, node: &Node, around: &Surroundings<'_>, walk: &mut Walk<'_>) -> Option<Entry> {
    let id = walk.name(&key.text, key.spot, RuleId::parse);
    let of = Thing::Rule(&key.text);
    let example = "drink-water: { template: habit, when: { cron: \"0 10 * * *\" }, data: … }";
    let map = walk.map(node, Wanted { of, example }, &schedule_keys::RULE)?;
    let app = match map.get("app") {
        Some(node) => named_app(node, around.config, around.trust, walk),
        None => around.app,
    };
    let own = map.get("timezone").and_then(|node| zone(node, around.config.zone, walk));
    let RuleZone { zone, own_time } = own.unwrap_or(around.zone);
    let template = template(map, key, app, around.trust, walk);
    let mut when = map.get("when").and_then(|node| when_entry::read(node, zone, around.calendars, walk));
    if let Some((key, node)) = map.entry("if_late") {
        let late = walk.one_of(node, "if_late", &IF_LATE).unwrap_or_default();
        match when.as_mut().map(|when| &mut when.form) {
            Some(Form::Relative(relative)) => relative.late = late,
            Some(Form::Cron(_) | Form::At(_) | Form::Every(_)) => {
                let why = Phrase::new("it belongs to rules of appointments", "它只用于预约的规则");
                walk.report(key.spot, shape::no_effect("if_late", why));
            }
            None => {}
        }
    }
    if map.get("when").is_none() {
        walk.missing(key.spot, "when", of, "when: { cron: \"0 10 * * MON-FRI\" }");
    }
    let data = data(map, key, template, walk);
    let page = map.get("page").and_then(|node| {
        let wanted = Wanted { of: Thing::Key("page"), example: "page: \"pages/index/index\"" };
        walk.text(node, wanted).map(str::to_owned)
    });
    let (audience, condition) =
        map.get("to").map_or_else(Default::default, |node| audience_entry::read(node, walk));
    let grace = map.get("grace").and_then(|node| grace(node, walk)).unwrap_or(DEFAULT_GRACE);
    let spread = map.get("spread").and_then(|node| spread(node, walk)).unwrap_or_default();
    let quiet = map.get("quiet").and_then(|node| quiet_entry::read(node, walk));
    let enabled = map.get("enabled").and_then(|node| walk.switch(node, "enabled")).unwrap_or(true);
    let canary = map.get("canary").and_then(|node| walk.switch(node, "canary"));
    let canary = canary.map_or(Canary::Automatic, |on| if on { Canary::Always } else { Canary::Never });
    let priority = map.get("priority").and_then(|node| walk.whole(node, "priority", 0..=MAX_PRIORITY));
    let on_doubt = map.get("on_doubt").and_then(|node| walk.one_of(node, "on_doubt", &ON_DOUBT));
    let missed = missed(map, walk);
    let overflow = map.get("overflow").map_or_else(BTreeMap::new, |node| overflow(node, &data, walk));

    let n_errors = walk.found.n_errors();
    let rule = Rule {
        id: id.clone().unwrap_or_else(placeholder::rule_id),
        app: match app {
            RuleApp::Known(app) => app.name.clone(),
            RuleApp::NotSaid | RuleApp::Unknown => placeholder::app_name(),
        },
        template: template.cloned().unwrap_or_else(placeholder::template),
        zone,
        own_time,
        when: when.clone().unwrap_or_else(|| placeholder::when(map.get("when"))),
        audience,
        data,
        page,
        grace,
        spread,
        quiet,
        missed,
        overflow,
        canary,
        priority: priority.unwrap_or_default(),
        on_doubt: on_doubt.unwrap_or_default(),
    };
    let asked = rule_texts::check(&rule, map, condition, walk);
    let whole = template.is_some() && when.is_some() && id.is_some() && walk.found.n_errors() == n_errors;
    let spot = |key: &str| map.get(key).map(|node| node.spot);
    whole.then(|| Entry {
        rule,
        enabled,
        when: spot("when").unwrap_or(key.spot),
        to: spot("to"),
        on_doubt: spot("on_doubt"),
        asked,
    })
}

/// Stand-ins for parts with a mistake, so that the texts can be checked all the same. No rule keeps them.
mod placeholder {
    use super::super::yaml::Value;
    use super::{AppName, Form, Node, RuleId, Template, TemplateId, TemplateKind, TemplateName};
    use crate::domain::id::Kind;
    use crate::domain::when::{IfLate, Offset, Relative, When};

    const NAME: &str = "placeholder";

    pub(super) fn rule_id() -> RuleId {
        RuleId::parse(NAME).expect("the name is of the form")
    }

    pub(super) fn app_name() -> AppName {
        AppName::parse(NAME).expect("the name is of the form")
    }

    /// Of appointments where its keys say so, so that the texts may speak of them.
    pub(super) fn when(node: Option<&Node>) -> When {
        let of_appointments = match node.map(|node| &node.value) {
            Some(Value::Map(keys)) => {
                keys.iter().any(|(key, _)| matches!(&*key.text, "of" | "before" | "after" | "same_day"))
            }
            Some(Value::List(_) | Value::Text(_) | Value::Nothing | Value::Broken) | None => false,
        };
        if !of_appointments {
            return std::iter::empty().collect();
        }
        let of = Kind::parse(NAME).expect("the name is of the form");
        When::from(Form::Relative(Relative {
            of,
            offset: Offset::SameDay,
            time: None,
            late: IfLate::default(),
        }))
    }

    pub(super) fn template() -> Template {
        Template {
            name: TemplateName::parse(NAME).expect("the name is of the form"),
            id: TemplateId::parse(NAME).expect("the name is of the form"),
            kind: TemplateKind::OneTime,
            fields: None,
        }
    }
}

fn template<'c>(
    map: Map<'_>,
    key: &Key,
    app: RuleApp<'c>,
    trust: Trust,
    walk: &mut Walk<'_>,
) -> Option<&'c Template> {
    let Some(node) = map.get("template") else {
        walk.missing(key.spot, "template", Thing::Rule(&key.text), "template: habit");
        return None;
    };
    let text = walk.text(node, Wanted { of: Thing::Key("template"), example: "template: habit" })?;
    let RuleApp::Known(app) = app else { return None };
    let named = TemplateName::parse(text).ok().and_then(|name| app.templates.get(&name));
    if named.is_none() && trust == Trust::Whole {
        let by_id = app.templates.values().find(|template| template.id.as_str() == text);
        let known: Vec<String> = app.templates.keys().map(ToString::to_string).collect();
        let meant = nearest(text, known.iter().map(String::as_str));
        let problem = match by_id {
            Some(template) => rule::template_by_id(template.name.as_str()),
            None => rule::unknown_template(text, app.name.as_str(), &known, meant),
        };
        walk.report(node.spot, problem);
    }
    named
}

fn data(
    map: Map<'_>,
    key: &Key,
    template: Option<&Template>,
    walk: &mut Walk<'_>,
) -> BTreeMap<FieldKey, String> {
    let wanted = Wanted { of: Thing::Key("data"), example: "data: { thing1: \"喝水时间到\" }" };
    let mut data = BTreeMap::new();
    let Some((data_key, node)) = map.entry("data") else {
        walk.missing(key.spot, "data", Thing::Rule(&key.text), "data: { thing1: \"喝水时间到\" }");
        return data;
    };
    let Some(texts) = walk.names(node, wanted) else { return data };
    if texts.entries().len() > MAX_FIELDS {
        walk.report(node.spot, shape::too_many(wanted.of, MAX_FIELDS));
        return data;
    }
    let fields = template.and_then(|template| Some((template.name.as_str(), template.fields.as_ref()?)));
    // Fields that another key was probably meant to be; nobody misses them.
    let mut meant_ones: Vec<String> = Vec::new();
    for (key, node) in texts.entries() {
        let of = Thing::Text(&key.text);
        let text = walk.text(node, Wanted { of, example: "thing1: \"喝水时间到\"" });
        let Some(field) = walk.name(&key.text, key.spot, FieldKey::parse) else {
            // `thing1.DATA`, `{{thing1.DATA}}`, `Thing1`
            let plain: String = key.text.to_ascii_lowercase().replace(['{', '}', ' '], "");
            meant_ones.push(plain.trim_end_matches(".data").to_owned());
            continue;
        };
        if let Some((template, fields)) = fields.filter(|(_, fields)| !fields.contains(&field)) {
            let fields: Vec<String> = fields.iter().map(|field| field.as_str().to_owned()).collect();
            let meant = nearest(&key.text, fields.iter().map(String::as_str));
            walk.report(key.spot, rule::unknown_field(&key.text, template, &fields, meant));
            meant_ones.extend(meant.map(str::to_owned));
        }
        if let Some(text) = text.filter(|text| is_short(text, of, node, walk)) {
            data.insert(field, text.to_owned());
        }
    }
    for (template, field) in
        fields.into_iter().flat_map(|(name, fields)| fields.iter().map(move |f| (name, f)))
    {
        if texts.get(field.as_str()).is_none() && meant_ones.iter().all(|meant| meant != field.as_str()) {
            walk.report(data_key.spot, rule::missing_field(field.as_str(), template));
        }
    }
    if texts.entries().is_empty() && fields.is_none() {
        walk.report(node.spot, shape::empty_list(Thing::Key("data")));
    }
    data
}

fn is_short(text: &str, of: Thing<'_>, node: &Node, walk: &mut Walk<'_>) -> bool {
    let short = text.chars().count() <= MAX_TEXT;
    if !short {
        let allowed = Said::new(
            format!("texts of at most {MAX_TEXT} characters"),
            format!("最多 {MAX_TEXT} 个字符的文本"),
        );
        walk.report(node.spot, shape::bad_value(of, text, &allowed, None));
    }
    short
}

fn grace(node: &Node, walk: &mut Walk<'_>) -> Option<Duration> {
    let text = walk.text(node, Wanted { of: Thing::Key("grace"), example: "grace: 30m" })?;
    let problem = match values::duration(text) {
        Ok(grace) if grace >= MIN_GRACE => return Some(grace),
        Ok(_) => rule::grace_too_short(text),
        Err(why) => rule::bad_duration(Thing::Key("grace"), text, why),
    };
    walk.report(node.spot, problem);
    None
}

fn spread(node: &Node, walk: &mut Walk<'_>) -> Option<Duration> {
    let text = walk.text(node, Wanted { of: Thing::Key("spread"), example: "spread: 10m" })?;
    let spread = values::duration_or_none(text);
    spread.map_err(|why| walk.report(node.spot, rule::bad_duration(Thing::Key("spread"), text, why))).ok()
}

fn missed(map: Map<'_>, walk: &mut Walk<'_>) -> MissedPolicy {
    let max = map.get("max").and_then(|node| walk.whole(node, "max", 1..=MAX_MAX));
    let missed = map.get("missed").and_then(|node| walk.one_of(node, "missed", &MISSED));
    let missed = missed.unwrap_or(MissedPolicy::Latest);
    if let (Some((key, _)), MissedPolicy::Latest | MissedPolicy::Skip) = (map.entry("max"), missed) {
        let why = Phrase::new("it counts only with `missed: all`", "只有写了 `missed: all` 才有用");
        walk.report(key.spot, shape::no_effect("max", why));
    }
    match (missed, max) {
        (MissedPolicy::All { .. }, Some(max)) => MissedPolicy::All { max },
        (MissedPolicy::Latest | MissedPolicy::All { .. } | MissedPolicy::Skip, _) => missed,
    }
}

fn overflow(
    node: &Node,
    data: &BTreeMap<FieldKey, String>,
    walk: &mut Walk<'_>,
) -> BTreeMap<FieldKey, Overflow> {
    let wanted = Wanted { of: Thing::Key("overflow"), example: "overflow: { thing1: fail }" };
    let mut overflow = BTreeMap::new();
    let Some(map) = walk.names(node, wanted) else { return overflow };
    if map.entries().len() > MAX_FIELDS {
        walk.report(node.spot, shape::too_many(wanted.of, MAX_FIELDS));
        return overflow;
    }
    for (key, node) in map.entries() {
        let choice = walk.one_of(node, &key.text, &OVERFLOW);
        let Some(field) = walk.name(&key.text, key.spot, FieldKey::parse) else { continue };
        if !data.contains_key(&field) {
            let fields: Vec<String> = data.keys().map(|field| field.as_str().to_owned()).collect();
            let meant = nearest(&key.text, fields.iter().map(String::as_str));
            let allowed = Said::new(
                format!("the keys of `data` ({})", fields.join(", ")),
                format!("`data` 里的字段（{}）", fields.join("、")),
            );
            walk.report(key.spot, shape::bad_value(wanted.of, &key.text, &allowed, meant));
        }
        if let Some(choice) = choice {
            overflow.insert(field, choice);
        }
    }
    overflow
}
