//! The sandbox as a client on a socket meets it, and as the hand on its control sees it.

mod faults;
mod pushes;
mod quota;
mod sends;
mod services;
mod shelf;

use std::time::Duration;

use chrono::DateTime;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{App, Field, Options, Platform, Sandbox, Template, TemplateKind};
use crate::clock::Clock;

const APP: &str = "wx0123456789abcdef";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ANNA: &str = "oANNA123456";
const BERT: &str = "oBERT123456";
const WATER: &str = "TMPL_water";
const NEWS: &str = "TMPL_news";
/// Generous: a hang becomes a failed test, nothing is measured.
const BOUND: Duration = Duration::from_secs(20);

fn options() -> Options {
    let weather =
        Field { enum_values: vec!["晴".into(), "雨".into()], ..Field::new("enum_string3", "天气") };
    let fields = vec![Field::new("thing1", "事项"), Field::new("time2", "时间"), weather];
    let water =
        Template { id: WATER.into(), title: "喝水提醒".into(), kind: TemplateKind::OneTime, fields };
    let news =
        Template { id: NEWS.into(), title: "通知".into(), kind: TemplateKind::LongTerm, fields: vec![] };
    Options::new(vec![App { appid: APP.into(), secret: SECRET.into() }], vec![water, news])
}

fn by_hand() -> Clock {
    Clock::by_hand(DateTime::from_timestamp(1_800_000_000, 0).expect("a time"))
}

/// A sandbox with one client that holds an access token.
struct World {
    sandbox: Sandbox,
    platform: Platform,
    client: Client,
    clock: Clock,
}

impl World {
    async fn new() -> Self {
        Self::with(options()).await
    }

    async fn with(options: Options) -> Self {
        let clock = by_hand();
        let sandbox = Sandbox::start(options, clock.clone()).await.unwrap();
        let platform = sandbox.platform();
        let mut client = Client::new(&sandbox).await;
        client.fetch_token().await;
        Self { sandbox, platform, client, clock }
    }

    async fn another_client(&self) -> Client {
        let mut client = Client::new(&self.sandbox).await;
        client.token.clone_from(&self.client.token);
        client
    }

    fn grant(&self, openid: &str, n: u64) {
        self.platform.grant_many(APP, openid, WATER, n).unwrap();
    }

    fn left(&self, openid: &str) -> u64 {
        self.platform.remaining(APP, openid, WATER)
    }

    /// Waits until the platform is in a state.
    async fn until(&self, what: &str, is: impl Fn(&Platform) -> bool) {
        let mut changes = self.platform.changes();
        let reached = async {
            while !is(&self.platform) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(BOUND, reached).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

/// One keep-alive connection.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinSet<()>,
    token: String,
}

/// An answer with status and content type, or the words of the connection's error.
type Answered = Result<(u16, String, Bytes), String>;

impl Client {
    async fn new(sandbox: &Sandbox) -> Self {
        let stream = TcpStream::connect(sandbox.addr()).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ended = connection.await;
        });
        Self { sender, driver, token: String::new() }
    }

    async fn fetch_token(&mut self) {
        let body = json!({"grant_type": "client_credential", "appid": APP, "secret": SECRET});
        let answer = self.json(Method::POST, "/cgi-bin/stable_token", &body).await;
        answer["access_token"].as_str().unwrap().clone_into(&mut self.token);
    }

    async fn raw(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> Answered {
        let request = Request::builder().method(method).uri(path).header("host", "sandbox");
        let request = request.body(Full::new(body.into())).unwrap();
        let exchange = async {
            let response = self.sender.send_request(request).await.map_err(|e| format!("{e:?}"))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|e| format!("{e:?}"))?.to_bytes();
            let content_type = head.headers["content-type"].to_str().unwrap().to_owned();
            Ok((head.status.as_u16(), content_type, body))
        };
        tokio::time::timeout(BOUND, exchange).await.expect("an answer or an end in time")
    }

    async fn json(&mut self, method: Method, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (_, _, body) = self.raw(method, path, body).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    async fn get(&mut self, path: &str) -> Value {
        self.json(Method::GET, path, &Value::Null).await
    }

    async fn post(&mut self, path: &str, body: Value) -> Value {
        self.json(Method::POST, path, &body).await
    }

    async fn send_raw(&mut self, body: &Value) -> Answered {
        let path = format!("/cgi-bin/message/subscribe/send?access_token={}", self.token);
        self.raw(Method::POST, &path, body.to_string()).await
    }

    /// Sends `body` and gives errcode and errmsg.
    async fn send(&mut self, body: &Value) -> (i64, String) {
        let (status, _, body) = self.send_raw(body).await.unwrap();
        assert_eq!(status, 200);
        let answer: Value = serde_json::from_slice(&body).unwrap();
        (answer["errcode"].as_i64().unwrap(), answer["errmsg"].as_str().unwrap().to_owned())
    }
}

/// A good message to `openid`.
fn message(openid: &str) -> Value {
    json!({
        "touser": openid,
        "template_id": WATER,
        "page": "pages/water?n=1",
        "miniprogram_state": "formal",
        "lang": "zh_CN",
        "data": {
            "thing1": {"value": "喝一杯水"},
            "time2": {"value": "2027年1月15日 08:00"},
            "enum_string3": {"value": "晴"},
        },
    })
}

/// `message` with the value at a JSON pointer replaced.
fn but(openid: &str, pointer: &str, value: Value) -> Value {
    let mut message = message(openid);
    *message.pointer_mut(pointer).expect("a place in the message") = value;
    message
}
