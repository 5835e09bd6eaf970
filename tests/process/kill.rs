//! SIGKILL at random moments while requests are in flight: nothing acknowledged is lost, nothing is sent twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tixing::clock::Clock;
use tixing::sandbox::{self, Api, Fault, Outcome, Platform, Sandbox, What};

use super::daemon::{APPID, Daemon, TEMPLATE, asked, breathe, report, until};
use super::disk::Dice;

pub(crate) const IN_FLIGHT: usize = 16;
/// Deliveries that may be marked beyond those in flight.
pub(crate) const MARK_AHEAD: u64 = 16;

pub(crate) fn platform(secret: &str, answer_after: Duration) -> (tokio::runtime::Runtime, Sandbox) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let app = sandbox::App { appid: APPID.to_owned(), secret: secret.to_owned() };
    let template = sandbox::Template {
        id: TEMPLATE.to_owned(),
        title: "习惯".to_owned(),
        kind: sandbox::TemplateKind::OneTime,
        fields: vec![sandbox::Field::new("thing1", "内容")],
    };
    let mut options = sandbox::Options::new(vec![app], vec![template]);
    options.answer_after = answer_after;
    let sandbox = runtime.block_on(Sandbox::start(options, Clock::system())).unwrap();
    (runtime, sandbox)
}

fn in_doubt(daemon: &Daemon) -> u64 {
    daemon.json(&["doubt", "list", "--json"]).len() as u64
}

fn storm(people: u64, kills: u64, destroyed: f64) {
    let seed = asked("TIXING_SEED", u64::from(std::process::id()));
    println!("seed {seed}, {people} people, {kills} kills, {destroyed} of the replies destroyed");
    let mut dice = Dice(seed);
    // The address is needed for the configuration and the secret for the platform.
    let mut daemon = Daemon::new("http://127.0.0.1:9", IN_FLIGHT, "rules: {}\n");
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::from_millis(50));
    let platform: Platform = sandbox.platform();
    if destroyed > 0.0 {
        platform.set_faults(vec![Fault::new(Api::Send, What::DestroyAfter).share(destroyed, seed)]);
    }
    daemon.talk_to(&sandbox.base_url());

    let openids: Vec<String> = (0..people).map(|n| format!("oCANARYperson{seed:x}x{n:06}")).collect();
    let (mut lines, mut persons) = (String::new(), String::new());
    for openid in &openids {
        lines.push_str(&format!("{{\"openid\":\"{openid}\",\"template\":\"habit\",\"n\":1}}\n"));
        persons.push_str(&format!("{{\"openid\":\"{openid}\",\"tags\":[\"storm\"]}}\n"));
        platform.grant_many(APPID, openid, TEMPLATE, 1).unwrap();
    }
    daemon.write("people.jsonl", &persons);
    daemon.write("consents.jsonl", &lines);
    daemon.json(&["people", "import", "people.jsonl", "--json"]);
    daemon.json(&["consents", "import", "consents.jsonl", "--json"]);
    let due = Clock::system().now() + chrono::TimeDelta::seconds(3);
    let local = due.with_timezone(&chrono_tz::Asia::Shanghai).format("%Y-%m-%d %H:%M:%S");
    daemon.rules(&format!(
        "rules:\n  storm:\n    template: habit\n    when: {{ at: \"{local}\" }}\n    data: {{ thing1: 你好 }}\n    grace: 6h\n    to: {{ tags: [storm] }}\n"
    ));

    let hook: Arc<Mutex<Option<String>>> = Arc::default();
    let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let over = Arc::new(AtomicBool::new(false));
    let reporters: Vec<_> = (0..64)
        .map(|client| {
            let (hook, acknowledged, over) =
                (Arc::clone(&hook), Arc::clone(&acknowledged), Arc::clone(&over));
            let secret = daemon.hook_secret.clone();
            std::thread::Builder::new().name(format!("reporter {client}")).spawn(move || {
                let mut n = 0;
                while !over.load(Ordering::Relaxed) && n < 400 {
                    let Some(address) = hook.lock().unwrap().clone() else {
                        breathe();
                        continue;
                    };
                    let openid = format!("oCANARYreporter{seed:x}c{client:03}n{n:05}");
                    if let Some((200, _)) = report(&address, &secret, "r1", &openid) {
                        acknowledged.lock().unwrap().insert(openid);
                        n += 1;
                    }
                    breathe();
                }
            })
        })
        .map(Result::unwrap)
        .collect();

    let mut counted = 0;
    let (mut doubts, mut replies_lost) = (0, 0);
    let (began, mut grown) = (Clock::system().now(), Vec::new());
    loop {
        daemon.start();
        let now = in_doubt(&daemon);
        // Destroyed replies add their own; without them only the crash does.
        let lost = if destroyed > 0.0 { platform.totals().accepted_but_unanswered } else { 0 };
        let bound = IN_FLIGHT as u64 + MARK_AHEAD + (lost - replies_lost);
        assert!(now <= doubts + bound, "{} more in doubt after one crash, at most {bound}", now - doubts);
        grown.push(now - doubts);
        (doubts, replies_lost) = (now, lost);
        if counted == kills {
            break;
        }
        *hook.lock().unwrap() = Some(daemon.hook());
        until("requests are in flight", || platform.in_flight() > 0 || settled(&daemon));
        for _ in 0..dice.roll(20) {
            breathe();
        }
        let begun = platform.in_flight();
        daemon.kill();
        counted += u64::from(begun > 0);
        if begun == 0 && platform.totals().accepted >= people {
            panic!("everything was sent after {counted} of {kills} counted kills: give more people");
        }
    }
    *hook.lock().unwrap() = Some(daemon.hook());
    until("everything is sent or in doubt", || settled(&daemon));
    over.store(true, Ordering::Relaxed);
    for reporter in reporters {
        reporter.join().unwrap();
    }

    let row = &daemon.json(&["occurrences", "list", "--json"])[0];
    let count = |name: &str| row[name].as_u64().unwrap();
    let skipped: u64 = row["skipped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(count("audience"), people, "{row}");
    assert_eq!(count("sent") + count("in_doubt") + skipped, count("audience"), "{row}");
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    for send in platform.sends() {
        if matches!(send.outcome, Outcome::Accepted { .. }) {
            *sent.entry(send.openid).or_default() += 1;
        }
    }
    assert!(sent.values().all(|n| *n == 1), "somebody got it twice");
    assert!(openids.iter().filter(|o| sent.contains_key(*o)).count() as u64 >= count("sent"));
    let accounts = daemon.json(&["consents", "show", "--json", "--reveal"]);
    let granted: BTreeSet<&str> =
        accounts.iter().filter(|a| a["granted"] == 1).map(|a| a["openid"].as_str().unwrap()).collect();
    let acknowledged = acknowledged.lock().unwrap();
    println!(
        "{} reports acknowledged; {} sent, {} in doubt, {skipped} skipped; in doubt after each start {grown:?}; {} s",
        acknowledged.len(),
        count("sent"),
        count("in_doubt"),
        (Clock::system().now() - began).num_seconds(),
    );
    assert!(
        acknowledged.iter().all(|openid| granted.contains(openid.as_str())),
        "an acknowledged report is lost"
    );
    assert_eq!(daemon.tixing(&["fsck"]).status.code(), Some(0));
    assert_eq!(daemon.stop(), Some(0));
    runtime.block_on(sandbox.stop());
}

fn settled(daemon: &Daemon) -> bool {
    let rows = daemon.tixing(&["occurrences", "list", "--json"]);
    String::from_utf8_lossy(&rows.stdout).contains(r#""state":"done""#)
}

#[test]
fn kills_lose_nothing_and_send_nothing_twice() {
    storm(asked("TIXING_PEOPLE", 3000), asked("TIXING_KILLS", 10), 0.0);
}

#[test]
fn nor_do_kills_with_replies_destroyed() {
    storm(asked("TIXING_PEOPLE", 3000), asked("TIXING_KILLS", 10), 0.05);
}
