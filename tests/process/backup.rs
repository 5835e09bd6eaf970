//! Backup and restore with the real program: nothing is sent again from books that are older than what was done, and whoever
//! is killed in the middle leaves nothing that is taken for whole.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use tixing::clock::Clock;

use super::daemon::{APPID, Daemon, Reaped, TEMPLATE, breathe, report, until};
use super::disk::Dice;
use super::kill::platform;

/// People with so many consents each, on both sides.
fn people(daemon: &Daemon, platform: &tixing::sandbox::Platform, n: usize, consents: u32) {
    let (mut lines, mut persons) = (String::new(), String::new());
    for n in 0..n {
        let openid = format!("oCANARYbackup{n:06}");
        lines.push_str(&format!("{{\"openid\":\"{openid}\",\"template\":\"habit\",\"n\":{consents}}}\n"));
        persons.push_str(&format!("{{\"openid\":\"{openid}\",\"tags\":[\"all\"]}}\n"));
        platform.grant_many(APPID, &openid, TEMPLATE, consents.into()).unwrap();
    }
    daemon.write("people.jsonl", &persons);
    daemon.write("consents.jsonl", &lines);
    daemon.json(&["people", "import", "people.jsonl", "--json"]);
    daemon.json(&["consents", "import", "consents.jsonl", "--json"]);
}

fn due_in(seconds: &[i64]) -> String {
    let now = Clock::system().now();
    let mut rules = "rules:\n".to_owned();
    for seconds in seconds {
        let at = (now + chrono::TimeDelta::seconds(*seconds)).with_timezone(&chrono_tz::Asia::Shanghai);
        let local = at.format("%Y-%m-%d %H:%M:%S");
        rules.push_str(&format!(
            "  in{seconds}s:\n    template: habit\n    when: {{ at: \"{local}\" }}\n    data: {{ thing1: 你好 }}\n    grace: 6h\n    to: {{ tags: [all] }}\n"
        ));
    }
    rules
}

fn code(daemon: &Daemon, words: &[&str]) -> (i32, String) {
    let output = daemon.tixing(words);
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What a bad disk leaves of the books is taken for an older copy of them, or for nothing at all, and never for the whole.
#[test]
fn books_of_damaged_files_are_on_hold_or_refused_with_what_to_do() {
    let mut daemon = Daemon::new("http://127.0.0.1:9", 2, "rules: {}\n");
    daemon.start();
    let hook = daemon.hook();
    for n in 0..60 {
        let (status, _) = report(&hook, &daemon.hook_secret, "r1", &format!("oPlainDamaged{n:02}")).unwrap();
        assert_eq!(status, 200);
    }
    daemon.kill();
    copied(&daemon, "store", "copy");
    let count_beside = fs::read(daemon.path("store.commits")).unwrap();
    let (mut held, mut refused) = (0, 0);
    let files = fs::read_dir(daemon.path("copy/sled")).unwrap().map(|entry| entry.unwrap().file_name());
    for file in files.map(|name| name.into_string().unwrap()).collect::<Vec<_>>() {
        let bytes = fs::read(daemon.path(&format!("copy/sled/{file}"))).unwrap_or_default();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        for eighth in 0..8 {
            copied(&daemon, "copy", "store");
            fs::write(daemon.path("store.commits"), &count_beside).unwrap();
            let mut damaged = bytes.clone();
            let Some(byte) = damaged.get_mut(used * eighth / 8) else { continue };
            *byte ^= 0x40;
            fs::write(daemon.path(&format!("store/sled/{file}")), damaged).unwrap();
            if let Some(exit) = daemon.start_or_end() {
                let (by_hand, why) = code(&daemon, &["fsck"]);
                assert!(exit == 75 && by_hand == 75, "{file} {eighth}: {exit} {by_hand}");
                assert!(why.contains("its files are damaged") && why.contains("tixing restore"), "{why}");
                refused += 1;
                continue;
            }
            let status = daemon.tixing(&["status", "--json"]);
            let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
            let n = daemon.json(&["consents", "show", "--json"]).len();
            let hold = status["hold"].as_str().unwrap_or_default();
            assert!(n == 60 || hold.contains("damaged"), "{file} {eighth}: {n}, {hold}");
            held += usize::from(n < 60);
            daemon.kill();
        }
    }
    assert!(held > 0 && refused > 0, "{held} on hold, {refused} refused");
}

#[test]
fn nothing_is_sent_again_from_an_older_backup() {
    const PEOPLE: usize = 150;
    let mut daemon = Daemon::new("http://127.0.0.1:9", 2, "rules: {}\n");
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::from_millis(20));
    let platform = sandbox.platform();
    daemon.talk_to(&sandbox.base_url());
    people(&daemon, &platform, PEOPLE, 3);
    daemon.rules(&due_in(&[5, 9]));
    daemon.start();
    // In the middle of the first.
    until("some are sent", || platform.totals().accepted > 30);
    let made = &daemon.json(&["backup", "books.jsonl", "--json"])[0];
    assert!(platform.totals().accepted < PEOPLE as u64, "it was made in the middle");
    let file = daemon.path("books.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&file).unwrap().len(), made["bytes"].as_u64().unwrap());
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&daemon.app_secret) && !text.contains(&daemon.hook_secret));
    let (refused, why) = code(&daemon, &["backup", "books.jsonl"]);
    assert!(refused == 64 && why.contains("there already"), "{refused}: {why}");
    assert!(!daemon.path("books.jsonl.unfinished").exists());
    let made_at = made["made_at"].as_str().unwrap().to_owned();

    until("everything is sent", || platform.totals().accepted == 2 * PEOPLE as u64);
    let begun = platform.totals().begun;
    let (refused, why) = code(&daemon, &["restore", "books.jsonl"]);
    assert!(refused == 75 && why.contains("a daemon runs"), "{refused}: {why}");
    assert_eq!(daemon.stop(), Some(0));
    let (refused, why) = code(&daemon, &["restore", "books.jsonl"]);
    assert!(refused == 1 && why.contains("move them away first"), "{refused}: {why}");
    fs::rename(daemon.path("store"), daemon.path("store.old")).unwrap();
    // Whatever is wrong with it is told before anything is made.
    daemon.write("half.jsonl", text.get(..text.len() / 2).unwrap());
    daemon.write("changed.jsonl", &text.replacen("\"granted\":3", "\"granted\":4", 1));
    for (bad, line) in [("half.jsonl", ""), ("changed.jsonl", "digest"), ("missing.jsonl", "cannot read")] {
        let (refused, why) = code(&daemon, &["restore", bad]);
        assert!(refused == 65 && why.contains(line), "{bad}: {refused}: {why}");
        assert!(!daemon.path("store/sled").exists(), "{bad}");
    }
    let restored = &daemon.json(&["restore", "books.jsonl", "--json"])[0];
    assert_eq!((&restored["made_at"], &restored["records"]), (&made["made_at"], &made["records"]));
    assert_eq!(restored["violations"], 0);

    daemon.start();
    let status = daemon.tixing(&["status", "--json"]);
    assert_eq!(status.status.code(), Some(1));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["hold"].as_str().unwrap().contains("restored from a backup of"), "{status}");
    let hook = status["hook"].as_str().unwrap();
    assert_eq!(report(hook, &daemon.hook_secret, "later", "oCANARYbackup000000").unwrap().0, 200);
    // It is still so after a crash.
    daemon.kill();
    daemon.start();
    let (refused, why) = code(&daemon, &["release"]);
    assert!(refused == 64 && why.contains("--lost-since"), "{refused}: {why}");
    let lost = daemon.json(&["release", "--lost-since", &made_at, "--json"]);
    let in_doubt: u64 = lost.iter().map(|row| row["n"].as_u64().unwrap()).sum();
    until("it goes on", || daemon.tixing(&["status"]).status.code() == Some(0));
    let rows = daemon.json(&["occurrences", "list", "--json"]);
    let of = |row: &serde_json::Value, word: &str| row[word].as_u64().unwrap();
    for row in &rows {
        assert_eq!((of(row, "audience"), of(row, "open")), (PEOPLE as u64, 0), "{row}");
        assert_eq!(of(row, "sent") + of(row, "in_doubt"), PEOPLE as u64, "{row}");
    }
    assert_eq!((rows.len(), of(&rows[1], "in_doubt")), (2, PEOPLE as u64));
    assert!(in_doubt > PEOPLE as u64 && in_doubt <= rows.iter().map(|row| of(row, "in_doubt")).sum());
    // Those that were in doubt before are not sent either; and what is due from now on is.
    daemon.rules(&due_in(&[5]).replace("in5s", "new"));
    daemon.json(&["reload", "--json"]);
    until("the new one is sent", || platform.totals().accepted == 3 * PEOPLE as u64);
    assert_eq!(platform.totals().begun, begun + PEOPLE as u64, "nothing was sent again");
    assert_eq!(code(&daemon, &["fsck"]).0, 0);
    assert_eq!(daemon.stop(), Some(0));
    runtime.block_on(sandbox.stop());
}

/// A manual copy of the state folder, taken and put back as people do it.
fn copied(daemon: &Daemon, from: &str, to: &str) {
    let _none = fs::remove_dir_all(daemon.path(to));
    let words = ["-a".into(), daemon.path(from), daemon.path(to)];
    assert!(Command::new("cp").args(words).status().unwrap().success());
}

#[test]
fn nothing_is_sent_again_from_an_older_copy_of_the_folder() {
    const PEOPLE: usize = 120;
    let mut daemon = Daemon::new("http://127.0.0.1:9", 2, "rules: {}\n");
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::from_millis(20));
    let platform = sandbox.platform();
    daemon.talk_to(&sandbox.base_url());
    people(&daemon, &platform, PEOPLE, 2);
    daemon.rules(&due_in(&[5]));
    daemon.start();
    until("some are sent", || platform.totals().accepted > 30);
    assert_eq!(daemon.stop(), Some(0));
    copied(&daemon, "store", "copy");
    // The newest one is taken as it is.
    copied(&daemon, "copy", "store");
    daemon.start();
    until("everything is sent", || platform.totals().accepted == PEOPLE as u64);
    daemon.kill();
    copied(&daemon, "copy", "store");
    daemon.start();
    let status: serde_json::Value =
        serde_json::from_slice(&daemon.tixing(&["status", "--json"]).stdout).unwrap();
    assert!(status["hold"].as_str().unwrap().contains("an older copy of itself"), "{status}");
    let (exit, told) = code(&daemon, &["fsck"]);
    assert!(
        exit == 0 && told.contains("everything is on hold since"),
        "they balance, and lack something: {told}"
    );
    let begun = platform.totals().begun;
    let since = daemon.json(&["occurrences", "list", "--json"])[0]["due_at"].as_str().unwrap().to_owned();
    daemon.json(&["release", "--lost-since", &since, "--json"]);
    until("it goes on", || daemon.tixing(&["status"]).status.code() == Some(0));
    daemon.rules(&due_in(&[5]).replace("in5s", "new"));
    daemon.json(&["reload", "--json"]);
    until("the new one is sent", || platform.totals().accepted == 2 * PEOPLE as u64);
    assert_eq!(platform.totals().begun, begun + PEOPLE as u64, "nothing was sent again");
    assert_eq!(code(&daemon, &["fsck"]).0, 0);
    assert_eq!(daemon.stop(), Some(0));
    runtime.block_on(sandbox.stop());
}

#[test]
fn a_restore_that_is_killed_leaves_nothing_that_is_taken_for_whole() {
    const PEOPLE: usize = 1500;
    let daemon = Daemon::new("http://127.0.0.1:9", 2, "rules: {}\n");
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::from_millis(20));
    people(&daemon, &sandbox.platform(), PEOPLE, 1);
    daemon.json(&["backup", "books.jsonl", "--json"]);
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let (mut n_killed, mut pauses) = (0, 0);
    while n_killed < 6 {
        fs::remove_dir_all(daemon.path("store")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tixing"));
        command.current_dir(daemon.path(".")).args(["restore", "books.jsonl"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Reaped(command.spawn().unwrap());
        for _ in 0..=dice.roll(pauses + 1) {
            breathe();
        }
        let ended = child.0.try_wait().unwrap();
        drop(child);
        let found = &daemon.json(&["fsck", "--json"])[0];
        let accounts = found["accounts"].as_u64().unwrap();
        if let Some(ended) = ended {
            assert!(ended.success() && accounts == PEOPLE as u64, "{ended}: {found}");
            // Sooner, from now on.
            pauses = 0;
        } else {
            assert!(accounts == 0 || accounts == PEOPLE as u64, "half of it is there: {found}");
            n_killed += 1;
            pauses += 4;
        }
        assert!(!daemon.path("store/restoring").exists());
    }
    runtime.block_on(sandbox.stop());
}
