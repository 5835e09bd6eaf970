//! Signed reports at the hook, each answered when it is durable, beside a server that only echoes.
//!
//! Both get the same prepared requests over the same number of kept-alive connections, in turns. Every
//! report is a new recipient's first acceptance, which writes the most.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tixing::clock::Clock;
use tixing::hook::{Secret, signature};
use tokio::task::JoinSet;

use super::Size;
use super::figures::{Spent, median, ms, quantile};
use super::line::Line;
use super::world::{self, Daemon, HOOK_SECRET, TEMPLATE, openid};

/// What one side did in one round.
struct Round {
    per_second: f64,
    spent: Spent,
    p50: Duration,
    p99: Duration,
    n_syncs: u64,
}

pub(crate) fn measure(size: Size, runtime: &tokio::runtime::Runtime) {
    let (reports, rounds, levels): (usize, usize, &[usize]) = match size {
        Size::Real => (20_000, 3, &[64, 256]),
        Size::Smoke => (200, 1, &[16]),
    };
    println!("grants: {reports} signed reports a round, medians of {rounds} rounds after one to warm up");
    println!(
        "             clients   grants/s      x   CPU us     x   p50 ms   p99 ms   writer's us   grants per sync"
    );
    let (echo, echo_at) = world::start(&["as-echo"]);
    let mut daemon = Daemon::new("http://127.0.0.1:9", 16);
    daemon.start();
    let hook_at = daemon.json(&["status"])[0]["hook"].as_str().unwrap().to_owned();
    let mut granted = 0;
    for clients in levels {
        let (mut bare, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..=rounds {
            let requests: Arc<Vec<Vec<u8>>> = Arc::new((granted..granted + reports).map(request).collect());
            bare.push(round(runtime, &echo_at, echo.pid(), *clients, &requests, "\"report\""));
            let n_syncs = daemon.number("status", "/store/n_groups");
            let balance = format!("\"{TEMPLATE}\":1");
            let mut round = round(runtime, &hook_at, daemon.pid(), *clients, &requests, &balance);
            round.n_syncs = daemon.number("status", "/store/n_groups") - n_syncs;
            whole.push(round);
            granted += reports;
        }
        let (bare, whole) = (&bare[1..], &whole[1..]);
        let each = |rounds: &[Round], of: fn(&Round) -> f64| median(rounds.iter().map(of));
        let per_report = |us: f64| us / reports as f64;
        for (name, rounds) in [("axum echo", bare), ("tixing", whole)] {
            let rate = |rounds| each(rounds, |round| round.per_second);
            let cpu = |rounds| per_report(each(rounds, |round| round.spent.cpu() as f64));
            println!(
                "{name:<12} {clients:>7} {:>10.0} {:>6.3} {:>8.1} {:>5.2} {:>8.2} {:>8.2} {:>13.1} {:>17.1}",
                rate(rounds),
                rate(rounds) / rate(bare),
                cpu(rounds),
                cpu(rounds) / cpu(bare),
                each(rounds, |round| ms(round.p50)),
                each(rounds, |round| ms(round.p99)),
                per_report(each(rounds, |round| round.spent.writer as f64)),
                reports as f64 / each(rounds, |round| round.n_syncs.max(1) as f64),
            );
        }
    }
    let fsck = &daemon.json(&["fsck"])[0];
    assert_eq!((&fsck["ok"], &fsck["grants"]), (&true.into(), &granted.into()), "{fsck}");
    daemon.stop();
}

/// A backend's report of the first acceptance of person `n`, signed now.
fn request(n: usize) -> Vec<u8> {
    let openid = openid(n);
    let body = format!(r#"{{"report":"r{n}","openid":"{openid}","results":{{"{TEMPLATE}":"accept"}}}}"#);
    let (id, at) = (format!("msg_{n}"), Clock::system().now().timestamp());
    let key = Secret::parse(HOOK_SECRET).unwrap();
    let signature = signature::sign(&key, &id, at, "POST", "/v1/consents", body.as_bytes());
    format!(
        "POST /v1/consents HTTP/1.1\r\nhost: hook\r\ncontent-type: application/json\r\nwebhook-id: {id}\r\n\
         webhook-timestamp: {at}\r\nwebhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Asks everything once; every answer must be 200 and hold `expected`.
fn round(
    runtime: &tokio::runtime::Runtime,
    address: &str,
    server: u32,
    clients: usize,
    requests: &Arc<Vec<Vec<u8>>>,
    expected: &str,
) -> Round {
    let clock = Clock::system();
    let before = Spent::by(server);
    let next = Arc::new(AtomicUsize::new(0));
    let (took, mut times) = runtime.block_on(async {
        let mut lines = Vec::new();
        for _ in 0..clients {
            lines.push(Line::open(address).await);
        }
        let mut workers = JoinSet::new();
        let start = clock.elapsed();
        for mut line in lines {
            let (next, requests, clock) = (Arc::clone(&next), Arc::clone(requests), clock.clone());
            let expected = expected.to_owned();
            workers.spawn(async move {
                let mut times = Vec::new();
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let asked = clock.elapsed();
                    let (status, body) = line.ask(request).await;
                    times.push(clock.elapsed() - asked);
                    assert!(status == 200 && body.contains(&expected), "{status} {body}");
                }
                times
            });
        }
        let times: Vec<Duration> = workers.join_all().await.concat();
        (clock.elapsed() - start, times)
    });
    assert_eq!(times.len(), requests.len());
    times.sort();
    Round {
        per_second: requests.len() as f64 / took.as_secs_f64(),
        spent: Spent::by(server) - before,
        p50: quantile(&times, 0.5),
        p99: quantile(&times, 0.99),
        n_syncs: 0,
    }
}
