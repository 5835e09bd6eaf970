//! Every crash of the delivery loop: all histories of two people, two due times and up to two crashes, run with the
//! daemon's own flows and ledger, and each held against the promises P1 to P7.
//!
//! Enumerated: after every applied batch, every sync, every arrival of a request at the platform and every answer,
//! the history goes on or the power goes. Of the batches that were not synced any prefix survives, and the machine
//! is back at once, shortly before the deadline, or after it. A request meets one of eight outcomes, in each history
//! one of them at most against nature (it is natural that a message is taken where there is a consent, and answered
//! 43101 where there is none). Answers of requests under way come back in any order. One person taps meanwhile, and
//! reports until the report is acknowledged. In a scene of its own what has no answer is sent again.
//!
//! Histories that have become one (same disk, same truth, same instant) are run once and counted as often as they
//! are met. Not enumerated: orders in which the tasks of one process run (they have one, the runtime's), groups of
//! several calls in one batch (their crashes are among those of one batch each), two misfortunes of the platform in
//! one history, or one with two crashes and two requests in flight; failing disks, reloads, graceful stops, receipts,
//! ageing, long-term templates.

use std::collections::HashMap;

use tixing::domain::id::OpenId;
use tixing::domain::rule::OnDoubt;
use tokio::runtime::{Builder, Runtime};

use self::life::Stage;
use self::odometer::{Effect, Fall, Histories, Key, Life, Seen, Start, Traced};
use self::platform::Outcome;
use self::scene::{Scene, eight};

mod life;
mod odometer;
mod platform;
mod promises;
mod scene;

/// The environment variable that says how many crashes a history may have: 1 if it does not, 2 in the long run.
const CRASHES: &str = "TIXING_CRASHES";
/// The one that holds a history to be run alone, as a failure prints it, and the test that does.
const HISTORY: &str = "TIXING_HISTORY";
const ONE: &str = "crashes::one_history";
/// Every so many histories one is run again, twice, to see that choices alone make a history.
const AGAIN: u64 = 211;

/// All histories of a scene.
struct Explorer {
    runtime: Runtime,
    stage: Stage,
    beginning: Start,
    /// What was counted of starts, by what matters of them.
    counted: HashMap<Key, Histories>,
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
        let counted = HashMap::new();
        Self { runtime, stage, beginning, counted, seen: Seen::default(), n_runs: 0, samples: Vec::new() }
    }

    /// Runs all histories from a start that a crash has left, and counts them.
    fn go_on(&mut self, start: Start) -> Histories {
        let path = start.path.clone();
        let start = match self.runtime.block_on(self.stage.after_crash(start)) {
            Ok(start) => start,
            Err(violation) => self.fail(&path, &violation),
        };
        let key = start.key();
        if let Some(counted) = self.counted.get(&key) {
            return *counted;
        }
        let histories = self.explore(&start);
        self.counted.insert(key, histories);
        histories
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
                let counted = self.stage.known.lock().unwrap().get(&crash.key).copied();
                let more = match (counted, crash.start) {
                    (Some(counted), _) => counted,
                    (None, Some(start)) => self.go_on(start),
                    (None, None) => unreachable!("a crash that somebody met before was not counted"),
                };
                self.stage.known.lock().unwrap().insert(crash.key, more);
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
            let Some(Fall { effect, kept, .. }) = given.crash else { break };
            let left = self.runtime.block_on(self.stage.after_crash(run.wanted.unwrap()));
            trace.push(format!("--- the power goes after effect {effect}; {kept} unsynced batches survive"));
            match left {
                Ok(left) => {
                    let store = promises::opened(left.content.clone());
                    let story = promises::story(&store, &self.stage.scene);
                    trace.push(format!("--- it is back at {} and finds: {story}", platform::hms(left.at)));
                    start = left;
                }
                Err(violation) => return (trace, Some(violation)),
            }
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
        on_doubt: OnDoubt::Hold,
    }
}

/// Two people and one due time of a rule that sends again what has no answer; the second has no consent for that.
fn resend() -> Scene {
    Scene {
        name: "resend",
        consents: vec![2, 1],
        taps: None,
        dues: vec![eight(0)],
        on_doubt: OnDoubt::Resend,
        ..pairs("resend", 1)
    }
}

/// Three people and one due time: more deliveries than may be marked. The platform does what is natural.
fn three() -> Scene {
    Scene {
        name: "three",
        people: people(3),
        consents: vec![1, 1, 1],
        taps: None,
        dues: vec![eight(0)],
        in_flight: 1,
        max_crashes: 1,
        max_faults: 0,
        on_doubt: OnDoubt::Hold,
    }
}

fn people(n: usize) -> Vec<OpenId> {
    (0..n).map(|n| OpenId::parse(&format!("oCrash-{n:03}")).unwrap()).collect()
}

/// What is run with up to so many crashes in a history.
///
/// Two requests in flight, two crashes and a misfortune of the platform are more than a run has time for: two of the
/// three at a time.
fn scenes(max_crashes: u8) -> Vec<Scene> {
    let mut scenes = vec![
        Scene { max_crashes, ..pairs("one-in-flight", 1) },
        Scene { max_crashes, ..three() },
        Scene { max_crashes, ..resend() },
    ];
    if max_crashes > 1 {
        scenes.push(pairs("two-in-flight", 2));
        scenes.push(Scene { max_crashes, max_faults: 0, ..pairs("two-in-flight-and-no-misfortune", 2) });
    }
    scenes
}

#[expect(clippy::disallowed_methods, reason = "the size of a run is the environment's to say")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
#[expect(clippy::print_stdout, reason = "figures of a run are for whoever asks to see them")]
fn every_history_keeps_every_promise() {
    let (mut total, mut seen) = (Histories::default(), Seen::default());
    let max_crashes = env(CRASHES).map_or(1, |n| n.parse().unwrap());
    assert!(usize::from(max_crashes) < total.len(), "so many crashes are not counted");
    for scene in scenes(max_crashes) {
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
            explorer.counted.len() + 1,
            explorer.samples.len(),
        );
        for (total, more) in total.iter_mut().zip(histories) {
            *total += more;
        }
        seen.add(&explorer.seen);
    }
    println!("{} histories, by crashes: {total:?}; 0 violations", total.iter().sum::<u64>());
    let least = if max_crashes > 1 { 100_000 } else { 1_000 };
    assert!(total.iter().sum::<u64>() >= least, "fewer than {least} histories");
    let Seen { effects, choices, outcomes, n_again, crashes, torn, away } = &seen;
    println!("sent again: {n_again}");
    println!("crashes: {crashes} met first, {torn} of them lose batches, {away} are long; after {effects:?}");
    println!("choices: {choices:?}; outcomes of requests: {outcomes:?}");
    for outcome in Outcome::ALL {
        assert!(outcomes.get(&outcome).is_some_and(|n| *n > 0), "no request was met by {outcome:?}");
    }
    for effect in [Effect::Applied, Effect::Synced, Effect::Arrived, Effect::Answered] {
        assert!(effects.get(&effect).is_some_and(|n| *n > 0), "nothing was {effect:?}");
    }
    assert!(*torn > 0 && *away > 0 && *n_again > 0);
}

#[test]
#[expect(clippy::print_stdout, reason = "a history is run alone to be seen")]
fn one_history() {
    let history = env(HISTORY).unwrap_or_else(|| "one-in-flight:0@9.0.1/0".to_owned());
    let (name, path) = history.split_once(':').unwrap();
    let scene = scenes(2).into_iter().find(|scene| scene.name == name).unwrap();
    let scene = Scene { max_crashes: u8::MAX, ..scene };
    let (trace, violation) = Explorer::new(scene).replay(path);
    println!("{}", trace.join("\n"));
    assert_eq!(violation, None);
    assert!(trace.len() > 20, "the history was told");
}
