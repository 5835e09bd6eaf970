//! The engine on sled 0.34: one tree, one writer, and a sync of its own.
//!
//! What sled promises and what it does not was measured: its `flush` survives no power cut, a torn
//! snapshot locks a store for ever, eight concurrent flushes hang. The folder is therefore locked and
//! cleaned before it is opened, only the writer writes and flushes, little is written between two syncs,
//! and each sync ends with `sync_data` on an own handle of sled's file.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use self::state::{Names, State};
use self::writer::{Call, Desk, Shared};
use super::{
    AccountKey, AccountView, Closing, Decided, Delivery, DoubtWord, Figures, Fsck, Granted, ImportPiece,
    Mark, Number, Occurrence, Opened, Opening, OperatorGrant, Pending, Piece, PieceOutcome, Progress, Put,
    Report, ReportOutcome, Settlement, Store, Unavailable, Wait, Walked, wait_durable,
};
use crate::clock::Clock;
use crate::domain::consent::Account;
use crate::domain::delivery::State as DeliveryState;
use crate::domain::id::{AppId, DeliveryId, OpenId, Ref, RuleId, TemplateId};
use crate::domain::occurrence::OccurrenceState;
use crate::domain::recipient::{Profile, Recipient};

mod consents;
mod deliveries;
mod folder;
mod fsck;
mod keys;
mod occurrences;
mod reads;
mod records;
mod state;
mod upkeep;
mod writer;

/// Calls that may wait for the writer; more are refused.
const QUEUE: usize = 16_384;
/// Memory for sled's page cache when nobody says otherwise; the process needs some more.
pub const DEFAULT_CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// How long a second process waits for the first to let go of the folder.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);
/// The layout of the records.
const SCHEMA: u32 = 1;

/// What a store is opened with.
#[derive(Debug)]
pub struct Options {
    /// The state folder: `lock`, `sled/`, `last-good/`.
    pub path: PathBuf,
    /// Memory for sled's page cache.
    pub cache_bytes: u64,
    /// How long to wait while another process holds the folder.
    pub lock_wait: Duration,
}

impl Options {
    /// The defaults for a folder.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, cache_bytes: DEFAULT_CACHE_BYTES, lock_wait: LOCK_WAIT }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it (75).
    #[error("the store `{}` is held by another process", path.display())]
    HeldElsewhere {
        /// The folder.
        path: PathBuf,
    },
    /// It was written by a newer program (78).
    #[error("the store `{}` has layout {found}; this program knows up to {SCHEMA}: use the newer program", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// The folder or a file in it cannot be used (75, or 77 without the right).
    #[error("cannot use the store's folder `{}`", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// sled refuses it (75).
    #[error("cannot open the store `{}`", path.display())]
    Engine {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: Failed,
    },
}

/// A failure of the engine; final for the opened store.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// sled's own.
    #[error(transparent)]
    Sled(#[from] sled::Error),
    /// The disk's.
    #[error("cannot sync the store")]
    Io(#[source] std::io::Error),
    /// A record that cannot be read or written.
    #[error("{0}")]
    Record(&'static str),
    /// A record that postcard refuses.
    #[error("a record cannot be read or written")]
    Codec(#[source] postcard::Error),
}

impl Failed {
    fn codec(error: postcard::Error) -> Self {
        Self::Codec(error)
    }
}

/// The store on sled.
pub struct SledStore {
    tree: sled::Db,
    names: Arc<RwLock<Names>>,
    calls: SyncSender<Call>,
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held as long as the store is open.
    _lock: std::fs::File,
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("progress", &*self.progress.borrow()).finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens the store, making its folder when it is not there. Blocks: milliseconds for a small store,
    /// seconds for millions of records, up to `lock_wait` while another process holds it.
    ///
    /// # Errors
    /// [`OpenError`], with the folder and the cause.
    pub fn open(options: &Options, clock: Clock) -> Result<Self, OpenError> {
        let engine = |source: Failed| OpenError::Engine { path: options.path.clone(), source };
        let lock = folder::lock(&options.path, options.lock_wait)?;
        folder::clean(&options.path)?;
        let config = sled::Config::new()
            .path(options.path.join("sled"))
            .mode(sled::Mode::LowSpace)
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(None);
        let tree = open_tree(&config).map_err(|error| engine(error.into()))?;
        let db_file = folder::sync_names(&options.path)?;
        let names = Arc::new(RwLock::new(read_names(&tree).map_err(engine)?));
        let state = State::new(tree.clone(), Arc::clone(&names)).map_err(engine)?;
        let found = schema(&tree).map_err(engine)?;
        if let Some(found) = found.filter(|found| *found > SCHEMA) {
            return Err(OpenError::Newer { path: options.path.clone(), found });
        }
        let shared = Arc::new(Shared {
            progress: watch::Sender::new(Progress::Durable(Number(0))),
            decided: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            n_groups: AtomicU64::new(0),
            last_sync_us: AtomicU64::new(0),
        });
        let (calls, queue) = sync_channel(QUEUE);
        let for_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer::run(state, db_file, &queue, &for_writer, clock))
            .map_err(|source| OpenError::Folder { path: options.path.clone(), source })?;
        let progress = shared.progress.subscribe();
        let store =
            Self { tree, names, calls, shared, progress, writer: Mutex::new(Some(writer)), _lock: lock };
        if found.is_none() {
            let kept = store.keep("schema", SCHEMA.to_be_bytes().to_vec());
            drop(kept);
        }
        Ok(store)
    }

    /// Syncs what was called before, ends the writer and lets the folder go. A second call does nothing.
    pub fn close(&self) {
        // A full queue empties or its writer is dead; then there is nothing to wait for.
        let told = self.calls.send(Call::Stop);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if told.is_ok()
            && let Some(writer) = writer
        {
            // The writer catches its own panics.
            let _ended = writer.join();
        }
    }

    /// Queues a decision; `keys` is how many keys it may write before it asks for room itself.
    fn write<T: Send + 'static>(
        &self,
        keys: usize,
        urgent: bool,
        decide: impl FnOnce(&mut Desk<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> Pending<T> {
        let (answer, pending) = Pending::channel();
        let decide: writer::Decide = Box::new(move |desk| {
            let value = decide(desk)?;
            let answer: writer::Answer = Box::new(move |number| {
                // A caller that went away does not take its write back.
                let _told = answer.send(Decided { value, number });
            });
            Ok(answer)
        });
        // Refused when the queue is full or the writer dead: dropping the answer says so.
        let _refused = self.calls.try_send(Call::Write { keys, urgent, decide });
        pending
    }

    fn read<T>(&self, result: Result<T, Failed>) -> Result<T, Unavailable> {
        if *self.progress.borrow() == Progress::Failed {
            return Err(Unavailable);
        }
        result.map_err(|failed| {
            tracing::error!("A read of the store failed: {failed}");
            Unavailable
        })
    }
}

/// Opens sled, waiting for its own lock: threads of a store that was just closed in this process may hold
/// it a moment longer than the folder's. Nobody else can, as the folder is ours by now.
fn open_tree(config: &sled::Config) -> sled::Result<sled::Db> {
    const TRIES: u32 = 500;
    let mut tries = 0;
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if tries < TRIES && error.to_string().contains("could not acquire lock") =>
            {
                tries += 1;
                crate::clock::block(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.close();
    }
}

fn read_names(tree: &sled::Db) -> Result<Names, Failed> {
    let mut names = Names::default();
    for entry in tree.scan_prefix([keys::NAME]) {
        let (_, text) = entry?;
        let text = std::str::from_utf8(&text).map_err(|_bad| Failed::Record("the name table is not text"))?;
        names.push(text)?;
    }
    Ok(names)
}

fn schema(tree: &sled::Db) -> Result<Option<u32>, Failed> {
    let bytes = tree.get(keys::kept("schema"))?;
    Ok(bytes.and_then(|bytes| bytes.as_ref().try_into().ok()).map(u32::from_be_bytes))
}

impl Store for SledStore {
    fn wait(&self, number: Number) -> Wait {
        let before = self.shared.wanted.fetch_max(number.0, Ordering::AcqRel);
        if before < number.0 {
            // A full queue has a writer at work, which looks at `wanted` when it has emptied it.
            let _busy = self.calls.try_send(Call::Wake);
        }
        Box::pin(wait_durable(self.progress.clone(), number))
    }

    fn decided(&self) -> Number {
        Number(self.shared.decided.load(Ordering::Acquire))
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn report(&self, report: Report) -> Pending<ReportOutcome> {
        self.write(2 * report.answers.len() + 4, true, move |desk| consents::report(desk, report))
    }

    fn put_recipient(
        &self,
        app: AppId,
        openid: OpenId,
        profile: Profile,
        now: DateTime<Utc>,
    ) -> Pending<Put> {
        self.write(4, true, move |desk| consents::put_recipient(desk, &app, &openid, profile, now))
    }

    fn grant(&self, grant: OperatorGrant) -> Pending<Granted> {
        self.write(4, true, move |desk| consents::grant(desk, &grant))
    }

    fn import(&self, piece: ImportPiece) -> Pending<u64> {
        self.write(4 * piece.rows.len() + 1, true, move |desk| consents::import(desk, piece))
    }

    fn start_rule(&self, app: AppId, rule: RuleId, now: DateTime<Utc>) -> Pending<DateTime<Utc>> {
        self.write(2, false, move |desk| occurrences::start_rule(desk, &app, &rule, now))
    }

    fn open(&self, opening: Opening) -> Pending<Opened> {
        let keys = 3 * opening.occurrences.len() + occurrences::MAX_SNAPSHOT_PIECES + 2;
        self.write(keys, false, move |desk| occurrences::open(desk, opening))
    }

    fn chunk(&self, piece: Piece) -> Pending<PieceOutcome> {
        self.write(piece.members.len() + 9, false, move |desk| occurrences::piece(desk, piece))
    }

    fn stop_occurrence(
        &self,
        occurrence: u64,
        state: OccurrenceState,
        reason: Option<String>,
    ) -> Pending<()> {
        self.write(2, false, move |desk| occurrences::stop(desk, occurrence, state, reason))
    }

    fn mark(&self, ids: Vec<DeliveryId>, now: DateTime<Utc>) -> Pending<Vec<Option<Mark>>> {
        self.write(0, true, move |desk| deliveries::mark(desk, &ids, now))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Pending<Vec<DeliveryState>> {
        self.write(0, false, move |desk| deliveries::settle(desk, settlements))
    }

    fn close(&self, ids: Vec<DeliveryId>, closing: Closing, now: DateTime<Utc>) -> Pending<Vec<bool>> {
        self.write(0, false, move |desk| deliveries::close(desk, &ids, closing, now))
    }

    fn recover(&self, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, true, move |desk| deliveries::recover(desk, now))
    }

    fn settle_doubt(&self, id: DeliveryId, word: DoubtWord, now: DateTime<Utc>) -> Pending<bool> {
        self.write(0, true, move |desk| deliveries::settle_doubt(desk, id, word, now))
    }

    fn keep(&self, name: &'static str, value: Vec<u8>) -> Pending<()> {
        self.write(1, true, move |desk| {
            desk.state.put(keys::kept(name), value);
            Ok(())
        })
    }

    fn retire(&self, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, false, move |desk| upkeep::retire(desk, now))
    }

    fn fsck(&self) -> Pending<Fsck> {
        self.write(0, true, move |desk| {
            desk.barrier()?;
            fsck::run(&desk.state.tree, &desk.state.names)
        })
    }

    fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.read(self.read_kept(name))
    }

    fn recipient(&self, app: &AppId, openid: &OpenId) -> Result<Option<Recipient>, Unavailable> {
        self.read(self.read_recipient(app, openid))
    }

    fn by_ref(&self, app: &AppId, reference: &Ref) -> Result<Option<OpenId>, Unavailable> {
        self.read(self.read_ref(app, reference))
    }

    fn walk(
        &self,
        app: &AppId,
        template: &TemplateId,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Unavailable> {
        self.read(self.read_walk(app, template, after, limit))
    }

    fn account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<AccountView>, Unavailable> {
        self.read(self.read_account(app, template, openid))
    }

    fn bare_account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<Account>, Unavailable> {
        self.read(self.read_bare_account(app, template, openid))
    }

    fn accounts(
        &self,
        after: Option<&AccountKey>,
        limit: usize,
    ) -> Result<Vec<(AccountKey, AccountView)>, Unavailable> {
        self.read(self.read_accounts(after, limit))
    }

    fn cursor(&self, app: &AppId, rule: &RuleId) -> Result<Option<DateTime<Utc>>, Unavailable> {
        self.read(self.read_cursor(app, rule))
    }

    fn occurrence(&self, number: u64) -> Result<Option<Occurrence>, Unavailable> {
        self.read(self.read_occurrence(number)).map(|read| read.map(|(occurrence, _)| occurrence))
    }

    fn newest_occurrence(&self) -> Result<Option<u64>, Unavailable> {
        self.read(self.read_newest())
    }

    fn occurrences(
        &self,
        rule: Option<&RuleId>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Occurrence>, Unavailable> {
        self.read(self.read_occurrences(rule, after, limit))
    }

    fn unfinished(&self) -> Result<Vec<Occurrence>, Unavailable> {
        self.read(self.read_unfinished())
    }

    fn snapshot(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, Unavailable> {
        self.read(self.read_snapshot(hash))
    }

    fn deliveries(
        &self,
        occurrence: Option<u64>,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Unavailable> {
        self.read(self.read_deliveries(occurrence, after, limit))
    }

    fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, Unavailable> {
        self.read(self.read_delivery(id))
    }

    fn doubts(&self, limit: usize) -> Result<Vec<Delivery>, Unavailable> {
        self.read(self.read_doubts(limit))
    }

    fn imported(&self, digest: &[u8; 32]) -> Result<u64, Unavailable> {
        self.read(self.read_imported(digest))
    }

    fn figures(&self) -> Result<Figures, Unavailable> {
        self.read(self.read_figures())
    }
}
