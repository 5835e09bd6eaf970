//! What the ledger stands on: ordered keys in one tree, and the place it is opened from.
//!
//! An engine is these two traits. What records mean, when they are synced and what follows a failure is
//! the ledger's; how bytes become durable is the tree's. A tree of a test stops, tears and refuses as told.

use std::fmt;
use std::time::Duration;

use super::Failed;
use super::beside::Beside;

/// A key or a value as a tree hands it out: sled's own, so that reading copies nothing.
pub type Bytes = sled::IVec;

/// An entry of a tree, or why it cannot be read. After a failure nothing more may be asked for.
pub type Entry = Result<(Bytes, Bytes), Failed>;

/// One write: a key, and its value or its removal.
pub type Write = (Vec<u8>, Option<Vec<u8>>);

/// Keys in byte order with their values.
///
/// [`Tree::apply`] is atomic and ordered: after a crash a prefix of the applied batches is there, none of
/// them in part, and at least all that were applied before the last [`Tree::sync`] that returned. Reads
/// see every applied batch. After an error nothing is promised until the tree is opened again.
pub trait Tree: fmt::Debug + Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`Failed`]: final for this tree, here and below.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Failed>;

    /// Entries from `from` on, before `to`, in order.
    fn range(&self, from: Vec<u8>, to: Vec<u8>) -> Box<dyn DoubleEndedIterator<Item = Entry> + '_>;

    /// Writes a batch as one.
    ///
    /// # Errors
    /// [`Failed`].
    fn apply(&self, batch: Vec<Write>) -> Result<(), Failed>;

    /// Makes every applied batch durable: no crash and no power cut takes it back then.
    ///
    /// # Errors
    /// [`Failed`].
    fn sync(&self) -> Result<(), Failed>;

    /// Bytes on disk.
    ///
    /// # Errors
    /// [`Failed`].
    fn disk_bytes(&self) -> Result<u64, Failed>;

    /// What stands beside the tree, outside of what a copy of it has; `None` where nothing does or can be read.
    fn beside(&self) -> Option<Beside> {
        None
    }

    /// Whether it was made by this opening, since there was none.
    fn is_made_anew(&self) -> bool {
        false
    }

    /// Writes what shall stand beside it. Not durable on return, and no failure of the tree where it cannot be written.
    fn note_beside(&self, _beside: &Beside) {}

    /// How much room the disk has.
    ///
    /// # Errors
    /// [`Failed`].
    fn room(&self) -> Result<Room, Failed>;
}

impl dyn Tree + '_ {
    /// Entries whose key begins with this byte, in order.
    pub(super) fn prefix(&self, prefix: u8) -> Box<dyn DoubleEndedIterator<Item = Entry> + '_> {
        self.range(vec![prefix], vec![prefix + 1])
    }
}

/// The room of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be written.
    pub free: u64,
    /// Below so many, nothing is taken on that would need more.
    pub needed: u64,
}

/// Where a tree is opened, at the start and after each failure.
pub trait Place: Send {
    /// Opens the tree. `Opening::Again` never makes a new one: a folder that went away must not come back empty.
    ///
    /// What the disk holds and what a read shows must be the same on return: after a failed sync a page cache
    /// may show what was never written.
    ///
    /// # Errors
    /// [`Failed`]: try again later.
    fn open(&mut self, opening: Opening) -> Result<Box<dyn Tree>, Failed>;

    /// Lets go of everything but what a running program needs to open it again.
    fn leave(&mut self);

    /// How long to wait before the first try after a failure; it doubles up to [`super::keeper::MAX_REOPEN`].
    fn patience(&self) -> Duration;
}

/// Which opening it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The first of this process; a store that is not there is made.
    First,
    /// One after a failure.
    Again,
}
