//! The platform's endpoints: what a request says, what the books make of it, what the answer looks like. Templates are in `shelf`,
//! counts of calls in `quota`.
//!
//! Errors are HTTP 200 with an errcode, as on the platform. Where the order of checks is not known it is:
//! body, access token, openid in flight, faults, openid, template, words of the body, values, consent.
//! Sources: pages `api_sendmessage`, `api_getstableaccesstoken`, `api_getaccesstoken` and code2Session, read 2026-11-22.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::books::{Message, NotAccepted, Outcome};
use super::faults::{Api, Fate, Of, What};
use super::fields::{self, BadValue};
use super::login::BadCode;
use super::platform::{Flight, Inner, State};
use super::push::Told;
use super::quota::{self, SEND};
use super::shelf::{self, Found};
use super::tokens::{BadToken, Mint, Refresh};
use super::{Template, TemplateKind};

/// The content type of most answers, as captured from the platform in 2023.
const JSON: &str = "application/json; encoding=utf-8";

/// An HTTP answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

/// How a request ends on the wire.
#[derive(Debug)]
pub(super) enum Ending {
    /// With an answer.
    Whole(Reply),
    /// With the first half of an answer.
    Half(Reply),
    /// With a reset.
    Reset,
}

/// A refusal of the platform, without its rid.
#[derive(Debug)]
pub(super) struct Refusal {
    code: i32,
    msg: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(code: i32, msg: &'static str) -> Self {
        Self { code, msg: Cow::Borrowed(msg) }
    }

    fn reply(&self, mint: &mut Mint) -> Reply {
        let (a, b) = (mint.number(), mint.number());
        let rid = format!("{:08x}-{:08x}-{:08x}", a >> 32, a & 0xffff_ffff, b >> 32);
        Reply::json(&json!({"errcode": self.code, "errmsg": format!("{} rid: {rid}", self.msg)}))
    }
}

impl Reply {
    pub(super) fn json(body: &Value) -> Self {
        Self { status: 200, content_type: JSON, body: body.to_string().into() }
    }

    pub(super) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain", body: body.into() }
    }
}

/// A request whose body has been read.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: Bytes,
}

impl Asked {
    /// The value of `name` in the query.
    pub(super) fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, text) = pairs.find(|(key, _)| *key == name)?;
        if !text.contains(['%', '+']) {
            return Some(Cow::Borrowed(text));
        }
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let mut nibble = || rest.next().and_then(|b| char::from(b).to_digit(16));
                    let (high, low) = (nibble()?, nibble()?);
                    u8::try_from(high * 16 + low).ok()?
                }
                other => other,
            });
        }
        Some(Cow::Owned(String::from_utf8(bytes).ok()?))
    }
}

/// Answers a request that is no send.
type Work = fn(&Inner, &mut State, &Asked) -> Result<Reply, Refusal>;

/// What is behind a path: how it is asked, whose faults it meets, and what answers.
fn door(path: &str) -> Option<(Method, Api, Work)> {
    Some(match path {
        "/cgi-bin/stable_token" => (Method::POST, Api::Token, stable_token),
        "/cgi-bin/token" => (Method::GET, Api::Token, token),
        "/sns/jscode2session" => (Method::GET, Api::Login, login),
        "/wxaapi/newtmpl/gettemplate" => (Method::GET, Api::Templates, shelf::list),
        "/wxaapi/newtmpl/addtemplate" => (Method::POST, Api::Templates, shelf::add),
        "/wxaapi/newtmpl/deltemplate" => (Method::POST, Api::Templates, shelf::delete),
        "/wxaapi/newtmpl/getcategory" => (Method::GET, Api::Templates, shelf::categories),
        "/wxaapi/newtmpl/getpubtemplatetitles" => (Method::GET, Api::Templates, shelf::titles),
        "/wxaapi/newtmpl/getpubtemplatekeywords" => (Method::GET, Api::Templates, shelf::keywords),
        "/cgi-bin/openapi/quota/get" => (Method::POST, Api::Quota, quota::get),
        "/cgi-bin/openapi/quota/clear" => (Method::POST, Api::Quota, quota::clear_path),
        "/cgi-bin/clear_quota" => (Method::POST, Api::Quota, quota::clear_all),
        "/cgi-bin/clear_quota/v2" => (Method::POST, Api::Quota, quota::clear_by_secret),
        "/cgi-bin/openapi/rid/get" => (Method::POST, Api::Quota, quota::rid),
        _ => return None,
    })
}

/// Answers a request to the platform; what is refused can be asked for by its rid.
pub(super) async fn answer(inner: &Arc<Inner>, asked: &Asked) -> Ending {
    let began = inner.clock.now();
    let ending = behind_the_door(inner, asked).await;
    // What is taken is short or has no rid, and must not wait for the lock again.
    if let Ending::Whole(Reply { status: 200, body, .. }) = &ending
        && !body.starts_with(br#"{"errcode":0"#)
    {
        let ended = inner.clock.now();
        let mut state = inner.state();
        let state = &mut *state;
        let appid = asked.param("access_token").and_then(|token| state.tokens.check(&token, began).ok());
        state.quotas.remember(appid, asked, body, (began, ended));
    }
    ending
}

async fn behind_the_door(inner: &Arc<Inner>, asked: &Asked) -> Ending {
    let wanted = match door(&asked.path) {
        None if asked.path != SEND => return Ending::Whole(Reply::text(404, "404 page not found")),
        None if asked.method == Method::POST => return send(inner, asked).await,
        None => Method::POST,
        Some((method, api, work)) if asked.method == method => {
            return through(inner, api, |state| work(inner, state, asked)).await;
        }
        Some((method, ..)) => method,
    };
    let refusal = if asked.path.starts_with("/wxaapi/") {
        Refusal::new(404, "not found")
    } else if wanted == Method::POST {
        Refusal::new(43002, "require POST method")
    } else {
        Refusal::new(43001, "require GET method")
    };
    refused(inner, &refusal)
}

fn refused(inner: &Inner, refusal: &Refusal) -> Ending {
    Ending::Whole(refusal.reply(&mut inner.state().mint))
}

/// Handles a request that is no send, with the faults that are its fate.
async fn through(inner: &Inner, api: Api, work: impl FnOnce(&mut State) -> Result<Reply, Refusal>) -> Ending {
    if api == Api::Token {
        inner.token_calls.fetch_add(1, Ordering::Relaxed);
    }
    inner.changed();
    let fate = inner.state().faults.draw(api, None);
    wait(inner, fate.delay_before).await;
    if let Some(what) = fate.before {
        return strike(inner, what, None).await;
    }
    let reply = {
        let mut state = inner.state();
        match work(&mut state) {
            Ok(reply) => reply,
            Err(refusal) => refusal.reply(&mut state.mint),
        }
    };
    wait(inner, fate.delay_after).await;
    match fate.after {
        Some(what) => strike(inner, what, Some(reply)).await,
        None => Ending::Whole(reply),
    }
}

async fn wait(inner: &Inner, time: Duration) {
    // A sleep of nothing still costs a turn of the timer.
    if !time.is_zero() {
        inner.clock.sleep(time).await;
    }
}

/// Acts a misfortune out; `reply` is what the answer would have been.
async fn strike(inner: &Inner, what: What, reply: Option<Reply>) -> Ending {
    match what {
        What::Errcode { code, msg } => refused(inner, &Refusal { code, msg: Cow::Owned(msg) }),
        What::Status { code, body } => Ending::Whole(Reply::text(code, body)),
        What::Garbage => {
            let body = "<html><body>\u{ff}\u{fe} 502 by a proxy</body></html>";
            Ending::Whole(Reply { status: 200, content_type: "text/html", body: body.into() })
        }
        What::DestroyBefore | What::DestroyAfter => Ending::Reset,
        What::Hang => std::future::pending().await,
        What::Truncate => {
            let busy = || Refusal::new(-1, "system error").reply(&mut inner.state().mint);
            Ending::Half(reply.unwrap_or_else(busy))
        }
        // Delays were waited for where they stood, an answer comes once, and only that of a send names a message.
        What::Delay(_) | What::Repeat(_) | What::NoMsgid => match reply {
            Some(reply) => Ending::Whole(reply),
            None => Ending::Reset,
        },
    }
}

// ── send ──

#[derive(Deserialize)]
struct SendBody {
    #[serde(default)]
    touser: String,
    #[serde(default)]
    template_id: String,
    page: Option<String>,
    miniprogram_state: Option<String>,
    lang: Option<String>,
    #[serde(default)]
    data: Value,
}

/// A send on its way through the checks.
struct Sent {
    at: DateTime<Utc>,
    appid: String,
    message: Message,
    /// Values that are no texts.
    odd: BTreeMap<String, BadValue>,
    words: Result<(), Refusal>,
}

async fn send(inner: &Arc<Inner>, asked: &Asked) -> Ending {
    let mut flight = inner.begin();
    let at = inner.clock.now();
    let (sent, fate) = match admit(inner, &mut flight, at, asked) {
        Ok(admitted) => admitted,
        Err(reply) => {
            flight.answered();
            return Ending::Whole(reply);
        }
    };
    wait(inner, fate.delay_before).await;
    if let Some(what) = fate.before {
        let outcome = match &what {
            What::Errcode { code, .. } => Outcome::Refused { errcode: *code },
            What::Status { .. }
            | What::Garbage
            | What::Delay(_)
            | What::DestroyBefore
            | What::DestroyAfter
            | What::Hang
            | What::Truncate
            | What::Repeat(_)
            | What::NoMsgid => Outcome::Unhandled,
        };
        flight.record = Some(inner.state().books.record(at, &sent.appid, &sent.message, outcome));
        let ending = strike(inner, what, None).await;
        match outcome {
            Outcome::Refused { .. } => flight.answered(),
            Outcome::Accepted { .. } | Outcome::Unhandled => drop(flight),
        }
        return ending;
    }
    // The wait begins before the acceptance can be seen, so that who sees it may move a hand-set clock.
    let booked = async {
        let reply = decide(inner, &mut flight, &sent);
        inner.changed();
        reply
    };
    let ((), reply) = tokio::join!(biased; wait(inner, inner.answer_after + fate.delay_after), booked);
    let reply = match fate.after {
        None => reply,
        Some(What::NoMsgid) => without_msgid(reply),
        Some(what) => return strike(inner, what, Some(reply)).await,
    };
    flight.answered();
    Ending::Whole(reply)
}

fn without_msgid(reply: Reply) -> Reply {
    let Ok(Value::Object(mut body)) = serde_json::from_slice(&reply.body) else { return reply };
    if body.remove("msgid").is_some() { Reply::json(&Value::Object(body)) } else { reply }
}

/// Reads the body, checks the access token, takes the openid's lane and draws the fate.
fn admit(
    inner: &Inner,
    flight: &mut Flight,
    at: DateTime<Utc>,
    asked: &Asked,
) -> Result<(Sent, Fate), Reply> {
    let body = read_body(&asked.body);
    let mut state = inner.state();
    let state = &mut *state;
    let body = match body {
        Ok(body) => body,
        Err(refusal) => {
            state.books.refused(refusal.code);
            return Err(refusal.reply(&mut state.mint));
        }
    };
    let mut sent = Sent { at, ..body };
    let admitted = bearer(state, asked, at).and_then(|appid| {
        sent.appid = appid;
        if state.enter(flight, &sent.appid, &sent.message.openid) {
            let Message { openid, template, .. } = &sent.message;
            Ok(state.faults.draw(Api::Send, Some(Of { openid, template, event: None })))
        } else {
            let msg = "Cannot make concurrent calls to the same OpenID, please try again";
            Err(Refusal::new(43108, msg))
        }
    });
    match admitted {
        Ok(fate) => Ok((sent, fate)),
        Err(refusal) => {
            let outcome = Outcome::Refused { errcode: refusal.code };
            flight.record = Some(state.books.record(at, &sent.appid, &sent.message, outcome));
            Err(refusal.reply(&mut state.mint))
        }
    }
}

fn read_body(body: &[u8]) -> Result<Sent, Refusal> {
    if body.is_empty() {
        return Err(Refusal::new(44002, "empty post data"));
    }
    let body: SendBody =
        serde_json::from_slice(body).map_err(|_not_json| Refusal::new(47001, "data format error"))?;
    let one_of = |value: &Option<String>, words: &[&str]| {
        value.as_deref().is_none_or(|value| value.is_empty() || words.contains(&value))
    };
    let words = if one_of(&body.miniprogram_state, &["developer", "trial", "formal"])
        && one_of(&body.lang, &["zh_CN", "en_US", "zh_HK", "zh_TW"])
    {
        Ok(())
    } else {
        Err(Refusal::new(40097, "invalid args"))
    };
    let mut data = BTreeMap::new();
    let mut odd = BTreeMap::new();
    if let Value::Object(items) = body.data {
        for (key, mut item) in items {
            match item.get_mut("value").map(Value::take) {
                Some(Value::String(text)) => {
                    data.insert(key, text);
                }
                Some(Value::Number(number)) => {
                    data.insert(key, number.to_string());
                }
                None | Some(Value::Null) => {
                    odd.insert(key, BadValue::Empty);
                }
                Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                    odd.insert(key, BadValue::Invalid);
                }
            }
        }
    }
    let message = Message {
        openid: body.touser,
        template: body.template_id,
        page: body.page.filter(|page| !page.is_empty()),
        data,
    };
    Ok(Sent { at: DateTime::default(), appid: String::new(), message, odd, words })
}

/// Checks what is left to check, and books the send.
fn decide(inner: &Inner, flight: &mut Flight, sent: &Sent) -> Reply {
    let checked = check(inner, sent);
    let mut state = inner.state();
    let state = &mut *state;
    let accepted = checked.and_then(|kind| {
        state.books.accept(sent.at, &sent.appid, &sent.message, kind).map_err(|not| match not {
            NotAccepted::NoConsent => Refusal::new(43101, "user refuse to accept the msg"),
            NotAccepted::Disk(error) => {
                Refusal { code: -1, msg: format!("system error: the sandbox's books: {error}").into() }
            }
        })
    });
    match accepted {
        Ok((record, msgid)) => {
            flight.record = Some(record);
            let Message { openid, template, .. } = &sent.message;
            let told = Told::sent(openid, template, msgid, 0, inner.clock.now().timestamp());
            state.post.tell(&mut state.faults, &sent.appid, told);
            let body = format!(r#"{{"errcode":0,"errmsg":"ok","msgid":{msgid}}}"#);
            Reply { status: 200, content_type: JSON, body: body.into() }
        }
        Err(refusal) => {
            let outcome = Outcome::Refused { errcode: refusal.code };
            flight.record = Some(state.books.record(sent.at, &sent.appid, &sent.message, outcome));
            refusal.reply(&mut state.mint)
        }
    }
}

fn check(inner: &Inner, sent: &Sent) -> Result<TemplateKind, Refusal> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !(10..=64).contains(&sent.message.openid.len()) || !sent.message.openid.bytes().all(good) {
        return Err(Refusal::new(40003, "invalid openid"));
    }
    let template = match inner.shelves.load().find(&sent.appid, &sent.message.template) {
        Some(Found::Good(template)) => template,
        Some(Found::Banned(_)) => return Err(Refusal::new(43107, "the template is banned")),
        None => return Err(Refusal::new(40037, "invalid template_id")),
    };
    if let Err(refusal) = &sent.words {
        return Err(Refusal { code: refusal.code, msg: refusal.msg.clone() });
    }
    match first_bad(&template, sent) {
        None => Ok(template.kind),
        Some((key, bad)) => {
            let msg = format!("argument invalid! data.{key}.value {}", bad.words());
            Err(Refusal { code: 47003, msg: msg.into() })
        }
    }
}

/// The first value that does not fit: fields in the template's order, then keys that it does not have.
fn first_bad<'a>(template: &'a Template, sent: &'a Sent) -> Option<(&'a str, BadValue)> {
    let Sent { message: Message { data, .. }, odd, .. } = sent;
    for field in &template.fields {
        let bad = match (odd.get(&field.key), data.get(&field.key)) {
            (Some(bad), _) => Err(*bad),
            (None, None) => Err(BadValue::Empty),
            (None, Some(value)) => fields::check(&field.key, &field.enum_values, value),
        };
        if let Err(bad) = bad {
            return Some((&field.key, bad));
        }
    }
    let listed = |key: &str| template.fields.iter().any(|field| field.key == key);
    let unlisted = data.keys().chain(odd.keys()).find(|key| !listed(key));
    if !template.fields.is_empty() {
        return unlisted.map(|key| (key.as_str(), BadValue::Invalid));
    }
    let odd = odd.iter().map(|(key, bad)| (key.as_str(), *bad)).next();
    let value = |(key, value): (&'a String, &'a String)| {
        fields::check(key, &[], value).err().map(|bad| (key.as_str(), bad))
    };
    odd.or_else(|| data.iter().find_map(value))
}

/// The appid of the request's access token; the call is counted.
pub(super) fn bearer(state: &mut State, asked: &Asked, now: DateTime<Utc>) -> Result<String, Refusal> {
    let token = asked.param("access_token").filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Refusal::new(41001, "access_token missing"))?;
    let appid = state.tokens.check(&token, now).map(str::to_owned).map_err(|bad| match bad {
        BadToken::Invalid => Refusal::new(40001, "invalid credential, access_token is invalid or not latest"),
        BadToken::Expired => Refusal::new(42001, "access_token expired"),
    })?;
    state.quotas.count(&appid, &asked.path, now)?;
    Ok(appid)
}

// ── tokens, login ──

#[derive(Deserialize)]
struct TokenBody {
    #[serde(default)]
    grant_type: String,
    #[serde(default)]
    appid: String,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    force_refresh: bool,
}

/// Checks an appid and its secret.
pub(super) fn known(inner: &Inner, appid: &str, secret: &str) -> Result<(), Refusal> {
    if appid.is_empty() {
        return Err(Refusal::new(41002, "appid missing"));
    }
    let app = inner.apps.iter().find(|app| app.appid == appid);
    let app = app.ok_or_else(|| Refusal::new(40013, "invalid appid"))?;
    if secret.is_empty() {
        return Err(Refusal::new(41004, "appsecret missing"));
    }
    if app.secret == secret { Ok(()) } else { Err(Refusal::new(40125, "invalid appsecret")) }
}

fn stable_token(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    let body: TokenBody =
        serde_json::from_slice(&asked.body).map_err(|_not_json| Refusal::new(47001, "data format error"))?;
    if body.grant_type != "client_credential" {
        return Err(Refusal::new(40002, "invalid grant_type"));
    }
    known(inner, &body.appid, &body.secret)?;
    state.quotas.count(&body.appid, &asked.path, inner.clock.now())?;
    let refresh = if body.force_refresh { Refresh::Forced } else { Refresh::Normal };
    let issued = state.tokens.stable(&body.appid, refresh, inner.clock.now());
    let (token, left) = issued.map_err(|_too_many| Refusal::new(45009, "reach max api daily quota limit"))?;
    Ok(Reply::json(&json!({"access_token": token, "expires_in": left})))
}

fn token(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    if asked.param("grant_type").as_deref() != Some("client_credential") {
        return Err(Refusal::new(40002, "invalid grant_type"));
    }
    let appid = asked.param("appid").unwrap_or_default();
    known(inner, &appid, &asked.param("secret").unwrap_or_default())?;
    let (token, left) = state.tokens.classic(&appid, inner.clock.now());
    Ok(Reply::json(&json!({"access_token": token, "expires_in": left})))
}

fn login(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    if asked.param("grant_type").as_deref() != Some("authorization_code") {
        return Err(Refusal::new(40002, "invalid grant_type"));
    }
    let appid = asked.param("appid").unwrap_or_default();
    known(inner, &appid, &asked.param("secret").unwrap_or_default())?;
    let code = asked.param("js_code").filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| Refusal::new(41008, "missing code"))?;
    let redeemed = state.codes.redeem(&appid, &code, inner.clock.now());
    let (openid, unionid, session_key) = redeemed.map_err(|bad| match bad {
        BadCode::Invalid => Refusal::new(40029, "invalid code"),
        BadCode::Used => Refusal::new(40163, "code been used"),
    })?;
    // The platform gives no errcode here, and calls it text.
    let told = match unionid {
        None => json!({"session_key": session_key, "openid": openid}),
        Some(unionid) => json!({"session_key": session_key, "openid": openid, "unionid": unionid}),
    };
    Ok(Reply::text(200, told.to_string()))
}
