//! What the platform said of the templates: a file beside `tixing.yaml` that one command writes and all read.
//!
//! It is there so that texts can be checked without network and secret, and it can be kept under version control.
//! The configuration stays the truth about names: what is pulled only fills in what that leaves open, and
//! is held against what it says. Nothing here asks the platform.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::diagnostic::Findings;
use super::names::nearest;
use super::problem::config::{self, Heard};
use super::problem::shape::Thing;
use super::source::Spot;
use super::walk::{Map, Walk, Wanted};
use super::yaml::{Key, Node};
use super::{PULLED, read_source, yaml};
use crate::domain::id::{AppId, TemplateId};
use crate::domain::template::{Described, DescribedField, FieldKey, TemplateKind};

const TOP: &[&str] = &["templates"];
const TEMPLATE: &[&str] = &["app", "kind", "title", "fields"];
const EXAMPLE: &str =
    "ID: { app: wx0123456789abcdef, kind: one_time, title: \"…\", fields: { thing1: \"…\" } }";
const HEAD: &str = "\
# What WeChat says of the templates: written by `tixing templates pull`, read by `tixing check` and the daemon.
# Keep it beside tixing.yaml; pull again instead of editing it.
# 由 `tixing templates pull` 写成，`tixing check` 和守护进程会读它。和 tixing.yaml 放在一起；不要手改，重新拉取即可。
";

/// The templates of apps, as the platform described them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pulled {
    templates: BTreeMap<TemplateId, (AppId, Described)>,
    /// Apps that the platform was asked about just now: what is not here does not exist there.
    asked: BTreeSet<AppId>,
}

impl Pulled {
    /// Where it is kept for the configuration at `config`.
    #[must_use]
    pub fn path(config: &Path) -> PathBuf {
        config.with_file_name(PULLED)
    }

    /// What was pulled before; nothing where there is no such file, or one that cannot be read.
    #[must_use]
    pub fn load(config: &Path) -> Self {
        read_beside(config, &mut Findings::default()).map(|(pulled, _)| pulled).unwrap_or_default()
    }

    /// Takes over all that the platform just said of `app`, in place of what it said before.
    pub fn put(&mut self, app: &AppId, templates: Vec<Described>) {
        self.templates.retain(|_, (owner, _)| owner != app);
        self.templates.extend(templates.into_iter().map(|one| (one.id.clone(), (app.clone(), one))));
        self.asked.insert(app.clone());
    }

    /// The text of the file, the same for the same templates.
    #[must_use]
    pub fn text(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = HEAD.to_owned();
        text.push_str(if self.templates.is_empty() { "templates: {}\n" } else { "templates:\n" });
        for (id, (app, template)) in &self.templates {
            let fields: Vec<String> = template
                .fields
                .iter()
                .map(|field| format!("{}: {}", field.key.as_str(), quoted(&field.label)))
                .collect();
            let (kind, title, fields) = (template.kind.as_str(), quoted(&template.title), fields.join(", "));
            // An id may begin with `-` or be all digits: quoted, it is a text in any case.
            let _infallible = writeln!(
                text,
                "  \"{id}\": {{ app: {app}, kind: {kind}, title: {title}, fields: {{ {fields} }} }}"
            );
        }
        text
    }

    /// What it says of one app.
    pub(super) fn account<'a>(&'a self, app: Option<&'a AppId>) -> Account<'a> {
        Account { pulled: self, app }
    }
}

/// What is known of the templates of one app; of none, when it has no good appid.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pulled: &'a Pulled,
    app: Option<&'a AppId>,
}

impl<'a> Account<'a> {
    /// What is known of one template, and how lately it was said.
    pub(super) fn knows(self, id: Option<&TemplateId>) -> Known<'a> {
        let Some((app, id)) = self.app.zip(id) else { return Known::Nothing };
        let heard = if self.pulled.asked.contains(app) { Heard::Now } else { Heard::Before };
        let found = self.pulled.templates.get(id).filter(|(owner, _)| owner == app);
        match (found, heard) {
            (Some((_, template)), heard) => Known::Described(template, heard),
            (None, Heard::Now) => Known::Missing,
            (None, Heard::Before) => Known::Nothing,
        }
    }
}

/// What is known of one template of the configuration.
#[derive(Clone, Copy)]
pub(super) enum Known<'a> {
    /// The platform described it.
    Described(&'a Described, Heard),
    /// The platform has no such template.
    Missing,
    /// Nobody asked.
    Nothing,
}

impl<'a> Known<'a> {
    fn described(self) -> Option<(&'a Described, Heard)> {
        match self {
            Self::Described(template, heard) => Some((template, heard)),
            Self::Missing | Self::Nothing => None,
        }
    }

    /// Whether it is of the kind that cannot be used.
    pub(super) fn is_service_card(self) -> bool {
        self.described().is_some_and(|(template, _)| template.is_service_card())
    }

    /// Its title, where it has one.
    pub(super) fn title(self) -> Option<&'a str> {
        self.described().map(|(template, _)| template.title.as_str()).filter(|title| !title.is_empty())
    }

    /// Its kind.
    pub(super) fn kind(self) -> Option<TemplateKind> {
        self.described().map(|(template, _)| template.kind)
    }

    /// Its fields, where it has some.
    pub(super) fn fields(self) -> Option<Vec<FieldKey>> {
        let (template, _) = self.described()?;
        let fields: Vec<FieldKey> = template.fields.iter().map(|field| field.key.clone()).collect();
        (!fields.is_empty()).then_some(fields)
    }

    /// Holds a kind that the configuration states against it.
    pub(super) fn compare_kind(self, kind: TemplateKind, spot: Spot, walk: &mut Walk<'_>) {
        if let Some((template, heard)) = self.described().filter(|(template, _)| template.kind != kind) {
            walk.report(spot, config::template_kind_differs(template.kind.as_str(), heard));
        }
    }

    /// Holds the fields that the configuration lists against it: `listed` with their places.
    pub(super) fn compare_fields(self, listed: &[(FieldKey, Spot)], spot: Spot, walk: &mut Walk<'_>) {
        let Some((template, heard)) = self.described() else { return };
        let there: Vec<&FieldKey> = template.fields.iter().map(|field| &field.key).collect();
        let added: Vec<&str> = there
            .iter()
            .filter(|key| listed.iter().all(|(own, _)| own != **key))
            .map(|key| key.as_str())
            .collect();
        let mut renamed = BTreeSet::new();
        let mut same = added.is_empty();
        for (key, spot) in listed.iter().filter(|(key, _)| !there.contains(&key)) {
            same = false;
            let meant = nearest(key.as_str(), added.iter().copied());
            renamed.extend(meant);
            walk.report(*spot, config::template_field_missing(key.as_str(), &added, meant, heard));
        }
        let added: Vec<&str> = added.into_iter().filter(|key| !renamed.contains(key)).collect();
        if !added.is_empty() {
            walk.report(spot, config::template_field_added(&added, heard));
        }
        if same && listed.iter().map(|(key, _)| key).ne(there) {
            let order: Vec<&str> = template.fields.iter().map(|field| field.key.as_str()).collect();
            walk.report(spot, config::template_fields_order(&order));
        }
    }
}

/// Reads the file beside the configuration at `config`; what was pulled, and the text. `None` when there is none.
pub(super) fn read_beside(config: &Path, found: &mut Findings) -> Option<(Pulled, String)> {
    let path = Pulled::path(config);
    if !path.exists() {
        return None;
    }
    let source = read_source(&path, &path.display().to_string(), found)?;
    let root = yaml::parse(&source, found);
    let pulled = root.map(|root| read(&root, &mut Walk { source: &source, found })).unwrap_or_default();
    Some((pulled, source.into_text()))
}

fn read(root: &Node, walk: &mut Walk<'_>) -> Pulled {
    let mut pulled = Pulled::default();
    let of = Thing::Key("templates");
    let Some(top) = walk.map_of(root, Wanted { of, example: "templates:" }, TOP) else { return pulled };
    let templates = top.get("templates").and_then(|node| walk.names(node, Wanted { of, example: EXAMPLE }));
    for (key, node) in templates.unwrap_or_else(Map::empty).entries() {
        if let Some((app, template)) = template(key, node, walk) {
            pulled.templates.insert(template.id.clone(), (app, template));
        }
    }
    pulled
}

fn template(key: &Key, node: &Node, walk: &mut Walk<'_>) -> Option<(AppId, Described)> {
    let of = Thing::Template(&key.text);
    let id = walk.name(&key.text, key.spot, TemplateId::parse);
    let map = walk.map_of(node, Wanted { of, example: EXAMPLE }, TEMPLATE)?;
    let needed = |name: &'static str, walk: &mut Walk<'_>| {
        let node = map.get(name);
        if node.is_none() {
            walk.missing(key.spot, name, of, EXAMPLE);
        }
        node
    };
    let wanted = |name| Wanted { of: Thing::Key(name), example: EXAMPLE };
    let app = needed("app", walk).and_then(|node| walk.parsed(node, wanted("app"), AppId::parse));
    let kinds = [("one_time", TemplateKind::OneTime), ("long_term", TemplateKind::LongTerm)];
    let kind = needed("kind", walk).and_then(|node| walk.one_of(node, "kind", &kinds));
    let title = map.get("title").and_then(|node| walk.text(node, wanted("title"))).unwrap_or_default();
    let fields = needed("fields", walk).and_then(|node| walk.names(node, wanted("fields")))?;
    let fields = fields.entries().iter().filter_map(|(key, node)| {
        let label = walk.text(node, wanted("fields"))?.to_owned();
        Some(DescribedField {
            key: walk.name(&key.text, key.spot, FieldKey::parse)?,
            label,
            values: Vec::new(),
        })
    });
    let fields = fields.collect();
    Some((app?, Described { id: id?, title: title.to_owned(), kind: kind?, fields }))
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{rule_text, write};
    use super::super::{Beside, check, check_with, load_config};
    use super::*;

    /// A code and its place.
    type Found = (&'static str, u32, u32);

    const HABIT: &str =
        "apps:\n  clinic:\n    appid: wx0123456789abcdef\n    secret: { env: S }\n    templates:\n";

    fn described(id: &str, kind: TemplateKind, fields: &[&str]) -> Described {
        let field = |key: &&str| DescribedField {
            key: FieldKey::parse(key).expect("a field"),
            label: format!("的\"{key}\\"),
            values: Vec::new(),
        };
        let title = "“喝水”: {提醒}, #1".to_owned();
        let id = TemplateId::parse(id).expect("an id");
        Described { id, title, kind, fields: fields.iter().map(field).collect() }
    }

    fn app() -> AppId {
        AppId::parse("wx0123456789abcdef").expect("an appid")
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("tixing.yaml");
        assert_eq!(Pulled::load(&config), Pulled::default());
        let mut pulled = Pulled::default();
        pulled.put(
            &app(),
            vec![
                described("-A_b", TemplateKind::OneTime, &["thing1", "time2"]),
                described("0123", TemplateKind::LongTerm, &[]),
            ],
        );
        let other = AppId::parse("wxother").expect("an appid");
        pulled.put(&other, vec![described("other", TemplateKind::OneTime, &["thing1"])]);
        write(folder.path(), &[(PULLED, pulled.text().as_bytes())]);
        let mut again = Pulled::load(&config);
        assert_eq!(again.templates, pulled.templates);
        assert_eq!(again.text(), pulled.text());
        again.put(&app(), Vec::new());
        assert_eq!(again.templates.len(), 1, "the other app's stay");
        write(folder.path(), &[(PULLED, Pulled::default().text().as_bytes())]);
        assert_eq!(Pulled::load(&config), Pulled::default());
    }

    #[test]
    fn what_was_pulled_fills_in_what_is_left_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("tixing.yaml");
        let text = format!("{HABIT}      habit: {{ id: HABIT }}\n");
        let good = rule_text("one");
        write(folder.path(), &[("tixing.yaml", text.as_bytes()), ("schedules/a.yaml", good.as_bytes())]);
        let codes = || -> Vec<&str> { check(&config).diagnostics.0.iter().map(|found| found.code).collect() };
        assert_eq!(codes(), ["unchecked_template"]);
        let mut pulled = Pulled::default();
        pulled.put(&app(), vec![described("HABIT", TemplateKind::LongTerm, &["thing1", "time2"])]);
        write(folder.path(), &[(PULLED, pulled.text().as_bytes())]);
        assert_eq!(codes(), [""; 0]);
        let loaded = load_config(&config).expect("good").value;
        let template =
            loaded.apps.values().next().and_then(|app| app.templates.values().next()).expect("one");
        let fields = template.fields.as_ref().map(Vec::len);
        assert_eq!((template.kind, fields), (TemplateKind::LongTerm, Some(2)), "kind and fields");
        pulled.put(&app(), vec![described("HABIT", TemplateKind::LongTerm, &["thing1", "time3"])]);
        write(folder.path(), &[(PULLED, pulled.text().as_bytes())]);
        assert_eq!(codes(), ["unknown_field"], "and texts are held against them");
        write(folder.path(), &[(PULLED, b"templates: { HABIT: { app: x, fields: [thing1] } }\n")]);
        assert_eq!(
            codes(),
            ["missing_key", "bad_name", "wrong_shape", "unchecked_template"],
            "its own mistakes are told"
        );
    }

    #[test]
    fn the_configuration_is_held_against_the_platform() {
        // What the configuration says of the template, and what is found when it was asked just now, or before.
        let table: [(&str, &[Found]); 12] = [
            ("id: HABIT, kind: one_time, fields: [thing1, time2]", &[]),
            ("id: HABIT", &[]),
            ("id: NONE, fields: [thing1, time2]", &[("template_not_on_platform", 6, 20)]),
            ("id: OTHER, fields: [thing1, time2]", &[("template_not_on_platform", 6, 20)]),
            ("id: HABIT, kind: long_term", &[("template_kind_differs", 6, 33)]),
            ("id: HABIT, fields: [thing1]", &[("template_field_added", 6, 35)]),
            ("id: HABIT, fields: [thing1, time2, date3]", &[("template_field_missing", 6, 51)]),
            ("id: HABIT, fields: [thing1, time3]", &[("template_field_missing", 6, 44)]),
            (
                "id: HABIT, fields: [thing1, amount9]",
                &[("template_field_added", 6, 35), ("template_field_missing", 6, 44)],
            ),
            ("id: HABIT, fields: [time2, thing1]", &[("template_fields_order", 6, 35)]),
            ("id: CARD", &[("service_card", 6, 20)]),
            ("id: CARD, fields: [thing1, time2]", &[("service_card", 6, 20)]),
        ];
        let mut pulled = Pulled::default();
        let habit = described("HABIT", TemplateKind::OneTime, &["thing1", "time2"]);
        pulled.put(&app(), vec![habit, described("CARD", TemplateKind::OneTime, &[])]);
        let other = AppId::parse("wxother").expect("an appid");
        pulled.put(&other, vec![described("OTHER", TemplateKind::OneTime, &["thing1", "time2"])]);
        for (says, wanted) in table {
            let folder = tempfile::tempdir().expect("a folder");
            let config = folder.path().join("tixing.yaml");
            let text = format!("{HABIT}      habit: {{ {says} }}\n");
            write(folder.path(), &[("tixing.yaml", text.as_bytes()), ("schedules/a.yaml", b"rules: {}\n")]);
            let find = |beside: Beside<'_>| -> Vec<(bool, &str, u32, u32)> {
                let found = check_with(&config, beside).diagnostics.0;
                let found = found
                    .into_iter()
                    .filter(|one| one.code.starts_with("template_") || one.code == "service_card");
                found.map(|one| (one.severity.as_str() == "error", one.code, one.line, one.column)).collect()
            };
            let now: Vec<_> = wanted
                .iter()
                .map(|(code, line, column)| (*code != "template_fields_order", *code, *line, *column))
                .collect();
            assert_eq!(find(Beside { platform: Some(&pulled), ..Beside::default() }), now, "{says}");
            write(folder.path(), &[(PULLED, pulled.text().as_bytes())]);
            let before: Vec<_> = now
                .into_iter()
                .filter(|(_, code, _, _)| *code != "template_not_on_platform")
                .map(|(_, code, line, column)| (code == "service_card", code, line, column))
                .collect();
            assert_eq!(find(Beside::default()), before, "{says}: what was pulled only warns");
        }
    }
}
