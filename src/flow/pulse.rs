//! What a loop leaves behind of each look, so that others can tell a loop that works from one that hangs.
//!
//! It only counts. What follows from a count that stands still is for whoever asks.

use tokio::sync::watch;

/// The looks of a loop. Clones share one count, and so do loops that follow one another.
#[derive(Clone, Debug)]
pub struct Pulse(watch::Sender<Looks>);

/// How many looks there were, and how many loops run that owe more.
#[derive(Debug, Default)]
struct Looks {
    n: u64,
    n_loops: u32,
}

/// A loop at work; dropped with the loop, also where that is cut short.
#[derive(Debug)]
pub struct AtWork(watch::Sender<Looks>);

impl Default for Pulse {
    fn default() -> Self {
        Self(watch::Sender::new(Looks::default()))
    }
}

impl Pulse {
    /// A loop begins, and owes looks from now on.
    #[must_use]
    pub fn begin(&self) -> AtWork {
        self.0.send_modify(|looks| looks.n_loops += 1);
        AtWork(self.0.clone())
    }

    /// Looks so far.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.0.borrow().n
    }

    /// Waits for a look after the first `seen`, or until no loop runs: nobody owes one then.
    pub async fn after(&self, seen: u64) {
        let mut looks = self.0.subscribe();
        // The sender is ours, so waiting cannot fail.
        let _looked = looks.wait_for(|looks| looks.n > seen || looks.n_loops == 0).await;
    }
}

impl AtWork {
    /// Counts a look.
    pub fn looked(&self) {
        self.0.send_modify(|looks| looks.n += 1);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.send_modify(|looks| looks.n_loops -= 1);
    }
}
