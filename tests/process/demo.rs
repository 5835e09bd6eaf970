//! The demo as a person uses it: in a browser, by taps and by what the page shows.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::{Reaped, asked, breathe, canary, logs, note, request, until};

struct Demo {
    _child: Reaped,
    address: String,
}

impl Demo {
    fn start(state: &Path) -> Self {
        // The demo keeps both once they are there.
        for (name, text) in [("person", format!("o{}", canary("Demo"))), ("secret", canary("Secret"))] {
            if !state.join(name).exists() {
                std::fs::write(state.join(name), text).unwrap();
            }
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(logs().join("demo.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_tixing"))
            .args(["demo", "--listen", "127.0.0.1:0", "--state"])
            .arg(state)
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1")
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut child = Reaped(child);
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        assert!(address.starts_with("127.0.0.1:"), "one line with the address: {line}");
        Self { _child: child, address }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let headers = [("content-type", "application/json".to_owned())];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (status, text) = request(&self.address, method, path, &headers, &body).unwrap();
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    fn phone(&self) -> Value {
        self.call("GET", "/demo/phone", &Value::Null)
    }
}

/// The first picture that the page is told.
fn first_event(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /demo/events HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.skip_while(|line| !line.starts_with("data:")).take_while(|line| !line.is_empty()).collect()
}

fn balance(picture: &Value) -> u64 {
    picture["balances"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
}

fn cards(picture: &Value) -> usize {
    picture["cards"].as_array().unwrap().len()
}

#[test]
fn a_tap_a_card_and_a_kill() {
    let state = tempfile::tempdir().unwrap();
    let demo = Demo::start(state.path());
    assert_eq!(request(&demo.address, "GET", "/", &[], b"").unwrap().0, 200);
    note("bodies", &first_event(&demo.address));
    assert_eq!((cards(&demo.phone()), balance(&demo.phone())), (0, 0));
    assert_eq!(demo.phone()["next"][0]["words"]["zh"], "每 15 秒");
    let tapped = demo.call("POST", "/demo/tap", &json!({ "answer": "accept" }));
    assert_eq!(balance(&tapped) as usize + cards(&tapped), 1);
    until("the card arrives", || cards(&demo.phone()) == 1);
    until("the balance goes down", || balance(&demo.phone()) == 0);
    until("its receipt comes", || demo.phone()["cards"][0]["receipt"] == "delivered");
    let card = demo.phone()["cards"][0].clone();
    assert_eq!(card["title"], "习惯打卡提醒");
    assert_eq!(card["fields"]["提醒内容"], "喝水时间到");
    until("who got nothing is told", || {
        demo.phone()["skipped"].as_array().unwrap().iter().any(|s| s["reason"] == "no_consent" && s["n"] == 1)
    });
    demo.call("POST", "/demo/tap", &json!({ "answer": "reject" }));
    drop(demo);
    let demo = Demo::start(state.path());
    assert_eq!(demo.phone()["cards"][0], card, "SIGKILL loses nothing");
    let foreign = [("origin", "http://evil.example".to_owned())];
    assert_eq!(request(&demo.address, "POST", "/demo/tap", &foreign, b"{}").unwrap().0, 403);
}

#[test]
fn a_visit_a_refusal_and_a_closed_account() {
    let state = tempfile::tempdir().unwrap();
    let demo = Demo::start(state.path());
    let tapped = json!({ "answer": "accept" });
    // The other rule takes one every 15 s.
    for _ in 0..4 {
        demo.call("POST", "/demo/tap", &tapped);
    }
    demo.call("POST", "/demo/visit", &Value::Null);
    until("the visit's reminder arrives", || {
        let picture = demo.phone();
        let cards = picture["cards"].as_array().unwrap();
        cards.iter().any(|card| card["fields"]["提醒内容"] == "李医生门诊" && card["receipt"] == "delivered")
    });
    demo.call("POST", "/demo/tap", &tapped);
    demo.call("POST", "/demo/refuse", &Value::Null);
    until("what was left is void", || balance(&demo.phone()) == 0);
    until("the next one is skipped for that reason", || {
        demo.phone()["skipped"].as_array().unwrap().iter().any(|s| s["reason"] == "refused" && s["n"] == 1)
    });
    assert_eq!(demo.phone()["known"], true);
    demo.call("POST", "/demo/leave", &Value::Null);
    until("nobody is known", || demo.phone()["known"] == false);
    assert_eq!(demo.call("POST", "/demo/tap", &tapped)["known"], true, "who comes back is new");
    until("and is reminded again", || cards(&demo.phone()) > 0 && balance(&demo.phone()) == 0);
}

/// A browser, driven by the WebDriver protocol.
struct Browser {
    _driver: Reaped,
    /// Kept open: the driver dies when it cannot tell any more.
    _told: std::process::ChildStdout,
    at: String,
    session: String,
}

impl Browser {
    fn start(profile: &Path) -> Self {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut driver = Reaped(driver);
        let mut told = BufReader::new(driver.0.stdout.take().unwrap());
        let line = (0..20).find_map(|_| {
            let mut line = String::new();
            told.read_line(&mut line).unwrap();
            line.contains("successfully on port").then_some(line)
        });
        let line = line.expect("the driver tells its port");
        let port: String =
            line.rsplit("on port ").next().unwrap().chars().take_while(char::is_ascii_digit).collect();
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--window-size=1100,903", // the page itself is 760 high
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let mut flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        flags.push(format!("--user-data-dir={}", profile.display()));
        let mut browser = Self {
            _driver: driver,
            _told: told.into_inner(),
            at: format!("127.0.0.1:{port}"),
            session: String::new(),
        };
        let asked = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": flags } } } });
        let opened = browser.call("POST", "/session", &asked);
        browser.session = format!("/session/{}", opened["sessionId"].as_str().unwrap());
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let headers = [("content-type", "application/json".to_owned())];
        let path = format!("{}{path}", self.session);
        let body = if method == "GET" { Vec::new() } else { body.to_string().into_bytes() };
        let (_, text) = request(&self.at, method, &path, &headers, &body).expect("the driver answers");
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        answer["value"].clone()
    }

    fn open(&self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    fn click(&self, selector: &str) {
        let found = self.call("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|o| o.values().next()).and_then(Value::as_str);
        let id = id.unwrap_or_else(|| panic!("no {selector}: {found}"));
        self.call("POST", &format!("/element/{id}/click"), &json!({}));
    }

    fn text(&self, selector: &str) -> String {
        let script = "const e = document.querySelector(arguments[0]); return e ? e.textContent : '';";
        let text = self.call("POST", "/execute/sync", &json!({ "script": script, "args": [selector] }));
        text.as_str().unwrap_or("").to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _closed = request(&self.at, "DELETE", &self.session, &[], b"");
    }
}

#[test]
fn a_person_taps_in_a_browser() {
    if asked("TIXING_BROWSER", 0) == 0 {
        println!("left out: no browser was asked for (TIXING_BROWSER=1)");
        return;
    }
    let (state, profile) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let demo = Demo::start(state.path());
    let browser = Browser::start(profile.path());
    browser.open(&format!("http://{}/?lang=en", demo.address));
    until("the page is live", || browser.text("#balance") == "0");
    assert_eq!(browser.text("#subscribe"), "Subscribe to reminders");
    assert_eq!(browser.text("#next .soft"), "every 15 seconds");
    browser.open(&format!("http://{}/?lang=zh", demo.address));
    until("the page is live in Chinese", || {
        browser.text("#subscribe") == "订阅提醒" && browser.text("#balance") == "0"
    });
    assert_eq!(browser.text("#next .soft"), "每 15 秒");
    browser.click("#subscribe");
    browser.click("#accept");
    let mut seen_one = false;
    // 20 s of looks: the sample rule comes round within them.
    for _ in 0..1000 {
        seen_one |= browser.text("#balance") == "1";
        if !browser.text("article.card h3").is_empty() {
            break;
        }
        breathe();
    }
    assert!(seen_one, "the balance went up");
    assert_eq!(browser.text("article.card h3"), "习惯打卡提醒");
    assert_eq!(browser.text("article.card dd"), "喝水时间到");
    until("its receipt shows", || browser.text("article.card .receipt") == "已送达");
    until("the balance goes down", || browser.text("#balance") == "0");
    if asked("TIXING_PICTURE", 0) == 1 {
        let picture = browser.call("GET", "/screenshot", &Value::Null);
        std::fs::write("target/demo.png.base64", picture.as_str().unwrap()).unwrap();
    }
    drop(demo);
    let demo = Demo::start(state.path());
    browser.open(&format!("http://{}/?lang=zh", demo.address));
    until("the card is there after a SIGKILL", || browser.text("article.card h3") == "习惯打卡提醒");
    assert_eq!(browser.text("#balance"), "0", "and the balance");
    browser.click("#refuse");
    until("the next one is skipped for the refusal", || browser.text("#skipped").contains("已拒绝订阅"));
    browser.click("#leave");
    let shows = "const e = document.querySelector('#unknown'); return e && !e.hidden ? e.textContent : '';";
    until("the closed account shows", || {
        let text = browser.call("POST", "/execute/sync", &json!({ "script": shows, "args": [] }));
        text.as_str().unwrap_or("").contains("账号已注销")
    });
}
