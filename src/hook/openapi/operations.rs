//! The operations of the document: who may use each, what it takes, and every answer that it gives.
//!
//! A refusal that is listed here is provoked by a test, and an answer that any test of the door gets must be listed.

use serde_json::{Map, Value, json};

use super::super::problem::{Refusal, TYPES};
use super::super::routes::{LOGINS_PER_MINUTE, LOGINS_PER_SECOND, REPORTS_PER_MINUTE, Route};
use super::super::server::{BODY_BYTES, HEAD_BYTES};
use super::super::signature::{ID, MAX_ID_CHARS, MAX_SIGNATURES, SIGNATURE, TIMESTAMP, TOLERANCE};
use super::samples;
use super::schemas::{self, codes, shape};

/// Who may use an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hook) enum Who {
    Anyone,
    Session,
    Backend,
    Both,
}

/// One method of a route.
pub(in crate::hook) struct Operation {
    pub(in crate::hook) route: Route,
    pub(in crate::hook) method: &'static str,
    pub(in crate::hook) id: &'static str,
    summary: &'static str,
    about: &'static str,
    pub(in crate::hook) who: Who,
    parameters: &'static [&'static str],
    /// The shape of the body, with examples.
    pub(in crate::hook) body: Option<(Value, samples::Examples)>,
    /// The shape of the good answer.
    pub(in crate::hook) answer: &'static str,
    pub(in crate::hook) refusals: Vec<Refusal>,
}

/// What may become of any request that has a body, and any may have one.
const ANY: [Refusal; 5] = [
    Refusal::BrokenBody,
    Refusal::SlowBody,
    Refusal::TooLargeBody,
    Refusal::AddressConnections,
    Refusal::AllConnections,
];
/// What a body may have against it.
const READ: [Refusal; 2] = [Refusal::NotJson, Refusal::Malformed];

impl Operation {
    fn new(route: Route, method: &'static str, id: &'static str, answer: &'static str) -> Self {
        let (summary, about, who, parameters) = ("", "", Who::Anyone, &[][..]);
        let (body, refusals) = (None, ANY.to_vec());
        Self { route, method, id, summary, about, who, parameters, body, answer, refusals }
    }

    fn says(mut self, summary: &'static str, about: &'static str) -> Self {
        (self.summary, self.about) = (summary, about);
        self
    }

    fn by(mut self, who: Who, parameters: &'static [&'static str]) -> Self {
        (self.who, self.parameters) = (who, parameters);
        self.refused(&[Refusal::Unavailable]).refused(match who {
            Who::Anyone => &[],
            Who::Session => &[Refusal::Identity],
            Who::Backend | Who::Both => &[Refusal::Identity, Refusal::UnknownApp],
        })
    }

    fn takes(mut self, shape: Value, examples: samples::Examples) -> Self {
        self.body = Some((shape, examples));
        self.refused(&READ)
    }

    fn refused(mut self, refusals: &[Refusal]) -> Self {
        self.refusals.extend_from_slice(refusals);
        self
    }
}

/// The operations of one route.
pub(super) fn of(route: Route) -> Vec<Operation> {
    let new = |method, id, answer| Operation::new(route, method, id, answer);
    match route {
        Route::Health => {
            vec![new("GET", "health", "Health").says("The door works", "It says nothing of what is behind it.")]
        }
        Route::OpenApi => vec![new("GET", "openapi", "").says("This document", "")],
        Route::Login => vec![
            new("POST", "login", "Session")
                .says(
                    "Exchanges a `wx.login` code for a session",
                    "A session ends after `hook.session_hours` (2); log in again, silently. There is no such route while \
                     `hook.login` is off.",
                )
                .by(Who::Anyone, &["app"])
                .takes(shape("Login"), samples::logins())
                .refused(&[
                    Refusal::UnknownApp,
                    Refusal::BadCode,
                    Refusal::RiskyUser,
                    Refusal::NotFound,
                    Refusal::Rate,
                    Refusal::Platform,
                ]),
        ],
        Route::Consents => vec![
            new("POST", "report", "Booked")
                .says(
                    "Books what became of `wx.requestSubscribeMessage`",
                    "A 200 is a promise: the report is on the disk. Until then keep it, and send it again with the same \
                     id. A report of a session is for its own person; a backend names the openid.",
                )
                .by(Who::Both, &["app"])
                .takes(
                    json!({ "oneOf": [shape("SessionReport"), shape("BackendReport")] }),
                    samples::reports(),
                )
                .refused(&[
                    Refusal::NotForSessions,
                    Refusal::UnknownAppointment,
                    Refusal::Conflict,
                    Refusal::TooLarge,
                    Refusal::Rate,
                ]),
        ],
        Route::Me => vec![
            new("GET", "me", "Me")
                .says("What is known of this person, and what comes next", "Neither openid nor unionid.")
                .by(Who::Session, &["app"]),
            new("DELETE", "eraseMe", "Erased")
                .says(
                    "Takes this person out of the books",
                    "As `DELETE /v1/recipients/{openid}`, as often as it is asked. With `apps=all` in all apps where WeChat \
                     told at the session's login who he is, else in this one alone; 401 where that name is no longer \
                     known: after another login it is.",
                )
                .by(Who::Session, &["app", "apps"])
                .refused(&[Refusal::Malformed]),
        ],
        Route::Ask => vec![
            new("GET", "ask", "Ask")
                .says("Which templates to ask for next", "A session asks for itself, a backend names the openid.")
                .by(Who::Both, &["app", "asked"])
                .refused(&[Refusal::Malformed, Refusal::NotForSessions]),
        ],
        Route::Recipient => vec![
            new("GET", "recipient", "Recipient")
                .says("What is known of a recipient, and what comes next", "")
                .by(Who::Backend, &["openid", "app"])
                .refused(&[Refusal::Malformed, Refusal::NotFound]),
            new("PUT", "putRecipient", "Recipient")
                .says(
                    "Sets a recipient",
                    "What is left out is not set, but for `unionid`, which stays. Consents are not touched. A `webhook-id` \
                     serves one change. 404: he was erased meanwhile.",
                )
                .by(Who::Backend, &["openid", "app", "apps"])
                .takes(shape("RecipientToPut"), samples::recipients())
                .refused(&[Refusal::TooLarge, Refusal::RefTaken, Refusal::Replayed, Refusal::NotFound]),
            new("DELETE", "eraseRecipient", "Erased")
                .says(
                    "Erases a recipient",
                    "His account is closed and what he had is voided. Somebody unknown is erased too. A `webhook-id` \
                     serves one change.",
                )
                .by(Who::Backend, &["openid", "app", "apps"])
                .refused(&[Refusal::Malformed, Refusal::Replayed]),
        ],
        Route::WeChat => {
            let verify = new("GET", "verifyPush", "").says(
                "WeChat tries the address of its events",
                "`echostr` comes back as it is where the Token signs the query. There is no such route for an app without \
                 `push`.",
            );
            let push = new("POST", "push", "").says(
                "WeChat tells what happened",
                "JSON or XML, in safe, compatible or, where `plain` allows it, plain mode, as the platform's page says \
                 (消息推送). `success` is a promise: what was told is on the disk. It may come again, late, in any order.",
            );
            let signed = &["pushed", "signature", "msg_signature", "timestamp", "nonce", "echostr"][..];
            vec![
                Operation { parameters: signed, ..verify }.refused(&[Refusal::NotGenuine, Refusal::NotFound]),
                Operation { parameters: &signed[..5], ..push }.refused(&[
                    Refusal::NotGenuine,
                    Refusal::NotFound,
                    Refusal::UnreadableEvent,
                    Refusal::Unavailable,
                ]),
            ]
        }
        Route::Appointment => vec![
            new("GET", "appointment", "Appointment")
                .says("An appointment as it stands", "")
                .by(Who::Backend, &["kind", "id", "app"])
                .refused(&[Refusal::Malformed, Refusal::NotFound]),
            new("PUT", "putAppointment", "Appointment")
                .says(
                    "Puts an appointment",
                    "Replaces it whole; what is so already changes nothing. Unknown openids become recipients. A \
                     `webhook-id` serves one change.",
                )
                .by(Who::Backend, &["kind", "id", "app"])
                .takes(shape("AppointmentToPut"), samples::appointments())
                .refused(&[Refusal::TooLarge, Refusal::Replayed]),
            new("DELETE", "deleteAppointment", "DeletedAppointment")
                .says("Deletes an appointment", "Reminders of it end at once. A `webhook-id` serves one change.")
                .by(Who::Backend, &["kind", "id", "app"])
                .refused(&[Refusal::Malformed, Refusal::NotFound, Refusal::Replayed]),
        ],
    }
}

/// All of them.
pub(in crate::hook) fn all() -> impl Iterator<Item = Operation> {
    Route::ALL.into_iter().flat_map(of)
}

/// The document.
pub(super) fn document() -> Value {
    let (mut paths, mut responses) = (Map::new(), Map::new());
    responses.insert(
        "HeadTooLarge".into(),
        json!({
            "description": format!("The head exceeds {HEAD_BYTES} bytes or 100 headers; without a document."),
        }),
    );
    for operation in all() {
        let path = paths.entry(operation.route.pattern()).or_insert_with(|| json!({}));
        path[operation.method.to_ascii_lowercase()] = described(&operation, &mut responses);
    }
    let problems = Refusal::ALL.map(|refusal| {
        (example_of(refusal), json!({ "summary": refusal.row().2, "value": samples::problem(refusal) }))
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tixing: the hook",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!(
                "What a mini program and its backend ask of tixing. GET is answered to HEAD too, without a document. Methods \
                 that a path does not have are 405 with `Allow`, other paths 404; all refusals are problem documents but \
                 431 and what is no HTTP. Bodies are JSON of at most {BODY_BYTES} bytes, without a key twice. Keys may be \
                 added to answers. docs/hook.md tells it in words."
            ),
            "license": { "name": "MIT OR Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/", "description": "Where the hook is." }],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "parameters": parameters(),
            "securitySchemes": security(),
            "responses": responses,
            "examples": Map::from_iter(problems),
        },
    })
}

/// Refusals of one status and these codes are one response for all operations.
fn described(operation: &Operation, shared: &mut Map<String, Value>) -> Value {
    let reference = |name: &&str| json!({ "$ref": format!("#/components/parameters/{name}") });
    let mut responses = Map::new();
    responses.insert("200".into(), good(operation));
    let mut refusals = operation.refusals.clone();
    refusals.sort_unstable();
    refusals.dedup();
    for group in refusals.chunk_by(|a, b| a.row().0 == b.row().0) {
        let status = group[0].row().0;
        let name = format!("{}-{}", status.as_str(), codes(group).join("-"));
        responses
            .insert(status.as_str().to_owned(), json!({ "$ref": format!("#/components/responses/{name}") }));
        shared.entry(name).or_insert_with(|| refused(group));
    }
    responses.insert("431".into(), json!({ "$ref": "#/components/responses/HeadTooLarge" }));
    let signed = json!({ ID: [], TIMESTAMP: [], SIGNATURE: [] });
    let security = match operation.who {
        Who::Anyone => json!([]),
        Who::Session => json!([{ "session": [] }]),
        Who::Backend => json!([signed]),
        Who::Both => json!([{ "session": [] }, signed]),
    };
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "security": security,
        "parameters": operation.parameters.iter().map(reference).collect::<Vec<_>>(),
        "responses": responses,
    });
    if !operation.about.is_empty() {
        described["description"] = operation.about.into();
    }
    if let Some((shape, examples)) = &operation.body {
        let content = json!({ "application/json": { "schema": shape, "examples": named(examples) } });
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    if operation.id == "push" {
        described["requestBody"] = pushed();
    }
    described
}

/// What WeChat posts: its header does not decide how it is read, and it is no document of ours, so no parser is equal to it.
fn pushed() -> Value {
    let content = |examples| {
        let schema = json!({ "anyOf": [shape("EncryptedEvent"), shape("PlainEvent")] });
        json!({ "schema": schema, "examples": named(&examples) })
    };
    json!({
        "required": true,
        "description": "Safe mode: what `EncryptedEvent` names. Compatible mode: the event beside it too, which is not looked at. Plain mode: \
                        the event alone. XML says the same with an element of each name in one `xml`; of it `List` may be several, in one \
                        element more.",
        "content": {
            "application/json": content(samples::pushed_json()),
            "text/xml": content(samples::pushed_xml()),
        },
    })
}

fn named(examples: &samples::Examples) -> Value {
    let named = examples.iter().map(|(name, value)| ((*name).to_owned(), json!({ "value": value })));
    Value::Object(named.collect())
}

fn good(operation: &Operation) -> Value {
    if operation.route == Route::WeChat {
        let content = json!({ "text/plain; charset=utf-8": { "schema": { "type": "string" } } });
        return json!({ "description": operation.summary, "content": content });
    }
    let content = match operation.route {
        // It would hold itself.
        Route::OpenApi => json!({ "schema": { "type": "object", "required": ["openapi", "info", "paths"] } }),
        Route::Health
        | Route::Login
        | Route::Consents
        | Route::Me
        | Route::Ask
        | Route::Appointment
        | Route::Recipient
        | Route::WeChat => json!({
            "schema": shape(operation.answer),
            "examples": named(&samples::answers(operation.answer)),
        }),
    };
    json!({ "description": operation.summary, "content": { "application/json": content } })
}

/// The name of its example: a code may have two statuses.
fn example_of(refusal: Refusal) -> String {
    let (status, code, _) = refusal.row();
    format!("{}-{code}", status.as_str())
}

fn refused(group: &[Refusal]) -> Value {
    let (status, ..) = group[0].row();
    let codes = codes(group);
    let titles: Vec<String> =
        group.iter().map(|refusal| format!("`{}`: {}", refusal.row().1, refusal.row().2)).collect();
    let schema = json!({ "allOf": [
        shape("Problem"),
        { "properties": { "status": { "const": status.as_u16() }, "code": { "enum": codes } } },
    ] });
    let examples = group.iter().map(|refusal| {
        let place = format!("#/components/examples/{}", example_of(*refusal));
        (refusal.row().1.to_owned(), json!({ "$ref": place }))
    });
    let examples: Map<String, Value> = examples.collect();
    let content = json!({ "application/problem+json": { "schema": schema, "examples": examples } });
    let mut refused = json!({ "description": format!("{}.", titles.join(". ")), "content": content });
    match status.as_u16() {
        401 => {
            let schema = json!({ "schema": { "const": "Bearer" }, "required": true });
            refused["headers"] = json!({ "WWW-Authenticate": schema });
        }
        429 | 503 => {
            let schema = json!({ "type": "integer", "minimum": 1 });
            let about = "Seconds after which the same request is worth sending again.";
            let header = json!({ "schema": schema, "required": true, "description": about });
            refused["headers"] = json!({ "Retry-After": header });
        }
        _ => {}
    }
    refused
}

fn parameters() -> Value {
    let parameter = |name, at, required: bool, form, about| json!({ "name": name, "in": at, "required": required, "schema": shape(form), "description": about });
    let of_push = |name, about| json!({ "name": name, "in": "query", "required": false, "schema": { "type": "string" }, "description": about });
    json!({
        "app": parameter(
            "app", "query", false, "AppName",
            "The app, by its name in tixing.yaml. Left out while there is one, or a session names it.",
        ),
        "pushed": parameter("app", "path", true, "AppName", "The app, by its name in tixing.yaml."),
        "signature": of_push("signature", "Of the address, and of plain events: SHA-1 of Token, timestamp and nonce."),
        "msg_signature": of_push("msg_signature", "Of encrypted events: what they hold is signed too."),
        "timestamp": of_push("timestamp", "Seconds since 1970, within 10 minutes of the door's clock."),
        "nonce": of_push("nonce", "Anything."),
        "echostr": of_push("echostr", "What WeChat wants to have back."),
        "apps": {
            "name": "apps", "in": "query", "required": false, "schema": { "type": "string", "enum": ["all"] },
            "description": "Also the same person's recipients in other apps, known by their unionid: those of the \
                            backend's key, or, where WeChat told it at his login, all for the person himself. A unionid \
                            that more than 64 recipients have joins nobody. A `PUT` carries `muted` there, and nothing else.",
        },
        "asked": parameter("openid", "query", false, "OpenId", "Needed of a backend; never of a session."),
        "openid": parameter("openid", "path", true, "OpenId", "The recipient."),
        "kind": parameter("kind", "path", true, "Kind", "What the appointment is: visit, class, bill…"),
        "id": parameter("id", "path", true, "AppointmentId", "Its id within the kind."),
    })
}

fn security() -> Value {
    let header = |name: &str, about: String| json!({ "type": "apiKey", "in": "header", "name": name, "description": about });
    json!({
        "session": {
            "type": "http", "scheme": "bearer",
            "description": format!(
                "What `POST /v1/login` gave. {REPORTS_PER_MINUTE} reports of one person are taken in a minute, \
                 {LOGINS_PER_MINUTE} logins of one address in a minute, {LOGINS_PER_SECOND} of one app in a second."
            ),
        },
        ID: header(ID, format!(
            "Standard Webhooks: an id of the request, 1 to {MAX_ID_CHARS} characters. It serves one PUT or DELETE in 15 minutes."
        )),
        TIMESTAMP: header(TIMESTAMP, format!(
            "Standard Webhooks: seconds since 1970, within {} minutes of the door's clock.", TOLERANCE.num_minutes()
        )),
        SIGNATURE: header(SIGNATURE, format!(
            "Standard Webhooks: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.payload`, by a key of `hook.keys` \
             without `whsec_`, decoded from base64; up to {MAX_SIGNATURES} of them, separated by spaces. The payload is METHOD, \
             a space, path with query, a line feed, and the body. Never together with a session."
        )),
    })
}

/// What the end of `type` may be, for docs/hook.md: `| code | status | means |`.
pub(super) fn rows() -> Vec<String> {
    let mut rows: Vec<(Vec<String>, &str, &str)> = Vec::new();
    for refusal in Refusal::ALL {
        let (status, code, title) = refusal.row();
        match rows.iter_mut().find(|(_, known, _)| *known == code) {
            Some((statuses, ..)) => statuses.push(status.as_str().to_owned()),
            None => rows.push((vec![status.as_str().to_owned()], code, title)),
        }
    }
    rows.into_iter()
        .map(|(statuses, code, title)| format!("| `{TYPES}{code}` | {} | {title} |", statuses.join(", ")))
        .collect()
}
