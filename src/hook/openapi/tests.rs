//! Document and door, held against each other. What the door answers in any of its tests is checked by [`undocumented`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;
use std::thread::LocalKey;
use std::{env, fs};

use boon::{Compiler, SchemaIndex, Schemas};
use chrono::DateTime;
use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Value, json};

use super::super::problem::Refusal;
use super::super::routes::Route;
use super::super::shape;
use super::{DOCUMENT, operations, schemas};
use crate::domain::id::{AppId, FieldName};
use crate::wechat::push;

/// The document as a validator has it; schemas are compiled once for each test, when they are first asked for.
struct Court {
    compiler: Compiler,
    schemas: Schemas,
    known: BTreeMap<String, SchemaIndex>,
}

impl Court {
    fn of(document: &Value) -> RefCell<Self> {
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("openapi.json", document.clone()).expect("a document");
        RefCell::new(Self { compiler, schemas: Schemas::new(), known: BTreeMap::new() })
    }

    /// Whether `value` is what stands in the document at `pointer`, a schema.
    fn fits(&mut self, pointer: &str, value: &Value) -> Result<(), String> {
        let Self { compiler, schemas, known } = self;
        let schema = *known.entry(pointer.to_owned()).or_insert_with(|| {
            // A pointer in a URL: what a path holds beside letters is encoded.
            let place = format!("openapi.json#{}", pointer.replace('{', "%7B").replace('}', "%7D"));
            compiler.compile(&place, schemas).unwrap_or_else(|error| panic!("{place}: {error:#}"))
        });
        schemas.validate(value, schema).map_err(|error| format!("{error:#}"))
    }
}

thread_local! {
    /// By the document as it is served.
    static OPEN: RefCell<Court> = Court::of(&SERVED);
    /// By the document where answers have no key that it does not name.
    static SHUT: RefCell<Court> = Court::of(&CLOSED);
}

fn fits(court: &'static LocalKey<RefCell<Court>>, pointer: &str, value: &Value) -> Result<(), String> {
    court.with_borrow_mut(|court| court.fits(pointer, value))
}

/// A part of the document and its place, or those that it refers to.
fn followed<'a>(place: &str, found: &'a Value) -> (String, &'a Value) {
    let Some(reference) = found.get("$ref") else { return (place.to_owned(), found) };
    let place = reference.as_str().and_then(|text| text.strip_prefix('#')).expect("a place of the document");
    (place.to_owned(), SERVED.pointer(place).unwrap_or_else(|| panic!("nothing at {place}")))
}

/// `text` as one part of a pointer.
fn part(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

/// `document`, in which no object may have other keys than those that it names.
fn closed(mut document: Value) -> Value {
    fn close(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.values_mut().for_each(close);
                if object.contains_key("properties") && object.get("type") == Some(&json!("object")) {
                    object.entry("additionalProperties").or_insert(false.into());
                }
            }
            Value::Array(list) => list.iter_mut().for_each(close),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    close(&mut document["components"]["schemas"]);
    document
}

/// What is served.
static SERVED: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(DOCUMENT).expect("JSON"));

/// The same, and an answer may have no key that it does not name.
static CLOSED: LazyLock<Value> = LazyLock::new(|| closed(SERVED.clone()));

/// What the document does not say of an answer: to `method` on `path`, with this content type and body.
pub(in crate::hook) fn undocumented(
    (method, path): (&str, &str),
    status: u16,
    headers: &str,
    body: &str,
) -> Option<String> {
    let header = |name: &str| headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let document = &*SERVED;
    let route = Route::find(path);
    let pattern = route.map_or("", Route::pattern);
    let operation = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
    let content = header("content-type").unwrap_or_default();
    let like = pattern.split('/').count() == path.split('/').count();
    if document["paths"][pattern].get(&operation).is_none() || !like {
        // What has no operation is refused, by one of two.
        let known = [404, 405, 401, 422].contains(&status) && content == "application/problem+json";
        return (!known).then(|| format!("{status} of no operation"));
    }
    let place = format!("/paths/{}/{operation}/responses/{status}", part(pattern));
    let Some(response) = document.pointer(&place) else { return Some(format!("no {status}")) };
    let (place, response) = followed(&place, response);
    for (name, described) in response["headers"].as_object().into_iter().flatten() {
        let Some(value) = header(&name.to_ascii_lowercase()) else { return Some(format!("no {name}")) };
        let value = value.parse::<u64>().map_or_else(|_text| json!(value), |number| json!(number));
        let pointer = format!("{place}/headers/{}/schema", part(name));
        assert!(!described.is_null());
        if let Err(wrong) = fits(&OPEN, &pointer, &value) {
            return Some(wrong);
        }
    }
    if response["content"].get(content).is_none() {
        return Some(format!("{status} with {content}"));
    }
    if method == "HEAD" {
        return None;
    }
    let read = if content.starts_with("text/plain") { Ok(json!(body)) } else { serde_json::from_str(body) };
    let Ok(body) = read else { return Some("no JSON".into()) };
    fits(&SHUT, &format!("{place}/content/{}/schema", part(content)), &body).err()
}

#[test]
fn the_committed_document_is_what_the_code_makes() {
    let mut made = Vec::new();
    let narrow = PrettyFormatter::with_indent(b" ");
    operations::document().serialize(&mut Serializer::with_formatter(&mut made, narrow)).unwrap();
    made.push(b'\n');
    #[expect(clippy::disallowed_methods, reason = "whoever changes the door writes the document anew")]
    let write = env::var("TIXING_WRITE_SNAPSHOTS").is_ok();
    if write {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json"), &made).unwrap();
    }
    assert!(
        write || made == DOCUMENT.as_bytes(),
        "docs/openapi.json is another one: TIXING_WRITE_SNAPSHOTS=1 cargo test openapi, and read it"
    );
}

#[test]
fn routes_and_operations_are_equal() {
    // The table of routes as it is written, so that no route can be missing in a list.
    let patterns = include_str!("../routes.rs").lines().filter_map(|line| {
        line.trim().strip_prefix("Self::")?.split_once("=> \"/").map(|(_, rest)| rest.trim_end_matches("\","))
    });
    let patterns: BTreeSet<String> = patterns.map(|pattern| format!("/{pattern}")).collect();
    let mut routes = BTreeSet::new();
    for route in Route::ALL {
        let allowed: Vec<&str> = route.allow().split(", ").collect();
        assert_eq!(allowed.contains(&"GET"), allowed.contains(&"HEAD"), "{route:?}");
        let methods = allowed.into_iter().filter(|method| *method != "HEAD");
        routes.extend(methods.map(|method| (route.pattern().to_owned(), method.to_ascii_lowercase())));
    }
    assert_eq!(routes.iter().map(|(pattern, _)| pattern.clone()).collect::<BTreeSet<_>>(), patterns);
    let document = &*SERVED;
    let paths = document["paths"].as_object().unwrap().iter();
    let operations: BTreeSet<(String, String)> = paths
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(operations, routes);
    let ids: BTreeSet<&str> = operations::all().map(|operation| operation.id).collect();
    assert_eq!(ids.len(), operations.len(), "an id names one operation");
}

#[test]
fn a_path_names_its_parameters() {
    let document = &*SERVED;
    for (path, item) in document["paths"].as_object().unwrap() {
        let named: BTreeSet<&str> =
            path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().unwrap().iter().map(|parameter| {
                let pointer = parameter["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
                document.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"))
            });
            let in_path = parameters.filter(|parameter| parameter["in"] == "path");
            let given: BTreeSet<&str> =
                in_path.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            assert_eq!(given, named, "{method} {path}");
        }
    }
}

#[test]
fn forms_of_ids_are_those_of_the_door() {
    let alphabet =
        ["a", "Z", "0", "_", "-", ".", "~", " ", "/", "é", "李", "\u{0}", "\n", "\u{7f}", "\u{9f}"];
    let mut texts = vec![String::new()];
    for length in [1, 2, 9, 10, 32, 33, 64, 65, 128, 129] {
        for first in alphabet {
            texts.extend(alphabet.map(|rest| format!("{first}{}", rest.repeat(length - 1))));
            texts.push(format!("{}{first}", "a".repeat(length - 1)));
        }
    }
    for form in schemas::FORMS {
        let place = format!("/components/schemas/{}", form.name);
        let mut n_taken = 0;
        for text in &texts {
            let takes = (form.parse)(text).is_ok();
            n_taken += usize::from(takes);
            assert_eq!(fits(&OPEN, &place, &json!(text)).is_ok(), takes, "{} {text:?}", form.name);
        }
        assert!(n_taken > 10, "{}", form.name);
    }
}

/// What of a refusal's detail the document says in words alone.
const BEYOND: [&str; 3] = ["`time_zone`: ", "`at` must be an instant", "is a number beyond 64 bits"];

/// What may stand in some place of a document.
fn values() -> Vec<Value> {
    let list = |n: usize, one: fn(usize) -> Value| Value::Array((0..n).map(one).collect());
    let object = |n: usize| Value::Object((0..n).map(|i| (format!("f{i}"), json!("x"))).collect());
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(15_552_000),
        json!(15_552_001),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("a"),
        json!("a b"),
        json!("a\u{7}"),
        json!("Asia/Tokyo"),
        json!("2026-03-01T09:00:00+08:00"),
        json!("2026-03-01"),
        json!("a".repeat(10)),
        json!("a".repeat(64)),
        json!("a".repeat(65)),
        json!("李".repeat(256)),
        json!("李".repeat(257)),
        json!([]),
        list(1, |_| json!("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")),
        list(32, |i| json!(format!("tag-------{i}"))),
        list(33, |i| json!(format!("tag-------{i}"))),
        list(64, |i| json!(format!("o---------{i}"))),
        list(65, |i| json!(format!("o---------{i}"))),
        json!([1]),
        object(0),
        object(1),
        object(20),
        object(21),
        object(32),
        object(33),
        json!({ "A": 1 }),
        json!({ "errMsg": 1 }),
        json!({ "kind": "visit", "id": "a" }),
        json!({ "code": 1, "message": "x" }),
    ]
}

/// All documents that differ from `document` in one place: another value, a key less, a key more.
fn changed(document: &Value) -> Vec<Value> {
    fn places(value: &Value, at: &str, all: &mut Vec<String>) {
        all.push(at.to_owned());
        match value {
            Value::Object(object) => {
                object.iter().for_each(|(key, below)| places(below, &format!("{at}/{}", part(key)), all));
            }
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(i, below)| places(below, &format!("{at}/{i}"), all));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let keys = [
        "report",
        "results",
        "fail",
        "age_s",
        "for",
        "openid",
        "unionid",
        "tags",
        "fields",
        "time_zone",
        "ref",
        "muted",
        "recipients",
        "at",
        "code",
        "message",
        "kind",
        "id",
        "frobnicate",
        "Upper",
        "errMsg",
    ];
    let (mut found, mut all) = (Vec::new(), vec![document.clone()]);
    places(document, "", &mut found);
    for place in found {
        for value in values() {
            let mut copy = document.clone();
            *copy.pointer_mut(&place).unwrap() = value;
            all.push(copy);
        }
        let Some(Value::Object(object)) = document.pointer(&place) else { continue };
        for key in object.keys() {
            let mut copy = document.clone();
            copy.pointer_mut(&place).unwrap().as_object_mut().unwrap().remove(key);
            all.push(copy);
        }
        for (key, value) in keys.iter().flat_map(|key| values().into_iter().map(move |value| (key, value))) {
            let mut copy = document.clone();
            copy.pointer_mut(&place).unwrap()[*key] = value;
            all.push(copy);
        }
    }
    all
}

#[test]
fn bodies_that_the_door_takes_are_those_of_the_document() {
    let session_fields: Vec<FieldName> =
        ["city", "f0", "f1", "f2"].map(|f| FieldName::parse(f).unwrap()).into();
    let (mut n_taken, mut n_refused) = (0, 0);
    for operation in operations::all() {
        let Some((shape, examples)) = &operation.body else { continue };
        let parse = |name: &str, body: &[u8]| match (operation.id, name) {
            ("login", _) => shape::login(body).map(drop),
            ("report", "byABackend") => shape::named_report(body).map(drop),
            ("report", _) => shape::own_report(body, &session_fields).map(drop),
            ("putRecipient", _) => shape::profile(body).map(drop),
            ("putAppointment", _) => shape::appointment(body).map(drop),
            other => panic!("no parser of {other:?}"),
        };
        for (name, example) in examples {
            // One of several shapes is one speaker's: the parser knows who speaks.
            let pointer = match (operation.id, *name) {
                ("report", "byABackend") => "/components/schemas/BackendReport".to_owned(),
                ("report", _) => "/components/schemas/SessionReport".to_owned(),
                _ => shape["$ref"].as_str().unwrap().trim_start_matches('#').to_owned(),
            };
            for body in changed(example) {
                let parsed = parse(name, body.to_string().as_bytes());
                let fits = fits(&OPEN, &pointer, &body);
                let detail = parsed.as_ref().err().map(|problem| String::from_utf8(problem.bytes()).unwrap());
                let beyond = detail.as_ref().is_some_and(|detail| BEYOND.iter().any(|part| detail.contains(part)))
                    // Which fields a session may set, the configuration says.
                    || detail.as_ref().is_some_and(|detail| detail.contains("cannot be set by a session"));
                assert!(
                    parsed.is_ok() == fits.is_ok() || (beyond && fits.is_ok()),
                    "{} {name}: {body}\nthe door: {detail:?}\nthe document: {:?}",
                    operation.id,
                    fits.err()
                );
                if detail.is_none() { n_taken += 1 } else { n_refused += 1 }
            }
        }
    }
    assert!(n_taken > 500 && n_refused > 5000, "{n_taken} taken, {n_refused} refused");
}

#[test]
fn events_of_the_document_are_read_in_each_mode_and_form() {
    let key = push::AesKey::parse("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG").unwrap();
    let keys = push::Keys::new("remindtoken".to_owned().into(), Some(key), push::Plain::Allowed).unwrap();
    let query = push::Query::read(Some(
        "timestamp=1767225601&nonce=nonce01&signature=60106cdda97c19e91335941d7808c6497d05556b&\
         msg_signature=7446116bbf7b79d3212a41da20f9901f7d7dd609",
    ));
    let now = DateTime::from_timestamp(1_767_225_601, 0).unwrap();
    let app = AppId::parse("wx0123456789abcdef").unwrap();
    let content = &SERVED["paths"]["/wechat/{app}"]["post"]["requestBody"]["content"];
    let mut n = 0;
    for (form, described) in content.as_object().unwrap() {
        for (mode, example) in described["examples"].as_object().unwrap() {
            let value = &example["value"];
            let body = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let event = keys.open(&app, &query, body.as_bytes(), now);
            let event = event.unwrap_or_else(|refused| panic!("{form} {mode}: {refused}"));
            let is_read = match (mode.as_str(), &event.what) {
                ("plain", push::What::Changed { answers, .. }) => answers.len() == 1,
                // Whose sender has a name that no openid has.
                (_, push::What::Other { name }) => name == "subscribe_msg_popup_event",
                (_, _) => false,
            };
            assert!(is_read, "{form} {mode}: {:?}", event.what);
            n += 1;
        }
    }
    assert_eq!(n, 6);
}

#[test]
fn examples_are_what_they_are_examples_of() {
    let document = &*CLOSED;
    let mut n = 0;
    let mut look = |place: String| {
        let Some(content) = document.pointer(&place) else { return };
        for (name, example) in content["examples"].as_object().into_iter().flatten() {
            let (_, example) = followed("", example);
            fits(&SHUT, &format!("{place}/schema"), &example["value"])
                .unwrap_or_else(|wrong| panic!("{place} {name}: {wrong}"));
            n += 1;
        }
    };
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let place = format!("/paths/{}/{method}", part(path));
            look(format!("{place}/requestBody/content/application~1json"));
            look(format!("{place}/responses/200/content/application~1json"));
        }
    }
    for name in document["components"]["responses"].as_object().unwrap().keys() {
        look(format!("/components/responses/{name}/content/application~1problem+json"));
    }
    assert!(n > 20, "{n} examples");
}

#[test]
fn the_hook_page_lists_every_kind_of_problem() {
    let page = include_str!("../../../docs/hook.md");
    let listed: Vec<&str> = page.lines().filter(|line| line.starts_with("| `urn:")).collect();
    let rows = operations::rows();
    assert_eq!(listed, rows, "it should be\n{}", rows.join("\n"));
    let all: BTreeSet<Refusal> = Refusal::ALL.into();
    let used: BTreeSet<Refusal> = operations::all().flat_map(|operation| operation.refusals).collect();
    assert_eq!(all.difference(&used).collect::<Vec<_>>(), [&Refusal::Method], "of no operation");
}

#[test]
fn an_answer_that_is_not_in_the_document_is_found() {
    let json = "content-type: application/json";
    let table = [
        (("GET", "/healthz"), 200, json, r#"{"status":"ok"}"#, true),
        (("GET", "/healthz"), 200, json, r#"{"status":"bad"}"#, false),
        (("GET", "/healthz"), 200, json, r#"{"status":"ok","more":1}"#, false),
        (("GET", "/healthz"), 200, "content-type: text/plain", "ok", false),
        (("GET", "/healthz"), 201, json, r#"{"status":"ok"}"#, false),
        (("GET", "/healthz"), 404, json, r#"{"status":"ok"}"#, false),
        (("GET", "/v1/appointments/visit/A"), 401, "content-type: application/problem+json", "{}", false),
    ];
    for (asked, status, head, body, known) in table {
        let said = undocumented(asked, status, head, body);
        assert_eq!(said.is_none(), known, "{asked:?} {status} {body}: {said:?}");
    }
}
