//! The real program and what others published: signatures of the `standardwebhooks` packages, schemathesis, and events as
//! wechatpy encrypts and signs them.
//!
//! They are installed by scripts/test into the folder that TIXING_INTEROP names; without it nothing is tried, and it is
//! said so.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::{APPID, Daemon, TEMPLATE, request, signed};
use super::kill::platform;

const RULES: &str =
    "rules:\n  daily:\n    template: habit\n    when: { cron: \"0 9 * * *\" }\n    data: { thing1: 你好 }\n";
const OPENID: &str = "oInteropInterop0001";

/// Where the packages are, if they were asked for.
#[expect(clippy::disallowed_methods, reason = "what is installed comes from the environment")]
fn packages() -> Option<PathBuf> {
    let folder = std::env::var_os("TIXING_INTEROP").map(PathBuf::from);
    if folder.is_none() {
        println!("left out: TIXING_INTEROP names no folder of packages");
    }
    folder
}

fn source(name: &str) -> String {
    format!("{}/tests/interop/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A request that somebody else signs.
#[derive(Clone, Debug)]
struct Message {
    id: String,
    at: String,
    method: &'static str,
    target: &'static str,
    body: &'static str,
    signature: String,
}

fn messages(of: &str) -> Vec<Message> {
    let report = r#"{"report":"interop","openid":"oInteropInterop0001","results":{"TPLprocess":"accept"},"fields":{"city":"上海"}}"#;
    let visit =
        r#"{"openid":"oInteropInterop0001","at":"2031-03-01T09:00:00+08:00","fields":{"doctor":"李医生"}}"#;
    let table = [
        ("POST", "/v1/consents?app=main", report),
        ("PUT", "/v1/appointments/visit/A17?app=main", visit),
        ("DELETE", "/v1/recipients/oInteropInterop0002?app=main", ""),
    ];
    let at = tixing::clock::Clock::system().now().timestamp().to_string();
    let message = |(n, (method, target, body))| Message {
        id: format!("msg_{of}{n}"),
        at: at.clone(),
        method,
        target,
        body,
        signature: String::new(),
    };
    table.into_iter().enumerate().map(message).collect()
}

/// Signs `messages` by a program that uses a published package.
fn sign_by(mut command: Command, messages: &mut [Message]) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = child.stdin.take().unwrap();
    for message in &*messages {
        let payload = format!("{} {}\n{}", message.method, message.target, message.body);
        let at: i64 = message.at.parse().unwrap();
        writeln!(lines, "{}", json!({ "id": message.id, "at": at, "payload": payload })).unwrap();
    }
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for (message, signature) in messages.iter_mut().zip(text.lines()) {
        signature.clone_into(&mut message.signature);
    }
}

/// Sends bytes as they are and reads the status, 400 where there was none.
fn status_of(hook: &str, text: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(hook).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // It may be refused before all of it is sent.
    let _sent = stream.write_all(text);
    let mut answer = Vec::new();
    let _ended = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(400)
}

/// Parts of a message that are signed, by name; the last is the signature.
const PARTS: [&str; 5] = ["request line", "body", "webhook-id", "webhook-timestamp", "webhook-signature"];

impl Message {
    fn parts(&self) -> [Vec<u8>; 5] {
        [
            format!("{} {}", self.method, self.target),
            self.body.into(),
            self.id.clone(),
            self.at.clone(),
            self.signature.clone(),
        ]
        .map(String::into_bytes)
    }
}

/// The request of which these are the parts.
fn put_together([line, body, id, at, signature]: &[Vec<u8>; 5]) -> Vec<u8> {
    let length = format!("host: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    let pieces: [&[u8]; 12] = [
        line,
        b" HTTP/1.1\r\n",
        length.as_bytes(),
        b"webhook-id: ",
        id,
        b"\r\nwebhook-timestamp: ",
        at,
        b"\r\nwebhook-signature: ",
        signature,
        b"\r\n\r\n",
        body,
        b"",
    ];
    pieces.concat()
}

/// All that these messages could change.
fn books(daemon: &Daemon, hook: &str) -> Vec<Value> {
    let mut all = daemon.json(&["consents", "show", "--json"]);
    for target in [
        "/v1/appointments/visit/A17",
        "/v1/recipients/oInteropInterop0001",
        "/v1/recipients/oInteropInterop0002",
    ] {
        let now = tixing::clock::Clock::system().now().timestamp();
        let headers = signed(&daemon.hook_secret, "look", now, "GET", target, b"");
        let (status, text) = request(hook, "GET", target, &headers, b"").unwrap();
        all.push(json!([status, if status == 200 { text } else { String::new() }]));
    }
    all
}

#[test]
fn published_packages_sign_what_is_accepted_and_no_byte_of_it_may_change() {
    let Some(packages) = packages() else { return };
    let mut daemon = Daemon::new("http://127.0.0.1:9", 4, RULES);
    daemon.start();
    let hook = daemon.hook();
    let now = tixing::clock::Clock::system().now().timestamp();
    let other = "/v1/recipients/oInteropInterop0002";
    let headers = signed(&daemon.hook_secret, "before", now, "PUT", other, b"{}");
    assert_eq!(request(&hook, "PUT", other, &headers, b"{}").unwrap().0, 200);
    let before = books(&daemon, &hook);

    let mut python = Command::new(packages.join("venv/bin/python"));
    python.arg(source("sign.py")).env("HOOK_KEY", &daemon.hook_secret);
    let mut node = Command::new("node");
    node.arg(source("sign.mjs")).env("HOOK_KEY", &daemon.hook_secret).env("INTEROP", packages.join("npm"));
    let mut by_python = messages("python");
    sign_by(python, &mut by_python);
    let mut by_node = messages("node");
    sign_by(node, &mut by_node);

    let tampered = [&by_python[0], &by_node[1], &by_python[2]];
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for message in tampered {
        let parts = message.parts();
        for (part, name) in PARTS.iter().enumerate() {
            for at in 0..parts[part].len() {
                for flip in [0x01, 0x20] {
                    let mut changed = parts.clone();
                    changed[part][at] ^= flip;
                    let status = status_of(&hook, &put_together(&changed));
                    // 409 and 422 would mean that it was believed.
                    assert!(
                        [400, 401, 404, 405].contains(&status),
                        "{status}: byte {at} of the {name} changed by {flip:#x}, {} {}",
                        message.method,
                        message.target
                    );
                    *statuses.entry(status).or_default() += 1;
                }
            }
        }
    }
    println!("bytes changed, by status: {statuses:?}");
    assert!(statuses[&401] > 500, "most of them reach the look at the signature");
    assert_eq!(books(&daemon, &hook), before, "and nothing came of any");

    for message in by_python.iter().chain(&by_node) {
        let status = status_of(&hook, &put_together(&message.parts()));
        assert_eq!(status, 200, "{} {} by {}", message.method, message.target, message.id);
    }
    let after = books(&daemon, &hook);
    let (had, has) = (before.len(), after.len());
    assert_eq!((after[0]["openid"].is_string(), after[0]["granted"].as_u64()), (true, Some(1)), "{after:?}");
    assert_eq!(has, had + 1);
    assert_eq!([&after[1][0], &after[2][0], &after[3][0]], [200, 200, 404]);
    daemon.stop();
}

#[test]
fn schemathesis_finds_no_server_error_and_no_answer_that_is_not_in_the_document() {
    let Some(packages) = packages() else { return };
    let mut daemon = Daemon::new("http://127.0.0.1:9", 4, RULES);
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::ZERO);
    daemon.talk_to(&sandbox.base_url());
    daemon.start();
    let hook = daemon.hook();
    let code = sandbox.platform().login_code(APPID, OPENID);
    let login = format!(r#"{{"code":"{code}"}}"#);
    let (status, session) = request(&hook, "POST", "/v1/login", &[], login.as_bytes()).unwrap();
    assert_eq!(status, 200);
    let session: Value = serde_json::from_str(&session).unwrap();

    let mut validator = Command::new(packages.join("venv/bin/python"));
    validator
        .args(["-m", "openapi_spec_validator"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json"));
    let valid = validator.output().unwrap();
    assert!(valid.status.success(), "{}", String::from_utf8_lossy(&valid.stdout));

    let mut schemathesis = Command::new(packages.join("venv/bin/schemathesis"));
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        schemathesis.env_remove(proxy);
    }
    // Two checks are not asked for, since the requests are signed after they were made: a header that was left out to see
    // it refused is there again (negative_data_rejection), and a body that a session may send is not well for a backend
    // (positive_data_acceptance).
    let words = [
        "--seed",
        "1",
        "--max-examples",
        "30",
        "--checks",
        "all",
        "--workers",
        "1",
        "--no-color",
        "--no-shrink",
    ];
    let output = schemathesis
        .args([
            "run",
            concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json"),
            "--url",
            &format!("http://{hook}"),
        ])
        .args(words)
        .args(["--exclude-checks", "negative_data_rejection,positive_data_acceptance"])
        .current_dir(daemon.folder.path())
        .env("PYTHONPATH", source(""))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "backend")
        .env("HOOK_KEY", &daemon.hook_secret)
        .env("HOOK_SESSION", session["session"].as_str().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let shown: Vec<&str> =
        said.lines().filter(|line| line.contains("generated") || line.contains("Tested")).collect();
    println!("{}", shown.join("\n"));
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let n: usize = paths.map(|path| path.as_object().unwrap().len()).sum();
    assert!(said.contains(&format!("Tested: {n}\n")), "all {n} operations were tried: {said}");
    assert_eq!(daemon.tixing(&["fsck"]).status.code(), Some(0), "and the books are as they were");
    assert_eq!(daemon.stop(), Some(0));
    runtime.block_on(sandbox.stop());
}

/// What the console and the daemon agreed on for pushes; a strict reader of base64 refuses this key.
const PUSH: [&str; 2] = ["interoptoken", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"];

/// A push before wechatpy encrypts and signs it.
#[derive(Clone)]
struct Push {
    mode: &'static str,
    form: &'static str,
    token: &'static str,
    key: &'static str,
    appid: &'static str,
    at: i64,
    message: String,
}

impl Push {
    /// A genuine one of now.
    fn new(mode: &'static str, form: &'static str, message: String) -> Self {
        let at = tixing::clock::Clock::system().now().timestamp();
        Self { mode, form, token: PUSH[0], key: PUSH[1], appid: APPID, at, message }
    }

    /// `openid` answered the panel, or refused in the settings.
    fn answer(mode: &'static str, form: &'static str, openid: &str, (event, status): (&str, &str)) -> Self {
        let at = tixing::clock::Clock::system().now().timestamp();
        let message = if form == "json" {
            format!(
                r#"{{"ToUserName":"gh_demo","FromUserName":"{openid}","CreateTime":{at},"MsgType":"event","Event":"subscribe_msg_{event}_event","List":{{"TemplateId":"{TEMPLATE}","SubscribeStatusString":"{status}","PopupScene":"0"}}}}"#
            )
        } else {
            format!(
                "<xml><ToUserName><![CDATA[gh_demo]]></ToUserName><FromUserName><![CDATA[{openid}]]></FromUserName><CreateTime>{at}</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[subscribe_msg_{event}_event]]></Event><SubscribeMsgEvent><List><TemplateId><![CDATA[{TEMPLATE}]]></TemplateId><SubscribeStatusString><![CDATA[{status}]]></SubscribeStatusString><PopupScene>2</PopupScene></List></SubscribeMsgEvent></xml>"
            )
        };
        Self::new(mode, form, message)
    }
}

/// Query and body of each, by wechatpy.
fn pushed(packages: &std::path::Path, pushes: &[Push]) -> Vec<(String, String)> {
    let mut python = Command::new(packages.join("venv/bin/python"));
    python.arg(source("wechat.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().unwrap();
    let mut lines = child.stdin.take().unwrap();
    for Push { mode, form, token, key, appid, at, message } in pushes {
        let said = json!({"mode": mode, "form": form, "token": token, "key": key, "appid": appid,
            "timestamp": at.to_string(), "nonce": "1514711492", "message": message});
        writeln!(lines, "{said}").unwrap();
    }
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let made = String::from_utf8(output.stdout).unwrap();
    let made = made.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let made = made
        .map(|made| (made["query"].as_str().unwrap().to_owned(), made["body"].as_str().unwrap().to_owned()));
    made.collect()
}

#[test]
fn events_that_wechatpy_makes_are_taken_in_all_modes_and_forged_ones_are_not() {
    let Some(packages) = packages() else { return };
    let mut daemon = Daemon::new("http://127.0.0.1:9", 4, RULES);
    let config = fs::read_to_string(daemon.path("tixing.yaml")).unwrap();
    let with_push = "    consents_from: events\n    push: { token: { file: token }, aes_key: { file: aes }, plain: true }\n    templates:";
    daemon.write("tixing.yaml", &config.replace("    templates:", with_push));
    daemon.write("token", PUSH[0]);
    daemon.write("aes", PUSH[1]);
    daemon.start();
    let hook = daemon.hook();
    let post = |app: &str, (query, body): &(String, String)| {
        let target = format!("/wechat/{app}?{query}");
        request(&hook, "POST", &target, &[], body.as_bytes()).unwrap()
    };
    let account = |openid: &str| {
        let mut shown = daemon.json(&["consents", "show", "--openid", openid, "--json"]);
        shown.pop().unwrap_or_default()
    };

    // The console tries the address.
    let verify = pushed(&packages, &[Push::new("plain", "json", String::new())]).remove(0).0;
    let echo = request(&hook, "GET", &format!("/wechat/main?{verify}&echostr=3838"), &[], b"").unwrap();
    assert_eq!(echo, (200, "3838".to_owned()));

    for mode in ["plain", "compatible", "safe"] {
        for form in ["json", "xml"] {
            let openid = format!("oWechatpy-{mode}-{form}");
            let accepted = Push::answer(mode, form, &openid, ("popup", "accept"));
            let made = pushed(&packages, &[accepted]).remove(0);
            for _again in 0..3 {
                assert_eq!(post("main", &made), (200, "success".to_owned()), "{mode} {form}");
            }
            // Nobody gains by a plain one that he forged.
            let granted = u64::from(mode != "plain");
            assert_eq!(account(&openid)["granted"].as_u64().unwrap_or(0), granted, "{mode} {form}");
            daemon.json(&["consents", "grant", "--openid", &openid, "--template", "habit", "--json"]);
            // He refuses what he has by then.
            let refused = Push::answer(mode, form, &openid, ("change", "reject"));
            let made = pushed(&packages, &[refused]).remove(0);
            assert_eq!(post("main", &made), (200, "success".to_owned()), "{mode} {form}");
            let account = account(&openid);
            assert_eq!(account["voided"].as_u64(), Some(granted + 1), "{mode} {form}: {account}");
        }
    }
    // Each length of the padding.
    let long = |n| {
        Push::new(
            "safe",
            "json",
            format!(r#"{{"MsgType":"event","Event":"debug_demo","debug_str":"{}"}}"#, "x".repeat(n)),
        )
    };
    for made in pushed(&packages, &(0..32).map(long).collect::<Vec<_>>()) {
        assert_eq!(post("main", &made).0, 200, "{}", made.1);
    }

    let before = daemon.json(&["consents", "show", "--json"]);
    let genuine = Push::answer("safe", "json", "oWechatpy-forged", ("popup", "accept"));
    let stale = genuine.at - 601;
    let table = [
        ("another token", Push { token: "othertoken", ..genuine.clone() }),
        ("another key", Push { key: "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefg", ..genuine.clone() }),
        ("another app", Push { appid: "wxsomebodyelse1", ..genuine.clone() }),
        ("stale", Push { at: stale, ..genuine.clone() }),
        ("of tomorrow", Push { at: genuine.at + 86_400, ..genuine.clone() }),
        ("stale and plain", Push { mode: "plain", at: stale, ..genuine.clone() }),
        ("plain, by another token", Push { mode: "plain", token: "othertoken", ..genuine.clone() }),
    ];
    let made = pushed(&packages, &table.iter().map(|(_, push)| push.clone()).collect::<Vec<_>>());
    for ((what, _), made) in table.iter().zip(&made) {
        let (status, _) = post("main", made);
        assert!((400..500).contains(&status), "{what}: {status}");
    }
    let [good, other] =
        <[_; 2]>::try_from(pushed(&packages, &[genuine.clone(), Push { at: genuine.at - 1, ..genuine }]))
            .unwrap();
    for (what, app, made) in [
        ("to an app that is not there", "other", good.clone()),
        ("another body under the signature", "main", (good.0.clone(), other.1.clone())),
        (
            "the signature of plain events alone",
            "main",
            (good.0.replace("msg_signature", "other"), good.1.clone()),
        ),
    ] {
        let (status, _) = post(app, &made);
        assert!((400..500).contains(&status), "{what}: {status}");
    }
    let encrypted = good.1.find("Encrypt").unwrap() + 20;
    for at in (encrypted..good.1.len() - 10).step_by(7) {
        let mut body = good.1.clone().into_bytes();
        body[at] = if body[at] == b'A' { b'B' } else { b'A' };
        let (status, _) = post("main", &(good.0.clone(), String::from_utf8(body).unwrap()));
        assert!((400..500).contains(&status), "byte {at}: {status}");
    }
    assert_eq!(daemon.json(&["consents", "show", "--json"]), before, "and nothing came of any");
    assert_eq!(post("main", &good), (200, "success".to_owned()));
    assert_eq!(account("oWechatpy-forged")["granted"].as_u64(), Some(1));
    assert_eq!(daemon.tixing(&["fsck"]).status.code(), Some(0));
    assert_eq!(daemon.stop(), Some(0));
}
