//! One entry under `apps` of `tixing.yaml`: a mini program with its limits and templates.

use std::collections::BTreeMap;
use std::path::Path;

use super::config_file::secret;
use super::config_keys;
use super::problem::config;
use super::problem::shape::{self, Thing};
use super::pulled::{Account, Known, Pulled};
use super::source::Spot;
use super::values;
use super::walk::{Map, Walk, Wanted};
use super::yaml::{Key, Node, Value};
use crate::domain::config::{App, ConsentsFrom, DEFAULT_IN_FLIGHT, PLATFORM_URL, Push};
use crate::domain::id::{AppId, AppName, TemplateId, TemplateName};
use crate::domain::language::Phrase;
use crate::domain::template::{FieldKey, FieldType, Template, TemplateKind};

/// The most apps of one daemon, and templates of one app.
pub(super) const MAX_APPS: usize = 1000;
pub(super) const MAX_TEMPLATES: usize = 1000;
/// The most fields of one template; the platform's own have at most 5 today.
pub(super) const MAX_FIELDS: usize = 32;
/// The most requests in flight that may be asked for.
pub(super) const MAX_IN_FLIGHT: u32 = 1024;
/// The most requests in a second that may be asked for.
pub(super) const MAX_PER_SECOND: u32 = 100_000;

/// Which version of a mini program a tap opens; the first is the default.
pub(super) const STATES: [(&str, &str); 3] =
    [("formal", "formal"), ("trial", "trial"), ("developer", "developer")];
/// Languages of the platform; the first is the default.
pub(super) const LANGS: [(&str, &str); 4] =
    [("zh_CN", "zh_CN"), ("en_US", "en_US"), ("zh_HK", "zh_HK"), ("zh_TW", "zh_TW")];
/// Sources of acceptances; the first is the default.
pub(super) const SOURCES: [(&str, ConsentsFrom); 2] =
    [("reports", ConsentsFrom::Reports), ("events", ConsentsFrom::Events)];
/// Kinds of templates; the first is the default.
pub(super) const KINDS: [(&str, TemplateKind); 2] =
    [("one_time", TemplateKind::OneTime), ("long_term", TemplateKind::LongTerm)];

const EXAMPLE: &str =
    "clinic: { appid: wx0123456789abcdef, secret: { credential: clinic-secret }, templates: … }";

/// All apps of the configuration.
pub(super) fn read_all(
    top: Map<'_>,
    folder: &Path,
    pulled: &Pulled,
    walk: &mut Walk<'_>,
) -> BTreeMap<AppName, App> {
    let mut apps: BTreeMap<AppName, App> = BTreeMap::new();
    let Some(node) = top.get("apps") else {
        walk.missing(top.spot, "apps", Thing::Config, "apps:");
        return apps;
    };
    let Some(map) = walk.names(node, Wanted { of: Thing::Key("apps"), example: EXAMPLE }) else {
        return apps;
    };
    if map.entries().is_empty() {
        walk.report(node.spot, shape::empty_list(Thing::Key("apps")));
    }
    if map.entries().len() > MAX_APPS {
        walk.report(node.spot, shape::too_many(Thing::Key("apps"), MAX_APPS));
        return apps;
    }
    for (key, node) in map.entries() {
        if let Some(app) = read((key, node), folder, pulled, &apps, walk) {
            apps.insert(app.name.clone(), app);
        }
    }
    apps
}

fn read(
    (key, node): (&Key, &Node),
    folder: &Path,
    pulled: &Pulled,
    before: &BTreeMap<AppName, App>,
    walk: &mut Walk<'_>,
) -> Option<App> {
    let name = walk.name(&key.text, key.spot, AppName::parse);
    let of = Thing::App(&key.text);
    let map = walk.map(node, Wanted { of, example: EXAMPLE }, &config_keys::APP)?;
    let appid = match map.entry("appid") {
        None => {
            walk.missing(key.spot, "appid", of, "appid: wx0123456789abcdef");
            None
        }
        Some((_, node)) => {
            let wanted = Wanted { of: Thing::Key("appid"), example: "appid: wx0123456789abcdef" };
            let appid = walk.parsed(node, wanted, AppId::parse);
            if let Some(first) = appid.as_ref().and_then(|id| before.values().find(|app| app.appid == *id)) {
                walk.report(node.spot, config::duplicate_appid(first.name.as_str()));
            }
            appid
        }
    };
    let secret = secret(map, "secret", key.spot, of, folder, walk);
    let push = map.get("push").and_then(|node| push(node, folder, walk));
    let from = map.get("consents_from");
    let consents_from =
        from.and_then(|node| walk.one_of(node, "consents_from", &SOURCES)).unwrap_or_default();
    if let (Some(node), ConsentsFrom::Events) = (from, consents_from) {
        match map.get("push") {
            None => walk.report(node.spot, config::events_without_push()),
            Some(_) if push.as_ref().is_some_and(|push| push.aes_key.is_none()) => {
                walk.report(node.spot, config::events_without_aes_key());
            }
            Some(_) => walk.report(node.spot, config::events_may_miss()),
        }
    }
    let state = map.get("state").and_then(|node| walk.one_of(node, "state", &STATES)).unwrap_or("formal");
    let lang = map.get("lang").and_then(|node| walk.one_of(node, "lang", &LANGS)).unwrap_or("zh_CN");
    let limits = limits(map.get("limits"), walk);
    let base_url = map.get("base_url").and_then(|node| {
        let wanted = Wanted { of: Thing::Key("base_url"), example: "base_url: https://api.weixin.qq.com" };
        url(node, wanted, values::base_url, walk)
    });
    let proxy = map.get("proxy").and_then(|node| {
        let wanted = Wanted { of: Thing::Key("proxy"), example: "proxy: http://10.0.0.1:3128" };
        url(node, wanted, values::proxy, walk)
    });
    let templates = templates(map, key, pulled.account(appid.as_ref()), walk);
    Some(App {
        name: name?,
        appid: appid?,
        secret: secret?,
        state: state.to_owned(),
        lang: lang.to_owned(),
        in_flight: limits.in_flight,
        per_second: limits.per_second,
        quota_probe: limits.quota_probe,
        templates,
        base_url: base_url.unwrap_or_else(|| PLATFORM_URL.to_owned()),
        proxy,
        push,
        consents_from,
    })
}

fn push(node: &Node, folder: &Path, walk: &mut Walk<'_>) -> Option<Push> {
    let example =
        "push: { token: { credential: clinic-push-token }, aes_key: { credential: clinic-aes-key } }";
    let of = Thing::Key("push");
    let map = walk.map(node, Wanted { of, example }, &config_keys::PUSH)?;
    let token = secret(map, "token", node.spot, of, folder, walk);
    let plain = map.get("plain").and_then(|node| walk.switch(node, "plain")).unwrap_or(false);
    let aes_key = if map.get("aes_key").is_some() || !plain {
        Some(secret(map, "aes_key", node.spot, of, folder, walk)?)
    } else {
        None
    };
    Some(Push { token: token?, aes_key, plain })
}

/// How fast messages leave.
struct Limits {
    in_flight: usize,
    per_second: Option<u32>,
    quota_probe: bool,
}

fn limits(node: Option<&Node>, walk: &mut Walk<'_>) -> Limits {
    let wanted = Wanted { of: Thing::Key("limits"), example: "limits: { in_flight: 64 }" };
    let map = node.and_then(|node| walk.map(node, wanted, &config_keys::LIMITS)).unwrap_or_else(Map::empty);
    let in_flight = map.get("in_flight").and_then(|node| walk.whole(node, "in_flight", 1..=MAX_IN_FLIGHT));
    let per_second =
        map.get("per_second").and_then(|node| walk.whole(node, "per_second", 1..=MAX_PER_SECOND));
    let quota_probe = map.get("quota_probe").and_then(|node| walk.switch(node, "quota_probe"));
    Limits {
        in_flight: in_flight.and_then(|n| usize::try_from(n).ok()).unwrap_or(DEFAULT_IN_FLIGHT),
        per_second,
        quota_probe: quota_probe.unwrap_or(false),
    }
}

fn url(
    node: &Node,
    wanted: Wanted<'_>,
    parse: fn(&str) -> Result<String, Phrase>,
    walk: &mut Walk<'_>,
) -> Option<String> {
    let parsed = parse(walk.text(node, wanted)?);
    if let Err(why) = parsed {
        walk.report(node.spot, shape::bad_address(wanted.of, why, wanted.example));
    }
    parsed.ok()
}

fn templates(
    app: Map<'_>,
    key: &Key,
    account: Account<'_>,
    walk: &mut Walk<'_>,
) -> BTreeMap<TemplateName, Template> {
    let example = "templates: { visit: { id: TEMPLATE_ID, kind: one_time, fields: [thing1, time2] } }";
    let mut templates: BTreeMap<TemplateName, Template> = BTreeMap::new();
    let Some(node) = app.get("templates") else {
        walk.missing(key.spot, "templates", Thing::App(&key.text), example);
        return templates;
    };
    let wanted = Wanted { of: Thing::Key("templates"), example };
    let Some(map) = walk.names(node, wanted) else { return templates };
    if map.entries().len() > MAX_TEMPLATES {
        walk.report(node.spot, shape::too_many(Thing::Key("templates"), MAX_TEMPLATES));
        return templates;
    }
    for (key, node) in map.entries() {
        if let Some(template) = template(key, node, &templates, account, walk) {
            templates.insert(template.name.clone(), template);
        }
    }
    templates
}

fn template(
    key: &Key,
    node: &Node,
    before: &BTreeMap<TemplateName, Template>,
    account: Account<'_>,
    walk: &mut Walk<'_>,
) -> Option<Template> {
    let name = walk.name(&key.text, key.spot, TemplateName::parse);
    let of = Thing::Template(&key.text);
    let example = "visit: { id: TEMPLATE_ID, kind: one_time, fields: [thing1, time2] }";
    let map = walk.map(node, Wanted { of, example }, &config_keys::TEMPLATE)?;
    let id = match map.get("id") {
        None => {
            walk.missing(key.spot, "id", of, "id: VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc");
            None
        }
        Some(node) => {
            let wanted =
                Wanted { of: Thing::Key("id"), example: "id: VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc" };
            let id = walk.parsed(node, wanted, TemplateId::parse);
            if let Some(first) = id.as_ref().and_then(|id| before.values().find(|other| other.id == *id)) {
                walk.report(node.spot, config::duplicate_template_id(first.name.as_str()));
            }
            id
        }
    };
    let known = account.knows(id.as_ref());
    let id_at = map.get("id").map_or(key.spot, |node| node.spot);
    let is_card = known.is_service_card() || id.as_ref().is_some_and(TemplateId::is_service_card);
    if is_card {
        walk.report(id_at, config::service_card(known.title()));
    } else if let Known::Missing = known {
        walk.report(id_at, config::template_not_on_platform());
    }
    let kind = match map.get("kind") {
        None => Some(known.kind().unwrap_or(TemplateKind::OneTime)),
        Some(node) => {
            walk.one_of(node, "kind", &KINDS).inspect(|kind| known.compare_kind(*kind, node.spot, walk))
        }
    };
    let fields = match map.get("fields") {
        None => {
            let fields = known.fields();
            if fields.is_none() && !is_card {
                walk.report(key.spot, config::unchecked_template(&key.text));
            }
            fields
        }
        Some(node) => fields(node, if is_card { Known::Nothing } else { known }, walk),
    };
    Some(Template { name: name?, id: id?, kind: kind?, fields })
}

/// The fields of a template; `None` when they cannot be relied on, then nothing is checked against them.
fn fields(node: &Node, known: Known<'_>, walk: &mut Walk<'_>) -> Option<Vec<FieldKey>> {
    let wanted = Wanted { of: Thing::Key("fields"), example: "fields: [thing1, time2]" };
    let fields = walk.parsed_list(node, wanted, MAX_FIELDS, FieldKey::parse);
    let Value::List(list) = &node.value else { return None };
    if list.is_empty() {
        walk.report(node.spot, shape::empty_list(wanted.of));
    }
    for (item, text) in list.iter().filter_map(|item| Some((item, item.as_text()?))) {
        if FieldKey::parse(text).is_ok_and(|key| key.kind() == FieldType::Other) {
            walk.report(item.spot, config::unknown_field_type(text));
        }
    }
    let whole = fields.len() == list.len() && !list.is_empty();
    if whole {
        let listed: Vec<(FieldKey, Spot)> =
            fields.iter().cloned().zip(list.iter().map(|item| item.spot)).collect();
        known.compare_fields(&listed, node.spot, walk);
    }
    whole.then_some(fields)
}
