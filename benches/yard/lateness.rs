//! How late a lone reminder's request is, beside one write and sync of the same disk.
//!
//! One recipient, one due time a second; between two due times a page is added to a file and synced in the
//! same folder, while the daemon rests. Added, since the store's log grows too: a file system syncs a page
//! in place much faster. Lateness is from the due time to the arrival at the sandbox, which is
//! as warm as it gets: access token and connection are there.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tixing::clock::Clock;

use super::Size;
use super::figures::{Spent, ms, quantile};
use super::world::{self, Daemon};

/// What the bare write writes, in bytes: about what lies between two syncs of the daemon here.
const PAGE: usize = 4096;

pub(crate) fn measure(size: Size, runtime: &tokio::runtime::Runtime) {
    let (reminders, unseen) = match size {
        Size::Real => (90, 5),
        Size::Smoke => (2, 1),
    };
    println!("lateness: one recipient, {reminders} reminders a second apart after {unseen} to warm up");
    let n = reminders + unseen;
    let (_sandbox, base_url) = world::start_sandbox(1, n);
    let mut daemon = Daemon::new(&base_url, 64);
    daemon.import(1, n);
    daemon.start();
    let clock = Clock::system();
    let first = clock.now().trunc_subsecs(0) + TimeDelta::seconds(3);
    let seconds = (0_i64..).map(TimeDelta::seconds);
    let due: Vec<DateTime<Utc>> = seconds.take(n).map(|second| first + second).collect();
    daemon.rule("lone", &due);
    let before = Spent::by(daemon.pid());
    let n_syncs = daemon.number("status", "/store/n_groups");
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
    let spent = Spent::by(daemon.pid()) - before;
    let n_syncs = daemon.number("status", "/store/n_groups") - n_syncs;
    let sends = runtime.block_on(world::ask_sandbox(&super::sends::client(), &base_url, "sends?from=0"));
    let arrivals = sends.as_array().unwrap().iter().map(|send| send["at"].as_str().unwrap().parse().unwrap());
    let arrivals: Vec<DateTime<Utc>> = arrivals.collect();
    assert_eq!(arrivals.len(), n);
    let mut late: Vec<Duration> = arrivals
        .iter()
        .zip(&due)
        .map(|(at, due)| (*at - *due).to_std().expect("never before it is due"))
        .collect();
    let mut late = late.split_off(unseen);
    let mut syncs = syncs.split_off(unseen);
    late.sort();
    syncs.sort();
    println!("                    p50 ms     x   p99 ms     x   max ms");
    for (name, times) in [("add and sync", &syncs), ("due to request", &late)] {
        let ratio = |share| ms(quantile(times, share)) / ms(quantile(&syncs, share));
        println!(
            "{name:<16} {:>9.2} {:>5.2} {:>8.2} {:>5.2} {:>8.2}",
            ms(quantile(times, 0.5)),
            ratio(0.5),
            ms(quantile(times, 0.99)),
            ratio(0.99),
            ms(quantile(times, 1.0)),
        );
    }
    println!(
        "a reminder's syncs {:.1} (one before the request, one after the answer), CPU us {:.0}",
        n_syncs as f64 / n as f64,
        spent.cpu() as f64 / n as f64,
    );
    daemon.stop();
}
