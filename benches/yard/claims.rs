//! How late work is taken up: due → opened in the books, and due → its walk handed to those who send.
//!
//! By the times in the daemon's own log, with the store in memory (tmpfs), so that the disk is not what is
//! measured, and on the disk beside one write and sync of it. One rule that is due each second, then many
//! rules due in the same second; and what the daemon uses while as many rules wait. Nothing is early, lost
//! or twice: that is asserted. One person is in the audience of each, as what is measured comes before the
//! people.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tixing::clock::Clock;

use super::Size;
use super::figures::{Spent, ms, quantile};
use super::world::{self, Daemon};

/// Where a folder is in memory.
const TMPFS: &str = "/dev/shm";
/// What the bare write writes, in bytes.
const PAGE: usize = 4096;
/// What is said of an occurrence that was opened, and of one whose audience was handed over.
const OPENED: &str = "opened or recorded";
const WALKED: &str = " walked ";

pub(crate) fn measure(size: Size, runtime: &tokio::runtime::Runtime) {
    let (seconds, rules, idle) = match size {
        Size::Real => (60, 10_000, Duration::from_secs(30)),
        Size::Smoke => (2, 200, Duration::from_secs(1)),
    };
    println!("claims: one rule each second for {seconds} s; {rules} rules due in the same second");
    println!("                                p50 ms   p99 ms   max ms");
    for (name, folder) in [("tmpfs", Path::new(TMPFS)), ("disk", Path::new(env!("CARGO_TARGET_TMPDIR")))] {
        let (_sandbox, base_url) = world::start_sandbox(1, 100);
        let mut daemon = Daemon::new_in(folder, &base_url, 64);
        daemon.import(1, 100);
        daemon.start();
        lone(seconds, name, &daemon, runtime);
        many(rules, idle, name, &daemon, runtime);
        daemon.stop();
    }
}

fn lone(n: usize, name: &str, daemon: &Daemon, runtime: &tokio::runtime::Runtime) {
    let clock = Clock::system();
    let first = clock.now().trunc_subsecs(0) + TimeDelta::seconds(3);
    let due: Vec<DateTime<Utc>> = (0_i64..).take(n).map(|s| first + TimeDelta::seconds(s)).collect();
    daemon.rule("lone", &due);
    let mut file = File::create_new(daemon.folder.path().join("page")).unwrap();
    let mut syncs = Vec::new();
    for due in &due {
        let rest = *due + TimeDelta::milliseconds(500) - clock.now();
        runtime.block_on(clock.sleep(rest.to_std().unwrap_or_default()));
        let start = clock.elapsed();
        file.write_all(&[7; PAGE]).unwrap();
        file.sync_data().unwrap();
        syncs.push(clock.elapsed() - start);
    }
    daemon.assert_all_sent(n);
    print(&format!("{name}: add and sync"), syncs);
    let log = daemon.log();
    for (what, sign) in [("due to opened", OPENED), ("due to dispatch", WALKED)] {
        let times: Vec<DateTime<Utc>> = said(&log, sign).into_iter().map(|(_, at)| at).collect();
        assert_eq!(times.len(), n, "{what}: each once");
        print(&format!("{name}: {what}"), late(times.iter().copied().zip(due.iter().copied())));
    }
}

fn many(n: usize, idle: Duration, name: &str, daemon: &Daemon, runtime: &tokio::runtime::Runtime) {
    let clock = Clock::system();
    let rules = |due: DateTime<Utc>| {
        let mut text = "timezone: UTC\nrules:\n".to_owned();
        for rule in 0..n {
            text.push_str(&format!(
                "  many{rule}: {{ template: habit, when: {{ at: \"{}\" }}, data: {{ thing1: x }}, grace: 6h }}\n",
                due.format("%Y-%m-%d %H:%M:%S")
            ));
        }
        daemon.write("schedules/rules.yaml", &text);
        daemon.json(&["reload"]);
    };
    rules(clock.now() + TimeDelta::days(300));
    let before = Spent::by(daemon.pid());
    runtime.block_on(clock.sleep(idle));
    let spent = Spent::by(daemon.pid()) - before;
    // A reload of so many takes a while; what is due at the moment it is in force would not count.
    let due = clock.now().trunc_subsecs(0) + TimeDelta::seconds(if n > 1_000 { 20 } else { 5 });
    rules(due);
    assert!(clock.now() < due, "the reload took too long to measure anything");
    world::until("every occurrence is walked", || said(&daemon.log(), WALKED).len() >= n);
    let log = daemon.log();
    for (what, sign) in [("due to opened", OPENED), ("due to dispatch", WALKED)] {
        let mut times: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
        for (rule, at) in said(&log, sign) {
            assert!(times.insert(rule.clone(), at).is_none(), "{rule} {what} twice");
        }
        assert_eq!(times.len(), n, "{what}: each once");
        print(&format!("{name}: {n} at once, {what}"), late(times.into_values().map(|at| (at, due))));
    }
    println!(
        "{name}: {n} rules that wait use {:.3} % of a core",
        spent.cpu() as f64 / idle.as_micros() as f64 * 100.0
    );
}

/// Rule and time of each line that says this of another rule than the last lone ones.
fn said(log: &str, sign: &str) -> Vec<(String, DateTime<Utc>)> {
    let lines = log.lines().filter(|line| line.contains(sign) && line.contains(" rule.id="));
    let of_kind = |rule: &str| rule.starts_with(if log.contains("many0 ") { "many" } else { "lone" });
    lines
        .filter_map(|line| {
            let at = line.split(' ').next()?.parse().ok()?;
            let rule = line.split(" rule.id=").nth(1)?.split(' ').next()?.to_owned();
            of_kind(&rule).then_some((rule, at))
        })
        .collect()
}

fn late(pairs: impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)>) -> Vec<Duration> {
    pairs.map(|(at, due)| (at - due).to_std().expect("never before it is due")).collect()
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share| ms(quantile(&times, share));
    println!("{what:<30} {:>8.2} {:>8.2} {:>8.2}", at(0.5), at(0.99), at(1.0));
}
