//! Whether the books balance, as far as housekeeping has looked: a sample each minute, and in a round everything.
//!
//! It is told in `status` and as a metric. What is wrong is never mended here: only a person knows what is true.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::error;

use crate::domain::count::n_of;
use crate::store::{Fsck, Store, Unavailable};

/// Pieces that one minute looks at, at most.
const PIECES: usize = 4;

/// What was found. Clones share it.
#[derive(Clone, Debug)]
pub struct Books(Arc<watch::Sender<Found>>);

impl Default for Books {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Found::default())))
    }
}

#[derive(Debug, Default)]
struct Found {
    /// In the round that goes on.
    now: u64,
    /// In the last that was whole, or by a proof of everything.
    before: u64,
    /// The first of them.
    first: Option<String>,
}

impl Books {
    /// Looks at the next sample; says how much was looked at.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed.
    pub async fn look(&self, store: &dyn Store) -> Result<u64, Unavailable> {
        let mut looked = 0;
        for _ in 0..PIECES {
            let audit = store.audit().await?.value;
            looked += audit.looked;
            for (code, text) in &audit.violations {
                error!(code, "The books are off: [{code}] {text}; `tixing fsck` tells all of it");
            }
            self.0.send_modify(|found| {
                found.now += n_of(audit.violations.len());
                if found.first.is_none() {
                    found.first = audit.violations.first().map(|(_, text)| text.clone());
                }
                if audit.ends_round {
                    found.before = std::mem::take(&mut found.now);
                    if found.before == 0 {
                        found.first = None;
                    }
                }
            });
            if audit.ends_round {
                break;
            }
        }
        Ok(looked)
    }

    /// Takes in what a proof of everything said.
    pub fn proved(&self, fsck: &Fsck) {
        self.0.send_modify(|found| {
            let first = fsck.violations.first().map(|(_, text)| text.clone());
            *found = Found { now: 0, before: n_of(fsck.violations.len()), first };
        });
    }

    /// How many violations were found.
    #[must_use]
    pub fn n_violations(&self) -> u64 {
        let found = self.0.borrow();
        found.now.max(found.before)
    }

    /// A sentence on them, with what to do; `None` while there are none.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let found = self.0.borrow();
        let n = found.now.max(found.before);
        let first = found.first.as_ref().filter(|_| n > 0)?;
        Some(format!("the books are off, {n} violations found: {first}; `tixing fsck` tells all of them"))
    }
}
