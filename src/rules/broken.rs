//! Every mistake that the loader knows, as an admin would make it: input → code, line and column.
//!
//! A row is a mistake in one place of a good file; a bug arrives as a new row that fails first.

use super::tests_support::{CONFIG_TEXT, check_texts};
use super::{CODES, Severity};

/// What a row expects: code, line, column.
type Found = (&'static str, u32, u32);

fn found(config: &str, schedule: &str) -> Vec<(String, Found)> {
    found_bytes(config.as_bytes(), schedule.as_bytes())
}

fn found_bytes(config: &[u8], schedule: &[u8]) -> Vec<(String, Found)> {
    let list = check_texts(config, schedule).diagnostics.0;
    list.iter()
        .map(|one| {
            assert!(CODES.iter().any(|(code, _)| *code == one.code), "{} is not listed", one.code);
            assert!(!one.message.is_empty() && !one.help.is_empty(), "{one}");
            let file = one.file.rsplit('/').next().unwrap_or_default().to_owned();
            (file, (one.code, one.line, one.column))
        })
        .collect()
}

#[track_caller]
fn check(what: &str, found: &[(String, Found)], file: &str, expected: &[Found]) {
    let expected: Vec<(String, Found)> = expected.iter().map(|one| (file.to_owned(), *one)).collect();
    assert_eq!(found, expected, "{what}");
}

/// A good schedule with one rule, whose lines rows change.
const GOOD: &str = "\
rules:
  drink:
    template: habit
    when: { cron: \"0 10 * * *\" }
    data:
      thing1: 喝水
      time2: \"{{ due | local('%H:%M') }}\"
";

#[test]
fn the_good_files_are_good() {
    assert_eq!(found(CONFIG_TEXT, GOOD), []);
    let windows = GOOD.replace('\n', "\r\n");
    assert_eq!(found(CONFIG_TEXT, &format!("\u{feff}{windows}")), []);
}

/// Mistakes in `tixing.yaml`: what is replaced, by what, and what is found.
#[test]
fn mistakes_in_the_configuration() {
    let rows: &[(&str, &str, &[Found])] = &[
        // Keys.
        ("appid:", "appld:", &[("missing_key", 2, 3), ("unknown_key", 3, 5)]),
        ("store:", "stroe:", &[("unknown_key", 7, 1)]),
        ("store: sled:store", "store: sled:store\nstore: sled:x", &[("duplicate_key", 8, 1)]),
        ("apps:", "Apps:", &[("missing_key", 1, 1), ("unknown_key", 1, 1)]),
        ("    secret: { credential: clinic-secret }\n", "", &[("missing_key", 2, 3)]),
        // Names and ids.
        ("  clinic:", "  Clinic:", &[("bad_name", 2, 3)]),
        ("wx0123456789abcdef", "0123456789abcdef", &[("bad_name", 3, 12)]),
        ("HABIT_ID", "\"HABIT ID\"", &[("bad_name", 6, 20)]),
        ("habit: {", "Habit: {", &[("bad_name", 6, 7)]),
        ("thing1, time2", "thing1.DATA, time2", &[("bad_name", 6, 56)]),
        ("thing1, time2", "thing1, thing1", &[("repeated", 6, 64)]),
        ("[thing1, time2]", "[]", &[("empty_list", 6, 55)]),
        ("[thing1, time2]", "thing1", &[("wrong_shape", 6, 55)]),
        (
            "thing1, time2",
            "thing1, time2, gadget3",
            &[("unknown_field_type", 6, 71), ("missing_field", 5, 5)],
        ),
        (", fields: [thing1, time2]", "", &[("unchecked_template", 6, 7)]),
        // Secrets.
        ("{ credential: clinic-secret }", "hunter2", &[("inline_secret", 4, 13)]),
        ("{ credential: clinic-secret }", "{ value: hunter2 }", &[("unknown_key", 4, 15)]),
        ("{ credential: clinic-secret }", "{ file: a, env: B }", &[("wrong_shape", 4, 13)]),
        ("{ credential: clinic-secret }", "{}", &[("wrong_shape", 4, 13)]),
        ("{ credential: clinic-secret }", "{ env: hunter-2 }", &[("bad_name", 4, 20)]),
        // Values.
        ("kind: one_time", "kind: once", &[("bad_value", 6, 36)]),
        ("    templates:", "    state: form\n    templates:", &[("bad_value", 5, 12)]),
        ("    templates:", "    lang: zh-CN\n    templates:", &[("bad_value", 5, 11)]),
        ("    templates:", "    limits: { in_flight: 0 }\n    templates:", &[("bad_value", 5, 26)]),
        ("    templates:", "    limits: { in_flight: 1e3 }\n    templates:", &[("bad_value", 5, 26)]),
        ("    templates:", "    limits: 64\n    templates:", &[("wrong_shape", 5, 13)]),
        ("    templates:", "    base_url: http://api.weixin.qq.com\n    templates:", &[("bad_value", 5, 15)]),
        ("    templates:", "    proxy: http://me:pw@10.0.0.1\n    templates:", &[("bad_value", 5, 12)]),
        ("store: sled:store", "store: /var/lib/x", &[("bad_value", 7, 8)]),
        ("store: sled:store", "store: rocks:/var/lib/x", &[("bad_value", 7, 8)]),
        ("store: sled:store", "store:", &[("no_value", 7, 7)]),
        ("store: sled:store", "store: [a]", &[("wrong_shape", 7, 8)]),
        ("store: sled:store", "timezone: CST", &[("unknown_zone", 7, 11)]),
        ("store: sled:store", "timezone: recipient", &[("unknown_zone", 7, 11)]),
        ("store: sled:store", "hook: { listen: localhost:8080 }", &[("bad_value", 7, 17)]),
        ("store: sled:store", "hook: { login: yes }", &[("bad_value", 7, 16)]),
        ("store: sled:store", "hook: { session_hours: 0 }", &[("bad_value", 7, 24)]),
        ("store: sled:store", "hook: { session_fields: [City] }", &[("bad_name", 7, 26)]),
        ("store: sled:store", "hook: { trusted_proxies: [10.0.0.0/33] }", &[("bad_value", 7, 27)]),
        (
            "store: sled:store",
            "hook: { keys: [{ id: b, secret: whsec_AAAA, apps: [clinik] }] }",
            &[("inline_secret", 7, 33), ("unknown_app", 7, 52)],
        ),
        (
            "store: sled:store",
            "hook: { keys: [{ secret: { env: A } }, { id: b, secret: { env: A } }, { id: b, secret: { env: A } }] }",
            &[("missing_key", 7, 16), ("repeated", 7, 77)],
        ),
        (
            "store: sled:store",
            "hook: { keys: [{ id: b, secret: { env: A }, apps: [] }] }",
            &[("empty_list", 7, 51)],
        ),
        // Later versions.
        ("    templates:", "    consents_from: events\n    templates:", &[("not_yet", 5, 20)]),
        ("    templates:", "    push: { plain: true }\n    templates:", &[("not_yet", 5, 5)]),
        ("store: sled:store", "admin: { listen: 127.0.0.1:8081 }", &[("not_yet", 7, 10)]),
        // Two of one kind.
        (
            "store:",
            "  two: { appid: wx0123456789abcdef, secret: { env: A }, templates: {} }\nstore:",
            &[("duplicate_appid", 7, 17)],
        ),
        (
            "store:",
            "      again: { id: HABIT_ID, fields: [thing1] }\nstore:",
            &[("duplicate_template_id", 7, 20)],
        ),
        // YAML.
        ("store: sled:store", "store: &x sled:store", &[("anchor", 7, 8)]),
        ("store: sled:store", "store: !str sled:store", &[("type_tag", 7, 8)]),
        ("store: sled:store", "store: *x", &[("alias", 7, 8)]),
        ("store: sled:store", "<<: { a: b }", &[("merge_key", 7, 1)]),
        ("store: sled:store", "[a]: b", &[("key_is_no_text", 7, 1)]),
        ("store: sled:store", "---\na: b", &[("several_documents", 7, 1)]),
        ("store: sled:store", "\tstore: x", &[("tab", 7, 1)]),
        ("store: sled:store", "store：sled:store", &[("syntax", 8, 1)]),
        ("store: sled:store", "store: \"sled:store", &[("syntax", 7, 8)]),
        ("store: sled:store", "store: [sled:store", &[("syntax", 7, 8)]),
        ("store: sled:store", "store: @x", &[("unquoted", 7, 8)]),
        ("store: sled:store", "store: a: b", &[("syntax", 7, 9)]),
    ];
    for (from, to, expected) in rows {
        assert!(CONFIG_TEXT.contains(from), "{from}");
        let config = CONFIG_TEXT.replace(from, to);
        let mut all = found(&config, "rules: {}\n");
        all.retain(|(_, (code, ..))| *code != "no_rules");
        let expected: Vec<Found> =
            expected.iter().copied().filter(|(code, ..)| *code != "missing_field").collect();
        check(to, &all, "tixing.yaml", &expected);
    }
}

#[test]
fn files_that_are_no_text() {
    let rows: &[(&str, &[u8], &[Found])] = &[
        ("GBK", b"rules:\n  a: \xba\xc8\xcb\xae\n", &[("not_utf8", 2, 6)]),
        ("UTF-16", b"\xff\xfer\0u\0", &[("not_utf8", 1, 1)]),
        ("NUL", b"rules:\n  a\0: {}\n", &[("control_character", 2, 4)]),
        ("escape", "rules: 喝\u{1b}[31m\n".as_bytes(), &[("control_character", 1, 9)]),
        ("empty", b"", &[("empty_file", 1, 1)]),
        ("comments only", b"# later\n", &[("empty_file", 1, 1)]),
        ("a list", b"- a\n", &[("wrong_shape", 1, 1)]),
        ("a word", b"rules\n", &[("wrong_shape", 1, 1)]),
        ("no rules", b"app: clinic\n", &[("missing_key", 1, 1)]),
    ];
    for (what, schedule, expected) in rows {
        let mut all = found_bytes(CONFIG_TEXT.as_bytes(), schedule);
        all.retain(|(_, (code, ..))| *code != "no_rules");
        check(what, &all, "a.yaml", expected);
    }
}
