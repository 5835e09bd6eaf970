//! Sends of the whole pipeline, from the open occurrence to the settled delivery, beside a loop that only asks.
//!
//! Both talk to one sandbox, in turns, with the same number in flight and different texts. The rate is from
//! the sandbox's first to its last arrival; the CPU is all that the sender used, bookkeeping included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tixing::clock::Clock;
use tokio::task::JoinSet;

use super::Size;
use super::figures::{Spent, median};
use super::world::{self, APP_SECRET, APPID, Daemon, TEMPLATE, openid};

/// What one side did in one round.
struct Round {
    per_second: f64,
    spent: Spent,
    sandbox_us: u64,
    n_syncs: u64,
}

struct Yard {
    clock: Clock,
    control: reqwest::Client,
    base_url: String,
    sandbox: u32,
    people: usize,
    in_flight: usize,
}

pub(crate) fn measure(size: Size, runtime: &tokio::runtime::Runtime) {
    let (people, rounds, in_flight) = match size {
        Size::Real => (20_000, 3, 64),
        Size::Smoke => (300, 1, 16),
    };
    println!(
        "sends: {people} recipients due at once, {in_flight} in flight, medians of {rounds} rounds after one to warm up"
    );
    // Both sides, and the round that warms up.
    let (sandbox, base_url) = world::start_sandbox(people, 2 * (rounds + 1));
    let yard = Yard {
        clock: Clock::system(),
        control: client(),
        base_url,
        sandbox: sandbox.pid(),
        people,
        in_flight,
    };
    let mut daemon = Daemon::new(&yard.base_url, in_flight);
    daemon.import(people, rounds + 1);
    daemon.start();
    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        bare.push(runtime.block_on(yard.bare(round)));
        whole.push(runtime.block_on(yard.whole(round, &daemon)));
    }
    let totals = runtime.block_on(yard.ask("totals"));
    let sent = people * (rounds + 1);
    daemon.assert_all_sent(sent);
    assert_eq!(totals["accepted"], 2 * sent, "{totals}");
    assert_eq!((&totals["duplicates"], &totals["refused"]), (&json!(0), &json!({})), "{totals}");
    assert!(totals["in_flight_max"].as_u64().unwrap() <= in_flight as u64, "{totals}");
    daemon.stop();
    let (bare, whole) = (&bare[1..], &whole[1..]);
    let each = |rounds: &[Round], of: fn(&Round) -> f64| median(rounds.iter().map(of));
    let per_send = |us: f64| us / people as f64;
    println!("             sends/s     x   CPU us/send     x   user  system   sandbox's CPU us");
    for (name, rounds) in [("reqwest loop", bare), ("tixing", whole)] {
        let rate = |rounds| each(rounds, |round| round.per_second);
        let cpu = |rounds| per_send(each(rounds, |round| round.spent.cpu() as f64));
        println!(
            "{name:<12} {:>7.0} {:>5.2} {:>13.1} {:>5.2} {:>6.1} {:>7.1} {:>18.1}",
            rate(rounds),
            rate(rounds) / rate(bare),
            cpu(rounds),
            cpu(rounds) / cpu(bare),
            per_send(each(rounds, |round| round.spent.user as f64)),
            per_send(each(rounds, |round| round.spent.system as f64)),
            per_send(each(rounds, |round| round.sandbox_us as f64)),
        );
    }
    println!(
        "of tixing's CPU us/send: store writer {:.1}, the rest {:.1}; sends per sync {:.1}",
        per_send(each(whole, |round| round.spent.writer as f64)),
        per_send(each(whole, |round| (round.spent.cpu() - round.spent.writer) as f64)),
        people as f64 / each(whole, |round| round.n_syncs.max(1) as f64),
    );
}

impl Yard {
    /// Workers that take the next recipient, ask and read, and book nothing.
    async fn bare(&self, round: usize) -> Round {
        let asked = json!({"grant_type": "client_credential", "appid": APPID, "secret": APP_SECRET});
        let token =
            self.control.post(format!("{}/cgi-bin/stable_token", self.base_url)).body(asked.to_string());
        let token: Value =
            serde_json::from_slice(&token.send().await.unwrap().bytes().await.unwrap()).unwrap();
        let url = format!(
            "{}/cgi-bin/message/subscribe/send?access_token={}",
            self.base_url,
            token["access_token"].as_str().unwrap()
        );
        let (client, url) = (client(), reqwest::Url::parse(&url).unwrap());
        let next = Arc::new(AtomicUsize::new(0));
        let before = self.before().await;
        let spent = Spent::here();
        let mut workers = JoinSet::new();
        for _ in 0..self.in_flight {
            let (client, url, next, people) = (client.clone(), url.clone(), Arc::clone(&next), self.people);
            workers.spawn(async move {
                while let Some(n) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < people) {
                    let body = format!(
                        r#"{{"touser":"{}","template_id":"{TEMPLATE}","miniprogram_state":"formal","lang":"zh_CN","data":{{"thing1":{{"value":"bare-{round}"}}}}}}"#,
                        openid(n)
                    );
                    let answer = client.post(url.clone()).header("content-type", "application/json").body(body);
                    let answer = answer.send().await.unwrap().bytes().await.unwrap();
                    let answer: Value = serde_json::from_slice(&answer).unwrap();
                    assert_eq!(answer["errcode"], 0, "{answer}");
                }
            });
        }
        workers.join_all().await;
        self.round(before, Spent::here() - spent, 0).await
    }

    /// One occurrence of the daemon.
    async fn whole(&self, round: usize, daemon: &Daemon) -> Round {
        let due = self.clock.now() + TimeDelta::seconds(3);
        daemon.rule(&format!("round-{round}"), &[due]);
        let before = self.before().await;
        let (spent, n_syncs) = (Spent::by(daemon.pid()), daemon.number("status", "/store/n_groups"));
        let all = before.1 + self.people as u64;
        while self.ask("totals").await["accepted"].as_u64().unwrap() < all {
            self.clock.sleep(Duration::from_millis(20)).await;
        }
        // The last settlements are synced within 20 ms after the last write.
        self.clock.sleep(Duration::from_millis(200)).await;
        let spent = Spent::by(daemon.pid()) - spent;
        self.round(before, spent, daemon.number("status", "/store/n_groups") - n_syncs).await
    }

    /// The sandbox's CPU, and how many sends it has accepted.
    async fn before(&self) -> (Spent, u64) {
        let accepted = self.ask("totals").await["accepted"].as_u64().unwrap();
        (Spent::by(self.sandbox), accepted)
    }

    async fn round(&self, before: (Spent, u64), spent: Spent, n_syncs: u64) -> Round {
        let sandbox_us = (Spent::by(self.sandbox) - before.0).cpu();
        let sends = self.ask(&format!("sends?from={}", before.1)).await;
        let at = |send: &Value| send["at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
        let arrivals: Vec<_> = sends.as_array().unwrap().iter().map(at).collect();
        assert_eq!(arrivals.len(), self.people);
        let took = *arrivals.iter().max().unwrap() - *arrivals.iter().min().unwrap();
        let per_second = self.people as f64 / took.to_std().unwrap().as_secs_f64();
        Round { per_second, spent, sandbox_us, n_syncs }
    }

    async fn ask(&self, question: &str) -> Value {
        world::ask_sandbox(&self.control, &self.base_url, question).await
    }
}

/// A client as the daemon's own, without what the daemon adds.
pub(crate) fn client() -> reqwest::Client {
    let _already = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().http1_only().no_proxy().tls_certs_only([]);
    builder.pool_max_idle_per_host(256).build().unwrap()
}
