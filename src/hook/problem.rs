//! Problem documents (RFC 9457): the one form of every refusal.
//!
//! A detail names keys of the document and limits, never values, openids or header contents.

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

/// Seconds after which a request refused with 503 is worth repeating: the store reopens after 1 s and more.
const STORE_RETRY_S: u32 = 2;
/// Seconds after which a login is worth repeating that the platform did not answer or refused.
const PLATFORM_RETRY_S: u32 = 10;
/// Seconds after which a person may log in again: the platform counts logins by the minute (45011).
const LOGIN_RETRY_S: u32 = 60;

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
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

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        Self { status, code, detail, retry_after_s: None, allow: None, closing: Closing::No }
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
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such route")
    }

    /// 405; `allow` lists what the route takes.
    pub(super) fn method(allow: &'static str) -> Self {
        let mut problem =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this route takes other methods");
        problem.allow = Some(allow);
        problem
    }

    /// 413: the body is larger than `limit` bytes.
    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("a body may have {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large_body", detail).closing()
    }

    /// 408: the body did not arrive in time.
    pub(super) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow_body", "the body did not arrive in time").closing()
    }

    /// 400: the body broke off.
    pub(super) fn broken_body() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "broken_body", "the body did not arrive whole").closing()
    }

    /// 400: the body is no JSON document.
    pub(super) fn not_json() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "not_json", "the body is not one JSON document in UTF-8")
    }

    /// 422: the document has the wrong shape; `detail` names the key.
    pub(super) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "malformed", detail)
    }

    /// 422: a session may not set `key`.
    pub(super) fn not_for_sessions(key: &str) -> Self {
        let detail = format!("`{key}` cannot be set by a session");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_for_sessions", detail)
    }

    /// 422: `for` names no appointment of this person.
    pub(super) fn unknown_appointment() -> Self {
        let detail = "`for` names no appointment of this person";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_appointment", detail)
    }

    /// 422: `?app=` is needed, or names nothing.
    pub(super) fn app(detail: &'static str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_app", detail)
    }

    /// 401: nobody proved to be speaking; one answer for all reasons, so that a forger learns none.
    pub(super) fn identity() -> Self {
        let detail = "no valid proof of identity: a session that has not expired (log in again), or the three \
                      webhook headers, made with a key for this app, the clock right within 5 minutes, over \
                      METHOD SP path-with-query LF body";
        Self::new(StatusCode::UNAUTHORIZED, "identity", detail)
    }

    /// 409: this signed request changed something already.
    fn replayed() -> Self {
        let detail = "a request with this `webhook-id` was carried out before; a new one needs a new id";
        Self::new(StatusCode::CONFLICT, "replayed", detail)
    }

    /// 429; worth repeating after `seconds`.
    pub(super) fn rate(seconds: u32) -> Self {
        let detail = "too many requests of this kind in a short time";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate", detail).retry_after(seconds)
    }

    /// 429: too many connections of one address.
    pub(super) fn address_connections() -> Self {
        let detail = "too many connections from this address";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "connections", detail).retry_after(1).closing()
    }

    /// 503: too many connections in all.
    pub(super) fn all_connections() -> Self {
        let detail = "too many connections";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "connections", detail).retry_after(1).closing()
    }

    /// 503: nothing was promised in the time that an answer may take.
    pub(super) fn no_answer() -> Self {
        let detail = "no answer in time; the same request may be sent again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(STORE_RETRY_S)
    }

    fn document(&self) -> Document<'_> {
        Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
        }
    }

    /// The answer that says so.
    pub(super) fn answer(&self) -> Answer {
        let mut answer = document(self.status, &self.document());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
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

impl From<Unavailable> for Problem {
    fn from(_cause: Unavailable) -> Self {
        let detail = "the store cannot promise anything now; the same request may be sent again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(STORE_RETRY_S)
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Conflict => {
                let detail = "`report` was booked before with another content";
                Self::new(StatusCode::CONFLICT, "conflict", detail)
            }
            ReportError::TooLarge => {
                let detail = "`tags` and `fields` of this recipient would exceed their size limit";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_large", detail)
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
            AppointmentError::Unknown => {
                Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such appointment")
            }
            AppointmentError::TooLarge => {
                let detail = "recipients and `fields` of this appointment exceed 3 KiB";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_large", detail)
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
                Self::new(StatusCode::CONFLICT, "ref_taken", "`ref` belongs to another recipient of this app")
            }
            RecipientError::Unknown => {
                Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such recipient")
            }
            RecipientError::TooLarge => {
                let detail = "`tags` and `fields` of this recipient exceed 3 KiB";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_large", detail)
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
                Self::new(StatusCode::UNAUTHORIZED, "bad_code", detail)
            }
            LoginError::RiskyUser => {
                Self::new(StatusCode::FORBIDDEN, "risky_user", "the platform blocks this user as risky")
            }
            LoginError::TooFrequent => {
                let detail = "too many logins of this user in a minute";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "rate", detail).retry_after(LOGIN_RETRY_S)
            }
            LoginError::Unavailable => {
                let detail = "the platform gave no answer";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "platform", detail).retry_after(PLATFORM_RETRY_S)
            }
            LoginError::App { errcode: _ } => {
                let detail = "the platform refuses the logins of this app; its operator can see why";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "platform", detail).retry_after(LOGIN_RETRY_S)
            }
        }
    }
}
