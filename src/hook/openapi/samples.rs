//! The examples of the document: answers and refusals as the door makes them, and requests that it takes.

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::super::answer::{self, Answer};
use super::super::problem::{Problem, Refusal};
use crate::domain::appointment::Appointment;
use crate::domain::consent::Manner;
use crate::domain::id::{
    AppointmentId, FieldName, Kind, OpenId, Ref, ReportId, RuleId, Tag, TemplateId, UnionId,
};
use crate::domain::recipient::{FieldValue, Fields, Profile};
use crate::domain::zone::Zone;
use crate::flow::intake::appointments::AppointmentError;
use crate::flow::intake::recipients::{Person, RecipientError};
use crate::flow::intake::{Ignored, ReportError, ReportOut, Subject, Upcoming};
use crate::store::Unavailable;
use crate::wechat::LoginError;
use crate::wechat::push::Refused;

/// Examples and their names.
pub(in crate::hook) type Examples = Vec<(&'static str, Value)>;

const TEMPLATE: &str = "VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc";
const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

pub(super) fn logins() -> Examples {
    vec![("code", json!({ "code": "0a3Bcd000abcDEF1gh200IJklm3Bcd0N" }))]
}

pub(super) fn reports() -> Examples {
    let accepted = json!({
        "report": "r-8f14e45f", "results": { TEMPLATE: "accept", "errMsg": "requestSubscribeMessage:ok" }, "age_s": 4,
    });
    let failed = json!({
        "report": "r-9a0364b9", "fail": { "code": 20004, "message": "requestSubscribeMessage:fail" },
        "fields": { "city": "上海" }, "time_zone": "Asia/Shanghai",
    });
    let named = json!({
        "report": "r-1ff1de77", "openid": OPENID, "results": { TEMPLATE: "accept" },
        "unionid": "oX-3sv7r1ABCdef", "tags": ["habit"], "for": { "kind": "visit", "id": "A17" },
    });
    vec![("accepted", accepted), ("failed", failed), ("byABackend", named)]
}

/// What is signed with the Token `remindtoken` at 1767225601 with the nonce `nonce01`: made outside of this crate.
const ENCRYPTED: &str = "Q3stYC6hdFzMh9T8HCvyDPiPA2Rtqhn7FBuu3WpwJrnJHnREwn7UxvnMGgpzF3dc0yU0AW0qzKtBucEtIaDxZSrRP0qnFO1X0MOQ27ZD6L8TIYdcXwGEJEBfDK5nvCR08Zblc1zNNucGpM3ytomY8hADLc9CSZqJ5rtBKLWQgzIz4hq65AyTWSFaLJF0Q8upEZMHmwFVhMSkQqT5n+dhzb3n7qiDmsxoT1NmLNm6+K+XS8A8+HlL0YzwbLMcj/nP1FbHxVQRqnBe2bcETIhTEQIC2jxQYzw3pG4MXJ/80dpRCAMmPxvntA/x9fY91ESYn9I8VF9XeY0v5C7+KDwPMA==";

pub(super) fn pushed_json() -> Examples {
    let plain = json!({
        "ToUserName": "gh_demo", "FromUserName": OPENID, "CreateTime": 1_767_225_600, "MsgType": "event",
        "Event": "subscribe_msg_change_event",
        "List": { "TemplateId": TEMPLATE, "SubscribeStatusString": "reject" },
    });
    let mut compatible = plain.clone();
    compatible["Encrypt"] = ENCRYPTED.into();
    vec![
        ("safe", json!({ "ToUserName": "gh_demo", "Encrypt": ENCRYPTED })),
        ("compatible", compatible),
        ("plain", plain),
    ]
}

pub(super) fn pushed_xml() -> Examples {
    let event = format!(
        "<ToUserName><![CDATA[gh_demo]]></ToUserName><FromUserName><![CDATA[{OPENID}]]></FromUserName>\
         <CreateTime>1767225600</CreateTime><MsgType><![CDATA[event]]></MsgType>\
         <Event><![CDATA[subscribe_msg_change_event]]></Event><SubscribeMsgChangeEvent><List>\
         <TemplateId><![CDATA[{TEMPLATE}]]></TemplateId><SubscribeStatusString><![CDATA[reject]]></SubscribeStatusString>\
         </List></SubscribeMsgChangeEvent>"
    );
    let encrypt = format!("<Encrypt><![CDATA[{ENCRYPTED}]]></Encrypt>");
    vec![
        ("safe", format!("<xml><ToUserName><![CDATA[gh_demo]]></ToUserName>{encrypt}</xml>").into()),
        ("compatible", format!("<xml>{event}{encrypt}</xml>").into()),
        ("plain", format!("<xml>{event}</xml>").into()),
    ]
}

pub(super) fn recipients() -> Examples {
    vec![(
        "whole",
        json!({
            "unionid": "oX-3sv7r1ABCdef", "ref": "patient 7", "tags": ["habit"], "fields": { "city": "上海", "age": 44 },
            "time_zone": "Asia/Shanghai", "muted": false,
        }),
    )]
}

pub(super) fn appointments() -> Examples {
    let at = "2027-03-01T09:00:00+08:00";
    let one = json!({ "openid": OPENID, "at": at, "fields": { "doctor": "李医生" } });
    let several = json!({ "recipients": [OPENID, "oUpF8uMuAJO_M2pxb1Q9zNjWeS7p"], "at": at });
    vec![("oneRecipient", one), ("several", several)]
}

/// Answers of the shape `name`.
pub(super) fn answers(name: &str) -> Examples {
    let (kind, id) = visit();
    let answer = |name, answer| vec![(name, body(answer))];
    match name {
        "Health" => answer("works", answer::healthy()),
        "Session" => answer(
            "session",
            answer::login("wlQ0Zx…", "q3T8lmXw0Vd-1yRa", at("2027-02-28T14:00:00Z"), &[template()]),
        ),
        "Booked" => {
            let out = |duplicate| ReportOut {
                balances: [(template(), 3)].into(),
                ask: vec![template()],
                ignored: Vec::new(),
                duplicate,
            };
            let ignored = Ignored { template: TEMPLATE.into(), status: "ban".into(), why: "not_granted" };
            let banned = ReportOut { ignored: vec![ignored], ..out(false) };
            let report = ReportId::parse("r-8f14e45f").unwrap();
            [("booked", out(false)), ("again", out(true)), ("banned", banned)]
                .map(|(name, out)| (name, body(answer::consents(&report, &out))))
                .to_vec()
        }
        "Ask" => answer("ask", answer::ask(&[template()])),
        "Me" => answer("me", answer::me(&person())),
        "Recipient" => answer("recipient", answer::recipient(&openid(), &person())),
        "Appointment" => {
            let stands = Appointment {
                recipients: [openid()].into(),
                at: at("2027-03-01T01:00:00Z"),
                fields: fields("doctor", "李医生"),
            };
            answer("stands", answer::appointment((&kind, &id), Some(&stands)))
        }
        "DeletedAppointment" => answer("deleted", answer::appointment((&kind, &id), None)),
        "Erased" => answer("erased", answer::erased()),
        other => panic!("no sample of {other}"),
    }
}

/// A problem document of this kind.
pub(super) fn problem(refusal: Refusal) -> Value {
    let problem: Problem = match refusal {
        Refusal::BrokenBody => Problem::broken_body(),
        Refusal::NotJson => Problem::not_json(),
        Refusal::Identity => Problem::identity(),
        Refusal::BadCode => LoginError::BadCode.into(),
        Refusal::NotGenuine => Refused::NotGenuine.into(),
        Refusal::UnreadableEvent => Refused::Unreadable.into(),
        Refusal::RiskyUser => LoginError::RiskyUser.into(),
        Refusal::NotFound => Problem::no_route(),
        Refusal::Method => Problem::method("GET, HEAD"),
        Refusal::SlowBody => Problem::slow_body(),
        Refusal::Conflict => ReportError::Conflict.into(),
        Refusal::RefTaken => RecipientError::RefTaken.into(),
        Refusal::Replayed => AppointmentError::Replayed.into(),
        Refusal::TooLargeBody => Problem::too_large(super::super::server::BODY_BYTES),
        Refusal::Malformed => Problem::malformed("`time_zone` must be text"),
        Refusal::NotForSessions => Problem::not_for_sessions("openid"),
        Refusal::TooLarge => RecipientError::TooLarge.into(),
        Refusal::UnknownApp => Problem::app("`?app=` names no app"),
        Refusal::UnknownAppointment => Problem::unknown_appointment(),
        Refusal::AddressConnections => Problem::address_connections(),
        Refusal::Rate => Problem::rate(7),
        Refusal::AllConnections => Problem::all_connections(),
        Refusal::Platform => LoginError::Unavailable.into(),
        Refusal::Unavailable => Unavailable.into(),
    };
    let document = body(problem.answer());
    assert_eq!(document["code"], refusal.row().1, "a sample of another kind");
    document
}

fn body(answer: Answer) -> Value {
    let body = answer.into_body().collect().now_or_never().expect("a body that is there").unwrap();
    serde_json::from_slice(&body.to_bytes()).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn template() -> TemplateId {
    TemplateId::parse(TEMPLATE).unwrap()
}

fn openid() -> OpenId {
    OpenId::parse(OPENID).unwrap()
}

fn visit() -> (Kind, AppointmentId) {
    (Kind::parse("visit").unwrap(), AppointmentId::parse("A17").unwrap())
}

fn fields(name: &str, value: &str) -> Fields {
    [(FieldName::parse(name).unwrap(), FieldValue::Text(value.into()))].into()
}

fn person() -> Person {
    let (kind, id) = visit();
    let coming = |rule: &str, due_at: &str, about| Upcoming {
        rule: RuleId::parse(rule).unwrap(),
        template: template(),
        due_at: at(due_at),
        about,
    };
    let about = Subject { kind, id, at: at("2027-03-01T01:00:00Z") };
    Person {
        profile: Profile {
            unionid: Some(UnionId::parse("oX-3sv7r1ABCdef").unwrap()),
            reference: Some(Ref::parse("patient 7").unwrap()),
            tags: [Tag::parse("habit").unwrap()].into(),
            fields: fields("city", "上海"),
            time_zone: Some(Zone::SHANGHAI),
            muted: false,
        },
        balances: [(template(), 3)].into(),
        manners: [(template(), Manner::Audio)].into(),
        upcoming: vec![
            coming("visit-tomorrow", "2027-02-28T12:00:00Z", Some(about)),
            coming("drink-water", "2027-03-01T02:00:00Z", None),
        ],
    }
}
