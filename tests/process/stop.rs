//! SIGTERM in the middle of a burst: nothing new starts, what is under way ends, and the rest goes out after the
//! next start, once.
//!
//! All slots are taken by requests that the platform answers late when the signal comes, so whatever starts
//! after it would need a slot that became free after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tixing::clock::Clock;
use tixing::sandbox::{Api, Fault, Outcome, Platform, What};

use super::daemon::{APPID, Daemon, TEMPLATE, report, signed, until};
use super::kill::platform;

const IN_FLIGHT: usize = 8;
const PEOPLE: usize = 120;
/// Requests that the platform never answers.
const HANGING: usize = 2;

fn person(n: usize) -> String {
    format!("oCANARYperson{n:06}")
}

/// Starts a daemon with people, each with one consent, and a rule that is due soon.
pub(crate) fn bursting(daemon: &mut Daemon, platform: &Platform, people: usize) {
    let (mut lines, mut persons) = (String::new(), String::new());
    for openid in (0..people).map(person) {
        lines.push_str(&format!("{{\"openid\":\"{openid}\",\"template\":\"habit\",\"n\":1}}\n"));
        persons.push_str(&format!("{{\"openid\":\"{openid}\",\"tags\":[\"burst\"]}}\n"));
        platform.grant_many(APPID, &openid, TEMPLATE, 1).unwrap();
    }
    daemon.write("people.jsonl", &persons);
    daemon.write("consents.jsonl", &lines);
    daemon.json(&["people", "import", "people.jsonl", "--json"]);
    daemon.json(&["consents", "import", "consents.jsonl", "--json"]);
    let due = Clock::system().now() + chrono::TimeDelta::seconds(6);
    let local = due.with_timezone(&chrono_tz::Asia::Shanghai).format("%Y-%m-%d %H:%M:%S");
    daemon.rules(&format!(
        "rules:\n  burst:\n    template: habit\n    when: {{ at: \"{local}\" }}\n    data: {{ thing1: 你好 }}\n    grace: 6h\n    to: {{ tags: [burst] }}\n"
    ));
    daemon.start();
}

/// Tells the daemon to stop, and waits until it has heard.
fn told_to_stop(daemon: &Daemon) {
    daemon.signal("TERM");
    until("the daemon has heard", || fs::read_to_string(daemon.log()).unwrap().contains("The daemon stops"));
}

/// Openids by the state of their delivery.
fn states(daemon: &Daemon) -> BTreeMap<String, BTreeSet<String>> {
    let mut states: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in daemon.json(&["deliveries", "list", "--json", "--reveal"]) {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        states.entry(text("state")).or_default().insert(text("openid"));
    }
    states
}

fn accepted(platform: &Platform) -> BTreeSet<String> {
    let is = |outcome| matches!(outcome, Outcome::Accepted { .. });
    let all: Vec<String> =
        platform.sends().into_iter().filter(|send| is(send.outcome)).map(|send| send.openid).collect();
    let once: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(once.len(), all.len(), "somebody got it twice");
    once
}

/// Seconds after which the unit's manager kills.
fn unit_waits() -> i64 {
    let unit = include_str!("../../systemd/tixing.service");
    unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap().parse().unwrap()
}

#[test]
fn a_stop_in_a_burst_ends_what_is_under_way_and_starts_nothing() {
    let mut daemon = Daemon::new("http://127.0.0.1:9", IN_FLIGHT, "rules: {}\n");
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::ZERO);
    let platform = sandbox.platform();
    daemon.talk_to(&sandbox.base_url());
    platform.set_faults(vec![
        Fault::new(Api::Send, What::Hang).skip(20).at_most(HANGING as u64),
        Fault::new(Api::Send, What::Delay(Duration::from_secs(3))).skip(20),
    ]);
    bursting(&mut daemon, &platform, PEOPLE);
    let (hook, secret) = (daemon.hook(), daemon.hook_secret.clone());
    until("all slots are taken", || {
        platform.totals().begun >= 20 && platform.in_flight() == IN_FLIGHT as u64
    });

    // A report whose body is still on its way.
    let body = format!(r#"{{"report":"late","openid":"oCANARYlate","results":{{"{TEMPLATE}":"accept"}}}}"#);
    let now = Clock::system().now().timestamp();
    let mut late = TcpStream::connect(&hook).unwrap();
    let mut head =
        format!("POST /v1/consents HTTP/1.1\r\nhost: {hook}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in signed(&secret, "late", now, "POST", "/v1/consents", body.as_bytes()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let (first, rest) = body.split_at(10);
    late.write_all(format!("{head}\r\n{first}").as_bytes()).unwrap();

    let told_at = Clock::system().now();
    told_to_stop(&daemon);
    let begun = platform.totals().begun;
    until("new connections are refused", || TcpStream::connect(&hook).is_err());
    late.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    assert_eq!(daemon.ended(), Some(0));
    let took = (Clock::system().now() - told_at).num_seconds();
    assert!(took < unit_waits(), "{took} s to stop, the service manager waits {} s", unit_waits());
    assert_eq!(platform.totals().begun, begun, "a request started after the stop");

    let booked = states(&daemon);
    let sent = accepted(&platform);
    assert_eq!(booked.get("sent"), Some(&sent));
    assert_eq!(booked.get("in_doubt").map(BTreeSet::len), Some(HANGING), "{booked:?}");
    let kinds: BTreeSet<&str> = booked.keys().map(String::as_str).collect();
    assert_eq!(kinds, BTreeSet::from(["in_doubt", "reserved", "sent"]));
    assert_eq!(daemon.tixing(&["fsck"]).status.code(), Some(0));

    platform.clear_faults();
    daemon.start();
    until("the rest is sent", || {
        daemon.json(&["occurrences", "list", "--json"]).iter().all(|row| row["state"] == "done")
    });
    let ended = states(&daemon);
    assert_eq!(ended.get("sent"), Some(&accepted(&platform)));
    assert_eq!(ended.get("sent").map(BTreeSet::len), Some(PEOPLE - HANGING));
    assert_eq!(ended.get("in_doubt"), booked.get("in_doubt"), "what is in doubt is not sent again");
    let again = report(&daemon.hook(), &secret, "late", "oCANARYlate").unwrap();
    assert!(again.0 == 200 && again.1.contains(r#""duplicate":true"#), "{again:?}");
    assert_eq!(daemon.stop(), Some(0));
    runtime.block_on(sandbox.stop());
}

#[test]
fn a_stop_ends_the_wait_for_an_access_token() {
    let mut daemon = Daemon::new("http://127.0.0.1:9", IN_FLIGHT, "rules: {}\n");
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::from_millis(100));
    let platform = sandbox.platform();
    daemon.talk_to(&sandbox.base_url());
    bursting(&mut daemon, &platform, PEOPLE);
    until("some are sent", || platform.totals().accepted > 20);
    // Every request is refused for its token from here on, and the new token takes its time.
    let asked = platform.totals().token_calls;
    platform.set_faults(vec![Fault::new(Api::Token, What::Delay(Duration::from_secs(4)))]);
    platform.expire_tokens(APPID);
    until("a new token is asked for", || platform.totals().token_calls > asked);
    until("all wait for it", || platform.in_flight() == 0);
    told_to_stop(&daemon);
    let begun = platform.totals().begun;
    assert_eq!(daemon.ended(), Some(0));
    assert_eq!(platform.totals().begun, begun, "a request started after the stop");

    let booked = states(&daemon);
    assert_eq!(booked.get("sent"), Some(&accepted(&platform)));
    let kinds: BTreeSet<&str> = booked.keys().map(String::as_str).collect();
    assert!(kinds.is_subset(&BTreeSet::from(["reserved", "sent", "waiting"])), "{kinds:?}");
    // Those whose token was refused are tried again a minute later, the others at once.
    let waiting = booked.get("waiting").map_or(0, BTreeSet::len);
    platform.clear_faults();
    daemon.start();
    until("what was reserved is sent", || accepted(&platform).len() >= PEOPLE - waiting);
    assert_eq!(daemon.stop(), Some(0));
    runtime.block_on(sandbox.stop());
}
