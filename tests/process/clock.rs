//! The real program under a wall clock that is set by hand (libfaketime), while the monotonic clock is the
//! machine's: through a gap and an overlap, an hour ahead, an hour back, 400 days ahead, and to 1970.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tixing::clock::Clock;
use tixing::sandbox::Outcome;

use super::daemon::{APPID, Daemon, TEMPLATE, asked, request, signed, until};
use super::kill::platform;

const ANN: &str = "oCANARYclock-ann";
/// Due within the gap of 2027-03-14 and the overlap of 2027-11-07 in New York; every 20 minutes; and when
/// the story waits for something to be sent.
const RULES: &str = r#"
rules:
  gap: { template: habit, timezone: America/New_York, when: { cron: "30 2 * * *" }, data: { thing1: gap }, grace: 10m }
  overlap: { template: habit, timezone: America/New_York, when: { cron: "30 1 * * *" }, data: { thing1: overlap }, grace: 10m }
  often: { template: habit, when: { cron: "*/20 * * * *" }, data: { thing1: often }, grace: 15m }
  marker:
    template: habit
    timezone: UTC
    when:
      at:
        - "2027-03-14 08:00:06"
        - "2027-03-14 08:01:03"
        - "2027-11-07 06:30:06"
        - "2027-11-07 06:41:04"
        - "2028-12-11 06:42:03"
        - "2028-12-11 07:00:04"
    data: { thing1: marker }
    grace: 2m
"#;

/// A daemon whose wall clock is set by a file.
struct Faked {
    daemon: Daemon,
    file: PathBuf,
}

impl Faked {
    /// Sets the wall clock; what runs by it notices within a second.
    fn set(&self, time: &str) {
        let ahead = time.parse::<DateTime<Utc>>().unwrap() - Clock::system().now();
        let (new, seconds) = (self.file.with_extension("new"), ahead.as_seconds_f64());
        fs::write(&new, format!("{seconds:+.3}\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.daemon.tixing(&["status", "--json"]).stdout).unwrap()
    }

    /// Waits until the clock is judged so, and holds readiness against it.
    fn until_clock(&self, judged: &str) {
        until(&format!("the clock is {judged}"), || self.status()["clock"] == judged);
        let (ready, answer) = (judged == "ok", self.daemon.admin("GET", "/readyz"));
        assert_eq!(self.status()["ready"], ready);
        assert!(answer.starts_with(if ready { "HTTP/1.1 200" } else { "HTTP/1.1 503" }), "{answer}");
        assert_eq!(answer.contains("wall clock"), !ready, "{answer}");
        assert!(
            self.daemon
                .admin("GET", "/metrics")
                .contains(&format!("\ntixing_clock_ok {}\n", u8::from(ready)))
        );
    }

    /// Due times of a rule with what became of them, oldest first; missed ones show the newest and how many.
    fn story(&self, rule: &str) -> Vec<String> {
        let rows = self.daemon.json(&["occurrences", "list", "--rule", rule, "--json"]);
        let told = |row: &Value| {
            let due = row["due_at"].as_str().unwrap();
            match row["state"].as_str().unwrap() {
                "missed" => format!("{due} missed {}", row["n"]),
                state => format!("{due} {state} {} sent", row["sent"]),
            }
        };
        rows.iter().map(told).collect()
    }

    /// Waits until the story of a rule ends so.
    fn until_last(&self, rule: &str, last: &str) {
        until(&format!("{rule} ends with {last}"), || {
            self.story(rule).last().is_some_and(|told| told == last)
        });
    }

    fn has(&self, rule: &str, told: &str) {
        assert!(self.story(rule).iter().any(|line| line == told), "{rule}: {told}: {:?}", self.story(rule));
    }
}

/// Where Debian and its kin put the library for programs with threads.
fn library() -> PathBuf {
    let kinds = fs::read_dir("/usr/lib").unwrap().map(|kind| kind.unwrap().path());
    let mut found = kinds.map(|kind| kind.join("faketime/libfaketimeMT.so.1")).filter(|path| path.is_file());
    found.next().expect("libfaketime is installed where it was asked for")
}

#[test]
fn the_books_show_what_a_wall_clock_was_set_to() {
    if asked("TIXING_FAKETIME", 0) == 0 {
        println!("left out: libfaketime was not asked for (TIXING_FAKETIME=1)");
        return;
    }
    let mut daemon = Daemon::new("http://127.0.0.1:9", 4, RULES);
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::ZERO);
    let platform = sandbox.platform();
    daemon.talk_to(&sandbox.base_url());
    platform.grant_many(APPID, ANN, TEMPLATE, 90).unwrap();
    daemon.json(&["consents", "grant", "--openid", ANN, "--template", "habit", "--n", "90", "--json"]);
    let file = daemon.folder.path().join("clock");
    let set = |name: &str, value: &str| format!("{name}={value}");
    daemon.under(&[
        "env".to_owned(),
        set("LD_PRELOAD", library().to_str().unwrap()),
        set("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        set("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        set("FAKETIME_NO_CACHE", "1"),
        set("NO_FAKE_STAT", "1"),
        set("RUST_LOG", "info"),
    ]);
    let mut faked = Faked { daemon, file };

    // The clocks of New York skip from 02:00 to 03:00.
    faked.set("2027-03-14T06:59:56Z");
    faked.daemon.start();
    faked.until_last("gap", "2027-03-14T07:00:00Z done 1 sent");
    faked.until_last("often", "2027-03-14T07:00:00Z done 1 sent");

    // An hour ahead: what it passed over follows grace.
    faked.set("2027-03-14T08:00:05Z");
    faked.until_last("marker", "2027-03-14T08:00:06Z done 1 sent");
    let often = [
        "2027-03-14T07:00:00Z done 1 sent",
        "2027-03-14T07:40:00Z missed 2",
        "2027-03-14T08:00:00Z done 1 sent",
    ];
    assert_eq!(faked.story("often"), often);
    faked.until_clock("ok");

    // An hour back: nothing until it has passed again, or somebody says that it is right; and nothing twice.
    faked.set("2027-03-14T06:59:59Z");
    faked.until_clock("behind");
    let begun = platform.totals().begun;
    let accepted = faked.daemon.json(&["accept-clock", "--json"]);
    assert_eq!(accepted[0]["clock"], "ok");
    faked.until_clock("ok");
    until("seven has come again", || {
        let at = faked.daemon.json(&["accept-clock", "--json"])[0]["at"].as_str().unwrap().to_owned();
        at.as_str() > "2027-03-14T07:00:01"
    });
    assert_eq!(platform.totals().begun, begun, "what was sent at seven and at eight");
    faked.set("2027-03-14T08:01:00Z");
    faked.until_last("marker", "2027-03-14T08:01:03Z done 1 sent");
    assert_eq!(faked.story("often"), often);
    assert_eq!(faked.daemon.stop(), Some(0));

    // The clocks of New York show 01:30 twice, and the first is meant.
    faked.set("2027-11-07T05:29:58Z");
    faked.daemon.start();
    faked.until_last("overlap", "2027-11-07T05:30:00Z done 1 sent");
    faked.has("overlap", "2027-11-06T05:30:00Z missed 237");
    faked.set("2027-11-07T06:30:05Z");
    faked.until_last("marker", "2027-11-07T06:30:06Z done 1 sent");
    assert_eq!(faked.story("overlap").last().unwrap(), "2027-11-07T05:30:00Z done 1 sent");

    // 400 days ahead, and taken back by whoever keeps the time: it never was.
    faked.set("2028-12-11T06:40:00Z");
    faked.until_clock("behind");
    faked.set("2027-11-07T06:41:02Z");
    faked.until_clock("ok");
    faked.until_last("marker", "2027-11-07T06:41:04Z done 1 sent");
    // The same, and it is so.
    faked.set("2028-12-11T06:40:00Z");
    faked.until_clock("behind");
    faked.daemon.json(&["accept-clock", "--json"]);
    faked.set("2028-12-11T06:42:00Z");
    faked.until_last("marker", "2028-12-11T06:42:03Z done 1 sent");
    faked.has("overlap", "2028-12-11T06:30:00Z missed 400");
    assert_eq!(faked.story("often").last().unwrap(), "2028-12-11T06:40:00Z done 1 sent");
    assert_eq!(faked.daemon.stop(), Some(0));

    // A start in 1970: consents are taken, nothing is sent, until the clock is set.
    faked.set("1970-01-01T00:10:00Z");
    faked.daemon.start();
    faked.until_clock("behind");
    let begun = platform.totals().begun;
    let log = fs::read_to_string(faked.daemon.log()).unwrap();
    assert!(
        log.lines().any(|line| line.starts_with("1970-01-01") && line.contains("the wall clock is behind"))
    );
    let body = format!(r#"{{"report":"r1970","openid":"{ANN}","results":{{"{TEMPLATE}":"accept"}}}}"#);
    let headers = signed(&faked.daemon.hook_secret, "w1970", 610, "POST", "/v1/consents", body.as_bytes());
    let hook = faked.status()["hook"].as_str().unwrap().to_owned();
    let taken = request(&hook, "POST", "/v1/consents", &headers, body.as_bytes());
    assert_eq!(taken.map(|(status, _)| status), Some(200));
    assert_eq!(platform.totals().begun, begun);
    faked.set("2028-12-11T07:00:02Z");
    faked.until_clock("ok");
    faked.until_last("marker", "2028-12-11T07:00:04Z done 1 sent");

    // Both sides agree, and nobody got anything twice: what is older than 90 days is only in the account.
    let is = |outcome| matches!(outcome, Outcome::Accepted { .. });
    let mut cards: BTreeMap<String, u64> = BTreeMap::new();
    for send in platform.sends().into_iter().filter(|send| is(send.outcome)) {
        *cards.entry(send.data["thing1"].clone()).or_default() += 1;
    }
    let expected = [("gap", 1), ("marker", 6), ("often", 7), ("overlap", 1)];
    assert_eq!(cards, expected.map(|(rule, n)| (rule.to_owned(), n)).into());
    let account = &faked.daemon.json(&["consents", "show", "--openid", ANN, "--json"])[0];
    assert_eq!((account["granted"].as_u64(), account["consumed"].as_u64()), (Some(91), Some(15)));
    assert_eq!(faked.daemon.tixing(&["fsck"]).status.code(), Some(0));
    assert_eq!(faked.daemon.stop(), Some(0));
    runtime.block_on(sandbox.stop());
}
