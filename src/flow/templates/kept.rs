//! How what was heard of templates is kept: in a few small values, by their ids, since one value of the store is small.
//!
//! What does not fit is forgotten by a restart, and asked for again.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::Known;
use crate::domain::id::{AppId, TemplateId};
use crate::domain::template::{Described, DescribedField, FieldKey, TemplateKind};
use crate::plan::templates::{Account, Seen};
use crate::store::{Store, Unavailable};

/// Under this name the store keeps when each app was told its templates.
const TOLD: &str = "templates-told";
/// Under these names it keeps what was heard of templates, by their ids.
const NAMES: [&str; 16] = [
    "templates-00",
    "templates-01",
    "templates-02",
    "templates-03",
    "templates-04",
    "templates-05",
    "templates-06",
    "templates-07",
    "templates-08",
    "templates-09",
    "templates-10",
    "templates-11",
    "templates-12",
    "templates-13",
    "templates-14",
    "templates-15",
];
/// The largest value that the store keeps under a name, in bytes.
const MAX_BYTES: usize = 3 * 1024;

#[derive(Serialize, Deserialize)]
struct Told {
    app: String,
    told_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct Template {
    app: String,
    id: String,
    seen: Word,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    long_term: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Listed,
    Missed,
    Gone,
    Odd,
}

#[derive(Serialize, Deserialize)]
struct Field {
    key: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

impl Template {
    fn of(app: &AppId, id: &TemplateId, seen: &Seen) -> Self {
        let (seen, described) = match seen {
            Seen::Listed(described) => (Word::Listed, Some(described)),
            Seen::Missed(described) => (Word::Missed, Some(described)),
            Seen::Gone => (Word::Gone, None),
            Seen::Odd => (Word::Odd, None),
        };
        let field = |field: &DescribedField| Field {
            key: field.key.as_str().to_owned(),
            values: field.values.clone(),
        };
        Self {
            app: app.as_str().to_owned(),
            id: id.as_str().to_owned(),
            seen,
            long_term: described.is_some_and(|described| described.kind == TemplateKind::LongTerm),
            fields: described.iter().flat_map(|described| &described.fields).map(field).collect(),
        }
    }

    fn seen(self) -> Option<(AppId, TemplateId, Seen)> {
        let Self { app, id, seen, long_term, fields } = self;
        let id = TemplateId::parse(&id).ok()?;
        let field = |Field { key, values }| {
            Some(DescribedField { key: FieldKey::parse(&key).ok()?, label: String::new(), values })
        };
        let described = Described {
            id: id.clone(),
            title: String::new(),
            kind: if long_term { TemplateKind::LongTerm } else { TemplateKind::OneTime },
            fields: fields.into_iter().map(field).collect::<Option<_>>()?,
        };
        let seen = match seen {
            Word::Listed => Seen::Listed(described),
            Word::Missed => Seen::Missed(described),
            Word::Gone => Seen::Gone,
            Word::Odd => Seen::Odd,
        };
        Some((AppId::parse(&app).ok()?, id, seen))
    }
}

#[expect(clippy::type_complexity, reason = "the two parts of what is known at a start")]
pub(super) fn read(
    store: &dyn Store,
) -> Result<(BTreeMap<AppId, Account>, BTreeMap<&'static str, Vec<u8>>), Unavailable> {
    let mut accounts: BTreeMap<AppId, Account> = BTreeMap::new();
    let mut kept = BTreeMap::new();
    for name in NAMES {
        let Some(bytes) = store.kept(name)? else { continue };
        let templates: Vec<Template> = serde_json::from_slice(&bytes).unwrap_or_default();
        for (app, id, seen) in templates.into_iter().filter_map(Template::seen) {
            accounts.entry(app).or_default().templates.insert(id, seen);
        }
        kept.insert(name, bytes);
    }
    let told = store.kept(TOLD)?.unwrap_or_default();
    let told: Vec<Told> = serde_json::from_slice(&told).unwrap_or_default();
    for Told { app, told_ms } in told {
        if let Ok(app) = AppId::parse(&app) {
            let account = accounts.entry(app).or_default();
            account.told_at = DateTime::from_timestamp_millis(told_ms);
            account.asked_at = account.told_at;
        }
    }
    Ok((accounts, kept))
}

/// Gives the store what is new, and when it was heard after that: a crash between the two asks once more.
pub(super) fn write(store: &dyn Store, Known { accounts, kept, untold: _ }: &mut Known) {
    let mut values: BTreeMap<&'static str, Vec<Template>> = BTreeMap::new();
    for (app, account) in &*accounts {
        for (id, seen) in &account.templates {
            values.entry(place_of(id)).or_default().push(Template::of(app, id, seen));
        }
    }
    for name in NAMES {
        let templates = values.remove(name).unwrap_or_default();
        let is_new = !templates.is_empty() || kept.contains_key(name);
        let bytes = encode(templates);
        if is_new && kept.get(name) != Some(&bytes) {
            let _queued = store.keep(name, bytes.clone());
            kept.insert(name, bytes);
        }
    }
    let told = accounts.iter().filter_map(|(app, account)| {
        Some(Told { app: app.as_str().to_owned(), told_ms: account.told_at?.timestamp_millis() })
    });
    let told = serde_json::to_vec(&told.collect::<Vec<_>>()).expect("texts and numbers are JSON");
    if told.len() <= MAX_BYTES {
        let _queued = store.keep(TOLD, told);
    }
}

fn encode(mut templates: Vec<Template>) -> Vec<u8> {
    let bytes = |templates: &[Template]| serde_json::to_vec(templates).expect("texts are JSON");
    while bytes(&templates).len() > MAX_BYTES
        && let Some(template) = templates.pop()
    {
        debug!("So many templates are known that a restart forgets {}", template.id);
    }
    bytes(&templates)
}

/// The value that a template is in.
fn place_of(id: &TemplateId) -> &'static str {
    let sum = id.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    NAMES.get(sum % NAMES.len()).copied().expect("the rest is less than their number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(n: usize, long_term: bool, n_values: usize) -> (TemplateId, Described) {
        let id = TemplateId::parse(&format!("{n:043}")).expect("an id");
        let field = |key: &str, n: usize| DescribedField {
            key: FieldKey::parse(key).expect("a key"),
            label: String::new(),
            values: (0..n).map(|n| format!("值{n}")).collect(),
        };
        let kind = if long_term { TemplateKind::LongTerm } else { TemplateKind::OneTime };
        let fields = vec![field("thing1", 0), field("enum_string2", n_values)];
        (id.clone(), Described { id, title: String::new(), kind, fields })
    }

    #[test]
    fn every_part_comes_back() {
        let app = AppId::parse("wx0123456789abcdef").expect("an appid");
        for seen in [Seen::Listed, Seen::Missed] {
            for (long_term, n_values) in [(false, 0), (true, 3)] {
                let (id, described) = described(1, long_term, n_values);
                let seen = seen(described);
                let back = Template::of(&app, &id, &seen).seen();
                assert_eq!(back, Some((app.clone(), id, seen)));
            }
        }
        let (id, _) = described(1, false, 0);
        for seen in [Seen::Gone, Seen::Odd] {
            let back = Template::of(&app, &id, &seen).seen();
            assert_eq!(back, Some((app.clone(), id.clone(), seen)));
        }
    }

    #[test]
    fn each_value_has_a_bound_and_an_account_has_room() {
        let app = AppId::parse("wx0123456789abcdef").expect("an appid");
        let all = |n: usize, n_values| -> Vec<Template> {
            let one = |n| {
                let (id, described) = described(n, false, n_values);
                Template::of(&app, &id, &Seen::Listed(described))
            };
            (0..n).map(one).collect()
        };
        let bytes = encode(all(200, 5));
        assert!(bytes.len() <= MAX_BYTES);
        let n_kept = serde_json::from_slice::<Vec<Template>>(&bytes).expect("what was encoded").len();
        assert!((10..200).contains(&n_kept), "{n_kept}");
        let mut n_at: BTreeMap<&str, usize> = BTreeMap::new();
        for template in all(50, 0) {
            *n_at.entry(place_of(&TemplateId::parse(&template.id).expect("an id"))).or_default() += 1;
        }
        assert!(n_at.values().all(|n| *n <= n_kept), "{n_at:?}");
    }
}
