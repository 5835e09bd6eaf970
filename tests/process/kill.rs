//! SIGKILL at random moments while requests are in flight: nothing acknowledged is lost, nothing is sent twice.
//!
//! The long form takes 1,000 kills and 60,000 people, once with every answer of the platform and once without
//! a twentieth of them; `TIXING_SEED` tries one again:
//!
//!     TIXING_KILLS=1000 TIXING_PEOPLE=60000 cargo test --release --locked --test process kill:: -- --test-threads 1 --show-output

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tixing::clock::Clock;
use tixing::sandbox::{self, Api, Fault, Outcome, Platform, Sandbox, What};

use super::daemon::{APPID, Daemon, TEMPLATE, asked, breathe, report, until};
use super::disk::Dice;

pub(crate) const IN_FLIGHT: usize = 16;
/// So many at least are listed where there are more in doubt.
const LONGEST_LIST: u64 = 30_000;
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

/// As the occurrence counts them; the list itself would be read to its end after each of a thousand kills.
fn in_doubt(daemon: &Daemon) -> u64 {
    let rows = daemon.json(&["occurrences", "list", "--json"]);
    rows.iter().map(|row| row["in_doubt"].as_u64().unwrap()).sum()
}

fn storm(people: u64, kills: u64, destroyed: f64) {
    let seed = asked("TIXING_SEED", u64::from(std::process::id()));
    println!("seed {seed}, {people} people, {kills} kills, {destroyed} of the replies destroyed");
    let mut dice = Dice(seed);
    // Each kill leaves up to 32 in doubt; with few people for each, few are sent between two kills.
    let (answer_after, longest) = if people / kills < 150 { (150, 10) } else { (50, 20) };
    // The address is needed for the configuration and the secret for the platform.
    let mut daemon = Daemon::new("http://127.0.0.1:9", IN_FLIGHT, "rules: {}\n");
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::from_millis(answer_after));
    let platform: Platform = sandbox.platform();
    if kills > 100 {
        daemon.under(&["env".to_owned(), "RUST_LOG=info".to_owned()]);
    }
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
    let due = Clock::system().now() + chrono::TimeDelta::seconds(5);
    let local = due.with_timezone(&chrono_tz::Asia::Shanghai).format("%Y-%m-%d %H:%M:%S");
    daemon.rules(&format!(
        "rules:\n  storm:\n    template: habit\n    when: {{ at: \"{local}\" }}\n    data: {{ thing1: 你好 }}\n    grace: 6h\n    to: {{ tags: [storm] }}\n"
    ));

    let hook: Arc<Mutex<Option<String>>> = Arc::default();
    let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let over = Arc::new(AtomicBool::new(false));
    // Reports that each may have made by now: there are some between any two kills.
    let allowed = Arc::new(AtomicU64::new(0));
    let reporters: Vec<_> = (0..64)
        .map(|client| {
            let (hook, acknowledged) = (Arc::clone(&hook), Arc::clone(&acknowledged));
            let (over, allowed) = (Arc::clone(&over), Arc::clone(&allowed));
            let secret = daemon.hook_secret.clone();
            std::thread::Builder::new().name(format!("reporter {client}")).spawn(move || {
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    let address =
                        hook.lock().unwrap().clone().filter(|_| n < allowed.load(Ordering::Relaxed));
                    let Some(address) = address else {
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
        allowed.store(400 * (counted + 1) / kills, Ordering::Relaxed);
        until("requests are in flight", || platform.in_flight() > 0 || settled(&daemon));
        for _ in 0..dice.roll(longest) {
            breathe();
        }
        let begun = platform.in_flight();
        daemon.kill();
        if destroyed > 0.0 {
            // What was booked by then; a destroyed reply that was not is one of those in flight.
            (doubts, replies_lost) = (in_doubt(&daemon), platform.totals().accepted_but_unanswered);
        }
        counted += u64::from(begun > 0);
        if begun == 0 && platform.totals().accepted >= people {
            panic!("everything was sent after {counted} of {kills} counted kills: give more people");
        }
    }
    *hook.lock().unwrap() = Some(daemon.hook());
    while !settled(&daemon) {
        let begun = platform.totals().begun;
        until("sending goes on", || platform.totals().begun > begun || settled(&daemon));
    }
    over.store(true, Ordering::Relaxed);
    for reporter in reporters {
        reporter.join().unwrap();
    }

    let row = &daemon.json(&["occurrences", "list", "--json"])[0];
    let (listed, all) = (daemon.json(&["doubt", "list", "--json"]).len() as u64, in_doubt(&daemon));
    assert!(listed == all || (LONGEST_LIST..all).contains(&listed), "{listed} of {all} are listed");
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
        "{} reports acknowledged; {} sent, {} in doubt, {skipped} skipped; at most {} more in doubt after a start; {} s",
        acknowledged.len(),
        count("sent"),
        count("in_doubt"),
        grown.iter().max().unwrap(),
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
