//! Templates from the platform: pulled into a file, compared, with the daemon and without it.

use std::fs;

use serde_json::Value;
use tixing::clock::Clock;
use tixing::sandbox::{self, Field, Sandbox, TemplateKind};

use super::daemon::{APPID, Daemon, TEMPLATE};

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn templates_are_pulled_and_compared() {
    let mut daemon = Daemon::new(
        "http://127.0.0.1:9",
        4,
        "rules:\n  daily:\n    template: habit\n    when: { cron: \"0 9 * * *\" }\n    data: { thing1: 你好 }\n",
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let app = sandbox::App { appid: APPID.to_owned(), secret: daemon.app_secret.clone() };
    let template = |id: &str, title: &str, kind, fields| sandbox::Template {
        id: id.to_owned(),
        title: title.to_owned(),
        kind,
        fields,
    };
    let templates = vec![
        template(TEMPLATE, "习惯提醒", TemplateKind::OneTime, vec![Field::new("thing1", "内容")]),
        template(
            "TPLbill",
            "账单",
            TemplateKind::LongTerm,
            vec![Field::new("thing1", "项目"), Field::new("amount2", "金额")],
        ),
        template("TPLcard", "同城配送服务动态", TemplateKind::OneTime, Vec::new()),
    ];
    let sandbox = runtime
        .block_on(Sandbox::start(sandbox::Options::new(vec![app], templates), Clock::system()))
        .unwrap();
    let config = fs::read_to_string(daemon.folder.path().join("tixing.yaml"))
        .unwrap()
        .replace("http://127.0.0.1:9\n", &format!("{}\n", sandbox.base_url()));
    let open = config.replace(", fields: [thing1]", "");
    let codes = |daemon: &Daemon, words: &[&str]| -> (Option<i32>, Vec<String>) {
        let output = daemon.tixing(words);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = report["diagnostics"].as_array().unwrap();
        (output.status.code(), found.iter().map(|d| d["code"].as_str().unwrap().to_owned()).collect())
    };
    let offline = ["check", "--json"];
    let online = ["check", "--online", "--json"];

    // Without a daemon, with the secret at hand.
    daemon.write("tixing.yaml", &open);
    assert_eq!(codes(&daemon, &offline), (Some(0), vec!["unchecked_template".to_owned()]));
    let pulled = daemon.tixing(&["templates", "pull", "--lang", "en"]);
    assert_eq!(pulled.status.code(), Some(0), "{}", text(&pulled));
    let said = text(&pulled);
    assert!(said.contains("main: 3 templates"), "{said}");
    assert!(said.contains("  TPLcard (同城配送服务动态) is a service card"), "{said}");
    assert!(!said.contains("NAME: { id: TPLcard"), "what cannot be used is not offered: {said}");
    assert!(said.contains("NAME: { id: TPLbill }   # 账单: thing1 项目, amount2 金额"), "{said}");
    assert!(!said.contains("习惯"), "what has a name is not offered: {said}");
    let kept = fs::read_to_string(daemon.folder.path().join("templates.pulled.yaml")).unwrap();
    let line = format!(
        "  \"{TEMPLATE}\": {{ app: {APPID}, kind: one_time, title: \"习惯提醒\", fields: {{ thing1: \"内容\" }} }}\n"
    );
    assert!(kept.contains(&line), "{kept}");
    assert_eq!(
        fs::read_to_string(daemon.folder.path().join("tixing.yaml")).unwrap(),
        open,
        "names are the admin's"
    );
    assert_eq!(codes(&daemon, &offline), (Some(0), Vec::new()), "the fields are known now");
    assert!(text(&daemon.tixing(&["templates", "pull"])).contains("same already"));

    let broken =
        config.replace("fields: [thing1]", "fields: [thing1, date2]").replace("one_time", "long_term");
    daemon.write("tixing.yaml", &broken);
    let (code, found) = codes(&daemon, &online);
    assert_eq!((code, found.contains(&"template_kind_differs".to_owned())), (Some(1), true), "{found:?}");
    assert!(found.contains(&"template_field_missing".to_owned()), "{found:?}");
    let warned = codes(&daemon, &offline).1;
    assert!(warned.contains(&"template_kind_differs".to_owned()), "what was pulled warns: {warned:?}");
    daemon.write("tixing.yaml", &config.replace(TEMPLATE, "TPLcard"));
    for words in [&online[..], &offline] {
        assert_eq!(codes(&daemon, words), (Some(1), vec!["service_card".to_owned()]));
    }
    daemon.write("tixing.yaml", &config);
    assert_eq!(codes(&daemon, &online), (Some(0), Vec::new()));

    // The daemon has the secret when this command has not.
    daemon.start();
    fs::rename(daemon.folder.path().join("secret"), daemon.folder.path().join("elsewhere")).unwrap();
    assert_eq!(codes(&daemon, &online), (Some(0), Vec::new()));
    let rows = daemon.json(&["templates", "pull", "--app", "main", "--json"]);
    let names: Vec<&Value> = rows.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, [&Value::from("habit"), &Value::Null, &Value::Null]);
    assert_eq!([&rows[1]["service_card"], &rows[2]["service_card"]], [false, true]);
    assert_eq!(rows[1]["fields"][1], serde_json::json!({"key": "amount2", "label": "金额"}));
    daemon.stop();

    let fails = |daemon: &Daemon, exit: i32, says: &str| {
        for words in [&["templates", "pull"][..], &["check", "--online"]] {
            let output = daemon.tixing(words);
            assert_eq!(output.status.code(), Some(exit), "{words:?}: {}", text(&output));
            assert!(text(&output).contains(says), "{words:?}: {}", text(&output));
        }
    };
    fails(&daemon, 78, "secret file");
    daemon.write("secret", "0123456789abcdef0123456789abcdef");
    fails(&daemon, 78, "errcode 40125");
    fs::rename(daemon.folder.path().join("elsewhere"), daemon.folder.path().join("secret")).unwrap();
    // An empty list takes nothing away.
    sandbox.platform().set_templates(Vec::new());
    let told = text(&daemon.tixing(&["templates", "pull"]));
    assert!(told.contains("app main: WeChat lists no template") && told.contains("same already"), "{told}");
    runtime.block_on(sandbox.stop());
    fails(&daemon, 75, "app main: no access token");
    assert_eq!(fs::read_to_string(daemon.folder.path().join("templates.pulled.yaml")).unwrap(), kept);
}
