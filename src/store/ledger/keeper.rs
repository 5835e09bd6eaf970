//! Keeps a writer at work: opens the tree, and opens it again after each failure.
//!
//! While no tree is open every write is refused and every read answers that it cannot promise; only
//! settlements are kept, in memory, and booked first when the tree is back. It decides nothing about
//! records.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tracing::{error, info, warn};

use super::Failed;
use super::beside;
use super::keys;
use super::reads;
use super::state::{Names, OpenTree};
use super::tree::{Opening, Place, Tree};
use super::writer::{Call, Owed, Shared, Writer};
use crate::clock::Clock;
use crate::domain::count::n_of;
use crate::domain::hold::{Cause, Hold};
use crate::store::{Health, Number, Progress};

/// The longest wait between two tries to open a tree again.
pub const MAX_REOPEN: Duration = Duration::from_secs(30);
/// How often a reader that still holds a failed tree is waited for.
const LET_GO: Duration = Duration::from_millis(1);
/// How often it is, before the tree is opened beside it all the same.
const MAX_LET_GO: u32 = 10_000;

/// The tree that is open, for readers; nothing while none is.
pub(super) type Open = Arc<RwLock<Option<Arc<OpenTree>>>>;

/// Opens a tree and reads its names.
pub(super) fn open(place: &mut dyn Place, opening: Opening) -> Result<Arc<OpenTree>, Failed> {
    // sled panics on some of what a torn or failing disk gives it.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let tree: Box<dyn Tree> = place.open(opening)?;
        let names = RwLock::new(Names::read(&*tree)?);
        let n_doubts = AtomicU64::new(reads::count_doubts(&*tree)?);
        Ok(Arc::new(OpenTree { tree, names, n_doubts }))
    }));
    opened.unwrap_or(Err(Failed::Panicked))
}

/// What a keeper works with.
pub(super) struct Keeper {
    pub(super) place: Box<dyn Place>,
    pub(super) open: Open,
    pub(super) calls: Receiver<Call>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
    /// What the store is known by: after a failure no other one is taken for it.
    pub(super) id: StoreId,
    /// Whether the tree has said that its files are damaged: what it gives from then on is not all that it had.
    pub(super) is_damaged: bool,
}

/// Says what ends with the process.
fn give_up(owed: &Owed) {
    if !owed.settlements.is_empty() {
        warn!(
            "{} outcomes could not be booked before the end: they are in doubt at the next start",
            n_of(owed.settlements.len())
        );
    }
}

/// Random bytes that a store was given when it was made.
pub type StoreId = [u8; 16];

/// The id of the store in a tree.
pub(super) fn stored_id(tree: &dyn Tree) -> Result<Option<StoreId>, Failed> {
    Ok(tree.get(&keys::kept("store"))?.and_then(|bytes| bytes.as_ref().try_into().ok()))
}

impl Keeper {
    /// Runs until told to stop.
    pub(super) fn run(mut self, writer: Writer) {
        let mut working = Some(writer);
        while let Some(mut writer) = working.take() {
            let ended = catch_unwind(AssertUnwindSafe(|| writer.serve(&self.calls)));
            let failed = match ended {
                Ok(Ok(())) => break,
                Ok(Err(failed)) => failed,
                Err(_panic) => Failed::Panicked,
            };
            self.is_damaged |= matches!(failed, Failed::Damaged(_));
            let why = failed.chain();
            error!("The store failed: {why}; nothing is promised or sent until it is open again");
            // First why: who is refused may ask at once.
            self.shared.health.send_replace(Health::Failed { why: why.into(), n_tries: 0 });
            // Waiters of undecided calls learn it by their dropped senders, those of durability here.
            self.shared.progress.send_replace(Progress::Failed);
            let mut owed = writer.owed();
            let stopped = writer.was_stopped();
            self.let_go(writer);
            if stopped {
                // Nobody says it twice.
                give_up(&owed);
                break;
            }
            working = self.reopen(&mut owed);
        }
        self.shared.progress.send_replace(Progress::Failed);
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Drops every handle of the failed tree: while one is left, its disk cannot be mended or mounted anew.
    fn let_go(&mut self, writer: Writer) {
        let opened = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        let dropped = catch_unwind(AssertUnwindSafe(move || {
            drop(writer);
            // Readers hold it for one read.
            let mut tries = 0;
            let mut opened = opened;
            while let Some(held) = opened.take() {
                match Arc::try_unwrap(held) {
                    Ok(last) => drop(last),
                    Err(held) if tries < MAX_LET_GO => {
                        tries += 1;
                        crate::clock::block(LET_GO);
                        opened = Some(held);
                    }
                    Err(_held) => warn!("A reader does not let go of the failed store"),
                }
            }
        }));
        if dropped.is_err() {
            warn!("Closing the failed store panicked");
        }
        self.place.leave();
    }

    /// Tries until the tree is open and what was owed is durable; `None` when told to stop.
    fn reopen(&mut self, owed: &mut Owed) -> Option<Writer> {
        let mut wait = self.place.patience();
        let mut n_tries = 0;
        loop {
            if !self.refuse_for(wait, owed) {
                give_up(owed);
                return None;
            }
            n_tries += 1;
            match self.again(owed) {
                Ok(writer) => {
                    info!("The store is open again; {} outcomes were booked", owed.settlements.len());
                    return Some(writer);
                }
                Err(failed) => {
                    self.is_damaged |= matches!(failed, Failed::Damaged(_));
                    let why = failed.chain();
                    warn!(n_tries, "The store cannot be opened again yet: {why}");
                    self.shared.progress.send_replace(Progress::Failed);
                    self.shared.health.send_replace(Health::Failed { why: why.into(), n_tries });
                    *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
                    self.place.leave();
                }
            }
            wait = (wait * 2).min(MAX_REOPEN);
        }
    }

    fn again(&mut self, owed: &Owed) -> Result<Writer, Failed> {
        let opened = open(&mut *self.place, Opening::Again)?;
        if stored_id(&*opened.tree)? != Some(self.id) {
            return Err(Failed::Record("another store is in its place; stop the daemon to use that one"));
        }
        let stored = beside::stored(&*opened.tree)?.unwrap_or_default();
        if stored.n < self.shared.n_commits.load(Ordering::Acquire) {
            return Err(Failed::Record(
                "an older copy of the store is in its place; stop the daemon to use that one",
            ));
        }
        let first = Number(self.shared.decided.load(Ordering::Acquire)).next_life();
        let made = catch_unwind(AssertUnwindSafe(|| {
            let (shared, clock) = (Arc::clone(&self.shared), self.clock.clone());
            let mut writer = Writer::new(Arc::clone(&opened), first, shared, clock)?;
            writer.count(self.id, stored);
            if self.is_damaged {
                writer.hold(Hold { cause: Cause::OlderCopy, since: self.clock.now() })?;
            }
            writer.make_good(owed)?;
            Ok(writer)
        }));
        let writer = made.unwrap_or(Err(Failed::Panicked))?;
        self.is_damaged = false;
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        self.shared.short.store(false, Ordering::Release);
        self.shared.health.send_replace(Health::Works);
        writer.look_for_room()?;
        Ok(writer)
    }

    /// Refuses calls for so long, and keeps settlements; `false` when told to stop.
    fn refuse_for(&mut self, wait: Duration, owed: &mut Owed) -> bool {
        // Not the daemon's clock: a disk is waited for by the machine's, also where time is set by hand.
        let since = Clock::system();
        loop {
            // Also where one call follows the other without a pause.
            let Some(left) = wait.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) else {
                return true;
            };
            match self.calls.recv_timeout(left) {
                Ok(Call::Settle(settlements, _answer)) => owed.settlements.extend(settlements),
                Ok(Call::Broken(_, failed)) => self.is_damaged |= matches!(failed, Failed::Damaged(_)),
                // Dropping a call answers it.
                Ok(Call::Write { .. } | Call::Wake) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Ok(Call::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}
