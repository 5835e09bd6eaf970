//! The bell that is rung when something was opened or stopped, and up to when all that is due is open.
//!
//! Who walks begins only what is due up to there: of two rules that are due at one moment, one could be opened and walked
//! before the other is there, and take the consent that the other should get.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};

/// Clones share everything.
#[derive(Clone, Debug)]
pub struct Bell(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    bell: Notify,
    through: watch::Sender<Option<DateTime<Utc>>>,
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
        *self.0.through.borrow()
    }

    /// All that is due up to `now` is open.
    pub fn is_through(&self, now: DateTime<Utc>) {
        if self.0.through.send_replace(Some(now)).is_none() {
            self.ring();
        }
    }
}
