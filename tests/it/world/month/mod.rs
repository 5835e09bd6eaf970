//! A month of misfortune: the whole daemon on the hand-set clock, a script of a seed, and every promise asked for.
//!
//! A month costs about a second of one core, so there is one for each of many seeds. One seed is one script, event by
//! event; how threads interleave with it is not the seed's. `TIXING_SEED=17 cargo test --test it month` plays one
//! seed again, `TIXING_SEEDS` says how many there are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use self::play::Month;
use self::tally::Tally;
use crate::said;

mod audit;
mod halts;
mod luck;
mod play;
mod reports;
mod rule;
mod script;
mod tally;
mod visits;

/// Months at the same time: most of their time is waiting for one another's threads.
const PLAYERS: usize = 16;
/// Seeds where nothing says how many.
const SEEDS: u64 = 12;
/// In so many months everything must have happened at least once.
const ENOUGH: u64 = 100;
/// And in so many nearly everything: all but so few things.
const SOME: u64 = 12;
const FEW: usize = 3;

/// What was played of a month, for a failure.
pub(super) type Journal = Arc<Mutex<Vec<String>>>;

/// Plays the month of `seed`; what went wrong in it, with what was played by then.
fn play(seed: u64) -> Result<Tally, String> {
    let journal = Journal::default();
    let played = catch_unwind(AssertUnwindSafe(|| {
        // One thread for everything but the store's, so that a look sees all that follows from what it waited for.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tally = runtime.block_on(Month::played(seed, Arc::clone(&journal)));
        runtime.shutdown_background();
        tally
    }));
    played.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let journal = journal.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last: Vec<&str> = journal.iter().rev().take(60).rev().map(String::as_str).collect();
        let text = text.unwrap_or_default();
        format!(
            "seed {seed}: {text}\nafter these events:\n{}\nagain: TIXING_SEED={seed} cargo test --locked --test it month",
            last.join("\n")
        )
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "what happened in the months is for people, with --nocapture")]
fn a_month_of_misfortune_breaks_no_promise() {
    let one = said("TIXING_SEED");
    let seeds = one.map_or_else(|| 0..said("TIXING_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let next = AtomicU64::new(seeds.start);
    let (all, failures) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    match play(seed) {
                        Ok(tally) => all.lock().unwrap().add(&tally),
                        Err(text) => failures.lock().unwrap().push(text),
                    }
                }
            });
        }
    });
    let (all, failures) = (all.into_inner().unwrap(), failures.into_inner().unwrap());
    println!("{} months: {all}", seeds.end - seeds.start);
    assert!(failures.is_empty(), "{} of the months failed\n\n{}", failures.len(), failures.join("\n\n"));
    let may_miss = match seeds.end - seeds.start {
        ENOUGH.. => 0,
        SOME..ENOUGH => FEW,
        0..SOME => usize::MAX,
    };
    let missing = all.missing();
    assert!(missing.len() <= may_miss, "never happened, and must in so many months: {missing:?}");
}
