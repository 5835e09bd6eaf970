//! One person in two apps on the real program: shown, muted and erased by an operator, with the daemon and without it.

use std::fs;

use serde_json::{Value, json};
use tixing::clock::Clock;
use tixing::sandbox::{self, Sandbox};

use super::daemon::{APPID, Daemon, TEMPLATE, canary, request, signed, until};

const SHOP: &str = "wxprocess0002";
/// He goes by it in one app, and somebody else in the other.
const REF: &str = "4711";

struct Cast {
    /// One person, in the first app and in the second.
    ann: [String; 2],
    unionid: String,
    bo: String,
}

/// A daemon of two apps that does not run yet.
fn of_two_apps() -> Daemon {
    let daemon = Daemon::new("http://127.0.0.1:9", 4, "rules: {}\n");
    let config = fs::read_to_string(daemon.path("tixing.yaml")).unwrap();
    let second = format!(
        "  shop:\n    appid: {SHOP}\n    secret: {{ file: secret }}\n    base_url: http://127.0.0.1:9\n    templates:\n      \
         habit: {{ id: {TEMPLATE}, kind: one_time, fields: [thing1] }}\nschedules: schedules\n"
    );
    let config = config.replace("schedules: schedules\n", &second);
    daemon.write("tixing.yaml", &config.replace("apps: [main]", "apps: [main, shop]"));
    daemon.write("schedules/rules.yaml", "app: main\nrules: {}\n");
    daemon
}

/// Exit code, rows, and what was said beside them.
fn people(daemon: &Daemon, words: &[&str]) -> (i32, Vec<Value>, String) {
    let output = daemon.tixing(&[&["people"], words, &["--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), rows, String::from_utf8(output.stderr).unwrap())
}

fn put_them(daemon: &Daemon) -> Cast {
    let name = |kind| format!("o{}", canary(kind));
    let cast = Cast { ann: [name("Ann"), name("Ana")], unionid: name("Union"), bo: name("Bo") };
    let of = |openid: &str, more: Value| {
        let mut row = json!({ "openid": openid });
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{row}\n")
    };
    let [ann, ana] = &cast.ann;
    let unionid = &cast.unionid;
    let first = json!({"unionid": unionid, "ref": REF, "tags": ["vip"], "fields": {"city": "上海"}, "time_zone": "Asia/Tokyo"});
    daemon.write("main.jsonl", &of(ann, first));
    let second = of(ana, json!({ "unionid": unionid })) + &of(&cast.bo, json!({ "ref": REF }));
    daemon.write("shop.jsonl", &second);
    for app in ["main", "shop"] {
        assert_eq!(people(daemon, &["import", &format!("{app}.jsonl"), "--app", app]).0, 0);
    }
    daemon.json(&[
        "consents",
        "grant",
        "--openid",
        ann,
        "--template",
        "habit",
        "--n",
        "3",
        "--app",
        "main",
        "--json",
    ]);
    cast
}

/// What of `names` is in the live records.
fn left<'a>(daemon: &Daemon, name: &str, names: &[&'a str]) -> Vec<&'a str> {
    daemon.json(&["backup", name, "--json"]);
    let records = fs::read_to_string(daemon.path(name)).unwrap();
    names.iter().copied().filter(|name| records.contains(name)).collect()
}

#[test]
fn a_person_of_two_apps_is_shown_muted_and_erased_by_an_operator() {
    let mut daemon = of_two_apps();
    daemon.start();
    let cast = put_them(&daemon);
    let ([ann, ana], bo) = (&cast.ann, cast.bo.as_str());
    let told = |words: &[&str]| people(&daemon, words);

    // One object: the named one in clear, the person's others and the person as masks.
    let (exit, mut rows, _) = told(&["show", "--openid", ann]);
    assert_eq!((exit, rows.len()), (0, 1));
    let shown = rows.remove(0);
    let created_at = shown["recipients"][0]["created_at"].as_str().unwrap().to_owned();
    assert!(created_at.ends_with('Z'), "{created_at}");
    assert_eq!(
        shown["recipients"][0],
        json!({"app": "main", "openid": ann, "ref": REF, "created_at": created_at, "muted": false, "bad_since": null,
            "time_zone": "Asia/Tokyo", "tags": ["vip"], "fields": {"city": "上海"}, "consents": [{"template": TEMPLATE,
            "kind": "one_time", "available": 3, "reserved": 0, "in_doubt": 0, "suspect": false}]})
    );
    let other = shown["recipients"][1]["openid"].as_str().unwrap().to_owned();
    assert!(other.starts_with('~') && other.len() == 11, "{other}");
    assert_eq!(shown["recipients"].as_array().unwrap().len(), 2);
    assert!(![ana, &cast.unionid].iter().any(|name| shown.to_string().contains(name.as_str())), "{shown}");
    let (_, rows, _) = told(&["show", "--openid", &other, "--reveal"]);
    assert_eq!(
        (&rows[0]["person"], &rows[0]["recipients"][0]["openid"]),
        (&json!(cast.unionid), &json!(ana))
    );
    let table = daemon.tixing(&["people", "show", "--openid", ann, "--lang", "en"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains(ann.as_str()) && table.contains("shop") && !table.contains(ana.as_str()),
        "{table}"
    );

    // Who is meant has to be plain, above all before something is changed.
    for (exit, says, words) in [
        (64, "several people go by", &["show", "--openid", REF][..]),
        (64, "several people go by", &["mute", "--openid", REF]),
        (64, "several people go by", &["erase", "--openid", REF, "--all-apps"]),
        (64, "--openid", &["erase"]),
        (64, "", &["erase", "--openid", bo, "--apps", "all"]),
        (65, "no app `stop`", &["mute", "--openid", REF, "--app", "stop"]),
        (65, "there is no recipient", &["unmute", "--openid", "oNOBODY000009"]),
        (65, "nobody in app", &["erase", "--openid", "nobody", "--app", "main"]),
        (65, "no recipient of app", &["show", "--openid", "~0123456789"]),
    ] {
        let (got, rows, why) = told(words);
        assert!(got == exit && rows.is_empty() && why.contains(says), "{words:?}: {got} {why}");
    }

    let muted = || -> Vec<bool> {
        let (_, rows, _) = told(&["show", "--openid", ann]);
        rows[0]["recipients"].as_array().unwrap().iter().map(|one| one["muted"] == true).collect()
    };
    let row = |app: &str, openid: &str, state: &str| json!({"app": app, "openid": openid, "state": state});
    let (first, second) = (row("main", ann, "muted"), row("shop", &other, "muted"));
    assert_eq!(told(&["mute", "--openid", ann]), (0, vec![first.clone()], String::new()));
    assert_eq!(muted(), [true, false]);
    assert_eq!(told(&["mute", "--openid", ann, "--all-apps"]), (0, vec![first, second], String::new()));
    assert_eq!(muted(), [true, true]);
    let masked = &told(&["unmute", "--openid", &other, "--all-apps"]).1;
    assert_eq!((&masked[0], &masked[1]["state"]), (&row("shop", &other, "heard"), &json!("heard")));
    assert_eq!(muted(), [false, false]);

    let gone = vec![row("main", ann, "erased"), row("shop", &other, "erased")];
    assert_eq!(told(&["erase", "--openid", ann, "--all-apps"]), (0, gone, String::new()));
    for words in [&["erase", "--openid", ann, "--all-apps"][..], &["show", "--openid", ana]] {
        let (exit, rows, why) = told(words);
        assert!(exit == 65 && rows.is_empty() && why.contains("there is no recipient"), "{exit}: {why}");
    }
    // By his ref there is now one person alone.
    assert_eq!(told(&["show", "--openid", REF]).1[0]["recipients"][0]["app"], "shop");
    assert_eq!(daemon.json(&["fsck", "--json"])[0]["ok"], true);

    // What is left of his name goes at once.
    let (names, mut n) = ([ann.as_str(), ana, &cast.unionid, bo], 0);
    until("nothing in the live records names him", || {
        n += 1;
        left(&daemon, &format!("books{n}.jsonl"), &names) == [bo]
    });
    assert_eq!(daemon.stop(), Some(0));

    // Without a daemon the command opens the store itself.
    let told = |words: &[&str]| people(&daemon, words);
    assert_eq!(told(&["mute", "--openid", bo]), (0, vec![row("shop", bo, "muted")], String::new()));
    assert_eq!(told(&["erase", "--openid", bo, "--app", "main"]).0, 65);
    assert_eq!(told(&["erase", "--openid", bo, "--app", "shop"]).1, [row("shop", bo, "erased")]);
    assert_eq!(told(&["erase", "--openid", bo]).0, 65);
    assert!(left(&daemon, "books-last.jsonl", &names).is_empty(), "nor the other one, on return");
    daemon.start();
    assert_eq!(daemon.json(&["fsck", "--json"])[0]["ok"], true);
    assert_eq!(daemon.stop(), Some(0));
}

/// A name that the daemon heard at a login and no longer has, or that a backend's word stands in front of, is still his: nobody is
/// told that he is gone from all apps while he is there in one of them.
#[test]
fn a_person_goes_from_all_apps_whatever_became_of_the_name_that_he_proved() {
    let mut daemon = of_two_apps();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let app = |appid: &str| sandbox::App { appid: appid.to_owned(), secret: daemon.app_secret.clone() };
    let options = sandbox::Options::new(vec![app(APPID), app(SHOP)], Vec::new());
    let sandbox = runtime.block_on(Sandbox::start(options, Clock::system())).unwrap();
    daemon.talk_to(&sandbox.base_url());
    daemon.start();
    // Plain ones: a backend is answered with those it names, and all answers are searched for what nobody may see.
    let unionid = "oPlainUnion".to_owned();
    let login = |daemon: &Daemon, app: &str, appid: &str, openid: &str| {
        let code = json!({ "code": sandbox.platform().login_code_of(appid, openid, &unionid) }).to_string();
        let (status, text) =
            request(&daemon.hook(), "POST", &format!("/v1/login?app={app}"), &[], code.as_bytes()).unwrap();
        assert_eq!(status, 200);
        let told: Value = serde_json::from_str(&text).unwrap();
        told["session"].as_str().unwrap().to_owned()
    };
    let put = |daemon: &Daemon, app: &str, openid: &str, body: &Value| {
        let (target, body) = (format!("/v1/recipients/{openid}?app={app}"), body.to_string());
        let (id, now) = (canary("Id"), Clock::system().now().timestamp());
        let headers = signed(&daemon.hook_secret, &id, now, "PUT", &target, body.as_bytes());
        assert_eq!(request(&daemon.hook(), "PUT", &target, &headers, body.as_bytes()).unwrap().0, 200);
    };
    let goes = |daemon: &Daemon, session: &str| {
        let headers = [("authorization", format!("Bearer {session}"))];
        request(&daemon.hook(), "DELETE", "/v1/me?apps=all", &headers, b"").unwrap().0
    };
    // What happens between his login and his goodbye, and whether he has to log in again for it.
    let cases = [
        ("made without", false),
        ("set to another", false),
        ("lost", true),
        ("known and set to another", true),
    ];
    for (n, (case, logs_in_again)) in cases.into_iter().enumerate() {
        let [ann, ana] = ["Ann", "Ana"].map(|name| format!("oPlain{name}0000{n}"));
        put(&daemon, "shop", &ana, &json!({ "unionid": unionid }));
        if case == "known and set to another" {
            put(&daemon, "main", &ann, &json!({}));
        }
        let session = login(&daemon, "main", APPID, &ann);
        match case {
            "made without" => put(&daemon, "main", &ann, &json!({})),
            "lost" => {
                assert_eq!(daemon.stop(), Some(0));
                daemon.start();
            }
            _ => put(&daemon, "main", &ann, &json!({ "unionid": format!("oPlainAnother{n}") })),
        }
        let there = |daemon: &Daemon| people(daemon, &["show", "--openid", &ana]).0 == 0;
        let mut status = goes(&daemon, &session);
        assert_eq!(
            (status, there(&daemon)),
            if logs_in_again { (401, true) } else { (200, false) },
            "{case}"
        );
        if logs_in_again {
            status = goes(&daemon, &login(&daemon, "main", APPID, &ann));
        }
        assert_eq!((status, there(&daemon)), (200, false), "{case}");
    }
    assert_eq!(daemon.stop(), Some(0));
    runtime.block_on(sandbox.stop());
}
