//! The shapes of what comes in: strict, and every refusal names its key.
//!
//! What a session may say of itself is decided here too. Whether a template, a status or an
//! appointment is known is decided further in: an unknown one never refuses the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike as _};

use super::json::{self, Json, Object, shown};
use super::problem::Problem;
use crate::domain::appointment::{Appointment, MAX_APPOINTMENT_RECIPIENTS};
use crate::domain::id::{AppointmentId, BadId, FieldName, Kind, OpenId, Ref, ReportId, Tag, UnionId};
use crate::domain::recipient::{FieldValue, MAX_FIELD_CHARS, MAX_FIELDS, MAX_TAGS, Profile};
use crate::domain::zone::Zone;
use crate::flow::intake::{ReportIn, Said};

/// Oldest tap that may be reported: as long as the ids of reports are kept (180 days).
pub(super) const MAX_AGE_S: i64 = 15_552_000;
/// Most templates in one report; the platform shows at most 5 at once.
pub(super) const MAX_RESULTS: usize = 20;
/// Longest `errMsg` that is kept, in characters.
pub(super) const MAX_MESSAGE_CHARS: usize = 256;
/// Longest `wx.login` code; real ones have some 32 characters.
pub(super) const MAX_CODE_CHARS: usize = 256;
/// Years that an appointment may be in.
pub(super) const YEARS: RangeInclusive<i32> = 1970..=9000;
/// What `wx.requestSubscribeMessage` puts beside the statuses.
pub(super) const ERR_MSG: &str = "errMsg";

/// What the speaker of a report may say.
#[derive(Clone, Copy, Debug)]
enum Voice<'a> {
    /// A person, for himself: these fields.
    Session { fields: &'a [FieldName] },
    /// A backend: everything, for the person it names.
    Backend,
}

/// Parses the body of `POST /v1/login` to its code.
pub(super) fn login(body: &[u8]) -> Result<String, Problem> {
    let mut object = json::object(body)?;
    let code = needed(object.take("code"), "code")?.text("code")?;
    object.end()?;
    if (1..=MAX_CODE_CHARS).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(code)
    } else {
        Err(Problem::malformed(format!("`code` must be 1–{MAX_CODE_CHARS} visible ASCII characters")))
    }
}

/// Parses the body of `POST /v1/consents` under a session, which may set `session_fields` of itself.
pub(super) fn own_report(body: &[u8], session_fields: &[FieldName]) -> Result<ReportIn, Problem> {
    let mut object = json::object(body)?;
    for key in ["openid", "unionid", "tags"] {
        if object.take(key).is_some() {
            return Err(Problem::not_for_sessions(key));
        }
    }
    report(object, Voice::Session { fields: session_fields })
}

/// Parses the body of `POST /v1/consents` of a backend to the person it is about, and the rest.
pub(super) fn named_report(body: &[u8]) -> Result<(OpenId, ReportIn), Problem> {
    let mut object = json::object(body)?;
    let openid = id(needed(object.take("openid"), "openid")?, "openid", OpenId::parse)?;
    Ok((openid, report(object, Voice::Backend)?))
}

fn report(mut object: Object, voice: Voice<'_>) -> Result<ReportIn, Problem> {
    let report = ReportIn {
        id: id(needed(object.take("report"), "report")?, "report", ReportId::parse)?,
        said: said(object.take("results"), object.take("fail"))?,
        age_s: object.take("age_s").map_or(Ok(0), age)?,
        bound_to: object.take("for").map(bound_to).transpose()?,
        unionid: object.take("unionid").map(|json| id(json, "unionid", UnionId::parse)).transpose()?,
        tags: object.take("tags").map_or(Ok(Vec::new()), tag_list)?,
        fields: object.take("fields").map_or(Ok(BTreeMap::new()), |json| fields(json, voice))?,
        time_zone: object.take("time_zone").map(zone).transpose()?,
    };
    object.end()?;
    Ok(report)
}

/// Kind and id in the path of an appointment; names need no percent-encoding.
pub(super) fn appointment_name(path: &str) -> Result<(Kind, AppointmentId), Problem> {
    let (kind, name) = path.split_once('/').ok_or_else(Problem::no_route)?;
    let kind = Kind::parse(kind).map_err(|bad| Problem::malformed(format!("the kind is {bad}")))?;
    let name = AppointmentId::parse(name)
        .map_err(|bad| Problem::malformed(format!("the appointment's id is {bad}")))?;
    Ok((kind, name))
}

/// Parses the body of `PUT /v1/appointments/{kind}/{id}`.
pub(super) fn appointment(body: &[u8]) -> Result<Appointment, Problem> {
    let mut object = json::object(body)?;
    let recipients = match (object.take("openid"), object.take("recipients")) {
        (Some(openid), None) => [id(openid, "openid", OpenId::parse)?].into(),
        (None, Some(list)) => recipients(list)?,
        (Some(_), Some(_)) => return Err(Problem::malformed("`openid` and `recipients` exclude each other")),
        (None, None) => return Err(Problem::malformed("`openid` or `recipients` is missing")),
    };
    let at = needed(object.take("at"), "at")?.text("at")?;
    let at = DateTime::parse_from_rfc3339(&at).ok().filter(|at| YEARS.contains(&at.year()));
    let at = at.ok_or_else(|| {
        Problem::malformed("`at` must be an instant with its offset, like 2026-03-01T09:00:00+08:00")
    })?;
    let fields = object.take("fields").map_or(Ok(BTreeMap::new()), |json| fields(json, Voice::Backend))?;
    object.end()?;
    Ok(Appointment { recipients, at: at.to_utc(), fields })
}

/// Parses the body of `PUT /v1/recipients/{openid}`: what is left out is not set.
pub(super) fn profile(body: &[u8]) -> Result<Profile, Problem> {
    let mut object = json::object(body)?;
    // As a read answers what is not set.
    let mut set = |key| object.take(key).filter(|json| !matches!(json, Json::Null));
    let profile = Profile {
        unionid: set("unionid").map(|json| id(json, "unionid", UnionId::parse)).transpose()?,
        reference: set("ref").map(|json| id(json, "ref", Ref::parse)).transpose()?,
        time_zone: set("time_zone").map(zone).transpose()?,
        tags: object.take("tags").map_or(Ok(Vec::new()), tag_list)?.into_iter().collect(),
        fields: object.take("fields").map_or(Ok(BTreeMap::new()), |json| fields(json, Voice::Backend))?,
        muted: object.take("muted").map_or(Ok(false), |json| json.truth("muted"))?,
    };
    object.end()?;
    Ok(profile)
}

/// The openid in the path of a recipient; openids need no percent-encoding.
pub(super) fn openid_in(path: &str) -> Result<OpenId, Problem> {
    OpenId::parse(path).map_err(|bad| Problem::malformed(format!("the openid in the path is {bad}")))
}

/// In which of a person's apps a request takes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Apps {
    /// In the one that it names.
    This,
    /// In all that its speaker may speak for.
    All,
}

/// `apps` in the query of what may cover all apps of a person, where it is.
pub(super) fn asked_apps(query: Option<&str>) -> Result<Apps, Problem> {
    let pairs = query.unwrap_or_default().split('&');
    let mut asked = pairs.filter(|pair| pair.split_once('=').map_or(*pair, |(name, _)| name) == "apps");
    match (asked.next(), asked.next()) {
        (None, _) => Ok(Apps::This),
        (Some("apps=all"), None) => Ok(Apps::All),
        (Some(_), _) => Err(Problem::malformed("`apps` can only be `all`, once")),
    }
}

/// `openid` in the query of `GET /v1/ask`, where it is.
pub(super) fn asked_openid(query: Option<&str>) -> Result<Option<OpenId>, Problem> {
    let pairs = query.unwrap_or_default().split('&');
    let mut openids = pairs.filter_map(|pair| match pair.split_once('=') {
        Some(("openid", openid)) => Some(openid),
        None if pair == "openid" => Some(""),
        Some(_) | None => None,
    });
    match (openids.next().map(OpenId::parse), openids.next()) {
        (None, _) => Ok(None),
        (Some(Ok(openid)), None) => Ok(Some(openid)),
        (Some(Err(bad)), None) => Err(Problem::malformed(format!("`openid` is {bad}"))),
        (Some(Ok(_) | Err(_)), Some(_)) => Err(Problem::malformed("`openid` is there twice")),
    }
}

fn recipients(json: Json) -> Result<BTreeSet<OpenId>, Problem> {
    let list = json.list("recipients")?;
    if !(1..=MAX_APPOINTMENT_RECIPIENTS).contains(&list.len()) {
        let detail = format!("`recipients` must have 1–{MAX_APPOINTMENT_RECIPIENTS} entries");
        return Err(Problem::malformed(detail));
    }
    let one = |(at, json)| id(json, &format!("recipients[{at}]"), OpenId::parse);
    list.into_iter().enumerate().map(one).collect()
}

fn needed(json: Option<Json>, name: &str) -> Result<Json, Problem> {
    json.ok_or_else(|| Problem::malformed(format!("`{name}` is missing")))
}

fn id<T>(json: Json, name: &str, parse: fn(&str) -> Result<T, BadId>) -> Result<T, Problem> {
    parse(&json.text(name)?).map_err(|bad| Problem::malformed(format!("`{name}` is {bad}")))
}

fn said(results: Option<Json>, fail: Option<Json>) -> Result<Said, Problem> {
    match (results, fail) {
        (Some(results), None) => Ok(Said::Results(statuses(results)?)),
        (None, Some(fail)) => failure(fail),
        (Some(_), Some(_)) => Err(Problem::malformed("`results` and `fail` exclude each other")),
        (None, None) => Err(Problem::malformed("`results` or `fail` is missing")),
    }
}

fn statuses(json: Json) -> Result<BTreeMap<String, String>, Problem> {
    let mut object = json.object("results")?;
    // A text such as "requestSubscribeMessage:ok", which is no status of a template.
    let _err_msg = object.take(ERR_MSG);
    let entries = object.into_entries();
    if entries.len() > MAX_RESULTS {
        return Err(Problem::malformed(format!("`results` may have {MAX_RESULTS} templates")));
    }
    let status = |(template, status): (String, Json)| {
        let name =
            if shown(&template).starts_with('`') { format!("results.{template}") } else { "results".into() };
        Ok((template, status.text(&name)?))
    };
    entries.into_iter().map(status).collect()
}

fn failure(json: Json) -> Result<Said, Problem> {
    let mut object = json.object("fail")?;
    let code = needed(object.take("code"), "fail.code")?.whole("fail.code")?;
    let message = object.take("message").map_or(Ok(String::new()), |json| json.text("fail.message"))?;
    object.end()?;
    Ok(Said::Fail { code, message: message.chars().take(MAX_MESSAGE_CHARS).collect() })
}

fn age(json: Json) -> Result<u32, Problem> {
    let age_s = json.whole("age_s")?;
    match u32::try_from(age_s) {
        Ok(seconds) if age_s <= MAX_AGE_S => Ok(seconds),
        Ok(_) | Err(_) => Err(Problem::malformed(format!("`age_s` must be 0 … {MAX_AGE_S}"))),
    }
}

fn bound_to(json: Json) -> Result<(Kind, AppointmentId), Problem> {
    let mut object = json.object("for")?;
    let kind = id(needed(object.take("kind"), "for.kind")?, "for.kind", Kind::parse)?;
    let name = id(needed(object.take("id"), "for.id")?, "for.id", AppointmentId::parse)?;
    object.end()?;
    Ok((kind, name))
}

fn tag_list(json: Json) -> Result<Vec<Tag>, Problem> {
    let tags = json.list("tags")?;
    if tags.len() > MAX_TAGS {
        return Err(Problem::malformed(format!("`tags` may have {MAX_TAGS} entries")));
    }
    let tag = |(at, json)| id(json, &format!("tags[{at}]"), Tag::parse);
    tags.into_iter().enumerate().map(tag).collect()
}

fn fields(json: Json, voice: Voice<'_>) -> Result<BTreeMap<FieldName, FieldValue>, Problem> {
    let entries = json.object("fields")?.into_entries();
    if entries.len() > MAX_FIELDS {
        return Err(Problem::malformed(format!("`fields` may have {MAX_FIELDS} entries")));
    }
    let field = |(name, json): (String, Json)| {
        let bad = |bad: BadId| Problem::malformed(format!("{} in `fields` is {bad}", shown(&name)));
        let parsed = FieldName::parse(&name).map_err(bad)?;
        let path = format!("fields.{name}");
        match voice {
            Voice::Session { fields } if !fields.contains(&parsed) => {
                return Err(Problem::not_for_sessions(&path));
            }
            Voice::Session { fields: _ } | Voice::Backend => {}
        }
        Ok((parsed, value(json, &path)?))
    };
    entries.into_iter().map(field).collect()
}

fn value(json: Json, name: &str) -> Result<FieldValue, Problem> {
    match json {
        Json::Text(text) if text.chars().count() > MAX_FIELD_CHARS => {
            Err(Problem::malformed(format!("`{name}` may have {MAX_FIELD_CHARS} characters")))
        }
        Json::Text(text) => Ok(FieldValue::Text(text)),
        Json::Whole(whole) => Ok(FieldValue::Whole(whole)),
        Json::Real(real) => Ok(FieldValue::Real(real)),
        Json::Bool(bool) => Ok(FieldValue::Bool(bool)),
        Json::Beyond => Err(Problem::malformed(format!("`{name}` is a number beyond 64 bits"))),
        Json::Null | Json::List(_) | Json::Object(_) => {
            Err(Problem::malformed(format!("`{name}` must be text, a number, true or false")))
        }
    }
}

fn zone(json: Json) -> Result<Zone, Problem> {
    let parsed = Zone::parse(&json.text("time_zone")?);
    parsed.map_err(|unknown| Problem::malformed(format!("`time_zone`: {unknown}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#""report":"r1","results":{"T":"accept"}"#;

    fn session(body: &[u8]) -> Result<ReportIn, Problem> {
        own_report(body, &[FieldName::parse("city").unwrap()])
    }

    /// What is wrong with `body`: the code and detail of its refusal.
    fn wrong<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        let problem = result.unwrap_err();
        let text = String::from_utf8(problem.bytes()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.get(9..12).unwrap();
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        format!("{status} {} {}", json["code"].as_str().unwrap(), json["detail"].as_str().unwrap())
    }

    #[test]
    fn what_a_session_sends_is_refused_by_key() {
        let more = |rest: &str| format!("{{{BASE},{rest}}}");
        let many = |n: usize, entry: fn(usize) -> String| (0..n).map(entry).collect::<Vec<_>>().join(",");
        let results =
            format!(r#"{{"report":"r1","results":{{{}}}}}"#, many(21, |i| format!(r#""T{i}":"accept""#)));
        let table: Vec<(String, &str)> = vec![
            (String::new(), "400 not_json"),
            ("nonsense".into(), "400 not_json"),
            (r#"{"report":"r1""#.into(), "400 not_json"),
            (more("") + "x", "400 not_json"),
            (r#"{"report":"\ud800"}"#.into(), "400 not_json"),
            ("[".repeat(500), "400 not_json"),
            ("[]".into(), "`the document` must be an object"),
            ("null".into(), "`the document` must be an object"),
            ("{}".into(), "`report` is missing"),
            (r#"{"report":"r1"}"#.into(), "`results` or `fail` is missing"),
            (more(r#""fail":{"code":1}"#), "`results` and `fail` exclude each other"),
            (more(r#""report":"r1""#), "`report` is there twice"),
            (more(r#""for":{"kind":"visit","id":"a","id":"b"}"#), "`id` is there twice"),
            (r#"{"report":"r1","results":{"T":"accept","T":"reject"}}"#.into(), "`T` is there twice"),
            (more(r#""extra":1"#), "`extra` is no key of the document"),
            (more(r#""Openid":"oSECRETSECRET""#), "`Openid` is no key"),
            (more(r#""a b\n":1"#), "a key is no key of the document"),
            (r#"{"report":1,"results":{}}"#.into(), "`report` must be text"),
            (r#"{"report":null,"results":{}}"#.into(), "`report` must be text"),
            (r#"{"report":"","results":{}}"#.into(), "`report` is not a report id"),
            (r#"{"report":"r.1","results":{}}"#.into(), "`report` is not a report id"),
            (format!(r#"{{"report":"{}","results":{{}}}}"#, "r".repeat(65)), "`report` is not a report id"),
            (r#"{"report":"r1","results":[]}"#.into(), "`results` must be an object"),
            (r#"{"report":"r1","results":{"T":1}}"#.into(), "`results.T` must be text"),
            (r#"{"report":"r1","results":{"T":null}}"#.into(), "`results.T` must be text"),
            (results, "`results` may have 20 templates"),
            (r#"{"report":"r1","fail":20004}"#.into(), "`fail` must be an object"),
            (r#"{"report":"r1","fail":{}}"#.into(), "`fail.code` is missing"),
            (r#"{"report":"r1","fail":{"code":"1"}}"#.into(), "`fail.code` must be a whole number"),
            (r#"{"report":"r1","fail":{"code":1,"message":2}}"#.into(), "`fail.message` must be text"),
            (r#"{"report":"r1","fail":{"code":1,"errMsg":"x"}}"#.into(), "`errMsg` is no key of fail"),
            (more(r#""age_s":-1"#), "`age_s` must be 0 … 15552000"),
            (more(r#""age_s":15552001"#), "`age_s` must be 0 … 15552000"),
            (more(r#""age_s":1.5"#), "`age_s` must be a whole number"),
            (more(r#""age_s":"1""#), "`age_s` must be a whole number"),
            (more(r#""age_s":99999999999999999999"#), "`age_s` must be a whole number"),
            (more(r#""time_zone":8"#), "`time_zone` must be text"),
            (more(r#""time_zone":"CST""#), "`time_zone`: unknown time zone, use Asia/Shanghai"),
            (more(r#""time_zone":"Mars/Base""#), "`time_zone`: unknown time zone"),
            (more(r#""openid":"oSECRETSECRET""#), "not_for_sessions `openid`"),
            (more(r#""unionid":"uSECRETSECRET""#), "not_for_sessions `unionid`"),
            (more(r#""tags":[]"#), "not_for_sessions `tags`"),
            (more(r#""fields":{"town":"x"}"#), "not_for_sessions `fields.town`"),
            (more(r#""fields":[]"#), "`fields` must be an object"),
            (more(r#""fields":{"City":"x"}"#), "`City` in `fields` is not a field name"),
            (more(r#""fields":{"city":null}"#), "`fields.city` must be text, a number"),
            (more(r#""fields":{"city":["x"]}"#), "`fields.city` must be text, a number"),
            (more(r#""fields":{"city":18446744073709551615}"#), "`fields.city` is a number beyond"),
            (more(&format!(r#""fields":{{"city":"{}"}}"#, "京".repeat(257))), "`fields.city` may have 256"),
            (more(r#""for":{"kind":"visit"}"#), "`for.id` is missing"),
            (more(r#""for":"A17""#), "`for` must be an object"),
        ];
        assert!(table.len() >= 40);
        for (body, expected) in table {
            let found = wrong(session(body.as_bytes()));
            assert!(found.contains(expected), "{body}: {found}");
            assert!(!found.contains("SECRET"), "{found}");
            let is_json = serde_json::from_str::<serde_json::Value>(&body).is_ok();
            assert!(found.starts_with(if is_json { "422" } else { "400" }), "{found}");
        }
        assert!(wrong(session(b"{\"report\":\"\xFF\"}")).starts_with("400"));
        assert!(wrong(session(b"\xEF\xBB\xBF{}")).starts_with("400"));
    }

    #[test]
    fn what_is_no_appointment_is_refused_by_key() {
        let more =
            |rest: &str| format!(r#"{{"openid":"oSECRETSECRET","at":"2026-03-01T09:00:00+08:00"{rest}}}"#);
        let many: Vec<String> = (0..65).map(|n| format!(r#""oSECRET{n:04}""#)).collect();
        let table: Vec<(String, &str)> = vec![
            ("[]".into(), "`the document` must be an object"),
            (r#"{"at":"2026-03-01T09:00:00Z"}"#.into(), "`openid` or `recipients` is missing"),
            (more(r#","recipients":["oSECRETSECRET"]"#), "exclude each other"),
            (r#"{"openid":"short","at":"2026-03-01T09:00:00Z"}"#.into(), "`openid` is not an openid"),
            (
                r#"{"recipients":[],"at":"2026-03-01T09:00:00Z"}"#.into(),
                "`recipients` must have 1–64 entries",
            ),
            (format!(r#"{{"recipients":[{}]}}"#, many.join(",")), "`recipients` must have 1–64 entries"),
            (r#"{"recipients":["oSECRETSECRET",1]}"#.into(), "`recipients[1]` must be text"),
            (r#"{"openid":"oSECRETSECRET"}"#.into(), "`at` is missing"),
            (r#"{"openid":"oSECRETSECRET","at":1772326800}"#.into(), "`at` must be text"),
            (r#"{"openid":"oSECRETSECRET","at":"2026-03-01 09:00"}"#.into(), "`at` must be an instant"),
            (r#"{"openid":"oSECRETSECRET","at":"2026-03-01T09:00:00"}"#.into(), "`at` must be an instant"),
            (r#"{"openid":"oSECRETSECRET","at":"2026-02-30T09:00:00Z"}"#.into(), "`at` must be an instant"),
            (more(r#","fields":{"Doctor":"x"}"#), "`Doctor` in `fields` is not a field name"),
            (more(r#","fields":{"doctor":null}"#), "`fields.doctor` must be text"),
            (more(r#","kind":"visit""#), "`kind` is no key"),
        ];
        for (body, expected) in table {
            let found = wrong(appointment(body.as_bytes()));
            assert!(found.contains(expected) && found.starts_with("422"), "{body}: {found}");
            assert!(!found.contains("SECRET"), "{found}");
        }
        assert!(appointment(more(r#","fields":{"doctor":"李","room":3}"#).as_bytes()).is_ok());
        for (path, expected) in
            [("visit", "404"), ("visit/", "422"), ("Visit/a", "422"), ("visit/a/b", "422")]
        {
            assert!(wrong(appointment_name(path)).starts_with(expected), "{path}");
        }
        assert!(appointment_name("visit/A-1.7_x").is_ok());
    }

    #[test]
    fn what_a_backend_sends_is_refused_by_key() {
        let more = |rest: &str| format!(r#"{{{BASE},"openid":"oSECRETSECRET",{rest}}}"#);
        let many = |n: usize, entry: fn(usize) -> String| (0..n).map(entry).collect::<Vec<_>>().join(",");
        let fields = |n| format!(r#""fields":{{{}}}"#, many(n, |i| format!(r#""f{i}":{i}"#)));
        let tags = |n| format!(r#""tags":[{}]"#, many(n, |i| format!(r#""t{i}""#)));
        let table: Vec<(String, &str)> = vec![
            (format!("{{{BASE}}}"), "`openid` is missing"),
            (format!(r#"{{{BASE},"openid":"short"}}"#), "`openid` is not an openid"),
            (format!(r#"{{{BASE},"openid":12}}"#), "`openid` must be text"),
            (more(r#""unionid":"""#), "`unionid` is not a unionid"),
            (more(r#""tags":"vip""#), "`tags` must be a list"),
            (more(r#""tags":["vip",3]"#), "`tags[1]` must be text"),
            (more(r#""tags":["vip",""]"#), "`tags[1]` is not a tag"),
            (more(&tags(33)), "`tags` may have 32 entries"),
            (more(&fields(33)), "`fields` may have 32 entries"),
            (more(r#""for":{"kind":"Visit","id":"A17"}"#), "`for.kind` is not a kind"),
            (more(r#""for":{"kind":"visit","id":"A/17"}"#), "`for.id` is not an appointment id"),
            (more(r#""for":{"kind":"visit","id":"A17","at":1}"#), "`at` is no key of for"),
        ];
        for (body, expected) in table {
            let found = wrong(named_report(body.as_bytes()));
            assert!(found.contains(expected) && found.starts_with("422 malformed"), "{body}: {found}");
            assert!(!found.contains("SECRET"), "{found}");
        }
        for body in [more(&tags(32)), more(&fields(32))] {
            assert!(named_report(body.as_bytes()).is_ok(), "{body}");
        }
    }

    #[test]
    fn a_whole_report_arrives_whole() {
        let body = r#"{"report":"r_1-A","openid":"o123456789","unionid":"u1",
            "results":{"T1":"accept","errMsg":"requestSubscribeMessage:ok","T 2":"what?"},
            "age_s":15552000,"for":{"kind":"visit","id":"A.17"},"tags":["vip"],"time_zone":"Asia/Shanghai",
            "fields":{"a":"京","b":-3,"c":1.5,"d":true}}"#;
        let (openid, report) = named_report(body.as_bytes()).unwrap();
        assert_eq!(openid.as_str(), "o123456789");
        assert_eq!(report.unionid.as_ref().map(UnionId::as_str), Some("u1"));
        assert_eq!(
            format!("{report:?}"),
            r#"ReportIn { id: "r_1-A", said: Results({"T 2": "what?", "T1": "accept"}), age_s: 15552000, "#
                .to_owned()
                + r#"bound_to: Some(("visit", "A.17")), unionid: Some(UnionId(…)), tags: ["vip"], "#
                + r#"fields: {"a": Text("京"), "b": Whole(-3), "c": Real(1.5), "d": Bool(true)}, "#
                + "time_zone: Some(Asia/Shanghai) }"
        );
    }

    #[test]
    fn a_failure_is_kept_short() {
        let body = format!(r#"{{"report":"r1","fail":{{"code":-20004,"message":"{}"}}}}"#, "京".repeat(300));
        let report = session(body.as_bytes()).unwrap();
        let Said::Fail { code, message } = report.said else { panic!("not a failure") };
        assert_eq!((code, message.chars().count()), (-20004, 256));
        let silent = session(br#"{"report":"r1","fail":{"code":1}}"#).unwrap();
        assert!(matches!(silent.said, Said::Fail { message, .. } if message.is_empty()));
    }

    #[test]
    fn a_login_is_a_code_and_nothing_else() {
        assert_eq!(login(br#"{"code":"0a1b2c"}"#).unwrap(), "0a1b2c");
        let table = [
            (r#"{"code":"a","openid":"oSECRETSECRET"}"#, "`openid` is no key"),
            (r#"{"code":"SECRET SECRET"}"#, "`code` must be 1–256"),
            (r#"{"code":""}"#, "`code` must be 1–256"),
            (r#"{"code":7}"#, "`code` must be text"),
            (r#"{"code":"a","code":"b"}"#, "`code` is there twice"),
            ("{}", "`code` is missing"),
            ("code=a", "400 not_json"),
        ];
        for (body, expected) in table {
            let found = wrong(login(body.as_bytes()));
            assert!(found.contains(expected) && !found.contains("SECRET"), "{body}: {found}");
        }
        assert!(login(format!(r#"{{"code":"{}"}}"#, "a".repeat(257)).as_bytes()).is_err());
    }
}
