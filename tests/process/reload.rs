//! Reloads of the running program: by whom they are asked for, what they refuse, and that messages under way
//! are neither lost nor sent twice.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

use serde_json::Value;
use tixing::clock::Clock;
use tixing::sandbox::{Api, Fault, Outcome, Platform, What};

use super::daemon::{APPID, Daemon, TEMPLATE, asked, breathe, canary, until};
use super::kill::platform;

const NOBODY: &str = "http://127.0.0.1:9";

fn rule(id: &str) -> String {
    format!(
        "rules:\n  {id}:\n    template: habit\n    when: {{ cron: \"0 9 * * *\" }}\n    data: {{ thing1: 你好 }}\n"
    )
}

/// `status`, also when something needs a person.
fn status(daemon: &Daemon) -> Value {
    let output = daemon.tixing(&["status", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Rules in force, and the code of the first finding of the last reload when that was refused.
fn state(daemon: &Daemon) -> (u64, Option<String>) {
    let status = status(daemon);
    let reload = &status["reload"];
    let refused = reload["ok"] == false;
    let code = refused.then(|| reload["diagnostics"][0]["code"].as_str().unwrap().to_owned());
    assert_eq!(refused, !status["needs_attention"].as_array().unwrap().is_empty(), "{status}");
    (status["rules"]["loaded"].as_u64().unwrap(), code)
}

/// What the admin socket answers to a GET.
fn admin_get(daemon: &Daemon, path: &str) -> String {
    let mut stream = UnixStream::connect(daemon.folder.path().join("admin.sock")).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: tixing\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn reload(daemon: &Daemon) -> (Option<i32>, Value) {
    let output = daemon.tixing(&["reload", "--json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn changed_files_are_taken_over_by_themselves_unless_told_not_to() {
    let mut daemon = Daemon::new(NOBODY, 4, &rule("daily"));
    daemon.start();
    let ready = admin_get(&daemon, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("ready\n"), "{ready}");
    daemon.write("schedules/more.yaml", &rule("weekly"));
    until("the new file is in force", || state(&daemon) == (2, None));
    for told in [r#"["weekly"]"#, "[]"] {
        let (code, answer) = reload(&daemon);
        assert_eq!(
            (code, answer["added"].to_string().as_str()),
            (Some(0), told),
            "who saved it asks, and once more"
        );
    }
    daemon.write("schedules/more.yaml", "rules:\n  weekly:\n    templat: habit\n");
    until("the bad file is refused", || state(&daemon) == (2, Some("missing_key".to_owned())));
    let ready = admin_get(&daemon, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("more.yaml:2:3: [missing_key]"), "{ready}");
    assert!(admin_get(&daemon, "/metrics").contains("\ntixing_last_reload_ok 0\n"));
    let log = fs::read_to_string(daemon.log()).unwrap();
    assert!(
        log.contains("The files were refused (they changed)")
            && log.contains("more.yaml:2:3: error[missing_key]")
    );
    let refused_at = status(&daemon)["reload"]["at"].clone();

    // The folder is a link that is swapped, as a mounted configuration does it.
    let schedules = daemon.folder.path().join("schedules");
    fs::rename(&schedules, daemon.folder.path().join("one")).unwrap();
    daemon.write_new("two/a.yaml", &rule("other"));
    symlink("two", &schedules).unwrap();
    until("the other folder is in force", || state(&daemon) == (1, None));
    assert_ne!(status(&daemon)["reload"]["at"], refused_at);

    // A folder that lost everything is not believed, unless somebody asks for it.
    fs::remove_file(daemon.folder.path().join("two/a.yaml")).unwrap();
    until("the empty folder is refused", || state(&daemon) == (1, Some("emptied_folder".to_owned())));
    daemon.kill();
    daemon.start();
    assert_eq!(state(&daemon), (1, Some("emptied_folder".to_owned())), "nor at a start");
    assert_eq!(reload(&daemon).0, Some(0));
    assert_eq!(state(&daemon), (0, None));

    let config = fs::read_to_string(daemon.folder.path().join("tixing.yaml")).unwrap();
    daemon.write("tixing.yaml", &format!("{config}reload: manual\n"));
    assert_eq!(reload(&daemon).0, Some(0));
    let before = status(&daemon)["reload"].clone();
    daemon.write("two/a.yaml", &rule("third"));
    // Three times as long as it takes otherwise.
    let since = Clock::system();
    while since.elapsed().as_secs() < 6 {
        assert_eq!(status(&daemon)["reload"], before);
        breathe();
    }
    assert_eq!(reload(&daemon).0, Some(0));
    assert_eq!(state(&daemon), (1, None));
    daemon.stop();
}

#[test]
fn a_reload_answers_with_what_is_live_and_refuses_all_or_nothing() {
    let mut daemon = Daemon::new(NOBODY, 4, &rule("daily"));
    daemon.start();
    let now = Clock::system().now();
    daemon.rules(&format!("timezone: UTC\n{}", rule("daily").replace("0 9", "30 9")));
    daemon.write("schedules/new.yaml", &rule("new"));
    let (code, answer) = reload(&daemon);
    assert_eq!(code, Some(0), "{answer}");
    let lists = ["added", "changed", "removed"].map(|list| answer[list].to_string());
    assert_eq!(lists, [r#"["new"]"#, r#"["daily"]"#, "[]"]);
    let first: Vec<[&str; 3]> = answer["first_due"]
        .as_array()
        .unwrap()
        .iter()
        .map(|due| ["rule", "local", "zone"].map(|key| due[key].as_str().unwrap()))
        .collect();
    assert!(first[0][0] == "daily" && first[0][1].contains("T09:30:00") && first[0][2] == "UTC", "{first:?}");
    assert!(first[1][0] == "new" && first[1][1].ends_with("T09:00:00+08:00"), "{first:?}");
    for due in answer["first_due"].as_array().unwrap() {
        let at: chrono::DateTime<chrono::Utc> = due["due_at"].as_str().unwrap().parse().unwrap();
        assert!(at > now && at <= now + chrono::TimeDelta::hours(25), "{due}");
    }
    let next = daemon.json(&["next", "--rule", "new", "--for", "26h", "--json"]);
    assert_eq!(next[0]["due_at"], answer["first_due"][1]["due_at"], "`next` says the same");

    let good = rule("new");
    let cut = good.get(..good.find("cron").unwrap()).unwrap().to_owned();
    let schedules = daemon.folder.path().join("schedules");
    let file = schedules.join("new.yaml");
    let config = fs::read_to_string(daemon.folder.path().join("tixing.yaml")).unwrap();
    let table: [(&str, &str, &dyn Fn()); 5] = [
        ("a file that is half written", "syntax", &|| fs::write(&file, &cut).unwrap()),
        ("a file that cannot be read", "unreadable", &|| {
            fs::remove_file(&file).unwrap();
            symlink("nowhere", &file).unwrap();
        }),
        ("a configuration with a mistake", "unknown_key", &|| {
            daemon.write("tixing.yaml", &format!("{config}frobnicate: 1\n"));
        }),
        ("a configuration that is no YAML", "syntax", &|| {
            daemon.write("tixing.yaml", &format!("apps: [\n{config}"));
        }),
        ("a folder that is gone", "no_folder", &|| fs::remove_dir_all(&schedules).unwrap()),
    ];
    for (what, wanted, break_it) in table {
        // Something else is good and new, and is not taken over either.
        daemon.write_new("schedules/zzz.yaml", &rule("zzz"));
        break_it();
        let (code, answer) = reload(&daemon);
        assert_eq!(code, Some(1), "{what}: {answer}");
        let codes: Vec<&str> =
            answer["diagnostics"].as_array().unwrap().iter().map(|d| d["code"].as_str().unwrap()).collect();
        assert!(codes.contains(&wanted), "{what}: {codes:?}");
        let (loaded, refused) = state(&daemon);
        assert_eq!((loaded, refused.is_some()), (2, true), "{what}");
        daemon.write("tixing.yaml", &config);
        daemon.write_new("schedules/rules.yaml", &rule("daily"));
        let _dangling = fs::remove_file(&file);
        daemon.write("schedules/new.yaml", &rule("new"));
        let _gone = fs::remove_file(schedules.join("zzz.yaml"));
        assert_eq!(reload(&daemon).0, Some(0), "{what}: mended");
        assert_eq!(state(&daemon), (2, None), "{what}: mended");
    }

    // A restart in the middle of a rename: neither the new file nor the new configuration loses the old rules.
    daemon.write("tixing.yaml", &config.replace("habit:", "custom:"));
    daemon.rules("rules:\n  daily:\n    template: custm\n");
    daemon.kill();
    daemon.start();
    assert_eq!(state(&daemon).0, 2, "the last good set, with the templates it was good with");
    assert_eq!(daemon.tixing(&["status"]).status.code(), Some(1));
    daemon.stop();
}

/// Bad sets of every kind; each goes into a file of its own.
const BAD: [&str; 4] = [
    "rules:\n  x:\n    templat: habit\n",
    "rules:\n  storm:\n    template: habit\n    when: { cron: \"0 9 * * *\" }\n    data: { thing1: 你好 }\n",
    "rules: [\n",
    "rules:\n\tx: 1\n",
];

#[test]
fn two_hundred_reloads_during_a_fan_out_lose_and_double_nothing() {
    let (people, reloads) = (asked("TIXING_RELOAD_PEOPLE", 4000), asked("TIXING_RELOADS", 200));
    let mut daemon = Daemon::new(NOBODY, 8, "rules: {}\n");
    let (runtime, sandbox) = platform(&daemon.app_secret, std::time::Duration::from_millis(20));
    let platform: Platform = sandbox.platform();
    let config = fs::read_to_string(daemon.folder.path().join("tixing.yaml"))
        .unwrap()
        .replace(NOBODY, &sandbox.base_url());
    daemon.write("tixing.yaml", &config);
    let (mut lines, mut persons) = (String::new(), String::new());
    for n in 0..people {
        let openid = canary(&format!("oCANARYreload{n:07}"));
        persons.push_str(&format!("{{\"openid\":\"{openid}\",\"tags\":[\"storm\"]}}\n"));
        // Each tenth has no consent: he is skipped, once.
        if n % 10 != 0 {
            lines.push_str(&format!("{{\"openid\":\"{openid}\",\"template\":\"habit\",\"n\":2}}\n"));
            platform.grant_many(APPID, &openid, TEMPLATE, 2).unwrap();
        }
    }
    daemon.write("people.jsonl", &persons);
    daemon.write("consents.jsonl", &lines);
    daemon.json(&["people", "import", "people.jsonl", "--json"]);
    daemon.json(&["consents", "import", "consents.jsonl", "--json"]);
    // Slow, until all reloads are through.
    platform
        .set_faults(vec![Fault::new(Api::Send, What::Delay(std::time::Duration::from_millis(500))).after()]);
    let due = Clock::system().now() + chrono::TimeDelta::seconds(5);
    let local = due.with_timezone(&chrono_tz::Asia::Shanghai).format("%Y-%m-%d %H:%M:%S");
    let storm = |text: &str| {
        format!(
            "rules:\n  storm:\n    template: habit\n    when: {{ at: \"{local}\" }}\n    data: {{ thing1: {text} }}\n    grace: 6h\n    to: {{ tags: [storm] }}\n"
        )
    };
    daemon.rules(&storm("当初"));
    daemon.start();
    until("the fan-out is under way", || platform.totals().accepted > 0);

    let (mut good, mut refused, mut generation) = (0, 0, 1);
    for n in 0..reloads {
        let bad = n % 3 == 1;
        if bad {
            let which = usize::try_from(n).unwrap() / 3 % BAD.len();
            replace(&daemon, "schedules/zzz.yaml", BAD[which]);
        } else {
            let _gone = fs::remove_file(daemon.folder.path().join("schedules/zzz.yaml"));
            replace(&daemon, "schedules/rules.yaml", &storm(&format!("第{n}次")));
            replace(&daemon, "schedules/other.yaml", &rule(&format!("other{n}")));
            replace(
                &daemon,
                "tixing.yaml",
                &config.replace("in_flight: 8", &format!("in_flight: {}", 4 + n % 9)),
            );
        }
        let before = status(&daemon)["reload"]["at"].clone();
        match n % 20 {
            // By itself; another one that comes first is as good.
            0..=1 => {}
            2..=9 => daemon.signal("HUP"),
            _ => assert_eq!(reload(&daemon).0, Some(i32::from(bad)), "reload {n}"),
        }
        let seen = std::cell::RefCell::new(Value::Null);
        until("a reload has ended as it should", || {
            let now = status(&daemon);
            let ended = now["reload"]["at"] != before && now["reload"]["ok"] == !bad;
            *seen.borrow_mut() = now;
            ended
        });
        let now = seen.into_inner();
        if bad {
            refused += 1;
            assert_eq!(now["generation"].as_u64(), Some(generation), "a bad set changes nothing");
        } else {
            good += 1;
            let now = now["generation"].as_u64().unwrap();
            assert!(now > generation);
            generation = now;
        }
        assert_eq!(now["rules"]["loaded"], 2, "storm and the other one");
    }
    let during = platform.totals().accepted;
    assert!(during < people * 9 / 10, "the fan-out ended before the reloads: give more people");
    println!("{good} taken over, {refused} refused, {during} messages meanwhile");
    let _gone = fs::remove_file(daemon.folder.path().join("schedules/zzz.yaml"));
    platform.set_faults(Vec::new());
    until("the fan-out is done", || {
        let rows = daemon.json(&["occurrences", "list", "--rule", "storm", "--json"]);
        rows[0]["state"] == "done"
    });

    let rows = daemon.json(&["occurrences", "list", "--rule", "storm", "--json"]);
    assert_eq!(rows.len(), 1, "one occurrence, however often the rule was edited");
    let row = &rows[0];
    assert_eq!(
        (row["audience"].as_u64(), row["sent"].as_u64(), row["skipped"]["no_consent"].as_u64()),
        (Some(people), Some(people - people.div_ceil(10)), Some(people.div_ceil(10))),
        "{row}"
    );
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    for send in platform.sends() {
        assert!(matches!(send.outcome, Outcome::Accepted { .. }), "{:?}", send.outcome);
        assert_eq!(send.data["thing1"], "当初", "the text of when it opened");
        *sent.entry(send.openid).or_default() += 1;
    }
    assert!(sent.values().all(|n| *n == 1), "somebody got it twice");
    assert_eq!(sent.len() as u64, people - people.div_ceil(10));
    assert_eq!(daemon.tixing(&["fsck"]).status.code(), Some(0));
    assert_eq!(daemon.stop(), Some(0));
    runtime.block_on(sandbox.stop());
}

/// Puts a file in place at once, as editors do.
fn replace(daemon: &Daemon, name: &str, text: &str) {
    daemon.write(".next", text);
    let folder = daemon.folder.path();
    fs::rename(folder.join(".next"), folder.join(name)).unwrap();
}
