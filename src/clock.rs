//! The one source of time: only this file reads a clock or sleeps.
//!
//! Everything that decides receives `now` as a value; everything that waits does so here. A hand-set
//! clock lets tests move time; it never moves by itself and never goes back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

/// The clock a part was given: the machine's, or one that a test moves by hand.
///
/// Clones share one hand.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System { start: tokio::time::Instant },
    Hand { start: DateTime<Utc>, hand: Arc<Hand> },
}

#[derive(Debug)]
struct Hand {
    now: Mutex<DateTime<Utc>>,
    /// Wakes sleepers in the order in which they fell asleep, so that a history can be replayed; a watch
    /// channel wakes them in any order.
    moved: Notify,
}

impl Hand {
    fn now(&self) -> MutexGuard<'_, DateTime<Utc>> {
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
        Self(Kind::System { start: tokio::time::Instant::now() })
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn by_hand(start: DateTime<Utc>) -> Self {
        Self(Kind::Hand { start, hand: Arc::new(Hand { now: Mutex::new(start), moved: Notify::new() }) })
    }

    /// The wall clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Kind::System { .. } => Utc::now(),
            Kind::Hand { hand, .. } => *hand.now(),
        }
    }

    /// Time since this clock was made, by the monotonic clock: steps of the wall clock do not show.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Kind::System { start } => tokio::time::Instant::now() - *start,
            Kind::Hand { start, hand } => (*hand.now() - start).to_std().unwrap_or_default(),
        }
    }

    /// Waits for `time`; a hand-set clock waits until it was moved that far.
    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    pub async fn sleep(&self, time: Duration) {
        match &self.0 {
            Kind::System { .. } => tokio::time::sleep(time).await,
            Kind::Hand { hand, .. } => {
                let until = *hand.now() + TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
                loop {
                    // Asked for before the look, so that no move between the two is missed.
                    let moved = hand.moved.notified();
                    if *hand.now() >= until {
                        break;
                    }
                    moved.await;
                }
            }
        }
    }

    /// Moves a hand-set clock forward; the machine's clock is not moved.
    pub fn advance(&self, time: Duration) {
        if let Kind::Hand { hand, .. } = &self.0 {
            *hand.now() += TimeDelta::from_std(time).unwrap_or(TimeDelta::zero());
            hand.moved.notify_waiters();
        }
    }
}
