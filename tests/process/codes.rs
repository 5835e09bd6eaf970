//! A code that nobody knows, on the real program: what is told of it, and what it costs.

use std::fs;

use serde_json::json;
use tixing::clock::Clock;
use tixing::sandbox::{self, Answer, Api, Fault, Field, Keep, Sandbox, TemplateKind, What};

use super::daemon::{APPID, Daemon, TEMPLATE, until};

const OPENID: &str = "oPlainCodes01";

#[test]
fn a_code_that_nobody_knows_is_told_once_with_its_rid_and_costs_no_consent() {
    let mut daemon = Daemon::new(
        "http://127.0.0.1:9",
        4,
        "rules:\n  daily:\n    template: habit\n    when: { cron: \"0 9 29 2 *\" }\n    data: { thing1: 你好 }\n",
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let app = sandbox::App { appid: APPID.to_owned(), secret: daemon.app_secret.clone() };
    let template = sandbox::Template {
        id: TEMPLATE.to_owned(),
        title: "习惯提醒".to_owned(),
        kind: TemplateKind::OneTime,
        fields: vec![Field::new("thing1", "内容")],
    };
    let options = sandbox::Options::new(vec![app], vec![template]);
    let sandbox = runtime.block_on(Sandbox::start(options, Clock::system())).unwrap();
    let platform = sandbox.platform();
    daemon.talk_to(&sandbox.base_url());
    daemon.start();
    for _ in 0..3 {
        platform.tap(APPID, OPENID, TEMPLATE, Answer::Accept, Keep::Once).unwrap();
    }
    let grant = ["consents", "grant", "--openid", OPENID, "--template", "habit", "--n", "3", "--json"];
    daemon.json(&grant);
    let odd = |code| Fault::new(Api::Send, What::Errcode { code, msg: "of tomorrow".to_owned() });
    let send = || {
        let output = daemon.tixing(&["send", "--to", OPENID, "--rule", "daily", "--json"]);
        let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), row["state"].clone(), row["reason"].clone())
    };
    for code in [31337, 31337, 31338] {
        platform.set_faults(vec![odd(code)]);
        assert_eq!(send(), (Some(1), json!("failed"), json!(code.to_string())));
    }
    platform.set_faults(Vec::new());
    let account = &daemon.json(&["consents", "show", "--openid", OPENID, "--json"])[0];
    assert_eq!((&account["available"], &account["consumed"]), (&json!(3), &json!(0)), "{account}");
    let told = |code: i32| -> Vec<String> {
        let log = fs::read_to_string(daemon.log()).unwrap();
        let code = format!("errcode {code}, which tixing does not know (of tomorrow");
        log.lines().filter(|line| line.contains(&code)).map(str::to_owned).collect()
    };
    until("the last one is told", || told(31338).len() == 1);
    for code in [31337, 31338] {
        let lines = told(code);
        assert!(lines.len() == 1 && lines[0].contains("rid"), "{code}: {lines:?}");
    }
    // Neither the rule nor the app is held for it.
    assert_eq!(send(), (Some(0), json!("sent"), json!(null)));
    assert_eq!(daemon.stop(), Some(0));
    runtime.block_on(sandbox.stop());
}
