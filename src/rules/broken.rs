//! Every mistake that the loader knows, as an admin would make it: input → code, line and column.
//!
//! A row is a mistake in one place of a good file; a bug arrives as a new row that fails first.

use super::CODES;
use super::tests_support::{CONFIG_TEXT, check_texts};

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
            assert!(
                !one.message.en.is_empty()
                    && !one.help.en.is_empty()
                    && !one.message.zh.is_empty()
                    && !one.help.zh.is_empty(),
                "{one}"
            );
            let file = one.file.rsplit('/').next().unwrap_or_default().to_owned();
            (file, (one.code, one.line, one.column))
        })
        .collect()
}

/// The rows that went wrong, all of them.
#[derive(Default)]
struct Table(Vec<String>);

impl Table {
    fn row(&mut self, what: &str, found: &[(String, Found)], file: &str, expected: &[Found]) {
        let expected: Vec<(String, Found)> = expected.iter().map(|one| (file.to_owned(), *one)).collect();
        if found != expected {
            self.0.push(format!("{what}\n  found    {found:?}\n  expected {expected:?}"));
        }
    }

    fn holds(self) {
        assert!(self.0.is_empty(), "{} rows:\n{}", self.0.len(), self.0.join("\n"));
    }
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
        ("appid:", "appld:", &[("unknown_key", 3, 5)]),
        ("store:", "stroe:", &[("unknown_key", 7, 1)]),
        ("store: sled:store", "store: sled:store\nstore: sled:x", &[("duplicate_key", 8, 1)]),
        ("store: sled:store", "store: sled:store\nreload: never", &[("bad_value", 8, 9)]),
        ("apps:", "Apps:", &[("unknown_key", 1, 1)]),
        ("    secret: { credential: clinic-secret }\n", "", &[("missing_key", 2, 3)]),
        // Names and ids.
        ("  clinic:", "  Clinic:", &[("bad_name", 2, 3)]),
        ("wx0123456789abcdef", "0123456789abcdef", &[("bad_name", 3, 12)]),
        ("HABIT_ID", "\"HABIT ID\"", &[("bad_name", 6, 20)]),
        ("habit: {", "Habit: {", &[("bad_name", 6, 7)]),
        ("thing1, time2", "thing1.DATA, time2", &[("bad_name", 6, 55)]),
        ("thing1, time2", "thing1, thing1", &[("repeated", 6, 63)]),
        ("[thing1, time2]", "[]", &[("empty_list", 6, 54)]),
        ("[thing1, time2]", "thing1", &[("wrong_shape", 6, 54)]),
        (
            "thing1, time2",
            "thing1, time2, gadget3",
            &[("unknown_field_type", 6, 70), ("missing_field", 5, 5)],
        ),
        (", fields: [thing1, time2]", "", &[("unchecked_template", 6, 7)]),
        // Secrets.
        ("{ credential: clinic-secret }", "hunter2", &[("inline_secret", 4, 13)]),
        ("{ credential: clinic-secret }", "{ value: hunter2 }", &[("unknown_key", 4, 15)]),
        ("{ credential: clinic-secret }", "{ file: a, env: B }", &[("wrong_shape", 4, 13)]),
        ("{ credential: clinic-secret }", "{}", &[("wrong_shape", 4, 13)]),
        ("{ credential: clinic-secret }", "{ env: hunter-2 }", &[("bad_name", 4, 20)]),
        ("{ credential: clinic-secret }", "{ credential: \"\" }", &[("bad_name", 4, 27)]),
        ("{ credential: clinic-secret }", "{ file: \"\" }", &[("bad_value", 4, 21)]),
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
        ("store: sled:store", "store:", &[("no_value", 7, 1)]),
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
        ("    templates:", "    consents_from: events\n    templates:", &[("events_without_push", 5, 20)]),
        ("    templates:", "    push: { plain: true }\n    templates:", &[("missing_key", 5, 11)]),
        ("    templates:", "    push: { token: { env: A } }\n    templates:", &[("missing_key", 5, 11)]),
        (
            "    templates:",
            "    push: { token: abc, plain: true }\n    templates:",
            &[("inline_secret", 5, 20)],
        ),
        (
            "    templates:",
            "    push: { token: { env: A }, plain: maybe }\n    templates:",
            &[("missing_key", 5, 11), ("bad_value", 5, 39)],
        ),
        (
            "    templates:",
            "    push: { token: { env: A }, plain: true }\n    consents_from: events\n    templates:",
            &[("events_without_aes_key", 6, 20)],
        ),
        (
            "    templates:",
            "    push: { token: { env: A }, aes_key: { env: B } }\n    consents_from: events\n    templates:",
            &[("events_may_miss", 6, 20)],
        ),
        // Later versions.
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
        ("store: sled:store", "store: &x sled:store", &[]),
        ("store: sled:store", "store: !str sled:store", &[("type_tag", 7, 8)]),
        ("store: sled:store", "store: *x", &[("alias", 7, 8)]),
        ("store: sled:store", "<<: { a: b }", &[("unknown_key", 7, 7)]),
        ("store: sled:store", "<<: [{ store: sled:x }, { store: x }]", &[]),
        ("store: sled:store", "<<: { store: x }", &[("bad_value", 7, 14)]),
        ("store: sled:store", "<<: sled:x", &[("merge_key", 7, 1)]),
        ("store: sled:store", "\"<<\": { a: b }", &[("unknown_key", 7, 1)]),
        ("store: sled:store", "store: &x [*x]", &[("wrong_shape", 7, 11), ("alias", 7, 12)]),
        ("store: sled:store", "store: &x { <<: *x }", &[("wrong_shape", 7, 11), ("alias", 7, 17)]),
        (
            "store: sled:store",
            "store: &x store\nadmin: { socket: [*x] }",
            &[("bad_value", 7, 11), ("wrong_shape", 8, 18)],
        ),
        ("store: sled:store", "[a]: b", &[("key_is_no_text", 7, 1)]),
        ("store: sled:store", "---\na: b", &[("several_documents", 7, 1)]),
        ("store: sled:store", "\tstore: x", &[("tab", 7, 1)]),
        ("store: sled:store", "store：sled:store", &[("syntax", 7, 6)]),
        ("store: sled:store", "store: \"sled:store", &[("syntax", 7, 8)]),
        ("store: sled:store", "store: [sled:store", &[("syntax", 7, 8)]),
        ("store: sled:store", "store: @x", &[("unquoted", 7, 8)]),
        ("store: sled:store", "store: a: b", &[("syntax", 7, 9)]),
    ];
    let mut table = Table::default();
    for (from, to, expected) in rows {
        assert!(CONFIG_TEXT.contains(from), "{from}");
        let config = CONFIG_TEXT.replace(from, to);
        let mut all = found(&config, "rules: {}\n");
        all.retain(|(_, (code, ..))| *code != "no_rules");
        let expected: Vec<Found> =
            expected.iter().copied().filter(|(code, ..)| *code != "missing_field").collect();
        table.row(to, &all, "tixing.yaml", &expected);
    }
    table.holds();
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
    let mut table = Table::default();
    for (what, schedule, expected) in rows {
        let mut all = found_bytes(CONFIG_TEXT.as_bytes(), schedule);
        all.retain(|(_, (code, ..))| *code != "no_rules");
        table.row(what, &all, "a.yaml", expected);
    }
    table.holds();
}

/// A schedule in which everything works that a rule can say.
#[test]
fn everything_that_works_is_taken() {
    let schedule = "\
app: clinic
timezone: Asia/Shanghai
rules:
  one:
    app: clinic
    template: habit
    when: { at: [\"2027-01-31 09:00\", \"2027-01-01 09:00:30\"] }
    timezone: UTC
    enabled: false
    to: { tags: [no, 0012], all_tags: [习惯], openids: [o123456789], where: \"fields.city == 'Shanghai'\" }
    data: { thing1: \"{{ fields.name | default('您') }}\", time2: \"{{ due | local('%H:%M') }}\" }
    page: \"pages/index/index?ref={{ ref }}\"
    grace: 24h
    missed: all
    max: 5
    overflow: { thing1: fail }
  two:
    template: habit
    when: { at: 2027-01-31 09:00 }
    to: all
    data: { thing1: 08:30, time2: \"08:30\" }
";
    assert_eq!(found(CONFIG_TEXT, schedule), []);
    let folder = tempfile::tempdir().expect("a folder");
    let config = super::tests_support::config_in(folder.path());
    super::tests_support::write(folder.path(), &[("schedules/a.yaml", schedule.as_bytes())]);
    let set = super::load_rules(&config).expect("good").value.set;
    assert_eq!(set.disabled.len(), 1);
    let two = set.rules.values().next().expect("rule two");
    assert_eq!(two.data.values().next().map(String::as_str), Some("08:30"), "values keep their text");
    assert_eq!(two.zone.name(), "Asia/Shanghai");
}

/// Mistakes in a schedule file: what is replaced, by what, and what is found.
#[test]
fn mistakes_in_a_schedule() {
    const CRON: &str = "{ cron: \"0 10 * * *\" }";
    const WHEN_AND_DATA: &str = "    when: { cron: \"0 10 * * *\" }\n    data:\n      thing1: 喝水\n      time2: \"{{ due | local('%H:%M') }}\"\n";
    const DATA: &str = "    data:\n      thing1: 喝水\n      time2: \"{{ due | local('%H:%M') }}\"\n";
    let rows: &[(&str, &str, &[Found])] = &[
        // Keys.
        ("template:", "tempalte:", &[("unknown_key", 3, 5)]),
        ("rules:", "rule:", &[("unknown_key", 1, 1)]),
        ("rules:", "time_zone: UTC\nrules:", &[("unknown_key", 1, 1)]),
        ("    when:", "    template: x\n    when:", &[("duplicate_key", 4, 5)]),
        (DATA, "", &[("missing_key", 2, 3)]),
        ("    when: { cron: \"0 10 * * *\" }\n", "", &[("missing_key", 2, 3)]),
        (GOOD, "rules:\n  drink:\n", &[("no_value", 2, 3)]),
        (GOOD, "rules:\n  - drink\n", &[("wrong_shape", 2, 3)]),
        ("  drink:", "  Drink Water:", &[("bad_name", 2, 3)]),
        ("  drink:", "  \"喝水\":", &[("bad_name", 2, 3)]),
        // What the configuration has.
        ("template: habit", "template: habbit", &[("unknown_template", 3, 15)]),
        ("template: habit", "template: HABIT_ID", &[("template_by_id", 3, 15)]),
        ("template: habit", "template: [habit]", &[("wrong_shape", 3, 15)]),
        ("rules:", "app: clinik\nrules:", &[("unknown_app", 1, 6)]),
        ("template: habit", "app: 诊所\n    template: habit", &[("unknown_app", 3, 10)]),
        ("rules:", "timezone: Asia/Beijing\nrules:", &[("unknown_zone", 1, 11)]),
        ("template: habit", "timezone: GMT+8\n    template: habit", &[("unknown_zone", 3, 15)]),
        ("thing1:", "thing3:", &[("unknown_field", 6, 7)]),
        ("      thing1: 喝水\n", "", &[("missing_field", 5, 5)]),
        ("thing1: 喝水", "Thing1: 喝水", &[("bad_name", 6, 7)]),
        ("thing1: 喝水", "thing1: 喝水\n      thing1: 喝水", &[("duplicate_key", 7, 7)]),
        // When.
        (CRON, "{ cron: \"0 25 * * *\" }", &[("bad_cron", 4, 22)]),
        (CRON, "{ cron: 0 10 * * MOM }", &[("bad_cron", 4, 28)]),
        (CRON, "{ cron: \"0 10 * *\" }", &[("bad_cron", 4, 28)]),
        (CRON, "{ cron: \"0 9 30 2 *\" }", &[("never_fires", 4, 24)]),
        (CRON, "{ cron: 10 }", &[("bad_cron", 4, 21)]),
        ("when: { cron: \"0 10 * * *\" }", "when: { cron: */5 * * * * }", &[("unquoted", 4, 19)]),
        ("when: { cron: \"0 10 * * *\" }", "when:\n      cron: */5 * * * *", &[("unquoted", 5, 13)]),
        (CRON, "\"0 10 * * *\"", &[("wrong_shape", 4, 11)]),
        (CRON, "{}", &[("no_when", 4, 11)]),
        (CRON, "{ cron: \"0 10 * * *\", at: \"2027-01-31 09:00\" }", &[("two_forms", 4, 33)]),
        (CRON, "{ at: \"2027-02-30 09:00\" }", &[("impossible_date", 4, 17)]),
        (CRON, "{ at: \"2027-01-31 24:00\" }", &[("impossible_date", 4, 17)]),
        (CRON, "{ at: \"31.1.2027\" }", &[("bad_time", 4, 17)]),
        (CRON, "{ at: \"2027-01-31\" }", &[("bad_time", 4, 17)]),
        (CRON, "{ at: [] }", &[("empty_list", 4, 17)]),
        (CRON, "{ at: [\"2027-01-31 09:00\", \"2027-01-31 09:00\"] }", &[("repeated", 4, 38)]),
        (CRON, "{ at: [\"2027-01-31 09:00\", { at: \"2027-01-31 09:00\", fold: second }] }", &[]),
        (CRON, "{ at: { at: \"2027-01-31 09:00\", fold: third } }", &[("bad_value", 4, 49)]),
        (CRON, "{ at: [{ fold: first }] }", &[("missing_key", 4, 18)]),
        (CRON, "{ at: [{ at: \"2027-01-31 09:00\", zone: UTC }] }", &[("unknown_key", 4, 44)]),
        (
            CRON,
            "{ at: \"2026-03-08 02:30\", dst: skip }\n    timezone: America/New_York",
            &[("skipped_time", 4, 13)],
        ),
        (CRON, "{ at: \"2026-03-08 02:30\", dst: shift }\n    timezone: America/New_York", &[]),
        (CRON, "{ at: \"2011-12-30 09:00\" }\n    timezone: Pacific/Apia", &[("impossible_date", 4, 13)]),
        (CRON, "{ every: 2h, starting: \"2027-01-31 09:00\" }", &[]),
        (CRON, "{ every: 2 weeks, starting: \"2027-01-31 09:00\", from: 2027-02-01 }", &[]),
        (CRON, "{ every: 2h }", &[("missing_key", 4, 13)]),
        (CRON, "{ every: 0d, starting: \"2027-01-31 09:00\" }", &[("bad_duration", 4, 20)]),
        (
            CRON,
            "{ every: -1h, starting: \"2027-02-31 09:00\" }",
            &[("bad_duration", 4, 20), ("impossible_date", 4, 35)],
        ),
        (CRON, "{ starting: \"2027-01-31 09:00\" }", &[("no_when", 4, 11), ("no_effect", 4, 13)]),
        (CRON, "{ cron: \"0 10 * * *\", dst: summer }", &[("bad_value", 4, 38)]),
        (CRON, "{ cron: \"0 10 * * *\", from: 2027-01-01, until: \"2027-02-01 09:00\" }", &[]),
        (CRON, "{ cron: \"0 10 * * *\", from: 2027-13-01 }", &[("impossible_date", 4, 39)]),
        (CRON, "{ cron: \"0 10 * * *\", until: May }", &[("bad_time", 4, 40)]),
        (CRON, "{ cron: \"0 10 * * *\", from: 2027-03-01, until: 2027-02-01 }", &[("never_fires", 4, 51)]),
        (CRON, "{ cron: \"0 10 31 12 *\", from: 2027-03-01, until: 2027-04-01 }", &[("never_fires", 4, 53)]),
        (CRON, "{ at: \"2027-01-31 09:00\", except: 2027-01-31 }", &[("never_fires", 4, 37)]),
        (CRON, "{ every: 1w, starting: \"2027-01-31 09:00\", until: 2027-01-30 }", &[("never_fires", 4, 54)]),
        (CRON, "{ cron: \"0 10 * * *\", except: [] }", &[("empty_list", 4, 41)]),
        (CRON, "{ cron: \"0 10 * * *\", except: [2027-01-01, 2027-01-01] }", &[("repeated", 4, 54)]),
        // Appointments.
        (CRON, "{ before: 1 day, of: visit, time: \"20:00\" }", &[]),
        (CRON, "{ before: 1 day, of: visit, time: \"20:00\", except: 2027-05-01, dst: skip }", &[]),
        (CRON, "{ after: 24h, of: visit }", &[]),
        (CRON, "{ same_day: true, of: visit, time: \"07:30\" }", &[]),
        (CRON, "{ before: 1 day }", &[("missing_key", 4, 13)]),
        (CRON, "{ before: 0m, of: visit }", &[("bad_duration", 4, 21)]),
        (CRON, "{ after: -1d, of: Visit }", &[("bad_duration", 4, 20), ("bad_name", 4, 29)]),
        (CRON, "{ before: 24h, of: visit, time: \"20:00\" }", &[("bad_duration", 4, 37)]),
        (CRON, "{ before: 1d, of: visit, time: 8pm }", &[("bad_time", 4, 42)]),
        (CRON, "{ same_day: true, of: visit }", &[("missing_key", 4, 13)]),
        (CRON, "{ same_day: false, of: visit, time: \"08:00\" }", &[("bad_value", 4, 23)]),
        // What its texts say of the appointment is no mistake of theirs.
        (
            WHEN_AND_DATA,
            "    when: { before: 1x, of: visit }\n    data: { thing1: \"{{ appointment.doctor }}\", time2: \"{{ appointment.at | local('%H:%M') }}\" }\n",
            &[("bad_duration", 4, 21)],
        ),
        (
            WHEN_AND_DATA,
            "    when: { before: 1 day }\n    data: { thing1: \"{{ appointment.doctor }}\", time2: \"{{ appointment.at | local('%H:%M') }}\" }\n",
            &[("missing_key", 4, 13)],
        ),
        // In a block, the place is in its own line.
        (
            "      thing1: 喝水\n",
            "      thing1: |-\n        多喝水 {{ 1 }}\n        水 {{ foo }}\n",
            &[("bad_expression", 8, 14)],
        ),
        (CRON, "{ of: visit }", &[("no_when", 4, 11), ("no_effect", 4, 13)]),
        (CRON, "{ cron: \"0 9 * * *\", time: \"20:00\" }", &[("no_effect", 4, 32)]),
        ("    when:", "    if_late: send\n    when:", &[("no_effect", 4, 5)]),
        // Later versions.
        (
            "    when:",
            "    on_doubt: again\n    was: a\n    when:",
            &[("bad_value", 4, 15), ("not_yet", 5, 5)],
        ),
        ("    when:", "    priority: 1000\n    when:", &[]),
        ("    when:", "    priority: 1001\n    when:", &[("bad_value", 4, 15)]),
        ("    when:", "    priority: -1\n    when:", &[("bad_value", 4, 15)]),
        ("    when:", "    canary: true\n    when:", &[]),
        ("    when:", "    canary: false\n    when:", &[]),
        ("    when:", "    canary: 1\n    when:", &[("bad_value", 4, 13)]),
        // Quiet hours.
        ("    when:", "    quiet: { from: \"22:00\", to: \"08:00\" }\n    when:", &[]),
        ("    when:", "    quiet: { from: \"12:00\", to: \"14:00\", then: skip }\n    when:", &[]),
        ("    when:", "    quiet: {}\n    when:", &[("missing_key", 4, 12), ("missing_key", 4, 12)]),
        ("    when:", "    quiet: { from: \"22:00\", to: 8am }\n    when:", &[("bad_time", 4, 33)]),
        ("    when:", "    quiet: { from: \"24:00\", to: \"08:00\" }\n    when:", &[("bad_time", 4, 20)]),
        ("    when:", "    quiet: { from: \"22:00\", to: \"22:00\" }\n    when:", &[("bad_value", 4, 33)]),
        (
            "    when:",
            "    quiet: { from: \"22:00\", to: \"08:00\", then: drop }\n    when:",
            &[("bad_value", 4, 48)],
        ),
        ("    when:", "    quiet: night\n    when:", &[("wrong_shape", 4, 12)]),
        // Everybody's own time.
        ("rules:", "timezone: recipient\nrules:", &[]),
        ("    when:", "    timezone: recipient\n    when:", &[]),
        ("    when:", "    timezone: recipients\n    when:", &[("unknown_zone", 4, 15)]),
        // Small values.
        ("    when:", "    grace: 0m\n    when:", &[("bad_duration", 4, 12)]),
        ("    when:", "    spread: -1m\n    when:", &[("bad_duration", 4, 13)]),
        ("    when:", "    spread: 5w\n    when:", &[("bad_duration", 4, 13)]),
        ("    when:", "    grace: -5m\n    when:", &[("bad_duration", 4, 12)]),
        ("    when:", "    grace: 30\n    when:", &[("bad_duration", 4, 12)]),
        ("    when:", "    grace: 59s\n    when:", &[("grace_too_short", 4, 12)]),
        ("    when:", "    grace:\n    when:", &[("no_value", 4, 5)]),
        ("    when:", "    enabled: no\n    when:", &[("bad_value", 4, 14)]),
        ("    when:", "    missed: newest\n    when:", &[("bad_value", 4, 13)]),
        ("    when:", "    missed: all\n    max: 0\n    when:", &[("bad_value", 5, 10)]),
        ("    when:", "    max: 3\n    when:", &[("no_effect", 4, 5)]),
        ("    when:", "    overflow: { thing3: cut }\n    when:", &[("bad_value", 4, 17)]),
        ("    when:", "    overflow: { thing1: crop }\n    when:", &[("bad_value", 4, 25)]),
        // Audience.
        ("    when:", "    to: habit\n    when:", &[("bad_value", 4, 9)]),
        ("    when:", "    to: {}\n    when:", &[("empty_list", 4, 9)]),
        ("    when:", "    to: { tag: [a] }\n    when:", &[("unknown_key", 4, 11)]),
        ("    when:", "    to: { tags: habit }\n    when:", &[("wrong_shape", 4, 17)]),
        ("    when:", "    to: { tags: [] }\n    when:", &[("empty_list", 4, 17)]),
        ("    when:", "    to: { tags: [a, a] }\n    when:", &[("repeated", 4, 21)]),
        ("    when:", "    to: { openids: [short] }\n    when:", &[("bad_name", 4, 21)]),
        ("    when:", "    to: { where: \"fields.city ==\" }\n    when:", &[("bad_expression", 4, 31)]),
        // Texts.
        ("thing1: 喝水", "thing1: \"{{ fields.name\"", &[("bad_expression", 6, 26)]),
        ("thing1: 喝水", "thing1: \"喝{{ nme }}\"", &[("bad_expression", 6, 20)]),
        ("thing1: 喝水", "thing1: \"{{ ref | uper }}\"", &[("bad_expression", 6, 25)]),
        ("thing1: 喝水", "thing1: {{ ref }}", &[("unquoted", 6, 15)]),
        ("thing1: 喝水", "thing1: 喝水时间到了请您一定要记得喝一大杯温开水哦", &[("always_cut", 6, 15)]),
        ("thing1: 喝水", "thing1: \"  \"", &[("does_not_fit", 6, 16)]),
        ("thing1: 喝水", "thing1: \"{% include 'x' %}\"", &[("bad_expression", 6, 19)]),
        ("time2: \"{{ due | local('%H:%M') }}\"", "time2: 早上", &[("does_not_fit", 7, 14)]),
        ("    when:", "    page: \"{{ ref }}/index\"\n    when:", &[("bad_page", 4, 12)]),
        ("    when:", "    page: \"\"\n    when:", &[("bad_page", 4, 12)]),
        // YAML.
        ("    when:", "   when:", &[("syntax", 4, 4)]),
        ("    when:", "\twhen:", &[("tab", 4, 1)]),
        ("template: habit", "template：habit", &[("syntax", 3, 13)]),
        ("template: habit", "template:habit", &[("syntax", 4, 9)]),
        ("when: { cron", "when: ｛ cron", &[("syntax", 4, 11)]),
    ];
    let mut table = Table::default();
    for (from, to, expected) in rows {
        assert!(GOOD.contains(from), "{from}");
        let schedule = GOOD.replace(from, to);
        table.row(to, &found(CONFIG_TEXT, &schedule), "a.yaml", expected);
    }
    table.holds();
}
