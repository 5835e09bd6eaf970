//! The one source of time: only this file reads a clock or sleeps.
//!
//! Everything that decides receives `now` as a value; everything that waits does so here. What sends asks
//! whether the wall clock can be believed ([`Clock::believed`]). A hand-set clock lets tests move time; it
//! never moves by itself, and its monotonic side never goes back.

mod trust;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch};

use self::trust::{Judge, Reading};
pub use self::trust::{Standing, Trust};

/// No time before this is right, in seconds since 1970: when this version was built, where the build says
/// so, at least the beginning of the year in which it was made.
const BUILT_AT: i64 = {
    let made = 1_767_225_600; // 2026-01-01
    match option_env!("SOURCE_DATE_EPOCH") {
        Some(stated) => match i64::from_str_radix(stated, 10) {
            Ok(stated) if stated > made => stated,
            Ok(_) | Err(_) => made,
        },
        None => made,
    }
};
/// How often a clock that is not believed is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The clock a part was given: the machine's, or one that a test moves by hand.
///
/// Clones share one hand, and one judgement of whether the wall clock can be believed.
#[derive(Clone, Debug)]
pub struct Clock {
    kind: Kind,
    judge: Arc<Mutex<Judge>>,
    trust: watch::Sender<Trust>,
}

#[derive(Clone, Debug)]
enum Kind {
    System { start: tokio::time::Instant },
    Hand { earliest: DateTime<Utc>, hand: Arc<Hand> },
}

#[derive(Debug)]
struct Hand {
    now: Mutex<Reading>,
    /// Wakes sleepers in the order in which they fell asleep, so that a history can be replayed; a watch
    /// channel wakes them in any order.
    moved: Notify,
}

impl Hand {
    fn now(&self) -> MutexGuard<'_, Reading> {
        // Nothing can panic while it is changed.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds the calling thread up, for the few places that wait before any task runs.
#[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
pub fn block(time: Duration) {
    std::thread::sleep(time);
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn system() -> Self {
        Self::of(Kind::System { start: tokio::time::Instant::now() })
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn by_hand(start: DateTime<Utc>) -> Self {
        Self::by_hand_of_a_build(start, DateTime::<Utc>::MIN_UTC)
    }

    /// The same, for a program that was built at `built_at`.
    #[must_use]
    pub fn by_hand_of_a_build(start: DateTime<Utc>, built_at: DateTime<Utc>) -> Self {
        let now = Mutex::new(Reading { wall: start, elapsed: Duration::ZERO });
        Self::of(Kind::Hand { earliest: built_at, hand: Arc::new(Hand { now, moved: Notify::new() }) })
    }

    fn of(kind: Kind) -> Self {
        let mut judge = Judge::new(kind.earliest());
        let trust = watch::Sender::new(judge.look(kind.reading()));
        Self { kind, judge: Arc::new(Mutex::new(judge)), trust }
    }

    /// The wall clock.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.kind.reading().wall
    }

    /// Time since this clock was made, by the monotonic clock: steps of the wall clock do not show.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.kind.reading().elapsed
    }

    /// The wall clock, where it can be believed. What is sent, expired or missed is decided by this alone.
    #[must_use]
    pub fn believed(&self) -> Option<DateTime<Utc>> {
        let now = self.kind.reading();
        match self.tell(|judge| judge.look(now)).standing {
            Standing::Believed => Some(now.wall),
            Standing::Behind { .. } | Standing::Jumped { .. } => None,
        }
    }

    /// Waits until the wall clock can be believed, and reads it.
    pub async fn until_believed(&self) -> DateTime<Utc> {
        loop {
            if let Some(now) = self.believed() {
                return now;
            }
            self.sleep(LOOK_AGAIN).await;
        }
    }

    /// What time it is, as far as can be told, for what must be written down now: the wall clock where it is
    /// believed, else the latest instant that was and the time that went by since.
    #[must_use]
    pub fn reckoned(&self) -> DateTime<Utc> {
        let now = self.kind.reading();
        let mut judge = self.judge();
        judge.look(now);
        judge.reckon(now)
    }

    /// A process begins that knows of `mark`, the latest instant that an earlier one believed.
    pub fn remember(&self, mark: Option<DateTime<Utc>>) {
        let earliest = self.kind.earliest();
        let now = self.kind.reading();
        self.tell(|judge| {
            *judge = Judge::new(mark.map_or(earliest, |mark| mark.max(earliest)));
            judge.look(now)
        });
    }

    /// The latest instant that was believed, to be remembered; `None` when none was.
    #[must_use]
    pub fn mark(&self) -> Option<DateTime<Utc>> {
        self.judge().mark()
    }

    /// Takes the wall clock as right on the word of an operator; answers what it shows.
    #[must_use]
    pub fn accept(&self) -> DateTime<Utc> {
        let now = self.kind.reading();
        self.tell(|judge| judge.accept(now));
        now.wall
    }

    /// Tells what is thought of the wall clock, and of each change of that.
    #[must_use]
    pub fn trust(&self) -> watch::Receiver<Trust> {
        self.trust.subscribe()
    }

    fn tell(&self, judge: impl FnOnce(&mut Judge) -> Trust) -> Trust {
        let mut held = self.judge();
        let trust = judge(&mut held);
        // Told while the judge is held, so that what is told last is what was judged last.
        self.trust.send_if_modified(|told| std::mem::replace(told, trust) != trust);
        trust
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        // Nothing can panic while it judges.
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `time`; a hand-set clock waits until it was moved that far.
    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    pub async fn sleep(&self, time: Duration) {
        match &self.kind {
            Kind::System { .. } => tokio::time::sleep(time).await,
            Kind::Hand { hand, .. } => {
                let until = hand.now().elapsed.saturating_add(time);
                loop {
                    // Asked for before the look, so that no move between the two is missed.
                    let moved = hand.moved.notified();
                    if hand.now().elapsed >= until {
                        break;
                    }
                    moved.await;
                }
            }
        }
    }

    /// Moves a hand-set clock forward; the machine's clock is not moved.
    pub fn advance(&self, time: Duration) {
        if let Kind::Hand { hand, .. } = &self.kind {
            {
                let mut now = hand.now();
                now.wall += TimeDelta::from_std(time).unwrap_or(TimeDelta::zero());
                now.elapsed += time;
            }
            hand.moved.notify_waiters();
        }
    }

    /// Steps the wall side of a hand-set clock, as somebody does who sets it, or a machine that slept: no
    /// sleeper wakes.
    pub fn step(&self, by: TimeDelta) {
        if let Kind::Hand { hand, .. } = &self.kind {
            hand.now().wall += by;
        }
    }
}

impl Kind {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clocks")]
    fn reading(&self) -> Reading {
        match self {
            Self::System { start } => {
                Reading { wall: Utc::now(), elapsed: tokio::time::Instant::now() - *start }
            }
            Self::Hand { hand, .. } => *hand.now(),
        }
    }

    fn earliest(&self) -> DateTime<Utc> {
        match self {
            Self::System { .. } => DateTime::from_timestamp(BUILT_AT, 0).unwrap_or_default(),
            Self::Hand { earliest, .. } => *earliest,
        }
    }
}
