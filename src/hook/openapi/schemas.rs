//! The shapes of the document. Limits are the parser's own; what forms ids have is compared with the parser over many
//! texts, since a pattern cannot be made of a function.

use serde_json::{Map, Value, json};

use super::super::problem::{Refusal, TYPES};
use super::super::shape::{ERR_MSG, MAX_AGE_S, MAX_CODE_CHARS, MAX_MESSAGE_CHARS, MAX_RESULTS, YEARS};
use crate::domain::appointment::MAX_APPOINTMENT_RECIPIENTS;
use crate::domain::consent::Manner;
use crate::domain::id::{
    AppName, AppointmentId, BadId, FieldName, Kind, OpenId, Ref, ReportId, RuleId, Tag, TemplateId, UnionId,
};
use crate::domain::recipient::{MAX_FIELD_CHARS, MAX_FIELDS, MAX_TAGS};

/// A form of ids: its name in the document, what it is a pattern of, lengths where the pattern says none, and whether
/// the door takes a text for one.
pub(super) struct Form {
    pub(super) name: &'static str,
    pattern: &'static str,
    chars: Option<(usize, usize)>,
    pub(super) parse: fn(&str) -> Result<(), BadId>,
}

const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,63}$";
const WORD: &str = "^[a-z][a-z0-9_]{0,31}$";
const URL_SAFE: &str = "^[A-Za-z0-9_-]{1,64}$";
const PLAIN: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";

pub(super) const FORMS: [Form; 11] = [
    Form { name: "AppName", pattern: NAME, chars: None, parse: |t| AppName::parse(t).map(drop) },
    Form {
        name: "AppointmentId",
        pattern: "^[A-Za-z0-9_.-]{1,64}$",
        chars: None,
        parse: |t| AppointmentId::parse(t).map(drop),
    },
    Form { name: "FieldName", pattern: WORD, chars: None, parse: |t| FieldName::parse(t).map(drop) },
    Form { name: "Kind", pattern: WORD, chars: None, parse: |t| Kind::parse(t).map(drop) },
    Form {
        name: "OpenId",
        pattern: "^[A-Za-z0-9_-]{10,64}$",
        chars: None,
        parse: |t| OpenId::parse(t).map(drop),
    },
    Form { name: "Ref", pattern: PLAIN, chars: Some((1, 64)), parse: |t| Ref::parse(t).map(drop) },
    Form { name: "ReportId", pattern: URL_SAFE, chars: None, parse: |t| ReportId::parse(t).map(drop) },
    Form { name: "RuleId", pattern: NAME, chars: None, parse: |t| RuleId::parse(t).map(drop) },
    Form { name: "Tag", pattern: PLAIN, chars: Some((1, 64)), parse: |t| Tag::parse(t).map(drop) },
    Form {
        name: "TemplateId",
        pattern: "^[A-Za-z0-9_-]{1,128}$",
        chars: None,
        parse: |t| TemplateId::parse(t).map(drop),
    },
    Form { name: "UnionId", pattern: URL_SAFE, chars: None, parse: |t| UnionId::parse(t).map(drop) },
];

impl Form {
    fn schema(&self) -> Value {
        // What the door says to a text that is none.
        let bad = (self.parse)("").expect_err("no id is empty");
        let mut schema = json!({ "type": "string", "pattern": self.pattern, "description": bad.allowed.en });
        if let Some((low, high)) = self.chars {
            schema["minLength"] = low.into();
            schema["maxLength"] = high.into();
        }
        schema
    }
}

/// A reference to a shape.
pub(super) fn shape(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// All of them.
pub(super) fn all() -> Value {
    let mut all: Map<String, Value> =
        FORMS.iter().map(|form| (form.name.to_owned(), form.schema())).collect();
    for part in [common(), asked(), answered()] {
        let Value::Object(part) = part else { panic!("an object") };
        all.extend(part);
    }
    all.into()
}

/// What is asked and answered alike.
fn common() -> Value {
    json!({
        "EncryptedEvent": {
            "type": "object",
            "description": "An event as safe and compatible mode send it; what else stands in it is looked at only where the app has `plain` and no key.",
            "xml": { "name": "xml" },
            "required": ["Encrypt"],
            "properties": {
                "ToUserName": { "type": "string" },
                "Encrypt": { "type": "string", "description": "AES-256-CBC under the EncodingAESKey, in base64." },
            },
            "additionalProperties": true,
        },
        "PlainEvent": {
            "type": "object",
            "description": "An event as plain mode sends it, and as it is within an encrypted one. Numbers may be texts. \
                            Events of other names, with other keys, are answered alike and change nothing.",
            "xml": { "name": "xml" },
            "anyOf": [{ "required": ["Event"] }, { "required": ["MsgType"] }],
            "properties": {
                "ToUserName": { "type": "string" },
                "FromUserName": { "type": "string", "description": "The openid." },
                "CreateTime": { "type": ["integer", "string"], "description": "Seconds since 1970." },
                "MsgType": { "type": "string" },
                "Event": {
                    "type": "string",
                    "examples": [
                        "subscribe_msg_popup_event", "subscribe_msg_change_event", "subscribe_msg_sent_event",
                        "user_authorization_cancellation", "wxa_punish_event",
                    ],
                },
                "List": {
                    "anyOf": [shape("EventItem"), { "type": "array", "items": shape("EventItem") }],
                },
            },
            "additionalProperties": true,
        },
        "EventItem": {
            "type": "object",
            "description": "What was chosen for a template, or what became of a message of it.",
            "properties": {
                "TemplateId": { "type": "string" },
                "SubscribeStatusString": { "type": "string" },
                "PopupScene": { "type": ["integer", "string"] },
                "MsgID": { "type": ["integer", "string"] },
                "ErrorCode": { "type": ["integer", "string"] },
                "ErrorStatus": { "type": "string" },
            },
            "additionalProperties": true,
        },
        "TimeZone": {
            "type": "string",
            "description": "A name of the IANA database, as the door's zone data have it.",
            "examples": ["Asia/Shanghai"],
        },
        "Fields": {
            "type": "object",
            "description": "What rules show of a recipient or an appointment. Whole numbers have 64 bits.",
            "maxProperties": MAX_FIELDS,
            "propertyNames": shape("FieldName"),
            "additionalProperties": {
                "anyOf": [
                    { "type": "string", "maxLength": MAX_FIELD_CHARS },
                    { "type": "number" },
                    { "type": "boolean" },
                ],
            },
        },
    })
}

/// What may be set of a recipient beside a report, or by itself.
fn set_of_him() -> [(&'static str, Value); 3] {
    [
        ("tags", json!({ "type": "array", "maxItems": MAX_TAGS, "items": shape("Tag") })),
        ("fields", shape("Fields")),
        ("time_zone", shape("TimeZone")),
    ]
}

/// This, or nothing.
fn or_null(name: &str) -> Value {
    json!({ "anyOf": [shape(name), { "type": "null" }] })
}

fn object(required: &[&str], properties: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let properties: Map<String, Value> =
        properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

/// Exactly these keys: an unknown one is refused.
fn strict(mut object: Value) -> Value {
    object["additionalProperties"] = false.into();
    object
}

fn one_of(mut object: Value, a: &str, b: &str) -> Value {
    object["oneOf"] = json!([{ "required": [a] }, { "required": [b] }]);
    object
}

/// What comes in.
fn asked() -> Value {
    let code = json!({ "type": "string", "pattern": r"^[\x21-\x7e]+$", "minLength": 1, "maxLength": MAX_CODE_CHARS });
    let subject = object(&["kind", "id"], [("kind", shape("Kind")), ("id", shape("AppointmentId"))]);
    let results = json!({
        "type": "object",
        "description": "What `wx.requestSubscribeMessage` gave to `success`, as it is: template ids and what became of each.",
        "properties": { ERR_MSG: { "description": "Ignored." } },
        "additionalProperties": { "type": "string" },
        "if": { "required": [ERR_MSG] },
        "then": { "maxProperties": MAX_RESULTS + 1 },
        "else": { "maxProperties": MAX_RESULTS },
    });
    let message = json!({
        "type": "string",
        "description": format!("Its `errMsg`; the first {MAX_MESSAGE_CHARS} characters are kept."),
    });
    let failed = json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX });
    let mut fail = strict(object(&["code"], [("code", failed), ("message", message)]));
    fail["description"] = "What `wx.requestSubscribeMessage` gave to `fail`.".into();
    let said = || {
        let mut report = shape("ReportId");
        report["description"] = "Made by the client, once for each tap; it counts once.".into();
        let age_s = json!({
            "type": "integer", "minimum": 0, "maximum": MAX_AGE_S, "default": 0,
            "description": "Seconds from the tap to this sending, made anew at each sending.",
        });
        [
            ("report", report),
            ("results", results.clone()),
            ("fail", fail.clone()),
            ("age_s", age_s),
            ("for", shape("AppointmentName")),
        ]
    };
    let [tags, fields, time_zone] = set_of_him();
    let own = said().into_iter().chain([fields.clone(), time_zone.clone()]);
    let mut own = one_of(strict(object(&["report"], own)), "results", "fail");
    own["description"] =
        "By a session, for its own person; `fields` are those of `hook.session_fields`.".into();
    let named = [("openid", shape("OpenId")), ("unionid", shape("UnionId"))];
    let named = said().into_iter().chain(named).chain(set_of_him());
    let mut named = one_of(strict(object(&["report", "openid"], named)), "results", "fail");
    named["description"] =
        "By a backend. Fields merge and tags add; an unknown openid becomes a recipient.".into();
    let recipients = json!({
        "type": "array", "minItems": 1, "maxItems": MAX_APPOINTMENT_RECIPIENTS, "items": shape("OpenId"),
    });
    let (from, to) = YEARS.into_inner();
    let at = json!({
        "type": "string", "format": "date-time",
        "description": format!("An instant with its offset, in the years {from} to {to}."),
    });
    let appointment =
        [("openid", shape("OpenId")), ("recipients", recipients), ("at", at), ("fields", fields.1.clone())];
    let appointment = one_of(strict(object(&["at"], appointment)), "openid", "recipients");
    let muted = json!({ "type": "boolean", "default": false, "description": "Nothing is sent to him while it is true." });
    let profile = [
        ("unionid", or_null("UnionId")),
        ("ref", or_null("Ref")),
        tags,
        fields,
        ("time_zone", or_null("TimeZone")),
    ];
    let profile = strict(object(&[], profile.into_iter().chain([("muted", muted)])));
    json!({
        "Login": strict(object(&["code"], [("code", code)])),
        "AppointmentName": strict(subject),
        "SessionReport": own,
        "BackendReport": named,
        "AppointmentToPut": appointment,
        "RecipientToPut": profile,
    })
}

/// What is answered. Keys may be added, so others than these are no mistake.
fn answered() -> Value {
    let instant = || json!({ "type": "string", "format": "date-time" });
    let ask = || {
        json!({
            "type": "array", "maxItems": 3, "items": shape("TemplateId"),
            "description": "Templates worth asking for next.",
        })
    };
    let balances = || {
        json!({
            "type": "object", "propertyNames": shape("TemplateId"),
            "additionalProperties": { "type": "integer", "minimum": 0 },
            "description": "Messages that may be sent now, of all templates of the app; 1 for a standing acceptance.",
        })
    };
    let accepted_with = || {
        let statuses: Vec<_> = Manner::ALL.into_iter().filter_map(Manner::beyond_plain).collect();
        json!({
            "type": "object", "propertyNames": shape("TemplateId"),
            "additionalProperties": { "enum": statuses },
            "description": "How he accepted, as last told, of templates with a balance and more than `accept`. It gives no more messages.",
        })
    };
    let truth = |truth: bool| json!({ "const": truth });
    let fields = || shape("Fields");
    let why = json!({
        "enum": ["full", "refused_since", "unknown_template", "unknown_status", "not_granted"],
    });
    let text = || json!({ "type": "string" });
    let ignored =
        object(&["template", "status", "why"], [("template", text()), ("status", text()), ("why", why)]);
    let name = || [("kind", shape("Kind")), ("id", shape("AppointmentId"))];
    let subject = object(&["kind", "id", "at"], name().into_iter().chain([("at", instant())]));
    let coming = object(
        &["rule", "template", "due_at"],
        [
            ("rule", shape("RuleId")),
            ("template", shape("TemplateId")),
            ("due_at", instant()),
            ("appointment", subject),
        ],
    );
    let told = || {
        let tags = json!({ "type": "array", "items": shape("Tag") });
        let upcoming = json!({ "type": "array", "maxItems": 20, "items": coming.clone() });
        [
            ("tags", tags),
            ("fields", fields()),
            ("time_zone", or_null("TimeZone")),
            ("muted", json!({ "type": "boolean" })),
            ("balances", balances()),
            ("accepted_with", accepted_with()),
            ("upcoming", upcoming),
        ]
    };
    let required = ["tags", "fields", "time_zone", "muted", "balances", "upcoming"];
    let named = [("openid", shape("OpenId")), ("unionid", or_null("UnionId")), ("ref", or_null("Ref"))];
    let recipient =
        object(&[&["openid", "unionid", "ref"][..], &required].concat(), named.into_iter().chain(told()));
    let recipients = json!({ "type": "array", "items": shape("OpenId") });
    let stands = [("at", instant()), ("recipients", recipients), ("fields", fields())];
    let types: Vec<String> = codes(&Refusal::ALL).iter().map(|code| format!("{TYPES}{code}")).collect();
    json!({
        "Health": object(&["status"], [("status", json!({ "const": "ok" }))]),
        "Session": object(
            &["session", "expires_at", "person", "ask"],
            [
                ("session", text()),
                ("expires_at", instant()),
                ("person", json!({
                    "type": "string",
                    "description": "The same for the same person of the same mini program; it tells nothing else.",
                })),
                ("ask", ask()),
            ],
        ),
        "Booked": object(
            &["report", "balances", "ask", "ignored"],
            [
                ("report", shape("ReportId")),
                ("balances", balances()),
                ("ask", ask()),
                ("ignored", json!({
                    "type": "array", "items": ignored,
                    "description": "Parts that granted nothing; they refuse nothing of the rest.",
                })),
                ("duplicate", truth(true)),
            ],
        ),
        "Ask": object(&["ask"], [("ask", ask())]),
        "Me": object(&required, told()),
        "Recipient": recipient,
        "Appointment": object(
            &["kind", "id", "at", "recipients", "fields"],
            name().into_iter().chain(stands),
        ),
        "DeletedAppointment": object(
            &["kind", "id", "deleted"],
            name().into_iter().chain([("deleted", truth(true))]),
        ),
        "Erased": object(&["erased"], [("erased", truth(true))]),
        "Problem": {
            "type": "object",
            "description": "A problem document (RFC 9457). No value that was sent is in it.",
            "required": ["type", "title", "status", "detail", "code"],
            "properties": {
                "type": { "enum": types, "description": "A name of the kind of problem; nothing to be fetched." },
                "title": { "type": "string", "description": "What the kind means." },
                "status": { "type": "integer", "description": "The status of the answer." },
                "detail": { "type": "string", "description": "What it was this time: keys and limits, never values." },
                "code": { "enum": codes(&Refusal::ALL), "description": "The end of the type." },
            },
        },
    })
}

/// Codes of `refusals`, each once.
pub(super) fn codes(refusals: &[Refusal]) -> Vec<&'static str> {
    let mut codes: Vec<&str> = refusals.iter().map(|refusal| refusal.row().1).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}
