//! The documents that the door gives back, in the shapes that other programs rely on.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::openapi::DOCUMENT;
use crate::domain::appointment::Appointment;
use crate::domain::id::{AppointmentId, Kind, OpenId, Ref, ReportId, Tag, TemplateId, UnionId};
use crate::domain::recipient::{FieldValue, Fields};
use crate::domain::zone::Zone;
use crate::flow::intake::recipients::Person;
use crate::flow::intake::{ReportOut, Upcoming};

/// An answer; all of them are small and made at once.
pub(super) type Answer = Response<Full<Bytes>>;

/// `body` as JSON, never to be cached: what it says may change with the next report.
pub(super) fn document(status: StatusCode, body: &impl Serialize) -> Answer {
    json_answer(status, json(body).into())
}

fn json_answer(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// `body` as bytes of JSON.
pub(super) fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("text, numbers and maps with text keys are JSON")
}

/// An instant as JSON shows it: RFC 3339 in UTC with `Z`.
fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `text` as it is, never to be cached nor taken for anything else.
pub(super) fn text(text: String) -> Answer {
    let mut answer = Response::new(Full::from(text));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// `GET /healthz`: the door works.
pub(super) fn healthy() -> Answer {
    #[derive(Serialize)]
    struct Document {
        status: &'static str,
    }
    document(StatusCode::OK, &Document { status: "ok" })
}

/// `GET /openapi.json`.
pub(super) fn openapi() -> Answer {
    json_answer(StatusCode::OK, Bytes::from_static(DOCUMENT.as_bytes()))
}

/// `POST /v1/login`: the session, and the tag of its person.
pub(super) fn login(session: &str, person: &str, expires_at: DateTime<Utc>, ask: &[TemplateId]) -> Answer {
    #[derive(Serialize)]
    struct Document<'a> {
        session: &'a str,
        expires_at: String,
        person: &'a str,
        ask: Vec<&'a str>,
    }
    let body = Document { session, expires_at: instant(expires_at), person, ask: texts(ask) };
    document(StatusCode::OK, &body)
}

/// `POST /v1/consents`.
pub(super) fn consents(report: &ReportId, out: &ReportOut) -> Answer {
    #[derive(Serialize)]
    struct Document<'a> {
        report: &'a str,
        balances: BTreeMap<&'a str, u64>,
        ask: Vec<&'a str>,
        ignored: Vec<Ignored<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        duplicate: Option<bool>,
    }
    #[derive(Serialize)]
    struct Ignored<'a> {
        template: &'a str,
        status: &'a str,
        why: &'a str,
    }
    let ignored = out.ignored.iter();
    let body = Document {
        report: report.as_str(),
        balances: balances(&out.balances),
        ask: texts(&out.ask),
        ignored: ignored.map(|i| Ignored { template: &i.template, status: &i.status, why: i.why }).collect(),
        duplicate: out.duplicate.then_some(true),
    };
    document(StatusCode::OK, &body)
}

/// `PUT`, `GET` and `DELETE /v1/appointments/{kind}/{id}`: as it stands now; a deleted one has its name alone.
pub(super) fn appointment((kind, id): (&Kind, &AppointmentId), appointment: Option<&Appointment>) -> Answer {
    #[derive(Serialize)]
    struct Document<'a> {
        kind: &'a str,
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none", flatten)]
        stands: Option<Stands<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        deleted: Option<bool>,
    }
    #[derive(Serialize)]
    struct Stands<'a> {
        at: String,
        recipients: Vec<&'a str>,
        fields: BTreeMap<&'a str, Field<'a>>,
    }
    let stands = appointment.map(|appointment| Stands {
        at: appointment.at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        recipients: appointment.recipients.iter().map(OpenId::as_str).collect(),
        fields: fields(&appointment.fields),
    });
    let deleted = stands.is_none().then_some(true);
    document(StatusCode::OK, &Document { kind: kind.as_str(), id: id.as_str(), stands, deleted })
}

/// A field as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Field<'a> {
    Text(&'a str),
    Whole(i64),
    Real(f64),
    Bool(bool),
}

fn fields(fields: &Fields) -> BTreeMap<&str, Field<'_>> {
    let field = |value| match value {
        &FieldValue::Whole(whole) => Field::Whole(whole),
        &FieldValue::Real(real) => Field::Real(real),
        &FieldValue::Bool(bool) => Field::Bool(bool),
        FieldValue::Text(text) => Field::Text(text),
    };
    fields.iter().map(|(name, value)| (name.as_str(), field(value))).collect()
}

/// `GET /v1/ask`.
pub(super) fn ask(ask: &[TemplateId]) -> Answer {
    #[derive(Serialize)]
    struct Document<'a> {
        ask: Vec<&'a str>,
    }
    document(StatusCode::OK, &Document { ask: texts(ask) })
}

/// What anybody who may ask is told of a person.
#[derive(Serialize)]
struct Told<'a> {
    tags: Vec<&'a str>,
    fields: BTreeMap<&'a str, Field<'a>>,
    time_zone: Option<&'static str>,
    muted: bool,
    balances: BTreeMap<&'a str, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    accepted_with: BTreeMap<&'a str, &'static str>,
    upcoming: Vec<Coming<'a>>,
}

/// A planned reminder.
#[derive(Serialize)]
struct Coming<'a> {
    rule: &'a str,
    template: &'a str,
    due_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    appointment: Option<Subject<'a>>,
}

/// What a reminder is about.
#[derive(Serialize)]
struct Subject<'a> {
    kind: &'a str,
    id: &'a str,
    at: String,
}

fn told(person: &Person) -> Told<'_> {
    Told {
        tags: person.profile.tags.iter().map(Tag::as_str).collect(),
        fields: fields(&person.profile.fields),
        time_zone: person.profile.time_zone.map(Zone::name),
        muted: person.profile.muted,
        balances: balances(&person.balances),
        accepted_with: person.manners.iter().map(|(id, manner)| (id.as_str(), manner.status())).collect(),
        upcoming: person.upcoming.iter().map(Coming::from).collect(),
    }
}

impl<'a> From<&'a Upcoming> for Coming<'a> {
    fn from(upcoming: &'a Upcoming) -> Self {
        Self {
            rule: upcoming.rule.as_str(),
            template: upcoming.template.as_str(),
            due_at: instant(upcoming.due_at),
            appointment: upcoming.about.as_ref().map(|about| Subject {
                kind: about.kind.as_str(),
                id: about.id.as_str(),
                at: instant(about.at),
            }),
        }
    }
}

/// `GET /v1/me`: neither openid nor unionid.
pub(super) fn me(me: &Person) -> Answer {
    document(StatusCode::OK, &told(me))
}

/// `GET` and `PUT /v1/recipients/{openid}`, for who named the openid.
pub(super) fn recipient(openid: &OpenId, person: &Person) -> Answer {
    #[derive(Serialize)]
    struct Document<'a> {
        openid: &'a str,
        unionid: Option<&'a str>,
        r#ref: Option<&'a str>,
        #[serde(flatten)]
        told: Told<'a>,
    }
    let body = Document {
        openid: openid.as_str(),
        unionid: person.profile.unionid.as_ref().map(UnionId::as_str),
        r#ref: person.profile.reference.as_ref().map(Ref::as_str),
        told: told(person),
    };
    document(StatusCode::OK, &body)
}

/// `DELETE /v1/recipients/{openid}` and `/v1/me`.
pub(super) fn erased() -> Answer {
    #[derive(Serialize)]
    struct Document {
        erased: bool,
    }
    document(StatusCode::OK, &Document { erased: true })
}

fn texts(ids: &[TemplateId]) -> Vec<&str> {
    ids.iter().map(TemplateId::as_str).collect()
}

fn balances(balances: &BTreeMap<TemplateId, u64>) -> BTreeMap<&str, u64> {
    balances.iter().map(|(template, n)| (template.as_str(), *n)).collect()
}
