//! Loader and schema, two readings of what a file may say, over thousands of documents made by changing good ones.
//!
//! An editor that marks what the loader takes is as wrong as one that is silent about what it refuses. Exempt is only
//! what [`BEYOND`] and [`SPELLINGS`] name.

use std::fmt::Write as _;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::calendars::Calendars;
use super::diagnostic::Findings;
use super::keys::{Absent, Table};
use super::pulled::Pulled;
use super::schedule_file::{Gathered, Trust};
use super::schema::parsed;
use super::schema_samples::{
    CALENDARS, CONFIG, EVERY, LIST_OF_TIMES, NAMES, ONE_TIME, SCALARS, SCHEDULE, TWO_APPS, VALUES, values,
};
use super::source::Source;
use super::walk::Walk;
use super::yaml::Node;
use super::{Diagnostic, Severity, config_file, config_keys, schedule_file, schedule_keys, yaml};
use crate::domain::config::Config;

/// Mistakes that one file, looked at as keys and values, does not show: the code of the loader's diagnostic, and
/// what its text says where the code is not always beyond a schema.
const BEYOND: &[(&str, &str, &str)] = &[
    ("app_needed", "", "depends on tixing.yaml"),
    ("bad_cron", "", "ranges that run backwards, steps larger than their range"),
    ("bad_expression", "", "the language of texts"),
    ("bad_page", "", "the language of texts"),
    ("bad_value", "keys of `data`", "`overflow` of a field without a text: two places of one file"),
    ("bad_value", "another time than `from`", "quiet hours that end as they begin: two places of one file"),
    ("constant_condition", "", "the language of texts"),
    ("does_not_fit", "", "what a text comes to"),
    ("duplicate_appid", "", "two places of one file"),
    ("duplicate_template_id", "", "two places of one file"),
    ("impossible_date", "", "the calendar"),
    ("missing_field", "", "depends on tixing.yaml"),
    ("never_fires", "", "the calendar"),
    ("repeated", "`at`", "one time, with and without its seconds"),
    ("repeated", "`keys`", "two hook keys with one id: two places of one file"),
    ("template_by_id", "", "depends on tixing.yaml"),
    ("unknown_app", "", "depends on tixing.yaml"),
    ("unknown_calendar", "", "depends on schedules/calendars"),
    ("unknown_field", "", "depends on tixing.yaml"),
    ("unknown_template", "", "depends on tixing.yaml"),
];

/// Where an editor sees another value than the text that the loader sees: document, place, value, and whether the
/// loader and the schema take it.
const SPELLINGS: &[(Which, &str, &str, bool, bool)] = &[
    (Which::Schedule, "/rules/drink/enabled", "True", false, true),
    (Which::Schedule, "/rules/drink/max", "3.0", false, true),
    (Which::Schedule, "/rules/drink/max", "0x3", false, true),
    (Which::Schedule, "/rules/drink/max", "+3", false, true),
    (Which::Schedule, "/rules/drink/to/tags", "[12, \"12\"]", false, true),
    (Which::Schedule, "/rules/drink/to/tags", "[12, 0012]", true, false),
    (Which::Schedule, "/rules/drink/to/openids", "[0123456789]", true, false),
];

/// The key of a map that stands for a YAML text.
const YAML: &str = "=yaml=";

/// How many pairs of changes are tried on each document.
const N_PAIRS: usize = 200;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Config,
    Schedule,
}

/// The loader and a validator with the schema, for one of the two files.
struct Court {
    schemas: Schemas,
    schema: SchemaIndex,
    which: Which,
    /// What schedule files stand under.
    config: Config,
    calendars: Calendars,
}

impl Court {
    fn of(which: Which) -> Self {
        Self::under(which, CONFIG)
    }

    fn under(which: Which, config: &str) -> Self {
        let schema = match which {
            Which::Config => super::schema::config(),
            Which::Schedule => super::schema::schedule(),
        };
        Self::with(schema, which, config)
    }

    fn with(schema: Value, which: Which, config: &str) -> Self {
        let mut compiler = Compiler::new();
        compiler.add_resource("schema.json", schema).expect("a document");
        let mut schemas = Schemas::new();
        let schema = compiler.compile("schema.json", &mut schemas).expect("valid by draft-07's own schema");
        let mut found = Findings::default();
        let (config, _) = in_walk(config, &mut found, |root, walk| {
            config_file::read(root, Path::new(""), &Pulled::default(), walk)
        })
        .expect("a configuration");
        assert_eq!(found.n_errors(), 0);
        let mut calendars = Calendars::default();
        for (name, text) in CALENDARS {
            let name = format!("calendars/{name}.yaml");
            let mut found = Findings::default();
            in_walk(text, &mut found, |root, walk| calendars.add(&name, Some(root), walk));
            assert_eq!(found.n_errors(), 0, "{name}");
        }
        Self { schemas, schema, which, config, calendars }
    }

    /// What the loader has against a document.
    fn loader(&self, text: &str) -> Vec<Diagnostic> {
        let mut found = Findings::default();
        in_walk(text, &mut found, |root, walk| match self.which {
            Which::Config => drop(config_file::read(root, Path::new(""), &Pulled::default(), walk)),
            Which::Schedule => {
                let under = (&self.config, Trust::Whole);
                schedule_file::read(root, under, &self.calendars, &mut Gathered::default(), walk);
            }
        });
        let all = found.into_diagnostics().0.into_iter();
        all.filter(|one| one.severity == Severity::Error).collect()
    }

    fn schema(&self, text: &str) -> bool {
        self.schemas.validate(&seen_by_editors(text), self.schema).is_ok()
    }

    /// What loader and schema say of a document where they do not agree, and whether both take it.
    fn judge(&self, text: &str) -> (Option<String>, bool) {
        let (errors, takes) = (self.loader(text), self.schema(text));
        let beyond = |one: &Diagnostic| {
            let says = |part| one.message.en.contains(part) || one.help.en.contains(part);
            BEYOND.iter().any(|(code, part, _)| *code == one.code && says(part))
        };
        let codes: Vec<&str> = errors.iter().map(|one| one.code).collect();
        let dissent = match (errors.is_empty(), takes) {
            (true, false) => Some(format!("only the schema refuses\n  {text}")),
            (false, true) if !errors.iter().all(beyond) => {
                Some(format!("only the loader refuses, with {codes:?}\n  {text}"))
            }
            (true | false, true | false) => None,
        };
        (dissent, errors.is_empty() && takes)
    }
}

fn in_walk<T>(text: &str, found: &mut Findings, read: impl FnOnce(&Node, &mut Walk<'_>) -> T) -> T {
    let source = Source::from_bytes("a.yaml", text.as_bytes().to_vec()).expect("a text");
    let root = yaml::parse(&source, found).unwrap_or_else(|| panic!("no YAML: {text}"));
    read(&root, &mut Walk { source: &source, found })
}

/// A document as YAML 1.2 types it: a plain `12` is a number, `no` a text.
fn seen_by_editors(text: &str) -> Value {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A place of a document, and what stands there instead.
type Change = (String, Value);

/// All changes in one place at or below `below` that are tried.
fn changes(document: &Value, below: &str) -> Vec<Change> {
    let (mut places, mut all) = (Vec::new(), Vec::new());
    list_places(document, String::new(), &mut places);
    for place in places.into_iter().filter(|place| place.starts_with(below)) {
        let mut add = |value: Value| all.push((place.clone(), value));
        let value = document.pointer(&place).expect("a place of the document");
        values(VALUES).for_each(|value| add(yaml_value(value)));
        if !value.is_object() && !value.is_array() {
            for (words, table) in SCALARS {
                let here = words.is_empty() || words.split(' ').any(|word| place.contains(word));
                values(table).step_by(if here { 1 } else { 4 }).for_each(|value| add(yaml_value(value)));
            }
        }
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let mut without = map.clone();
                    without.remove(key);
                    add(Value::Object(without.clone()));
                    for name in NAMES.iter().filter(|name| !map.contains_key(**name)) {
                        let mut renamed = without.clone();
                        renamed.insert((*name).to_owned(), value.clone());
                        add(Value::Object(renamed));
                    }
                }
                let first = map.values().next().cloned().unwrap_or_default();
                for n in [64, 65, 1000, 1001] {
                    add((0..n).map(|n| (format!("thing{n}"), first.clone())).collect());
                }
                for name in NAMES.iter().filter(|name| !map.contains_key(**name)) {
                    let mut more = map.clone();
                    more.insert((*name).to_owned(), first.clone());
                    add(Value::Object(more));
                }
            }
            Value::Array(list) => {
                add(list.iter().chain(list.first()).cloned().collect());
                for n in [32, 33, 1000, 1001] {
                    add((0..n).map(|n| json!(format!("thing{n}"))).collect());
                    add((0..n).map(|n| json!(format!("10.0.{}.{}", n / 256, n % 256))).collect());
                }
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
                for n in [32, 33, 64, 65, 128, 129, 1024, 1025, 4096, 4097] {
                    add(json!("a".repeat(n)));
                    add(json!("喝".repeat(n)));
                }
            }
        }
    }
    all
}

fn list_places(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, v)| list_places(v, format!("{place}/{key}"), places));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, v)| list_places(v, format!("{place}/{n}"), places));
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
    places.push(place);
}

/// Stands in a document for a value as it is written in YAML.
fn yaml_value(value: &str) -> Value {
    json!({ YAML: value })
}

/// The document with these changes. JSON is YAML, so only values of the tables need their own form.
fn written(document: &Value, changes: &[&Change]) -> String {
    let mut document = document.clone();
    for (place, value) in changes {
        *document.pointer_mut(place).expect("a place of the document") = value.clone();
    }
    let mut text = String::new();
    write_into(&mut text, &document);
    text
}

fn write_into(text: &mut String, value: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(value) = map.get(YAML).and_then(Value::as_str) {
                return text.push_str(value);
            }
            text.push('{');
            for (key, value) in map {
                write!(text, "{}: ", json!(key)).expect("a text grows");
                write_into(text, value);
                text.push_str(", ");
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for value in list {
                write_into(text, value);
                text.push_str(", ");
            }
            text.push(']');
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
            text.push_str(&value.to_string());
        }
    }
}

/// Tries each change alone, and many pairs: one mistake must not hide another, nor make it.
fn agree(which: Which, documents: &[(Value, &str)]) {
    /// Large and prime, so that pairs come from everywhere.
    const STRIDES: (usize, usize) = (7919, 104_729);
    let court = Court::of(which);
    let (mut n, mut n_taken, mut dissents) = (0, 0, Vec::new());
    let mut judge = |text: &str| {
        let (dissent, taken) = court.judge(text);
        dissents.extend(dissent);
        n += 1;
        n_taken += usize::from(taken);
    };
    for (document, below) in documents {
        let all = changes(document, below);
        for change in &all {
            judge(&written(document, &[change]));
        }
        for n in 0..N_PAIRS {
            let (one, other) = (&all[n * STRIDES.0 % all.len()], &all[n * STRIDES.1 % all.len()]);
            if !one.0.starts_with(&other.0) && !other.0.starts_with(&one.0) {
                judge(&written(document, &[one, other]));
            }
        }
    }
    assert!(dissents.is_empty(), "{} of {n}:\n{}", dissents.len(), dissents.join("\n"));
    assert!(n > 2500 && n_taken > 300, "{n} documents, {n_taken} good ones");
}

#[test]
fn schema_and_loader_refuse_the_same_schedules() {
    let documents = [
        (seen_by_editors(SCHEDULE), ""),
        (seen_by_editors(LIST_OF_TIMES), "/rules/class/when"),
        (seen_by_editors(ONE_TIME), "/rules/one"),
        (seen_by_editors(EVERY), "/rules/one/when"),
    ];
    agree(Which::Schedule, &documents);
}

#[test]
fn schema_and_loader_refuse_the_same_configurations() {
    let mut one_app = seen_by_editors(CONFIG);
    one_app["hook"] = json!({ "keys": [{ "id": "backend", "secret": { "file": "key" } }] });
    agree(Which::Config, &[(one_app, ""), (seen_by_editors(TWO_APPS), "/hook")]);
}

/// What the tests above rest on: a keyword too few, or one too many, is found by one document.
#[test]
fn a_schema_that_says_something_else_is_found_out() {
    const RULE: &str = "/properties/rules/additionalProperties";
    // A part of the schema, a keyword of it, its planted value, and what is changed in a good document.
    let rows = [
        (RULE, "additionalProperties", json!(true), ("data:", "snooze: 5m, data:")),
        ("/properties/rules", "propertyNames", json!({}), ("one:", "One:")),
        (RULE, "required", json!(["when", "data", "page"]), ("", "")),
        ("/properties/timezone", "anyOf", json!([{}]), ("rules:", "timezone: CST\nrules:")),
    ];
    for (part, keyword, value, (from, to)) in rows {
        let text = ONE_TIME.replacen(from, to, 1);
        assert_eq!(Court::of(Which::Schedule).judge(&text).0, None, "{keyword} of {part}");
        let schema = super::schema::schedule();
        let mut planted = schema.clone();
        planted
            .pointer_mut(part)
            .and_then(Value::as_object_mut)
            .expect("a part")
            .insert(keyword.to_owned(), value);
        assert_ne!(planted, schema);
        let court = Court::with(planted, Which::Schedule, CONFIG);
        assert!(court.judge(&text).0.is_some(), "{keyword} of {part}");
    }
}

#[test]
fn they_differ_where_the_spelling_of_a_scalar_counts_and_only_there() {
    for (which, place, value, loader, schema) in SPELLINGS {
        let court = Court::of(*which);
        let document = seen_by_editors(SCHEDULE);
        let text = written(&document, &[&((*place).to_owned(), yaml_value(value))]);
        let found = (court.loader(&text).is_empty(), court.schema(&text));
        assert_eq!(found, (*loader, *schema), "{value} at {place}");
    }
}

/// Examples and defaults are good where they stand, a needed key is needed, and a later one is refused as such.
#[test]
fn every_key_is_as_the_tables_say() {
    use config_keys as c;
    use schedule_keys as s;
    // Where a map stands, and whether its keys exclude one another.
    let maps: &[(&Table, Which, &str, bool)] = &[
        (&s::FILE, Which::Schedule, "", false),
        (&s::RULE, Which::Schedule, "/rules/drink", false),
        (&s::WHEN, Which::Schedule, "/rules/drink/when", true),
        (&s::TO, Which::Schedule, "/rules/drink/to", false),
        (&c::FILE, Which::Config, "", false),
        (&c::APP, Which::Config, "/apps/clinic", false),
        (&c::PUSH, Which::Config, "/apps/clinic/push", false),
        (&c::LIMITS, Which::Config, "/apps/clinic/limits", false),
        (&c::TEMPLATE, Which::Config, "/apps/clinic/templates/habit", false),
        (&c::HOOK, Which::Config, "/hook", false),
        (&c::KEY, Which::Config, "/hook/keys/0", false),
        (&s::QUIET, Which::Schedule, "/rules/drink/quiet", false),
        (&c::SECRET, Which::Config, "/apps/clinic/secret", true),
        (&c::ADMIN, Which::Config, "/admin", false),
    ];
    let mut n = 0;
    for (table, which, place, alone) in maps {
        let court = Court::of(*which);
        let document = seen_by_editors(match which {
            Which::Config => CONFIG,
            Which::Schedule => SCHEDULE,
        });
        let with = |key: &str, value: Option<Value>| {
            let mut document = document.clone();
            let map = document.pointer_mut(place).and_then(Value::as_object_mut).expect("a map");
            if *alone {
                map.clear();
                // What some keys of `when` stand beside.
                let beside: &[(&str, &str)] = match key {
                    "every" => &[("starting", "2027-01-31 09:00")],
                    "starting" => &[("every", "2h")],
                    "fold" => &[("at", "2027-01-31 09:00")],
                    "before" | "after" => &[("of", "visit")],
                    "same_day" => &[("of", "visit"), ("time", "08:00")],
                    "of" => &[("before", "30m")],
                    "time" => &[("after", "1d"), ("of", "visit")],
                    "from" | "until" | "except" | "only" | "dst" => &[("cron", "0 9 * * *")],
                    _ => &[],
                };
                map.extend(beside.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())));
            }
            if key == "if_late" {
                map.insert("when".to_owned(), json!({ "before": "1h", "of": "visit" }));
            }
            match value {
                Some(value) => map.insert(key.to_owned(), value),
                None => map.remove(key),
            };
            document.to_string()
        };
        for (later, _) in table.later {
            let text = with(later, Some(json!({})));
            let codes: Vec<&str> = court.loader(&text).iter().map(|one| one.code).collect();
            assert!(codes.contains(&"not_yet") && !court.schema(&text), "`{later}` at {place}: {codes:?}");
            assert!(!table.names.contains(later), "`{later}` at {place}");
        }
        for key in table.keys {
            let what = format!("`{}` at {place}", key.name);
            let both = |text: String| {
                (court.loader(&text).iter().map(|one| one.code).collect(), court.schema(&text))
            };
            n += 1;
            assert_eq!(
                both(with(key.name, Some(parsed(key.example)))),
                (vec![], true),
                "{what}: {}",
                key.example
            );
            if let Absent::Default(default) = key.absent {
                assert_eq!(both(with(key.name, Some(parsed(default)))), (vec![], true), "{what}: {default}");
            }
            if !alone {
                let (codes, takes): (Vec<_>, _) = both(with(key.name, None));
                assert_eq!(
                    codes.contains(&"missing_key"),
                    key.absent == Absent::Mistake,
                    "{what}: {codes:?}"
                );
                assert_eq!(codes.is_empty(), takes, "{what}");
            }
        }
    }
    assert!(n >= 45, "{n} keys");
}

/// What an editor shows: each key with its meaning, an example, and what holds without it.
#[test]
fn every_key_is_described() {
    fn look(value: &Value, path: &str, n: &mut usize) {
        let Value::Object(map) = value else { return };
        if let Some(Value::Object(properties)) =
            map.get("properties").filter(|_| !path.contains("/if") && !path.contains("/then"))
        {
            for (name, key) in properties {
                let text = key["description"].as_str().unwrap_or_default();
                let needed = map
                    .get("required")
                    .and_then(Value::as_array)
                    .is_some_and(|needed| needed.contains(&json!(name)));
                let said = needed || key.get("default").is_some() || text.contains("When left out: ");
                assert!(text.len() > 10 && text.ends_with('.'), "{path}/{name}: {text}");
                assert!(
                    key.get("examples").and_then(Value::as_array).is_some_and(|all| !all.is_empty()) && said,
                    "{path}/{name}"
                );
                *n += 1;
            }
        }
        for (key, value) in map {
            look(value, &format!("{path}/{key}"), n);
            for value in value.as_array().into_iter().flatten() {
                look(value, &format!("{path}/{key}"), n);
            }
        }
    }
    let mut n = 0;
    look(&super::schema::schedule(), "", &mut n);
    look(&super::schema::config(), "", &mut n);
    assert!(n >= 45, "{n} keys");
}

#[test]
fn the_shipped_files_are_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(path).expect("a shipped file");
    let example = read(&root.join("tixing.example.yaml"));
    for config in [&example, &read(&root.join("tests/data/idle.yaml"))] {
        assert!(Court::of(Which::Config).schema(config), "{config}");
    }
    let court = Court::under(Which::Schedule, &example);
    for file in std::fs::read_dir(root.join("schedules")).expect("the folder") {
        let path = file.expect("a file").path();
        if path.is_dir() {
            continue;
        }
        let text = read(&path);
        assert!(court.loader(&text).is_empty() && court.schema(&text), "{}", path.display());
    }
}
