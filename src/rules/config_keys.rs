//! The keys of `tixing.yaml`, each with its meaning, default and example.
//!
//! A key becomes usable by giving it a meaning and a shape here, in place of its entry under `later`.

use super::app_entry::{
    KINDS, LANGS, MAX_APPS, MAX_FIELDS as MAX_TEMPLATE_FIELDS, MAX_IN_FLIGHT, MAX_PER_SECOND, MAX_TEMPLATES,
    SOURCES, STATES,
};
use super::config_file::{MAX_NAMED, MAX_SESSION_HOURS, RELOADS};
use super::keys::{Absent, Key, keys};
use super::pattern;
use super::schema::{
    app, appid, credential, exactly_one, field_key, field_name, list, map, name, named, push, set, some_text,
    switch, template_id, text, variable, whole, words, zone,
};
use crate::domain::language::Phrase;
use crate::domain::recipient::MAX_FIELDS;

const CREDENTIAL: &str = r#"{ "credential": "clinic-secret" }"#;

keys! {
    /// `tixing.yaml`.
    FILE = [
        Key {
            name: "apps",
            about: "Your mini programs, under names that you choose.",
            example: r#"{ "clinic": { "appid": "wx0123456789abcdef", "secret": { "credential": "clinic-secret" },
                "templates": {} } }"#,
            absent: Absent::Mistake,
            shape: || named(pattern::NAME, app(map(&APP)), "One mini program.", 1..=MAX_APPS),
        },
        Key {
            name: "timezone",
            about: "Zone of due times where a schedule file names none, by its IANA name.",
            example: r#""Asia/Shanghai""#,
            absent: Absent::Default(r#""Asia/Shanghai""#),
            shape: zone,
        },
        Key {
            name: "schedules",
            about: "Folder of the schedule files; relative paths start at this file.",
            example: r#""schedules""#,
            absent: Absent::Default(r#""schedules""#),
            shape: text,
        },
        Key {
            name: "store",
            about: "Where the books are kept: `sled:` and the path of a folder.",
            example: r#""sled:/var/lib/tixing/store""#,
            absent: Absent::Default(r#""sled:/var/lib/tixing/store""#),
            shape: || pattern::texts(pattern::STORE, "`sled:` and the path of a folder"),
        },
        Key {
            name: "hook",
            about: "The door for the mini program and its backend.",
            example: r#"{ "listen": "127.0.0.1:8080" }"#,
            absent: Absent::Default("{}"),
            shape: || map(&HOOK),
        },
        Key {
            name: "admin",
            about: "The door for operators: the command line and the metrics.",
            example: r#"{ "socket": "/run/tixing/admin.sock" }"#,
            absent: Absent::Default("{}"),
            shape: || map(&ADMIN),
        },
        Key {
            name: "reload",
            about: "Whether changed files are taken over by themselves (`auto`), or only by `tixing reload` and SIGHUP (`manual`).",
            example: r#""manual""#,
            absent: Absent::Default(r#""auto""#),
            shape: || words(&RELOADS),
        },
    ], later: &[];

    /// One app.
    APP = [
        Key {
            name: "appid",
            about: "The mini program's AppID (小程序后台 → 开发管理).",
            example: r#""wx0123456789abcdef""#,
            absent: Absent::Mistake,
            shape: appid,
        },
        Key {
            name: "secret",
            about: "Where the app secret is; never the secret itself.",
            example: CREDENTIAL,
            absent: Absent::Mistake,
            shape: secret,
        },
        Key {
            name: "state",
            about: "Which version of the mini program a tap opens: 正式版, 体验版, 开发版.",
            example: r#""trial""#,
            absent: Absent::Default(r#""formal""#),
            shape: || words(&STATES),
        },
        Key {
            name: "lang",
            about: "The language in which the platform shows the message.",
            example: r#""zh_HK""#,
            absent: Absent::Default(r#""zh_CN""#),
            shape: || words(&LANGS),
        },
        Key {
            name: "consents_from",
            about: "Which source of acceptances counts.",
            example: r#""reports""#,
            absent: Absent::Default(r#""reports""#),
            shape: || words(&SOURCES),
        },
        Key {
            name: "limits",
            about: "How fast messages leave.",
            example: r#"{ "in_flight": 32, "per_second": 50 }"#,
            absent: Absent::Default("{}"),
            shape: || map(&LIMITS),
        },
        Key {
            name: "templates",
            about: "Templates (订阅消息模板), under names that rules use.",
            example: r#"{ "visit": { "id": "VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc", "kind": "one_time",
                "fields": ["thing1", "time2"] } }"#,
            absent: Absent::Mistake,
            shape: || named(pattern::NAME, map(&TEMPLATE), "One template.", 0..=MAX_TEMPLATES),
        },
        Key {
            name: "base_url",
            about: "Scheme and host of the platform; http is allowed to this machine only.",
            example: r#""https://api.weixin.qq.com""#,
            absent: Absent::Default(r#""https://api.weixin.qq.com""#),
            shape: || pattern::texts(&pattern::base_url(), "https:// and a host, without a path"),
        },
        Key {
            name: "proxy",
            about: "The proxy that requests to the platform go through.",
            example: r#""http://10.0.0.1:3128""#,
            absent: Absent::Means("none, whatever the environment says."),
            shape: || pattern::texts(&pattern::proxy(), "http:// or https:// and a host, no password"),
        },
        Key {
            name: "push",
            about: "How the platform's events come (开发管理 → 消息推送), to `/wechat/` and the app's name at the hook.",
            example: r#"{ "token": { "credential": "clinic-push-token" }, "aes_key": { "credential": "clinic-aes-key" } }"#,
            absent: Absent::Means("no events are taken."),
            shape: || push(map(&PUSH)),
        },
    ], later: &[];

    /// `push` of an app.
    PUSH = [
        Key {
            name: "token",
            about: "Where the Token is; never the token itself.",
            example: r#"{ "credential": "clinic-push-token" }"#,
            absent: Absent::Mistake,
            shape: secret,
        },
        Key {
            name: "aes_key",
            about: "Where the EncodingAESKey is; never the key itself.",
            example: r#"{ "credential": "clinic-aes-key" }"#,
            absent: Absent::Means("only plain events can be read, which `plain` allows."),
            shape: secret,
        },
        Key {
            name: "plain",
            about: "Whether events that are not encrypted count too: of these, refusals and receipts alone.",
            example: "true",
            absent: Absent::Default("false"),
            shape: switch,
        },
    ], later: &[];

    /// `limits` of an app.
    LIMITS = [
        Key {
            name: "in_flight",
            about: "The most requests at the same time.",
            example: "32",
            absent: Absent::Default("64"),
            shape: || whole(1..=MAX_IN_FLIGHT),
        },
        Key {
            name: "per_second",
            about: "The most requests begun in a second.",
            example: "50",
            absent: Absent::Means("no limit by the clock."),
            shape: || whole(1..=MAX_PER_SECOND),
        },
        Key {
            name: "quota_probe",
            about: "Whether the platform is asked, at the start and a few times a day, how many messages it still takes today.",
            example: "true",
            absent: Absent::Default("false"),
            shape: switch,
        },
    ], later: &[];

    /// One template.
    TEMPLATE = [
        Key {
            name: "id",
            about: "The platform's id of the template (模板 ID).",
            example: r#""VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc""#,
            absent: Absent::Mistake,
            shape: template_id,
        },
        Key {
            name: "kind",
            about: "`one_time` (一次性订阅): one acceptance, one message. `long_term` (长期订阅): an acceptance stands.",
            example: r#""long_term""#,
            absent: Absent::Means("what `tixing templates pull` wrote down, else `one_time`."),
            shape: || words(&KINDS),
        },
        Key {
            name: "fields",
            about: "The keys of its fields (详细内容) without .DATA; rules are checked against them.",
            example: r#"["thing1", "time2"]"#,
            absent: Absent::Means("what `tixing templates pull` wrote down; else nothing is checked before it is sent."),
            shape: || set(&field_key(), 1..=MAX_TEMPLATE_FIELDS),
        },
    ], later: &[];

    /// `hook`.
    HOOK = [
        Key {
            name: "listen",
            about: "Address and port. Put a proxy with https before it.",
            example: r#""[::1]:8080""#,
            absent: Absent::Default(r#""127.0.0.1:8080""#),
            shape: || pattern::texts(&pattern::listen(), "an IP address and a port"),
        },
        Key {
            name: "keys",
            about: "Backends that may report; each signs with its own key (whsec_…).",
            example: r#"[{ "id": "backend", "secret": { "credential": "hook-key" }, "apps": ["clinic"] }]"#,
            absent: Absent::Default("[]"),
            shape: || list(&map(&KEY), 0..=MAX_NAMED),
        },
        Key {
            name: "session_fields",
            about: "Fields that a person may set about himself from the mini program.",
            example: r#"["city"]"#,
            absent: Absent::Default("[]"),
            shape: || set(&field_name(), 0..=MAX_FIELDS),
        },
        Key {
            name: "login",
            about: "Whether the mini program itself may log in and report.",
            example: "false",
            absent: Absent::Default("true"),
            shape: switch,
        },
        Key {
            name: "session_hours",
            about: "How long a session lasts.",
            example: "12",
            absent: Absent::Default("2"),
            shape: || whole(1..=MAX_SESSION_HOURS),
        },
        Key {
            name: "trusted_proxies",
            about: "Addresses and ranges whose X-Forwarded-For is believed.",
            example: r#"["10.0.0.0/8", "::1"]"#,
            absent: Absent::Means("loopback, when `listen` is on loopback; else nobody."),
            shape: || {
                list(&pattern::texts(&pattern::network(), "an IP address or a range such as 10.0.0.0/8"), 0..=MAX_NAMED)
            },
        },
    ], later: &[];

    /// One key of a backend.
    KEY = [
        Key {
            name: "id",
            about: "Its name in logs.",
            example: r#""backend""#,
            absent: Absent::Mistake,
            shape: name,
        },
        Key {
            name: "secret",
            about: "Where its secret (whsec_…) is; never the secret itself.",
            example: r#"{ "credential": "hook-key" }"#,
            absent: Absent::Mistake,
            shape: secret,
        },
        Key {
            name: "apps",
            about: "The apps that it may speak for; needed when there are several.",
            example: r#"["clinic"]"#,
            absent: Absent::Means("the only app."),
            shape: || set(&name(), 1..=MAX_NAMED),
        },
    ], later: &[];

    /// Where a secret is.
    SECRET = [
        Key {
            name: "credential",
            about: "The name of a systemd credential.",
            example: r#""clinic-secret""#,
            absent: Absent::Means("another key says it."),
            shape: credential,
        },
        Key {
            name: "file",
            about: "A file that only the daemon's user can read.",
            example: r#""/etc/tixing/clinic-secret""#,
            absent: Absent::Means("another key says it."),
            shape: some_text,
        },
        Key {
            name: "env",
            about: "The name of an environment variable, for a try-out.",
            example: r#""CLINIC_SECRET""#,
            absent: Absent::Means("another key says it."),
            shape: variable,
        },
    ], later: &[];

    /// `admin`.
    ADMIN = [
        Key {
            name: "socket",
            about: "The unix socket; whoever may open it is an operator.",
            example: r#""/run/tixing/admin.sock""#,
            absent: Absent::Default(r#""/run/tixing/admin.sock""#),
            shape: text,
        },
    ], later: &[(
        "listen",
        Phrase::new(
            "delete it and use `socket`: the command line goes through it",
            "请删掉，改用 `socket`：命令行通过它连接",
        ),
    )];
}

fn secret() -> serde_json::Value {
    exactly_one(map(&SECRET), &["credential", "file", "env"])
}
