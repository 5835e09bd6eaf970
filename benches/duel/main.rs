//! The duel: Debian's prometheus-alertmanager and tixing through the same crash, and what people got afterwards.
//!
//! `benches/duel/run` fetches Alertmanager and plays all of it; `--smoke` plays one crash with few receivers. So many
//! receivers are due one notification each, the answers are slow, and the sender is killed (SIGKILL) when so many are
//! answered; it is started again on the same state, and when it is quiet what arrived is counted, receiver by receiver.
//! Nothing here measures time. README.md beside this file tells what was found, and what the comparison leaves out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::format_push_string,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a duel may fail, prints its table, builds texts plainly, and reckons with counts"
)]

mod alertmanager;
mod tixing;
#[path = "../yard/world.rs"]
#[expect(dead_code, reason = "of what the yardsticks share, a duel needs the daemon")]
mod world;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use ::tixing::clock::{self, Clock};
use tokio::runtime::Runtime;

/// What both go through.
#[derive(Clone, Copy, Debug)]
struct Scene {
    /// Who is due one notification each.
    receivers: usize,
    /// How long the answer to a notification takes.
    answer_after: Duration,
    /// The sender is killed when so many are answered, and so much later.
    kill_at: usize,
    kill_after: Duration,
    /// Nothing arrives for so long: it is over.
    quiet: Duration,
}

/// What became of the receivers.
#[derive(Debug, Default)]
struct Outcome {
    once: usize,
    more: usize,
    /// Got nothing.
    never: usize,
    /// Told as in doubt by the sender, and how many of those got nothing.
    doubt: usize,
    doubt_never: usize,
}

impl Outcome {
    /// Of `receivers`, by how often something arrived for each and who is told as in doubt.
    fn of(receivers: &[String], arrived: &BTreeMap<String, usize>, doubt: &[String]) -> Self {
        let mut outcome = Self { doubt: doubt.len(), ..Self::default() };
        for receiver in receivers {
            match arrived.get(receiver).copied().unwrap_or(0) {
                0 => {
                    outcome.never += 1;
                    outcome.doubt_never += usize::from(doubt.contains(receiver));
                }
                1 => outcome.once += 1,
                _ => outcome.more += 1,
            }
        }
        outcome
    }

    /// Got nothing, and nobody tells.
    fn lost(&self) -> usize {
        self.never - self.doubt_never
    }
}

/// Plays a scene and counts.
type Contestant = fn(Scene, &Runtime) -> Outcome;

fn main() {
    let smoke = std::env::args().any(|word| word == "--smoke");
    let slow = Duration::from_millis(500);
    let (receivers, kills, quiet): (_, &[(usize, u64)], _) = if smoke {
        (20, &[(20, 0)], 3)
    } else {
        (300, &[(1, 0), (100, 0), (200, 0), (300, 0), (300, 5)], 15)
    };
    let runtime = world::runtime();
    let today = Clock::system().now().format("%Y-%m-%d");
    println!("{today}: {}, tixing {}", alertmanager::version(), env!("CARGO_PKG_VERSION"));
    println!("{receivers} receivers, one notification each, answered after {} ms", slow.as_millis());
    let all: &[(&str, Contestant)] = &[
        ("tixing", tixing::play),
        ("Alertmanager, as shipped", alertmanager::as_shipped),
        ("Alertmanager, log kept each second", alertmanager::at_its_best),
    ];
    println!(
        "sender                              killed when answered  once  twice or more  lost  in doubt  of these, got nothing"
    );
    for (name, play) in if smoke { &all[..2] } else { all } {
        for (kill_at, later) in kills {
            let scene = Scene {
                receivers,
                answer_after: slow,
                kill_at: *kill_at,
                kill_after: Duration::from_secs(*later),
                quiet: Duration::from_secs(quiet),
            };
            let outcome = play(scene, &runtime);
            let killed = match later {
                0 => kill_at.to_string(),
                later => format!("{kill_at}, {later} s later"),
            };
            let (Outcome { once, more, doubt, doubt_never, .. }, lost) = (&outcome, outcome.lost());
            println!("{name:<35} {killed:>20} {once:>5} {more:>14} {lost:>5} {doubt:>9} {doubt_never:>22}");
            if *name == "tixing" {
                assert_eq!((*more, lost), (0, 0), "{outcome:?}");
            }
        }
    }
}

/// The first line that a program says to `--version`.
fn first_line(program: &str) -> String {
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let said = said.unwrap_or_else(|error| panic!("{program}: {error}; `benches/duel/run` fetches it"));
    // Alertmanager says it to stderr.
    let text = [said.stdout, said.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

/// Waits for the moment at which the sender is killed.
fn until_the_kill(scene: Scene, answered: impl Fn() -> usize) {
    for _ in 0..60_000 {
        if answered() >= scene.kill_at {
            clock::block(scene.kill_after);
            return;
        }
        clock::block(Duration::from_millis(1));
    }
    panic!("{} of {} answered", answered(), scene.kill_at);
}

/// Waits until `count` has not changed for `quiet`.
fn until_quiet(quiet: Duration, count: impl Fn() -> usize) {
    let look = Duration::from_millis(100);
    let (mut seen, mut still) = (count(), Duration::ZERO);
    while still < quiet {
        clock::block(look);
        let now = count();
        still = if now == seen { still + look } else { Duration::ZERO };
        seen = now;
    }
}

/// Kills a process of ours, by its number.
fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}
