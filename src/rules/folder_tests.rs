//! Folders, bounds and bombs: what a check says about files as a whole, and that it says it soon.

use std::path::Path;

use super::tests_support::{CONFIG_TEXT, check_texts, config_in, rule_text, write};
use super::*;
use crate::domain::language::Language;

fn codes(diagnostics: &Diagnostics) -> Vec<&'static str> {
    diagnostics.0.iter().map(|found| found.code).collect()
}

fn check_folder(files: &[(&str, &[u8])]) -> Report {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), files);
    check(&folder.path().join("tixing.yaml"))
}

#[test]
fn the_shipped_examples_pass_without_a_warning() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let report = check(&here.join("tixing.example.yaml"));
    assert!(report.diagnostics.0.is_empty(), "{}", report.diagnostics);
    let config = load_config(&here.join("tixing.example.yaml")).expect("good").value;
    let rules = load_rules(&config).expect("good");
    assert_eq!((rules.value.set.rules.len(), rules.value.set.disabled.len()), (7, 1));
    assert_eq!(rules.value.sources.len(), 7);
    for rule in rules.value.set.rules.values() {
        assert_eq!(snapshot::decode(&snapshot::encode(rule)).expect("whole"), **rule);
    }
}

#[test]
fn a_folder_is_read_in_the_order_of_names_and_only_its_yaml() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config_in(folder.path());
    let (one, two) = (rule_text("one"), rule_text("two"));
    let files = [
        ("schedules/b.yaml", one.as_bytes()),
        ("schedules/a.yaml", two.as_bytes()),
        ("schedules/.#a.yaml", b"not yaml: ["),
        ("schedules/README.md", b"not yaml: ["),
        ("schedules/c.yml", b"rules: {}"),
    ];
    write(folder.path(), &files);
    let loaded = load_rules(&config).expect("good");
    let names: Vec<&str> = loaded.value.sources.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a.yaml", "b.yaml"]);
    assert_eq!(codes(&Diagnostics(loaded.warnings)), ["ignored_file"]);
    assert_eq!(load_rules(&config).expect("good").value.digest, loaded.value.digest);
    write(folder.path(), &[("schedules/b.yaml", rule_text("three").as_bytes())]);
    assert_ne!(load_rules(&config).expect("good").value.digest, loaded.value.digest);
}

#[test]
fn folders_and_files_that_are_not_there() {
    let missing = check_folder(&[("tixing.yaml", CONFIG_TEXT.as_bytes())]).diagnostics;
    assert_eq!(codes(&missing), ["no_folder"]);
    assert!(missing.0[0].file.ends_with("schedules"), "it is named");
    assert_eq!(codes(&check(Path::new("/nowhere/tixing.yaml")).diagnostics), ["unreadable"]);
    let folder_as_file = check_folder(&[
        ("tixing.yaml", CONFIG_TEXT.as_bytes()),
        ("schedules/a.yaml/b", b"x"),
        ("schedules/calendars/cn.yaml", b"weekly: MON-FRI"),
    ]);
    let mut found = codes(&folder_as_file.diagnostics);
    found.sort_unstable();
    assert_eq!(found, ["unreadable"]);
    let empty = check_folder(&[("tixing.yaml", CONFIG_TEXT.as_bytes()), ("schedules/.keep", b"")]);
    assert_eq!((codes(&empty.diagnostics), empty.ok()), (vec!["no_rules"], true));
}

#[test]
fn two_rules_with_one_id_name_both_places() {
    let (one, again) = (rule_text("one"), format!("# later\n{}", rule_text("one")));
    let report = check_folder(&[
        ("tixing.yaml", CONFIG_TEXT.as_bytes()),
        ("schedules/a.yaml", one.as_bytes()),
        ("schedules/b.yaml", again.as_bytes()),
    ]);
    let found = &report.diagnostics.0[0];
    assert_eq!((found.code, found.line, found.column), ("duplicate_rule", 3, 3));
    assert!(found.file.ends_with("b.yaml") && found.message.en.contains("a.yaml line 2"), "{found}");
}

#[test]
fn an_app_must_be_named_where_there_are_several() {
    let two = CONFIG_TEXT.replace(
        "store:",
        "  shop: { appid: wx1, secret: { env: A }, templates: { sale: { id: S, fields: [thing1] } } }\nstore:",
    );
    let report = check_texts(two.as_bytes(), rule_text("one").as_bytes());
    assert_eq!(codes(&report.diagnostics), ["app_needed"]);
    let named = format!("app: clinic\n{}", rule_text("one"));
    assert!(check_texts(two.as_bytes(), named.as_bytes()).diagnostics.0.is_empty());
}

/// A mistake in the configuration hides none of the schedules, and makes none there.
#[test]
fn both_files_are_checked_in_one_go() {
    let elsewhere = CONFIG_TEXT.replace("sled:store", "store");
    let schedule = rule_text("one").replace("habit", "habbit");
    let report = check_texts(elsewhere.as_bytes(), schedule.as_bytes());
    assert_eq!(codes(&report.diagnostics), ["bad_value", "unknown_template"]);
    let config = CONFIG_TEXT.replace("appid:", "appld:");
    let schedule = rule_text("one").replace("0 10", "0 99");
    assert_eq!(
        codes(&check_texts(config.as_bytes(), schedule.as_bytes()).diagnostics),
        ["unknown_key", "bad_cron"]
    );
}

#[test]
fn json_has_its_pinned_shape() {
    let report = check_texts(CONFIG_TEXT.as_bytes(), b"rule: {}\nrules: {}\n");
    let json = report.to_json(Language::English);
    assert_eq!(json["ok"], false);
    let first = json["diagnostics"][0].as_object().expect("an object");
    let mut keys: Vec<&str> = first.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["code", "column", "file", "help", "line", "message", "severity"]);
    assert_eq!((&first["severity"], &first["code"]), (&"error".into(), &"unknown_key".into()));
    assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(1), Some(1)));
    assert!(first["help"].as_str().expect("a text").contains("did you mean `rules`"));
}

#[test]
fn a_thousand_mistakes_are_listed() {
    let rules = lines(1500, |n| format!("  r{n}: {{ tempalte: x, when: {{}}, data: {{}} }}"));
    let schedule = format!("rules:\n{rules}");
    let report = check_texts(CONFIG_TEXT.as_bytes(), schedule.as_bytes());
    let n_keys = codes(&report.diagnostics).iter().filter(|code| **code == "unknown_key").count();
    assert_eq!(n_keys, 1500);
}

/// Neither what an admin typed into the wrong place, nor openids, are in any part of what is printed.
#[test]
fn secrets_and_openids_are_not_repeated() {
    let secret = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
    let inline = [
        format!("secret: {secret}"),
        format!("secret: {{ credential: x, value: {secret} }}"),
        format!("secret: {{ file: x, env: {secret} }}"),
        "secret: [hunter2-hunter2]".to_owned(),
        "secret: { env: hunter2-hunter2 }".to_owned(),
        "secret:\n      value: hunter2-hunter2".to_owned(),
        "secret: \"hunter2-hunter2".to_owned(),
        "proxy: http://me:hunter2-hunter2@h".to_owned(),
        "base_url: https://me:hunter2-hunter2@h".to_owned(),
        format!("secert: {secret}"),
        format!("lang: {secret}"),
    ];
    for line in inline {
        let config = CONFIG_TEXT.replace("secret: { credential: clinic-secret }", &line);
        let report = check_texts(config.as_bytes(), b"rules: {}\n");
        let shown = format!("{}{}", report.diagnostics, report.to_json(Language::English));
        assert!(!report.ok(), "{line}");
        assert!(!shown.contains("hunter2-hunter2") && !shown.contains("b2c3d4"), "{shown}");
    }
    let openids = [
        "[oSECRETSECRET!]",
        "[oSECRETSECRET, oSECRETSECRET]",
        "\n      - oSECRETSECRET\n      - {}",
        "oSECRETSECRET",
    ];
    for list in openids {
        let schedule = format!("{}    to:\n      openids: {list}\n", rule_text("one"));
        let report = check_texts(CONFIG_TEXT.as_bytes(), schedule.as_bytes());
        let shown = format!("{}{}", report.diagnostics, report.to_json(Language::English));
        assert!(!report.ok() && !shown.contains("SECRET"), "{shown}");
    }
    for to in [
        "oSECRETSECRET123456789012345",
        "[oSECRETSECRET123456789012345]",
        "{ oSECRETSECRET123456789012345: 1 }",
    ] {
        let schedule = format!("{}    to: {to}\n", rule_text("one"));
        let report = check_texts(CONFIG_TEXT.as_bytes(), schedule.as_bytes());
        let shown = format!("{}{}", report.diagnostics, report.to_json(Language::English));
        assert!(!report.ok() && !shown.contains("SECRET"), "{shown}");
    }
}

/// `n` lines.
fn lines(n: usize, line: impl Fn(usize) -> String) -> String {
    (0..n).map(|n| line(n) + "\n").collect()
}

/// Each is refused at once: in a debug build, on a busy machine, far below what a person would notice.
#[test]
fn bombs_are_refused() {
    let aliases = |n: usize| vec![format!("*a{}", n.saturating_sub(1)); 9].join(",");
    let laughs = lines(10, |n| format!("a{n}: &a{n} [{}]", if n == 0 { "x".to_owned() } else { aliases(n) }));
    let steps = lines(2000, |n| format!("{}a:", " ".repeat(n % 400)));
    let keys = lines(900, |n| format!("k{n}: 1,")).replace('\n', " ");
    let merges = format!("a: &a {{{keys}}}\n{}", lines(10_000, |n| format!("b{n}: {{<<: *a}}")));
    let longer = format!("a: &a {}\nrules: [{}]\n", "x".repeat(500_000), "*a,".repeat(10_000));
    let deeper = lines(40, |n| format!("a{n}: &a{n} [*a{}]", n.saturating_sub(1))).replacen("*a0", "x", 1);
    let bombs: Vec<(&str, String)> = vec![
        ("too_deep", "[".repeat(200_000)),
        ("too_deep", "{a: ".repeat(60_000)),
        ("too_deep", steps),
        ("too_deep", "- ".repeat(100_000)),
        ("too_many_values", laughs),
        ("too_many_values", longer),
        ("too_many_values", merges),
        ("too_deep", deeper),
        ("alias", "a: &a [*a]\n".to_owned()),
        // Thousands of mistakes in one line of its own.
        ("alias", format!("rules: [{}]", "*a, ".repeat(30_000))),
        ("type_tag", format!("rules: [{}]", "!a x, ".repeat(30_000))),
        ("duplicate_key", format!("rules: {{{}}}", "a: 1, ".repeat(30_000))),
        ("key_is_no_text", format!("rules: {{{}}}", "[a]: b, ".repeat(30_000))),
        (
            "too_many_rules",
            format!("rules: {{{}}}", lines(30_000, |n| format!("r{n}: 1,")).replace('\n', " ")),
        ),
        ("too_many", format!("{{{}}}", lines(30_000, |n| format!("k{n}: 1,")).replace('\n', " "))),
        ("too_many_values", format!("rules: [{}]", "a,".repeat(400_000))),
        ("bad_value", format!("rules: {{ a: {{ enabled: \"{}\" }} }}", "x".repeat(900_000))),
        ("wrong_shape", format!("rules: {}", "喝".repeat(300_000))),
        ("unknown_key", "k".repeat(900) + ": 1"),
    ];
    for (code, text) in bombs {
        let report = check_texts(CONFIG_TEXT.as_bytes(), text.as_bytes());
        let found: std::collections::BTreeSet<_> = codes(&report.diagnostics).into_iter().collect();
        assert!(found.contains(code), "{code}: {found:?}");
        for found in &report.diagnostics.0 {
            assert!(found.to_string().len() < 2000, "a message stays short");
        }
    }
}

#[test]
fn sizes_have_their_bounds() {
    let full = |n: usize| vec![b'#'; n];
    let max = usize::try_from(MAX_FILE_BYTES).expect("small");
    let config = ("tixing.yaml", CONFIG_TEXT.as_bytes());
    let codes_of = |text: &[u8]| codes(&check_folder(&[config, ("schedules/a.yaml", text)]).diagnostics);
    assert_eq!(codes_of(&full(max + 1)), ["file_too_large"]);
    assert_eq!(codes_of(&full(max)), ["empty_file", "no_rules"]);
    assert_eq!(codes(&check_folder(&[("tixing.yaml", &full(max + 1))]).diagnostics), ["file_too_large"]);
    let names: Vec<String> = (0..9).map(|n| format!("schedules/{n}.yaml")).collect();
    let big = full(max);
    let mut files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), big.as_slice())).collect();
    files.push(config);
    assert!(codes(&check_folder(&files).diagnostics).contains(&"folder_too_large"));
}

#[test]
fn the_number_of_rules_has_its_bound() {
    let many = |name: &str, n: usize| format!("rules:\n{}", lines(n, |n| format!("  {name}{n}: {{}}")));
    let (a, b) = (many("a", MAX_RULES - 1), many("b", 2));
    let report = check_folder(&[
        ("tixing.yaml", CONFIG_TEXT.as_bytes()),
        ("schedules/a.yaml", a.as_bytes()),
        ("schedules/b.yaml", b.as_bytes()),
    ]);
    assert_eq!(report.diagnostics.0.len(), MAX_DIAGNOSTICS);
    assert!(report.diagnostics.0.last().is_some_and(|last| last.code == "too_many_diagnostics"));
}

/// A text, and what is found in it: code, line, column.
type Case<'a> = (&'a str, &'a [(&'a str, u32, u32)]);

/// Rules whose days a calendar filters.
fn with_calendars(except: &str, only: &str) -> String {
    rule_text("one")
        .replace("cron: \"0 10 * * *\"", &format!("cron: \"0 10 * * *\", except: {except}, only: {only}"))
}

#[test]
fn calendars_are_read_before_the_rules_and_kept_with_them() {
    let schedule = with_calendars("[2026-10-09, closed]", "[work, extra]");
    assert!(schedule.contains("only:"), "{schedule}");
    let folder = tempfile::tempdir().expect("a folder");
    let config = config_in(folder.path());
    let files: &[(&str, &[u8])] = &[
        ("schedules/a.yaml", schedule.as_bytes()),
        (
            "schedules/calendars/work.yaml",
            b"weekly: MON-FRI\nadd: [2026-10-10]\nremove: [2026-10-01, 2026-10-03]\n",
        ),
        ("schedules/calendars/extra.yaml", b"add: [2026-10-11]\n"),
        ("schedules/calendars/closed.yaml", b"weekly: TUE\n"),
    ];
    write(folder.path(), files);
    let loaded = super::load_rules(&config).expect("good").value;
    let names: Vec<&str> = loaded.sources.iter().map(|(name, _)| name.as_str()).collect();
    let calendars = ["calendars/closed.yaml", "calendars/extra.yaml", "calendars/work.yaml"];
    assert_eq!(names, [&["a.yaml"][..], &calendars].concat());
    let when = loaded.set.rules.values().next().expect("a rule").when.clone();
    let due: Vec<u32> = (1..=14)
        .filter(|day| when.allows(chrono::NaiveDate::from_ymd_opt(2026, 10, *day).expect("a day")))
        .collect();
    assert_eq!(due, [2, 5, 7, 8, 10, 11, 12, 14]);
    let kept = folder.path().join("kept");
    super::last_good::save(&kept, &[], &loaded.sources).expect("kept");
    let again = super::last_good::load(&kept, &config).expect("good").expect("kept");
    assert_eq!(again.value, loaded);
    // A change of a calendar is a change of its rules.
    write(folder.path(), &[("schedules/calendars/closed.yaml", b"weekly: WED\n")]);
    let changed = super::load_rules(&config).expect("good").value;
    assert_ne!(changed.set, loaded.set);
    assert_ne!(changed.digest, loaded.digest);
    let calendars = super::load_calendars(&config).expect("good").value;
    assert_eq!(calendars.len(), 3);
}

#[test]
fn mistakes_of_calendars_are_told_where_they_are() {
    let good = rule_text("one");
    let of_calendar = |text: &str| {
        let files: &[(&str, &[u8])] = &[
            ("tixing.yaml", CONFIG_TEXT.as_bytes()),
            ("schedules/a.yaml", good.as_bytes()),
            ("schedules/calendars/work.yaml", text.as_bytes()),
        ];
        let found = check_folder(files).diagnostics.0;
        found.iter().map(|one| (one.code, one.line, one.column)).collect::<Vec<_>>()
    };
    let table: &[Case<'_>] = &[
        ("weekly: MON-FRI\n", &[]),
        ("add: [2026-10-10]\n", &[]),
        ("weekly: 1-5\n", &[("numeric_weekday", 1, 9)]),
        ("weekly: FRI-MON\n", &[("bad_value", 1, 9)]),
        ("weekly: FRI#2\n", &[("bad_value", 1, 9)]),
        ("weekly: 周一\n", &[("bad_value", 1, 9)]),
        ("weekly: [MON]\n", &[("wrong_shape", 1, 9)]),
        ("weekdays: MON-FRI\nremove: []\n", &[("unknown_key", 1, 1), ("missing_key", 1, 1)]),
        (
            "weekly: MON-FRI\nadd: [2026-02-30, 2026-10-10, 2026-10-10, 10.10.]\n",
            &[("impossible_date", 2, 7), ("repeated", 2, 31), ("bad_time", 2, 43)],
        ),
        ("weekly: MON-FRI\nadd: [2026-10-10]\nremove: [2026-10-10]\n", &[("repeated", 3, 10)]),
        ("", &[("empty_file", 1, 1)]),
        ("- a\n", &[("wrong_shape", 1, 1)]),
    ];
    for (text, expected) in table {
        assert_eq!(of_calendar(text), *expected, "{text}");
    }
    // A rule is not blamed for a calendar with mistakes, but for one that does not exist.
    for (only, expected) in
        [("work", "bad_value"), ("wrk", "bad_value unknown_calendar"), ("Work", "bad_name bad_value")]
    {
        let schedule = with_calendars("[2026-10-01]", only);
        let files: &[(&str, &[u8])] = &[
            ("tixing.yaml", CONFIG_TEXT.as_bytes()),
            ("schedules/a.yaml", schedule.as_bytes()),
            ("schedules/calendars/work.yaml", b"weekly: FRI-MON\n"),
        ];
        let mut found = codes(&check_folder(files).diagnostics);
        found.sort_unstable();
        assert_eq!(found.join(" "), expected, "{only}");
    }
    // Rules that a calendar leaves nothing of.
    for (except, only, expected) in
        [("2026-10-01", "none", "never_fires"), ("all", "all", "never_fires"), ("2026-10-01", "all", "")]
    {
        let schedule = with_calendars(except, only);
        let files: &[(&str, &[u8])] = &[
            ("tixing.yaml", CONFIG_TEXT.as_bytes()),
            ("schedules/a.yaml", schedule.as_bytes()),
            ("schedules/calendars/none.yaml", b"add: []\n"),
            ("schedules/calendars/all.yaml", b"weekly: MON-SAT,SUN\n"),
        ];
        assert_eq!(codes(&check_folder(files).diagnostics).join(" "), expected, "{except} {only}");
    }
}
