//! Clients that are slow on purpose, against the real program: each kind is cut off at its limit, and a good client beside
//! them does not feel them.
//!
//! `src/hook/tests/abuse.rs` holds the limits themselves on a clock moved by hand; here times are only bounded from both
//! sides, and how long a good client waits is compared within the same run. Attackers have addresses of their own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tixing::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::daemon::{Daemon, asked, request, signed, until};

const RULES: &str =
    "rules:\n  daily:\n    template: habit\n    when: { cron: \"0 9 * * *\" }\n    data: { thing1: 你好 }\n";
/// Connections of each kind at once.
const N: u32 = 60;
/// What a machine with other work may add to a limit.
const SLACK_S: u64 = 10;

/// Rounds of calm and attack.
const N_ROUNDS: usize = 9;
/// Below this it is the machine's scheduler that is compared.
const FLOOR: Duration = Duration::from_micros(500);

/// How somebody is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    /// Sends his head byte by byte.
    Header,
    /// Sends his body byte by byte.
    Body,
    /// Asks, and reads nothing of the answers.
    Read,
    /// Asks once, and then nothing.
    Idle,
    /// Takes connections, and says nothing on them.
    Hoarding,
}

const ALL: [Slow; 5] = [Slow::Header, Slow::Body, Slow::Read, Slow::Idle, Slow::Hoarding];

impl Slow {
    /// After how many seconds he is cut off (README, Limits).
    fn limit_s(self) -> u64 {
        match self {
            Self::Header | Self::Hoarding => 5,
            Self::Body => 10,
            Self::Read | Self::Idle => 15,
        }
    }

    /// His own address: loopback has many.
    fn address(self) -> Ipv4Addr {
        match self {
            Self::Header => Ipv4Addr::new(127, 0, 1, 1),
            Self::Body => Ipv4Addr::new(127, 0, 1, 2),
            Self::Read => Ipv4Addr::new(127, 0, 1, 3),
            Self::Idle => Ipv4Addr::new(127, 0, 1, 4),
            Self::Hoarding => Ipv4Addr::new(127, 0, 1, 5),
        }
    }

    /// Is slow on one connection until it is cut; after how many seconds that was. `at_it` counts who has sent all that he
    /// sends at once.
    async fn attack(self, hook: SocketAddr, at_it: Arc<AtomicU32>) -> Duration {
        let socket = TcpSocket::new_v4().unwrap();
        if self == Self::Read {
            socket.set_recv_buffer_size(4096).unwrap();
        }
        socket.bind((self.address(), 0).into()).unwrap();
        let mut stream = socket.connect(hook).await.unwrap();
        let clock = Clock::system();
        let first: &[u8] = match self {
            Self::Header => b"GET /healthz HTTP/1.1\r\nhost: ",
            Self::Body => b"POST /v1/login HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n",
            Self::Read | Self::Hoarding => b"",
            Self::Idle => b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        };
        let _sent = stream.write_all(first).await;
        let (mut piece, mut began, mut stuck) = ([0; 4096], clock.elapsed(), false);
        if self != Self::Read {
            at_it.fetch_add(1, Ordering::Relaxed);
        }
        loop {
            match self {
                Self::Header | Self::Body => {
                    let gone = stream.write_all(b"x").await.is_err();
                    let read =
                        tokio::time::timeout(Duration::from_millis(500), stream.read(&mut piece)).await;
                    // An answer that says so, an end, or nothing yet.
                    if gone || read.is_ok() {
                        return clock.elapsed().saturating_sub(began);
                    }
                }
                Self::Read => {
                    // The largest answer that there is; the first ones fit the buffers of the kernel.
                    let asks = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20);
                    let wrote =
                        tokio::time::timeout(Duration::from_millis(500), stream.write_all(&asks)).await;
                    match wrote {
                        Ok(Err(_)) => return clock.elapsed().saturating_sub(began),
                        Err(_no_room) if !stuck => {
                            stuck = true;
                            at_it.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(Ok(())) | Err(_) => {}
                    }
                }
                Self::Idle | Self::Hoarding => match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => return clock.elapsed().saturating_sub(began),
                    // His answer; from here on he says nothing.
                    Ok(_) => began = clock.elapsed(),
                },
            }
        }
    }
}

fn public_daemon() -> (Daemon, SocketAddr) {
    let mut daemon = Daemon::new("http://127.0.0.1:9", 4, RULES);
    let config = std::fs::read_to_string(daemon.path("tixing.yaml")).unwrap();
    // A hook on loopback believes in proxies there, and lets them hold any number of connections.
    daemon.write("tixing.yaml", &config.replace("hook:\n", "hook:\n  trusted_proxies: []\n"));
    daemon.start();
    let hook = daemon.hook().parse().unwrap();
    (daemon, hook)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn asked_for_attacks() -> bool {
    let asked = asked("TIXING_ATTACKS", 0) > 0;
    if !asked {
        println!("left out: slow clients (TIXING_ATTACKS=1)");
    }
    asked
}

#[test]
fn each_kind_of_slow_client_is_cut_off_at_its_limit() {
    if !asked_for_attacks() {
        return;
    }
    let (mut daemon, hook) = public_daemon();
    let runtime = runtime();
    let cuts = runtime.block_on(async {
        let mut all = JoinSet::new();
        for slow in ALL {
            for _ in 0..4 {
                all.spawn(async move { (slow, slow.attack(hook, Arc::default()).await) });
            }
        }
        all.join_all().await
    });
    for slow in ALL {
        let took: Vec<u64> =
            cuts.iter().filter(|(who, _)| *who == slow).map(|(_, took)| took.as_secs()).collect();
        println!("{slow:?}, limit {} s: cut after {took:?} s", slow.limit_s());
        assert_eq!(took.len(), 4);
        // A clock of the test begins a moment before or after that of the daemon.
        let within = slow.limit_s() - 1..=slow.limit_s() + SLACK_S;
        assert!(took.iter().all(|took| within.contains(took)), "{slow:?}: {took:?}");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn hoards_and_floods_are_bounded_for_their_address_alone() {
    if !asked_for_attacks() {
        return;
    }
    let (mut daemon, hook) = public_daemon();
    let runtime = runtime();
    let from = |n: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 2, n), 0).into()).unwrap();
        socket
    };
    let _runtime = runtime.enter();
    let (held, refused) = runtime.block_on(async {
        let (mut held, mut refused) = (Vec::new(), 0);
        for _ in 0..200 {
            let mut stream = from(1).connect(hook).await.unwrap();
            let mut first = [0; 12];
            match tokio::time::timeout(
                Duration::from_millis(if held.len() < 128 { 1 } else { 2000 }),
                stream.read(&mut first),
            )
            .await
            {
                Ok(Ok(12)) if &first == b"HTTP/1.1 429" => refused += 1,
                Ok(other) => panic!("{other:?} {first:?}"),
                Err(_nothing_said) => held.push(stream),
            }
        }
        (held, refused)
    });
    assert_eq!((held.len(), refused), (128, 72), "of one address");
    assert_eq!(request(&hook.to_string(), "GET", "/healthz", &[], b"").unwrap().0, 200, "of another");
    drop(held);

    // A flood of logins from one address; each would be a call to the platform.
    let login = br#"{"code":"nothing"}"#;
    let mut statuses = std::collections::BTreeMap::<u16, u32>::new();
    for _ in 0..400 {
        let (status, _) = request(&hook.to_string(), "POST", "/v1/login", &[], login).unwrap();
        *statuses.entry(status).or_default() += 1;
    }
    println!("400 logins: {statuses:?}");
    let n_tried: u32 = statuses.iter().filter(|(status, _)| **status != 429).map(|(_, n)| n).sum();
    assert!(n_tried <= 120 && statuses[&429] >= 280, "at most 60 a minute: {statuses:?}");
    assert_eq!(daemon.stop(), Some(0));
}

/// A good client: a kept connection, on which a backend asks.
struct Good<'a> {
    stream: TcpStream,
    daemon: &'a Daemon,
    clock: Clock,
}

impl Good<'_> {
    /// The 99th of a hundred waits for an answer.
    fn p99(&mut self, n: usize) -> Duration {
        let target = "/v1/ask?openid=oGoodGoodGood";
        let mut waits: Vec<Duration> = (0..n)
            .map(|_| {
                let now = self.clock.now().timestamp();
                let mut head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n");
                for (name, value) in signed(&self.daemon.hook_secret, "good", now, "GET", target, b"") {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                head.push_str("\r\n");
                let began = self.clock.elapsed();
                self.stream.write_all(head.as_bytes()).unwrap();
                let mut answer = [0; 4096];
                let n = self.stream.read(&mut answer).unwrap();
                assert!(
                    answer[..n].starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&answer[..n])
                );
                self.clock.elapsed().saturating_sub(began)
            })
            .collect();
        waits.sort_unstable();
        waits[n * 99 / 100]
    }
}

#[test]
fn a_good_client_does_not_feel_slow_ones() {
    if !asked_for_attacks() {
        return;
    }
    let (mut daemon, hook) = public_daemon();
    let runtime = runtime();
    let stream = TcpStream::connect(hook).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut good = Good { stream, daemon: &daemon, clock: Clock::system() };
    good.p99(500);
    // Calm and attack by turns, so that what else the machine does is in both; the median of the rounds counts.
    let (mut calm, mut attacked) = (Vec::new(), Vec::new());
    for _ in 0..N_ROUNDS {
        calm.push(good.p99(1500));
        let (mut attackers, at_it) = (JoinSet::new(), Arc::new(AtomicU32::new(0)));
        for slow in ALL {
            for _ in 0..N {
                attackers.spawn_on(slow.attack(hook, Arc::clone(&at_it)), runtime.handle());
            }
        }
        until("all are at it", || at_it.load(Ordering::Relaxed) == N * 5);
        attacked.push(good.p99(1500));
        runtime.block_on(attackers.shutdown());
    }
    println!("p99 by rounds\n  calm     {calm:?}\n  attacked {attacked:?}");
    let [calm, attacked] = [calm, attacked].map(|mut rounds| {
        rounds.sort_unstable();
        rounds[N_ROUNDS / 2]
    });
    println!("medians: {calm:?} and {attacked:?}, {:.2} times", attacked.as_secs_f64() / calm.as_secs_f64());
    assert!(attacked < 2 * calm.max(FLOOR), "a good client waits longer: {attacked:?} for {calm:?}");
    assert_eq!(daemon.stop(), Some(0));
}
