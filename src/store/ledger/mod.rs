//! The ledger: the engine over ordered keys, with one writer that makes concurrent calls durable in groups.
//!
//! What a record means and when it is synced is here; how a tree becomes durable is the tree's, which
//! [`Place`] opens, at the start and again after every failure. While none is open nothing is promised;
//! settlements alone are kept, and booked first when it is back.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::watch;

use self::beside::{Judged, Which};
use self::keeper::{Keeper, Open, stored_id};
use self::state::OpenTree;
use self::writer::{Call, Desk, Shared, Writer};
use super::{Decided, Health, Number, Pending, Progress, Unavailable};
use crate::clock::Clock;
use crate::domain::hold::Hold;

mod appointments;
mod audit;
mod beside;
mod by_hand;
mod calls;
mod consents;
mod cursors;
mod deliveries;
mod drift;
mod dump;
mod erasure;
mod fsck;
mod holds;
mod identities;
mod keeper;
mod keys;
#[cfg(test)]
pub(in crate::store) mod memory;
mod occurrences;
mod persons;
mod reads;
mod receipts;
mod records;
mod releases;
mod repeats;
mod requests;
mod restore;
mod snapshots;
mod state;
mod tree;
mod unfinished;
mod upkeep;
mod writer;

pub use beside::{Beside, Commits};
pub use dump::Summary;
pub use keeper::{MAX_REOPEN, StoreId};
pub use restore::{Check, MAX_BACKUP_LINE, NotRestored, Restored};
pub use tree::{Bytes, Entry, Opening as OpeningOf, Place, Room, Tree, Write};

/// Calls that may wait for the writer; more are refused.
const QUEUE: usize = 16_384;
/// The layout of the records.
const SCHEMA: u32 = 6;

/// Why a ledger cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tree cannot be opened, read or written.
    #[error(transparent)]
    Tree(#[from] Failed),
    /// It was written by a newer program.
    #[error("its layout is {found}; this program knows up to {SCHEMA}: use the newer program")]
    Newer {
        /// Its layout.
        found: u32,
    },
    /// No thread for the writer.
    #[error("no thread can be started for the store")]
    Thread(#[source] std::io::Error),
}

/// A failure of the engine; final for the opened tree.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The tree's own.
    #[error(transparent)]
    Engine(Box<dyn std::error::Error + Send + Sync>),
    /// What the tree's files say cannot be.
    #[error(
        "its files are damaged; keep a copy of the folder, put it aside, and restore a backup: `tixing restore FILE`"
    )]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk's.
    #[error("{what}")]
    Disk {
        /// What could not be done.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The engine panicked.
    #[error("the engine panicked")]
    Panicked,
    /// A record that cannot be read or written.
    #[error("{0}")]
    Record(&'static str),
    /// A record that postcard refuses.
    #[error("a record cannot be read or written")]
    Codec(#[source] postcard::Error),
}

impl Failed {
    /// What failed and why, down to the last cause.
    fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            text = format!("{text}: {source}");
            cause = source.source();
        }
        text
    }

    fn codec(error: postcard::Error) -> Self {
        Self::Codec(error)
    }
}

/// The store over a tree.
pub struct Ledger {
    open: Open,
    doing: Doing,
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    health: watch::Receiver<Health>,
}

/// Where calls are decided.
enum Doing {
    /// In a thread of their own, in groups.
    Thread(SyncSender<Call>, Mutex<Option<JoinHandle<()>>>),
    /// Where they are made, each in a batch of its own.
    Here(Box<Mutex<Option<Writer>>>),
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("progress", &*self.progress.borrow()).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the tree of `place` and starts the writer. Blocks: milliseconds for a small tree, seconds for
    /// millions of records.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(place: Box<dyn Place>, clock: Clock) -> Result<Self, StartError> {
        let (open, shared, first) = Self::begin(place, &clock)?;
        let First { place, writer, id } = first;
        let (calls, queue) = sync_channel(QUEUE);
        let keeper = Keeper {
            place,
            open: Arc::clone(&open),
            calls: queue,
            shared: Arc::clone(&shared),
            clock,
            id,
            is_damaged: false,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || keeper.run(writer))
            .map_err(StartError::Thread)?;
        Ok(Self::with(open, shared, Doing::Thread(calls, Mutex::new(Some(thread)))))
    }

    /// The same without a thread, for histories that are replayed step by step: a call is decided and applied
    /// before it returns, as a batch of its own; only [`Store::wait`](super::Store::wait) syncs; reads are made where they are asked
    /// for; a failure is not recovered from.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start_here(place: Box<dyn Place>, clock: &Clock) -> Result<Self, StartError> {
        let (open, shared, first) = Self::begin(place, clock)?;
        Ok(Self::with(open, shared, Doing::Here(Box::new(Mutex::new(Some(first.writer))))))
    }

    fn begin(mut place: Box<dyn Place>, clock: &Clock) -> Result<(Open, Arc<Shared>, First), StartError> {
        let opened = keeper::open(&mut *place, tree::Opening::First)?;
        let found = schema(&opened)?;
        if let Some(found) = found.filter(|found| *found > SCHEMA) {
            return Err(StartError::Newer { found });
        }
        let shared = Arc::new(Shared::new());
        let stored_id = stored_id(&*opened.tree)?;
        let mut id = stored_id.unwrap_or_default();
        if stored_id.is_none() {
            getrandom::fill(&mut id).map_err(|_none| Failed::Record("the machine gives no random bytes"))?;
        }
        let mut writer =
            Writer::new(Arc::clone(&opened), Number::default(), Arc::clone(&shared), clock.clone())?;
        let stored = beside::stored(&*opened.tree)?.unwrap_or_default();
        let (made_anew, beside) = (opened.tree.is_made_anew(), opened.tree.beside());
        if let Some(n) = beside.map(|beside| beside.commits.n).filter(|n| made_anew && *n > 0) {
            tracing::warn!(
                n,
                "The store that was here, with {n} commits, is gone, and an empty one begins; stop and put it back, or \
                 `tixing restore` a backup, if nobody meant that"
            );
        }
        // Whoever is cut off while it is made has a layout, and perhaps no name yet.
        let is_empty = !made_anew && found.is_none();
        match beside::judge(Which { id: stored_id, is_empty }, stored, beside) {
            Judged::Newest(commits) => writer.count(id, commits),
            Judged::Older(cause, commits) => {
                writer.count(id, commits);
                writer.hold(Hold { cause, since: clock.now() })?;
            }
        }
        if found.is_some_and(|found| found < 4) {
            writer.list_owned_appointments()?;
            writer.index_all_zones()?;
        }
        if found.is_some_and(|found| found < 5) {
            writer.put_neighbours_together()?;
        }
        if found.is_some_and(|found| found < 6) {
            writer.index_all_persons()?;
        }
        if found.is_none_or(|found| found < SCHEMA) {
            // An older program must not begin on what this one writes.
            writer.keep("schema", SCHEMA.to_be_bytes().to_vec())?;
        }
        if stored_id.is_none() {
            writer.keep("store", id.to_vec())?;
        }
        writer.make_erasure_key()?;
        writer.go_on_erasing()?;
        writer.look_for_room()?;
        Ok((Arc::new(RwLock::new(Some(opened))), shared, First { place, writer, id }))
    }

    /// A tree and its writer, with nothing done to it yet.
    fn bare(mut place: Box<dyn Place>, clock: &Clock) -> Result<Bare, Failed> {
        let opened = keeper::open(&mut *place, tree::Opening::First)?;
        let shared = Arc::new(Shared::new());
        let writer = Writer::new(Arc::clone(&opened), Number::default(), shared, clock.clone())?;
        Ok(Bare { opened, writer, place })
    }

    fn with(open: Open, shared: Arc<Shared>, doing: Doing) -> Self {
        let (progress, health) = (shared.progress.subscribe(), shared.health.subscribe());
        Self { open, doing, shared, progress, health }
    }

    /// Syncs what was called before, ends the writer and lets the tree go. A second call does nothing.
    pub fn close(&self) {
        match &self.doing {
            Doing::Thread(calls, thread) => {
                // A full queue empties or its writer is dead; then there is nothing to wait for.
                let told = calls.send(Call::Stop);
                let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
                if told.is_ok()
                    && let Some(thread) = thread
                {
                    // The keeper catches the panics of what it calls.
                    let _ended = thread.join();
                }
            }
            Doing::Here(writer) => {
                if let Some(mut writer) = lock(writer).take() {
                    // Who wanted it durable has waited for it.
                    let _synced = writer.sync();
                }
                *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    }

    /// Queues a call, or does it at once. It is refused while no tree is open, the queue is full, or the writer
    /// dead: then its answer is dropped, which says so.
    fn call(&self, call: Call) {
        match &self.doing {
            Doing::Thread(calls, _) => {
                let _refused = calls.try_send(call);
            }
            Doing::Here(writer) => self.here(writer, |writer| writer.at_once(call)),
        }
    }

    fn durable(&self) -> Number {
        match *self.progress.borrow() {
            Progress::Durable(number) => number,
            Progress::Failed => Number::default(),
        }
    }

    fn here(&self, writer: &Mutex<Option<Writer>>, act: impl FnOnce(&mut Writer) -> Result<(), Failed>) {
        let mut at_work = lock(writer);
        let Some(writer) = at_work.as_mut() else { return };
        if let Err(failed) = act(writer) {
            self.shared.progress.send_replace(Progress::Failed);
            self.shared.health.send_replace(Health::Failed { why: failed.chain().into(), n_tries: 0 });
            *at_work = None;
        }
    }

    /// Queues a decision; `keys` is how many keys it may write before it asks for room itself.
    fn write<T: Send + 'static>(
        &self,
        keys: usize,
        takes: Takes,
        ends: Ends,
        decide: impl FnOnce(&mut Desk<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> Pending<T> {
        let (answer, pending) = Pending::channel();
        let refused = *self.progress.borrow() == Progress::Failed
            || (takes == Takes::Room && self.shared.short.load(Ordering::Acquire));
        if refused {
            return pending;
        }
        let decide: writer::Decide = Box::new(move |desk| {
            let value = decide(desk)?;
            let answer: writer::Answer = Box::new(move |number| {
                // A caller that went away does not take its write back.
                let _told = answer.send(Decided { value, number });
            });
            Ok(answer)
        });
        self.call(Call::Write { keys, urgent: ends == Ends::Urgent, decide });
        pending
    }

    fn read<T>(&self, read: impl FnOnce(&OpenTree) -> Result<T, Failed>) -> Result<T, Unavailable> {
        let opened = self.open.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Unavailable)?;
        if *self.progress.borrow() == Progress::Failed {
            return Err(Unavailable);
        }
        let result = catch_unwind(AssertUnwindSafe(|| read(&opened))).unwrap_or(Err(Failed::Panicked));
        result.map_err(|failed| {
            let of = Arc::downgrade(&opened);
            drop(opened);
            tracing::error!("A read of the store failed: {}", failed.chain());
            match failed {
                // One bad record does not stop the others.
                Failed::Record(_) | Failed::Codec(_) => {}
                Failed::Engine(_) | Failed::Damaged(_) | Failed::Disk { .. } | Failed::Panicked => {
                    self.call(Call::Broken(of, failed));
                }
            }
            Unavailable
        })
    }
}

/// A tree and its writer that nobody calls yet.
struct Bare {
    opened: Arc<OpenTree>,
    writer: Writer,
    place: Box<dyn Place>,
}

/// What a ledger begins with.
struct First {
    place: Box<dyn Place>,
    writer: Writer,
    id: StoreId,
}

/// Whether a write needs room that a nearly full disk has no more of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// It takes something on: refused while there is too little.
    Room,
    /// It ends or tidies what is there.
    Nothing,
}

/// Whether the caller of a write waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// It does: sync soon.
    Urgent,
    /// It need not.
    Whenever,
}

fn lock(writer: &Mutex<Option<Writer>>) -> MutexGuard<'_, Option<Writer>> {
    // What a panic left half done is never synced: who waits is told.
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

fn schema(opened: &OpenTree) -> Result<Option<u32>, Failed> {
    let bytes = opened.tree.get(&keys::kept("schema"))?;
    Ok(bytes.and_then(|bytes| bytes.as_ref().try_into().ok()).map(u32::from_be_bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::memory::Memory;
    use super::*;
    use crate::store::{Health, Store};

    /// A slow reader may say it when another tree is open already.
    #[test]
    fn what_a_reader_met_on_an_earlier_tree_ends_no_writer_but_for_damage() {
        let (engine, damage) =
            (|| Failed::Engine("of the test".into()), || Failed::Damaged("a page of the test".into()));
        for (is_ours, failed, ends) in
            [(false, engine(), false), (false, damage(), true), (true, engine(), true)]
        {
            let ledger = Ledger::start_here(Box::new(Memory::default()), &Clock::system()).unwrap();
            let ours = Arc::downgrade(ledger.open.read().unwrap().as_ref().unwrap());
            ledger.call(Call::Broken(if is_ours { ours } else { Weak::new() }, failed));
            let told = ledger.health().borrow().clone();
            assert_eq!(matches!(told, Health::Failed { .. }), ends, "{told:?}");
        }
    }
}
