//! Problem documents (RFC 9457): the one form of every refusal.
//!
//! What kinds there are stands in one table, [`Refusal`]; the OpenAPI document and docs/hook.md are held to it. A
//! detail names keys of the document and limits, never values, openids or header contents.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use serde::Serialize;

use super::answer::{Answer, document, json};
use crate::flow::intake::ReportError;
use crate::flow::intake::appointments::AppointmentError;
use crate::flow::intake::recipients::RecipientError;
use crate::store::Unavailable;
use crate::wechat::LoginError;
use crate::wechat::push::Refused;

/// Seconds after which a request refused with 503 is worth repeating: the store reopens after 1 s and more.
const STORE_RETRY_S: u32 = 2;
/// Seconds after which a login is worth repeating that the platform did not answer or refused.
const PLATFORM_RETRY_S: u32 = 10;
/// Seconds after which a person may log in again: the platform counts logins by the minute (45011).
const LOGIN_RETRY_S: u32 = 60;

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    refusal: Refusal,
    detail: Cow<'static, str>,
    retry_after_s: Option<u32>,
    allow: Option<&'static str>,
    closing: Closing,
}

/// Whether the connection can go on after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// The request was read whole.
    No,
    /// The rest of the request is not read.
    Yes,
}

/// What begins the `type` of a problem; its code ends it. A name, nothing that can be fetched.
pub(super) const TYPES: &str = "urn:tixing:problem:";

/// The kinds of refusals; those of one kind differ in their detail alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    BrokenBody,
    NotJson,
    Identity,
    BadCode,
    NotGenuine,
    RiskyUser,
    NotFound,
    Method,
    SlowBody,
    Conflict,
    RefTaken,
    Replayed,
    TooLargeBody,
    Malformed,
    NotForSessions,
    TooLarge,
    UnknownApp,
    UnknownAppointment,
    UnreadableEvent,
    AddressConnections,
    Rate,
    AllConnections,
    Platform,
    Unavailable,
}

impl Refusal {
    /// All of them, by status and code.
    #[cfg(test)]
    pub(super) const ALL: [Self; 24] = [
        Self::BrokenBody,
        Self::NotJson,
        Self::BadCode,
        Self::Identity,
        Self::NotGenuine,
        Self::RiskyUser,
        Self::NotFound,
        Self::Method,
        Self::SlowBody,
        Self::Conflict,
        Self::RefTaken,
        Self::Replayed,
        Self::TooLargeBody,
        Self::Malformed,
        Self::NotForSessions,
        Self::TooLarge,
        Self::UnknownApp,
        Self::UnknownAppointment,
        Self::UnreadableEvent,
        Self::AddressConnections,
        Self::Rate,
        Self::AllConnections,
        Self::Platform,
        Self::Unavailable,
    ];

    /// Its status, its code, and what it means: the title.
    pub(super) fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "broken_body", "The body did not arrive whole"),
            Self::NotJson => (StatusCode::BAD_REQUEST, "not_json", "The body is no JSON document"),
            Self::BadCode => (StatusCode::UNAUTHORIZED, "bad_code", "The login code is not valid"),
            Self::Identity => (StatusCode::UNAUTHORIZED, "identity", "Nobody proved to be speaking"),
            Self::NotGenuine => (StatusCode::FORBIDDEN, "not_genuine", "It is no event of this app"),
            Self::RiskyUser => (StatusCode::FORBIDDEN, "risky_user", "The platform blocks this user"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is no such thing"),
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "The route takes other methods")
            }
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "slow_body", "The body did not arrive in time"),
            Self::Conflict => {
                (StatusCode::CONFLICT, "conflict", "The report was booked with another content")
            }
            Self::RefTaken => (StatusCode::CONFLICT, "ref_taken", "The ref is another recipient's"),
            Self::Replayed => (StatusCode::CONFLICT, "replayed", "The request was carried out before"),
            Self::TooLargeBody => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large_body", "The body exceeds its size limit")
            }
            Self::Malformed => {
                (StatusCode::UNPROCESSABLE_ENTITY, "malformed", "The document has the wrong shape")
            }
            Self::NotForSessions => {
                (StatusCode::UNPROCESSABLE_ENTITY, "not_for_sessions", "A session may not say this")
            }
            Self::TooLarge => {
                (StatusCode::UNPROCESSABLE_ENTITY, "too_large", "What is kept would exceed its size limit")
            }
            Self::UnknownApp => (StatusCode::UNPROCESSABLE_ENTITY, "unknown_app", "No app is named"),
            Self::UnreadableEvent => {
                (StatusCode::UNPROCESSABLE_ENTITY, "unreadable_event", "Nobody can tell what the event says")
            }
            Self::UnknownAppointment => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown_appointment",
                "No appointment of this person is named",
            ),
            Self::AddressConnections => {
                (StatusCode::TOO_MANY_REQUESTS, "connections", "There are too many connections")
            }
            Self::Rate => (StatusCode::TOO_MANY_REQUESTS, "rate", "There were too many requests"),
            Self::AllConnections => {
                (StatusCode::SERVICE_UNAVAILABLE, "connections", "There are too many connections")
            }
            Self::Platform => {
                (StatusCode::SERVICE_UNAVAILABLE, "platform", "The platform does not let people log in")
            }
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Nothing can be promised now")
            }
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
}

impl Problem {
    fn new(refusal: Refusal, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        Self { refusal, detail, retry_after_s: None, allow: None, closing: Closing::No }
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    fn closing(mut self) -> Self {
        self.closing = Closing::Yes;
        self
    }

    /// 404: no such route.
    pub(super) fn no_route() -> Self {
        Self::new(Refusal::NotFound, "there is no such route")
    }

    /// 405; `allow` lists what the route takes.
    pub(super) fn method(allow: &'static str) -> Self {
        let mut problem = Self::new(Refusal::Method, "this route takes other methods");
        problem.allow = Some(allow);
        problem
    }

    /// 413: the body is larger than `limit` bytes.
    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("a body may have {limit} bytes");
        Self::new(Refusal::TooLargeBody, detail).closing()
    }

    /// 408: the body did not arrive in time.
    pub(super) fn slow_body() -> Self {
        Self::new(Refusal::SlowBody, "the body did not arrive in time").closing()
    }

    /// 400: the body broke off.
    pub(super) fn broken_body() -> Self {
        Self::new(Refusal::BrokenBody, "the body did not arrive whole").closing()
    }

    /// 400: the body is no JSON document.
    pub(super) fn not_json() -> Self {
        Self::new(Refusal::NotJson, "the body is not one JSON document in UTF-8")
    }

    /// 422: the document has the wrong shape; `detail` names the key.
    pub(super) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Refusal::Malformed, detail)
    }

    /// 422: a session may not set `key`.
    pub(super) fn not_for_sessions(key: &str) -> Self {
        let detail = format!("`{key}` cannot be set by a session");
        Self::new(Refusal::NotForSessions, detail)
    }

    /// 422: `for` names no appointment of this person.
    pub(super) fn unknown_appointment() -> Self {
        let detail = "`for` names no appointment of this person";
        Self::new(Refusal::UnknownAppointment, detail)
    }

    /// 422: `?app=` is needed, or names nothing.
    pub(super) fn app(detail: &'static str) -> Self {
        Self::new(Refusal::UnknownApp, detail)
    }

    /// 401: nobody proved to be speaking; one answer for all reasons, so that a forger learns none.
    pub(super) fn identity() -> Self {
        let detail = "no valid proof of identity: a session that has not expired (log in again), or the three \
                      webhook headers, made with a key for this app, the clock right within 5 minutes, over \
                      METHOD SP path-with-query LF body";
        Self::new(Refusal::Identity, detail)
    }

    /// 409: this signed request changed something already.
    fn replayed() -> Self {
        let detail = "a request with this `webhook-id` was carried out before; a new one needs a new id";
        Self::new(Refusal::Replayed, detail)
    }

    /// 429; worth repeating after `seconds`.
    pub(super) fn rate(seconds: u32) -> Self {
        let detail = "too many requests of this kind in a short time";
        Self::new(Refusal::Rate, detail).retry_after(seconds)
    }

    /// 429: too many connections of one address.
    pub(super) fn address_connections() -> Self {
        let detail = "too many connections from this address";
        Self::new(Refusal::AddressConnections, detail).retry_after(1).closing()
    }

    /// 503: too many connections in all.
    pub(super) fn all_connections() -> Self {
        let detail = "too many connections";
        Self::new(Refusal::AllConnections, detail).retry_after(1).closing()
    }

    /// 503: nothing was promised in the time that an answer may take.
    pub(super) fn no_answer() -> Self {
        let detail = "no answer in time; the same request may be sent again";
        Self::new(Refusal::Unavailable, detail).retry_after(STORE_RETRY_S)
    }

    fn document(&self) -> Document<'_> {
        let (status, code, title) = self.refusal.row();
        let r#type = format!("{TYPES}{code}");
        Document { r#type, title, status: status.as_u16(), detail: &self.detail, code }
    }

    /// The answer that says so.
    pub(super) fn answer(&self) -> Answer {
        let (status, ..) = self.refusal.row();
        let mut answer = document(status, &self.document());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        match self.closing {
            Closing::No => {}
            Closing::Yes => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        answer
    }

    /// The same as bytes, for a connection that gets no HTTP engine.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let answer = self.answer();
        let status = answer.status();
        let mut bytes = format!("HTTP/1.1 {status}\r\n").into_bytes();
        let mut header = |name: &HeaderName, value: &[u8]| {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        for (name, value) in answer.headers() {
            header(name, value.as_bytes());
        }
        let body = json(&self.document());
        header(&hyper::header::CONTENT_LENGTH, body.len().to_string().as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        bytes
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            // What is wrong with the key or the app is told in the log: here it would help who tries.
            Refused::NotGenuine | Refused::WrongAesKey | Refused::OtherApp => {
                let detail =
                    "no event of this app: the signature, the time (within 10 minutes) or the appid is wrong";
                Self::new(Refusal::NotGenuine, detail)
            }
            Refused::NotEncrypted => {
                let detail =
                    "events must be encrypted: choose safe mode (安全模式) in the platform's console";
                Self::new(Refusal::NotGenuine, detail)
            }
            Refused::NoAesKey | Refused::Unreadable => {
                Self::new(Refusal::UnreadableEvent, "the event cannot be read")
            }
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(_cause: Unavailable) -> Self {
        let detail = "the store cannot promise anything now; the same request may be sent again";
        Self::new(Refusal::Unavailable, detail).retry_after(STORE_RETRY_S)
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Conflict => {
                let detail = "`report` was booked before with another content";
                Self::new(Refusal::Conflict, detail)
            }
            ReportError::TooLarge => {
                let detail = "`tags` and `fields` of this recipient would exceed their size limit";
                Self::new(Refusal::TooLarge, detail)
            }
            ReportError::UnknownAppointment => Self::unknown_appointment(),
            ReportError::Unavailable(cause) => cause.into(),
        }
    }
}

impl From<AppointmentError> for Problem {
    fn from(error: AppointmentError) -> Self {
        match error {
            AppointmentError::Replayed => Self::replayed(),
            AppointmentError::Unknown => Self::new(Refusal::NotFound, "there is no such appointment"),
            AppointmentError::TooLarge => {
                let detail = "recipients and `fields` of this appointment exceed 3 KiB";
                Self::new(Refusal::TooLarge, detail)
            }
            AppointmentError::Unavailable(cause) => cause.into(),
        }
    }
}

impl From<RecipientError> for Problem {
    fn from(error: RecipientError) -> Self {
        match error {
            RecipientError::Replayed => Self::replayed(),
            RecipientError::RefTaken => {
                Self::new(Refusal::RefTaken, "`ref` belongs to another recipient of this app")
            }
            RecipientError::Unknown => Self::new(Refusal::NotFound, "there is no such recipient"),
            RecipientError::TooLarge => {
                let detail = "`tags` and `fields` of this recipient exceed 3 KiB";
                Self::new(Refusal::TooLarge, detail)
            }
            RecipientError::Unavailable(cause) => cause.into(),
        }
    }
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::BadCode => {
                let detail = "`code` is not valid, or was used before; call wx.login again";
                Self::new(Refusal::BadCode, detail)
            }
            LoginError::RiskyUser => Self::new(Refusal::RiskyUser, "the platform blocks this user as risky"),
            LoginError::TooFrequent => {
                let detail = "too many logins of this user in a minute";
                Self::new(Refusal::Rate, detail).retry_after(LOGIN_RETRY_S)
            }
            LoginError::Unavailable => {
                let detail = "the platform gave no answer";
                Self::new(Refusal::Platform, detail).retry_after(PLATFORM_RETRY_S)
            }
            LoginError::Store => Unavailable.into(),
            LoginError::App { errcode: _ } => {
                let detail = "the platform refuses the logins of this app; its operator can see why";
                Self::new(Refusal::Platform, detail).retry_after(LOGIN_RETRY_S)
            }
        }
    }
}
