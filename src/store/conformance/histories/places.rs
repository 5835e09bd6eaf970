//! What histories are told to: an engine that can be closed and opened again, in memory or on a disk.

use super::super::sled_in;
use crate::clock::Clock;
use crate::store::ledger::Ledger;
use crate::store::ledger::memory::Memory;

/// Where an engine keeps its books.
pub(super) trait Reopen {
    /// Opens it, as a start does.
    fn open(&self) -> Ledger;

    /// Every how-manieth step the whole books are compared; what each call answers is at every step.
    fn compared_each(&self) -> usize;

    /// Whether a text is anywhere in it, as far as that can be seen.
    fn holds(&self, text: &str) -> bool;
}

impl Reopen for Memory {
    fn open(&self) -> Ledger {
        Ledger::start_here(Box::new(self.clone()), &Clock::system()).unwrap()
    }

    fn compared_each(&self) -> usize {
        3
    }

    fn holds(&self, text: &str) -> bool {
        Self::holds(self, text)
    }
}

/// A store on the disk: reading all of it takes its time.
pub(super) struct Sled(pub(super) tempfile::TempDir);

impl Reopen for Sled {
    fn open(&self) -> Ledger {
        sled_in(self.0.path())
    }

    fn compared_each(&self) -> usize {
        10
    }

    fn holds(&self, _text: &str) -> bool {
        false
    }
}
