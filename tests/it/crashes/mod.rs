//! Crashes at every durable point of the delivery loop, with every loss and every answer: all histories of two
//! people, two due times and two crashes, each checked against the promises P1 to P7.
//!
//! Enumerated: after every applied batch, every sync, every arrival of a request at the platform and every
//! answer, the history goes on or crashes, and of the batches that were not synced any prefix survives; the
//! machine is back at once, shortly before the deadline, or after it. A request meets any of eight outcomes, at
//! most so many of a history unnaturally; answers come back in any order. A crash loses all memory, and the
//! daemon's own flows start again on the ledger as the disk has it.
//!
//! Histories that have become equal (same disk, same truth, same instant) are run once and counted as often as
//! they are met. Not enumerated: orders in which the tasks of one process run (the runtime's is taken), groups
//! of several calls in one batch (their crashes are among those of one batch each), failing disks, reloads.

use tixing::domain::id::OpenId;
use tokio::runtime::{Builder, Runtime};

use self::life::Stage;
use self::odometer::{Choice, Effect, Histories, Life, Seen, Start, Traced};
use self::platform::Outcome;
use self::scene::{Scene, eight};

mod life;
mod odometer;
mod platform;
mod promises;
mod scene;

/// The environment variable that asks for the long run: two crashes.
const CRASHES: &str = "TIXING_CRASHES";
/// The one that holds a history to be run alone, as a failure prints it, and the test that does.
const HISTORY: &str = "TIXING_HISTORY";
const ONE: &str = "crashes::one_history";
/// Every so many histories one is run again, twice, to see that choices alone make a history.
const AGAIN: u64 = 97;

/// All histories of a scene.
struct Explorer {
    runtime: Runtime,
    stage: Stage,
    beginning: Start,
    seen: Seen,
    n_runs: u64,
    /// Some histories, each with its last life.
    samples: Vec<String>,
}

impl Explorer {
    fn new(scene: Scene) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let stage = Stage::new(scene);
        let beginning = runtime.block_on(stage.beginning());
        Self { runtime, stage, beginning, seen: Seen::default(), n_runs: 0, samples: Vec::new() }
    }

    /// Runs all histories from `start` on, and counts them.
    fn explore(&mut self, start: &Start) -> Histories {
        let mut histories = Histories::default();
        let mut todo = vec![Vec::new()];
        while let Some(choices) = todo.pop() {
            let n_given = choices.len();
            let given = Life { choices, crash: None };
            let run = self.runtime.block_on(self.stage.live(start, given, Traced::No));
            let taken: Vec<u8> = run.taken.iter().map(|(chosen, _)| *chosen).collect();
            let path = || format!("{}{}", start.path, Life { choices: taken.clone(), crash: None }.told());
            if let Some(violation) = &run.violation {
                self.fail(&path(), violation);
            }
            self.n_runs += 1;
            if self.n_runs % AGAIN == 1 {
                self.samples.push(path());
            }
            self.seen.add(&run.seen);
            histories[0] += 1;
            for (index, (_, of)) in run.taken.iter().enumerate().skip(n_given).rev() {
                for other in 1..*of {
                    let mut choices = taken[..index].to_vec();
                    choices.push(other);
                    todo.push(choices);
                }
            }
            for crash in run.crashes {
                let counted = self.stage.known.lock().unwrap().get(&crash.key).copied().flatten();
                let more = match (counted, crash.start) {
                    (Some(counted), _) => counted,
                    (None, Some(start)) => self.explore(&start),
                    (None, None) => unreachable!("a start that somebody met before was not counted"),
                };
                self.stage.known.lock().unwrap().insert(crash.key, Some(more));
                for (n, more) in histories.iter_mut().skip(1).zip(more) {
                    *n += more;
                }
            }
        }
        histories
    }

    /// One history with all that happens in it, and why it ended.
    fn replay(&self, path: &str) -> (Vec<String>, Option<String>) {
        let mut start = self.beginning.clone();
        let mut trace = Vec::new();
        for life in path.split('/') {
            let given = Life::parse(life);
            let run = self.runtime.block_on(self.stage.live(&start, given.clone(), Traced::Yes));
            trace.extend(run.trace);
            if run.violation.is_some() {
                return (trace, run.violation);
            }
            let Some((effect, kept)) = given.crash else { break };
            trace.push(format!("--- the power goes after effect {effect}; {kept} unsynced batches survive"));
            start = run.wanted.unwrap();
        }
        (trace, None)
    }

    /// Panics with the whole history, and with how to see it again.
    fn fail(&self, path: &str, violation: &str) -> ! {
        let (trace, again) = self.replay(path);
        let same =
            if again.as_deref() == Some(violation) { "" } else { "\n(but not when it was run again!)" };
        panic!(
            "{violation}{same}\n{}\nonce more: {HISTORY}={}:{path} cargo test --locked --test it -- {ONE} --nocapture\n",
            trace.join("\n"),
            self.stage.scene.name,
        );
    }
}

/// Two people and two due times a minute apart; the second has but one consent, and taps once more meanwhile.
///
/// With one request in flight another is marked ahead of it, with two there is an order of answers.
fn pairs(name: &'static str, in_flight: usize) -> Scene {
    Scene {
        name,
        people: people(2),
        consents: vec![2, 1],
        taps: Some(1),
        dues: vec![eight(0), eight(60)],
        in_flight,
        max_crashes: 1,
        max_faults: 1,
    }
}

/// Three people and one due time: more deliveries than may be marked.
fn three() -> Scene {
    Scene {
        name: "three",
        people: people(3),
        consents: vec![1, 1, 1],
        taps: None,
        dues: vec![eight(0)],
        in_flight: 1,
        max_crashes: 1,
        max_faults: 1,
    }
}

fn people(n: usize) -> Vec<OpenId> {
    (0..n).map(|n| OpenId::parse(&format!("oCrash-{n:03}")).unwrap()).collect()
}

/// What is run: a crash at most in each history, or two where the long run asks for them.
fn scenes() -> Vec<Scene> {
    if env(CRASHES).is_none() {
        return vec![pairs("one-in-flight", 1), Scene { max_faults: 0, ..three() }];
    }
    let twice = |scene| Scene { max_crashes: 2, ..scene };
    vec![twice(pairs("one-in-flight", 1)), twice(pairs("two-in-flight", 2)), twice(three())]
}

#[expect(clippy::disallowed_methods, reason = "the size of a run is the environment's to say")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
#[expect(clippy::print_stdout, reason = "figures of a run are for whoever asks to see them")]
fn every_history_keeps_every_promise() {
    let mut total: Histories = Histories::default();
    let mut seen = Seen::default();
    for scene in scenes() {
        let mut explorer = Explorer::new(scene);
        let beginning = explorer.beginning.clone();
        let histories = explorer.explore(&beginning);
        for path in &explorer.samples {
            let once = explorer.replay(path);
            assert_eq!(once.1, None, "{path}");
            assert_eq!(once, explorer.replay(path), "{path} is not the same history twice");
        }
        println!(
            "{}: {} histories (by crashes: {histories:?}) in {} runs from {} starts; {} of them run twice more",
            explorer.stage.scene.name,
            histories.iter().sum::<u64>(),
            explorer.n_runs,
            explorer.stage.known.lock().unwrap().len() + 1,
            explorer.samples.len(),
        );
        for (total, more) in total.iter_mut().zip(histories) {
            *total += more;
        }
        seen.add(&explorer.seen);
    }
    println!("{} histories, by crashes: {total:?}; 0 violations", total.iter().sum::<u64>());
    println!("{seen:#?}");
    for outcome in Outcome::ALL {
        assert!(seen.outcomes.get(&outcome).is_some_and(|n| *n > 0), "no request was met by {outcome:?}");
    }
    for effect in [Effect::Applied, Effect::Synced, Effect::Arrived, Effect::Answered] {
        assert!(seen.effects.get(&effect).is_some_and(|n| *n > 0), "nothing was {effect:?}");
    }
    assert!(seen.torn > 0 && seen.choices.contains_key(&Choice::Downtime));
}

#[test]
#[expect(clippy::print_stdout, reason = "a history is run alone to be seen")]
fn one_history() {
    let history = env(HISTORY).unwrap_or_else(|| "one-in-flight:00@9.0/00".to_owned());
    let (name, path) = history.split_once(':').unwrap();
    let scene =
        [pairs("one-in-flight", 1), pairs("two-in-flight", 2), three()].into_iter().find(|s| s.name == name);
    let scene = Scene { max_crashes: u8::MAX, ..scene.unwrap() };
    let (trace, violation) = Explorer::new(scene).replay(path);
    println!("{}", trace.join("\n"));
    assert_eq!(violation, None);
    assert!(trace.len() > 20, "the history was told");
}
