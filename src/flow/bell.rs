//! The bell that is rung when something was opened or stopped, and up to when all that is due is open.
//!
//! Who walks begins only what is due up to there: of two rules that are due at one moment, one could be opened and walked
//! before the other is there, and take the consent that the other should get. What is held goes by what can be foreseen, so
//! that nobody's turn waits for the next look.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};

/// Clones share everything.
#[derive(Clone, Debug)]
pub struct Bell(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    bell: Notify,
    through: watch::Sender<Option<Open>>,
}

/// What is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// All that is due up to here, whatever changes.
    through: DateTime<Utc>,
    /// All that will be due up to here, if nothing changes.
    foreseen: DateTime<Utc>,
}

impl Default for Bell {
    fn default() -> Self {
        Self(Arc::new(Parts { bell: Notify::new(), through: watch::Sender::new(None) }))
    }
}

impl Bell {
    /// Tells all who listen that something was opened or stopped.
    pub fn ring(&self) {
        self.0.bell.notify_waiters();
    }

    /// Resolves when it is rung after this call.
    pub fn rung(&self) -> Notified<'_> {
        self.0.bell.notified()
    }

    /// Up to when all that is due is open; `None` before the first look.
    #[must_use]
    pub fn through(&self) -> Option<DateTime<Utc>> {
        self.0.through.borrow().map(|open| open.through)
    }

    /// Up to when all that will be due is open, as far as can be said now: nothing more is due before.
    #[must_use]
    pub fn foreseen(&self) -> Option<DateTime<Utc>> {
        self.0.through.borrow().map(|open| open.foreseen)
    }

    /// Resolves when that is later than `at`.
    pub async fn foresees(&self, at: DateTime<Utc>) {
        let mut through = self.0.through.subscribe();
        // The sender is in `self`, so waiting cannot fail.
        let _seen = through.wait_for(|open| open.is_some_and(|open| open.foreseen > at)).await;
    }

    /// All that is due up to `now` is open, and nothing more is due before `next`.
    pub fn is_through(&self, now: DateTime<Utc>, next: DateTime<Utc>) {
        let foreseen = now.max(next - TimeDelta::milliseconds(1));
        if self.0.through.send_replace(Some(Open { through: now, foreseen })).is_none() {
            self.ring();
        }
    }
}
