//! What the client makes of a platform that behaves, misbehaves, or is not there.

mod fake;
mod quota;
mod tokens;

use std::time::Duration;

use chrono::DateTime;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::http::{Http, NoAnswer, Times, Way};
use super::{
    CALL_TIMEOUT, CONNECT_TIMEOUT, Client, Identity, Listed, LoginError, Options, Ready, Sent,
    TemplatesError, TokenError, TokenState,
};
use crate::clock::Clock;
use crate::domain::id::{AppId, OpenId, TemplateId, UnionId};
use crate::domain::message::{Message, Reply};
use fake::{Act, Call, Fake};

const TOKEN: &str = "stable_token";
const SEND: &str = "subscribe/send";
const SECRET: &str = "CANARYSECRET";
const OPENID: &str = "oCANARYOPENID";
const OK: &str = r#"{"errcode":0,"errmsg":"ok","msgid":1988810812324364291}"#;
const REFUSED: &str = r#"{"errcode":40001,"errmsg":"invalid credential"}"#;
const ACCEPTED: Reply = Reply::Accepted { msgid: Some(1_988_810_812_324_364_291) };
const TOKEN_REFUSED: Reply = Reply::TokenRefused { errcode: 40001 };

/// As the sender calls it, while nobody stops.
impl Client {
    async fn send(&self, message: &Message) -> Sent {
        self.send_unless((std::future::pending(), || true), None, message).await.unwrap()
    }

    async fn send_with(&self, ready: Ready, message: &Message) -> Sent {
        self.send_unless((std::future::pending(), || true), Some(ready), message).await.unwrap()
    }
}

fn hand() -> Clock {
    Clock::by_hand(DateTime::UNIX_EPOCH)
}

fn options(base_url: &str) -> Options {
    Options {
        appid: AppId::parse("wx0123456789abcdef").unwrap(),
        secret: SecretString::from(SECRET),
        base_url: base_url.to_owned(),
        proxy: None,
        state: "formal".to_owned(),
        lang: "zh_CN".to_owned(),
    }
}

fn client(fake: &Fake, clock: &Clock) -> Client {
    Client::new(options(&fake.url()), clock.clone()).unwrap()
}

/// A client that loses patience soon, for platforms that never answer.
fn hasty(fake: &Fake) -> Client {
    let times = Times { connect: CONNECT_TIMEOUT, call: Duration::from_secs(1) };
    Client::with_times(options(&fake.url()), hand(), times).unwrap()
}

fn message() -> Message {
    Message {
        to: OpenId::parse(OPENID).unwrap(),
        template: TemplateId::parse("TEMPLATE").unwrap(),
        page: Some("pages/visit/index?id=1".to_owned()),
        data: vec![("thing1".to_owned(), "喝水\"时间".to_owned()), ("time2".to_owned(), "08:00".to_owned())],
    }
}

fn token(nth: usize) -> Act {
    Act::Json(format!(r#"{{"access_token":"CANARYTOKEN-{nth}","expires_in":7200}}"#))
}

/// A platform that gives tokens, and answers sends as told.
async fn sending(act: impl Fn(&Call) -> Act + Send + Sync + 'static) -> Fake {
    Fake::start(move |call| if call.path.contains(TOKEN) { token(call.nth) } else { act(call) }).await
}

/// `n` sends at the same time.
async fn burst(client: &Client, n: usize) -> Vec<Sent> {
    let mut tasks = JoinSet::new();
    for _ in 0..n {
        let client = client.clone();
        tasks.spawn(async move { client.send(&message()).await });
    }
    tasks.join_all().await
}

#[tokio::test]
async fn a_send_has_the_documented_shape() {
    let fake = sending(|_| Act::json(OK)).await;
    let sent = client(&fake, &hand()).send(&message()).await;
    assert_eq!(sent, Sent { reply: ACCEPTED, errcode: Some(0), errmsg: None, rid: None });

    let [asked] = <[Call; 1]>::try_from(fake.calls(TOKEN)).unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/cgi-bin/stable_token"));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&asked.body).unwrap(),
        serde_json::json!({"grant_type": "client_credential", "appid": "wx0123456789abcdef",
            "secret": SECRET, "force_refresh": false})
    );
    let [call] = <[Call; 1]>::try_from(fake.calls(SEND)).unwrap();
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/cgi-bin/message/subscribe/send"));
    assert_eq!(call.query, "access_token=CANARYTOKEN-1");
    assert_eq!(
        call.body,
        format!(
            r#"{{"touser":"{OPENID}","template_id":"TEMPLATE","page":"pages/visit/index?id=1","miniprogram_state":"formal","lang":"zh_CN","data":{{"thing1":{{"value":"喝水\"时间"}},"time2":{{"value":"08:00"}}}}}}"#
        )
    );
}

#[tokio::test]
async fn every_kind_of_answer_has_its_reply() {
    let ok = |headers| Act::status("200 OK", headers, OK.as_bytes());
    let accepted = |msgid| Reply::Accepted { msgid };
    let large = format!("{{\"errcode\":0,\"errmsg\":\"{}\"}}", "x".repeat(70_000));
    let table: Vec<(&str, Act, Reply)> = vec![
        (
            "msgid as text",
            Act::json(r#"{"errcode":0,"msgid":"1316263177503703040"}"#),
            accepted(Some(1_316_263_177_503_703_040)),
        ),
        ("no msgid", Act::json(r#"{"errcode":0,"errmsg":"ok"}"#), accepted(None)),
        ("msgid 0", Act::json(r#"{"errcode":0,"msgid":0}"#), accepted(None)),
        ("msgid of another type", Act::json(r#"{"errcode":0,"msgid":{"a":[1]},"errmsg":7}"#), accepted(None)),
        ("errcode as text", Act::json(r#"{"errcode":"43101","errmsg":"user refuse"}"#), Reply::NoConsent),
        ("errcode as float", Act::json(r#"{"errcode":43101.0}"#), Reply::NoConsent),
        ("unknown fields", Act::json(r#"{"errcode":0,"new":{"a":1}}"#), accepted(None)),
        ("byte order mark", Act::json("\u{feff}{\"errcode\":0}"), accepted(None)),
        ("text type", ok("content-type: text/plain\r\n"), ACCEPTED),
        ("no type", ok(""), ACCEPTED),
        ("500 with errcode", Act::status("500 Oops", "", br#"{"errcode":-1}"#), Reply::Busy),
        (
            "no UTF-8 in errmsg",
            Act::status("200 OK", "", b"{\"errcode\":43101,\"errmsg\":\"\xb2\xbb\"}"),
            Reply::NoConsent,
        ),
        (
            "chunked",
            Act::Raw(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nd\r\n{\"errcode\":0}\r\n0\r\n\r\n"
                    .to_vec(),
            ),
            accepted(None),
        ),
        (
            "chunked, cut",
            Act::Raw(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nd\r\n{\"errcode\":0}\r\n".to_vec(),
            ),
            Reply::Unanswered,
        ),
        (
            "cut",
            Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"errcode\":0}".to_vec()),
            Reply::Unanswered,
        ),
        ("cut head", Act::Raw(b"HTTP/1.1 200 O".to_vec()), Reply::Unanswered),
        ("no HTTP", Act::Raw(b"\x00\x01\x02garbage\r\n\r\n".to_vec()), Reply::Unanswered),
        ("closed", Act::Close, Reply::Unanswered),
        ("hangs", Act::Hang, Reply::Unanswered),
        ("empty", Act::json(""), Reply::Unanswered),
        ("no JSON", Act::json("<html>busy</html>"), Reply::Unanswered),
        ("half JSON", Act::json(r#"{"errcode":0"#), Reply::Unanswered),
        ("list", Act::json(r#"[{"errcode":0}]"#), Reply::Unanswered),
        ("no errcode", Act::json(r#"{"errmsg":"ok"}"#), Reply::Unanswered),
        ("errcode null", Act::json(r#"{"errcode":null}"#), Reply::Unanswered),
        ("502", Act::status("502 Bad Gateway", "", b"<html>bad gateway</html>"), Reply::Unanswered),
        ("204", Act::status("204 No Content", "", b""), Reply::Unanswered),
        ("302", Act::status("302 Found", "location: /elsewhere\r\n", b""), Reply::Unanswered),
        ("307", Act::status("307 Temporary", "location: /elsewhere\r\n", b""), Reply::Unanswered),
        ("503 with Retry-After", Act::status("503 Busy", "retry-after: 0\r\n", b"busy"), Reply::Unanswered),
        ("408", Act::status("408 Request Timeout", "connection: close\r\n", b""), Reply::Unanswered),
        ("too large", Act::Json(large), Reply::Unanswered),
        ("deep JSON", Act::Json("[".repeat(10_000)), Reply::Unanswered),
    ];
    for (what, act, reply) in table {
        let fake = sending(move |_| act.clone()).await;
        let client = if what == "hangs" { hasty(&fake) } else { client(&fake, &hand()) };
        assert_eq!(client.warm().await, Ok(()), "{what}");
        assert_eq!(client.send(&message()).await.reply, reply, "{what}");
        assert_eq!((fake.n(SEND), fake.n("elsewhere")), (1, 0), "{what}: one request, whatever came");
    }
}

#[tokio::test]
async fn errors_keep_what_people_need() {
    let fake = sending(|_| {
        Act::json(
            r#"{"errcode":"47003","errmsg":"argument invalid! data.thing1.value is empty rid: 64e5a1b2-0badcafe-0123abcd"}"#,
        )
    })
    .await;
    let sent = client(&fake, &hand()).send(&message()).await;
    assert_eq!(sent.reply, Reply::MessageBad { errcode: 47003, key: Some("thing1".to_owned()) });
    assert_eq!(sent.errcode, Some(47003));
    assert_eq!(sent.errmsg.as_deref(), Some("argument invalid! data.thing1.value is empty"));
    assert_eq!(sent.rid.as_deref(), Some("64e5a1b2-0badcafe-0123abcd"));
}

#[tokio::test]
async fn nothing_is_sent_where_there_is_no_connection() {
    let close = r#"{"access_token":"CANARYTOKEN","expires_in":7200}"#;
    let fake = Fake::start(move |_| Act::status("200 OK", "connection: close\r\n", close.as_bytes())).await;
    let (client, url) = (client(&fake, &hand()), fake.url());
    let ready = client.ready().await.unwrap();
    fake.stop().await;
    let sent = client.send_with(ready, &message()).await;
    assert_eq!(sent.reply, Reply::NotConnected);
    assert!(sent.errmsg.unwrap().contains("refused"));

    let cold = Client::new(options(&url), hand()).unwrap();
    assert_eq!(cold.send(&message()).await.reply, Reply::NoToken);
    assert!(matches!(cold.warm().await, Err(TokenError::Unavailable { .. })));
}

#[tokio::test]
async fn after_a_stop_no_request_starts() {
    let stop = watch::Sender::new(false);
    let told = stop.clone();
    let refuse = move |_: &Call| {
        told.send_replace(true);
        Act::json(REFUSED)
    };
    let fake = sending(refuse).await;
    let client = client(&fake, &hand());
    let stopped = async |mut stop: watch::Receiver<bool>| drop(stop.wait_for(|stop| *stop).await);
    let sent = client.send_unless((stopped(stop.subscribe()), || true), None, &message()).await.unwrap();
    assert_eq!((sent.reply, fake.n(SEND)), (TOKEN_REFUSED, 1), "no repeat under a new token");
    assert_eq!(client.send_unless((stopped(stop.subscribe()), || true), None, &message()).await, None);
    assert_eq!((client.ready().await.is_ok(), fake.n(SEND)), (true, 1));
}

#[tokio::test]
async fn a_handshake_that_does_not_end_sends_nothing() {
    let fake = sending(|_| Act::json(OK)).await;
    let Options { appid, secret, .. } = options("");
    // The fake takes the handshake for a request that never ends.
    let times = Times { connect: Duration::from_millis(100), call: CALL_TIMEOUT };
    let url = format!("https://{}", fake.address);
    let http = Http::new(appid, secret, &url, Way::Network(None), times).unwrap();
    assert!(matches!(http.stable_token().await, Err(NoAnswer::NotConnected(_))));
    assert_eq!(fake.n(""), 0);
}

#[tokio::test]
async fn a_proxy_is_used_only_when_named() {
    let proxy = sending(|_| Act::json(OK)).await;
    let named = Options { proxy: Some(proxy.url()), ..options("http://127.0.0.1:9") };
    assert_eq!(Client::new(named, hand()).unwrap().send(&message()).await.reply, ACCEPTED);
    assert_eq!(proxy.n(SEND), 1);
}

#[tokio::test]
async fn a_connection_closed_while_idle_doubles_nothing() {
    let fake = sending(|_| Act::JsonThenClose(OK.to_owned())).await;
    let client = client(&fake, &hand());
    for n in 1..=20 {
        let sent = client.send(&message()).await;
        assert!(matches!(sent.reply, Reply::Accepted { .. } | Reply::Unanswered), "{sent:?}");
        assert!(fake.n(SEND) <= n, "a request was repeated");
    }
}

#[tokio::test]
async fn login_codes_have_their_outcomes() {
    let openid = OpenId::parse(OPENID).unwrap();
    let identity = |unionid: Option<&str>| {
        Ok(Identity { openid: openid.clone(), unionid: unionid.map(|id| UnionId::parse(id).unwrap()) })
    };
    let app = |errcode| Err(LoginError::App { errcode });
    let table: Vec<(&str, &str, Result<Identity, LoginError>)> = vec![
        ("c", r#"{"openid":"oCANARYOPENID","session_key":"CANARYKEY"}"#, identity(None)),
        (
            "c",
            r#"{"openid":"oCANARYOPENID","session_key":1,"unionid":"u1","errcode":0}"#,
            identity(Some("u1")),
        ),
        ("c", r#"{"openid":"oCANARYOPENID","unionid":""}"#, identity(None)),
        ("c", r#"{"errcode":40029}"#, Err(LoginError::BadCode)),
        ("c", r#"{"errcode":"40163"}"#, Err(LoginError::BadCode)),
        ("c", r#"{"errcode":41008}"#, Err(LoginError::BadCode)),
        ("c", r#"{"errcode":40226}"#, Err(LoginError::RiskyUser)),
        ("c", r#"{"errcode":45011}"#, Err(LoginError::TooFrequent)),
        ("c", r#"{"errcode":-1}"#, Err(LoginError::Unavailable)),
        ("c", r#"{"errcode":40013}"#, app(40013)),
        ("c", r#"{"errcode":40125}"#, app(40125)),
        ("c", r#"{"errcode":99999,"openid":"oCANARYOPENID"}"#, app(99999)),
        ("c", r#"{"openid":"bad"}"#, Err(LoginError::Unavailable)),
        ("c", "{}", Err(LoginError::Unavailable)),
        ("c", "busy", Err(LoginError::Unavailable)),
        ("", "{}", Err(LoginError::BadCode)),
        ("a b", "{}", Err(LoginError::BadCode)),
    ];
    for (code, answer, outcome) in table {
        let fake = Fake::start(move |_| Act::json(answer)).await;
        assert_eq!(client(&fake, &hand()).code2session(code).await, outcome, "{answer}");
        let asked = usize::from(outcome != Err(LoginError::BadCode) || !answer.starts_with("{}"));
        assert_eq!((fake.n("/sns/jscode2session"), fake.n("")), (asked, asked), "{code}");
    }
    let fake = Fake::start(|_| Act::json("{}")).await;
    client(&fake, &hand()).code2session("a&b=c").await.unwrap_err();
    assert_eq!(
        fake.calls("")[0].query,
        "appid=wx0123456789abcdef&secret=CANARYSECRET&js_code=a%26b%3Dc&grant_type=authorization_code"
    );
    for act in [Act::Close, Act::Hang, Act::status("502 Bad", "", b"x")] {
        let fake = Fake::start(move |_| act.clone()).await;
        assert_eq!(hasty(&fake).code2session("c").await, Err(LoginError::Unavailable));
    }
}

#[tokio::test]
async fn templates_are_listed_as_the_account_has_them() {
    let listed = |act: Act| async move {
        let fake = sending(move |_| act.clone()).await;
        let outcome = client(&fake, &hand()).templates().await;
        (outcome, fake)
    };
    let list = r#"{"errcode":0,"errmsg":"ok","data":[
        {"priTmplId":"A_b-1","title":"喝水","content":"事项:{{thing1.DATA}}\n时间:{{time2.DATA}}\n","example":"","type":2},
        {"priTmplId":"B","title":"账单","content":"金额:{{amount1.DATA}}\n位置:{{enum_string2.DATA}}","type":"3",
         "keywordEnumValueList":[{"keywordCode":"enum_string2.DATA","enumValueList":["客厅","a"]}]},
        {"priTmplId":"C","content":"","type":4},{"priTmplId":"D","title":"x","content":"{{x.DATA}}","type":2},7,
        {"priTmplId":"E","title":"同城配送服务动态","content":"","example":"","type":2,"keywordEnumValueList":[]},
        {"priTmplId":"F","title":"x","content":"{{enum1.DATA}}","type":2,"keywordEnumValueList":[{"keywordCode":1}]},
        {"priTmplId":"G","title":"x"},{"priTmplId":"H","title":"x","content":"no field","type":2}]}"#;
    let (outcome, fake) = listed(Act::json(list)).await;
    let outcome = outcome.unwrap();
    let shown: Vec<String> = outcome
        .templates
        .iter()
        .map(|t| {
            let fields: Vec<String> =
                t.fields.iter().map(|f| format!("{} {}{:?}", f.label, f.key.as_str(), f.values)).collect();
            let card = if t.is_service_card() { " card" } else { "" };
            format!("{} {} {} {}{card}", t.id.as_str(), t.title, t.kind.as_str(), fields.join(","))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "A_b-1 喝水 one_time 事项 thing1[],时间 time2[]",
            "B 账单 long_term 金额 amount1[],位置 enum_string2[\"客厅\", \"a\"]",
            "E 同城配送服务动态 one_time  card",
            "F x one_time  enum1[]",
        ]
    );
    let odd: Vec<&str> = outcome.odd.iter().map(TemplateId::as_str).collect();
    assert_eq!((odd.as_slice(), outcome.n_nameless), (["C", "D", "G", "H"].as_slice(), 1));
    let [asked] = <[Call; 1]>::try_from(fake.calls("gettemplate")).unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/wxaapi/newtmpl/gettemplate"));
    assert_eq!(asked.query, "access_token=CANARYTOKEN-1");

    let unavailable = |why: &str| Err(TemplatesError::Unavailable { why: why.to_owned() });
    let refused = |errcode| Err(TemplatesError::Refused { errcode, errmsg: String::new() });
    let table: [(Act, Result<Listed, TemplatesError>, usize); 7] = [
        (Act::json(r#"{"errcode":0,"data":[]}"#), Ok(Listed::default()), 1),
        (Act::json(r#"{"errcode":0}"#), unavailable("the answer has no list"), 1),
        (Act::json(r#"{"errcode":45009}"#), refused(45009), 1),
        (Act::json(r#"{"errcode":40001}"#), refused(40001), 2),
        (Act::json("x"), unavailable("the answer is not JSON"), 1),
        (Act::json("{}"), unavailable("the answer has no errcode"), 1),
        (Act::Json(" ".repeat(1 << 21)), unavailable("the answer is larger than 1024 KiB"), 1),
    ];
    for (act, wanted, asked) in table {
        let (outcome, fake) = listed(act).await;
        assert_eq!((outcome, fake.n("gettemplate")), (wanted, asked));
    }
    let denied = Fake::start(|_| Act::json(r#"{"errcode":40125,"errmsg":"invalid appsecret"}"#)).await;
    let error = client(&denied, &hand()).templates().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the platform gives no access token (errcode 40125: invalid appsecret)",
        "why there is no token"
    );
}

#[tokio::test]
async fn no_canary_sings() {
    // The platform repeats whatever it was told, in every text.
    let echo = |call: &Call| {
        let text = format!("{} {} rid: x", call.query, call.body).replace('"', "'");
        Act::Json(format!(r#"{{"errcode":47003,"errmsg":"{text}","session_key":"CANARYKEY"}}"#))
    };
    let fake = sending(echo).await;
    let client = client(&fake, &hand());
    let mut seen = vec![
        format!("{:?}", options("http://127.0.0.1:1")),
        format!("{client:?}"),
        format!("{:?}", client.ready().await),
        format!("{:?}", client.send(&message()).await),
        format!("{:?} {}", client.token_state(), client.token_state()),
        format!("{:?}", client.code2session("CANARYCODE").await),
        format!("{:?}", client.templates().await),
    ];
    for act in [Act::Close, Act::Hang, Act::Raw(b"garbage".to_vec())] {
        let fake = sending(move |_| act.clone()).await;
        let client = hasty(&fake);
        let ready = client.ready().await.unwrap();
        seen.push(format!("{:?}", client.send_with(ready, &message()).await));
        seen.push(format!("{:?}", client.code2session("CANARYCODE").await));
        seen.push(format!("{:?}", client.templates().await));
        fake.stop().await;
        seen.push(format!("{:?}", client.templates().await));
        seen.push(format!("{:?}", client.send(&message()).await));
        seen.push(format!("{:?}", client.code2session("CANARYCODE").await));
    }
    let denied = Fake::start(echo).await;
    let client = hasty(&denied);
    seen.push(format!("{:?}", client.warm().await));
    seen.push(format!("{:?} {}", client.token_state(), client.token_state()));
    let bad = Options { proxy: Some("CANARYSECRET@".to_owned()), ..options("http://CANARYSECRET") };
    seen.push(format!("{:?}", Client::new(bad, hand())));
    for text in seen {
        assert!(!text.contains("CANARY"), "{text}");
    }
}
