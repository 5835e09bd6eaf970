//! The choices of a history: which way it goes wherever it could go several ways, and where it may end in a crash.
//!
//! A run takes the choices it was given and then the first of each; what else it could have chosen, and every
//! crash it could have met since the given ones ended, is what remains to be run. So each point of the tree of
//! histories is met once. It knows nothing of what is chosen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, Utc};
use tixing::clock::Clock;

use super::life::Stage;
use super::platform::{Outcome, Truth, hms};
use super::scene::{Scene, downtimes};
use crate::disk::{Content, Images, Print};

/// Where a history may end in a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// A batch was applied.
    Applied,
    /// What was applied became durable.
    Synced,
    /// A request arrived and was processed.
    Arrived,
    /// Its answer was delivered.
    Answered,
}

/// What there is to choose, besides crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Choice {
    /// What the platform does to a request.
    Outcome,
    /// Which request is answered next.
    Order,
}

/// The world at the beginning of a life of the daemon: everything that can make a difference later.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) content: Content,
    pub(super) truth: Truth,
    pub(super) at: DateTime<Utc>,
    /// The lives before, each with its choices and its crash, as [`Path`] reads them.
    pub(super) path: String,
}

/// What tells starts apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    print: Print,
    truth: Truth,
    at: DateTime<Utc>,
}

impl Start {
    pub(super) fn key(&self) -> Key {
        Key { print: Print::of(&self.content), truth: self.truth.clone(), at: self.at }
    }
}

/// How many histories there are from a start on, by how many more crashes they have.
pub(super) type Histories = [u64; 4];

/// Starts whose histories were counted.
pub(super) type Known = Arc<Mutex<HashMap<Key, Histories>>>;

/// A crash that a run could have met; `start` where nobody has met it before.
#[derive(Debug)]
pub(super) struct Crash {
    pub(super) key: Key,
    pub(super) start: Option<Start>,
}

/// What was seen, over all runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) effects: BTreeMap<Effect, u64>,
    pub(super) choices: BTreeMap<Choice, u64>,
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    /// Requests that send again what is in doubt.
    pub(super) n_again: u64,
    /// Crashes that runs could have met.
    pub(super) crashes: u64,
    /// Those of them that lose batches.
    pub(super) torn: u64,
    /// Those of them after which the machine is away for long.
    pub(super) away: u64,
}

impl Seen {
    pub(super) fn add(&mut self, more: &Self) {
        more.effects.iter().for_each(|(key, n)| *self.effects.entry(*key).or_default() += n);
        more.choices.iter().for_each(|(key, n)| *self.choices.entry(*key).or_default() += n);
        more.outcomes.iter().for_each(|(key, n)| *self.outcomes.entry(*key).or_default() += n);
        self.n_again += more.n_again;
        self.crashes += more.crashes;
        self.torn += more.torn;
        self.away += more.away;
    }
}

/// What a run left.
#[derive(Debug)]
pub(super) struct Run {
    /// What was chosen, and of how many.
    pub(super) taken: Vec<(u8, u8)>,
    pub(super) crashes: Vec<Crash>,
    pub(super) truth: Truth,
    pub(super) violation: Option<String>,
    pub(super) trace: Vec<String>,
    pub(super) seen: Seen,
    /// The start after the crash that was asked for.
    pub(super) wanted: Option<Start>,
}

/// One life of a daemon as a test writes it: digits that are its choices, and `@effect.kept.away` where it crashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) choices: Vec<u8>,
    pub(super) crash: Option<Fall>,
}

/// One crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fall {
    /// The effect after which it comes, from 0 in each life.
    pub(super) effect: u32,
    /// Unsynced batches that survive.
    pub(super) kept: usize,
    /// Which of the possible downtimes follows.
    pub(super) away: usize,
}

impl Life {
    pub(super) fn told(&self) -> String {
        let choices: String = self.choices.iter().map(|n| char::from(b'0' + n)).collect();
        self.crash
            .map_or(choices.clone(), |fall| format!("{choices}@{}.{}.{}", fall.effect, fall.kept, fall.away))
    }

    pub(super) fn parse(text: &str) -> Self {
        let (choices, crash) = text.split_once('@').map_or((text, None), |(c, crash)| (c, Some(crash)));
        let choices = choices.bytes().map(|b| b - b'0').collect();
        let crash = crash.map(|crash| {
            let mut numbers = crash.split('.').map(|number| number.parse().unwrap());
            let mut next = || numbers.next().unwrap();
            Fall { effect: u32::try_from(next()).unwrap(), kept: next(), away: next() }
        });
        Self { choices, crash }
    }
}

/// The odometer of one run; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Odometer(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    scene: Arc<Scene>,
    clock: Clock,
    known: Known,
    met: HashSet<Key>,
    path: String,
    given: Life,
    may_crash: bool,
    traced: bool,
    /// How many effects and choices there were: while it stands, nothing moves.
    moves: u64,
    n_effects: u32,
    over: bool,
    run: Run,
}

impl Odometer {
    /// For a run from `start` with these choices.
    pub(super) fn new(stage: &Stage, start: &Start, given: Life, clock: Clock, traced: Traced) -> Self {
        let (scene, known) = (Arc::clone(&stage.scene), Arc::clone(&stage.known));
        let run = Run {
            taken: Vec::new(),
            crashes: Vec::new(),
            truth: start.truth.clone(),
            violation: None,
            trace: Vec::new(),
            seen: Seen::default(),
            wanted: None,
        };
        let may_crash = start.truth.n_crashes < scene.max_crashes;
        let inner = Inner {
            scene,
            clock,
            known,
            met: HashSet::new(),
            path: start.path.clone(),
            given,
            may_crash,
            traced: traced == Traced::Yes,
            moves: 0,
            n_effects: 0,
            over: false,
            run,
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// One of `n`, from 0; no choice where there is one alone.
    pub(super) fn choose(&self, what: Choice, n: usize) -> usize {
        if n == 1 {
            return 0;
        }
        let mut inner = self.inner();
        let of = u8::try_from(n).unwrap();
        let index = inner.run.taken.len();
        let chosen = inner.given.choices.get(index).copied().unwrap_or(0);
        assert!(chosen < of, "choice {index} is {chosen} of {of}: this history was made by another program");
        if index >= inner.given.choices.len() {
            *inner.run.seen.choices.entry(what).or_default() += 1;
        }
        inner.run.taken.push((chosen, of));
        inner.moves += 1;
        usize::from(chosen)
    }

    /// Changes what is true.
    pub(super) fn truth<T>(&self, change: impl FnOnce(&mut Truth) -> T) -> T {
        change(&mut self.inner().run.truth)
    }

    /// Looks at what is true.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Truth) -> T) -> T {
        look(&self.inner().run.truth)
    }

    /// What the platform does to a request, for the figures.
    pub(super) fn did(&self, outcome: Outcome) {
        let mut inner = self.inner();
        if inner.is_new() {
            *inner.run.seen.outcomes.entry(outcome).or_default() += 1;
        }
    }

    /// A request sends again what is in doubt.
    pub(super) fn again(&self) {
        let mut inner = self.inner();
        if inner.is_new() {
            inner.run.seen.n_again += 1;
        }
    }

    /// A promise is broken: the run ends.
    pub(super) fn violated(&self, violation: String) {
        let mut inner = self.inner();
        if !inner.over {
            inner.over = true;
            inner.run.violation = Some(violation);
        }
    }

    /// Whether the run is over: a promise is broken, or the crash that was asked for has come.
    pub(super) fn is_over(&self) -> bool {
        self.inner().over
    }

    /// Ends the run, and answers what it left.
    pub(super) fn end(self) -> Run {
        let mut inner = self.inner();
        inner.over = true;
        let empty = Run {
            taken: Vec::new(),
            crashes: Vec::new(),
            truth: inner.run.truth.clone(),
            violation: None,
            trace: Vec::new(),
            seen: Seen::default(),
            wanted: None,
        };
        std::mem::replace(&mut inner.run, empty)
    }

    pub(super) fn moves(&self) -> u64 {
        self.inner().moves
    }

    /// A line of the trace.
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        let mut inner = self.inner();
        if inner.traced && !inner.over {
            let line = format!("{} {}", hms(inner.clock.now()), line());
            inner.run.trace.push(line);
        }
    }

    /// Something happened after which the power may go; `images` is what the disk could hold then.
    pub(super) fn effect(&self, effect: Effect, images: &Images<'_>, told: impl FnOnce() -> String) {
        self.tell(|| format!("{effect:?} {}, {} unsynced", told(), images.prints.len() - 1));
        let mut inner = self.inner();
        if inner.over {
            return;
        }
        let number = inner.n_effects;
        inner.n_effects += 1;
        inner.moves += 1;
        match inner.given.crash {
            Some(fall) if fall.effect == number => {
                let at = downtimes(&inner.scene, inner.clock.now())[fall.away];
                let start = inner.start(images, fall, at);
                inner.run.wanted = Some(start);
                inner.over = true;
            }
            Some(_) => {}
            None if !inner.is_new() => {}
            None => {
                *inner.run.seen.effects.entry(effect).or_default() += 1;
                if inner.may_crash {
                    inner.meet_crashes(images, number);
                }
            }
        }
    }
}

/// Whether a run keeps a line for each thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traced {
    Yes,
    No,
}

impl Inner {
    /// Whether the given choices have ended, so that nobody was here before.
    fn is_new(&self) -> bool {
        self.run.taken.len() >= self.given.choices.len()
    }

    fn meet_crashes(&mut self, images: &Images<'_>, number: u32) {
        let downtimes = downtimes(&self.scene, self.clock.now());
        for (kept, print) in images.prints.iter().enumerate() {
            for (away, at) in downtimes.iter().enumerate() {
                let key = Key { print: *print, truth: self.after_crash(), at: *at };
                self.run.seen.crashes += 1;
                self.run.seen.torn += u64::from(kept + 1 < images.prints.len());
                self.run.seen.away += u64::from(away > 0);
                let is_known = self.known.lock().unwrap().contains_key(&key) || !self.met.insert(key.clone());
                let fall = Fall { effect: number, kept, away };
                let start = (!is_known).then(|| self.start(images, fall, *at));
                self.run.crashes.push(Crash { key, start });
            }
        }
    }

    fn after_crash(&self) -> Truth {
        let mut truth = self.run.truth.clone();
        truth.n_crashes += 1;
        truth
    }

    fn start(&self, images: &Images<'_>, fall: Fall, at: DateTime<Utc>) -> Start {
        let choices = self.run.taken.iter().map(|(chosen, _)| *chosen).collect();
        let life = Life { choices, crash: Some(fall) };
        let path = format!("{}{}/", self.path, life.told());
        Start { content: images.content(fall.kept), truth: self.after_crash(), at, path }
    }
}
