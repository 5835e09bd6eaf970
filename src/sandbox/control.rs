//! The control of a sandbox over HTTP, for tests in other processes and languages.
//!
//! Everything is JSON in and out; what is wrong is answered with 400 and `{"error"}`. There is no login: it
//! listens on loopback, and what it guards is a fake.
//!
//! ```text
//! POST   /sandbox/login_code    {"appid","openid","unionid"}                     → {"code"}; the unionid may be left out
//! POST   /sandbox/tap           {"appid","openid","template","answer":"accept"|"accept_with_audio"
//!                                |"accept_with_alert"|"accept_with_force_push"|"reject","keep":"once"|"always"}
//!                                                                                → {"status","remaining"}
//! POST   /sandbox/grant_many    {"appid","openid","template","n"}                → {"remaining"}
//! POST   /sandbox/revoke        {"appid","openid","template"}                    → {"remaining"}
//! POST   /sandbox/leave         {"appid","openid"}                               → {}
//! POST   /sandbox/punish        {"appid","kind":2,"detail"}                      → {}
//! POST   /sandbox/push          {"appid","url","token","aes_key","mode":"plain"|"compatible"|"safe",
//!                                "form":"xml"|"json"|"json_of_one"}              → {}, once the receiver echoed a trial
//! DELETE /sandbox/push?appid=                                                    → {}
//! POST   /sandbox/limit         {"appid","cgi_path","daily_limit","call_count","refresh_second"}   → {}
//! POST   /sandbox/ban_template, /sandbox/delete_template  {"appid","template"}   → {"known"}
//! POST   /sandbox/revoke_tokens {"appid"}                                        → {}
//! POST   /sandbox/expire_tokens {"appid"}                                        → {}
//! POST   /sandbox/refuse_tokens {"appid","tokens":"refused"|"ruled"}             → {}
//! POST   /sandbox/templates     [{"id","title","kind":"one_time"|"long_term",
//!                                 "fields":[{"key","label","values":[]}]}], all that there are from now on   → {}
//! POST   /sandbox/faults        [{"api":"send"|"token"|"login"|"templates"|"quota"|"push",
//!                                 "what":"errcode"|"status"|"garbage"|"delay"|"destroy_before"|"destroy_after"
//!                                       |"hang"|"truncate"|"repeat"|"no_msgid",
//!                                 "stage":"before"|"after",
//!                                 "code":-1,"msg":"of an errcode","body":"of a status","delay_ms":0,
//!                                 "n":1,"openid","template","event","skip":0,"at_most":null,"share":1.0,"seed":0}]   → {}
//! DELETE /sandbox/faults                                                         → {}
//! GET    /sandbox/remaining?appid=&openid=&template=                             → {"remaining"}
//! GET    /sandbox/cards?openid=     → [{"title","template","fields":[{"label","key","value"}],
//!                                       "page","at","msgid","receipt":null|0}]
//! GET    /sandbox/totals            → {"accepted","refused":{"43101":n},"duplicates","accepted_but_unanswered",
//!                                      "in_flight","in_flight_max","begun","token_calls","connections","change"}
//! GET    /sandbox/in_flight         → {"in_flight"}
//! GET    /sandbox/pushes            → {"told","tries","taken","lost","given_up","under_way"}
//! GET    /sandbox/sends?from=0      → [{"at","appid","openid","template","page","data":{},
//!                                       "msgid"|"errcode","answered"}]
//! GET    /sandbox/changes?after=N   → {"change"}, as soon as it is larger than N
//! ```
//!
//! Instants are RFC 3339 in UTC with microseconds; a msgid is a text here, because it exceeds 2^53. A send with
//! neither msgid nor errcode was not looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::{Asked, Reply};
use super::books::{Answer, Outcome, SendRecord};
use super::faults::{Api, Fault, MAX_FAULTS, Stage, What, When};
use super::platform::{Card, Keep, Platform};
use super::post::{Push, Pushes};
use super::push::{Form, Mode};
use super::quota::Limit;
use super::tokens::Acceptance;
use super::{Field, Template, TemplateKind};

/// Answers a request under `/sandbox/`.
pub(super) async fn answer(platform: &Platform, asked: &Asked) -> Reply {
    let done = match (&asked.method, asked.path.strip_prefix("/sandbox/").unwrap_or_default()) {
        (&Method::POST, "push") => match read::<PushShape>(&asked.body) {
            Ok(PushShape { appid, url, token, aes_key, mode, form }) => {
                let push = Push { url, token, aes_key, mode: mode.into(), form: form.into() };
                let kept = platform.try_push(&appid, &push).await;
                kept.map(|()| json!({})).map_err(|error| error.to_string())
            }
            Err(error) => Err(error),
        },
        (&Method::DELETE, "push") => {
            let ended = platform.set_push(&asked.param("appid").unwrap_or_default(), None);
            ended.map(|()| json!({})).map_err(|error| error.to_string())
        }
        (&Method::POST, name) => order(platform, name, &asked.body),
        (&Method::DELETE, "faults") => {
            platform.clear_faults();
            Ok(json!({}))
        }
        (&Method::GET, "changes") => {
            let after = number(asked, "after");
            let mut changes = platform.changes();
            // The sender lives as long as the platform that is borrowed here.
            let change = changes.wait_for(|change| *change > after).await.map_or(0, |change| *change);
            Ok(json!({"change": change}))
        }
        (&Method::GET, name) => question(platform, name, asked),
        _ => Err("no such route".to_owned()),
    };
    match done {
        Ok(body) => Reply::json(&body),
        Err(error) => Reply { status: 400, ..Reply::json(&json!({"error": error})) },
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfApp {
    appid: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    appid: String,
    openid: String,
    #[serde(default)]
    unionid: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitShape {
    appid: String,
    cgi_path: String,
    daily_limit: u64,
    call_count: u64,
    refresh_second: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTemplate {
    appid: String,
    template: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Punish {
    appid: String,
    kind: u8,
    #[serde(default)]
    detail: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PushShape {
    appid: String,
    url: String,
    token: String,
    #[serde(default)]
    aes_key: String,
    mode: ModeShape,
    form: FormShape,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ModeShape {
    Plain,
    Compatible,
    Safe,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FormShape {
    Xml,
    Json,
    JsonOfOne,
}

impl From<ModeShape> for Mode {
    fn from(mode: ModeShape) -> Self {
        match mode {
            ModeShape::Plain => Self::Plain,
            ModeShape::Compatible => Self::Compatible,
            ModeShape::Safe => Self::Safe,
        }
    }
}

impl From<FormShape> for Form {
    fn from(form: FormShape) -> Self {
        match form {
            FormShape::Xml => Self::Xml,
            FormShape::Json => Self::Json,
            FormShape::JsonOfOne => Self::JsonOfOne,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPair {
    appid: String,
    openid: String,
    template: String,
    #[serde(default)]
    n: u64,
    #[serde(default)]
    answer: AnswerShape,
    #[serde(default)]
    keep: KeepShape,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum AnswerShape {
    #[default]
    Accept,
    AcceptWithAudio,
    AcceptWithAlert,
    AcceptWithForcePush,
    Reject,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum KeepShape {
    #[default]
    Once,
    Always,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refuse {
    appid: String,
    tokens: AcceptanceShape,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum AcceptanceShape {
    Ruled,
    Refused,
}

fn order(platform: &Platform, name: &str, body: &Bytes) -> Result<Value, String> {
    match name {
        "login_code" => {
            let Login { appid, openid, unionid } = read(body)?;
            let code = match unionid {
                None => platform.login_code(&appid, &openid),
                Some(unionid) => platform.login_code_of(&appid, &openid, &unionid),
            };
            Ok(json!({"code": code}))
        }
        "tap" => {
            let OfPair { appid, openid, template, answer, keep, n: _ } = read(body)?;
            let answer = match answer {
                AnswerShape::Accept => Answer::Accept,
                AnswerShape::AcceptWithAudio => Answer::AcceptWithAudio,
                AnswerShape::AcceptWithAlert => Answer::AcceptWithAlert,
                AnswerShape::AcceptWithForcePush => Answer::AcceptWithForcePush,
                AnswerShape::Reject => Answer::Reject,
            };
            let keep = match keep {
                KeepShape::Once => Keep::Once,
                KeepShape::Always => Keep::Always,
            };
            let status = platform.tap(&appid, &openid, &template, answer, keep).map_err(|e| e.to_string())?;
            Ok(json!({"status": status, "remaining": platform.remaining(&appid, &openid, &template)}))
        }
        "grant_many" => {
            let OfPair { appid, openid, template, n, answer: _, keep: _ } = read(body)?;
            platform.grant_many(&appid, &openid, &template, n).map_err(|e| e.to_string())?;
            Ok(json!({"remaining": platform.remaining(&appid, &openid, &template)}))
        }
        "revoke" => {
            let OfPair { appid, openid, template, n: _, answer: _, keep: _ } = read(body)?;
            platform.revoke(&appid, &openid, &template).map_err(|e| e.to_string())?;
            Ok(json!({"remaining": 0}))
        }
        "leave" => {
            let Login { appid, openid, unionid: _ } = read(body)?;
            platform.leave(&appid, &openid).map_err(|e| e.to_string())?;
            Ok(json!({}))
        }
        "punish" => {
            let Punish { appid, kind, detail } = read(body)?;
            platform.punish(&appid, kind, &detail);
            Ok(json!({}))
        }
        "limit" => {
            let LimitShape { appid, cgi_path, daily_limit, call_count, refresh_second } = read(body)?;
            let limit = Limit { daily: daily_limit, calls: call_count, refresh_s: refresh_second };
            if platform.limit(&appid, &cgi_path, limit) {
                Ok(json!({}))
            } else {
                Err("no such path".to_owned())
            }
        }
        "ban_template" => {
            let OfTemplate { appid, template } = read(body)?;
            Ok(json!({"known": platform.ban_template(&appid, &template)}))
        }
        "delete_template" => {
            let OfTemplate { appid, template } = read(body)?;
            Ok(json!({"known": platform.delete_template(&appid, &template)}))
        }
        "revoke_tokens" => {
            platform.revoke_tokens(&read::<OfApp>(body)?.appid);
            Ok(json!({}))
        }
        "expire_tokens" => {
            platform.expire_tokens(&read::<OfApp>(body)?.appid);
            Ok(json!({}))
        }
        "refuse_tokens" => {
            let Refuse { appid, tokens } = read(body)?;
            let acceptance = match tokens {
                AcceptanceShape::Ruled => Acceptance::Ruled,
                AcceptanceShape::Refused => Acceptance::Refused,
            };
            platform.refuse_tokens(&appid, acceptance);
            Ok(json!({}))
        }
        "templates" => {
            let templates: Vec<TemplateShape> = read(body)?;
            platform.set_templates(templates.into_iter().map(TemplateShape::template).collect());
            Ok(json!({}))
        }
        "faults" => {
            let faults: Vec<FaultShape> = read(body)?;
            if faults.len() > MAX_FAULTS {
                return Err(format!("more than {MAX_FAULTS} faults"));
            }
            platform.set_faults(faults.into_iter().map(FaultShape::fault).collect());
            Ok(json!({}))
        }
        _ => Err("no such order".to_owned()),
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateShape {
    id: String,
    title: String,
    kind: KindShape,
    fields: Vec<FieldShape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindShape {
    OneTime,
    LongTerm,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldShape {
    key: String,
    label: String,
    #[serde(default)]
    values: Vec<String>,
}

impl TemplateShape {
    fn template(self) -> Template {
        let field = |FieldShape { key, label, values }| Field { key, label, enum_values: values };
        Template {
            id: self.id,
            title: self.title,
            kind: match self.kind {
                KindShape::OneTime => TemplateKind::OneTime,
                KindShape::LongTerm => TemplateKind::LongTerm,
            },
            fields: self.fields.into_iter().map(field).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultShape {
    api: ApiShape,
    what: WhatShape,
    #[serde(default)]
    stage: StageShape,
    #[serde(default)]
    code: i32,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default = "once")]
    n: u8,
    openid: Option<String>,
    template: Option<String>,
    event: Option<String>,
    #[serde(default)]
    skip: u64,
    at_most: Option<u64>,
    #[serde(default = "whole")]
    share: f64,
    #[serde(default)]
    seed: u64,
}

fn once() -> u8 {
    1
}

fn whole() -> f64 {
    1.0
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ApiShape {
    Send,
    Token,
    Login,
    Templates,
    Quota,
    Push,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum StageShape {
    #[default]
    Before,
    After,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhatShape {
    Errcode,
    Status,
    Garbage,
    Delay,
    DestroyBefore,
    DestroyAfter,
    Hang,
    Truncate,
    Repeat,
    NoMsgid,
}

impl FaultShape {
    fn fault(self) -> Fault {
        Fault {
            api: match self.api {
                ApiShape::Send => Api::Send,
                ApiShape::Token => Api::Token,
                ApiShape::Login => Api::Login,
                ApiShape::Templates => Api::Templates,
                ApiShape::Quota => Api::Quota,
                ApiShape::Push => Api::Push,
            },
            when: When {
                openid: self.openid,
                template: self.template,
                event: self.event,
                skip: self.skip,
                at_most: self.at_most,
                share: self.share,
                seed: self.seed,
            },
            stage: match self.stage {
                StageShape::Before => Stage::Before,
                StageShape::After => Stage::After,
            },
            what: match self.what {
                WhatShape::Errcode => What::Errcode { code: self.code, msg: self.msg },
                WhatShape::Status => {
                    What::Status { code: u16::try_from(self.code).unwrap_or(500), body: self.body }
                }
                WhatShape::Garbage => What::Garbage,
                WhatShape::Delay => What::Delay(Duration::from_millis(self.delay_ms)),
                WhatShape::DestroyBefore => What::DestroyBefore,
                WhatShape::DestroyAfter => What::DestroyAfter,
                WhatShape::Hang => What::Hang,
                WhatShape::Truncate => What::Truncate,
                WhatShape::Repeat => What::Repeat(self.n),
                WhatShape::NoMsgid => What::NoMsgid,
            },
        }
    }
}

fn number(asked: &Asked, name: &str) -> u64 {
    asked.param(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn question(platform: &Platform, name: &str, asked: &Asked) -> Result<Value, String> {
    let param = |name: &str| asked.param(name).unwrap_or_default();
    match name {
        "remaining" => {
            let left = platform.remaining(&param("appid"), &param("openid"), &param("template"));
            Ok(json!({"remaining": left}))
        }
        "cards" => Ok(platform.cards(&param("openid")).iter().map(card).collect()),
        "totals" => {
            let change = *platform.changes().borrow();
            let totals = platform.totals();
            let refused: BTreeMap<String, u64> =
                totals.refused.iter().map(|(code, n)| (code.to_string(), *n)).collect();
            Ok(json!({
                "accepted": totals.accepted,
                "refused": refused,
                "duplicates": totals.duplicates,
                "accepted_but_unanswered": totals.accepted_but_unanswered,
                "in_flight": totals.in_flight,
                "in_flight_max": totals.in_flight_max,
                "begun": totals.begun,
                "token_calls": totals.token_calls,
                "connections": totals.connections,
                "change": change,
            }))
        }
        "in_flight" => Ok(json!({"in_flight": platform.in_flight()})),
        "pushes" => {
            let Pushes { told, tries, taken, lost, given_up, under_way } = platform.pushes();
            Ok(json!({
                "told": told,
                "tries": tries,
                "taken": taken,
                "lost": lost,
                "given_up": given_up,
                "under_way": under_way,
            }))
        }
        "sends" => {
            let from = usize::try_from(number(asked, "from")).unwrap_or(usize::MAX);
            Ok(platform.sends_from(from).iter().map(send).collect())
        }
        _ => Err("no such question".to_owned()),
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn card(card: &Card) -> Value {
    let field =
        |(label, key, value): &(String, String, String)| json!({"label": label, "key": key, "value": value});
    json!({
        "title": card.title,
        "template": card.template,
        "fields": card.fields.iter().map(field).collect::<Vec<_>>(),
        "page": card.page,
        "at": instant(card.at),
        "msgid": card.msgid.to_string(),
        "receipt": card.receipt,
    })
}

fn send(send: &SendRecord) -> Value {
    let mut shape = json!({
        "at": instant(send.at),
        "appid": send.appid,
        "openid": send.openid,
        "template": send.template,
        "page": send.page,
        "data": send.data,
        "answered": send.answered,
    });
    if let Value::Object(shape) = &mut shape {
        match send.outcome {
            Outcome::Accepted { msgid } => shape.insert("msgid".to_owned(), msgid.to_string().into()),
            Outcome::Refused { errcode } => shape.insert("errcode".to_owned(), errcode.into()),
            Outcome::Unhandled => None,
        };
    }
    shape
}
