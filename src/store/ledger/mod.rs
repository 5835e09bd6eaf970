//! The ledger: the engine over ordered keys, with one writer that makes concurrent calls durable in groups.
//!
//! What a record means and when it is synced is here; how a tree becomes durable is the tree's, which
//! [`Place`] opens, at the start and again after every failure. While none is open nothing is promised;
//! settlements alone are kept, and booked first when it is back.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use self::keeper::{Keeper, Open, StoreId, stored_id};
use self::state::OpenTree;
use self::writer::{Call, Desk, Shared, Writer};
use super::{
    AccountKey, AccountView, AppointmentChange, AppointmentKey, Changed, Closing, Cursor, Decided, Delivery,
    DoubtWord, Erased, Figures, Fsck, Granted, Health, ImportPiece, KeptAppointment, KeptReceipt, Mark,
    Number, Occurrence, Opened, Opening, OperatorGrant, Pending, Piece, PieceOutcome, Progress, Put, Reads,
    Receipt, ReceiptOutcome, Refusal, Refused, Release, Reminded, Reminders, Report, ReportOutcome,
    Settlement, Store, Unavailable, Wait, Wake, Walked, wait_durable,
};
use crate::clock::Clock;
use crate::domain::consent::Account;
use crate::domain::delivery::State as DeliveryState;
use crate::domain::id::{AppId, AppointmentId, DeliveryId, Kind, OpenId, Ref, RuleId, TemplateId};
use crate::domain::occurrence::OccurrenceState;
use crate::domain::recipient::{Profile, Recipient};

mod appointments;
mod consents;
mod deliveries;
mod erasure;
mod fsck;
mod keeper;
mod keys;
#[cfg(test)]
pub(in crate::store) mod memory;
mod occurrences;
mod reads;
mod receipts;
mod records;
mod releases;
mod state;
mod tree;
mod upkeep;
mod writer;

pub use keeper::MAX_REOPEN;
pub use tree::{Bytes, Entry, Opening as OpeningOf, Place, Room, Tree, Write};

/// Calls that may wait for the writer; more are refused.
const QUEUE: usize = 16_384;
/// The layout of the records.
const SCHEMA: u32 = 3;

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
        let keeper =
            Keeper { place, open: Arc::clone(&open), calls: queue, shared: Arc::clone(&shared), clock, id };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || keeper.run(writer))
            .map_err(StartError::Thread)?;
        Ok(Self::with(open, shared, Doing::Thread(calls, Mutex::new(Some(thread)))))
    }

    /// The same without a thread, for histories that are replayed step by step: a call is decided and applied
    /// before it returns, as a batch of its own; only [`Store::wait`] syncs; reads are made where they are asked
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
        let shared = Arc::new(Shared {
            progress: watch::Sender::new(Progress::Durable(Number::default())),
            health: watch::Sender::new(Health::Works),
            decided: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            short: AtomicBool::new(false),
            n_groups: AtomicU64::new(0),
            last_sync_us: AtomicU64::new(0),
        });
        let id = stored_id(&*opened.tree)?;
        let mut writer =
            Writer::new(Arc::clone(&opened), Number::default(), Arc::clone(&shared), clock.clone())?;
        if found.is_none_or(|found| found < SCHEMA) {
            // An older program must not begin on what this one writes.
            writer.keep("schema", SCHEMA.to_be_bytes().to_vec())?;
        }
        let id = if let Some(id) = id {
            id
        } else {
            let mut id = StoreId::default();
            getrandom::fill(&mut id).map_err(|_none| Failed::Record("the machine gives no random bytes"))?;
            writer.keep("store", id.to_vec())?;
            id
        };
        writer.make_erasure_key()?;
        writer.go_on_erasing()?;
        writer.look_for_room()?;
        Ok((Arc::new(RwLock::new(Some(opened))), shared, First { place, writer, id }))
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
        drop(opened);
        result.map_err(|failed| {
            tracing::error!("A read of the store failed: {}", failed.chain());
            match failed {
                // One bad record does not stop the others.
                Failed::Record(_) | Failed::Codec(_) => {}
                Failed::Engine(_) | Failed::Disk { .. } | Failed::Panicked => self.call(Call::Broken(failed)),
            }
            Unavailable
        })
    }
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

impl Store for Ledger {
    fn wait(&self, number: Number) -> Wait {
        let before = self.shared.wanted.fetch_max(number.0, Ordering::AcqRel);
        match &self.doing {
            // A full queue has a writer at work, which looks at `wanted` when it has emptied it.
            Doing::Thread(calls, _) if before < number.0 => {
                let _busy = calls.try_send(Call::Wake);
            }
            Doing::Thread(..) => {}
            // An urgent call was wanted before it was waited for.
            Doing::Here(writer) if !number.is_within(self.durable()) => self.here(writer, Writer::sync),
            Doing::Here(_) => {}
        }
        Box::pin(wait_durable(self.progress.clone(), number))
    }

    fn decided(&self) -> Number {
        Number(self.shared.decided.load(Ordering::Acquire))
    }

    fn reads(&self) -> Reads {
        match self.doing {
            Doing::Thread(..) => Reads::Block,
            Doing::Here(_) => Reads::AtOnce,
        }
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    fn report(&self, report: Report) -> Pending<ReportOutcome> {
        self.write(2 * report.answers.len() + 4, Takes::Room, Ends::Urgent, move |desk| {
            consents::report(desk, report)
        })
    }

    fn put_recipient(
        &self,
        app: AppId,
        openid: OpenId,
        profile: Profile,
        now: DateTime<Utc>,
    ) -> Pending<Put> {
        self.write(4, Takes::Room, Ends::Urgent, move |desk| {
            consents::put_recipient(desk, &app, &openid, profile, now)
        })
    }

    fn grant(&self, grant: OperatorGrant) -> Pending<Granted> {
        self.write(4, Takes::Room, Ends::Urgent, move |desk| consents::grant(desk, &grant))
    }

    fn import(&self, piece: ImportPiece) -> Pending<u64> {
        self.write(4 * piece.rows.len() + 1, Takes::Room, Ends::Urgent, move |desk| {
            consents::import(desk, piece)
        })
    }

    fn refuse(&self, refusal: Refusal) -> Pending<Refused> {
        self.write(4, Takes::Room, Ends::Urgent, move |desk| consents::refuse(desk, &refusal))
    }

    fn erase(&self, app: AppId, openid: OpenId, now: DateTime<Utc>) -> Pending<Erased> {
        self.write(0, Takes::Nothing, Ends::Urgent, move |desk| erasure::erase(desk, &app, &openid, now))
    }

    fn change_appointment(&self, change: AppointmentChange) -> Pending<Changed> {
        self.write(appointments::CHANGE_KEYS, Takes::Room, Ends::Urgent, move |desk| {
            appointments::put(desk, change)
        })
    }

    fn start_rule(&self, app: AppId, rule: RuleId, now: DateTime<Utc>) -> Pending<DateTime<Utc>> {
        self.write(3, Takes::Room, Ends::Whenever, move |desk| {
            occurrences::start_rule(desk, &app, &rule, now)
        })
    }

    fn open(&self, opening: Opening) -> Pending<Opened> {
        let keys = 3 * opening.occurrences.len() + occurrences::MAX_SNAPSHOT_PIECES + 2;
        self.write(keys, Takes::Room, Ends::Whenever, move |desk| occurrences::open(desk, opening))
    }

    fn remind(&self, reminders: Reminders) -> Pending<Reminded> {
        let keys = 3 * reminders.reminders.len() + occurrences::MAX_SNAPSHOT_PIECES + 3;
        self.write(keys, Takes::Room, Ends::Whenever, move |desk| appointments::remind(desk, &reminders))
    }

    fn chunk(&self, piece: Piece) -> Pending<PieceOutcome> {
        self.write(piece.members.len() + 9, Takes::Room, Ends::Whenever, move |desk| {
            occurrences::piece(desk, piece)
        })
    }

    fn stop_occurrence(
        &self,
        occurrence: u64,
        state: OccurrenceState,
        reason: Option<String>,
    ) -> Pending<()> {
        self.write(2, Takes::Nothing, Ends::Whenever, move |desk| {
            occurrences::stop(desk, occurrence, state, reason)
        })
    }

    fn release(&self, releases: Vec<Release>, now: DateTime<Utc>) -> Pending<Vec<Option<DeliveryState>>> {
        self.write(0, Takes::Room, Ends::Whenever, move |desk| releases::release(desk, &releases, now))
    }

    fn mark(&self, ids: Vec<DeliveryId>, now: DateTime<Utc>) -> Pending<Vec<Option<Mark>>> {
        self.write(0, Takes::Room, Ends::Urgent, move |desk| deliveries::mark(desk, &ids, now))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Pending<Vec<DeliveryState>> {
        let (answer, pending) = Pending::channel();
        self.call(Call::Settle(settlements, answer));
        pending
    }

    fn close(&self, ids: Vec<DeliveryId>, closing: Closing, now: DateTime<Utc>) -> Pending<Vec<bool>> {
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| deliveries::close(desk, &ids, closing, now))
    }

    fn recover(&self, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, Takes::Nothing, Ends::Urgent, move |desk| deliveries::recover(desk, now))
    }

    fn settle_doubt(&self, id: DeliveryId, word: DoubtWord, now: DateTime<Utc>) -> Pending<bool> {
        self.write(0, Takes::Nothing, Ends::Urgent, move |desk| deliveries::settle_doubt(desk, id, word, now))
    }

    fn receipt(&self, receipt: Receipt) -> Pending<ReceiptOutcome> {
        self.write(0, Takes::Room, Ends::Urgent, move |desk| receipts::receipt(desk, &receipt))
    }

    fn presume(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| deliveries::presume(desk, before, now))
    }

    fn keep(&self, name: &'static str, value: Vec<u8>) -> Pending<()> {
        self.write(1, Takes::Nothing, Ends::Urgent, move |desk| {
            desk.state.put(keys::kept(name), value);
            Ok(())
        })
    }

    fn retire(&self, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| upkeep::retire(desk, now))
    }

    fn retire_appointments(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| appointments::retire(desk, before, now))
    }

    fn sweep(&self, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| erasure::sweep(desk, now))
    }

    fn fsck(&self) -> Pending<Fsck> {
        self.write(0, Takes::Nothing, Ends::Urgent, move |desk| {
            desk.barrier()?;
            fsck::run(&desk.state.opened)
        })
    }

    fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.read(|books| books.read_kept(name))
    }

    fn recipient(&self, app: &AppId, openid: &OpenId) -> Result<Option<Recipient>, Unavailable> {
        self.read(|books| books.read_recipient(app, openid))
    }

    fn erased_at(&self, app: &AppId, openid: &OpenId) -> Result<Option<DateTime<Utc>>, Unavailable> {
        self.read(|books| books.read_erased_at(app, openid))
    }

    fn by_ref(&self, app: &AppId, reference: &Ref) -> Result<Option<OpenId>, Unavailable> {
        self.read(|books| books.read_ref(app, reference))
    }

    fn walk(
        &self,
        app: &AppId,
        template: &TemplateId,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Unavailable> {
        self.read(|books| books.read_walk(app, template, after, limit))
    }

    fn account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<AccountView>, Unavailable> {
        self.read(|books| books.read_account(app, template, openid))
    }

    fn bare_account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<Account>, Unavailable> {
        self.read(|books| books.read_bare_account(app, template, openid))
    }

    fn accounts(
        &self,
        after: Option<&AccountKey>,
        limit: usize,
    ) -> Result<Vec<(AccountKey, AccountView)>, Unavailable> {
        self.read(|books| books.read_accounts(after, limit))
    }

    fn receipts(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Vec<KeptReceipt>, Unavailable> {
        self.read(|books| books.read_receipts(app, template, openid))
    }

    fn cursor(&self, app: &AppId, rule: &RuleId) -> Result<Option<DateTime<Utc>>, Unavailable> {
        self.read(|books| books.read_cursor(app, rule))
    }

    fn reminder_cursor(&self, app: &AppId, rule: &RuleId) -> Result<Option<Cursor>, Unavailable> {
        self.read(|books| {
            // The number first: a step between the two reads is seen as one that has not begun.
            let change = books.read_change_cursor(app, rule)?;
            Ok(books.read_cursor(app, rule)?.map(|at| Cursor { at, change }))
        })
    }

    fn appointment(&self, key: &AppointmentKey) -> Result<Option<KeptAppointment>, Unavailable> {
        self.read(|books| books.read_appointment(key))
    }

    fn appointments(
        &self,
        of: (&AppId, &Kind),
        window: (DateTime<Utc>, DateTime<Utc>),
        after: Option<&(DateTime<Utc>, AppointmentId)>,
        limit: usize,
    ) -> Result<Vec<(DateTime<Utc>, AppointmentId)>, Unavailable> {
        self.read(|books| books.read_appointments(of, window, after, limit))
    }

    fn newest_change(&self) -> Result<u64, Unavailable> {
        self.read(OpenTree::read_newest_change)
    }

    fn changes(
        &self,
        app: &AppId,
        kind: &Kind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, AppointmentId)>, Unavailable> {
        self.read(|books| books.read_changes(app, kind, after, limit))
    }

    fn reminders(&self, key: &AppointmentKey) -> Result<Vec<u64>, Unavailable> {
        self.read(|books| books.read_reminders(key))
    }

    fn occurrence(&self, number: u64) -> Result<Option<Occurrence>, Unavailable> {
        self.read(|books| books.read_occurrence(number)).map(|read| read.map(|(occurrence, _)| occurrence))
    }

    fn newest_occurrence(&self) -> Result<Option<u64>, Unavailable> {
        self.read(OpenTree::read_newest)
    }

    fn occurrences(
        &self,
        rule: Option<&RuleId>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Occurrence>, Unavailable> {
        self.read(|books| books.read_occurrences(rule, after, limit))
    }

    fn unfinished(&self) -> Result<Vec<Occurrence>, Unavailable> {
        self.read(OpenTree::read_unfinished)
    }

    fn snapshot(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, Unavailable> {
        self.read(|books| books.read_snapshot(hash))
    }

    fn deliveries(
        &self,
        occurrence: Option<u64>,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Unavailable> {
        self.read(|books| books.read_deliveries(occurrence, after, limit))
    }

    fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, Unavailable> {
        self.read(|books| books.read_delivery(id))
    }

    fn wakes(
        &self,
        after: Option<&Wake>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Wake>, Unavailable> {
        self.read(|books| books.read_wakes(after, until, limit))
    }

    fn doubts(&self, limit: usize) -> Result<Vec<Delivery>, Unavailable> {
        self.read(|books| books.read_doubts(limit))
    }

    fn imported(&self, digest: &[u8; 32]) -> Result<u64, Unavailable> {
        self.read(|books| books.read_imported(digest))
    }

    fn figures(&self) -> Result<Figures, Unavailable> {
        self.read(|books| books.read_figures(&self.shared))
    }
}
