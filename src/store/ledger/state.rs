//! What the writer knows: the tree, the batch under way, and the records it touches, decoded.
//!
//! Decisions change decoded records; a batch encodes each changed record once, however often it was
//! changed. Nothing outside sees a change before its batch is applied.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};

use super::Failed;
use super::audit::Audited;
use super::cursors::Cursors;
use super::dump::Dumping;
use super::erasure;
use super::keys::{self, Name};
use super::records::{self, Chunk, Held};
use super::repeats;
use super::snapshots::Pass;
use super::tree::{Bytes, Tree, Write};
use super::unfinished::{self, Listed};
use crate::domain::id::{DeliveryId, OpenId};
use crate::domain::occurrence::OccurrenceState;
use crate::domain::recipient::Recipient;
use crate::domain::template::TemplateKind;
use crate::store::{MAX_ENTRY_BYTES, Occurrence};

/// Most keys in one batch; more would pin memory in sled.
pub(super) const BATCH_KEYS: usize = 100;
/// Most keys written between two syncs; beyond, a torn write can go unnoticed (storage figures, item 4).
pub(super) const SYNC_KEYS: usize = 300;
/// Most bytes of keys and values written between two syncs.
pub(super) const SYNC_BYTES: usize = 32 * 1024;
/// Name of the kept number of the newest occurrence that was removed.
pub(super) const LAST_OCCURRENCE: &str = "last_occurrence";
/// Decoded accounts kept between batches; open chunks' accounts are wanted again soon.
const MAX_ACCOUNTS: usize = 16_384;
/// Decoded chunks and occurrences kept between batches.
const MAX_CHUNKS: usize = 2_048;

/// Numbers of apps and templates; shared with readers, changed by the writer only.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_text: HashMap<Box<str>, Name>,
    texts: Vec<Box<str>>,
}

impl Names {
    pub(super) fn number(&self, text: &str) -> Option<Name> {
        self.by_text.get(text).copied()
    }

    pub(super) fn text(&self, name: Name) -> Option<&str> {
        self.texts.get(usize::from(name)).map(|text| &**text)
    }

    /// Those of a tree.
    pub(super) fn read(tree: &dyn Tree) -> Result<Self, Failed> {
        let mut names = Self::default();
        for entry in tree.prefix(keys::NAME) {
            let (_, text) = entry?;
            let text =
                std::str::from_utf8(&text).map_err(|_bad| Failed::Record("the name table is not text"))?;
            names.push(text)?;
        }
        Ok(names)
    }

    pub(super) fn push(&mut self, text: &str) -> Result<Name, Failed> {
        let name =
            Name::try_from(self.texts.len()).map_err(|_full| Failed::Record("the name table is full"))?;
        self.texts.push(text.into());
        self.by_text.insert(text.into(), name);
        Ok(name)
    }
}

/// A tree that is open, and the names it holds; readers and the writer share it until it fails.
#[derive(Debug)]
pub(super) struct OpenTree {
    pub(super) tree: Box<dyn Tree>,
    pub(super) names: RwLock<Names>,
    /// How many deliveries are in doubt, counted when it was opened and with each batch, so that nobody has to read them.
    pub(super) n_doubts: AtomicU64,
}

/// Names an account within the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct AccountId {
    pub(super) app: Name,
    pub(super) template: Name,
    pub(super) openid: Box<str>,
}

/// A chunk and the index keys it has on disk.
#[derive(Clone, Debug)]
pub(super) struct HeldChunk {
    pub(super) chunk: Chunk,
    stored_next: Option<i64>,
    stored_doubt: Option<i64>,
    stored_doubts: u64,
}

#[derive(Clone, Debug)]
pub(super) struct HeldOccurrence {
    pub(super) occurrence: Occurrence,
    pub(super) n_chunks: u32,
    listed: bool,
}

/// The writer's state.
pub(super) struct State {
    pub(super) opened: Arc<OpenTree>,
    raw: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    accounts: HashMap<AccountId, Held>,
    chunks: HashMap<(u64, u32), HeldChunk>,
    occurrences: HashMap<u64, HeldOccurrence>,
    dirty_accounts: BTreeSet<AccountId>,
    dirty_chunks: BTreeSet<(u64, u32)>,
    dirty_occurrences: BTreeSet<u64>,
    pub(super) next_occurrence: u64,
    pub(super) cursors: Cursors,
    /// Unfinished repetitions, and messages by hand, that tell of an appointment: no name leads to them.
    pub(super) repeated: BTreeSet<u64>,
    /// Hashes of snapshots that are kept.
    pub(super) snapshots: HashSet<[u8; 32]>,
    /// How far the search for unused ones is.
    pub(super) pass: Pass,
    /// Where the search for old reports goes on.
    pub(super) retired_to: Option<Vec<u8>>,
    /// With this, hashes of the erased are made; `None` before the first start is through.
    pub(super) erasure_key: Option<[u8; 32]>,
    /// Where the search for old receipts goes on.
    pub(super) receipts_to: Option<Vec<u8>>,
    /// Where the search for old requests goes on.
    pub(super) requests_to: Option<Vec<u8>>,
    /// Where the next look at a sample of the books begins.
    pub(super) audited: Audited,
    /// A dump under way.
    pub(super) dumping: Option<Dumping>,
}

/// A closed batch, ready to be applied.
pub(super) struct Batch {
    pub(super) writes: Vec<Write>,
    pub(super) bytes: usize,
}

impl State {
    pub(super) fn new(opened: Arc<OpenTree>) -> Result<Self, Failed> {
        let last = opened.tree.prefix(keys::OCCURRENCE).next_back().transpose()?;
        let newest = last.and_then(|(key, _)| keys::read_number(&key));
        let gone = opened.tree.get(&keys::kept(LAST_OCCURRENCE))?.and_then(|bytes| keys::read_number(&bytes));
        let next_occurrence = newest.max(gone).map_or(1, |last| last + 1);
        let cursors = Cursors::read(&*opened.tree)?;
        let erasure_key = erasure::stored_key(&*opened.tree)?;
        let repeated = repeats::of_reminders(&*opened.tree)?;
        Ok(Self {
            opened,
            raw: BTreeMap::new(),
            accounts: HashMap::new(),
            chunks: HashMap::new(),
            occurrences: HashMap::new(),
            dirty_accounts: BTreeSet::new(),
            dirty_chunks: BTreeSet::new(),
            dirty_occurrences: BTreeSet::new(),
            next_occurrence,
            cursors,
            repeated,
            snapshots: HashSet::new(),
            pass: Pass::default(),
            retired_to: None,
            erasure_key,
            receipts_to: None,
            requests_to: None,
            audited: Audited::default(),
            dumping: None,
        })
    }

    pub(super) fn tree(&self) -> &dyn Tree {
        &*self.opened.tree
    }

    // --- the batch ------------------------------------------------------------------------------

    /// How many keys the batch under way has at most.
    pub(super) fn n_keys(&self) -> usize {
        self.raw.len()
            + self.dirty_accounts.len()
            + 5 * self.dirty_chunks.len()
            + 2 * self.dirty_occurrences.len()
            + self.cursors.n_changes()
    }

    /// Encodes what changed since the last call.
    pub(super) fn close_batch(&mut self) -> Result<Option<Batch>, Failed> {
        for id in std::mem::take(&mut self.dirty_accounts) {
            if let Some(held) = self.accounts.get(&id) {
                self.raw.insert(keys::account(id.app, id.template, &id.openid), Some(held.encode()?));
            }
        }
        for (occurrence, number) in std::mem::take(&mut self.dirty_chunks) {
            let Some(held) = self.chunks.get_mut(&(occurrence, number)) else { continue };
            self.raw.insert(keys::chunk(occurrence, number), Some(held.chunk.encode()?));
            let next = held.chunk.next_ms();
            if next != held.stored_next {
                let key = |ms| keys::time(ms, occurrence, number);
                self.raw.extend(held.stored_next.map(|ms| (key(ms), None)));
                self.raw.extend(next.map(|ms| (key(ms), Some(Vec::new()))));
                held.stored_next = next;
            }
            let doubts = held.chunk.n_doubts();
            self.opened.n_doubts.fetch_add(doubts.wrapping_sub(held.stored_doubts), Ordering::Relaxed);
            held.stored_doubts = doubts;
            let doubt = held.chunk.doubt_ms();
            if doubt != held.stored_doubt {
                let key = |ms| keys::doubt(ms, occurrence, number);
                self.raw.extend(held.stored_doubt.map(|ms| (key(ms), None)));
                self.raw.extend(doubt.map(|ms| (key(ms), Some(Vec::new()))));
                held.stored_doubt = doubt;
            }
        }
        for number in std::mem::take(&mut self.dirty_occurrences) {
            let Some(held) = self.occurrences.get_mut(&number) else { continue };
            let value = records::encode_occurrence(&held.occurrence, held.n_chunks)?;
            self.raw.insert(keys::occurrence(number), Some(value));
            let listed = is_unfinished(&held.occurrence);
            if listed != held.listed {
                held.listed = listed;
                if !listed {
                    self.repeated.remove(&number);
                }
                unfinished::list(self, number, if listed { Listed::Yes } else { Listed::No })?;
            }
        }
        self.raw.extend(self.cursors.changes()?);
        if self.accounts.len() > MAX_ACCOUNTS {
            self.accounts.clear();
        }
        if self.chunks.len() > MAX_CHUNKS {
            self.chunks.clear();
        }
        if self.occurrences.len() > MAX_CHUNKS {
            self.occurrences.clear();
        }
        let raw = std::mem::take(&mut self.raw);
        if raw.is_empty() {
            return Ok(None);
        }
        let mut closed = Batch { writes: Vec::with_capacity(raw.len()), bytes: 0 };
        for (key, value) in raw {
            let size = key.len() + value.as_ref().map_or(0, Vec::len);
            if size > MAX_ENTRY_BYTES {
                return Err(Failed::Record("a record is larger than the store may hold"));
            }
            closed.bytes += size;
            closed.writes.push((key, value));
        }
        Ok(Some(closed))
    }

    // --- raw records ----------------------------------------------------------------------------

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Failed> {
        match self.raw.get(key) {
            Some(value) => Ok(value.as_deref().map(Bytes::from)),
            None => self.tree().get(key),
        }
    }

    /// What the batch under way writes under keys that begin with `prefix`.
    pub(super) fn written_after<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let from = self.raw.range(prefix.to_vec()..);
        let with_prefix = from.take_while(move |(key, _)| key.starts_with(prefix));
        with_prefix.filter_map(|(key, value)| Some((key.as_slice(), value.as_deref()?)))
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.raw.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.raw.insert(key, None);
    }

    /// How many apps and templates have a number.
    pub(super) fn n_names(&self) -> Name {
        let names = self.opened.names.read().unwrap_or_else(PoisonError::into_inner);
        // The table takes no more than a number can count.
        Name::try_from(names.texts.len()).unwrap_or(Name::MAX)
    }

    /// The number of an app or template that was used before.
    pub(super) fn known_name(&self, text: &str) -> Option<Name> {
        self.opened.names.read().unwrap_or_else(PoisonError::into_inner).number(text)
    }

    /// The number of an app or template, given at its first use.
    pub(super) fn name(&mut self, text: &str) -> Result<Name, Failed> {
        // A poisoned lock holds a whole table: names are only ever added.
        let known = self.opened.names.read().unwrap_or_else(PoisonError::into_inner).number(text);
        if let Some(name) = known {
            return Ok(name);
        }
        let name = self.opened.names.write().unwrap_or_else(PoisonError::into_inner).push(text)?;
        self.put(keys::name(name), text.as_bytes().to_vec());
        Ok(name)
    }

    // --- decoded records ------------------------------------------------------------------------

    pub(super) fn recipient(&self, app: Name, openid: &OpenId) -> Result<Option<Recipient>, Failed> {
        let bytes = self.get(&keys::recipient(app, openid.as_str()))?;
        bytes.map(|bytes| records::decode_recipient(&bytes)).transpose()
    }

    /// The account, an empty one where nothing was booked yet.
    pub(super) fn account(&mut self, id: &AccountId, kind: TemplateKind) -> Result<&mut Held, Failed> {
        if !self.accounts.contains_key(id) {
            let held = match self.get(&keys::account(id.app, id.template, &id.openid))? {
                Some(bytes) => Held::decode(&bytes)?,
                None => Held::empty(kind),
            };
            self.accounts.insert(id.clone(), held);
        }
        self.accounts.get_mut(id).ok_or(Failed::Record("an account vanished from memory"))
    }

    /// Whether anything was ever booked in the account.
    pub(super) fn has_account(&self, id: &AccountId) -> Result<bool, Failed> {
        let changed = self.dirty_accounts.contains(id);
        Ok(changed || self.get(&keys::account(id.app, id.template, &id.openid))?.is_some())
    }

    /// Takes an account out of the books.
    pub(super) fn drop_account(&mut self, id: &AccountId) {
        self.accounts.remove(id);
        self.dirty_accounts.remove(id);
        self.remove(keys::account(id.app, id.template, &id.openid));
    }

    pub(super) fn changed_account(&mut self, id: AccountId) {
        self.dirty_accounts.insert(id);
    }

    pub(super) fn chunk(&mut self, occurrence: u64, number: u32) -> Result<Option<&mut HeldChunk>, Failed> {
        if !self.chunks.contains_key(&(occurrence, number)) {
            let Some(bytes) = self.tree().get(&keys::chunk(occurrence, number))? else { return Ok(None) };
            let chunk = Chunk::decode(&bytes, occurrence, number)?;
            let (stored_next, stored_doubt) = (chunk.next_ms(), chunk.doubt_ms());
            let stored_doubts = chunk.n_doubts();
            let held = HeldChunk { chunk, stored_next, stored_doubt, stored_doubts };
            self.chunks.insert((occurrence, number), held);
        }
        Ok(self.chunks.get_mut(&(occurrence, number)))
    }

    pub(super) fn new_chunk(&mut self, occurrence: u64, number: u32, chunk: Chunk) {
        let held = HeldChunk { chunk, stored_next: None, stored_doubt: None, stored_doubts: 0 };
        self.chunks.insert((occurrence, number), held);
        self.changed_chunk(occurrence, number);
    }

    pub(super) fn changed_chunk(&mut self, occurrence: u64, number: u32) {
        self.dirty_chunks.insert((occurrence, number));
    }

    /// Takes a chunk out of the books, with its index keys.
    pub(super) fn drop_chunk(&mut self, occurrence: u64, number: u32) -> Result<(), Failed> {
        if let Some(held) = self.chunk(occurrence, number)? {
            let (next, doubt, doubts) = (held.stored_next, held.stored_doubt, held.stored_doubts);
            self.opened.n_doubts.fetch_sub(doubts, Ordering::Relaxed);
            self.raw.extend(next.map(|ms| (keys::time(ms, occurrence, number), None)));
            self.raw.extend(doubt.map(|ms| (keys::doubt(ms, occurrence, number), None)));
        }
        self.chunks.remove(&(occurrence, number));
        self.dirty_chunks.remove(&(occurrence, number));
        self.remove(keys::chunk(occurrence, number));
        Ok(())
    }

    pub(super) fn occurrence(&mut self, number: u64) -> Result<Option<&mut HeldOccurrence>, Failed> {
        if !self.occurrences.contains_key(&number) {
            let Some(bytes) = self.tree().get(&keys::occurrence(number))? else { return Ok(None) };
            let (occurrence, n_chunks) = records::decode_occurrence(&bytes, number)?;
            let listed = is_unfinished(&occurrence);
            self.occurrences.insert(number, HeldOccurrence { occurrence, n_chunks, listed });
        }
        Ok(self.occurrences.get_mut(&number))
    }

    pub(super) fn new_occurrence(&mut self, occurrence: Occurrence) {
        let number = occurrence.number;
        self.occurrences.insert(number, HeldOccurrence { occurrence, n_chunks: 0, listed: false });
        self.changed_occurrence(number);
    }

    pub(super) fn changed_occurrence(&mut self, number: u64) {
        self.dirty_occurrences.insert(number);
    }

    pub(super) fn drop_occurrence(&mut self, number: u64) -> Result<(), Failed> {
        self.occurrences.remove(&number);
        self.dirty_occurrences.remove(&number);
        self.repeated.remove(&number);
        self.remove(keys::occurrence(number));
        unfinished::list(self, number, Listed::No)
    }

    /// The account that pays for a delivery.
    pub(super) fn payer(
        &mut self,
        id: DeliveryId,
        openid: &OpenId,
    ) -> Result<Option<(AccountId, TemplateKind)>, Failed> {
        let Some(held) = self.occurrence(id.occurrence)? else { return Ok(None) };
        let (app, template, kind) =
            (held.occurrence.app.clone(), held.occurrence.template.clone(), held.occurrence.kind);
        let (app, template) = (self.name(app.as_str())?, self.name(template.as_str())?);
        Ok(Some((AccountId { app, template, openid: openid.as_str().into() }, kind)))
    }
}

/// Whether there is work left: the walk, a release, or deliveries that are open.
pub(super) fn is_unfinished(occurrence: &Occurrence) -> bool {
    match occurrence.state {
        OccurrenceState::Open | OccurrenceState::Held => true,
        OccurrenceState::Cancelled => occurrence.counts.open() > 0,
        OccurrenceState::Done | OccurrenceState::Missed => false,
    }
}

/// Ends an open occurrence whose audience is walked and served.
pub(super) fn finish(occurrence: &mut Occurrence) {
    if occurrence.state == OccurrenceState::Open && occurrence.walked && occurrence.counts.open() == 0 {
        occurrence.state = OccurrenceState::Done;
    }
}

/// Milliseconds of an instant, rounded up: for what must not be looked at early.
pub(super) fn not_before(at: DateTime<Utc>) -> DateTime<Utc> {
    let floor = DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at);
    if floor < at { floor + chrono::TimeDelta::milliseconds(1) } else { at }
}
